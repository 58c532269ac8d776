// open(2) and its kin, close(2) and close_range(2).

import { E2BIG, EAGAIN, EBADF, EFAULT, EINVAL, EOPNOTSUPP, EPERM, ERESTARTSYS } from '../abi/errno.ts';
import {
  AT_FDCWD,
  CLOSE_RANGE_CLOEXEC,
  CLOSE_RANGE_UNSHARE,
  O_ACCMODE,
  O_APPEND,
  O_ASYNC,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECT,
  O_DIRECTORY,
  O_DSYNC,
  O_EXCL,
  O_LARGEFILE,
  O_NOATIME,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_SYNC,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_CACHED,
  RESOLVE_IN_ROOT,
  RESOLVE_NO_MAGICLINKS,
  RESOLVE_NO_SYMLINKS,
  RESOLVE_NO_XDEV,
} from '../abi/fcntl.ts';
import { layout, u64 } from '../abi/layout.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { POLLERR, POLLHUP, POLLIN, POLLOUT } from '../abi/poll.ts';
import { CAP_DAC_READ_SEARCH } from '../abi/sched.ts';
import { S_IALLUGO } from '../abi/stat.ts';
import {
  SYS_close,
  SYS_close_range,
  SYS_creat,
  SYS_name_to_handle_at,
  SYS_open,
  SYS_open_by_handle_at,
  SYS_openat,
  SYS_openat2,
} from '../abi/sysno-x64.ts';
import { assert } from '../base/assert.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_SIGNAL } from '../kernel/task.ts';
import { FOREVER } from '../kernel/timers.ts';
import { scratch } from '../mm/guest-memory.ts';
import { startOf } from './fs-paths.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const TMPFILE_BIT = O_TMPFILE & ~O_DIRECTORY;
const PATH_FLAGS = O_DIRECTORY | O_NOFOLLOW | O_PATH | O_CLOEXEC;
const VALID_FLAGS =
  O_ACCMODE |
  O_CREAT |
  O_EXCL |
  O_NOCTTY |
  O_TRUNC |
  O_APPEND |
  O_NONBLOCK |
  O_SYNC |
  O_DSYNC |
  O_ASYNC |
  O_DIRECT |
  O_LARGEFILE |
  O_DIRECTORY |
  O_NOFOLLOW |
  O_NOATIME |
  O_CLOEXEC |
  O_PATH |
  O_TMPFILE;
const VALID_RESOLVE = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT | RESOLVE_CACHED;

/** open(2). */
export function open(t: Task, a: SyscallArgs): number {
  const path = t.mm.copyInPath(a.addr(0));
  return typeof path === 'number' ? path : openFlags(t, AT_FDCWD, path, a.int(1), a.int(2));
}

/** creat(2). */
export function creat(t: Task, a: SyscallArgs): number {
  const path = t.mm.copyInPath(a.addr(0));
  return typeof path === 'number' ? path : openFlags(t, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, a.int(1));
}

/** openat(2). */
export function openat(t: Task, a: SyscallArgs): number {
  const path = t.mm.copyInPath(a.addr(1));
  return typeof path === 'number' ? path : openFlags(t, a.int(0), path, a.int(2), a.int(3));
}

/** What open(2) forgives and openat2(2) does not: fs/open.c:build_open_how(). */
function openFlags(t: Task, dirfd: number, path: string, flags: number, mode: number): number {
  flags &= VALID_FLAGS;
  if ((flags & O_PATH) !== 0) flags &= PATH_FLAGS;
  return openCommon(t, dirfd, path, flags | O_LARGEFILE, mode & S_IALLUGO, 0);
}

// struct open_how, include/uapi/linux/openat2.h.
const OPEN_HOW = layout({ flags: u64, mode: u64, resolve: u64 });
assert(OPEN_HOW.size === 24);

/** openat2(2). */
export function openat2(t: Task, a: SyscallArgs): number {
  const size = a.addr(3);
  if (size < OPEN_HOW.size) return -EINVAL;
  if (size > PAGE_SIZE) return -E2BIG;
  if (t.mm.copyIn(a.addr(2), scratch.u8, 0, size) < 0) return -EFAULT;
  // A longer struct of a newer program is fine as long as it asks for nothing: copy_struct_from_user().
  for (let i = OPEN_HOW.size; i < size; i++) if (scratch.u8[i] !== 0) return -E2BIG;
  const v = scratch.view;
  const flags = v.getInt32(OPEN_HOW.flags, true);
  const mode = v.getInt32(OPEN_HOW.mode, true);
  const resolve = v.getInt32(OPEN_HOW.resolve, true);
  const high = v.getInt32(OPEN_HOW.flags + 4, true) | v.getInt32(OPEN_HOW.mode + 4, true) | v.getInt32(OPEN_HOW.resolve + 4, true);
  if (high !== 0 || (flags & ~VALID_FLAGS) !== 0 || (resolve & ~VALID_RESOLVE) !== 0) return -EINVAL;
  if ((resolve & RESOLVE_BENEATH) !== 0 && (resolve & RESOLVE_IN_ROOT) !== 0) return -EINVAL;
  const creates = (flags & (O_CREAT | TMPFILE_BIT)) !== 0;
  if (creates ? (mode & ~S_IALLUGO) !== 0 : mode !== 0) return -EINVAL;
  if ((flags & O_PATH) !== 0 && (flags & ~PATH_FLAGS) !== 0) return -EINVAL;
  if ((resolve & RESOLVE_CACHED) !== 0 && (flags & (O_TRUNC | O_CREAT | TMPFILE_BIT)) !== 0) return -EAGAIN;
  const path = t.mm.copyInPath(a.addr(1));
  return typeof path === 'number' ? path : openCommon(t, a.int(0), path, flags | O_LARGEFILE, mode, resolve);
}

function openCommon(t: Task, dirfd: number, path: string, flags: number, mode: number, resolve: number): number {
  if ((flags & TMPFILE_BIT) !== 0) {
    if ((flags & O_TMPFILE) !== O_TMPFILE || (flags & O_ACCMODE) === O_RDONLY) return -EINVAL;
  } else if ((flags & (O_DIRECTORY | O_CREAT)) === (O_DIRECTORY | O_CREAT)) return -EINVAL;
  if ((flags & O_SYNC) === O_SYNC) flags |= O_DSYNC;

  // The fd is reserved before the walk, so that a full table answers EMFILE and O_CREAT leaves no
  // file behind: fs/open.c:do_sys_openat2().
  const fd = t.fds.reserve(t.fdLimit);
  if (fd < 0) return fd;
  const start = startOf(t, dirfd, path);
  const file = typeof start === 'number' ? start : t.kernel.vfs.openAt(t, start, path, flags & ~O_CLOEXEC, mode, resolve);
  if (typeof file === 'number') {
    t.fds.release(fd);
    return file;
  }
  const waits = file.finishOpen();
  if (waits === 0) {
    t.fds.install(fd, file, (flags & O_CLOEXEC) !== 0);
    return fd;
  }
  if (waits !== -EAGAIN) return failOpen(t, fd, file, waits);
  t.file = file;
  t.n0 = fd;
  t.n1 = flags;
  return t.block(file.waiters, POLLIN | POLLOUT | POLLHUP | POLLERR, FOREVER, resumeOpen);
}

/** A FIFO waits for its other end. */
function resumeOpen(t: Task, why: number): number {
  const file = t.file!;
  const waits = why === WAKE_SIGNAL ? -ERESTARTSYS : file.finishOpen();
  if (waits === -EAGAIN) return t.block(file.waiters, POLLIN | POLLOUT | POLLHUP | POLLERR, FOREVER, resumeOpen);
  t.file = undefined;
  if (waits < 0) return failOpen(t, t.n0, file, waits);
  t.fds.install(t.n0, file, (t.n1 & O_CLOEXEC) !== 0);
  return t.n0;
}

function failOpen(t: Task, fd: number, file: NonNullable<Task['file']>, error: number): number {
  t.fds.release(fd);
  file.decRef(t);
  return error;
}

/** close(2). */
export function close(t: Task, a: SyscallArgs): number {
  return t.fds.close(t, a.int(0));
}

/** close_range(2). */
export function closeRange(t: Task, a: SyscallArgs): number {
  const first = a.uint(0);
  const flags = a.int(2);
  if ((flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) !== 0 || first > a.uint(1)) return -EINVAL;
  if ((flags & CLOSE_RANGE_UNSHARE) !== 0 && t.fds.refs > 1) {
    const own = t.fds.clone();
    t.fds.decRef(t);
    t.fds = own;
  }
  const last = Math.min(a.uint(1), t.fds.size - 1);
  for (let fd = first; fd <= last; fd++) {
    if (t.fds.get(fd) === undefined) continue;
    if ((flags & CLOSE_RANGE_CLOEXEC) !== 0) t.fds.setCloexec(fd, true);
    else t.fds.close(t, fd);
  }
  return 0;
}

/** name_to_handle_at(2): our file systems give out no handles, as one without export operations. */
export function nameToHandleAt(t: Task, a: SyscallArgs): number {
  const path = t.mm.copyInPath(a.addr(1));
  if (typeof path === 'number') return path;
  const start = startOf(t, a.int(0), path, true);
  return typeof start === 'number' && start === -EBADF ? start : -EOPNOTSUPP;
}

/** open_by_handle_at(2). */
export function openByHandleAt(t: Task, _a: SyscallArgs): number {
  return t.creds.capable(CAP_DAC_READ_SEARCH) ? -EOPNOTSUPP : -EPERM;
}

export const fsOpenCalls: readonly SyscallLine[] = [
  call(SYS_open, 'open', 'path:path flags:flags mode:mode', open),
  call(SYS_openat, 'openat', 'dirfd:dirfd path:path flags:flags mode:mode', openat),
  call(
    SYS_openat2,
    'openat2',
    'dirfd:dirfd path:path how:buf:3 size:size',
    openat2,
    'full',
    'RESOLVE_CACHED never answers EAGAIN for an uncached path',
  ),
  call(SYS_creat, 'creat', 'path:path mode:mode', creat),
  call(SYS_close, 'close', 'fd:fd', close),
  call(SYS_close_range, 'close_range', 'first:uint last:uint flags:flags', closeRange),
  call(
    SYS_name_to_handle_at,
    'name_to_handle_at',
    'dirfd:dirfd path:path handle:addr mountId:addr flags:flags',
    nameToHandleAt,
    'none',
    'EOPNOTSUPP',
  ),
  call(SYS_open_by_handle_at, 'open_by_handle_at', 'mountFd:fd handle:addr flags:flags', openByHandleAt, 'none', 'EPERM or EOPNOTSUPP'),
];
