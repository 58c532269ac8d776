// signalfd(2), fs/signalfd.c. The signals are those of whoever reads or polls, not of who made the
// file: a child that has inherited it reads its own. So the file listens to the signals of every
// process that has asked it so far, and passes the news on to its own waiters.

import { EAGAIN, EFAULT, EINVAL } from '../abi/errno.ts';
import { O_RDWR } from '../abi/fcntl.ts';
import { POLLIN } from '../abi/poll.ts';
import {
  SI_KERNEL,
  SI_SIGIO,
  SI_TIMER,
  SI_USER,
  SIGBUS,
  SIGCHLD,
  SIGFPE,
  SIGILL,
  SIGPOLL,
  SIGSEGV,
  SIGSYS,
  SIGTRAP,
} from '../abi/signal.ts';
import { Waiter, type WaitQueue } from '../base/wait-queue.ts';
import type { SigInfo } from '../kernel/signal-queue.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { anonInode } from './anon.ts';

/** What a signalfd needs of the kernel, handed in since fs stands below it. */
export interface SignalSupply {
  /** Whether a signal of the set is pending for the task. */
  isPending(t: Task, lo: number, hi: number): boolean;
  /** Takes the next signal of the set, or null. */
  take(t: Task, lo: number, hi: number): SigInfo | null;
}

/** sizeof(struct signalfd_siginfo). */
export const SIGNALFD_SIGINFO_SIZE = 128;
const bytes = new Uint8Array(SIGNALFD_SIGINFO_SIZE);
const view = new DataView(bytes.buffer);

class Relay extends Waiter {
  private readonly to: WaitQueue;

  constructor(to: WaitQueue) {
    super();
    this.to = to;
  }

  override notified(_events: number): void {
    this.to.notify(POLLIN);
  }
}

export class SignalFile extends FileDescription {
  private readonly supply: SignalSupply;
  private lo: number;
  private hi: number;
  private readonly relays: Relay[] = [];

  /** {lo, hi} is the set of accepted signals. flags: O_NONBLOCK. */
  constructor(supply: SignalSupply, lo: number, hi: number, flags: number) {
    super(O_RDWR | flags, undefined);
    this.supply = supply;
    this.lo = lo;
    this.hi = hi;
  }

  setMask(lo: number, hi: number): void {
    this.lo = lo;
    this.hi = hi;
    this.waiters.notify(POLLIN);
  }

  override inode(): Inode {
    return anonInode;
  }

  override read(t: Task, io: IoBuffer): number {
    if (io.remaining < SIGNALFD_SIGINFO_SIZE) return -EINVAL;
    let done = 0;
    while (io.remaining >= SIGNALFD_SIGINFO_SIZE) {
      const info = this.supply.take(t, this.lo, this.hi);
      if (info === null) break;
      encode(info);
      if (io.put(bytes, 0, SIGNALFD_SIGINFO_SIZE) !== SIGNALFD_SIGINFO_SIZE) return done > 0 ? done : -EFAULT;
      done += SIGNALFD_SIGINFO_SIZE;
    }
    if (done > 0) return done;
    this.listenTo(t);
    return -EAGAIN;
  }

  /** noop_llseek(): there is a position, which nothing moves. */
  override seek(_t: Task, _offset: number, _whence: number): number {
    return 0;
  }

  override canPoll(): boolean {
    return true;
  }

  override poll(t: Task | null): number {
    if (t === null) return 0;
    this.listenTo(t);
    return this.supply.isPending(t, this.lo, this.hi) ? POLLIN : 0;
  }

  private listenTo(t: Task): void {
    const queue = t.group.handlers.signalfdWaiters;
    for (let i = 0; i < this.relays.length; i++) if (this.relays[i]!.queue === queue) return;
    const relay = new Relay(this.waiters);
    queue.add(relay, POLLIN);
    this.relays.push(relay);
  }

  override fdinfo(): string {
    return `sigmask:\t${(this.hi >>> 0).toString(16).padStart(8, '0')}${(this.lo >>> 0).toString(16).padStart(8, '0')}\n`;
  }

  override linkText(): string {
    return 'anon_inode:[signalfd]';
  }

  protected override release(_t: Task | null): void {
    for (const relay of this.relays) relay.unlink();
  }
}

// Offsets in struct signalfd_siginfo, include/uapi/linux/signalfd.h.
const SSI_SIGNO = 0;
const SSI_ERRNO = 4;
const SSI_CODE = 8;
const SSI_PID = 12;
const SSI_UID = 16;
const SSI_FD = 20;
const SSI_TID = 24;
const SSI_BAND = 28;
const SSI_OVERRUN = 32;
const SSI_STATUS = 40;
const SSI_INT = 44;
const SSI_PTR = 48;
const SSI_UTIME = 56;
const SSI_STIME = 64;
const SSI_ADDR = 72;
const SSI_SYSCALL = 84;
const SSI_CALL_ADDR = 88;
const SSI_ARCH = 96;

/** signalfd_copyinfo(): which fields a siginfo has depends on its code, and for the kernel's codes on the signal. Words: kernel/signal-queue.ts. */
function encode(info: SigInfo): void {
  const w = info.words;
  bytes.fill(0);
  view.setInt32(SSI_SIGNO, info.signo, true);
  view.setInt32(SSI_ERRNO, info.errno, true);
  view.setInt32(SSI_CODE, info.code, true);
  if (info.code > SI_USER && info.code < SI_KERNEL) encodeKernelInfo(info);
  else if (info.code === SI_TIMER) {
    view.setInt32(SSI_TID, w[4]!, true);
    view.setInt32(SSI_OVERRUN, w[5]!, true);
    encodeValue(w);
  } else if (info.code === SI_SIGIO) encodePoll(w);
  else {
    view.setInt32(SSI_PID, w[4]!, true);
    view.setInt32(SSI_UID, w[5]!, true);
    if (info.code < 0) encodeValue(w);
  }
}

function encodeKernelInfo(info: SigInfo): void {
  const w = info.words;
  switch (info.signo) {
    case SIGILL:
    case SIGFPE:
    case SIGSEGV:
    case SIGBUS:
    case SIGTRAP:
      copyWords(w, 4, SSI_ADDR);
      break;
    case SIGCHLD:
      view.setInt32(SSI_PID, w[4]!, true);
      view.setInt32(SSI_UID, w[5]!, true);
      view.setInt32(SSI_STATUS, w[6]!, true);
      copyWords(w, 8, SSI_UTIME);
      copyWords(w, 10, SSI_STIME);
      break;
    case SIGPOLL:
      encodePoll(w);
      break;
    case SIGSYS:
      copyWords(w, 4, SSI_CALL_ADDR);
      view.setInt32(SSI_SYSCALL, w[6]!, true);
      view.setInt32(SSI_ARCH, w[7]!, true);
      break;
    default:
      view.setInt32(SSI_PID, w[4]!, true);
      view.setInt32(SSI_UID, w[5]!, true);
  }
}

function encodePoll(w: Int32Array): void {
  view.setInt32(SSI_BAND, w[4]!, true);
  view.setInt32(SSI_FD, w[6]!, true);
}

/** union sigval is both an int and a pointer. */
function encodeValue(w: Int32Array): void {
  view.setInt32(SSI_INT, w[6]!, true);
  copyWords(w, 6, SSI_PTR);
}

function copyWords(w: Int32Array, from: number, at: number): void {
  view.setInt32(at, w[from]!, true);
  view.setInt32(at + 4, w[from + 1]!, true);
}
