// Operations by path: fs/namei.c and fs/open.c; those that change directories are in vfs-names.ts.
// File systems are asked only for what Linux asks them (lookup, create, rename, open, …); checks,
// their order and their errnos are here.
//
// Starting points are VfsPaths (null: the working directory); who acts is a VfsContext: a task, or
// boot code without one. Nothing here blocks. Results are values or -errno.

import { major, minor } from '../abi/device.ts';
import { EACCES, EEXIST, EINVAL, EISDIR, ELOOP, ENOENT, ENOTDIR, ENXIO, EPERM, EROFS, ETXTBSY } from '../abi/errno.ts';
import {
  O_ACCMODE,
  O_CLOEXEC,
  O_CREAT,
  O_DIRECT,
  O_DIRECTORY,
  O_EXCL,
  O_NOATIME,
  O_NOCTTY,
  O_NOFOLLOW,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  O_TRUNC,
  O_WRONLY,
} from '../abi/fcntl.ts';
import { LANDLOCK_ACCESS_FS_MAKE_REG, LANDLOCK_ACCESS_FS_TRUNCATE } from '../abi/landlock.ts';
import { MS_NODEV, MS_NOEXEC } from '../abi/mount.ts';
import { IN_CREATE } from '../abi/poll.ts';
import { S_IALLUGO, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Task } from '../kernel/task.ts';
import { truncateInode } from './attributes.ts';
import type { VfsContext } from './context.ts';
import { type Dentry, detachedDentry, instantiate, lookupChild, unhash } from './dentry.ts';
import type { FileDescription } from './file-description.ts';
import type { Filesystem, Inode, VfsPath } from './filesystem.ts';
import { notifyEntry, notifyModify, notifyOpen } from './fsnotify.ts';
import { landlockOpen, landlockPath } from './landlock.ts';
import { breakLeases } from './leases.ts';
import type { Mount } from './mount.ts';
import { credsOn } from './mount-idmap.ts';
import { openIntent } from './open-intent.ts';
import { PathFile } from './path-file.ts';
import { LAST_NONE, LAST_NORM, LOOKUP_DIRECTORY, LOOKUP_FOLLOW, type PathWalk } from './path-walk.ts';
import {
  accessOfFlags,
  inodePermission,
  MAY_ACCESS,
  MAY_EXEC,
  MAY_WRITE,
  mayCreate,
  mayReuse,
  newMode,
  ownerOrCapable,
  wantWrite,
} from './permissions.ts';
import { birthMode, inheritAcls } from './posix-acl.ts';
import { touchLink } from './times.ts';
import { VfsNames } from './vfs-names.ts';

/** Opens a node that stands for something else: a device, a FIFO. */
export type NodeOpener = (t: Task | null, path: VfsPath, flags: number) => FileDescription | number;

/** A type of file system as mount(2) knows it. */
export interface FilesystemType {
  readonly name: string;
  /** Shown by /proc/filesystems as "nodev". */
  readonly nodev: boolean;
  /** Reads an image in a file, so that it can be mounted though there are no block devices. */
  readonly fromFile?: boolean;
  /** May be mounted by the root of a user namespace: FS_USERNS_MOUNT. */
  readonly userMount: boolean;
  /** A new instance or, for types with one instance, that one. options is mount(2)'s data, flags its MS_*. */
  mount(ctx: VfsContext, source: string, flags: number, options: string): Filesystem | number;
}

/** Flags that mean something to open(2) only: F_GETFL does not show them. */
const OPEN_ONLY_FLAGS = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC;
/** O_TMPFILE without O_DIRECTORY. */
const TMPFILE_BIT = O_TMPFILE & ~O_DIRECTORY;

export class Vfs extends VfsNames {
  /** For mount(2) and /proc/filesystems, by name. */
  readonly types: Map<string, FilesystemType> = new Map();
  private readonly charDevices: Map<number, NodeOpener> = new Map();
  private readonly charMajors: Map<number, NodeOpener> = new Map();
  private openFifo: NodeOpener | null = null;

  // ---- what boot registers

  registerFilesystem(type: FilesystemType): void {
    this.types.set(type.name, type);
  }

  /** minorNumber -1: all minors of the major that have no opener of their own. */
  registerCharDevice(majorNumber: number, minorNumber: number, open: NodeOpener): void {
    if (minorNumber < 0) this.charMajors.set(majorNumber, open);
    else this.charDevices.set(majorNumber * 0x100000 + minorNumber, open);
  }

  /** fs/pipe.ts: the opener may answer a description whose finishOpen() says that the other end is missing. */
  registerFifo(open: NodeOpener): void {
    this.openFifo = open;
  }

  // ---- lookup

  /** The place a path leads to. flags: LOOKUP_*, resolve: RESOLVE_*. */
  lookup(ctx: VfsContext, start: VfsPath | null, path: string, flags: number, resolve = 0): VfsPath | number {
    const error = this.walk.lookup(ctx, start, path, flags, resolve);
    return error < 0 ? error : this.walk.result();
  }

  /** Where the last walk ended: valid until the next one. */
  get reached(): PathWalk {
    return this.walk;
  }

  /** The inode with its attributes brought up to date: stat(2). */
  stat(ctx: VfsContext, start: VfsPath | null, path: string, flags: number): Inode | number {
    const error = this.walk.lookup(ctx, start, path, flags);
    if (error < 0) return error;
    const inode = this.walk.dentry.inode!;
    const failed = inode.getattrAfterWalk(ctx.task);
    return failed < 0 ? failed : inode;
  }

  /** The target of a symbolic link. An empty path with LOOKUP_EMPTY reads `start` itself. */
  readlink(ctx: VfsContext, start: VfsPath | null, path: string, flags: number): string | number {
    const error = this.walk.lookup(ctx, start, path, flags);
    if (error < 0) return error;
    const inode = this.walk.dentry.inode!;
    if (!inode.isSymlink()) return path === '' ? -ENOENT : -EINVAL;
    touchLink(this.walk.mount, inode);
    return inode.readlink(ctx.task);
  }

  /** access(2) for `creds`: mode is R_OK | W_OK | X_OK or F_OK. */
  access(ctx: VfsContext, creds: Credentials, start: VfsPath | null, path: string, mode: number, flags: number): number {
    const own = creds === ctx.creds ? ctx : { creds, fs: ctx.fs, task: ctx.task };
    const error = this.walk.lookup(own, start, path, flags);
    return error < 0 ? error : accessPath(credsOn(this.walk.mount, creds), this.walk.mount, this.walk.dentry.inode!, mode);
  }

  // ---- open

  /**
   * open(2), openat2(2). mode: S_IALLUGO only, the umask is applied here; resolve: RESOLVE_*. The
   * description's finishOpen() has not been asked yet.
   */
  openAt(ctx: VfsContext, start: VfsPath | null, path: string, flags: number, mode: number, resolve = 0): FileDescription | number {
    if ((flags & TMPFILE_BIT) !== 0) return this.openTmpfile(ctx, start, path, flags, mode, resolve);
    if ((flags & O_PATH) !== 0) flags &= O_DIRECTORY | O_NOFOLLOW | O_PATH;
    if ((flags & O_CREAT) !== 0) return this.openCreate(ctx, start, path, flags, mode, resolve);
    let lookup = (flags & O_NOFOLLOW) !== 0 ? 0 : LOOKUP_FOLLOW;
    if ((flags & O_DIRECTORY) !== 0) lookup |= LOOKUP_DIRECTORY;
    openIntent.reading = (flags & (O_ACCMODE | O_PATH | O_DIRECTORY | O_TRUNC)) === O_RDONLY;
    const error = this.walk.lookup(ctx, start, path, lookup, resolve);
    openIntent.reading = false;
    if (error < 0) return error;
    if ((flags & O_PATH) !== 0) return this.openedPathFile(flags);
    return this.openResult(ctx, flags, accessOfFlags(flags));
  }

  /** Opens a place that is already known: dentry_open() with open(2)'s checks. For /proc/[pid]/fd and exec. */
  openPath(ctx: VfsContext, at: VfsPath, flags: number): FileDescription | number {
    this.walk.mount = at.mount;
    this.walk.dentry = at.dentry;
    if ((flags & O_PATH) !== 0) return this.openedPathFile(flags);
    return this.openResult(ctx, flags, accessOfFlags(flags));
  }

  /**
   * Opens a program for execve: a regular file that may be executed, and is not open for writing, nor
   * can be until file.allowWrites() or the end of the description. flags: LOOKUP_*.
   */
  openExec(ctx: VfsContext, start: VfsPath | null, path: string, flags: number): FileDescription | number {
    openIntent.reading = true;
    const error = this.walk.lookup(ctx, start, path, flags);
    openIntent.reading = false;
    if (error < 0) return error;
    const { mount, dentry } = this.walk;
    const inode = dentry.inode!;
    if (inode.isSymlink()) return -ELOOP;
    if (!inode.isRegular() || (mount.flags & MS_NOEXEC) !== 0) return -EACCES;
    const denied = inodePermission(inode, credsOn(mount, ctx.creds), MAY_EXEC);
    if (denied < 0) return denied;
    if (inode.writers > 0) return -ETXTBSY;
    const file = this.opened(ctx.task, inode, { mount, dentry }, O_RDONLY, undefined, true);
    if (typeof file === 'number') return file;
    const ready = file.prepareExec();
    if (ready < 0) {
      file.decRef(ctx.task);
      return ready;
    }
    file.denyWrites();
    return file;
  }

  private openedPathFile(flags: number): FileDescription {
    const file = new PathFile(this.walk.result(), flags & (O_DIRECTORY | O_NOFOLLOW | O_PATH));
    file.countOpen(file.inode(), false);
    return file;
  }

  private openCreate(
    ctx: VfsContext,
    start: VfsPath | null,
    path: string,
    flags: number,
    mode: number,
    resolve: number,
  ): FileDescription | number {
    const walk = this.walk;
    let error = walk.parent(ctx, start, path, resolve);
    let raced = false;
    for (;;) {
      if (error < 0) return error;
      if (walk.lastType === LAST_NONE) break;
      if (walk.lastType !== LAST_NORM) return (flags & O_EXCL) !== 0 ? -EEXIST : -EISDIR;
      if (walk.lastSlash) return -EISDIR;
      const dir = walk.dentry;
      if (!dir.isDir()) return -ENOTDIR;
      const denied = inodePermission(dir.inode!, credsOn(walk.mount, ctx.creds), MAY_EXEC);
      if (denied < 0) return denied;
      const child = lookupChild(dir, walk.last);
      if (typeof child === 'number') return child;
      if (child.inode === null) {
        const made = this.createAndOpen(ctx, dir, child, flags, mode);
        // Somebody else has made it meanwhile, in a tree that is not ours alone: look again, once.
        if (made !== -EEXIST || (flags & O_EXCL) !== 0 || raced) return made;
        raced = true;
        unhash(child);
        continue;
      }

      if ((flags & O_EXCL) !== 0) return -EEXIST;
      if (child.mountCount === 0 && child.inode.isSymlink()) {
        if ((flags & O_NOFOLLOW) !== 0) return -ELOOP;
        error = walk.followLast(child);
        continue;
      }
      error = walk.stepInto(child);
      if (error < 0) return error;
      const refused = mayReuse(ctx, credsOn(walk.mount, ctx.creds), dir.inode!, walk.dentry.inode!);
      if (refused < 0) return refused;
      break;
    }
    if ((flags & O_EXCL) !== 0) return -EEXIST;
    const found = walk.dentry.inode!;
    if (found.isDir()) return -EISDIR;
    if ((flags & O_DIRECTORY) !== 0) return -ENOTDIR;
    return this.openResult(ctx, flags, accessOfFlags(flags));
  }

  private createAndOpen(ctx: VfsContext, dir: Dentry, child: Dentry, flags: number, mode: number): FileDescription | number {
    const mount = this.walk.mount;
    const error = wantWrite(mount);
    if (error < 0) return error;
    const parent = dir.inode!;
    const refused = parent.dead ? -ENOENT : landlockPath(ctx.task, mount, dir, LANDLOCK_ACCESS_FS_MAKE_REG);
    const creds = credsOn(mount, ctx.creds);
    const denied = refused < 0 ? refused : mayCreate(parent, creds);
    if (denied < 0) return denied;
    const inode = parent.create(
      creds,
      child.name,
      newMode(parent, creds, birthMode(parent, ctx.fs.umask, S_IFREG | (mode & S_IALLUGO))),
      flags,
    );
    if (typeof inode === 'number') return inode;
    inheritAcls(inode);
    instantiate(child, inode);
    notifyEntry(parent, IN_CREATE, child.name, 0, child);
    // "The created file's mode applies only to future accesses": no permission check. - open(2)
    return this.opened(ctx.task, inode, { mount, dentry: child }, flags & ~O_TRUNC);
  }

  private openTmpfile(
    ctx: VfsContext,
    start: VfsPath | null,
    path: string,
    flags: number,
    mode: number,
    resolve: number,
  ): FileDescription | number {
    if ((flags & O_DIRECTORY) === 0 || (flags & O_ACCMODE) === O_RDONLY || (flags & O_CREAT) !== 0) return -EINVAL;
    const error = this.walk.lookup(ctx, start, path, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, resolve);
    if (error < 0) return error;
    const { mount, dentry } = this.walk;
    const dir = dentry.inode!;
    const creds = credsOn(mount, ctx.creds);
    const denied = wantWrite(mount) || mayCreate(dir, creds);
    if (denied < 0) return denied;
    const inode = dir.tmpfile(creds, newMode(dir, creds, birthMode(dir, ctx.fs.umask, S_IFREG | (mode & S_IALLUGO))));
    if (typeof inode === 'number') return inode;
    inheritAcls(inode);
    inode.mayBeLinked = (flags & O_EXCL) === 0;
    const d = detachedDentry(dentry.fs, `#${inode.ino}`, inode);
    d.parent = dentry;
    return this.opened(ctx.task, inode, { mount, dentry: d }, flags & ~(O_DIRECTORY | TMPFILE_BIT | O_TRUNC));
  }

  /** do_open() for the place the walk has reached. */
  private openResult(ctx: VfsContext, flags: number, access: number): FileDescription | number {
    const { mount, dentry } = this.walk;
    const inode = dentry.inode!;
    const type = inode.mode & S_IFMT;
    if (type === S_IFLNK) return -ELOOP;
    if (type === S_IFDIR && (access & MAY_WRITE) !== 0) return -EISDIR;
    if ((type === S_IFCHR || type === S_IFBLK) && !mayOpenDevice(mount)) return -EACCES;
    // Directories have no a_ops->direct_IO: fs/open.c:do_dentry_open().
    if (type === S_IFDIR && (flags & O_DIRECT) !== 0) return -EINVAL;
    if (type !== S_IFREG) flags &= ~O_TRUNC;
    else if ((access & MAY_WRITE) !== 0 && mount.readOnly) return -EROFS;
    const creds = credsOn(mount, ctx.creds);
    const denied = inodePermission(inode, creds, access);
    if (denied < 0) return denied;
    if ((flags & O_NOATIME) !== 0 && !ownerOrCapable(creds, inode)) return -EPERM;
    return this.opened(ctx.task, inode, { mount, dentry }, flags, creds);
  }

  /** vfs_open() and, for O_TRUNC, handle_truncate(). */
  private opened(t: Task | null, inode: Inode, at: VfsPath, flags: number, creds?: Credentials, forExec = false): FileDescription | number {
    const type = inode.mode & S_IFMT;
    const forWriting = type === S_IFREG && ((flags & O_ACCMODE) === O_WRONLY || (flags & O_ACCMODE) === O_RDWR);
    if ((forWriting || (flags & O_TRUNC) !== 0) && inode.writers < 0) return -ETXTBSY;
    if (inode.leases !== null) {
      const waits = breakLeases(inode, (flags & O_ACCMODE) !== O_RDONLY || (flags & O_TRUNC) !== 0, (flags & O_NONBLOCK) !== 0);
      if (waits < 0) return waits;
    }
    const landlock = t === null || t.landlock === null ? -1 : landlockOpen(t, at.mount, at.dentry, flags, forExec);
    if (landlock < -1) return landlock;
    if ((flags & O_TRUNC) !== 0 && (landlock & LANDLOCK_ACCESS_FS_TRUNCATE) === 0) return -EACCES;
    let file: FileDescription | number;
    if (type === S_IFREG || type === S_IFDIR || inode.opensItself) file = inode.open(t, at, flags);
    else if (type === S_IFIFO) file = this.openFifo === null ? -ENXIO : this.openFifo(t, at, flags);
    else if (type === S_IFCHR) file = this.openCharDevice(t, at, flags, inode);
    else if (type === S_IFBLK) file = mayUse(t, S_IFBLK, flags, inode) ? -ENXIO : -EPERM;
    else if (type === S_IFSOCK) file = -ENXIO;
    // Anonymous inodes have no type bits: /proc/[pid]/fd of an eventfd.
    else file = inode.open(t, at, flags);
    if (typeof file === 'number') return file;
    file.flags &= ~OPEN_ONLY_FLAGS;
    file.countOpen(inode, forWriting);
    file.creds = t?.creds ?? null;
    file.landlockAccess = landlock;
    notifyOpen(file);
    if ((flags & O_TRUNC) !== 0 && creds !== undefined) {
      const error = truncateInode(t, creds, inode, 0, file);
      if (error < 0) {
        file.decRef(t);
        return error;
      }
      notifyModify(file);
    }
    return file;
  }

  private openCharDevice(t: Task | null, at: VfsPath, flags: number, inode: Inode): FileDescription | number {
    const number = major(inode.rdev);
    if (!mayUse(t, S_IFCHR, flags, inode)) return -EPERM;
    const open = this.charDevices.get(number * 0x100000 + minor(inode.rdev)) ?? this.charMajors.get(number);
    return open === undefined ? -ENXIO : open(t, at, flags);
  }
}

/** Whether the container's rules let it open a device: before it turns out whether there is one, devcgroup_inode_permission(). */
function mayUse(t: Task | null, kind: number, flags: number, inode: Inode): boolean {
  const mode = (flags & O_ACCMODE) === O_RDONLY ? 'r' : (flags & O_ACCMODE) === O_WRONLY ? 'w' : 'rw';
  return t === null || t.group.container.deviceAllowed(kind, major(inode.rdev), minor(inode.rdev), mode);
}

/** The check of access(2) on a resolved file. */
export function accessPath(creds: Credentials, mount: Mount, inode: Inode, mode: number): number {
  const isReg = inode.isRegular();
  if ((mode & MAY_EXEC) !== 0 && isReg && (mount.flags & MS_NOEXEC) !== 0) return -EACCES;
  if (mode !== 0) {
    const denied = inodePermission(inode, creds, mode | MAY_ACCESS);
    if (denied < 0) return denied;
  }
  const type = inode.mode & S_IFMT;
  const isSpecial = type === S_IFCHR || type === S_IFBLK || type === S_IFIFO || type === S_IFSOCK;
  return (mode & MAY_WRITE) !== 0 && !isSpecial && mount.readOnly ? -EROFS : 0;
}

/** may_open_dev(): also not on what a user namespace's own root has mounted. */
function mayOpenDevice(mount: Mount): boolean {
  const { userns } = mount.fs;
  return (mount.flags & MS_NODEV) === 0 && (userns === null || userns.parent === null);
}
