// What is known of a file, and changes of it: stat, statx, statfs, access, readlink.
// Modes, owners, times, sizes and extended attributes are in fs-attr.ts and fs-xattr.ts.

import { EBADF, EFAULT, EINVAL, ENAMETOOLONG } from '../abi/errno.ts';
import { AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_NO_AUTOMOUNT, AT_STATX_SYNC_TYPE, AT_SYMLINK_NOFOLLOW } from '../abi/fcntl.ts';
import { PATH_MAX } from '../abi/limits.ts';
import { MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_RELATIME } from '../abi/mount.ts';
import { SECBIT_NO_SETUID_FIXUP } from '../abi/sched.ts';
import {
  putStat,
  putStatfs,
  putStatx,
  ST_NOATIME,
  ST_NODEV,
  ST_NODIRATIME,
  ST_NOEXEC,
  ST_NOSUID,
  ST_NOSYMFOLLOW,
  ST_RDONLY,
  ST_RELATIME,
  ST_VALID,
  STAT,
  STATFS,
  STATX,
  STATX__RESERVED,
  STATX_ATTR_AUTOMOUNT,
  STATX_ATTR_DAX,
  STATX_ATTR_MOUNT_ROOT,
  STATX_BASIC_STATS,
  STATX_BTIME,
  STATX_MNT_ID,
  STATX_MNT_ID_UNIQUE,
} from '../abi/stat.ts';
import {
  SYS_access,
  SYS_faccessat,
  SYS_faccessat2,
  SYS_fstat,
  SYS_fstatfs,
  SYS_lstat,
  SYS_newfstatat,
  SYS_readlink,
  SYS_readlinkat,
  SYS_stat,
  SYS_statfs,
  SYS_statx,
} from '../abi/sysno-x64.ts';
import { putLatin1 } from '../base/latin1.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';
import { type Filesystem, type Inode, StatFs } from '../vfs/filesystem.ts';
import { firstUniqueMountId, type Mount } from '../vfs/mount.ts';
import { credsOn, gidOn, uidOn } from '../vfs/mount-idmap.ts';
import { LOOKUP_EMPTY, LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import { accessPath } from '../vfs/vfs.ts';
import { fsAttrCalls } from './fs-attr.ts';
import { copyInPathAt, lookupFlags, startOf, target, targetAt, targetFile } from './fs-paths.ts';
import { fsXattrCalls } from './fs-xattr.ts';
import { call, type SyscallLine } from './syscall-line.ts';

// ---- stat

/** stat(2). */
export function stat(t: Task, a: SyscallArgs): number {
  const path = t.mm.copyInPath(a.addr(0));
  return typeof path === 'number' ? path : statPath(t, AT_FDCWD, path, LOOKUP_FOLLOW, a.addr(1));
}

/** lstat(2). */
export function lstat(t: Task, a: SyscallArgs): number {
  const path = t.mm.copyInPath(a.addr(0));
  return typeof path === 'number' ? path : statPath(t, AT_FDCWD, path, 0, a.addr(1));
}

/** fstat(2). */
export function fstat(t: Task, a: SyscallArgs): number {
  return statFd(t, a.int(0), a.addr(1));
}

/** newfstatat(2). */
export function newfstatat(t: Task, a: SyscallArgs): number {
  const flags = a.int(3);
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)) !== 0) return -EINVAL;
  const path = copyInPathAt(t, a.addr(1), flags);
  if (typeof path === 'number') return path;
  if (path === '' && (flags & AT_EMPTY_PATH) !== 0 && a.int(0) !== AT_FDCWD) return statFd(t, a.int(0), a.addr(2));
  return statPath(t, a.int(0), path, lookupFlags(flags), a.addr(2));
}

function statPath(t: Task, dirfd: number, path: string, flags: number, bufAddr: number): number {
  const start = startOf(t, dirfd, path, (flags & LOOKUP_EMPTY) !== 0);
  if (typeof start === 'number') return start;
  const inode = t.kernel.vfs.stat(t, start, path, flags);
  return typeof inode === 'number' ? inode : copyStat(t, bufAddr, inode, t.kernel.vfs.reached.mount);
}

function statFd(t: Task, fd: number, bufAddr: number): number {
  const file = t.fds.get(fd);
  if (file === undefined) return -EBADF;
  const inode = file.inode();
  const error = inode.getattr(t);
  return error < 0 ? error : copyStat(t, bufAddr, inode, file.path?.mount ?? null);
}

function copyStat(t: Task, addr: number, inode: Inode, mount: Mount | null): number {
  const ns = t.creds.userns;
  putStat(scratch.view, 0, inode, ns.uidFromKernel(uidOn(mount, inode.uid)), ns.gidFromKernel(gidOn(mount, inode.gid)));
  return t.mm.copyOut(addr, scratch.u8, 0, STAT.size);
}

/** statx(2). */
export function statx(t: Task, a: SyscallArgs): number {
  const flags = a.int(2);
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE)) !== 0) return -EINVAL;
  if ((flags & AT_STATX_SYNC_TYPE) === AT_STATX_SYNC_TYPE || (a.uint(3) & STATX__RESERVED) !== 0) return -EINVAL;
  const path = copyInPathAt(t, a.addr(1), flags);
  if (typeof path === 'number') return path;
  let error = targetAt(t, a.int(0), path, flags);
  if (error < 0) return error;
  const { inode, mount, dentry } = target;
  error = inode.getattr(t);
  if (error < 0) return error;
  let mask = STATX_BASIC_STATS;
  if (inode.btimeSec !== 0) mask |= STATX_BTIME;
  const unique = (a.uint(3) & STATX_MNT_ID_UNIQUE) !== 0;
  if (mount !== null) mask |= unique ? STATX_MNT_ID_UNIQUE : STATX_MNT_ID;
  const isRoot = mount !== null && dentry === mount.root;
  const ns = t.creds.userns;
  putStatx(
    scratch.view,
    0,
    inode,
    ns.uidFromKernel(uidOn(mount, inode.uid)),
    ns.gidFromKernel(gidOn(mount, inode.gid)),
    mask,
    isRoot ? STATX_ATTR_MOUNT_ROOT : 0,
    STATX_ATTR_MOUNT_ROOT | STATX_ATTR_AUTOMOUNT | STATX_ATTR_DAX,
    mount === null ? 0 : mount.id + (unique ? firstUniqueMountId : 0),
  );
  return t.mm.copyOut(a.addr(4), scratch.u8, 0, STATX.size);
}

// ---- statfs

const fsInfo = new StatFs();

function copyStatfs(t: Task, addr: number, fs: Filesystem, mount: Mount | null): number {
  fsInfo.type = fs.magic;
  fsInfo.blockSize = 4096;
  fsInfo.blocks = 0;
  fsInfo.blocksFree = 0;
  fsInfo.blocksAvailable = 0;
  fsInfo.files = 0;
  fsInfo.filesFree = 0;
  fsInfo.nameLength = 255;
  fsInfo.flags = 0;
  const error = fs.statfs(fsInfo);
  if (error < 0) return error;
  fsInfo.flags = ST_VALID | (mount === null ? 0 : mountStatFlags(mount)) | (fs.readOnly ? ST_RDONLY : 0);
  putStatfs(scratch.view, 0, fsInfo, fs.dev);
  return t.mm.copyOut(addr, scratch.u8, 0, STATFS.size);
}

/** calculate_f_flags(). */
function mountStatFlags(mount: Mount): number {
  const flags = mount.flags;
  let out = mount.readOnly ? ST_RDONLY : 0;
  if ((flags & MS_NOSUID) !== 0) out |= ST_NOSUID;
  if ((flags & MS_NODEV) !== 0) out |= ST_NODEV;
  if ((flags & MS_NOEXEC) !== 0) out |= ST_NOEXEC;
  if ((flags & MS_NOATIME) !== 0) out |= ST_NOATIME;
  if ((flags & MS_NODIRATIME) !== 0) out |= ST_NODIRATIME;
  if ((flags & MS_RELATIME) !== 0) out |= ST_RELATIME;
  if ((flags & MS_NOSYMFOLLOW) !== 0) out |= ST_NOSYMFOLLOW;
  return out;
}

/** statfs(2). */
export function statfs(t: Task, a: SyscallArgs): number {
  const path = t.mm.copyInPath(a.addr(0));
  if (typeof path === 'number') return path;
  const error = targetAt(t, AT_FDCWD, path, 0);
  return error < 0 ? error : copyStatfs(t, a.addr(1), target.inode.fs, target.mount);
}

/** fstatfs(2). */
export function fstatfs(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  if (file === undefined) return -EBADF;
  targetFile(file);
  return copyStatfs(t, a.addr(1), target.inode.fs, target.mount);
}

// ---- access

/** access(2). */
export function access(t: Task, a: SyscallArgs): number {
  return checkAccess(t, AT_FDCWD, a.addr(0), a.int(1), 0);
}

/** faccessat(2): the system call has no flags. */
export function faccessat(t: Task, a: SyscallArgs): number {
  return checkAccess(t, a.int(0), a.addr(1), a.int(2), 0);
}

/** faccessat2(2). */
export function faccessat2(t: Task, a: SyscallArgs): number {
  return checkAccess(t, a.int(0), a.addr(1), a.int(2), a.int(3));
}

function checkAccess(t: Task, dirfd: number, pathAddr: number, mode: number, flags: number): number {
  if ((mode & ~7) !== 0 || (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) !== 0) return -EINVAL;
  const path = copyInPathAt(t, pathAddr, flags);
  if (typeof path === 'number') return path;
  const creds = (flags & AT_EACCESS) !== 0 ? t.creds : realCreds(t.creds);
  if (path === '' && (flags & AT_EMPTY_PATH) !== 0 && dirfd !== AT_FDCWD) {
    const file = t.fds.get(dirfd);
    if (file === undefined) return -EBADF;
    if (file.path === undefined) return file.inode().permission(creds, mode);
    return accessPath(credsOn(file.path.mount, creds), file.path.mount, file.inode(), mode);
  }
  const start = startOf(t, dirfd, path, (flags & AT_EMPTY_PATH) !== 0);
  return typeof start === 'number' ? start : t.kernel.vfs.access(t, creds, start, path, mode, lookupFlags(flags));
}

/** The credentials that access(2) judges by: real ids, and root's capabilities only for a real root. fs/open.c:access_override_creds(). */
function realCreds(creds: Credentials): Credentials {
  const fixup = (creds.securebits & SECBIT_NO_SETUID_FIXUP) === 0;
  const { permitted, effective } = creds;
  const isRoot = creds.uid === creds.userns.uidToKernel(0);
  const lo = !fixup ? effective.lo : isRoot ? permitted.lo : 0;
  const hi = !fixup ? effective.hi : isRoot ? permitted.hi : 0;
  if (creds.fsuid === creds.uid && creds.fsgid === creds.gid && effective.lo === lo && effective.hi === hi) return creds;
  const real = creds.clone();
  real.fsuid = creds.uid;
  real.fsgid = creds.gid;
  real.effective = { lo, hi };
  return real;
}

// ---- readlink

function readLink(t: Task, dirfd: number, pathAddr: number, bufAddr: number, size: number): number {
  if (size <= 0) return -EINVAL;
  const path = t.mm.copyInPath(pathAddr);
  if (typeof path === 'number') return path;
  const start = startOf(t, dirfd, path, true);
  if (typeof start === 'number') return start;
  const text = t.kernel.vfs.readlink(t, start, path, LOOKUP_EMPTY);
  if (typeof text === 'number') return text;
  // Magic links may lead to places that no path of PATH_MAX bytes names.
  if (text.length >= PATH_MAX) return -ENAMETOOLONG;
  const n = Math.min(putLatin1(scratch.u8, 0, text), size);
  return t.mm.copyOut(bufAddr, scratch.u8, 0, n) < 0 ? -EFAULT : n;
}

/** readlink(2). */
export function readlink(t: Task, a: SyscallArgs): number {
  return readLink(t, AT_FDCWD, a.addr(0), a.addr(1), a.int(2));
}

/** readlinkat(2). */
export function readlinkat(t: Task, a: SyscallArgs): number {
  return readLink(t, a.int(0), a.addr(1), a.addr(2), a.int(3));
}

export const fsStatCalls: readonly SyscallLine[] = [
  call(SYS_stat, 'stat', 'path:path buf:stat', stat),
  call(SYS_fstat, 'fstat', 'fd:fd buf:stat', fstat),
  call(SYS_lstat, 'lstat', 'path:path buf:stat', lstat),
  call(SYS_newfstatat, 'newfstatat', 'dirfd:dirfd path:path buf:stat flags:flags', newfstatat),
  call(SYS_statx, 'statx', 'dirfd:dirfd path:path flags:flags mask:uint buf:statx', statx),
  call(SYS_statfs, 'statfs', 'path:path buf:statfs', statfs),
  call(SYS_fstatfs, 'fstatfs', 'fd:fd buf:statfs', fstatfs),
  call(SYS_access, 'access', 'path:path mode:mode', access),
  call(SYS_faccessat, 'faccessat', 'dirfd:dirfd path:path mode:mode', faccessat),
  call(SYS_faccessat2, 'faccessat2', 'dirfd:dirfd path:path mode:mode flags:flags', faccessat2),
  call(SYS_readlink, 'readlink', 'path:path buf:out:2 size:size', readlink),
  call(SYS_readlinkat, 'readlinkat', 'dirfd:dirfd path:path buf:out:3 size:size', readlinkat),
  ...fsAttrCalls,
  ...fsXattrCalls,
];
