// The buffers of one read or write call in guest memory: one range, or an iovec. One UserIo per
// task, reused; a file sees it as an IoBuffer.

import { EFAULT, EINVAL } from '../abi/errno.ts';
import { RWF_NOWAIT } from '../abi/fcntl.ts';
import { IOV_MAX, MAX_RW_COUNT } from '../abi/limits.ts';
import { getU64 } from '../base/int64.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import type { MemoryManager } from './memory-manager.ts';

/** TASK_SIZE_MAX: the end of what a process can address. */
const TASK_SIZE = 2 ** 47 - 4096;
const zeros = new Uint8Array(65536);
const iovecBytes = new Uint8Array(IOV_MAX * 16);
const iovecView = new DataView(iovecBytes.buffer);

export class UserIo implements IoBuffer {
  private mm: MemoryManager;
  private count = 0;
  private addrs: number[] = [];
  private lens: number[] = [];
  /** Where the transfer stands: segment and offset in it. */
  private segment = 0;
  private done = 0;
  private total = 0;
  remaining = 0;
  mayPark = false;

  constructor(mm: MemoryManager) {
    this.mm = mm;
  }

  /** The task has a new address space. */
  setMemory(mm: MemoryManager): void {
    this.mm = mm;
  }

  /** One range. n is cut to MAX_RW_COUNT: fs/read_write.c:vfs_read(). */
  setBuffer(addr: number, n: number): void {
    this.addrs[0] = addr;
    this.lens[0] = Math.min(n, MAX_RW_COUNT);
    this.count = 1;
    this.total = this.lens[0]!;
    this.rewind();
  }

  /** An iovec array of the guest: total bytes, or -EINVAL, -EFAULT. lib/iov_iter.c:import_iovec(). */
  setIovec(addr: number, count: number): number {
    if (count < 0 || count > IOV_MAX) return -EINVAL;
    if (this.mm.copyIn(addr, iovecBytes, 0, count * 16) < 0) return -EFAULT;
    // Lengths are judged before the first address is: copy_iovec_from_user().
    for (let i = 0; i < count; i++) if (getU64(iovecView, i * 16 + 8) >= 2 ** 63) return -EINVAL;
    let total = 0;
    for (let i = 0; i < count; i++) {
      const base = getU64(iovecView, i * 16);
      let len = getU64(iovecView, i * 16 + 8);
      // One range alone is cut before its end is looked at: import_ubuf().
      if (count === 1 && len > MAX_RW_COUNT) len = MAX_RW_COUNT;
      if (base + len > TASK_SIZE) return -EFAULT;
      if (len > MAX_RW_COUNT - total) len = MAX_RW_COUNT - total;
      this.addrs[i] = base;
      this.lens[i] = len;
      total += len;
    }
    this.count = count;
    this.total = total;
    this.rewind();
    return total;
  }

  /** Starts over at the first byte: a call that blocked asks its file again. */
  rewind(): void {
    this.segment = 0;
    this.done = 0;
    this.remaining = this.total;
  }

  get isOneRange(): boolean {
    return this.count === 1;
  }

  /** Bytes moved since the last set or rewind. */
  get moved(): number {
    return this.total - this.remaining;
  }

  put(src: Uint8Array, at: number, n: number): number {
    let moved = 0;
    while (moved < n && this.next()) {
      const want = Math.min(n - moved, this.lens[this.segment]! - this.done);
      const got = this.mm.writeSome(this.addrs[this.segment]! + this.done, src, at + moved, want);
      this.advance(got);
      moved += got;
      if (got < want) return moved === 0 ? -EFAULT : moved;
    }
    return moved;
  }

  putZeros(n: number): number {
    let moved = 0;
    while (moved < n) {
      const got = this.put(zeros, 0, Math.min(n - moved, zeros.length));
      if (got <= 0) return moved === 0 ? got : moved;
      moved += got;
    }
    return moved;
  }

  take(dst: Uint8Array, at: number, n: number): number {
    let moved = 0;
    while (moved < n && this.next()) {
      const want = Math.min(n - moved, this.lens[this.segment]! - this.done);
      const got = this.mm.readSome(this.addrs[this.segment]! + this.done, dst, at + moved, want);
      this.advance(got);
      moved += got;
      if (got < want) return moved === 0 ? -EFAULT : moved;
    }
    return moved;
  }

  back(n: number): void {
    this.remaining += n;
    while (n > 0) {
      if (this.done === 0) this.done = this.lens[--this.segment]!;
      const step = Math.min(n, this.done);
      this.done -= step;
      n -= step;
    }
  }

  fromHost(hostFd: number, n: number, offset: number): number {
    return this.transferIn(hostFd, n, offset, 0);
  }

  fromHostNow(hostFd: number, n: number, offset: number): number {
    return this.transferIn(hostFd, n, offset, RWF_NOWAIT);
  }

  private transferIn(hostFd: number, n: number, offset: number, flags: number): number {
    let moved = 0;
    while (moved < n && this.next()) {
      const want = Math.min(n - moved, this.lens[this.segment]! - this.done);
      const from = offset < 0 ? -1 : offset + moved;
      const got = this.mm.fromHost(this.addrs[this.segment]! + this.done, want, hostFd, from, flags);
      if (got < 0) return moved === 0 ? got : moved;
      this.advance(got);
      moved += got;
      if (got < want) break;
    }
    return moved;
  }

  toHost(hostFd: number, n: number, offset: number): number {
    let moved = 0;
    while (moved < n && this.next()) {
      const want = Math.min(n - moved, this.lens[this.segment]! - this.done);
      const to = offset < 0 ? -1 : offset + moved;
      const put = this.mm.toHost(this.addrs[this.segment]! + this.done, want, hostFd, to);
      if (put < 0) return moved === 0 ? put : moved;
      this.advance(put);
      moved += put;
      if (put < want) break;
    }
    return moved;
  }

  /** Stands on a segment with bytes left; false at the end. */
  private next(): boolean {
    while (this.segment < this.count && this.done === this.lens[this.segment]!) {
      this.segment++;
      this.done = 0;
    }
    return this.segment < this.count;
  }

  private advance(n: number): void {
    this.done += n;
    this.remaining -= n;
  }
}
