// Where in an image the contents of a file are: fs/erofs/data.c. Compressed ones are in clusters.ts.

import { EIO, EOPNOTSUPP, EUCLEAN } from '../../abi/errno.ts';
import { ClusterReader } from './clusters.ts';
import type { Image } from './image.ts';
import { CHUNK_BASED, COMPRESSED_COMPACT, COMPRESSED_FULL, FLAT_INLINE, FLAT_PLAIN, type InodeRecord } from './inode-record.ts';

const CHUNK_BITS = 0x1f;
const CHUNK_INDEXES = 0x20;
const NULL_BLOCK = 0xffffffff;

/** The contents of one file. */
export interface Contents {
  /** Fills into[at, at + n) from `offset` on, all of it within the file: 0 or -errno. */
  read(into: Uint8Array, at: number, n: number, offset: number): number;
}

/** `packed` is asked for the contents of the inode that holds the tails of others. */
export function contentsOf(image: Image, record: InodeRecord, packed: () => Contents | number): Contents | number {
  switch (record.dataLayout) {
    case FLAT_PLAIN:
    case FLAT_INLINE:
      return new FlatContents(image, record);
    case CHUNK_BASED:
      // What remains of the word is for sizes and devices that are not known here.
      return (record.extra & 0xffff & ~(CHUNK_BITS | CHUNK_INDEXES)) !== 0 ? -EOPNOTSUPP : new ChunkedContents(image, record);
    case COMPRESSED_FULL:
    case COMPRESSED_COMPACT:
      return ClusterReader.open(image, record, packed);
    default:
      return -EOPNOTSUPP;
  }
}

/** One run of blocks; of FLAT_INLINE files the end, less than a block, lies behind the inode. */
class FlatContents implements Contents {
  private readonly image: Image;
  private readonly record: InodeRecord;
  /** Where the inline part begins in the file. */
  private readonly inlineFrom: number;

  constructor(image: Image, record: InodeRecord) {
    this.image = image;
    this.record = record;
    const lastBlock = Math.max(0, Math.ceil(record.size / image.blockSize) - 1);
    this.inlineFrom = record.dataLayout === FLAT_INLINE ? lastBlock * image.blockSize : Number.POSITIVE_INFINITY;
  }

  read(into: Uint8Array, at: number, n: number, offset: number): number {
    const { image, record } = this;
    const plain = Math.max(0, Math.min(n, this.inlineFrom - offset));
    if (plain > 0) {
      const error = image.read(into, at, plain, record.extra * image.blockSize + offset);
      if (error < 0) return error;
    }
    if (plain === n) return 0;
    const tail = record.offset + record.inodeSize + record.xattrSize;
    // "inline data cross block boundary": erofs_map_blocks().
    if ((tail % image.blockSize) + (record.size - this.inlineFrom) > image.blockSize) return -EUCLEAN;
    const bytes = image.meta(tail + offset + plain - this.inlineFrom, n - plain);
    if (typeof bytes === 'number') return bytes;
    into.set(bytes, at + plain);
    return 0;
  }
}

/** Chunks of equal size with an index of where they are; some are holes. */
class ChunkedContents implements Contents {
  private readonly image: Image;
  private readonly chunkSize: number;
  private readonly unit: number;
  private readonly index: number;

  constructor(image: Image, record: InodeRecord) {
    this.image = image;
    this.chunkSize = 2 ** (image.blockBits + (record.extra & CHUNK_BITS));
    this.unit = (record.extra & CHUNK_INDEXES) !== 0 ? 8 : 4;
    this.index = Math.ceil((record.offset + record.inodeSize + record.xattrSize) / this.unit) * this.unit;
  }

  read(into: Uint8Array, at: number, n: number, offset: number): number {
    for (let done = 0; done < n; ) {
      const chunk = Math.floor((offset + done) / this.chunkSize);
      const within = offset + done - chunk * this.chunkSize;
      const part = Math.min(n - done, this.chunkSize - within);
      const entry = this.image.meta(this.index + chunk * this.unit, this.unit);
      if (typeof entry === 'number') return entry;
      const v = new DataView(entry.buffer);
      if (this.unit === 8 && v.getUint16(2, true) !== 0) return -EIO;
      const block = v.getUint32(this.unit - 4, true);
      if (block === NULL_BLOCK) into.fill(0, at + done, at + done + part);
      else {
        const error = this.image.read(into, at + done, part, block * this.image.blockSize + within);
        if (error < 0) return error;
      }
      done += part;
    }
    return 0;
  }
}
