// What waits for the host's disk: fsync(2), and reads of what the page cache does not have. The calling task waits, the
// sandbox does not. The call runs on a thread of its own (slowCall* of the addon); an event descriptor in the run loop's watch tells of its end.
//
// A slot belongs to one call until that call has ended, even if the task has been killed meanwhile: the descriptor
// must stay open for the thread, so the slot holds a reference on the file.

import { EINTR } from '../../abi/errno.ts';
import { POLLIN } from '../../abi/poll.ts';
import { fdatasync, fsync, read, slowCallEvents, slowCallResult, slowCallStart } from '../../host/host-io.ts';
import { nextWatchToken } from '../../host/watch-token.ts';
import type { HostWatcher, Kernel } from '../../kernel/kernel.ts';
import type { Task } from '../../kernel/task.ts';
import type { FileDescription } from '../../vfs/file-description.ts';

const SLOTS = 256;
/** slowCallResult(): not yet. */
const RUNNING = 1;
// Of slowCallStart().
const KIND_FSYNC = 0;
const KIND_FDATASYNC = 1;
const KIND_FETCH = 2;
/** task.ts: what a waited-for event wakes with; a constant here, since nothing of the kernel is imported. */
const WAKE_EVENT = 1;

const counter = new Uint8Array(8);

class SlowCalls implements HostWatcher {
  private readonly eventFd: number;
  private readonly files: (FileDescription | null)[] = new Array<FileDescription | null>(SLOTS).fill(null);
  /** Who waits for a slot; null once it has been killed. */
  private readonly tasks: (Task | null)[] = new Array<Task | null>(SLOTS).fill(null);

  constructor(kernel: Kernel) {
    this.eventFd = slowCallEvents();
    const token = nextWatchToken();
    kernel.hostWatchers.set(token, this);
    if (this.eventFd >= 0 && kernel.platform.watch(this.eventFd, POLLIN, token) < 0) this.eventFd = -1;
  }

  /** The slot, or -1 when the call has to be made here and now. */
  start(t: Task, file: FileDescription, hostFd: number, kind: number, offset: number, length: number): number {
    const slot = this.eventFd < 0 ? -1 : this.files.indexOf(null);
    if (slot < 0 || slowCallStart(slot, hostFd, kind, offset, length) < 0) return -1;
    file.incRef();
    this.files[slot] = file;
    this.tasks[slot] = t;
    return slot;
  }

  abandon(t: Task): void {
    const slot = this.tasks.indexOf(t);
    if (slot >= 0) this.tasks[slot] = null;
  }

  hostReady(_events: number): void {
    // Edge-triggered: the counter is emptied first, so that an end after this read tells again.
    read(this.eventFd, counter, 0, 8);
    for (let slot = 0; slot < SLOTS; slot++) {
      const file = this.files[slot];
      if (file === null) continue;
      const result = slowCallResult(slot);
      if (result === RUNNING) continue;
      const t = this.tasks[slot];
      this.files[slot] = null;
      this.tasks[slot] = null;
      if (t !== null) {
        t.n1 = result;
        t.wake(WAKE_EVENT);
      }
      file.decRef(null);
    }
  }
}

const bySandbox = new WeakMap<Kernel, SlowCalls>();

function slowCalls(kernel: Kernel): SlowCalls {
  let calls = bySandbox.get(kernel);
  if (calls === undefined) {
    calls = new SlowCalls(kernel);
    bySandbox.set(kernel, calls);
  }
  return calls;
}

/** Begins fsync or fdatasync of a host descriptor that `file` keeps open; parks the task until it has ended. */
export function startSync(t: Task, file: FileDescription, hostFd: number, dataOnly: boolean): number {
  const slot = slowCalls(t.kernel).start(t, file, hostFd, dataOnly ? KIND_FDATASYNC : KIND_FSYNC, 0, 0);
  if (slot < 0) return dataOnly ? fdatasync(hostFd) : fsync(hostFd);
  return t.parkUninterruptible(resumeSync);
}

function resumeSync(t: Task, why: number): number {
  if (why === WAKE_EVENT) return t.n1;
  // Killed: nobody will see a result.
  abandonSlowCall(t);
  return -EINTR;
}

/**
 * Begins to bring a range of a host descriptor's file into the page cache: whether that is so. t is woken with WAKE_EVENT
 * when it has ended.
 */
export function startFetch(t: Task, file: FileDescription, hostFd: number, offset: number, length: number): boolean {
  return slowCalls(t.kernel).start(t, file, hostFd, KIND_FETCH, offset, length) >= 0;
}

/** The task will not wait for its call's end any more. */
export function abandonSlowCall(t: Task): void {
  bySandbox.get(t.kernel)?.abandon(t);
}
