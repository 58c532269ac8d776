// Job control: kernel/signal.c:do_signal_stop() and what SIGCONT does. A stop is a state of the
// ThreadGroup; each thread joins it on its way to the guest, the last one tells the parent.

import { RAX } from '../../platform/platform.ts';
import { POLLIN } from '../abi/poll.ts';
import { CLD_CONTINUED, CLD_STOPPED, SA_NOCLDSTOP, SIG_IGN, SIGCHLD, SIGCONT } from '../abi/signal.ts';
import { BLOCKED, REGISTERS_SET } from '../base/errors.ts';
import { endListening, reportGroupStop, resumeEvent } from './ptrace.ts';
import { TASK_READY, TASK_STOPPED, type Task, WAKE_EVENT } from './task.ts';
import { notifyParentOfChildState } from './task-exit.ts';
import { recalcInterrupting, wakeForSignal } from './task-signals.ts';
import type { ThreadGroup } from './thread-group.ts';

/** do_signal_stop(): every thread of the group is to stop. */
export function startGroupStop(t: Task, signo: number): void {
  const group = t.group;
  group.stopSignal = signo;
  group.stopCount = 0;
  for (const other of group.tasks) {
    if (other.state === TASK_STOPPED) continue;
    other.signals.stopPending = true;
    group.stopCount++;
    if (other !== t) wakeForSignal(other, false);
  }
}

/** The task takes part in the stop and parks. */
export function stopTask(t: Task, result: number): number {
  t.signals.stoppedResult = result;
  t.state = TASK_STOPPED;
  t.resume = resumeStopped;
  if (t.tracee !== null) {
    // The tracer may change registers, so the result has to be among them.
    if (result !== REGISTERS_SET) t.context.setReg(RAX, result);
    t.resume = resumeEvent;
    reportGroupStop(t);
  }
  participateInStop(t);
  recalcInterrupting(t);
  return BLOCKED;
}

/** One thread fewer to stop, because it has stopped or ended; the last one tells the parent. */
export function participateInStop(t: Task): void {
  const group = t.group;
  if (!t.signals.stopPending) return;
  t.signals.stopPending = false;
  if (group.stopCount === 0 || --group.stopCount > 0) return;
  group.isStopped = true;
  group.stopUnreported = true;
  group.continuedUnreported = false;
  notifyParentOfStop(group, CLD_STOPPED, group.stopSignal);
}

function resumeStopped(t: Task, _why: number): number {
  // Signals that came while nobody wanted them are looked at now.
  recalcInterrupting(t);
  // The run loop comes to prepareReturn() again by a restart code, or by what has arrived meanwhile.
  if (!t.signals.interrupting) t.signals.fpRestoreAddr = 0;
  return t.signals.stoppedResult;
}

/** Lets a stopped task run its continuation. */
export function wakeStopped(t: Task): void {
  t.wakeReason = WAKE_EVENT;
  t.state = TASK_READY;
  t.kernel.ready.push(t);
}

/** SIGCONT has been sent: ends a stop, complete or under way. */
export function continueGroup(group: ThreadGroup): void {
  for (const t of group.tasks) {
    t.signals.stopPending = false;
    const tracee = t.tracee;
    if (tracee?.isSeized === true) {
      // It tells its tracer that the group goes on, as soon as it may: ptrace_trap_notify().
      tracee.stopAsked = true;
      t.signals.interrupting = true;
      if (tracee.listens) endListening(t);
    } else if (t.state === TASK_STOPPED && (tracee === null || tracee.stopCode === 0)) {
      wakeStopped(t);
    }
  }
  const wasStopped = group.isStopped;
  const wasStopping = group.stopCount > 0;
  group.isStopped = false;
  group.stopUnreported = false;
  group.stopCount = 0;
  if (!wasStopped && !wasStopping) return;
  group.continuedUnreported = true;
  notifyParentOfStop(group, wasStopped ? CLD_CONTINUED : CLD_STOPPED, wasStopped ? SIGCONT : group.stopSignal);
}

/** do_notify_parent_cldstop(). */
function notifyParentOfStop(group: ThreadGroup, code: number, status: number): void {
  const parent = group.parent;
  if (parent === null) return;
  const action = parent.handlers.get(SIGCHLD);
  if (action.handler !== SIG_IGN && (action.flags & SA_NOCLDSTOP) === 0) notifyParentOfChildState(group, SIGCHLD, code, status);
  parent.childWaiters.notify(POLLIN);
}
