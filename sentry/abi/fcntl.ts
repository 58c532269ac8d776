// open(2), fcntl(2), *at(2): include/uapi/asm-generic/fcntl.h, include/uapi/linux/fcntl.h, fs.h.

export const AT_FDCWD = -100;
export const AT_STATX_SYNC_AS_STAT = 0;
export const AT_SYMLINK_NOFOLLOW = 0x100;
export const AT_EACCESS = 0x200;
export const AT_REMOVEDIR = 0x200;
export const AT_SYMLINK_FOLLOW = 0x400;
export const AT_NO_AUTOMOUNT = 0x800;
export const AT_EMPTY_PATH = 0x1000;
export const AT_STATX_FORCE_SYNC = 0x2000;
export const AT_STATX_DONT_SYNC = 0x4000;
export const AT_STATX_SYNC_TYPE = 0x6000;
export const AT_RECURSIVE = 0x8000;

export const CLOSE_RANGE_UNSHARE = 2;
export const CLOSE_RANGE_CLOEXEC = 4;

export const DN_ACCESS = 1;
export const DN_MODIFY = 2;
export const DN_CREATE = 4;
export const DN_DELETE = 8;
export const DN_RENAME = 16;
export const DN_ATTRIB = 32;
export const DN_MULTISHOT = 0x80000000;

export const FALLOC_FL_KEEP_SIZE = 1;
export const FALLOC_FL_PUNCH_HOLE = 2;
export const FALLOC_FL_NO_HIDE_STALE = 4;
export const FALLOC_FL_COLLAPSE_RANGE = 8;
export const FALLOC_FL_ZERO_RANGE = 16;
export const FALLOC_FL_INSERT_RANGE = 32;
export const FALLOC_FL_UNSHARE_RANGE = 64;

export const FD_CLOEXEC = 1;

export const FS_IOC_SETFLAGS = 0x40086602;
export const FS_IOC_GETFLAGS = 0x80086601;

export const F_DUPFD = 0;
export const F_OK = 0;
export const F_RDLCK = 0;
export const F_ULOCK = 0;
export const F_GETFD = 1;
export const F_LOCK = 1;
export const F_SEAL_SEAL = 1;
export const F_WRLCK = 1;
export const F_SEAL_SHRINK = 2;
export const F_SETFD = 2;
export const F_TLOCK = 2;
export const F_UNLCK = 2;
export const F_GETFL = 3;
export const F_TEST = 3;
export const F_EXLCK = 4;
export const F_SEAL_GROW = 4;
export const F_SETFL = 4;
export const F_GETLK = 5;
export const F_GETLK64 = 5;
export const F_SETLK = 6;
export const F_SETLK64 = 6;
export const F_SETLKW = 7;
export const F_SETLKW64 = 7;
export const F_SEAL_WRITE = 8;
export const F_SETOWN = 8;
export const F_SHLCK = 8;
export const F_GETOWN = 9;
export const F_SETSIG = 10;
export const F_GETSIG = 11;
export const F_SETOWN_EX = 15;
export const F_GETOWN_EX = 16;
export const F_OWNER_TID = 0;
export const F_OWNER_PID = 1;
export const F_OWNER_PGRP = 2;
export const F_SEAL_FUTURE_WRITE = 16;
export const F_SEAL_EXEC = 32;
export const F_OFD_GETLK = 36;
export const F_OFD_SETLK = 37;
export const F_OFD_SETLKW = 38;
export const F_SETLEASE = 0x400;
export const F_GETLEASE = 0x401;
export const F_NOTIFY = 0x402;
export const F_DUPFD_QUERY = 0x403;
export const F_CREATED_QUERY = 0x404;
export const F_CANCELLK = 0x405;
export const F_DUPFD_CLOEXEC = 0x406;
export const F_SETPIPE_SZ = 0x407;
export const F_GETPIPE_SZ = 0x408;
export const F_ADD_SEALS = 0x409;
export const F_GET_SEALS = 0x40a;
export const F_GET_RW_HINT = 0x40b;
export const F_SET_RW_HINT = 0x40c;
export const F_GET_FILE_RW_HINT = 0x40d;
export const F_SET_FILE_RW_HINT = 0x40e;

export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;
export const LOCK_MAND = 32;
export const LOCK_READ = 64;
export const LOCK_WRITE = 128;
export const LOCK_RW = 192;

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_ACCMODE = 3;
export const O_CREAT = 0o100;
export const O_EXCL = 0o200;
export const O_NOCTTY = 0o400;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NONBLOCK = 0o4000;
export const O_DSYNC = 0o10000;
export const O_ASYNC = 0o20000;
export const O_DIRECT = 0o40000;
export const O_DIRECTORY = 0o200000;
export const O_NOFOLLOW = 0o400000;
export const O_NOATIME = 0o1000000;
export const O_CLOEXEC = 0o2000000;
export const O_RSYNC = 0o4010000;
export const O_SYNC = 0o4010000;
export const O_PATH = 0o10000000;
export const O_TMPFILE = 0o20200000;

export const POSIX_FADV_NORMAL = 0;
export const POSIX_FADV_RANDOM = 1;
export const POSIX_FADV_SEQUENTIAL = 2;
export const POSIX_FADV_WILLNEED = 3;
export const POSIX_FADV_DONTNEED = 4;
export const POSIX_FADV_NOREUSE = 5;

export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;

export const RESOLVE_NO_XDEV = 1;
export const RESOLVE_NO_MAGICLINKS = 2;
export const RESOLVE_NO_SYMLINKS = 4;
export const RESOLVE_BENEATH = 8;
export const RESOLVE_IN_ROOT = 16;
export const RESOLVE_CACHED = 32;

export const RWF_WRITE_LIFE_NOT_SET = 0;
export const RWF_HIPRI = 1;
export const RWF_DSYNC = 2;
export const RWF_SYNC = 4;
export const RWF_NOWAIT = 8;
export const RWF_APPEND = 16;
export const RWF_NOAPPEND = 0x20;
export const RWF_ATOMIC = 0x40;
export const RWF_DONTCACHE = 0x80;
export const RWF_SUPPORTED = 0xff;

export const R_OK = 4;

export const SEEK_SET = 0;
export const SEEK_CUR = 1;
export const SEEK_END = 2;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;
export const SEEK_MAX = 4;

export const SPLICE_F_MOVE = 1;
export const SPLICE_F_NONBLOCK = 2;
export const SPLICE_F_MORE = 4;
export const SPLICE_F_GIFT = 8;

export const SYNC_FILE_RANGE_WAIT_BEFORE = 1;
export const SYNC_FILE_RANGE_WRITE = 2;
export const SYNC_FILE_RANGE_WAIT_AFTER = 4;
export const SYNC_FILE_RANGE_WRITE_AND_WAIT = 7;

export const W_OK = 2;

export const X_OK = 1;

// glibc hides O_LARGEFILE on 64 bits; the kernel sets it on every open of a 64-bit task.
export const O_LARGEFILE = 0o100000;
