// The six argument words of one system call, copied out of shared memory once, on entry. A
// handler that blocks finds the same words when it resumes.

const TWO32 = 4294967296;

export class SyscallArgs {
  /** Twelve words: low and high half of each argument. */
  readonly words = new Int32Array(12);

  /** The low word as a signed int: `int` and `unsigned` flags alike. */
  int(n: number): number {
    return this.words[n * 2]!;
  }

  /** The low word, unsigned. */
  uint(n: number): number {
    return this.words[n * 2]! >>> 0;
  }

  /**
   * All 64 bits, unsigned: an address or a size. Exact below 2^53, which covers every canonical user address. A small one is
   * a small integer, which the sum is only in code of V8's best compiler.
   */
  addr(n: number): number {
    const lo = this.words[n * 2]!;
    const hi = this.words[n * 2 + 1]!;
    return hi === 0 && lo >= 0 ? lo : (lo >>> 0) + (hi >>> 0) * TWO32;
  }

  /** All 64 bits, signed: an offset or a `long`. */
  long(n: number): number {
    const lo = this.words[n * 2]!;
    const hi = this.words[n * 2 + 1]!;
    return hi === 0 && lo >= 0 ? lo : (lo >>> 0) + hi * TWO32;
  }

  /** The raw low and high words: bit sets. */
  lo(n: number): number {
    return this.words[n * 2]!;
  }

  hi(n: number): number {
    return this.words[n * 2 + 1]!;
  }

  /** Sets an argument, for restarts with changed ones and for tests. */
  set(n: number, value: number): void {
    this.words[n * 2] = (value % TWO32) | 0;
    this.words[n * 2 + 1] = Math.floor(value / TWO32) | 0;
  }
}
