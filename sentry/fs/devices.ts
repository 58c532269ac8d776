// The memory devices, drivers/char/mem.c and drivers/char/random.c: major 1. They are found by
// number, so that a node made by mknod(2) on any file system opens them.

import { EAGAIN, EFAULT, EINVAL, ENODEV, ENOSPC, EPERM } from '../abi/errno.ts';
import { RNDADDENTROPY, RNDADDTOENTCNT, RNDCLEARPOOL, RNDGETENTCNT, RNDRESEEDCRNG, RNDZAPENTCNT } from '../abi/ioctl.ts';
import { POLLIN, POLLRDNORM } from '../abi/poll.ts';
import { CAP_SYS_ADMIN } from '../abi/sched.ts';
import { putLatin1 } from '../base/latin1.ts';
import { fillRandom } from '../host/entropy.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription, type Mappable } from '../vfs/file-description.ts';
import type { Inode, VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import type { Vfs } from '../vfs/vfs.ts';

export const MEM_MAJOR = 1;
export const MEM_NULL = 3;
export const MEM_ZERO = 5;
export const MEM_FULL = 7;
export const MEM_RANDOM = 8;
export const MEM_URANDOM = 9;
export const MEM_KMSG = 11;
/** PRINTKRB_RECORD_MAX. */
const KMSG_LINE_MAX = 1024;

/** An open character device: its inode is that of the node it was opened by. */
export abstract class DeviceDescription extends FileDescription {
  protected readonly node: Inode;

  constructor(flags: number, path: VfsPath) {
    super(flags, path);
    this.node = path.dentry.inode!;
  }

  override inode(): Inode {
    return this.node;
  }
}

/** null_lseek(): the position is always 0. */
abstract class MemoryDevice extends DeviceDescription {
  override seek(_t: Task, _offset: number, _whence: number): number {
    this.pos = 0;
    return 0;
  }

  override write(_t: Task, io: IoBuffer): number {
    return io.remaining;
  }

  override pwrite(t: Task, io: IoBuffer, _offset: number): number {
    return this.write(t, io);
  }

  override pread(t: Task, io: IoBuffer, _offset: number): number {
    return this.read(t, io);
  }
}

class NullDevice extends MemoryDevice {
  override read(_t: Task, _io: IoBuffer): number {
    return 0;
  }
}

class ZeroDevice extends MemoryDevice {
  override readonly anonymousMapping: boolean = true;

  override read(_t: Task, io: IoBuffer): number {
    return io.putZeros(io.remaining);
  }

  // mmap_zero(): private mappings are anonymous memory, shared ones a shmem object of their own.
  override mmap(_t: Task, _out: Mappable, _prot: number, _shared: boolean): number {
    return -ENODEV;
  }
}

class FullDevice extends MemoryDevice {
  override read(_t: Task, io: IoBuffer): number {
    return io.putZeros(io.remaining);
  }

  override write(_t: Task, _io: IoBuffer): number {
    return -ENOSPC;
  }
}

const CHUNK = 64 * 1024;
const bytes = new Uint8Array(CHUNK);
/** What a full pool holds, drivers/char/random.c:POOL_BITS. */
const POOL_BITS = 256;

class RandomDevice extends DeviceDescription {
  private readonly pollable: boolean;

  constructor(flags: number, path: VfsPath, pollable: boolean) {
    super(flags, path);
    this.pollable = pollable;
  }

  override read(_t: Task, io: IoBuffer): number {
    let done = 0;
    while (io.remaining > 0) {
      const n = Math.min(io.remaining, CHUNK);
      fillRandom(bytes, 0, n);
      const put = io.put(bytes, 0, n);
      if (put < 0) return done > 0 ? done : put;
      done += put;
      if (put < n) break;
    }
    return done;
  }

  override pread(t: Task, io: IoBuffer, _offset: number): number {
    return this.read(t, io);
  }

  // What a guest mixes in cannot make the host's generator any better; the bytes are read, as Linux reads them.
  override write(_t: Task, io: IoBuffer): number {
    let done = 0;
    while (io.remaining > 0) {
      const n = Math.min(io.remaining, CHUNK);
      const got = io.take(bytes, 0, n);
      if (got < 0) return done > 0 ? done : got;
      done += got;
      if (got < n) break;
    }
    return done;
  }

  override pwrite(t: Task, io: IoBuffer, _offset: number): number {
    return this.write(t, io);
  }

  // noop_llseek().
  override seek(_t: Task, _offset: number, _whence: number): number {
    return this.pos;
  }

  override canPoll(): boolean {
    return this.pollable;
  }

  override poll(_t: Task | null): number {
    return POLLIN | POLLRDNORM;
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    switch (cmd) {
      case RNDGETENTCNT:
        return t.mm.storeU32(arg, POOL_BITS);
      case RNDADDTOENTCNT: {
        if (!t.creds.capable(CAP_SYS_ADMIN)) return -EPERM;
        const count = t.mm.loadU32(arg);
        if (count < 0) return -EFAULT;
        return count > 0x7fffffff ? -EINVAL : 0;
      }
      case RNDADDENTROPY:
      case RNDZAPENTCNT:
      case RNDCLEARPOOL:
      case RNDRESEEDCRNG:
        return t.creds.capable(CAP_SYS_ADMIN) ? 0 : -EPERM;
      default:
        return -EINVAL;
    }
  }
}

/** /dev/kmsg: the log of a kernel that has said one thing, and takes lines of programs without keeping them: kernel/printk/printk.c. */
class KmsgDevice extends DeviceDescription {
  private wasRead = false;

  override write(_t: Task, io: IoBuffer): number {
    return io.remaining > KMSG_LINE_MAX ? -EINVAL : io.remaining;
  }

  /** One record a read. "[EINVAL]: the buffer is too small" for one. */
  override read(t: Task, io: IoBuffer): number {
    if (this.wasRead) return -EAGAIN;
    const { sysname, release, version } = t.kernel.machine;
    // Level, sequence, time and flags come before the text: Documentation/ABI/testing/dev-kmsg.
    const record = `5,0,0,-;${sysname} version ${release} ${version}\n`;
    if (io.remaining < record.length) return -EINVAL;
    this.wasRead = true;
    const bytes = new Uint8Array(record.length);
    putLatin1(bytes, 0, record);
    return io.put(bytes, 0, bytes.length);
  }
}

/** Makes the memory devices known by number. */
export function registerMemoryDevices(vfs: Vfs): void {
  vfs.registerCharDevice(MEM_MAJOR, MEM_NULL, (_t, path, flags) => new NullDevice(flags, path));
  vfs.registerCharDevice(MEM_MAJOR, MEM_ZERO, (_t, path, flags) => new ZeroDevice(flags, path));
  vfs.registerCharDevice(MEM_MAJOR, MEM_FULL, (_t, path, flags) => new FullDevice(flags, path));
  vfs.registerCharDevice(MEM_MAJOR, MEM_RANDOM, (_t, path, flags) => new RandomDevice(flags, path, true));
  vfs.registerCharDevice(MEM_MAJOR, MEM_KMSG, (_t, path, flags) => new KmsgDevice(flags, path));
  vfs.registerCharDevice(MEM_MAJOR, MEM_URANDOM, (_t, path, flags) => new RandomDevice(flags, path, false));
}
