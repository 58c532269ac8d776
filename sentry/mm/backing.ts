// What stands behind shared and file mappings: an open file's donated descriptor, or a memfd of
// the Sentry's own for MAP_SHARED|MAP_ANONYMOUS and SysV segments.

import { closeFd, ftruncate, memfdCreate, reopenReadOnly } from '../host/memory.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { Backing } from './vma.ts';

let nextId = 1;
const inodeIds = new WeakMap<object, number>();

/** A file's pages; one per mmap call, alive with its mappings. */
export class FileBacking implements Backing {
  readonly file: FileDescription;
  readonly hostFd: number;
  readonly hostOffset: number;
  readonly id: number;
  private refs = 1;

  constructor(file: FileDescription, hostFd: number, hostOffset: number) {
    this.file = file;
    this.hostFd = hostFd;
    this.hostOffset = hostOffset;
    file.incRef();
    // Shared futexes meet by inode, whoever has opened it: kernel/futex/core.c:get_futex_key().
    const inode = file.inode();
    let id = inodeIds.get(inode);
    if (id === undefined) {
      id = nextId++;
      inodeIds.set(inode, id);
    }
    this.id = id;
  }

  /** mmap() of the file knew that it was for such a mapping. */
  readOnlyFd(): number {
    return this.hostFd;
  }

  get dev(): number {
    return this.file.inode().fs.dev;
  }

  get ino(): number {
    return this.file.inode().ino;
  }

  name(): string {
    return this.file.linkText();
  }

  incRef(): void {
    this.refs++;
  }

  decRef(): void {
    if (--this.refs === 0) this.file.decRef(null);
  }
}

/** Anonymous memory that several address spaces may map. */
export class SharedMemory implements Backing {
  readonly hostFd: number;
  readonly hostOffset = 0;
  readonly id: number = nextId++;
  readonly size: number;
  /** Linux shows these as files of its internal tmpfs. */
  readonly dev = 1;
  readonly ino: number = this.id;
  private readonly label: string;
  private readFd = -1;
  private refs = 1;

  private constructor(hostFd: number, size: number, label: string) {
    this.hostFd = hostFd;
    this.size = size;
    this.label = label;
  }

  /** Zeroed memory of `size` bytes, or -errno of the host. */
  static create(size: number, label: string): SharedMemory | number {
    const fd = memfdCreate('guest-shared');
    if (fd < 0) return fd;
    const sized = ftruncate(fd, size);
    if (sized < 0) {
      closeFd(fd);
      return sized;
    }
    return new SharedMemory(fd, size, label);
  }

  readOnlyFd(): number {
    if (this.readFd < 0) {
      const fd = reopenReadOnly(this.hostFd);
      if (fd < 0) return fd;
      this.readFd = fd;
    }
    return this.readFd;
  }

  name(): string {
    return this.label;
  }

  incRef(): void {
    this.refs++;
  }

  decRef(): void {
    if (--this.refs > 0) return;
    closeFd(this.hostFd);
    if (this.readFd >= 0) closeFd(this.readFd);
  }
}
