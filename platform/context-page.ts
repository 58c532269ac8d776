// Layout of one context in the shared region. Twin of native/stub/sysmsg.h: change both.
//
// The region is one ArrayBuffer; a context is its CONTEXT_SIZE bytes at CONTEXT_SIZE * index.
// With systrap the guest's address space maps the same pages and may scribble over them at any
// time: whatever is read from here is read once and then checked.

/** Bytes of one context: header, registers, batch, FP area, then data. */
export const CONTEXT_SIZE = 0x20000;
/** Context 0 is never handed out; its space serves the region's own needs. */
export const MAX_CONTEXTS = 8192;

// Header words (byte offsets inside the context). The first 64 bytes, one cache line, are what every call needs of them.
export const CTX_STATE = 0;
export const CTX_SLEEPING = 4;
export const CTX_INDEX = 8;
export const CTX_ACTION = 12;
export const CTX_EVENT = 16;
/** systrap: the number of the system call. */
export const CTX_SYSNO = 20;
/** systrap: the Sentry looks at the state word itself, so that the stub need not announce an event in the ring. */
export const CTX_WATCHED = 24;
export const CTX_NOUT = 28;
/** systrap: how many entries CTX_INS has, and the bytes of the data area that are taken. */
export const CTX_NIN = 32;
export const CTX_DATA_USED = 36;
/** systrap: what rax is to be when the guest goes on with its other registers as they are. */
export const CTX_RESULT = 40;
/** systrap: the answer will not come soon, so that the stub sleeps at once. */
export const CTX_PARKED = 48;
/** systrap: a thread of the same process that the stub wakes before its guest goes on, as its slot plus 1. */
export const CTX_WAKE_SLOT = 52;
/** systrap: how often in a row the stub has spun in vain. Its own. */
export const CTX_SPIN_MISSES = 56;
/** systrap: the processor, plus 1, on which the stub has last gone to sleep. */
export const CTX_CPU = 60;
// A fault: host signal number, si_code, trap number, error code, address.
export const CTX_FAULT_SIGNO = 192;
export const CTX_FAULT_CODE = 196;
export const CTX_FAULT_TRAPNO = 200;
export const CTX_FAULT_ERR = 204;
export const CTX_FAULT_ADDR = 208;
/** Where to xsave on the way out / xrstor on the way in; 0 for no. */
export const CTX_FP_SAVE_ADDR = 216;
export const CTX_FP_RESTORE_ADDR = 64;
/** In its place of an address: the state that a program starts with. */
export const FP_INITIAL = 1;
/** EVENT_DIED: the host's wait status. */
export const CTX_WAIT_STATUS = 72;

/** Batch: 1 when the guest goes on with the last result. */
export const CTX_TAIL = 76;
/** systrap: what clone(2) has answered, and the slot of the thread to be made. */
export const CTX_CLONE_RESULT = 80;
export const CTX_CLONE_SLOT = 84;
/** DIRTY_*: bases that differ from the CPU's. */
export const CTX_DIRTY = 88;
/** systrap: a kick has met the stub's own code. */
export const CTX_KICKED = 92;
/** systrap: the number of the last batch, of the last finished tail batch, and whether somebody waits for that. */
export const CTX_BATCH_SEQ = 96;
export const CTX_DONE_SEQ = 100;
export const CTX_DONE_WAITER = 104;
/** systrap: cleared by the host when the thread is gone. */
export const CTX_ALIVE = 108;
/** systrap: tells whether a process has mapped this page. */
export const CTX_NONCE = 112;
/** systrap: the page's own address in the stub, the top of the thread's stub stack. */
export const CTX_SELF = 120;
export const CTX_STUB_STACK = 128;
/** systrap: a call site that could be patched, and the protection of its page (and PATCH_ALONE) once it is to be, else 0. */
export const CTX_PATCH_SITE = 144;
export const CTX_PATCH_PROT = 152;
export const CTX_NCALLS = 156;
/** Batch: the index of the failed call, or the number of calls. */
export const CTX_CALLS_DONE = 160;
/** systrap: counts of call sites, see systrap/patches.ts. */
export const CTX_SITES_PATCHED = 164;
export const CTX_SITES_NO_FORM = 168;
export const CTX_SITES_SPLIT = 172;
export const CTX_SITES_FULL = 176;

export const DIRTY_FS = 1;
export const DIRTY_GS = 2;

/** Registers in the order of struct user_regs_struct, 27 words of 64 bits. Those of arguments, from r10 to rdi, are one cache line. */
export const CTX_REGS = 0x108;
export const CTX_REGS_SIZE = 27 * 8;

/** Prefetched ranges: address (u64), length (u32), offset in data (u32). */
export const CTX_INS = 0x300;
export const IN_SIZE = 16;
export const MAX_INS = 16;

/** Host calls: HOSTCALL_SIZE bytes each. */
export const CTX_CALLS = 0x400;
export const HOSTCALL_SIZE = 72;
export const MAX_HOST_CALLS = 40;

/** Copy-out list: address (u64), length (u32), offset in data (u32). */
export const CTX_OUTS = 0x1000;
export const OUT_SIZE = 16;
export const MAX_OUTS = 64;

/** Results by system call number, plus 1, that the stub gives by itself; 0: it asks. */
export const CTX_ANSWERS = 0x1400;
export const MAX_ANSWERS = 256;

/** The data area: prefetched arguments and results. */
export const CTX_DATA = 0x10000;
export const CTX_DATA_SIZE = 0x10000;

// Register numbers: index of the 64-bit word, arch/x86/include/uapi/asm/ptrace.h.
export const R15 = 0;
export const R14 = 1;
export const R13 = 2;
export const R12 = 3;
export const RBP = 4;
export const RBX = 5;
export const R11 = 6;
export const R10 = 7;
export const R9 = 8;
export const R8 = 9;
export const RAX = 10;
export const RCX = 11;
export const RDX = 12;
export const RSI = 13;
export const RDI = 14;
export const ORIG_RAX = 15;
export const RIP = 16;
export const CS = 17;
export const EFLAGS = 18;
export const RSP = 19;
export const SS = 20;
export const FS_BASE = 21;
export const GS_BASE = 22;
export const DS = 23;
export const ES = 24;
export const FS = 25;
export const GS = 26;
