// What /proc/[pid]/io counts: calls that read or write, and the bytes they moved.
// include/linux/task_io_accounting_ops.h; fs/read_write.c adds after each call.

import {
  SYS_pread64,
  SYS_preadv,
  SYS_preadv2,
  SYS_pwrite64,
  SYS_pwritev,
  SYS_pwritev2,
  SYS_read,
  SYS_readv,
  SYS_sendfile,
  SYS_write,
  SYS_writev,
  SYSCALL_COUNT,
} from '../abi/sysno-x64.ts';

export class IoCounts {
  readBytes = 0;
  readCalls = 0;
  writtenBytes = 0;
  writeCalls = 0;

  add(other: IoCounts): void {
    this.readBytes += other.readBytes;
    this.readCalls += other.readCalls;
    this.writtenBytes += other.writtenBytes;
    this.writeCalls += other.writeCalls;
  }
}

const READS = 1;
const WRITES = 2;

/** By system call number; 0 for those that do not count. */
export const IO_KINDS: Uint8Array = new Uint8Array(SYSCALL_COUNT);
for (const nr of [SYS_read, SYS_pread64, SYS_readv, SYS_preadv, SYS_preadv2]) IO_KINDS[nr] = READS;
for (const nr of [SYS_write, SYS_pwrite64, SYS_writev, SYS_pwritev, SYS_pwritev2]) IO_KINDS[nr] = WRITES;
IO_KINDS[SYS_sendfile] = READS | WRITES;

/** A call of one of the kinds has ended with `result`. */
export function countIo(counts: IoCounts, kind: number, result: number): void {
  const bytes = Math.max(result, 0);
  if ((kind & READS) !== 0) {
    counts.readCalls++;
    counts.readBytes += bytes;
  }
  if ((kind & WRITES) !== 0) {
    counts.writeCalls++;
    counts.writtenBytes += bytes;
  }
}
