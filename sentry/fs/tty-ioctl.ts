// ioctl_tty(2): drivers/tty/tty_ioctl.c, tty_jobctrl.c, n_tty_ioctl() and pty_unix98_ioctl(). A
// request on the master that is about settings means the slave's (real_tty), as in Linux.

import { EBUSY, EFAULT, EINVAL, EIO, ENOTTY, EPERM, ESRCH } from '../abi/errno.ts';
import { O_ACCMODE, O_CLOEXEC, O_NOCTTY, O_NONBLOCK } from '../abi/fcntl.ts';
import {
  FIONREAD,
  TCFLSH,
  TCGETA,
  TCGETS,
  TCGETS2,
  TCSBRK,
  TCSBRKP,
  TCSETA,
  TCSETAF,
  TCSETAW,
  TCSETS,
  TCSETS2,
  TCSETSF,
  TCSETSF2,
  TCSETSW,
  TCSETSW2,
  TCXONC,
  TIOCCBRK,
  TIOCCONS,
  TIOCEXCL,
  TIOCGDEV,
  TIOCGETD,
  TIOCGEXCL,
  TIOCGLCKTRMIOS,
  TIOCGPGRP,
  TIOCGPKT,
  TIOCGPTLCK,
  TIOCGPTN,
  TIOCGPTPEER,
  TIOCGSID,
  TIOCGSOFTCAR,
  TIOCGWINSZ,
  TIOCNOTTY,
  TIOCNXCL,
  TIOCOUTQ,
  TIOCPKT,
  TIOCPKT_FLUSHWRITE,
  TIOCSBRK,
  TIOCSCTTY,
  TIOCSETD,
  TIOCSIG,
  TIOCSLCKTRMIOS,
  TIOCSPGRP,
  TIOCSPTLCK,
  TIOCSSOFTCAR,
  TIOCSTI,
  TIOCSWINSZ,
  TIOCVHANGUP,
} from '../abi/ioctl.ts';
import { CAP_SYS_ADMIN } from '../abi/sched.ts';
import { SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTSTP, SIGTTOU } from '../abi/signal.ts';
import {
  CLOCAL,
  DISABLED_CHAR,
  getTermio,
  getTermios,
  N_TTY,
  putTermio,
  putTermios,
  TCIFLUSH,
  TCIOFF,
  TCIOFLUSH,
  TCION,
  TCOFLUSH,
  TCOOFF,
  TCOON,
  TERMIO,
  TERMIOS,
  TERMIOS2,
  Termios,
  VSTART,
  VSTOP,
  WINSIZE,
} from '../abi/termios.ts';
import type { Task } from '../kernel/task.ts';
import { type MasterDescription, type Pty, SlaveDescription } from './tty.ts';
import { LINE_BUFFER } from './tty-discipline.ts';

const bytes = new Uint8Array(64);
const view = new DataView(bytes.buffer);
const wanted = new Termios();

/** Which layout a TCGETS or TCSETS request has. */
const PLAIN = 0;
const WITH_SPEEDS = 1;
const OLD = 2;

/** What TCSETS does first. */
const NOW = 0;
const DRAIN = 1;
const FLUSH = 2;

/** A request on the slave. */
export function slaveIoctl(t: Task, file: SlaveDescription, cmd: number, arg: number): number {
  const { pty } = file;
  // hung_up_tty_ioctl(): whoever hands over the foreground learns that there is no terminal.
  if (file.hungUp) return cmd === TIOCSPGRP ? -ENOTTY : -EIO;
  switch (cmd) {
    case FIONREAD:
      return t.mm.storeU32(arg, pty.line.inputQueued());
    case TIOCSCTTY:
      return setControlling(t, pty, arg, file.readable);
    case TIOCGPGRP:
      if (t.group.tty !== pty) return -ENOTTY;
      return foregroundOf(t, pty, arg);
    case TIOCGSID:
      if (t.group.tty !== pty) return -ENOTTY;
      return sessionOf(t, pty, arg);
    case TIOCSTI:
      return insertByte(t, pty, arg);
    case TIOCNOTTY:
      return giveUpTty(t, pty);
    case TIOCGDEV:
      return t.mm.storeU32(arg, pty.dev);
    case TIOCVHANGUP:
      if (!t.creds.capable(CAP_SYS_ADMIN)) return -EPERM;
      pty.hangupWithSignals();
      return 0;
    default:
      return commonIoctl(t, pty, cmd, arg);
  }
}

/** A request on the master. */
export function masterIoctl(t: Task, file: MasterDescription, cmd: number, arg: number): number {
  const { pty } = file;
  switch (cmd) {
    case TIOCSPTLCK: {
      const on = t.mm.loadU32(arg);
      if (on < 0) return -EFAULT;
      pty.locked = on !== 0;
      return 0;
    }
    case TIOCGPTLCK:
      return t.mm.storeU32(arg, pty.locked ? 1 : 0);
    case TIOCGPTN:
      return t.mm.storeU32(arg, pty.index);
    case TIOCGPTPEER:
      return openPeer(t, file, arg);
    case TIOCPKT: {
      const on = t.mm.loadU32(arg);
      if (on < 0) return -EFAULT;
      if (on !== 0 && !pty.packetMode) pty.packetStatus = 0;
      pty.packetMode = on !== 0;
      return 0;
    }
    case TIOCGPKT:
      return t.mm.storeU32(arg, pty.packetMode ? 1 : 0);
    case TIOCSIG: {
      const signo = arg;
      if (signo !== SIGINT && signo !== SIGQUIT && signo !== SIGTSTP) return -EINVAL;
      pty.foreground?.signal(signo);
      return 0;
    }
    case FIONREAD:
      return t.mm.storeU32(arg, Math.min(pty.toMaster.length, LINE_BUFFER - 1));
    case TIOCSCTTY:
      return setControlling(t, pty, arg, file.readable);
    case TIOCGPGRP:
      return foregroundOf(t, pty, arg);
    case TIOCGSID:
      return sessionOf(t, pty, arg);
    case TIOCSTI:
      // The byte would be the master's own input: what the slave has written.
      if (!t.creds.capable(CAP_SYS_ADMIN)) return -EPERM;
      return insertForMaster(t, pty, arg);
    case TIOCNOTTY:
      return -ENOTTY;
    case TIOCGDEV:
      return t.mm.storeU32(arg, pty.dev);
    case TCFLSH:
      return flushFromMaster(pty, arg);
    case TIOCVHANGUP:
      return t.creds.capable(CAP_SYS_ADMIN) ? 0 : -EPERM;
    default:
      return commonIoctl(t, pty, cmd, arg);
  }
}

/** The requests that mean the slave on both ends. */
function commonIoctl(t: Task, pty: Pty, cmd: number, arg: number): number {
  switch (cmd) {
    case TCGETS:
      return getSettings(t, pty.termios, arg, PLAIN);
    case TCGETS2:
      return getSettings(t, pty.termios, arg, WITH_SPEEDS);
    case TCGETA:
      return getSettings(t, pty.termios, arg, OLD);
    case TCSETS:
      return setSettings(t, pty, arg, PLAIN, NOW);
    case TCSETSW:
      return setSettings(t, pty, arg, PLAIN, DRAIN);
    case TCSETSF:
      return setSettings(t, pty, arg, PLAIN, FLUSH);
    case TCSETS2:
      return setSettings(t, pty, arg, WITH_SPEEDS, NOW);
    case TCSETSW2:
      return setSettings(t, pty, arg, WITH_SPEEDS, DRAIN);
    case TCSETSF2:
      return setSettings(t, pty, arg, WITH_SPEEDS, FLUSH);
    case TCSETA:
      return setSettings(t, pty, arg, OLD, NOW);
    case TCSETAW:
      return setSettings(t, pty, arg, OLD, DRAIN);
    case TCSETAF:
      return setSettings(t, pty, arg, OLD, FLUSH);
    case TIOCGWINSZ:
      return getWindow(t, pty, arg);
    case TIOCSWINSZ:
      return setWindow(t, pty, arg);
    case TIOCSPGRP:
      return setForeground(t, pty, arg);
    case TCFLSH:
      return pty.checkForeground(t, SIGTTOU) || flush(pty, arg);
    case TCXONC:
      return pty.checkForeground(t, SIGTTOU) || flowControl(pty, arg);
    case TCSBRK:
    case TCSBRKP:
    case TIOCSBRK:
    case TIOCCBRK:
      // A pty has no line to hold low: send_break() without break_ctl.
      return pty.checkForeground(t, SIGTTOU);
    case TIOCOUTQ:
      // "The pty has no chars_in_buffer": what is written is with the other end.
      return t.mm.storeU32(arg, 0);
    case TIOCEXCL:
      pty.exclusive = true;
      return 0;
    case TIOCNXCL:
      pty.exclusive = false;
      return 0;
    case TIOCGEXCL:
      return t.mm.storeU32(arg, pty.exclusive ? 1 : 0);
    case TIOCGETD:
      return t.mm.storeU32(arg, N_TTY);
    case TIOCSETD: {
      const refused = pty.checkForeground(t, SIGTTOU);
      if (refused < 0) return refused;
      const line = t.mm.loadU32(arg);
      if (line < 0) return -EFAULT;
      return line === N_TTY ? 0 : -EINVAL;
    }
    case TIOCGSOFTCAR:
      return t.mm.storeU32(arg, (pty.termios.cflag & CLOCAL) !== 0 ? 1 : 0);
    case TIOCSSOFTCAR: {
      const on = t.mm.loadU32(arg);
      if (on < 0) return -EFAULT;
      pty.termios.cflag = on !== 0 ? pty.termios.cflag | CLOCAL : pty.termios.cflag & ~CLOCAL;
      return 0;
    }
    case TIOCGLCKTRMIOS:
      bytes.fill(0);
      return t.mm.copyOut(arg, bytes, 0, TERMIOS.size);
    case TIOCSLCKTRMIOS:
      return t.creds.capable(CAP_SYS_ADMIN) ? t.mm.copyIn(arg, bytes, 0, TERMIOS.size) : -EPERM;
    case TIOCCONS:
      return t.creds.capable(CAP_SYS_ADMIN) ? -EBUSY : -EPERM;
    default:
      return -ENOTTY;
  }
}

// ---- settings

function getSettings(t: Task, termios: Termios, arg: number, form: number): number {
  if (form === OLD) putTermio(view, termios);
  else putTermios(view, termios, form === WITH_SPEEDS);
  return t.mm.copyOut(arg, bytes, 0, sizeOf(form));
}

function sizeOf(form: number): number {
  return form === OLD ? TERMIO.size : form === WITH_SPEEDS ? TERMIOS2.size : TERMIOS.size;
}

// Output is with the other end as soon as it is written, so there is nothing to drain.
function setSettings(t: Task, pty: Pty, arg: number, form: number, first: number): number {
  const refused = pty.checkForeground(t, SIGTTOU);
  if (refused < 0) return refused;
  const error = t.mm.copyIn(arg, bytes, 0, sizeOf(form));
  if (error < 0) return error;
  wanted.copyFrom(pty.termios);
  if (form === OLD) getTermio(view, wanted);
  else getTermios(view, wanted, form === WITH_SPEEDS);
  if (first === FLUSH) pty.line.discardInput();
  pty.setTermios(wanted);
  return 0;
}

function getWindow(t: Task, pty: Pty, arg: number): number {
  pty.updateWindow?.();
  const w = pty.window;
  view.setUint16(WINSIZE.rows, w.rows, true);
  view.setUint16(WINSIZE.cols, w.cols, true);
  view.setUint16(WINSIZE.xpixel, w.xpixel, true);
  view.setUint16(WINSIZE.ypixel, w.ypixel, true);
  return t.mm.copyOut(arg, bytes, 0, WINSIZE.size);
}

function setWindow(t: Task, pty: Pty, arg: number): number {
  const error = t.mm.copyIn(arg, bytes, 0, WINSIZE.size);
  if (error < 0) return error;
  const word = (at: number): number => view.getUint16(at, true);
  pty.resize(word(WINSIZE.rows), word(WINSIZE.cols), word(WINSIZE.xpixel), word(WINSIZE.ypixel));
  return 0;
}

function flush(pty: Pty, what: number): number {
  if (what !== TCIFLUSH && what !== TCOFLUSH && what !== TCIOFLUSH) return -EINVAL;
  if (what !== TCOFLUSH) pty.line.discardInput();
  if (what !== TCIFLUSH) {
    pty.flushOutput();
    pty.packet(TIOCPKT_FLUSHWRITE, 0);
  }
  return 0;
}

/** tcflush(3) on the master: its input is the slave's output, and the other way round. */
function flushFromMaster(pty: Pty, what: number): number {
  if (what !== TCIFLUSH && what !== TCOFLUSH && what !== TCIOFLUSH) return -EINVAL;
  if (what !== TCOFLUSH) pty.flushOutput();
  if (what !== TCIFLUSH) {
    pty.line.backlog.clear();
    pty.inputChanged();
  }
  return 0;
}

function flowControl(pty: Pty, what: number): number {
  const { line } = pty;
  switch (what) {
    case TCOOFF:
      line.stop();
      line.stoppedByProgram = true;
      return 0;
    case TCOON:
      if (line.stoppedByProgram) {
        line.stoppedByProgram = false;
        line.start();
      }
      return 0;
    case TCIOFF:
      return sendKey(pty, VSTOP);
    case TCION:
      return sendKey(pty, VSTART);
    default:
      return -EINVAL;
  }
}

/** tty_send_xchar(). */
function sendKey(pty: Pty, key: number): number {
  const c = pty.termios.cc[key]!;
  if (c !== DISABLED_CHAR && pty.toMaster.room > 0) {
    pty.toMaster.push(c);
    pty.outputChanged();
  }
  return 0;
}

// ---- sessions and groups

/** tiocsctty(). */
function setControlling(t: Task, pty: Pty, arg: number, readable: boolean): number {
  const { group } = t;
  if (group.isSessionLeader && pty.session === group.session) return 0;
  if (!group.isSessionLeader || group.tty !== null) return -EPERM;
  const admin = t.creds.capable(CAP_SYS_ADMIN);
  if (pty.session !== null) {
    if (arg !== 1 || !admin) return -EPERM;
    pty.leaveSession();
  }
  if (!readable && !admin) return -EPERM;
  pty.makeControlling(t);
  return 0;
}

/** TIOCNOTTY: no_tty(). A leader takes the terminal from its whole session. */
function giveUpTty(t: Task, pty: Pty): number {
  if (t.group.tty !== pty) return -ENOTTY;
  if (t.group.isSessionLeader) {
    pty.foreground?.signal(SIGHUP);
    pty.foreground?.signal(SIGCONT);
    pty.leaveSession();
  }
  t.group.tty = null;
  return 0;
}

function foregroundOf(t: Task, pty: Pty, arg: number): number {
  return t.mm.storeU32(arg, pty.foreground === null ? 0 : pty.foreground.pid.numberIn(t.pidns));
}

function sessionOf(t: Task, pty: Pty, arg: number): number {
  if (pty.session === null) return -ENOTTY;
  return t.mm.storeU32(arg, pty.session.pid.numberIn(t.pidns));
}

/** tiocspgrp(). */
function setForeground(t: Task, pty: Pty, arg: number): number {
  const refused = pty.checkForeground(t, SIGTTOU);
  if (refused < 0) return refused === -EIO ? -ENOTTY : refused;
  const number = t.mm.loadU32(arg);
  if (number < 0) return -EFAULT;
  if ((number | 0) < 0) return -EINVAL;
  if (t.group.tty !== pty || pty.session !== t.group.session) return -ENOTTY;
  const pid = t.pidns.find(number);
  if (pid === undefined) return -ESRCH;
  const pgrp = pid.processGroup;
  if (pgrp === null || pgrp.session !== t.group.session) return -EPERM;
  pty.foreground = pgrp;
  return 0;
}

/** TIOCSTI: for one's own terminal, or with CAP_SYS_ADMIN. */
function insertByte(t: Task, pty: Pty, arg: number): number {
  if (t.kernel.sysctls.int('dev.tty.legacy_tiocsti') === 0 && !t.creds.capable(CAP_SYS_ADMIN)) return -EIO;
  if (t.group.tty !== pty && !t.creds.capable(CAP_SYS_ADMIN)) return -EPERM;
  const error = t.mm.copyIn(arg, bytes, 0, 1);
  if (error < 0) return error;
  pty.line.insert(bytes[0]!);
  return 0;
}

function insertForMaster(t: Task, pty: Pty, arg: number): number {
  const error = t.mm.copyIn(arg, bytes, 0, 1);
  if (error < 0) return error;
  if (pty.toMaster.room > 0) pty.toMaster.push(bytes[0]!);
  pty.outputChanged();
  return 0;
}

/** TIOCGPTPEER: the slave, whatever is mounted where. `flags` are open(2)'s. */
function openPeer(t: Task, file: MasterDescription, flags: number): number {
  const { pty } = file;
  if (pty.locked || !pty.masterOpen) return -EIO;
  const fd = t.fds.reserve(t.fdLimit);
  if (fd < 0) return fd;
  const kept = flags & (O_ACCMODE | O_NONBLOCK | O_NOCTTY);
  const peer = new SlaveDescription(kept & ~O_NOCTTY, file.slavePath, file.slavePath.dentry.inode!, pty);
  peer.countOpen(peer.inode(), false);
  if ((kept & O_NOCTTY) === 0) becomeControlling(t, pty, peer.readable);
  t.fds.install(fd, peer, (flags & O_CLOEXEC) !== 0);
  return fd;
}

/** tty_open_proc_set_tty(): opening a free terminal makes it that of a session leader without one. */
export function becomeControlling(t: Task, pty: Pty, readable: boolean): void {
  const { group } = t;
  if (group.isSessionLeader && group.tty === null && pty.session === null && readable) pty.makeControlling(t);
}
