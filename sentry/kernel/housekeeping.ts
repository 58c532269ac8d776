// What the Sentry does when its guest pauses: it gives memory back. V8 would do so in idle tasks of an event loop, but
// the run loop has none, and without them a sandbox keeps for ever what its busiest moment left behind.
//
//   activity --> armed --1 s--> quiet since? --no--> 1 s more
//                                            --yes-> collect, and sleep with no timer at all

import { trimHeap } from '../host/memory.ts';
import type { Timekeeper } from './timekeeper.ts';
import { Timer, type TimerHeap } from './timers.ts';

/** How long the guest must have been quiet, in nanoseconds. */
const QUIET_NS = 1_000_000_000;

/**
 * What is done: V8's own collector call, there for programs that ask for it by a flag, and then the C library's.
 * The modules are loaded when the guest has paused for the first time: a start does not wait for them.
 */
function giver(): () => void {
  let collect: ((options: object) => void) | undefined;
  const options = { type: 'major', execution: 'sync', flavor: 'last-resort' };
  return () => {
    if (collect === undefined) {
      const { setFlagsFromString } = process.getBuiltinModule('node:v8');
      setFlagsFromString('--expose-gc');
      collect = process.getBuiltinModule('node:vm').runInNewContext('gc') as (options: object) => void;
    }
    collect(options);
    trimHeap();
  };
}

export class Housekeeping extends Timer {
  private readonly timers: TimerHeap;
  private readonly clock: Pick<Timekeeper, 'monotonicNs'>;
  private readonly giveBack: () => void;
  /** Called once a second while guests make calls, and once when they pause. */
  private readonly everySecond: () => void;
  private armed = false;
  private busy = false;

  constructor(timers: TimerHeap, clock: Pick<Timekeeper, 'monotonicNs'>, giveBack = giver(), everySecond: () => void = () => {}) {
    super();
    this.everySecond = everySecond;
    this.timers = timers;
    this.clock = clock;
    this.giveBack = giveBack;
  }

  /** Called by the run loop now and then while guests make calls. */
  noteActivity(): void {
    this.busy = true;
    if (this.armed) return;
    this.armed = true;
    this.timers.start(this, this.clock.monotonicNs() + QUIET_NS);
  }

  fired(nowNs: number): void {
    this.everySecond();
    if (this.busy) {
      this.busy = false;
      this.timers.start(this, nowNs + QUIET_NS);
      return;
    }
    this.armed = false;
    this.giveBack();
  }
}
