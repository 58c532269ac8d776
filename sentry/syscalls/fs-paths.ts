// How system calls name a place: (dirfd, path) pairs, paths alone, descriptors alone.

import { EBADF, ENOENT, ENOTDIR } from '../abi/errno.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW } from '../abi/fcntl.ts';
import type { Task } from '../kernel/task.ts';
import type { Dentry } from '../vfs/dentry.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { Inode, VfsPath } from '../vfs/filesystem.ts';
import type { Mount } from '../vfs/mount.ts';
import { LOOKUP_EMPTY, LOOKUP_FOLLOW } from '../vfs/path-walk.ts';

const SLASH = 47;

/**
 * Where a walk of `path` from `dirfd` starts: null is the working directory. -EBADF; -ENOTDIR for what has no place in
 * the tree. An empty path is -ENOENT before the descriptor is looked at (fs/namei.c:getname_flags()), unless it may be one.
 */
export function startOf(t: Task, dirfd: number, path: string, mayBeEmpty = false): VfsPath | null | number {
  if (path === '' && !mayBeEmpty) return -ENOENT;
  if (dirfd === AT_FDCWD || path.charCodeAt(0) === SLASH) return null;
  const file = t.fds.get(dirfd);
  if (file === undefined) return -EBADF;
  return file.path ?? -ENOTDIR;
}

/** LOOKUP_* of AT_* flags for calls that follow links unless AT_SYMLINK_NOFOLLOW. */
export function lookupFlags(atFlags: number): number {
  let flags = (atFlags & AT_SYMLINK_NOFOLLOW) !== 0 ? 0 : LOOKUP_FOLLOW;
  if ((atFlags & AT_EMPTY_PATH) !== 0) flags |= LOOKUP_EMPTY;
  return flags;
}

/** The path of a call that takes AT_EMPTY_PATH, where a null pointer means "" (Linux 6.11). */
export function copyInPathAt(t: Task, addr: number, atFlags: number): string | number {
  return addr === 0 && (atFlags & AT_EMPTY_PATH) !== 0 ? '' : t.mm.copyInPath(addr);
}

/** What a call that changes or tells attributes works on; filled by targetAt() and targetFile(), valid until the next. */
class Target {
  mount: Mount | null = null;
  dentry: Dentry | null = null;
  inode!: Inode;
}

export const target: Target = new Target();

/** Resolves (dirfd, path) into `target`; with AT_EMPTY_PATH and an empty path the descriptor itself, whatever it is. */
export function targetAt(t: Task, dirfd: number, path: string, atFlags: number): number {
  if (path === '' && (atFlags & AT_EMPTY_PATH) !== 0 && dirfd !== AT_FDCWD) {
    const file = t.fds.get(dirfd);
    if (file === undefined) return -EBADF;
    return targetFile(file);
  }
  const start = startOf(t, dirfd, path, (atFlags & AT_EMPTY_PATH) !== 0);
  if (typeof start === 'number') return start;
  const walk = t.kernel.vfs.reached;
  const error = walk.lookup(t, start, path, lookupFlags(atFlags));
  if (error < 0) return error;
  target.mount = walk.mount;
  target.dentry = walk.dentry;
  target.inode = walk.dentry.inode!;
  return 0;
}

/** The object behind a descriptor as `target`. */
export function targetFile(file: FileDescription): number {
  target.mount = file.path?.mount ?? null;
  target.dentry = file.path?.dentry ?? null;
  target.inode = file.inode();
  return 0;
}
