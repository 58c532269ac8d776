// File leases: fcntl(2), "Leases"; fs/locks.c. Who holds one is told by a signal before somebody else
// opens or truncates the file against it, and that call waits until the lease is given up, or until
// /proc/sys/fs/lease-break-time has passed. The wait is a question of base/retry.ts: the call is
// made again from its start, and finds no lease in its way.

import { EAGAIN } from '../abi/errno.ts';
import { F_RDLCK, F_UNLCK, F_WRLCK } from '../abi/fcntl.ts';
import { POLLIN, POLLMSG, POLLRDNORM } from '../abi/poll.ts';
import { POLL_MSG } from '../abi/signal.ts';
import { type Asker, type Question, RETRY, remember, remembered, running } from '../base/retry.ts';
import { Timer } from '../base/timers.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from './file-description.ts';
import type { Inode } from './filesystem.ts';

const SECOND = 1e9;

class Lease extends Timer {
  readonly file: FileDescription;
  /** The descriptor that the signal names. */
  readonly fd: number;
  /** F_RDLCK or F_WRLCK. */
  type: number;
  /** What it has to become, once somebody waits for that; -1 before. */
  target = -1;
  private readonly inode: Inode;

  constructor(inode: Inode, file: FileDescription, fd: number, type: number) {
    super();
    this.inode = inode;
    this.file = file;
    this.fd = fd;
    this.type = type;
  }

  /** Time is up: the lease becomes what it was asked to. */
  fired(_nowNs: number): void {
    changeLease(this.inode, this, this.target);
  }
}

/** An open or a truncation that waits. */
class LeaseBreak implements Question {
  readonly restarts = true;
  readonly asker: Asker;
  private readonly inode: Inode;
  private readonly writes: boolean;

  constructor(inode: Inode, writes: boolean, asker: Asker) {
    this.inode = inode;
    this.writes = writes;
    this.asker = asker;
  }

  get answered(): boolean {
    return conflicts(this.inode, this.writes).length === 0;
  }

  withdraw(): boolean {
    leasesOf(this.inode)?.waiting.delete(this);
    return true;
  }

  interrupt(): void {}
}

interface Leases {
  readonly held: Lease[];
  readonly waiting: Set<LeaseBreak>;
  /** Tells this inode's waits from others of the same call. */
  readonly id: number;
}

let lastId = 0;

function leasesOf(inode: Inode): Leases | null {
  return inode.leases as Leases | null;
}

function conflicts(inode: Inode, writes: boolean): Lease[] {
  return leasesOf(inode)?.held.filter((l) => writes || l.type === F_WRLCK) ?? [];
}

/** __break_lease(): 0, RETRY until the leases in the way are gone, or -EAGAIN for who does not want to wait. */
export function breakLeases(inode: Inode, writes: boolean, nonblocking: boolean): number {
  const leases = leasesOf(inode);
  const inTheWay = leases === null ? [] : conflicts(inode, writes);
  const asker = running.asker as Task | null;
  if (leases === null || inTheWay.length === 0 || asker === null) return 0;
  const target = writes ? F_UNLCK : F_RDLCK;
  const { kernel } = asker;
  for (const lease of inTheWay) {
    const isTold = lease.target === target || lease.target === F_UNLCK;
    if (isTold) continue;
    lease.target = target;
    kernel.timers.start(lease, kernel.clock.monotonicNs() + kernel.sysctls.int('fs.lease-break-time') * SECOND);
    lease.file.owner?.signal(lease.fd, POLL_MSG, POLLIN | POLLRDNORM | POLLMSG);
  }
  if (nonblocking) return -EAGAIN;
  const key = `lease:${leases.id}`;
  if (remembered(key) === undefined) {
    const wait = new LeaseBreak(inode, writes, asker);
    leases.waiting.add(wait);
    remember(key, wait);
  }
  return RETRY;
}

function changeLease(inode: Inode, lease: Lease, type: number): void {
  const leases = leasesOf(inode);
  if (leases === null) return;
  if (type === F_UNLCK) {
    const at = leases.held.indexOf(lease);
    if (at >= 0) leases.held.splice(at, 1);
  } else {
    lease.type = type;
    lease.target = -1;
  }
  for (const wait of [...leases.waiting]) {
    if (!wait.answered) continue;
    leases.waiting.delete(wait);
    wait.asker.answered();
  }
  if (leases.held.length === 0 && leases.waiting.size === 0) inode.leases = null;
}

/** F_GETLEASE: what the description holds, or what that is to become. */
export function leaseType(file: FileDescription): number {
  const lease = leasesOf(file.inode())?.held.find((l) => l.file === file);
  if (lease === undefined) return F_UNLCK;
  return lease.target < 0 ? lease.type : lease.target;
}

/** F_SETLEASE on a regular file of the caller's: generic_setlease(). 0 or -EAGAIN. */
export function setLease(t: Task, file: FileDescription, fd: number, type: number): number {
  const inode = file.inode();
  const held = leasesOf(inode)?.held ?? [];
  const own = held.find((l) => l.file === file);
  if (type === F_UNLCK) {
    if (own === undefined) return -EAGAIN;
    t.kernel.timers.stop(own);
    changeLease(inode, own, F_UNLCK);
    return 0;
  }
  if (type === F_RDLCK ? inode.writers > 0 : inode.opens !== 1) return -EAGAIN;
  for (const other of held) {
    if (other === own) continue;
    // "No exclusive leases if someone else has a lease on this file", none at all while it is being given up.
    if (type === F_WRLCK || other.target === F_UNLCK) return -EAGAIN;
  }
  if (own !== undefined) {
    t.kernel.timers.stop(own);
    changeLease(inode, own, type);
    return 0;
  }
  let leases = leasesOf(inode);
  if (leases === null) {
    leases = { held: [], waiting: new Set(), id: ++lastId };
    inode.leases = leases;
  }
  leases.held.push(new Lease(inode, file, fd, type));
  return 0;
}

/** The last reference to a description is gone: locks_remove_lease(). */
export function dropLease(inode: Inode, file: FileDescription, t: Task | null): void {
  const own = leasesOf(inode)?.held.find((l) => l.file === file);
  if (own === undefined) return;
  t?.kernel.timers.stop(own);
  changeLease(inode, own, F_UNLCK);
}
