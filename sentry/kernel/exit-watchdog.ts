// Threads that are told to end come to their end by themselves, once they are kicked. A hostile guest can see to it that one never
// does: it takes what its stub waits for, or blocks the kick. Its process would then never be gone, and whoever waits for it would
// wait for ever. So whatever has not come back after a while loses its address space.

import { Timer } from '../base/timers.ts';
import { TASK_GUEST, TASK_HOST_CALLS } from './task.ts';
import type { ThreadGroup } from './thread-group.ts';

/** Much longer than an honest thread takes on a busy host. An exec, which would have gone on, is waited for longer. */
const EXIT_GRACE_NS = 2e9;
const EXEC_GRACE_NS = 15e9;

class ExitWatchdog extends Timer {
  private readonly group: ThreadGroup;

  constructor(group: ThreadGroup) {
    super();
    this.group = group;
  }

  fired(): void {
    const { group } = this;
    if (!group.exiting && group.execTask === null) return;
    for (const t of [...group.tasks]) {
      if (t === group.execTask || (t.state !== TASK_GUEST && t.state !== TASK_HOST_CALLS)) continue;
      group.kernel.platform.killSpace(t.context.space);
    }
  }
}

/** The process is to end, or to be one thread for an exec: those of its threads that are not with us have been kicked. */
export function watchExit(group: ThreadGroup): void {
  const { kernel, execTask } = group;
  for (const t of group.tasks) {
    if (t === execTask || (t.state !== TASK_GUEST && t.state !== TASK_HOST_CALLS)) continue;
    kernel.timers.start(new ExitWatchdog(group), kernel.clock.monotonicNs() + (execTask === null ? EXIT_GRACE_NS : EXEC_GRACE_NS));
    return;
  }
}
