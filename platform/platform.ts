// What the Sentry needs of the host to run guest code, in two implementations: systrap and ptrace.
// The platform knows contexts (one per guest thread) and address spaces (one stub process each),
// never tasks. Everything here is addressed by numbers in one shared region (context-page.ts), so
// that a call crosses into native code at most once.
//
// Life of a context, as the run loop sees it:
//
//   next() -> index, context.event says why:
//     EVENT_SYSCALL  registers hold the call; answer(), run() or runBatch() goes on
//     EVENT_FAULT    guest code raised a host signal; fault* fields say which
//     EVENT_BATCH    the host calls of runBatch() are done, or one has failed
//     EVENT_KICKED   stopped in guest code because of kick()
//     EVENT_DIED     the stub is gone (killed, out of memory, or tampering): nothing can be resumed
//
// A context that has been handed out by newAddressSpace(), fork() or newThread() takes a batch or
// a run() at once: it is carried out when the stub is there.

import type { Context } from './context.ts';

export { type Context, HOSTCALL_MAY_FAIL, HOSTCALL_RECEIVED_FD } from './context.ts';
// The kernel knows this file alone.
export {
  CS,
  CTX_REGS_SIZE,
  DS,
  EFLAGS,
  ES,
  FS,
  FS_BASE,
  GS,
  GS_BASE,
  MAX_HOST_CALLS,
  ORIG_RAX,
  R8,
  R9,
  R10,
  R11,
  R12,
  R13,
  R14,
  R15,
  RAX,
  RBP,
  RBX,
  RCX,
  RDI,
  RDX,
  RIP,
  RSI,
  RSP,
  SS,
} from './context-page.ts';

export const EVENT_SYSCALL = 1;
export const EVENT_FAULT = 2;
export const EVENT_BATCH = 3;
export const EVENT_KICKED = 4;
export const EVENT_DIED = 5;

/** Results of next() that are not a context index. */
export const NEXT_TIMEOUT = -1;
/** A host descriptor is ready: hostToken() and hostEvents() tell which; ask until hostToken() is -1. */
export const NEXT_HOST = -2;

/** What a platform asks of who keeps the mappings of an address space. */
export interface Mappings {
  /** PROT_* of the private mapping of code at addr that nobody may write: its call sites may be patched. Else -1. */
  patchableProt(addr: number): number;
  /** Whether a store by the guest itself to [addr, addr+n) would succeed. */
  isWritable(addr: number, n: number): boolean;
}

/** The words of futexWaiters; a futex word's is that of its place in its page. */
export const FUTEX_BUCKETS = 1024;

/** One stub process: the memory of one guest address space. */
export interface AddressSpace {
  /** Set by the owner of the mappings. */
  mappings: Mappings | null;
  /** Host pid in the sandbox's pid namespace; 0 before birth. */
  readonly hostPid: number;
  /** Context.withdrawAnswers() for all its threads. */
  withdrawAnswers(): void;
  /** A live thread of it, for host calls that name whose memory they move. */
  readonly memoryTid: number;
  /** Bytes moved, fewer than n at the first page that is not readable. */
  readSome(addr: number, dst: Uint8Array, at: number, n: number): number;
  writeSome(addr: number, src: Uint8Array, at: number, n: number): number;
  /** writeSome() that is done when it returns: for words that other threads look at. */
  writeNow(addr: number, src: Uint8Array, at: number, n: number): number;
  /** readSome() that may also end behind a NUL. */
  readString(addr: number, dst: Uint8Array, at: number, n: number): number;
  /** A host file's bytes straight into guest memory, and back; offset -1 is the descriptor's own position. flags: 0 or RWF_NOWAIT. Bytes or -errno. */
  fromHost(addr: number, n: number, hostFd: number, offset: number, flags: number): number;
  toHost(addr: number, n: number, hostFd: number, offset: number): number;
  /** Past the page protections, as ptrace(2)'s POKE may: bytes moved. */
  readForced(addr: number, dst: Uint8Array, at: number, n: number): number;
  writeForced(addr: number, src: Uint8Array, at: number, n: number): number;
  /** Puts back the code as the guest has loaded it, where the platform has changed it. */
  restoreCode(): void;
}

export interface Platform {
  readonly name: 'ptrace' | 'systrap';

  /** A thread that is stopped in guest code has left its critical section of rseq(2): the host has seen to it. */
  readonly abortsSections: boolean;

  /** First guest address that belongs to the stub: mappings stay below. */
  readonly topAddress: number;
  /** Where the host's vDSO lies in every address space: AT_SYSINFO_EHDR. 0 for none. */
  readonly vdsoAddr: number;
  /** How many bytes it has, and how many its data right below it. */
  readonly vdsoSize: number;
  readonly vvarSize: number;
  /** The processor's features as AT_HWCAP and AT_HWCAP2 tell them. */
  readonly hwcap: number;
  readonly hwcap2: number;
  /** How many threads wait for futexes, by bucket, where the platform answers FUTEX_WAKE for an empty one by itself; else null. Raised with Atomics before the word is read. */
  readonly futexWaiters: Int32Array | null;
  /** AT_RSEQ_FEATURE_SIZE and AT_RSEQ_ALIGN; 0 where the host tells nothing. */
  readonly rseqFeatureSize: number;
  readonly rseqAlign: number;
  /** Bytes of extended state in a signal frame, final magic included: fpu_user_cfg.default_size + FP_XSTATE_MAGIC2_SIZE. */
  readonly fpStateSize: number;

  /** A fresh, empty address space with one context (for exec), or -errno. A nursery's is born where that one is. */
  newAddressSpace(nursery: Context | null): Context | number;

  /**
   * A stub process that never runs guest code and that newAddressSpace() can be made by: whoever moves it to a cgroup of
   * the host has all that come from it there. -errno. Ended by releaseSpace(nursery.space).
   */
  newNursery(): Context | number;

  /** A copy of parent's address space whose one context has the parent's registers; the parent is stopped in a system call. */
  fork(parent: Context): Context | number;

  /** One more context in parent's address space, with the parent's registers (CLONE_VM). */
  newThread(parent: Context): Context | number;

  /** The context's thread ends, and the stub process with the last one of its address space. The context must not be used again. */
  releaseContext(context: Context): void;

  /** Ends a whole stub process with all its contexts at once. */
  releaseSpace(space: AddressSpace): void;

  /** Kills a stub process that does not do what it is told: each of its contexts gets EVENT_DIED. */
  killSpace(space: AddressSpace): void;

  /** Waits until something happens or the monotonic deadline (ns) passes: a context index, NEXT_TIMEOUT or NEXT_HOST. */
  next(deadlineNs: number): number;

  contextAt(index: number): Context;

  /** Writes rax and returns to the guest: the way of nearly every system call. */
  answer(context: Context, result: number): void;

  /** Returns to the guest with all registers as the context page has them. */
  run(context: Context): void;

  /** Queues a descriptor, in order, for the calls marked HOSTCALL_RECEIVED_FD of the context's next batch. Duplicated: the caller keeps its own. 0 or -errno. */
  sendFd(context: Context, hostFd: number): number;

  /** Executes context.calls in the stub. tail: then returns to the guest with the last result in rax, and comes back only if a call failed. */
  runBatch(context: Context, tail: boolean): void;

  /** Stops a context that is in guest code: EVENT_KICKED follows unless another event was under way. */
  kick(context: Context): void;

  /** The extended state of a context that is not in guest code, as NT_X86_XSTATE lays it out: bytes stored, or -errno. */
  readXstate(context: Context, dst: Uint8Array): number;

  /** Loads such a state, which readXstate() has told and the caller may have changed. 0 or -errno; -EINVAL for what no CPU takes. */
  writeXstate(context: Context, src: Uint8Array, n: number): number;

  /**
   * Stores `value` in an aligned word of guest memory if that is `expected`, in one step for all guest threads. `context` is one
   * that is not in guest code. The word as it was, -EFAULT, or -ESRCH when the context cannot.
   */
  compareExchange(context: Context, addr: number, expected: number, value: number): number;

  /** Debug register n (0 to 7) of a context that is not in guest code, as ptrace(2) shows it: its value, or -errno. */
  readDebug(context: Context, n: number): number;

  /** 0 or -errno: what the host's ptrace(2) says. */
  writeDebug(context: Context, n: number, value: number): number;

  /** Lets the context's thread run on these host processors only (bit i of byte i>>3), as far as the host allows. */
  setAffinity(context: Context, mask: Uint8Array): void;

  /** The context's thread yields to others as nice values of 0 to 19 say, as far as the host and the platform allow; children inherit it. */
  setNice(context: Context, nice: number): void;

  /** Counts for people who look into it: name to number. */
  statistics(): object;

  /** Watches a host descriptor, edge-triggered, for poll bits; next() answers NEXT_HOST with `token` (a positive int32). 0 or -errno. */
  watch(hostFd: number, events: number, token: number): number;
  unwatch(hostFd: number): void;
  /** The token of the next ready descriptor, or -1. */
  hostToken(): number;
  hostEvents(): number;

  /** How much of the CPU time of a context's process was spent in user mode, 0 to 1; -1 when that is not known. */
  userShare(context: Context): number;

  /** CPU time of a context's host thread in ns, user and system together; for rusage and clocks. */
  cpuTimeNs(context: Context): number;
}
