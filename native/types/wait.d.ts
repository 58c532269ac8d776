// What src/wait.cc exports.

/** Starts the thread that watches host descriptors. 0 or -errno. */
export function startNotifier(): number;
/** Watches a descriptor edge-triggered for poll bits; EPERM for files that are always ready. */
export function watchFd(fd: number, events: number, token: number): number;
export function unwatchFd(fd: number): number;
/** The token of the next ready descriptor, its events in out[0]; -1 when there is none. */
export function nextHostEvent(out: Int32Array): number;
