// src/residency.cc

/**
 * Of a process's pages addr, addr + stride, addr + 2 × stride, … below addr + pages, how many are resident; or -errno.
 * addr is a page's address; pages and stride count pages of 4 KiB.
 */
export function residentPages(tid: number, addr: number, pages: number, stride: number): number;

/** Of the first n (at most 4096) page addresses in pages, how many are resident; or -errno. */
export function residentSample(tid: number, pages: Float64Array, n: number): number;

/** How much of a process's CPU time was spent in user mode, 0 to 1; -1 when that is not known. */
export function userShare(pid: number): number;

/** Gives pages of freed C memory back to the host: malloc_trim(3). */
export function trimHeap(): void;
