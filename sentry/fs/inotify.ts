// inotify(7), fs/notify/inotify. The VFS tells of events through vfs/fsnotify.ts; a watched inode
// has its Watches in inode.watches, and an InotifyFile queues what they ask for.

import { EAGAIN, EEXIST, EFAULT, EINVAL, ENOTTY } from '../abi/errno.ts';
import { O_RDONLY } from '../abi/fcntl.ts';
import { FIONREAD } from '../abi/ioctl.ts';
import {
  IN_ALL_EVENTS,
  IN_EXCL_UNLINK,
  IN_IGNORED,
  IN_MASK_ADD,
  IN_MASK_CREATE,
  IN_ONESHOT,
  IN_Q_OVERFLOW,
  IN_UNMOUNT,
  POLLIN,
  POLLRDNORM,
} from '../abi/poll.ts';
import { putLatin1 } from '../base/latin1.ts';
import type { Task } from '../kernel/task.ts';
import type { Dentry } from '../vfs/dentry.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode, VfsPath } from '../vfs/filesystem.ts';
import { type FsnotifyHandler, setFsnotifyHandler } from '../vfs/fsnotify.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import type { Mount } from '../vfs/mount.ts';
import { anonInode } from './anon.ts';

/** sizeof(struct inotify_event); names are padded to multiples of it. */
const EVENT_SIZE = 16;
/** /proc/sys/fs/inotify/max_queued_events. */
const MAX_QUEUED = 16384;

/** Who a watch tells: an inotify descriptor, or the owner of a directory (dnotify.ts). */
export interface WatchSink {
  queue(wd: number, mask: number, cookie: number, name: string): void;
  /** The watch is over: the inode is gone, or IN_ONESHOT has fired. */
  endWatch(watch: Watch): void;
}

export interface Watch {
  readonly sink: WatchSink;
  readonly wd: number;
  readonly inode: Inode;
  /** Keeps the dentry, and so the inode, from being dropped and made anew. */
  readonly path: VfsPath;
  mask: number;
}

interface Event {
  readonly wd: number;
  readonly mask: number;
  readonly cookie: number;
  readonly name: string;
}

const bytes = new Uint8Array(EVENT_SIZE + 256);
const view = new DataView(bytes.buffer);

function sizeOf(event: Event): number {
  return EVENT_SIZE + (event.name === '' ? 0 : Math.ceil((event.name.length + 1) / EVENT_SIZE) * EVENT_SIZE);
}

export class InotifyFile extends FileDescription implements WatchSink {
  private readonly watches: Map<number, Watch> = new Map();
  private events: Event[] = [];
  private lastWd = 0;

  /** flags: O_NONBLOCK. */
  constructor(flags: number) {
    super(O_RDONLY | flags, undefined);
  }

  override inode(): Inode {
    return anonInode;
  }

  /** inotify_add_watch(2) for a place that has been looked up: the watch descriptor, or -EEXIST for IN_MASK_CREATE. */
  addWatch(path: VfsPath, mask: number): number {
    const inode = path.dentry.inode!;
    const kept = mask & (IN_ALL_EVENTS | IN_ONESHOT | IN_EXCL_UNLINK);
    for (const watch of watchesOf(inode)) {
      if (watch.sink !== this) continue;
      if ((mask & IN_MASK_CREATE) !== 0) return -EEXIST;
      watch.mask = (mask & IN_MASK_ADD) !== 0 ? watch.mask | kept : kept;
      return watch.wd;
    }
    const watch: Watch = { sink: this, wd: ++this.lastWd, inode, path, mask: kept };
    this.watches.set(watch.wd, watch);
    mark(watch);
    return watch.wd;
  }

  /** inotify_rm_watch(2): 0 or -EINVAL. */
  removeWatch(wd: number): number {
    const watch = this.watches.get(wd);
    if (watch === undefined) return -EINVAL;
    this.endWatch(watch);
    return 0;
  }

  endWatch(watch: Watch): void {
    this.forget(watch);
    this.queue(watch.wd, IN_IGNORED, 0, '');
  }

  queue(wd: number, mask: number, cookie: number, name: string): void {
    const last = this.events[this.events.length - 1];
    // Repetition of the newest event is one event: inotify_merge().
    if (
      last !== undefined &&
      last.wd === wd &&
      last.mask === mask &&
      last.name === name &&
      (mask & IN_IGNORED) === 0 &&
      last.cookie === cookie
    )
      return;
    if (this.events.length >= MAX_QUEUED) {
      if (last!.mask === IN_Q_OVERFLOW) return;
      this.events.push({ wd: -1, mask: IN_Q_OVERFLOW, cookie: 0, name: '' });
    } else {
      this.events.push({ wd, mask, cookie, name });
    }
    this.waiters.notify(POLLIN | POLLRDNORM);
  }

  override read(_t: Task, io: IoBuffer): number {
    if (this.events.length === 0) return -EAGAIN;
    let taken = 0;
    let done = 0;
    while (taken < this.events.length) {
      const event = this.events[taken]!;
      const size = sizeOf(event);
      if (size > io.remaining) break;
      encode(event, size);
      if (io.put(bytes, 0, size) !== size) {
        if (done === 0) done = -EFAULT;
        break;
      }
      done += size;
      taken++;
    }
    this.events.splice(0, taken);
    return taken === 0 && done === 0 ? -EINVAL : done;
  }

  /** noop_llseek(): there is a position, which nothing moves. */
  override seek(_t: Task, _offset: number, _whence: number): number {
    return 0;
  }

  override canPoll(): boolean {
    return true;
  }

  override poll(_t: Task | null): number {
    return this.events.length > 0 ? POLLIN | POLLRDNORM : 0;
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    if (cmd !== FIONREAD) return -ENOTTY;
    let total = 0;
    for (const event of this.events) total += sizeOf(event);
    return t.mm.storeU32(arg, total);
  }

  override fdinfo(): string {
    let text = '';
    for (const watch of this.watches.values()) {
      const inode = watch.inode;
      text += `inotify wd:${watch.wd.toString(16)} ino:${inode.ino.toString(16)} sdev:${inode.fs.dev.toString(16)} mask:${(watch.mask >>> 0).toString(16)} ignored_mask:0\n`;
    }
    return text;
  }

  override linkText(): string {
    return 'anon_inode:inotify';
  }

  protected override release(_t: Task | null): void {
    for (const watch of this.watches.values()) unmark(watch);
    this.watches.clear();
  }

  private forget(watch: Watch): void {
    this.watches.delete(watch.wd);
    unmark(watch);
  }
}

/** From now on events of the watch's inode come to it. */
export function mark(watch: Watch): void {
  setFsnotifyHandler(handler);
  watch.inode.watches = [...watchesOf(watch.inode), watch];
  watch.inode.watchesChanged();
}

export function unmark(watch: Watch): void {
  const list = watch.inode.watches as Watch[] | null;
  if (list === null) return;
  const rest = list.filter((other) => other !== watch);
  watch.inode.watches = rest.length === 0 ? null : rest;
  watch.inode.watchesChanged();
}

function encode(event: Event, size: number): void {
  bytes.fill(0, 0, size);
  view.setInt32(0, event.wd, true);
  view.setInt32(4, event.mask, true);
  view.setInt32(8, event.cookie, true);
  view.setInt32(12, size - EVENT_SIZE, true);
  putLatin1(bytes, EVENT_SIZE, event.name);
}

/** Watches of an inode that is being told of an event. unmark() replaces the list, so a loop over it may end watches. */
function watchesOf(inode: Inode): readonly Watch[] {
  return (inode.watches as readonly Watch[] | null) ?? [];
}

const handler: FsnotifyHandler = {
  event(watched: Inode, mask: number, name: string, cookie: number, dentry: Dentry | null): void {
    for (const watch of watchesOf(watched)) {
      if ((watch.mask & mask & IN_ALL_EVENTS) === 0) continue;
      // "don't generate events for children after they have been unlinked" - inotify(7).
      if ((watch.mask & IN_EXCL_UNLINK) !== 0 && name !== '' && dentry !== null && !dentry.hashed) continue;
      watch.sink.queue(watch.wd, mask, cookie, name);
      if ((watch.mask & IN_ONESHOT) !== 0) watch.sink.endWatch(watch);
    }
  },

  inodeGone(watched: Inode): void {
    for (const watch of watchesOf(watched)) watch.sink.endWatch(watch);
  },

  unmounted(mount: Mount): void {
    for (const watch of [...allWatches(mount)]) {
      watch.sink.queue(watch.wd, IN_UNMOUNT, 0, '');
      watch.sink.endWatch(watch);
    }
  },
};

/** The watches on a file system that goes: found through its cached dentries, which watches keep. */
function* allWatches(mount: Mount): Generator<Watch> {
  const pending: Dentry[] = [mount.root];
  for (let d = pending.pop(); d !== undefined; d = pending.pop()) {
    if (d.inode !== null && d.inode.watches !== null) yield* watchesOf(d.inode);
    if (d.children !== null) pending.push(...d.children.values());
  }
}
