// The end of threads and processes: kernel/exit.c:do_exit(). A thread ends in exitThread(), on its
// own path; others are made to come there by startGroupExit() (task-signals.ts). The last thread of
// a process turns it into a zombie and tells the parent; task-wait.ts reaps it.
//
// A pid namespace whose init has ended kills everybody in it and holds back init's own end until
// the last of them is reaped: kernel/pid_namespace.c:zap_pid_ns_processes().

import { CLK_TCK } from '../abi/limits.ts';
import { POLLIN } from '../abi/poll.ts';
import {
  CLD_DUMPED,
  CLD_EXITED,
  CLD_KILLED,
  NSIG,
  SA_NOCLDWAIT,
  SI_USER,
  SIG_IGN,
  SIGCHLD,
  SIGCONT,
  SIGHUP,
  SIGKILL,
} from '../abi/signal.ts';
import { BLOCKED, EXITED } from '../base/errors.ts';
import { exitFutexes } from './futex-exit.ts';
import type { PidNamespace } from './pid-namespace.ts';
import { leaveProcessGroup } from './process-group.ts';
import { stopsBeforeExit } from './ptrace.ts';
import { detach, exitTracer, leaveTraceZombie, tracerGroup } from './ptrace-link.ts';
import { releaseFilters } from './seccomp.ts';
import { SigInfo } from './signal-queue.ts';
import { TASK_BLOCKED, TASK_DEAD, TASK_GUEST, TASK_READY, TASK_STOPPED, type Task, WAKE_EVENT } from './task.ts';
import { vforkDone } from './task-clone.ts';
import { retargetShared, senderInfo, sendKernelSignal, sendToGroup, startGroupExit } from './task-signals.ts';
import { participateInStop } from './task-stop.ts';
import { type ThreadGroup, Usage } from './thread-group.ts';
import { noteUsage, splitUsage } from './usage.ts';

const NS_PER_TICK = 1e9 / CLK_TCK;

/** exit_group(2), or a fatal signal: the whole process ends with the wait status. Returns EXITED. */
export function exitGroup(t: Task, status: number): number {
  startGroupExit(t.group, status);
  return exitThread(t, t.group.groupExitStatus);
}

/** The stub has died under the task: the process ends as if by SIGKILL. Tasks that wait end on their own path. */
export function contextDied(t: Task): void {
  if (t.state === TASK_DEAD) return;
  startGroupExit(t.group, SIGKILL);
  if (t.tracee !== null) t.tracee.exitReported = true;
  if (t.state === TASK_BLOCKED || t.state === TASK_READY || t.state === TASK_STOPPED) return;
  exitThread(t, t.group.groupExitStatus);
}

/** CPU time of a thread in ns. */
export function cpuTimeNs(t: Task): number {
  return t.state === TASK_DEAD ? t.priorCpuNs : t.priorCpuNs + t.kernel.platform.cpuTimeNs(t.context);
}

/**
 * The host could not make the thread of a new task: clone(2) has answered the error, or does so now, and nobody hears of
 * the task. False when it is no new one.
 */
export function neverBorn(t: Task): boolean {
  const { group, vforkParent } = t;
  if (t.state !== TASK_GUEST) return false;
  if (vforkParent !== null) vforkParent.n0 = t.context.birthError;
  // The words of a thread that has not been are its maker's.
  t.clearTidAddr = 0;
  const isProcess = group.leader === t;
  if (isProcess) {
    group.exitSignal = 0;
    group.exiting = true;
    group.groupExitStatus = SIGKILL;
  }
  exitThread(t, SIGKILL);
  if (isProcess && group.isDead) reap(group);
  return true;
}

/** do_exit(): the running thread ends. Its wait status counts when it is the last. Returns EXITED. */
export function exitThread(t: Task, status: number): number {
  const group = t.group;
  const kernel = t.kernel;
  if (t.tracee !== null && t.exitStatus === 0) t.exitStatus = status;
  if (stopsBeforeExit(t, status, resumeExit)) return BLOCKED;
  t.isEnding = true;
  participateInStop(t);
  retargetShared(t, ~t.signals.blockedLo, ~t.signals.blockedHi);
  const isLast = group.tasks.length === 1;
  if (isLast) {
    group.itimers?.release();
    group.posixTimers?.release();
    group.semUndo?.release();
    group.cpuLimit?.release();
    noteUsage(t);
  }
  // Only a task whose stub has died still waits for anything.
  t.futexWaiter?.leave();
  t.pollTable?.disarm();
  exitFutexes(t);
  releaseFilters(t);
  t.landlock?.decRef();
  t.landlock = null;
  vforkDone(t);

  t.priorCpuNs = cpuTimeNs(t);
  group.deadUsage.userNs += t.priorCpuNs;
  group.deadIo.add(t.ioCounts);
  group.deadUsage.voluntarySwitches += t.voluntarySwitches;
  group.deadUsage.involuntarySwitches += t.involuntarySwitches;
  t.fds.decRef(t);
  t.fs.decRef();
  t.exitStatus = status;
  t.state = TASK_DEAD;
  for (const dead of exitTracer(t)) releaseHeld(dead.group);
  t.waiter.unlink();
  kernel.timers.stop(t.timer);
  kernel.ready.remove(t);
  kernel.taskOfContext[t.context.index] = undefined;
  kernel.platform.releaseContext(t.context);
  t.mm.decRef();

  group.tasks.splice(group.tasks.indexOf(t), 1);
  if (isLast) {
    if (!group.exiting) {
      group.exiting = true;
      group.groupExitStatus = status;
    }
    processEnded(t);
  } else {
    adoptChildrenOfThread(t);
    if (t !== group.leader && !leaveTraceZombie(t)) releaseTask(t);
    // exec waits until it is alone.
    if (group.execTask !== null && group.tasks.length === 1) group.execTask.wake(WAKE_EVENT);
    if (group.dump !== null && group.tasks.length === 1) group.dump.task.wake(WAKE_EVENT);
  }
  return EXITED;
}

/** Goes on dying after PTRACE_EVENT_EXIT. */
function resumeExit(t: Task, _why: number): number {
  return exitThread(t, t.group.exiting ? t.group.groupExitStatus : t.exitStatus);
}

/** The thread's number is free again: release_task(). */
export function releaseTask(t: Task): void {
  t.kernel.tasks.delete(t.tid);
  t.pid.task = null;
  t.pid.releaseIfUnused();
  t.kernel.users.get(t.creds.uid).processes--;
  t.group.container.tasks--;
}

/** exit_notify() for the last thread of a process. */
function processEnded(t: Task): void {
  const group = t.group;
  if (t !== group.leader && !leaveTraceZombie(t)) releaseTask(t);
  if (group.isSessionLeader) leaveTerminal(t);
  const ns = group.pidns;
  if (group.isInit) {
    killNamespace(ns, group);
    if (ns.processes > 1) return;
  }
  processDied(group);
}

/** The process becomes a zombie, or vanishes when nobody is to wait for it. */
function processDied(group: ThreadGroup): void {
  reparentChildren(group);
  killOrphanedGroup(group, null);
  group.isDead = true;
  group.isStopped = false;
  group.kernel.processesChanged();
  group.pid.waiters.notify(POLLIN);
  for (const zombie of group.traceZombies) releaseTask(zombie);
  group.traceZombies.length = 0;
  const onExit = group.onExit;
  const isInit = group.isInit;
  const tracer = tracerGroup(group);
  if (tracer !== null) {
    group.heldByTracer = true;
    sendToGroup(tracer, childInfo(group, tracer, SIGCHLD));
    tracer.childWaiters.notify(POLLIN);
  } else if (notifyParentOfExit(group)) {
    reap(group);
  }
  if (onExit !== null) onExit(group.groupExitStatus);
  if (isInit) group.kernel.onInitExit?.(group, group.groupExitStatus);
}

/** A tracer has waited for a dead process, or gone: now the parent is told. */
export function releaseHeld(group: ThreadGroup): void {
  if (!group.heldByTracer) return;
  group.heldByTracer = false;
  if (notifyParentOfExit(group)) reap(group);
}

/** All others in the namespace get SIGKILL; whoever becomes init's child from now on is reaped at once. */
function killNamespace(ns: PidNamespace, init: ThreadGroup): void {
  ns.dying = true;
  init.handlers.get(SIGCHLD).handler = SIG_IGN;
  for (const number of ns.numbers()) {
    const other = ns.group(number);
    if (other !== undefined && other !== init && !other.isDead) sendKernelSignal(other, SIGKILL);
  }
  for (const child of [...init.children]) if (child.isDead) reap(child);
}

/** Frees everything of a dead process: its number, its place in groups and among its parent's children. */
export function reap(group: ThreadGroup): void {
  if (group.isReaped) return;
  group.isReaped = true;
  group.parent?.children.delete(group);
  group.parent = null;
  group.parentTask = null;
  detach(group.leader, 0);
  if (group.isSessionLeader) group.session.leader = null;
  leaveProcessGroup(group);
  group.pid.group = null;
  releaseTask(group.leader);
  group.pid.waiters.notify(POLLIN);
  for (let ns: PidNamespace | null = group.pidns; ns !== null; ns = ns.visibleParent) {
    ns.processes--;
    if (ns.dying && ns.processes === 1 && ns.init !== null && ns.init !== group && !ns.init.isDead && ns.init.tasks.length === 0) {
      processDied(ns.init);
    }
  }
}

// ---- family

/** A thread of a living process has ended: its children pass to another thread, which their PR_SET_PDEATHSIG sees. */
function adoptChildrenOfThread(t: Task): void {
  const heir = t.group.tasks[0]!;
  for (const child of t.group.children) {
    if (child.parentTask !== t) continue;
    child.parentTask = heir;
    tellOfParentDeath(child);
  }
}

/** forget_original_parent(). */
function reparentChildren(group: ThreadGroup): void {
  if (group.children.size === 0) return;
  const reaper = findReaper(group);
  for (const child of [...group.children]) {
    group.children.delete(child);
    child.parent = reaper;
    for (const t of child.tasks) t.context.withdrawAnswers();
    child.parentTask = reaper === null ? null : (reaper.tasks[0] ?? reaper.leader);
    reaper?.children.add(child);
    tellOfParentDeath(child);
    child.exitSignal = SIGCHLD;
    if (child.isDead && !child.heldByTracer && notifyParentOfExit(child)) reap(child);
    else killOrphanedGroup(child, group);
  }
}

/** find_new_reaper(): the nearest living subreaper above in the same pid namespace, or its init. */
function findReaper(group: ThreadGroup): ThreadGroup | null {
  const ns = group.pidns;
  if (group.hasChildSubreaper) {
    for (let at = group.parent; at !== null && at.pidns === ns; at = at.parent) {
      if (at.isChildSubreaper && at.tasks.length > 0) return at;
    }
  }
  if (ns.init !== group) return ns.init;
  return ns.visibleParent === null ? null : ns.visibleParent.init;
}

function tellOfParentDeath(child: ThreadGroup): void {
  for (const t of child.tasks) {
    if (t.parentDeathSignal !== 0) sendToGroup(child, new SigInfo(t.parentDeathSignal, SI_USER));
  }
}

/**
 * kill_orphaned_pgrp(): if the end of `group`, or that of its parent `formerParent`, orphans its
 * process group, and somebody in there is stopped, all get SIGHUP and SIGCONT.
 */
function killOrphanedGroup(group: ThreadGroup, formerParent: ThreadGroup | null): void {
  const pgrp = group.processGroup;
  const parent = formerParent ?? group.parent;
  if (parent === null || parent.processGroup === pgrp || parent.session !== group.session) return;
  if (!pgrp.isOrphaned(formerParent === null ? group : null) || !pgrp.hasStopped()) return;
  pgrp.signal(SIGHUP);
  pgrp.signal(SIGCONT);
}

/** disassociate_ctty(): a session leader's end hangs up the foreground and frees the terminal. */
function leaveTerminal(t: Task): void {
  const tty = t.group.tty;
  if (tty === null) return;
  tty.foreground?.signal(SIGHUP);
  for (const pgrp of t.group.session.processGroups) for (const member of pgrp.members) if (member.tty === tty) member.tty = null;
  tty.foreground = null;
  tty.session = null;
  tty.sessionEnded(t);
}

// ---- telling the parent

/** do_notify_parent(): true when the process is to be reaped at once, since nobody will wait for it. */
function notifyParentOfExit(group: ThreadGroup): boolean {
  const parent = group.parent;
  if (parent === null) return true;
  const status = group.groupExitStatus;
  const signo = status & 0x7f;
  let autoReap = false;
  // clone(2) takes any number in its low byte; one that is no signal is not sent.
  let send = group.exitSignal !== 0 && group.exitSignal <= NSIG;
  if (group.exitSignal === SIGCHLD) {
    const action = parent.handlers.get(SIGCHLD);
    if (action.handler === SIG_IGN || (action.flags & SA_NOCLDWAIT) !== 0) {
      autoReap = true;
      if (action.handler === SIG_IGN) send = false;
    }
  }
  if (send) {
    if (signo === 0) notifyParentOfChildState(group, group.exitSignal, CLD_EXITED, (status >> 8) & 0xff);
    else notifyParentOfChildState(group, group.exitSignal, (status & 0x80) !== 0 ? CLD_DUMPED : CLD_KILLED, signo);
  }
  parent.childWaiters.notify(POLLIN);
  return autoReap;
}

/** Sends the parent a signal about its child: CLD_* and what waitid(2) would show. */
export function notifyParentOfChildState(group: ThreadGroup, signo: number, code: number, status: number): void {
  const parent = group.parent!;
  const info = senderInfo(signo, code, group.leader, parent);
  info.status = status;
  const usage = groupUsage(group);
  info.setTimes(Math.floor(usage.userNs / NS_PER_TICK), Math.floor(usage.systemNs / NS_PER_TICK));
  sendToGroup(parent, info);
}

/** What a process that waits for a dead one is told. */
function childInfo(group: ThreadGroup, to: ThreadGroup, signo: number): SigInfo {
  const status = group.groupExitStatus;
  const killer = status & 0x7f;
  const code = killer === 0 ? CLD_EXITED : (status & 0x80) !== 0 ? CLD_DUMPED : CLD_KILLED;
  const info = senderInfo(signo, code, group.leader, to);
  info.status = killer === 0 ? (status >> 8) & 0xff : killer;
  return info;
}

// ---- accounting

/** What the process has used so far, in an object that the next call overwrites: RUSAGE_SELF. */
export function groupUsage(group: ThreadGroup): Usage {
  const u = sum;
  u.assign(group.deadUsage);
  for (const t of group.tasks) {
    u.userNs += cpuTimeNs(t);
    u.voluntarySwitches += t.voluntarySwitches;
    u.involuntarySwitches += t.involuntarySwitches;
  }
  splitUsage(group, u);
  return u;
}

const sum = new Usage();
