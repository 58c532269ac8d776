import {
  CONTEXT_SIZE,
  CTX_CALLS,
  CTX_CALLS_DONE,
  CTX_DIRTY,
  CTX_EVENT,
  CTX_FAULT_ADDR,
  CTX_FAULT_CODE,
  CTX_FAULT_ERR,
  CTX_FAULT_SIGNO,
  CTX_FAULT_TRAPNO,
  CTX_FP_RESTORE_ADDR,
  CTX_FP_SAVE_ADDR,
  CTX_NCALLS,
  CTX_REGS,
  CTX_REGS_SIZE,
  DIRTY_FS,
  DIRTY_GS,
  FP_INITIAL,
  FS_BASE,
  GS_BASE,
  HOSTCALL_SIZE,
  MAX_HOST_CALLS,
  ORIG_RAX,
} from './context-page.ts';
import type { AddressSpace } from './platform.ts';
import type { Region } from './region.ts';

/** Argument 4 (the descriptor of mmap) is the next descriptor that sendFd() queued. */
export const HOSTCALL_RECEIVED_FD = 1;
/** A failure of this call does not end the batch. */
export const HOSTCALL_MAY_FAIL = 2;
/** In place of a call's number: the word at argument 0 becomes argument 2 if it is argument 1; the result is what it was, or -EFAULT. Twin of native/stub/sysmsg.h. */
export const HOSTCALL_EXCHANGE = 0x10000;

const TWO32 = 4294967296;

/** One guest thread on the host side: a view of its context page. */
export class Context {
  readonly index: number;
  readonly space: AddressSpace;
  /** Host thread id; 0 before birth. */
  hostTid = 0;
  /** The host could not make its thread: -errno. Its event is EVENT_DIED. */
  birthError = 0;
  /** The kernel's name for it: an index of the kernel's own choice. */
  owner: unknown = null;
  /** In guest code, as far as we know: kick() makes sense. */
  inGuest = false;
  readonly region: Region;
  /** Byte offset of the context in the region, and the same in 32-bit words. */
  readonly base: number;
  readonly word: number;
  /** Host calls of the batch: the page's copy is not ours alone. */
  private calls = 0;

  constructor(region: Region, index: number, space: AddressSpace) {
    this.region = region;
    this.index = index;
    this.space = space;
    this.base = index * CONTEXT_SIZE;
    this.word = this.base >> 2;
  }

  get event(): number {
    return this.region.i32[this.word + (CTX_EVENT >> 2)]!;
  }

  // ---- registers

  /** The number of the system call, valid for EVENT_SYSCALL. */
  get callNumber(): number {
    return this.regLo(ORIG_RAX);
  }

  /** A register as an unsigned number, exact below 2^53: addresses and counts. */
  reg(n: number): number {
    const at = this.word + (CTX_REGS >> 2) + n * 2;
    return (this.region.i32[at]! >>> 0) + (this.region.i32[at + 1]! >>> 0) * TWO32;
  }

  regLo(n: number): number {
    return this.region.i32[this.word + (CTX_REGS >> 2) + n * 2]!;
  }

  regHi(n: number): number {
    return this.region.i32[this.word + (CTX_REGS >> 2) + n * 2 + 1]!;
  }

  /** Stores a signed or unsigned integer below 2^53 in size. */
  setReg(n: number, value: number): void {
    const at = this.word + (CTX_REGS >> 2) + n * 2;
    this.region.i32[at] = value | 0;
    this.region.i32[at + 1] = Math.floor(value / TWO32) | 0;
    if (n === FS_BASE) this.region.i32[this.word + (CTX_DIRTY >> 2)]! |= DIRTY_FS;
    else if (n === GS_BASE) this.region.i32[this.word + (CTX_DIRTY >> 2)]! |= DIRTY_GS;
  }

  setRegWords(n: number, lo: number, hi: number): void {
    const at = this.word + (CTX_REGS >> 2) + n * 2;
    this.region.i32[at] = lo;
    this.region.i32[at + 1] = hi;
  }

  /** Copies all 27 registers (216 bytes, struct user_regs_struct) out or in. */
  saveRegs(dst: Uint8Array, at: number): void {
    const from = this.base + CTX_REGS;
    for (let i = 0; i < CTX_REGS_SIZE; i++) dst[at + i] = this.region.u8[from + i]!;
  }

  loadRegs(src: Uint8Array, at: number): void {
    const to = this.base + CTX_REGS;
    for (let i = 0; i < CTX_REGS_SIZE; i++) this.region.u8[to + i] = src[at + i]!;
  }

  // ---- fault details, valid for EVENT_FAULT

  get faultSigno(): number {
    return this.region.i32[this.word + (CTX_FAULT_SIGNO >> 2)]!;
  }

  get faultCode(): number {
    return this.region.i32[this.word + (CTX_FAULT_CODE >> 2)]!;
  }

  get faultTrapno(): number {
    return this.region.i32[this.word + (CTX_FAULT_TRAPNO >> 2)]!;
  }

  get faultErr(): number {
    return this.region.i32[this.word + (CTX_FAULT_ERR >> 2)]!;
  }

  get faultAddr(): number {
    return this.region.load64(this.base + CTX_FAULT_ADDR);
  }

  // ---- extended (FP, SSE, AVX, AMX) state: moved between CPU and guest memory on the next resume

  /** The state as it is now goes to guest memory at `addr` (64-byte aligned, fpStateSize() bytes) before anything else; 0 cancels. */
  setFpSave(addr: number): void {
    this.region.store64(this.base + CTX_FP_SAVE_ADDR, addr);
  }

  /** The guest goes on with the state found at `addr`. */
  setFpRestore(addr: number): void {
    this.region.store64(this.base + CTX_FP_RESTORE_ADDR, addr);
  }

  /** The guest goes on with the state that a program starts with, as a signal handler does: fpu__clear_user_states(). */
  setFpInitial(): void {
    this.region.store64(this.base + CTX_FP_RESTORE_ADDR, FP_INITIAL);
  }

  // ---- what the stub may do by itself; nothing where every call comes to us

  /** The call's result until withdrawAnswers(): ≥ 0. For calls whose result varies: nobody needs to see them, if the stub can find it. */
  publishAnswer(_nr: number, _result: number): void {}

  withdrawAnswers(): void {}

  /** A call that has waited goes on: as at its entry, what it stores may be put off until endCall(). */
  resumeCall(): void {}

  /** The handler of the call is done, or waits: what it has stored through the space is in guest memory, or will be before guest code runs. */
  endCall(): void {}

  // ---- host calls

  /** Starts a new batch. */
  resetCalls(): void {
    this.calls = 0;
    this.region.i32[this.word + (CTX_NCALLS >> 2)] = 0;
  }

  get callCount(): number {
    return this.calls;
  }

  get callsFull(): boolean {
    return this.callCount >= MAX_HOST_CALLS;
  }

  /** Adds a host call (number and arguments as on Linux); returns its index. */
  addCall(nr: number, flags: number, a0: number, a1: number, a2: number, a3: number, a4: number, a5: number): number {
    const n = this.callCount;
    if (n >= MAX_HOST_CALLS) throw new Error('host call batch is full');
    const at = this.base + CTX_CALLS + n * HOSTCALL_SIZE;
    const r = this.region;
    r.i32[at >> 2] = nr;
    r.i32[(at >> 2) + 1] = flags;
    r.store64(at + 8, a0);
    r.store64(at + 16, a1);
    r.store64(at + 24, a2);
    r.store64(at + 32, a3);
    r.store64(at + 40, a4);
    r.store64(at + 48, a5);
    r.store64(at + 56, 0);
    this.calls = n + 1;
    r.i32[this.word + (CTX_NCALLS >> 2)] = n + 1;
    return n;
  }

  /** The result of call n < callCount of the finished batch, -errno for a failure. */
  callResult(n: number): number {
    return this.region.loadSigned64(this.base + CTX_CALLS + n * HOSTCALL_SIZE + 56);
  }

  /** How many calls of the batch ran to success. */
  get callsDone(): number {
    const done = this.region.i32[this.word + (CTX_CALLS_DONE >> 2)]!;
    return done >= 0 && done <= this.calls ? done : 0;
  }
}
