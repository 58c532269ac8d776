// Advisory locks of one inode: POSIX record locks (owner: the fd table), open-file-description
// locks (owner: the description) and flock(2) (owner: the description). fs/locks.c.
//
// A caller that must wait registers with beginLockWait(), parks on lockWaiters(inode) for LOCK_EVENT,
// and when woken calls endLockWait() and tries again; several woken tasks race in the order of the
// queue, which is what Linux does too.

import { EAGAIN, EDEADLK } from '../abi/errno.ts';
import { F_RDLCK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_SH, LOCK_UN } from '../abi/fcntl.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import type { Inode } from './filesystem.ts';

/** The event that lockWaiters() queues tell of. */
export const LOCK_EVENT = 1;
/** l_len 0: up to the largest offset. */
export const LOCK_TO_END = Number.MAX_SAFE_INTEGER;

/** A held record lock; `end` is inclusive. */
export class RangeLock {
  owner: object;
  /** Thread-group id in the root pid namespace; -1 for OFD locks. */
  pid: number;
  /** F_RDLCK or F_WRLCK. */
  type: number;
  start: number;
  end: number;

  constructor(owner: object, pid: number, type: number, start: number, end: number) {
    this.owner = owner;
    this.pid = pid;
    this.type = type;
    this.start = start;
    this.end = end;
  }
}

interface WholeLock {
  owner: object;
  /** LOCK_SH or LOCK_EX. */
  type: number;
  pid: number;
}

export class FileLocks {
  /** Sorted by start; ranges of one owner do not overlap. */
  ranges: RangeLock[] = [];
  readonly whole: WholeLock[] = [];
  readonly waiters: WaitQueue = new WaitQueue();
}

/** The inodes that have locks: for /proc/locks. */
export const lockedInodes: Set<Inode> = new Set();

/** Who waits for a record lock of whom: POSIX owners only, since only they are checked for deadlock. */
const waitsFor = new Map<object, object>();

function locksOf(inode: Inode): FileLocks {
  let locks = inode.locks;
  if (locks === null) {
    locks = new FileLocks();
    inode.locks = locks;
  }
  return locks;
}

/** Where a task waits for a lock of this inode. */
export function lockWaiters(inode: Inode): WaitQueue {
  return locksOf(inode).waiters;
}

/** The first lock that stands against this one, or undefined. F_GETLK. */
export function conflictingLock(inode: Inode, owner: object, type: number, start: number, end: number): RangeLock | undefined {
  const locks = inode.locks;
  if (locks === null) return undefined;
  for (const held of locks.ranges) {
    if (held.owner === owner || held.end < start || held.start > end) continue;
    if (type === F_WRLCK || held.type === F_WRLCK) return held;
  }
  return undefined;
}

/**
 * Sets or clears a record lock on [start, end]: 0, or -EAGAIN when another owner's stands against it.
 * pid is -1 for OFD locks. The owner's own locks in the range are replaced, split or merged.
 */
export function setRangeLock(inode: Inode, owner: object, pid: number, type: number, start: number, end: number): number {
  if (type === F_UNLCK && inode.locks === null) return 0;
  if (type !== F_UNLCK && conflictingLock(inode, owner, type, start, end) !== undefined) return -EAGAIN;
  const locks = locksOf(inode);
  const at = onlyTouched(locks.ranges, owner, type, start, end);
  if (at !== MANY) {
    setOne(locks, at, owner, pid, type, start, end);
    settle(inode, locks);
    return 0;
  }
  const kept: RangeLock[] = [];
  let added = type === F_UNLCK ? null : new RangeLock(owner, pid, type, start, end);
  let weakened = false;
  for (const held of locks.ranges) {
    // Neighbours of the same type grow together.
    const reach = held.type === type ? 1 : 0;
    if (held.owner !== owner || held.end + reach < start || held.start - reach > end) {
      kept.push(held);
      continue;
    }
    if (added !== null && held.type === type) {
      added.start = Math.min(added.start, held.start);
      added.end = Math.max(added.end, held.end);
      continue;
    }
    if (type !== F_WRLCK) weakened = true;
    if (held.start < start) kept.push(new RangeLock(owner, held.pid, held.type, held.start, start - 1));
    if (held.end > end) kept.push(new RangeLock(owner, held.pid, held.type, end + 1, held.end));
  }
  if (added !== null) kept.push(added);
  added = null;
  kept.sort(byStart);
  locks.ranges = kept;
  settle(inode, locks);
  if (weakened) locks.waiters.notify(LOCK_EVENT);
  return 0;
}

const NONE = -1;
const MANY = -2;

/**
 * Databases set and clear the same few ranges all the time: the index of the owner's lock on just [start, end] if that is
 * the only one of its own that the change touches, NONE if none is, else MANY.
 */
function onlyTouched(ranges: readonly RangeLock[], owner: object, type: number, start: number, end: number): number {
  let only = NONE;
  for (let i = 0; i < ranges.length; i++) {
    const held = ranges[i];
    const reach = held.type === type ? 1 : 0;
    if (held.owner !== owner || held.end + reach < start || held.start - reach > end) continue;
    if (only !== NONE || held.start !== start || held.end !== end) return MANY;
    only = i;
  }
  return only;
}

/** Sets or clears the lock at index `at`, which is on [start, end], or (NONE) makes one where it belongs. */
function setOne(locks: FileLocks, at: number, owner: object, pid: number, type: number, start: number, end: number): void {
  const { ranges } = locks;
  if (at === NONE) {
    if (type === F_UNLCK) return;
    let to = ranges.length;
    while (to > 0 && ranges[to - 1].start > start) to--;
    ranges.splice(to, 0, new RangeLock(owner, pid, type, start, end));
    return;
  }
  const held = ranges[at];
  const weakened = type === F_UNLCK || (held.type === F_WRLCK && type === F_RDLCK);
  if (type === F_UNLCK) ranges.splice(at, 1);
  else {
    held.type = type;
    held.pid = pid;
  }
  if (weakened) locks.waiters.notify(LOCK_EVENT);
}

/** Lists the inode among the locked ones or not; without locks it is like one that never had any. */
function settle(inode: Inode, locks: FileLocks): void {
  if (locks.ranges.length > 0 || locks.whole.length > 0) {
    lockedInodes.add(inode);
    return;
  }
  lockedInodes.delete(inode);
  if (locks.waiters.isEmpty()) inode.locks = null;
}

function byStart(a: RangeLock, b: RangeLock): number {
  return a.start - b.start;
}

/**
 * Before waiting for a record lock: 0, or -EDEADLK when its holder waits, through others, for
 * `owner`. OFD owners are not checked, as in Linux: pass isOfd.
 */
export function beginLockWait(inode: Inode, owner: object, isOfd: boolean, type: number, start: number, end: number): number {
  const blocker = conflictingLock(inode, owner, type, start, end);
  if (blocker === undefined || isOfd) return 0;
  for (let next: object | undefined = blocker.owner; next !== undefined; next = waitsFor.get(next)) if (next === owner) return -EDEADLK;
  waitsFor.set(owner, blocker.owner);
  return 0;
}

export function endLockWait(owner: object): void {
  waitsFor.delete(owner);
}

/** flock(2): op is LOCK_SH, LOCK_EX or LOCK_UN. 0 or -EAGAIN. A conversion gives the old lock up first, as Linux does. */
export function setFlock(inode: Inode, owner: object, pid: number, op: number): number {
  if (inode.locks === null && op === LOCK_UN) return 0;
  const locks = locksOf(inode);
  const at = locks.whole.findIndex((l) => l.owner === owner);
  if (at >= 0) {
    if (locks.whole[at]!.type === op) return 0;
    locks.whole.splice(at, 1);
    locks.waiters.notify(LOCK_EVENT);
  }
  if (op === LOCK_UN) {
    settle(inode, locks);
    return 0;
  }
  for (const held of locks.whole) {
    if (op !== LOCK_EX && held.type !== LOCK_EX) continue;
    settle(inode, locks);
    return -EAGAIN;
  }
  locks.whole.push({ owner, type: op === LOCK_EX ? LOCK_EX : LOCK_SH, pid });
  settle(inode, locks);
  return 0;
}

/** close(2) of any descriptor of the file drops the process's record locks on it: locks_remove_posix(). */
export function releasePosixLocks(inode: Inode, owner: object): void {
  if (inode.locks !== null) setRangeLock(inode, owner, 0, F_UNLCK, 0, LOCK_TO_END);
}

/** The last reference to a description is gone: its flock and OFD locks go. */
export function releaseFileLocks(inode: Inode, file: object): void {
  if (inode.locks === null) return;
  setRangeLock(inode, file, 0, F_UNLCK, 0, LOCK_TO_END);
  setFlock(inode, file, 0, LOCK_UN);
}
