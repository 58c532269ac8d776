// Pseudo terminals: drivers/tty/pty.c with the parts of tty_io.c and tty_jobctrl.c that it needs.
//
//   master (ptmx) ── write ──▶ line.receive() … line.read() ──▶ read ── slave (pts/N)
//                 ◀─ read ──── toMaster ◀──── line.write() ◀── write ──
//
// Both ends are one Pty object. Only the slave's side has a line discipline to speak of: the
// master's is raw, so its queue is enough. A hangup raises `generation`: descriptions of the slave
// from before it are dead, later ones work.

import { makedev } from '../abi/device.ts';
import { EAGAIN, EIO, ERESTARTSYS } from '../abi/errno.ts';
import { TIOCPKT_DATA, TIOCPKT_DOSTOP, TIOCPKT_IOCTL, TIOCPKT_NOSTOP } from '../abi/ioctl.ts';
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM } from '../abi/poll.ts';
import { SIG_IGN, SIGCONT, SIGHUP, SIGTTIN, SIGTTOU, SIGWINCH } from '../abi/signal.ts';
import { CREAD, CS8, CSIZE, EXTPROC, ICANON, IXON, OPOST, PARENB, TAB3, TABDLY, Termios, TOSTOP, VSTART, VSTOP } from '../abi/termios.ts';
import { ByteQueue } from '../base/byte-queue.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { ControllingTty, ProcessGroup, Session } from '../kernel/process-group.ts';
import type { Task } from '../kernel/task.ts';
import type { Timer } from '../kernel/timers.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode, VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { LineDiscipline, type TtyPort } from './tty-discipline.ts';
import { masterIoctl, slaveIoctl } from './tty-ioctl.ts';

export const PTS_MAJOR = 136;
const PTM_MAJOR = 128;

/** What tty_buffer_set_limit(8192) of pty_common_install() comes to, as measured; and the line buffer behind it. */
const FLIP_LIMIT = 16384;
const MASTER_BUFFER = FLIP_LIMIT + 4096;
const TENTH_NS = 1e8;

const READ_EVENTS = POLLIN | POLLRDNORM;
const WRITE_EVENTS = POLLOUT | POLLWRNORM;
const HUNG_UP = POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM;

/** Transfers go through it: handlers do not interleave. */
const chunk = new Uint8Array(MASTER_BUFFER);

/** struct winsize. */
export interface WindowSize {
  rows: number;
  cols: number;
  xpixel: number;
  ypixel: number;
}

/** What a Pty needs of the devpts it belongs to. */
export interface PtyOwner {
  /** The master is gone: the slave's node goes too. */
  masterClosed(pty: Pty): void;
}

/** VTIME: ends a read that has waited long enough. */
class ReadTimer implements Timer {
  deadlineNs = Number.POSITIVE_INFINITY;
  index = -1;
  /** Whose read it bounds; null when none is. */
  task: Task | null = null;
  expired = false;
  /** Bytes there were when it was started: a further one starts it anew. */
  seen = 0;
  private readonly pty: Pty;

  constructor(pty: Pty) {
    this.pty = pty;
  }

  fired(_nowNs: number): void {
    // The reader may have been interrupted meanwhile; then this concerns nobody.
    if (this.task === null || this.task.waiter.queue !== this.pty.slaveWaiters) {
      this.task = null;
      return;
    }
    this.expired = true;
    this.pty.slaveWaiters.notify(READ_EVENTS);
  }
}

export class Pty implements TtyPort, ControllingTty {
  readonly kernel: Kernel;
  readonly index: number;
  readonly dev: number;
  private readonly owner: PtyOwner;
  readonly termios: Termios = new Termios();
  readonly line: LineDiscipline;
  /** Brings `window` up to date, where it is that of a terminal of the host. */
  updateWindow: (() => void) | null = null;
  readonly window: WindowSize = { rows: 0, cols: 0, xpixel: 0, ypixel: 0 };
  readonly masterWaiters: WaitQueue = new WaitQueue();
  readonly slaveWaiters: WaitQueue = new WaitQueue();
  /** The slave's output on its way to the master. */
  readonly toMaster: ByteQueue = new ByteQueue(MASTER_BUFFER);
  readonly readTimer: ReadTimer;
  foreground: ProcessGroup | null = null;
  session: Session | null = null;

  /** TIOCSPTLCK: a new slave cannot be opened until unlockpt(3). */
  locked = true;
  masterOpen = true;
  slaveOpens = 0;
  /** The slave was open and is not any more: the master reads EIO. TTY_OTHER_CLOSED. */
  slaveGone = false;
  /** Grows with every hangup of the slave. */
  generation = 0;
  /** TIOCEXCL. */
  exclusive = false;
  packetMode = false;
  packetStatus = 0;

  constructor(kernel: Kernel, index: number, owner: PtyOwner) {
    this.kernel = kernel;
    this.index = index;
    this.owner = owner;
    this.dev = makedev(PTS_MAJOR, index);
    this.line = new LineDiscipline(this.termios, this, FLIP_LIMIT);
    this.readTimer = new ReadTimer(this);
  }

  /** Device number of the master's end: TIOCGDEV. */
  get masterDev(): number {
    return makedev(PTM_MAJOR, this.index);
  }

  // ---- TtyPort: what the line discipline does to the master

  outputRoom(): number {
    return this.line.stopped ? 0 : this.toMaster.room;
  }

  put(byte: number): void {
    this.toMaster.push(byte);
  }

  flushOutput(): void {
    this.toMaster.clear();
    this.slaveWaiters.notify(WRITE_EVENTS);
  }

  signal(signo: number): void {
    this.foreground?.signal(signo);
  }

  inputChanged(): void {
    if (this.line.pollAvailable() || this.line.inputAvailable(1)) this.slaveWaiters.notify(READ_EVENTS);
    if (this.line.backlog.room > 0) this.masterWaiters.notify(WRITE_EVENTS);
  }

  outputChanged(): void {
    if (this.toMaster.length > 0) this.masterWaiters.notify(READ_EVENTS);
    if (this.outputRoom() > 0) this.slaveWaiters.notify(WRITE_EVENTS);
  }

  packet(set: number, clear: number): void {
    if (!this.packetMode) return;
    this.packetStatus = (this.packetStatus & ~clear) | set;
    this.masterWaiters.notify(POLLPRI | READ_EVENTS);
  }

  // ---- settings

  /** tty_set_termios() with pty_set_termios(): a pty always has eight bits. */
  setTermios(wanted: Termios): void {
    const own = this.termios;
    const iflag = own.iflag;
    const lflag = own.lflag;
    const flow = this.hasFlowKeys();
    own.copyFrom(wanted);
    own.cflag = (own.cflag & ~(CSIZE | PARENB)) | CS8 | CREAD;
    if (this.packetMode) {
      const extproc = ((lflag | own.lflag) & EXTPROC) !== 0;
      if (flow !== this.hasFlowKeys()) this.packet(flow ? TIOCPKT_NOSTOP : TIOCPKT_DOSTOP, TIOCPKT_NOSTOP | TIOCPKT_DOSTOP);
      if (extproc) this.packet(TIOCPKT_IOCTL, 0);
    }
    this.line.settingsChanged(iflag, lflag);
    if ((lflag & ICANON) !== (own.lflag & ICANON)) this.slaveWaiters.notify(READ_EVENTS);
  }

  /** Ctrl-S and Ctrl-Q work: what packet mode reports as DOSTOP. */
  private hasFlowKeys(): boolean {
    return (this.termios.iflag & IXON) !== 0 && this.termios.cc[VSTOP] === 0x13 && this.termios.cc[VSTART] === 0x11;
  }

  /** pty_resize(): SIGWINCH when the size is another. */
  resize(rows: number, cols: number, xpixel: number, ypixel: number): void {
    const w = this.window;
    if (w.rows === rows && w.cols === cols && w.xpixel === xpixel && w.ypixel === ypixel) return;
    w.rows = rows;
    w.cols = cols;
    w.xpixel = xpixel;
    w.ypixel = ypixel;
    this.foreground?.signal(SIGWINCH);
  }

  // ---- job control

  /** __proc_set_tty(): the terminal becomes the one of t's session. */
  makeControlling(t: Task): void {
    this.session = t.group.session;
    this.foreground = t.group.processGroup;
    t.group.tty = this;
  }

  /** session_clear_tty(): no process of the session has a terminal any more. */
  leaveSession(): void {
    const session = this.session;
    this.session = null;
    this.foreground = null;
    if (session === null) return;
    for (const pgrp of session.processGroups) {
      for (const member of pgrp.members) if (member.tty === this) member.tty = null;
    }
  }

  /** tty_check_change() and n_tty's job_control(): 0, or what a process in the background gets. */
  checkForeground(t: Task, signo: number): number {
    if (t.group.tty !== this) return 0;
    const pgrp = t.group.processGroup;
    if (this.foreground === null || this.foreground === pgrp) return 0;
    if (isIgnoredOrBlocked(t, signo)) return signo === SIGTTIN ? -EIO : 0;
    if (pgrp.isOrphaned()) return -EIO;
    pgrp.signal(signo);
    return -ERESTARTSYS;
  }

  // ---- life

  /** The slave has been opened. */
  slaveOpened(): void {
    this.slaveOpens++;
    this.slaveGone = false;
  }

  /** pty_close() of the slave. What a hangup has cut off counts until it is closed: login(1) opens its terminal anew before that. */
  slaveClosed(): void {
    if (--this.slaveOpens > 0) return;
    this.slaveGone = true;
    this.masterWaiters.notify(POLLHUP | READ_EVENTS | WRITE_EVENTS);
  }

  /** __tty_hangup() of the slave: what has it open is cut off. */
  hangup(): void {
    this.generation++;
    this.leaveSession();
    this.line.flushInput();
    this.line.backlog.clear();
    this.setTermios(new Termios());
    this.slaveWaiters.notify(HUNG_UP);
    this.masterWaiters.notify(READ_EVENTS | WRITE_EVENTS);
  }

  /** tty_signal_session_leader(), then the hangup itself. */
  hangupWithSignals(): void {
    const leader = this.session?.leader;
    if (leader) {
      leader.signal(SIGHUP);
      leader.signal(SIGCONT);
    }
    this.hangup();
  }

  /** pty_close() of the master. */
  masterClosed(): void {
    this.masterOpen = false;
    this.owner.masterClosed(this);
    this.hangupWithSignals();
  }

  // A session leader's end does not hang up a pty, only other terminals: disassociate_ctty(). The kernel has sent the
  // signals and cut the ties.
  sessionEnded(_t: Task): void {}
}

/** is_ignored() of tty_jobctrl.c: a default action that does nothing is not meant. */
function isIgnoredOrBlocked(t: Task, signo: number): boolean {
  return (t.signals.blockedLo & (1 << (signo - 1))) !== 0 || t.group.handlers.get(signo).handler === SIG_IGN;
}

/** An end of a pty: what both have in common. */
abstract class TtyDescription extends FileDescription {
  readonly pty: Pty;
  private readonly node: Inode;

  constructor(flags: number, path: VfsPath, node: Inode, pty: Pty, waiters: WaitQueue) {
    super(flags, path, waiters);
    this.pty = pty;
    this.node = node;
  }

  override inode(): Inode {
    return this.node;
  }

  override canPoll(): boolean {
    return true;
  }

  override writesAll(): boolean {
    return true;
  }
}

export class SlaveDescription extends TtyDescription {
  private readonly generation: number;

  /** The caller has checked that the slave may be opened. */
  constructor(flags: number, path: VfsPath, node: Inode, pty: Pty) {
    super(flags, path, node, pty, pty.slaveWaiters);
    this.generation = pty.generation;
    pty.slaveOpened();
  }

  /** tty_hung_up_p(). */
  get hungUp(): boolean {
    return this.generation !== this.pty.generation;
  }

  /** n_tty_read(). */
  override read(t: Task, io: IoBuffer): number {
    if (this.hungUp) return 0;
    const { pty } = this;
    const refused = pty.checkForeground(t, SIGTTIN);
    if (refused < 0) return refused;
    if (io.remaining === 0) return 0;
    const wait = this.mustWait(t, io.remaining);
    if (wait <= 0) return wait;
    this.stopTimer();
    const n = pty.line.read(chunk, 0, Math.min(io.remaining, chunk.length));
    pty.inputChanged();
    return n <= 0 ? n : io.put(chunk, 0, n);
  }

  /** 1: a read can be served now. Otherwise its result: 0 for a timeout or "no waiting", -EAGAIN. termios(3), "Canonical and noncanonical mode". */
  private mustWait(t: Task, wanted: number): number {
    const { line, readTimer: timer } = this.pty;
    if (line.inputAvailable(1)) {
      const want = Math.min(line.minimum, wanted);
      if (line.rawCount >= want || line.minimum === 0 || this.nonblocking) return 1;
      if (line.time === 0) return -EAGAIN;
      if (timer.task === t && timer.expired) return 1;
      if (timer.task !== t || timer.seen !== line.rawCount) this.startTimer(t);
      return -EAGAIN;
    }
    if (line.minimum > 0 || (line.termios.lflag & ICANON) !== 0) return -EAGAIN;
    if (line.time === 0) return 0;
    if (this.nonblocking) return -EAGAIN;
    if (timer.task === t && timer.expired) {
      this.stopTimer();
      return 0;
    }
    if (timer.task !== t) this.startTimer(t);
    return -EAGAIN;
  }

  private startTimer(t: Task): void {
    const { line, readTimer: timer, kernel } = this.pty;
    timer.task = t;
    timer.expired = false;
    timer.seen = line.rawCount;
    kernel.timers.start(timer, kernel.clock.monotonicNs() + line.time * TENTH_NS);
  }

  private stopTimer(): void {
    const { readTimer: timer, kernel } = this.pty;
    if (timer.task === null) return;
    kernel.timers.stop(timer);
    timer.task = null;
    timer.expired = false;
  }

  /** The most bytes that one byte becomes by output processing. */
  private get expansion(): number {
    const { oflag } = this.pty.termios;
    if ((oflag & OPOST) === 0) return 1;
    return (oflag & TABDLY) === TAB3 ? 8 : 2;
  }

  /** n_tty_write(). Only as much is taken as surely fits, so that nothing has to be given back. */
  override write(t: Task, io: IoBuffer): number {
    const { pty } = this;
    if (this.hungUp || !pty.masterOpen) return -EIO;
    if ((pty.termios.lflag & TOSTOP) !== 0) {
      const refused = pty.checkForeground(t, SIGTTOU);
      if (refused < 0) return refused;
    }
    if (io.remaining === 0) return 0;
    pty.line.processEchoes();
    let done = 0;
    while (io.remaining > 0) {
      const fits = Math.min(io.remaining, Math.floor(pty.outputRoom() / this.expansion));
      if (fits === 0) break;
      const n = io.take(chunk, 0, fits);
      if (n <= 0) return done > 0 ? done : n;
      pty.line.write(chunk, 0, n);
      done += n;
      if (n < fits) break;
    }
    return done > 0 ? done : -EAGAIN;
  }

  override poll(_t: Task | null): number {
    const { pty } = this;
    if (this.hungUp) return HUNG_UP;
    let events = 0;
    if (pty.line.pollAvailable()) events |= READ_EVENTS;
    if (!pty.masterOpen) events |= POLLHUP;
    if (pty.outputRoom() >= this.expansion) events |= WRITE_EVENTS;
    return events;
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    return slaveIoctl(t, this, cmd >>> 0, arg);
  }

  protected override release(_t: Task | null): void {
    this.pty.slaveClosed();
  }
}

export class MasterDescription extends TtyDescription {
  /** Where the slave is: for TIOCGPTPEER. */
  readonly slavePath: VfsPath;

  constructor(flags: number, path: VfsPath, node: Inode, pty: Pty, slavePath: VfsPath) {
    super(flags, path, node, pty, pty.masterWaiters);
    this.slavePath = slavePath;
  }

  override read(_t: Task, io: IoBuffer): number {
    const { pty } = this;
    if (io.remaining === 0) return 0;
    if (pty.packetMode && pty.packetStatus !== 0) {
      chunk[0] = pty.packetStatus;
      pty.packetStatus = 0;
      return io.put(chunk, 0, 1);
    }
    if (pty.toMaster.length === 0) return pty.slaveGone ? -EIO : -EAGAIN;
    const head = pty.packetMode ? 1 : 0;
    chunk[0] = TIOCPKT_DATA;
    const n = pty.toMaster.copy(chunk, head, Math.min(io.remaining, chunk.length) - head);
    const put = io.put(chunk, 0, head + n);
    if (put < 0) return put;
    pty.toMaster.skip(Math.max(0, put - head));
    pty.line.outputDrained();
    pty.slaveWaiters.notify(WRITE_EVENTS);
    return put;
  }

  override write(_t: Task, io: IoBuffer): number {
    const { pty } = this;
    let done = 0;
    while (io.remaining > 0) {
      const fits = Math.min(io.remaining, pty.line.backlog.room);
      if (fits === 0) break;
      const n = io.take(chunk, 0, fits);
      if (n <= 0) return done > 0 ? done : n;
      pty.line.receive(chunk, 0, n);
      done += n;
      if (n < fits) break;
    }
    return done > 0 || io.remaining === 0 ? done : -EAGAIN;
  }

  override poll(_t: Task | null): number {
    const { pty } = this;
    let events = 0;
    if (pty.toMaster.length > 0) events |= READ_EVENTS;
    if (pty.packetMode && pty.packetStatus !== 0) events |= POLLPRI | READ_EVENTS;
    if (pty.slaveGone) events |= POLLHUP;
    if (pty.line.backlog.room > 0) events |= WRITE_EVENTS;
    return events;
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    return masterIoctl(t, this, cmd >>> 0, arg);
  }

  protected override release(_t: Task | null): void {
    this.pty.masterClosed();
  }
}
