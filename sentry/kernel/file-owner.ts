// Who hears of a file's events by signal: F_SETOWN, F_SETSIG and O_ASYNC; struct fown_struct and
// fs/fcntl.c:send_sigio().

import { F_OWNER_PGRP, F_OWNER_PID, F_OWNER_TID } from '../abi/fcntl.ts';
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND, POLLWRNORM } from '../abi/poll.ts';
import { POLL_ERR, POLL_HUP, POLL_IN, POLL_OUT, POLL_PRI, SI_SIGIO, SIGIO, SIGURG } from '../abi/signal.ts';
import { Waiter } from '../base/wait-queue.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { Credentials } from './credentials.ts';
import type { Pid, PidNamespace } from './pid-namespace.ts';
import { SigInfo } from './signal-queue.ts';
import type { Task } from './task.ts';
import { kernelInfo, sendSignal, sendToGroup } from './task-signals.ts';
import type { ThreadGroup } from './thread-group.ts';

const ALL_EVENTS = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND | POLLPRI | POLLERR | POLLHUP;
/** In place of a descriptor: the signal is SIGURG. */
const URGENT = -1;
/** F_SETSIG codes of SIGRTMIN and above tell the reason themselves. */
const SIGRTMIN = 32;

export class FileOwner {
  /** F_OWNER_*. */
  type = F_OWNER_PID;
  pid: Pid | null = null;
  /** Real and effective user of who became owner: they decide whom the signal may reach. */
  uid = 0;
  euid = 0;
  /** F_SETSIG; 0 for SIGIO without information. */
  signo = 0;

  set(type: number, pid: Pid | null, creds: Credentials): void {
    this.type = type;
    this.pid = pid;
    this.uid = creds.uid;
    this.euid = creds.euid;
  }

  /** F_GETOWN: the number as `ns` knows it, negative for a process group. */
  number(ns: PidNamespace): number {
    const n = this.pid === null ? 0 : this.pid.numberIn(ns);
    return this.type === F_OWNER_PGRP ? -n : n;
  }

  /** Tells the owner of an event on descriptor `fd`. */
  signal(fd: number, code: number, band: number): void {
    const pid = this.pid;
    if (pid === null) return;
    if (this.type === F_OWNER_PGRP) {
      for (const group of [...(pid.processGroup?.members ?? [])]) this.toGroup(group, fd, code, band);
    } else if (this.type === F_OWNER_TID) {
      const task = pid.task;
      if (task !== null && this.maySignal(task.creds)) sendSignal(task, this.info(fd, code, band));
    } else if (pid.group !== null) {
      this.toGroup(pid.group, fd, code, band);
    }
  }

  /** SIGURG for urgent data: send_sigurg(). */
  urgent(): void {
    this.signal(URGENT, 0, 0);
  }

  private toGroup(group: ThreadGroup, fd: number, code: number, band: number): void {
    if (!group.isDead && this.maySignal(group.leader.creds)) sendToGroup(group, this.info(fd, code, band));
  }

  /** sigio_perm(). */
  private maySignal(to: Credentials): boolean {
    return this.euid === 0 || this.euid === to.suid || this.euid === to.uid || this.uid === to.suid || this.uid === to.uid;
  }

  private info(fd: number, code: number, band: number): SigInfo {
    if (fd === URGENT) return kernelInfo(SIGURG);
    if (this.signo === 0) return kernelInfo(SIGIO);
    const info = new SigInfo(this.signo, this.signo >= SIGRTMIN || this.signo === SIGIO ? code : SI_SIGIO);
    info.setPoll(band, fd);
    return info;
  }
}

/** The file's owner, made when first needed. */
export function ownerOf(file: FileDescription): FileOwner {
  file.owner ??= new FileOwner();
  return file.owner;
}

class AsyncWaiter extends Waiter {
  private readonly file: FileDescription;
  private readonly fd: number;

  constructor(file: FileDescription, fd: number) {
    super();
    this.file = file;
    this.fd = fd;
  }

  override notified(events: number): void {
    const owner = this.file.owner;
    if (owner === null) return;
    // One signal per event, the most telling kind of it: the callers of kill_fasync() and band_table.
    if ((events & POLLHUP) !== 0) owner.signal(this.fd, POLL_HUP, POLLHUP | POLLERR);
    else if ((events & POLLERR) !== 0) owner.signal(this.fd, POLL_ERR, POLLERR);
    else if ((events & (POLLIN | POLLRDNORM)) !== 0) owner.signal(this.fd, POLL_IN, POLLIN | POLLRDNORM);
    else if ((events & POLLPRI) !== 0) owner.signal(this.fd, POLL_PRI, POLLPRI | POLLRDBAND);
    else owner.signal(this.fd, POLL_OUT, POLLOUT | POLLWRNORM | POLLWRBAND);
  }
}

/** O_ASYNC on or off; `fd` is what the signals will name. */
export function setAsync(file: FileDescription, fd: number, on: boolean): void {
  file.async?.unlink();
  file.async = null;
  if (!on) return;
  file.async = new AsyncWaiter(file, fd);
  file.waiters.add(file.async, ALL_EVENTS);
}

/** F_SETOWN, FIOSETOWN: a positive process, a negative process group, 0 for nobody. False if there is no such thing. */
export function setOwner(t: Task, file: FileDescription, who: number): boolean {
  const number = Math.abs(who);
  const pid = number === 0 ? null : (t.group.pidns.find(number) ?? null);
  if (number !== 0 && pid === null) return false;
  ownerOf(file).set(who < 0 ? F_OWNER_PGRP : F_OWNER_PID, pid, t.creds);
  return true;
}
