// What single system calls cost, measured inside by bench/guest/ub.c.
import type { Group } from './support/group.ts';
import { buildGuest, sampleLines } from './support/guest-program.ts';

export const calls: Group = {
  name: 'calls',
  what: 'single system calls',
  rows: [
    { name: 'getpid', what: 'getpid', unit: 'ns', native: 0.5, peer: 0.1 },
    { name: 'getpid-trap', what: 'getpid at a site that cannot be patched', unit: 'ns', native: 25, peer: 0.7 },
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
  ],
  measure(column, wanted, sample) {
    sampleLines(column, [buildGuest('ub'), ...wanted], wanted, sample);
  },
};
