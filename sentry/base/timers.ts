// Deadlines: a binary heap over preallocated Timer objects. Times are nanoseconds of the
// monotonic clock. The run loop sleeps until next() and calls expire() when it is due.

/** A deadline that never comes. */
export const FOREVER = Number.POSITIVE_INFINITY;

export abstract class Timer {
  deadlineNs = FOREVER;
  /** Place in the heap, -1 when not started. */
  index = -1;

  /** Called once when the deadline has passed; the timer is stopped and may be started again. */
  abstract fired(nowNs: number): void;
}

export class TimerHeap {
  private readonly heap: Timer[] = [];

  /** Starts the timer, or moves its deadline. */
  start(timer: Timer, deadlineNs: number): void {
    if (timer.index >= 0) this.stop(timer);
    if (deadlineNs === FOREVER) return;
    timer.deadlineNs = deadlineNs;
    timer.index = this.heap.length;
    this.heap.push(timer);
    this.up(timer.index);
  }

  stop(timer: Timer): void {
    const at = timer.index;
    if (at < 0) return;
    const last = this.heap.pop()!;
    timer.index = -1;
    if (last === timer) return;
    this.place(last, at);
    this.up(at);
    this.down(last.index);
  }

  /** The earliest deadline, or FOREVER. */
  next(): number {
    return this.heap.length === 0 ? FOREVER : this.heap[0]!.deadlineNs;
  }

  /** Fires everything due at `nowNs`. A timer restarted by its own firing for a passed time waits for the next call. */
  expire(nowNs: number): void {
    let budget = this.heap.length;
    while (budget-- > 0 && this.heap.length > 0 && this.heap[0]!.deadlineNs <= nowNs) {
      const timer = this.heap[0]!;
      this.stop(timer);
      timer.fired(nowNs);
    }
  }

  private place(timer: Timer, at: number): void {
    this.heap[at] = timer;
    timer.index = at;
  }

  private up(at: number): void {
    const timer = this.heap[at]!;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.heap[parent]!.deadlineNs <= timer.deadlineNs) break;
      this.place(this.heap[parent]!, at);
      at = parent;
    }
    this.place(timer, at);
  }

  private down(at: number): void {
    const timer = this.heap[at]!;
    const size = this.heap.length;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= size) break;
      if (child + 1 < size && this.heap[child + 1]!.deadlineNs < this.heap[child]!.deadlineNs) child++;
      if (this.heap[child]!.deadlineNs >= timer.deadlineNs) break;
      this.place(this.heap[child]!, at);
      at = child;
    }
    this.place(timer, at);
  }
}
