// Sending and taking signals: kernel/signal.c. A signal goes into the queue of one thread or of a
// process; whoever is to act on it is woken (parked tasks) or kicked (guest code), and acts in
// prepareReturn(), on its way back to the guest. Nothing is delivered anywhere else.
//
// Stops and deaths of a process are states of its ThreadGroup that every thread meets there too:
//   exiting      each thread ends with groupExitStatus
//   execTask     each other thread ends quietly
//   stopPending  (per thread) the thread parks as TASK_STOPPED until SIGCONT or SIGKILL

import { RAX, RIP } from '../../platform/platform.ts';
import { EAGAIN, EINTR, EPERM, ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTNOINTR, ERESTARTSYS, ESRCH } from '../abi/errno.ts';
import { LANDLOCK_SCOPE_SIGNAL } from '../abi/landlock.ts';
import { POLLIN } from '../abi/poll.ts';
import { CAP_KILL, RLIMIT_SIGPENDING } from '../abi/sched.ts';
import {
  SA_NODEFER,
  SA_RESETHAND,
  SA_RESTART,
  SI_KERNEL,
  SI_TIMER,
  SI_USER,
  SIG_DFL,
  SIG_IGN,
  SIGCONT,
  SIGKILL,
  SIGSEGV,
  SIGSTOP,
} from '../abi/signal.ts';
import { SYS_restart_syscall } from '../abi/sysno-x64.ts';
import { BLOCKED, REGISTERS_SET } from '../base/errors.ts';
import { landlockScoped } from '../vfs/landlock.ts';
import { dumpCore } from './core-dump.ts';
import { watchExit } from './exit-watchdog.ts';
import type { PidNamespace } from './pid-namespace.ts';
import type { ProcessGroup } from './process-group.ts';
import { signalStop, stopsWhenAsked } from './ptrace.ts';
import { pushSignalFrame } from './signal-frame.ts';
import { SigInfo } from './signal-queue.ts';
import { dumpsByDefault, ignoredByDefault, STOP_LO, sigHi, sigIn, sigLo, stopsByDefault, UNMASKABLE_LO } from './signal-set.ts';
import { TASK_BLOCKED, TASK_DEAD, TASK_GUEST, TASK_HOST_CALLS, TASK_STOPPED, type Task, WAKE_SIGNAL } from './task.ts';
import { exitGroup, exitThread } from './task-exit.ts';
import { continueGroup, startGroupStop, stopTask, wakeStopped } from './task-stop.ts';
import type { ThreadGroup } from './thread-group.ts';

/** Real-time signals queue; the others are pending once. The kernel's SIGRTMIN. */
const SIGRTMIN = 32;

// ---- siginfo by source

/** SEND_SIG_PRIV: from the kernel itself. */
export function kernelInfo(signo: number): SigInfo {
  return new SigInfo(signo, SI_KERNEL);
}

/** A signal that task `from` sends to something in pid namespace `to`: SI_USER, SI_TKILL or SI_QUEUE. */
export function senderInfo(signo: number, code: number, from: Task, to: ThreadGroup): SigInfo {
  const info = new SigInfo(signo, code);
  info.pid = from.group.pid.numberIn(to.pidns);
  info.uid = to.leader.creds.userns.uidFromKernel(from.creds.uid);
  return info;
}

// ---- sending

/** For one thread. `force` overrides init's immunity for SIGKILL and SIGSTOP: the sender is the kernel or an outer pid namespace. 0 or -EAGAIN. */
export function sendSignal(t: Task, info: SigInfo, force = false): number {
  return send(t, info, false, force);
}

/** For a process. 0, or -EAGAIN when a queued real-time signal meets RLIMIT_SIGPENDING. */
export function sendToGroup(group: ThreadGroup, info: SigInfo, force = false): number {
  return send(group.leader, info, true, force);
}

/**
 * For a process whose CPU time has passed a mark, by way of a thread that runs right now, one after the other: on Linux it is
 * whose tick passed the mark.
 */
export function sendToRunning(group: ThreadGroup, info: SigInfo): number {
  const { tasks } = group;
  for (let i = 1; i <= tasks.length; i++) {
    const at = (group.lastTicked + i) % tasks.length;
    if (tasks[at]!.state !== TASK_GUEST) continue;
    group.lastTicked = at;
    return send(tasks[at]!, info, true, true);
  }
  return sendToGroup(group, info, true);
}

/** From the kernel to a process, with SI_KERNEL. */
export function sendKernelSignal(group: ThreadGroup, signo: number): void {
  sendToGroup(group, kernelInfo(signo), true);
}

/** send_sig(sig, current, 0): SIGPIPE and its like, which look as if the thread had sent them to itself. */
export function raiseSignal(t: Task, signo: number): void {
  sendSignal(t, senderInfo(signo, SI_USER, t, t.group));
}

/** kill(2) for one process: checks, then sends. signo 0 checks only. */
export function killGroup(sender: Task, group: ThreadGroup, signo: number): number {
  const denied = checkKill(sender, group, signo);
  if (denied < 0 || signo === 0) return denied;
  return sendToGroup(group, senderInfo(signo, SI_USER, sender, group), isFromOutside(sender, group.pidns));
}

/** kill(2) for a process group: 0 if one member could be signalled. kernel/signal.c:__kill_pgrp_info(). */
export function sendToProcessGroup(sender: Task, pgrp: ProcessGroup, signo: number): number {
  let result = -ESRCH;
  let success = false;
  for (const member of [...pgrp.members]) {
    result = killGroup(sender, member, signo);
    if (result === 0) success = true;
  }
  return success ? 0 : result;
}

/** Whether the sender is no member of the receiver's pid namespace, so that it can kill its init. */
export function isFromOutside(sender: Task, ns: PidNamespace): boolean {
  return sender.pid.numberIn(ns) === 0;
}

/** kernel/signal.c:check_kill_permission(), for signals that a user sends. 0 or -EPERM. */
export function checkKill(sender: Task, group: ThreadGroup, signo: number): number {
  if (group === sender.group) return 0;
  if (sender.landlock !== null && landlockScoped(sender.landlock, group.leader.landlock, LANDLOCK_SCOPE_SIGNAL)) return -EPERM;
  const from = sender.creds;
  const to = group.leader.creds;
  if (from.euid === to.suid || from.euid === to.uid || from.uid === to.suid || from.uid === to.uid) return 0;
  if (from.capableIn(to.userns, CAP_KILL)) return 0;
  return signo === SIGCONT && group.session === sender.group.session ? 0 : -EPERM;
}

/** __send_signal_locked(): `target` is the thread, or stands for its process when `shared`. */
function send(target: Task, info: SigInfo, shared: boolean, force: boolean): number {
  const group = target.group;
  const signo = info.signo;
  if (group.isDead || (!shared && target.state === TASK_DEAD)) return 0;
  if (!prepareSignal(target, signo, force)) return 0;
  const queue = shared ? group.pending : target.signals.pending;
  // A timer's is queued beside one of the same number: posixtimer_send_sigqueue().
  if (signo < SIGRTMIN && info.source === null && queue.has(signo)) return 0;
  if (signo === SIGKILL) {
    queue.mark(signo);
  } else {
    const counts = group.kernel.users.get(target.creds.uid);
    // Standard signals from kill and the kernel always find room: override_rlimit.
    const unbounded = signo < SIGRTMIN && info.code >= 0;
    if (unbounded || info.code === SI_TIMER || counts.pendingSignals < group.limits.soft[RLIMIT_SIGPENDING]!) {
      info.counted = counts;
      queue.add(info);
    } else if (signo >= SIGRTMIN && info.code !== SI_USER) {
      return -EAGAIN;
    } else {
      // Lost but for its number.
      queue.mark(signo);
    }
  }
  group.handlers.signalfdWaiters.notify(POLLIN);
  completeSignal(target, signo, shared);
  return 0;
}

/** prepare_signal(): what sending does at once, and whether there is anything to queue. */
function prepareSignal(target: Task, signo: number, force: boolean): boolean {
  const group = target.group;
  if (group.exiting) return false;
  if (stopsByDefault(signo)) flushGroup(group, sigLo(SIGCONT), 0);
  else if (signo === SIGCONT) {
    flushGroup(group, STOP_LO, 0);
    continueGroup(group);
  }
  // A blocked signal stays, since its handler may change before it is unblocked; one that is waited for has to be blocked as well.
  if (sigIn(target.signals.blockedLo, target.signals.blockedHi, signo)) return true;
  // The tracer sees ignored ones too.
  if (target.tracee !== null && signo !== SIGKILL) return true;
  if (group.unkillable && group.handlers.get(signo).handler === SIG_DFL && !(force && (signo === SIGKILL || signo === SIGSTOP)))
    return false;
  return !group.handlers.ignores(signo);
}

function flushGroup(group: ThreadGroup, lo: number, hi: number): void {
  group.pending.flush(lo, hi);
  for (const t of group.tasks) t.signals.pending.flush(lo, hi);
}

/** rt_sigtimedwait takes the signal even though the thread blocks it. */
function waitsFor(t: Task, signo: number): boolean {
  return sigIn(t.signals.waitLo, t.signals.waitHi, signo);
}

/** complete_signal(): finds the thread to wake, and starts the death of the group for a fatal signal. */
function completeSignal(target: Task, signo: number, shared: boolean): void {
  const group = target.group;
  let taker: Task | null = wants(target, signo) ? target : null;
  if (taker === null && shared) {
    for (const t of group.tasks) {
      if (!wants(t, signo)) continue;
      taker = t;
      break;
    }
  }
  // All threads block it: whoever unblocks it first takes it.
  if (taker === null) return;
  // A tracer decides first what becomes of a signal to its tracee, but for SIGKILL.
  const isTracers = target.tracee !== null && signo !== SIGKILL;
  if (!isTracers && isFatal(group, signo) && !sigIn(taker.signals.blockedLo, taker.signals.blockedHi, signo) && !dumpsByDefault(signo)) {
    startGroupExit(group, signo);
    return;
  }
  wakeForSignal(taker, signo === SIGKILL);
}

function wants(t: Task, signo: number): boolean {
  if (t.state === TASK_DEAD) return false;
  if (signo === SIGKILL) return true;
  if (sigIn(t.signals.blockedLo, t.signals.blockedHi, signo) && !waitsFor(t, signo)) return false;
  return t.state !== TASK_STOPPED;
}

/** sig_fatal(), for a signal that has not been ignored. */
function isFatal(group: ThreadGroup, signo: number): boolean {
  return !ignoredByDefault(signo) && !stopsByDefault(signo) && group.handlers.get(signo).handler === SIG_DFL;
}

/** zap_other_threads() for all: every thread is to end with the wait status, wherever it is. */
export function startGroupExit(group: ThreadGroup, waitStatus: number): void {
  if (group.exiting) return;
  group.exiting = true;
  group.groupExitStatus = waitStatus;
  group.stopCount = 0;
  for (const t of [...group.tasks]) {
    t.signals.stopPending = false;
    wakeForSignal(t, true);
  }
  watchExit(group);
}

/** signal_wake_up(): the task looks at its signals soon. `fatal` reaches it in uninterruptible waits and stops too. */
export function wakeForSignal(t: Task, fatal: boolean): void {
  t.signals.interrupting = true;
  switch (t.state) {
    case TASK_BLOCKED:
      if (t.interruptible || fatal) t.wake(WAKE_SIGNAL);
      break;
    case TASK_STOPPED:
      if (fatal) wakeStopped(t);
      break;
    // A tail batch may have gone back to the guest; the platform disregards a kick that comes too early.
    case TASK_GUEST:
    case TASK_HOST_CALLS:
      t.kernel.platform.kick(t.context);
      break;
  }
}

// ---- masks

/** recalc_sigpending(): after a change of the mask or of a queue. */
export function recalcInterrupting(t: Task): void {
  const s = t.signals;
  const group = t.group;
  s.interrupting =
    s.stopPending ||
    group.exiting ||
    s.injected !== null ||
    t.tracee?.stopAsked === true ||
    (group.execTask !== null && group.execTask !== t) ||
    (s.pending.lo & ~s.blockedLo) !== 0 ||
    (s.pending.hi & ~s.blockedHi) !== 0 ||
    (group.pending.lo & ~s.blockedLo) !== 0 ||
    (group.pending.hi & ~s.blockedHi) !== 0;
}

/** Installs a mask: SIGKILL and SIGSTOP never are in it. What we now block, another thread may take: retarget_shared_pending(). */
export function setBlocked(t: Task, lo: number, hi: number): void {
  const s = t.signals;
  const newLo = lo & ~UNMASKABLE_LO;
  const goneLo = newLo & ~s.blockedLo & t.group.pending.lo;
  const goneHi = hi & ~s.blockedHi & t.group.pending.hi;
  s.blockedLo = newLo;
  s.blockedHi = hi;
  if (goneLo !== 0 || goneHi !== 0) retargetShared(t, goneLo, goneHi);
  recalcInterrupting(t);
}

/** Wakes other threads for process-wide signals of the set that `t` no longer takes: it has blocked them, or it ends. */
export function retargetShared(t: Task, lo: number, hi: number): void {
  lo &= t.group.pending.lo;
  hi &= t.group.pending.hi;
  for (const other of t.group.tasks) {
    if (lo === 0 && hi === 0) return;
    if (other === t) continue;
    const s = other.signals;
    if ((lo & ~s.blockedLo) === 0 && (hi & ~s.blockedHi) === 0) continue;
    lo &= s.blockedLo;
    hi &= s.blockedHi;
    wakeForSignal(other, false);
  }
}

/** sigsuspend, ppoll, pselect6, epoll_pwait: a mask for the length of the call. Then restoreMask(), or, for an interrupted call, prepareReturn(). */
export function setTemporaryMask(t: Task, lo: number, hi: number): void {
  const s = t.signals;
  if (!s.hasSavedMask) {
    s.savedLo = s.blockedLo;
    s.savedHi = s.blockedHi;
    s.hasSavedMask = true;
  }
  setBlocked(t, lo, hi);
}

/** The call has ended without an interruption: restore_saved_sigmask_unless(). */
export function restoreMask(t: Task): void {
  const s = t.signals;
  if (!s.hasSavedMask) return;
  s.hasSavedMask = false;
  setBlocked(t, s.savedLo, s.savedHi);
}

// ---- taking

/** The next signal outside the blocked set, from the thread's own queue first: dequeue_signal(). null when there is none. */
export function dequeueSignal(t: Task, blockedLo: number, blockedHi: number): SigInfo | null {
  const own = t.signals.pending;
  let signo = own.peek(blockedLo, blockedHi);
  if (signo !== 0) return own.take(signo);
  const shared = t.group.pending;
  signo = shared.peek(blockedLo, blockedHi);
  return signo === 0 ? null : shared.take(signo);
}

/** A signal that the running thread has caused and cannot put off: blocked or ignored, it kills. force_sig_info(). */
export function forceSignal(t: Task, info: SigInfo): void {
  const signo = info.signo;
  const action = t.group.handlers.get(signo);
  const blocked = sigIn(t.signals.blockedLo, t.signals.blockedHi, signo);
  if (blocked || action.handler === SIG_IGN) {
    action.handler = SIG_DFL;
    if (blocked) setBlocked(t, t.signals.blockedLo & ~sigLo(signo), t.signals.blockedHi & ~sigHi(signo));
  }
  if (action.handler === SIG_DFL) t.group.unkillable = false;
  sendSignal(t, info, true);
  recalcInterrupting(t);
}

/** force_sigsegv(): no frame could be built for signo. A second failure is final. */
export function forceSigsegv(t: Task, signo: number): void {
  if (signo === SIGSEGV) t.group.handlers.get(SIGSEGV).handler = SIG_DFL;
  forceSignal(t, kernelInfo(SIGSEGV));
}

/** EVENT_FAULT: guest code has raised a host signal. The caller goes on with prepareReturn(t, REGISTERS_SET). */
export function deliverFault(t: Task, signo: number, code: number, trapno: number, err: number, addr: number): void {
  t.signals.trapno = trapno;
  t.signals.errorCode = err;
  t.signals.faultAddr = addr;
  const info = new SigInfo(signo, code);
  if (code < SI_KERNEL) info.addr = addr;
  forceSignal(t, info);
}

// ---- on the way to the guest

/**
 * Settles everything that stands between a task and guest code. `result` is the handler's, a
 * restart code among them, or REGISTERS_SET when there was no call. Answers what goes into rax,
 * REGISTERS_SET when the registers are complete, EXITED, or BLOCKED for a stopped task.
 */
export function prepareReturn(t: Task, result: number): number {
  const group = t.group;
  const s = t.signals;
  s.fpSaved = false;
  for (;;) {
    if (group.exiting) {
      group.dump?.note(t, result);
      return exitThread(t, group.groupExitStatus);
    }
    // do_group_exit(): a thread that another's exec ends has no fault in it.
    if (group.execTask !== null && group.execTask !== t) return exitThread(t, 0);
    if (s.stopPending) return stopTask(t, result);
    if (t.tracee !== null && stopsWhenAsked(t, result)) return BLOCKED;
    const injected = s.injected;
    s.injected = null;
    const info = injected ?? dequeueSignal(t, s.blockedLo, s.blockedHi);
    if (info === null) break;
    const signo = info.signo;
    if (t.tracee !== null && injected === null && signo !== SIGKILL) return signalStop(t, info, result);
    const action = group.handlers.get(signo);
    if (action.handler === SIG_IGN) continue;
    if (action.handler !== SIG_DFL) {
      result = restartForHandler(t, result, action.flags);
      if (result !== REGISTERS_SET) t.context.setReg(RAX, result);
      result = REGISTERS_SET;
      const maskLo = s.hasSavedMask ? s.savedLo : s.blockedLo;
      const maskHi = s.hasSavedMask ? s.savedHi : s.blockedHi;
      if (!pushSignalFrame(t, info, action, maskLo, maskHi)) {
        forceSigsegv(t, signo);
        continue;
      }
      s.hasSavedMask = false;
      const defer = (action.flags & SA_NODEFER) === 0;
      const lo = s.blockedLo | action.maskLo | (defer ? sigLo(signo) : 0);
      const hi = s.blockedHi | action.maskHi | (defer ? sigHi(signo) : 0);
      if ((action.flags & SA_RESETHAND) !== 0) action.handler = SIG_DFL;
      setBlocked(t, lo, hi);
      continue;
    }
    if (ignoredByDefault(signo)) continue;
    if (group.unkillable && signo !== SIGKILL && signo !== SIGSTOP) continue;
    if (stopsByDefault(signo)) {
      // Nobody could continue an orphaned group, so the terminal's stops do nothing to it.
      if (signo !== SIGSTOP && group.processGroup.isOrphaned()) continue;
      startGroupStop(t, signo);
      continue;
    }
    return dumpsByDefault(signo) ? dumpCore(t, info, result) : exitGroup(t, signo);
  }
  s.fpRestoreAddr = 0;
  recalcInterrupting(t);
  if (result < -ERESTARTSYS + 1 && result >= -ERESTART_RESTARTBLOCK) result = restartCall(t, result);
  restoreMask(t);
  return result;
}

/** handle_signal(): what an interrupted call answers when a handler runs first. */
function restartForHandler(t: Task, result: number, flags: number): number {
  switch (result) {
    case -ERESTART_RESTARTBLOCK:
    case -ERESTARTNOHAND:
      return -EINTR;
    case -ERESTARTSYS:
      return (flags & SA_RESTART) === 0 ? -EINTR : restartCall(t, result);
    case -ERESTARTNOINTR:
      return restartCall(t, result);
  }
  return result;
}

/** Goes back before the syscall instruction (two bytes), so that the guest makes the call again: arch_do_signal_or_restart(). */
function restartCall(t: Task, result: number): number {
  const c = t.context;
  if (result === -ERESTART_RESTARTBLOCK) c.setReg(RAX, SYS_restart_syscall);
  else c.setReg(RAX, t.sysno);
  c.setReg(RIP, c.reg(RIP) - 2);
  return REGISTERS_SET;
}
