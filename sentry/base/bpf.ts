// Seccomp filters from a list of allowed calls: classic BPF over struct seccomp_data, seccomp(2).
//
//   load arch   other than x86-64 -> kill
//   load nr
//   == read     -> allow
//   == mmap     -> load arguments; first alternative whose conditions all hold -> allow; none -> otherwise
//   ...
//   otherwise
//
// The list is walked from its front for every call: what is called most stands first.

export const SECCOMP_RET_ALLOW = 0x7fff0000;
export const SECCOMP_RET_KILL_PROCESS = 0x80000000;
export const SECCOMP_RET_TRAP = 0x00030000;
export const SECCOMP_RET_LOG = 0x7ffc0000;

/** The call fails with this errno. */
export function seccompErrno(errno: number): number {
  return 0x00050000 + errno;
}

/** Argument `arg` & mask == value, by its low 32 bits; `high` compares the high 32 bits too (with 0 unless told otherwise). */
export interface Condition {
  readonly arg: number;
  readonly mask?: number;
  readonly value: number;
  readonly high?: number;
}

export interface AllowedCall {
  readonly nr: number;
  /** Alternatives; each is a list of conditions that must all hold. None: the call is allowed whatever its arguments. */
  readonly when?: readonly (readonly Condition[])[];
  /** Another SECCOMP_RET_* than ALLOW: an errno that callers know what to do with. */
  readonly action?: number;
  /** What happens when no alternative holds; undefined: as for calls that are not listed. */
  readonly others?: number;
}

const AUDIT_ARCH_X86_64 = 0xc000003e;
// struct seccomp_data.
const NR = 0;
const ARCH = 4;
const ARGS = 16;

// include/uapi/linux/bpf_common.h
const LD_ABS = 0x20;
const JEQ = 0x15;
const AND = 0x54;
const RET = 0x06;

const INSTRUCTION = 8;
/** include/uapi/linux/bpf_common.h: BPF_MAXINSNS. */
const MAX_INSTRUCTIONS = 4096;

class Program {
  private readonly words: number[] = [];

  get length(): number {
    return this.words.length / 4;
  }

  add(code: number, jt: number, jf: number, k: number): void {
    if (jt > 255 || jf > 255) throw new Error('a jump of a filter is too long');
    this.words.push(code, jt, jf, k);
  }

  append(other: Program): void {
    for (const word of other.words) this.words.push(word);
  }

  bytes(): Uint8Array {
    if (this.length > MAX_INSTRUCTIONS) throw new Error('a filter is too long');
    const bytes = new Uint8Array(this.length * INSTRUCTION);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < this.length; i++) {
      view.setUint16(i * INSTRUCTION, this.words[i * 4]!, true);
      view.setUint8(i * INSTRUCTION + 2, this.words[i * 4 + 1]!);
      view.setUint8(i * INSTRUCTION + 3, this.words[i * 4 + 2]!);
      view.setUint32(i * INSTRUCTION + 4, this.words[i * 4 + 3]! >>> 0, true);
    }
    return bytes;
  }
}

/** The filter as an array of struct sock_filter. otherwise is a SECCOMP_RET_*. */
export function seccompFilter(allowed: readonly AllowedCall[], otherwise: number): Uint8Array {
  const program = new Program();
  program.add(LD_ABS, 0, 0, ARCH);
  program.add(JEQ, 1, 0, AUDIT_ARCH_X86_64);
  program.add(RET, 0, 0, SECCOMP_RET_KILL_PROCESS);
  program.add(LD_ABS, 0, 0, NR);
  for (const call of allowed) {
    const body = bodyOf(call, otherwise);
    program.add(JEQ, 0, body.length, call.nr);
    program.append(body);
  }
  // Numbers of the x32 ABI have bit 30 set, so they are in no list.
  program.add(RET, 0, 0, otherwise);
  return program.bytes();
}

function bodyOf(call: AllowedCall, otherwise: number): Program {
  const body = new Program();
  if (call.when === undefined) {
    body.add(RET, 0, 0, call.action ?? SECCOMP_RET_ALLOW);
    return body;
  }
  for (const alternative of call.when) body.append(alternativeOf(alternative, call.action ?? SECCOMP_RET_ALLOW));
  body.add(RET, 0, 0, call.others ?? otherwise);
  return body;
}

function alternativeOf(conditions: readonly Condition[], action: number): Program {
  // Each test jumps to behind the alternative's end, so sizes are needed before: built from the back.
  let rest = new Program();
  rest.add(RET, 0, 0, action);
  for (const c of [...conditions].reverse()) {
    const test = new Program();
    if (c.high !== undefined) {
      test.add(LD_ABS, 0, 0, ARGS + c.arg * 8 + 4);
      test.add(JEQ, 0, rest.length + (c.mask === undefined ? 2 : 3), c.high);
    }
    test.add(LD_ABS, 0, 0, ARGS + c.arg * 8);
    if (c.mask !== undefined) test.add(AND, 0, 0, c.mask);
    test.add(JEQ, 0, rest.length, c.value);
    test.append(rest);
    rest = test;
  }
  return rest;
}
