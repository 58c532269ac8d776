// erofs: an image in a file, read-only. fs/erofs/super.c, inode.c. Linux mounts such files without a block device since
// 6.12; so a directory of another file system, or one that the gofer serves, is where images come from here.
//
// Nothing of an image is believed (image.ts): what does not make sense is -EUCLEAN for who asks.

import { EINVAL, ENODATA, ENOENT, ENOTBLK, ERANGE, EUCLEAN } from '../../abi/errno.ts';
import { O_RDONLY } from '../../abi/fcntl.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../abi/stat.ts';
import { latin1 } from '../../base/latin1.ts';
import type { Task } from '../../kernel/task.ts';
import { allocateAnonDev } from '../../vfs/anon-dev.ts';
import type { VfsContext } from '../../vfs/context.ts';
import type { FileDescription } from '../../vfs/file-description.ts';
import { Filesystem, Inode, type StatFs, type VfsPath } from '../../vfs/filesystem.ts';
import type { FilesystemType, Vfs } from '../../vfs/vfs.ts';
import { readAttributes } from './attributes.ts';
import { type Contents, contentsOf } from './contents.ts';
import { ErofsDirectory, findEntry } from './directory.ts';
import { ErofsFile, FileCopy } from './file.ts';
import { EROFS_SUPER_MAGIC, Image, INCOMPAT_FRAGMENTS } from './image.ts';
import { COMPRESSED_COMPACT, COMPRESSED_FULL, type InodeRecord, readInode } from './inode-record.ts';

/** What a symbolic link may have: PAGE_SIZE in fs/erofs/inode.c:erofs_fill_symlink(). */
const MAX_LINK = 4095;

export class ErofsFilesystem extends Filesystem {
  readonly image: Image;
  /** By number: several names of a file are one inode. */
  private readonly inodes: Map<number, ErofsInode> = new Map();
  private readonly rootInode: ErofsInode;
  private packed: Contents | number | null = null;

  private constructor(image: Image, root: InodeRecord) {
    super('erofs', allocateAnonDev(), EROFS_SUPER_MAGIC);
    this.image = image;
    this.readOnly = true;
    this.acls = 1;
    this.allowsIdmap = true;
    this.rootInode = new ErofsInode(this, image.rootNid, root);
    this.inodes.set(image.rootNid, this.rootInode);
  }

  /** The file system in a file that is open for reading; the file is closed with it, or at once if there is none in it. */
  static of(file: FileDescription): ErofsFilesystem | number {
    const image = Image.open(file, file.inode().size);
    const root = typeof image === 'number' ? image : readInode(image, image.rootNid);
    if (typeof image !== 'number' && typeof root !== 'number' && (root.mode & S_IFMT) === S_IFDIR) return new ErofsFilesystem(image, root);
    file.decRef(null);
    return typeof root === 'number' ? root : -EINVAL;
  }

  override root(): Inode {
    return this.rootInode;
  }

  /** The inode with a number, or -errno: erofs_iget(). */
  inode(nid: number): ErofsInode | number {
    const known = this.inodes.get(nid);
    if (known !== undefined) return known;
    if (nid > Number.MAX_SAFE_INTEGER) return -EUCLEAN;
    const record = readInode(this.image, nid);
    if (typeof record === 'number') return record;
    const made = new ErofsInode(this, nid, record);
    this.inodes.set(nid, made);
    return made;
  }

  forget(inode: ErofsInode): void {
    if (inode !== this.rootInode) this.inodes.delete(inode.ino);
  }

  /** The inode without a name that has the tails of other files. */
  readonly packedContents = (): Contents | number => {
    if (this.packed === null) {
      const { image } = this;
      const record = (image.featureIncompat & INCOMPAT_FRAGMENTS) === 0 ? -EUCLEAN : readInode(image, image.packedNid);
      if (typeof record === 'number') this.packed = record;
      else {
        // It has no fragments itself: what looks for its own end in itself would never return.
        const inner = contentsOf(image, record, () => -EUCLEAN);
        this.packed = typeof inner === 'number' ? inner : bounded(inner, record.size);
      }
    }
    return this.packed;
  };

  override options(): string {
    return ',user_xattr,acl,cache_strategy=readaround';
  }

  override statfs(out: StatFs): number {
    const { image } = this;
    out.type = this.magic;
    out.blockSize = image.blockSize;
    out.blocks = image.blocks;
    // ULLONG_MAX, and that less what there is.
    out.files = -1;
    out.filesFree = -1 - image.inodes;
    return 0;
  }

  override remount(options: string): number {
    return checkErofsOptions(options);
  }

  override release(): void {
    for (const inode of this.inodes.values()) inode.dropCopy();
    this.image.file.decRef(null);
  }
}

/** Contents whose readers do not know how much there is. */
function bounded(inner: Contents, size: number): Contents {
  return { read: (into, at, n, offset) => (offset + n > size ? -EUCLEAN : inner.read(into, at, n, offset)) };
}

export class ErofsInode extends Inode {
  declare readonly fs: ErofsFilesystem;
  private readonly record: InodeRecord;
  private contents: Contents | null = null;
  private attributes: Map<string, Uint8Array> | null = null;
  private copy: FileCopy | null = null;

  constructor(fs: ErofsFilesystem, nid: number, record: InodeRecord) {
    super(fs, nid, record.mode);
    this.record = record;
    this.uid = record.uid;
    this.gid = record.gid;
    this.nlink = record.nlink;
    this.size = record.size;
    const { blockSize } = fs.image;
    this.blockSize = blockSize;
    const isCompressed = record.dataLayout === COMPRESSED_FULL || record.dataLayout === COMPRESSED_COMPACT;
    this.blocks = (isCompressed ? record.extra : Math.ceil(record.size / blockSize)) * (blockSize / 512);
    const type = record.mode & S_IFMT;
    if (type === S_IFCHR || type === S_IFBLK) this.rdev = record.extra;
    if (type !== S_IFREG && type !== S_IFDIR && type !== S_IFLNK) this.blocks = 0;
    this.mtimeSec = record.mtimeSec;
    this.mtimeNsec = record.mtimeNsec;
    this.ctimeSec = record.mtimeSec;
    this.ctimeNsec = record.mtimeNsec;
    this.atimeSec = record.mtimeSec;
    this.atimeNsec = record.mtimeNsec;
  }

  /** Fills into[at, at + n) with what the file has from `offset` on; the caller has looked at the size. 0 or -errno. */
  readContents(into: Uint8Array, at: number, n: number, offset: number): number {
    if (this.contents === null) {
      const made = contentsOf(this.fs.image, this.record, this.fs.packedContents);
      if (typeof made === 'number') return made;
      this.contents = made;
    }
    return this.contents.read(into, at, n, offset);
  }

  /** All of it in a memfd, for mappings: its descriptor or -errno. */
  mapped(): number {
    if (this.copy === null) {
      const made = FileCopy.of(this);
      if (typeof made === 'number') return made;
      this.copy = made;
    }
    return this.copy.hostFd;
  }

  dropCopy(): void {
    this.copy?.drop();
    this.copy = null;
  }

  override lookup(name: string): Inode | number {
    const nid = findEntry(this, name);
    return nid < 0 ? nid : this.fs.inode(nid);
  }

  override readlink(_t: Task | null): string | number {
    if (!this.isSymlink()) return -EINVAL;
    if (this.size > MAX_LINK || this.size === 0) return -EUCLEAN;
    const bytes = new Uint8Array(this.size);
    const error = this.readContents(bytes, 0, bytes.length, 0);
    if (error < 0) return error;
    const zero = bytes.indexOf(0);
    return latin1(bytes, 0, zero < 0 ? bytes.length : zero);
  }

  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    return this.isDir() ? new ErofsDirectory(path, flags, this) : new ErofsFile(path, flags, this);
  }

  private allAttributes(): Map<string, Uint8Array> | number {
    if (this.attributes === null) {
      const read = readAttributes(this.fs.image, this.record);
      if (typeof read === 'number') return read;
      this.attributes = read;
    }
    return this.attributes;
  }

  override getxattr(name: string): Uint8Array | number {
    const all = this.allAttributes();
    return typeof all === 'number' ? all : (all.get(name) ?? -ENODATA);
  }

  override listxattr(): string[] | number {
    const all = this.allAttributes();
    if (typeof all === 'number') return all;
    const names = [...all.keys()];
    return names.some((name) => name.length > 255) ? -ERANGE : names;
  }

  override evict(): void {
    this.dropCopy();
    this.contents = null;
    this.attributes = null;
    this.fs.forget(this);
  }
}

const FLAGS = new Set(['user_xattr', 'nouser_xattr', 'acl', 'noacl', '']);

/** The options that change nothing here are accepted, others -EINVAL: erofs_fs_parameters. */
export function checkErofsOptions(options: string): number {
  for (const option of options.split(',')) {
    if (!FLAGS.has(option) && !/^cache_strategy=(disabled|readahead|readaround)$/.test(option)) return -EINVAL;
  }
  return 0;
}

export function erofsType(vfs: Vfs): FilesystemType {
  return {
    name: 'erofs',
    nodev: false,
    fromFile: true,
    userMount: false,
    mount(ctx: VfsContext, source: string, _flags: number, options: string): Filesystem | number {
      const error = checkErofsOptions(options);
      if (error < 0) return error;
      if (source === '' || source === 'none') return -ENOENT;
      const file = vfs.openAt(ctx, null, source, O_RDONLY, 0);
      if (typeof file === 'number') return file;
      if (!file.inode().isRegular()) {
        file.decRef(ctx.task);
        return -ENOTBLK;
      }
      const fs = ErofsFilesystem.of(file);
      if (typeof fs === 'number') return fs;
      fs.source = source;
      return fs;
    },
  };
}
