// epoll(7). The mechanism is vfs/epoll.ts; here are decoding and the wait.

import { EBADF, EFAULT, EINTR, EINVAL, EPERM } from '../abi/errno.ts';
import { O_CLOEXEC, O_RDWR } from '../abi/fcntl.ts';
import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, POLLIN } from '../abi/poll.ts';
import { SYS_epoll_create, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_epoll_wait } from '../abi/sysno-x64.ts';
import { BLOCKED } from '../base/errors.ts';
import { anonInode } from '../fs/anon.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_EVENT, WAKE_SIGNAL } from '../kernel/task.ts';
import { restoreMask } from '../kernel/task-signals.ts';
import { FOREVER } from '../kernel/timers.ts';
import { SCRATCH_SIZE, Scratch, scratch } from '../mm/guest-memory.ts';
import { EPOLL_EVENT_SIZE, EpollFile } from '../vfs/epoll.ts';
import { openFile, outsideUser } from './io-common.ts';
import { useSignalMask } from './poll.ts';
import { call, type SyscallLine } from './syscall-line.ts';
import { loadedNs, loadTimespec } from './time-args.ts';

/** EP_MAX_EVENTS. */
const MAX_EVENTS = Math.floor(0x7fffffff / EPOLL_EVENT_SIZE);
/** As many as the common scratch holds. */
const BATCH = Math.floor(SCRATCH_SIZE / EPOLL_EVENT_SIZE);
const AT_ONCE = 0;

/** epoll_create(2): the size has to be positive and means nothing. */
export function epollCreate(t: Task, a: SyscallArgs): number {
  return a.int(0) <= 0 ? -EINVAL : create(t, 0);
}

/** epoll_create1(2). */
export function epollCreate1(t: Task, a: SyscallArgs): number {
  return (a.int(0) & ~EPOLL_CLOEXEC) !== 0 ? -EINVAL : create(t, a.int(0));
}

function create(t: Task, flags: number): number {
  const fd = t.fds.reserve(t.fdLimit);
  if (fd >= 0) t.fds.install(fd, new EpollFile(anonInode, O_RDWR), (flags & O_CLOEXEC) !== 0);
  return fd;
}

/** epoll_ctl(2). */
export function epollCtl(t: Task, a: SyscallArgs): number {
  const op = a.int(1);
  if (op !== EPOLL_CTL_DEL && t.mm.copyIn(a.addr(3), scratch.u8, 0, EPOLL_EVENT_SIZE) < 0) return -EFAULT;
  const epoll = openFile(t, a.int(0));
  if (epoll === undefined) return -EBADF;
  const fd = a.int(2);
  const file = openFile(t, fd);
  if (file === undefined) return -EBADF;
  if (!file.canPoll()) return -EPERM;
  if (file === epoll || !(epoll instanceof EpollFile)) return -EINVAL;
  if (op === EPOLL_CTL_DEL) return epoll.remove(fd, file);
  const events = scratch.view.getInt32(0, true);
  const dataLo = scratch.view.getInt32(4, true);
  const dataHi = scratch.view.getInt32(8, true);
  if (op === EPOLL_CTL_ADD) return epoll.add(t, fd, file, events, dataLo, dataHi);
  return op === EPOLL_CTL_MOD ? epoll.modify(t, fd, file, events, dataLo, dataHi) : -EINVAL;
}

/** epoll_wait(2). */
export function epollWait(t: Task, a: SyscallArgs): number {
  return startWait(t, timeoutNs(a.int(3)));
}

/** epoll_pwait(2). */
export function epollPwait(t: Task, a: SyscallArgs): number {
  const masked = useSignalMask(t, a.addr(4), a.addr(5));
  if (masked < 0) return masked;
  return unmasked(t, startWait(t, timeoutNs(a.int(3))));
}

/** epoll_pwait2(2). */
export function epollPwait2(t: Task, a: SyscallArgs): number {
  let ns = FOREVER;
  if (a.addr(3) !== 0) {
    const bad = loadTimespec(t, a.addr(3));
    if (bad < 0) return bad;
    ns = loadedNs();
  }
  const masked = useSignalMask(t, a.addr(4), a.addr(5));
  if (masked < 0) return masked;
  return unmasked(t, startWait(t, ns));
}

function timeoutNs(ms: number): number {
  return ms < 0 ? FOREVER : ms * 1e6;
}

/** Puts the mask back, unless a signal has ended the call: then its frame carries the old mask. */
function unmasked(t: Task, n: number): number {
  if (n !== BLOCKED && n !== -EINTR) restoreMask(t);
  return n;
}

function startWait(t: Task, ns: number): number {
  const max = t.args.int(2);
  if (max <= 0 || max > MAX_EVENTS) return -EINVAL;
  if (outsideUser(t.args.addr(1), max * EPOLL_EVENT_SIZE)) return -EFAULT;
  const epoll = openFile(t, t.args.int(0));
  if (epoll === undefined) return -EBADF;
  if (!(epoll instanceof EpollFile)) return -EINVAL;
  const n = takeEvents(t, epoll);
  if (n !== 0 || ns === AT_ONCE) return n;
  epoll.incRef();
  t.file = epoll;
  return t.block(epoll.sleepers, POLLIN, ns === FOREVER ? FOREVER : t.kernel.clock.monotonicNs() + ns, resumeWait);
}

function resumeWait(t: Task, why: number): number {
  const epoll = t.file as EpollFile;
  const n = why === WAKE_SIGNAL ? -EINTR : takeEvents(t, epoll);
  // Another thread may have taken the event that woke us.
  if (n === 0 && why === WAKE_EVENT) return t.block(epoll.sleepers, POLLIN, t.deadlineNs, resumeWait);
  t.file = undefined;
  epoll.decRef(t);
  return unmasked(t, n);
}

function takeEvents(t: Task, epoll: EpollFile): number {
  // What a call before this one has caused on the host is ready now, as it is on Linux.
  if (t.kernel.hostWatchers.size > 0) t.kernel.takeHostEvents();
  const max = Math.min(t.args.int(2), epoll.listed);
  const room = max <= BATCH ? scratch : roomFor(max);
  const n = epoll.harvest(t, room.view, max);
  if (n === 0 || t.mm.copyOut(t.args.addr(1), room.u8, 0, n * EPOLL_EVENT_SIZE) === 0) return n;
  epoll.undoHarvest(n);
  return -EFAULT;
}

let large = new Scratch(0);

function roomFor(events: number): Scratch {
  if (large.u8.length < events * EPOLL_EVENT_SIZE) large = new Scratch(events * EPOLL_EVENT_SIZE);
  return large;
}

export const epollCalls: readonly SyscallLine[] = [
  call(SYS_epoll_create, 'epoll_create', 'size:int', epollCreate),
  call(SYS_epoll_create1, 'epoll_create1', 'flags:flags', epollCreate1),
  call(SYS_epoll_ctl, 'epoll_ctl', 'epfd:fd op:int fd:fd event:epoll_event', epollCtl),
  call(
    SYS_epoll_wait,
    'epoll_wait',
    'epfd:fd events:addr maxevents:int timeout:int',
    epollWait,
    'full',
    'EPOLLEXCLUSIVE wakes every epoll; EPOLLWAKEUP has no effect',
  ),
  call(SYS_epoll_pwait, 'epoll_pwait', 'epfd:fd events:addr maxevents:int timeout:int sigmask:sigset sigsetsize:size', epollPwait),
  call(SYS_epoll_pwait2, 'epoll_pwait2', 'epfd:fd events:addr maxevents:int timeout:timespec sigmask:sigset sigsetsize:size', epollPwait2),
];
