// The stub's filter, run by a small interpreter of classic BPF on calls that a hostile guest would try.
import test from 'ava';
import { stubFilter } from '../../platform/systrap/stub-filter.ts';
import {
  SYS_arch_prctl,
  SYS_clone,
  SYS_close,
  SYS_dup2,
  SYS_execve,
  SYS_futex,
  SYS_ioctl,
  SYS_madvise,
  SYS_membarrier,
  SYS_mmap,
  SYS_mprotect,
  SYS_mremap,
  SYS_munmap,
  SYS_openat,
  SYS_process_vm_readv,
  SYS_ptrace,
  SYS_recvmsg,
  SYS_rseq,
  SYS_rt_sigreturn,
} from '../../sentry/abi/sysno-x64.ts';

const ALLOW = 0x7fff0000;
const X86_64 = 0xc000003e;
const TEXT = 0x7ff000000100n;
const WINDOW = 0x7ff010000000n;
const WINDOW_SIZE = 1024n * 0x20000n;
const PRIVATE_FIXED_ANONYMOUS = 0x32n;

const filter = stubFilter();

/** What the kernel would do with the call: true when it is admitted. */
function admitted(nr: number, args: (bigint | number)[] = [], ip: bigint = TEXT, arch = X86_64): boolean {
  const data = new DataView(new ArrayBuffer(64));
  data.setInt32(0, nr, true);
  data.setUint32(4, arch, true);
  data.setBigUint64(8, ip, true);
  for (const [i, arg] of args.entries()) data.setBigUint64(16 + i * 8, BigInt.asUintN(64, BigInt(arg)), true);
  const code = new DataView(filter.buffer);
  let a = 0;
  let x = 0;
  for (let pc = 0; ; pc++) {
    const op = code.getUint16(pc * 8, true);
    const yes = code.getUint8(pc * 8 + 2);
    const no = code.getUint8(pc * 8 + 3);
    const k = code.getUint32(pc * 8 + 4, true);
    if (op === 0x20) a = data.getUint32(k, true);
    else if (op === 0x07) x = a;
    else if (op === 0x04) a = (a + k) >>> 0;
    else if (op === 0x0c) a = (a + x) >>> 0;
    else if (op === 0x54) a = (a & k) >>> 0;
    else if (op === 0x15) pc += a === k ? yes : no;
    else if (op === 0x35) pc += a >= k ? yes : no;
    else if (op === 0x06) return k === ALLOW;
    else throw new Error(`the filter has an instruction ${op.toString(16)}`);
  }
}

test('calls come from the stub’s text and in its own ABI only', (t) => {
  t.true(admitted(SYS_close, [4]));
  t.false(admitted(SYS_close, [4], 0x401000n));
  t.false(admitted(SYS_close, [4], 0x7ff000010000n), 'behind the text');
  t.false(admitted(SYS_close, [4], 0x7ff100000100n), 'the stub’s stacks');
  t.false(admitted(SYS_close, [4], TEXT, 0x40000003), 'int $0x80');
  t.false(admitted(SYS_close | 0x40000000, [4]), 'x32');
});

test('what is not on the list traps, wherever it comes from', (t) => {
  for (const nr of [SYS_openat, SYS_execve, SYS_ioctl, SYS_ptrace, SYS_process_vm_readv, 425, 600, -1]) t.false(admitted(nr), `${nr}`);
});

test('memory calls reach neither the stub nor the jump table', (t) => {
  const top = 0x7fee00000000n;
  for (const [addr, length, expected] of [
    [0x10000000n, 4096n, true],
    [0x100000n, 4096n, true],
    [0x100000n, top - 0x100000n, true],
    [top - 4096n, 4096n, true],
    [0x10000n, 0x100000n, false],
    [0x60000n, 4096n, false],
    [0xff000n, 4096n, false],
    [0x7ff000000000n, 4096n, false],
    [0x7ff000000000n - 4096n, 8192n, false],
    [0x100000n, 0x7ff000000000n, false],
    [0x100000n, 0xfffffffffffff000n, false],
    [0xffffffff00000000n, 0x100001000n, false],
    [WINDOW, WINDOW_SIZE, false],
    [0x7ff100000000n, 4096n, false],
  ] as const) {
    const words = `${addr.toString(16)}+${length.toString(16)}`;
    t.is(admitted(SYS_munmap, [addr, length]), expected, `munmap ${words}`);
    t.is(admitted(SYS_mprotect, [addr, length, 5]), expected, `mprotect ${words}`);
    t.is(admitted(SYS_madvise, [addr, length, 4]), expected, `madvise ${words}`);
    t.is(admitted(SYS_mmap, [addr, length, 3, PRIVATE_FIXED_ANONYMOUS, -1, 0]), expected, `mmap ${words}`);
    t.is(admitted(SYS_mremap, [0x200000n, 4096n, length, 3, addr]), expected, `mremap to ${words}`);
    t.is(admitted(SYS_mremap, [addr, length, 4096n, 3, 0x200000n]), expected, `mremap from ${words}`);
    t.is(admitted(SYS_mremap, [addr, 4096n, length, 0]), expected, `mremap grows ${words}`);
  }
});

test('mmap is at a fixed place, private and anonymous or of a descriptor', (t) => {
  const at = 0x200000n;
  for (const [flags, fd, expected] of [
    [0x32, -1, true],
    [0x4032, -1, true],
    [0x8032, -1, true],
    [0x12, 0, true],
    [0x11, 5, true],
    [0x22, -1, false],
    [0x31, -1, false],
    [0x13, 5, false],
    [0x11, -1, false],
    [0x100032, -1, false],
    [0x40032, -1, false],
    [0x2032, -1, false],
  ] as const) {
    t.is(admitted(SYS_mmap, [at, 4096, 3, flags, fd, 0]), expected, `flags ${flags.toString(16)}, descriptor ${fd}`);
  }
  t.false(admitted(SYS_mmap, [at, 4096, 3, 0x100000032n, -1, 0]), 'flags above 32 bits');
  t.false(admitted(SYS_mmap, [at, 4096, 0x1000003, 0x32, -1, 0]), 'PROT_GROWSDOWN');
});

test('of the stub’s own memory only the whole context window can be mapped, shared, readable and writable', (t) => {
  t.true(admitted(SYS_mmap, [WINDOW, WINDOW_SIZE, 3, 0x11, 7, 0]));
  t.false(admitted(SYS_mmap, [WINDOW, WINDOW_SIZE, 7, 0x11, 7, 0]));
  t.false(admitted(SYS_mmap, [WINDOW, WINDOW_SIZE, 3, 0x12, 7, 0]));
  t.false(admitted(SYS_mmap, [WINDOW, 4096, 3, 0x11, 7, 0]));
  t.false(admitted(SYS_mmap, [WINDOW + 0x100000000n, WINDOW_SIZE, 3, 0x11, 7, 0]));
});

test('a clone is a process of the Sentry or a thread, nothing in between', (t) => {
  t.true(admitted(SYS_clone, [0x8011]));
  t.true(admitted(SYS_clone, [0x250f00]));
  for (const flags of [0x11, 0x4111, 0x8111, 0x10000000, 0x20008011, 0x100008011n])
    t.false(admitted(SYS_clone, [flags]), flags.toString(16));
});

test('mremap never lets the host choose the place', (t) => {
  t.false(admitted(SYS_mremap, [0x200000, 4096, 8192, 1, 0]));
  t.false(admitted(SYS_mremap, [0x200000, 4096, 4096, 5, 0x300000]));
  t.true(admitted(SYS_mremap, [0x200000, 4096, 4096, 7, 0x300000]));
});

test('descriptors, bases and futexes are pinned', (t) => {
  t.true(admitted(SYS_recvmsg, [3, 0x200000, 0]));
  t.false(admitted(SYS_recvmsg, [4, 0x200000, 0]));
  t.true(admitted(SYS_dup2, [5, 3]));
  t.false(admitted(SYS_dup2, [5, 4]));
  t.true(admitted(SYS_arch_prctl, [0x1002, 0]));
  t.false(admitted(SYS_arch_prctl, [0x1012, 1]), 'ARCH_CPUID');
  t.true(admitted(SYS_rseq, [0x7f0000000000n, 32, 0, 0x53053053]));
  t.false(admitted(SYS_rseq, [0x7ff010000000n, 32, 0, 0x53053053]), 'the stub’s own pages');
  t.false(admitted(SYS_rseq, [0x7f0000000000n, 32, 2, 0]));
  t.true(admitted(SYS_membarrier, [8, 0, 0]));
  t.false(admitted(SYS_membarrier, [0x400, 0, 0]));
  t.false(admitted(SYS_membarrier, [8, 2, 0]));
  t.true(admitted(SYS_futex, [0x200000, 0]));
  t.true(admitted(SYS_futex, [0x200000, 1]));
  t.false(admitted(SYS_futex, [0x200000, 6]), 'FUTEX_LOCK_PI');
  t.true(admitted(SYS_rt_sigreturn));
  t.false(admitted(SYS_madvise, [0x200000, 4096, 100]), 'MADV_HWPOISON');
});
