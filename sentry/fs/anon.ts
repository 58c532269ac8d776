// Files without a place in the tree: pipes, sockets, eventfds and their kin. Linux gives each kind
// an internal file system (pipefs, sockfs, anon_inodefs), which the guest sees as st_dev only.

import { ENXIO, EOPNOTSUPP } from '../abi/errno.ts';
import { ANON_INODE_FS_MAGIC, PIPEFS_MAGIC, S_IFIFO, S_IFMT, S_IFSOCK, SOCKFS_MAGIC } from '../abi/stat.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import {
  ATTR_ATIME,
  ATTR_ATIME_NOW,
  ATTR_GID,
  ATTR_MODE,
  ATTR_MTIME,
  ATTR_MTIME_NOW,
  ATTR_UID,
  Filesystem,
  Inode,
  type SetAttr,
  type VfsPath,
} from '../vfs/filesystem.ts';

// Minor numbers of the anonymous devices, as a booted Linux hands them out to these three.
const SOCKFS_DEV = 8;
const PIPEFS_DEV = 13;
const ANON_DEV = 14;

export class AnonFilesystem extends Filesystem {
  private lastIno = 0;
  private readonly rootInode: AnonInode;

  constructor(type: string, dev: number, magic: number) {
    super(type, dev, magic);
    this.rootInode = new AnonInode(this, this.newIno(), 0);
  }

  override root(): Inode {
    return this.rootInode;
  }

  newIno(): number {
    return ++this.lastIno;
  }
}

/** An inode that is reached through an fd alone. */
export class AnonInode extends Inode {
  constructor(fs: Filesystem, ino: number, mode: number) {
    super(fs, ino, mode);
    const nowMs = Date.now();
    const sec = Math.floor(nowMs / 1000);
    const nsec = (nowMs % 1000) * 1e6;
    this.atimeSec = this.mtimeSec = this.ctimeSec = sec;
    this.atimeNsec = this.mtimeNsec = this.ctimeNsec = nsec;
  }

  /** no_open(), fs/inode.c: what /proc/[pid]/fd/N of a socket or an eventfd answers. */
  override open(_t: Task | null, _path: VfsPath, _flags: number): FileDescription | number {
    return -ENXIO;
  }

  /** simple_setattr() for pipes and sockets; the shared anonymous inode refuses: fs/anon_inodes.c. */
  override setattr(_t: Task | null, attr: SetAttr): number {
    if ((this.mode & S_IFMT) === 0) return -EOPNOTSUPP;
    const nowMs = Date.now();
    const sec = Math.floor(nowMs / 1000);
    const nsec = (nowMs % 1000) * 1e6;
    if ((attr.mask & ATTR_MODE) !== 0) this.mode = (this.mode & S_IFMT) | (attr.mode & ~S_IFMT);
    if ((attr.mask & ATTR_UID) !== 0) this.uid = attr.uid;
    if ((attr.mask & ATTR_GID) !== 0) this.gid = attr.gid;
    if ((attr.mask & ATTR_ATIME) !== 0) {
      this.atimeSec = (attr.mask & ATTR_ATIME_NOW) !== 0 ? sec : attr.atimeSec;
      this.atimeNsec = (attr.mask & ATTR_ATIME_NOW) !== 0 ? nsec : attr.atimeNsec;
    }
    if ((attr.mask & ATTR_MTIME) !== 0) {
      this.mtimeSec = (attr.mask & ATTR_MTIME_NOW) !== 0 ? sec : attr.mtimeSec;
      this.mtimeNsec = (attr.mask & ATTR_MTIME_NOW) !== 0 ? nsec : attr.mtimeNsec;
    }
    this.ctimeSec = sec;
    this.ctimeNsec = nsec;
    return 0;
  }
}

const pipefs = new AnonFilesystem('pipefs', PIPEFS_DEV, PIPEFS_MAGIC);
const sockfs = new AnonFilesystem('sockfs', SOCKFS_DEV, SOCKFS_MAGIC);
const anonfs = new AnonFilesystem('anon_inodefs', ANON_DEV, ANON_INODE_FS_MAGIC);

/** The one inode of eventfds, epolls, timerfds, …: it has no type bits in st_mode. */
export const anonInode: AnonInode = new AnonInode(anonfs, anonfs.newIno(), 0o600);

function owned(inode: AnonInode, t: Task | null): AnonInode {
  if (t === null) return inode;
  inode.uid = t.creds.fsuid;
  inode.gid = t.creds.fsgid;
  return inode;
}

/** For pipe(2), owned by `t`: fs/pipe.c:get_pipe_inode(). */
export function newPipeInode(t: Task | null): AnonInode {
  return owned(new AnonInode(pipefs, pipefs.newIno(), S_IFIFO | 0o600), t);
}

/** For socket(2), owned by `t`: net/socket.c:sock_alloc(). */
export function newSocketInode(t: Task | null): AnonInode {
  return owned(new AnonInode(sockfs, sockfs.newIno(), S_IFSOCK | 0o777), t);
}
