// The contents of a tmpfs file, in chunks of 64 KiB and counted in pages of 4 KiB. A chunk knows
// which of its pages are allocated (counted against the file system's size); bytes that belong to no
// allocated page are zero, and a chunk's block (tmpfs-slabs.ts) may be shorter than the chunk: the
// rest is a hole. The first chunk starts small and doubles, so that small files take little.
//
// Chunks of the first GiB are in an array, those beyond in a map: a byte written at 2^50 must cost a
// page and not a table.

import { ENOSPC } from '../abi/errno.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { Block, freeBlock, growBlock } from './tmpfs-slabs.ts';

export const CHUNK = 65536;
const PAGE = 4096;
const PAGES_PER_CHUNK = CHUNK / PAGE;
/** Chunks with a place in the array. */
const DENSE = 16384;

/** Gives out the file system's pages. */
export interface PageBudget {
  /** Takes n pages: false when that many are not left. */
  charge(n: number): boolean;
  uncharge(n: number): void;
  /** No more pages than this can ever be taken. */
  readonly mostPages: number;
}

class Chunk extends Block {
  /** Bit n: page n is allocated. */
  mask = 0;
}

export class TmpfsPages {
  private readonly budget: PageBudget;
  private dense: (Chunk | undefined)[] = [];
  private sparse: Map<number, Chunk> | null = null;
  /** Allocated pages. */
  count = 0;

  constructor(budget: PageBudget) {
    this.budget = budget;
  }

  private chunk(i: number): Chunk | undefined {
    return i < DENSE ? this.dense[i] : this.sparse?.get(i);
  }

  private makeChunk(i: number): Chunk {
    let chunk = this.chunk(i);
    if (chunk !== undefined) return chunk;
    chunk = new Chunk();
    if (i < DENSE) {
      while (this.dense.length <= i) this.dense.push(undefined);
      this.dense[i] = chunk;
    } else {
      if (this.sparse === null) this.sparse = new Map();
      this.sparse.set(i, chunk);
    }
    return chunk;
  }

  private dropChunk(i: number): void {
    const chunk = this.chunk(i);
    if (chunk !== undefined) freeBlock(chunk);
    if (i < DENSE) this.dense[i] = undefined;
    else this.sparse?.delete(i);
  }

  /** The numbers of existing chunks from `from` on, in order. */
  private numbers(from: number): number[] {
    const list: number[] = [];
    for (let i = from; i < this.dense.length; i++) if (this.dense[i] !== undefined) list.push(i);
    if (this.sparse === null) return list;
    const far = [...this.sparse.keys()].filter((i) => i >= from).sort((a, b) => a - b);
    return list.length === 0 ? far : list.concat(far);
  }

  /** Moves [offset, offset + n) to io, holes as zeros: bytes or -EFAULT. */
  read(io: IoBuffer, offset: number, n: number): number {
    let done = 0;
    while (done < n) {
      const i = Math.floor((offset + done) / CHUNK);
      const at = offset + done - i * CHUNK;
      let want = Math.min(n - done, CHUNK - at);
      const chunk = this.chunk(i);
      let got: number;
      if (chunk === undefined || at >= chunk.size) got = io.putZeros(want);
      else {
        want = Math.min(want, chunk.size - at);
        got = io.put(chunk.slab!.bytes, chunk.at + at, want);
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
      const known = this.chunk(i)?.mask ?? 0;
      const fresh = pageMask(at, want) & ~known;
      let charged = 0;
      if (fresh !== 0) {
        charged = popcount(fresh);
        if (!this.budget.charge(charged)) {
          want = this.fitting(known, at, want);
          if (want === 0) return done === 0 ? -ENOSPC : done;
          charged = popcount(pageMask(at, want) & ~known);
        }
      }
      const chunk = this.makeChunk(i);
      if (chunk.size < at + want) growBlock(chunk, i === 0 ? at + want : CHUNK);
      const got = io.take(chunk.slab!.bytes, chunk.at + at, want);
      if (charged !== 0) this.settle(chunk, at, got, charged);
      if (got < 0) return done === 0 ? got : done;
      done += got;
      if (got < want) break;
    }
    return done;
  }

  /** After a refused charge: how much of the range fits page by page; those pages are charged. */
  private fitting(known: number, at: number, want: number): number {
    const end = at + want;
    let to = at;
    while (to < end) {
      const page = to >> 12;
      if ((known & (1 << page)) === 0 && !this.budget.charge(1)) break;
      to = Math.min(end, (page + 1) * PAGE);
    }
    return to - at;
  }

  /** Marks the pages that `got` bytes have reached, and gives back what was charged beyond. */
  private settle(chunk: Chunk, at: number, got: number, charged: number): void {
    const used = got <= 0 ? 0 : pageMask(at, got) & ~chunk.mask;
    const n = popcount(used);
    chunk.mask |= used;
    this.count += n;
    if (n < charged) this.budget.uncharge(charged - n);
  }

  /** Allocates every page of [offset, offset + n), as zeros where it was a hole; false when they do not fit, and then none. */
  allocate(offset: number, n: number): boolean {
    if (n / PAGE > this.budget.mostPages + 1) return false;
    const first = Math.floor(offset / CHUNK);
    const last = Math.floor((offset + n - 1) / CHUNK);
    let missing = 0;
    for (let i = first; i <= last; i++) missing += popcount(rangeMask(i, offset, n) & ~(this.chunk(i)?.mask ?? 0));
    if (missing > 0 && !this.budget.charge(missing)) return false;
    for (let i = first; i <= last; i++) this.makeChunk(i).mask |= rangeMask(i, offset, n);
    this.count += missing;
    return true;
  }

  /** Zeroes [offset, offset + n), and frees the pages that lie in it entirely. */
  punch(offset: number, n: number): void {
    for (const i of this.numbers(Math.floor(offset / CHUNK))) {
      if (i * CHUNK >= offset + n) break;
      const chunk = this.chunk(i)!;
      const from = Math.max(0, offset - i * CHUNK);
      const to = Math.min(CHUNK, offset + n - i * CHUNK);
      // What goes entirely need not be zeroed first.
      const goes = (chunk.mask & ~wholePages(from, to)) === 0;
      if (!goes && from < chunk.size) chunk.slab!.bytes.fill(0, chunk.at + from, chunk.at + Math.min(to, chunk.size));
      this.freeWhole(i, chunk, from, to);
    }
  }

  /** Frees the pages that lie in [from, to) of a chunk entirely. */
  private freeWhole(i: number, chunk: Chunk, from: number, to: number): void {
    const pages = wholePages(from, to);
    if (pages === 0) return;
    const gone = pages & chunk.mask;
    const n = popcount(gone);
    chunk.mask &= ~gone;
    this.count -= n;
    this.budget.uncharge(n);
    if (chunk.mask === 0) this.dropChunk(i);
  }

  /** Drops what lies at and beyond `size`; the rest of the last page goes to zero, so that growing again shows none of it. */
  truncate(size: number): void {
    this.punch(size, Number.MAX_SAFE_INTEGER - size);
    const keep = Math.ceil(size / CHUNK);
    if (keep < this.dense.length) this.dense.length = keep;
  }

  /** The first allocated byte at or after `offset`, or -1: SEEK_DATA. */
  nextData(offset: number): number {
    for (const i of this.numbers(Math.floor(offset / CHUNK))) {
      const first = Math.max(0, Math.floor((offset - i * CHUNK) / PAGE));
      for (let page = first; page < PAGES_PER_CHUNK; page++) {
        if ((this.chunk(i)!.mask & (1 << page)) !== 0) return Math.max(offset, i * CHUNK + page * PAGE);
      }
    }
    return -1;
  }

  /** The first byte of a hole at or after `offset`: SEEK_HOLE. */
  nextHole(offset: number): number {
    for (let page = Math.floor(offset / PAGE); ; page++) {
      const mask = this.chunk(Math.floor(page / PAGES_PER_CHUNK))?.mask ?? 0;
      if ((mask & (1 << (page % PAGES_PER_CHUNK))) === 0) return Math.max(offset, page * PAGE);
    }
  }

  /**
   * Calls `put` for each stretch of allocated pages: n bytes at `at` of `bytes`, which stand at
   * `offset` of the file. Stops at a negative answer, which it returns.
   */
  visit(put: (bytes: Uint8Array, at: number, n: number, offset: number) => number): number {
    for (const i of this.numbers(0)) {
      const { slab, at: base, size, mask } = this.chunk(i)!;
      for (let page = 0; page < PAGES_PER_CHUNK; page++) {
        const at = page * PAGE;
        while ((mask & (1 << page)) !== 0) page++;
        const n = Math.min(page * PAGE, size) - at;
        if (n <= 0) continue;
        const error = put(slab!.bytes, base + at, n, i * CHUNK + at);
        if (error < 0) return error;
      }
    }
    return 0;
  }

  // ---- once the bytes live in a memfd

  /** Forgets the bytes but keeps the count. */
  dropBytes(): void {
    for (const i of this.numbers(0)) freeBlock(this.chunk(i)!);
  }

  /** Counts the pages of [offset, offset + n) as allocated: false when they do not fit. */
  account(offset: number, n: number): boolean {
    return this.allocate(offset, n);
  }

  /** The twin of punch: only the count changes. */
  unaccount(offset: number, n: number): void {
    for (const i of this.numbers(Math.floor(offset / CHUNK))) {
      if (i * CHUNK >= offset + n) break;
      this.freeWhole(i, this.chunk(i)!, Math.max(0, offset - i * CHUNK), Math.min(CHUNK, offset + n - i * CHUNK));
    }
  }
}

/** Bits of the pages that lie in [from, to) of a chunk entirely. */
function wholePages(from: number, to: number): number {
  const start = Math.ceil(from / PAGE) * PAGE;
  const end = Math.floor(to / PAGE) * PAGE;
  return end <= start ? 0 : pageMask(start, end - start);
}

/** The pages of chunk i that [offset, offset + n) touches. */
function rangeMask(i: number, offset: number, n: number): number {
  const from = Math.max(0, offset - i * CHUNK);
  const to = Math.min(CHUNK, offset + n - i * CHUNK);
  return to <= from ? 0 : pageMask(from, to - from);
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
