// Pending signals: struct siginfo and struct sigpending. A siginfo is kept in Linux's own layout
// (48 bytes, what the kernel keeps of the 128), so that copying it to the guest is copying words:
//
//   word 0 signo   1 errno   2 code   3 padding
//        4 pid | timer id | address low | band low          5 uid | overrun | address high | band high
//        6 value low | status | fd | system call            7 value high | padding | architecture
//        8, 9 utime (SIGCHLD)                                10, 11 stime

import { SI_USER } from '../abi/signal.ts';
import type { UserCounts } from './limits.ts';
import { lowestSignal, SYNCHRONOUS_LO, sigHi, sigIn, sigLo } from './signal-set.ts';

export const SIGINFO_WORDS = 12;
/** sizeof(siginfo_t): the rest after the words is zero. */
export const SIGINFO_SIZE = 128;

const TWO32 = 4294967296;

/** Told when a signal it has sent leaves the queue: a POSIX timer fills in its overrun and rearms. */
export interface SignalSource {
  /** Before the receiver sees `info`, which it may change. */
  dequeued(info: SigInfo): void;
}

export class SigInfo {
  readonly words: Int32Array = new Int32Array(SIGINFO_WORDS);
  source: SignalSource | null = null;
  /** Whose RLIMIT_SIGPENDING the queue entry counts against. */
  counted: UserCounts | null = null;

  constructor(signo: number, code: number) {
    this.words[0] = signo;
    this.words[2] = code;
  }

  get signo(): number {
    return this.words[0]!;
  }

  get errno(): number {
    return this.words[1]!;
  }

  get code(): number {
    return this.words[2]!;
  }

  /** kill, tgkill, sigqueue, SIGCHLD: the sender, in the receiver's pid namespace. */
  get pid(): number {
    return this.words[4]!;
  }

  set pid(pid: number) {
    this.words[4] = pid;
  }

  get uid(): number {
    return this.words[5]! >>> 0;
  }

  set uid(uid: number) {
    this.words[5] = uid;
  }

  /** SI_TIMER. */
  get timerId(): number {
    return this.words[4]!;
  }

  set timerId(id: number) {
    this.words[4] = id;
  }

  get overrun(): number {
    return this.words[5]!;
  }

  set overrun(n: number) {
    this.words[5] = n;
  }

  /** SIGCHLD. */
  get status(): number {
    return this.words[6]!;
  }

  set status(status: number) {
    this.words[6] = status;
  }

  /** union sigval, as two words: it is opaque. */
  setValue(lo: number, hi: number): void {
    this.words[6] = lo;
    this.words[7] = hi;
  }

  /** Faults. */
  get addr(): number {
    return (this.words[4]! >>> 0) + (this.words[5]! >>> 0) * TWO32;
  }

  set addr(addr: number) {
    this.put64(4, addr);
  }

  /** SIGPOLL: poll bits and descriptor. */
  setPoll(band: number, fd: number): void {
    this.put64(4, band);
    this.words[6] = fd;
  }

  /** SIGSYS by seccomp. */
  setSys(callAddr: number, sysno: number, arch: number): void {
    this.put64(4, callAddr);
    this.words[6] = sysno;
    this.words[7] = arch;
  }

  /** SIGCHLD: clock ticks (CLK_TCK). */
  setTimes(utime: number, stime: number): void {
    this.put64(8, utime);
    this.put64(10, stime);
  }

  private put64(at: number, value: number): void {
    this.words[at] = value | 0;
    this.words[at + 1] = Math.floor(value / TWO32) | 0;
  }

  /** All of siginfo_t, SIGINFO_SIZE bytes at `at`. */
  encode(v: DataView, at: number): void {
    for (let i = 0; i < SIGINFO_WORDS; i++) v.setInt32(at + i * 4, this.words[i]!, true);
    for (let i = SIGINFO_WORDS * 4; i < SIGINFO_SIZE; i += 4) v.setInt32(at + i, 0, true);
  }
}

/** Signals sent to one task, or to a group and not yet taken by one of its tasks. */
export class SignalQueue {
  lo = 0;
  hi = 0;
  /** Oldest first; signals over the limit are in the set but not here. */
  private entries: SigInfo[] = [];

  has(signo: number): boolean {
    return sigIn(this.lo, this.hi, signo);
  }

  /** Marks a signal pending without information: SIGKILL, or one over the queue limit. */
  mark(signo: number): void {
    this.lo |= sigLo(signo);
    this.hi |= sigHi(signo);
  }

  add(info: SigInfo): void {
    this.entries.push(info);
    this.mark(info.signo);
    if (info.counted !== null) info.counted.pendingSignals++;
  }

  /** The entry at that place from the oldest on, which stays. */
  at(n: number): SigInfo | undefined {
    return this.entries[n];
  }

  /** The signal that next() would take among those not in the blocked set, or 0. Faults go first: dequeue_synchronous_signal(). */
  peek(blockedLo: number, blockedHi: number): number {
    const lo = this.lo & ~blockedLo;
    if ((lo & SYNCHRONOUS_LO) !== 0) return lowestSignal(lo & SYNCHRONOUS_LO, 0);
    return lowestSignal(lo, this.hi & ~blockedHi);
  }

  /** Takes the oldest entry of signo, which is pending: collect_signal(). */
  take(signo: number): SigInfo {
    let found = -1;
    let more = false;
    for (let i = 0; i < this.entries.length; i++) {
      if (this.entries[i]!.signo !== signo) continue;
      if (found >= 0) {
        more = true;
        break;
      }
      found = i;
    }
    if (!more) {
      this.lo &= ~sigLo(signo);
      this.hi &= ~sigHi(signo);
    }
    if (found < 0) return new SigInfo(signo, SI_USER);
    const info = this.entries[found]!;
    this.entries.splice(found, 1);
    uncount(info);
    info.source?.dequeued(info);
    return info;
  }

  /** Whether the source's signal still waits here: a timer then only counts an overrun. */
  hasFrom(source: SignalSource): boolean {
    for (let i = 0; i < this.entries.length; i++) if (this.entries[i]!.source === source) return true;
    return false;
  }

  /** Takes back what `source` has sent: timer_delete. */
  removeFrom(source: SignalSource): void {
    for (let i = this.entries.length - 1; i >= 0; i--) {
      const info = this.entries[i]!;
      if (info.source !== source) continue;
      this.entries.splice(i, 1);
      uncount(info);
      if (!this.hasEntry(info.signo)) {
        this.lo &= ~sigLo(info.signo);
        this.hi &= ~sigHi(info.signo);
      }
    }
  }

  /** Drops every signal of the set. */
  flush(lo: number, hi: number): void {
    if ((this.lo & lo) === 0 && (this.hi & hi) === 0) return;
    this.lo &= ~lo;
    this.hi &= ~hi;
    const kept: SigInfo[] = [];
    for (const info of this.entries) {
      if (sigIn(lo, hi, info.signo)) uncount(info);
      else kept.push(info);
    }
    this.entries = kept;
  }

  private hasEntry(signo: number): boolean {
    for (let i = 0; i < this.entries.length; i++) if (this.entries[i]!.signo === signo) return true;
    return false;
  }
}

function uncount(info: SigInfo): void {
  if (info.counted === null) return;
  info.counted.pendingSignals--;
  info.counted = null;
}
