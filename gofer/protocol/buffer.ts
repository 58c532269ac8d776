// Encoding and decoding of one message in private memory. A Writer never runs over its end unnoticed; a Reader
// believes nothing: every length, count and name is checked when it is read, and a message that breaks a rule
// throws ProtocolError, which drops the connection.

import { NAME_MAX } from '../../sentry/abi/limits.ts';
import { assert } from '../../sentry/base/assert.ts';
import { ProtocolError } from '../../sentry/base/errors.ts';
import { getI64, getU64, put64 } from '../../sentry/base/int64.ts';

/** Appends fields to a message. Too long a message is our own bug: callers check what they put in before. */
export class Writer {
  readonly u8: Uint8Array;
  readonly view: DataView;
  /** Where the next field goes: bytes of the message so far. */
  at = 0;

  constructor(size: number) {
    this.u8 = new Uint8Array(size);
    this.view = new DataView(this.u8.buffer);
  }

  get room(): number {
    return this.u8.length - this.at;
  }

  /** Reserves n bytes; where they begin. */
  skip(n: number): number {
    const at = this.at;
    assert(n <= this.u8.length - at, 'gofer message too long');
    this.at = at + n;
    return at;
  }

  byte(value: number): void {
    this.u8[this.skip(1)] = value;
  }

  u32(value: number): void {
    this.view.setUint32(this.skip(4), value, true);
  }

  i32(value: number): void {
    this.view.setInt32(this.skip(4), value, true);
  }

  /** A whole number below 2^53 in size. */
  i64(value: number): void {
    put64(this.view, this.skip(8), value);
  }

  /** A latin1 string with its length in front. */
  text(value: string): void {
    this.u32(value.length);
    const at = this.skip(value.length);
    for (let i = 0; i < value.length; i++) this.u8[at + i] = value.charCodeAt(i);
  }

  /** n bytes of `source` with their count in front. */
  bytes(source: Uint8Array, n: number): void {
    this.u32(n);
    const at = this.skip(n);
    this.u8.set(n === source.length ? source : source.subarray(0, n), at);
  }
}

/** Takes fields off a received message, which lies in memory that the sender cannot change any more. */
export class Reader {
  readonly u8: Uint8Array;
  readonly view: DataView;
  at = 0;
  /** Bytes of the message. */
  end = 0;

  constructor(size: number) {
    this.u8 = new Uint8Array(size);
    this.view = new DataView(this.u8.buffer);
  }

  /** Begins with a message of n bytes, which the caller has put into u8. */
  reset(n: number): void {
    if (n < 0 || n > this.u8.length) throw new ProtocolError(`a message of ${n} bytes`);
    this.at = 0;
    this.end = n;
  }

  /** The next n bytes; where they begin. */
  skip(n: number): number {
    const at = this.at;
    if (n > this.end - at) throw new ProtocolError(`${n} bytes wanted, ${this.end - at} left`);
    this.at = at + n;
    return at;
  }

  byte(): number {
    return this.u8[this.skip(1)];
  }

  u32(): number {
    return this.view.getUint32(this.skip(4), true);
  }

  i32(): number {
    return this.view.getInt32(this.skip(4), true);
  }

  /** A signed whole number below 2^53 in size. */
  i64(): number {
    const value = getI64(this.view, this.skip(8));
    if (!Number.isSafeInteger(value)) throw new ProtocolError('a number beyond 2^53');
    return value;
  }

  u64(): number {
    const value = getU64(this.view, this.skip(8));
    if (!Number.isSafeInteger(value)) throw new ProtocolError('a number beyond 2^53');
    return value;
  }

  /** A count of things of which each takes at least `size` bytes more. */
  count(max: number, size: number): number {
    const n = this.u32();
    if (n > max || n * size > this.end - this.at) throw new ProtocolError(`a count of ${n}`);
    return n;
  }

  /** A latin1 string of at most `max` bytes without NUL. */
  text(max: number): string {
    const n = this.count(max, 1);
    const from = this.skip(n);
    let text = '';
    for (let i = from; i < from + n; i++) {
      const c = this.u8[i];
      if (c === 0) throw new ProtocolError('a NUL in a string');
      text += String.fromCharCode(c);
    }
    return text;
  }

  /** The name of a directory entry: what could lead elsewhere is refused here, once for all messages. */
  name(): string {
    const name = this.text(NAME_MAX);
    if (name === '' || name === '.' || name === '..' || name.includes('/')) throw new ProtocolError('a name that is none');
    return name;
  }

  /** Skips counted bytes of at most `max`; where they begin, with their count in `lastLength`. */
  bytes(max: number): number {
    this.lastLength = this.count(max, 1);
    return this.skip(this.lastLength);
  }

  /** Bytes that the last bytes() skipped. */
  lastLength = 0;

  /** A message has nothing behind its last field. */
  done(): void {
    if (this.at !== this.end) throw new ProtocolError(`${this.end - this.at} bytes too many`);
  }
}
