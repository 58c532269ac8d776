// What every guest thread is doing, for `runsc debug --stacks`: the call it is in, spelled as --strace spells it, what
// ends its wait, and the function of the Sentry that goes on then.

import { FOREVER } from '../base/timers.ts';
import type { GuestContainer } from '../kernel/guest-container.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { TASK_BLOCKED, TASK_DEAD, TASK_HOST_CALLS, type Task } from '../kernel/task.ts';
import { inputs } from '../syscalls/strace-format.ts';
import { table } from '../syscalls/table.ts';
import type { TaskInfo } from './control-protocol.ts';

/** A container's threads in order of their number; at most `most`, since one message holds them. */
export function reportTasks(kernel: Kernel, container: GuestContainer, most: number): TaskInfo[] {
  const tasks = [...kernel.tasks.values()]
    .filter((t) => t.group.container === container && t.state !== TASK_DEAD)
    .sort((a, b) => a.tid - b.tid);
  return tasks.slice(0, most).map((t) => ({ pid: t.group.tgid, tid: t.tid, command: t.comm, state: t.stateLetter(), ...waitOf(t) }));
}

function waitOf(t: Task): Pick<TaskInfo, 'call' | 'until' | 'resume'> {
  const isParked = t.state === TASK_BLOCKED || t.state === TASK_HOST_CALLS;
  if (!isParked) return {};
  return { call: callOf(t), until: endOf(t), resume: t.resume?.name || undefined };
}

/** Arguments that the call only fills have no value yet. */
function callOf(t: Task): string {
  const entry = table[t.sysno];
  if (entry === undefined) return `syscall_${t.sysno}`;
  return `${entry.name}(${inputs(t, entry.name, entry.args)
    .map((text) => text ?? '...')
    .join(', ')})`;
}

function endOf(t: Task): string {
  if (t.state === TASK_HOST_CALLS) return 'its stub has made host calls';
  const ends = ['an event'];
  if (t.deadlineNs !== FOREVER) ends.push(`${Math.max(0, (t.deadlineNs - t.kernel.clock.monotonicNs()) / 1e9).toFixed(3)} s have passed`);
  ends.push(t.interruptible ? 'a signal' : 'a fatal signal');
  return ends.join(', or ');
}
