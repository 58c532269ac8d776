// SECCOMP_RET_USER_NOTIF: a call is put before whoever holds the filter's listener, and its task waits
// for the answer. A notification is INIT until it is received, SENT until it is answered; a signal
// that comes first takes it back, and the restarted call makes a new one. kernel/seccomp.c.

import { ENOSYS, ERESTARTSYS } from '../abi/errno.ts';
import { POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from '../abi/poll.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import type { Resume, Task } from './task.ts';
import { FOREVER } from './timers.ts';

export const NOTIFY_INIT = 0;
export const NOTIFY_SENT = 1;
export const NOTIFY_REPLIED = 2;

/** One call before a listener: struct seccomp_knotif. */
export class Notification {
  readonly id: number;
  readonly task: Task;
  /** struct seccomp_data, as words. */
  readonly data: Uint32Array;
  state: number = NOTIFY_INIT;
  // The answer: an error, or a value of 64 bits, or that the call goes on.
  error = 0;
  valueLo = 0;
  valueHi = 0;
  continues = false;

  constructor(id: number, task: Task, data: Uint32Array) {
    this.id = id;
    this.task = task;
    this.data = data;
  }
}

/** struct notification, and the users of its filter. */
export class SeccompListener {
  /** Who waits for something to receive, or polls. */
  readonly waiters = new WaitQueue();
  /** Who waits for an answer. */
  readonly callers = new WaitQueue();
  /** SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: once received, only a fatal signal takes a call back. */
  readonly waitsKillable: boolean;
  /** Tasks under the filter. */
  users = 0;
  isClosed = false;
  private readonly pending: Notification[] = [];
  private lastId: number;

  constructor(waitsKillable: boolean, firstId: number) {
    this.waitsKillable = waitsKillable;
    this.lastId = firstId;
  }

  add(t: Task, data: Uint32Array): Notification {
    const n = new Notification(++this.lastId, t, data.slice());
    this.pending.push(n);
    this.waiters.notify(POLLIN | POLLRDNORM);
    return n;
  }

  remove(n: Notification): void {
    const at = this.pending.indexOf(n);
    if (at >= 0) this.pending.splice(at, 1);
  }

  /** The oldest that nobody has received. */
  next(): Notification | undefined {
    for (const n of this.pending) if (n.state === NOTIFY_INIT) return n;
    return undefined;
  }

  find(id: number): Notification | undefined {
    for (const n of this.pending) if (n.id === id) return n;
    return undefined;
  }

  /** A received notification is answered, by its fields: its task goes on. */
  answer(n: Notification): void {
    n.state = NOTIFY_REPLIED;
    this.callers.notify(POLLIN);
  }

  /** Nobody listens any more: all calls under way fail, and so do later ones. seccomp_notify_detach(). */
  close(): void {
    this.isClosed = true;
    for (const n of this.pending) {
      if (n.state === NOTIFY_REPLIED) continue;
      n.error = -ENOSYS;
      n.valueLo = n.valueHi = 0;
      n.continues = false;
      n.state = NOTIFY_REPLIED;
    }
    this.callers.notify(POLLIN);
  }

  /** One task fewer under the filter; after the last one nothing can come. */
  leave(): void {
    if (--this.users === 0) this.waiters.notify(POLLHUP);
  }

  /** seccomp_notify_poll(). */
  poll(): number {
    let events = this.users === 0 ? POLLHUP : 0;
    for (const n of this.pending) {
      if (n.state === NOTIFY_INIT) events |= POLLIN | POLLRDNORM;
      else if (n.state === NOTIFY_SENT) events |= POLLOUT | POLLWRNORM;
    }
    return events;
  }
}

/** The task has made a call that `listener` is to decide: parks it. `resume` asks notifyResult(). */
export function notifyListener(t: Task, listener: SeccompListener, data: Uint32Array, resume: Resume): number {
  t.object = new Wait(listener, listener.add(t, data));
  return t.block(listener.callers, POLLIN, FOREVER, resume);
}

/** What a parked call waits for. */
class Wait {
  readonly listener: SeccompListener;
  readonly notification: Notification;

  constructor(listener: SeccompListener, notification: Notification) {
    this.listener = listener;
    this.notification = notification;
  }
}

/** After a wake-up: the answer, -ERESTARTSYS when the task is needed elsewhere, or null when it has been parked again. */
export function notifyResult(t: Task, isSignal: boolean, resume: Resume): Notification | number | null {
  const { listener, notification } = t.object as Wait;
  if (notification.state !== NOTIFY_REPLIED) {
    if (!isSignal) {
      t.block(listener.callers, POLLIN, FOREVER, resume);
      return null;
    }
    if (listener.waitsKillable && notification.state === NOTIFY_SENT && !t.group.exiting) {
      t.parkUninterruptible(resume);
      listener.callers.add(t.waiter, POLLIN);
      return null;
    }
  }
  t.object = null;
  listener.remove(notification);
  return notification.state === NOTIFY_REPLIED ? notification : -ERESTARTSYS;
}
