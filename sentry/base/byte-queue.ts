/**
 * Bytes first in, first out, in a ring of fixed size:
 *
 *   [ . . . a b c d . . ]
 *           ^head     ^head + length
 */
export class ByteQueue {
  private readonly ring: Uint8Array;
  private head = 0;
  length = 0;

  constructor(capacity: number) {
    this.ring = new Uint8Array(capacity);
  }

  get room(): number {
    return this.ring.length - this.length;
  }

  /** The caller has looked at `room`. */
  push(byte: number): void {
    this.ring[(this.head + this.length) % this.ring.length] = byte;
    this.length++;
  }

  /** Takes what fits of src[at, at+n); returns how much. */
  write(src: Uint8Array, at: number, n: number): number {
    const take = Math.min(n, this.room);
    for (let i = 0; i < take; i++) this.push(src[at + i]!);
    return take;
  }

  /** Byte `index` from the front, without taking it. */
  peek(index: number): number {
    return this.ring[(this.head + index) % this.ring.length]!;
  }

  /** Copies up to n bytes to dst[at…) without taking them; returns how many. */
  copy(dst: Uint8Array, at: number, n: number): number {
    const count = Math.min(n, this.length);
    for (let i = 0; i < count; i++) dst[at + i] = this.peek(i);
    return count;
  }

  /** Drops the first n bytes. */
  skip(n: number): void {
    this.head = (this.head + n) % this.ring.length;
    this.length -= n;
  }

  clear(): void {
    this.head = 0;
    this.length = 0;
  }
}
