// The attributes of one file, as both sides exchange them: the first 144 bytes of struct statx
// (include/uapi/linux/stat.h), so that the server passes on what the kernel wrote.

import { layout, u16, u32, u64 } from '../../sentry/abi/layout.ts';
import { assert } from '../../sentry/base/assert.ts';
import { ProtocolError } from '../../sentry/base/errors.ts';
import { getI64, getU64 } from '../../sentry/base/int64.ts';
import type { Reader } from './buffer.ts';

export const ATTRIBUTES = layout({
  mask: u32,
  blockSize: u32,
  attributes: u64,
  nlink: u32,
  uid: u32,
  gid: u32,
  mode: u16,
  pad0: u16,
  ino: u64,
  fileSize: u64,
  blocks: u64,
  attributesMask: u64,
  atimeSec: u64,
  atimeNsec: u32,
  pad1: u32,
  btimeSec: u64,
  btimeNsec: u32,
  pad2: u32,
  ctimeSec: u64,
  ctimeNsec: u32,
  pad3: u32,
  mtimeSec: u64,
  mtimeNsec: u32,
  pad4: u32,
  rdevMajor: u32,
  rdevMinor: u32,
  devMajor: u32,
  devMinor: u32,
});
assert(ATTRIBUTES.size === 144 && ATTRIBUTES.devMinor === 140);

/** struct statx as a whole. */
export const STATX_SIZE_BYTES = 256;

/** Decoded attributes; one object is filled again and again. */
export class Attributes {
  mode = 0;
  nlink = 0;
  uid = 0;
  gid = 0;
  rdevMajor = 0;
  rdevMinor = 0;
  devMajor = 0;
  devMinor = 0;
  /** The inode number in two unsigned words: some file systems use all 64 bits. */
  inoLo = 0;
  inoHi = 0;
  size = 0;
  blocks = 0;
  blockSize = 4096;
  atimeSec = 0;
  atimeNsec = 0;
  mtimeSec = 0;
  mtimeNsec = 0;
  ctimeSec = 0;
  ctimeNsec = 0;
  btimeSec = 0;
  btimeNsec = 0;
}

/** Decodes a struct statx (its first 144 bytes) at byte `at`. */
export function decodeAttributes(v: DataView, at: number, out: Attributes): void {
  out.blockSize = v.getUint32(at + ATTRIBUTES.blockSize, true);
  out.nlink = v.getUint32(at + ATTRIBUTES.nlink, true);
  out.uid = v.getUint32(at + ATTRIBUTES.uid, true);
  out.gid = v.getUint32(at + ATTRIBUTES.gid, true);
  out.mode = v.getUint16(at + ATTRIBUTES.mode, true);
  out.inoLo = v.getUint32(at + ATTRIBUTES.ino, true);
  out.inoHi = v.getUint32(at + ATTRIBUTES.ino + 4, true);
  out.size = getU64(v, at + ATTRIBUTES.fileSize);
  out.blocks = getU64(v, at + ATTRIBUTES.blocks);
  out.atimeSec = getI64(v, at + ATTRIBUTES.atimeSec);
  out.atimeNsec = v.getUint32(at + ATTRIBUTES.atimeNsec, true);
  out.btimeSec = getI64(v, at + ATTRIBUTES.btimeSec);
  out.btimeNsec = v.getUint32(at + ATTRIBUTES.btimeNsec, true);
  out.ctimeSec = getI64(v, at + ATTRIBUTES.ctimeSec);
  out.ctimeNsec = v.getUint32(at + ATTRIBUTES.ctimeNsec, true);
  out.mtimeSec = getI64(v, at + ATTRIBUTES.mtimeSec);
  out.mtimeNsec = v.getUint32(at + ATTRIBUTES.mtimeNsec, true);
  out.rdevMajor = v.getUint32(at + ATTRIBUTES.rdevMajor, true);
  out.rdevMinor = v.getUint32(at + ATTRIBUTES.rdevMinor, true);
  out.devMajor = v.getUint32(at + ATTRIBUTES.devMajor, true);
  out.devMinor = v.getUint32(at + ATTRIBUTES.devMinor, true);
}

/** Takes attributes off a message. What the Sentry computes with is checked: sizes are exact numbers. */
export function getAttributes(r: Reader, out: Attributes): void {
  decodeAttributes(r.view, r.skip(ATTRIBUTES.size), out);
  if (!Number.isSafeInteger(out.size) || !Number.isSafeInteger(out.blocks)) throw new ProtocolError('a file size beyond 2^53');
}
