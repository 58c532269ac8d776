// futex(2), futex_waitv(2) and the calls about what a dying thread leaves: kernel/futex/syscalls.c.

import { EAGAIN, EFAULT, EINVAL, ENOSYS, EPERM, ESRCH } from '../abi/errno.ts';
import {
  FUTEX_BITSET_MATCH_ANY,
  FUTEX_CLOCK_REALTIME,
  FUTEX_CMP_REQUEUE,
  FUTEX_CMP_REQUEUE_PI,
  FUTEX_LOCK_PI,
  FUTEX_LOCK_PI2,
  FUTEX_PRIVATE_FLAG,
  FUTEX_REQUEUE,
  FUTEX_TRYLOCK_PI,
  FUTEX_UNLOCK_PI,
  FUTEX_WAIT,
  FUTEX_WAIT_BITSET,
  FUTEX_WAIT_REQUEUE_PI,
  FUTEX_WAITV_MAX,
  FUTEX_WAKE,
  FUTEX_WAKE_BITSET,
  FUTEX_WAKE_OP,
} from '../abi/sched.ts';
import {
  SYS_futex,
  SYS_futex_requeue,
  SYS_futex_wait,
  SYS_futex_waitv,
  SYS_futex_wake,
  SYS_get_robust_list,
  SYS_set_robust_list,
  SYS_set_tid_address,
} from '../abi/sysno-x64.ts';
import { CLOCK_MONOTONIC, CLOCK_REALTIME } from '../abi/time.ts';
import { getI64, getU64 } from '../base/int64.ts';
import { ptraceMayAccess } from '../fs/proc-access.ts';
import { futexKey, futexWait, futexWaitMany, isError, type WaitvEntry } from '../kernel/futex.ts';
import { futexCmpRequeuePi, futexLockPi, futexUnlockPi, futexWaitRequeuePi } from '../kernel/futex-pi.ts';
import { exchangeWord } from '../kernel/futex-word.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { FOREVER } from '../kernel/timers.ts';
import { scratch } from '../mm/guest-memory.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const ANY = FUTEX_BITSET_MATCH_ANY | 0;
/** sizeof(struct robust_list_head). */
const ROBUST_HEAD_SIZE = 24;
const FUTEX2_SIZE_U32 = 2;
const FUTEX2_NUMA = 4;
const FUTEX2_MPOL = 8;
/** In the second half of a word with FUTEX2_NUMA: the node is not known yet. */
const FUTEX_NO_NODE = 0xffff_ffff;
const WAITV_SIZE = 24;

/** A deadline out of reach in handlers' answers: the timespec is not readable or not valid. */
const BAD_ADDRESS = -1;
const BAD_TIME = -2;

/** futex(2). */
export function futex(t: Task, a: SyscallArgs): number {
  const op = a.int(1);
  const cmd = op & ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME);
  const isPrivate = (op & FUTEX_PRIVATE_FLAG) !== 0;
  const onRealtime = (op & FUTEX_CLOCK_REALTIME) !== 0;
  const addr = a.addr(0);
  const val = a.uint(2);
  if (onRealtime && cmd !== FUTEX_WAIT_BITSET && cmd !== FUTEX_WAIT_REQUEUE_PI && cmd !== FUTEX_LOCK_PI2) {
    return -ENOSYS;
  }
  switch (cmd) {
    case FUTEX_WAKE:
      return wake(t, addr, isPrivate, a.int(2), ANY);
    case FUTEX_WAKE_BITSET:
      return a.uint(5) === 0 ? -EINVAL : wake(t, addr, isPrivate, a.int(2), a.int(5));
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET: {
      // FUTEX_WAIT's time is an interval, the others' a point in time.
      const deadlineNs = deadlineOf(t, a.addr(3), cmd === FUTEX_WAIT, onRealtime);
      if (deadlineNs < 0) return deadlineNs === BAD_ADDRESS ? -EFAULT : -EINVAL;
      return futexWait(t, addr, isPrivate, val, cmd === FUTEX_WAIT ? FUTEX_BITSET_MATCH_ANY : a.uint(5), deadlineNs);
    }
    case FUTEX_REQUEUE:
      return requeue(t, a, isPrivate, false);
    case FUTEX_CMP_REQUEUE:
      return requeue(t, a, isPrivate, true);
    case FUTEX_WAKE_OP:
      return wakeOp(t, a, isPrivate);
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2: {
      const deadlineNs = deadlineOf(t, a.addr(3), false, cmd === FUTEX_LOCK_PI || onRealtime);
      if (deadlineNs < 0) return deadlineNs === BAD_ADDRESS ? -EFAULT : -EINVAL;
      return futexLockPi(t, addr, isPrivate, deadlineNs, false);
    }
    case FUTEX_TRYLOCK_PI:
      return futexLockPi(t, addr, isPrivate, FOREVER, true);
    case FUTEX_UNLOCK_PI:
      return futexUnlockPi(t, addr, isPrivate);
    case FUTEX_WAIT_REQUEUE_PI: {
      const deadlineNs = deadlineOf(t, a.addr(3), false, onRealtime);
      if (deadlineNs < 0) return deadlineNs === BAD_ADDRESS ? -EFAULT : -EINVAL;
      return futexWaitRequeuePi(t, addr, isPrivate, val, FUTEX_BITSET_MATCH_ANY, deadlineNs, a.addr(4));
    }
    case FUTEX_CMP_REQUEUE_PI:
      if (a.int(3) < 0) return -EINVAL;
      return futexCmpRequeuePi(t, addr, isPrivate, a.int(2), a.int(3), a.addr(4), a.uint(5));
  }
  return -ENOSYS;
}

/** Monotonic ns for a timespec of the guest, FOREVER for a null pointer; BAD_ADDRESS or BAD_TIME. */
function deadlineOf(t: Task, addr: number, isRelative: boolean, onRealtime: boolean): number {
  if (addr === 0) return FOREVER;
  if (t.mm.copyIn(addr, scratch.u8, 0, 16) < 0) return BAD_ADDRESS;
  const sec = getI64(scratch.view, 0);
  const nsec = getI64(scratch.view, 8);
  if (sec < 0 || nsec < 0 || nsec >= 1e9) return BAD_TIME;
  const clock = t.kernel.clock;
  if (isRelative) return clock.monotonicNs() + sec * 1e9 + nsec;
  if (!onRealtime) return sec * 1e9 + nsec - t.ns.time.offsetNs(CLOCK_MONOTONIC);
  // Wall time in ns does not fit a double: the whole seconds are taken off first.
  const nowSec = clock.realtimeSec();
  const nowNsec = clock.realtimeNs() - nowSec * 1e9;
  return Math.max(0, clock.monotonicNs() + (sec - nowSec) * 1e9 + (nsec - nowNsec));
}

function wake(t: Task, addr: number, isPrivate: boolean, count: number, bitset: number): number {
  const key = futexKey(t, addr, isPrivate);
  if (isError(key)) return key;
  // A word that processes may share has to be there: get_futex_key().
  if (!isPrivate && t.mm.loadU32(addr) < 0) return -EFAULT;
  // "nr_wake <= 0" still wakes one: kernel/futex/waitwake.c counts before it compares.
  return t.kernel.futexes.wake(key, Math.max(count, 1), bitset);
}

function requeue(t: Task, a: SyscallArgs, isPrivate: boolean, compares: boolean): number {
  const wakeCount = a.int(2);
  const moveCount = a.int(3);
  if (wakeCount < 0 || moveCount < 0) return -EINVAL;
  const from = futexKey(t, a.addr(0), isPrivate);
  if (isError(from)) return from;
  const to = futexKey(t, a.addr(4), isPrivate);
  if (isError(to)) return to;
  if (compares) {
    const word = t.mm.loadU32(a.addr(0));
    if (word < 0) return word;
    if (word !== a.uint(5)) return -EAGAIN;
  }
  return t.kernel.futexes.requeue(from, to, a.addr(4), wakeCount, moveCount);
}

/** futex_wake_op(): changes the second word, and wakes its waiters too if its old value compares. */
function wakeOp(t: Task, a: SyscallArgs, isPrivate: boolean): number {
  const first = futexKey(t, a.addr(0), isPrivate);
  if (isError(first)) return first;
  const second = futexKey(t, a.addr(4), isPrivate);
  if (isError(second)) return second;
  const encoded = a.int(5);
  const op = (encoded >>> 28) & 7;
  const cmp = (encoded >>> 24) & 15;
  let arg = (encoded << 8) >> 20;
  const cmpArg = (encoded << 20) >> 20;
  if (((encoded >>> 28) & 8) !== 0) arg = 1 << (arg & 31);
  let old = 0;
  for (;;) {
    old = t.mm.loadU32(a.addr(4));
    if (old < 0) return old;
    const value = operate(op, old, arg);
    if (value === undefined) return -ENOSYS;
    const was = exchangeWord(t, a.addr(4), old, value >>> 0);
    if (was < 0) return was;
    if (was === old) break;
  }
  const hit = compare(cmp, old | 0, cmpArg);
  if (hit === undefined) return -ENOSYS;
  let woken = t.kernel.futexes.wake(first, Math.max(a.int(2), 1), ANY);
  if (hit) woken += t.kernel.futexes.wake(second, Math.max(a.int(3), 1), ANY);
  return woken;
}

function operate(op: number, old: number, arg: number): number | undefined {
  switch (op) {
    case 0:
      return arg;
    case 1:
      return old + arg;
    case 2:
      return old | arg;
    case 3:
      return old & ~arg;
    case 4:
      return old ^ arg;
  }
  return undefined;
}

function compare(cmp: number, old: number, arg: number): boolean | undefined {
  switch (cmp) {
    case 0:
      return old === arg;
    case 1:
      return old !== arg;
    case 2:
      return old < arg;
    case 3:
      return old <= arg;
    case 4:
      return old > arg;
    case 5:
      return old >= arg;
  }
  return undefined;
}

/** futex_waitv(2). */
export function futex_waitv(t: Task, a: SyscallArgs): number {
  const count = a.uint(1);
  if (a.int(2) !== 0 || count === 0 || count > FUTEX_WAITV_MAX || a.addr(0) === 0) return -EINVAL;
  let deadlineNs = FOREVER;
  if (a.addr(3) !== 0) {
    const clock = a.int(4);
    if (clock !== CLOCK_MONOTONIC && clock !== CLOCK_REALTIME) return -EINVAL;
    deadlineNs = deadlineOf(t, a.addr(3), false, clock === CLOCK_REALTIME);
    if (deadlineNs < 0) return deadlineNs === BAD_ADDRESS ? -EFAULT : -EINVAL;
  }
  if (t.mm.copyIn(a.addr(0), scratch.u8, 0, count * WAITV_SIZE) < 0) return -EFAULT;
  const v = scratch.view;
  const entries: WaitvEntry[] = [];
  const nodeWords: number[] = [];
  for (let i = 0; i < count; i++) {
    const at = i * WAITV_SIZE;
    const flags = v.getInt32(at + 16, true);
    const isPrivate = futex2Flags(flags);
    if (typeof isPrivate === 'number' || v.getInt32(at + 20, true) !== 0 || v.getUint32(at + 4, true) !== 0) return -EINVAL;
    entries.push({ addr: getU64(v, at + 8), isPrivate, val: v.getUint32(at, true) });
    if ((flags & FUTEX2_NUMA) !== 0) nodeWords.push(getU64(v, at + 8));
  }
  for (const addr of nodeWords) {
    const node = settleNode(t, addr, FUTEX2_NUMA);
    if (node < 0) return node;
  }
  return futexWaitMany(t, entries, deadlineNs);
}

// ---- futex2: one call for each operation, with the size of the word in the flags

/** Whether the word is private, or -EINVAL for another size than 32 bits or an unknown flag. */
function futex2Flags(flags: number): boolean | number {
  const known = FUTEX2_SIZE_U32 | FUTEX2_NUMA | FUTEX2_MPOL | FUTEX_PRIVATE_FLAG;
  if ((flags & ~known) !== 0 || (flags & 3) !== FUTEX2_SIZE_U32) return -EINVAL;
  return (flags & FUTEX_PRIVATE_FLAG) !== 0;
}

/** FUTEX2_NUMA: the number of the word's node is in the word behind it; the caller's own is written if none is. There is one node. */
function settleNode(t: Task, addr: number, flags: number): number {
  if ((flags & FUTEX2_NUMA) === 0) return 0;
  if (addr % 8 !== 0) return -EINVAL;
  const node = t.mm.loadU32(addr + 4);
  if (node === FUTEX_NO_NODE) return t.mm.storeU32(addr + 4, 0) < 0 ? -EFAULT : 0;
  return node > 0 ? -EINVAL : node;
}

/** futex_wake(2). */
export function futex_wake(t: Task, a: SyscallArgs): number {
  const isPrivate = futex2Flags(a.int(3));
  if (typeof isPrivate === 'number') return isPrivate;
  // Bits beyond the word's size can match nobody.
  if (a.hi(1) !== 0 || a.lo(1) === 0) return -EINVAL;
  const key = futexKey(t, a.addr(0), isPrivate);
  if (isError(key)) return key;
  if (!isPrivate && t.mm.loadU32(a.addr(0)) < 0) return -EFAULT;
  const node = settleNode(t, a.addr(0), a.int(3));
  if (node < 0) return node;
  return a.int(2) === 0 ? 0 : t.kernel.futexes.wake(key, a.int(2), a.lo(1));
}

/** futex_wait(2). */
export function futex_wait(t: Task, a: SyscallArgs): number {
  const isPrivate = futex2Flags(a.int(3));
  if (typeof isPrivate === 'number') return isPrivate;
  if (a.hi(1) !== 0 || a.hi(2) !== 0) return -EINVAL;
  let deadlineNs = FOREVER;
  if (a.addr(4) !== 0) {
    const clock = a.int(5);
    if (clock !== CLOCK_MONOTONIC && clock !== CLOCK_REALTIME) return -EINVAL;
    deadlineNs = deadlineOf(t, a.addr(4), false, clock === CLOCK_REALTIME);
    if (deadlineNs < 0) return deadlineNs === BAD_ADDRESS ? -EFAULT : -EINVAL;
  }
  const node = settleNode(t, a.addr(0), a.int(3));
  if (node < 0) return node;
  return futexWait(t, a.addr(0), isPrivate, a.uint(1), a.uint(2), deadlineNs);
}

/** futex_requeue(2): two elements of futex_waitv, from and to; the first one's value is compared. */
export function futex_requeue(t: Task, a: SyscallArgs): number {
  const wakeCount = a.int(2);
  const moveCount = a.int(3);
  if (a.int(1) !== 0 || a.addr(0) === 0 || wakeCount < 0 || moveCount < 0) return -EINVAL;
  if (t.mm.copyIn(a.addr(0), scratch.u8, 0, 2 * WAITV_SIZE) < 0) return -EFAULT;
  const v = scratch.view;
  const val = v.getUint32(0, true);
  const addr = getU64(v, 8);
  const addr2 = getU64(v, WAITV_SIZE + 8);
  const flags = v.getInt32(16, true);
  const flags2 = v.getInt32(WAITV_SIZE + 16, true);
  const isPrivate = futex2Flags(flags);
  const isPrivate2 = futex2Flags(flags2);
  if (typeof isPrivate === 'number' || typeof isPrivate2 === 'number') return -EINVAL;
  // What does not fit the word, or stands where nothing may: futex_parse_waitv().
  for (let at = 0; at <= WAITV_SIZE; at += WAITV_SIZE) {
    if (v.getUint32(at + 4, true) !== 0 || v.getUint32(at + 20, true) !== 0) return -EINVAL;
  }
  const from = futexKey(t, addr, isPrivate);
  if (isError(from)) return from;
  const to = futexKey(t, addr2, isPrivate2);
  if (isError(to)) return to;
  let node = settleNode(t, addr, flags);
  if (node === 0) node = settleNode(t, addr2, flags2);
  if (node < 0) return node;
  const word = t.mm.loadU32(addr);
  if (word < 0) return word;
  return word === val ? t.kernel.futexes.requeue(from, to, addr2, wakeCount, moveCount) : -EAGAIN;
}

/** set_robust_list(2). */
export function set_robust_list(t: Task, a: SyscallArgs): number {
  if (a.addr(1) !== ROBUST_HEAD_SIZE) return -EINVAL;
  t.robustListAddr = a.addr(0);
  return 0;
}

/** get_robust_list(2). */
export function get_robust_list(t: Task, a: SyscallArgs): number {
  const pid = a.int(0);
  const target = pid === 0 ? t : t.pidns.task(pid);
  if (target === undefined) return -ESRCH;
  if (ptraceMayAccess(t, target, false) < 0) return -EPERM;
  if (t.mm.storeU64(a.addr(2), ROBUST_HEAD_SIZE) < 0) return -EFAULT;
  return t.mm.storeU64(a.addr(1), target.robustListAddr);
}

/** set_tid_address(2). */
export function set_tid_address(t: Task, a: SyscallArgs): number {
  t.clearTidAddr = a.addr(0);
  return t.pid.numberIn(t.pidns);
}

export const futexCalls: readonly SyscallLine[] = [
  call(
    SYS_futex,
    'futex',
    'uaddr:addr op:int val:uint timeout:addr uaddr2:addr val3:uint',
    futex,
    'partial',
    'no priority is inherited by PI futexes',
  ),
  call(SYS_futex_waitv, 'futex_waitv', 'waiters:addr nr_futexes:uint flags:flags timeout:timespec clockid:clock', futex_waitv),
  call(SYS_futex_wake, 'futex_wake', 'uaddr:addr mask:ulong nr:int flags:flags', futex_wake),
  call(SYS_futex_wait, 'futex_wait', 'uaddr:addr val:ulong mask:ulong flags:flags timeout:timespec clockid:clock', futex_wait),
  call(SYS_futex_requeue, 'futex_requeue', 'waiters:addr flags:flags nr_wake:int nr_requeue:int', futex_requeue),
  call(SYS_set_robust_list, 'set_robust_list', 'head:addr len:size', set_robust_list),
  call(SYS_get_robust_list, 'get_robust_list', 'pid:pid head:addr len:addr', get_robust_list),
  call(SYS_set_tid_address, 'set_tid_address', 'tidptr:addr', set_tid_address),
];
