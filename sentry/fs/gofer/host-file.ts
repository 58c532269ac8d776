// Descriptors that were handed to the sandbox: the standard streams of `runsc do` and of exec. Others outside have the
// same open file, so nothing of it is changed: O_NONBLOCK above all is never set. Instead each transfer asks first
// whether it would wait (RWF_NOWAIT, or poll(2) where the host's file knows no such flag), and a task that would is
// parked until the host says that the descriptor is ready.
//
// A regular file shares its position with the others, too: reads and writes go where the host's description stands.
// Only what is opened anew, by /dev/stdout and its kin, has a position of its own, as a new description has.

import { Attributes, decodeAttributes } from '../../../gofer/protocol/attributes.ts';
import { makedev } from '../../abi/device.ts';
import { EAGAIN, EBADF, EINVAL, ENOTTY, EOPNOTSUPP, ESPIPE } from '../../abi/errno.ts';
import { O_ACCMODE, O_APPEND, O_NONBLOCK, RWF_NOWAIT, SEEK_CUR, SEEK_END, SEEK_SET } from '../../abi/fcntl.ts';
import { FIONREAD } from '../../abi/ioctl.ts';
import { PIPE_BUF } from '../../abi/limits.ts';
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM, POLLWRNORM } from '../../abi/poll.ts';
import { ANON_INODE_FS_MAGIC, S_IFCHR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK } from '../../abi/stat.ts';
import { fileAttributes, statxBuffer } from '../../host/host-fd.ts';
import { close, dup, fallocate, fcntlGetFlags, fdatasync, fsync, ftruncate, ioctl, lseek, pollFd, preadv2 } from '../../host/host-io.ts';
import { nextWatchToken } from '../../host/watch-token.ts';
import type { HostWatcher, Kernel } from '../../kernel/kernel.ts';
import type { Task } from '../../kernel/task.ts';
import { allocateAnonDev } from '../../vfs/anon-dev.ts';
import { FileDescription, type Mappable } from '../../vfs/file-description.ts';
import { Filesystem, Inode, type SetAttr, type VfsPath } from '../../vfs/filesystem.ts';
import type { IoBuffer } from '../../vfs/io-buffer.ts';
import { HostTty, isTerminal } from './host-tty.ts';

const READY_TO_READ = POLLIN | POLLHUP | POLLERR | POLLRDHUP;
const READY_TO_WRITE = POLLOUT | POLLHUP | POLLERR;
const WATCHED = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;
/** Bytes read at once where the host must not make us wait. */
const READ_SIZE = 65536;
/** A terminal that says it takes output has room for this much, as a rule: drivers/tty/n_tty.c, WAKEUP_CHARS. */
const TTY_CHUNK = 256;

const scratch = new Uint8Array(READ_SIZE);
const attributes = new Attributes();

class HostFilesystem extends Filesystem {
  private rootInode: Inode | null = null;

  constructor() {
    super('hostfd', allocateAnonDev(), ANON_INODE_FS_MAGIC);
  }

  override root(): Inode {
    this.rootInode ??= new RootInode(this, 1, 0);
    return this.rootInode;
  }
}

/** Nothing is ever looked up here: the file system exists for st_dev's sake. */
class RootInode extends Inode {
  override open(): number {
    return -EINVAL;
  }
}

let hostFs: HostFilesystem | undefined;

/** What fstat sees of a host descriptor. */
class HostInode extends Inode {
  override readonly opensItself: boolean = true;
  private readonly kernel: Kernel;
  /** Of its descriptions, any of which can be asked. */
  private readonly hostFds: number[] = [];

  constructor(kernel: Kernel, fs: Filesystem, hostFd: number) {
    super(fs, 0, 0);
    this.kernel = kernel;
    this.hostFds.push(hostFd);
    this.getattr();
  }

  override getattr(): number {
    // Once all are closed the last attributes stay.
    if (this.hostFds.length === 0) return 0;
    const result = fileAttributes(this.hostFds[0]);
    if (result < 0) return result;
    decodeAttributes(statxBuffer, 0, attributes);
    // Owners stay root's: those of the host mean nothing in here.
    this.ino = attributes.inoHi * 2 ** 32 + attributes.inoLo;
    this.mode = attributes.mode;
    this.nlink = attributes.nlink;
    this.rdev = makedev(attributes.rdevMajor, attributes.rdevMinor);
    this.size = attributes.size;
    this.blocks = attributes.blocks;
    this.blockSize = attributes.blockSize;
    this.atimeSec = attributes.atimeSec;
    this.atimeNsec = attributes.atimeNsec;
    this.mtimeSec = attributes.mtimeSec;
    this.mtimeNsec = attributes.mtimeNsec;
    this.ctimeSec = attributes.ctimeSec;
    this.ctimeNsec = attributes.ctimeNsec;
    return 0;
  }

  /** chmod and chown of a descriptor that others have: accepted as nothing, so that su and its kin go on. */
  override setattr(_t: Task | null, _attr: SetAttr): number {
    return 0;
  }

  /** By /proc/[pid]/fd/N: the same open file again. The host's own rights to it bound what the new one may. */
  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    if (this.hostFds.length === 0) return -EBADF;
    const fd = dup(this.hostFds[0]);
    if (fd < 0) return fd;
    this.hostFds.push(fd);
    return new HostFile(this.kernel, fd, this, flags, path);
  }

  closed(hostFd: number): void {
    this.hostFds.splice(this.hostFds.indexOf(hostFd), 1);
  }
}

/** A description for a descriptor of the host, which becomes its own; or -errno. */
export function newHostFile(kernel: Kernel, hostFd: number): FileDescription | number {
  const flags = fcntlGetFlags(hostFd);
  if (flags < 0) return flags;
  hostFs ??= new HostFilesystem();
  const inode = new HostInode(kernel, hostFs, hostFd);
  return new HostFile(kernel, hostFd, inode, flags & (O_ACCMODE | O_APPEND | O_NONBLOCK), undefined);
}

export class HostFile extends FileDescription implements HostWatcher {
  private readonly kernel: Kernel;
  private readonly hostFd: number;
  private readonly node: Inode;
  /** Where reads and writes go: at `pos`, or where the host's description stands. */
  private readonly ownPosition: boolean;
  private readonly isRegular: boolean;
  private readonly tty: HostTty | null;
  /** How much the host takes without waiting once it says that it is ready. */
  private readonly chunk: number;
  /** The host's file knows RWF_NOWAIT. */
  private knowsNowait = true;
  /** Of the watch on the descriptor; 0: none yet. */
  private token = 0;

  constructor(kernel: Kernel, hostFd: number, node: Inode, flags: number, path: VfsPath | undefined) {
    super(flags, path);
    this.kernel = kernel;
    this.hostFd = hostFd;
    this.node = node;
    const type = node.mode & S_IFMT;
    this.isRegular = type === S_IFREG;
    this.ownPosition = this.isRegular && path !== undefined;
    this.tty = type === S_IFCHR && isTerminal(hostFd) ? new HostTty(hostFd, node.rdev) : null;
    this.chunk = this.tty !== null ? TTY_CHUNK : type === S_IFIFO || type === S_IFSOCK ? PIPE_BUF : Number.MAX_SAFE_INTEGER;
  }

  override inode(): Inode {
    return this.node;
  }

  protected override release(_t: Task | null): void {
    if (this.token !== 0) {
      this.kernel.platform.unwatch(this.hostFd);
      this.kernel.hostWatchers.delete(this.token);
    }
    if (this.node instanceof HostInode) this.node.closed(this.hostFd);
    close(this.hostFd);
  }

  // ---- readiness

  hostReady(events: number): void {
    let told = events;
    if ((events & POLLIN) !== 0) told |= POLLRDNORM;
    if ((events & POLLOUT) !== 0) told |= POLLWRNORM;
    this.waiters.notify(told);
  }

  /**
   * Has the host tell of changes from now on; whether that is new. Who then looks once more misses nothing: a watch
   * that is added while the descriptor is ready says so at once.
   */
  private watch(): boolean {
    if (this.token !== 0) return false;
    this.token = nextWatchToken();
    this.kernel.hostWatchers.set(this.token, this);
    // -EPERM: always ready, never told.
    this.kernel.platform.watch(this.hostFd, WATCHED, this.token);
    return true;
  }

  private isReady(events: number): boolean {
    return (pollFd(this.hostFd, events, 0) & events) !== 0;
  }

  override canPoll(): boolean {
    return !this.isRegular;
  }

  override poll(t: Task | null): number {
    if (this.isRegular) return super.poll(t);
    this.watch();
    const events = pollFd(this.hostFd, WATCHED | POLLRDNORM | POLLWRNORM, 0);
    return events < 0 ? POLLERR : events;
  }

  // ---- data

  override writesAll(): boolean {
    return !this.isRegular;
  }

  override read(_t: Task, io: IoBuffer): number {
    if (this.isRegular) {
      const n = io.fromHost(this.hostFd, io.remaining, this.ownPosition ? this.pos : -1);
      if (n > 0) this.pos += n;
      return n;
    }
    if (io.remaining === 0) return 0;
    const n = this.readNow(io);
    return n === -EAGAIN && this.watch() ? this.readNow(io) : n;
  }

  private readNow(io: IoBuffer): number {
    if (this.knowsNowait) {
      const n = preadv2(this.hostFd, scratch, 0, Math.min(io.remaining, READ_SIZE), -1, RWF_NOWAIT);
      if (n > 0) return io.put(scratch, 0, n);
      if (n !== -EOPNOTSUPP) return n;
      this.knowsNowait = false;
    }
    return this.isReady(READY_TO_READ) ? io.fromHost(this.hostFd, io.remaining, -1) : -EAGAIN;
  }

  override write(_t: Task, io: IoBuffer): number {
    if (this.isRegular) return this.writeRegular(io);
    let total = 0;
    while (io.remaining > 0) {
      if (!this.isReady(READY_TO_WRITE)) {
        if (this.watch()) continue;
        return total > 0 ? total : -EAGAIN;
      }
      const want = Math.min(io.remaining, this.chunk);
      const n = io.toHost(this.hostFd, want, -1);
      if (n < 0) return total > 0 ? total : n;
      total += n;
      if (n < want) break;
    }
    return total;
  }

  private writeRegular(io: IoBuffer): number {
    if (!this.ownPosition) return io.toHost(this.hostFd, io.remaining, -1);
    if ((this.flags & O_APPEND) !== 0) {
      const result = this.node.getattr(null);
      if (result < 0) return result;
      this.pos = this.node.size;
    }
    const n = io.toHost(this.hostFd, io.remaining, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pread(t: Task | null, io: IoBuffer, offset: number): number {
    return this.isRegular ? io.fromHost(this.hostFd, io.remaining, offset) : super.pread(t, io, offset);
  }

  override pwrite(t: Task | null, io: IoBuffer, offset: number): number {
    return this.isRegular ? io.toHost(this.hostFd, io.remaining, offset) : super.pwrite(t, io, offset);
  }

  override seek(_t: Task, offset: number, whence: number): number {
    // /dev/null and its kin answer 0, a terminal ESPIPE: as the host says.
    if (!this.ownPosition) return (this.node.mode & S_IFMT) === S_IFIFO ? -ESPIPE : lseek(this.hostFd, offset, whence);
    if (whence === SEEK_END) this.node.getattr(null);
    const from = whence === SEEK_SET ? 0 : whence === SEEK_CUR ? this.pos : whence === SEEK_END ? this.node.size : Number.NaN;
    const to = from + offset;
    if (!Number.isSafeInteger(to) || to < 0) return -EINVAL;
    this.pos = to;
    return to;
  }

  override mmap(t: Task, out: Mappable, prot: number, shared: boolean): number {
    if (!this.isRegular) return super.mmap(t, out, prot, shared);
    out.hostFd = this.hostFd;
    out.offset = 0;
    return 0;
  }

  override fsync(_t: Task, dataOnly: boolean): number {
    return dataOnly ? fdatasync(this.hostFd) : fsync(this.hostFd);
  }

  override truncate(_t: Task, size: number): number {
    return this.isRegular ? ftruncate(this.hostFd, size) : -EINVAL;
  }

  override fallocate(t: Task, mode: number, offset: number, length: number): number {
    return this.isRegular ? fallocate(this.hostFd, mode, offset, length) : super.fallocate(t, mode, offset, length);
  }

  // ---- requests

  override ioctl(t: Task, cmd: number, arg: number): number {
    if (this.tty !== null) return this.tty.ioctl(t, cmd, arg);
    if (cmd !== FIONREAD) return -ENOTTY;
    const result = ioctl(this.hostFd, FIONREAD, scratch);
    if (result < 0) return result;
    return t.mm.copyOut(arg, scratch, 0, 4);
  }

  override linkText(): string {
    const { ino, mode, rdev } = this.node;
    switch (mode & S_IFMT) {
      case S_IFIFO:
        return `pipe:[${ino}]`;
      case S_IFSOCK:
        return `socket:[${ino}]`;
      case S_IFCHR:
        return rdev === DEV_NULL ? '/dev/null' : `host:[${rdev}]`;
      default:
        return `host:[${ino}]`;
    }
  }
}

const DEV_NULL: number = makedev(1, 3);
