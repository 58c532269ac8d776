// What the Sentry does when its guest pauses: it gives memory back. V8 would do so in idle tasks of an event loop, but
// the run loop has none, and without them a sandbox keeps for ever what its busiest moment left behind.
//
//   activity --> armed --1 s--> quiet since? --no--> 1 s more
//                                            --yes-> collect, and sleep with no timer at all

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { trimHeap } from '../host/memory.ts';
import type { Timekeeper } from './timekeeper.ts';
import { Timer, type TimerHeap } from './timers.ts';

/** How long the guest must have been quiet, in nanoseconds. */
const QUIET_NS = 1_000_000_000;

/** What is done: V8's own collector call, there for programs that ask for it by a flag, and then the C library's. */
function giver(): () => void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as (options: object) => void;
  setFlagsFromString('--no-expose-gc');
  const options = { type: 'major', execution: 'sync', flavor: 'last-resort' };
  return () => {
    collect(options);
    trimHeap();
  };
}

export class Housekeeping extends Timer {
  private readonly timers: TimerHeap;
  private readonly clock: Pick<Timekeeper, 'monotonicNs'>;
  private readonly giveBack: () => void;
  private armed = false;
  private busy = false;

  constructor(timers: TimerHeap, clock: Pick<Timekeeper, 'monotonicNs'>, giveBack = giver()) {
    super();
    this.timers = timers;
    this.clock = clock;
    this.giveBack = giveBack;
    // A larger young generation only delays its collections, which cost by what survives: there is next to nothing.
    setFlagsFromString('--semi-space-growth-factor=1');
  }

  /** Called by the run loop now and then while guests make calls. */
  noteActivity(): void {
    this.busy = true;
    if (this.armed) return;
    this.armed = true;
    this.timers.start(this, this.clock.monotonicNs() + QUIET_NS);
  }

  fired(nowNs: number): void {
    if (this.busy) {
      this.busy = false;
      this.timers.start(this, nowNs + QUIET_NS);
      return;
    }
    this.armed = false;
    this.giveBack();
  }
}
