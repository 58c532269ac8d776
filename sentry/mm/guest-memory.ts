// Typed reads and writes of guest memory, the only way a handler touches it. Two primitives below
// (read and write of a range, answering how much could be moved) come from the address space, or
// from a plain buffer in unit tests. Results are a value or -EFAULT.

import { EFAULT, ENAMETOOLONG } from '../abi/errno.ts';
import { PATH_MAX } from '../abi/limits.ts';
import { getI64, getU64, put64 } from '../base/int64.ts';
import { knownLatin1 } from '../base/latin1.ts';

export { latin1, putLatin1 } from '../base/latin1.ts';

/**
 * Working space for encoding and decoding structs: valid until the handler returns or calls
 * something that uses it too. One for all, since handlers do not interleave.
 */
export class Scratch {
  readonly u8: Uint8Array;
  readonly view: DataView;

  constructor(size: number) {
    this.u8 = new Uint8Array(size);
    this.view = new DataView(this.u8.buffer);
  }
}

export const SCRATCH_SIZE = 128 * 1024;
/** For handlers. */
export const scratch: Scratch = new Scratch(SCRATCH_SIZE);
/** For this file: strings and single words, so that a handler's scratch survives a load. */
const own = new Scratch(PATH_MAX + 16);

const PAGE = 4096;

export abstract class GuestMemory {
  /** Copies from the guest; returns the bytes moved, fewer than n where readable memory ends. */
  abstract readSome(addr: number, dst: Uint8Array, at: number, n: number): number;

  /** Copies to the guest; returns the bytes moved, fewer than n where writable memory ends. */
  abstract writeSome(addr: number, src: Uint8Array, at: number, n: number): number;

  /** writeSome() that other threads see at once, even while the call that it belongs to goes on. */
  writeNow(addr: number, src: Uint8Array, at: number, n: number): number {
    return this.writeSome(addr, src, at, n);
  }

  /** readSome() that may also end behind a NUL. */
  protected readString(addr: number, dst: Uint8Array, at: number, n: number): number {
    return this.readSome(addr, dst, at, n);
  }

  /** All n bytes, or -EFAULT. */
  copyIn(addr: number, dst: Uint8Array, at: number, n: number): number {
    return n === 0 || this.readSome(addr, dst, at, n) === n ? 0 : -EFAULT;
  }

  /** All n bytes, or -EFAULT (some may have been written). */
  copyOut(addr: number, src: Uint8Array, at: number, n: number): number {
    return n === 0 || this.writeSome(addr, src, at, n) === n ? 0 : -EFAULT;
  }

  /** 0..2^32-1 or -EFAULT. */
  loadU32(addr: number): number {
    return this.readSome(addr, own.u8, 0, 4) === 4 ? own.view.getUint32(0, true) : -EFAULT;
  }

  /** The word as a signed value cannot be told from -EFAULT: check `loadU32` first, then `| 0`. */
  storeU32(addr: number, value: number): number {
    own.view.setUint32(0, value, true);
    return this.writeSome(addr, own.u8, 0, 4) === 4 ? 0 : -EFAULT;
  }

  /** storeU32() for words that other threads look at. */
  storeU32Now(addr: number, value: number): number {
    own.view.setUint32(0, value, true);
    return this.writeNow(addr, own.u8, 0, 4) === 4 ? 0 : -EFAULT;
  }

  /**
   * Stores `value` if the word is `expected`: the word as it was, or -EFAULT. The Sentry does not
   * map guest memory, so a guest thread can slip in between the load and the store: exchangeWord()
   * (kernel/futex-word.ts) has a thread of the guest do it.
   */
  compareExchangeU32(addr: number, expected: number, value: number): number {
    const was = this.loadU32(addr);
    if (was !== expected >>> 0) return was;
    return this.storeU32Now(addr, value) < 0 ? -EFAULT : was;
  }

  /** Unsigned, exact below 2^53; or -EFAULT. */
  loadU64(addr: number): number {
    return this.readSome(addr, own.u8, 0, 8) === 8 ? getU64(own.view, 0) : -EFAULT;
  }

  /** Signed; NaN for a fault, since every integer is a possible value. */
  loadI64(addr: number): number {
    return this.readSome(addr, own.u8, 0, 8) === 8 ? getI64(own.view, 0) : Number.NaN;
  }

  storeU64(addr: number, value: number): number {
    put64(own.view, 0, value);
    return this.writeSome(addr, own.u8, 0, 8) === 8 ? 0 : -EFAULT;
  }

  /** Two words as they are: bit sets. */
  storeWords(addr: number, lo: number, hi: number): number {
    own.view.setInt32(0, lo, true);
    own.view.setInt32(4, hi, true);
    return this.writeSome(addr, own.u8, 0, 8) === 8 ? 0 : -EFAULT;
  }

  /** A path: latin1, or -EFAULT, or -ENAMETOOLONG from PATH_MAX bytes on. Empty paths are returned as ''. */
  copyInPath(addr: number): string | number {
    return this.copyInString(addr, PATH_MAX);
  }

  /** A NUL-terminated string of fewer than `max` bytes (max ≤ PATH_MAX), latin1; -ENAMETOOLONG when no NUL is found in time. */
  copyInString(addr: number, max: number): string | number {
    let have = 0;
    while (have < max) {
      // Never beyond the page: the string may end right before an unmapped one.
      const chunk = Math.min(max - have, PAGE - ((addr + have) % PAGE));
      const got = this.readString(addr + have, own.u8, have, chunk);
      const end = own.u8.indexOf(0, have);
      if (end >= 0 && end < have + got) return knownLatin1(own.u8, end);
      if (got < chunk) return -EFAULT;
      have += chunk;
    }
    return -ENAMETOOLONG;
  }
}
