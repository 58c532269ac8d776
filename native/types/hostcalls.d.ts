// What src/hostcalls.cc exports: one function a host system call. Results are ≥ 0, or -errno (never thrown).
// Paths and names are latin1 strings, one char a byte; -EINVAL for a NUL inside, -ENAMETOOLONG from 4096 bytes on.
// `at` and `n` are bytes in the buffer's own memory; -EFAULT when they do not lie inside it.

/** Memory that a call reads or fills. */
export type HostBuffer = Uint8Array | Int32Array | Uint32Array | Float64Array | DataView;

/** openat2(2): the descriptor. flags and resolve are unsigned 32-bit. */
export function openat2(dirFd: number, path: string, flags: number, mode: number, resolve: number): number;
export function close(fd: number): number;
/** F_DUPFD_CLOEXEC. */
export function dup(fd: number): number;
export function fcntlGetFlags(fd: number): number;
export function fcntlSetFlags(fd: number, flags: number): number;
export function fcntlSetCloexec(fd: number, on: boolean | number): number;
/** Fills out[0] (read end) and out[1]. */
export function pipe2(out: Int32Array, flags: number): number;
export function eventfd(initial: number, flags: number): number;

/** statx(2): fills 256 bytes of struct statx at `at`. */
export function statx(dirFd: number, path: string, flags: number, mask: number, out: HostBuffer, at: number): number;
/** fstatfs(2): fills 120 bytes of struct statfs at `at`. */
export function fstatfs(fd: number, out: HostBuffer, at: number): number;
export function fchmod(fd: number, mode: number): number;
export function fchmodat(dirFd: number, path: string, mode: number): number;
/** fchmodat2(2), Linux 6.6; -ENOSYS before. */
export function fchmodat2(dirFd: number, path: string, mode: number, flags: number): number;
/** uid and gid: 0xffffffff leaves one alone. */
export function fchownat(dirFd: number, path: string, uid: number, gid: number, flags: number): number;
export function utimensat(
  dirFd: number,
  path: string,
  atimeSec: number,
  atimeNsec: number,
  mtimeSec: number,
  mtimeNsec: number,
  flags: number,
): number;
export function fallocate(fd: number, mode: number, offset: number, length: number): number;
export function fsync(fd: number): number;
export function fdatasync(fd: number): number;
export function syncfs(fd: number): number;
/** The mask that was set before. */
export function umask(mask: number): number;
/** getrandom(2): how many of the n bytes were put to out[at, at+n). */
export function getRandom(out: HostBuffer, at: number, n: number): number;

/** Bytes of the target. An empty path reads the O_PATH descriptor itself. */
export function readlinkat(dirFd: number, path: string, out: HostBuffer, at: number, max: number): number;
/** Bytes of struct linux_dirent64 records; 0 at the end. */
export function getdents64(fd: number, out: HostBuffer, at: number, max: number): number;
/**
 * Reads a directory on from where it stands, "." and ".." left out, as entries of the gofer's READDIR answer to out[at, end).
 * flags: 1 each with its attributes, 2 directories with theirs, 4 the overflow ids are shown as 0. words: how many, d_off
 * from where to go on (low, high), 1 when that was all. Bytes put, or -errno.
 */
/**
 * A small regular file in a directory, for the gofer's CONTENTS: bytes put to out[at, end) (144 of struct statx, u32 length, the
 * file), or -errno; -EFBIG beyond `most` bytes or the room there is, -EAGAIN what would wait for a disk, which is asked to read ahead.
 * ownFd: the directory of our own descriptors.
 */
export function readSmall(
  directoryFd: number,
  name: string,
  ownFd: number,
  out: HostBuffer,
  at: number,
  end: number,
  most: number,
  flags: number,
): number;
export function listEntries(fd: number, out: HostBuffer, at: number, end: number, flags: number, words: Uint32Array): number;
export function mkdirat(dirFd: number, path: string, mode: number): number;
export function mknodat(dirFd: number, path: string, mode: number, major: number, minor: number): number;
export function symlinkat(target: string, dirFd: number, path: string): number;
export function linkat(oldDirFd: number, oldPath: string, newDirFd: number, newPath: string, flags: number): number;
export function unlinkat(dirFd: number, path: string, flags: number): number;
export function renameat2(oldDirFd: number, oldPath: string, newDirFd: number, newPath: string, flags: number): number;

export function fgetxattr(fd: number, name: string, out: HostBuffer, at: number, max: number): number;
export function fsetxattr(fd: number, name: string, value: HostBuffer, at: number, n: number, flags: number): number;
/** Bytes of NUL-terminated names. */
export function flistxattr(fd: number, out: HostBuffer, at: number, max: number): number;
export function fremovexattr(fd: number, name: string): number;
export function getxattr(path: string, name: string, out: HostBuffer, at: number, max: number): number;
export function setxattr(path: string, name: string, value: HostBuffer, at: number, n: number, flags: number): number;
export function listxattr(path: string, out: HostBuffer, at: number, max: number): number;
export function removexattr(path: string, name: string): number;

/** preadv2(2) with one vector; offset -1 reads at the descriptor's own position. flags: RWF_*. */
export function preadv2(fd: number, out: HostBuffer, at: number, n: number, offset: number, flags: number): number;
/** pwritev2(2), the twin of preadv2. */
export function pwritev2(fd: number, data: HostBuffer, at: number, n: number, offset: number, flags: number): number;
export function read(fd: number, out: HostBuffer, at: number, n: number): number;
export function write(fd: number, data: HostBuffer, at: number, n: number): number;
export function lseek(fd: number, offset: number, whence: number): number;
/** Seeks a directory to a d_off, given as two words; 0 or -errno. */
export function seekDir(fd: number, lo: number, hi: number): number;
/** poll(2) of one descriptor: its revents, 0 after timeoutMs (-1: none). */
export function pollFd(fd: number, events: number, timeoutMs: number): number;
/** ioctl(2) with a buffer of at least the size that the request codes, 64 bytes where it codes none. */
export function ioctl(fd: number, request: number, data: HostBuffer): number;
/** ioctl(2) with a number. */
export function ioctlValue(fd: number, request: number, value: number): number;

/** FUTEX_WAIT on a word of shared memory: 0 woken, -EAGAIN the word differs, -ETIMEDOUT, -EINTR. timeoutUs -1: none. */
export function futexWait(words: Int32Array, index: number, expected: number, timeoutUs: number): number;
/** FUTEX_WAKE: how many were woken. */
export function futexWake(words: Int32Array, index: number, count: number): number;

export function inotifyInit(flags: number): number;
export function inotifyAddWatch(fd: number, path: string, mask: number): number;
export function inotifyRmWatch(fd: number, watch: number): number;

/** socketpair(2) of AF_UNIX, close-on-exec: fills out[0] and out[1]. */
export function unixSocketPair(type: number, out: Int32Array): number;
/** An AF_UNIX socket, close-on-exec. */
export function unixSocket(type: number): number;
export function bindUnix(fd: number, path: string): number;
export function connectUnix(fd: number, path: string): number;
/** Sends one descriptor with a tag. */
export function sendTaggedFd(socketFd: number, tag: number, fd: number): number;
/** Receives the descriptor sent with that tag, close-on-exec. -EAGAIN when there is none yet, -EBADMSG for another message, -EPIPE at the end, -EMFILE when it came but there was no room for it. */
export function recvTaggedFd(socketFd: number, tag: number): number;
/** Starts a thread that ends this process (status 0) when the peer of a unix socket is gone. */
export function exitOnHangup(socketFd: number): number;

/** A descriptor (eventfd, non-blocking) that is readable when a slow call has ended. One for the process. */
export function slowCallEvents(): number;
/**
 * Begins a call on another thread: kind 0 fsync(2), 1 fdatasync(2), 2 bringing a range into the page cache.
 * slot: 0..255, one that is free. 0 or -errno.
 */
export function slowCallStart(slot: number, fd: number, kind: number, offset: number, length: number): number;
/** The result of a slot's call, 0 or -errno; 1 as long as it runs. */
export function slowCallResult(slot: number): number;

/** Loads a seccomp filter (bytes of struct sock_filter) into all threads of the process. -EBUSY when one has another filter. */
export function loadSeccompProgram(program: Uint8Array): number;
