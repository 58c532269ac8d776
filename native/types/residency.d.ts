// src/residency.cc

/**
 * Of a process's pages addr, addr + stride, addr + 2 × stride, … below addr + pages, how many are resident; or -errno.
 * addr is a page's address; pages and stride count pages of 4 KiB.
 */
export function residentPages(tid: number, addr: number, pages: number, stride: number): number;

/** Gives pages of freed C memory back to the host: malloc_trim(3). */
export function trimHeap(): void;
