// The rows of the table, with the bars of docs/architecture.md: our time as a multiple of native, and of the other runtime.

export interface Row {
  name: string;
  what: string;
  unit: 'ns' | 'ms' | 'MiB';
  /** Highest ratio against native, if there is a bar. */
  native?: number;
  /** Highest ratio against another runtime. */
  peer?: number;
}

/** Measured inside by bench/guest/ub.c. */
export const guestRows: readonly Row[] = [
  { name: 'getpid', what: 'getpid', unit: 'ns', native: 0.5, peer: 0.1 },
  { name: 'read-zero', what: 'read 1 byte of /dev/zero', unit: 'ns', native: 3, peer: 0.5 },
  { name: 'write-null', what: 'write 1 byte to /dev/null', unit: 'ns', native: 3, peer: 0.5 },
  { name: 'fstat', what: 'fstat', unit: 'ns', native: 3, peer: 0.5 },
  { name: 'stat', what: 'stat of a cached path', unit: 'ns', native: 4, peer: 0.3 },
  { name: 'open-close', what: 'open + close', unit: 'ns', native: 4, peer: 0.3 },
  { name: 'pread-4k', what: 'pread 4 KiB of a file in memory', unit: 'ns', native: 3, peer: 0.7 },
  { name: 'pwrite-4k', what: 'pwrite 4 KiB to a file in memory', unit: 'ns', native: 3, peer: 0.7 },
  { name: 'futex-wake', what: 'futex wake, nobody waits', unit: 'ns', native: 1, peer: 0.1 },
  { name: 'pipe-ping-pong', what: 'pipe ping-pong of two threads', unit: 'ns', native: 1, peer: 0.7 },
  { name: 'mmap-touch', what: 'mmap + touch + munmap of a page', unit: 'ns', native: 1.5, peer: 0.2 },
  { name: 'touch-64m', what: 'touch 64 MiB', unit: 'ns', native: 1.5, peer: 0.6 },
  { name: 'fork-wait', what: 'fork + wait', unit: 'ns', native: 2.5, peer: 0.3 },
  { name: 'fork-exec-wait', what: 'fork + exec + wait', unit: 'ns', native: 2.5, peer: 0.3 },
];

/** Measured from outside. */
export const startRow: Row = { name: 'start', what: 'start-up: do true', unit: 'ms', peer: 0.8 };
export const memoryRow: Row = { name: 'memory', what: 'private memory of an idle sandbox', unit: 'MiB', peer: 1 };

export const allRows: readonly Row[] = [...guestRows, startRow, memoryRow];

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
