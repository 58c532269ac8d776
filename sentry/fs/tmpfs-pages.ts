// The contents of a tmpfs file, in chunks of 64 KiB and counted in pages of 4 KiB:
//
//   chunks[i]  bytes [i*64K, (i+1)*64K); undefined: a hole; shorter: the rest is a hole
//   masks[i]   bit n: page n of the chunk is allocated (counted against the file system's size)
//
// Bytes of a chunk that belong to no allocated page are zero. The first chunk starts small and
// doubles, so that small files take little.

import { ENOSPC } from '../abi/errno.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';

export const CHUNK = 65536;
const PAGE = 4096;
const PAGES_PER_CHUNK = CHUNK / PAGE;
const SMALLEST = 256;

/** Gives out the file system's pages. */
export interface PageBudget {
  /** Takes n pages: false when that many are not left. */
  charge(n: number): boolean;
  uncharge(n: number): void;
}

export class TmpfsPages {
  private readonly budget: PageBudget;
  private chunks: (Uint8Array | undefined)[] = [];
  private masks: number[] = [];
  /** Allocated pages. */
  count = 0;

  constructor(budget: PageBudget) {
    this.budget = budget;
  }

  /** Moves [offset, offset + n) to io, holes as zeros: bytes or -EFAULT. */
  read(io: IoBuffer, offset: number, n: number): number {
    let done = 0;
    while (done < n) {
      const i = Math.floor((offset + done) / CHUNK);
      const at = offset + done - i * CHUNK;
      let want = Math.min(n - done, CHUNK - at);
      const chunk = this.chunks[i];
      let got: number;
      if (chunk === undefined || at >= chunk.length) got = io.putZeros(want);
      else {
        want = Math.min(want, chunk.length - at);
        got = io.put(chunk, at, want);
      }
      if (got < 0) return done === 0 ? got : done;
      done += got;
      if (got < want) break;
    }
    return done;
  }

  /** Takes n bytes from io for [offset, offset + n): bytes, -EFAULT, or -ENOSPC if not even one fits. */
  write(io: IoBuffer, offset: number, n: number): number {
    let done = 0;
    while (done < n) {
      const i = Math.floor((offset + done) / CHUNK);
      const at = offset + done - i * CHUNK;
      let want = Math.min(n - done, CHUNK - at);
      const fresh = pageMask(at, want) & ~(this.masks[i] ?? 0);
      let charged = 0;
      if (fresh !== 0) {
        charged = popcount(fresh);
        if (!this.budget.charge(charged)) {
          want = this.fitting(i, at, want);
          if (want === 0) return done === 0 ? -ENOSPC : done;
          charged = popcount(pageMask(at, want) & ~(this.masks[i] ?? 0));
        }
      }
      const chunk = this.chunkFor(i, at + want);
      const got = io.take(chunk, at, want);
      if (charged !== 0) this.settle(i, at, got, charged);
      if (got < 0) return done === 0 ? got : done;
      done += got;
      if (got < want) break;
    }
    return done;
  }

  /** After a refused charge: how much of the range fits page by page; those pages are charged. */
  private fitting(i: number, at: number, want: number): number {
    const end = at + want;
    let to = at;
    while (to < end) {
      const page = Math.floor(to / PAGE);
      const allocated = ((this.masks[i] ?? 0) & (1 << page)) !== 0;
      if (!allocated && !this.budget.charge(1)) break;
      to = Math.min(end, (page + 1) * PAGE);
    }
    return to - at;
  }

  /** Marks the pages that `got` bytes have reached, and gives back what was charged beyond. */
  private settle(i: number, at: number, got: number, charged: number): void {
    const used = got <= 0 ? 0 : pageMask(at, got) & ~this.masks[i]!;
    const n = popcount(used);
    this.masks[i] = this.masks[i]! | used;
    this.count += n;
    if (n < charged) this.budget.uncharge(charged - n);
  }

  /** The chunk, made or grown to hold at least `size` bytes. */
  private chunkFor(i: number, size: number): Uint8Array {
    let chunk = this.chunks[i];
    if (chunk !== undefined && chunk.length >= size) return chunk;
    while (this.chunks.length <= i) {
      this.chunks.push(undefined);
      this.masks.push(0);
    }
    let capacity = CHUNK;
    if (i === 0) {
      capacity = SMALLEST;
      while (capacity < size) capacity *= 2;
    }
    const grown = new Uint8Array(capacity);
    if (chunk !== undefined) grown.set(chunk);
    chunk = grown;
    this.chunks[i] = chunk;
    return chunk;
  }

  /** Allocates every page of [offset, offset + n), as zeros where it was a hole; false when they do not fit, and then none. */
  allocate(offset: number, n: number): boolean {
    const first = Math.floor(offset / CHUNK);
    const last = Math.floor((offset + n - 1) / CHUNK);
    let missing = 0;
    for (let i = first; i <= last; i++) missing += popcount(this.rangeMask(i, offset, n) & ~(this.masks[i] ?? 0));
    if (missing > 0 && !this.budget.charge(missing)) return false;
    for (let i = first; i <= last; i++) {
      this.chunkFor(i, 1);
      this.masks[i] = this.masks[i]! | this.rangeMask(i, offset, n);
    }
    this.count += missing;
    return true;
  }

  /** The pages of chunk i that [offset, offset + n) touches. */
  private rangeMask(i: number, offset: number, n: number): number {
    const from = Math.max(0, offset - i * CHUNK);
    const to = Math.min(CHUNK, offset + n - i * CHUNK);
    return to <= from ? 0 : pageMask(from, to - from);
  }

  /** Zeroes [offset, offset + n), and frees the pages that lie in it entirely. */
  punch(offset: number, n: number): void {
    const end = Math.min(offset + n, this.chunks.length * CHUNK);
    for (let pos = offset; pos < end; ) {
      const i = Math.floor(pos / CHUNK);
      const from = pos - i * CHUNK;
      const to = Math.min(CHUNK, end - i * CHUNK);
      pos = i * CHUNK + to;
      const chunk = this.chunks[i];
      if (chunk === undefined) continue;
      chunk.fill(0, Math.min(from, chunk.length), Math.min(to, chunk.length));
      const firstWhole = Math.ceil(from / PAGE) * PAGE;
      const endWhole = Math.floor(to / PAGE) * PAGE;
      if (endWhole <= firstWhole) continue;
      const gone = pageMask(firstWhole, endWhole - firstWhole) & this.masks[i]!;
      this.free(i, gone);
    }
  }

  private free(i: number, gone: number): void {
    const n = popcount(gone);
    this.masks[i] = this.masks[i]! & ~gone;
    this.count -= n;
    this.budget.uncharge(n);
    if (this.masks[i] === 0) this.chunks[i] = undefined;
  }

  /** Drops what lies at and beyond `size`. */
  truncate(size: number): void {
    const end = this.chunks.length * CHUNK;
    if (size >= end) return;
    // The rest of the last page goes to zero, so that growing again shows none of it.
    this.punch(size, end - size);
    const keep = Math.ceil(size / CHUNK);
    this.chunks.length = keep;
    this.masks.length = keep;
  }

  /** The first allocated byte at or after `offset`, or -1: SEEK_DATA. */
  nextData(offset: number): number {
    for (let page = Math.floor(offset / PAGE); ; page++) {
      const i = Math.floor(page / PAGES_PER_CHUNK);
      if (i >= this.chunks.length) return -1;
      const mask = this.masks[i]! >> (page % PAGES_PER_CHUNK);
      if (mask === 0) page = (i + 1) * PAGES_PER_CHUNK - 1;
      else if ((mask & 1) !== 0) return Math.max(offset, page * PAGE);
    }
  }

  /** The first byte of a hole at or after `offset`: SEEK_HOLE. */
  nextHole(offset: number): number {
    for (let page = Math.floor(offset / PAGE); ; page++) {
      const i = Math.floor(page / PAGES_PER_CHUNK);
      if (i >= this.chunks.length || (this.masks[i]! & (1 << (page % PAGES_PER_CHUNK))) === 0) return Math.max(offset, page * PAGE);
    }
  }

  /** Calls `put` for each stretch of allocated pages: n bytes at `at` of `bytes`, which stand at `offset` of the file. Stops at a negative answer, which it returns. */
  visit(put: (bytes: Uint8Array, at: number, n: number, offset: number) => number): number {
    for (let i = 0; i < this.chunks.length; i++) {
      const chunk = this.chunks[i];
      if (chunk === undefined) continue;
      for (let page = 0; page < PAGES_PER_CHUNK; page++) {
        const first = page;
        while ((this.masks[i]! & (1 << page)) !== 0) page++;
        const at = first * PAGE;
        const n = Math.min(page * PAGE, chunk.length) - at;
        if (n <= 0) continue;
        const error = put(chunk, at, n, i * CHUNK + at);
        if (error < 0) return error;
      }
    }
    return 0;
  }

  /** Forgets the bytes but keeps the count: they live in a memfd from now on. */
  dropBytes(): void {
    for (let i = 0; i < this.chunks.length; i++) this.chunks[i] = undefined;
  }

  /** Counts the pages of a write that went to the memfd: false when they do not fit. */
  account(offset: number, n: number): boolean {
    const first = Math.floor(offset / CHUNK);
    const last = Math.floor((offset + n - 1) / CHUNK);
    for (let i = first; i <= last; i++) {
      while (this.chunks.length <= i) {
        this.chunks.push(undefined);
        this.masks.push(0);
      }
      const fresh = this.rangeMask(i, offset, n) & ~this.masks[i]!;
      if (fresh === 0) continue;
      const pages = popcount(fresh);
      if (!this.budget.charge(pages)) return false;
      this.masks[i] = this.masks[i]! | fresh;
      this.count += pages;
    }
    return true;
  }

  /** The twin of punch for a memfd: only the count changes. */
  unaccount(offset: number, n: number): void {
    const end = Math.min(offset + n, this.chunks.length * CHUNK);
    for (let i = Math.floor(offset / CHUNK); i * CHUNK < end; i++) {
      const from = Math.ceil(Math.max(0, offset - i * CHUNK) / PAGE) * PAGE;
      const to = Math.floor(Math.min(CHUNK, end - i * CHUNK) / PAGE) * PAGE;
      if (to > from) this.free(i, pageMask(from, to - from) & this.masks[i]!);
    }
  }
}

/** Bits of the pages that [at, at + n) of a chunk touches; n > 0. */
function pageMask(at: number, n: number): number {
  const first = at >> 12;
  const last = (at + n - 1) >> 12;
  return ((2 << last) - 1) & ~((1 << first) - 1);
}

function popcount(mask: number): number {
  let n = 0;
  for (let m = mask; m !== 0; m &= m - 1) n++;
  return n;
}
