// Compressed files: fs/erofs/zmap.c, decompressor.c.
//
// A file is cut into logical clusters of equal size. An index tells of each whether a compressed stretch ("extent")
// begins in it, and where: HEAD with LZ4 data, PLAIN with data as they are, NONHEAD when none does. The index is read as
// a whole when the file is first read; it lies in the image, so that is no more than the image is long.

import { EIO, EOPNOTSUPP, EUCLEAN } from '../../abi/errno.ts';
import type { Contents } from './contents.ts';
import { type Image, INCOMPAT_BIG_CLUSTER, INCOMPAT_FRAGMENTS, INCOMPAT_TAIL_PACKING, INCOMPAT_ZERO_PADDING } from './image.ts';
import { COMPRESSED_COMPACT, type InodeRecord } from './inode-record.ts';
import { decompressLz4 } from './lz4.ts';

// z_erofs_map_header.h_advise.
const ADVISE_COMPACTED_2B = 1;
const ADVISE_BIG_CLUSTER_1 = 2;
const ADVISE_BIG_CLUSTER_2 = 4;
const ADVISE_INLINE = 8;
const ADVISE_INTERLACED = 0x10;
const ADVISE_FRAGMENT = 0x20;

// 1 and 3 are heads, of the first and of the second algorithm, which are both LZ4.
const PLAIN = 0;
const NONHEAD = 2;
/** In the first NONHEAD's distance: it is the number of compressed blocks. Z_EROFS_LI_D0_CBLKCNT. */
const IS_BLOCK_COUNT = 1 << 11;

/** Z_EROFS_PCLUSTER_MAX_SIZE and Z_EROFS_PCLUSTER_MAX_DSIZE. */
const MAX_COMPRESSED = 1024 * 1024;
const MAX_DECOMPRESSED = 12 * 1024 * 1024;
const HEADER_SIZE = 8;

/** One entry of the index. */
interface Cluster {
  type: number;
  /** Where in the cluster the extent begins; of NONHEAD nothing. */
  within: number;
  block: number;
  /** Of NONHEAD: how many blocks the extent before it has, or 0. */
  blocks: number;
}

interface Extent {
  start: number;
  isPlain: boolean;
  block: number;
  blocks: number;
}

export class ClusterReader implements Contents {
  private readonly image: Image;
  private readonly record: InodeRecord;
  private readonly packed: () => Contents | number;
  private advise = 0;
  private clusterBits = 12;
  /** In the packed inode: where the file, or its last extent, lies; -1 for none. */
  private fragmentOffset = -1;
  private wholeIsFragment = false;
  /** Bytes of the last extent that lie behind the index, and where; 0 for none. */
  private inlineSize = 0;
  private inlineOffset = 0;
  private extents: Extent[] | null = null;
  /** The extent decompressed last. */
  private last = -1;
  private lastBytes: Uint8Array = new Uint8Array(0);

  private constructor(image: Image, record: InodeRecord, packed: () => Contents | number) {
    this.image = image;
    this.record = record;
    this.packed = packed;
  }

  static open(image: Image, record: InodeRecord, packed: () => Contents | number): ClusterReader | number {
    const reader = new ClusterReader(image, record, packed);
    const error = reader.readHeader();
    return error < 0 ? error : reader;
  }

  private get headerOffset(): number {
    return Math.ceil((this.record.offset + this.record.inodeSize + this.record.xattrSize) / 8) * 8;
  }

  private get isCompact(): boolean {
    return this.record.dataLayout === COMPRESSED_COMPACT;
  }

  /** z_erofs_fill_inode_lazy(). */
  private readHeader(): number {
    const { image } = this;
    this.clusterBits = image.blockBits;
    const features = image.featureIncompat;
    if (!this.isCompact && (features & (INCOMPAT_BIG_CLUSTER | INCOMPAT_TAIL_PACKING | INCOMPAT_FRAGMENTS)) === 0) return 0;
    const header = image.meta(this.headerOffset, HEADER_SIZE);
    if (typeof header === 'number') return header;
    const v = new DataView(header.buffer);
    if (header[7]! >> 7 !== 0) {
      if ((features & INCOMPAT_FRAGMENTS) === 0) return -EUCLEAN;
      this.wholeIsFragment = true;
      this.fragmentOffset = v.getUint32(0, true) + (v.getUint32(4, true) & 0x7fffffff) * 2 ** 32;
      return 0;
    }
    this.advise = v.getUint16(4, true);
    const bigs = this.advise & (ADVISE_BIG_CLUSTER_1 | ADVISE_BIG_CLUSTER_2);
    if (bigs !== 0 && (features & INCOMPAT_BIG_CLUSTER) === 0) return -EUCLEAN;
    if (this.isCompact && bigs !== 0 && bigs !== (ADVISE_BIG_CLUSTER_1 | ADVISE_BIG_CLUSTER_2)) return -EUCLEAN;
    // Two algorithms, of which LZ4 is number 0.
    if (header[6] !== 0) return -EOPNOTSUPP;
    this.clusterBits = image.blockBits + (header[7]! & 7);
    if ((this.advise & ADVISE_INLINE) !== 0) {
      if ((features & INCOMPAT_TAIL_PACKING) === 0) return -EUCLEAN;
      this.inlineSize = v.getUint16(2, true);
    }
    if ((this.advise & ADVISE_FRAGMENT) !== 0) {
      if ((features & INCOMPAT_FRAGMENTS) === 0) return -EUCLEAN;
      this.fragmentOffset = v.getUint32(0, true);
    }
    return 0;
  }

  read(into: Uint8Array, at: number, n: number, offset: number): number {
    if (this.wholeIsFragment) return this.readPacked(into, at, n, this.fragmentOffset + offset);
    const extents = this.extents ?? this.readIndex();
    if (typeof extents === 'number') return extents;
    for (let done = 0; done < n; ) {
      const i = extentAt(extents, offset + done);
      if (i < 0) return -EUCLEAN;
      const { start } = extents[i]!;
      const end = i + 1 < extents.length ? extents[i + 1]!.start : this.record.size;
      const part = Math.min(n - done, end - (offset + done));
      const error = this.readExtent(i, end - start, into, at + done, part, offset + done - start);
      if (error < 0) return error;
      done += part;
    }
    return 0;
  }

  private readPacked(into: Uint8Array, at: number, n: number, offset: number): number {
    const packed = this.packed();
    return typeof packed === 'number' ? packed : packed.read(into, at, n, offset);
  }

  private readExtent(i: number, length: number, into: Uint8Array, at: number, n: number, within: number): number {
    const extent = this.extents![i]!;
    const isLast = i + 1 === this.extents!.length;
    if (isLast && this.fragmentOffset >= 0) return this.readPacked(into, at, n, this.fragmentOffset + within);
    if (this.last !== i) {
      if (length > MAX_DECOMPRESSED) return -EUCLEAN;
      const isInline = isLast && this.inlineSize > 0;
      const size = isInline ? this.inlineSize : extent.blocks * this.image.blockSize;
      if (size === 0 || size > MAX_COMPRESSED) return -EUCLEAN;
      const offset = isInline ? this.inlineOffset : extent.block * this.image.blockSize;
      // "invalid tail-packing pclustersize": z_erofs_fill_inode_lazy().
      if (isInline && (offset % this.image.blockSize) + size > this.image.blockSize) return -EUCLEAN;
      if (offset + size > this.image.length) return -EIO;
      const source = new Uint8Array(size);
      const error = this.image.read(source, 0, size, offset);
      if (error < 0) return error;
      const bytes = extent.isPlain ? this.plain(source, extent.start, length) : this.decompress(source, length);
      if (bytes === null) return -EUCLEAN;
      this.last = i;
      this.lastBytes = bytes;
    }
    into.set(this.lastBytes.subarray(within, within + n), at);
    return 0;
  }

  /** z_erofs_transform_plain(): from the start on or, interlaced, where they would be in their own block, and on from its beginning. */
  private plain(source: Uint8Array, start: number, length: number): Uint8Array | null {
    if (length > source.length) return null;
    const turned = (this.advise & ADVISE_INTERLACED) !== 0 ? start % this.image.blockSize : 0;
    const bytes = new Uint8Array(length);
    const first = Math.min(length, source.length - turned);
    bytes.set(source.subarray(turned, turned + first));
    bytes.set(source.subarray(0, length - first), first);
    return bytes;
  }

  private decompress(source: Uint8Array, length: number): Uint8Array | null {
    let from = 0;
    // The zeros that fill the last block are in front: z_erofs_fixup_insize().
    if ((this.image.featureIncompat & INCOMPAT_ZERO_PADDING) !== 0) while (from < source.length && source[from] === 0) from++;
    const bytes = new Uint8Array(length);
    return decompressLz4(source, from, source.length, bytes, length) ? bytes : null;
  }

  // ---- the index

  private readIndex(): Extent[] | number {
    const { record } = this;
    const count = Math.ceil(record.size / 2 ** this.clusterBits);
    const index = this.isCompact ? CompactIndex.open(this.image, this, count) : FullIndex.open(this.image, this, count);
    if (typeof index === 'number') return index;
    const extents: Extent[] = [];
    for (let i = 0; i < count; i++) {
      const cluster = index.at(i);
      if (typeof cluster === 'number') return cluster;
      if (cluster.type === NONHEAD) {
        if (cluster.blocks === 0) continue;
        // Only the cluster behind the head may say it.
        if (extents.length === 0 || Math.floor(extents.at(-1)!.start / 2 ** this.clusterBits) !== i - 1) return -EUCLEAN;
        extents.at(-1)!.blocks = cluster.blocks;
        continue;
      }
      if (cluster.within >= 2 ** this.clusterBits) return -EUCLEAN;
      const start = i * 2 ** this.clusterBits + cluster.within;
      if (start >= record.size) continue;
      const blocks = 2 ** (this.clusterBits - this.image.blockBits);
      extents.push({ start, isPlain: cluster.type === PLAIN, block: cluster.block, blocks });
    }
    this.inlineOffset = index.end;
    // "For non-compact indexes, fragmentoff is 64 bits."
    if (this.fragmentOffset >= 0 && !this.isCompact && extents.length > 0) this.fragmentOffset += extents.at(-1)!.block * 2 ** 32;
    this.extents = extents;
    return extents;
  }

  /** What an index has to know. */
  get shape(): { start: number; clusterBits: number; hasBig: boolean; has2B: boolean } {
    return {
      start: this.headerOffset + HEADER_SIZE,
      clusterBits: this.clusterBits,
      hasBig: (this.advise & ADVISE_BIG_CLUSTER_1) !== 0,
      has2B: (this.advise & ADVISE_COMPACTED_2B) !== 0,
    };
  }
}

/** The last extent that begins at or before `offset`, or -1. */
function extentAt(extents: readonly Extent[], offset: number): number {
  let low = 0;
  let high = extents.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (extents[middle]!.start <= offset) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Reused: an index hands out one entry at a time. */
const found: Cluster = { type: 0, within: 0, block: 0, blocks: 0 };

/** Entries of 8 bytes: struct z_erofs_lcluster_index. */
class FullIndex {
  private readonly v: DataView;
  private readonly hasBig: boolean;
  readonly end: number;

  private constructor(bytes: Uint8Array, hasBig: boolean, end: number) {
    this.v = new DataView(bytes.buffer);
    this.hasBig = hasBig;
    this.end = end;
  }

  static open(image: Image, of: ClusterReader, count: number): FullIndex | number {
    const { start, hasBig } = of.shape;
    // Z_EROFS_FULL_INDEX_START(): 8 reserved bytes behind the header.
    const bytes = image.meta(start + 8, count * 8);
    return typeof bytes === 'number' ? bytes : new FullIndex(bytes, hasBig, start + 8 + count * 8);
  }

  at(i: number): Cluster | number {
    const { v } = this;
    found.type = v.getUint16(i * 8, true) & 3;
    found.blocks = 0;
    if (found.type === NONHEAD) {
      const distance = v.getUint16(i * 8 + 4, true);
      if ((distance & IS_BLOCK_COUNT) !== 0) {
        if (!this.hasBig) return -EUCLEAN;
        found.blocks = distance & ~IS_BLOCK_COUNT;
      }
      return found;
    }
    found.within = v.getUint16(i * 8 + 2, true);
    found.block = v.getUint32(i * 8 + 4, true);
    return found;
  }
}

/**
 * Packs of 2 entries in 8 bytes or 16 in 32, each with the number of one block behind its bit fields, from which those of the
 * pack's extents are counted: z_erofs_load_compact_lcluster(). Packs of 32 bytes lie aligned, with small ones before and behind.
 */
class CompactIndex {
  private readonly bytes: Uint8Array;
  private readonly start: number;
  private readonly clusterBits: number;
  private readonly hasBig: boolean;
  /** Entries in small packs at the beginning, and in large ones behind them. */
  private readonly first4B: number;
  private readonly count2B: number;
  readonly end: number;

  private constructor(bytes: Uint8Array, of: ClusterReader, first4B: number, count2B: number, end: number) {
    const { start, clusterBits, hasBig } = of.shape;
    this.bytes = bytes;
    this.start = start;
    this.clusterBits = clusterBits;
    this.hasBig = hasBig;
    this.first4B = first4B;
    this.count2B = count2B;
    this.end = end;
  }

  static open(image: Image, of: ClusterReader, count: number): CompactIndex | number {
    const { start, clusterBits, has2B } = of.shape;
    if (clusterBits > 14) return -EOPNOTSUPP;
    const before = ((32 - (start % 32)) / 4) & 7;
    const count2B = has2B && before < count ? Math.floor((count - before) / 16) * 16 : 0;
    if (count2B > 0 && clusterBits > 12) return -EOPNOTSUPP;
    const first4B = Math.min(before, count);
    const behind = count - first4B - count2B;
    // The last pack is there as a whole.
    const length = Math.ceil((first4B * 4 + count2B * 2 + behind * 4) / 8) * 8;
    const bytes = image.meta(start, length);
    return typeof bytes === 'number' ? bytes : new CompactIndex(bytes, of, before, count2B, start + length);
  }

  at(lcn: number): Cluster | number {
    let pos = lcn * 4;
    let isLarge = false;
    if (lcn >= this.first4B) {
      const behind = lcn - this.first4B;
      isLarge = behind < this.count2B;
      pos = this.first4B * 4 + (isLarge ? behind * 2 : this.count2B * 2 + (behind - this.count2B) * 4);
    }
    const packSize = isLarge ? 32 : 8;
    const packed = isLarge ? 16 : 2;
    // Packs are aligned in the image, not in the index.
    const base = Math.floor((this.start + pos) / packSize) * packSize - this.start;
    if (base < 0 || base + packSize > this.bytes.length) return -EUCLEAN;
    const i = (pos - base) / (isLarge ? 2 : 4);
    const word = this.field(base, packed, i);
    const bits = Math.max(this.clusterBits, 12);
    const low = word & ((1 << bits) - 1);
    found.type = (word >>> bits) & 3;
    found.blocks = 0;
    if (found.type === NONHEAD) {
      if ((low & IS_BLOCK_COUNT) !== 0) {
        if (!this.hasBig) return -EUCLEAN;
        found.blocks = low & ~IS_BLOCK_COUNT;
      }
      return found;
    }
    found.within = low;
    const before = this.hasBig ? this.blocksBeforeBig(base, packed, i, bits) : this.blocksBefore(base, packed, i, bits);
    if (before < 0) return before;
    const v = new DataView(this.bytes.buffer, this.bytes.byteOffset + base + packSize - 4, 4);
    found.block = v.getUint32(0, true) + before;
    return found;
  }

  /** The bit field of entry i, type and all. */
  private field(base: number, packed: number, i: number): number {
    const width = (((packed === 16 ? 32 : 8) - 4) * 8) / packed;
    const bit = width * i;
    const at = base + (bit >> 3);
    const b = this.bytes;
    const word = (b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16) | (b[at + 3]! << 24)) >>> (bit & 7);
    return word & ((1 << width) - 1);
  }

  private blocksBefore(base: number, packed: number, i: number, bits: number): number {
    let n = 1;
    while (i > 0) {
      i--;
      const word = this.field(base, packed, i);
      if (((word >>> bits) & 3) === NONHEAD) i -= word & ((1 << bits) - 1);
      if (i >= 0) n++;
    }
    return n;
  }

  private blocksBeforeBig(base: number, packed: number, i: number, bits: number): number {
    let n = 0;
    while (i > 0) {
      i--;
      const word = this.field(base, packed, i);
      const low = word & ((1 << bits) - 1);
      if (((word >>> bits) & 3) !== NONHEAD) n++;
      else if ((low & IS_BLOCK_COUNT) !== 0) {
        i--;
        n += low & ~IS_BLOCK_COUNT;
      } else if (low <= 1) return -EUCLEAN;
      else i -= low - 2;
    }
    return n;
  }
}
