// read(2), write(2), their vector and positional forms, and lseek(2). Files never block: what
// would have to wait answers -EAGAIN, and the two loops here (startRead, startWrite) park the task.
//
// While parked: t.file is the file, t.n0 the offset of a positional call or -1, t.n1 the bytes
// that a write has moved so far, t.io the rest of the guest's buffers.

import { EAGAIN, EBADF, EFAULT, EFBIG, EINTR, EINVAL, EOPNOTSUPP, EPIPE, ESPIPE } from '../abi/errno.ts';
import {
  O_APPEND,
  O_DSYNC,
  O_SYNC,
  RWF_APPEND,
  RWF_ATOMIC,
  RWF_DONTCACHE,
  RWF_DSYNC,
  RWF_NOAPPEND,
  RWF_NOWAIT,
  RWF_SUPPORTED,
  RWF_SYNC,
  SEEK_CUR,
  SEEK_MAX,
} from '../abi/fcntl.ts';
import { MAX_RW_COUNT } from '../abi/limits.ts';
import { SIGXFSZ } from '../abi/signal.ts';
import {
  SYS_lseek,
  SYS_pread64,
  SYS_preadv,
  SYS_preadv2,
  SYS_pwrite64,
  SYS_pwritev,
  SYS_pwritev2,
  SYS_read,
  SYS_readv,
  SYS_write,
  SYS_writev,
} from '../abi/sysno-x64.ts';
import { RETRY } from '../base/errors.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_EVENT, WAKE_SIGNAL, WAKE_TIMEOUT } from '../kernel/task.ts';
import { raiseSignal } from '../kernel/task-signals.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { notifyAccess, notifyModify } from '../vfs/fsnotify.ts';
import {
  beyondOffsets,
  deadlineAfter,
  interruptedIo,
  openFile,
  outsideUser,
  READ_EVENTS,
  raiseSigpipe,
  WRITE_EVENTS,
} from './io-common.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** No offset given: the file's own position. */
const AT_POSITION = -1;

// ---- the transfers

/** Moves bytes to t.io, which is set up; parks while there are none, unless O_NONBLOCK or `nowait` says not to. */
function startRead(t: Task, file: FileDescription, offset: number, nowait: boolean): number {
  t.io.mayPark = !nowait;
  let n = offset < 0 ? file.read(t, t.io) : file.pread(t, t.io, offset);
  t.io.mayPark = false;
  if (n === -EAGAIN && !nowait) {
    const fetching = file.fetch(t);
    if (fetching > 0) {
      file.incRef();
      t.file = file;
      t.n0 = offset;
      return t.parkUninterruptible(resumeFetched);
    }
    if (fetching < 0) n = offset < 0 ? file.read(t, t.io) : file.pread(t, t.io, offset);
  }
  if (n > 0) notifyAccess(file);
  if (n !== -EAGAIN || nowait || file.nonblocking) return n;

  // Only now can another task run and close the fd under us, so only now is a reference worth its cost.
  file.incRef();
  t.file = file;
  t.n0 = offset;
  return t.block(file.waiters, READ_EVENTS, deadlineAfter(t, file.readTimeoutNs), resumeRead);
}

/** The disk has been read: the rest does not wait, or not long. */
function resumeFetched(t: Task, why: number): number {
  const file = t.file!;
  let n = -EINTR;
  if (why === WAKE_EVENT) {
    t.io.rewind();
    n = t.n0 < 0 ? file.read(t, t.io) : file.pread(t, t.io, t.n0);
    if (n > 0) notifyAccess(file);
  } else file.abandonFetch(t);
  t.file = undefined;
  file.decRef(t);
  return n;
}

function resumeRead(t: Task, why: number): number {
  const file = t.file!;
  let n: number;
  if (why === WAKE_SIGNAL) n = interruptedIo(t);
  else {
    t.io.rewind();
    n = t.n0 < 0 ? file.read(t, t.io) : file.pread(t, t.io, t.n0);
    if (n > 0) notifyAccess(file);
    // Another reader of the same pipe may have taken the bytes that woke us.
    if (n === -EAGAIN && why !== WAKE_TIMEOUT) return t.block(file.waiters, READ_EVENTS, t.deadlineNs, resumeRead);
  }
  t.file = undefined;
  file.decRef(t);
  return n;
}

/** Takes bytes from t.io. A file that says writesAll() gets all of them, however long it takes. */
function startWrite(t: Task, file: FileDescription, offset: number, nowait: boolean): number {
  const n = put(t, file, offset);
  if (n === -EPIPE && file.raisesSigpipe(false)) raiseSigpipe(t);
  if (nowait || file.nonblocking) return n;
  if (n !== -EAGAIN && (n < 0 || t.io.remaining === 0 || !file.writesAll())) return n;

  file.incRef();
  t.file = file;
  t.n0 = offset;
  t.n1 = Math.max(n, 0);
  return t.block(file.waiters, WRITE_EVENTS, deadlineAfter(t, file.writeTimeoutNs), resumeWrite);
}

function resumeWrite(t: Task, why: number): number {
  const file = t.file!;
  let n: number;
  if (why === WAKE_SIGNAL) n = interruptedIo(t);
  else {
    // What a file took and could not place (an eventfd's addend) is taken again.
    if (t.n1 === 0) t.io.rewind();
    n = put(t, file, t.n0 < 0 ? AT_POSITION : t.n0 + t.n1);
    if (n > 0) t.n1 += n;
    const wants = n === -EAGAIN || (n > 0 && t.io.remaining > 0);
    if (wants && why !== WAKE_TIMEOUT) return t.block(file.waiters, WRITE_EVENTS, t.deadlineNs, resumeWrite);
    if (n === -EPIPE && file.raisesSigpipe(t.n1 > 0)) raiseSigpipe(t);
  }
  t.file = undefined;
  file.decRef(t);
  // A write that has moved something says how much, whatever ended it.
  return t.n1 > 0 ? t.n1 : n;
}

function put(t: Task, file: FileDescription, offset: number): number {
  if (t.group.limits.fileSize !== Number.POSITIVE_INFINITY) {
    const refused = keepFileSize(t, file, offset);
    if (refused < 0) return refused;
  }
  const n = offset < 0 ? file.write(t, t.io) : file.pwrite(t, t.io, offset);
  if (n > 0) notifyModify(file);
  if (n > 0 && (file.flags & O_DSYNC) !== 0) {
    // "by the time write(2) returns, the output data has been transferred" - open(2); O_SYNC has the bit of O_DSYNC.
    const synced = file.fsync(t, (file.flags & O_SYNC) !== O_SYNC);
    // Made again, the call writes the same bytes to the same place.
    if (synced === RETRY && offset < 0) file.pos -= n;
    if (synced < 0 && synced !== -EINVAL) return synced;
  }
  return n;
}

/** RLIMIT_FSIZE, mm/filemap.c:generic_write_check_limits(): shortens t.io at the limit; SIGXFSZ and -EFBIG beyond it. */
function keepFileSize(t: Task, file: FileDescription, offset: number): number {
  const inode = file.inode();
  if (!inode.isRegular() || t.io.remaining === 0) return 0;
  const limit = t.group.limits.fileSize;
  const start = (file.flags & O_APPEND) !== 0 ? inode.size : offset < 0 ? file.pos : offset;
  if (start >= limit) {
    raiseSignal(t, SIGXFSZ);
    return -EFBIG;
  }
  t.io.remaining = Math.min(t.io.remaining, limit - start);
  return 0;
}

// ---- checks

// A larger count is shortened, not refused: fs/read_write.c:vfs_read().
function readCount(a: SyscallArgs): number {
  return Math.min(a.addr(2), MAX_RW_COUNT);
}

/** The error for a file that is not open for the direction of a positional call: pipes have no positions, whatever their direction. */
function wrongWay(t: Task, file: FileDescription): number {
  return file.seek(t, 0, SEEK_CUR) === -ESPIPE ? -ESPIPE : -EBADF;
}

// ---- the calls

/** read(2). */
export function read(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  if (file === undefined || !file.readable) return -EBADF;
  if (outsideUser(a.addr(1), a.addr(2))) return -EFAULT;
  t.io.setBuffer(a.addr(1), readCount(a));
  return startRead(t, file, AT_POSITION, false);
}

/** write(2). */
export function write(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  if (file === undefined || !file.writable) return -EBADF;
  if (outsideUser(a.addr(1), a.addr(2))) return -EFAULT;
  t.io.setBuffer(a.addr(1), readCount(a));
  return startWrite(t, file, AT_POSITION, false);
}

/** pread64(2). */
export function pread64(t: Task, a: SyscallArgs): number {
  const offset = a.long(3);
  if (offset < 0) return -EINVAL;
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  if (!file.readable) return wrongWay(t, file);
  if (outsideUser(a.addr(1), a.addr(2))) return -EFAULT;
  if (beyondOffsets(offset, a.addr(2))) return -EINVAL;
  t.io.setBuffer(a.addr(1), readCount(a));
  return startRead(t, file, offset, false);
}

/** pwrite64(2). */
export function pwrite64(t: Task, a: SyscallArgs): number {
  const offset = a.long(3);
  if (offset < 0) return -EINVAL;
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  if (!file.writable) return wrongWay(t, file);
  if (outsideUser(a.addr(1), a.addr(2))) return -EFAULT;
  if (beyondOffsets(offset, a.addr(2))) return -EINVAL;
  t.io.setBuffer(a.addr(1), readCount(a));
  return startWrite(t, file, offset, false);
}

/** readv(2). */
export function readv(t: Task, a: SyscallArgs): number {
  return readVector(t, a, AT_POSITION, 0);
}

/** writev(2). */
export function writev(t: Task, a: SyscallArgs): number {
  return writeVector(t, a, AT_POSITION, 0);
}

/** preadv(2): the offset's high half is an argument of its own, without meaning on 64 bits. */
export function preadv(t: Task, a: SyscallArgs): number {
  const offset = a.long(3);
  return offset < 0 ? -EINVAL : readVector(t, a, offset, 0);
}

/** pwritev(2). */
export function pwritev(t: Task, a: SyscallArgs): number {
  const offset = a.long(3);
  return offset < 0 ? -EINVAL : writeVector(t, a, offset, 0);
}

/** preadv2(2): offset -1 means the file's position. */
export function preadv2(t: Task, a: SyscallArgs): number {
  const offset = a.long(3);
  return offset < -1 ? -EINVAL : readVector(t, a, offset, a.int(5));
}

/** pwritev2(2). */
export function pwritev2(t: Task, a: SyscallArgs): number {
  const offset = a.long(3);
  return offset < -1 ? -EINVAL : writeVector(t, a, offset, a.int(5));
}

function readVector(t: Task, a: SyscallArgs, offset: number, flags: number): number {
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  if (offset >= 0 && !file.readable) return wrongWay(t, file);
  const total = t.io.setIovec(a.addr(1), a.addr(2));
  if (total < 0) return total;
  if (!file.readable) return -EBADF;
  if (offset >= 0 && file.seek(t, 0, SEEK_CUR) === -ESPIPE) return -ESPIPE;
  const refused = flags === 0 ? 0 : checkFlags(flags);
  if (refused < 0) return refused;
  if (total === 0) return 0;
  if (beyondOffsets(offset, total)) return -EINVAL;
  t.io.remaining = Math.min(total, MAX_RW_COUNT);
  return startRead(t, file, offset, (flags & RWF_NOWAIT) !== 0);
}

function writeVector(t: Task, a: SyscallArgs, offset: number, flags: number): number {
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  if (offset >= 0 && !file.writable) return wrongWay(t, file);
  const total = t.io.setIovec(a.addr(1), a.addr(2));
  if (total < 0) return total;
  if (!file.writable) return -EBADF;
  if (offset >= 0 && file.seek(t, 0, SEEK_CUR) === -ESPIPE) return -ESPIPE;
  const refused = flags === 0 ? 0 : checkFlags(flags);
  if (refused < 0) return refused;
  if (total === 0) return 0;
  if (beyondOffsets(offset, total)) return -EINVAL;
  t.io.remaining = Math.min(total, MAX_RW_COUNT);
  return flags === 0 ? startWrite(t, file, offset, false) : writeWithFlags(t, file, offset, flags);
}

/** include/linux/fs.h:kiocb_set_rw_flags(). */
function checkFlags(flags: number): number {
  if ((flags & ~RWF_SUPPORTED) !== 0) return -EOPNOTSUPP;
  if ((flags & RWF_APPEND) !== 0 && (flags & RWF_NOAPPEND) !== 0) return -EINVAL;
  // No file system of ours writes atomically or without its cache.
  return (flags & (RWF_ATOMIC | RWF_DONTCACHE)) !== 0 ? -EOPNOTSUPP : 0;
}

/** pwritev2 with flags that change how this one write behaves. Regular files only differ; none of them blocks. */
function writeWithFlags(t: Task, file: FileDescription, offset: number, flags: number): number {
  const saved = file.flags;
  // Nobody sees the borrowed flags: handlers do not interleave, and they are put back before a park returns.
  if ((flags & RWF_APPEND) !== 0) file.flags |= O_APPEND;
  if ((flags & RWF_NOAPPEND) !== 0) file.flags &= ~O_APPEND;
  if ((flags & RWF_DSYNC) !== 0) file.flags |= O_DSYNC;
  if ((flags & RWF_SYNC) !== 0) file.flags |= O_SYNC;
  const n = startWrite(t, file, offset, (flags & RWF_NOWAIT) !== 0);
  file.flags = saved;
  return n;
}

/** lseek(2). */
export function lseek(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  const whence = a.int(2);
  if (whence < 0 || whence > SEEK_MAX) return -EINVAL;
  const offset = a.long(1);
  const before = file.pos;
  // The largest offsets are no doubles: rounded up they would be negative as a result.
  const pos = offset >= 2 ** 63 ? -EINVAL : file.seek(t, offset, whence);
  if (pos < 2 ** 63) return pos;
  file.pos = before;
  return -EINVAL;
}

export const fsReadWriteCalls: readonly SyscallLine[] = [
  call(SYS_read, 'read', 'fd:fd buf:out:2 count:size', read),
  call(SYS_write, 'write', 'fd:fd buf:buf:2 count:size', write),
  call(SYS_lseek, 'lseek', 'fd:fd offset:long whence:int', lseek),
  call(SYS_pread64, 'pread64', 'fd:fd buf:out:2 count:size offset:long', pread64),
  call(SYS_pwrite64, 'pwrite64', 'fd:fd buf:buf:2 count:size offset:long', pwrite64),
  call(SYS_readv, 'readv', 'fd:fd iov:iov:2 iovcnt:long', readv),
  call(SYS_writev, 'writev', 'fd:fd iov:iov:2 iovcnt:long', writev),
  call(SYS_preadv, 'preadv', 'fd:fd iov:iov:2 iovcnt:long pos_l:long pos_h:long', preadv),
  call(SYS_pwritev, 'pwritev', 'fd:fd iov:iov:2 iovcnt:long pos_l:long pos_h:long', pwritev),
  call(
    SYS_preadv2,
    'preadv2',
    'fd:fd iov:iov:2 iovcnt:long pos_l:long pos_h:long flags:flags',
    preadv2,
    'partial',
    'RWF_ATOMIC and RWF_DONTCACHE are refused; RWF_HIPRI has no effect',
  ),
  call(
    SYS_pwritev2,
    'pwritev2',
    'fd:fd iov:iov:2 iovcnt:long pos_l:long pos_h:long flags:flags',
    pwritev2,
    'partial',
    'RWF_ATOMIC and RWF_DONTCACHE are refused; RWF_HIPRI has no effect',
  ),
];
