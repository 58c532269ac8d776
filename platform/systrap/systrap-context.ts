// One guest thread on the systrap platform: what the Sentry knows of it without asking the page,
// which the guest can write.

import { Context } from '../context.ts';
import { CTX_DATA, CTX_DATA_SIZE, CTX_NOUT, CTX_OUTS, MAX_OUTS, OUT_SIZE } from '../context-page.ts';
import type { Region } from '../region.ts';
import type { SystrapSpace } from './systrap-space.ts';

/** No batch is under way; one that reports its end; one that returns to the guest by itself. */
export const BATCH_NONE = 0;
export const BATCH_REPORTS = 1;
export const BATCH_TAIL = 2;

export class SystrapContext extends Context {
  override readonly space: SystrapSpace;
  /** Its place in the address space's window of contexts. */
  readonly slot: number;
  /** It is the Sentry's turn: nothing that the page says counts until the thread has been let go on. */
  held = true;
  /** The event that was taken last, checked. */
  taken = 0;
  takenSigno = 0;
  batch: number = BATCH_NONE;
  batchSeq = 0;
  /** The context that this one's stub is making, or is to make once its address space is free for it. */
  cloning: SystrapContext | null = null;
  /** What the thread is to do once `cloning` is made: an ACTION_*, or 0. */
  deferred = 0;
  /** Kicked before its host thread's number was known. */
  kickWanted = false;
  /** Released while in guest code: ends at its next event. */
  exitWanted = false;
  /** Descriptors (our duplicates) that go out when its batch starts. */
  fds: number[] = [];
  /** hostTid is a thread of this address space: the page's nonce was found in its memory. */
  verified = false;
  readonly nonce: Uint8Array = new Uint8Array(8);
  /** CPU time handed to this thread, ns. */
  cpuNs = 0;
  /** Copies that the stub makes before the guest goes on, and how much of the data area is taken. */
  outs = 0;
  dataUsed = 0;

  constructor(region: Region, index: number, space: SystrapSpace, slot: number) {
    super(region, index, space);
    this.space = space;
    this.slot = slot;
  }

  override get event(): number {
    return this.taken;
  }

  override get faultSigno(): number {
    return this.takenSigno;
  }

  /** Bytes of the data area at the returned offset (into the region) to be copied to guest memory; -1 when there is no room. */
  addOut(addr: number, n: number): number {
    if (this.outs >= MAX_OUTS || n > CTX_DATA_SIZE - this.dataUsed) return -1;
    const entry = this.base + CTX_OUTS + this.outs * OUT_SIZE;
    const at = this.dataUsed;
    this.region.store64(entry, addr);
    this.region.i32[(entry >> 2) + 2] = n;
    this.region.i32[(entry >> 2) + 3] = at;
    this.outs++;
    this.dataUsed = (at + n + 15) & ~15;
    this.region.i32[this.word + (CTX_NOUT >> 2)] = this.outs;
    return this.base + CTX_DATA + at;
  }
}
