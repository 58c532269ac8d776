// Programs that seccomp(2) takes: classic BPF (net/core/filter.c) over struct seccomp_data. They decide
// over the guest's calls to us and protect nothing of ours. A program is immutable.

import { EINVAL } from '../abi/errno.ts';
import type { SeccompListener } from './seccomp-notify.ts';

/** sizeof(struct seccomp_data): nr, arch, instruction pointer, six arguments. */
export const DATA_SIZE = 64;
/** One instruction: code u16, jt u8, jf u8, k u32. */
export const INSTRUCTION_SIZE = 8;
export const BPF_MAXINSNS = 4096;
/** Of all filters of a task, each with a small overhead: kernel/seccomp.c:MAX_INSNS_PER_PATH. */
export const MAX_INSNS_PER_PATH = 32768;
export const INSNS_OVERHEAD = 4;
const MEMWORDS = 16;

// Instruction codes: class | size | mode, or class | operation | source.
const LD_ABS = 0x20;
const LD_LEN = 0x80;
const LD_IMM = 0x00;
const LD_MEM = 0x60;
const LDX_IMM = 0x01;
const LDX_MEM = 0x61;
const LDX_LEN = 0x81;
const ST = 0x02;
const STX = 0x03;
const RET_K = 0x06;
const RET_A = 0x16;
const TAX = 0x07;
const TXA = 0x87;
const JA = 0x05;
const SOURCE_X = 0x08;
const CLASS = 0x07;
const ALU = 0x04;
const JMP = 0x05;

const memory = new Uint32Array(MEMWORDS);

export class SeccompFilter {
  private readonly codes: Uint16Array;
  private readonly jumps: Uint8Array;
  private readonly constants: Uint32Array;
  readonly length: number;
  /** Who answers SECCOMP_RET_USER_NOTIF, while its descriptor is open: SECCOMP_FILTER_FLAG_NEW_LISTENER. */
  listener: SeccompListener | null = null;

  private constructor(codes: Uint16Array, jumps: Uint8Array, constants: Uint32Array) {
    this.codes = codes;
    this.jumps = jumps;
    this.constants = constants;
    this.length = codes.length;
  }

  /** Checks a program of INSTRUCTION_SIZE bytes each: bpf_check_classic() and seccomp_check_filter(). -EINVAL. */
  static create(v: DataView, count: number): SeccompFilter | number {
    const codes = new Uint16Array(count);
    const jumps = new Uint8Array(count * 2);
    const constants = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      codes[i] = v.getUint16(i * INSTRUCTION_SIZE, true);
      jumps[i * 2] = v.getUint8(i * INSTRUCTION_SIZE + 2);
      jumps[i * 2 + 1] = v.getUint8(i * INSTRUCTION_SIZE + 3);
      constants[i] = v.getUint32(i * INSTRUCTION_SIZE + 4, true);
    }
    for (let i = 0; i < count; i++) if (!isValid(codes[i]!, jumps[i * 2]!, jumps[i * 2 + 1]!, constants[i]!, count - i - 1)) return -EINVAL;
    if (codes[count - 1] !== RET_K && codes[count - 1] !== RET_A) return -EINVAL;
    return new SeccompFilter(codes, jumps, constants);
  }

  /** Writes the program as it was loaded, INSTRUCTION_SIZE bytes an instruction: PTRACE_SECCOMP_GET_FILTER. */
  encode(v: DataView): void {
    for (let i = 0; i < this.length; i++) {
      v.setUint16(i * INSTRUCTION_SIZE, this.codes[i]!, true);
      v.setUint8(i * INSTRUCTION_SIZE + 2, this.jumps[i * 2]!);
      v.setUint8(i * INSTRUCTION_SIZE + 3, this.jumps[i * 2 + 1]!);
      v.setUint32(i * INSTRUCTION_SIZE + 4, this.constants[i]!, true);
    }
  }

  /** The verdict over a call, DATA_SIZE bytes of it as words. Jumps go forward only, so it ends. */
  run(data: Uint32Array): number {
    const { codes, jumps, constants } = this;
    let a = 0;
    let x = 0;
    memory.fill(0);
    for (let pc = 0; pc < codes.length; pc++) {
      const code = codes[pc]!;
      const k = constants[pc]!;
      switch (code) {
        case LD_ABS:
          a = data[k >> 2]!;
          continue;
        case LD_LEN:
          a = DATA_SIZE;
          continue;
        case LDX_LEN:
          x = DATA_SIZE;
          continue;
        case LD_IMM:
          a = k;
          continue;
        case LDX_IMM:
          x = k;
          continue;
        case LD_MEM:
          a = memory[k]!;
          continue;
        case LDX_MEM:
          x = memory[k]!;
          continue;
        case ST:
          memory[k] = a;
          continue;
        case STX:
          memory[k] = x;
          continue;
        case TAX:
          x = a;
          continue;
        case TXA:
          a = x;
          continue;
        case RET_K:
          return k;
        case RET_A:
          return a;
        case JA:
          pc += k;
          continue;
      }
      const operand = (code & SOURCE_X) !== 0 ? x : k;
      if ((code & CLASS) === JMP) {
        pc += jumps[pc * 2 + (jumpHolds(code & 0xf0, a, operand) ? 0 : 1)]!;
        continue;
      }
      // Division by a zero in X ends the program with 0, which kills.
      if ((code & 0xf0) === 0x30 && operand === 0) return 0;
      a = compute(code & 0xf0, a, operand);
    }
    return 0;
  }
}

function isValid(code: number, jt: number, jf: number, k: number, after: number): boolean {
  switch (code) {
    case LD_ABS:
      return k < DATA_SIZE && (k & 3) === 0;
    case LD_LEN:
    case LDX_LEN:
    case LD_IMM:
    case LDX_IMM:
    case TAX:
    case TXA:
    case RET_K:
    case RET_A:
      return true;
    case LD_MEM:
    case LDX_MEM:
    case ST:
    case STX:
      return k < MEMWORDS;
    case JA:
      return k < after;
  }
  const operation = code & 0xf0;
  if (code > 0xff) return false;
  if ((code & CLASS) === JMP) return operation >= 0x10 && operation <= 0x40 && jt < after && jf < after;
  if ((code & CLASS) !== ALU) return false;
  const isImmediate = (code & SOURCE_X) === 0;
  if (operation === 0x30) return !(isImmediate && k === 0);
  if (operation === 0x60 || operation === 0x70) return !(isImmediate && k >= 32);
  if (operation === 0x80) return isImmediate;
  return operation <= 0x50 || operation === 0xa0;
}

function jumpHolds(operation: number, a: number, b: number): boolean {
  switch (operation) {
    case 0x10:
      return a === b;
    case 0x20:
      return a > b;
    case 0x30:
      return a >= b;
  }
  return (a & b) !== 0;
}

function compute(operation: number, a: number, b: number): number {
  switch (operation) {
    case 0x00:
      return (a + b) >>> 0;
    case 0x10:
      return (a - b) >>> 0;
    case 0x20:
      return Math.imul(a, b) >>> 0;
    case 0x30:
      return Math.floor(a / b);
    case 0x40:
      return (a | b) >>> 0;
    case 0x50:
      return (a & b) >>> 0;
    case 0x60:
      return b >= 32 ? 0 : (a << b) >>> 0;
    case 0x70:
      return b >= 32 ? 0 : a >>> b;
    case 0x80:
      return -a >>> 0;
  }
  return (a ^ b) >>> 0;
}
