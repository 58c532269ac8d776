// Inodes as they lie in an image: fs/erofs/inode.c, erofs_fs.h.

import { EIO, EOPNOTSUPP, EUCLEAN } from '../../abi/errno.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../../abi/stat.ts';
import { getU64 } from '../../base/int64.ts';
import type { Image } from './image.ts';

// enum EROFS_INODE_*: where a file's contents are.
export const FLAT_PLAIN = 0;
export const COMPRESSED_FULL = 1;
export const FLAT_INLINE = 2;
export const COMPRESSED_COMPACT = 3;
export const CHUNK_BASED = 4;

const COMPACT_SIZE = 32;
const EXTENDED_SIZE = 64;
const TYPES = new Set([S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK]);

export interface InodeRecord {
  /** Byte offset in the image, size of the inode itself and of the attributes behind it. */
  offset: number;
  inodeSize: number;
  xattrSize: number;
  dataLayout: number;
  mode: number;
  uid: number;
  gid: number;
  nlink: number;
  size: number;
  mtimeSec: number;
  mtimeNsec: number;
  /** i_u: a block, a device number, a count of compressed blocks or the format of chunks. */
  extra: number;
}

/** Reads the inode with a number, or -errno. */
export function readInode(image: Image, nid: number): InodeRecord | number {
  const offset = image.metaOffset + nid * COMPACT_SIZE;
  // Beyond the doubles' exact integers there is no image either.
  if (!(offset + COMPACT_SIZE <= image.length)) return -EIO;
  const head = image.meta(offset, COMPACT_SIZE);
  if (typeof head === 'number') return head;
  let v = new DataView(head.buffer);
  const format = v.getUint16(0, true);
  const dataLayout = (format >> 1) & 7;
  if ((format & ~0xf) !== 0 || dataLayout > CHUNK_BASED) return -EOPNOTSUPP;
  const attributes = v.getUint16(2, true);
  const record: InodeRecord = {
    offset,
    inodeSize: COMPACT_SIZE,
    xattrSize: attributes === 0 ? 0 : 12 + 4 * (attributes - 1),
    dataLayout,
    mode: v.getUint16(4, true),
    uid: v.getUint16(24, true),
    gid: v.getUint16(26, true),
    nlink: v.getUint16(6, true),
    size: v.getUint32(8, true),
    mtimeSec: image.buildTime,
    mtimeNsec: image.buildTimeNsec,
    extra: v.getUint32(16, true),
  };
  if ((format & 1) !== 0) {
    const bytes = image.meta(offset, EXTENDED_SIZE);
    if (typeof bytes === 'number') return bytes;
    v = new DataView(bytes.buffer);
    record.inodeSize = EXTENDED_SIZE;
    record.size = getU64(v, 8);
    record.uid = v.getUint32(24, true);
    record.gid = v.getUint32(28, true);
    record.mtimeSec = getU64(v, 32);
    record.mtimeNsec = v.getUint32(40, true);
    record.nlink = v.getUint32(44, true);
  }
  if (!TYPES.has(record.mode & S_IFMT)) return -EUCLEAN;
  // Larger files no position could reach.
  if (record.size > Number.MAX_SAFE_INTEGER || record.mtimeNsec >= 1_000_000_000) return -EUCLEAN;
  return record;
}
