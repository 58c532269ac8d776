// Waiting for something to happen, without allocating. An object that can become ready owns a
// WaitQueue; who waits owns a Waiter and adds it with the poll(2) bits it cares about:
//
//   queue.add(waiter, POLLIN);      // first register ...
//   if (ready()) ...                // ... then look: handlers do not interleave, so nothing slips between
//   queue.notify(POLLIN);           // the producer's side
//   waiter.unlink();                // the waiter's side, when it has seen enough
//
// A Waiter is in at most one queue. `notified` may unlink any waiter of the queue and add others;
// those added while a notification runs are not called by it.

export abstract class Waiter {
  mask = 0;
  queue: WaitQueue | null = null;
  prev: Waiter | null = null;
  next: Waiter | null = null;

  /** Called for an event that `mask` has asked for. `events` are poll(2) bits (futexes: the bitset). */
  abstract notified(events: number): void;

  unlink(): void {
    const queue = this.queue;
    if (queue === null) return;
    if (queue.cursor === this) queue.cursor = this.next;
    if (this.prev === null) queue.head = this.next;
    else this.prev.next = this.next;
    if (this.next === null) queue.tail = this.prev;
    else this.next.prev = this.prev;
    this.queue = null;
    this.prev = null;
    this.next = null;
  }
}

export class WaitQueue {
  head: Waiter | null = null;
  tail: Waiter | null = null;
  /** The waiter that a running notify() calls next; unlink() keeps it valid. */
  cursor: Waiter | null = null;

  /** Appends: waiters are called first come, first served. */
  add(waiter: Waiter, mask: number): void {
    waiter.unlink();
    waiter.mask = mask;
    waiter.queue = this;
    waiter.prev = this.tail;
    if (this.tail === null) this.head = waiter;
    else this.tail.next = waiter;
    this.tail = waiter;
  }

  isEmpty(): boolean {
    return this.head === null;
  }

  /** Tells all who wait for any of `events`; POLLERR and POLLHUP must be in their masks to be heard. */
  notify(events: number): void {
    if (this.head === null) return;
    const outer = this.cursor;
    const last = this.tail;
    let waiter = this.head as Waiter | null;
    while (waiter !== null) {
      this.cursor = waiter === last ? null : waiter.next;
      if ((waiter.mask & events) !== 0) waiter.notified(events);
      waiter = this.cursor;
    }
    this.cursor = outer;
  }

  /** Tells at most `count` of them, oldest first; returns how many were told. */
  notifySome(events: number, count: number): number {
    let told = 0;
    let waiter = this.head;
    while (waiter !== null && told < count) {
      const next: Waiter | null = waiter.next;
      if ((waiter.mask & events) !== 0) {
        waiter.notified(events);
        told++;
      }
      waiter = next;
    }
    return told;
  }
}

/** The queue of all files that are always ready, as regular files and directories are: nothing is ever told here, so that none of them needs its own. */
export const neverTold: WaitQueue = new WaitQueue();
