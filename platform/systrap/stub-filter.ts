// The filter of stubs: classic BPF over struct seccomp_data, seccomp(2). It is what stands between
// a hostile guest and the host, since the guest can jump to any `syscall` of the stub's text with
// registers of its choice. Each call below says why it is harmless then; docs/security.md has the
// same list. What is not admitted traps, which is how guest calls reach us at all.

import {
  SYS_arch_prctl,
  SYS_clone,
  SYS_close,
  SYS_dup2,
  SYS_exit,
  SYS_exit_group,
  SYS_futex,
  SYS_madvise,
  SYS_membarrier,
  SYS_mmap,
  SYS_mprotect,
  SYS_mremap,
  SYS_munmap,
  SYS_recvmsg,
  SYS_rseq,
  SYS_rt_sigreturn,
  SYS_sched_yield,
  SYS_sigaltstack,
} from '../../sentry/abi/sysno-x64.ts';
import { CONTEXT_SIZE } from '../context-page.ts';
import { FORK_FLAGS, MAX_SLOTS, STUB_TEXT_HIGH, STUB_TEXT_SIZE, THREAD_FLAGS, WINDOW } from './layout.ts';

const ALLOW = 0x7fff0000;
const TRAP = 0x00030000;
const AUDIT_ARCH_X86_64 = 0xc000003e;

// include/uapi/linux/bpf_common.h
const LD_ABS = 0x20;
const JEQ = 0x15;
const JGE = 0x35;
const AND = 0x54;
const ADD = 0x04;
const ADD_X = 0x0c;
const TAX = 0x07;
const RET = 0x06;

// struct seccomp_data.
const NR = 0;
const ARCH = 4;
const IP_LOW = 8;
const IP_HIGH = 12;
const low = (arg: number): number => 16 + arg * 8;
const high = (arg: number): number => 20 + arg * 8;

/** Below lie the null pages, the jump table and the thunks. */
const LOWEST = 0x100000;
const TWO32 = 4294967296;

const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_ALLOWED = MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | 0x4000 | 0x8000;
const ARCH_SET_GS = 0x1001;
const ARCH_SET_FS = 0x1002;
/** DONTNEED, FREE, REMOVE, DONTFORK, DOFORK, WIPEONFORK, KEEPONFORK, POPULATE_READ, POPULATE_WRITE. */
const ADVICE = [4, 8, 9, 10, 11, 18, 19, 22, 23];
const STUB_SOCKET = 3;

/** Instructions with jumps to names; the names of a program are its own. */
class Assembler {
  private readonly code: { op: number; yes: string; no: string; k: number }[] = [];
  private readonly labels = new Map<string, number>();

  /** Goes on with the next instruction, or returns. */
  op(op: number, k: number): void {
    this.code.push({ op, yes: '', no: '', k });
  }

  /** An empty name is the next instruction. */
  jump(op: number, k: number, yes: string, no: string): void {
    this.code.push({ op, yes, no, k });
  }

  label(name: string): void {
    this.labels.set(name, this.code.length);
  }

  private distance(from: number, name: string): number {
    if (name === '') return 0;
    const to = this.labels.get(name);
    if (to === undefined || to <= from || to - from - 1 > 255) throw new Error(`a jump of the filter to ${name} is not possible`);
    return to - from - 1;
  }

  bytes(): Uint8Array {
    const bytes = new Uint8Array(this.code.length * 8);
    const view = new DataView(bytes.buffer);
    this.code.forEach(({ op, yes, no, k }, at) => {
      view.setUint16(at * 8, op, true);
      view.setUint8(at * 8 + 2, this.distance(at, yes));
      view.setUint8(at * 8 + 3, this.distance(at, no));
      view.setUint32(at * 8 + 4, k >>> 0, true);
    });
    return bytes;
  }
}

/** The body of one call: falls through to its end, where it is admitted; refusals jump to the trap behind. */
function body(a: Assembler, nr: number, tests: (trap: string) => void): void {
  const trap = `trap-${nr}`;
  a.label(`call-${nr}`);
  tests(trap);
  a.op(RET, ALLOW);
  a.label(trap);
  a.op(RET, TRAP);
}

/** low word of `arg` is one of values. */
function isOneOf(a: Assembler, trap: string, arg: number, values: readonly number[], name: string): void {
  a.op(LD_ABS, low(arg));
  for (const [i, value] of values.entries()) a.jump(JEQ, value, name, i === values.length - 1 ? trap : '');
  a.label(name);
}

/**
 * [addr, addr+length) ends below the stub and begins above the jump table: high(addr) + high(length) + 1
 * is at least the high word of the end, whatever the low words are.
 */
function range(a: Assembler, trap: string, addr: number, length: number, name: string): void {
  a.op(LD_ABS, high(length));
  a.jump(JGE, 0x10000, trap, '');
  a.op(TAX, 0);
  a.op(LD_ABS, high(addr));
  a.jump(JGE, 0x10000, trap, '');
  a.op(ADD_X, 0);
  a.op(ADD, 1);
  a.jump(JGE, STUB_TEXT_HIGH, trap, '');
  a.op(LD_ABS, high(addr));
  a.jump(JEQ, 0, '', name);
  a.op(LD_ABS, low(addr));
  a.jump(JGE, LOWEST, '', trap);
  a.label(name);
}

/** The filter as an array of struct sock_filter. */
export function stubFilter(): Uint8Array {
  const a = new Assembler();
  // Only the stub's own text asks the host for anything.
  a.op(LD_ABS, IP_HIGH);
  a.jump(JEQ, STUB_TEXT_HIGH, '', 'trap');
  a.op(LD_ABS, IP_LOW);
  a.jump(JGE, STUB_TEXT_SIZE, 'trap', '');
  a.op(LD_ABS, ARCH);
  a.jump(JEQ, AUDIT_ARCH_X86_64, '', 'trap');
  a.op(LD_ABS, NR);
  const withBody = [
    SYS_futex,
    SYS_mmap,
    SYS_munmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_madvise,
    SYS_clone,
    SYS_recvmsg,
    SYS_dup2,
    SYS_arch_prctl,
    SYS_rseq,
    SYS_membarrier,
  ];
  a.jump(JEQ, SYS_rt_sigreturn, 'allow', '');
  for (const nr of withBody) a.jump(JEQ, nr, `call-${nr}`, '');
  // These concern the calling thread alone, or descriptors, of which a stub has its socket and what the Sentry sends it.
  for (const nr of [SYS_close, SYS_exit, SYS_exit_group, SYS_sigaltstack, SYS_sched_yield]) a.jump(JEQ, nr, 'allow', '');
  a.label('trap');
  a.op(RET, TRAP);
  a.label('allow');
  a.op(RET, ALLOW);

  // Sleeping and waking: on its own memory, the ring, and pages shared with other guests by their own wish.
  body(a, SYS_futex, (trap) => isOneOf(a, trap, 1, [0, 1], 'futex-op'));

  body(a, SYS_mmap, (trap) => {
    // Exactly one mapping of the stub's own: the context window of a new process.
    a.op(LD_ABS, high(0));
    a.jump(JEQ, Math.floor(WINDOW / TWO32), '', 'mmap-guest');
    a.op(LD_ABS, low(0));
    a.jump(JEQ, WINDOW % TWO32, '', trap);
    a.op(LD_ABS, high(1));
    a.jump(JEQ, 0, '', trap);
    a.op(LD_ABS, low(1));
    a.jump(JEQ, MAX_SLOTS * CONTEXT_SIZE, '', trap);
    a.op(LD_ABS, low(2));
    a.jump(JEQ, 3, '', trap);
    a.op(LD_ABS, low(3));
    a.jump(JEQ, MAP_SHARED | MAP_FIXED, '', trap);
    a.op(RET, ALLOW);
    a.label('mmap-guest');
    a.op(LD_ABS, low(2));
    a.jump(JGE, 8, trap, '');
    a.op(LD_ABS, high(3));
    a.jump(JEQ, 0, '', trap);
    a.op(LD_ABS, low(3));
    a.op(AND, ~MAP_ALLOWED);
    a.jump(JEQ, 0, '', trap);
    a.op(LD_ABS, low(3));
    a.op(AND, MAP_SHARED | MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS);
    a.jump(JEQ, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, 'mmap-range', '');
    a.jump(JEQ, MAP_PRIVATE | MAP_FIXED, 'mmap-file', '');
    a.jump(JEQ, MAP_SHARED | MAP_FIXED, '', trap);
    a.label('mmap-file');
    // A descriptor that the Sentry has sent: others a stub does not have, and its socket cannot be mapped.
    a.op(LD_ABS, low(4));
    a.jump(JGE, 0x80000000, trap, '');
    a.label('mmap-range');
    range(a, trap, 0, 1, 'mmap-end');
  });
  body(a, SYS_munmap, (trap) => range(a, trap, 0, 1, 'munmap-end'));
  body(a, SYS_mprotect, (trap) => {
    a.op(LD_ABS, low(2));
    a.jump(JGE, 8, trap, '');
    range(a, trap, 0, 1, 'mprotect-end');
  });
  body(a, SYS_mremap, (trap) => {
    range(a, trap, 0, 1, 'mremap-old');
    a.op(LD_ABS, low(3));
    a.jump(JEQ, 0, 'mremap-grow', '');
    // MAYMOVE and FIXED, with or without DONTUNMAP: never to a place of the host's choice.
    a.jump(JEQ, 3, 'mremap-move', '');
    a.jump(JEQ, 7, '', trap);
    a.label('mremap-move');
    range(a, trap, 4, 2, 'mremap-moved');
    a.op(RET, ALLOW);
    a.label('mremap-grow');
    range(a, trap, 0, 2, 'mremap-grown');
  });
  body(a, SYS_madvise, (trap) => {
    isOneOf(a, trap, 2, ADVICE, 'madvise-advice');
    range(a, trap, 0, 1, 'madvise-end');
  });
  // One more thread, or one more process with the same filter: what a guest may have anyway, bounded by the cgroup.
  body(a, SYS_clone, (trap) => {
    a.op(LD_ABS, high(0));
    a.jump(JEQ, 0, '', trap);
    isOneOf(a, trap, 0, [FORK_FLAGS, THREAD_FLAGS], 'clone-flags');
  });
  body(a, SYS_recvmsg, (trap) => isOneOf(a, trap, 0, [STUB_SOCKET], 'recvmsg-fd'));
  body(a, SYS_dup2, (trap) => isOneOf(a, trap, 1, [STUB_SOCKET], 'dup2-fd'));
  body(a, SYS_arch_prctl, (trap) => isOneOf(a, trap, 0, [ARCH_SET_GS, ARCH_SET_FS], 'arch-prctl-code'));
  // The host then writes processor numbers to the guest's memory, and moves the thread to where the guest could jump to as well.
  body(a, SYS_rseq, (trap) => {
    isOneOf(a, trap, 2, [0, 1], 'rseq-flags');
    range(a, trap, 0, 1, 'rseq-end');
  });
  body(a, SYS_membarrier, (trap) => {
    a.op(LD_ABS, low(0));
    a.jump(JGE, 0x201, trap, '');
    a.op(LD_ABS, low(1));
    a.jump(JGE, 2, trap, '');
  });
  return a.bytes();
}
