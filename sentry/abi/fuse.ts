// include/uapi/linux/fuse.h, protocol 7.31.

import { assert } from '../base/assert.ts';
import { array, layout, u16, u32, u64 } from './layout.ts';

export const FUSE_KERNEL_VERSION = 7;
export const FUSE_KERNEL_MINOR_VERSION = 31;
export const FUSE_ROOT_ID = 1;
/** The smallest buffer that a server may read with. */
export const FUSE_MIN_READ_BUFFER = 8192;
export const FUSE_NAME_MAX = 1024;

export const FUSE_LOOKUP = 1;
export const FUSE_FORGET = 2;
export const FUSE_GETATTR = 3;
export const FUSE_SETATTR = 4;
export const FUSE_READLINK = 5;
export const FUSE_SYMLINK = 6;
export const FUSE_MKNOD = 8;
export const FUSE_MKDIR = 9;
export const FUSE_UNLINK = 10;
export const FUSE_RMDIR = 11;
export const FUSE_RENAME = 12;
export const FUSE_LINK = 13;
export const FUSE_OPEN = 14;
export const FUSE_READ = 15;
export const FUSE_WRITE = 16;
export const FUSE_STATFS = 17;
export const FUSE_RELEASE = 18;
export const FUSE_FSYNC = 20;
export const FUSE_SETXATTR = 21;
export const FUSE_GETXATTR = 22;
export const FUSE_LISTXATTR = 23;
export const FUSE_REMOVEXATTR = 24;
export const FUSE_FLUSH = 25;
export const FUSE_INIT = 26;
export const FUSE_OPENDIR = 27;
export const FUSE_READDIR = 28;
export const FUSE_RELEASEDIR = 29;
export const FUSE_FSYNCDIR = 30;
export const FUSE_ACCESS = 34;
export const FUSE_CREATE = 35;
export const FUSE_INTERRUPT = 36;
export const FUSE_DESTROY = 38;
export const FUSE_IOCTL = 39;
export const FUSE_POLL = 40;
export const FUSE_NOTIFY_REPLY = 41;
export const FUSE_FALLOCATE = 43;
export const FUSE_READDIRPLUS = 44;
export const FUSE_RENAME2 = 45;
export const FUSE_LSEEK = 46;
export const FUSE_COPY_FILE_RANGE = 47;

export const FUSE_ASYNC_READ = 1 << 0;
export const FUSE_ATOMIC_O_TRUNC = 1 << 3;
export const FUSE_BIG_WRITES = 1 << 5;
export const FUSE_DONT_MASK = 1 << 6;
export const FUSE_HAS_IOCTL_DIR = 1 << 11;
export const FUSE_AUTO_INVAL_DATA = 1 << 12;
export const FUSE_DO_READDIRPLUS = 1 << 13;
export const FUSE_READDIRPLUS_AUTO = 1 << 14;
export const FUSE_NO_OPEN_SUPPORT = 1 << 17;
export const FUSE_PARALLEL_DIROPS = 1 << 18;
export const FUSE_HANDLE_KILLPRIV = 1 << 19;
export const FUSE_ABORT_ERROR = 1 << 21;
export const FUSE_NO_OPENDIR_SUPPORT = 1 << 24;

export const FOPEN_DIRECT_IO = 1;
export const FOPEN_NONSEEKABLE = 4;
export const FOPEN_STREAM = 16;

export const FATTR_MODE = 1 << 0;
export const FATTR_UID = 1 << 1;
export const FATTR_GID = 1 << 2;
export const FATTR_SIZE = 1 << 3;
export const FATTR_ATIME = 1 << 4;
export const FATTR_MTIME = 1 << 5;
export const FATTR_ATIME_NOW = 1 << 7;
export const FATTR_MTIME_NOW = 1 << 8;

export const FUSE_FSYNC_FDATASYNC = 1;
export const FUSE_RELEASE_FLUSH = 1;

export const FUSE_NOTIFY_POLL = 1;
export const FUSE_NOTIFY_INVAL_INODE = 2;
export const FUSE_NOTIFY_INVAL_ENTRY = 3;
export const FUSE_NOTIFY_STORE = 4;
export const FUSE_NOTIFY_RETRIEVE = 5;
export const FUSE_NOTIFY_DELETE = 6;

export const FUSE_IOCTL_RETRY = 1 << 2;
export const FUSE_IOCTL_DIR = 1 << 4;
export const FUSE_POLL_SCHEDULE_NOTIFY = 1;

/** _IOR(229, 0, uint32_t). */
export const FUSE_DEV_IOC_CLONE = 0x8004e500;

export const IN_HEADER = layout({ len: u32, opcode: u32, unique: u64, nodeid: u64, uid: u32, gid: u32, pid: u32, padding: u32 });
assert(IN_HEADER.size === 40);
export const OUT_HEADER = layout({ len: u32, error: u32, unique: u64 });
assert(OUT_HEADER.size === 16);

export const FUSE_ATTR = layout({
  ino: u64,
  fileSize: u64,
  blocks: u64,
  atime: u64,
  mtime: u64,
  ctime: u64,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  nlink: u32,
  uid: u32,
  gid: u32,
  rdev: u32,
  blksize: u32,
  flags: u32,
});
assert(FUSE_ATTR.size === 88);

/** struct fuse_entry_out up to its fuse_attr. */
export const ENTRY_OUT = layout({ nodeid: u64, generation: u64, entryValid: u64, attrValid: u64, entryValidNsec: u32, attrValidNsec: u32 });
export const ENTRY_OUT_SIZE = 128;
assert(ENTRY_OUT.size + FUSE_ATTR.size === ENTRY_OUT_SIZE);
/** struct fuse_attr_out up to its fuse_attr. */
export const ATTR_OUT = layout({ attrValid: u64, attrValidNsec: u32, dummy: u32 });
assert(ATTR_OUT.size === 16);

export const SETATTR_IN = layout({
  valid: u32,
  padding: u32,
  fh: u64,
  fileSize: u64,
  lockOwner: u64,
  atime: u64,
  mtime: u64,
  ctime: u64,
  atimensec: u32,
  mtimensec: u32,
  ctimensec: u32,
  mode: u32,
  unused4: u32,
  uid: u32,
  gid: u32,
  unused5: u32,
});
assert(SETATTR_IN.size === 88);
export const READ_IN = layout({ fh: u64, offset: u64, count: u32, readFlags: u32, lockOwner: u64, flags: u32, padding: u32 });
assert(READ_IN.size === 40);
export const OPEN_OUT = layout({ fh: u64, openFlags: u32, padding: u32 });
assert(OPEN_OUT.size === 16);
export const KSTATFS = layout({
  blocks: u64,
  bfree: u64,
  bavail: u64,
  files: u64,
  ffree: u64,
  bsize: u32,
  namelen: u32,
  frsize: u32,
  padding: u32,
  spare: array(u32, 6),
});
assert(KSTATFS.size === 80);
export const INIT_OUT = layout({
  major: u32,
  minor: u32,
  maxReadahead: u32,
  flags: u32,
  maxBackground: u16,
  congestionThreshold: u16,
  maxWrite: u32,
  timeGran: u32,
});
export const DIRENT = layout({ ino: u64, off: u64, namelen: u32, type: u32 });
assert(DIRENT.size === 24);
export const IOCTL_IN = layout({ fh: u64, flags: u32, cmd: u32, arg: u64, inSize: u32, outSize: u32 });
assert(IOCTL_IN.size === 32);
export const IOCTL_OUT = layout({ result: u32, flags: u32, inIovs: u32, outIovs: u32 });
assert(IOCTL_OUT.size === 16);
export const POLL_IN = layout({ fh: u64, kh: u64, flags: u32, events: u32 });
assert(POLL_IN.size === 24);
export const COPY_IN = layout({ fhIn: u64, offIn: u64, nodeidOut: u64, fhOut: u64, offOut: u64, len: u64, flags: u64 });
assert(COPY_IN.size === 56);
export const NOTIFY_STORE = layout({ nodeid: u64, offset: u64, n: u32, padding: u32 });
assert(NOTIFY_STORE.size === 24);
export const NOTIFY_RETRIEVE = layout({ unique: u64, nodeid: u64, offset: u64, n: u32, padding: u32 });
assert(NOTIFY_RETRIEVE.size === 32);
export const RETRIEVE_REPLY = layout({ dummy1: u64, offset: u64, n: u32, dummy2: u32, dummy3: u64, dummy4: u64 });
assert(RETRIEVE_REPLY.size === 40);
