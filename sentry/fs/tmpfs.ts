// tmpfs: a tree in the Sentry's memory. mm/shmem.c, and fs/libfs.c for its directories.
//
// Directories keep their entries in the order of their making, each with a cookie of its own, so
// that readdir positions stay right under change. Regular files are in tmpfs-file.ts.

import { EINVAL, ENOENT, ENOSPC, ENOTEMPTY } from '../abi/errno.ts';
import { RENAME_EXCHANGE, RENAME_WHITEOUT } from '../abi/fcntl.ts';
import { S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, TMPFS_MAGIC } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Task } from '../kernel/task.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';
import type { VfsContext } from '../vfs/context.ts';
import { DirStream, FIRST_COOKIE, type StreamEntry, type StreamSource } from '../vfs/dir-stream.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { Filesystem, type Inode, type StatFs, type VfsPath } from '../vfs/filesystem.ts';
import { newGid } from '../vfs/permissions.ts';
import { touchBorn, touchChanged, touchModified } from '../vfs/times.ts';
import type { FilesystemType } from '../vfs/vfs.ts';
import { TmpfsFile } from './tmpfs-file.ts';
import { TmpfsInode } from './tmpfs-inode.ts';
import { memoryPages, parseTmpfsOptions, type TmpfsOptions } from './tmpfs-options.ts';
import type { PageBudget } from './tmpfs-pages.ts';

const PAGE = 4096;
/** What an entry adds to its directory's size: mm/shmem.c:BOGO_DIRENT_SIZE. */
const DIRENT_SIZE = 20;

export class TmpfsFilesystem extends Filesystem implements PageBudget {
  private readonly rootDir: TmpfsDir;
  private readonly settings: TmpfsOptions;
  private usedPages = 0;
  private usedInodes = 0;
  private lastIno = 0;

  constructor(settings: TmpfsOptions, type = 'tmpfs', dev: number = allocateAnonDev()) {
    super(type, dev, TMPFS_MAGIC);
    this.settings = settings;
    this.acls = 1;
    this.allowsIdmap = true;
    this.source = type;
    this.rootDir = new TmpfsDir(this, this.newIno(), settings.mode);
    this.rootDir.uid = settings.uid;
    this.rootDir.gid = settings.gid;
    touchBorn(this.rootDir);
    this.usedInodes = 1;
  }

  override root(): Inode {
    return this.rootDir;
  }

  newIno(): number {
    return ++this.lastIno;
  }

  charge(n: number): boolean {
    const limit = this.settings.pages;
    if (limit !== 0 && this.usedPages + n > limit) return false;
    this.usedPages += n;
    return true;
  }

  get mostPages(): number {
    return this.settings.pages === 0 ? memoryPages : this.settings.pages;
  }

  uncharge(n: number): void {
    this.usedPages -= n;
  }

  /** One more inode, or false at nr_inodes. */
  chargeInode(): boolean {
    const limit = this.settings.inodes;
    if (limit !== 0 && this.usedInodes >= limit) return false;
    this.usedInodes++;
    return true;
  }

  unchargeInode(): void {
    this.usedInodes--;
  }

  override options(): string {
    return this.settings.text();
  }

  override remount(options: string): number {
    const wanted = parseTmpfsOptions(options, this.settings);
    if (typeof wanted === 'number') return wanted;
    // A limit can be changed, but not below what is in use, and not between "none" and some.
    if (wanted.pages !== 0 && (this.settings.pages === 0 || wanted.pages < this.usedPages)) return -EINVAL;
    if (wanted.inodes !== 0 && (this.settings.inodes === 0 || wanted.inodes < this.usedInodes)) return -EINVAL;
    this.settings.pages = wanted.pages;
    this.settings.inodes = wanted.inodes;
    this.settings.sizeGiven = wanted.sizeGiven;
    this.settings.inodesGiven = wanted.inodesGiven;
    return 0;
  }

  override statfs(out: StatFs): number {
    const { pages, inodes } = this.settings;
    out.type = this.magic;
    out.blockSize = PAGE;
    out.blocks = pages;
    out.blocksFree = pages === 0 ? 0 : pages - this.usedPages;
    out.blocksAvailable = out.blocksFree;
    out.files = inodes;
    out.filesFree = inodes === 0 ? 0 : inodes - this.usedInodes;
    out.nameLength = 255;
    return 0;
  }

  override release(): void {
    this.rootDir.releaseTree();
  }
}

/** A long target takes a page, a short one has room in the inode: mm/shmem.c:SHORT_SYMLINK_LEN. */
function takesPage(target: string): boolean {
  return target.length + 1 > 128;
}

export class TmpfsSymlink extends TmpfsInode {
  private readonly target: string;

  constructor(fs: TmpfsFilesystem, ino: number, target: string) {
    super(fs, ino, S_IFLNK | 0o777);
    this.target = target;
    this.size = target.length;
  }

  protected override free(): void {
    if (takesPage(this.target)) this.fs.uncharge(1);
  }

  override readlink(_t: Task | null): string | number {
    return this.target;
  }
}

/** Devices, FIFOs and sockets: what they do is others' business. */
export class TmpfsNode extends TmpfsInode {}

class TmpfsEntry implements StreamEntry {
  readonly name: string;
  inode: TmpfsInode;
  readonly cookie: number;
  removed = false;

  constructor(name: string, inode: TmpfsInode, cookie: number) {
    this.name = name;
    this.inode = inode;
    this.cookie = cookie;
  }

  entryIno(): number {
    return this.inode.ino;
  }

  entryMode(): number {
    return this.inode.mode;
  }
}

export class TmpfsDir extends TmpfsInode implements StreamSource {
  private readonly byName: Map<string, TmpfsEntry> = new Map();
  private nextCookie = FIRST_COOKIE;

  constructor(fs: TmpfsFilesystem, ino: number, permissions: number) {
    super(fs, ino, S_IFDIR | permissions);
    this.nlink = 2;
  }

  entries(): Iterator<StreamEntry> {
    return this.byName.values();
  }

  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    return new DirStream(path, flags, this, this);
  }

  override lookup(name: string): Inode | number {
    return this.byName.get(name)?.inode ?? -ENOENT;
  }

  override create(creds: Credentials, name: string, mode: number): Inode | number {
    return this.put(creds, name, this.fs.chargeInode() ? new TmpfsFile(this.fs, this.fs.newIno(), mode & ~S_IFMT) : null);
  }

  override mkdir(creds: Credentials, name: string, mode: number): Inode | number {
    const made = this.put(creds, name, this.fs.chargeInode() ? new TmpfsDir(this.fs, this.fs.newIno(), mode & ~S_IFMT) : null);
    if (typeof made !== 'number') this.nlink++;
    return made;
  }

  override mknod(creds: Credentials, name: string, mode: number, rdev: number): Inode | number {
    if ((mode & S_IFMT) === S_IFREG) return this.create(creds, name, mode);
    if (!this.fs.chargeInode()) return -ENOSPC;
    const node = new TmpfsNode(this.fs, this.fs.newIno(), mode);
    node.rdev = rdev;
    return this.put(creds, name, node);
  }

  override symlink(creds: Credentials, name: string, target: string): Inode | number {
    if (!this.fs.chargeInode()) return -ENOSPC;
    if (takesPage(target) && !this.fs.charge(1)) {
      this.fs.unchargeInode();
      return -ENOSPC;
    }
    return this.put(creds, name, new TmpfsSymlink(this.fs, this.fs.newIno(), target));
  }

  override tmpfile(creds: Credentials, mode: number): Inode | number {
    if (!this.fs.chargeInode()) return -ENOSPC;
    const file = new TmpfsFile(this.fs, this.fs.newIno(), mode & ~S_IFMT);
    this.own(creds, file);
    file.nlink = 0;
    return file;
  }

  private put(creds: Credentials, name: string, inode: TmpfsInode | null): Inode | number {
    if (inode === null) return -ENOSPC;
    this.own(creds, inode);
    this.insert(name, inode);
    touchModified(this);
    return inode;
  }

  /** inode_init_owner(): the mode has been settled by the VFS. */
  private own(creds: Credentials, inode: TmpfsInode): void {
    inode.uid = creds.fsuid;
    inode.gid = newGid(this, creds);
    if ((this.mode & S_ISGID) !== 0 && inode.isDir()) inode.mode |= S_ISGID;
    touchBorn(inode);
  }

  private insert(name: string, inode: TmpfsInode): void {
    this.byName.set(name, new TmpfsEntry(name, inode, this.nextCookie++));
    this.size += DIRENT_SIZE;
  }

  private take(name: string): void {
    const entry = this.byName.get(name)!;
    entry.removed = true;
    this.byName.delete(name);
    this.size -= DIRENT_SIZE;
  }

  override link(name: string, target: Inode): number {
    if (target.nlink > 0 && !this.fs.chargeInode()) return -ENOSPC;
    // A further name takes an inode's place in the budget, as in shmem_link(); the last one frees the inode itself.
    target.nlink++;
    this.insert(name, target as TmpfsInode);
    touchModified(this);
    touchChanged(target);
    return 0;
  }

  override unlink(name: string, child: Inode): number {
    if (child.nlink > 1) this.fs.unchargeInode();
    child.nlink--;
    this.take(name);
    touchModified(this);
    touchChanged(child);
    return 0;
  }

  override rmdir(name: string, child: Inode): number {
    const dir = child as TmpfsDir;
    if (dir.byName.size > 0) return -ENOTEMPTY;
    this.nlink--;
    dir.nlink = 0;
    this.take(name);
    dir.evict();
    touchModified(this);
    touchChanged(dir);
    return 0;
  }

  override rename(oldName: string, child: Inode, newDir: Inode, newName: string, replaced: Inode | undefined, flags: number): number {
    const to = newDir as TmpfsDir;
    const isDir = child.isDir();
    if ((flags & RENAME_EXCHANGE) !== 0) return this.exchange(oldName, child, to, newName, replaced!);
    if (replaced instanceof TmpfsDir && replaced.byName.size > 0) return -ENOTEMPTY;
    if ((flags & RENAME_WHITEOUT) !== 0 && !this.fs.chargeInode()) return -ENOSPC;

    if (replaced !== undefined) {
      if (replaced instanceof TmpfsDir) {
        to.nlink--;
        replaced.nlink = 0;
        replaced.evict();
      } else {
        if (replaced.nlink > 1) this.fs.unchargeInode();
        replaced.nlink--;
      }
      to.take(newName);
      touchChanged(replaced);
    }
    this.take(oldName);
    to.insert(newName, child as TmpfsInode);
    if (isDir) {
      this.nlink--;
      to.nlink++;
    }
    if ((flags & RENAME_WHITEOUT) !== 0) {
      const whiteout = new TmpfsNode(this.fs, this.fs.newIno(), S_IFCHR);
      touchBorn(whiteout);
      this.insert(oldName, whiteout);
    }
    touchModified(this);
    touchModified(to);
    touchChanged(child);
    return 0;
  }

  private exchange(oldName: string, child: Inode, to: TmpfsDir, newName: string, other: Inode): number {
    this.byName.get(oldName)!.inode = other as TmpfsInode;
    to.byName.get(newName)!.inode = child as TmpfsInode;
    if (child.isDir() !== other.isDir()) {
      const change = child.isDir() ? 1 : -1;
      this.nlink -= change;
      to.nlink += change;
    }
    touchModified(this);
    touchModified(to);
    touchChanged(child);
    touchChanged(other);
    return 0;
  }

  get isEmpty(): boolean {
    return this.byName.size === 0;
  }

  /** The file system is gone: frees the memfds below. What is still open keeps its inode until it is closed. */
  releaseTree(): void {
    const dirs: TmpfsDir[] = [this];
    for (let dir = dirs.pop(); dir !== undefined; dir = dirs.pop()) {
      for (const { inode } of dir.byName.values()) {
        if (inode instanceof TmpfsDir) dirs.push(inode);
        else {
          inode.nlink = 0;
          if (inode.opens === 0) inode.evict();
        }
      }
    }
  }
}

/** For mount(2): "size=", "nr_blocks=", "nr_inodes=", "mode=", "uid=", "gid=". */
export const tmpfsType: FilesystemType = {
  name: 'tmpfs',
  nodev: true,
  userMount: true,
  mount(ctx: VfsContext, source: string, _flags: number, options: string): Filesystem | number {
    const fs = newTmpfs(options, ctx.creds);
    if (typeof fs !== 'number') fs.source = source;
    return fs;
  },
};

/** A tmpfs with mount(2)'s options, its root owned by `creds` (or root): the file system or -EINVAL. */
export function newTmpfs(options = '', creds?: Credentials, type = 'tmpfs'): TmpfsFilesystem | number {
  const settings = parseTmpfsOptions(options, undefined, creds);
  return typeof settings === 'number' ? settings : new TmpfsFilesystem(settings, type);
}
