// timerfd_create(2), fs/timerfd.c. A periodic timer that has expired is not started again before
// somebody reads it or asks for its time: the expiries in between are computed then.

import { EAGAIN, EFAULT, EINVAL } from '../abi/errno.ts';
import { O_RDWR } from '../abi/fcntl.ts';
import { POLLIN } from '../abi/poll.ts';
import { put64 } from '../base/int64.ts';
import { FOREVER, Timer } from '../base/timers.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { anonInode } from './anon.ts';

const bytes = new Uint8Array(8);
const view = new DataView(bytes.buffer);

class FileTimer extends Timer {
  readonly file: TimerFile;

  constructor(file: TimerFile) {
    super();
    this.file = file;
  }

  override fired(_nowNs: number): void {
    this.file.expired();
  }
}

export class TimerFile extends FileDescription {
  private readonly kernel: Kernel;
  /** CLOCK_*. */
  readonly clock: number;
  private readonly timer: FileTimer = new FileTimer(this);
  /** Monotonic; FOREVER while off. */
  private expiryNs = FOREVER;
  intervalNs = 0;
  /** Expired since the timer was last started, and counted in ticks. */
  private isExpired = false;
  private ticks = 0;
  private settimeFlags = 0;

  /** `clock` is one of the host's, alarm clocks as what they show. flags: O_NONBLOCK. */
  constructor(kernel: Kernel, clock: number, flags: number) {
    super(O_RDWR | flags, undefined);
    this.kernel = kernel;
    this.clock = clock;
  }

  override inode(): Inode {
    return anonInode;
  }

  /** Time to the next expiry, 0 when off. */
  remainingNs(): number {
    this.catchUp(false);
    if (this.expiryNs === FOREVER) return 0;
    const left = this.expiryNs - this.kernel.clock.monotonicNs();
    return Math.max(left, this.isExpired ? 0 : 1);
  }

  /** {sec, nsec} zero switches off. settimeFlags are for fdinfo; aheadNs is how far the caller's clock is ahead of the host's. */
  set(sec: number, nsec: number, intervalNs: number, isAbsolute: boolean, settimeFlags: number, aheadNs: number): void {
    this.kernel.timers.stop(this.timer);
    this.settimeFlags = settimeFlags;
    this.isExpired = false;
    this.ticks = 0;
    this.intervalNs = intervalNs;
    this.expiryNs = FOREVER;
    if (sec === 0 && nsec === 0) return;
    const time = this.kernel.clock;
    this.expiryNs = isAbsolute ? time.monotonicAt(this.clock, sec, nsec) - aheadNs : time.monotonicNs() + sec * 1e9 + nsec;
    this.kernel.timers.start(this.timer, this.expiryNs);
  }

  expired(): void {
    this.isExpired = true;
    this.ticks++;
    if (this.intervalNs === 0) this.expiryNs = FOREVER;
    this.waiters.notify(POLLIN);
  }

  override read(_t: Task, io: IoBuffer): number {
    if (io.remaining < 8) return -EINVAL;
    if (this.ticks === 0) return -EAGAIN;
    this.catchUp(true);
    put64(view, 0, this.ticks);
    this.ticks = 0;
    return io.put(bytes, 0, 8) === 8 ? 8 : -EFAULT;
  }

  /** Counts the expiries since the timer fired, and starts it again. A read ends the expired state of a one-shot timer too. */
  private catchUp(isRead: boolean): void {
    if (!this.isExpired) return;
    if (this.intervalNs === 0) {
      if (isRead) this.isExpired = false;
      return;
    }
    this.isExpired = false;
    const now = this.kernel.clock.monotonicNs();
    const steps = Math.max(1, Math.floor((now - this.expiryNs) / this.intervalNs) + 1);
    this.expiryNs += steps * this.intervalNs;
    this.ticks += steps - 1;
    this.kernel.timers.start(this.timer, this.expiryNs);
  }

  /** noop_llseek(): there is a position, which nothing moves. */
  override seek(_t: Task, _offset: number, _whence: number): number {
    return 0;
  }

  override canPoll(): boolean {
    return true;
  }

  override poll(_t: Task | null): number {
    return this.ticks > 0 ? POLLIN : 0;
  }

  override fdinfo(): string {
    const left = this.expiryNs === FOREVER ? 0 : Math.max(0, this.expiryNs - this.kernel.clock.monotonicNs());
    return (
      `clockid: ${this.clock}\nticks: ${this.ticks}\nsettime flags: 0${this.settimeFlags.toString(8)}\n` +
      `it_value: (${pair(left)})\nit_interval: (${pair(this.intervalNs)})\n`
    );
  }

  override linkText(): string {
    return 'anon_inode:[timerfd]';
  }

  protected override release(_t: Task | null): void {
    this.kernel.timers.stop(this.timer);
  }
}

function pair(ns: number): string {
  return `${Math.floor(ns / 1e9)}, ${Math.floor(ns % 1e9)}`;
}
