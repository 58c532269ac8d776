// Whose turn it is: handing contexts to their stubs, and which state word is watched so that its stub need not announce events.

import { systrapKick, systrapWake } from 'ptrace-napi';
import { objectArray } from '../../sentry/base/array.ts';
import { CTX_ACTION, CTX_CPU, CTX_KICKED, CTX_PARKED, CTX_SLEEPING, CTX_STATE, CTX_WAKE_SLOT, CTX_WATCHED } from '../context-page.ts';
import type { Region } from '../region.ts';
import { isOwn } from './host-thread.ts';
import { ACTION_EXIT, ACTION_RAX } from './layout.ts';
import type { Spinning } from './spinning.ts';
import type { SystrapContext } from './systrap-context.ts';
import type { SystrapSpace } from './systrap-space.ts';

export class Turns {
  /** Contexts whose event is taken already and still to be told: those that have died, and who was heard while a birth was waited for. */
  readonly untold = objectArray<SystrapContext>();
  /** Contexts with an event that was not announced. */
  readonly missed = objectArray<SystrapContext>();
  /** Whose state word is looked at besides the ring, and who has had the last event: who has two in a row is worth it. */
  watched: SystrapContext | null = null;
  private recent: SystrapContext | null = null;
  /** Answered, but not let go on yet: its stub can wake a thread that is answered next. The run loop sees to it at the latest. */
  private due: SystrapContext | null = null;
  private readonly region: Region;
  private readonly spinning: Spinning;

  constructor(region: Region, spinning: Spinning) {
    this.region = region;
    this.spinning = spinning;
  }

  /** It is the stub's turn. */
  go(c: SystrapContext, action: number): void {
    const { i32 } = this.region;
    i32[c.word + (CTX_ACTION >> 2)] = action;
    c.held = false;
    c.letGo();
    // One that is not born yet takes nobody's processor.
    if (c.hostTid !== 0) this.spinning.setInGuest(c, action !== ACTION_EXIT);
    if (c.isParked) {
      c.isParked = false;
      i32[c.word + (CTX_PARKED >> 2)] = 0;
    }
    const { due } = this;
    const isAsleep = Atomics.load(i32, c.word + (CTX_SLEEPING >> 2)) !== 0;
    if (due !== null) {
      this.due = null;
      if (isAsleep && due.space === c.space) {
        i32[due.word + (CTX_WAKE_SLOT >> 2)] = c.slot + 1;
        Atomics.store(i32, c.word + (CTX_STATE >> 2), 0);
        this.release(due);
        return;
      }
      this.release(due);
    }
    if (action === ACTION_RAX && !isAsleep) this.due = c;
    else this.release(c);
  }

  /** The stub finds the answer, or is woken to do so. */
  private release(c: SystrapContext): void {
    const { i32 } = this.region;
    Atomics.store(i32, c.word + (CTX_STATE >> 2), 0);
    this.spinning.lastCpu = 0;
    if (Atomics.load(i32, c.word + (CTX_SLEEPING >> 2)) === 0) return;
    this.spinning.lastCpu = i32[c.word + (CTX_CPU >> 2)]!;
    systrapWake(this.region.buffer, c.base + CTX_STATE);
  }

  /** Lets go on who is answered and was not let go on yet. */
  releaseDue(): void {
    const { due } = this;
    if (due === null) return;
    this.due = null;
    this.release(due);
  }

  /** A call that is not answered yet will not be soon: its stub need not look for the answer, unless there are processors to spare. */
  parked(c: SystrapContext): void {
    if (this.spinning.hasSpareCpu()) return;
    c.isParked = true;
    this.region.i32[c.word + (CTX_PARKED >> 2)] = 1;
  }

  /** Sends its thread into EVENT_KICKED, or has it look before it enters the guest. */
  kick(c: SystrapContext): void {
    if (c.space.dead) return;
    if (c.hostTid === 0 || !c.space.isVerified) {
      // Looked at before the thread enters the guest for the first time; if it is just doing so, the signal comes with its number.
      c.kickWanted = true;
      this.region.i32[c.word + (CTX_KICKED >> 2)] = 1;
      // A number that a stub has made up, ours even, must not get a signal.
      if (c.hostTid === 0 || !isOwn(c.space)) return;
    }
    c.kickWanted = false;
    systrapKick(c.space.hostPid, c.hostTid);
  }

  /** Looks at c's state word from now on: its stub stores no announcement, which costs it and us four cache lines. c is ours. */
  private watchState(c: SystrapContext): void {
    this.unwatchState();
    this.watched = c;
    this.region.i32[c.word + (CTX_WATCHED >> 2)] = 1;
  }

  /** Its stub rings again, unless it has just posted something. */
  unwatchState(): void {
    const c = this.watched;
    if (c === null) return;
    this.watched = null;
    const { i32 } = this.region;
    Atomics.store(i32, c.word + (CTX_WATCHED >> 2), 0);
    if (!c.held && i32[c.word + (CTX_STATE >> 2)] === 1) this.missed.push(c);
  }

  hasWatchedEvent(): boolean {
    const c = this.watched;
    return c !== null && !c.held && this.region.i32[c.word + (CTX_STATE >> 2)] === 1;
  }

  /** c has had an event, and is ours. */
  heard(c: SystrapContext): void {
    if (c !== this.recent) this.recent = c;
    else if (c !== this.watched) this.watchState(c);
  }

  /** c is about to be released. */
  settle(c: SystrapContext): void {
    if (this.due === c) this.releaseDue();
  }

  settleSpace(space: SystrapSpace): void {
    if (this.due !== null && this.due.space === space) this.releaseDue();
  }

  forget(c: SystrapContext): void {
    if (this.watched === c) this.watched = null;
    if (this.recent === c) this.recent = null;
  }
}
