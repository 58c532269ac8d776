// Where file events leave the VFS for inotify: include/linux/fsnotify.h. fs/inotify.ts installs the
// handler with its first watch and marks watched inodes in inode.watches; until then an event costs
// one comparison. The dentry cache keeps watched inodes, so that they are not dropped and made anew
// under another identity.

import { O_PATH } from '../abi/fcntl.ts';
import {
  IN_ACCESS,
  IN_ATTRIB,
  IN_CLOSE_NOWRITE,
  IN_CLOSE_WRITE,
  IN_DELETE_SELF,
  IN_ISDIR,
  IN_MODIFY,
  IN_MOVE_SELF,
  IN_OPEN,
} from '../abi/poll.ts';
import type { Dentry } from './dentry.ts';
import type { FileDescription } from './file-description.ts';
import type { Inode } from './filesystem.ts';
import type { Mount } from './mount.ts';

export interface FsnotifyHandler {
  /**
   * An event for a watched inode. name is '' when it happened to the inode itself, else the entry of
   * the directory. cookie joins IN_MOVED_FROM and IN_MOVED_TO. `dentry` is the entry, for IN_EXCL_UNLINK.
   */
  event(watched: Inode, mask: number, name: string, cookie: number, dentry: Dentry | null): void;
  /** The last link and the last description of a watched inode are gone: the watch ends with IN_IGNORED. */
  inodeGone(watched: Inode): void;
  /** A file system is no longer mounted: IN_UNMOUNT and the end of its watches. */
  unmounted(mount: Mount): void;
}

let handler: FsnotifyHandler | null = null;
let lastCookie = 0;

/** Installs the receiver of events; null stops them. */
export function setFsnotifyHandler(h: FsnotifyHandler | null): void {
  handler = h;
}

/** A number that joins the two halves of a rename. */
export function moveCookie(): number {
  return ++lastCookie;
}

/** Something happened to an object that has a name: told to its watches and, with the name, to its directory's. */
export function notifyDentry(d: Dentry, mask: number): void {
  if (handler === null) return;
  const inode = d.inode;
  if (inode === null) return;
  if (inode.isDir()) mask |= IN_ISDIR;
  const parent = d.parent?.inode;
  if (parent && parent.watches !== null) tell(parent, mask, d.name, 0, d);
  if (inode.watches !== null) tell(inode, mask, '', 0, d);
}

function tell(watched: Inode, mask: number, name: string, cookie: number, dentry: Dentry | null): void {
  watched.toldOfChange(mask, name);
  handler!.event(watched, mask, name, cookie, dentry);
}

/** Something that happened outside the sandbox. */
export function notifyFromHost(watched: Inode, mask: number, name: string, cookie: number): void {
  if (watched.watches !== null) handler?.event(watched, mask, name, cookie, null);
}

/** An entry of a directory came or went: IN_CREATE, IN_DELETE, IN_MOVED_FROM, IN_MOVED_TO. */
export function notifyEntry(dir: Inode, mask: number, name: string, cookie: number, child: Dentry): void {
  if (handler === null || dir.watches === null) return;
  if (child.inode?.isDir() === true) mask |= IN_ISDIR;
  tell(dir, mask, name, cookie, child);
}

/** IN_MOVE_SELF, IN_DELETE_SELF: to the inode's own watches only. */
export function notifySelf(inode: Inode, mask: number): void {
  if (handler === null || inode.watches === null) return;
  // inotify has never said IN_ISDIR of the end or the move of a watched directory itself: inotify_handle_inode_event().
  const plain = mask === IN_DELETE_SELF || mask === IN_MOVE_SELF || !inode.isDir();
  tell(inode, plain ? mask : mask | IN_ISDIR, '', 0, null);
}

export function notifyMoveSelf(inode: Inode): void {
  notifySelf(inode, IN_MOVE_SELF);
}

/** The last name is gone, and nobody holds it: the inode is as good as gone, though it may be open by another name. fsnotify_inoderemove(). */
export function notifyInodeGone(inode: Inode): void {
  if (handler === null || inode.watches === null) return;
  notifySelf(inode, IN_DELETE_SELF);
  handler.inodeGone(inode);
}

export function notifyUnmounted(mount: Mount): void {
  handler?.unmounted(mount);
}

/** After a successful read of at least a byte. */
export function notifyAccess(file: FileDescription): void {
  if (handler !== null && file.path !== undefined) notifyDentry(file.path.dentry, IN_ACCESS);
}

/** After a successful write of at least a byte, or a truncation. */
export function notifyModify(file: FileDescription): void {
  if (handler !== null && file.path !== undefined) notifyDentry(file.path.dentry, IN_MODIFY);
}

export function notifyOpen(file: FileDescription): void {
  if (handler !== null && file.path !== undefined) notifyDentry(file.path.dentry, IN_OPEN);
}

export function notifyClose(file: FileDescription): void {
  // What was opened O_PATH was never opened, for all that watch.
  if (handler !== null && file.path !== undefined && (file.flags & O_PATH) === 0)
    notifyDentry(file.path.dentry, file.writable ? IN_CLOSE_WRITE : IN_CLOSE_NOWRITE);
}

/** After a change of attributes. */
export function notifyAttrib(d: Dentry): void {
  notifyDentry(d, IN_ATTRIB);
}
