// Priority-inheritance futexes: kernel/futex/pi.c, requeue.c. The word holds the owner's thread id
// (in the owner's pid namespace), FUTEX_WAITERS once somebody waits in the kernel, and
// FUTEX_OWNER_DIED. While somebody waits the kernel knows the owner too, in a PiState. Ownership is
// handed over in strict order; nothing is scheduled by priority here, so none is inherited.

import { EAGAIN, EDEADLK, EINVAL, EPERM, ERESTARTNOINTR, ESRCH, ETIMEDOUT } from '../abi/errno.ts';
import { FUTEX_BITSET_MATCH_ANY, FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS } from '../abi/sched.ts';
import { type FutexKey, FutexWaiter, futexKey, isError } from './futex.ts';
import { exchangeWord } from './futex-word.ts';
import { TASK_DEAD, type Task, WAKE_EVENT, WAKE_TIMEOUT } from './task.ts';

/** How often a word that guest threads keep changing is looked at again before the call is made anew. */
const RETRIES = 64;

/** A PI futex that somebody waits for. */
export class PiState {
  readonly key: FutexKey;
  owner: Task;
  /** First come, first served. */
  readonly waiters: FutexWaiter[] = [];

  constructor(key: FutexKey, owner: Task) {
    this.key = key;
    this.owner = owner;
  }
}

function ownId(t: Task): number {
  return t.pid.numberIn(t.pidns);
}

/** FUTEX_LOCK_PI, FUTEX_LOCK_PI2 and FUTEX_TRYLOCK_PI; deadlineNs is absolute and monotonic. */
export function futexLockPi(t: Task, addr: number, isPrivate: boolean, deadlineNs: number, isTry: boolean): number {
  const key = futexKey(t, addr, isPrivate);
  if (isError(key)) return key;
  const waiter = new FutexWaiter(t);
  const got = acquire(t, addr, key, waiter, isTry);
  if (got !== WAITS) return got;
  waiter.requeueAddr = addr;
  t.object = waiter;
  return t.park(deadlineNs, resumeLock);
}

const WAITS = 1;

/** futex_lock_pi_atomic() for waiter's task: 0 when the lock is its own now, WAITS when it has joined the waiters, -errno. */
function acquire(t: Task, addr: number, key: FutexKey, waiter: FutexWaiter, isTry: boolean): number {
  const futexes = t.kernel.futexes;
  const id = ownId(t);
  for (let i = 0; i < RETRIES; i++) {
    const word = t.mm.loadU32(addr);
    if (word < 0) return word;
    const holder = word & FUTEX_TID_MASK;
    if (holder === id) return -EDEADLK;
    let pi = futexes.pi.get(key);
    if (pi === undefined && holder === 0) {
      // Whoever gets it after its owner's death learns that from the bit.
      const taken = ((word & FUTEX_OWNER_DIED) | id) >>> 0;
      const was = exchangeWord(t, addr, word, taken);
      if (was < 0) return was;
      if (was === word) return 0;
      continue;
    }
    if (isTry) return pi === undefined && !isAlive(t, holder) ? -ESRCH : -EAGAIN;
    if ((word & FUTEX_WAITERS) === 0) {
      const was = exchangeWord(t, addr, word, (word | FUTEX_WAITERS) >>> 0);
      if (was < 0) return was;
      if (was !== word) continue;
    }
    if (pi === undefined) {
      if (!isAlive(t, holder)) return -ESRCH;
      const owner = t.pidns.task(holder)!;
      pi = new PiState(key, owner);
      futexes.pi.set(key, pi);
      addOwned(owner, pi);
    } else if ((word & FUTEX_TID_MASK) !== 0 && ownId(pi.owner) !== holder) {
      // The word names somebody else than the kernel has handed the lock to: corrupted by the guest.
      return -EINVAL;
    }
    waiter.pi = pi;
    pi.waiters.push(waiter);
    return WAITS;
  }
  return -ERESTARTNOINTR;
}

/** handle_exit_race(): a word may name somebody who has ended without its robust list. */
function isAlive(t: Task, id: number): boolean {
  const owner = t.pidns.task(id);
  return owner !== undefined && owner.state !== TASK_DEAD;
}

function resumeLock(t: Task, why: number): number {
  const waiter = t.object as FutexWaiter;
  t.object = null;
  if (waiter.woken) return 0;
  leavePi(t, waiter);
  return why === WAKE_TIMEOUT ? -ETIMEDOUT : -ERESTARTNOINTR;
}

function leavePi(t: Task, waiter: FutexWaiter): void {
  const pi = waiter.pi;
  if (pi === null) return;
  waiter.pi = null;
  const at = pi.waiters.indexOf(waiter);
  if (at >= 0) pi.waiters.splice(at, 1);
  if (pi.waiters.length === 0) drop(t, pi);
}

function drop(t: Task, pi: PiState): void {
  t.kernel.futexes.pi.delete(pi.key);
  removeOwned(pi.owner, pi);
}

function addOwned(t: Task, pi: PiState): void {
  if (t.piStates === null) t.piStates = [];
  t.piStates.push(pi);
}

function removeOwned(t: Task, pi: PiState): void {
  const list = t.piStates;
  const at = list === null ? -1 : list.indexOf(pi);
  if (at >= 0) list!.splice(at, 1);
}

/** FUTEX_UNLOCK_PI: hands the lock to the first waiter, or frees the word. */
export function futexUnlockPi(t: Task, addr: number, isPrivate: boolean): number {
  const key = futexKey(t, addr, isPrivate);
  if (isError(key)) return key;
  for (let i = 0; i < RETRIES; i++) {
    const word = t.mm.loadU32(addr);
    if (word < 0) return word;
    if ((word & FUTEX_TID_MASK) !== ownId(t)) return -EPERM;
    const pi = t.kernel.futexes.pi.get(key);
    if (pi !== undefined) return handOver(t, pi, 0);
    const was = exchangeWord(t, addr, word, 0);
    if (was < 0) return was;
    if (was === word) return 0;
  }
  return -EAGAIN;
}

/** Makes the first waiter the owner. `bits` is FUTEX_OWNER_DIED when the old one has died. */
function handOver(t: Task, pi: PiState, bits: number): number {
  const next = pi.waiters.shift()!;
  const heir = next.task;
  removeOwned(pi.owner, pi);
  pi.owner = heir;
  next.pi = null;
  next.woken = true;
  if (pi.waiters.length === 0) t.kernel.futexes.pi.delete(pi.key);
  else addOwned(heir, pi);
  // Linux keeps the bit even for the last waiter: its unlock comes to the kernel and clears the word.
  const stored = heir.mm.storeU32Now(next.requeueAddr, (ownId(heir) | FUTEX_WAITERS | bits) >>> 0);
  heir.wake(WAKE_EVENT);
  return stored;
}

/** A task dies with PI futexes that others wait for: exit_pi_state_list(). */
export function exitPiStates(t: Task): void {
  while (t.piStates !== null && t.piStates.length > 0) handOver(t, t.piStates[0]!, FUTEX_OWNER_DIED);
}

/** FUTEX_WAIT_REQUEUE_PI: waits for `addr` until FUTEX_CMP_REQUEUE_PI moves us to `addr2` and that lock is ours. */
export function futexWaitRequeuePi(
  t: Task,
  addr: number,
  isPrivate: boolean,
  val: number,
  bitset: number,
  deadlineNs: number,
  addr2: number,
): number {
  if (bitset === 0 || addr === addr2) return -EINVAL;
  const key = futexKey(t, addr, isPrivate);
  if (isError(key)) return key;
  const key2 = futexKey(t, addr2, isPrivate);
  if (isError(key2)) return key2;
  const waiter = new FutexWaiter(t);
  waiter.expect(addr);
  const word = t.mm.loadU32(addr);
  if (word !== val) {
    waiter.forgo();
    return word < 0 ? word : -EAGAIN;
  }
  waiter.requeueKey = key2;
  waiter.requeueAddr = addr2;
  t.object = waiter;
  t.kernel.futexes.queue(key).add(waiter, bitset | 0);
  return t.park(deadlineNs, resumeWaitRequeue);
}

function resumeWaitRequeue(t: Task, why: number): number {
  const waiter = t.object as FutexWaiter;
  t.object = null;
  waiter.leave();
  // Woken while still on the first futex: by a plain FUTEX_WAKE, which is not for us.
  if (waiter.woken) return waiter.requeueKey === null ? 0 : -EAGAIN;
  const wasMoved = waiter.pi !== null;
  leavePi(t, waiter);
  if (why === WAKE_TIMEOUT) return -ETIMEDOUT;
  // "a requeue_pi was interrupted; we cannot restart, since uaddr may have changed": -EWOULDBLOCK makes user space look again.
  return wasMoved ? -EAGAIN : -ERESTARTNOINTR;
}

/** FUTEX_CMP_REQUEUE_PI: gives the lock at addr2 to the first waiter of addr if it is free, and lets the others wait for it. */
export function futexCmpRequeuePi(
  t: Task,
  addr: number,
  isPrivate: boolean,
  wakeCount: number,
  moveCount: number,
  addr2: number,
  cmpVal: number,
): number {
  if (wakeCount !== 1 || addr === addr2) return -EINVAL;
  const key = futexKey(t, addr, isPrivate);
  if (isError(key)) return key;
  const key2 = futexKey(t, addr2, isPrivate);
  if (isError(key2)) return key2;
  const word = t.mm.loadU32(addr);
  if (word < 0) return word;
  if (word !== cmpVal) return -EAGAIN;
  const queue = t.kernel.futexes.find(key);
  let done = 0;
  while (queue !== undefined && queue.head !== null && done < wakeCount + moveCount) {
    const waiter = queue.head as FutexWaiter;
    if (waiter.requeueKey !== key2) return -EINVAL;
    const got = acquire(waiter.task, waiter.requeueAddr, key2, waiter, false);
    if (got < 0) return done > 0 ? done : got;
    waiter.leave();
    waiter.requeueKey = null;
    done++;
    if (got === WAITS) continue;
    waiter.woken = true;
    waiter.task.wake(WAKE_EVENT);
  }
  return done;
}

/** The bits of any waiter. */
export const ANY_BIT = FUTEX_BITSET_MATCH_ANY | 0;
