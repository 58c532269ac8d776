// Entry of a system call: the call's number and arguments are copied out of shared memory once,
// then the table's handler runs. Its end, restarts included, is in task-run.ts.

import { ORIG_RAX, R8, R9, R10, RAX, RDI, RDX, RSI } from '../../platform/platform.ts';
import { EINTR, ENOSYS, ERESTARTSYS } from '../abi/errno.ts';
import { PTRACE_EVENT_SECCOMP } from '../abi/ptrace.ts';
import { BLOCKED, REGISTERS_SET, RETRY } from '../base/errors.ts';
import { warnOnce } from '../base/log.ts';
import { running } from '../base/retry.ts';
import { publishAnswer } from './fixed-answers.ts';
import { AT_ENTRY, callStop, eventStop, TRACE_EMULATE, TRACE_RUN, takeTracerSignal } from './ptrace.ts';
import { checkSeccomp, SECCOMP_CONTINUES, SECCOMP_NOTIFIES, SECCOMP_TRACED, seccompCall, seccompData, seccompListener } from './seccomp.ts';
import { notifyListener, notifyResult } from './seccomp-notify.ts';
import { TASK_HANDLER, type Task, WAKE_SIGNAL } from './task.ts';
import { finish } from './task-run.ts';
import { FOREVER } from './timers.ts';
import { dispatchToUser } from './user-dispatch.ts';

/** The guest has made a system call: EVENT_SYSCALL. */
export function enterSyscall(t: Task): void {
  readArguments(t);
  t.sysno = t.context.callNumber;
  t.state = TASK_HANDLER;
  const entry = t.kernel.syscalls[t.sysno];
  const trace = t.kernel.trace;
  if (trace !== null) trace.enter(t, entry);
  const result = t.watched ? enterWatched(t) : dispatch(t);
  publishAnswer(t, result);
  finish(t, result);
  // Only now do other tasks run: what this one has stored is to be found in its memory.
  t.context.endCall();
}

/** A call that a tracer may have changed. */
function readCall(t: Task): void {
  readArguments(t);
  t.sysno = t.context.regLo(ORIG_RAX);
}

function readArguments(t: Task): void {
  const c = t.context;
  const words = t.args.words;
  words[0] = c.regLo(RDI);
  words[1] = c.regHi(RDI);
  words[2] = c.regLo(RSI);
  words[3] = c.regHi(RSI);
  words[4] = c.regLo(RDX);
  words[5] = c.regHi(RDX);
  words[6] = c.regLo(R10);
  words[7] = c.regHi(R10);
  words[8] = c.regLo(R8);
  words[9] = c.regHi(R8);
  words[10] = c.regLo(R9);
  words[11] = c.regHi(R9);
}

function dispatch(t: Task): number {
  const entry = t.kernel.syscalls[t.sysno];
  if (entry !== undefined) {
    running.asker = t;
    const result = entry.handler(t, t.args);
    running.asker = null;
    return result === RETRY || t.questions !== null ? waitForAnswers(t, result) : result;
  }
  warnOnce(`system call ${t.sysno} is not implemented`);
  return -ENOSYS;
}

// ---- calls that ask a guest's program: base/retry.ts

/** Parks the task until its questions are answered, or lets the call's end forget them. */
function waitForAnswers(t: Task, result: number): number {
  if (result !== RETRY) {
    t.questions = null;
    return result;
  }
  return isWaiting(t) ? t.park(FOREVER, resumeAnswered) : dispatch(t);
}

function isWaiting(t: Task): boolean {
  if (t.questions !== null) for (const q of t.questions.values()) if (!q.answered) return true;
  return false;
}

function resumeAnswered(t: Task, why: number): number {
  if (why !== WAKE_SIGNAL) return isWaiting(t) ? t.park(FOREVER, resumeAnswered) : dispatch(t);
  // What nobody has read is taken back; on the rest the call waits, though whoever works on it hears of the signal.
  let inHand = false;
  let restarts = true;
  for (const q of t.questions!.values()) {
    if (!q.answered && q.restarts !== true) restarts = false;
    if (q.answered || q.withdraw()) continue;
    q.interrupt();
    inHand = true;
  }
  if (inHand && !t.group.exiting) return t.parkUninterruptible(resumeInterrupted);
  t.questions = null;
  return restarts ? -ERESTARTSYS : -EINTR;
}

function resumeInterrupted(t: Task, why: number): number {
  if (why === WAKE_SIGNAL) {
    t.questions = null;
    return -EINTR;
  }
  return isWaiting(t) ? t.parkUninterruptible(resumeInterrupted) : dispatch(t);
}

// ---- tasks that a tracer or a filter watches: kernel/entry/common.c:syscall_trace_enter()

function enterWatched(t: Task): number {
  // Before a tracer and filters see the call: syscall_trace_enter().
  if (t.userDispatch !== null) {
    const result = dispatchToUser(t, t.userDispatch);
    if (result !== 0) return result;
  }
  const tracee = t.tracee;
  if (tracee === null) return dispatchFiltered(t);
  tracee.inCall = true;
  if (tracee.mode === TRACE_RUN) return dispatchFiltered(t);
  return callStop(t, AT_ENTRY, -ENOSYS, tracee.mode === TRACE_EMULATE ? resumeEmulated : resumeEntry);
}

/** The tracer has seen the call, and may have made another of it: number -1 skips it. */
function resumeEntry(t: Task, _why: number): number {
  takeTracerSignal(t);
  // ptrace_report_syscall_entry(): a task that is to die makes no call any more.
  if (t.group.exiting) return REGISTERS_SET;
  readCall(t);
  return t.sysno < 0 ? REGISTERS_SET : dispatchFiltered(t);
}

/** The call has stopped under PTRACE_SYSEMU: the tracer has done what there was to do, however it lets the tracee go. */
function resumeEmulated(t: Task, _why: number): number {
  takeTracerSignal(t);
  readCall(t);
  return REGISTERS_SET;
}

function dispatchFiltered(t: Task): number {
  const verdict = checkSeccomp(t);
  if (verdict === SECCOMP_CONTINUES) return dispatch(t);
  if (verdict === SECCOMP_NOTIFIES) return notify(t);
  if (verdict !== SECCOMP_TRACED) return verdict;
  if (t.tracee?.has(PTRACE_EVENT_SECCOMP) !== true) return -ENOSYS;
  return eventStop(t, PTRACE_EVENT_SECCOMP, seccompData, -ENOSYS, resumeSeccomp);
}

/** The tracer decides by changing the call; a changed one is filtered again, but not handed to the tracer twice. */
function resumeSeccomp(t: Task, _why: number): number {
  takeTracerSignal(t);
  if (t.group.exiting) return REGISTERS_SET;
  readCall(t);
  if (t.sysno < 0) return REGISTERS_SET;
  const verdict = checkSeccomp(t);
  if (verdict === SECCOMP_NOTIFIES) return notify(t);
  return verdict === SECCOMP_CONTINUES || verdict === SECCOMP_TRACED ? dispatch(t) : verdict;
}

/** seccomp_do_user_notification(). */
function notify(t: Task): number {
  if (seccompListener === null || seccompListener.isClosed) return -ENOSYS;
  return notifyListener(t, seccompListener, seccompCall, resumeNotified);
}

function resumeNotified(t: Task, why: number): number {
  const answer = notifyResult(t, why === WAKE_SIGNAL, resumeNotified);
  if (answer === null) return BLOCKED;
  if (typeof answer === 'number') return answer;
  if (answer.continues) return dispatch(t);
  if (answer.error !== 0) t.context.setReg(RAX, answer.error);
  else t.context.setRegWords(RAX, answer.valueLo, answer.valueHi);
  return REGISTERS_SET;
}
