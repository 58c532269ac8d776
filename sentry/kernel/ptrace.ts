// Tracing of one guest task by another: kernel/ptrace.c. A tracee stops at the places below, parked
// as TASK_STOPPED with a continuation that knows how to go on; the tracer's wait(2) reports the
// stop, its requests work on the parked task, and one of them lets it go.
//
//   signal     in prepareReturn(), before a signal acts; the tracer chooses what is delivered
//   call       on entry (task-syscall.ts) and exit (task-run.ts) under PTRACE_SYSCALL
//   event      fork, vfork, clone, exec, exit, seccomp, as PTRACE_SETOPTIONS asks
//   group stop in stopTask(), for SIGSTOP and its kin

import { EFLAGS, ORIG_RAX, RAX, RIP } from '../../platform/platform.ts';
import { ERESTART_RESTARTBLOCK, ERESTARTSYS } from '../abi/errno.ts';
import { POLLIN } from '../abi/poll.ts';
import {
  PTRACE_EVENT_CLONE,
  PTRACE_EVENT_EXEC,
  PTRACE_EVENT_EXIT,
  PTRACE_EVENT_FORK,
  PTRACE_EVENT_SECCOMP,
  PTRACE_EVENT_STOP,
  PTRACE_EVENT_VFORK,
  PTRACE_EVENT_VFORK_DONE,
  PTRACE_O_TRACESYSGOOD,
} from '../abi/ptrace.ts';
import { CLD_STOPPED, CLD_TRAPPED, SA_NOCLDSTOP, SI_USER, SIG_IGN, SIGCHLD, SIGTRAP, TRAP_BRKPT } from '../abi/signal.ts';
import { BLOCKED, REGISTERS_SET } from '../base/errors.ts';
import type { Credentials } from './credentials.ts';
import { SigInfo } from './signal-queue.ts';
import { sigIn } from './signal-set.ts';
import { type Resume, TASK_STOPPED, type Task } from './task.ts';
import { forceSignal, recalcInterrupting, senderInfo, sendSignal, sendToGroup, wakeForSignal } from './task-signals.ts';
import { wakeStopped } from './task-stop.ts';

// How a tracee was let go.
export const TRACE_RUN = 0;
export const TRACE_CALLS = 1;
export const TRACE_EMULATE = 2;

// Where it stands, for PTRACE_GET_SYSCALL_INFO and PTRACE_GETSIGINFO.
export const AT_NOTHING = 0;
export const AT_ENTRY = 1;
export const AT_EXIT = 2;
export const AT_SECCOMP = 3;

const EFLAGS_TF = 0x100;

/** A traced task's side of the matter; it hangs on Task.tracee. */
export class Tracee {
  readonly tracer: Task;
  /** Whose rights decide what the tracee may gain by exec: ptracer_cred. */
  readonly creds: Credentials;
  readonly isSeized: boolean;
  /** PTRACE_O_*. */
  options: number;
  /** What wait(2) reports, without the final 0x7f; 0 while it is not in a ptrace-stop. */
  stopCode = 0;
  isReported = true;
  isGroupStop = false;
  info: SigInfo | null = null;
  eventMessage = 0;
  mode: number = TRACE_RUN;
  steps = false;
  at: number = AT_NOTHING;
  /** Entry has been seen, exit is still to come. */
  inCall = false;
  /** PTRACE_LISTEN: in a group stop that SIGCONT ends. */
  listens = false;
  /** PTRACE_INTERRUPT, or birth under PTRACE_SEIZE: stop as soon as possible. */
  stopAsked = false;
  exitReported = false;

  constructor(tracer: Task, creds: Credentials, isSeized: boolean, options: number) {
    this.tracer = tracer;
    this.creds = creds;
    this.isSeized = isSeized;
    this.options = options;
  }

  has(event: number): boolean {
    return (this.options & (1 << event)) !== 0;
  }
}

// ---- stopping

/**
 * Parks a tracee in a ptrace-stop and tells its tracer. `result` is what the interrupted call has
 * come to, visible in rax; `resume` goes on, usually by way of resultFromRegisters(). Returns BLOCKED.
 */
export function ptraceStop(t: Task, code: number, info: SigInfo | null, result: number, resume: Resume): number {
  const tracee = t.tracee!;
  if (result !== REGISTERS_SET) t.context.setReg(RAX, result);
  if (tracee.steps) clearTrapFlag(t);
  t.signals.ptraceSignal = 0;
  t.signals.ptraceInfo = null;
  t.state = TASK_STOPPED;
  t.resume = resume;
  tracee.isGroupStop = false;
  report(t, tracee, code, info, CLD_TRAPPED);
  return BLOCKED;
}

function report(t: Task, tracee: Tracee, code: number, info: SigInfo | null, why: number): void {
  tracee.stopCode = code;
  tracee.isReported = false;
  tracee.listens = false;
  tracee.info = info;
  const tracer = tracee.tracer.group;
  const action = tracer.handlers.get(SIGCHLD);
  if (action.handler !== SIG_IGN && (action.flags & SA_NOCLDSTOP) === 0) {
    const told = senderInfo(SIGCHLD, why, t, tracer);
    told.pid = t.pid.numberIn(tracer.pidns);
    told.status = code & 0x7f;
    sendToGroup(tracer, told);
  }
  tracer.childWaiters.notify(POLLIN);
}

function clearTrapFlag(t: Task): void {
  t.context.setReg(EFLAGS, t.context.regLo(EFLAGS) & ~EFLAGS_TF);
}

/** The value to go on with after a stop in which the tracer may have changed registers. */
export function resultFromRegisters(t: Task): number {
  const c = t.context;
  const value = c.regLo(RAX);
  if (c.regHi(RAX) === -1 && c.regHi(ORIG_RAX) >= 0 && value <= -ERESTARTSYS && value >= -ERESTART_RESTARTBLOCK) {
    t.sysno = c.regLo(ORIG_RAX);
    return value;
  }
  return REGISTERS_SET;
}

/** After any stop but a signal's: the signal that the tracer has given is sent anew. */
export function takeTracerSignal(t: Task): void {
  const signo = t.signals.ptraceSignal;
  t.signals.ptraceSignal = 0;
  if (signo > 0) sendSignal(t, senderInfo(signo, SI_USER, t, t.group));
  // Nobody wakes a stopped task for a signal: it looks for those that have come meanwhile.
  recalcInterrupting(t);
}

/** ptrace_signal(): the tracer sees a signal before it acts. */
export function signalStop(t: Task, info: SigInfo, result: number): number {
  t.tracee!.at = AT_NOTHING;
  return ptraceStop(t, info.signo, info, result, resumeSignal);
}

function resumeSignal(t: Task, _why: number): number {
  const s = t.signals;
  const signo = s.ptraceSignal;
  s.ptraceSignal = 0;
  if (signo > 0) {
    const info = s.ptraceInfo !== null && s.ptraceInfo.signo === signo ? s.ptraceInfo : senderInfo(signo, SI_USER, t, t.group);
    // "If the (new) signal is now blocked, requeue it."
    if (sigIn(s.blockedLo, s.blockedHi, signo)) sendSignal(t, info);
    else s.injected = info;
  }
  s.ptraceInfo = null;
  s.interrupting = true;
  return resultFromRegisters(t);
}

/** An event that PTRACE_SETOPTIONS has asked for: the tracee stops, then `resume` runs. */
export function eventStop(t: Task, event: number, message: number, result: number, resume: Resume): number {
  const tracee = t.tracee!;
  tracee.eventMessage = message;
  tracee.at = event === PTRACE_EVENT_SECCOMP ? AT_SECCOMP : AT_NOTHING;
  const code = (event << 8) | SIGTRAP;
  return ptraceStop(t, code, new SigInfo(SIGTRAP, code), result, resume);
}

/** Entry or exit of a call under PTRACE_SYSCALL. */
export function callStop(t: Task, at: number, result: number, resume: Resume): number {
  const tracee = t.tracee!;
  tracee.at = at;
  // PTRACE_EVENTMSG_SYSCALL_ENTRY and _EXIT.
  tracee.eventMessage = at;
  const code = (tracee.options & PTRACE_O_TRACESYSGOOD) !== 0 ? SIGTRAP | 0x80 : SIGTRAP;
  return ptraceStop(t, code, new SigInfo(SIGTRAP, code), result, resume);
}

/** The exit of a call; `result` is what it answers. Returns whether the task is stopped now. */
export function stopsAtExit(t: Task, result: number): boolean {
  const tracee = t.tracee!;
  if (!tracee.inCall) return false;
  tracee.inCall = false;
  if (tracee.steps && tracee.mode === TRACE_RUN && !t.group.exiting) {
    // A step over a call ends right behind it, not one instruction further: user_single_step_report() of ptrace_report_syscall_exit().
    const info = new SigInfo(SIGTRAP, TRAP_BRKPT);
    info.addr = t.context.reg(RIP);
    forceSignal(t, info);
    return false;
  }
  if (tracee.mode !== TRACE_CALLS || t.group.exiting) return false;
  callStop(t, AT_EXIT, result, resumeEvent);
  return true;
}

/** Goes on where the registers say. */
export function resumeEvent(t: Task, _why: number): number {
  takeTracerSignal(t);
  return resultFromRegisters(t);
}

/** execve has succeeded: REGISTERS_SET, or BLOCKED in a stop. */
export function execStop(t: Task, formerTid: number): number {
  const tracee = t.tracee;
  if (tracee === null) return REGISTERS_SET;
  if (tracee.has(PTRACE_EVENT_EXEC)) return eventStop(t, PTRACE_EVENT_EXEC, formerTid, REGISTERS_SET, resumeEvent);
  if (!tracee.isSeized) sendSignal(t, senderInfo(SIGTRAP, SI_USER, t, t.group));
  return REGISTERS_SET;
}

/** The thread is about to end: whether it stops first, for PTRACE_O_TRACEEXIT. */
export function stopsBeforeExit(t: Task, status: number, resume: Resume): boolean {
  const tracee = t.tracee;
  if (tracee === null || tracee.exitReported || !tracee.has(PTRACE_EVENT_EXIT)) return false;
  tracee.exitReported = true;
  eventStop(t, PTRACE_EVENT_EXIT, status, REGISTERS_SET, resume);
  return true;
}

function groupStopCode(t: Task, tracee: Tracee): number {
  return tracee.isSeized ? (PTRACE_EVENT_STOP << 8) | (t.group.stopSignal || SIGTRAP) : t.group.stopSignal;
}

/** A traced task has joined a group stop. */
export function reportGroupStop(t: Task): void {
  const tracee = t.tracee!;
  const code = groupStopCode(t, tracee);
  tracee.at = AT_NOTHING;
  tracee.isGroupStop = true;
  report(t, tracee, code, tracee.isSeized ? new SigInfo(SIGTRAP, code) : null, CLD_STOPPED);
}

/** PTRACE_INTERRUPT: a seized tracee stops with PTRACE_EVENT_STOP. */
export function interrupt(target: Task): void {
  const tracee = target.tracee!;
  tracee.stopAsked = true;
  if (tracee.listens) endListening(target);
  else wakeForSignal(target, false);
}

/** PTRACE_LISTEN: stays stopped, but hears of SIGCONT and PTRACE_INTERRUPT. */
export function listen(target: Task): void {
  const tracee = target.tracee!;
  tracee.listens = true;
  if (tracee.stopAsked) endListening(target);
}

/** A listening tracee goes to its next stop. */
export function endListening(target: Task): void {
  const tracee = target.tracee!;
  tracee.listens = false;
  tracee.stopCode = 0;
  wakeStopped(target);
}

/** In prepareReturn(): serves PTRACE_INTERRUPT and the end of a group stop. */
export function stopsWhenAsked(t: Task, result: number): boolean {
  const tracee = t.tracee!;
  if (!tracee.stopAsked) return false;
  tracee.stopAsked = false;
  tracee.at = AT_NOTHING;
  const code = (PTRACE_EVENT_STOP << 8) | (t.group.isStopped ? t.group.stopSignal : SIGTRAP);
  ptraceStop(t, code, new SigInfo(SIGTRAP, code), result, resumeEvent);
  return true;
}

// ---- letting go

/** PTRACE_CONT and its kin. */
export function letGo(target: Task, mode: number, steps: boolean, signo: number): void {
  const tracee = target.tracee!;
  tracee.mode = mode;
  tracee.steps = steps;
  tracee.stopCode = 0;
  target.signals.ptraceSignal = signo;
  target.signals.ptraceInfo = tracee.info;
  tracee.info = null;
  if (steps) target.context.setReg(EFLAGS, target.context.regLo(EFLAGS) | EFLAGS_TF);
  wakeStopped(target);
}

// ---- events of clone

/** The event that a clone of this kind is, or 0 when the tracer does not want it. */
export function cloneEvent(t: Task, isVfork: boolean, exitSignal: number): number {
  const tracee = t.tracee;
  if (tracee === null) return 0;
  const event = isVfork ? PTRACE_EVENT_VFORK : exitSignal === SIGCHLD ? PTRACE_EVENT_FORK : PTRACE_EVENT_CLONE;
  return tracee.has(event) ? event : 0;
}

/** Whether the end of vfork's wait is told: PTRACE_O_TRACEVFORKDONE. */
export function wantsVforkDone(t: Task): boolean {
  return t.tracee?.has(PTRACE_EVENT_VFORK_DONE) === true;
}
