// Who traces whom: attaching, detaching, and what the births and deaths of tracees and tracers mean
// for it. kernel/ptrace.c, include/linux/ptrace.h:ptrace_init_task(). The stops are in ptrace.ts.

import { EPERM, ESRCH } from '../abi/errno.ts';
import { POLLIN } from '../abi/poll.ts';
import { PTRACE_O_EXITKILL } from '../abi/ptrace.ts';
import { SI_USER, SIGKILL, SIGSTOP } from '../abi/signal.ts';
import { reportGroupStop, Tracee } from './ptrace.ts';
import { SigInfo } from './signal-queue.ts';
import { TASK_DEAD, TASK_STOPPED, type Task } from './task.ts';
import { kernelInfo, sendKernelSignal, sendSignal } from './task-signals.ts';
import { wakeStopped } from './task-stop.ts';
import type { ThreadGroup } from './thread-group.ts';

// ---- attaching

/** PTRACE_ATTACH, PTRACE_SEIZE and TRACEME after all permission checks. -EPERM for one that is traced already. `caller` has made the call. */
export function attach(tracer: Task, target: Task, caller: Task, isSeized: boolean, options: number): number {
  if (target.state === TASK_DEAD || target.tracee !== null || target.group === tracer.group) return -EPERM;
  link(tracer, target, new Tracee(tracer, caller.creds, isSeized, options));
  return 0;
}

function link(tracer: Task, target: Task, tracee: Tracee): void {
  target.tracee = tracee;
  target.watched = true;
  target.mm.showCode();
  tracer.tracees ??= new Set();
  tracer.tracees.add(target);
}

/** What a newly attached task is told: SIGSTOP, unless it is seized; one that is stopped already shows it. */
export function stopAttached(target: Task): void {
  const tracee = target.tracee!;
  if (target.state === TASK_STOPPED) {
    reportGroupStop(target);
  } else if (!tracee.isSeized) {
    sendSignal(target, kernelInfo(SIGSTOP), true);
  }
}

/** Ends the tracing; a stopped tracee goes on, with the signal if there is one. */
export function detach(target: Task, signo: number): void {
  const tracee = target.tracee;
  if (tracee === null) return;
  target.tracee = null;
  target.watched = target.seccompMode !== 0 || target.userDispatch !== null;
  tracee.tracer.tracees?.delete(target);
  if (target.state !== TASK_STOPPED || tracee.stopCode === 0) return;
  target.signals.ptraceSignal = signo;
  target.signals.ptraceInfo = tracee.info;
  // A stop of the whole group outlives the tracer.
  if (!(tracee.isGroupStop && target.group.isStopped)) wakeStopped(target);
}

/** The tracer ends: its tracees are free, or die with it. Answers those that are dead and whose parents have not been told. */
export function exitTracer(t: Task): Task[] {
  const dead: Task[] = [];
  if (t.tracees === null) return dead;
  for (const target of [...t.tracees]) {
    const kills = (target.tracee!.options & PTRACE_O_EXITKILL) !== 0;
    detach(target, 0);
    if (target.group.isDead) dead.push(target);
    else if (kills) sendKernelSignal(target.group, SIGKILL);
  }
  t.tracees = null;
  return dead;
}

// ---- births

/** The child of a traced clone is traced too, and begins stopped. */
export function traceChild(t: Task, child: Task): void {
  const tracee = t.tracee!;
  const own = new Tracee(tracee.tracer, tracee.creds, tracee.isSeized, tracee.options);
  link(tracee.tracer, child, own);
  if (own.isSeized) own.stopAsked = true;
  else child.signals.pending.add(new SigInfo(SIGSTOP, SI_USER));
  child.signals.interrupting = true;
}

// ---- deaths

/** A traced thread that is no leader has ended: its tracer waits for it. Whether its number must be kept. */
export function leaveTraceZombie(t: Task): boolean {
  const tracee = t.tracee;
  if (tracee === null) return false;
  const tracer = tracee.tracer;
  t.tracee = null;
  tracer.tracees?.delete(t);
  tracer.group.traceZombies.push(t);
  tracer.group.childWaiters.notify(POLLIN);
  return true;
}

/** The process of somebody else's child has ended: the tracer is told first. */
export function tracerGroup(group: ThreadGroup): ThreadGroup | null {
  const tracee = group.leader.tracee;
  return tracee === null || tracee.tracer.group === group.parent ? null : tracee.tracer.group;
}

/** A tracee that requests may work on: -ESRCH when it is not ours or not stopped. ptrace_check_attach(). */
export function checkStopped(t: Task, target: Task): number {
  const tracee = target.tracee;
  if (tracee === null || tracee.tracer !== t) return -ESRCH;
  return target.state === TASK_STOPPED && tracee.stopCode !== 0 && !tracee.listens ? 0 : -ESRCH;
}
