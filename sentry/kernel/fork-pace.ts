// How fast a process may make others while the machine has more than enough to do. On Linux whoever forks shares the CPUs
// with its children, so that a program that starts others as fast as it can gets as far as these do. Here a
// fork is one call among the hundreds of each child that waits for the Sentry, and would run thousands of processes ahead.

import { TASK_GUEST, type Task } from './task.ts';

/** So many threads a CPU are a crowd. */
const CROWD = 16;
/** What a fork and its child's beginning cost, for each thread that shares the CPU. */
const SHARE_NS = 1e6;
const LONGEST_NS = 50e6;

/** How long a process has to stand back after a fork: 0 as long as there is no crowd. */
export function pauseAfterFork(t: Task): number {
  const { tasks, machine } = t.kernel;
  const cpus = Math.max(1, machine.cpuCount);
  if (tasks.size < CROWD * cpus) return 0;
  let running = 0;
  for (const task of tasks.values()) if (task.state === TASK_GUEST) running++;
  return running < CROWD * cpus ? 0 : Math.min(LONGEST_NS, (running / cpus) * SHARE_NS);
}
