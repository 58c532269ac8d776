// The bytes of an EROFS image and what its superblock says: fs/erofs/super.c, erofs_fs.h.
//
// Whoever made the image is not trusted. All that is read from it is bounded by the image's own size before anything is
// allocated for it, and what contradicts itself is -EUCLEAN (Linux's EFSCORRUPTED), what lies outside -EIO.

import { EBADMSG, EINVAL, EIO, EOPNOTSUPP } from '../../abi/errno.ts';
import { layout, u8, u16, u32, u64 } from '../../abi/layout.ts';
import { assert } from '../../base/assert.ts';
import { getU64 } from '../../base/int64.ts';
import { BufferIo } from '../../vfs/buffer-io.ts';
import type { FileDescription } from '../../vfs/file-description.ts';

export const EROFS_SUPER_MAGIC = 0xe0f5e1e2;
const SUPER_OFFSET = 1024;

// struct erofs_super_block, fs/erofs/erofs_fs.h.
const SUPER = layout({
  magic: u32,
  checksum: u32,
  featureCompat: u32,
  blockBits: u8,
  extSlots: u8,
  rootNid: u16,
  inodes: u64,
  buildTime: u64,
  buildTimeNsec: u32,
  blocks: u32,
  metaBlock: u32,
  xattrBlock: u32,
  uuid: { size: 16, align: 1 },
  volumeName: { size: 16, align: 1 },
  featureIncompat: u32,
  algorithms: u16,
  extraDevices: u16,
  deviceSlots: u16,
  dirBlockBits: u8,
  xattrPrefixCount: u8,
  xattrPrefixStart: u32,
  packedNid: u64,
  xattrFilterReserved: u8,
  reserved: { size: 23, align: 1 },
});
assert(SUPER.size === 128);

const COMPAT_CHECKSUM = 1;
export const INCOMPAT_ZERO_PADDING = 1;
/** Compression settings and clusters of several blocks. */
export const INCOMPAT_BIG_CLUSTER = 2;
const INCOMPAT_CHUNKED = 4;
const INCOMPAT_DEVICES = 8;
export const INCOMPAT_TAIL_PACKING = 0x10;
export const INCOMPAT_FRAGMENTS = 0x20;
const INCOMPAT_XATTR_PREFIXES = 0x40;
const KNOWN =
  INCOMPAT_ZERO_PADDING |
  INCOMPAT_BIG_CLUSTER |
  INCOMPAT_CHUNKED |
  INCOMPAT_DEVICES |
  INCOMPAT_TAIL_PACKING |
  INCOMPAT_FRAGMENTS |
  INCOMPAT_XATTR_PREFIXES;

const BLOCKS_KEPT = 64;

export class Image {
  readonly file: FileDescription;
  /** Bytes that there are. */
  readonly length: number;
  blockBits = 12;
  rootNid = 0;
  inodes = 0;
  buildTime = 0;
  buildTimeNsec = 0;
  blocks = 0;
  /** Byte offsets of inode number 0 and of the shared attributes. */
  metaOffset = 0;
  xattrOffset = 0;
  featureIncompat = 0;
  packedNid = 0;
  xattrPrefixCount = 0;
  xattrPrefixStart = 0;
  /** Blocks of metadata by number, the least recently used one first. */
  private readonly kept: Map<number, Uint8Array> = new Map();

  private constructor(file: FileDescription, length: number) {
    this.file = file;
    this.length = length;
  }

  /** An image of `length` bytes in a file that is open for reading, or -errno. The file is the image's from then on. */
  static open(file: FileDescription, length: number): Image | number {
    const image = new Image(file, length);
    const error = image.load();
    return error < 0 ? error : image;
  }

  get blockSize(): number {
    return 1 << this.blockBits;
  }

  /** Fills into[at, at + n) from the image: 0, or -EIO outside of it. */
  read(into: Uint8Array, at: number, n: number, offset: number): number {
    if (!(offset >= 0) || offset + n > this.length) return -EIO;
    for (let done = 0; done < n; ) {
      const got = this.file.pread(null, new BufferIo(into).set(at + done, n - done), offset + done);
      if (got < 0) return got;
      // Somebody has made the file shorter.
      if (got === 0) return -EIO;
      done += got;
    }
    return 0;
  }

  /** A block of metadata; not the caller's to change. The last one may be shorter. */
  block(number: number): Uint8Array | number {
    const known = this.kept.get(number);
    if (known !== undefined) {
      this.kept.delete(number);
      this.kept.set(number, known);
      return known;
    }
    const start = number * this.blockSize;
    const n = Math.min(this.blockSize, this.length - start);
    if (!(n > 0)) return -EIO;
    const bytes = new Uint8Array(n);
    const error = this.read(bytes, 0, n, start);
    if (error < 0) return error;
    this.kept.set(number, bytes);
    if (this.kept.size > BLOCKS_KEPT) this.kept.delete(this.kept.keys().next().value!);
    return bytes;
  }

  /** Metadata as a copy, which may cross blocks: fs/erofs/data.c:erofs_read_metabuf(). */
  meta(offset: number, n: number): Uint8Array | number {
    if (!(offset >= 0) || !(n >= 0) || offset + n > this.length) return -EIO;
    const out = new Uint8Array(n);
    for (let done = 0; done < n; ) {
      const number = Math.floor((offset + done) / this.blockSize);
      const from = offset + done - number * this.blockSize;
      const block = this.block(number);
      if (typeof block === 'number') return block;
      const part = block.subarray(from, from + Math.min(n - done, this.blockSize - from));
      if (part.length === 0) return -EIO;
      out.set(part, done);
      done += part.length;
    }
    return out;
  }

  private load(): number {
    const bytes = this.meta(SUPER_OFFSET, SUPER.size);
    if (typeof bytes === 'number') return -EINVAL;
    const v = new DataView(bytes.buffer);
    if (v.getUint32(SUPER.magic, true) !== EROFS_SUPER_MAGIC) return -EINVAL;
    const blockBits = bytes[SUPER.blockBits]!;
    if (blockBits < 9 || blockBits > 12) return -EINVAL;
    this.kept.clear();
    this.blockBits = blockBits;
    if ((v.getUint32(SUPER.featureCompat, true) & COMPAT_CHECKSUM) !== 0 && !this.checksumHolds(v.getUint32(SUPER.checksum, true)))
      return -EBADMSG;
    this.featureIncompat = v.getUint32(SUPER.featureIncompat, true);
    if ((this.featureIncompat & ~KNOWN) !== 0) return -EINVAL;
    // Contents on further devices, which would be options of the mount.
    if ((this.featureIncompat & INCOMPAT_DEVICES) !== 0 && v.getUint16(SUPER.extraDevices, true) !== 0) return -EINVAL;
    if (bytes[SUPER.dirBlockBits] !== 0) return -EINVAL;
    // Without the feature the field is LZ4's window; with it a bit an algorithm, of which LZ4 is the first.
    if ((this.featureIncompat & INCOMPAT_BIG_CLUSTER) !== 0 && (v.getUint16(SUPER.algorithms, true) & ~1) !== 0) return -EOPNOTSUPP;
    this.rootNid = v.getUint16(SUPER.rootNid, true);
    this.inodes = getU64(v, SUPER.inodes);
    this.buildTime = getU64(v, SUPER.buildTime);
    this.buildTimeNsec = v.getUint32(SUPER.buildTimeNsec, true);
    this.blocks = v.getUint32(SUPER.blocks, true);
    this.metaOffset = v.getUint32(SUPER.metaBlock, true) * this.blockSize;
    this.xattrOffset = v.getUint32(SUPER.xattrBlock, true) * this.blockSize;
    this.packedNid = getU64(v, SUPER.packedNid);
    if ((this.featureIncompat & INCOMPAT_XATTR_PREFIXES) !== 0) {
      this.xattrPrefixCount = bytes[SUPER.xattrPrefixCount]!;
      this.xattrPrefixStart = v.getUint32(SUPER.xattrPrefixStart, true) * 4;
    }
    return 0;
  }

  /** erofs_superblock_csum_verify(): the rest of the superblock's block, with the sum itself as 0. */
  private checksumHolds(sum: number): boolean {
    const n = this.blockSize > SUPER_OFFSET ? this.blockSize - SUPER_OFFSET : this.blockSize;
    const bytes = this.meta(SUPER_OFFSET, n);
    if (typeof bytes === 'number') return false;
    bytes.fill(0, SUPER.checksum, SUPER.checksum + 4);
    return crc32c(bytes) === sum;
  }
}

/** CRC-32C of lib/crc32.c: from ~0 on, and not inverted at the end. */
function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f63b78);
  }
  return crc >>> 0;
}
