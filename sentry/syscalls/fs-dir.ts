// Directories and names: getdents, mkdir, rename, link, unlink, symlink, mknod, chdir, getcwd, chroot.

import { EBADF, EFAULT, EINVAL, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, ERANGE } from '../abi/errno.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, O_PATH } from '../abi/fcntl.ts';
import { PATH_MAX } from '../abi/limits.ts';
import { CAP_DAC_READ_SEARCH, CAP_SYS_CHROOT } from '../abi/sched.ts';
import { S_IFMT, S_ISVTX } from '../abi/stat.ts';
import {
  SYS_chdir,
  SYS_chroot,
  SYS_fchdir,
  SYS_getcwd,
  SYS_getdents,
  SYS_getdents64,
  SYS_link,
  SYS_linkat,
  SYS_mkdir,
  SYS_mkdirat,
  SYS_mknod,
  SYS_mknodat,
  SYS_rename,
  SYS_renameat,
  SYS_renameat2,
  SYS_rmdir,
  SYS_symlink,
  SYS_symlinkat,
  SYS_unlink,
  SYS_unlinkat,
} from '../abi/sysno-x64.ts';
import { getU64, put64 } from '../base/int64.ts';
import { putLatin1 } from '../base/latin1.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { SCRATCH_SIZE, scratch } from '../mm/guest-memory.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { DirSink, VfsPath } from '../vfs/filesystem.ts';
import { notifyAccess } from '../vfs/fsnotify.ts';
import { credsOn } from '../vfs/mount-idmap.ts';
import { cwdName } from '../vfs/path-name.ts';
import { LOOKUP_DIRECTORY, LOOKUP_EMPTY, LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import { inodePermission, MAY_CHDIR, MAY_EXEC } from '../vfs/permissions.ts';
import { startOf } from './fs-paths.ts';
import { call, type SyscallLine } from './syscall-line.ts';

// ---- reading

/** Encodes entries into scratch: struct linux_dirent or linux_dirent64, include/linux/dirent.h. */
/** Bytes before d_type or the name: d_ino, d_off, d_reclen. */
const DIRENT_HEAD = 18;

class DirentWriter implements DirSink {
  used = 0;
  private limit = 0;
  private wide = true;
  /** An entry did not fit. */
  full = false;

  reset(limit: number, wide: boolean): void {
    this.used = 0;
    this.limit = Math.min(limit, SCRATCH_SIZE);
    this.wide = wide;
    this.full = false;
  }

  entry(name: string, ino: number, type: number, next: number): boolean {
    const length = this.begin(name.length, ino, type, next);
    if (length === 0) return false;
    this.end(this.used + this.head + putLatin1(scratch.u8, this.used + this.head, name), type, length);
    return true;
  }

  entryBytes(bytes: Uint8Array, from: number, n: number, ino: number, type: number, next: number): boolean {
    const length = this.begin(n, ino, type, next);
    if (length === 0) return false;
    const { u8 } = scratch;
    const to = this.used + this.head;
    for (let i = 0; i < n; i++) u8[to + i] = bytes[from + i];
    this.end(to + n, type, length);
    return true;
  }

  // 18 or 19 bytes before the name, then NUL; the old form keeps the type in its last byte.
  private get head(): number {
    return this.wide ? 19 : 18;
  }

  /** The length of the record, whose head is written; 0 when it does not fit. */
  private begin(nameLength: number, ino: number, type: number, next: number): number {
    const length = Math.ceil((this.head + nameLength + (this.wide ? 1 : 2)) / 8) * 8;
    const at = this.used;
    if (at + length > this.limit) {
      this.full = true;
      return 0;
    }
    const { view, u8 } = scratch;
    put64(view, at, ino);
    put64(view, at + 8, next);
    view.setUint16(at + 16, length, true);
    if (this.wide) u8[at + 18] = type;
    return length;
  }

  /** The name ends at `end`. */
  private end(end: number, type: number, length: number): void {
    const { u8 } = scratch;
    const next = this.used + length;
    for (let i = end; i < next; i++) u8[i] = 0;
    if (!this.wide) u8[next - 1] = type;
    this.used = next;
  }
}

const writer = new DirentWriter();

function readEntries(t: Task, fd: number, addr: number, count: number, wide: boolean): number {
  const file = t.fds.get(fd);
  if (file === undefined || (file.flags & O_PATH) !== 0) return -EBADF;
  if (count > 0x7fffffff) return -EINVAL;
  writer.reset(count, wide);
  const pos = file.pos;
  const error = file.readdir(t, writer);
  if (error === 0) notifyAccess(file);
  if (writer.used === 0) return error < 0 ? error : writer.full ? -EINVAL : 0;
  const stored = t.mm.writeSome(addr, scratch.u8, 0, writer.used);
  return stored === writer.used ? stored : wholeEntries(file, pos, stored);
}

/** Memory ended before the entries did: those that are whole count, and the next call goes on behind them. */
function wholeEntries(file: FileDescription, start: number, stored: number): number {
  const { view } = scratch;
  let end = 0;
  file.pos = start;
  while (end + DIRENT_HEAD <= stored && end + view.getUint16(end + 16, true) <= stored) {
    file.pos = getU64(view, end + 8);
    end += view.getUint16(end + 16, true);
  }
  return end === 0 ? -EFAULT : end;
}

/** getdents(2). */
export function getdents(t: Task, a: SyscallArgs): number {
  return readEntries(t, a.int(0), a.addr(1), a.uint(2), false);
}

/** getdents64(2). */
export function getdents64(t: Task, a: SyscallArgs): number {
  return readEntries(t, a.int(0), a.addr(1), a.uint(2), true);
}

// ---- making

function makeDir(t: Task, dirfd: number, pathAddr: number, mode: number): number {
  const path = t.mm.copyInPath(pathAddr);
  if (typeof path === 'number') return path;
  const start = startOf(t, dirfd, path);
  return typeof start === 'number' ? start : t.kernel.vfs.mkdirAt(t, start, path, mode & (0o777 | S_ISVTX));
}

/** mkdir(2). */
export function mkdir(t: Task, a: SyscallArgs): number {
  return makeDir(t, AT_FDCWD, a.addr(0), a.int(1));
}

/** mkdirat(2). */
export function mkdirat(t: Task, a: SyscallArgs): number {
  return makeDir(t, a.int(0), a.addr(1), a.int(2));
}

function makeNode(t: Task, dirfd: number, pathAddr: number, mode: number, dev: number): number {
  const path = t.mm.copyInPath(pathAddr);
  if (typeof path === 'number') return path;
  const start = startOf(t, dirfd, path);
  if (typeof start === 'number') return start;
  return t.kernel.vfs.mknodAt(t, start, path, mode & (S_IFMT | 0o7777), dev);
}

/** mknod(2). */
export function mknod(t: Task, a: SyscallArgs): number {
  return makeNode(t, AT_FDCWD, a.addr(0), a.int(1), a.uint(2));
}

/** mknodat(2). */
export function mknodat(t: Task, a: SyscallArgs): number {
  return makeNode(t, a.int(0), a.addr(1), a.int(2), a.uint(3));
}

function makeSymlink(t: Task, targetAddr: number, dirfd: number, pathAddr: number): number {
  const text = t.mm.copyInPath(targetAddr);
  if (typeof text === 'number') return text;
  const path = t.mm.copyInPath(pathAddr);
  if (typeof path === 'number') return path;
  const start = startOf(t, dirfd, path);
  return typeof start === 'number' ? start : t.kernel.vfs.symlinkAt(t, text, start, path);
}

/** symlink(2). */
export function symlink(t: Task, a: SyscallArgs): number {
  return makeSymlink(t, a.addr(0), AT_FDCWD, a.addr(1));
}

/** symlinkat(2). */
export function symlinkat(t: Task, a: SyscallArgs): number {
  return makeSymlink(t, a.addr(0), a.int(1), a.addr(2));
}

function makeLink(t: Task, oldFd: number, oldAddr: number, newFd: number, newAddr: number, flags: number): number {
  if ((flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)) !== 0) return -EINVAL;
  let lookup = (flags & AT_SYMLINK_FOLLOW) !== 0 ? LOOKUP_FOLLOW : 0;
  const oldPath = t.mm.copyInPath(oldAddr);
  if (typeof oldPath === 'number') return oldPath;
  if ((flags & AT_EMPTY_PATH) !== 0) {
    if (oldPath === '' && !mayLinkFd(t, oldFd)) return -ENOENT;
    lookup |= LOOKUP_EMPTY;
  }
  const newPath = t.mm.copyInPath(newAddr);
  if (typeof newPath === 'number') return newPath;
  const oldStart = startOf(t, oldFd, oldPath, (flags & AT_EMPTY_PATH) !== 0);
  if (typeof oldStart === 'number') return oldStart;
  const newStart = startOf(t, newFd, newPath);
  if (typeof newStart === 'number') return newStart;
  return t.kernel.vfs.linkAt(t, oldStart, oldPath, newStart, newPath, lookup);
}

/** Who has opened a descriptor may name it; others need CAP_DAC_READ_SEARCH: fs/namei.c, LOOKUP_LINKAT_EMPTY. */
function mayLinkFd(t: Task, fd: number): boolean {
  const opener = t.fds.get(fd)?.creds;
  return opener === t.creds || t.creds.capableIn(opener?.userns ?? t.creds.userns, CAP_DAC_READ_SEARCH);
}

/** link(2). */
export function link(t: Task, a: SyscallArgs): number {
  return makeLink(t, AT_FDCWD, a.addr(0), AT_FDCWD, a.addr(1), 0);
}

/** linkat(2). */
export function linkat(t: Task, a: SyscallArgs): number {
  return makeLink(t, a.int(0), a.addr(1), a.int(2), a.addr(3), a.int(4));
}

// ---- removing, renaming

function remove(t: Task, dirfd: number, pathAddr: number, isDir: boolean): number {
  const path = t.mm.copyInPath(pathAddr);
  if (typeof path === 'number') return path;
  const start = startOf(t, dirfd, path);
  if (typeof start === 'number') return start;
  return isDir ? t.kernel.vfs.rmdirAt(t, start, path) : t.kernel.vfs.unlinkAt(t, start, path);
}

/** unlink(2). */
export function unlink(t: Task, a: SyscallArgs): number {
  return remove(t, AT_FDCWD, a.addr(0), false);
}

/** rmdir(2). */
export function rmdir(t: Task, a: SyscallArgs): number {
  return remove(t, AT_FDCWD, a.addr(0), true);
}

/** unlinkat(2). */
export function unlinkat(t: Task, a: SyscallArgs): number {
  const flags = a.int(2);
  if ((flags & ~AT_REMOVEDIR) !== 0) return -EINVAL;
  return remove(t, a.int(0), a.addr(1), flags !== 0);
}

function move(t: Task, oldFd: number, oldAddr: number, newFd: number, newAddr: number, flags: number): number {
  const oldPath = t.mm.copyInPath(oldAddr);
  if (typeof oldPath === 'number') return oldPath;
  const newPath = t.mm.copyInPath(newAddr);
  if (typeof newPath === 'number') return newPath;
  const oldStart = startOf(t, oldFd, oldPath);
  if (typeof oldStart === 'number') return oldStart;
  const newStart = startOf(t, newFd, newPath);
  if (typeof newStart === 'number') return newStart;
  return t.kernel.vfs.renameAt(t, oldStart, oldPath, newStart, newPath, flags);
}

/** rename(2). */
export function rename(t: Task, a: SyscallArgs): number {
  return move(t, AT_FDCWD, a.addr(0), AT_FDCWD, a.addr(1), 0);
}

/** renameat(2). */
export function renameat(t: Task, a: SyscallArgs): number {
  return move(t, a.int(0), a.addr(1), a.int(2), a.addr(3), 0);
}

/** renameat2(2). */
export function renameat2(t: Task, a: SyscallArgs): number {
  return move(t, a.int(0), a.addr(1), a.int(2), a.addr(3), a.int(4));
}

// ---- where a task stands

/** chdir(2). */
export function chdir(t: Task, a: SyscallArgs): number {
  const path = t.mm.copyInPath(a.addr(0));
  if (typeof path === 'number') return path;
  const at = t.kernel.vfs.lookup(t, null, path, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  return typeof at === 'number' ? at : enter(t, at);
}

/** fchdir(2). */
export function fchdir(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  if (file === undefined) return -EBADF;
  if (file.path === undefined || !file.path.dentry.isDir()) return -ENOTDIR;
  return enter(t, file.path);
}

function enter(t: Task, at: VfsPath): number {
  const denied = inodePermission(at.dentry.inode!, credsOn(at.mount, t.creds), MAY_EXEC | MAY_CHDIR);
  if (denied < 0) return denied;
  t.fs.cwd = at;
  return 0;
}

/** chroot(2). */
export function chroot(t: Task, a: SyscallArgs): number {
  const path = t.mm.copyInPath(a.addr(0));
  if (typeof path === 'number') return path;
  const at = t.kernel.vfs.lookup(t, null, path, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  if (typeof at === 'number') return at;
  const denied = inodePermission(at.dentry.inode!, credsOn(at.mount, t.creds), MAY_EXEC | MAY_CHDIR);
  if (denied < 0) return denied;
  if (!t.creds.capableHere(CAP_SYS_CHROOT)) return -EPERM;
  t.fs.root = at;
  return 0;
}

/** getcwd(2): the bytes written, NUL included. */
export function getcwd(t: Task, a: SyscallArgs): number {
  const name = cwdName(t.fs.cwd, t.fs.root);
  if (name === '') return -ENOENT;
  const length = name.length + 1;
  if (length > PATH_MAX) return -ENAMETOOLONG;
  if (length > a.addr(1)) return -ERANGE;
  const end = putLatin1(scratch.u8, 0, name);
  scratch.u8[end] = 0;
  return t.mm.copyOut(a.addr(0), scratch.u8, 0, length) < 0 ? -EFAULT : length;
}

export const fsDirCalls: readonly SyscallLine[] = [
  call(SYS_getdents, 'getdents', 'fd:fd entries:out:2 count:uint', getdents),
  call(SYS_getdents64, 'getdents64', 'fd:fd entries:out:2 count:uint', getdents64),
  call(SYS_mkdir, 'mkdir', 'path:path mode:mode', mkdir),
  call(SYS_mkdirat, 'mkdirat', 'dirfd:dirfd path:path mode:mode', mkdirat),
  call(SYS_mknod, 'mknod', 'path:path mode:mode dev:uint', mknod),
  call(SYS_mknodat, 'mknodat', 'dirfd:dirfd path:path mode:mode dev:uint', mknodat),
  call(SYS_symlink, 'symlink', 'target:path linkPath:path', symlink),
  call(SYS_symlinkat, 'symlinkat', 'target:path dirfd:dirfd linkPath:path', symlinkat),
  call(SYS_link, 'link', 'oldPath:path newPath:path', link),
  call(SYS_linkat, 'linkat', 'oldDirfd:dirfd oldPath:path newDirfd:dirfd newPath:path flags:flags', linkat),
  call(SYS_unlink, 'unlink', 'path:path', unlink),
  call(SYS_unlinkat, 'unlinkat', 'dirfd:dirfd path:path flags:flags', unlinkat),
  call(SYS_rmdir, 'rmdir', 'path:path', rmdir),
  call(SYS_rename, 'rename', 'oldPath:path newPath:path', rename),
  call(SYS_renameat, 'renameat', 'oldDirfd:dirfd oldPath:path newDirfd:dirfd newPath:path', renameat),
  call(SYS_renameat2, 'renameat2', 'oldDirfd:dirfd oldPath:path newDirfd:dirfd newPath:path flags:flags', renameat2),
  call(SYS_chdir, 'chdir', 'path:path', chdir),
  call(SYS_fchdir, 'fchdir', 'fd:fd', fchdir),
  call(SYS_chroot, 'chroot', 'path:path', chroot),
  call(SYS_getcwd, 'getcwd', 'buf:out:1 size:size', getcwd),
];
