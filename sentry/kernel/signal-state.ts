/** A task's own signal fields; queues and delivery are in task-signals.ts. Masks are two words, bit n-1 is signal n. */
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
}
