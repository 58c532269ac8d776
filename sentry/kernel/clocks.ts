// Clock numbers of clock_gettime(2). The host's clocks are read by the Timekeeper; clocks that run
// with the CPU time of a thread or a process are here: kernel/time/posix-cpu-timers.c.

import {
  CLOCK_BOOTTIME,
  CLOCK_BOOTTIME_ALARM,
  CLOCK_MONOTONIC,
  CLOCK_MONOTONIC_COARSE,
  CLOCK_MONOTONIC_RAW,
  CLOCK_PROCESS_CPUTIME_ID,
  CLOCK_REALTIME,
  CLOCK_REALTIME_ALARM,
  CLOCK_REALTIME_COARSE,
  CLOCK_TAI,
  CLOCK_THREAD_CPUTIME_ID,
} from '../abi/time.ts';
import type { Task } from './task.ts';
import { cpuTimeNs, groupUsage } from './task-exit.ts';
import type { ThreadGroup } from './thread-group.ts';

// Clock numbers below zero name a process or a thread: ~pid << 3 | thread bit | what is counted.
const PER_THREAD = 4;
const WHICH_MASK = 3;
/** CPUCLOCK_PROF, VIRT and SCHED are below; 3 marks the clock of a device. */
const WHICH_MAX = 3;
const WHICH_VIRT = 1;

/** How often a CPU clock is looked at that is about to reach its mark; one jiffy of a Linux with HZ=1000. */
const CPU_TICK_NS = 1e6;

/** The CPU time of one thread, or of a process with all its threads. */
export class CpuClock {
  readonly group: ThreadGroup;
  readonly task: Task | null;
  /** CPUCLOCK_VIRT, ITIMER_VIRTUAL: time in user mode only. */
  private readonly isVirtual: boolean;

  constructor(group: ThreadGroup, task: Task | null, isVirtual = false) {
    this.group = group;
    this.task = task;
    this.isVirtual = isVirtual;
  }

  nowNs(): number {
    if (this.task !== null) return cpuTimeNs(this.task) * (this.isVirtual ? this.group.userShare : 1);
    const usage = groupUsage(this.group);
    return this.isVirtual ? usage.userNs : usage.userNs + usage.systemNs;
  }

  /** When to look again for a clock that has to advance by `ns`: never later than the mark can be reached. */
  lookAgainNs(ns: number): number {
    const running = this.task !== null ? 1 : Math.max(1, this.group.tasks.length);
    return this.group.kernel.clock.monotonicNs() + Math.max(ns / running, CPU_TICK_NS);
  }
}

/** A clock of the host, with the same number here and there. */
export function isHostClock(clock: number): boolean {
  switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
    case CLOCK_REALTIME_ALARM:
    case CLOCK_BOOTTIME_ALARM:
    case CLOCK_TAI:
      return true;
    default:
      return false;
  }
}

/** A host clock that can wake somebody up; the raw and coarse ones can only be read. */
export function isTimerClock(clock: number): boolean {
  return clock === CLOCK_REALTIME || clock === CLOCK_MONOTONIC || clock === CLOCK_BOOTTIME || clock === CLOCK_TAI || isAlarmClock(clock);
}

export function isAlarmClock(clock: number): boolean {
  return clock === CLOCK_REALTIME_ALARM || clock === CLOCK_BOOTTIME_ALARM;
}

/** The clock of the host that an alarm clock shows. */
export function withoutAlarm(clock: number): number {
  if (clock === CLOCK_REALTIME_ALARM) return CLOCK_REALTIME;
  return clock === CLOCK_BOOTTIME_ALARM ? CLOCK_BOOTTIME : clock;
}

/** The CPU clock that `t` means by a number, or undefined where Linux answers EINVAL: posix-cpu-timers.c:pid_for_clock(). */
export function cpuClock(t: Task, clock: number): CpuClock | undefined {
  if (clock === CLOCK_PROCESS_CPUTIME_ID) return new CpuClock(t.group, null);
  if (clock === CLOCK_THREAD_CPUTIME_ID) return new CpuClock(t.group, t);
  if (clock >= 0 || (clock & WHICH_MASK) >= WHICH_MAX) return undefined;
  const isVirtual = (clock & WHICH_MASK) === WHICH_VIRT;
  const pid = ~(clock >> 3);
  if ((clock & PER_THREAD) !== 0) {
    const task = pid === 0 ? t : t.group.pidns.task(pid);
    return task === undefined || task.group !== t.group ? undefined : new CpuClock(t.group, task, isVirtual);
  }
  if (pid === 0) return new CpuClock(t.group, null, isVirtual);
  // A thread's number stands for its process if it is our own: pid == task_pid(current).
  const group = t.group.pidns.group(pid) ?? (t.group.pidns.task(pid) === t ? t.group : undefined);
  return group === undefined ? undefined : new CpuClock(group, null, isVirtual);
}
