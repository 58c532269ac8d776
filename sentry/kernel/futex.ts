// Futexes: kernel/futex/*.c. A word of guest memory is known by a key (MemoryManager.futexKey), and
// a key that somebody waits for has a queue. Waiters hear a 32-bit set of bits (FUTEX_WAIT_BITSET),
// which is the queue's event mask. PI futexes are in futex-pi.ts, the end of a task in futex-exit.ts.
//
// A wake-up cannot be lost: the word is compared and the waiter queued in one handler, and a waker
// has changed the word before its own call reaches us. Where the platform answers a FUTEX_WAKE that
// finds nobody by itself, it looks at counters, one for all words with the same place in their page:
// FutexWaiter.expect() raises it before the word is read, as futex_hb_waiters_inc() does.

import { EAGAIN, EFAULT, EINVAL, ERESTART_RESTARTBLOCK, ERESTARTSYS, ETIMEDOUT } from '../abi/errno.ts';
import { FUTEX_BITSET_MATCH_ANY } from '../abi/sched.ts';
import { Waiter, WaitQueue } from '../base/wait-queue.ts';
import type { PiState } from './futex-pi.ts';
import { type Task, WAKE_EVENT, WAKE_TIMEOUT } from './task.ts';
import { FOREVER } from './timers.ts';

export type FutexKey = number | string;

/** One task waiting for one word: struct futex_q. */
export class FutexWaiter extends Waiter {
  readonly task: Task;
  /** Unqueued by a waker: the wait has succeeded, whatever else has happened meanwhile. */
  woken = false;
  /** The PI futex that it waits for, or has been requeued to. */
  pi: PiState | null = null;
  /** FUTEX_WAIT_REQUEUE_PI: the only futex that it may be moved to, and its address. */
  requeueKey: FutexKey | null = null;
  requeueAddr = 0;
  /** The counter that tells of it, or -1. */
  private bucket = -1;

  constructor(task: Task) {
    super();
    this.task = task;
  }

  /** It is about to wait for the word at addr: wakers are to ask from now on. */
  expect(addr: number): void {
    const counters = this.task.kernel.futexes.waiters;
    if (counters === null) return;
    const bucket = Math.floor(addr / 4) % counters.length;
    Atomics.add(counters, bucket, 1);
    this.forgo();
    this.bucket = bucket;
  }

  /** It does not wait after all, or no more. */
  forgo(): void {
    if (this.bucket < 0) return;
    Atomics.sub(this.task.kernel.futexes.waiters!, this.bucket, 1);
    this.bucket = -1;
  }

  override notified(_events: number): void {
    const queue = this.queue as FutexQueue;
    this.unlink();
    this.forgo();
    this.woken = true;
    queue.table.dropIfEmpty(queue);
    this.task.wake(WAKE_EVENT);
  }

  /** The wait is over, for whatever reason. */
  leave(): void {
    this.forgo();
    const queue = this.queue as FutexQueue | null;
    if (queue === null) return;
    this.unlink();
    queue.table.dropIfEmpty(queue);
  }
}

class FutexQueue extends WaitQueue {
  readonly table: FutexTable;
  readonly key: FutexKey;

  constructor(table: FutexTable, key: FutexKey) {
    super();
    this.table = table;
    this.key = key;
  }
}

export class FutexTable {
  /** Platform.futexWaiters. */
  readonly waiters: Int32Array | null;
  private readonly queues = new Map<FutexKey, FutexQueue>();
  /** PI futexes that are waited for. */
  readonly pi: Map<FutexKey, PiState> = new Map();

  constructor(waiters: Int32Array | null) {
    this.waiters = waiters;
  }

  /** The queue of a word that is about to be waited for. */
  queue(key: FutexKey): WaitQueue {
    let queue = this.queues.get(key);
    if (queue === undefined) {
      queue = new FutexQueue(this, key);
      this.queues.set(key, queue);
    }
    return queue;
  }

  /** The queue of a word if somebody waits for it. */
  find(key: FutexKey): WaitQueue | undefined {
    return this.queues.get(key);
  }

  dropIfEmpty(queue: FutexQueue): void {
    if (queue.isEmpty()) this.queues.delete(queue.key);
  }

  /** FUTEX_WAKE and FUTEX_WAKE_BITSET: how many were woken. */
  wake(key: FutexKey, count: number, bitset: number): number {
    const queue = this.queues.get(key);
    return queue === undefined ? 0 : queue.notifySome(bitset, count);
  }

  /** FUTEX_REQUEUE: wakes some and moves others to the queue of the word at toAddr; how many of both, and of the woken. */
  requeue(from: FutexKey, to: FutexKey, toAddr: number, wakeCount: number, moveCount: number): number {
    const queue = this.queues.get(from);
    if (queue === undefined) return 0;
    const woken = queue.notifySome(MATCH_ANY, wakeCount);
    let moved = 0;
    if (from === to) {
      // Linux counts waiters that stay where they are as moved.
      for (let w = queue.head; w !== null && moved < moveCount; w = w.next) moved++;
      return woken + moved;
    }
    while (moved < moveCount && queue.head !== null) {
      const waiter = queue.head as FutexWaiter;
      waiter.expect(toAddr);
      this.queue(to).add(waiter, waiter.mask);
      moved++;
    }
    this.dropIfEmpty(queue);
    return woken + moved;
  }
}

const MATCH_ANY = FUTEX_BITSET_MATCH_ANY | 0;

/** The key of a word: -EINVAL when it is not aligned. get_futex_key(). */
export function futexKey(t: Task, addr: number, isPrivate: boolean): FutexKey {
  return addr % 4 !== 0 ? -EINVAL : t.mm.futexKey(addr, isPrivate);
}

/** Whether a key is an error number instead. */
export function isError(key: FutexKey): key is number {
  return typeof key === 'number' && key < 0;
}

/** FUTEX_WAIT and FUTEX_WAIT_BITSET; deadlineNs is absolute and monotonic. */
export function futexWait(t: Task, addr: number, isPrivate: boolean, val: number, bitset: number, deadlineNs: number): number {
  if (bitset === 0) return -EINVAL;
  const key = futexKey(t, addr, isPrivate);
  if (isError(key)) return key;
  const waiter = t.futexWaiter ?? new FutexWaiter(t);
  t.futexWaiter = waiter;
  waiter.expect(addr);
  const word = t.mm.loadU32(addr);
  if (word !== val) {
    waiter.forgo();
    return word < 0 ? word : -EAGAIN;
  }
  waiter.woken = false;
  t.kernel.futexes.queue(key).add(waiter, bitset | 0);
  // For a restart, which waits with the same absolute deadline: kernel/futex/waitwake.c:futex_wait().
  t.n0 = addr;
  t.n1 = val;
  t.n2 = bitset;
  t.object = isPrivate;
  return t.park(deadlineNs, resumeWait);
}

function resumeWait(t: Task, why: number): number {
  const waiter = t.futexWaiter!;
  waiter.leave();
  if (waiter.woken) return 0;
  if (why === WAKE_TIMEOUT) return -ETIMEDOUT;
  if (why === WAKE_EVENT) return 0;
  if (t.deadlineNs === FOREVER) return -ERESTARTSYS;
  t.restartDeadlineNs = t.deadlineNs;
  t.restart = restartWait;
  return -ERESTART_RESTARTBLOCK;
}

function restartWait(t: Task): number {
  return futexWait(t, t.n0, t.object as boolean, t.n1, t.n2, t.restartDeadlineNs);
}

/** One element of futex_waitv(2). */
export interface WaitvEntry {
  addr: number;
  isPrivate: boolean;
  val: number;
}

/** futex_waitv(2): waits for any of several words; the index of the one that was woken. */
export function futexWaitMany(t: Task, entries: readonly WaitvEntry[], deadlineNs: number): number {
  const waiters: FutexWaiter[] = [];
  const failed = waitForAll(t, entries, waiters);
  if (failed < 0) {
    for (const waiter of waiters) waiter.leave();
    return failed;
  }
  t.object = waiters;
  return t.park(deadlineNs, resumeWaitMany);
}

function waitForAll(t: Task, entries: readonly WaitvEntry[], waiters: FutexWaiter[]): number {
  for (const e of entries) {
    const key = futexKey(t, e.addr, e.isPrivate);
    if (isError(key)) return key;
    const waiter = new FutexWaiter(t);
    waiter.expect(e.addr);
    t.kernel.futexes.queue(key).add(waiter, MATCH_ANY);
    waiters.push(waiter);
    const word = t.mm.loadU32(e.addr);
    if (word < 0) return -EFAULT;
    if (word !== e.val) return -EAGAIN;
  }
  return 0;
}

function resumeWaitMany(t: Task, why: number): number {
  const waiters = t.object as FutexWaiter[];
  t.object = null;
  let woken = -1;
  for (let i = 0; i < waiters.length; i++) {
    waiters[i]!.leave();
    if (waiters[i]!.woken) woken = i;
  }
  if (woken >= 0) return woken;
  return why === WAKE_TIMEOUT ? -ETIMEDOUT : -ERESTARTSYS;
}
