// Making, linking, removing and renaming names: fs/namei.c from filename_create() on.

import { EBUSY, EEXIST, EINVAL, EISDIR, ENOENT, ENOTDIR, ENOTEMPTY, EPERM, EXDEV } from '../abi/errno.ts';
import { RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT } from '../abi/fcntl.ts';
import { LANDLOCK_ACCESS_FS_REMOVE_DIR, LANDLOCK_ACCESS_FS_REMOVE_FILE } from '../abi/landlock.ts';
import { IN_ATTRIB, IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO } from '../abi/poll.ts';
import { CAP_MKNOD } from '../abi/sched.ts';
import { S_IALLUGO, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, S_ISVTX } from '../abi/stat.ts';
import type { VfsContext } from './context.ts';
import { type Dentry, exchangeDentries, instantiate, lookupChild, moveDentry, removed } from './dentry.ts';
import type { Inode, VfsPath } from './filesystem.ts';
import { moveCookie, notifyEntry, notifyMoveSelf, notifySelf } from './fsnotify.ts';
import { landlockPath, landlockRefer, makeAccess } from './landlock.ts';
import { detachMounts, isMountpointIn } from './mount.ts';
import { credsOn } from './mount-idmap.ts';
import { LAST_DOT, LAST_DOTDOT, LAST_NONE, LAST_NORM, PathWalk } from './path-walk.ts';
import { capableInit, inodePermission, MAY_WRITE, mayCreate, mayDelete, mayLink, newMode, wantWrite } from './permissions.ts';
import { birthMode, inheritAcls } from './posix-acl.ts';

/** The half of Vfs (vfs.ts) that changes directories. */
export class VfsNames {
  protected readonly walk: PathWalk = new PathWalk();

  // ---- making names

  /**
   * filename_create(): the negative dentry of a new name in `this.walk.dentry`, or -errno.
   * `mode` has the type of what is made: a trailing slash is for directories only. 0 is for a further link.
   */
  private newName(ctx: VfsContext, start: VfsPath | null, path: string, mode: number): Dentry | number {
    const walk = this.walk;
    const error = walk.parent(ctx, start, path);
    if (error < 0) return error;
    if (walk.lastType !== LAST_NORM) return -EEXIST;
    const dir = walk.dentry;
    if (!dir.isDir()) return -ENOTDIR;
    const child = lookupChild(dir, walk.last);
    if (typeof child === 'number') return child;
    if (child.inode !== null) return -EEXIST;
    if (walk.lastSlash && (mode & S_IFMT) !== S_IFDIR) return -ENOENT;
    const readOnly = wantWrite(walk.mount);
    if (readOnly < 0) return readOnly;
    const parent = dir.inode!;
    if (parent.dead) return -ENOENT;
    if (mode === 0) return child;
    const denied = landlockPath(ctx.task, walk.mount, dir, makeAccess(mode)) || mayCreate(parent, credsOn(walk.mount, ctx.creds));
    return denied < 0 ? denied : child;
  }

  /** mkdir(2). */
  mkdirAt(ctx: VfsContext, start: VfsPath | null, path: string, mode: number): number {
    const child = this.newName(ctx, start, path, S_IFDIR);
    if (typeof child === 'number') return child;
    const parent = child.parent!.inode!;
    const creds = credsOn(this.walk.mount, ctx.creds);
    const inode = parent.mkdir(
      creds,
      child.name,
      newMode(parent, creds, birthMode(parent, ctx.fs.umask, S_IFDIR | (mode & (0o777 | S_ISVTX)))),
    );
    return this.made(child, inode);
  }

  /** mknod(2): mode carries the type (0 means a regular file). */
  mknodAt(ctx: VfsContext, start: VfsPath | null, path: string, mode: number, rdev: number): number {
    const child = this.makeNode(ctx, start, path, mode, rdev);
    return typeof child === 'number' ? child : 0;
  }

  /** mknodAt that answers the place: for bind(2) of a unix socket. */
  makeNode(ctx: VfsContext, start: VfsPath | null, path: string, mode: number, rdev: number): VfsPath | number {
    const type = (mode & S_IFMT) === 0 ? S_IFREG : mode & S_IFMT;
    if (type === S_IFDIR) return -EPERM;
    if (type !== S_IFREG && type !== S_IFCHR && type !== S_IFBLK && type !== S_IFIFO && type !== S_IFSOCK) return -EINVAL;
    const child = this.newName(ctx, start, path, type);
    if (typeof child === 'number') return child;
    const parent = child.parent!.inode!;
    const creds = credsOn(this.walk.mount, ctx.creds);
    const full = newMode(parent, creds, birthMode(parent, ctx.fs.umask, type | (mode & S_IALLUGO)));
    if (type === S_IFREG) {
      const made = this.made(child, parent.create(creds, child.name, full));
      return made < 0 ? made : { mount: this.walk.mount, dentry: child };
    }
    // Whiteouts are for everybody: fs/namei.c:vfs_mknod().
    const isDevice = type === S_IFCHR || type === S_IFBLK;
    if (isDevice && !(type === S_IFCHR && rdev === 0) && !capableInit(ctx.creds, CAP_MKNOD)) return -EPERM;
    const made = this.made(child, parent.mknod(creds, child.name, full, isDevice ? rdev : 0));
    return made < 0 ? made : { mount: this.walk.mount, dentry: child };
  }

  /** symlink(2). */
  symlinkAt(ctx: VfsContext, target: string, start: VfsPath | null, path: string): number {
    if (target === '') return -ENOENT;
    const child = this.newName(ctx, start, path, S_IFLNK);
    if (typeof child === 'number') return child;
    birthMode(child.parent!.inode!, 0, S_IFLNK);
    return this.made(child, child.parent!.inode!.symlink(credsOn(this.walk.mount, ctx.creds), child.name, target));
  }

  private made(child: Dentry, inode: Inode | number): number {
    if (typeof inode === 'number') return inode;
    inheritAcls(inode);
    instantiate(child, inode);
    notifyEntry(child.parent!.inode!, IN_CREATE, child.name, 0, child);
    return 0;
  }

  /** linkat(2). flags: LOOKUP_FOLLOW and LOOKUP_EMPTY for the old path. */
  linkAt(ctx: VfsContext, oldStart: VfsPath | null, oldPath: string, newStart: VfsPath | null, newPath: string, flags: number): number {
    let error = this.walk.lookup(ctx, oldStart, oldPath, flags);
    if (error < 0) return error;
    const oldMount = this.walk.mount;
    const old = this.walk.dentry;
    const inode = old.inode!;
    const child = this.newName(ctx, newStart, newPath, 0);
    if (typeof child === 'number') return child;
    const dir = child.parent!.inode!;
    if (oldMount !== this.walk.mount) return -EXDEV;
    const creds = credsOn(oldMount, ctx.creds);
    error = mayLink(ctx, creds, inode) || landlockRefer(ctx.task, oldMount, old, child, false, false) || mayCreate(dir, creds);
    if (error < 0) return error;
    if (inode.fs !== dir.fs) return -EXDEV;
    if (inode.isDir()) return -EPERM;
    if (inode.nlink === 0 && !inode.mayBeLinked) return -ENOENT;
    error = dir.link(child.name, inode);
    if (error < 0) return error;
    inode.mayBeLinked = false;
    instantiate(child, inode);
    // The count of links is the inode's own affair: fsnotify_link_count().
    notifySelf(inode, IN_ATTRIB);
    notifyEntry(dir, IN_CREATE, child.name, 0, child);
    return 0;
  }

  // ---- taking names away

  /** unlink(2). */
  unlinkAt(ctx: VfsContext, start: VfsPath | null, path: string): number {
    const walk = this.walk;
    const error = walk.parent(ctx, start, path);
    if (error < 0) return error;
    if (walk.lastType !== LAST_NORM) return -EISDIR;
    const dir = walk.dentry;
    if (!dir.isDir()) return -ENOTDIR;
    const readOnly = wantWrite(walk.mount);
    const child = lookupChild(dir, walk.last);
    if (typeof child === 'number') return child;
    const inode = child.inode;
    if (walk.lastSlash) return inode === null ? -ENOENT : inode.isDir() ? -EISDIR : -ENOTDIR;
    if (readOnly < 0) return readOnly;
    if (inode === null) return -ENOENT;
    const parent = dir.inode!;
    const denied =
      landlockPath(ctx.task, walk.mount, dir, LANDLOCK_ACCESS_FS_REMOVE_FILE) || mayDelete(parent, inode, credsOn(walk.mount, ctx.creds));
    if (denied < 0) return denied;
    if (inode.isDir()) return -EISDIR;
    if (isMountpointIn(ctx.fs.mountNamespace, child)) return -EBUSY;
    const failed = parent.unlink(child.name, inode);
    if (failed < 0) return failed;
    notifySelf(inode, IN_ATTRIB);
    detachMounts(child);
    removed(child);
    notifyEntry(parent, IN_DELETE, child.name, 0, child);
    return 0;
  }

  /** rmdir(2). */
  rmdirAt(ctx: VfsContext, start: VfsPath | null, path: string): number {
    const walk = this.walk;
    const error = walk.parent(ctx, start, path);
    if (error < 0) return error;
    if (walk.lastType === LAST_DOTDOT) return -ENOTEMPTY;
    if (walk.lastType === LAST_DOT) return -EINVAL;
    if (walk.lastType === LAST_NONE) return -EBUSY;
    const dir = walk.dentry;
    if (!dir.isDir()) return -ENOTDIR;
    const readOnly = wantWrite(walk.mount);
    const child = lookupChild(dir, walk.last);
    if (typeof child === 'number') return child;
    if (readOnly < 0) return readOnly;
    const inode = child.inode;
    if (inode === null) return -ENOENT;
    const parent = dir.inode!;
    const denied =
      landlockPath(ctx.task, walk.mount, dir, LANDLOCK_ACCESS_FS_REMOVE_DIR) || mayDelete(parent, inode, credsOn(walk.mount, ctx.creds));
    if (denied < 0) return denied;
    if (!inode.isDir()) return -ENOTDIR;
    if (isMountpointIn(ctx.fs.mountNamespace, child)) return -EBUSY;
    const failed = parent.rmdir(child.name, inode);
    if (failed < 0) return failed;
    inode.dead = true;
    detachMounts(child);
    removed(child);
    notifyEntry(parent, IN_DELETE, child.name, 0, child);
    return 0;
  }

  /** renameat2(2). flags: RENAME_*. */
  renameAt(ctx: VfsContext, oldStart: VfsPath | null, oldPath: string, newStart: VfsPath | null, newPath: string, flags: number): number {
    if ((flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) !== 0) return -EINVAL;
    if ((flags & RENAME_EXCHANGE) !== 0 && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)) !== 0) return -EINVAL;
    const walk = this.walk;
    let error = walk.parent(ctx, oldStart, oldPath);
    if (error < 0) return error;
    const mount = walk.mount;
    const oldDir = walk.dentry;
    const oldName = walk.last;
    const oldType = walk.lastType;
    const oldSlash = walk.lastSlash;
    error = walk.parent(ctx, newStart, newPath);
    if (error < 0) return error;
    const newDir = walk.dentry;
    if (mount !== walk.mount) return -EXDEV;
    if (oldType !== LAST_NORM) return -EBUSY;
    if (walk.lastType !== LAST_NORM) return (flags & RENAME_NOREPLACE) !== 0 ? -EEXIST : -EBUSY;
    const readOnly = wantWrite(mount);
    if (readOnly < 0) return readOnly;
    if (!oldDir.isDir() || !newDir.isDir()) return -ENOTDIR;

    const old = lookupChild(oldDir, oldName);
    if (typeof old === 'number') return old;
    const inode = old.inode;
    if (inode === null) return -ENOENT;
    const target = lookupChild(newDir, walk.last);
    if (typeof target === 'number') return target;
    const replaced = target.inode;
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    if ((flags & RENAME_NOREPLACE) !== 0 && replaced !== null) return -EEXIST;
    if (exchange && replaced === null) return -ENOENT;
    if (exchange && walk.lastSlash && !replaced!.isDir()) return -ENOTDIR;
    if (!inode.isDir()) {
      if (oldSlash) return -ENOTDIR;
      if (!exchange && walk.lastSlash) return -ENOTDIR;
    }
    // "an attempt was made to make a directory a subdirectory of itself" - rename(2)
    if (newDir.isUnder(old)) return -EINVAL;
    if (oldDir.isUnder(target)) return exchange ? -EINVAL : -ENOTEMPTY;
    error = landlockRefer(ctx.task, mount, old, target, true, exchange);
    return error < 0 ? error : this.rename(ctx, oldDir, old, newDir, target, flags);
  }

  /** vfs_rename(). */
  private rename(ctx: VfsContext, oldDir: Dentry, old: Dentry, newDir: Dentry, target: Dentry, flags: number): number {
    const from = oldDir.inode!;
    const to = newDir.inode!;
    const inode = old.inode!;
    const replaced = target.inode;
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    const creds = credsOn(this.walk.mount, ctx.creds);
    if (inode === replaced) return 0;
    let error = mayDelete(from, inode, creds);
    if (error < 0) return error;
    if (replaced === null) {
      if (to.dead) return -ENOENT;
      error = mayCreate(to, creds);
      if (error < 0) return error;
    } else {
      error = mayDelete(to, replaced, creds);
      if (error < 0) return error;
      if (!exchange && inode.isDir() && !replaced.isDir()) return -ENOTDIR;
      if (!exchange && !inode.isDir() && replaced.isDir()) return -EISDIR;
    }
    // Moving a directory rewrites its "..".
    if (from !== to) {
      if (inode.isDir() && (error = inodePermission(inode, creds, MAY_WRITE)) < 0) return error;
      if (exchange && replaced!.isDir() && (error = inodePermission(replaced!, creds, MAY_WRITE)) < 0) return error;
    }
    if (isMountpointIn(ctx.fs.mountNamespace, old) || isMountpointIn(ctx.fs.mountNamespace, target)) return -EBUSY;

    const oldName = old.name;
    const newName = target.name;
    error = from.rename(oldName, inode, to, newName, replaced ?? undefined, flags);
    if (error < 0) return error;

    const cookie = moveCookie();
    notifyEntry(from, IN_MOVED_FROM, oldName, cookie, old);
    notifyEntry(to, IN_MOVED_TO, newName, cookie, old);
    if (replaced !== null && !exchange) notifySelf(replaced, IN_ATTRIB);
    notifyMoveSelf(inode);
    if (exchange) {
      const back = moveCookie();
      notifyEntry(to, IN_MOVED_FROM, newName, back, target);
      notifyEntry(from, IN_MOVED_TO, oldName, back, target);
      notifyMoveSelf(replaced!);
      exchangeDentries(old, target);
      return 0;
    }
    if (replaced?.isDir()) replaced.dead = true;
    if (replaced !== null) detachMounts(target);
    moveDentry(old, target);
    return 0;
  }
}
