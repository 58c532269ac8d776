// A task between its guest code and the Sentry: what each platform event means for it, and how
// a finished handler sends it back.
//
//           EVENT_SYSCALL              result            prepareReturn()
//   GUEST ───────────────→ HANDLER ───────────→ finish() ───────────────→ GUEST
//     ↑ EVENT_FAULT, KICKED  │ BLOCKED             ↑            │ EXITED → DEAD
//     └──────────────────────┤                     │            │ BLOCKED → STOPPED
//                            └→ BLOCKED → READY ───┘ runReady(): the continuation

import { EVENT_BATCH, EVENT_DIED, EVENT_FAULT, EVENT_KICKED, EVENT_SYSCALL, RIP } from '../../platform/platform.ts';
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE } from '../abi/mman.ts';
import { RLIMIT_STACK } from '../abi/sched.ts';
import { SIGSEGV } from '../abi/signal.ts';
import { SYS_mmap } from '../abi/sysno-x64.ts';
import { BLOCKED, EXITED, MIN_ERRNO, REGISTERS_SET } from '../base/errors.ts';
import { debug } from '../base/log.ts';
import { pageDown } from '../mm/memory-manager.ts';
import { countIo, IO_KINDS } from './io-counts.ts';
import { stopsAtExit } from './ptrace.ts';
import { abortCriticalSection } from './rseq.ts';
import { TASK_GUEST, TASK_HANDLER, type Task, WAKE_EVENT } from './task.ts';
import { waitsForExec } from './task-exec.ts';
import { contextDied, neverBorn } from './task-exit.ts';
import { deliverFault, prepareReturn } from './task-signals.ts';
import { enterSyscall } from './task-syscall.ts';

const FIRST_RESTART = -512;
const LAST_RESTART = -516;

/** Ends a handler: `result` goes to the guest, unless the task is parked or gone, or signals have their say first. */
export function finish(t: Task, result: number): void {
  if (result < MIN_ERRNO && result !== REGISTERS_SET) return;
  const trace = t.kernel.trace;
  if (trace !== null) trace.exit(t, result);
  if (t.tracee !== null && stopsAtExit(t, result)) return;
  if (t.sysno >= 0 && IO_KINDS[t.sysno]! !== 0) countIo(t.ioCounts, IO_KINDS[t.sysno]!, result);
  if (t.signals.interrupting || (result <= FIRST_RESTART && result >= LAST_RESTART)) {
    result = prepareReturn(t, result);
    if (result === BLOCKED || result === EXITED) return;
  }
  t.state = TASK_GUEST;
  if (result === REGISTERS_SET) t.kernel.platform.run(t.context);
  else t.kernel.platform.answer(t.context, result);
}

/** Runs the continuation of a task that was taken off the ready list. */
export function continueTask(t: Task): void {
  resumeTask(t, t.wakeReason);
}

function resumeTask(t: Task, why: number): void {
  const resume = t.resume!;
  t.resume = null;
  t.state = TASK_HANDLER;
  t.context.resumeCall();
  finish(t, resume(t, why));
  t.context.endCall();
}

/** What the platform has to tell of a task. */
export function handleEvent(t: Task, event: number): void {
  switch (event) {
    case EVENT_SYSCALL:
      enterSyscall(t);
      return;
    case EVENT_BATCH:
      resumeTask(t, WAKE_EVENT);
      return;
    case EVENT_FAULT:
      t.state = TASK_HANDLER;
      t.sysno = -1;
      if (t.rseq !== null && !t.kernel.platform.abortsSections) abortCriticalSection(t);
      fault(t);
      return;
    case EVENT_KICKED:
      t.state = TASK_HANDLER;
      t.sysno = -1;
      // Taken off its processor; what the host's scheduler does besides, nobody tells us.
      t.involuntarySwitches++;
      if (t.rseq !== null && !t.kernel.platform.abortsSections) abortCriticalSection(t);
      finish(t, REGISTERS_SET);
      return;
    case EVENT_DIED:
      if (t.context.birthError < 0 && (waitsForExec(t) || neverBorn(t))) return;
      // The host's doing (SIGKILL, out of memory), or a stub that tampers: to the guest a death by SIGKILL.
      debug(`the stub of task ${t.tid} is gone`);
      contextDied(t);
      return;
    default:
      throw new Error(`platform event ${event} is not known`);
  }
}

function fault(t: Task): void {
  const c = t.context;
  const signo = c.faultSigno;
  const addr = c.faultAddr;
  if (signo === SIGSEGV) {
    const stack = t.mm.growthFor(addr, t.group.limits.soft[RLIMIT_STACK]!);
    if (stack !== null) {
      const start = pageDown(addr);
      c.resetCalls();
      c.addCall(SYS_mmap, 0, start, stack.start - start, stack.prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
      t.mm.vmas.total += stack.start - start;
      t.n0 = stack.start;
      stack.start = start;
      t.hostCalls(resumeGrowth);
      return;
    }
  }
  debug(`task ${t.tid}: host signal ${signo} at ${c.reg(RIP).toString(16)}, address ${addr.toString(16)}`);
  deliverFault(t, signo, c.faultCode, c.faultTrapno, pageFaultError(t, addr, c.faultErr), addr);
  finish(t, REGISTERS_SET);
}

/** The error code of a page fault as far as the platform knows it, completed from the mappings: arch/x86 X86_PF_*. */
function pageFaultError(t: Task, addr: number, err: number): number {
  if ((err & 4) === 0) return err;
  if (addr === t.context.reg(RIP)) return err | 16;
  const v = t.mm.vmas.find(addr);
  return v !== undefined && (v.prot & 1) !== 0 && (v.prot & 2) === 0 ? err | 2 : err;
}

function resumeGrowth(t: Task, _why: number): number {
  const c = t.context;
  if (c.callsDone === 1) return REGISTERS_SET;
  const v = t.mm.vmas.find(c.faultAddr);
  if (v !== undefined) {
    t.mm.vmas.total -= t.n0 - v.start;
    v.start = t.n0;
  }
  deliverFault(t, SIGSEGV, c.faultCode, c.faultTrapno, c.faultErr, c.faultAddr);
  return REGISTERS_SET;
}
