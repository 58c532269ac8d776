// Where a read puts its bytes and where a write takes them from. Guest memory (mm/user-io.ts: one
// buffer or an iovec) and the kernel's own buffers look alike to a file, so that read, readv,
// pread, sendfile, splice and the ELF loader share one implementation per file.

export interface IoBuffer {
  /** Bytes left to transfer: a file moves at most this many. */
  remaining: number;
  /** Whether all of it is one range of memory, so that one host call can move it. */
  readonly isOneRange: boolean;
  /** Copies src[at, at+n) to the target and advances. Bytes copied (fewer when guest memory ends), or -EFAULT if none. */
  put(src: Uint8Array, at: number, n: number): number;
  /** Like put with n zero bytes. */
  putZeros(n: number): number;
  /** Copies n bytes from the source to dst[at…) and advances. Bytes copied, or -EFAULT if none. */
  take(dst: Uint8Array, at: number, n: number): number;
  /** Undoes the last n bytes of a take or put that went no further: a host socket took only part of them. */
  back(n: number): void;
  /** preadv2 from a host descriptor straight into the target; offset -1 reads at the descriptor's own position. Bytes or -errno. */
  fromHost(hostFd: number, n: number, offset: number): number;
  /**
   * A task is ready to be parked until the disk has been read: what would wait for it may answer -EAGAIN, and the
   * description's fetch() is asked then. The kernel's own transfers never are.
   */
  mayPark: boolean;
  /** fromHost() of what the host has at hand: fewer bytes, or -EAGAIN, where it would have to wait; -EOPNOTSUPP where it cannot tell. */
  fromHostNow(hostFd: number, n: number, offset: number): number;
  /** pwritev2 to a host descriptor; the twin of fromHost. */
  toHost(hostFd: number, n: number, offset: number): number;
}
