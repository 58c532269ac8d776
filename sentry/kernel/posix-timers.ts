// timer_create(2) and its kin: kernel/time/posix-timers.c. A timer has at most one signal in the
// queue. When it is taken from there (dequeued()), a periodic timer counts the expiries that went
// by meanwhile as its overrun, and is started again.

import { EAGAIN } from '../abi/errno.ts';
import { RLIMIT_SIGPENDING } from '../abi/sched.ts';
import { SI_TIMER } from '../abi/signal.ts';
import { type CpuClock, withoutAlarm } from './clocks.ts';
import { SigInfo, type SignalSource } from './signal-queue.ts';
import { TASK_DEAD, type Task } from './task.ts';
import { sendSignal, sendToGroup, sendToRunning } from './task-signals.ts';
import type { GroupTimers, ThreadGroup } from './thread-group.ts';
import { FOREVER, Timer } from './timers.ts';

/** DELAYTIMER_MAX: where counting of overruns stops. */
const DELAYTIMER_MAX = 0x7fffffff;
/** A signal that is ignored is tried again no sooner than this: posix_timer_fn()'s TICK_NSEC. */
const IGNORED_RETRY_NS = 1e6;

/** How a timer tells of its end. */
export interface Notification {
  /** 0: SIGEV_NONE. */
  signo: number;
  /** SIGEV_THREAD_ID; null: the process. */
  task: Task | null;
  valueLo: number;
  valueHi: number;
}

export class PosixTimer extends Timer implements SignalSource {
  readonly group: ThreadGroup;
  readonly id: number;
  readonly clock: number;
  private readonly cpu: CpuClock | null;
  private readonly notification: Notification;
  /** Monotonic ns, or ns of the CPU clock; FOREVER while off. */
  private expiryNs = FOREVER;
  intervalNs = 0;
  /** The signal is queued, and the timer waits for it to be taken. */
  private requeuePending = false;
  private missed = 0;
  /** timer_getoverrun(2). */
  overrun = 0;

  constructor(group: ThreadGroup, id: number, clock: number, cpu: CpuClock | null, notification: Notification) {
    super();
    this.group = group;
    this.id = id;
    this.clock = clock;
    this.cpu = cpu;
    this.notification = notification;
  }

  /** Time to the next expiry, 0 when off or over. */
  remainingNs(): number {
    if (this.expiryNs === FOREVER) return 0;
    const now = this.nowNs();
    const silent = this.notification.signo === 0;
    if (this.intervalNs !== 0 && (this.requeuePending || silent)) this.missed += this.forward(now);
    const left = this.expiryNs - now;
    // Due but not served yet counts as on: posix-timers.c:common_timer_get().
    if (left <= 0) return silent ? 0 : 1;
    return left;
  }

  /** Starts the timer at {sec, nsec}, absolute or from now; zero stops it. aheadNs is how far the caller's clock is ahead of the host's. */
  set(sec: number, nsec: number, intervalNs: number, isAbsolute: boolean, aheadNs = 0): void {
    this.stop();
    if (sec === 0 && nsec === 0) return;
    this.intervalNs = intervalNs;
    if (!isAbsolute) this.expiryNs = this.nowNs() + sec * 1e9 + nsec;
    else if (this.cpu !== null) this.expiryNs = sec * 1e9 + nsec;
    else this.expiryNs = this.group.kernel.clock.monotonicAt(withoutAlarm(this.clock), sec, nsec) - aheadNs;
    this.schedule();
  }

  /** Off, with no signal of it left to be taken. */
  stop(): void {
    this.group.kernel.timers.stop(this);
    this.expiryNs = FOREVER;
    this.intervalNs = 0;
    this.requeuePending = false;
    this.missed = 0;
    this.overrun = 0;
    this.group.pending.removeFrom(this);
    this.notification.task?.signals.pending.removeFrom(this);
  }

  override fired(nowNs: number): void {
    const now = this.cpu === null ? nowNs : this.cpu.nowNs();
    if (now < this.expiryNs) {
      this.schedule();
      return;
    }
    this.notify();
    if (this.intervalNs === 0) this.expiryNs = FOREVER;
    if (this.requeuePending || this.intervalNs === 0) return;
    this.missed += this.forward(now) - 1;
    this.expiryNs = Math.max(this.expiryNs, now + IGNORED_RETRY_NS);
    this.schedule();
  }

  /** The receiver is about to see the signal. */
  dequeued(info: SigInfo): void {
    if (!this.requeuePending) return;
    this.requeuePending = false;
    if (this.intervalNs !== 0) {
      // The expiry that sent the signal is none too many.
      this.missed += this.forward(this.nowNs()) - 1;
      this.schedule();
    }
    this.overrun = Math.min(Math.max(this.missed, 0), DELAYTIMER_MAX);
    this.missed = 0;
    info.overrun = this.overrun;
  }

  private notify(): void {
    const to = this.notification;
    if (to.signo === 0) return;
    const info = new SigInfo(to.signo, SI_TIMER);
    info.timerId = this.id;
    info.setValue(to.valueLo, to.valueHi);
    info.source = this;
    const task = to.task;
    if (task === null && this.cpu !== null) sendToRunning(this.group, info);
    else if (task === null) sendToGroup(this.group, info, true);
    else if (task.state !== TASK_DEAD) sendSignal(task, info, true);
    const queue = task === null ? this.group.pending : task.signals.pending;
    // Ignored signals are not queued, and nobody would take them.
    this.requeuePending = queue.hasFrom(this);
  }

  /** Moves the expiry beyond now, in whole intervals: how many. */
  private forward(now: number): number {
    if (this.expiryNs > now) return 0;
    const steps = Math.floor((now - this.expiryNs) / this.intervalNs) + 1;
    this.expiryNs += steps * this.intervalNs;
    return steps;
  }

  private nowNs(): number {
    return this.cpu === null ? this.group.kernel.clock.monotonicNs() : this.cpu.nowNs();
  }

  private schedule(): void {
    if (this.notification.signo === 0) return;
    this.group.kernel.timers.start(this, this.cpu === null ? this.expiryNs : this.cpu.lookAgainNs(this.expiryNs - this.cpu.nowNs()));
  }
}

/** A process's timers, by id. */
export class PosixTimers implements GroupTimers {
  private readonly group: ThreadGroup;
  private readonly timers: Map<number, PosixTimer> = new Map();
  private nextId = 0;

  constructor(group: ThreadGroup) {
    this.group = group;
  }

  get(id: number): PosixTimer | undefined {
    return this.timers.get(id);
  }

  /** A new timer, or -EAGAIN: each holds a place in the signal queue, RLIMIT_SIGPENDING. */
  create(clock: number, cpu: CpuClock | null, notification: Notification): PosixTimer | number {
    if (this.timers.size >= this.group.limits.soft[RLIMIT_SIGPENDING]!) return -EAGAIN;
    const id = this.nextId;
    this.nextId = (this.nextId + 1) % DELAYTIMER_MAX;
    const timer = new PosixTimer(this.group, id, clock, cpu, notification);
    this.timers.set(id, timer);
    return timer;
  }

  delete(timer: PosixTimer): void {
    timer.stop();
    this.timers.delete(timer.id);
  }

  release(): void {
    for (const timer of this.timers.values()) timer.stop();
    this.timers.clear();
  }

  /** /proc/[pid]/timers wants them in order. */
  all(): IterableIterator<PosixTimer> {
    return this.timers.values();
  }
}

/** The process's timers, made on first use. */
export function posixTimers(group: ThreadGroup): PosixTimers {
  group.posixTimers ??= new PosixTimers(group);
  return group.posixTimers as PosixTimers;
}
