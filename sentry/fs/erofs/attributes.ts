// Extended attributes: fs/erofs/xattr.c. Those of one inode lie behind it, after the numbers of those that several share.

import { EUCLEAN } from '../../abi/errno.ts';
import { latin1 } from '../../base/latin1.ts';
import type { Image } from './image.ts';
import type { InodeRecord } from './inode-record.ts';

const HEADER_SIZE = 12;
const ENTRY_SIZE = 4;
const PREFIXES: readonly (string | undefined)[] = [
  undefined,
  'user.',
  'system.posix_acl_access',
  'system.posix_acl_default',
  'trusted.',
  undefined,
  'security.',
];
const IS_LONG_PREFIX = 0x80;

/** All attributes of an inode by name, or -errno. */
export function readAttributes(image: Image, record: InodeRecord): Map<string, Uint8Array> | number {
  const out = new Map<string, Uint8Array>();
  if (record.xattrSize === 0) return out;
  const area = image.meta(record.offset + record.inodeSize, record.xattrSize);
  if (typeof area === 'number') return area;
  const shared = area[4]!;
  const v = new DataView(area.buffer);
  let at = HEADER_SIZE + shared * 4;
  if (at > area.length) return -EUCLEAN;
  while (at < area.length) {
    const used = addEntry(image, area, at, out);
    if (used < 0) return used;
    at += used;
  }
  for (let i = 0; i < shared; i++) {
    const offset = image.xattrOffset + v.getUint32(HEADER_SIZE + i * 4, true) * 4;
    const head = image.meta(offset, ENTRY_SIZE);
    if (typeof head === 'number') return head;
    const entry = image.meta(offset, entryLength(head, 0));
    if (typeof entry === 'number') return entry;
    const used = addEntry(image, entry, 0, out);
    if (used < 0) return used;
  }
  return out;
}

/** Of an entry without its padding: one byte of name's length, the prefix's number, two bytes of value's length, name, value. */
function entryLength(bytes: Uint8Array, at: number): number {
  return ENTRY_SIZE + bytes[at]! + (bytes[at + 2]! | (bytes[at + 3]! << 8));
}

/** Bytes that the entry takes, or -EUCLEAN. */
function addEntry(image: Image, bytes: Uint8Array, at: number, out: Map<string, Uint8Array>): number {
  if (at + ENTRY_SIZE > bytes.length) return -EUCLEAN;
  const length = entryLength(bytes, at);
  if (at + length > bytes.length) return -EUCLEAN;
  const nameEnd = at + ENTRY_SIZE + bytes[at]!;
  const prefix = prefixOf(image, bytes[at + 1]!);
  // What Linux has no handler for is not shown.
  if (prefix !== undefined) out.set(prefix + latin1(bytes, at + ENTRY_SIZE, nameEnd), bytes.slice(nameEnd, at + length));
  return Math.ceil(length / 4) * 4;
}

function prefixOf(image: Image, index: number): string | undefined {
  if ((index & IS_LONG_PREFIX) === 0) return PREFIXES[index];
  const number = index & ~IS_LONG_PREFIX;
  if (number >= image.xattrPrefixCount) return undefined;
  // They lie one behind the other, each a length, the number of the prefix that it adds to, and the rest: erofs_xattr_prefixes_init().
  let at = image.xattrPrefixStart;
  for (let i = 0; ; i++) {
    const size = image.meta(at, 2);
    if (typeof size === 'number') return undefined;
    const length = size[0]! | (size[1]! << 8);
    if (length < 1 || length > 256) return undefined;
    if (i === number) {
      const item = image.meta(at + 2, length);
      if (typeof item === 'number') return undefined;
      const base = PREFIXES[item[0]!];
      return base === undefined ? undefined : base + latin1(item, 1, item.length);
    }
    at = Math.ceil((at + 2 + length) / 4) * 4;
  }
}
