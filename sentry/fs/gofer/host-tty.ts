// A terminal of the host among the standard streams. Its settings are the host's (one line discipline, not two, stands
// between keyboard and program); sessions and foreground groups are the guest's own, since process numbers of the two
// sides have nothing to do with each other. Keys that mean signals reach the command line, which passes them on.

import { EFAULT, EINVAL, ENOTTY, EPERM, ESRCH } from '../../abi/errno.ts';
import {
  FIONREAD,
  TCFLSH,
  TCGETS,
  TCGETS2,
  TCSBRK,
  TCSBRKP,
  TCSETS,
  TCSETS2,
  TCSETSF,
  TCSETSF2,
  TCSETSW,
  TCSETSW2,
  TCXONC,
  TIOCGPGRP,
  TIOCGSID,
  TIOCGWINSZ,
  TIOCNOTTY,
  TIOCOUTQ,
  TIOCSCTTY,
  TIOCSPGRP,
  TIOCSWINSZ,
} from '../../abi/ioctl.ts';
import { TERMIOS, TERMIOS2, WINSIZE } from '../../abi/termios.ts';
import { ioctl, ioctlValue } from '../../host/host-io.ts';
import type { ControllingTty, ProcessGroup, Session } from '../../kernel/process-group.ts';
import type { Task } from '../../kernel/task.ts';

const bytes = new Uint8Array(64);

/** isatty(3). */
export function isTerminal(hostFd: number): boolean {
  return ioctl(hostFd, TCGETS, bytes) === 0;
}

export class HostTty implements ControllingTty {
  readonly dev: number;
  foreground: ProcessGroup | null = null;
  session: Session | null = null;
  private readonly hostFd: number;

  constructor(hostFd: number, dev: number) {
    this.hostFd = hostFd;
    this.dev = dev;
  }

  /** The terminal itself is others' too: it is not hung up. */
  sessionEnded(_t: Task): void {}

  ioctl(t: Task, cmd: number, arg: number): number {
    switch (cmd) {
      case TCGETS:
        return this.get(t, cmd, arg, TERMIOS.size);
      case TCGETS2:
        return this.get(t, cmd, arg, TERMIOS2.size);
      case TIOCGWINSZ:
        return this.get(t, cmd, arg, WINSIZE.size);
      case FIONREAD:
      case TIOCOUTQ:
        return this.get(t, cmd, arg, 4);
      case TCSETS:
        return this.set(t, cmd, arg, TERMIOS.size);
      // Waiting for output to drain would hold the whole sandbox; what is written is on its way.
      case TCSETSW:
        return this.set(t, TCSETS, arg, TERMIOS.size);
      case TCSETSF:
        ioctlValue(this.hostFd, TCFLSH, TCIFLUSH);
        return this.set(t, TCSETS, arg, TERMIOS.size);
      case TCSETS2:
      case TCSETSW2:
        return this.set(t, TCSETS2, arg, TERMIOS2.size);
      case TCSETSF2:
        ioctlValue(this.hostFd, TCFLSH, TCIFLUSH);
        return this.set(t, TCSETS2, arg, TERMIOS2.size);
      case TIOCSWINSZ:
        return this.set(t, cmd, arg, WINSIZE.size);
      case TCFLSH:
      case TCXONC:
        return ioctlValue(this.hostFd, cmd, arg | 0);
      case TCSBRK:
      case TCSBRKP:
        return 0;
      case TIOCSCTTY:
        return this.setControlling(t);
      case TIOCNOTTY:
        return this.giveUp(t);
      case TIOCGPGRP:
        return t.group.tty === this ? this.foregroundOf(t, arg) : -ENOTTY;
      case TIOCSPGRP:
        return this.setForeground(t, arg);
      case TIOCGSID:
        return t.group.tty === this ? t.mm.storeU32(arg, t.group.session.pid.numberIn(t.pidns)) : -ENOTTY;
      default:
        return -ENOTTY;
    }
  }

  private get(t: Task, cmd: number, arg: number, size: number): number {
    const result = ioctl(this.hostFd, cmd, bytes);
    return result < 0 ? result : t.mm.copyOut(arg, bytes, 0, size);
  }

  private set(t: Task, cmd: number, arg: number, size: number): number {
    if (t.mm.copyIn(arg, bytes, 0, size) < 0) return -EFAULT;
    return ioctl(this.hostFd, cmd, bytes);
  }

  // drivers/tty/tty_jobctrl.c:tiocsctty(), without stealing: there is one session that the terminal is meant for.
  private setControlling(t: Task): number {
    const { group } = t;
    if (group.tty === this) return 0;
    if (group.session.leader !== group || group.tty !== null || this.session !== null) return -EPERM;
    this.session = group.session;
    this.foreground = group.processGroup;
    group.tty = this;
    return 0;
  }

  private giveUp(t: Task): number {
    if (t.group.tty !== this) return -ENOTTY;
    if (t.group.session.leader === t.group) {
      this.session = null;
      this.foreground = null;
    }
    t.group.tty = null;
    return 0;
  }

  private foregroundOf(t: Task, arg: number): number {
    return t.mm.storeU32(arg, this.foreground === null ? 0 : this.foreground.pid.numberIn(t.pidns));
  }

  // tiocspgrp().
  private setForeground(t: Task, arg: number): number {
    if (t.group.tty !== this || t.group.session !== this.session) return -ENOTTY;
    const word = t.mm.loadU32(arg);
    if (word < 0) return -EFAULT;
    const number = word | 0;
    if (number < 0) return -EINVAL;
    const found = t.pidns.find(number)?.processGroup;
    if (!found) return -ESRCH;
    if (found.session !== this.session) return -EPERM;
    this.foreground = found;
    return 0;
  }
}

/** tcflush(3): what has come and was not read. */
const TCIFLUSH = 0;
