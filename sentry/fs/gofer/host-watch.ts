// Changes that others make to a shared tree reach the guest's inotify: while the guest watches an
// inode, the gofer watches its file, and what inotify of the host says is passed on.
//
// The host also tells of what the guest has done itself, which the guest's watches have heard of at
// once. So an event is dropped if the guest has caused the same one a moment ago.

import {
  IN_ALL_EVENTS,
  IN_ATTRIB,
  IN_CLOSE_WRITE,
  IN_CREATE,
  IN_DELETE,
  IN_IGNORED,
  IN_ISDIR,
  IN_MODIFY,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  IN_Q_OVERFLOW,
  POLLIN,
} from '../../abi/poll.ts';
import { latin1 } from '../../base/latin1.ts';
import { warnOnce } from '../../base/log.ts';
import { running } from '../../base/retry.ts';
import { close, read } from '../../host/host-io.ts';
import { nextWatchToken } from '../../host/watch-token.ts';
import type { HostWatcher, Kernel } from '../../kernel/kernel.ts';
import type { Task } from '../../kernel/task.ts';
import { moveCookie, notifyFromHost, notifyInodeGone } from '../../vfs/fsnotify.ts';
import type { GoferClient } from './client.ts';
import type { GoferInode } from './inode.ts';

/** What a guest does is on its way through the host for no longer than this, ms. */
const OWN_EVENT = 300;
const CHANGES = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE;
/** Own events remembered for one inode. */
const MAX_OWN = 1024;
const EVENT_SIZE = 16;
const buffer = new Uint8Array(65536);
const view = new DataView(buffer.buffer);

/** An inode that is watched on the host too. */
export class HostWatch {
  readonly wd: number;
  private readonly inode: GoferInode;
  /** "mask:name" of what the guest has caused, and until when the host may repeat it. */
  private own: Map<string, number> = new Map();

  constructor(wd: number, inode: GoferInode) {
    this.wd = wd;
    this.inode = inode;
  }

  /** The guest has caused this. */
  caused(mask: number, name: string): void {
    let bits = mask & CHANGES;
    if (bits === 0) return;
    // A new file is given its owner and closed, of which the guest hears under other names or not at all.
    if ((bits & IN_CREATE) !== 0) bits |= IN_ATTRIB | IN_CLOSE_WRITE;
    if ((bits & IN_MODIFY) !== 0) bits |= IN_CLOSE_WRITE;
    if (this.own.size >= MAX_OWN) this.own = new Map();
    const until = Date.now() + OWN_EVENT;
    for (let bit = 1; bit <= bits; bit *= 2) if ((bits & bit) !== 0) this.own.set(`${bit}:${name}`, until);
  }

  /** The host tells of this. */
  heard(mask: number, name: string, cookie: number): void {
    const { inode } = this;
    const until = this.own.get(`${mask & IN_ALL_EVENTS}:${name}`);
    if (until !== undefined && Date.now() < until) return;
    inode.changedByOthers(name);
    notifyFromHost(inode, mask, name, cookie);
    if (name !== '' || (mask & IN_ATTRIB) === 0) return;
    // The gofer's handle keeps the file, so that its end shows as a change of its links only.
    inode.getattr(null);
    if (inode.nlink === 0) notifyInodeGone(inode);
  }

  overflown(): void {
    notifyFromHost(this.inode, IN_Q_OVERFLOW, '', 0);
  }
}

/** The watches of one connection to the gofer. */
export class HostWatches implements HostWatcher {
  private readonly client: GoferClient;
  private readonly byNumber: Map<number, HostWatch> = new Map();
  private kernel: Kernel | null = null;
  private token = 0;

  constructor(client: GoferClient) {
    this.client = client;
  }

  /** Begins to watch an inode; null where the host has no room for more watches. */
  add(inode: GoferInode, handle: number): HostWatch | null {
    const task = running.asker as Task | null;
    if (task === null) return null;
    const wd = this.client.watch(handle);
    if (wd < 0) {
      const limits = 'fs.inotify.max_user_watches and max_user_instances of the host may be too small';
      warnOnce(`changes on the host are not shown to the guest's inotify: the gofer cannot watch, errno ${-wd}; ${limits}`);
      return null;
    }
    if (this.token === 0) {
      this.kernel = task.kernel;
      this.token = nextWatchToken();
      this.kernel.hostWatchers.set(this.token, this);
      this.kernel.platform.watch(this.client.watchFd, POLLIN, this.token);
    }
    const watch = new HostWatch(wd, inode);
    this.byNumber.set(wd, watch);
    return watch;
  }

  remove(watch: HostWatch): void {
    if (this.byNumber.delete(watch.wd)) this.client.unwatch(watch.wd);
  }

  hostReady(_events: number): void {
    const cookies = new Map<number, number>();
    for (;;) {
      const n = read(this.client.watchFd, buffer, 0, buffer.length);
      if (n <= 0) break;
      for (let at = 0; at + EVENT_SIZE <= n; ) {
        const length = view.getUint32(at + 12, true);
        if (at + EVENT_SIZE + length > n) break;
        this.event(at, length, cookies);
        at += EVENT_SIZE + length;
      }
    }
    // Without its gofer there is nothing more to hear.
    if (this.client.broken && this.token !== 0) this.stop();
  }

  private event(at: number, length: number, cookies: Map<number, number>): void {
    const mask = view.getUint32(at + 4, true);
    if ((mask & IN_Q_OVERFLOW) !== 0) {
      for (const watch of this.byNumber.values()) watch.overflown();
      return;
    }
    const wd = view.getInt32(at, true);
    const watch = this.byNumber.get(wd);
    if (watch === undefined) return;
    if ((mask & IN_IGNORED) !== 0) {
      this.byNumber.delete(wd);
      return;
    }
    const start = at + EVENT_SIZE;
    let end = start;
    while (end < start + length && buffer[end] !== 0) end++;
    const hostCookie = view.getUint32(at + 8, true);
    let cookie = 0;
    if (hostCookie !== 0) {
      cookie = cookies.get(hostCookie) ?? moveCookie();
      cookies.set(hostCookie, cookie);
    }
    watch.heard(mask & (IN_ALL_EVENTS | IN_ISDIR), latin1(buffer, start, end), cookie);
  }

  private stop(): void {
    this.kernel?.platform.unwatch(this.client.watchFd);
    this.kernel?.hostWatchers.delete(this.token);
    close(this.client.watchFd);
    this.client.watchFd = -1;
    this.token = 0;
    this.byNumber.clear();
  }
}
