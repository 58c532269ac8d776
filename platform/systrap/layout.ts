// Numbers that the systrap platform shares with the stub beside the context page. Twin of native/stub/sysmsg.h: change both.

export const STUB_TEXT_HIGH = 0x7ff0;
export const STUB_TEXT_SIZE = 0x10000;

/** The ring and, behind it in the same memfd, what stubs map read-only. */
export const RING_SIZE = 0x10000;
export const CONF_SIZE = 0x5000;
/** Words of the ring: the count of entries ever added, whether the Sentry sleeps, how long stubs spin, the Sentry's processor plus 1. */
export const RING_HEAD = 0;
export const RING_SPIN = 2;
export const RING_SENTRY_CPU = 3;
export const RING_SLOTS = 64;
export const RING_MASK = 8191;
/** An entry that is no context: a host descriptor, a dead child. */
export const RING_BELL = -1;

/** Byte offsets in the configuration. */
export const CONF_FILTER_LENGTH = 0;
export const CONF_PATCH = 4;
/** Address of the vDSO's clock_gettime(), or 0. */
export const CONF_VDSO_CLOCK = 8;
export const CONF_FILTER = 0x1000;
export const CONF_PREFETCH = 0x2000;
/** How many threads wait for a futex, by the word's place in its page: FUTEX_BUCKETS words. */
export const CONF_FUTEX_WAITERS = 0x4000;

/** Where a stub has the contexts of its address space, and how many there can be. */
export const WINDOW = 0x7ff010000000;
export const MAX_SLOTS = 1024;
export const STACKS = 0x7ff100000000;
export const STACK_SIZE = 0x10000;
export const STUB_STACK_SIZE = 0x4000;

export const EVENT_CLONED = 6;
/** A system call whose site could be patched: CTX_PATCH_SITE. */
export const EVENT_SYSCALL_AT_SITE = 7;

/** Entries of CTX_ANSWERS that are no result but say how the stub finds it, if it can. */
export const HERE_YIELD = -1;
export const HERE_FUTEX = -2;
export const HERE_CLOCK = -3;
export const HERE_TIMEOFDAY = -4;
export const HERE_TIME = -5;

export const ACTION_RAX = 1;
export const ACTION_FULL = 2;
export const ACTION_BATCH = 3;
export const ACTION_FORK = 4;
export const ACTION_THREAD = 5;
export const ACTION_EXIT = 6;
/** The data area receives the extended state as a signal frame holds it (its first word: bytes without the final magic), or has it. */
export const ACTION_SHOW_FP = 7;
export const ACTION_TAKE_FP = 8;

/** CTX_PATCH_PROT, beside PROT_*: no other thread can be at the site. */
export const PATCH_ALONE = 8;

/** clone(2) flags as stub/clones.h has them: a process that is the Sentry's child; a thread whose end clears CTX_ALIVE. */
export const FORK_FLAGS = 0x8011;
export const THREAD_FLAGS = 0x250f00;
