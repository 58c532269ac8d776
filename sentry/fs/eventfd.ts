// eventfd(2), fs/eventfd.c: a 64-bit counter, kept in two unsigned words since it uses all its bits.

import { EAGAIN, EFAULT, EINVAL } from '../abi/errno.ts';
import { O_RDWR } from '../abi/fcntl.ts';
import { POLLERR, POLLIN, POLLOUT } from '../abi/poll.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { anonInode } from './anon.ts';

const TWO32 = 4294967296;
const WORD_MAX = TWO32 - 1;

const bytes = new Uint8Array(8);
const view = new DataView(bytes.buffer);
let lastId = 0;

export class EventFile extends FileDescription {
  private lo: number;
  private hi = 0;
  private readonly isSemaphore: boolean;
  private readonly id: number = lastId++;

  /** flags: O_NONBLOCK. */
  constructor(initial: number, isSemaphore: boolean, flags: number) {
    super(O_RDWR | flags, undefined);
    this.lo = initial;
    this.isSemaphore = isSemaphore;
  }

  override inode(): Inode {
    return anonInode;
  }

  override read(_t: Task, io: IoBuffer): number {
    if (io.remaining < 8) return -EINVAL;
    if (this.lo === 0 && this.hi === 0) return -EAGAIN;
    view.setUint32(0, this.isSemaphore ? 1 : this.lo, true);
    view.setUint32(4, this.isSemaphore ? 0 : this.hi, true);
    if (!this.isSemaphore) {
      this.lo = 0;
      this.hi = 0;
    } else if (this.lo > 0) {
      this.lo--;
    } else {
      this.lo = WORD_MAX;
      this.hi--;
    }
    this.waiters.notify(POLLOUT);
    return io.put(bytes, 0, 8) === 8 ? 8 : -EFAULT;
  }

  override write(_t: Task, io: IoBuffer): number {
    if (io.remaining < 8) return -EINVAL;
    if (io.take(bytes, 0, 8) !== 8) return -EFAULT;
    const lo = view.getUint32(0, true);
    const hi = view.getUint32(4, true);
    if (lo === WORD_MAX && hi === WORD_MAX) return -EINVAL;
    return this.add(lo, hi) ? 8 : -EAGAIN;
  }

  /** Adds to the counter as the kernel does for aio, saturating instead of waiting: eventfd_signal(). */
  signal(): void {
    if (!this.add(1, 0)) this.waiters.notify(POLLIN);
  }

  /** False if the sum would pass the largest value, 2^64 - 2. */
  private add(lo: number, hi: number): boolean {
    const sum = this.lo + lo;
    const carry = sum >= TWO32 ? 1 : 0;
    const newLo = sum - carry * TWO32;
    const newHi = this.hi + hi + carry;
    if (newHi > WORD_MAX || (newHi === WORD_MAX && newLo === WORD_MAX)) return false;
    this.lo = newLo;
    this.hi = newHi;
    this.waiters.notify(POLLIN);
    return true;
  }

  /** noop_llseek(): there is a position, which nothing moves. */
  override seek(_t: Task, _offset: number, _whence: number): number {
    return 0;
  }

  override canPoll(): boolean {
    return true;
  }

  override poll(_t: Task | null): number {
    let events = 0;
    if (this.lo !== 0 || this.hi !== 0) events |= POLLIN;
    if (this.hi === WORD_MAX && this.lo === WORD_MAX) events |= POLLERR;
    if (this.hi !== WORD_MAX || this.lo < WORD_MAX - 1) events |= POLLOUT;
    return events;
  }

  override fdinfo(): string {
    const count = (this.hi * TWO32 + this.lo).toString(16).padStart(16);
    return `eventfd-count: ${count}\neventfd-id: ${this.id}\neventfd-semaphore: ${this.isSemaphore ? 1 : 0}\n`;
  }

  override linkText(): string {
    return 'anon_inode:[eventfd]';
  }
}
