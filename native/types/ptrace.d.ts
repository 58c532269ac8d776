// What src/ptrace.cc exports. Threads are named by their context index in the region.

/** Starts the stub that all others are forked from, as context 0; out: [pid, vDSO address, bytes of extended state in a signal frame]. 0 or -errno. */
export function ptraceStart(region: ArrayBuffer, stubFd: number, out: Float64Array): number;
/** Clones context `parent` into `child`: a thread of the same memory, or a copy. Host tid or -errno. */
export function ptraceClone(parent: number, child: number, isThread: number): number;
/** Lets the guest go on with the registers of the page. */
export function ptraceRun(index: number): void;
/** Runs the batch of the page. tail 1: the guest goes on with the last result unless a call failed. */
export function ptraceBatch(index: number, tail: number): void;
export function ptraceSendFd(index: number, fd: number): number;
export function ptraceKick(index: number): void;
/** Ends the thread, or with process 1 the whole process. */
export function ptraceRelease(index: number, process: number): void;
/** A context index with an event, -1 at the deadline (ns, monotonic), -2 for a ready host descriptor. */
export function ptraceNext(deadlineNs: number): number;
export function ptraceCpuTime(index: number): number;
/** Memory past page protections: bytes moved between the guest and buffer[at, at+n). */
export function ptraceForced(index: number, addr: number, buffer: Uint8Array, at: number, n: number, write: number): number;
/** The aligned word at addr becomes value if it is expected, in one step for all threads: what it was, -EFAULT, or -ESRCH for a context that cannot. */
export function ptraceExchange(index: number, addr: number, expected: number, value: number): number;
/** Debug register n (0 to 7) of a stopped context: its value, or 0 for a write, or -errno. */
export function ptraceDebug(index: number, n: number, value: number, write: number): number;
/** Moves up to n bytes of a stopped context's register set NT_* from or to buffer: bytes moved or -errno. */
export function ptraceRegset(index: number, type: number, buffer: Uint8Array, n: number, write: number): number;
