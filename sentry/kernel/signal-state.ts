import { type SigInfo, SignalQueue } from './signal-queue.ts';

/** A task's own signal fields; delivery is in task-signals.ts. Masks are two words, bit n-1 is signal n. */
export class SignalState {
  blockedLo = 0;
  blockedHi = 0;
  /** sigsuspend, ppoll, pselect: the mask to put back after the handler; valid while hasSavedMask. */
  savedLo = 0;
  savedHi = 0;
  hasSavedMask = false;
  /** Something must be looked at before the task returns to the guest or while it waits: a deliverable signal, a group stop, death. */
  interrupting = false;
  /** sigaltstack(2). */
  altStackAddr = 0;
  altStackSize = 0;
  altStackFlags = 2;
  /** Signals for this thread alone: tgkill, faults. */
  readonly pending: SignalQueue = new SignalQueue();
  /** What rt_sigtimedwait waits for while it is parked: real_blocked, the other way round. */
  waitLo = 0;
  waitHi = 0;
  /** This thread is to take part in the group stop under way: JOBCTL_STOP_PENDING. */
  stopPending = false;
  /** The result to go on with after a stop. */
  stoppedResult = 0;
  /** The signal that a tracer lets through: it acts without being shown again. */
  injected: SigInfo | null = null;
  /** What the tracer gave with the request that ended a ptrace-stop, and the siginfo of that stop. */
  ptraceSignal = 0;
  ptraceInfo: SigInfo | null = null;
  /** Of the last fault, for sigcontext: thread.trap_nr, error_code, cr2. */
  trapno = 0;
  errorCode = 0;
  faultAddr = 0;
  /** Extended state that rt_sigreturn has asked to be restored on the resume under way; 0 for none. */
  fpRestoreAddr = 0;
  /** This resume already saves the CPU's extended state into a frame. */
  fpSaved = false;
}
