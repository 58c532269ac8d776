// One guest thread on the systrap platform: what the Sentry knows of it without asking the page,
// which the guest can write.

import { closeFd, getRandom } from 'ptrace-napi';
import { SYS_clock_gettime, SYS_futex, SYS_gettimeofday, SYS_sched_yield, SYS_time } from '../../sentry/abi/sysno-x64.ts';
import { Context } from '../context.ts';
import {
  CONTEXT_SIZE,
  CS,
  CTX_ANSWERS,
  CTX_CALLS,
  CTX_DATA,
  CTX_DATA_SIZE,
  CTX_DATA_USED,
  CTX_DIRTY,
  CTX_INDEX,
  CTX_INS,
  CTX_NIN,
  CTX_NONCE,
  CTX_NOUT,
  CTX_OUTS,
  CTX_REGS,
  CTX_REGS_SIZE,
  CTX_SELF,
  CTX_STATE,
  CTX_STUB_STACK,
  CTX_SYSNO,
  DIRTY_FS,
  DIRTY_GS,
  EFLAGS,
  GS_BASE,
  IN_SIZE,
  MAX_ANSWERS,
  MAX_INS,
  MAX_OUTS,
  OUT_SIZE,
  SS,
} from '../context-page.ts';
import type { Region } from '../region.ts';
import { HERE_CLOCK, HERE_FUTEX, HERE_TIME, HERE_TIMEOFDAY, HERE_YIELD, STACK_SIZE, STACKS, STUB_STACK_SIZE, WINDOW } from './layout.ts';
import type { SystrapSpace } from './systrap-space.ts';

/** Calls that the stub answers by doing something, by number. */
const HERE = new Int8Array(MAX_ANSWERS);
HERE[SYS_sched_yield] = HERE_YIELD;
HERE[SYS_futex] = HERE_FUTEX;
HERE[SYS_clock_gettime] = HERE_CLOCK;
HERE[SYS_gettimeofday] = HERE_TIMEOFDAY;
HERE[SYS_time] = HERE_TIME;

/** What the stub does to its address space. No batch is under way; one that reports its end; one that returns to the guest by itself. */
export const BATCH_NONE = 0;
export const BATCH_REPORTS = 1;
export const BATCH_TAIL = 2;
/** No host calls: the stub patches a call site on its way back to the guest. */
export const BATCH_PATCH = 3;

const USER_CS = 0x33;
const USER_SS = 0x2b;
const INITIAL_EFLAGS = 0x202;

export class SystrapContext extends Context {
  override readonly space: SystrapSpace;
  /** Its place in the address space's window of contexts. */
  readonly slot: number;
  /** It is the Sentry's turn: nothing that the page says counts until the thread has been let go on. */
  held = true;
  /** The event that was taken last, checked. */
  taken = 0;
  takenSigno = 0;
  /** The call came from a site that the stub could patch. */
  isAtSite = false;
  batch: number = BATCH_NONE;
  batchSeq = 0;
  /** The context that this one's stub is making, or is to make once its address space is free for it. */
  cloning: SystrapContext | null = null;
  /** What the thread is to do once `cloning` is made: an ACTION_*, or 0. */
  deferred = 0;
  /** Kicked before its host thread's number was known. */
  kickWanted = false;
  /** Where its thread may run; null for everywhere. */
  affinity: Uint8Array | null = null;
  /** Its thread's nice value above the Sentry's own: inherited, or set. */
  nice = 0;
  /** Released while in guest code: ends at its next event. */
  exitWanted = false;
  /** Descriptors (our duplicates) that go out when its batch starts. */
  fds: number[] = [];
  /** hostTid is a thread of this address space: the page's nonce was found in its memory. */
  verified = false;
  /** CTX_PARKED is set. */
  isParked = false;
  /** When it had its last event: Spinning.sampleTick. */
  eventTick = 0;
  /** It has posted an event. */
  isHeardOf = false;
  readonly nonce: Uint8Array = new Uint8Array(8);
  /** CPU time handed to this thread, ns. */
  cpuNs = 0;
  /** Copies that the stub makes before the guest goes on, and how much of the data area is taken. */
  outs = 0;
  dataUsed = 0;
  /** The page may have answers: its own, or those of a thread that had it before. */
  published = false;
  readonly outAddr: number[] = [];
  readonly outAt: number[] = [];
  readonly outLength: number[] = [];
  /** How many entries of CTX_INS count; see fetchedString(). */
  private windows = 0;
  fetchedLength = 0;

  constructor(region: Region, index: number, space: SystrapSpace, slot: number) {
    super(region, index, space);
    this.space = space;
    this.slot = slot;
  }

  /** The page of a context that is about to be made: empty but for what the stub starts with, and the parent's registers. */
  prepare(parent: SystrapContext | null): void {
    const { region, base, word } = this;
    region.u8.fill(0, base, base + CTX_CALLS);
    this.withdrawAnswers();
    region.i32[word + (CTX_STATE >> 2)] = 1;
    region.i32[word + (CTX_INDEX >> 2)] = this.index;
    region.store64(base + CTX_SELF, WINDOW + this.slot * CONTEXT_SIZE);
    region.store64(base + CTX_STUB_STACK, STACKS + this.slot * STACK_SIZE + STUB_STACK_SIZE);
    // So few bytes are never cut: getrandom(2).
    if (getRandom(this.nonce, 0, 8) !== 8) throw new Error('the host gives no random bytes');
    region.u8.set(this.nonce, base + CTX_NONCE);
    if (parent === null) {
      this.setReg(CS, USER_CS);
      this.setReg(SS, USER_SS);
      this.setReg(EFLAGS, INITIAL_EFLAGS);
      return;
    }
    region.u8.copyWithin(base + CTX_REGS, parent.base + CTX_REGS, parent.base + CTX_REGS + CTX_REGS_SIZE);
    // A thread starts with the stub's gs base.
    if (this.space === parent.space && this.reg(GS_BASE) !== 0) region.i32[word + (CTX_DIRTY >> 2)] = DIRTY_GS;
    const dirty = region.i32[parent.word + (CTX_DIRTY >> 2)]!;
    if (dirty !== 0) region.i32[word + (CTX_DIRTY >> 2)]! |= dirty & (DIRTY_FS | DIRTY_GS);
  }

  dropFds(): void {
    for (const fd of this.fds) closeFd(fd);
    this.fds.length = 0;
  }

  override get event(): number {
    return this.taken;
  }

  override get callNumber(): number {
    return this.region.i32[this.word + (CTX_SYSNO >> 2)]!;
  }

  override get faultSigno(): number {
    return this.takenSigno;
  }

  /** Its call is being served: the fetched arguments are as they were when it was made. */
  beginCall(): void {
    const { i32 } = this.region;
    const fetched = i32[this.word + (CTX_NIN >> 2)]!;
    this.windows = fetched > 0 && fetched <= MAX_INS ? fetched : 0;
    const used = i32[this.word + (CTX_DATA_USED >> 2)]!;
    this.dataUsed = used >= 0 && used < CTX_DATA_SIZE ? (used + 15) & ~15 : CTX_DATA_SIZE;
    this.outs = 0;
    this.space.current = this;
  }

  /** Nothing that was fetched counts any more: other threads have run since. */
  override resumeCall(): void {
    if (!this.held || this.space.dead || this.space.hostPid === 0) return;
    this.windows = 0;
    this.outs = 0;
    this.dataUsed = 0;
    this.region.i32[this.word + (CTX_NOUT >> 2)] = 0;
    this.space.current = this;
  }

  /** It is the stub's turn: what is to be copied is the stub's business now. */
  letGo(): void {
    this.outs = 0;
    if (this.space.current === this) this.space.current = null;
  }

  override endCall(): void {
    if (this.space.current !== this) return;
    if (this.outs > 0) this.space.flushOuts();
    this.space.current = null;
    if (this.held) this.space.parked(this);
  }

  override publishAnswer(nr: number, result: number): void {
    if (nr >= MAX_ANSWERS) return;
    this.published = true;
    const here = HERE[nr]!;
    this.region.i32[(this.base + CTX_ANSWERS + nr * 4) >> 2] = here !== 0 ? here : result + 1;
  }

  override withdrawAnswers(): void {
    if (!this.published) return;
    this.published = false;
    const at = (this.base + CTX_ANSWERS) >> 2;
    this.region.i32.fill(0, at, at + MAX_ANSWERS);
  }

  /** The copy that was added last is of so many bytes only. */
  shortenOut(n: number): void {
    const last = this.outs - 1;
    this.outLength[last] = n;
    this.region.i32[((this.base + CTX_OUTS + last * OUT_SIZE) >> 2) + 2] = n;
  }

  /** Whether a copy that is still to be made ends up in [addr, addr+n). */
  hasOutIn(addr: number, n: number): boolean {
    for (let i = 0; i < this.outs; i++) {
      if (this.outAddr[i]! < addr + n && addr < this.outAddr[i]! + this.outLength[i]!) return true;
    }
    return false;
  }

  forgetFetched(): void {
    this.windows = 0;
  }

  dropOuts(): void {
    this.outs = 0;
    this.region.i32[this.word + (CTX_NOUT >> 2)] = 0;
  }

  /** Where [addr, addr+n) lies in the region if it has been fetched, else -1. Entries are read once: the guest can change them. */
  fetched(addr: number, n: number): number {
    const { region } = this;
    for (let i = 0; i < this.windows; i++) {
      const entry = this.base + CTX_INS + i * IN_SIZE;
      const start = region.load64(entry);
      if (addr < start) continue;
      const length = region.i32[(entry >> 2) + 2]! >>> 0;
      const at = region.i32[(entry >> 2) + 3]! >>> 0;
      if (addr + n <= start + length && at + length <= CTX_DATA_SIZE) return this.base + CTX_DATA + at + (addr - start);
    }
    return -1;
  }

  /** Like fetched(), for as many bytes as there are, if the last of them is a NUL: how many are in fetchedLength. */
  fetchedString(addr: number): number {
    const { region } = this;
    for (let i = 0; i < this.windows; i++) {
      const entry = this.base + CTX_INS + i * IN_SIZE;
      if (region.load64(entry) !== addr) continue;
      const length = region.i32[(entry >> 2) + 2]! >>> 0;
      const at = region.i32[(entry >> 2) + 3]! >>> 0;
      if (length === 0 || at + length > CTX_DATA_SIZE) continue;
      this.fetchedLength = length;
      return this.base + CTX_DATA + at;
    }
    return -1;
  }

  /** Bytes of the data area at the returned offset (into the region) to be copied to guest memory; -1 when there is no room. */
  addOut(addr: number, n: number): number {
    if (this.outs >= MAX_OUTS || n > CTX_DATA_SIZE - this.dataUsed) return -1;
    const entry = this.base + CTX_OUTS + this.outs * OUT_SIZE;
    const at = this.dataUsed;
    this.outAddr[this.outs] = addr;
    this.outAt[this.outs] = at;
    this.outLength[this.outs] = n;
    this.region.store64(entry, addr);
    this.region.i32[(entry >> 2) + 2] = n;
    this.region.i32[(entry >> 2) + 3] = at;
    this.outs++;
    this.dataUsed = (at + n + 15) & ~15;
    this.region.i32[this.word + (CTX_NOUT >> 2)] = this.outs;
    return this.base + CTX_DATA + at;
  }
}
