// Where the bytes of tmpfs files lie: blocks of a few sizes, cut from slabs of 1 MiB. A file of its own array would cost
// an allocation and a share of each garbage collection; 20,000 small files are a few dozen slabs. A slab whose blocks are
// all free is dropped, except for one of each size.

const SLAB = 2 ** 20;
const SMALLEST_SHIFT = 8;
/** Blocks of 256 bytes to 64 KiB. */
const CLASSES = 9;

/** A slab of blocks of one size; linked with others of the size that have a free block. */
export class Slab {
  readonly bytes: Uint8Array = new Uint8Array(SLAB);
  /** Of the block sizes. */
  readonly sizeClass: number;
  /** Blocks given out. */
  used = 0;
  /** Bytes from here on have never been given out, and are zero. */
  fresh = 0;
  readonly free: number[] = [];
  next: Slab | null = null;
  previous: Slab | null = null;

  constructor(sizeClass: number) {
    this.sizeClass = sizeClass;
  }
}

/** A block; the one that is asked for again and again is the caller's own. */
export class Block {
  slab: Slab | null = null;
  /** Where it begins in the slab's bytes, and its size. */
  at = 0;
  size = 0;
}

/** Slabs with a free block, by size; the first is taken from. */
const withRoom: (Slab | null)[] = new Array(CLASSES).fill(null);

function classOf(size: number): number {
  return Math.max(0, 32 - Math.clz32(size - 1) - SMALLEST_SHIFT);
}

/** Gives `block`, which may be none so far, room for at least `size` bytes (at most 64 KiB): its bytes are kept, the rest is zero. */
export function growBlock(block: Block, size: number): void {
  const sizeClass = classOf(size);
  const blockSize = 1 << (sizeClass + SMALLEST_SHIFT);
  let slab = withRoom[sizeClass]!;
  if (slab === null) {
    slab = new Slab(sizeClass);
    link(slab);
  }
  const old = block.slab;
  const oldSize = block.size;
  const oldAt = block.at;
  const recycled = slab.free.pop();
  const at = recycled ?? slab.fresh;
  if (recycled === undefined) slab.fresh += blockSize;
  slab.used++;
  if (slab.free.length === 0 && slab.fresh === SLAB) unlink(slab);
  if (old !== null) slab.bytes.set(old.bytes.subarray(oldAt, oldAt + oldSize), at);
  if (recycled !== undefined) slab.bytes.fill(0, at + (old === null ? 0 : oldSize), at + blockSize);
  if (old !== null) giveBack(old, oldAt);
  block.slab = slab;
  block.at = at;
  block.size = blockSize;
}

/** The block is none from now on. */
export function freeBlock(block: Block): void {
  const { slab } = block;
  if (slab === null) return;
  giveBack(slab, block.at);
  block.slab = null;
  block.at = 0;
  block.size = 0;
}

function giveBack(slab: Slab, at: number): void {
  const wasFull = slab.free.length === 0 && slab.fresh === SLAB;
  slab.free.push(at);
  slab.used--;
  if (wasFull) link(slab);
  // The last one stays, so that a file made and removed in turn does not make a slab each time.
  else if (slab.used === 0 && (slab.next !== null || slab.previous !== null)) unlink(slab);
}

function link(slab: Slab): void {
  const first = withRoom[slab.sizeClass]!;
  slab.next = first;
  slab.previous = null;
  if (first !== null) first.previous = slab;
  withRoom[slab.sizeClass] = slab;
}

function unlink(slab: Slab): void {
  if (slab.previous === null) withRoom[slab.sizeClass] = slab.next;
  else slab.previous.next = slab.next;
  if (slab.next !== null) slab.next.previous = slab.previous;
  slab.next = null;
  slab.previous = null;
}
