// The interfaces a file system implements, after Linux's: a Filesystem (struct super_block), its
// Inodes (struct inode with inode_operations) and the FileDescriptions they open (struct file with
// file_operations, in file-description.ts). The dentry cache, mounts, path walk, permissions and
// locks are the VFS's own (dentry.ts, mount.ts, path-walk.ts, permissions.ts), once for all.
//
// Failures are negative errnos. Names and link targets are latin1 strings, a char per byte.
// An Inode's attribute fields are its struct stat; a file system whose truth lies elsewhere
// (gofer in shared mode, proc) refreshes them in `getattr`.

import { ECONNREFUSED, EINVAL, ENODATA, ENOTDIR, EOPNOTSUPP, EPERM } from '../abi/errno.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Task } from '../kernel/task.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import type { Dentry } from './dentry.ts';
import type { FileDescription } from './file-description.ts';
import type { FileLocks } from './file-locks.ts';
import type { Mount } from './mount.ts';
import { genericPermission } from './permissions.ts';
import type { Acl } from './posix-acl.ts';

/** A place in the tree: what a path resolves to. struct path. */
export interface VfsPath {
  readonly mount: Mount;
  readonly dentry: Dentry;
}

/** Which fields of a SetAttr count. include/linux/fs.h: ATTR_*. */
export const ATTR_MODE = 1;
export const ATTR_UID = 2;
export const ATTR_GID = 4;
export const ATTR_SIZE = 8;
export const ATTR_ATIME = 16;
export const ATTR_MTIME = 32;
/** The time is "now", not the given one (utimensat with UTIME_NOW or NULL). */
export const ATTR_ATIME_NOW = 64;
export const ATTR_MTIME_NOW = 128;

/** One change of attributes; struct iattr. Checked by the VFS before an inode sees it. */
export class SetAttr {
  mask = 0;
  mode = 0;
  uid = 0;
  gid = 0;
  size = 0;
  atimeSec = 0;
  atimeNsec = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
}

/** struct statfs. */
export class StatFs {
  type = 0;
  blockSize = 4096;
  blocks = 0;
  blocksFree = 0;
  blocksAvailable = 0;
  files = 0;
  filesFree = 0;
  nameLength = 255;
  flags = 0;
}

/** One mounted file-system instance; struct super_block. */
export abstract class Filesystem {
  /** As /proc/filesystems and mountinfo print it: "tmpfs". */
  readonly type: string;
  /** "sshfs" of "fuse.sshfs". */
  subtype = '';
  /** st_dev: major 0 and a minor of our own unless the file system knows better. */
  readonly dev: number;
  /** What mountinfo prints as the source. */
  source = 'none';
  readonly magic: number;
  /** Who has mounted it: its devices cannot be opened unless that is the initial user namespace, which null stands for. s_user_ns. */
  userns: UserNamespace | null = null;
  /** MS_RDONLY of the superblock. */
  readOnly = false;
  /** POSIX ACLs: 0 none, 1 kept as extended attributes by us, 2 kept and obeyed by the host, which also makes the mode follow. */
  acls = 0;
  /** FS_ALLOW_IDMAP: mounts of it can have their ids mapped. */
  allowsIdmap = false;
  /** Made by rootDentry(), one for all mounts. */
  rootDentry: Dentry | null = null;
  /** Mounts of it, in all namespaces; release() runs when the last goes. */
  mounts = 0;

  constructor(type: string, dev: number, magic: number) {
    this.type = type;
    this.dev = dev;
    this.magic = magic;
  }

  abstract root(): Inode;

  /** Options for mountinfo's last field, without rw/ro: ",size=1024k" or "". */
  options(): string {
    return '';
  }

  statfs(out: StatFs): number {
    out.type = this.magic;
    return 0;
  }

  sync(): number {
    return 0;
  }

  /** mount(2) with MS_REMOUNT: new options ("size=1m,mode=700"), before readOnly changes. */
  remount(_options: string): number {
    return 0;
  }

  /** It is seen through an overlay alone from now on. */
  becomeLayer(): void {}

  /** The last mount is gone. */
  release(): void {}
}

/** What readdir hands each entry to; false when the receiver's buffer is full: the entry is not consumed. */
export interface DirSink {
  /** `next` is the cookie (d_off) from which a later readdir goes on after this entry; type is DT_*. */
  entry(name: string, ino: number, type: number, next: number): boolean;
  /** The same for a name that lies in bytes[at, at + length). */
  entryBytes(bytes: Uint8Array, at: number, length: number, ino: number, type: number, next: number): boolean;
}

export abstract class Inode {
  readonly fs: Filesystem;
  ino: number;
  /** S_IFMT and permission bits. */
  mode: number;
  uid = 0;
  gid = 0;
  nlink = 1;
  /** makedev() of a device node. */
  rdev = 0;
  size = 0;
  /** 512-byte units. */
  blocks = 0;
  blockSize = 4096;
  atimeSec = 0;
  atimeNsec = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
  ctimeSec = 0;
  ctimeNsec = 0;
  btimeSec = 0;
  btimeNsec = 0;
  /** flock, POSIX and OFD locks, inotify watches, leases, FIFO and socket state: made when first needed by their owners in vfs/ and fs/. */
  locks: FileLocks | null = null;
  watches: unknown = null;
  leases: unknown = null;
  fifo: unknown = null;
  boundSocket: unknown = null;
  /** The object of an overlay that this inode is a layer's part of. */
  overlay: Inode | null = null;
  /** POSIX ACLs as posix-acl.ts has decoded them; undefined: not looked at yet. */
  accessAcl: Acl | null | undefined = undefined;
  defaultAcl: Acl | null | undefined = undefined;
  /** Dentries and open descriptions that refer to it; evict() runs when both are gone. */
  dentries = 0;
  opens = 0;
  /** Open for writing when positive, executed (so writes are ETXTBSY) when negative: i_writecount. */
  writers = 0;
  /** An unlinked O_TMPFILE inode that linkat(2) may still name: I_LINKABLE. */
  mayBeLinked = false;
  /** Reads through the VFS set atime in the fields above: tmpfs. Others keep their own or none. */
  keepsAtime = false;
  /** open() serves whatever the type bits say: a FIFO, device or socket of the host that was handed in. */
  readonly opensItself: boolean = false;
  /** A directory that rmdir(2) or rename(2) has removed: S_DEAD. */
  dead = false;

  constructor(fs: Filesystem, ino: number, mode: number) {
    this.fs = fs;
    this.ino = ino;
    this.mode = mode;
  }

  /** st_dev. */
  get dev(): number {
    return this.fs.dev;
  }

  isDir(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  isSymlink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }

  isRegular(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }

  /** May `creds` do this? mask: MAY_* of permissions.ts. 0 or -errno; read-only mounts are judged elsewhere. */
  permission(creds: Credentials, mask: number): number {
    return genericPermission(this, creds, mask);
  }

  // ---- directories

  /** The child's inode, or -ENOENT. The VFS caches the answer in the dentry as long as `stillValid` says so. */
  lookup(_name: string): Inode | number {
    return -ENOTDIR;
  }

  /**
   * Whether a cached dentry of this directory may be used without asking (d_revalidate). `child` is
   * undefined for a negative one. Plain file systems that own their tree say true; proc and shared
   * gofer trees decide.
   */
  childStillValid(_name: string, _child: Inode | undefined): boolean {
    return true;
  }

  /** Makes a regular file. mode has the umask applied and carries S_IFREG; owner ids come from creds' fsuid/fsgid (and setgid directories). openFlags are those of the open(2) that follows, if one does. */
  create(_creds: Credentials, _name: string, _mode: number, _openFlags?: number): Inode | number {
    return -EPERM;
  }

  mkdir(_creds: Credentials, _name: string, _mode: number): Inode | number {
    return -EPERM;
  }

  /** Device nodes, FIFOs and bound sockets: mode carries the type. */
  mknod(_creds: Credentials, _name: string, _mode: number, _rdev: number): Inode | number {
    return -EPERM;
  }

  symlink(_creds: Credentials, _name: string, _target: string): Inode | number {
    return -EPERM;
  }

  /** A further name for `target`, an inode of the same file system. */
  link(_name: string, _target: Inode): number {
    return -EPERM;
  }

  unlink(_name: string, _child: Inode): number {
    return -EPERM;
  }

  /** The child is a directory; -ENOTEMPTY is the file system's to find. */
  rmdir(_name: string, _child: Inode): number {
    return -EPERM;
  }

  /** Both directories are of this file system. flags: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT. `replaced` is the inode at the new name, if any. */
  rename(_oldName: string, _child: Inode, _newDir: Inode, _newName: string, _replaced: Inode | undefined, _flags: number): number {
    return -EPERM;
  }

  /** An unnamed regular file (O_TMPFILE) that linkat may name later. */
  tmpfile(_creds: Credentials, _mode: number): Inode | number {
    return -EOPNOTSUPP;
  }

  // ---- symbolic links

  /** The target text. t is who asks: /proc/self depends on it. */
  readlink(_t: Task | null): string | number {
    return -EINVAL;
  }

  /** A symbolic link has been read or followed through `mount`, and the access time is kept elsewhere than here (keepsAtime is false). */
  linkRead(_mount: Mount): void {}

  /** For magic links of /proc: where they lead, without text. undefined: an ordinary link, walk `readlink`. */
  followMagic(_t: Task | null): VfsPath | number | undefined {
    return undefined;
  }

  // ---- all

  /**
   * Opens a description. Permission, O_CREAT, O_EXCL, O_TRUNC and type checks are done; FIFOs, devices
   * and sockets have been diverted to their own code. t is null for the kernel's own opens.
   */
  abstract open(t: Task | null, path: VfsPath, flags: number): FileDescription | number;

  /** A socket's name with nobody of the sandbox behind it: a host socket (SOCK_*) connected to who is bound there, or -errno. */
  connectHost(_type: number): number {
    return -ECONNREFUSED;
  }

  /** Brings the attribute fields up to date. */
  getattr(_t: Task | null): number {
    return 0;
  }

  /** getattr() right after the walk that has led here, which may just have brought the attributes. */
  getattrAfterWalk(t: Task | null): number {
    return this.getattr(t);
  }

  /** Applies a checked change; ctime is the file system's to set. ATTR_SIZE truncates or extends. */
  setattr(_t: Task | null, _attr: SetAttr): number {
    return -EPERM;
  }

  getxattr(_name: string): Uint8Array | number {
    return -EOPNOTSUPP;
  }

  /** flags: XATTR_CREATE 1, XATTR_REPLACE 2. */
  setxattr(_name: string, _value: Uint8Array, _flags: number): number {
    return -EOPNOTSUPP;
  }

  removexattr(_name: string): number {
    return -ENODATA;
  }

  listxattr(): string[] | number {
    return -EOPNOTSUPP;
  }

  /** inotify watches of the inode have come or gone: `watches` is what there is now. */
  watchesChanged(): void {}

  /** Watches are being told of an event that a guest has caused. mask: IN_*. */
  toldOfChange(_mask: number, _name: string): void {}

  /**
   * No description is open and either no dentry is left or the file is unlinked: give back what is
   * held for it. May be called more than once, and the inode may be looked up again afterwards.
   */
  evict(): void {}
}
