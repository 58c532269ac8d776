// /dev/fuse: each open of it may serve one mount. fs/fuse/dev.c.

import { EAGAIN, EFAULT, EINVAL, ENODEV, ENOTTY, EPERM } from '../../abi/errno.ts';
import { FUSE_DEV_IOC_CLONE, FUSE_MIN_READ_BUFFER, OUT_HEADER } from '../../abi/fuse.ts';
import { POLLERR, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from '../../abi/poll.ts';
import type { Task } from '../../kernel/task.ts';
import type { VfsPath } from '../../vfs/filesystem.ts';
import type { IoBuffer } from '../../vfs/io-buffer.ts';
import type { Vfs } from '../../vfs/vfs.ts';
import { DeviceDescription } from '../devices.ts';
import { type FuseConnection, MAX_MESSAGE } from './connection.ts';

const MISC_MAJOR = 10;
const FUSE_MINOR = 229;

export class FuseDevice extends DeviceDescription {
  /** null until something is mounted on it. */
  private connection: FuseConnection | null = null;

  get isFree(): boolean {
    return this.connection === null;
  }

  /** Serves this mount from now on. */
  connect(connection: FuseConnection): void {
    this.connection = connection;
    connection.addDevice(this);
  }

  override canPoll(): boolean {
    return true;
  }

  // "No lock - fasync_helper does its own locking", but a device without a mount has nobody to tell of.
  override mayAsync(): number {
    return this.connection === null ? -EPERM : 0;
  }

  override poll(_t: Task | null): number {
    const c = this.connection;
    if (c === null || !c.connected) return POLLERR;
    return POLLOUT | POLLWRNORM | (c.hasWork ? POLLIN | POLLRDNORM : 0);
  }

  override read(_t: Task, io: IoBuffer): number {
    const c = this.connection;
    if (c === null) return -EPERM;
    if (io.remaining < FUSE_MIN_READ_BUFFER) return -EINVAL;
    if (!c.connected) return -ENODEV;
    const message = c.take(io.remaining);
    if (message === null) return -EAGAIN;
    return io.put(message, 0, message.length) === message.length ? message.length : -EFAULT;
  }

  override write(_t: Task, io: IoBuffer): number {
    const c = this.connection;
    if (c === null) return -EPERM;
    const n = io.remaining;
    if (n < OUT_HEADER.size || n > MAX_MESSAGE) return -EINVAL;
    const bytes = new Uint8Array(n);
    if (io.take(bytes, 0, n) !== n) return -EFAULT;
    const result = c.answer(bytes);
    return result < 0 ? result : n;
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    if (cmd !== FUSE_DEV_IOC_CLONE) return -ENOTTY;
    const fd = t.mm.loadU32(arg);
    if (fd < 0) return fd;
    const other = t.fds.get(fd);
    if (!(other instanceof FuseDevice) || other.connection === null || this.connection !== null) return -EINVAL;
    this.connect(other.connection);
    return 0;
  }

  protected override release(_t: Task | null): void {
    this.connection?.removeDevice(this);
  }
}

export function registerFuseDevice(vfs: Vfs): void {
  vfs.registerCharDevice(MISC_MAJOR, FUSE_MINOR, (_t: Task | null, at: VfsPath, flags: number) => new FuseDevice(flags, at));
}
