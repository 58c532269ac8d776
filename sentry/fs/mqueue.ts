// POSIX message queues as files: ipc/mqueue.c. One file system an ipc namespace; mq_open(3) works in
// it whether it is mounted or not. What the calls do with a queue is in syscalls/mqueue.ts.

import { EINVAL, EMFILE, ENOSPC } from '../abi/errno.ts';
import { SEEK_CUR, SEEK_SET } from '../abi/fcntl.ts';
import { POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from '../abi/poll.ts';
import { CAP_SYS_RESOURCE, RLIMIT_MSGQUEUE } from '../abi/sched.ts';
import { S_IFMT, S_IFREG } from '../abi/stat.ts';
import { putLatin1 } from '../base/latin1.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { IpcNamespace } from '../kernel/namespaces.ts';
import type { Task } from '../kernel/task.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';
import { containerOf, type VfsContext } from '../vfs/context.ts';
import { FileDescription } from '../vfs/file-description.ts';
import { type Filesystem, Inode, type SetAttr, type VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { Mount } from '../vfs/mount.ts';
import { touchBorn } from '../vfs/times.ts';
import type { FilesystemType } from '../vfs/vfs.ts';
import { applyAttr, KernfsFilesystem, StaticDir } from './kernfs.ts';

/** MQUEUE_MAGIC. */
const MAGIC = 0x19800202;
const TABLE = 'mqueue';
/** What one message costs beside its text, for RLIMIT_MSGQUEUE: struct msg_msg and a tree node. */
const MESSAGE_COST = 96;
const HARD_MESSAGES = 65536;
const HARD_SIZE = 16 * 1024 * 1024;

export interface QueuedMessage {
  readonly priority: number;
  readonly data: Uint8Array;
}

/** mq_notify(2): who is told of the next message to an empty queue, and how. */
export interface Notification {
  readonly group: ThreadGroup;
  /** 0: nobody hears of it, but the place is taken (SIGEV_NONE). */
  readonly signo: number;
  readonly valueLo: number;
  readonly valueHi: number;
}

/** mq_attr's two limits. */
export interface QueueLimits {
  readonly maxMessages: number;
  readonly messageSize: number;
}

export class QueueInode extends Inode {
  readonly limits: QueueLimits;
  /** Highest priority first, oldest first among equals. */
  readonly messages: QueuedMessage[] = [];
  readonly waiters: WaitQueue = new WaitQueue();
  notification: Notification | null = null;
  /** Tasks that wait in mq_receive: a message for them is not news to others. */
  receivers = 0;
  bytes = 0;

  constructor(fs: Filesystem, ino: number, mode: number, limits: QueueLimits) {
    super(fs, ino, mode);
    this.limits = limits;
    this.size = 80;
    touchBorn(this);
  }

  get isFull(): boolean {
    return this.messages.length >= this.limits.maxMessages;
  }

  add(message: QueuedMessage): void {
    let at = this.messages.length;
    while (at > 0 && this.messages[at - 1]!.priority < message.priority) at--;
    this.messages.splice(at, 0, message);
    this.bytes += message.data.length;
    this.waiters.notify(POLLIN | POLLRDNORM);
  }

  take(): QueuedMessage {
    const message = this.messages.shift()!;
    this.bytes -= message.data.length;
    this.waiters.notify(POLLOUT | POLLWRNORM);
    return message;
  }

  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription {
    return new QueueDescription(flags, path, this);
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    return applyAttr(this, attr);
  }
}

const text = new Uint8Array(128);

export class QueueDescription extends FileDescription {
  readonly queue: QueueInode;

  constructor(flags: number, path: VfsPath, queue: QueueInode) {
    super(flags, path, queue.waiters);
    this.queue = queue;
  }

  override inode(): Inode {
    return this.queue;
  }

  override canPoll(): boolean {
    return true;
  }

  override poll(_t: Task | null): number {
    let events = 0;
    if (this.queue.messages.length > 0) events |= POLLIN | POLLRDNORM;
    if (!this.queue.isFull) events |= POLLOUT | POLLWRNORM;
    return events;
  }

  /** A line of state, mqueue_read_file(). */
  override read(t: Task, io: IoBuffer): number {
    const n = this.pread(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pread(t: Task | null, io: IoBuffer, offset: number): number {
    const { notification, bytes } = this.queue;
    const pid = notification === null || t === null ? 0 : notification.group.pid.numberIn(t.pidns);
    const line = `QSIZE:${String(bytes).padEnd(10)} NOTIFY:${String(notification === null || notification.signo !== 0 ? 0 : 1).padEnd(5)} SIGNO:${String(notification?.signo ?? 0).padEnd(5)} NOTIFY_PID:${String(pid).padEnd(6)}\n`;
    const size = putLatin1(text, 0, line);
    const n = Math.min(io.remaining, size - offset);
    return n <= 0 ? 0 : io.put(text, offset, n);
  }

  override seek(_t: Task, offset: number, whence: number): number {
    const pos = whence === SEEK_SET ? offset : whence === SEEK_CUR ? this.pos + offset : -1;
    if (pos < 0) return -EINVAL;
    this.pos = pos;
    return pos;
  }

  // mqueue_flush_file(): a process that closes the queue is not told any more.
  override flush(t: Task): number {
    if (this.queue.notification?.group === t.group) this.queue.notification = null;
    return 0;
  }
}

class QueueDir extends StaticDir {
  private readonly owner: MqueueFilesystem;

  constructor(fs: MqueueFilesystem, ino: number) {
    super(fs, ino, 0o1777);
    this.owner = fs;
  }

  override create(creds: Credentials, name: string, mode: number): Inode | number {
    const made = this.owner.make(creds, mode);
    if (typeof made !== 'number') this.add(name, made);
    return made;
  }

  override unlink(name: string, child: Inode): number {
    this.remove(name);
    child.nlink = 0;
    this.owner.queues--;
    return 0;
  }
}

export class MqueueFilesystem extends KernfsFilesystem {
  private readonly kernel: Kernel;
  private readonly rootDir: QueueDir;
  /** Where mq_open(2) works; nobody else sees it. */
  readonly ownMount: Mount;
  queues = 0;
  /** What the mq_open(2) under way asks for; null for a plain open(2) with O_CREAT. */
  wanted: QueueLimits | null = null;
  /** RLIMIT_MSGQUEUE of the caller of mq_open(2). */
  byteLimit = Number.POSITIVE_INFINITY;

  private constructor(kernel: Kernel) {
    super('mqueue', allocateAnonDev(), MAGIC);
    this.kernel = kernel;
    this.source = 'mqueue';
    this.rootDir = new QueueDir(this, this.newIno());
    this.ownMount = Mount.of(this, 0);
    this.ownMount.internal = true;
  }

  static of(kernel: Kernel, ns: IpcNamespace): MqueueFilesystem {
    let fs = ns.tables.get(TABLE) as MqueueFilesystem | undefined;
    if (fs === undefined) {
      fs = new MqueueFilesystem(kernel);
      ns.tables.set(TABLE, fs);
    }
    return fs;
  }

  override root(): Inode {
    return this.rootDir;
  }

  /** mqueue_create_attr() and mqueue_get_inode(). */
  make(creds: Credentials, mode: number): QueueInode | number {
    const { sysctls } = this.kernel;
    const privileged = creds.capable(CAP_SYS_RESOURCE);
    if (this.queues >= sysctls.int('fs.mqueue.queues_max') && !privileged) return -ENOSPC;
    const limits = this.wanted ?? {
      maxMessages: Math.min(sysctls.int('fs.mqueue.msg_max'), sysctls.int('fs.mqueue.msg_default')),
      messageSize: Math.min(sysctls.int('fs.mqueue.msgsize_max'), sysctls.int('fs.mqueue.msgsize_default')),
    };
    // mq_attr_ok().
    const maxMessages = privileged ? HARD_MESSAGES : sysctls.int('fs.mqueue.msg_max');
    const maxSize = privileged ? HARD_SIZE : sysctls.int('fs.mqueue.msgsize_max');
    if (limits.maxMessages <= 0 || limits.messageSize <= 0) return -EINVAL;
    if (limits.maxMessages > maxMessages || limits.messageSize > maxSize) return -EINVAL;
    if (limits.maxMessages * (limits.messageSize + MESSAGE_COST) > this.byteLimit) return -EMFILE;
    const made = new QueueInode(this, this.newIno(), (mode & ~S_IFMT) | S_IFREG, limits);
    made.uid = creds.fsuid;
    made.gid = creds.fsgid;
    this.queues++;
    return made;
  }

  /** Sets what make() obeys during one open; call again with null when it is done. */
  prepare(t: Task | null, limits: QueueLimits | null): void {
    this.wanted = limits;
    this.byteLimit = t === null ? Number.POSITIVE_INFINITY : t.group.limits.soft[RLIMIT_MSGQUEUE]!;
  }
}

/** The type for mount(2): the queues of the mounter's ipc namespace. */
export function mqueueType(kernel: Kernel): FilesystemType {
  return {
    name: 'mqueue',
    nodev: true,
    userMount: true,
    mount(ctx: VfsContext, _source: string, _flags: number, _options: string): Filesystem {
      return MqueueFilesystem.of(kernel, (ctx.task?.ns ?? containerOf(ctx, kernel).namespaces).ipc);
    },
  };
}
