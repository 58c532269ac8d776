// The kernel's own side of a transfer: sendfile, splice and whoever else moves bytes between two files.

import { pread, pwrite } from '../host/memory.ts';
import type { IoBuffer } from './io-buffer.ts';

/** A stretch of a byte array that files fill or drain: bytes [at, at + remaining). */
export class BufferIo implements IoBuffer {
  bytes: Uint8Array;
  at = 0;
  remaining = 0;
  readonly isOneRange: boolean = true;
  mayPark = false;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  set(at: number, n: number): this {
    this.at = at;
    this.remaining = n;
    return this;
  }

  put(src: Uint8Array, at: number, n: number): number {
    const moved = Math.min(n, this.remaining);
    this.bytes.set(src.subarray(at, at + moved), this.at);
    return this.advance(moved);
  }

  putZeros(n: number): number {
    const moved = Math.min(n, this.remaining);
    this.bytes.fill(0, this.at, this.at + moved);
    return this.advance(moved);
  }

  take(dst: Uint8Array, at: number, n: number): number {
    const moved = Math.min(n, this.remaining);
    dst.set(this.bytes.subarray(this.at, this.at + moved), at);
    return this.advance(moved);
  }

  back(n: number): void {
    this.advance(-n);
  }

  fromHost(hostFd: number, n: number, offset: number): number {
    const got = pread(hostFd, this.bytes, this.at, Math.min(n, this.remaining), offset < 0 ? -1 : offset);
    return got > 0 ? this.advance(got) : got;
  }

  fromHostNow(hostFd: number, n: number, offset: number): number {
    return this.fromHost(hostFd, n, offset);
  }

  toHost(hostFd: number, n: number, offset: number): number {
    const put = pwrite(hostFd, this.bytes, this.at, Math.min(n, this.remaining), offset < 0 ? -1 : offset);
    return put > 0 ? this.advance(put) : put;
  }

  private advance(n: number): number {
    this.at += n;
    this.remaining -= n;
    return n;
  }
}
