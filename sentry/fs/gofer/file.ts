// Open files and directories of a served tree. Data never passes the gofer: reads and writes are the Sentry's own, on
// the descriptor that the gofer donated, straight between it and guest memory.

import { EAGAIN, EFAULT, EINVAL, ENXIO, EOPNOTSUPP } from '../../abi/errno.ts';
import {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  O_APPEND,
  SEEK_CUR,
  SEEK_DATA,
  SEEK_END,
  SEEK_HOLE,
  SEEK_SET,
} from '../../abi/fcntl.ts';
import { FIONREAD } from '../../abi/ioctl.ts';
import { PROT_WRITE } from '../../abi/mman.ts';
import { neverTold } from '../../base/wait-queue.ts';
import type { HostFd } from '../../host/host-fd.ts';
import { fallocate, fdatasync, fsync, lseek } from '../../host/host-io.ts';
import type { Task } from '../../kernel/task.ts';
import { removePrivileges } from '../../vfs/attributes.ts';
import { DirectoryDescription } from '../../vfs/directory-description.ts';
import { FileDescription, type Mappable } from '../../vfs/file-description.ts';
import type { DirSink, VfsPath } from '../../vfs/filesystem.ts';
import type { IoBuffer } from '../../vfs/io-buffer.ts';
import type { Contents } from './contents.ts';
import type { GoferInode } from './inode.ts';
import type { Listing } from './listing.ts';
import { abandonSlowCall, startFetch, startSync } from './slow-calls.ts';

/** Times as much as was asked for is fetched for who reads in order. */
const AHEAD = 4;
/** What the last read that answered -EAGAIN was to have: fetch() is asked right after it. */
const cold = { offset: 0, length: 0 };

export class GoferFile extends FileDescription {
  private readonly file: GoferInode;
  /** null as long as kept contents do. */
  private host: HostFd | null;
  private contents: Contents | null;
  /** The count of doubts at that time: what was kept is believed no longer. */
  private readonly openedAt: number;
  /** Where the last fetch() ended. */
  private fetchedTo = 0;

  constructor(file: GoferInode, host: HostFd | null, contents: Contents | null, path: VfsPath, flags: number) {
    super(flags, path, neverTold);
    this.file = file;
    this.host = host;
    this.contents = contents;
    this.openedAt = file.fs.doubts;
  }

  /** The descriptor, got when first needed; or -errno. */
  private descriptor(): HostFd | number {
    if (this.host !== null) return this.host;
    const host = this.file.attach(this.flags);
    if (typeof host === 'number') return host;
    this.host = host;
    this.contents = null;
    return host;
  }

  override inode(): GoferInode {
    return this.file;
  }

  protected override release(_t: Task | null): void {
    if (this.host === null) this.file.releaseContents();
    else this.file.releaseHost(this.host);
  }

  override read(_t: Task, io: IoBuffer): number {
    const n = this.readAt(io, this.pos);
    if (n > 0) this.pos += n;
    if (n > 0 && this.host !== null) this.file.wasRead();
    return n;
  }

  override pread(_t: Task | null, io: IoBuffer, offset: number): number {
    const n = this.readAt(io, offset);
    if (n > 0 && this.host !== null) this.file.wasRead();
    return n;
  }

  private readAt(io: IoBuffer, offset: number): number {
    if (this.contents?.hold === true && this.openedAt === this.file.fs.doubts) return readContents(this.contents, io, offset);
    const host = this.descriptor();
    if (typeof host === 'number') return host;
    const { fd } = host;
    const wanted = io.remaining;
    if (!io.mayPark || wanted === 0 || !host.knowsNowait) return io.fromHost(fd, wanted, offset);
    const n = io.fromHostNow(fd, wanted, offset);
    if (n === wanted || n === 0 || n === -EFAULT || (n > 0 && offset + n >= this.file.size)) return n;
    if (n < 0 && n !== -EAGAIN) {
      if (n === -EOPNOTSUPP) host.knowsNowait = false;
      return io.fromHost(fd, wanted, offset);
    }
    if (n > 0) {
      // Did memory end, or what the page cache has?
      const rest = io.fromHostNow(fd, wanted - n, offset + n);
      if (rest !== -EAGAIN) return n + Math.max(rest, 0);
      io.back(n);
    }
    // Who reads on from where the last fetch ended has some of what comes next brought along.
    cold.offset = offset;
    cold.length = offset === this.fetchedTo ? wanted * AHEAD : wanted;
    this.fetchedTo = offset + cold.length;
    return -EAGAIN;
  }

  override fetch(t: Task): number {
    return startFetch(t, this, this.host!.fd, cold.offset, cold.length) ? 1 : -1;
  }

  override abandonFetch(t: Task): void {
    abandonSlowCall(t);
  }

  override write(t: Task, io: IoBuffer): number {
    const at = this.writePosition(t, this.pos);
    if (at < 0) return at;
    const n = this.writeAt(t, io, at);
    if (n > 0) this.pos = at + n;
    return n;
  }

  // "if a file is opened with O_APPEND, on Linux pwrite() appends data to the end of the file, regardless of the value
  // of offset" - pwrite(2)
  override pwrite(t: Task | null, io: IoBuffer, offset: number): number {
    const at = this.writePosition(t, offset);
    return at < 0 ? at : this.writeAt(t, io, at);
  }

  private writePosition(t: Task | null, offset: number): number {
    if ((this.flags & O_APPEND) === 0) return offset;
    const result = this.file.fs.shared ? this.file.getattr(t) : 0;
    return result < 0 ? result : this.file.size;
  }

  private writeAt(t: Task | null, io: IoBuffer, at: number): number {
    const denied = removePrivileges(t, this.file, this.path?.mount ?? null);
    if (denied < 0) return denied;
    const n = io.toHost(this.host!.fd, io.remaining, at);
    if (n > 0) this.file.written(at + n);
    return n;
  }

  override seek(t: Task, offset: number, whence: number): number {
    let to: number;
    switch (whence) {
      case SEEK_SET:
        to = offset;
        break;
      case SEEK_CUR:
        to = this.pos + offset;
        break;
      case SEEK_END: {
        const result = this.file.getattr(t);
        if (result < 0) return result;
        to = this.file.size + offset;
        break;
      }
      case SEEK_DATA:
      case SEEK_HOLE:
        // The descriptor's own position is used for nothing else.
        to = offset < 0 ? -ENXIO : this.seekHole(offset, whence);
        if (to < 0) return to;
        break;
      default:
        return -EINVAL;
    }
    if (to < 0) return -EINVAL;
    if (!Number.isSafeInteger(to)) return -EINVAL;
    this.pos = to;
    return to;
  }

  private seekHole(offset: number, whence: number): number {
    const host = this.descriptor();
    return typeof host === 'number' ? host : lseek(host.fd, offset, whence);
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    if (cmd !== FIONREAD) return super.ioctl(t, cmd, arg);
    // fs/ioctl.c:file_ioctl(): what lies behind the position.
    const result = this.file.getattr(t);
    if (result < 0) return result;
    return t.mm.storeU32(arg, this.file.size - this.pos);
  }

  override mmap(_t: Task, out: Mappable, prot: number, shared: boolean): number {
    this.file.mapped();
    const own = this.descriptor();
    if (typeof own === 'number') return own;
    const host = shared && this.writable ? own : this.file.readerFor(own);
    if (typeof host === 'number') return host;
    out.hostFd = host.fd;
    out.offset = 0;
    // A shared mapping of a writable file may become writable later by mprotect.
    if (shared && (this.writable || (prot & PROT_WRITE) !== 0)) this.file.mappedShared();
    return 0;
  }

  override fsync(_t: Task, dataOnly: boolean): number {
    const host = this.descriptor();
    if (typeof host === 'number') return host;
    return dataOnly ? fdatasync(host.fd) : fsync(host.fd);
  }

  override sync(t: Task, dataOnly: boolean): number {
    const host = this.descriptor();
    return typeof host === 'number' ? host : startSync(t, this, host.fd, dataOnly);
  }

  override truncate(_t: Task, size: number): number {
    return this.file.truncate(this.host!, size);
  }

  override fallocate(_t: Task, mode: number, offset: number, length: number): number {
    const result = fallocate(this.host!.fd, mode, offset, length);
    if (result < 0) return result;
    this.file.contentsChanged();
    if ((mode & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE)) !== 0) return 0;
    // Collapsing and inserting ranges move the end: the host says where it is now.
    return this.file.getattr(null);
  }
}

function readContents(contents: Contents, io: IoBuffer, offset: number): number {
  const n = Math.min(io.remaining, contents.size - offset);
  return n <= 0 ? 0 : io.put(contents.block.slab!.bytes, contents.block.at + offset, n);
}

/** include/uapi/linux/fs.h. */
const DT_DIR = 4;

/** "." and "..", then the listing as it was when position 0 was read: a position is an index. */
export class GoferDirectory extends DirectoryDescription<GoferInode> {
  private listing: Listing | null = null;
  /** Where the entry of `pos` lies in the listing, as long as nobody seeks. */
  private entry = 0;
  private entryOffset = 0;

  override readdir(_t: Task, sink: DirSink): number {
    const listing = this.current();
    if (typeof listing === 'number') return listing;
    for (; this.pos < 2; this.pos++) {
      const isSelf = this.pos === 0;
      if (!sink.entry(isSelf ? '.' : '..', isSelf ? this.dir.ino : this.parentIno(), DT_DIR, this.pos + 1)) return 0;
    }
    let i = this.pos - 2;
    if (i > listing.count) return 0;
    let at = listing.offsetOf(i, this.entry, this.entryOffset);
    for (; i < listing.count; i++) {
      const name = listing.nameAt(at);
      if (
        !listing.isGoneAt(at) &&
        !sink.entryBytes(listing.nameBytes, name, listing.nameLengthAt(at), listing.inoAt(at), listing.typeAt(at), i + 3)
      )
        break;
      at = listing.after(at);
    }
    this.pos = i + 2;
    this.entry = i;
    this.entryOffset = at;
    return 0;
  }

  override hasPlainEntries(): boolean {
    const listing = this.current();
    return typeof listing !== 'number' && listing.plain;
  }

  private current(): Listing | number {
    if (this.pos !== 0 && this.listing !== null) return this.listing;
    const listing = this.dir.list();
    if (typeof listing === 'number') return listing;
    this.listing = listing;
    this.entry = 0;
    this.entryOffset = 0;
    return listing;
  }

  override fsync(): number {
    const handle = this.dir.ensureHandle();
    return handle < 0 ? handle : this.dir.fs.client.sync(handle, false);
  }
}
