// One open file (struct file): what an fd points at, shared by dup and fork. The base class
// answers every operation as Linux does when the function pointer is NULL (fs/read_write.c,
// fs/ioctl.c, fs/readdir.c), so that a subclass lists just what it can do.
//
// Operations never block. One that would have to wait answers -EAGAIN; the system call parks the
// task on `waiters` unless O_NONBLOCK is set, and asks again.

import { EBADF, EINVAL, ENODEV, ENOTDIR, ENOTTY, EOPNOTSUPP, ESPIPE } from '../abi/errno.ts';
import { O_ACCMODE, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_WRONLY } from '../abi/fcntl.ts';
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from '../abi/poll.ts';
import { type Waiter, WaitQueue } from '../base/wait-queue.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { FileOwner } from '../kernel/file-owner.ts';
import type { Task } from '../kernel/task.ts';
import { inodeReleased, pin, unpin } from './dentry.ts';
import { releaseFileLocks, releasePosixLocks } from './file-locks.ts';
import type { DirSink, Inode, VfsPath } from './filesystem.ts';
import { notifyClose } from './fsnotify.ts';
import type { IoBuffer } from './io-buffer.ts';
import { dropLease } from './leases.ts';

/** What mmap maps: a host descriptor and the byte offset in it that stands for the file's offset 0. */
export interface Mappable {
  /** Host descriptor for the whole life of the mapping; the VMA keeps the description alive. */
  hostFd: number;
  offset: number;
}

/** Told when a description is closed for good: an epoll item goes with the file it watches. */
export interface FileObserver {
  nextObserver: FileObserver | null;
  fileReleased(file: FileDescription): void;
}

/** How long a blocking call of a socket waits, in ns. */
export class Timeouts {
  readNs = Number.POSITIVE_INFINITY;
  writeNs = Number.POSITIVE_INFINITY;
}

export abstract class FileDescription {
  /** fd table entries, running calls and mappings that keep this open. */
  refs = 1;
  /** O_* as fcntl(F_GETFL) reports them, access mode included. */
  flags: number;
  /** undefined for what has no place in the tree: pipes, sockets, eventfds. */
  readonly path: VfsPath | undefined;
  /** The file position; 0..2^53. */
  pos = 0;
  readonly waiters: WaitQueue;
  /** F_SETOWN and F_SETSIG; kept by kernel/file-owner.ts. */
  owner: FileOwner | null = null;
  /** SO_RCVTIMEO and SO_SNDTIMEO, where one was set. */
  timeouts: Timeouts | null = null;
  /** Who has opened it by path; null for the kernel. f_cred. */
  creds: Credentials | null = null;
  /** LANDLOCK_ACCESS_FS_* that its opener had: all bits where nothing restricted it. */
  landlockAccess = -1;
  /** O_ASYNC: sends the owner's signal. */
  async: Waiter | null = null;
  /** epoll items that watch this file. */
  observers: FileObserver | null = null;
  /** The inode whose opens (and, when counted for writing, writers) this description is one of. */
  private counted: Inode | null = null;
  private countedWriter = false;
  private denying = false;
  /** mmap(2) of this file makes anonymous memory: /dev/zero, drivers/char/mem.c:mmap_zero(). */
  readonly anonymousMapping: boolean = false;

  /** `waiters` is given by what several descriptions share: both ends of a pipe. */
  constructor(flags: number, path: VfsPath | undefined, waiters: WaitQueue = new WaitQueue()) {
    this.flags = flags;
    this.path = path;
    this.waiters = waiters;
  }

  /** How long a blocking call waits, in ns. */
  get readTimeoutNs(): number {
    return this.timeouts === null ? Number.POSITIVE_INFINITY : this.timeouts.readNs;
  }

  get writeTimeoutNs(): number {
    return this.timeouts === null ? Number.POSITIVE_INFINITY : this.timeouts.writeNs;
  }

  get nonblocking(): boolean {
    return (this.flags & O_NONBLOCK) !== 0;
  }

  /** Access mode 3 is neither readable nor writable: only for ioctl. */
  get readable(): boolean {
    const mode = this.flags & O_ACCMODE;
    return (mode === O_RDONLY || mode === O_RDWR) && (this.flags & O_PATH) === 0;
  }

  get writable(): boolean {
    const mode = this.flags & O_ACCMODE;
    return (mode === O_WRONLY || mode === O_RDWR) && (this.flags & O_PATH) === 0;
  }

  /** The inode behind it; anonymous files share one per kind for fstat's sake. */
  abstract inode(): Inode;

  incRef(): void {
    this.refs++;
  }

  /** The last reference closes: release() runs once. */
  decRef(t: Task | null): void {
    if (--this.refs !== 0) return;
    if (this.async !== null) this.async.unlink();
    for (let o = this.observers; o !== null; o = o.nextObserver) o.fileReleased(this);
    this.observers = null;
    const inode = this.counted;
    if (inode === null) {
      this.release(t);
      return;
    }
    notifyClose(this);
    this.allowWrites();
    releaseFileLocks(inode, this);
    if (inode.leases !== null) dropLease(inode, this, t);
    this.release(t);
    inode.opens--;
    if (this.countedWriter) {
      inode.writers--;
      this.path!.mount.writers--;
    }
    if (this.path !== undefined) {
      this.path.mount.opens--;
      unpin(this.path.dentry);
    }
    inodeReleased(inode);
    const mount = this.path?.mount;
    if (mount !== undefined && mount.opens === 0 && mount.namespace === null) mount.closed();
  }

  /** The VFS has opened this by path: it counts as an open (for writing) of the inode until its last reference goes. */
  countOpen(inode: Inode, forWriting: boolean): void {
    this.counted = inode;
    this.countedWriter = forWriting;
    inode.opens++;
    if (this.path !== undefined) {
      pin(this.path.dentry);
      this.path.mount.opens++;
      this.path.mount.expiryMark = false;
    }
    if (forWriting) {
      inode.writers++;
      this.path!.mount.writers++;
    }
  }

  /** While this program runs, opening it for writing is ETXTBSY: deny_write_access(). */
  denyWrites(): void {
    if (this.denying || this.counted === null) return;
    this.denying = true;
    this.counted.writers--;
  }

  allowWrites(): void {
    if (!this.denying) return;
    this.denying = false;
    this.counted!.writers++;
  }

  /** close(2) of one descriptor by `t`: filp_close(). Its reference is the caller's to drop. */
  close(t: Task): number {
    if (this.counted !== null) releasePosixLocks(this.counted, t.fds);
    return this.flush(t);
  }

  /** Whether a write that answers -EPIPE, after it has `moved` bytes or before, sends SIGPIPE too. */
  raisesSigpipe(_moved: boolean): boolean {
    return true;
  }

  /**
   * The waiting part of open(2), after the description exists: 0, or -EAGAIN as long as a FIFO's
   * other end is missing. The call parks on `waiters` and asks again; a signal closes the file.
   */
  finishOpen(): number {
    return 0;
  }

  /** Whether a blocking write(2) goes on until every byte is taken: pipes, stream sockets, terminals. */
  writesAll(): boolean {
    return false;
  }

  /** The kernel is about to execute this file: what has to be asked for is, so that reading and mapping it waits for nobody. 0, RETRY or -errno. */
  prepareExec(): number {
    return 0;
  }

  /** close(2) of one descriptor, before its reference goes; an error is close's result. */
  flush(_t: Task): number {
    return 0;
  }

  /** Last reference gone: give back host descriptors, wake peers. */
  protected release(_t: Task | null): void {}

  /** At the file position, which it advances. Bytes, 0 at the end, -EAGAIN, -errno. */
  read(_t: Task, _io: IoBuffer): number {
    return -EINVAL;
  }

  write(_t: Task, _io: IoBuffer): number {
    return -EINVAL;
  }

  /** At `offset`, leaving the position. -ESPIPE for what has none. */
  pread(_t: Task | null, _io: IoBuffer, _offset: number): number {
    return -ESPIPE;
  }

  pwrite(_t: Task | null, _io: IoBuffer, _offset: number): number {
    return -ESPIPE;
  }

  /** lseek(2); the new position or -errno. */
  seek(_t: Task, _offset: number, _whence: number): number {
    return -ESPIPE;
  }

  /** The events that hold now, as poll(2) bits. */
  poll(_t: Task | null): number {
    return POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
  }

  /** epoll_ctl answers EPERM for files that say false: regular files and directories. */
  canPoll(): boolean {
    return false;
  }

  /** Whether O_ASYNC can be set: 0 or -errno. f_op->fasync. */
  mayAsync(): number {
    return this.canPoll() ? 0 : -ENOTTY;
  }

  /** A device's or socket's own requests; the generic ones (FIONBIO, FIOCLEX, …) are answered above. arg is a value or a guest address. */
  ioctl(_t: Task, _cmd: number, _arg: number): number {
    return -ENOTTY;
  }

  /** Directory entries from this.pos on, "." and ".." included. 0 or -errno. */
  readdir(_t: Task, _sink: DirSink): number {
    return -ENOTDIR;
  }

  /**
   * After a read with io.mayPark that has answered -EAGAIN: begins to bring in from the disk what it would have waited for.
   * 1 when t will be woken with WAKE_EVENT for it, -1 when the read is to wait itself, 0 when it was not the disk.
   */
  fetch(_t: Task): number {
    return 0;
  }

  /** The task that has fetch()ed is being killed. */
  abandonFetch(_t: Task): void {}

  /** Of a directory: no entry can be a whiteout of an overlay, and positions are counted from 2 on without a gap. */
  hasPlainEntries(): boolean {
    return false;
  }

  /**
   * For mmap(2): fills `out`, or -ENODEV. prot and shared say what is wanted. The descriptor must not be able to write unless the
   * mapping is shared and the description writable: the guest has it in its process for a moment, to map as it likes.
   */
  mmap(_t: Task, _out: Mappable, _prot: number, _shared: boolean): number {
    return -ENODEV;
  }

  fsync(_t: Task, _dataOnly: boolean): number {
    return -EINVAL;
  }

  /** fsync(2) itself, which may park the task where a disk is waited for; fsync() above never does. */
  sync(t: Task, dataOnly: boolean): number {
    return this.fsync(t, dataOnly);
  }

  /** ftruncate(2) on a checked, writable regular file. */
  truncate(_t: Task, _size: number): number {
    return -EINVAL;
  }

  fallocate(_t: Task, _mode: number, _offset: number, _length: number): number {
    return -EOPNOTSUPP;
  }

  /** copy_file_range(2) into this file by its file system itself: bytes copied, or -EOPNOTSUPP for the copy through us. f_op->copy_file_range. */
  copyFrom(_t: Task, _input: FileDescription, _from: number, _to: number, _n: number): number {
    return -EOPNOTSUPP;
  }

  /** F_GET_SEALS: the F_SEAL_* set on the file; -EINVAL where it has none. */
  getSeals(): number {
    return -EINVAL;
  }

  /** memfd_create(MFD_ALLOW_SEALING): takes back the seal against sealing that a file is born with. */
  allowSeals(): void {}

  /** F_ADD_SEALS: 0, -EPERM, -EBUSY or -EINVAL. */
  addSeals(_seals: number): number {
    return -EINVAL;
  }

  /** F_SETFL has changed this.flags. */
  flagsChanged(_t: Task): void {}

  /** /proc/[pid]/fdinfo lines beyond pos, flags and mnt_id. */
  fdinfo(): string {
    return '';
  }

  /** What /proc/[pid]/fd/N reads as where `path` is undefined: "pipe:[12]". */
  linkText(): string {
    return 'anon_inode:[unknown]';
  }
}

/** For a call on a file opened O_PATH or for the wrong direction. */
export const BAD_DIRECTION = -EBADF;
