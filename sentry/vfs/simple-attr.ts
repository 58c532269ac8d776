// Attributes and xattrs of inodes that live in memory: setattr_copy() of fs/attr.c, simple_xattr of fs/xattr.c.

import { EEXIST, ENODATA, ENOSPC } from '../abi/errno.ts';
import { S_IFMT } from '../abi/stat.ts';
import {
  ATTR_ATIME,
  ATTR_ATIME_NOW,
  ATTR_GID,
  ATTR_MODE,
  ATTR_MTIME,
  ATTR_MTIME_NOW,
  ATTR_UID,
  type Inode,
  type SetAttr,
} from './filesystem.ts';
import { now, readClock } from './times.ts';

/** setxattr(2)'s flags. */
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;

/** Applies everything but the size, and sets ctime. */
export function copyAttr(inode: Inode, attr: SetAttr): void {
  const mask = attr.mask;
  readClock();
  if ((mask & ATTR_MODE) !== 0) inode.mode = (inode.mode & S_IFMT) | (attr.mode & ~S_IFMT);
  if ((mask & ATTR_UID) !== 0) inode.uid = attr.uid;
  if ((mask & ATTR_GID) !== 0) inode.gid = attr.gid;
  if ((mask & ATTR_ATIME) !== 0) {
    const isNow = (mask & ATTR_ATIME_NOW) !== 0;
    inode.atimeSec = isNow ? now.sec : attr.atimeSec;
    inode.atimeNsec = isNow ? now.nsec : attr.atimeNsec;
  }
  if ((mask & ATTR_MTIME) !== 0) {
    const isNow = (mask & ATTR_MTIME_NOW) !== 0;
    inode.mtimeSec = isNow ? now.sec : attr.mtimeSec;
    inode.mtimeNsec = isNow ? now.nsec : attr.mtimeNsec;
  }
  inode.ctimeSec = now.sec;
  inode.ctimeNsec = now.nsec;
}

/** An inode's extended attributes, with a bound on what they take. */
export class SimpleXattrs {
  private readonly values: Map<string, Uint8Array> = new Map();
  private bytes = 0;

  get(name: string): Uint8Array | number {
    return this.values.get(name) ?? -ENODATA;
  }

  /** value is kept: the caller hands over a copy. */
  set(name: string, value: Uint8Array, flags: number): number {
    const old = this.values.get(name);
    if ((flags & XATTR_CREATE) !== 0 && old !== undefined) return -EEXIST;
    if ((flags & XATTR_REPLACE) !== 0 && old === undefined) return -ENODATA;
    const grown = this.bytes + value.length - (old === undefined ? -name.length : old.length);
    if (grown > LIMIT) return -ENOSPC;
    this.bytes = grown;
    this.values.set(name, value);
    return 0;
  }

  remove(name: string): number {
    const old = this.values.get(name);
    if (old === undefined) return -ENODATA;
    this.bytes -= old.length + name.length;
    this.values.delete(name);
    return 0;
  }

  names(): string[] {
    return [...this.values.keys()];
  }
}

/** "simple_xattr" values and names of one inode, at most: the size that listxattr(2) and a value may have, twice. */
const LIMIT = 128 * 1024;
