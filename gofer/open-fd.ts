// From a control descriptor to one that reads and writes. The O_PATH descriptor itself is opened again, by its name in
// the directory of our own descriptors (/proc/self/fd, bound into the gofer's root as /fd): no path of the tree is
// walked a second time, so nothing that the guest or the host does to names in between can lead elsewhere.

import { close, openat2, sendTaggedFd } from 'ptrace-napi';
import { EACCES, EINVAL, EISDIR, ENXIO, EROFS } from '../sentry/abi/errno.ts';
import {
  O_ACCMODE,
  O_APPEND,
  O_CLOEXEC,
  O_DIRECT,
  O_DIRECTORY,
  O_DSYNC,
  O_NOATIME,
  O_NOCTTY,
  O_NONBLOCK,
  O_PATH,
  O_RDONLY,
  O_SYNC,
} from '../sentry/abi/fcntl.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK } from '../sentry/abi/stat.ts';
import { ProtocolError } from '../sentry/base/errors.ts';
import { type ControlFd, RESOLVE_STEP } from './control-fd.ts';
import { TREE_DEVICES, TREE_HOST_FIFO } from './protocol/messages.ts';

/** The directory of our own descriptors. */
export interface FdDirectory {
  /** An O_PATH descriptor of it. */
  readonly fd: number;
  /** Its path, for the calls that take no directory descriptor: "/fd". */
  readonly path: string;
}

/** What a client may ask for beyond the access mode; the rest is the Sentry's own business. */
const OPEN_FLAGS: number = O_ACCMODE | O_APPEND | O_DIRECT | O_DSYNC | O_SYNC | O_NOATIME;

/** Opens what a descriptor stands for once more. O_NONBLOCK: a lease or a FIFO's other end must not hold the gofer. */
export function reopen(own: FdDirectory, fd: number, flags: number): number {
  return openat2(own.fd, String(fd), flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0, 0);
}

/** A second O_PATH descriptor for an open file's inode. */
export function pathOf(own: FdDirectory, fd: number): number {
  return openat2(own.fd, String(fd), O_PATH | O_CLOEXEC, 0, 0);
}

/**
 * A descriptor for the Sentry, or -errno. Directories are never given away: one would let a broken Sentry walk, ".."
 * included. Of what is no regular file only what the tree's policy names.
 */
export function openForClient(own: FdDirectory, file: ControlFd, flags: number): number {
  if ((flags & ~OPEN_FLAGS) !== 0 || (flags & O_ACCMODE) === O_ACCMODE) throw new ProtocolError(`open flags ${flags}`);
  const writes = (flags & O_ACCMODE) !== O_RDONLY;
  switch (file.type) {
    case S_IFREG:
      if (writes && file.tree.readOnly) return -EROFS;
      return reopen(own, file.fd, flags);
    case S_IFIFO:
      return (file.tree.flags & TREE_HOST_FIFO) !== 0 ? reopen(own, file.fd, flags) : -EACCES;
    case S_IFCHR:
      return (file.tree.flags & TREE_DEVICES) !== 0 ? reopen(own, file.fd, flags) : -EACCES;
    case S_IFDIR:
      return -EISDIR;
    case S_IFSOCK:
      return -ENXIO;
    case S_IFBLK:
    case S_IFLNK:
      return -EACCES;
    default:
      return -EINVAL;
  }
}

/** A readable descriptor of a directory, for our own use. */
export function openDirectory(directory: ControlFd): number {
  return openat2(directory.fd, '.', O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, RESOLVE_STEP);
}

/** Sends a descriptor that belongs to the answer numbered `sequence`, and closes ours. */
export function donate(socketFd: number, sequence: number, fd: number): void {
  const result = sendTaggedFd(socketFd, sequence, fd);
  close(fd);
  if (result < 0) throw new ProtocolError(`a descriptor cannot be sent: errno ${-result}`);
}
