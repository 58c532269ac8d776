// RLIMIT_CPU: kernel/time/posix-cpu-timers.c:check_process_timers(). SIGXCPU at the soft limit and
// every second from then on, SIGKILL at the hard one.

import { RLIMIT_CPU } from '../abi/sched.ts';
import { SIGKILL, SIGXCPU } from '../abi/signal.ts';
import { CpuClock } from './clocks.ts';
import { UNLIMITED } from './limits.ts';
import { sendKernelSignal } from './task-signals.ts';
import type { GroupTimers, ThreadGroup } from './thread-group.ts';
import { Timer } from './timers.ts';

class CpuLimitTimer extends Timer implements GroupTimers {
  private readonly group: ThreadGroup;
  private readonly clock: CpuClock;

  constructor(group: ThreadGroup) {
    super();
    this.group = group;
    this.clock = new CpuClock(group, null);
  }

  /** Looks at the clock when the nearer limit can be reached at the earliest. */
  schedule(): void {
    const { limits, kernel } = this.group;
    const nextNs = Math.min(limits.soft[RLIMIT_CPU]!, limits.hard[RLIMIT_CPU]!) * 1e9;
    if (nextNs === UNLIMITED) kernel.timers.stop(this);
    else kernel.timers.start(this, this.clock.lookAgainNs(nextNs - this.clock.nowNs()));
  }

  override fired(_nowNs: number): void {
    const { limits } = this.group;
    const usedNs = this.clock.nowNs();
    if (usedNs >= limits.hard[RLIMIT_CPU]! * 1e9) {
      sendKernelSignal(this.group, SIGKILL);
      return;
    }
    const soft = limits.soft[RLIMIT_CPU]!;
    if (usedNs >= soft * 1e9) {
      sendKernelSignal(this.group, SIGXCPU);
      // The limit itself moves on, and getrlimit shows it.
      limits.soft[RLIMIT_CPU] = soft + 1;
    }
    this.schedule();
  }

  release(): void {
    this.group.kernel.timers.stop(this);
  }
}

/** The limit has been set, or inherited. */
export function watchCpuLimit(group: ThreadGroup): void {
  const { limits } = group;
  if (group.cpuLimit === null && limits.soft[RLIMIT_CPU] === UNLIMITED && limits.hard[RLIMIT_CPU] === UNLIMITED) return;
  group.cpuLimit ??= new CpuLimitTimer(group);
  (group.cpuLimit as CpuLimitTimer).schedule();
}
