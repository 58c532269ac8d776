// mlock(2) and its kin: mm/mlock.c. Guest memory is the host's to page, and stays so: what a
// mapping is asked for is checked, remembered and told, and nothing is pinned.

import { EAGAIN, EINVAL, ENOMEM, EPERM } from '../abi/errno.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT, MLOCK_ONFAULT } from '../abi/mman.ts';
import { CAP_IPC_LOCK, RLIMIT_MEMLOCK } from '../abi/sched.ts';
import { SYS_mlock, SYS_mlock2, SYS_mlockall, SYS_munlock, SYS_munlockall } from '../abi/sysno-x64.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { pageUp } from '../mm/memory-manager.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const NOT_PINNED = 'remembered and told, nothing is pinned';

/** can_do_mlock(). */
export function canLock(t: Task): boolean {
  return t.group.limits.soft[RLIMIT_MEMLOCK] !== 0 || t.creds.capable(CAP_IPC_LOCK);
}

/** Whether `length` more bytes may be locked: mlock_future_ok(). */
export function mayLockMore(t: Task, length: number): boolean {
  return t.mm.lockedBytes() + length <= t.group.limits.soft[RLIMIT_MEMLOCK]! || t.creds.capable(CAP_IPC_LOCK);
}

/** do_mlock(). */
function lockRange(t: Task, addr: number, n: number): number {
  if (!canLock(t)) return -EPERM;
  const start = addr - (addr % PAGE_SIZE);
  const end = pageUp(addr + n);
  // What is locked already is not counted twice.
  if (!mayLockMore(t, end - start - t.mm.lockedBytes(start, end))) return -ENOMEM;
  if (end > t.mm.top) return -ENOMEM;
  return applyLock(t, start, end, true);
}

/** apply_vma_lock_flags(): up to the first hole, which is -ENOMEM. */
function applyLock(t: Task, start: number, end: number, on: boolean): number {
  if (end === start) return 0;
  const covered = t.mm.vmas.covers(start, end);
  t.mm.setLocked(start, end, on);
  return covered ? 0 : -ENOMEM;
}

function mlock(t: Task, a: SyscallArgs): number {
  return lockRange(t, a.addr(0), a.addr(1));
}

function mlock2(t: Task, a: SyscallArgs): number {
  return (a.int(2) & ~MLOCK_ONFAULT) !== 0 ? -EINVAL : lockRange(t, a.addr(0), a.addr(1));
}

function munlock(t: Task, a: SyscallArgs): number {
  const start = a.addr(0) - (a.addr(0) % PAGE_SIZE);
  const end = pageUp(a.addr(0) + a.addr(1));
  if (end > 2 ** 47) return end >= 2 ** 64 ? -EINVAL : -ENOMEM;
  return applyLock(t, start, end, false);
}

function mlockall(t: Task, a: SyscallArgs): number {
  const flags = a.int(0);
  if (flags === 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) !== 0 || flags === MCL_ONFAULT) return -EINVAL;
  if (!canLock(t)) return -EPERM;
  if ((flags & MCL_CURRENT) !== 0 && t.mm.vmas.total > t.group.limits.soft[RLIMIT_MEMLOCK]! && !t.creds.capable(CAP_IPC_LOCK))
    return -ENOMEM;
  t.mm.lockFuture = (flags & MCL_FUTURE) !== 0;
  if ((flags & MCL_CURRENT) !== 0) t.mm.setLocked(0, t.mm.top, true);
  return 0;
}

function munlockall(t: Task, _a: SyscallArgs): number {
  t.mm.lockFuture = false;
  t.mm.setLocked(0, t.mm.top, false);
  return 0;
}

/** A new mapping of `length` bytes: 0, or -EPERM for MAP_LOCKED and -EAGAIN for what would be locked beyond the limit. */
export function checkNewLock(t: Task, length: number, isAsked: boolean): number {
  if (isAsked && !canLock(t)) return -EPERM;
  return (isAsked || t.mm.lockFuture) && !mayLockMore(t, length) ? -EAGAIN : 0;
}

export const lockCalls: readonly SyscallLine[] = [
  call(SYS_mlock, 'mlock', 'addr:addr length:size', mlock, 'partial', NOT_PINNED),
  call(SYS_munlock, 'munlock', 'addr:addr length:size', munlock),
  call(SYS_mlockall, 'mlockall', 'flags:flags', mlockall, 'partial', NOT_PINNED),
  call(SYS_munlockall, 'munlockall', '', munlockall),
  call(SYS_mlock2, 'mlock2', 'addr:addr length:size flags:flags', mlock2, 'partial', NOT_PINNED),
];
