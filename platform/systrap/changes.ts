// What changes an address space, batches, clones and patches, is done by one of its threads at a time: a further one waits in
// space.waiting until the stub has acknowledged the one before.

import { systrapSend, vmRead } from 'ptrace-napi';
import { errnoName } from '../../sentry/abi/errno.ts';
import { debug } from '../../sentry/base/log.ts';
import { CTX_BATCH_SEQ, CTX_DONE_SEQ, CTX_DONE_WAITER, CTX_PATCH_PROT, CTX_PATCH_SITE } from '../context-page.ts';
import type { Region } from '../region.ts';
import { ACTION_BATCH, PATCH_ALONE } from './layout.ts';
import { AROUND, BEFORE, noPatches, Patch, type PatchStatistics } from './patches.ts';
import { BATCH_PATCH, BATCH_TAIL, type SystrapContext } from './systrap-context.ts';
import type { SystrapSpace } from './systrap-space.ts';
import type { Turns } from './turns.ts';

/** Who carries out the clones that have waited. */
export interface CloneSender {
  sendClone(parent: SystrapContext): void;
}

export class Changes {
  readonly patchCounts: PatchStatistics = noPatches();
  /** Set once, by who needs this to be made. */
  births: CloneSender | null = null;
  private readonly region: Region;
  private readonly turns: Turns;

  constructor(region: Region, turns: Turns) {
    this.region = region;
    this.turns = turns;
  }

  /** The stub would patch the site of this call: it may if the code is the guest's own and nobody else changes the address space now. */
  orderPatch(c: SystrapContext): void {
    if (!this.isFree(c)) {
      this.patchCounts.busy++;
      return;
    }
    if (!this.allowPatch(c)) return;
    c.batch = BATCH_PATCH;
    this.beginChange(c);
  }

  /** Tells the stub how the site is to be left, if it may be patched as the mappings are now, or after the batch that comes first. */
  private allowPatch(c: SystrapContext): boolean {
    c.isAtSite = false;
    const rip = this.region.load64(c.base + CTX_PATCH_SITE);
    const { space } = c;
    const { mappings } = space;
    if (mappings === null) return false;
    // The jump takes up to 7 bytes before or 6 bytes behind this address, maybe on two pages.
    const prot = mappings.patchableProt(rip - BEFORE);
    if (prot < 0 || mappings.patchableProt(rip - BEFORE + AROUND - 1) !== prot) {
      this.patchCounts.notPatchable++;
      return false;
    }
    const original = new Uint8Array(AROUND);
    if (vmRead(c.hostTid, rip - BEFORE, original, 0, AROUND) !== AROUND) return false;
    space.patches = new Patch(rip, original, space.patches);
    const isAlone = space.contexts.length === 1 && space.ending.length === 0;
    this.region.i32[c.word + (CTX_PATCH_PROT >> 2)] = prot | (isAlone ? PATCH_ALONE : 0);
    this.region.store64(c.base + CTX_PATCH_SITE, rip);
    return true;
  }

  /** From now on `c` changes its address space, until it acknowledges that. */
  private beginChange(c: SystrapContext): void {
    const { i32 } = this.region;
    c.batchSeq = (c.batchSeq + 1) | 0;
    i32[c.word + (CTX_BATCH_SEQ >> 2)] = c.batchSeq;
    i32[c.word + (CTX_DONE_WAITER >> 2)] = 0;
    c.space.busy = c;
  }

  /** Its batch is under way, now or when its address space is free for it. */
  startBatch(c: SystrapContext): void {
    if (this.isFree(c)) this.sendBatch(c);
    else c.space.waiting.push(c);
  }

  private sendBatch(c: SystrapContext): void {
    const space = c.space;
    for (const fd of c.fds) {
      const sent = systrapSend(space.socket, fd, -1);
      if (sent < 0) debug(`sending a descriptor to a stub: ${errnoName(-sent)}`);
    }
    if (c.fds.length > 0) c.dropFds();
    // A batch that does not return to the guest is followed by an answer.
    if (c.isAtSite && c.batch === BATCH_TAIL) this.allowPatch(c);
    this.beginChange(c);
    this.turns.go(c, ACTION_BATCH);
  }

  /** Whether `c` may change its address space now; otherwise whoever does so will ring when it is done. */
  isFree(c: SystrapContext): boolean {
    const { busy, waiting } = c.space;
    if (busy === null) return waiting.length === 0 || waiting[0] === c;
    if (busy === c) return true;
    if (busy.cloning !== null || (busy.batch !== BATCH_TAIL && busy.batch !== BATCH_PATCH)) return false;
    const { i32 } = this.region;
    if (Atomics.load(i32, busy.word + (CTX_DONE_SEQ >> 2)) !== busy.batchSeq) {
      Atomics.store(i32, busy.word + (CTX_DONE_WAITER >> 2), 1);
      if (Atomics.load(i32, busy.word + (CTX_DONE_SEQ >> 2)) !== busy.batchSeq) return false;
    }
    c.space.busy = null;
    return waiting.length === 0 || waiting[0] === c;
  }

  /** Lets go on who waits for its address space. */
  flush(space: SystrapSpace): void {
    const { waiting } = space;
    while (waiting.length > 0) {
      const c = waiting[0]!;
      if (!this.isFree(c)) return;
      waiting.shift();
      if (c.cloning !== null) this.births!.sendClone(c);
      else this.sendBatch(c);
    }
  }
}
