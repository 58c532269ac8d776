// Storage and its cache: fsync(2), fdatasync(2), sync_file_range(2), fadvise64(2), readahead(2), fallocate(2).

import { EBADF, EFAULT, EFBIG, EINVAL, EISDIR, ENODEV, EOPNOTSUPP, ESPIPE } from '../abi/errno.ts';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_UNSHARE_RANGE,
  FALLOC_FL_ZERO_RANGE,
  POSIX_FADV_NOREUSE,
  POSIX_FADV_NORMAL,
  SYNC_FILE_RANGE_WRITE_AND_WAIT,
} from '../abi/fcntl.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { SIGXFSZ } from '../abi/signal.ts';
import { S_IFBLK, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../abi/stat.ts';
import {
  SYS_cachestat,
  SYS_fadvise64,
  SYS_fallocate,
  SYS_fdatasync,
  SYS_fsync,
  SYS_readahead,
  SYS_sync_file_range,
} from '../abi/sysno-x64.ts';
import { put64 } from '../base/int64.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { raiseSignal } from '../kernel/task-signals.ts';
import { scratch } from '../mm/guest-memory.ts';
import { openFile } from './io-common.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** fsync(2). */
export function fsync(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  return file === undefined ? -EBADF : file.sync(t, false);
}

/** fdatasync(2). */
export function fdatasync(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  return file === undefined ? -EBADF : file.sync(t, true);
}

/** sync_file_range(2): the whole file's data, since the range is only a hint of what is worth it. */
export function syncFileRange(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  const flags = a.int(3);
  const offset = a.long(1);
  const length = a.long(2);
  if ((flags & ~SYNC_FILE_RANGE_WRITE_AND_WAIT) !== 0) return -EINVAL;
  if (offset < 0 || length < 0 || offset + length >= 2 ** 63) return -EINVAL;
  const type = file.inode().mode & S_IFMT;
  if (type !== S_IFREG && type !== S_IFBLK && type !== S_IFDIR && type !== S_IFLNK) return -ESPIPE;
  return flags === 0 || type === S_IFDIR ? 0 : file.fsync(t, true);
}

/** fadvise64(2): the host's cache decides for itself, so the advice is checked and dropped. */
export function fadvise64(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  if ((file.inode().mode & S_IFMT) === S_IFIFO) return -ESPIPE;
  const advice = a.int(3);
  return a.long(2) < 0 || advice < POSIX_FADV_NORMAL || advice > POSIX_FADV_NOREUSE ? -EINVAL : 0;
}

/** readahead(2): checked and dropped, like fadvise64. */
export function readahead(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  if (file === undefined || !file.readable) return -EBADF;
  const type = file.inode().mode & S_IFMT;
  return type !== S_IFREG && type !== S_IFBLK ? -EINVAL : 0;
}

/** struct cachestat: five u64. */
const CACHESTAT_SIZE = 40;

/** cachestat(2): every page of a file counts as cached and clean, as mincore(2) has it too. */
export function cachestat(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  const start = t.mm.loadU64(a.addr(1));
  const length = t.mm.loadU64(a.addr(1) + 8);
  if (start < 0 || length < 0) return -EFAULT;
  if (a.int(3) !== 0) return -EINVAL;
  const inode = file.inode();
  inode.getattr(t);
  const end = length === 0 ? inode.size : Math.min(inode.size, start + length);
  const pages = inode.isRegular() && end > start ? Math.ceil(end / PAGE_SIZE) - Math.floor(start / PAGE_SIZE) : 0;
  scratch.u8.fill(0, 0, CACHESTAT_SIZE);
  put64(scratch.view, 0, pages);
  return t.mm.copyOut(a.addr(2), scratch.u8, 0, CACHESTAT_SIZE);
}

const FALLOC_MODES =
  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
const MAX_FILE_SIZE = 2 ** 63 - 1;

/** fallocate(2), checks of fs/open.c:vfs_fallocate(). */
export function fallocate(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  const mode = a.int(1);
  const offset = a.long(2);
  const length = a.long(3);
  if (offset < 0 || length <= 0) return -EINVAL;
  if (!isFallocateMode(mode)) return -EOPNOTSUPP;
  if (!file.writable) return -EBADF;
  const inode = file.inode();
  const type = inode.mode & S_IFMT;
  if (type === S_IFIFO) return -ESPIPE;
  if (type === S_IFDIR) return -EISDIR;
  if (type !== S_IFREG && type !== S_IFBLK) return -ENODEV;
  if (offset + length >= MAX_FILE_SIZE) return -EFBIG;
  const grows = (mode & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_COLLAPSE_RANGE)) === 0 && offset + length > inode.size;
  if (grows && offset + length > t.group.limits.fileSize) {
    raiseSignal(t, SIGXFSZ);
    return -EFBIG;
  }
  return file.fallocate(t, mode, offset, length);
}

/** At most one operation, and KEEP_SIZE only where it has a meaning. */
function isFallocateMode(mode: number): boolean {
  if ((mode & ~(FALLOC_MODES | FALLOC_FL_KEEP_SIZE)) !== 0) return false;
  const keep = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
  switch (mode & FALLOC_MODES) {
    case 0:
    case FALLOC_FL_UNSHARE_RANGE:
    case FALLOC_FL_ZERO_RANGE:
      return true;
    case FALLOC_FL_PUNCH_HOLE:
      return keep;
    case FALLOC_FL_COLLAPSE_RANGE:
    case FALLOC_FL_INSERT_RANGE:
      return !keep;
    default:
      return false;
  }
}

export const fsSyncCalls: readonly SyscallLine[] = [
  call(SYS_cachestat, 'cachestat', 'fd:fd range:addr stat:addr flags:flags', cachestat, 'partial', 'every page counts as cached and clean'),
  call(SYS_fsync, 'fsync', 'fd:fd', fsync),
  call(SYS_fdatasync, 'fdatasync', 'fd:fd', fdatasync),
  call(SYS_sync_file_range, 'sync_file_range', 'fd:fd offset:long nbytes:long flags:flags', syncFileRange, 'full', 'always the whole file'),
  call(SYS_fadvise64, 'fadvise64', 'fd:fd offset:long len:long advice:int', fadvise64, 'full', 'advice has no effect'),
  call(SYS_readahead, 'readahead', 'fd:fd offset:long count:size', readahead, 'full', 'no effect'),
  call(SYS_fallocate, 'fallocate', 'fd:fd mode:int offset:long len:long', fallocate),
];
