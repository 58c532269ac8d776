// Regular files of tmpfs. Contents are the Sentry's own chunks (tmpfs-pages.ts) until somebody maps
// the file: then they move to a host memfd, which mappings of all guests and the Sentry's reads and
// writes share from there on. A memfd is a descriptor or two of the Sentry's, of which it has a few
// thousand in all: once a file is closed and unmapped, and others have been so after it, its contents
// move back.

import { EFBIG, EINVAL, ENOSPC, ENXIO, EOPNOTSUPP, EPERM } from '../abi/errno.ts';
import {
  F_SEAL_EXEC,
  F_SEAL_FUTURE_WRITE,
  F_SEAL_GROW,
  F_SEAL_SEAL,
  F_SEAL_SHRINK,
  F_SEAL_WRITE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  O_APPEND,
  SEEK_CUR,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
} from '../abi/fcntl.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { MFD_ALLOW_SEALING, PROT_WRITE } from '../abi/mman.ts';
import { S_IFREG } from '../abi/stat.ts';
import { neverTold } from '../base/wait-queue.ts';
import { fallocate, lseek } from '../host/host-io.ts';
import { closeFd, ftruncate, memfdCreate, pread, pwrite, reopenReadOnly, sealWrites } from '../host/memory.ts';
import type { Task } from '../kernel/task.ts';
import { removePrivileges } from '../vfs/attributes.ts';
import { BufferIo } from '../vfs/buffer-io.ts';
import { FileDescription, type Mappable } from '../vfs/file-description.ts';
import { ATTR_SIZE, type Inode, type SetAttr, type VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { copyAttr } from '../vfs/simple-attr.ts';
import { touchAtime, touchChanged, touchModified } from '../vfs/times.ts';
import type { TmpfsFilesystem } from './tmpfs.ts';
import { TmpfsInode } from './tmpfs-inode.ts';
import { CHUNK, TmpfsPages } from './tmpfs-pages.ts';

/** Offsets are exact below this, and nothing is stored beyond. */
const MAX_FILE_SIZE = Number.MAX_SAFE_INTEGER - 65535;
/** The largest size that a double can say below Linux's 2^63-1: holes may reach that far. */
const LARGEST_SIZE = 2 ** 63 - 1024;
const WRITE_SEALS = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
const ALL_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE | F_SEAL_EXEC;

export class TmpfsFile extends TmpfsInode {
  private readonly pages: TmpfsPages;
  /** The memfd of a file that has been mapped, or -1. */
  private hostFd = -1;
  /** The same for mappings that must not write it, or -1. */
  private readFd = -1;
  /** Open descriptions: each mapping has one. */
  private descriptions = 0;
  /** F_SEAL_*; files of the tree are born sealed against sealing. */
  seals = F_SEAL_SEAL;

  constructor(fs: TmpfsFilesystem, ino: number, permissions: number) {
    super(fs, ino, S_IFREG | permissions);
    this.pages = new TmpfsPages(fs);
  }

  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    return new TmpfsFileDescription(path, flags, this);
  }

  override getattr(_t: Task | null): number {
    this.blocks = this.pages.count * 8;
    return 0;
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    if ((attr.mask & ATTR_SIZE) !== 0) {
      const error = this.resize(attr.size);
      if (error < 0) return error;
    }
    copyAttr(this, attr);
    return 0;
  }

  /** Bytes, or -errno. */
  readAt(io: IoBuffer, offset: number): number {
    const n = Math.min(io.remaining, this.size - offset);
    if (n <= 0) return 0;
    return this.hostFd < 0 ? this.pages.read(io, offset, n) : io.fromHost(this.hostFd, n, offset);
  }

  /** Bytes, -ENOSPC, -EFBIG, -EPERM for a seal, -EFAULT. */
  writeAt(io: IoBuffer, offset: number): number {
    let n = io.remaining;
    if (n === 0) return 0;
    if (this.seals > F_SEAL_SEAL && (this.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0) return -EPERM;
    if (offset + n > this.size && (this.seals & F_SEAL_GROW) !== 0) {
      // Refused page by page, mm/shmem.c:shmem_write_begin(): the pages before the last one are written.
      n = this.size - (this.size % PAGE_SIZE) - offset;
      if (n <= 0) return -EPERM;
    }
    if (offset + n > MAX_FILE_SIZE) return -EFBIG;
    let done: number;
    if (this.hostFd < 0) done = this.pages.write(io, offset, n);
    else {
      if (!this.pages.account(offset, n)) return -ENOSPC;
      done = io.toHost(this.hostFd, n, offset);
    }
    if (done > 0) {
      if (offset + done > this.size) this.size = offset + done;
      touchModified(this);
    }
    return done;
  }

  resize(size: number): number {
    size = Math.min(size, LARGEST_SIZE);
    if (size < this.size) {
      if ((this.seals & F_SEAL_SHRINK) !== 0) return -EPERM;
    } else if (size > this.size && (this.seals & F_SEAL_GROW) !== 0) return -EPERM;
    if (this.hostFd >= 0) {
      const error = ftruncate(this.hostFd, size);
      if (error < 0) return error;
      if (size < this.size) this.pages.unaccount(size, Number.MAX_SAFE_INTEGER - size);
    } else if (size < this.size) this.pages.truncate(size);
    this.size = size;
    touchModified(this);
    return 0;
  }

  // fs: mm/shmem.c:shmem_fallocate() knows KEEP_SIZE and PUNCH_HOLE; the rest is EOPNOTSUPP there too.
  allocate(mode: number, offset: number, length: number): number {
    if ((mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) !== 0) return -EOPNOTSUPP;
    if ((mode & FALLOC_FL_PUNCH_HOLE) !== 0) {
      if ((mode & FALLOC_FL_KEEP_SIZE) === 0) return -EOPNOTSUPP;
      if ((this.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0) return -EPERM;
      if (this.hostFd < 0) this.pages.punch(offset, length);
      else {
        const error = fallocate(this.hostFd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
        if (error < 0) return error;
        this.pages.unaccount(offset, length);
      }
      touchModified(this);
      return 0;
    }
    const end = offset + length;
    if (end > MAX_FILE_SIZE) return -EFBIG;
    if (end > this.size && (this.seals & F_SEAL_GROW) !== 0) return -EPERM;
    if (!(this.hostFd < 0 ? this.pages.allocate(offset, length) : this.pages.account(offset, length))) return -ENOSPC;
    if ((mode & FALLOC_FL_KEEP_SIZE) === 0 && end > this.size) {
      if (this.hostFd >= 0) {
        const error = ftruncate(this.hostFd, end);
        if (error < 0) return error;
      }
      this.size = end;
    }
    touchChanged(this);
    return 0;
  }

  /** SEEK_DATA and SEEK_HOLE; -ENXIO at or beyond the end. */
  seekHole(offset: number, wantData: boolean): number {
    if (offset < 0 || offset >= this.size) return -ENXIO;
    // Mappings make pages that the count does not know, but the memfd does.
    if (this.hostFd >= 0) return lseek(this.hostFd, offset, wantData ? SEEK_DATA : SEEK_HOLE);
    if (!wantData) return Math.min(this.size, this.pages.nextHole(offset));
    const data = this.pages.nextData(offset);
    return data < 0 || data >= this.size ? -ENXIO : data;
  }

  /** The memfd with the contents, made when first asked for: a host descriptor that can write, or cannot, or -errno. */
  mapped(writes: boolean): number {
    const fd = this.hostFd >= 0 ? this.hostFd : this.moveToMemfd();
    if (fd < 0 || writes) return fd;
    if (this.readFd < 0) {
      const read = reopenReadOnly(fd);
      if (read < 0) return read;
      this.readFd = read;
    }
    return this.readFd;
  }

  private moveToMemfd(): number {
    const fd = memfdCreate('tmpfs', MFD_ALLOW_SEALING);
    if (fd < 0) return fd;
    let error = ftruncate(fd, this.size);
    if (error >= 0) {
      const size = this.size;
      error = this.pages.visit((bytes, at, n, offset) => writeAll(fd, bytes, at, Math.min(n, size - offset), offset));
    }
    if (error < 0) {
      closeFd(fd);
      return error;
    }
    this.pages.dropBytes();
    this.hostFd = fd;
    this.sealHost();
    return fd;
  }

  described(): void {
    this.descriptions++;
    idleMemfds.delete(this);
  }

  /** A description is closed; the last one's end also ends all mappings. */
  closed(): void {
    if (--this.descriptions > 0 || this.hostFd < 0 || this.nlink === 0) return;
    if (this.size > IDLE_SIZE || this.seals !== F_SEAL_SEAL) return;
    idleMemfds.add(this);
    if (idleMemfds.size <= IDLE_MEMFDS) return;
    for (const oldest of idleMemfds) {
      idleMemfds.delete(oldest);
      oldest.moveBack();
      return;
    }
  }

  /** Takes the contents out of the memfd; it stays where they find no place any more. */
  private moveBack(): void {
    const fd = this.hostFd;
    let at = 0;
    while (at < this.size) {
      at = lseek(fd, at, SEEK_DATA);
      if (at < 0) break;
      const end = Math.min(this.size, lseek(fd, at, SEEK_HOLE));
      while (at < end) {
        const n = pread(fd, moving.bytes, 0, Math.min(end - at, moving.bytes.length), at);
        // Pages that a mapping has made are counted now, if there is room for them.
        if (n <= 0 || this.pages.write(moving.set(0, n), at, n) !== n) {
          this.pages.dropBytes();
          return;
        }
        at += n;
      }
    }
    this.closeMemfd();
  }

  private closeMemfd(): void {
    idleMemfds.delete(this);
    if (this.hostFd >= 0) closeFd(this.hostFd);
    if (this.readFd >= 0) closeFd(this.readFd);
    this.hostFd = -1;
    this.readFd = -1;
  }

  addSeals(seals: number): void {
    this.seals |= seals;
    this.sealHost();
  }

  /** What guests may not write any more, no stub of theirs can write either. The host's stronger seal could find mappings of processes that are just ending. */
  private sealHost(): void {
    if (this.hostFd >= 0 && (this.seals & WRITE_SEALS) !== 0) sealWrites(this.hostFd);
  }

  /** The last name and the last description are gone. */
  protected override free(): void {
    this.pages.truncate(0);
    this.pages.unaccount(0, Number.MAX_SAFE_INTEGER);
    this.closeMemfd();
  }
}

/** Files that nobody has open or mapped, but whose contents are in a memfd; the longest so first. */
const idleMemfds: Set<TmpfsFile> = new Set();
const IDLE_MEMFDS = 256;
/** Larger files stay in theirs: moving them back would hold the sandbox. */
const IDLE_SIZE = 2 ** 20;
const moving = new BufferIo(new Uint8Array(CHUNK));

function writeAll(fd: number, bytes: Uint8Array, at: number, length: number, offset: number): number {
  for (let done = 0; done < length; ) {
    const n = pwrite(fd, bytes, at + done, length - done, offset + done);
    if (n < 0) return n;
    done += n;
  }
  return 0;
}

export class TmpfsFileDescription extends FileDescription {
  private readonly node: TmpfsFile;

  constructor(path: VfsPath, flags: number, node: TmpfsFile) {
    super(flags, path, neverTold);
    this.node = node;
    node.described();
  }

  override inode(): Inode {
    return this.node;
  }

  protected override release(_t: Task | null): void {
    this.node.closed();
  }

  override read(_t: Task, io: IoBuffer): number {
    const n = this.node.readAt(io, this.pos);
    if (n > 0) this.pos += n;
    touchAtime(this.path!.mount, this.node);
    return n;
  }

  override pread(_t: Task | null, io: IoBuffer, offset: number): number {
    const n = this.node.readAt(io, offset);
    touchAtime(this.path!.mount, this.node);
    return n;
  }

  override write(t: Task, io: IoBuffer): number {
    if ((this.flags & O_APPEND) !== 0) this.pos = this.node.size;
    const n = this.pwriteAt(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pwrite(t: Task | null, io: IoBuffer, offset: number): number {
    // "if a file is opened with O_APPEND, pwrite() appends data to the end of the file, regardless of the value of offset" - pwrite(2)
    return this.pwriteAt(t, io, (this.flags & O_APPEND) !== 0 ? this.node.size : offset);
  }

  private pwriteAt(t: Task | null, io: IoBuffer, offset: number): number {
    if (io.remaining > 0) {
      const error = removePrivileges(t, this.node, this.path?.mount ?? null);
      if (error < 0) return error;
    }
    return this.node.writeAt(io, offset);
  }

  override seek(_t: Task, offset: number, whence: number): number {
    let pos: number;
    if (whence === SEEK_SET) pos = offset;
    else if (whence === SEEK_CUR) pos = this.pos + offset;
    else if (whence === SEEK_END) pos = this.node.size + offset;
    else if (whence === SEEK_DATA || whence === SEEK_HOLE) {
      pos = this.node.seekHole(offset, whence === SEEK_DATA);
      if (pos < 0) return pos;
    } else return -EINVAL;
    if (pos < 0 || pos >= 2 ** 63) return -EINVAL;
    this.pos = pos;
    return pos;
  }

  override mmap(_t: Task, out: Mappable, prot: number, shared: boolean): number {
    const seals = this.node.seals;
    if (shared && (prot & PROT_WRITE) !== 0 && (seals & WRITE_SEALS) !== 0) return -EPERM;
    const fd = this.node.mapped(shared && this.writable && (seals & WRITE_SEALS) === 0);
    if (fd < 0) return fd;
    out.hostFd = fd;
    out.offset = 0;
    touchAtime(this.path!.mount, this.node);
    return 0;
  }

  override fsync(_t: Task, _dataOnly: boolean): number {
    return 0;
  }

  override truncate(_t: Task, size: number): number {
    return this.node.resize(size);
  }

  override fallocate(t: Task, mode: number, offset: number, length: number): number {
    const error = removePrivileges(t, this.node, this.path?.mount ?? null);
    return error < 0 ? error : this.node.allocate(mode, offset, length);
  }

  override getSeals(): number {
    return this.node.seals;
  }

  override allowSeals(): void {
    this.node.seals &= ~F_SEAL_SEAL;
  }

  override addSeals(seals: number): number {
    if (!this.writable) return -EPERM;
    if ((seals & ~ALL_SEALS) !== 0) return -EINVAL;
    if ((this.node.seals & F_SEAL_SEAL) !== 0) return -EPERM;
    this.node.addSeals(seals);
    return 0;
  }
}
