// Threads that are told to end come to their end by themselves, once they are kicked. A hostile guest can see to it that one never
// does: it takes what its stub waits for, or blocks the kick. Its process would then never be gone, and whoever waits for it would
// wait for ever. So whatever has not come back after a while loses its address space.

import { Timer } from '../base/timers.ts';
import { TASK_GUEST, TASK_HOST_CALLS, type Task } from './task.ts';
import type { ThreadGroup } from './thread-group.ts';

/**
 * How often whoever has not come back is looked at, and kicked again, before it is given up: much longer than an honest thread takes
 * on a busy host. A machine that was stopped as a whole has missed one look, not all of them. An exec, which would have gone on, and
 * an address space that a vfork's parent has too are waited for longer.
 */
const LOOK_NS = 5e8;
const EXIT_LOOKS = 4;
const LONG_LOOKS = 30;

class ExitWatchdog extends Timer {
  private readonly group: ThreadGroup;
  /** The exec that the threads end for; null when the process ends. */
  private readonly execTask: Task | null;
  private looks: number;

  constructor(group: ThreadGroup) {
    super();
    this.group = group;
    this.execTask = group.execTask;
    this.looks = this.execTask !== null || isShared(group) ? LONG_LOOKS : EXIT_LOOKS;
  }

  start(): void {
    const { timers, clock } = this.group.kernel;
    timers.start(this, clock.monotonicNs() + LOOK_NS);
  }

  fired(): void {
    const { group } = this;
    if (!group.exiting && (this.execTask === null || group.execTask !== this.execTask)) return;
    if (!hasAbsent(group)) return;
    const { platform } = group.kernel;
    this.looks--;
    for (const t of [...group.tasks]) {
      if (!isAbsent(t)) continue;
      if (this.looks > 0) platform.kick(t.context);
      else platform.killSpace(t.context.space);
    }
    if (this.looks > 0) this.start();
  }
}

/** It is not with us, and should be. */
function isAbsent(t: Task): boolean {
  return t !== t.group.execTask && (t.state === TASK_GUEST || t.state === TASK_HOST_CALLS);
}

function hasAbsent(group: ThreadGroup): boolean {
  for (const t of group.tasks) if (isAbsent(t)) return true;
  return false;
}

/** Another process lives in the same memory: the parent of a vfork. */
function isShared(group: ThreadGroup): boolean {
  return group.tasks.length > 0 && group.tasks[0]!.mm.refs > group.tasks.length;
}

/** The process is to end, or to be one thread for an exec: those of its threads that are not with us have been kicked. */
export function watchExit(group: ThreadGroup): void {
  if (hasAbsent(group)) new ExitWatchdog(group).start();
}
