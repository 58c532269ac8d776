// Results of a handler that are not for the guest. They lie below every -errno, so that one
// comparison (`result < MIN_ERRNO`) tells them apart on the hot path.

/** The smallest -errno that Linux returns: IS_ERR_VALUE(), include/linux/err.h. */
export const MIN_ERRNO = -4095;

/** The call must be made again once its questions are answered: retry.ts. Not an errno of Linux, but it passes through like one. */
export const RETRY = -4094;

/** The task is parked: its continuation will produce the result. */
export const BLOCKED = -0x100000;

/** The handler has set the registers itself (execve, rt_sigreturn): rax must not be touched. */
export const REGISTERS_SET = -0x100001;

/** The task is gone; nothing of it may be resumed. */
export const EXITED = -0x100002;

/** A stub that is dead or tampers with what it shares with us. Ends that guest process, nothing else. */
export class PlatformError extends Error {}

/** What had to hold does not: nothing that was to follow from it can be trusted. */
export class InvariantError extends Error {}

/** A peer that breaks the gofer protocol. Drops the connection, on either side. */
export class ProtocolError extends Error {}
