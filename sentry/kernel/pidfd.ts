// A process as a descriptor: fs/pidfs.c, kernel/fork.c:pidfd_poll().

import { ESRCH } from '../abi/errno.ts';
import { O_RDWR } from '../abi/fcntl.ts';
import { POLLHUP, POLLIN, POLLRDNORM } from '../abi/poll.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode } from '../vfs/filesystem.ts';
import type { Pid, PidNamespace } from './pid-namespace.ts';
import type { Task } from './task.ts';
import type { ThreadGroup } from './thread-group.ts';

/** pidfd_open(2): the descriptor names one thread, not its process. O_EXCL's value. */
export const PIDFD_THREAD = 0x80;

export class PidFd extends FileDescription {
  readonly pid: Pid;
  /** What it names as long as that exists; a thread group outlives its number by nothing. */
  readonly group: ThreadGroup;
  private readonly thread: Task | null;
  private readonly node: Inode;

  /** `inode` is the anonymous one; `flags` are O_NONBLOCK and PIDFD_THREAD. */
  constructor(pid: Pid, group: ThreadGroup, thread: Task | null, flags: number, inode: Inode) {
    super(O_RDWR | flags, undefined, pid.waiters);
    this.pid = pid;
    this.group = group;
    this.thread = thread;
    this.node = inode;
  }

  override inode(): Inode {
    return this.node;
  }

  override canPoll(): boolean {
    return true;
  }

  /** Readable once the process (or the thread) has ended, hung up once it has been reaped. */
  override poll(_t: Task | null): number {
    if (this.group.isReaped) return POLLIN | POLLRDNORM | POLLHUP;
    if (this.thread !== null) return this.pid.task === this.thread && this.group.tasks.includes(this.thread) ? 0 : POLLIN | POLLRDNORM;
    return this.group.isDead ? POLLIN | POLLRDNORM : 0;
  }

  /** The thread to act on: -ESRCH once it is gone. */
  target(): Task | number {
    if (this.group.isReaped) return -ESRCH;
    if (this.thread === null) return this.group.leader;
    return this.pid.task === this.thread ? this.thread : -ESRCH;
  }

  /** Whether it names a thread rather than a process. */
  get isThread(): boolean {
    return this.thread !== null;
  }

  /** "Pid:" as the reader of fdinfo sees it; -1 for one that is gone. */
  fdinfoFor(ns: PidNamespace): string {
    const number = this.group.isReaped ? -1 : this.pid.numberIn(ns);
    return `Pid:\t${number}\n`;
  }

  override fdinfo(): string {
    return this.fdinfoFor(this.pid.ns);
  }

  override linkText(): string {
    return 'anon_inode:[pidfd]';
  }
}
