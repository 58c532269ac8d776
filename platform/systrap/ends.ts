// How contexts and their processes end: released by the kernel, killed for what they tell, or dead by themselves.

import { systrapKill, systrapReap, systrapWake } from 'ptrace-napi';
import { SIGKILL } from '../../sentry/abi/signal.ts';
import { objectArray } from '../../sentry/base/array.ts';
import { debug } from '../../sentry/base/log.ts';
import { CTX_ACTION, CTX_STATE, CTX_WAIT_STATUS } from '../context-page.ts';
import { EVENT_DIED } from '../platform.ts';
import type { Changes } from './changes.ts';
import type { ContextTable } from './context-table.ts';
import { verify } from './host-thread.ts';
import { ACTION_EXIT } from './layout.ts';
import { addCounts } from './patches.ts';
import type { Spinning } from './spinning.ts';
import type { SystrapContext } from './systrap-context.ts';
import type { SystrapSpace } from './systrap-space.ts';
import type { Turns } from './turns.ts';

/** Spaces whose descriptors may wait for an idle moment. */
const MAX_GONE = 64;
/** Processes that have come to their end but may be killed a little later. */
const MAX_DOOMED = 16;
/** Deaths of processes whose clone is not reported yet; more are a stub's own inventions. */
const MAX_UNKNOWN_DEATHS = 256;

export class Ends {
  /** The living processes by the host's number. */
  readonly spaces: Map<number, SystrapSpace> = new Map();
  readonly unknownDeaths: Map<number, number> = new Map();
  /** Spaces whose descriptors are still to be closed. */
  private readonly gone = objectArray<SystrapSpace>();
  /** The last contexts of released processes that are still to be killed. */
  private readonly doomed = objectArray<SystrapContext>();
  private readonly contexts: ContextTable;
  private readonly turns: Turns;
  private readonly spinning: Spinning;
  private readonly changes: Changes;
  private readonly out = new Int32Array(1);

  constructor(contexts: ContextTable, turns: Turns, spinning: Spinning, changes: Changes) {
    this.contexts = contexts;
    this.turns = turns;
    this.spinning = spinning;
    this.changes = changes;
  }

  hasToTidy(): boolean {
    return this.doomed.length > 0 || this.gone.length > 0;
  }

  /** Does one thing that could wait; false when there was none. */
  tidy(): boolean {
    if (this.endDoomed()) return true;
    const gone = this.gone.pop();
    if (gone === undefined) return false;
    gone.close();
    return true;
  }

  releaseContext(c: SystrapContext): void {
    const space = c.space;
    const at = space.contexts.indexOf(c);
    if (at < 0) return;
    this.turns.settle(c);
    c.endCall();
    if (space.contexts.length === 1) {
      this.releaseSpace(space);
      return;
    }
    space.contexts.splice(at, 1);
    c.dropFds();
    if (space.dead) {
      this.contexts.at[c.index] = undefined;
      this.contexts.freeIndex(c.index);
      return;
    }
    const waits = space.waiting.indexOf(c);
    if (waits >= 0 && c.cloning === null) space.waiting.splice(waits, 1);
    if (c.cloning === null && c.held) {
      this.exitThread(c);
      return;
    }
    space.leaving.push(c);
    c.exitWanted = true;
    if (c.cloning !== null) c.deferred = ACTION_EXIT;
    else this.turns.kick(c);
  }

  exitThread(c: SystrapContext): void {
    addCounts(this.changes.patchCounts, c);
    const space = c.space;
    this.turns.forget(c);
    this.contexts.at[c.index] = undefined;
    space.ending.push(c);
    const at = space.leaving.indexOf(c);
    if (at >= 0) space.leaving.splice(at, 1);
    if (space.busy === c) space.busy = null;
    this.turns.go(c, ACTION_EXIT);
    this.spinning.setInGuest(c, false);
    this.changes.flush(space);
  }

  releaseSpace(space: SystrapSpace): void {
    if (space.released) return;
    this.turns.settleSpace(space);
    space.released = true;
    if (!space.dead && space.hostPid !== 0) this.end(space);
    for (const c of space.contexts) this.forget(c);
    for (const c of space.leaving) this.forget(c);
    for (const c of space.ending) this.contexts.freeIndex(c.index);
    space.contexts.length = 0;
    space.leaving.length = 0;
    space.ending.length = 0;
    space.waiting.length = 0;
    if (space.maker === null) this.gone.push(space);
    if (this.gone.length > MAX_GONE) this.gone.pop()!.close();
  }

  killSpace(space: SystrapSpace): void {
    if (space.dead || space.released) return;
    debug(`stub process ${space.hostPid} does not come back and is killed`);
    if (space.hostPid !== 0) this.kill(space, space.contexts[0]!);
    this.spaceDied(space, SIGKILL);
  }

  /**
   * A process whose only thread waits for us does nothing any more, and giving back its memory takes the host long, on our own
   * processor: that is for an idle moment, when who has waited for its end goes on already.
   */
  private end(space: SystrapSpace): void {
    const last = space.contexts[0]!;
    const isStill = space.contexts.length === 1 && space.ending.length === 0 && last.held;
    if (isStill && this.doomed.length < MAX_DOOMED) this.doomed.push(last);
    else this.kill(space, last);
  }

  /** False when there was none. */
  endDoomed(): boolean {
    const c = this.doomed.pop();
    if (c === undefined) return false;
    // One that has ended by itself may have left its number to another.
    if (this.spaces.get(c.space.hostPid) === c.space) this.kill(c.space, c);
    return true;
  }

  private forget(c: SystrapContext): void {
    addCounts(this.changes.patchCounts, c);
    this.turns.forget(c);
    this.spinning.setInGuest(c, false);
    this.endClone(c);
    c.dropFds();
    this.contexts.at[c.index] = undefined;
    this.contexts.freeIndex(c.index);
  }

  /** Its maker ends before it has told of the birth: nobody will ever know the child's number, so it is to end by itself. */
  private orphaned(child: SystrapContext): void {
    if (child.space.released) {
      // Its page may be another's by now: what of it has been made stays where it is until the sandbox ends.
      child.space.maker = null;
      child.space.close();
      return;
    }
    const { i32 } = this.contexts.region;
    i32[child.word + (CTX_ACTION >> 2)] = ACTION_EXIT;
    Atomics.store(i32, child.word + (CTX_STATE >> 2), 0);
    systrapWake(this.contexts.region.buffer, child.base + CTX_STATE);
    child.space.maker = null;
    this.spaceDied(child.space, SIGKILL);
  }

  /** Ends the process, if it is the one that its maker has named: what a tampering stub has made of itself dies with the sandbox at the latest. */
  kill(space: SystrapSpace, of: SystrapContext): void {
    if (space.isVerified || (of.hostTid === space.hostPid && verify(of))) systrapKill(space.hostPid, SIGKILL);
  }

  contextDied(c: SystrapContext, status: number): void {
    this.contexts.region.i32[c.word + (CTX_WAIT_STATUS >> 2)] = status;
    this.spinning.setInGuest(c, false);
    c.held = true;
    c.taken = EVENT_DIED;
    this.turns.untold.push(c);
  }

  spaceDied(space: SystrapSpace, status: number): void {
    if (space.dead) return;
    debug(`stub process ${space.hostPid} has ended with wait status ${status}`);
    space.dead = true;
    space.busy = null;
    space.waiting.length = 0;
    for (const c of space.leaving) this.endClone(c);
    for (const c of space.contexts) {
      this.endClone(c);
      this.contextDied(c, status);
    }
  }

  /** Nobody will tell any more whether c's stub has made the child. */
  private endClone(c: SystrapContext): void {
    const child = c.cloning;
    c.cloning = null;
    c.deferred = 0;
    if (child !== null && child.space !== c.space) this.orphaned(child);
  }

  /** A stub that says what cannot be: its process ends. */
  tampering(c: SystrapContext, what: string): void {
    debug(`context ${c.index}: ${what}`);
    const space = c.space;
    if (space.hostPid !== 0) this.kill(space, c);
    this.spaceDied(space, SIGKILL);
  }

  /** Takes note of the processes that have ended. */
  reap(): void {
    for (;;) {
      const pid = systrapReap(this.out);
      if (pid <= 0) return;
      const space = this.spaces.get(pid);
      if (space === undefined) {
        // The oldest is given up: stubs that were made behind our back die unknown too.
        if (this.unknownDeaths.size >= MAX_UNKNOWN_DEATHS) this.unknownDeaths.delete(this.unknownDeaths.keys().next().value!);
        this.unknownDeaths.set(pid, this.out[0]!);
        continue;
      }
      this.spaces.delete(pid);
      if (!space.released) this.spaceDied(space, this.out[0]!);
    }
  }
}
