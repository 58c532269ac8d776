// mq_overview(7): the calls of ipc/mqueue.c. Queues are files of fs/mqueue.ts.

import { EACCES, EAGAIN, EBADF, EBUSY, EFAULT, EINVAL, EMSGSIZE, ENOENT, ERESTARTSYS, ETIMEDOUT } from '../abi/errno.ts';
import { O_CREAT, O_NONBLOCK } from '../abi/fcntl.ts';
import { POLLIN, POLLOUT } from '../abi/poll.ts';
import { NSIG, SI_MESGQ } from '../abi/signal.ts';
import { SYS_mq_getsetattr, SYS_mq_notify, SYS_mq_open, SYS_mq_timedreceive, SYS_mq_timedsend, SYS_mq_unlink } from '../abi/sysno-x64.ts';
import { getI64, put64 } from '../base/int64.ts';
import { MqueueFilesystem, QueueDescription, type QueueInode, type QueueLimits } from '../fs/mqueue.ts';
import { SigInfo } from '../kernel/signal-queue.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_SIGNAL, WAKE_TIMEOUT } from '../kernel/task.ts';
import { sendToGroup } from '../kernel/task-signals.ts';
import { FOREVER } from '../kernel/timers.ts';
import { scratch } from '../mm/guest-memory.ts';
import { openFile } from './io-common.ts';
import { call, type SyscallLine } from './syscall-line.ts';
import { loaded, loadTimespec } from './time-args.ts';

// struct mq_attr, include/uapi/linux/mqueue.h.
const ATTR = { flags: 0, maxMessages: 8, messageSize: 16, current: 24, size: 64 } as const;
const MQ_PRIO_MAX = 32768;
// struct sigevent.
const SIGEVENT = { valueLo: 0, valueHi: 4, signo: 8, notify: 12, size: 64 } as const;
const SIGEV_SIGNAL = 0;
const SIGEV_NONE = 1;
const S_IALLUGO = 0o7777;

/** mq_open(2): the name comes without its slash. */
export function mq_open(t: Task, a: SyscallArgs): number {
  const flags = a.int(1);
  let limits: QueueLimits | null = null;
  if ((flags & O_CREAT) !== 0 && a.addr(3) !== 0) {
    if (t.mm.copyIn(a.addr(3), scratch.u8, 0, ATTR.size) < 0) return -EFAULT;
    limits = { maxMessages: getI64(scratch.view, ATTR.maxMessages), messageSize: getI64(scratch.view, ATTR.messageSize) };
  }
  const name = t.mm.copyInPath(a.addr(0));
  if (typeof name === 'number') return name;
  if (name === '') return -ENOENT;
  if (name === '.' || name === '..' || name.includes('/')) return -EACCES;
  const fd = t.fds.reserve(t.fdLimit);
  if (fd < 0) return fd;
  const fs = MqueueFilesystem.of(t.kernel, t.ns.ipc);
  fs.prepare(t, limits);
  const start = { mount: fs.ownMount, dentry: fs.ownMount.root };
  const file = t.kernel.vfs.openAt(t, start, name, flags, a.int(2) & S_IALLUGO);
  fs.prepare(null, null);
  if (typeof file === 'number') {
    t.fds.release(fd);
    return file;
  }
  // Always close-on-exec: get_unused_fd_flags(O_CLOEXEC).
  t.fds.install(fd, file, true);
  return fd;
}

/** mq_unlink(2). */
export function mq_unlink(t: Task, a: SyscallArgs): number {
  const name = t.mm.copyInPath(a.addr(0));
  if (typeof name === 'number') return name;
  if (name === '') return -ENOENT;
  if (name === '.' || name === '..' || name.includes('/')) return -EACCES;
  const fs = MqueueFilesystem.of(t.kernel, t.ns.ipc);
  return t.kernel.vfs.unlinkAt(t, { mount: fs.ownMount, dentry: fs.ownMount.root }, name);
}

function find(t: Task, fd: number): QueueDescription | undefined {
  const file = openFile(t, fd);
  return file instanceof QueueDescription ? file : undefined;
}

/** The wall-clock deadline at `addr` as a monotonic one; NaN when it cannot be read, -1 when it is no time. */
function deadlineOf(t: Task, addr: number): number {
  if (addr === 0) return FOREVER;
  const error = loadTimespec(t, addr);
  if (error < 0) return error === -EFAULT ? Number.NaN : -1;
  const { clock } = t.kernel;
  return Math.max(0, clock.monotonicNs() + (loaded.sec * 1e9 + loaded.nsec - clock.realtimeNs()));
}

/** mq_timedsend(2). While parked: t.object is the queue. */
export function mq_timedsend(t: Task, a: SyscallArgs): number {
  if (a.uint(3) >= MQ_PRIO_MAX) return -EINVAL;
  const deadline = deadlineOf(t, a.addr(4));
  if (Number.isNaN(deadline)) return -EFAULT;
  if (deadline < 0) return -EINVAL;
  const file = find(t, a.int(0));
  if (file === undefined || !file.writable) return -EBADF;
  const { queue } = file;
  if (a.addr(2) > queue.limits.messageSize) return -EMSGSIZE;
  const sent = send(t, queue);
  if (sent !== -EAGAIN || file.nonblocking) return sent;
  if (deadline <= t.kernel.clock.monotonicNs()) return -ETIMEDOUT;
  t.object = queue;
  return t.block(queue.waiters, POLLOUT, deadline, resumeSend);
}

function send(t: Task, queue: QueueInode): number {
  if (queue.isFull) return -EAGAIN;
  const a = t.args;
  const data = new Uint8Array(a.addr(2));
  if (t.mm.copyIn(a.addr(1), data, 0, data.length) < 0) return -EFAULT;
  const news = queue.messages.length === 0 && queue.receivers === 0;
  queue.add({ priority: a.uint(3), data });
  if (news) notify(t, queue);
  return 0;
}

/** __do_notify(): once, then the place is free. */
function notify(t: Task, queue: QueueInode): void {
  const told = queue.notification;
  if (told === null) return;
  queue.notification = null;
  if (told.signo === 0) return;
  const info = new SigInfo(told.signo, SI_MESGQ);
  info.pid = t.group.pid.numberIn(told.group.pidns);
  info.uid = told.group.leader.creds.userns.uidFromKernel(t.creds.uid);
  info.setValue(told.valueLo, told.valueHi);
  sendToGroup(told.group, info);
}

function resumeSend(t: Task, why: number): number {
  const queue = t.object as QueueInode;
  const result = send(t, queue);
  if (result === -EAGAIN) {
    if (why === WAKE_TIMEOUT) return ended(t, -ETIMEDOUT);
    if (why === WAKE_SIGNAL) return ended(t, -ERESTARTSYS);
    return t.block(queue.waiters, POLLOUT, t.deadlineNs, resumeSend);
  }
  return ended(t, result);
}

function ended(t: Task, result: number): number {
  t.object = null;
  return result;
}

/** mq_timedreceive(2). */
export function mq_timedreceive(t: Task, a: SyscallArgs): number {
  const deadline = deadlineOf(t, a.addr(4));
  if (Number.isNaN(deadline)) return -EFAULT;
  if (deadline < 0) return -EINVAL;
  const file = find(t, a.int(0));
  if (file === undefined || !file.readable) return -EBADF;
  const { queue } = file;
  if (a.addr(2) < queue.limits.messageSize) return -EMSGSIZE;
  const got = receive(t, queue);
  if (got !== -EAGAIN || file.nonblocking) return got;
  if (deadline <= t.kernel.clock.monotonicNs()) return -ETIMEDOUT;
  t.object = queue;
  queue.receivers++;
  return t.block(queue.waiters, POLLIN, deadline, resumeReceive);
}

function receive(t: Task, queue: QueueInode): number {
  if (queue.messages.length === 0) return -EAGAIN;
  const a = t.args;
  const { data, priority } = queue.take();
  if (a.addr(3) !== 0 && t.mm.storeU32(a.addr(3), priority) < 0) return -EFAULT;
  return t.mm.copyOut(a.addr(1), data, 0, data.length) < 0 ? -EFAULT : data.length;
}

function resumeReceive(t: Task, why: number): number {
  const queue = t.object as QueueInode;
  queue.receivers--;
  const result = receive(t, queue);
  if (result === -EAGAIN) {
    if (why === WAKE_TIMEOUT) return ended(t, -ETIMEDOUT);
    if (why === WAKE_SIGNAL) return ended(t, -ERESTARTSYS);
    queue.receivers++;
    return t.block(queue.waiters, POLLIN, t.deadlineNs, resumeReceive);
  }
  return ended(t, result);
}

/** mq_notify(2). */
export function mq_notify(t: Task, a: SyscallArgs): number {
  const addr = a.addr(1);
  if (addr !== 0) {
    if (t.mm.copyIn(addr, scratch.u8, 0, SIGEVENT.size) < 0) return -EFAULT;
    const how = scratch.view.getInt32(SIGEVENT.notify, true);
    const signo = scratch.view.getInt32(SIGEVENT.signo, true);
    if (how !== SIGEV_SIGNAL && how !== SIGEV_NONE) return -EINVAL;
    if (how === SIGEV_SIGNAL && (signo < 0 || signo > NSIG)) return -EINVAL;
  }
  const file = find(t, a.int(0));
  if (file === undefined) return -EBADF;
  const { queue } = file;
  if (addr === 0) {
    if (queue.notification?.group === t.group) queue.notification = null;
    return 0;
  }
  if (queue.notification !== null) return -EBUSY;
  const v = scratch.view;
  queue.notification = {
    group: t.group,
    signo: v.getInt32(SIGEVENT.notify, true) === SIGEV_NONE ? 0 : v.getInt32(SIGEVENT.signo, true),
    valueLo: v.getInt32(SIGEVENT.valueLo, true),
    valueHi: v.getInt32(SIGEVENT.valueHi, true),
  };
  return 0;
}

/** mq_getsetattr(2). */
export function mq_getsetattr(t: Task, a: SyscallArgs): number {
  const v = scratch.view;
  let wanted = -1;
  if (a.addr(1) !== 0) {
    if (t.mm.copyIn(a.addr(1), scratch.u8, 0, ATTR.size) < 0) return -EFAULT;
    wanted = getI64(v, ATTR.flags);
    if (wanted !== 0 && wanted !== O_NONBLOCK) return -EINVAL;
  }
  const file = find(t, a.int(0));
  if (file === undefined) return -EBADF;
  const before = file.flags & O_NONBLOCK;
  if (wanted >= 0) file.flags = (file.flags & ~O_NONBLOCK) | wanted;
  if (a.addr(2) === 0) return 0;
  scratch.u8.fill(0, 0, ATTR.size);
  put64(v, ATTR.flags, before);
  put64(v, ATTR.maxMessages, file.queue.limits.maxMessages);
  put64(v, ATTR.messageSize, file.queue.limits.messageSize);
  put64(v, ATTR.current, file.queue.messages.length);
  return t.mm.copyOut(a.addr(2), scratch.u8, 0, ATTR.size);
}

export const mqueueCalls: readonly SyscallLine[] = [
  call(SYS_mq_open, 'mq_open', 'name:path oflag:flags mode:mode attr:addr', mq_open),
  call(SYS_mq_unlink, 'mq_unlink', 'name:path', mq_unlink),
  call(SYS_mq_timedsend, 'mq_timedsend', 'fd:fd msg:buf:2 len:size prio:uint timeout:addr', mq_timedsend),
  call(SYS_mq_timedreceive, 'mq_timedreceive', 'fd:fd msg:out:2 len:size prio:addr timeout:addr', mq_timedreceive),
  call(SYS_mq_notify, 'mq_notify', 'fd:fd event:addr', mq_notify, 'partial', 'no SIGEV_THREAD'),
  call(SYS_mq_getsetattr, 'mq_getsetattr', 'fd:fd new:addr old:addr', mq_getsetattr),
];
