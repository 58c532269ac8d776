// The terminal of a program that was started with one: a pty of the guest whose master's side is a
// descriptor of the host (the raw slave of the pty that the caller holds, or the caller's own
// terminal in raw mode). Bytes are moved both ways as the host and the guest's pty have room; the
// line discipline is the guest's.

import { EIO } from '../abi/errno.ts';
import { O_NONBLOCK, O_RDWR } from '../abi/fcntl.ts';
import { TIOCGWINSZ } from '../abi/ioctl.ts';
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from '../abi/poll.ts';
import { WINSIZE } from '../abi/termios.ts';
import { Waiter } from '../base/wait-queue.ts';
import { close, fcntlGetFlags, ioctl, pollFd, preadv2, pwritev2 } from '../host/host-io.ts';
import { nextWatchToken } from '../host/watch-token.ts';
import type { HostWatcher, Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { Mount } from '../vfs/mount.ts';
import { DevptsFilesystem, newTerminal, slavePathOf } from './devpts.ts';
import { type Pty, SlaveDescription } from './tty.ts';

const READ_SIZE = 4096;
/** What a terminal that is ready for writing takes without waiting: others have the same open file, and it may wait. */
const WAITING_SIZE = 256;
/** To one that never waits. */
const WRITE_SIZE = 16384;
/**
 * The host tells a new window size to its own foreground group alone: who runs in the foreground and the anchor
 * pass it on (Console.resize). Where there is neither it is asked when the guest asks, and along with traffic at most
 * this often: an idle terminal wakes nobody.
 */
const SIZE_INTERVAL_NS = 250e6;
/** How long the last output may take to be fetched. */
const DRAIN_MS = 100;

const bytes = new Uint8Array(WRITE_SIZE);
/** As long as the longest of a terminal's structures, whose requests do not say what they take. */
const sizeBytes = new Uint8Array(64);
const sizeView = new DataView(sizeBytes.buffer);

/** Told by the pty that there is output to fetch or room for input. */
class PtyWaiter extends Waiter {
  private readonly console: Console;

  constructor(console: Console) {
    super();
    this.console = console;
  }

  override notified(_events: number): void {
    this.console.pump();
  }
}

export class Console implements HostWatcher {
  readonly pty: Pty;
  private readonly kernel: Kernel;
  private readonly hostFd: number;
  private readonly mount: Mount;
  private readonly token: number;
  private readonly waiter: PtyWaiter = new PtyWaiter(this);
  /** The host's open file never waits: it is nobody else's. */
  private readonly neverWaits: boolean;
  private sizeAskedNs = 0;
  private pumping = false;
  private closed = false;
  /** Reads and writes of the host's side have ended. */
  private hungUp = false;

  private constructor(kernel: Kernel, hostFd: number, mount: Mount, pty: Pty) {
    this.kernel = kernel;
    this.hostFd = hostFd;
    this.mount = mount;
    this.pty = pty;
    this.token = nextWatchToken();
    const flags = fcntlGetFlags(hostFd);
    this.neverWaits = flags >= 0 && (flags & O_NONBLOCK) !== 0;
  }

  /**
   * Makes a terminal in the devpts mounted at `mount` (undefined: in one that nobody sees) and joins
   * it to `hostFd`, which is taken over. The slave belongs to uid. -errno when no terminal is free.
   */
  static open(kernel: Kernel, mount: Mount | undefined, hostFd: number, uid: number, gid: number): Console | number {
    const at = mount?.fs instanceof DevptsFilesystem ? mount : Mount.of(new DevptsFilesystem(kernel), 0);
    const pty = newTerminal(at, uid, gid);
    if (typeof pty === 'number') return pty;
    const made = new Console(kernel, hostFd, at, pty);
    made.start();
    return made;
  }

  private start(): void {
    this.readSize();
    this.pty.updateWindow = () => this.readSize();
    this.pty.masterWaiters.add(this.waiter, POLLIN | POLLOUT | POLLHUP | POLLRDNORM | POLLWRNORM);
    this.kernel.hostWatchers.set(this.token, this);
    this.kernel.platform.watch(this.hostFd, POLLIN | POLLOUT, this.token);
  }

  /** Descriptors 0, 1 and 2: one open file, referenced three times. */
  stdio(): FileDescription[] {
    const path = slavePathOf(this.mount, this.pty);
    const file = new SlaveDescription(O_RDWR, path, path.dentry.inode!, this.pty);
    file.countOpen(file.inode(), false);
    file.incRef();
    file.incRef();
    return [file, file, file];
  }

  /** The program leads a session whose terminal this is: setsid(2) and TIOCSCTTY. */
  attach(t: Task): void {
    if (t.group.isSessionLeader && t.group.tty === null) this.pty.makeControlling(t);
  }

  resize(rows: number, columns: number): void {
    this.pty.resize(rows, columns, 0, 0);
  }

  /** Takes over the host's window size. */
  readSize(): void {
    if (ioctl(this.hostFd, TIOCGWINSZ, sizeBytes) < 0) return;
    const word = (at: number): number => sizeView.getUint16(at, true);
    this.pty.resize(word(WINSIZE.rows), word(WINSIZE.cols), word(WINSIZE.xpixel), word(WINSIZE.ypixel));
  }

  /** Asks again if it has not for a while. */
  private refreshSize(): void {
    const now = this.kernel.clock.monotonicNs();
    if (now - this.sizeAskedNs < SIZE_INTERVAL_NS) return;
    this.sizeAskedNs = now;
    this.readSize();
  }

  hostReady(_events: number): void {
    this.pump();
  }

  /** Moves what can be moved. What it causes (echoes, room) is seen by its own loop, not by another one inside it. */
  pump(): void {
    if (this.pumping || this.closed) return;
    this.pumping = true;
    this.refreshSize();
    while (this.pumpIn() || this.pumpOut());
    this.pumping = false;
  }

  private ready(events: number, timeoutMs: number): boolean {
    if (this.hungUp) return false;
    const now = pollFd(this.hostFd, events, timeoutMs);
    return now > 0 && (now & (events | POLLHUP | POLLERR)) !== 0;
  }

  private pumpIn(): boolean {
    const { line } = this.pty;
    const want = Math.min(line.backlog.room, READ_SIZE);
    if (want === 0 || !this.ready(POLLIN, 0)) return false;
    const n = preadv2(this.hostFd, bytes, 0, want, -1, 0);
    if (n <= 0) {
      // Nobody holds the other side any more: what Linux tells by EIO.
      if (n === 0 || n === -EIO) this.hostGone();
      return false;
    }
    line.receive(bytes, 0, n);
    return true;
  }

  private pumpOut(): boolean {
    const { toMaster } = this.pty;
    if (toMaster.length === 0 || this.hungUp || !(this.neverWaits || this.ready(POLLOUT, 0))) return false;
    return this.writeSome();
  }

  private writeSome(): boolean {
    const { pty } = this;
    const n = pwritev2(this.hostFd, bytes, 0, pty.toMaster.copy(bytes, 0, this.neverWaits ? WRITE_SIZE : WAITING_SIZE), -1, 0);
    if (n <= 0) {
      if (n === -EIO) this.hostGone();
      return false;
    }
    pty.toMaster.skip(n);
    pty.line.outputDrained();
    pty.slaveWaiters.notify(POLLOUT | POLLWRNORM);
    return true;
  }

  private hostGone(): void {
    if (this.hungUp) return;
    this.hungUp = true;
    this.pty.hangupWithSignals();
  }

  /** The program has ended: its last output is delivered, then both sides close. */
  close(): void {
    if (this.closed) return;
    while (this.pty.toMaster.length > 0 && this.ready(POLLOUT, DRAIN_MS) && this.writeSome());
    this.closed = true;
    this.pty.updateWindow = null;
    this.waiter.unlink();
    this.kernel.platform.unwatch(this.hostFd);
    this.kernel.hostWatchers.delete(this.token);
    this.pty.masterClosed();
    close(this.hostFd);
  }
}
