// Descriptors that stand for events: eventfd(2), timerfd_create(2), signalfd(2), inotify(7).

import { EBADF, EFAULT, EINVAL, EPERM } from '../abi/errno.ts';
import { O_CLOEXEC, O_NONBLOCK } from '../abi/fcntl.ts';
import {
  EFD_SEMAPHORE,
  IN_ALL_EVENTS,
  IN_DONT_FOLLOW,
  IN_EXCL_UNLINK,
  IN_IGNORED,
  IN_ISDIR,
  IN_MASK_ADD,
  IN_MASK_CREATE,
  IN_ONESHOT,
  IN_ONLYDIR,
  IN_Q_OVERFLOW,
  IN_UNMOUNT,
  TFD_TIMER_ABSTIME,
  TFD_TIMER_CANCEL_ON_SET,
} from '../abi/poll.ts';
import { CAP_WAKE_ALARM } from '../abi/sched.ts';
import {
  SYS_eventfd,
  SYS_eventfd2,
  SYS_inotify_add_watch,
  SYS_inotify_init,
  SYS_inotify_init1,
  SYS_inotify_rm_watch,
  SYS_signalfd,
  SYS_signalfd4,
  SYS_timerfd_create,
  SYS_timerfd_gettime,
  SYS_timerfd_settime,
} from '../abi/sysno-x64.ts';
import { CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME } from '../abi/time.ts';
import { EventFile } from '../fs/eventfd.ts';
import { InotifyFile } from '../fs/inotify.ts';
import { SignalFile, type SignalSupply } from '../fs/signalfd.ts';
import { TimerFile } from '../fs/timerfd.ts';
import { isAlarmClock, withoutAlarm } from '../kernel/clocks.ts';
import type { SigInfo } from '../kernel/signal-queue.ts';
import { UNMASKABLE_LO } from '../kernel/signal-set.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { dequeueSignal, recalcInterrupting } from '../kernel/task-signals.ts';
import { scratch } from '../mm/guest-memory.ts';
import { credsOn } from '../vfs/mount-idmap.ts';
import { LOOKUP_DIRECTORY, LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import { inodePermission, MAY_READ } from '../vfs/permissions.ts';
import { openFile } from './io-common.ts';
import { call, type SyscallLine } from './syscall-line.ts';
import { loaded, loadedNs, loadTimespec, putTimespecNs } from './time-args.ts';

/** The flags that these calls share, under whatever name. */
const FD_FLAGS = O_CLOEXEC | O_NONBLOCK;

// ---- eventfd

/** eventfd(2). */
export function eventfd(t: Task, a: SyscallArgs): number {
  return newEventfd(t, a.uint(0), 0);
}

/** eventfd2(2). */
export function eventfd2(t: Task, a: SyscallArgs): number {
  return newEventfd(t, a.uint(0), a.int(1));
}

function newEventfd(t: Task, initial: number, flags: number): number {
  if ((flags & ~(FD_FLAGS | EFD_SEMAPHORE)) !== 0) return -EINVAL;
  const fd = t.fds.reserve(t.fdLimit);
  if (fd >= 0) t.fds.install(fd, new EventFile(initial, (flags & EFD_SEMAPHORE) !== 0, flags & O_NONBLOCK), (flags & O_CLOEXEC) !== 0);
  return fd;
}

// ---- timerfd

/** timerfd_create(2). */
export function timerfdCreate(t: Task, a: SyscallArgs): number {
  const clock = a.int(0);
  const flags = a.int(1);
  if ((flags & ~FD_FLAGS) !== 0) return -EINVAL;
  if (clock !== CLOCK_MONOTONIC && clock !== CLOCK_REALTIME && clock !== CLOCK_BOOTTIME && !isAlarmClock(clock)) return -EINVAL;
  if (isAlarmClock(clock) && !t.creds.capable(CAP_WAKE_ALARM)) return -EPERM;
  const fd = t.fds.reserve(t.fdLimit);
  if (fd >= 0) t.fds.install(fd, new TimerFile(t.kernel, withoutAlarm(clock), flags & O_NONBLOCK), (flags & O_CLOEXEC) !== 0);
  return fd;
}

/** timerfd_settime(2). TFD_TIMER_CANCEL_ON_SET never cancels: nobody sets the clock. */
export function timerfdSettime(t: Task, a: SyscallArgs): number {
  let bad = loadTimespec(t, a.addr(2));
  if (bad === -EFAULT) return bad;
  const intervalNs = loadedNs();
  const badValue = loadTimespec(t, a.addr(2) + 16);
  if (badValue === -EFAULT) return badValue;
  const flags = a.int(1);
  if ((flags & ~(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) !== 0) bad = -EINVAL;
  if (bad < 0 || badValue < 0) return -EINVAL;
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  if (!(file instanceof TimerFile)) return -EINVAL;
  encodeTimer(file);
  file.set(loaded.sec, loaded.nsec, intervalNs, (flags & TFD_TIMER_ABSTIME) !== 0, flags, t.ns.time.offsetNs(file.clock));
  return a.addr(3) === 0 ? 0 : t.mm.copyOut(a.addr(3), scratch.u8, 0, 32);
}

/** timerfd_gettime(2). */
export function timerfdGettime(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  if (!(file instanceof TimerFile)) return -EINVAL;
  encodeTimer(file);
  return t.mm.copyOut(a.addr(1), scratch.u8, 0, 32);
}

function encodeTimer(file: TimerFile): void {
  const left = file.remainingNs();
  putTimespecNs(scratch.view, 0, file.intervalNs);
  putTimespecNs(scratch.view, 16, left);
}

// ---- signalfd

const supply: SignalSupply = {
  isPending(t: Task, lo: number, hi: number): boolean {
    return t.signals.pending.peek(~lo, ~hi) !== 0 || t.group.pending.peek(~lo, ~hi) !== 0;
  },
  take(t: Task, lo: number, hi: number): SigInfo | null {
    const info = dequeueSignal(t, ~lo, ~hi);
    if (info !== null) recalcInterrupting(t);
    return info;
  },
};

/** signalfd(2). */
export function signalfd(t: Task, a: SyscallArgs): number {
  return newSignalfd(t, a, 0);
}

/** signalfd4(2). */
export function signalfd4(t: Task, a: SyscallArgs): number {
  return newSignalfd(t, a, a.int(3));
}

function newSignalfd(t: Task, a: SyscallArgs, flags: number): number {
  if (a.addr(2) !== 8) return -EINVAL;
  if (t.mm.copyIn(a.addr(1), scratch.u8, 0, 8) < 0) return -EFAULT;
  if ((flags & ~FD_FLAGS) !== 0) return -EINVAL;
  // "It is not possible to receive SIGKILL or SIGSTOP signals via a signalfd; silently ignored" - signalfd(2).
  const lo = scratch.view.getInt32(0, true) & ~UNMASKABLE_LO;
  const hi = scratch.view.getInt32(4, true);
  if (a.int(0) !== -1) {
    const file = openFile(t, a.int(0));
    if (file === undefined) return -EBADF;
    if (!(file instanceof SignalFile)) return -EINVAL;
    file.setMask(lo, hi);
    return a.int(0);
  }
  const fd = t.fds.reserve(t.fdLimit);
  if (fd >= 0) t.fds.install(fd, new SignalFile(supply, lo, hi, flags & O_NONBLOCK), (flags & O_CLOEXEC) !== 0);
  return fd;
}

// ---- inotify

/** inotify_init(2). */
export function inotifyInit(t: Task, _a: SyscallArgs): number {
  return newInotify(t, 0);
}

/** inotify_init1(2). */
export function inotifyInit1(t: Task, a: SyscallArgs): number {
  return newInotify(t, a.int(0));
}

function newInotify(t: Task, flags: number): number {
  if ((flags & ~FD_FLAGS) !== 0) return -EINVAL;
  const fd = t.fds.reserve(t.fdLimit);
  if (fd >= 0) t.fds.install(fd, new InotifyFile(flags & O_NONBLOCK), (flags & O_CLOEXEC) !== 0);
  return fd;
}

// ALL_INOTIFY_BITS, include/linux/inotify.h.
const ALL_BITS =
  IN_ALL_EVENTS |
  IN_UNMOUNT |
  IN_Q_OVERFLOW |
  IN_IGNORED |
  IN_ONLYDIR |
  IN_DONT_FOLLOW |
  IN_EXCL_UNLINK |
  IN_MASK_ADD |
  IN_MASK_CREATE |
  IN_ISDIR |
  IN_ONESHOT;

/** inotify_add_watch(2). */
export function inotifyAddWatch(t: Task, a: SyscallArgs): number {
  const mask = a.int(2);
  if ((mask & ~ALL_BITS) !== 0 || (mask & ALL_BITS) === 0) return -EINVAL;
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  if ((mask & IN_MASK_ADD) !== 0 && (mask & IN_MASK_CREATE) !== 0) return -EINVAL;
  if (!(file instanceof InotifyFile)) return -EINVAL;
  const path = t.mm.copyInPath(a.addr(1));
  if (typeof path === 'number') return path;
  const flags = ((mask & IN_DONT_FOLLOW) === 0 ? LOOKUP_FOLLOW : 0) | ((mask & IN_ONLYDIR) !== 0 ? LOOKUP_DIRECTORY : 0);
  const at = t.kernel.vfs.lookup(t, null, path, flags);
  if (typeof at === 'number') return at;
  const denied = inodePermission(at.dentry.inode!, credsOn(at.mount, t.creds), MAY_READ);
  return denied < 0 ? denied : file.addWatch(at, mask);
}

/** inotify_rm_watch(2). */
export function inotifyRmWatch(t: Task, a: SyscallArgs): number {
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  return file instanceof InotifyFile ? file.removeWatch(a.int(1)) : -EINVAL;
}

export const eventFdCalls: readonly SyscallLine[] = [
  call(SYS_eventfd, 'eventfd', 'count:uint', eventfd),
  call(SYS_eventfd2, 'eventfd2', 'count:uint flags:flags', eventfd2),
  call(SYS_timerfd_create, 'timerfd_create', 'clockid:clock flags:flags', timerfdCreate),
  call(SYS_timerfd_settime, 'timerfd_settime', 'fd:fd flags:flags new:addr old:addr', timerfdSettime),
  call(SYS_timerfd_gettime, 'timerfd_gettime', 'fd:fd curr:addr', timerfdGettime),
  call(SYS_signalfd, 'signalfd', 'fd:int mask:sigset size:size', signalfd),
  call(SYS_signalfd4, 'signalfd4', 'fd:int mask:sigset size:size flags:flags', signalfd4),
  call(SYS_inotify_init, 'inotify_init', '', inotifyInit),
  call(SYS_inotify_init1, 'inotify_init1', 'flags:flags', inotifyInit1),
  call(
    SYS_inotify_add_watch,
    'inotify_add_watch',
    'fd:fd path:path mask:uint',
    inotifyAddWatch,
    'full',
    'changes made on the host are seen below shared mounts, not in the root file system',
  ),
  call(SYS_inotify_rm_watch, 'inotify_rm_watch', 'fd:fd wd:int', inotifyRmWatch),
];
