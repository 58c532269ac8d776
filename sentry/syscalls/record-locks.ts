// struct flock: POSIX record locks and open-file-description locks of fcntl(2). The locks are kept
// by vfs/file-locks.ts. While parked t.object is the RangeRequest.

import { EAGAIN, EBADF, EFAULT, EINVAL, EOVERFLOW, ERESTARTSYS } from '../abi/errno.ts';
import { F_RDLCK, F_UNLCK, F_WRLCK, SEEK_CUR, SEEK_END, SEEK_SET } from '../abi/fcntl.ts';
import { getI64, put64 } from '../base/int64.ts';
import { type Task, WAKE_SIGNAL } from '../kernel/task.ts';
import { FOREVER } from '../kernel/timers.ts';
import { scratch } from '../mm/guest-memory.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { beginLockWait, conflictingLock, endLockWait, LOCK_EVENT, LOCK_TO_END, lockWaiters, setRangeLock } from '../vfs/file-locks.ts';

// struct flock, include/uapi/asm-generic/fcntl.h.
const FLOCK_TYPE = 0;
const FLOCK_WHENCE = 2;
const FLOCK_START = 8;
const FLOCK_LEN = 16;
const FLOCK_PID = 24;
const FLOCK_SIZE = 32;
const OFFSET_MAX = 2 ** 63;

/** A lock that is asked for: [start, end] inclusive. */
interface RangeRequest {
  readonly type: number;
  readonly start: number;
  readonly end: number;
  readonly owner: object;
  readonly pid: number;
  readonly isOfd: boolean;
}

/** Copies the struct flock at `addr` to scratch. */
function loadRequest(t: Task, file: FileDescription, addr: number, isOfd: boolean): RangeRequest | number {
  if (t.mm.copyIn(addr, scratch.u8, 0, FLOCK_SIZE) < 0) return -EFAULT;
  const v = scratch.view;
  if (isOfd && v.getInt32(FLOCK_PID, true) !== 0) return -EINVAL;
  let start = getI64(v, FLOCK_START);
  const length = getI64(v, FLOCK_LEN);
  switch (v.getInt16(FLOCK_WHENCE, true)) {
    case SEEK_SET:
      break;
    case SEEK_CUR:
      start += file.pos;
      break;
    case SEEK_END:
      file.inode().getattr(t);
      start += file.inode().size;
      break;
    default:
      return -EINVAL;
  }
  if (start >= OFFSET_MAX) return -EOVERFLOW;
  if (start < 0) return -EINVAL;
  let end = LOCK_TO_END;
  if (length > 0) {
    if (start + length > OFFSET_MAX) return -EOVERFLOW;
    end = Math.min(start + length - 1, LOCK_TO_END);
  } else if (length < 0) {
    // The bytes before the start: l_len < 0 of fcntl(2).
    if (start + length < 0) return -EINVAL;
    end = start - 1;
    start += length;
  }
  const type = v.getInt16(FLOCK_TYPE, true);
  if (type !== F_RDLCK && type !== F_WRLCK && type !== F_UNLCK) return -EINVAL;
  return { type, start, end, owner: isOfd ? file : t.fds, pid: isOfd ? -1 : t.group.tgid, isOfd };
}

/** F_GETLK and F_OFD_GETLK. */
export function getLock(t: Task, file: FileDescription, addr: number, isOfd: boolean): number {
  const request = loadRequest(t, file, addr, isOfd);
  if (typeof request === 'number') return request;
  if (request.type === F_UNLCK && !isOfd) return -EINVAL;
  const v = scratch.view;
  const held =
    request.type === F_UNLCK ? undefined : conflictingLock(file.inode(), request.owner, request.type, request.start, request.end);
  v.setInt16(FLOCK_TYPE, held === undefined ? F_UNLCK : held.type, true);
  if (held !== undefined) {
    v.setInt16(FLOCK_WHENCE, SEEK_SET, true);
    put64(v, FLOCK_START, held.start);
    put64(v, FLOCK_LEN, held.end >= LOCK_TO_END ? 0 : held.end - held.start + 1);
    v.setInt32(FLOCK_PID, held.pid < 0 ? -1 : pidSeenBy(t, held.pid), true);
  }
  return t.mm.copyOut(addr, scratch.u8, 0, FLOCK_SIZE);
}

/** A process of the root pid namespace by the number that `t` knows. */
function pidSeenBy(t: Task, pid: number): number {
  return t.kernel.rootPidNamespace.findAny(pid)?.numberIn(t.group.pidns) ?? 0;
}

/** F_SETLK(W) and F_OFD_SETLK(W). */
export function setLock(t: Task, file: FileDescription, addr: number, isOfd: boolean, wait: boolean): number {
  const request = loadRequest(t, file, addr, isOfd);
  if (typeof request === 'number') return request;
  if (request.type === F_RDLCK && !file.readable) return -EBADF;
  if (request.type === F_WRLCK && !file.writable) return -EBADF;
  const n = tryLock(file, request);
  if (n !== -EAGAIN || !wait) return n;
  const deadlock = beginLockWait(file.inode(), request.owner, isOfd, request.type, request.start, request.end);
  if (deadlock < 0) return deadlock;
  file.incRef();
  t.file = file;
  t.object = request;
  return t.block(lockWaiters(file.inode()), LOCK_EVENT, FOREVER, resumeLock);
}

function resumeLock(t: Task, why: number): number {
  const file = t.file!;
  const request = t.object as RangeRequest;
  if (!request.isOfd) endLockWait(request.owner);
  let n = why === WAKE_SIGNAL ? -ERESTARTSYS : tryLock(file, request);
  if (n === -EAGAIN) {
    n = beginLockWait(file.inode(), request.owner, request.isOfd, request.type, request.start, request.end);
    if (n === 0) return t.block(lockWaiters(file.inode()), LOCK_EVENT, FOREVER, resumeLock);
  }
  t.file = undefined;
  t.object = null;
  file.decRef(t);
  return n;
}

function tryLock(file: FileDescription, request: RangeRequest): number {
  return setRangeLock(file.inode(), request.owner, request.pid, request.type, request.start, request.end);
}
