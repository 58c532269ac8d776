// chmod, chown, utimensat, truncate, umask and their kin.

import { EACCES, EBADF, EFAULT, EFBIG, EINVAL } from '../abi/errno.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_PATH } from '../abi/fcntl.ts';
import { LANDLOCK_ACCESS_FS_TRUNCATE } from '../abi/landlock.ts';
import { SIGXFSZ } from '../abi/signal.ts';
import { UTIME_OMIT } from '../abi/stat.ts';
import {
  SYS_chmod,
  SYS_chown,
  SYS_fchmod,
  SYS_fchmodat,
  SYS_fchmodat2,
  SYS_fchown,
  SYS_fchownat,
  SYS_ftruncate,
  SYS_futimesat,
  SYS_lchown,
  SYS_truncate,
  SYS_umask,
  SYS_utime,
  SYS_utimensat,
  SYS_utimes,
} from '../abi/sysno-x64.ts';
import { getI64 } from '../base/int64.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { raiseSignal } from '../kernel/task-signals.ts';
import { scratch } from '../mm/guest-memory.ts';
import { chmod as changeMode, chown as changeOwner, setTimes, truncateInode, truncatePath } from '../vfs/attributes.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { Inode } from '../vfs/filesystem.ts';
import { notifyModify } from '../vfs/fsnotify.ts';
import { credsOn } from '../vfs/mount-idmap.ts';
import { copyInPathAt, target, targetAt, targetFile } from './fs-paths.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** fdget() into `target`: -EBADF also for O_PATH. */
function targetFd(t: Task, fd: number): number {
  const file = t.fds.get(fd);
  return file === undefined || (file.flags & O_PATH) !== 0 ? -EBADF : targetFile(file);
}

// ---- mode

function chmodTarget(t: Task, error: number, mode: number): number {
  return error < 0 ? error : changeMode(t, t.creds, target.mount, target.inode, target.dentry, mode);
}

function chmodPath(t: Task, dirfd: number, pathAddr: number, mode: number, flags: number): number {
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) !== 0) return -EINVAL;
  const path = copyInPathAt(t, pathAddr, flags);
  return typeof path === 'number' ? path : chmodTarget(t, targetAt(t, dirfd, path, flags), mode);
}

/** chmod(2). */
export function chmod(t: Task, a: SyscallArgs): number {
  return chmodPath(t, AT_FDCWD, a.addr(0), a.int(1), 0);
}

/** fchmod(2). */
export function fchmod(t: Task, a: SyscallArgs): number {
  return chmodTarget(t, targetFd(t, a.int(0)), a.int(1));
}

/** fchmodat(2): the system call has no flags. */
export function fchmodat(t: Task, a: SyscallArgs): number {
  return chmodPath(t, a.int(0), a.addr(1), a.int(2), 0);
}

/** fchmodat2(2). */
export function fchmodat2(t: Task, a: SyscallArgs): number {
  return chmodPath(t, a.int(0), a.addr(1), a.int(2), a.int(3));
}

/** umask(2). */
export function umask(t: Task, a: SyscallArgs): number {
  const old = t.fs.umask;
  t.fs.umask = a.int(0) & 0o777;
  return old;
}

// ---- owner

function chownTarget(t: Task, error: number, user: number, group: number): number {
  if (error < 0) return error;
  const ns = t.creds.userns;
  const uid = user === -1 ? -1 : ns.uidToKernel(user >>> 0);
  const gid = group === -1 ? -1 : ns.gidToKernel(group >>> 0);
  if ((user !== -1 && uid < 0) || (group !== -1 && gid < 0)) return -EINVAL;
  return changeOwner(t, t.creds, target.mount, target.inode, target.dentry, uid, gid);
}

function chownPath(t: Task, dirfd: number, pathAddr: number, user: number, group: number, flags: number): number {
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) !== 0) return -EINVAL;
  const path = copyInPathAt(t, pathAddr, flags);
  return typeof path === 'number' ? path : chownTarget(t, targetAt(t, dirfd, path, flags), user, group);
}

/** chown(2). */
export function chown(t: Task, a: SyscallArgs): number {
  return chownPath(t, AT_FDCWD, a.addr(0), a.int(1), a.int(2), 0);
}

/** lchown(2). */
export function lchown(t: Task, a: SyscallArgs): number {
  return chownPath(t, AT_FDCWD, a.addr(0), a.int(1), a.int(2), AT_SYMLINK_NOFOLLOW);
}

/** fchown(2). */
export function fchown(t: Task, a: SyscallArgs): number {
  return chownTarget(t, targetFd(t, a.int(0)), a.int(1), a.int(2));
}

/** fchownat(2). */
export function fchownat(t: Task, a: SyscallArgs): number {
  return chownPath(t, a.int(0), a.addr(1), a.int(2), a.int(3), a.int(4));
}

// ---- times

const atime = { sec: 0, nsec: 0 };
const mtime = { sec: 0, nsec: 0 };

/** Sets the times of (dirfd, path), or of the descriptor when pathAddr is 0. `now`: both become the present. */
function setTimesAt(t: Task, dirfd: number, pathAddr: number, flags: number, now: boolean): number {
  let error: number;
  if (pathAddr === 0 && dirfd !== AT_FDCWD) {
    // futimens(3): "If pathname is NULL, the call operates on dirfd". - utimensat(2)
    if ((flags & ~AT_EMPTY_PATH) !== 0) return -EINVAL;
    error = targetFd(t, dirfd);
  } else {
    if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) !== 0) return -EINVAL;
    const path = copyInPathAt(t, pathAddr, flags);
    if (typeof path === 'number') return path;
    error = targetAt(t, dirfd, path, flags);
  }
  if (error < 0) return error;
  return setTimes(t, t.creds, target.mount, target.inode, target.dentry, now ? null : atime, now ? null : mtime);
}

/** utimensat(2). */
export function utimensat(t: Task, a: SyscallArgs): number {
  const timesAddr = a.addr(2);
  if (timesAddr !== 0) {
    if (t.mm.copyIn(timesAddr, scratch.u8, 0, 32) < 0) return -EFAULT;
    const v = scratch.view;
    atime.sec = getI64(v, 0);
    atime.nsec = getI64(v, 8);
    mtime.sec = getI64(v, 16);
    mtime.nsec = getI64(v, 24);
    if (atime.nsec === UTIME_OMIT && mtime.nsec === UTIME_OMIT) return 0;
  }
  return setTimesAt(t, a.int(0), a.addr(1), a.int(3), timesAddr === 0);
}

/** Loads two struct timevals; -EINVAL for microseconds out of range. */
function loadTimevals(t: Task, addr: number): number {
  if (t.mm.copyIn(addr, scratch.u8, 0, 32) < 0) return -EFAULT;
  const v = scratch.view;
  const aUsec = getI64(v, 8);
  const mUsec = getI64(v, 24);
  // Checked here because the multiplication below could make UTIME_NOW or UTIME_OMIT: fs/utimes.c:do_futimesat().
  if (aUsec < 0 || aUsec >= 1_000_000 || mUsec < 0 || mUsec >= 1_000_000) return -EINVAL;
  atime.sec = getI64(v, 0);
  atime.nsec = aUsec * 1000;
  mtime.sec = getI64(v, 16);
  mtime.nsec = mUsec * 1000;
  return 0;
}

/** futimesat(2). */
export function futimesat(t: Task, a: SyscallArgs): number {
  const timesAddr = a.addr(2);
  const error = timesAddr === 0 ? 0 : loadTimevals(t, timesAddr);
  return error < 0 ? error : setTimesAt(t, a.int(0), a.addr(1), 0, timesAddr === 0);
}

/** utimes(2). */
export function utimes(t: Task, a: SyscallArgs): number {
  const timesAddr = a.addr(1);
  const error = timesAddr === 0 ? 0 : loadTimevals(t, timesAddr);
  return error < 0 ? error : setTimesAt(t, AT_FDCWD, a.addr(0), 0, timesAddr === 0);
}

/** utime(2). */
export function utime(t: Task, a: SyscallArgs): number {
  const timesAddr = a.addr(1);
  if (timesAddr !== 0) {
    if (t.mm.copyIn(timesAddr, scratch.u8, 0, 16) < 0) return -EFAULT;
    atime.sec = getI64(scratch.view, 0);
    atime.nsec = 0;
    mtime.sec = getI64(scratch.view, 8);
    mtime.nsec = 0;
  }
  return setTimesAt(t, AT_FDCWD, a.addr(0), 0, timesAddr === 0);
}

// ---- size

/** RLIMIT_FSIZE for growing files: mm/truncate.c:inode_newsize_ok(). */
function sizeAllowed(t: Task, inode: Inode, size: number): number {
  if (size <= inode.size || size <= t.group.limits.fileSize) return 0;
  raiseSignal(t, SIGXFSZ);
  return -EFBIG;
}

/** truncate(2). */
export function truncate(t: Task, a: SyscallArgs): number {
  const size = a.long(1);
  if (size < 0) return -EINVAL;
  const path = t.mm.copyInPath(a.addr(0));
  if (typeof path === 'number') return path;
  let error = targetAt(t, AT_FDCWD, path, 0);
  if (error < 0) return error;
  const { mount, inode, dentry } = target;
  if (inode.isRegular()) {
    error = inode.getattr(t) || sizeAllowed(t, inode, size);
    if (error < 0) return error;
  }
  return truncatePath(t, t.creds, mount, inode, dentry, size);
}

/** ftruncate(2). */
export function ftruncate(t: Task, a: SyscallArgs): number {
  const size = a.long(1);
  if (size < 0) return -EINVAL;
  const file: FileDescription | undefined = t.fds.get(a.int(0));
  if (file === undefined || (file.flags & O_PATH) !== 0) return -EBADF;
  const inode = file.inode();
  if (!inode.isRegular() || !file.writable) return -EINVAL;
  if ((file.landlockAccess & LANDLOCK_ACCESS_FS_TRUNCATE) === 0) return -EACCES;
  let error = inode.getattr(t) || sizeAllowed(t, inode, size);
  if (error < 0) return error;
  error = truncateInode(t, credsOn(file.path?.mount ?? null, t.creds), inode, size, file);
  if (error === 0) notifyModify(file);
  return error;
}

export const fsAttrCalls: readonly SyscallLine[] = [
  call(SYS_chmod, 'chmod', 'path:path mode:mode', chmod),
  call(SYS_fchmod, 'fchmod', 'fd:fd mode:mode', fchmod),
  call(SYS_fchmodat, 'fchmodat', 'dirfd:dirfd path:path mode:mode', fchmodat),
  call(SYS_fchmodat2, 'fchmodat2', 'dirfd:dirfd path:path mode:mode flags:flags', fchmodat2),
  call(SYS_umask, 'umask', 'mask:mode', umask),
  call(SYS_chown, 'chown', 'path:path uid:uid gid:uid', chown),
  call(SYS_lchown, 'lchown', 'path:path uid:uid gid:uid', lchown),
  call(SYS_fchown, 'fchown', 'fd:fd uid:uid gid:uid', fchown),
  call(SYS_fchownat, 'fchownat', 'dirfd:dirfd path:path uid:uid gid:uid flags:flags', fchownat),
  call(SYS_utime, 'utime', 'path:path times:addr', utime),
  call(SYS_utimes, 'utimes', 'path:path times:addr', utimes),
  call(SYS_futimesat, 'futimesat', 'dirfd:dirfd path:path times:addr', futimesat),
  call(SYS_utimensat, 'utimensat', 'dirfd:dirfd path:path times:addr flags:flags', utimensat),
  call(SYS_truncate, 'truncate', 'path:path length:long', truncate),
  call(SYS_ftruncate, 'ftruncate', 'fd:fd length:long', ftruncate),
];
