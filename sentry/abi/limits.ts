// Sizes that Linux fixes: include/uapi/linux/limits.h and neighbours.

export const PATH_MAX = 4096;
export const NAME_MAX = 255;
export const PAGE_SIZE = 4096;
/** A read or write moves at most this many bytes: include/linux/fs.h. */
export const MAX_RW_COUNT = 0x7ffff000;
export const IOV_MAX = 1024;
/** Bytes that a pipe takes in one piece. */
export const PIPE_BUF = 4096;
export const TASK_COMM_LEN = 16;
/** Followed symbolic links in one walk. */
export const MAXSYMLINKS = 40;
export const XATTR_NAME_MAX = 255;
export const XATTR_SIZE_MAX = 65536;
export const XATTR_LIST_MAX = 65536;
export const NGROUPS_MAX = 65536;
/** Ticks per second in times(2) and /proc. */
export const CLK_TCK = 100;
