// Directories: fs/erofs/dir.c, namei.c. Each block begins with entries of 12 bytes, sorted by name like the blocks
// themselves; their names follow. Positions of readdir are byte offsets of entries.

import { ENOENT, EUCLEAN } from '../../abi/errno.ts';
import { NAME_MAX } from '../../abi/limits.ts';
import { getU64 } from '../../base/int64.ts';
import { latin1 } from '../../base/latin1.ts';
import type { Task } from '../../kernel/task.ts';
import { DirectoryDescription } from '../../vfs/directory-description.ts';
import type { DirSink } from '../../vfs/filesystem.ts';
import type { ErofsInode } from './filesystem.ts';

const ENTRY = 12;
/** DT_* by EROFS_FT_*, which are those of ext2. */
const TYPES = [0, 8, 4, 2, 6, 1, 12, 10];

/** A block of a directory, checked as a whole. */
class DirBlock {
  private readonly bytes: Uint8Array;
  private readonly v: DataView;
  readonly count: number;

  private constructor(bytes: Uint8Array, count: number) {
    this.bytes = bytes;
    this.v = new DataView(bytes.buffer);
    this.count = count;
  }

  static of(bytes: Uint8Array): DirBlock | number {
    if (bytes.length < ENTRY) return -EUCLEAN;
    const first = bytes[8]! | (bytes[9]! << 8);
    if (first < ENTRY || first > bytes.length || first % ENTRY !== 0) return -EUCLEAN;
    const block = new DirBlock(bytes, first / ENTRY);
    for (let i = 0; i < block.count; i++) {
      const length = block.nameEnd(i) - block.nameStart(i);
      if (length <= 0 || length > NAME_MAX || block.nameEnd(i) > bytes.length) return -EUCLEAN;
    }
    return block;
  }

  private nameStart(i: number): number {
    return this.v.getUint16(i * ENTRY + 8, true);
  }

  /** The last name ends with the block or with a zero byte. */
  private nameEnd(i: number): number {
    if (i + 1 < this.count) return this.nameStart(i + 1);
    const zero = this.bytes.indexOf(0, this.nameStart(i));
    return zero < 0 ? this.bytes.length : zero;
  }

  name(i: number): string {
    return latin1(this.bytes, this.nameStart(i), this.nameEnd(i));
  }

  nid(i: number): number {
    return getU64(this.v, i * ENTRY);
  }

  type(i: number): number {
    return TYPES[this.bytes[i * ENTRY + 10]!] ?? 0;
  }
}

function blockAt(dir: ErofsInode, number: number): DirBlock | number {
  const { blockSize } = dir.fs.image;
  const start = number * blockSize;
  const bytes = new Uint8Array(Math.min(blockSize, dir.size - start));
  const error = dir.readContents(bytes, 0, bytes.length, start);
  return error < 0 ? error : DirBlock.of(bytes);
}

/** The number of the inode under a name, or -errno: erofs_namei(). */
export function findEntry(dir: ErofsInode, name: string): number {
  let low = 0;
  let high = Math.ceil(dir.size / dir.fs.image.blockSize);
  // The last block whose first name is not beyond the one that is looked for.
  let candidate: DirBlock | null = null;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const block = blockAt(dir, middle);
    if (typeof block === 'number') return block;
    if (block.name(0) <= name) {
      candidate = block;
      low = middle + 1;
    } else high = middle;
  }
  if (candidate === null) return -ENOENT;
  low = 0;
  high = candidate.count;
  while (low < high) {
    const middle = (low + high) >> 1;
    const here = candidate.name(middle);
    if (here === name) return candidate.nid(middle);
    if (here < name) low = middle + 1;
    else high = middle;
  }
  return -ENOENT;
}

export class ErofsDirectory extends DirectoryDescription<ErofsInode> {
  /** erofs_readdir(). */
  override readdir(_t: Task, sink: DirSink): number {
    const { dir } = this;
    const { blockSize } = dir.fs.image;
    while (this.pos < dir.size) {
      const number = Math.floor(this.pos / blockSize);
      const start = number * blockSize;
      const block = blockAt(dir, number);
      if (typeof block === 'number') return block;
      for (let i = Math.ceil((this.pos - start) / ENTRY); i < block.count; i++) {
        const next = i + 1 < block.count ? start + (i + 1) * ENTRY : start + blockSize;
        const nid = block.nid(i);
        // An inode number is 64 bits in getdents; none that is valid is beyond a double's integers.
        if (nid > Number.MAX_SAFE_INTEGER) return -EUCLEAN;
        if (!sink.entry(block.name(i), nid, block.type(i), next)) return 0;
        this.pos = next;
      }
      this.pos = start + blockSize;
    }
    return 0;
  }
}
