// The Sentry's one loop. Woken tasks first, since they hold results that guests wait for; then the
// next event of the platform; timers when they are due. Nothing here or below waits: the only
// sleep is platform.next(), until an event or the nearest deadline.

import { NEXT_HOST, NEXT_TIMEOUT } from '../../platform/platform.ts';
import { containFailure } from './failure.ts';
import { Housekeeping } from './housekeeping.ts';
import type { Kernel } from './kernel.ts';
import { TASK_DEAD, TASK_READY } from './task.ts';
import { continueTask, handleEvent } from './task-run.ts';

/** How many events may pass before the clock is read: a due timer waits for at most as many calls. */
const TIMER_INTERVAL = 32;

/** Runs until kernel.stop(). */
export function runLoop(kernel: Kernel): void {
  const housekeeping = new Housekeeping(kernel.timers, kernel.clock, undefined, () => kernel.everySecond());
  while (!kernel.stopped) {
    try {
      turns(kernel, housekeeping);
    } catch (error) {
      containFailure(kernel, error);
    }
  }
}

function turns(kernel: Kernel, housekeeping: Housekeeping): void {
  const platform = kernel.platform;
  let untilTimers = TIMER_INTERVAL;
  while (!kernel.stopped) {
    for (let t = kernel.ready.shift(); t !== null; t = kernel.ready.shift()) {
      kernel.current = t;
      if (t.state === TASK_READY) continueTask(t);
    }
    kernel.current = null;
    if (kernel.stopped) return;
    const index = platform.next(kernel.timers.next());
    if (index >= 0) {
      const t = kernel.taskOfContext[index];
      if (t !== undefined) kernel.current = t;
      if (t !== undefined && t.state !== TASK_DEAD) handleEvent(t, platform.contextAt(index).event);
      if (--untilTimers > 0) continue;
    } else if (index === NEXT_HOST) {
      kernel.takeHostEvents();
    }
    kernel.current = null;
    untilTimers = TIMER_INTERVAL;
    if (index !== NEXT_TIMEOUT) housekeeping.noteActivity();
    if (kernel.timers.next() !== Number.POSITIVE_INFINITY) kernel.timers.expire(kernel.clock.monotonicNs());
  }
}
