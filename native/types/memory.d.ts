// What src/memory.cc exports. Results are values or -errno.

/** Private anonymous memory of `size` bytes, given as it is touched. */
export function createRegion(size: number): ArrayBuffer;
/** A shared mapping of a memfd. A number is -errno. */
export function mapShared(fd: number, size: number): ArrayBuffer | number;
/** flags: MFD_*; MFD_CLOEXEC is always set. */
export function memfdCreate(name: string, flags?: number): number;
/** The directory (/proc/self/fd, or a clone of it) in which reopenReadOnly() finds descriptors. */
export function setOwnDescriptors(fd: number): void;
/** A further descriptor of the same file that cannot write, or -errno. */
export function reopenReadOnly(fd: number): number;
/** Nobody can write the memfd, which must allow seals, or map it writable any more: 0 or -errno. */
export function sealWrites(fd: number): number;
export function ftruncate(fd: number, size: number): number;
export function closeFd(fd: number): number;
/** A close-on-exec duplicate. */
export function dupFd(fd: number): number;
/** Bytes into buffer[at, at+n); offset -1 is the descriptor's own position. */
export function pread(fd: number, buffer: Uint8Array, at: number, n: number, offset: number): number;
export function pwrite(fd: number, buffer: Uint8Array, at: number, n: number, offset: number): number;
/** Bytes moved between a guest process and buffer[at, at+n); fewer than n at the first page that refuses. */
export function vmRead(pid: number, addr: number, buffer: Uint8Array, at: number, n: number): number;
export function vmWrite(pid: number, addr: number, buffer: Uint8Array, at: number, n: number): number;
/** A host file's bytes straight into guest memory: bytes or -errno. flags: RWF_* of preadv2(2). */
export function readToGuest(pid: number, addr: number, n: number, fd: number, offset: number, flags: number): number;
export function writeFromGuest(pid: number, addr: number, n: number, fd: number, offset: number): number;
/** One message of n bytes with descriptors (at most 64). */
export function sendFds(sock: number, bytes: Uint8Array, n: number, fds: number[]): number;
/** Receives at most n bytes; fdsOut[0] is the number of descriptors that came, which follow. flags: MSG_*. */
export function recvFds(sock: number, bytes: Uint8Array, n: number, fdsOut: Int32Array, flags?: number): number;
/** socketpair(AF_UNIX, type): the two descriptors go to out. */
export function socketPair(type: number, out: Int32Array): number;
/** A CLOCK_* in ns. */
export function clockNs(clock: number): number;
/** Seconds and nanoseconds apart into out[0], out[1]. */
export function clockParts(clock: number, out: Float64Array): number;
/** The processors that a thread of a stub may run on: bit i of byte i>>3. 0 or -errno. */
export function setAffinity(tid: number, mask: Uint8Array): number;
/** The nice value of a thread of ours: the host lets it be raised, and mostly not lowered again. 0 or -errno. */
export function setNice(tid: number, nice: number): number;
