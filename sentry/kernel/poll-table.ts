// The files that one poll(2) or select(2) looks at, and what wakes the task while it waits for
// them. A table belongs to a task and is reused, so that a poll allocates nothing once the table
// has grown to the number of descriptors the program polls: struct poll_wqueues.

import { O_PATH } from '../abi/fcntl.ts';
import { POLLERR, POLLHUP, POLLNVAL } from '../abi/poll.ts';
import { Waiter } from '../base/wait-queue.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { type Task, WAKE_EVENT } from './task.ts';

const NO_BYTES = new Uint8Array(0);

/** One descriptor of a poll. */
class PollEntry extends Waiter {
  readonly task: Task;
  file: FileDescription | undefined = undefined;
  fd = -1;
  /** What is asked for, and what holds. */
  events = 0;
  revents = 0;

  constructor(task: Task) {
    super();
    this.task = task;
  }

  /** Stays in its queue: whether this was what the task waits for shows in the next scan. */
  override notified(_events: number): void {
    this.task.wake(WAKE_EVENT);
  }
}

export class PollTable {
  private readonly task: Task;
  private readonly entries: PollEntry[] = [];
  private armed = false;
  count = 0;
  /** Working space for the guest's arrays. */
  bytes: Uint8Array = NO_BYTES;
  view: DataView = new DataView(NO_BYTES.buffer);

  constructor(task: Task) {
    this.task = task;
  }

  /** Starts over, with room for `bytes` of the guest's arrays. */
  reset(bytes: number): void {
    this.count = 0;
    if (this.bytes.length >= bytes) return;
    this.bytes = new Uint8Array(Math.max(256, bytes * 2));
    this.view = new DataView(this.bytes.buffer);
  }

  /** Adds a descriptor. A negative fd is never ready; one that is not open is POLLNVAL. */
  add(fd: number, file: FileDescription | undefined, events: number): void {
    if (this.count === this.entries.length) this.entries.push(new PollEntry(this.task));
    const entry = this.entries[this.count++]!;
    entry.fd = fd;
    entry.file = file;
    entry.events = events;
    entry.revents = 0;
  }

  fd(n: number): number {
    return this.entries[n]!.fd;
  }

  events(n: number): number {
    return this.entries[n]!.events;
  }

  revents(n: number): number {
    return this.entries[n]!.revents;
  }

  /** Asks every file; how many have something to report. `unasked` are events that count without being asked for: POLLERR and POLLHUP in poll(2). */
  scan(unasked: number): number {
    let ready = 0;
    for (let i = 0; i < this.count; i++) {
      const entry = this.entries[i]!;
      if (entry.fd < 0) continue;
      // While waiting, the number may have been closed or have come to mean another file: do_pollfd() looks it up each time.
      const file = this.armed ? this.openFile(entry.fd) : entry.file;
      entry.revents = file === undefined ? POLLNVAL : file.poll(this.task) & (entry.events | unasked);
      if (entry.revents !== 0) ready++;
    }
    return ready;
  }

  private openFile(fd: number): FileDescription | undefined {
    const file = this.task.fds.get(fd);
    return file === undefined || (file.flags & O_PATH) !== 0 ? undefined : file;
  }

  /** Waits with the task: takes a reference of each file, since another thread may close its fd. */
  arm(): void {
    this.armed = true;
    for (let i = 0; i < this.count; i++) {
      const entry = this.entries[i]!;
      if (entry.file === undefined) continue;
      entry.file.incRef();
      entry.file.waiters.add(entry, entry.events | POLLERR | POLLHUP);
    }
  }

  /** The wait is over. */
  disarm(): void {
    if (!this.armed) return;
    this.armed = false;
    for (let i = 0; i < this.count; i++) {
      const entry = this.entries[i]!;
      const file = entry.file;
      if (file === undefined) continue;
      entry.unlink();
      entry.file = undefined;
      file.decRef(this.task);
    }
  }
}
