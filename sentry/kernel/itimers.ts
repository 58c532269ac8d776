// Interval timers of a process: setitimer(2) and alarm(2), kernel/time/itimer.c. ITIMER_REAL runs
// on the monotonic clock, the others on the process's CPU time. Guest code runs without our
// noticing, so a CPU timer looks at its clock at the earliest moment its mark can be reached.

import { SIGALRM, SIGPROF, SIGVTALRM } from '../abi/signal.ts';
import { CpuClock } from './clocks.ts';
import { kernelInfo, sendKernelSignal, sendToRunning } from './task-signals.ts';
import type { GroupTimers, ThreadGroup } from './thread-group.ts';
import { FOREVER, Timer } from './timers.ts';

/** Shorter intervals would leave the Sentry no time for anything else. */
const MIN_INTERVAL_NS = 20000;

export class IntervalTimer extends Timer {
  private readonly group: ThreadGroup;
  private readonly signo: number;
  private readonly cpu: CpuClock | null;
  /** In ns of the timer's clock; FOREVER while it is off. */
  private expiryNs = FOREVER;
  intervalNs = 0;

  constructor(group: ThreadGroup, signo: number, cpu: CpuClock | null) {
    super();
    this.group = group;
    this.signo = signo;
    this.cpu = cpu;
  }

  /** Time to the next signal, 0 when off. */
  remainingNs(): number {
    // A timer that is due but has not been served is on: "we can't return 0 if we have a timer pending" - itimer.c.
    return this.expiryNs === FOREVER ? 0 : Math.max(1000, this.expiryNs - this.nowNs());
  }

  /** valueNs 0 switches it off. */
  set(valueNs: number, intervalNs: number): void {
    this.intervalNs = intervalNs;
    this.expiryNs = valueNs === 0 ? FOREVER : this.nowNs() + valueNs;
    this.schedule();
  }

  override fired(nowNs: number): void {
    const now = this.cpu === null ? nowNs : this.cpu.nowNs();
    if (now >= this.expiryNs) {
      if (this.cpu === null) sendKernelSignal(this.group, this.signo);
      else sendToRunning(this.group, kernelInfo(this.signo));
      const step = Math.max(this.intervalNs, MIN_INTERVAL_NS);
      // Expiries that were missed are one signal: hrtimer_forward().
      this.expiryNs = this.intervalNs === 0 ? FOREVER : this.expiryNs + step * (Math.floor((now - this.expiryNs) / step) + 1);
    }
    this.schedule();
  }

  private nowNs(): number {
    return this.cpu === null ? this.group.kernel.clock.monotonicNs() : this.cpu.nowNs();
  }

  private schedule(): void {
    const timers = this.group.kernel.timers;
    if (this.expiryNs === FOREVER) timers.stop(this);
    else timers.start(this, this.cpu === null ? this.expiryNs : this.cpu.lookAgainNs(this.expiryNs - this.cpu.nowNs()));
  }
}

/** The three of a process, by ITIMER_*. */
export class IntervalTimers implements GroupTimers {
  readonly timers: readonly IntervalTimer[];

  constructor(group: ThreadGroup) {
    this.timers = [
      new IntervalTimer(group, SIGALRM, null),
      new IntervalTimer(group, SIGVTALRM, new CpuClock(group, null, true)),
      new IntervalTimer(group, SIGPROF, new CpuClock(group, null)),
    ];
  }

  release(): void {
    for (const timer of this.timers) timer.set(0, 0);
  }
}

/** The process's timer `which` (ITIMER_*), made on first use. */
export function intervalTimer(group: ThreadGroup, which: number): IntervalTimer {
  group.itimers ??= new IntervalTimers(group);
  return (group.itimers as IntervalTimers).timers[which]!;
}
