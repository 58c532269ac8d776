// A node of a FUSE tree: what its server has said of it, as long as it said that may be believed.
// fs/fuse/dir.c, fs/fuse/inode.c, fs/fuse/xattr.c.

import { EACCES, EINVAL, EIO, ENAMETOOLONG, ENOENT, ENOSYS, EOPNOTSUPP, EPERM } from '../../abi/errno.ts';
import { O_CREAT, O_EXCL, O_NOCTTY, O_TRUNC, RENAME_EXCHANGE } from '../../abi/fcntl.ts';
import {
  ATTR_OUT,
  ENTRY_OUT,
  ENTRY_OUT_SIZE,
  FATTR_ATIME,
  FATTR_ATIME_NOW,
  FATTR_GID,
  FATTR_MODE,
  FATTR_MTIME,
  FATTR_MTIME_NOW,
  FATTR_SIZE,
  FATTR_UID,
  FUSE_ACCESS,
  FUSE_ATTR,
  FUSE_CREATE,
  FUSE_DONT_MASK,
  FUSE_GETATTR,
  FUSE_GETXATTR,
  FUSE_LINK,
  FUSE_LISTXATTR,
  FUSE_LOOKUP,
  FUSE_MKDIR,
  FUSE_MKNOD,
  FUSE_NAME_MAX,
  FUSE_OPEN,
  FUSE_OPENDIR,
  FUSE_READLINK,
  FUSE_REMOVEXATTR,
  FUSE_RENAME,
  FUSE_RENAME2,
  FUSE_RMDIR,
  FUSE_SETATTR,
  FUSE_SETXATTR,
  FUSE_SYMLINK,
  FUSE_UNLINK,
  OPEN_OUT,
  SETATTR_IN,
} from '../../abi/fuse.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IXUGO } from '../../abi/stat.ts';
import { getU64, put64 } from '../../base/int64.ts';
import { latin1, putLatin1 } from '../../base/latin1.ts';
import { forgetAnswer, running } from '../../base/retry.ts';
import type { Credentials } from '../../kernel/credentials.ts';
import type { Task } from '../../kernel/task.ts';
import type { FileDescription } from '../../vfs/file-description.ts';
import {
  ATTR_ATIME,
  ATTR_ATIME_NOW,
  ATTR_GID,
  ATTR_MODE,
  ATTR_MTIME,
  ATTR_MTIME_NOW,
  ATTR_SIZE,
  ATTR_UID,
  Inode,
  type SetAttr,
  type VfsPath,
} from '../../vfs/filesystem.ts';
import { genericPermission, MAY_ACCESS, MAY_CHDIR, MAY_EXEC, MAY_READ, MAY_WRITE } from '../../vfs/permissions.ts';
import type { PageCache } from './cache.ts';
import { type FuseRequest, type Id, idAt, NO_HANDLE } from './connection.ts';
import { FuseDirectory, FuseFile } from './file.ts';
import type { FuseFilesystem } from './filesystem.ts';

const XATTR_MAX = 65536;
const EMPTY = new Uint8Array(0);
/** Names whose validity is remembered for one directory. */
const MAX_NAMES = 4096;

/** NUL-terminated strings one after the other, behind `head` bytes. */
function withNames(head: number, ...names: string[]): Uint8Array {
  let n = head;
  for (const name of names) n += name.length + 1;
  const body = new Uint8Array(n);
  let at = head;
  for (const name of names) at += putLatin1(body, at, name) + 1;
  return body;
}

/** An entry that was read together with its directory, and when. */
class Ahead {
  readonly entry: Uint8Array;
  readonly since: number;

  constructor(entry: Uint8Array, since: number) {
    this.entry = entry;
    this.since = since;
  }
}

const viewOf = (body: Uint8Array): DataView => new DataView(body.buffer);

export class FuseInode extends Inode {
  declare readonly fs: FuseFilesystem;
  readonly nodeid: Id;
  private readonly generation: Id;
  /** Answers that have named the node: what FORGET gives back. */
  private lookups = 0;
  /** Date.now() up to which the attributes hold. */
  private validUntil = 0;
  /** Names in this directory, and until when they hold. */
  private names: Map<string, number> | null = null;
  /** Opened by CREATE, for the open that follows. */
  private created: { fh: Id; openFlags: number } | null = null;
  /** Contents that are mapped. */
  cache: PageCache | null = null;
  /** Open regular files of the node. */
  readonly files: Set<FuseFile> = new Set();
  /** Names in this directory were looked up one by one: the next reading of it asks for attributes too. */
  wantsAttributes = false;
  /** Entries that READDIRPLUS has brought and nobody has looked up yet. */
  private ahead: Map<string, Ahead> | null = null;

  constructor(fs: FuseFilesystem, nodeid: Id, generation: Id, mode: number) {
    super(fs, 0, mode);
    this.nodeid = nodeid;
    this.generation = generation;
  }

  is(generation: Id, mode: number): boolean {
    return this.generation === generation && (this.mode & S_IFMT) === (mode & S_IFMT);
  }

  /** The attributes of an answer, which hold until the time that it names. */
  take(v: DataView, at: number, until: number): void {
    const { fs } = this;
    this.ino = getU64(v, at + FUSE_ATTR.ino);
    this.size = getU64(v, at + FUSE_ATTR.fileSize);
    this.blocks = getU64(v, at + FUSE_ATTR.blocks);
    this.atimeSec = getU64(v, at + FUSE_ATTR.atime);
    this.mtimeSec = getU64(v, at + FUSE_ATTR.mtime);
    this.ctimeSec = getU64(v, at + FUSE_ATTR.ctime);
    this.atimeNsec = v.getUint32(at + FUSE_ATTR.atimensec, true) % 1_000_000_000;
    this.mtimeNsec = v.getUint32(at + FUSE_ATTR.mtimensec, true) % 1_000_000_000;
    this.ctimeNsec = v.getUint32(at + FUSE_ATTR.ctimensec, true) % 1_000_000_000;
    this.mode = (this.mode & S_IFMT) | (v.getUint32(at + FUSE_ATTR.mode, true) & 0o7777);
    this.nlink = v.getUint32(at + FUSE_ATTR.nlink, true);
    this.uid = fs.uidOf(v.getUint32(at + FUSE_ATTR.uid, true));
    this.gid = fs.gidOf(v.getUint32(at + FUSE_ATTR.gid, true));
    this.rdev = v.getUint32(at + FUSE_ATTR.rdev, true);
    const blockSize = v.getUint32(at + FUSE_ATTR.blksize, true);
    this.blockSize = blockSize === 0 ? 4096 : blockSize;
    this.validUntil = until;
  }

  invalidate(): void {
    this.validUntil = 0;
  }

  countLookup(): void {
    this.lookups++;
  }

  /** Attributes that hold: 0, RETRY or -errno. */
  refresh(): number {
    if (Date.now() < this.validUntil) return 0;
    const r = this.fs.connection.ask(FUSE_GETATTR, this.nodeid, new Uint8Array(16));
    if (typeof r === 'number') return r;
    return this.takeAttributes(r);
  }

  private takeAttributes(r: FuseRequest): number {
    if (r.answer.length < ATTR_OUT.size + FUSE_ATTR.size) return -EIO;
    const mode = r.view.getUint32(ATTR_OUT.size + FUSE_ATTR.mode, true);
    if ((mode & S_IFMT) !== (this.mode & S_IFMT)) return -EIO;
    this.take(r.view, ATTR_OUT.size, untilOf(r.view, ATTR_OUT.attrValid, ATTR_OUT.attrValidNsec, Date.now()));
    return 0;
  }

  // ---- who may: fuse_permission()

  override permission(creds: Credentials, mask: number): number {
    if (!this.fs.admits(creds)) return -EACCES;
    if (this.fs.checksModes) {
      const error = this.refresh();
      return error < 0 ? error : genericPermission(this, creds, mask);
    }
    if ((mask & (MAY_ACCESS | MAY_CHDIR)) !== 0) return this.mayAccess(creds, mask & (MAY_READ | MAY_WRITE | MAY_EXEC));
    // The server decides, but what nobody may execute is no program.
    if ((mask & MAY_EXEC) !== 0 && this.isRegular() && (this.mode & S_IXUGO) === 0) {
      const error = this.refresh();
      if (error < 0) return error;
      if ((this.mode & S_IXUGO) === 0) return -EACCES;
    }
    return 0;
  }

  /** access(2) and chdir(2) are the server's to judge: fuse_access(). */
  private mayAccess(creds: Credentials, mask: number): number {
    const { connection } = this.fs;
    if (connection.missing.has(FUSE_ACCESS)) return 0;
    const body = new Uint8Array(8);
    viewOf(body).setUint32(0, mask, true);
    connection.actingAs = creds;
    const r = connection.ask(FUSE_ACCESS, this.nodeid, body);
    connection.actingAs = null;
    return typeof r !== 'number' || r === -ENOSYS ? 0 : r;
  }

  // ---- names

  /** An entry of READDIRPLUS at `at` of an answer, which the server has counted as a lookup: fuse_direntplus_link(). */
  foundByReading(name: string, answer: Uint8Array, v: DataView, at: number): void {
    const nodeid = idAt(answer, at + ENTRY_OUT.nodeid);
    if (nodeid === NO_HANDLE || name === '.' || name === '..') return;
    const now = Date.now();
    const known = this.fs.known(nodeid);
    if (known?.is(idAt(answer, at + ENTRY_OUT.generation), v.getUint32(at + ENTRY_OUT.size + FUSE_ATTR.mode, true)))
      known.take(v, at + ENTRY_OUT.size, untilOf(v, at + ENTRY_OUT.attrValid, at + ENTRY_OUT.attrValidNsec, now));
    this.ahead ??= new Map();
    this.forgetAhead(name);
    if (this.ahead.size >= MAX_NAMES) {
      const [oldest] = this.ahead.keys();
      this.forgetAhead(oldest!);
    }
    this.ahead.set(name, new Ahead(answer.slice(at, at + ENTRY_OUT_SIZE), now));
  }

  private forgetAhead(name: string): void {
    const found = this.ahead?.get(name);
    if (found === undefined) return;
    this.ahead!.delete(name);
    this.fs.connection.forget(idAt(found.entry, ENTRY_OUT.nodeid), 1);
  }

  /** The inode of what READDIRPLUS has said of a name, if that still holds. */
  private takeAhead(name: string): FuseInode | undefined {
    const found = this.ahead?.get(name);
    if (found === undefined) return undefined;
    const { entry, since } = found;
    const v = viewOf(entry);
    if (Date.now() >= untilOf(v, ENTRY_OUT.entryValid, ENTRY_OUT.entryValidNsec, since)) {
      this.forgetAhead(name);
      return undefined;
    }
    this.ahead!.delete(name);
    // What it brought is used: the next reading may bring more.
    this.wantsAttributes = true;
    const inode = this.nodeOf(entry, v, name, null, since);
    if (typeof inode === 'number') {
      this.fs.connection.forget(idAt(entry, ENTRY_OUT.nodeid), 1);
      return undefined;
    }
    inode.countLookup();
    return inode;
  }

  /** FUSE_NOTIFY_INVAL_INODE and copies by the server: what is mapped of the file is read again. */
  contentsChanged(offset: number, length: number): void {
    const { cache } = this;
    if (cache === null) return;
    let handle: Id | null = null;
    for (const file of this.files) if (file.readable) handle = file.handle;
    cache.renew(handle, offset, length);
  }

  private tooLong(name: string): boolean {
    return name.length > FUSE_NAME_MAX;
  }

  private keepName(name: string, until: number): void {
    if (this.names === null || this.names.size >= MAX_NAMES) this.names = new Map();
    this.names.set(name, until);
  }

  dropName(name: string): void {
    this.names?.delete(name);
    this.forgetAhead(name);
  }

  override childStillValid(name: string, _child: Inode | undefined): boolean {
    const until = this.names?.get(name);
    return until !== undefined && Date.now() < until;
  }

  /** The node that an answer names, and what it says of it; `name` is its name here. */
  private entry(r: FuseRequest, name: string, type: number | null): FuseInode | number {
    if (r.answer.length < ENTRY_OUT_SIZE) return -EIO;
    const inode = this.nodeOf(r.answer, r.view, name, type, Date.now());
    if (typeof inode === 'number') return inode;
    if (!r.counted) inode.countLookup();
    r.counted = true;
    return inode;
  }

  /** The node of a struct fuse_entry_out that was received at `since`. */
  private nodeOf(entry: Uint8Array, v: DataView, name: string, type: number | null, since: number): FuseInode | number {
    const nodeid = idAt(entry, ENTRY_OUT.nodeid);
    const until = untilOf(v, ENTRY_OUT.entryValid, ENTRY_OUT.entryValidNsec, since);
    if (nodeid === NO_HANDLE) {
      if (type !== null) return -EIO;
      this.keepName(name, until);
      return -ENOENT;
    }
    const mode = v.getUint32(ENTRY_OUT.size + FUSE_ATTR.mode, true);
    if (nodeid === this.fs.rootId || (type !== null && (mode & S_IFMT) !== type)) return -EIO;
    const inode = this.fs.node(nodeid, idAt(entry, ENTRY_OUT.generation), mode);
    inode.take(v, ENTRY_OUT.size, untilOf(v, ENTRY_OUT.attrValid, ENTRY_OUT.attrValidNsec, since));
    this.keepName(name, until);
    return inode;
  }

  override lookup(name: string): Inode | number {
    if (this.tooLong(name)) return -ENAMETOOLONG;
    const ahead = this.takeAhead(name);
    if (ahead !== undefined) return ahead;
    this.wantsAttributes = true;
    const r = this.fs.connection.ask(FUSE_LOOKUP, this.nodeid, withNames(0, name));
    return typeof r === 'number' ? r : this.entry(r, name, null);
  }

  private get umask(): number {
    return (running.asker as Task | null)?.fs.umask ?? 0;
  }

  /** Without DONT_MASK the mode carries the umask already, and says so by a umask that takes nothing more. */
  private putMode(v: DataView, at: number, mode: number, umaskAt: number): void {
    v.setUint32(at, mode, true);
    v.setUint32(umaskAt, (this.fs.connection.flags & FUSE_DONT_MASK) !== 0 ? this.umask : 0, true);
  }

  override create(creds: Credentials, name: string, mode: number, openFlags?: number): Inode | number {
    if (this.tooLong(name)) return -ENAMETOOLONG;
    const { connection } = this.fs;
    if (openFlags === undefined || connection.missing.has(FUSE_CREATE)) return this.mknod(creds, name, mode, 0);
    const body = withNames(16, name);
    const v = viewOf(body);
    v.setUint32(0, (openFlags & ~O_NOCTTY) | O_CREAT, true);
    this.putMode(v, 4, mode, 8);
    const r = connection.ask(FUSE_CREATE, this.nodeid, body);
    if (r === -ENOSYS) return this.mknod(creds, name, mode, 0);
    if (typeof r === 'number') return r;
    const inode = this.entry(r, name, S_IFREG);
    if (typeof inode === 'number') return inode;
    if (r.answer.length < ENTRY_OUT_SIZE + OPEN_OUT.size) return -EIO;
    forgetAnswer(connection.key(FUSE_CREATE, this.nodeid, body));
    inode.created = { fh: idAt(r.answer, ENTRY_OUT_SIZE), openFlags: r.view.getUint32(ENTRY_OUT_SIZE + OPEN_OUT.openFlags, true) };
    this.invalidate();
    return inode;
  }

  /** A request that makes a node and names it in its answer. */
  private make(opcode: number, name: string, type: number, body: Uint8Array): Inode | number {
    if (this.tooLong(name)) return -ENAMETOOLONG;
    const r = this.fs.connection.ask(opcode, this.nodeid, body);
    if (typeof r === 'number') return r;
    const inode = this.entry(r, name, type);
    this.invalidate();
    return inode;
  }

  override mknod(_creds: Credentials, name: string, mode: number, rdev: number): Inode | number {
    const body = withNames(16, name);
    const v = viewOf(body);
    this.putMode(v, 0, mode, 8);
    v.setUint32(4, rdev, true);
    return this.make(FUSE_MKNOD, name, mode & S_IFMT, body);
  }

  override mkdir(_creds: Credentials, name: string, mode: number): Inode | number {
    const body = withNames(8, name);
    this.putMode(viewOf(body), 0, mode, 4);
    return this.make(FUSE_MKDIR, name, S_IFDIR, body);
  }

  override symlink(_creds: Credentials, name: string, target: string): Inode | number {
    return this.make(FUSE_SYMLINK, name, S_IFLNK, withNames(0, name, target));
  }

  override link(name: string, target: Inode): number {
    if (this.tooLong(name)) return -ENAMETOOLONG;
    const file = target as FuseInode;
    const body = withNames(8, name);
    putLatin1(body, 0, file.nodeid);
    const r = this.fs.connection.ask(FUSE_LINK, this.nodeid, body);
    if (typeof r === 'number') return r === -ENOSYS ? -EPERM : r;
    const inode = this.entry(r, name, file.mode & S_IFMT);
    this.invalidate();
    if (typeof inode === 'number') return inode;
    // The server may have another node for the new name: then the old one's dentry would be wrong, so the name is looked up anew.
    if (inode !== file) this.dropName(name);
    file.invalidate();
    return 0;
  }

  private remove(opcode: number, name: string, child: Inode): number {
    const r = this.fs.connection.ask(opcode, this.nodeid, withNames(0, name));
    if (typeof r === 'number') return r;
    this.dropName(name);
    this.invalidate();
    const node = child as FuseInode;
    if (node.nlink > 0) node.nlink--;
    if (opcode === FUSE_RMDIR) node.nlink = 0;
    node.invalidate();
    return 0;
  }

  override unlink(name: string, child: Inode): number {
    return this.remove(FUSE_UNLINK, name, child);
  }

  override rmdir(name: string, child: Inode): number {
    return this.remove(FUSE_RMDIR, name, child);
  }

  override rename(oldName: string, child: Inode, newDir: Inode, newName: string, replaced: Inode | undefined, flags: number): number {
    const to = newDir as FuseInode;
    const { connection } = this.fs;
    if (flags !== 0 && (connection.minor < 23 || connection.missing.has(FUSE_RENAME2))) return -EINVAL;
    const head = flags === 0 ? 8 : 16;
    const body = withNames(head, oldName, newName);
    putLatin1(body, 0, to.nodeid);
    if (flags !== 0) viewOf(body).setUint32(8, flags, true);
    const r = connection.ask(flags === 0 ? FUSE_RENAME : FUSE_RENAME2, this.nodeid, body);
    if (typeof r === 'number') return r === -ENOSYS ? -EINVAL : r;
    this.dropName(oldName);
    to.dropName(newName);
    this.invalidate();
    to.invalidate();
    (child as FuseInode).invalidate();
    if (replaced !== undefined) {
      const other = replaced as FuseInode;
      if ((flags & RENAME_EXCHANGE) === 0 && other.nlink > 0) other.nlink = other.isDir() ? 0 : other.nlink - 1;
      other.invalidate();
    }
    return 0;
  }

  // ---- attributes

  override readlink(_t: Task | null): string | number {
    const r = this.fs.connection.ask(FUSE_READLINK, this.nodeid, EMPTY);
    if (typeof r === 'number') return r === -ENOSYS ? -EINVAL : r;
    const end = r.answer.indexOf(0);
    return latin1(r.answer, 0, end < 0 ? Math.min(r.answer.length, 4095) : end);
  }

  override getattr(t: Task | null): number {
    if (t !== null && !this.fs.admits(t.creds)) return -EACCES;
    return this.refresh();
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    const body = new Uint8Array(SETATTR_IN.size);
    const v = viewOf(body);
    const { mask } = attr;
    let valid = 0;
    if ((mask & ATTR_MODE) !== 0) {
      valid |= FATTR_MODE;
      v.setUint32(SETATTR_IN.mode, (this.mode & S_IFMT) | (attr.mode & 0o7777), true);
    }
    if ((mask & ATTR_UID) !== 0) {
      valid |= FATTR_UID;
      v.setUint32(SETATTR_IN.uid, this.fs.shownUid(attr.uid), true);
    }
    if ((mask & ATTR_GID) !== 0) {
      valid |= FATTR_GID;
      v.setUint32(SETATTR_IN.gid, this.fs.shownGid(attr.gid), true);
    }
    if ((mask & ATTR_SIZE) !== 0) {
      valid |= FATTR_SIZE;
      put64(v, SETATTR_IN.fileSize, attr.size);
    }
    if ((mask & ATTR_ATIME) !== 0) {
      valid |= FATTR_ATIME;
      if ((mask & ATTR_ATIME_NOW) !== 0) valid |= FATTR_ATIME_NOW;
      else putTime(v, SETATTR_IN.atime, SETATTR_IN.atimensec, attr.atimeSec, attr.atimeNsec);
    }
    if ((mask & ATTR_MTIME) !== 0) {
      valid |= FATTR_MTIME;
      if ((mask & ATTR_MTIME_NOW) !== 0) valid |= FATTR_MTIME_NOW;
      else putTime(v, SETATTR_IN.mtime, SETATTR_IN.mtimensec, attr.mtimeSec, attr.mtimeNsec);
    }
    v.setUint32(SETATTR_IN.valid, valid, true);
    const r = this.fs.connection.ask(FUSE_SETATTR, this.nodeid, body);
    if (typeof r === 'number') return r;
    if ((mask & ATTR_SIZE) !== 0) this.cache?.resize(attr.size);
    return this.takeAttributes(r);
  }

  // ---- extended attributes: ACLs are the server's, who is told of no umask for them

  override getxattr(name: string): Uint8Array | number {
    const body = withNames(8, name);
    viewOf(body).setUint32(0, XATTR_MAX - 4096, true);
    return this.xattr(FUSE_GETXATTR, body);
  }

  private xattr(opcode: number, body: Uint8Array): Uint8Array | number {
    const { connection } = this.fs;
    if (connection.missing.has(opcode)) return -EOPNOTSUPP;
    const r = connection.ask(opcode, this.nodeid, body);
    if (typeof r === 'number') return r === -ENOSYS ? -EOPNOTSUPP : r;
    return r.answer;
  }

  override listxattr(): string[] | number {
    const body = new Uint8Array(8);
    viewOf(body).setUint32(0, XATTR_MAX - 4096, true);
    const list = this.xattr(FUSE_LISTXATTR, body);
    if (typeof list === 'number') return list;
    return latin1(list, 0, list.length)
      .split('\0')
      .filter((name) => name !== '');
  }

  override setxattr(name: string, value: Uint8Array, flags: number): number {
    const head = withNames(8, name);
    const body = new Uint8Array(head.length + value.length);
    body.set(head);
    body.set(value, head.length);
    const v = viewOf(body);
    v.setUint32(0, value.length, true);
    v.setUint32(4, flags, true);
    const result = this.xattr(FUSE_SETXATTR, body);
    this.invalidate();
    return typeof result === 'number' ? result : 0;
  }

  override removexattr(name: string): number {
    const result = this.xattr(FUSE_REMOVEXATTR, withNames(0, name));
    this.invalidate();
    return typeof result === 'number' ? result : 0;
  }

  // ---- opening

  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    const { connection } = this.fs;
    const { created } = this;
    if (created !== null) {
      this.created = null;
      return new FuseFile(this, created.fh, created.openFlags, path, flags);
    }
    const opcode = this.isDir() ? FUSE_OPENDIR : FUSE_OPEN;
    let fh = NO_HANDLE;
    let openFlags = 0;
    if (!connection.missing.has(opcode)) {
      const body = new Uint8Array(8);
      viewOf(body).setUint32(0, flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC), true);
      const r = connection.ask(opcode, this.nodeid, body);
      if (typeof r === 'number' && r !== -ENOSYS) return r;
      if (typeof r !== 'number') {
        if (r.answer.length < OPEN_OUT.size) return -EIO;
        // The handle is this description's: a call that is made again gets another one.
        forgetAnswer(connection.key(opcode, this.nodeid, body));
        fh = idAt(r.answer, OPEN_OUT.fh);
        openFlags = r.view.getUint32(OPEN_OUT.openFlags, true);
      }
    }
    return this.isDir() ? new FuseDirectory(this, fh, path, flags) : new FuseFile(this, fh, openFlags, path, flags);
  }

  override evict(): void {
    if (this.nodeid === this.fs.rootId) return;
    this.cache?.drop();
    this.cache = null;
    if (this.ahead !== null) for (const name of this.ahead.keys()) this.forgetAhead(name);
    this.fs.forget(this);
    this.fs.connection.forget(this.nodeid, this.lookups);
    this.lookups = 0;
  }
}

function putTime(v: DataView, at: number, nsecAt: number, sec: number, nsec: number): void {
  put64(v, at, sec);
  v.setUint32(nsecAt, nsec, true);
}

/** A server's validity of so many seconds and nanoseconds as a point in time; large ones mean "for good". */
function untilOf(v: DataView, secondsAt: number, nanosecondsAt: number, since: number): number {
  return since + Math.min(getU64(v, secondsAt), 1e9) * 1000 + v.getUint32(nanosecondsAt, true) / 1e6;
}
