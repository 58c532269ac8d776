// Open files of an overlay. The description of the real file inside is replaced when the file is
// copied up after it was opened, so that a reader sees what a later writer wrote:
// fs/overlayfs/file.c:ovl_real_fdget(). A mapping keeps what it has mapped, as in Linux.

import { EINVAL } from '../abi/errno.ts';
import { O_APPEND, SEEK_CUR, SEEK_END, SEEK_SET } from '../abi/fcntl.ts';
import { neverTold } from '../base/wait-queue.ts';
import type { Task } from '../kernel/task.ts';
import { removePrivileges } from '../vfs/attributes.ts';
import { FileDescription, type Mappable } from '../vfs/file-description.ts';
import type { Inode, VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { copyUp } from './overlay-copy-up.ts';
import type { OverlayInode } from './overlay-inode.ts';

export class OverlayFile extends FileDescription {
  private readonly node: OverlayInode;
  private inner: FileDescription;
  /** What `inner` is a description of. */
  private source: Inode;
  /** A description of the lower file that mappings still use. */
  private mapped: FileDescription | null = null;

  constructor(path: VfsPath, flags: number, node: OverlayInode, inner: FileDescription) {
    super(flags, path, neverTold);
    this.node = node;
    this.inner = inner;
    this.source = node.real;
  }

  override inode(): Inode {
    return this.node;
  }

  /** The description to use now, or -errno of opening the upper file. */
  private current(t: Task | null): FileDescription | number {
    if (this.node.real === this.source) return this.inner;
    const upper = this.node.openReal(t, this.path!, this.flags);
    if (typeof upper === 'number') return upper;
    if (this.mapped === null) this.mapped = this.inner;
    else this.inner.decRef(t);
    this.inner = upper;
    this.source = this.node.real;
    return upper;
  }

  protected override release(t: Task | null): void {
    this.inner.decRef(t);
    this.mapped?.decRef(t);
  }

  override flush(t: Task): number {
    return this.inner.flush(t);
  }

  override read(t: Task, io: IoBuffer): number {
    const n = this.pread(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pread(t: Task | null, io: IoBuffer, offset: number): number {
    const file = this.current(t);
    return typeof file === 'number' ? file : file.pread(t, io, offset);
  }

  override fetch(t: Task): number {
    return this.inner.fetch(t);
  }

  override abandonFetch(t: Task): void {
    this.inner.abandonFetch(t);
  }

  override write(t: Task, io: IoBuffer): number {
    if ((this.flags & O_APPEND) !== 0) this.pos = this.endOfFile(t);
    const n = this.pwriteAt(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pwrite(t: Task | null, io: IoBuffer, offset: number): number {
    return this.pwriteAt(t, io, (this.flags & O_APPEND) !== 0 ? this.endOfFile(t) : offset);
  }

  private pwriteAt(t: Task | null, io: IoBuffer, offset: number): number {
    const error = io.remaining > 0 ? removePrivileges(t, this.node, this.path?.mount ?? null) : 0;
    if (error < 0) return error;
    const file = this.current(t);
    if (typeof file === 'number') return file;
    const n = file.pwrite(t, io, offset);
    if (n > 0 && offset + n > this.node.size) this.node.size = offset + n;
    return n;
  }

  private endOfFile(t: Task | null): number {
    const real = this.node.real;
    real.getattr(t);
    return real.size;
  }

  override seek(t: Task, offset: number, whence: number): number {
    let pos: number;
    if (whence === SEEK_SET) pos = offset;
    else if (whence === SEEK_CUR) pos = this.pos + offset;
    else if (whence === SEEK_END) pos = this.endOfFile(t) + offset;
    else {
      const file = this.current(t);
      pos = typeof file === 'number' ? file : file.seek(t, offset, whence);
      if (pos < 0) return pos;
    }
    if (pos < 0 || pos >= 2 ** 63) return -EINVAL;
    this.pos = pos;
    return pos;
  }

  override mmap(t: Task, out: Mappable, prot: number, shared: boolean): number {
    const file = this.current(t);
    return typeof file === 'number' ? file : file.mmap(t, out, prot, shared);
  }

  override fsync(t: Task, dataOnly: boolean): number {
    const file = this.current(t);
    return typeof file === 'number' ? file : file.fsync(t, dataOnly);
  }

  override truncate(t: Task, size: number): number {
    const error = copyUp(this.node, size !== 0);
    if (error < 0) return error;
    const file = this.current(t);
    if (typeof file === 'number') return file;
    const result = file.truncate(t, size);
    this.node.mirror();
    return result;
  }

  override fallocate(t: Task, mode: number, offset: number, length: number): number {
    const file = this.current(t);
    return typeof file === 'number' ? file : file.fallocate(t, mode, offset, length);
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    const file = this.current(t);
    return typeof file === 'number' ? file : file.ioctl(t, cmd, arg);
  }

  override getSeals(): number {
    return this.inner.getSeals();
  }

  override addSeals(seals: number): number {
    return this.inner.addSeals(seals);
  }
}
