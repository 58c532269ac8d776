// A file of a served tree. It may have a handle of the gofer (learned by a walk) or be known by its name alone (learned
// by a listing that brought attributes along); the handle is then got when first needed.

import { Attributes, decodeAttributes } from '../../../gofer/protocol/attributes.ts';
import {
  type DirEntry,
  OP_CREATE,
  OP_MKDIR,
  OP_MKNOD,
  OP_SYMLINK,
  OP_TMPFILE,
  READDIR_ATTRIBUTES,
  READDIR_DIRECTORIES,
  STATS_MAX,
  WALK_LOOK,
  WALK_OPEN,
} from '../../../gofer/protocol/messages.ts';
import { major, makedev, minor } from '../../abi/device.ts';
import { EACCES, EMFILE, ENFILE, ENODATA, ENOENT, EOPNOTSUPP, EPERM, ESTALE } from '../../abi/errno.ts';
import { O_ACCMODE, O_APPEND, O_RDONLY, O_RDWR, O_WRONLY, RENAME_EXCHANGE } from '../../abi/fcntl.ts';
import { NAME_MAX } from '../../abi/limits.ts';
import { MS_NOATIME, MS_RDONLY } from '../../abi/mount.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID } from '../../abi/stat.ts';
import { fileAttributes, HostFd, statxBuffer } from '../../host/host-fd.ts';
import { close, ftruncate } from '../../host/host-io.ts';
import type { Credentials } from '../../kernel/credentials.ts';
import type { Task } from '../../kernel/task.ts';
import type { FileDescription } from '../../vfs/file-description.ts';
import { ATTR_SIZE, Inode, type SetAttr, type VfsPath } from '../../vfs/filesystem.ts';
import type { Mount } from '../../vfs/mount.ts';
import { openIntent } from '../../vfs/open-intent.ts';
import { atimeIsDue, readClock } from '../../vfs/times.ts';
import type { EntryTaker } from './client.ts';
import { type Contents, dropContents, isSmall, keepContents } from './contents.ts';
import { GoferDirectory, GoferFile } from './file.ts';
import type { GoferFilesystem } from './filesystem.ts';
import { HostFile } from './host-file.ts';
import type { HostWatch } from './host-watch.ts';
import { Listing, listings } from './listing.ts';

/** Entries of a listing for which attributes are asked along: those of directories, into which whoever lists may go next. */
const DESCRIBED = 4096;
/**
 * After some names asked for one by one the whole directory is read with attributes: it answers for the names that come next, and
 * for those that there are not. In one of the smallest size (of many host file systems) it is the second name, or the first where
 * the directory itself has no handle yet, which comes along; in a larger one it takes more names, the larger the more.
 */
const SMALL_DIRECTORY = 4096;
const BYTES_PER_NAME_ASKED = 1024;
/** What contents that come ahead may take of an answer, and how many files'. */
const CONTENTS_BYTES = 96 * 1024;
const CONTENTS_FILES = 64;
const hostAttributes = new Attributes();
/** What a listing has handed over, and scratch of asking for more. */
const ahead = new Attributes();
const offsets: number[] = [];
const names: string[] = [];

export class GoferInode extends Inode {
  declare readonly fs: GoferFilesystem;
  /** The gofer's; 0: none yet. */
  handle: number;
  override readonly opensItself: boolean;
  /** Directory and name where it was last seen: how a handle is got. */
  private via: GoferInode | null = null;
  private viaName = '';
  /** The host has changed times or blocks in answer to our own calls: ask before telling. */
  stale = false;
  /** The walk that has brought the attributes last: openIntent.walks. */
  private seenIn = -1;
  /** Mapped shared and writable: the guest writes without any call of ours. */
  sharedMapping = false;
  /** fs.doubts when the attributes were last asked for, and when the directory was last looked at for changes. */
  private checkedAt: number;
  private namesCheckedAt: number;
  /** ctime of the directory for which the names hold that are cached. */
  private namesSec = -1;
  private namesNsec = 0;
  /** In a directory that others have changed, the names that have been asked for since; null: nobody has. */
  private checkedNames: Set<string> | null = null;
  private reader: HostFd | null = null;
  private writer: HostFd | null = null;
  /** Watched on the host, too. */
  private hostWatch: HostWatch | null = null;
  /** Open descriptions that use reader or writer. */
  private users = 0;
  /** Open descriptions that read kept contents and have no descriptor. */
  private readers = 0;
  /** It is mapped, and so a descriptor is of more use than its contents. */
  private wantsFd = false;
  private target: string | null = null;
  /** Names of extended attributes, in exclusive mode, until we change them. */
  private xattrNames: string[] | null = null;
  /**
   * A directory's listing, in exclusive mode; complete until we change the directory. It has attributes only of files
   * that no inode stands for and that have no other name: nobody can have changed them since.
   */
  private listing: Listing | null = null;
  /** Names that have been asked for one by one since there was no listing. */
  private namesAsked = 0;

  constructor(fs: GoferFilesystem, ino: number, mode: number, handle: number) {
    super(fs, ino, mode);
    this.handle = handle;
    this.checkedAt = fs.doubts;
    this.namesCheckedAt = fs.doubts;
    this.opensItself = fs.opensHostNode(mode);
  }

  setAttributes(a: Attributes): void {
    this.mode = a.mode;
    this.uid = a.uid;
    this.gid = a.gid;
    this.rdev = makedev(a.rdevMajor, a.rdevMinor);
    this.setContents(a);
    this.stale = false;
    this.checkedAt = this.fs.doubts;
    if (this.namesSec < 0) this.believeNames();
  }

  /** The names that are cached are those of the directory as it now is. */
  private believeNames(): void {
    this.namesSec = this.ctimeSec;
    this.namesNsec = this.ctimeNsec;
  }

  private setContents(a: Attributes): void {
    if (a.ctimeSec !== this.ctimeSec || a.ctimeNsec !== this.ctimeNsec) {
      this.accessAcl = undefined;
      this.defaultAcl = undefined;
    }
    this.nlink = a.nlink;
    this.size = a.size;
    this.blocks = a.blocks;
    this.blockSize = a.blockSize;
    this.atimeSec = a.atimeSec;
    this.atimeNsec = a.atimeNsec;
    this.mtimeSec = a.mtimeSec;
    this.mtimeNsec = a.mtimeNsec;
    this.ctimeSec = a.ctimeSec;
    this.ctimeNsec = a.ctimeNsec;
    if (a.btimeSec !== 0) this.btimeSec = a.btimeSec;
    if (a.btimeSec !== 0) this.btimeNsec = a.btimeNsec;
  }

  /** Whether attributes tell of the same birth, as far as the host knows births. */
  bornAt(a: Attributes): boolean {
    return a.btimeSec === 0 || (a.btimeSec === this.btimeSec && a.btimeNsec === this.btimeNsec);
  }

  foundAt(via: GoferInode | null, name: string): void {
    this.via = via;
    this.viaName = name;
  }

  /** The handle, got by name where there is none; or -errno. */
  ensureHandle(): number {
    if (this.handle !== 0) return this.handle;
    if (this.via === null) return -ESTALE;
    const parent = this.via.ensureHandle();
    if (parent < 0) return parent;
    const handle = this.fs.walkOne(parent, this.viaName);
    if (handle < 0) return handle;
    return this.takeHandle(handle) ? handle : -ESTALE;
  }

  /** The handle, by name, and a donated descriptor in one request; the descriptor or -errno. */
  private walkOpen(flags: number): number {
    if (this.via === null) return -ESTALE;
    const parent = this.via.ensureHandle();
    if (parent < 0) return parent;
    const { client } = this.fs;
    const handle = client.walkOpen(parent, this.viaName, flags);
    if (handle < 0) return handle;
    if (this.takeHandle(handle)) return client.madeFd;
    close(client.madeFd);
    return -ESTALE;
  }

  /** Whether a handle that a walk to our name has brought, with the client's attributes, is this file's. */
  private takeHandle(handle: number): boolean {
    const a = this.fs.client.attributes;
    if (this.fs.inoOf(a) !== this.ino || (a.mode & S_IFMT) !== (this.mode & S_IFMT)) {
      this.fs.client.closeLater(handle);
      return false;
    }
    this.handle = handle;
    this.setAttributes(a);
    return true;
  }

  /** Gives the handle back if it can be got again by name; whether it did. Open files need none. */
  lendHandle(): boolean {
    if (this.via === null || this.handle === 0) return false;
    this.fs.client.closeLater(this.handle);
    this.handle = 0;
    return true;
  }

  // ---- directories

  override lookup(name: string): Inode | number {
    if (this.listing !== null && this.namesCheckedAt !== this.fs.doubts) this.checkNames();
    if (this.listing === null && this.deservesListing()) this.list(true);
    const { listing } = this;
    if (listing !== null) {
      const known = this.listed(listing, name);
      if (known !== null) return known;
      if (listing.complete && name.length <= NAME_MAX && listing.find(name) < 0) return -ENOENT;
    }
    if (this.fs.knowsAbsent(this, name)) return -ENOENT;
    this.fs.keepWithinLimit();
    const parent = this.ensureHandle();
    if (parent < 0) return parent;
    const opens = openIntent.reading && openIntent.isLast;
    const handle = this.fs.walkOne(parent, name, opens ? WALK_OPEN : 0);
    if (handle === -ENOENT) this.fs.foundAbsent(this, name);
    if (handle < 0) return handle;
    const inode = this.fs.adopt(handle, this.fs.client.attributes, this, name);
    inode.seenIn = openIntent.walks;
    if (opens && this.fs.client.madeFd >= 0) inode.keepReader(this.fs.client.madeFd);
    return inode;
  }

  private deservesListing(): boolean {
    if (this.fs.shared) return false;
    this.namesAsked++;
    if (this.size > SMALL_DIRECTORY) return this.namesAsked === Math.ceil(this.size / BYTES_PER_NAME_ASKED);
    return this.namesAsked === 2 || (this.namesAsked === 1 && this.handle === 0 && this.via !== null);
  }

  /** A descriptor that came with the lookup waits for the open that follows. */
  private keepReader(fd: number): void {
    if (this.reader !== null || this.writer !== null) {
      close(fd);
      return;
    }
    this.reader = new HostFd(fd, false);
    this.fs.keepIdle(this);
  }

  /** What the listing knows, or can learn, to be under a name; null: whether there is such a name is to be asked. */
  private listed(listing: Listing, name: string): GoferInode | null {
    const at = listing.find(name);
    if (at < 0) return null;
    if (listing.describedAt !== this.fs.doubts) listing.doubtAttributes(this.fs.doubts);
    if (listing.take(at, ahead)) {
      if ((ahead.mode & S_IFMT) !== S_IFDIR) this.fs.appetite.asked();
      return this.fs.adopt(0, ahead, this, name);
    }
    const known = this.fs.inodes.get(listing.inoAt(at));
    if (known !== undefined) return known.via === this && known.viaName === name ? known : null;
    this.fs.appetite.asked();
    // Who asks for one may ask for all: the more have been asked for, the more come along.
    this.describeFrom(listing, at);
    listing.ahead = Math.min(listing.ahead * 4, STATS_MAX);
    return listing.take(at, ahead) ? this.fs.adopt(0, ahead, this, name) : null;
  }

  /** Asks for the attributes of the entry at `at` and of some that follow it. */
  private describeFrom(listing: Listing, at: number): void {
    const parent = this.ensureHandle();
    if (parent < 0) return;
    listing.undescribed(at, listing.ahead, offsets);
    names.length = 0;
    for (let i = 0; i < offsets.length; i++) names.push(listing.nameTextAt(offsets[i]));
    this.fs.client.stats(parent, names, (i, a) => {
      if (this.mayDescribe(a)) listing.describeAt(offsets[i], a);
    });
  }

  /** Nobody else than the listing can answer for this file. */
  private mayDescribe(a: Attributes): boolean {
    return (a.nlink === 1 || (a.mode & S_IFMT) === S_IFDIR) && !this.fs.isKnown(a);
  }

  override childStillValid(name: string, child: Inode | undefined): boolean {
    if (!this.fs.shared) {
      if (this.namesCheckedAt !== this.fs.doubts) this.checkNames();
      if (this.checkedNames === null || this.checkedNames.has(name)) return true;
    }
    const parent = this.ensureHandle();
    if (parent < 0) return false;
    const { client } = this.fs;
    const found = client.walkOne(parent, WALK_LOOK, name);
    this.checkedNames?.add(name);
    if (found < 0) return found === -ENOENT && child === undefined;
    const a = client.attributes;
    if (child === undefined || this.fs.inoOf(a) !== child.ino || (a.mode & S_IFMT) !== (child.mode & S_IFMT)) return false;
    const known = child as GoferInode;
    if (!known.bornAt(a)) return false;
    known.setAttributes(a);
    known.seenIn = openIntent.walks;
    return true;
  }

  /** Whether somebody else has changed the directory: then each name is asked for once more. */
  private checkNames(): void {
    this.namesCheckedAt = this.fs.doubts;
    const result = this.getattr(null);
    if (result === 0 && this.ctimeSec === this.namesSec && this.ctimeNsec === this.namesNsec) return;
    this.believeNames();
    this.checkedNames = new Set();
    this.dropListing();
  }

  /** The whole directory, with all attributes or as many as have been of use lately. */
  list(withAttributes = false): Listing | number {
    if (!this.fs.shared && this.namesCheckedAt !== this.fs.doubts) this.checkNames();
    const { fs } = this;
    if (this.listing?.complete === true) {
      listings.touch(this);
      return this.listing;
    }
    fs.keepWithinLimit();
    const described = fs.shared ? 0 : DESCRIBED;
    const flags = withAttributes || fs.appetite.listed() ? READDIR_ATTRIBUTES : READDIR_DIRECTORIES;
    lister.begin(this);
    let made: number;
    if (this.handle !== 0 || this.via === null) {
      const handle = this.ensureHandle();
      made = handle < 0 ? handle : fs.client.list(handle, '', flags, described, lister);
    } else {
      // Handle and entries with one request.
      const parent = this.via.ensureHandle();
      made = parent < 0 ? parent : fs.client.list(parent, this.viaName, flags, described, lister);
    }
    if (made < 0) return made;
    const listing = lister.end();
    listing.describedAt = fs.doubts;
    if (made === 0) this.setAttributes(fs.client.attributes);
    else if (!this.takeHandle(made)) return -ESTALE;
    if (fs.shared) return listing;
    this.listing = listing;
    listings.keep(this, listing.cost);
    return listing;
  }

  dropListing(): void {
    this.listing = null;
    this.namesAsked = 0;
  }

  override create(creds: Credentials, name: string, mode: number): Inode | number {
    const inode = this.make(OP_CREATE, creds, name, mode, 0, '');
    return typeof inode === 'number' ? inode : inode.keepMade();
  }

  override tmpfile(creds: Credentials, mode: number): Inode | number {
    const inode = this.make(OP_TMPFILE, creds, '', mode, 0, '');
    return typeof inode === 'number' ? inode : inode.keepMade();
  }

  override mkdir(creds: Credentials, name: string, mode: number): Inode | number {
    return this.make(OP_MKDIR, creds, name, mode, 0, '');
  }

  override mknod(creds: Credentials, name: string, mode: number, rdev: number): Inode | number {
    return this.make(OP_MKNOD, creds, name, mode, rdev, '');
  }

  override symlink(creds: Credentials, name: string, target: string): Inode | number {
    return this.make(OP_SYMLINK, creds, name, S_IFLNK | 0o777, 0, target);
  }

  private make(op: number, creds: Credentials, name: string, mode: number, rdev: number, target: string): GoferInode | number {
    this.fs.keepWithinLimit();
    const parent = this.ensureHandle();
    if (parent < 0) return parent;
    const { client } = this.fs;
    const gid = (this.mode & S_ISGID) !== 0 ? this.gid : creds.fsgid;
    const handle = client.make(op, parent, name, mode, creds.fsuid, gid, major(rdev), minor(rdev), target);
    if (handle < 0) return handle;
    this.changed(client.directory, name, false);
    return this.fs.adopt(handle, client.attributes, op === OP_TMPFILE ? null : this, name);
  }

  /** The descriptor that came with a new file waits for the open that follows. */
  private keepMade(): GoferInode {
    if (this.fs.client.madeFd < 0) return this;
    this.writer = new HostFd(this.fs.client.madeFd, true);
    this.fs.keepIdle(this);
    return this;
  }

  /** We have changed what `name` is in this directory, which now has these attributes. */
  private changed(a: Attributes, name: string, gone: boolean): void {
    this.setAttributes(a);
    this.believeNames();
    this.listing?.forget(name, gone);
  }

  override link(name: string, target: Inode): number {
    const parent = this.ensureHandle();
    if (parent < 0) return parent;
    const file = target as GoferInode;
    const handle = file.ensureHandle();
    if (handle < 0) return handle;
    const { client } = this.fs;
    const result = client.link(handle, parent, name);
    if (result < 0) return result;
    file.setAttributes(client.attributes);
    if (file.via === null) file.foundAt(this, name);
    this.changed(client.directory, name, false);
    return 0;
  }

  override unlink(name: string, child: Inode): number {
    return this.remove(name, child as GoferInode, false);
  }

  override rmdir(name: string, child: Inode): number {
    const result = this.remove(name, child as GoferInode, true);
    if (result === 0) child.nlink = 0;
    return result;
  }

  private remove(name: string, child: GoferInode, isDirectory: boolean): number {
    const parent = this.ensureHandle();
    if (parent < 0) return parent;
    const { client } = this.fs;
    child.keepReachable();
    const result = client.unlink(parent, name, child.handle, isDirectory);
    if (result < 0) return result;
    this.changed(client.directory, name, true);
    if (child.handle !== 0) {
      child.setAttributes(client.attributes);
    } else {
      child.nlink--;
      child.stale = true;
    }
    if (child.nlink === 0) dropContents(this.fs.contents, child.ino);
    if (child.via === this && child.viaName === name) child.via = null;
    return 0;
  }

  override rename(oldName: string, child: Inode, newDir: Inode, newName: string, replaced: Inode | undefined, flags: number): number {
    const to = newDir as GoferInode;
    const oldParent = this.ensureHandle();
    if (oldParent < 0) return oldParent;
    const newParent = to.ensureHandle();
    if (newParent < 0) return newParent;
    const { client } = this.fs;
    if ((flags & RENAME_EXCHANGE) === 0) (replaced as GoferInode | undefined)?.keepReachable();
    const result = client.rename(oldParent, oldName, newParent, newName, flags);
    if (result < 0) return result;
    this.changed(client.attributes, oldName, (flags & RENAME_EXCHANGE) === 0);
    to.changed(client.directory, newName, false);
    (child as GoferInode).moved(to, newName);
    const other = replaced as GoferInode | undefined;
    if (other === undefined) return 0;
    if ((flags & RENAME_EXCHANGE) !== 0) other.moved(this, oldName);
    else other.overwritten();
    return 0;
  }

  private moved(to: GoferInode, name: string): void {
    this.foundAt(to, name);
    this.stale = true;
  }

  private overwritten(): void {
    if (!this.isDir() && this.nlink === 1) dropContents(this.fs.contents, this.ino);
    this.via = null;
    this.nlink = this.isDir() ? 0 : this.nlink - 1;
    this.stale = this.nlink > 0;
  }

  // ---- symbolic links

  override readlink(): string | number {
    if (this.target !== null) return this.target;
    const handle = this.ensureHandle();
    if (handle < 0) return handle;
    const target = this.fs.client.readlink(handle);
    // A link's text never changes: another text is another link.
    if (typeof target === 'string') this.target = target;
    return target;
  }

  /** The host moves the access time when it reads the link, so a cached text is asked for anew when that is due. */
  override linkRead(mount: Mount): void {
    if (this.target === null || (mount.flags & (MS_NOATIME | MS_RDONLY)) !== 0 || this.fs.readOnly) return;
    readClock();
    if (!atimeIsDue(this)) return;
    this.target = null;
    this.stale = true;
  }

  // ---- attributes

  override getattr(_t: Task | null): number {
    if (!this.fs.shared) return this.stale || this.sharedMapping || this.checkedAt !== this.fs.doubts ? this.refresh() : 0;
    const handle = this.ensureHandle();
    if (handle < 0) return handle;
    return this.askAttributes(handle);
  }

  override getattrAfterWalk(t: Task | null): number {
    return this.fs.shared && this.seenIn === openIntent.walks ? 0 : this.getattr(t);
  }

  private askAttributes(handle: number): number {
    const { client } = this.fs;
    const result = client.stat(handle);
    if (result === 0) this.setAttributes(client.attributes);
    return result;
  }

  /** From an open descriptor if there is one: it tells all but the owner, which nobody else changes in exclusive mode. */
  private refresh(): number {
    if (this.checkedAt !== this.fs.doubts) this.xattrNames = null;
    this.checkedAt = this.fs.doubts;
    const host = this.writer ?? this.reader;
    if (host === null) {
      // Unlinked and closed: there is nobody left to ask, and nothing to tell.
      if (this.handle === 0 && this.via === null) return 0;
      const handle = this.ensureHandle();
      return handle < 0 ? handle : this.askAttributes(handle);
    }
    const result = fileAttributes(host.fd);
    if (result < 0) return result;
    decodeAttributes(statxBuffer, 0, hostAttributes);
    this.mode = hostAttributes.mode;
    this.setContents(hostAttributes);
    this.stale = false;
    return 0;
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    const host = this.writer;
    if (attr.mask === ATTR_SIZE && host !== null) return this.truncate(host, attr.size);
    const handle = this.ensureHandle();
    if (handle < 0) return handle;
    const { client } = this.fs;
    const mode = attr.mode;
    attr.mode &= 0o7777;
    const result = client.setStat(handle, attr);
    if ((attr.mask & ATTR_SIZE) !== 0) dropContents(this.fs.contents, this.ino);
    attr.mode = mode;
    this.xattrNames = null;
    if (result < 0) this.stale = true;
    else this.setAttributes(client.attributes);
    return result;
  }

  /** ftruncate(2) through a donated descriptor. */
  truncate(host: HostFd, size: number): number {
    const result = ftruncate(host.fd, size);
    if (result < 0) return result;
    this.contentsChanged();
    this.size = size;
    this.stale = true;
    return 0;
  }

  /** The host may have moved the access time. */
  wasRead(): void {
    if (this.readMovesAtime()) this.stale = true;
  }

  /** Reading moves the access time, under relatime only when it is behind the others: fs/inode.c:relatime_need_update(). */
  private readMovesAtime(): boolean {
    if (this.atimeSec < this.mtimeSec || this.atimeSec < this.ctimeSec) return true;
    if (this.atimeSec === this.mtimeSec && this.atimeNsec <= this.mtimeNsec) return true;
    return this.atimeSec === this.ctimeSec && this.atimeNsec <= this.ctimeNsec;
  }

  /** Bytes up to `end` have been written through a donated descriptor. */
  written(end: number): void {
    if (end > this.size) this.size = end;
    this.contentsChanged();
  }

  contentsChanged(): void {
    this.stale = true;
    dropContents(this.fs.contents, this.ino);
  }

  // ---- extended attributes

  override getxattr(name: string): Uint8Array | number {
    // Programs ask for ACLs and labels that hardly any file has: one list answers all such questions.
    if (!this.fs.shared && this.xattrNames === null) {
      const names = this.listxattr();
      if (typeof names !== 'number') this.xattrNames = names;
    }
    if (this.xattrNames !== null && !this.xattrNames.includes(name)) return -ENODATA;
    const handle = this.ensureHandle();
    return handle < 0 ? handle : this.fs.client.getXattr(handle, name);
  }

  override setxattr(name: string, value: Uint8Array, flags: number): number {
    const handle = this.ensureHandle();
    return handle < 0 ? handle : this.xattrChanged(this.fs.client.setXattr(handle, name, value, flags));
  }

  override removexattr(name: string): number {
    const handle = this.ensureHandle();
    return handle < 0 ? handle : this.xattrChanged(this.fs.client.removeXattr(handle, name));
  }

  override listxattr(): string[] | number {
    if (this.xattrNames !== null) return this.xattrNames;
    const handle = this.ensureHandle();
    return handle < 0 ? handle : this.fs.client.listXattr(handle);
  }

  private xattrChanged(result: number): number {
    this.xattrNames = null;
    // An ACL changes the mode.
    if (result === 0) this.setAttributes(this.fs.client.attributes);
    return result;
  }

  // ---- watches

  /** While a guest watches a file that others may change, the gofer does. */
  override watchesChanged(): void {
    if (!this.fs.shared) return;
    if (this.watches === null) {
      if (this.hostWatch !== null) this.fs.hostWatches.remove(this.hostWatch);
      this.hostWatch = null;
    } else if (this.hostWatch === null) {
      const handle = this.ensureHandle();
      if (handle > 0) this.hostWatch = this.fs.hostWatches.add(this, handle);
    }
  }

  override toldOfChange(mask: number, name: string): void {
    this.hostWatch?.caused(mask, name);
  }

  /** Somebody else has changed this file, or the name in this directory. */
  changedByOthers(name: string): void {
    this.stale = true;
    if (name !== '') this.dropListing();
  }

  // ---- opening

  override open(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    if ((this.mode & S_IFMT) === S_IFDIR) return new GoferDirectory(path, flags, this);
    if ((this.mode & S_IFMT) !== S_IFREG) return this.openHostNode(t, path, flags);
    this.fs.keepWithinLimit();
    if ((flags & O_ACCMODE) === O_RDONLY) {
      const contents = this.contentsToRead();
      if (contents !== null) {
        this.readers++;
        return new GoferFile(this, null, contents, path, flags);
      }
    }
    const host = this.acquire(flags);
    return typeof host === 'number' ? host : new GoferFile(this, host, null, path, flags);
  }

  /** What a description that only reads can do with in place of a descriptor, or null. */
  private contentsToRead(): Contents | null {
    const { fs } = this;
    if (fs.shared || fs.readsByDescriptor || this.wantsFd || !isSmall(this.size) || this.via === null) return null;
    // Who has it open for writing or mapped changes it at any time; where there is a descriptor none need be got.
    if (this.stale || this.sharedMapping || this.writer !== null || this.reader !== null) return null;
    // Reading moves the access time, except below an overlay: fs/overlayfs/inode.c:ovl_update_time().
    if (!fs.isLayer && this.readMovesAtime()) return null;
    const known = this.checkedAt === fs.doubts ? fs.contents.get(this.ino) : undefined;
    if (known?.areOf(this) === true) {
      known.used = true;
      return known;
    }
    return this.askContents();
  }

  private askContents(): Contents | null {
    const parent = this.via!.ensureHandle();
    if (parent < 0) return null;
    names.length = 0;
    names.push(this.viaName);
    this.via!.addNamesBehind(this.viaName, names);
    let own: Contents | null = null;
    let status = 0;
    this.fs.client.contents(parent, names, (i, a, u8, at, length) => {
      if (i === 0) status = length;
      const contents = length > 0 ? this.takeContents(i === 0, a, u8, at, length) : null;
      if (i === 0) own = contents;
    });
    if (status === -EOPNOTSUPP) this.fs.readsByDescriptor = true;
    return own;
  }

  /** Keeps contents that have come: this file's, or those of another that may be wanted next. */
  private takeContents(isOwn: boolean, a: Attributes, u8: Uint8Array, at: number, length: number): Contents | null {
    const { fs } = this;
    const ino = fs.inoOf(a);
    if (isOwn) {
      if (ino !== this.ino || !this.bornAt(a)) return null;
      this.setAttributes(a);
    } else if (!fs.isLayer && fs.inodes.get(ino)?.readMovesAtime() === true) return null;
    // Programs and libraries are mapped as soon as their first bytes have been read.
    if (length >= 4 && u8[at] === 0x7f && u8[at + 1] === 0x45 && u8[at + 2] === 0x4c && u8[at + 3] === 0x46) {
      if (isOwn) this.wantsFd = true;
      return null;
    }
    if (length !== a.size || (!fs.isLayer && isRecent(a))) return null;
    return keepContents(fs.contents, ino, a.ctimeSec, a.ctimeNsec, u8, at, length);
  }

  /** Files that this directory lists behind a name, whose contents may be wanted next: the more, the more have been asked for. */
  private addNamesBehind(name: string, out: string[]): void {
    const { listing } = this;
    if (listing === null) return;
    const at = listing.find(name);
    if (at >= 0 && listing.contentsAhead > 1) {
      listing.filesBehind(at, listing.contentsAhead, CONTENTS_BYTES, offsets);
      for (let i = 0; i < offsets.length; i++) {
        if (!this.fs.contents.has(listing.inoAt(offsets[i]))) out.push(listing.nameTextAt(offsets[i]));
      }
    }
    listing.contentsAhead = Math.min(listing.contentsAhead * 4, CONTENTS_FILES);
  }

  /** A description that has read kept contents needs a descriptor after all, or -errno. */
  attach(flags: number): HostFd | number {
    const host = this.acquire(flags);
    if (typeof host !== 'number') this.readers--;
    return host;
  }

  /** A description that has read kept contents is closed. */
  releaseContents(): void {
    this.readers--;
  }

  /** The guest may write it from now on without any call of ours. */
  mappedShared(): void {
    this.sharedMapping = true;
    this.contentsChanged();
  }

  /** Mapping it takes a descriptor. */
  mapped(): void {
    this.wantsFd = true;
  }

  /** Before its last name goes, what is open without a descriptor gets a handle to get one by. */
  private keepReachable(): void {
    if (this.readers > 0) this.ensureHandle();
  }

  /** A FIFO or device of the host, where the tree's policy says so: fs.opensHostNode(). */
  private openHostNode(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    if (t === null) return -EACCES;
    const handle = this.ensureHandle();
    if (handle < 0) return handle;
    const fd = this.fs.client.open(handle, flags & O_ACCMODE);
    return fd < 0 ? fd : new HostFile(t.kernel, fd, this, flags, path);
  }

  /** A socket of the host connected to the one that is bound here, or -errno. */
  override connectHost(type: number): number {
    const handle = this.ensureHandle();
    return handle < 0 ? handle : this.fs.client.connect(handle, type);
  }

  /**
   * A donated descriptor for a description with these flags, to be given back by releaseHost(). One that reads and one
   * that writes is shared by all opens; an open that appends where others append too has its own.
   */
  private acquire(flags: number): HostFd | number {
    const writes = (flags & O_ACCMODE) !== O_RDONLY;
    if (writes && this.fs.shared && (flags & O_APPEND) !== 0) return this.openHost((flags & O_ACCMODE) | O_APPEND);
    let host = writes ? this.writer : (this.reader ?? this.writer);
    if (host === null) {
      const opened = this.openHost(writes ? O_RDWR : O_RDONLY);
      // A file that we may write but not read, where the gofer has no power over modes.
      if (writes && (opened === -EACCES || opened === -EPERM) && (flags & O_ACCMODE) === O_WRONLY) return this.openHost(O_WRONLY);
      if (typeof opened === 'number') return opened;
      host = opened;
      if (writes) this.writer = host;
      else this.reader = host;
    }
    if (this.users++ === 0) this.fs.notIdle(this);
    return host;
  }

  /** For one that has `host`: a descriptor that cannot write, good for as long as that one is. */
  readerFor(host: HostFd): HostFd | number {
    if (!host.writable) return host;
    if (this.reader === null) {
      const opened = this.openHost(O_RDONLY);
      if (typeof opened === 'number') return opened;
      this.reader = opened;
      if (this.users > 0) return opened;
      // Only descriptions with descriptors of their own: it is the youngest of the idle ones.
      this.fs.notIdle(this);
      this.fs.keepIdle(this);
      return opened;
    }
    return this.reader;
  }

  private openHost(flags: number): HostFd | number {
    if (this.handle === 0) {
      const fd = this.walkOpen(flags);
      if (fd !== -EMFILE && fd !== -ENFILE) return fd < 0 ? fd : new HostFd(fd, (flags & O_ACCMODE) !== O_RDONLY);
    }
    const handle = this.ensureHandle();
    if (handle < 0) return handle;
    const fd = this.fs.openHost(handle, flags);
    return fd < 0 ? fd : new HostFd(fd, (flags & O_ACCMODE) !== O_RDONLY);
  }

  /** A description is done with its descriptor. */
  releaseHost(host: HostFd): void {
    if (host !== this.reader && host !== this.writer) {
      host.close();
      return;
    }
    if (--this.users > 0) return;
    // What was written shows its final times once, while there is a descriptor to ask.
    if (this.stale && !this.fs.shared) this.refresh();
    this.sharedMapping = false;
    if (this.writer !== null) {
      this.writer.close();
      this.writer = null;
    }
    if (this.reader !== null) this.fs.keepIdle(this);
  }

  /** Closes descriptors that no description uses. */
  closeFds(): void {
    if (this.users > 0) return;
    this.reader?.close();
    this.writer?.close();
    this.reader = null;
    this.writer = null;
  }

  /** Handle and descriptors go back. */
  giveBack(): void {
    this.closeFds();
    this.fs.client.closeLater(this.handle);
    this.handle = 0;
    if (this.listing === null) return;
    this.listing = null;
    listings.remove(this);
  }

  /** The directory's listing answers for us from now on. */
  private leaveAttributes(): void {
    if (this.stale || this.sharedMapping || this.nlink === 0 || this.checkedAt !== this.fs.doubts) return;
    if (this.nlink > 1 && !this.isDir()) return;
    this.via?.listing?.store(this.viaName, this);
  }

  override evict(): void {
    // The root stays: its dentry is the mount's.
    if (this === this.fs.root()) return;
    this.fs.forget(this);
    this.leaveAttributes();
    this.giveBack();
  }
}

/** A change of the same tick could go unnoticed: its ctime would be the same. */
function isRecent(a: Attributes): boolean {
  return Date.now() / 1000 - a.ctimeSec < 2;
}

/** Puts what the gofer lists into a new Listing. */
class Lister implements EntryTaker {
  private listing: Listing = new Listing();
  private directory!: GoferInode;

  begin(directory: GoferInode): void {
    this.listing = new Listing();
    this.directory = directory;
  }

  take(entry: DirEntry, u8: Uint8Array, a: Attributes | null): void {
    const { directory, listing } = this;
    const { fs } = directory;
    // An overlay of the host gives a file another number and device in its attributes than in its directory.
    const ino = a !== null ? fs.inoOf(a) : fs.entryIno(directory, entry.inoLo, entry.inoHi);
    listing.add(ino, entry.type, u8, entry.nameAt, entry.nameLength);
    if (a !== null && !fs.inodes.has(ino)) listing.describeLast(entry.nameLength, a);
  }

  end(): Listing {
    this.listing.finish();
    return this.listing;
  }
}

const lister = new Lister();
