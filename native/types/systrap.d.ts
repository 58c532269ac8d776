// What src/systrap.cc exports. Results are values or -errno.

/** Starts the stub that all others are forked from, with these descriptors as its 3, 4 and 5. Its pid. */
export function systrapStart(stubFd: number, socket: number, memfd: number, ringFd: number): number;
/** Makes the ring the bell of SIGCHLD and the watcher of host descriptors. */
export function systrapAttach(ring: ArrayBuffer): void;
/** What a stub needs to be born: [context memory, our end of its socket, its end]. 0 or -errno. */
export function systrapSpace(out: Int32Array): number;
/** Puts a context's pages of a space's memory into the region. 0 or -errno. */
export function systrapMap(region: ArrayBuffer, index: number, memfd: number, slot: number): number;
/** Gives them back: the region is empty there again. */
export function systrapUnmap(region: ArrayBuffer, index: number): void;
/** Sends two descriptors, or one with second -1. 0 or -errno. */
export function systrapSend(socket: number, first: number, second: number): number;
/** Wakes who sleeps on the word at that offset of the region. */
export function systrapWake(region: ArrayBuffer, offset: number): void;
/**
 * Sleeps while the ring's head reads `seen`, until the deadline (ns, monotonic), at most maxNs. 1: the deadline has passed. With
 * noGuestRuns rings of other processes may go unheard.
 */
export function systrapSleep(seen: number, deadlineNs: number, maxNs: number, noGuestRuns: boolean): number;
/** Reaps a dead child: its pid and in out[0] its wait status; 0 when there is none. */
export function systrapReap(out: Int32Array): number;
/** A watched host descriptor has something to tell. */
export function systrapHostPending(): boolean;
export function systrapKill(pid: number, signal: number): number;
export function systrapKick(pid: number, tid: number): number;
/** Whether the thread is alive and one of that process. */
export function systrapIsThread(pid: number, tid: number): boolean;
/** CPU time of a process in ns. */
export function systrapCpuTime(pid: number): number;
/** Debug register n (0 to 7) of a thread of ours: its value, or 0 for a write, or -errno. */
export function systrapDebug(tid: number, n: number, value: number, write: number): number;
/** Memory past page protections, by way of ptrace(2) on a thread of ours: bytes moved between the guest and buffer[at, at+n). */
export function systrapForced(tid: number, addr: number, buffer: Uint8Array, at: number, n: number, write: number): number;
/** Looks at the ring's head that often, until it does not read `seen` any more: 1 when it has changed, 2 when a watched host descriptor has something to tell, else 0. */
export function systrapSpin(seen: number, looks: number, region: ArrayBuffer, watched: number): number;
/** Lets others on this processor go first. */
export function systrapYield(): void;
/** Moves the calling thread to another processor. */
export function systrapLeaveCpu(): void;
/** What one look costs here, ns; the stubs' are as long. */
export function systrapLookNs(): number;
/** Sleeps that many ns. */
export function systrapPause(ns: number): void;
