// epoll(7), after fs/eventpoll.c. An EpollFile holds items, one per (fd, file) it watches:
//
//   watched file --waiters--> EpollItem --ready list--> EpollFile --sleepers--> epoll_wait tasks
//                                                             \----waiters---> poll, select, other epolls
//
// An item is a Waiter of its file for as long as it exists. An event puts it on the ready list;
// harvest() asks the listed files what really holds. A level-triggered item goes back to the list's
// end as long as its file is ready, an edge-triggered one waits for the next event, a one-shot one
// for EPOLL_CTL_MOD. Items hold no reference: they go when their file does (FileObserver).

import { EEXIST, EINVAL, ELOOP, ENOENT } from '../abi/errno.ts';
import {
  EPOLLERR,
  EPOLLET,
  EPOLLEXCLUSIVE,
  EPOLLHUP,
  EPOLLIN,
  EPOLLONESHOT,
  EPOLLOUT,
  EPOLLRDNORM,
  EPOLLWAKEUP,
  EPOLLWRNORM,
  POLLERR,
  POLLHUP,
  POLLIN,
  POLLRDNORM,
} from '../abi/poll.ts';
import { List, type ListNode } from '../base/list.ts';
import { Waiter, WaitQueue } from '../base/wait-queue.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription, type FileObserver } from './file-description.ts';
import type { Inode } from './filesystem.ts';

/** EP_MAX_NESTS: how deep epolls may watch epolls. */
const MAX_NESTS = 4;
/** Bits that are not events: EP_PRIVATE_BITS. */
const PRIVATE_BITS = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;
/** What may stand beside EPOLLEXCLUSIVE. */
const EXCLUSIVE_OK = EPOLLIN | EPOLLOUT | EPOLLRDNORM | EPOLLWRNORM | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE;

/** sizeof(struct epoll_event): packed on x86-64. */
export const EPOLL_EVENT_SIZE = 12;

class EpollItem extends Waiter implements ListNode<EpollItem>, FileObserver {
  readonly epoll: EpollFile;
  readonly fd: number;
  readonly file: FileDescription;
  /** Events and private bits; a fired one-shot item keeps only the latter. */
  events: number;
  dataLo: number;
  dataHi: number;
  nextSameFd: EpollItem | null = null;
  nextObserver: FileObserver | null = null;
  // The ready list.
  list: List<EpollItem> | null = null;
  listPrev: EpollItem | null = null;
  listNext: EpollItem | null = null;

  constructor(epoll: EpollFile, fd: number, file: FileDescription, events: number, dataLo: number, dataHi: number) {
    super();
    this.epoll = epoll;
    this.fd = fd;
    this.file = file;
    this.events = events;
    this.dataLo = dataLo;
    this.dataHi = dataHi;
  }

  /** The events that hold now, of those asked for. */
  pollNow(t: Task | null): number {
    return this.file.poll(t) & this.events & ~PRIVATE_BITS;
  }

  override notified(_events: number): void {
    if ((this.events & ~PRIVATE_BITS) === 0) return;
    this.epoll.itemReady(this);
  }

  fileReleased(_file: FileDescription): void {
    this.epoll.dropItem(this);
  }
}

/** What harvest() took from the ready list, so that it can be put back if the guest cannot be told. */
const harvested: EpollItem[] = [];
const harvestedEvents: number[] = [];

export class EpollFile extends FileDescription {
  private readonly node: Inode;
  private readonly items: Map<number, EpollItem> = new Map();
  private readonly ready: List<EpollItem> = new List<EpollItem>();
  /** Tasks in epoll_wait: each event wakes one of them. */
  readonly sleepers: WaitQueue = new WaitQueue();

  constructor(node: Inode, flags: number) {
    super(flags, undefined);
    this.node = node;
  }

  override inode(): Inode {
    return this.node;
  }

  /** EPOLL_CTL_ADD. 0, -EEXIST, -EINVAL, or -ELOOP for a circle of epolls or a chain too deep. */
  add(t: Task, fd: number, file: FileDescription, events: number, dataLo: number, dataHi: number): number {
    if ((events & EPOLLEXCLUSIVE) !== 0 && ((events & ~EXCLUSIVE_OK) !== 0 || file instanceof EpollFile)) return -EINVAL;
    if (file instanceof EpollFile && (file.reaches(this) || file.height() + 1 + this.depth() > MAX_NESTS)) return -ELOOP;
    if (this.find(fd, file) !== null) return -EEXIST;
    const item = new EpollItem(this, fd, file, events | EPOLLERR | EPOLLHUP, dataLo, dataHi);
    item.nextSameFd = this.items.get(fd) ?? null;
    this.items.set(fd, item);
    item.nextObserver = file.observers;
    file.observers = item;
    this.arm(t, item);
    return 0;
  }

  /** EPOLL_CTL_MOD. */
  modify(t: Task, fd: number, file: FileDescription, events: number, dataLo: number, dataHi: number): number {
    const item = this.find(fd, file);
    if (item === null) return -ENOENT;
    if (((events | item.events) & EPOLLEXCLUSIVE) !== 0) return -EINVAL;
    item.events = events | EPOLLERR | EPOLLHUP;
    item.dataLo = dataLo;
    item.dataHi = dataHi;
    this.arm(t, item);
    return 0;
  }

  /** EPOLL_CTL_DEL. */
  remove(fd: number, file: FileDescription): number {
    const item = this.find(fd, file);
    if (item === null) return -ENOENT;
    this.dropItem(item);
    unobserve(item);
    return 0;
  }

  /**
   * Writes up to `max` struct epoll_event to view[0…) and returns how many. Those reported are taken
   * back by undoHarvest(), for a guest whose array turns out to be unwritable.
   */
  harvest(t: Task, view: DataView, max: number): number {
    let n = 0;
    // Items that go back to the end of the list are not looked at twice.
    for (let left = this.ready.length; left > 0 && n < max; left--) {
      const item = this.ready.shift()!;
      const events = item.pollNow(t);
      // Asking may make a file say what it has just found out; the answer has it.
      this.ready.remove(item);
      if (events === 0) continue;
      view.setUint32(n * EPOLL_EVENT_SIZE, events, true);
      view.setInt32(n * EPOLL_EVENT_SIZE + 4, item.dataLo, true);
      view.setInt32(n * EPOLL_EVENT_SIZE + 8, item.dataHi, true);
      harvested[n] = item;
      harvestedEvents[n] = item.events;
      n++;
      if ((item.events & EPOLLONESHOT) !== 0) item.events &= PRIVATE_BITS;
      else if ((item.events & EPOLLET) === 0) this.ready.push(item);
    }
    // What is left is somebody else's: fs/eventpoll.c:ep_done_scan().
    if (n > 0 && this.ready.length > 0) this.sleepers.notifySome(POLLIN, 1);
    return n;
  }

  /** How many events harvest() could tell at most. */
  get listed(): number {
    return this.ready.length;
  }

  undoHarvest(n: number): void {
    for (let i = 0; i < n; i++) {
      const item = harvested[i]!;
      item.events = harvestedEvents[i]!;
      if (item.list === null) this.ready.push(item);
    }
  }

  itemReady(item: EpollItem): void {
    if (item.list === null) this.ready.push(item);
    this.sleepers.notifySome(POLLIN, 1);
    this.waiters.notify(POLLIN | POLLRDNORM);
  }

  /** Forgets the item; its place in the file's list of observers is the caller's affair. */
  dropItem(item: EpollItem): void {
    item.unlink();
    this.ready.remove(item);
    let at = this.items.get(item.fd) ?? null;
    if (at === item) {
      if (item.nextSameFd === null) this.items.delete(item.fd);
      else this.items.set(item.fd, item.nextSameFd);
      return;
    }
    while (at !== null && at.nextSameFd !== item) at = at.nextSameFd;
    if (at !== null) at.nextSameFd = item.nextSameFd;
  }

  override poll(t: Task | null): number {
    for (let left = this.ready.length; left > 0; left--) {
      if (this.ready.head!.pollNow(t) !== 0) return POLLIN | POLLRDNORM;
      this.ready.shift();
    }
    return 0;
  }

  /** noop_llseek(): there is a position, which nothing moves. */
  override seek(_t: Task, _offset: number, _whence: number): number {
    return 0;
  }

  override canPoll(): boolean {
    return true;
  }

  override fdinfo(): string {
    let text = '';
    for (let item of this.items.values()) {
      for (; ; item = item.nextSameFd) {
        const data = (item.dataHi >>> 0).toString(16) + (item.dataLo >>> 0).toString(16).padStart(8, '0');
        const inode = item.file.inode();
        text += `tfd: ${String(item.fd).padStart(8)} events: ${(item.events >>> 0).toString(16).padStart(8)} data: ${data.replace(/^0+(?=.)/, '').padStart(16)}`;
        text += `  pos:${item.file.pos} ino:${inode.ino.toString(16)} sdev:${inode.fs.dev.toString(16)}\n`;
        if (item.nextSameFd === null) break;
      }
    }
    return text;
  }

  override linkText(): string {
    return 'anon_inode:[eventpoll]';
  }

  protected override release(_t: Task | null): void {
    for (const first of this.items.values()) {
      for (let item: EpollItem | null = first; item !== null; item = item.nextSameFd) {
        item.unlink();
        unobserve(item);
      }
    }
    this.items.clear();
  }

  /** Registers first, then looks: an event in between would be seen by neither otherwise. */
  private arm(t: Task, item: EpollItem): void {
    item.file.waiters.add(item, (item.events & ~PRIVATE_BITS) | POLLERR | POLLHUP);
    if (item.pollNow(t) !== 0) this.itemReady(item);
  }

  private find(fd: number, file: FileDescription): EpollItem | null {
    let item = this.items.get(fd) ?? null;
    while (item !== null && item.file !== file) item = item.nextSameFd;
    return item;
  }

  /** Whether `target` is this epoll or is watched by it, directly or not. */
  private reaches(target: EpollFile): boolean {
    if (target === this) return true;
    for (const first of this.items.values()) {
      for (let item: EpollItem | null = first; item !== null; item = item.nextSameFd) {
        if (item.file instanceof EpollFile && item.file.reaches(target)) return true;
      }
    }
    return false;
  }

  /** Levels of epolls below. */
  private height(): number {
    let height = 0;
    for (const first of this.items.values()) {
      for (let item: EpollItem | null = first; item !== null; item = item.nextSameFd) {
        if (item.file instanceof EpollFile) height = Math.max(height, item.file.height() + 1);
      }
    }
    return height;
  }

  /** Levels of epolls above. */
  private depth(): number {
    let depth = 0;
    for (let o = this.observers; o !== null; o = o.nextObserver) {
      if (o instanceof EpollItem) depth = Math.max(depth, o.epoll.depth() + 1);
    }
    return depth;
  }
}

/** Takes the item off its file's list of observers. */
function unobserve(item: EpollItem): void {
  const file = item.file;
  if (file.observers === item) {
    file.observers = item.nextObserver;
    return;
  }
  let at = file.observers;
  while (at !== null && at.nextObserver !== item) at = at.nextObserver;
  if (at !== null) at.nextObserver = item.nextObserver;
}
