// The common parts of file systems whose files are made up: proc, sysfs, devpts, cgroup. After
// fs/kernfs and fs/seq_file.c. Three building blocks:
//
//   TextFile   a file whose text is generated when it is read from the start, and may take writes
//   StaticDir  a directory of children known by name
//   Symlink    a link with fixed text
//
// Directories with changing children derive from KernfsDir. Text is latin1: a char per byte.

import { EACCES, EINVAL, EIO, ENOENT, EPERM } from '../abi/errno.ts';
import { SEEK_CUR, SEEK_END, SEEK_SET } from '../abi/fcntl.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../abi/stat.ts';
import { latin1, putLatin1 } from '../base/latin1.ts';
import type { WaitQueue } from '../base/wait-queue.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Task } from '../kernel/task.ts';
import { DirectoryDescription } from '../vfs/directory-description.ts';
import { FileDescription } from '../vfs/file-description.ts';
import {
  ATTR_ATIME,
  ATTR_GID,
  ATTR_MODE,
  ATTR_MTIME,
  ATTR_UID,
  type DirSink,
  Filesystem,
  Inode,
  type SetAttr,
  type VfsPath,
} from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { touchBorn } from '../vfs/times.ts';

const DT_SHIFT = 12;
/** s_blocksize of proc. */
const PROC_BLOCK = 1024;

/** The DT_* value of a mode: S_DT(), include/linux/fs_types.h. */
export function direntType(mode: number): number {
  return (mode & S_IFMT) >> DT_SHIFT;
}

/** A file system that numbers its inodes itself. */
export abstract class KernfsFilesystem extends Filesystem {
  private lastIno = 0;

  newIno(): number {
    return ++this.lastIno;
  }
}

/** setattr_copy() for inodes whose attributes live in memory only; a size change is accepted and means nothing. */
export function applyAttr(inode: Inode, attr: SetAttr): number {
  if ((attr.mask & ATTR_MODE) !== 0) inode.mode = (inode.mode & S_IFMT) | (attr.mode & ~S_IFMT);
  if ((attr.mask & ATTR_UID) !== 0) inode.uid = attr.uid;
  if ((attr.mask & ATTR_GID) !== 0) inode.gid = attr.gid;
  if ((attr.mask & ATTR_ATIME) !== 0) {
    inode.atimeSec = attr.atimeSec;
    inode.atimeNsec = attr.atimeNsec;
  }
  if ((attr.mask & ATTR_MTIME) !== 0) {
    inode.mtimeSec = attr.mtimeSec;
    inode.mtimeNsec = attr.mtimeNsec;
  }
  return 0;
}

// ---- directories

export abstract class KernfsDir extends Inode {
  constructor(fs: Filesystem, ino: number, permissions: number) {
    super(fs, ino, S_IFDIR | permissions);
    if (fs.type === 'proc') this.blockSize = PROC_BLOCK;
    this.nlink = 2;
    touchBorn(this);
  }

  abstract override lookup(name: string): Inode | number;

  /**
   * Hands over the entries from cookie `pos` (≥ 2) on; "." and ".." are done. Answers the cookie to go
   * on from: of the entry that was refused, or past the last.
   */
  abstract iterate(t: Task, pos: number, sink: DirSink): number;

  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    return new DirDescription(path, flags, this);
  }

  // A name that is not there cannot be made: proc's lookup fails with ENOENT before anybody asks for a new
  // inode, and vfs_create() says EACCES where vfs_mkdir() and the others say EPERM.
  override create(_creds: Credentials, _name: string, _mode: number): Inode | number {
    return this.fs.type === 'proc' ? -ENOENT : -EACCES;
  }

  override mkdir(_creds: Credentials, _name: string, _mode: number): Inode | number {
    return this.noNewNames();
  }

  override mknod(_creds: Credentials, _name: string, _mode: number, _rdev: number): Inode | number {
    return this.noNewNames();
  }

  override symlink(_creds: Credentials, _name: string, _target: string): Inode | number {
    return this.noNewNames();
  }

  override link(_name: string, _target: Inode): number {
    return this.noNewNames();
  }

  private noNewNames(): number {
    return this.fs.type === 'proc' ? -ENOENT : -EPERM;
  }

  /** What the directory is of has ended: reading it is -ENOENT. */
  isGone(): boolean {
    return false;
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    return applyAttr(this, attr);
  }
}

class DirDescription extends DirectoryDescription<KernfsDir> {
  override seek(_t: Task, offset: number, whence: number): number {
    // generic_file_llseek(): the end is where the size says.
    const base = whence === SEEK_SET ? 0 : whence === SEEK_CUR ? this.pos : whence === SEEK_END ? this.dir.size : -1;
    if (base < 0 || base + offset < 0) return -EINVAL;
    this.pos = base + offset;
    return this.pos;
  }

  override readdir(t: Task, sink: DirSink): number {
    if (this.dir.isGone()) return -ENOENT;
    if (this.pos === 0) {
      if (!sink.entry('.', this.dir.ino, direntType(S_IFDIR), 1)) return 0;
      this.pos = 1;
    }
    if (this.pos === 1) {
      if (!sink.entry('..', this.parentIno(), direntType(S_IFDIR), 2)) return 0;
      this.pos = 2;
    }
    const pos = this.dir.iterate(t, this.pos, sink);
    if (pos < 0) return pos;
    this.pos = pos;
    return 0;
  }
}

/** A directory whose children are put in by the file system, in the order that readdir shows. */
export class StaticDir extends KernfsDir {
  readonly children: Map<string, Inode> = new Map();

  add(name: string, child: Inode): this {
    this.children.set(name, child);
    if (child.isDir()) this.nlink++;
    return this;
  }

  remove(name: string): void {
    const child = this.children.get(name);
    if (child === undefined) return;
    this.children.delete(name);
    if (child.isDir()) this.nlink--;
  }

  override lookup(name: string): Inode | number {
    return this.children.get(name) ?? -ENOENT;
  }

  override childStillValid(name: string, child: Inode | undefined): boolean {
    return this.children.get(name) === child;
  }

  override iterate(_t: Task, pos: number, sink: DirSink): number {
    let at = 2;
    for (const [name, child] of this.children) {
      if (at++ < pos) continue;
      if (!sink.entry(name, child.ino, direntType(child.mode), at)) return at - 1;
    }
    return Math.max(at, pos);
  }
}

// ---- symbolic links

export class Symlink extends Inode {
  readonly target: string;

  constructor(fs: Filesystem, ino: number, target: string) {
    super(fs, ino, S_IFLNK | 0o777);
    touchBorn(this);
    this.target = target;
    this.size = target.length;
  }

  override readlink(_t: Task | null): string | number {
    return this.target;
  }

  override open(_t: Task | null, _path: VfsPath, _flags: number): FileDescription | number {
    return -EINVAL;
  }
}

// ---- text files

/** A regular file whose content is made when it is read. */
export abstract class TextFile extends Inode {
  constructor(fs: Filesystem, ino: number, permissions: number) {
    super(fs, ino, S_IFREG | permissions);
    if (fs.type === 'proc') this.blockSize = PROC_BLOCK;
    touchBorn(this);
  }

  /** The whole text as it is now, or -errno. */
  abstract text(t: Task): string | number;

  /** One write(2) of `data` at `offset`: the bytes taken or -errno. */
  store(_t: Task, _data: string, _offset: number): number {
    return -EIO;
  }

  /** Checks of open(2) beyond the permission bits. */
  mayOpen(_t: Task | null, _flags: number): number {
    return 0;
  }

  /** epoll takes it, as it takes every file of /proc outside /proc/[pid]: proc_reg_poll(). */
  get pollable(): boolean {
    return true;
  }

  /** Longest write taken in one call: a page, unless the file says otherwise. */
  get storeLimit(): number {
    return PAGE_SIZE;
  }

  override open(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    const refused = this.mayOpen(t, flags);
    return refused < 0 ? refused : new TextDescription(flags, path, this);
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    return applyAttr(this, attr);
  }
}

const NO_BYTES = new Uint8Array(0);
const storeBuffer = new Uint8Array(64 * 1024);

/** A reader sees one consistent text: it is generated at offset 0 and kept until the next read from there, fs/seq_file.c. */
export class TextDescription extends FileDescription {
  protected readonly node: TextFile;
  private bytes: Uint8Array = NO_BYTES;
  private generated = false;

  constructor(flags: number, path: VfsPath | undefined, node: TextFile, waiters?: WaitQueue) {
    super(flags, path, waiters);
    this.node = node;
  }

  override inode(): Inode {
    return this.node;
  }

  override read(t: Task, io: IoBuffer): number {
    const n = this.readAt(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pread(t: Task | null, io: IoBuffer, offset: number): number {
    return t === null ? -EIO : this.readAt(t, io, offset);
  }

  override write(t: Task, io: IoBuffer): number {
    const n = this.writeAt(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pwrite(t: Task | null, io: IoBuffer, offset: number): number {
    return t === null ? -EIO : this.writeAt(t, io, offset);
  }

  // O_TRUNC is taken by everything that a shell redirects to; there is nothing to cut off.
  override truncate(_t: Task, _size: number): number {
    return 0;
  }

  override canPoll(): boolean {
    return this.node.pollable;
  }

  // "SEEK_END is not supported" by seq_lseek(), fs/seq_file.c.
  override seek(_t: Task, offset: number, whence: number): number {
    if (whence === SEEK_END) return -EINVAL;
    const pos = whence === SEEK_SET ? offset : whence === SEEK_CUR ? this.pos + offset : -1;
    if (pos < 0) return -EINVAL;
    this.pos = pos;
    return pos;
  }

  private readAt(t: Task, io: IoBuffer, offset: number): number {
    if (!this.generated || offset === 0) {
      const text = this.generateText(t);
      if (typeof text === 'number') return text;
      this.bytes = new Uint8Array(text.length);
      putLatin1(this.bytes, 0, text);
      this.generated = true;
    }
    const n = Math.min(io.remaining, this.bytes.length - offset);
    return n <= 0 ? 0 : io.put(this.bytes, offset, n);
  }

  private writeAt(t: Task, io: IoBuffer, offset: number): number {
    const want = Math.min(io.remaining, this.node.storeLimit, storeBuffer.length);
    if (want === 0) return 0;
    const got = io.take(storeBuffer, 0, want);
    if (got < 0) return got;
    return this.storeText(t, latin1(storeBuffer, 0, got), offset);
  }

  protected generateText(t: Task): string | number {
    return this.node.text(t);
  }

  protected storeText(t: Task, data: string, offset: number): number {
    return this.node.store(t, data, offset);
  }
}

/** A file of fixed text. */
export class FixedText extends TextFile {
  private readonly content: string;

  constructor(fs: Filesystem, ino: number, permissions: number, content: string) {
    super(fs, ino, permissions);
    this.content = content;
  }

  override text(_t: Task): string {
    return this.content;
  }
}

/** A file whose text a module-level function makes. */
export class GeneratedText extends TextFile {
  private readonly generate: (t: Task) => string | number;
  private readonly take: ((t: Task, data: string, offset: number) => number) | undefined;

  constructor(
    fs: Filesystem,
    ino: number,
    permissions: number,
    generate: (t: Task) => string | number,
    take?: (t: Task, data: string, offset: number) => number,
  ) {
    super(fs, ino, permissions);
    this.generate = generate;
    this.take = take;
  }

  override text(t: Task): string | number {
    return this.generate(t);
  }

  override store(t: Task, data: string, offset: number): number {
    return this.take === undefined ? -EIO : this.take(t, data, offset);
  }
}

/** What a file system without a given change answers: proc_notify_change() for modes and owners. */
export function refuseModeChange(attr: SetAttr): number {
  return (attr.mask & (ATTR_MODE | ATTR_UID | ATTR_GID)) !== 0 ? -EPERM : 0;
}
