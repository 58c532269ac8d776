// Signal sets as two 32-bit words, bit n-1 is signal n, and the classes of signals that the kernel
// knows by their default action: include/linux/signal.h.

import {
  SIGABRT,
  SIGBUS,
  SIGCHLD,
  SIGCONT,
  SIGFPE,
  SIGILL,
  SIGKILL,
  SIGQUIT,
  SIGSEGV,
  SIGSTOP,
  SIGSYS,
  SIGTRAP,
  SIGTSTP,
  SIGTTIN,
  SIGTTOU,
  SIGURG,
  SIGWINCH,
  SIGXCPU,
  SIGXFSZ,
} from '../abi/signal.ts';

/** The low word of the set {signo}. */
export function sigLo(signo: number): number {
  return signo <= 32 ? 1 << (signo - 1) : 0;
}

/** The high word of the set {signo}. */
export function sigHi(signo: number): number {
  return signo > 32 ? 1 << (signo - 33) : 0;
}

/** Whether the set contains signo. */
export function sigIn(lo: number, hi: number, signo: number): boolean {
  return signo <= 32 ? (lo & (1 << (signo - 1))) !== 0 : (hi & (1 << (signo - 33))) !== 0;
}

/** The lowest signal of a set, or 0 for the empty one. */
export function lowestSignal(lo: number, hi: number): number {
  if (lo !== 0) return 32 - Math.clz32(lo & -lo);
  if (hi !== 0) return 64 - Math.clz32(hi & -hi);
  return 0;
}

/** SIGKILL and SIGSTOP: no mask and no handler holds them. All are in the low word. */
export const UNMASKABLE_LO = sigLo(SIGKILL) | sigLo(SIGSTOP);
export const STOP_LO = sigLo(SIGSTOP) | sigLo(SIGTSTP) | sigLo(SIGTTIN) | sigLo(SIGTTOU);
/** Raised by an instruction: dequeued before all others, SYNCHRONOUS_MASK. */
export const SYNCHRONOUS_LO = sigLo(SIGSEGV) | sigLo(SIGBUS) | sigLo(SIGILL) | sigLo(SIGTRAP) | sigLo(SIGFPE) | sigLo(SIGSYS);
const IGNORE_LO = sigLo(SIGCONT) | sigLo(SIGCHLD) | sigLo(SIGWINCH) | sigLo(SIGURG);
const CORE_LO =
  sigLo(SIGQUIT) |
  sigLo(SIGILL) |
  sigLo(SIGTRAP) |
  sigLo(SIGABRT) |
  sigLo(SIGFPE) |
  sigLo(SIGSEGV) |
  sigLo(SIGBUS) |
  sigLo(SIGSYS) |
  sigLo(SIGXCPU) |
  sigLo(SIGXFSZ);

/** Default action: nothing. SIGCONT's continuing happens when it is sent. */
export function ignoredByDefault(signo: number): boolean {
  return (IGNORE_LO & sigLo(signo)) !== 0;
}

/** Default action: stop the group. */
export function stopsByDefault(signo: number): boolean {
  return (STOP_LO & sigLo(signo)) !== 0;
}

/** Default action: end the group, with the core bit of the wait status. */
export function dumpsByDefault(signo: number): boolean {
  return (CORE_LO & sigLo(signo)) !== 0;
}
