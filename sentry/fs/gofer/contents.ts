// Contents of small files of exclusive trees: who opens one file of a directory after the other (compilers, package
// managers, `git status`, `grep -r`) pays a round trip to the gofer and a descriptor for each otherwise. They come by the
// dozen, lie in slabs (fs/tmpfs-slabs.ts), and hold for as long as the file has the ctime and size that came along.
// Bounded in all: beyond the limit a clock drops what nobody has used since its hand last passed. Who is just reading
// one that is dropped goes on through a descriptor.

import { SMALL_FILE } from '../../../gofer/protocol/messages.ts';
import type { Inode } from '../../vfs/filesystem.ts';
import { Block, freeBlock, growBlock } from '../tmpfs-slabs.ts';

/** Bytes of all files together. */
const KEPT_BYTES: number = 16 * 1024 * 1024;

export class Contents {
  readonly block: Block = new Block();
  readonly size: number;
  private readonly ctimeSec: number;
  private readonly ctimeNsec: number;
  /** Under which number they are found, and where. */
  readonly ino: number;
  readonly home: Map<number, Contents>;
  /** Used since the clock's hand last passed. */
  used = false;

  constructor(home: Map<number, Contents>, ino: number, size: number, ctimeSec: number, ctimeNsec: number) {
    this.home = home;
    this.ino = ino;
    this.size = size;
    this.ctimeSec = ctimeSec;
    this.ctimeNsec = ctimeNsec;
  }

  /** They have not been dropped. */
  get hold(): boolean {
    return this.block.slab !== null;
  }

  /** Whether they are what a file with these attributes has in it. */
  areOf(inode: Inode): boolean {
    return this.size === inode.size && this.ctimeSec === inode.ctimeSec && this.ctimeNsec === inode.ctimeNsec;
  }
}

/** Of all trees, in the order of the clock. */
const all: Set<Contents> = new Set();
let total = 0;

/** Keeps source[at, at + size), of a file with this number and ctime. */
export function keepContents(
  home: Map<number, Contents>,
  ino: number,
  ctimeSec: number,
  ctimeNsec: number,
  source: Uint8Array,
  at: number,
  size: number,
): Contents {
  dropContents(home, ino);
  const made = new Contents(home, ino, size, ctimeSec, ctimeNsec);
  growBlock(made.block, size);
  made.block.slab!.bytes.set(source.subarray(at, at + size), made.block.at);
  home.set(ino, made);
  all.add(made);
  total += made.block.size;
  if (total > KEPT_BYTES) turn(made);
  return made;
}

/** Moves the hand on until there is room again, but not over `spared`. */
function turn(spared: Contents): void {
  for (const each of all) {
    if (total <= KEPT_BYTES) return;
    if (each === spared) continue;
    if (each.used) {
      each.used = false;
      all.delete(each);
      all.add(each);
    } else drop(each);
  }
}

function drop(contents: Contents): void {
  total -= contents.block.size;
  freeBlock(contents.block);
  all.delete(contents);
  contents.home.delete(contents.ino);
}

/** The file with this number is another one now, or has been changed. */
export function dropContents(home: Map<number, Contents>, ino: number): void {
  const known = home.get(ino);
  if (known !== undefined) drop(known);
}

/** Gives all of a tree back. */
export function dropContentsOf(home: Map<number, Contents>): void {
  for (const each of home.values()) drop(each);
}

/** Gives all back. */
export function dropAllContents(): void {
  for (const each of all) drop(each);
}

/** Bytes that are kept. */
export function contentsBytes(): number {
  return total;
}

/** Whether a file of this size may have its contents kept. An empty one may be one of /proc's, which say nothing of their size. */
export function isSmall(size: number): boolean {
  return size > 0 && size <= SMALL_FILE;
}
