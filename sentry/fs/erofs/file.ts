// Open files of an image, and their contents where somebody maps them.

import { EFBIG, EINVAL, ENODEV, ENXIO } from '../../abi/errno.ts';
import { SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET } from '../../abi/fcntl.ts';
import { MFD_ALLOW_SEALING } from '../../abi/mman.ts';
import { neverTold } from '../../base/wait-queue.ts';
import { closeFd, ftruncate, memfdCreate, pwrite, sealWrites } from '../../host/memory.ts';
import type { Task } from '../../kernel/task.ts';
import { FileDescription, type Mappable } from '../../vfs/file-description.ts';
import type { Inode, VfsPath } from '../../vfs/filesystem.ts';
import type { IoBuffer } from '../../vfs/io-buffer.ts';
import type { ErofsInode } from './filesystem.ts';

const CHUNK = 128 * 1024;
const chunk = new Uint8Array(CHUNK);
/** Larger files are not mapped: all of one is held in memory. */
const MAX_MAPPED = 2 ** 31;

export class ErofsFile extends FileDescription {
  private readonly node: ErofsInode;

  constructor(path: VfsPath, flags: number, node: ErofsInode) {
    super(flags, path, neverTold);
    this.node = node;
  }

  override inode(): Inode {
    return this.node;
  }

  override read(t: Task, io: IoBuffer): number {
    const n = this.pread(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pread(_t: Task | null, io: IoBuffer, offset: number): number {
    const wanted = Math.min(io.remaining, this.node.size - offset);
    for (let done = 0; done < wanted; ) {
      const n = Math.min(CHUNK, wanted - done);
      const error = this.node.readContents(chunk, 0, n, offset + done);
      if (error < 0) return done > 0 ? done : error;
      const put = io.put(chunk, 0, n);
      if (put < 0) return done > 0 ? done : put;
      done += put;
      if (put < n) return done;
    }
    return Math.max(0, wanted);
  }

  override seek(_t: Task, offset: number, whence: number): number {
    const { size } = this.node;
    let pos: number;
    if (whence === SEEK_SET) pos = offset;
    else if (whence === SEEK_CUR) pos = this.pos + offset;
    else if (whence === SEEK_END) pos = size + offset;
    else if (whence === SEEK_DATA || whence === SEEK_HOLE) {
      if (offset < 0 || offset >= size) return -ENXIO;
      pos = whence === SEEK_DATA ? offset : size;
    } else return -EINVAL;
    if (pos < 0 || pos >= 2 ** 63) return -EINVAL;
    this.pos = pos;
    return pos;
  }

  override fsync(_t: Task, _dataOnly: boolean): number {
    return 0;
  }

  override mmap(_t: Task, out: Mappable, _prot: number, _shared: boolean): number {
    const fd = this.node.mapped();
    if (fd < 0) return fd === -EFBIG ? -ENODEV : fd;
    out.hostFd = fd;
    out.offset = 0;
    return 0;
  }
}

/** The contents of a file in a memfd that nobody can write to any more. */
export class FileCopy {
  readonly hostFd: number;

  private constructor(hostFd: number) {
    this.hostFd = hostFd;
  }

  static of(node: ErofsInode): FileCopy | number {
    const { size } = node;
    if (size > MAX_MAPPED) return -EFBIG;
    const fd = memfdCreate('erofs', MFD_ALLOW_SEALING);
    if (fd < 0) return fd;
    let error = ftruncate(fd, size);
    for (let at = 0; at < size && error >= 0; at += CHUNK) {
      const n = Math.min(CHUNK, size - at);
      error = node.readContents(chunk, 0, n, at);
      // What is zero stays a hole, so that a file that claims to be large takes no room.
      if (error >= 0 && !isZero(n)) error = pwrite(fd, chunk, 0, n, at);
    }
    if (error >= 0) error = sealWrites(fd);
    if (error >= 0) return new FileCopy(fd);
    closeFd(fd);
    return error;
  }

  drop(): void {
    closeFd(this.hostFd);
  }
}

function isZero(n: number): boolean {
  for (let i = 0; i < n; i++) if (chunk[i] !== 0) return false;
  return true;
}
