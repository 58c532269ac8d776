// The descriptor of seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER): kernel/seccomp.c:seccomp_notify_ops.

import { EBADF, EFAULT, EINPROGRESS, EINVAL, ENOENT, ERESTARTSYS } from '../abi/errno.ts';
import { O_CLOEXEC, O_RDWR } from '../abi/fcntl.ts';
import { POLLHUP, POLLIN } from '../abi/poll.ts';
import { SECCOMP_ADDFD_FLAG_SEND, SECCOMP_ADDFD_FLAG_SETFD, SECCOMP_USER_NOTIF_FLAG_CONTINUE } from '../abi/sched.ts';
import { getU64, put64 } from '../base/int64.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode } from '../vfs/filesystem.ts';
import { NOTIFY_SENT, type SeccompListener } from './seccomp-notify.ts';
import { type Task, WAKE_SIGNAL } from './task.ts';
import { FOREVER } from './timers.ts';

/** sizeof(struct seccomp_notif), with struct seccomp_data in it from 16 on. */
export const NOTIF_SIZE = 80;
/** sizeof(struct seccomp_notif_resp). */
export const NOTIF_RESP_SIZE = 24;
const ADDFD_SIZE = 24;
const DATA_AT = 16;

const NOTIF_RECV = 0xc0502100;
const NOTIF_SEND = 0xc0182101;
const NOTIF_ID_VALID = 0x40082102;
/** As it was until Linux 5.17, with the direction wrong. */
const NOTIF_ID_VALID_WRONG_DIR = 0x80082102;
const NOTIF_SET_FLAGS = 0x40082104;
/** NOTIF_ADDFD without its size, which tells how much of the structure the caller knows: EA_IOCTL(). */
const NOTIF_ADDFD = 0x40002103;
const SIZE_BITS = 0x3fff0000;
const SIZE_SHIFT = 65536;
/** SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP: who is woken first changes nothing here. */
const KNOWN_FLAGS = 1;
const PAGE_SIZE = 4096;

const bytes = new Uint8Array(NOTIF_SIZE);
const view = new DataView(bytes.buffer);

export class SeccompListenerFile extends FileDescription {
  private readonly listener: SeccompListener;
  private readonly node: Inode;

  /** `inode` is the anonymous one. */
  constructor(listener: SeccompListener, inode: Inode) {
    super(O_RDWR, undefined, listener.waiters);
    this.listener = listener;
    this.node = inode;
  }

  override inode(): Inode {
    return this.node;
  }

  override canPoll(): boolean {
    return true;
  }

  override poll(_t: Task | null): number {
    return this.listener.poll();
  }

  override linkText(): string {
    return 'anon_inode:seccomp notify';
  }

  protected override release(_t: Task | null): void {
    this.listener.close();
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    switch (cmd) {
      case NOTIF_RECV:
        return this.startReceive(t, arg);
      case NOTIF_SEND:
        return this.send(t, arg);
      case NOTIF_ID_VALID:
      case NOTIF_ID_VALID_WRONG_DIR: {
        if (t.mm.copyIn(arg, bytes, 0, 8) < 0) return -EFAULT;
        const n = this.listener.find(getU64(view, 0));
        return n !== undefined && n.state === NOTIFY_SENT ? 0 : -ENOENT;
      }
      case NOTIF_SET_FLAGS:
        return arg > KNOWN_FLAGS ? -EINVAL : 0;
    }
    const size = Math.floor((cmd & SIZE_BITS) / SIZE_SHIFT);
    return cmd - size * SIZE_SHIFT === NOTIF_ADDFD ? this.addFd(t, arg, size) : -EINVAL;
  }

  // ---- receiving

  private startReceive(t: Task, addr: number): number {
    // "Verify that we're not given garbage to keep struct extensible."
    if (t.mm.copyIn(addr, bytes, 0, NOTIF_SIZE) < 0) return -EFAULT;
    for (let i = 0; i < NOTIF_SIZE; i++) if (bytes[i] !== 0) return -EINVAL;
    if (this.listener.next() !== undefined || this.listener.users === 0) return this.receive(t, addr);
    this.incRef();
    t.file = this;
    return t.block(this.waiters, POLLIN | POLLHUP, FOREVER, resumeReceive);
  }

  /** The oldest notification goes to `addr`; -ENOENT when it was taken back meanwhile. */
  receive(t: Task, addr: number): number {
    const n = this.listener.next();
    if (n === undefined) return -ENOENT;
    put64(view, 0, n.id);
    view.setUint32(8, n.task.pid.numberIn(t.pidns), true);
    view.setUint32(12, 0, true);
    for (let i = 0; i < n.data.length; i++) view.setUint32(DATA_AT + i * 4, n.data[i]!, true);
    if (t.mm.copyOut(addr, bytes, 0, NOTIF_SIZE) < 0) return -EFAULT;
    n.state = NOTIFY_SENT;
    this.waiters.notify(this.listener.poll());
    return 0;
  }

  /** Whether a receiver has something to do. */
  hasNews(): boolean {
    return this.listener.users === 0 || this.listener.next() !== undefined;
  }

  // ---- answering

  private send(t: Task, addr: number): number {
    if (t.mm.copyIn(addr, bytes, 0, NOTIF_RESP_SIZE) < 0) return -EFAULT;
    const valueLo = view.getInt32(8, true);
    const valueHi = view.getInt32(12, true);
    const error = view.getInt32(16, true);
    const flags = view.getUint32(20, true);
    if ((flags & ~SECCOMP_USER_NOTIF_FLAG_CONTINUE) !== 0) return -EINVAL;
    const continues = flags !== 0;
    if (continues && (error !== 0 || valueLo !== 0 || valueHi !== 0)) return -EINVAL;
    const n = this.listener.find(getU64(view, 0));
    if (n === undefined) return -ENOENT;
    if (n.state !== NOTIFY_SENT) return -EINPROGRESS;
    n.error = error;
    n.valueLo = valueLo;
    n.valueHi = valueHi;
    n.continues = continues;
    this.listener.answer(n);
    return 0;
  }

  /** SECCOMP_IOCTL_NOTIF_ADDFD: the caller's descriptor becomes one of the waiting task, at once. */
  private addFd(t: Task, addr: number, size: number): number {
    if (size < ADDFD_SIZE || size >= PAGE_SIZE) return -EINVAL;
    if (t.mm.copyIn(addr, bytes, 0, ADDFD_SIZE) < 0) return -EFAULT;
    const flags = view.getUint32(8, true);
    const newFd = view.getUint32(16, true);
    const newFlags = view.getUint32(20, true);
    if ((newFlags & ~O_CLOEXEC) !== 0 || (flags & ~(SECCOMP_ADDFD_FLAG_SETFD | SECCOMP_ADDFD_FLAG_SEND)) !== 0) return -EINVAL;
    const sets = (flags & SECCOMP_ADDFD_FLAG_SETFD) !== 0;
    if (newFd !== 0 && !sets) return -EINVAL;
    const file = t.fds.get(view.getInt32(12, true));
    if (file === undefined) return -EBADF;
    const n = this.listener.find(getU64(view, 0));
    if (n === undefined) return -ENOENT;
    if (n.state !== NOTIFY_SENT) return -EINPROGRESS;
    const target = n.task;
    const cloexec = newFlags !== 0;
    let fd: number;
    if (sets) {
      fd = target.fds.replace(target, newFd, file, cloexec, target.fdLimit);
    } else {
      fd = target.fds.add(file, cloexec, target.fdLimit);
      if (fd >= 0) file.incRef();
    }
    if (fd >= 0 && (flags & SECCOMP_ADDFD_FLAG_SEND) !== 0) {
      n.error = 0;
      n.valueLo = fd;
      n.valueHi = 0;
      n.continues = false;
      this.listener.answer(n);
    }
    return fd;
  }
}

function resumeReceive(t: Task, why: number): number {
  const file = t.file as SeccompListenerFile;
  if (!file.hasNews()) {
    if (why !== WAKE_SIGNAL) return t.block(file.waiters, POLLIN | POLLHUP, FOREVER, resumeReceive);
    t.file = undefined;
    file.decRef(t);
    return -ERESTARTSYS;
  }
  const result = file.receive(t, t.args.addr(2));
  t.file = undefined;
  file.decRef(t);
  return result;
}
