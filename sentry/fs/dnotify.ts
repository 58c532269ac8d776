// Directory change notification by signal: F_NOTIFY, fs/notify/dnotify. A watch like inotify's,
// whose receiver is the owner of the open directory (F_SETOWN, F_SETSIG).

import { ENOTDIR } from '../abi/errno.ts';
import { DN_ACCESS, DN_ATTRIB, DN_CREATE, DN_DELETE, DN_MODIFY, DN_MULTISHOT, DN_RENAME } from '../abi/fcntl.ts';
import {
  IN_ACCESS,
  IN_ATTRIB,
  IN_CREATE,
  IN_DELETE,
  IN_MODIFY,
  IN_MOVED_FROM,
  IN_MOVED_TO,
  POLLIN,
  POLLMSG,
  POLLRDNORM,
} from '../abi/poll.ts';
import { POLL_MSG } from '../abi/signal.ts';
import type { FileDescription, FileObserver } from '../vfs/file-description.ts';
import { mark, unmark, type Watch, type WatchSink } from './inotify.ts';

class DirectoryWatch implements WatchSink, FileObserver {
  nextObserver: FileObserver | null = null;
  private readonly file: FileDescription;
  private readonly fd: number;
  private watch: Watch | null = null;
  private dnMask = 0;

  constructor(file: FileDescription, fd: number) {
    this.file = file;
    this.fd = fd;
  }

  /** Adds to what is told; 0 ends it. */
  add(mask: number): void {
    this.dnMask = mask === 0 ? 0 : this.dnMask | mask;
    if (this.watch !== null) unmark(this.watch);
    this.watch = null;
    if ((this.dnMask & ~DN_MULTISHOT) === 0) return;
    const path = this.file.path!;
    this.watch = { sink: this, wd: 0, inode: path.dentry.inode!, path, mask: eventsOf(this.dnMask) };
    mark(this.watch);
  }

  queue(_wd: number, _mask: number, _cookie: number, name: string): void {
    // Only of what the directory contains.
    if (name === '') return;
    if ((this.dnMask & DN_MULTISHOT) === 0) this.add(0);
    this.file.owner?.signal(this.fd, POLL_MSG, POLLIN | POLLRDNORM | POLLMSG);
  }

  endWatch(_watch: Watch): void {
    this.add(0);
  }

  fileReleased(_file: FileDescription): void {
    this.add(0);
  }
}

function eventsOf(mask: number): number {
  let events = 0;
  if ((mask & DN_ACCESS) !== 0) events |= IN_ACCESS;
  if ((mask & DN_MODIFY) !== 0) events |= IN_MODIFY;
  if ((mask & DN_CREATE) !== 0) events |= IN_CREATE | IN_MOVED_TO;
  if ((mask & DN_DELETE) !== 0) events |= IN_DELETE | IN_MOVED_FROM;
  if ((mask & DN_RENAME) !== 0) events |= IN_MOVED_FROM | IN_MOVED_TO;
  if ((mask & DN_ATTRIB) !== 0) events |= IN_ATTRIB;
  return events;
}

/** F_NOTIFY on an open directory: 0 or -ENOTDIR. `fd` is what the signals will name. */
export function notifyDirectory(file: FileDescription, fd: number, mask: number): number {
  if (file.path === undefined || !file.inode().isDir()) return -ENOTDIR;
  for (let o = file.observers; o !== null; o = o.nextObserver) {
    if (!(o instanceof DirectoryWatch)) continue;
    o.add(mask);
    return 0;
  }
  if (mask === 0) return 0;
  const watch = new DirectoryWatch(file, fd);
  watch.nextObserver = file.observers;
  file.observers = watch;
  watch.add(mask);
  return 0;
}
