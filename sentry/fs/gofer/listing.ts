// What is known of a directory's entries without an inode for each: a packed copy of the gofer's listing, and packed
// attributes of some of the entries, by the name's hash. An entry takes some 30 bytes, 120 with attributes and hash,
// where an inode with its dentry takes close to a thousand.
//
//   bytes   records: f64 inode number · u32 row of attributes, 0: none · u8 DT_* · u8 name length · name
//   rows    attributes, ROW words each; a row whose mode is 0 holds none at the moment
//   table   open addressing: number of the entry plus one, 0: free; made when first asked for a name
//
// Attributes of an entry hold only while no inode stands for the file: take() hands them over to the inode, store()
// takes them back when the inode goes.

import type { Attributes } from '../../../gofer/protocol/attributes.ts';
import { SMALL_FILE } from '../../../gofer/protocol/messages.ts';
import { major, makedev, minor } from '../../abi/device.ts';
import { latin1 } from '../../base/latin1.ts';
import type { Inode } from '../../vfs/filesystem.ts';

const HEAD = 14;
const ROW_AT = 8;
const TYPE_AT = 12;
const LENGTH_AT = 13;
/** Words of a row. */
const ROW = 20;
const WORD = 2 ** 32;
/** What an entry may come to cost besides its record: row and hash. */
const ENTRY_COST: number = ROW * 4 + 12;
/** In the type byte. */
const TYPE_MASK = 0x3f;
const CHANGED = 0x80;
const GONE = 0x40;
const DT_UNKNOWN = 0;
const DT_CHR = 2;

export class Listing {
  /** It has all the names that the directory has. */
  complete = true;
  /** None of its entries can be a whiteout of an overlay. */
  plain = true;
  count = 0;
  /** How many entries' attributes to ask for with the next question: sentry/fs/gofer/inode.ts. */
  ahead = 16;
  /** How many files' contents to ask for with the next question for one. */
  contentsAhead = 1;
  /** Under which count of doubts the attributes were learned: doubt.ts. */
  describedAt = 0;
  private bytes: Uint8Array = new Uint8Array(512);
  private view: DataView = new DataView(this.bytes.buffer);
  private used = 0;
  private filling = true;
  private rows: Uint32Array | null = null;
  /** Rows begun; row 0 is none. */
  private rowCount = 1;
  private offsets: Uint32Array | null = null;
  private table: Int32Array | null = null;

  /** An upper bound of the bytes it takes. */
  get cost(): number {
    return this.bytes.length + this.count * ENTRY_COST;
  }

  // ---- filling

  /** Appends an entry; the name is source[at, at + length). */
  add(ino: number, type: number, source: Uint8Array, at: number, length: number): void {
    const to = this.used;
    if (to + HEAD + length > this.bytes.length) this.resize(Math.max(this.bytes.length * 2, to + HEAD + length));
    this.view.setFloat64(to, ino, true);
    this.view.setUint32(to + ROW_AT, 0, true);
    this.bytes[to + TYPE_AT] = type & TYPE_MASK;
    this.bytes[to + LENGTH_AT] = length;
    const name = to + HEAD;
    for (let i = 0; i < length; i++) this.bytes[name + i] = source[at + i];
    this.used = name + length;
    this.count++;
    if (type === DT_CHR || type === DT_UNKNOWN) this.plain = false;
  }

  /** Gives the entry that was added last its attributes. */
  describeLast(length: number, a: Attributes): void {
    this.describeAt(this.used - HEAD - length, a);
  }

  /** No more entries will come. */
  finish(): void {
    this.filling = false;
    this.resize(this.used);
    if (this.rows !== null && this.rows.length > this.rowCount * ROW) this.rows = this.rows.slice(0, this.rowCount * ROW);
  }

  private resize(size: number): void {
    const grown = new Uint8Array(size);
    grown.set(this.bytes.subarray(0, this.used));
    this.bytes = grown;
    this.view = new DataView(grown.buffer);
  }

  // ---- reading in order: an offset of 0 is the first entry's

  /** The offset of the entry after the one at `offset`. */
  after(offset: number): number {
    return offset + HEAD + this.bytes[offset + LENGTH_AT];
  }

  /** The offset of entry n, found from entry `from` at `offset` on (from 0 when that is behind n). */
  offsetOf(n: number, from: number, offset: number): number {
    let i = from <= n ? from : 0;
    let at = from <= n ? offset : 0;
    for (; i < n; i++) at = this.after(at);
    return at;
  }

  inoAt(offset: number): number {
    return this.view.getFloat64(offset, true);
  }

  typeAt(offset: number): number {
    return this.bytes[offset + TYPE_AT] & TYPE_MASK;
  }

  /** The entry has been removed since. */
  isGoneAt(offset: number): boolean {
    return (this.bytes[offset + TYPE_AT] & GONE) !== 0;
  }

  /** Where the name lies in nameBytes. */
  nameAt(offset: number): number {
    return offset + HEAD;
  }

  nameLengthAt(offset: number): number {
    return this.bytes[offset + LENGTH_AT];
  }

  get nameBytes(): Uint8Array {
    return this.bytes;
  }

  nameTextAt(offset: number): string {
    return latin1(this.bytes, offset + HEAD, offset + HEAD + this.bytes[offset + LENGTH_AT]);
  }

  // ---- by name

  /** The offset of a name's entry, or -1. */
  find(name: string): number {
    const table = this.table ?? this.index();
    const offsets = this.offsets!;
    const mask = table.length - 1;
    for (let slot = hashOfText(name) & mask; ; slot = (slot + 1) & mask) {
      const n = table[slot];
      if (n === 0) return -1;
      if (this.isNamed(offsets[n - 1], name)) return offsets[n - 1];
    }
  }

  private isNamed(offset: number, name: string): boolean {
    const { bytes } = this;
    if (bytes[offset + LENGTH_AT] !== name.length) return false;
    for (let i = 0; i < name.length; i++) if (bytes[offset + HEAD + i] !== name.charCodeAt(i)) return false;
    return true;
  }

  private index(): Int32Array {
    let size = 8;
    while (size < this.count * 1.5) size *= 2;
    const table = new Int32Array(size);
    const offsets = new Uint32Array(this.count);
    for (let n = 0, at = 0; n < this.count; n++) {
      offsets[n] = at;
      const next = this.after(at);
      let slot = hashOfBytes(this.bytes, at + HEAD, next) & (size - 1);
      while (table[slot] !== 0) slot = (slot + 1) & (size - 1);
      table[slot] = n + 1;
      at = next;
    }
    this.table = table;
    this.offsets = offsets;
    return table;
  }

  /** Offsets of up to `most` entries from `offset` on, then from the beginning, of its kind (directories or others), whose attributes are not known. */
  undescribed(offset: number, most: number, out: number[]): void {
    out.length = 0;
    const wantsDirs = this.bytes[offset + TYPE_AT] === DT_DIR;
    this.undescribedIn(offset, this.used, wantsDirs, most, out);
    this.undescribedIn(0, offset, wantsDirs, most, out);
  }

  private undescribedIn(from: number, to: number, wantsDirs: boolean, most: number, out: number[]): void {
    for (let at = from; at < to && out.length < most; at = this.after(at)) {
      if ((this.bytes[at + TYPE_AT] === DT_DIR) === wantsDirs && !this.isDescribed(at)) out.push(at);
    }
  }

  // ---- attributes

  /** Offsets of up to `most` small files behind the entry at `offset`, of some `bytes` bytes in all. */
  filesBehind(offset: number, most: number, bytes: number, out: number[]): void {
    out.length = 0;
    for (let at = this.after(offset); at < this.used && out.length < most && bytes > 0; at = this.after(at)) {
      if (this.bytes[at + TYPE_AT] !== DT_REG) continue;
      const row = this.view.getUint32(at + ROW_AT, true);
      // A row whose attributes an inode has taken keeps the size as it was.
      const size = row === 0 ? UNKNOWN_SIZE : this.rows![row * ROW + 8] + this.rows![row * ROW + 9] * WORD;
      if (size > SMALL_FILE) continue;
      bytes -= size;
      if (bytes > 0) out.push(at);
    }
  }

  private isDescribed(offset: number): boolean {
    const row = this.view.getUint32(offset + ROW_AT, true);
    return row !== 0 && this.rows![row * ROW] !== 0;
  }

  /** Keeps attributes for the entry at `offset`, if all of them fit. */
  describeAt(offset: number, a: Attributes): void {
    if (a.atimeSec < 0 || a.mtimeSec < 0 || a.ctimeSec < 0 || a.btimeSec < 0) return;
    if (a.atimeSec >= WORD || a.mtimeSec >= WORD || a.ctimeSec >= WORD || a.btimeSec >= WORD) return;
    if (a.blocks >= WORD) return;
    const { rows, at } = this.rowFor(offset);
    rows[at] = a.mode;
    rows[at + 1] = a.nlink;
    rows[at + 2] = a.uid;
    rows[at + 3] = a.gid;
    rows[at + 4] = makedev(a.rdevMajor, a.rdevMinor);
    rows[at + 5] = makedev(a.devMajor, a.devMinor);
    rows[at + 6] = a.inoLo;
    rows[at + 7] = a.inoHi;
    rows[at + 8] = a.size % WORD;
    rows[at + 9] = a.size / WORD;
    rows[at + 10] = a.blocks;
    rows[at + 11] = a.atimeSec;
    rows[at + 12] = a.atimeNsec;
    rows[at + 13] = a.mtimeSec;
    rows[at + 14] = a.mtimeNsec;
    rows[at + 15] = a.ctimeSec;
    rows[at + 16] = a.ctimeNsec;
    rows[at + 17] = a.btimeSec;
    rows[at + 18] = a.btimeNsec;
    rows[at + 19] = a.blockSize;
  }

  private rowFor(offset: number): { rows: Uint32Array; at: number } {
    let row = this.view.getUint32(offset + ROW_AT, true);
    if (row === 0) {
      row = this.rowCount++;
      this.view.setUint32(offset + ROW_AT, row, true);
      const size = (row + 1) * ROW;
      if (this.rows === null || this.rows.length < size) {
        const most = this.filling ? Number.POSITIVE_INFINITY : (this.count + 1) * ROW;
        const grown = new Uint32Array(Math.min(Math.max(size * 2, 4 * ROW), most));
        if (this.rows !== null) grown.set(this.rows);
        this.rows = grown;
      }
    }
    found.rows = this.rows!;
    found.at = row * ROW;
    return found;
  }

  /** Attributes that were learned under another count of doubts hold no more. */
  doubtAttributes(count: number): void {
    this.rows?.fill(0);
    this.describedAt = count;
  }

  /** Hands the attributes of the entry at `offset` over, and has none from then on: whether there were any. */
  take(offset: number, out: Attributes): boolean {
    const row = this.view.getUint32(offset + ROW_AT, true);
    if (row === 0 || (this.bytes[offset + TYPE_AT] & CHANGED) !== 0) return false;
    const rows = this.rows!;
    const at = row * ROW;
    if (rows[at] === 0) return false;
    out.mode = rows[at];
    out.nlink = rows[at + 1];
    out.uid = rows[at + 2];
    out.gid = rows[at + 3];
    out.rdevMajor = major(rows[at + 4]);
    out.rdevMinor = minor(rows[at + 4]);
    out.devMajor = major(rows[at + 5]);
    out.devMinor = minor(rows[at + 5]);
    out.inoLo = rows[at + 6];
    out.inoHi = rows[at + 7];
    out.size = rows[at + 8] + rows[at + 9] * WORD;
    out.blocks = rows[at + 10];
    out.blockSize = rows[at + 19];
    out.atimeSec = rows[at + 11];
    out.atimeNsec = rows[at + 12];
    out.mtimeSec = rows[at + 13];
    out.mtimeNsec = rows[at + 14];
    out.ctimeSec = rows[at + 15];
    out.ctimeNsec = rows[at + 16];
    out.btimeSec = rows[at + 17];
    out.btimeNsec = rows[at + 18];
    rows[at] = 0;
    return true;
  }

  /** The inode that has taken an entry's attributes goes, and leaves them as they are now. */
  store(name: string, inode: Inode): void {
    const offset = this.find(name);
    if (offset < 0) return;
    const row = this.view.getUint32(offset + ROW_AT, true);
    if (row === 0) return;
    const rows = this.rows!;
    const at = row * ROW;
    // Who took them knows the device and the number; what has been made under the name since does not count.
    if ((this.bytes[offset + TYPE_AT] & CHANGED) !== 0 || this.inoAt(offset) !== inode.ino || inode.blocks >= WORD) return;
    if (inode.atimeSec < 0 || inode.mtimeSec < 0 || inode.ctimeSec < 0) return;
    if (inode.atimeSec >= WORD || inode.mtimeSec >= WORD || inode.ctimeSec >= WORD) return;
    rows[at] = inode.mode;
    rows[at + 1] = inode.nlink;
    rows[at + 2] = inode.uid;
    rows[at + 3] = inode.gid;
    rows[at + 8] = inode.size % WORD;
    rows[at + 9] = inode.size / WORD;
    rows[at + 10] = inode.blocks;
    rows[at + 11] = inode.atimeSec;
    rows[at + 12] = inode.atimeNsec;
    rows[at + 13] = inode.mtimeSec;
    rows[at + 14] = inode.mtimeNsec;
    rows[at + 15] = inode.ctimeSec;
    rows[at + 16] = inode.ctimeNsec;
  }

  /** The name is another file's from now on, or (gone) nobody's. */
  forget(name: string, gone: boolean): void {
    this.complete = false;
    const offset = this.find(name);
    if (offset < 0) return;
    this.bytes[offset + TYPE_AT] |= gone ? CHANGED | GONE : CHANGED;
    const row = this.view.getUint32(offset + ROW_AT, true);
    if (row !== 0) this.rows![row * ROW] = 0;
  }
}

const DT_DIR = 4;
const DT_REG = 8;
/** What a file counts as whose size is not known. */
const UNKNOWN_SIZE = 2048;
/** rowFor()'s answer. */
const found: { rows: Uint32Array; at: number } = { rows: new Uint32Array(0), at: 0 };

function hashOfText(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash ^ (hash >>> 15);
}

function hashOfBytes(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return hash ^ (hash >>> 15);
}

/**
 * Guesses from the directories listed last whether who lists the next will ask for its files' attributes: `find` wants
 * names alone, `ls -l` and `git status` want all.
 */
export class Appetite {
  private level = 0;
  private wasAsked = false;

  /** A directory is about to be listed: whether to have all attributes along. */
  listed(): boolean {
    this.level = this.wasAsked ? Math.min(this.level + 1, 8) : Math.max(this.level - 1, 0);
    this.wasAsked = false;
    return this.level >= 3;
  }

  /** The attributes of a listed file have been asked for. */
  asked(): void {
    this.wasAsked = true;
  }
}

/** What directories keep of each other's listings: bounded in all, the longest unused go first. */
export interface ListingOwner {
  dropListing(): void;
}

/** Bytes of all listings together. */
const KEPT_BYTES: number = 24 * 1024 * 1024;

export class ListingCache {
  /** The cost counted for each, the longest unused first. */
  private readonly costs: Map<ListingOwner, number> = new Map();
  private total = 0;
  private readonly limit: number;

  constructor(limit = KEPT_BYTES) {
    this.limit = limit;
  }

  /** Counts an owner's listing, and has others drop theirs when all are too many. */
  keep(owner: ListingOwner, cost: number): void {
    this.remove(owner);
    this.costs.set(owner, cost);
    this.total += cost;
    if (this.total > this.limit) this.shrink(owner);
  }

  private shrink(keep: ListingOwner): void {
    for (const oldest of this.costs.keys()) {
      if (this.total <= this.limit) return;
      if (oldest === keep) continue;
      oldest.dropListing();
      this.remove(oldest);
    }
  }

  /** A listing was used. */
  touch(owner: ListingOwner): void {
    const cost = this.costs.get(owner);
    if (cost === undefined) return;
    this.costs.delete(owner);
    this.costs.set(owner, cost);
  }

  remove(owner: ListingOwner): void {
    const cost = this.costs.get(owner);
    if (cost === undefined) return;
    this.total -= cost;
    this.costs.delete(owner);
  }

  /** Has all owners drop theirs. */
  clear(): void {
    for (const owner of this.costs.keys()) owner.dropListing();
    this.costs.clear();
    this.total = 0;
  }

  get bytes(): number {
    return this.total;
  }
}

/** Of all trees. */
export const listings: ListingCache = new ListingCache();
