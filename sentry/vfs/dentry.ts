// The dentry cache: names of the tree, shared by all mounts of a file system (struct dentry).
//
// A directory's dentry keeps its known children, found ones and missing ones (negative dentries,
// inode null). Memory is bounded by two clocks, one over directories and one over all else: beyond
// its limit, what was not used since the hand last passed is dropped. Directories have a clock of
// their own because one is worth more than a file: the file system hangs what it knows of all their
// entries on them (fs/gofer/listing.ts), and a scan over many files must not push that out. What somebody holds must not be dropped, or a later lookup
// would make a second dentry for one name: open files, working directories and mounts pin theirs;
// parents of cached children, mount points, and inodes with sockets, locks or watches stay as well.
// (Weak references would need no pins, but they are strong until the running job ends, and the
// Sentry's run loop is one job.)
//
// Inodes count their dentries and opens; when both are zero the file system hears evict().

import { ENOENT } from '../abi/errno.ts';
import { RETRY } from '../base/errors.ts';
import type { Filesystem, Inode } from './filesystem.ts';
import { notifyInodeGone } from './fsnotify.ts';

/** Cached dentries of all file systems together: files and names that do not exist, and directories. */
export const DENTRY_LIMIT = 16384;
export const DIRECTORY_LIMIT = 24576;

export class Dentry {
  readonly fs: Filesystem;
  name: string;
  /** null: the root of its file system, or detached for good. */
  parent: Dentry | null;
  /** null: the name is known not to exist. */
  inode: Inode | null;
  children: Map<string, Dentry> | null = null;
  /** Mounts, in any namespace, whose mount point is this dentry. */
  mountCount = 0;
  /** Reachable by name from its parent; false once unlinked, overwritten or invalidated. */
  hashed = true;
  /** Open files, working directories, roots and mounts that hold it. */
  pins = 0;
  /** It no longer counts as a dentry of its inode. */
  private released = false;
  /** Used since the clock hand last passed. */
  referenced = false;
  lruPrev: Dentry | null = null;
  lruNext: Dentry | null = null;
  lru: Lru | null = null;

  constructor(fs: Filesystem, name: string, parent: Dentry | null, inode: Inode | null) {
    this.fs = fs;
    this.name = name;
    this.parent = parent;
    this.inode = inode;
    if (inode !== null) inode.dentries++;
  }

  isRoot(): boolean {
    return this.parent === null && this.hashed;
  }

  isDir(): boolean {
    return this.inode?.isDir() === true;
  }

  /** Whether this is `ancestor` or below it: is_subdir(). */
  isUnder(ancestor: Dentry): boolean {
    for (let d: Dentry | null = this; d !== null; d = d.parent) if (d === ancestor) return true;
    return false;
  }

  /** Nobody holds it and it has no name: one dentry less for its inode. */
  releaseInode(): void {
    const inode = this.inode;
    if (inode === null || this.released) return;
    this.released = true;
    inode.dentries--;
    inodeReleased(inode);
  }

  /** The path within the file system, from its root: "/" or "/a/b". dentry_path(). */
  pathInFs(): string {
    if (this.parent === null) return this.hashed ? '/' : `/${this.name}`;
    let text = '';
    for (let d: Dentry = this; d.parent !== null; d = d.parent) text = `/${d.name}${text}`;
    return text;
  }
}

/** The dentry of a file system's root, one however often it is mounted. */
export function rootDentry(fs: Filesystem): Dentry {
  let root = fs.rootDentry;
  if (root === null) {
    root = new Dentry(fs, '/', null, fs.root());
    fs.rootDentry = root;
  }
  return root;
}

/** A dentry outside the tree: for O_TMPFILE's files and anonymous inodes. */
export function detachedDentry(fs: Filesystem, name: string, inode: Inode): Dentry {
  const d = new Dentry(fs, name, null, inode);
  d.hashed = false;
  return d;
}

/**
 * The child of a directory by name, from the cache or the file system; negative where it does not
 * exist. Permission to search has been checked. Other failures of the file system: -errno.
 */
export function lookupChild(dir: Dentry, name: string): Dentry | number {
  const inode = dir.inode!;
  const cached = cachedChild(dir, name);
  if (cached !== undefined) {
    cached.referenced = true;
    if (inode.childStillValid(name, cached.inode ?? undefined)) return cached;
  }
  if (inode.dead) return -ENOENT;

  const found = inode.lookup(name);
  if (typeof found === 'number') {
    // Nothing is known yet, so the cached one stays as it is.
    if (found === RETRY) return found;
    if (cached !== undefined) {
      if (found === -ENOENT && cached.inode === null) return cached;
      unhash(cached);
    }
    if (found !== -ENOENT) return found;
    return addChild(dir, name, null);
  }
  if (cached !== undefined) {
    if (cached.inode === found) return cached;
    if (cached.inode === null) {
      instantiate(cached, found);
      return cached;
    }
    unhash(cached);
  }
  return addChild(dir, name, found);
}

/** The child if the cache knows it, without asking anybody. */
export function cachedChild(dir: Dentry, name: string): Dentry | undefined {
  return dir.children?.get(name);
}

function addChild(dir: Dentry, name: string, inode: Inode | null): Dentry {
  const child = new Dentry(dir.fs, name, dir, inode);
  hash(dir, child);
  return child;
}

function hash(dir: Dentry, child: Dentry): void {
  if (dir.children === null) dir.children = new Map();
  dir.children.set(child.name, child);
  child.parent = dir;
  child.hashed = true;
  // Unreferenced at first: a tree that is walked once goes before one that is in use.
  child.referenced = false;
  lruOf(child).push(child);
}

function lruOf(d: Dentry): Lru {
  return d.isDir() ? directories : others;
}

/** A negative dentry becomes the name of `inode`: d_instantiate(). */
export function instantiate(d: Dentry, inode: Inode): void {
  d.inode = inode;
  inode.dentries++;
  if (d.lru === others && inode.isDir()) {
    others.remove(d);
    directories.push(d);
  }
}

/** Gives an unhashed dentry (O_TMPFILE) or a fresh inode a name that has a negative dentry. */
export function adopt(negative: Dentry, inode: Inode): void {
  instantiate(negative, inode);
}

/** Takes the name away: later lookups ask the file system. The dentry lives on for who holds it. */
export function unhash(d: Dentry): void {
  if (!d.hashed || d.parent === null) return;
  d.hashed = false;
  const siblings = d.parent.children;
  if (siblings !== null && siblings.get(d.name) === d) siblings.delete(d.name);
  d.lru?.remove(d);
  if (d.pins === 0) d.releaseInode();
}

/**
 * After unlink or rmdir: the name is known not to exist, since who has removed it may ask for it next, as databases do with
 * their journals. A file that nobody has open is given back at once, a directory when it is nobody's cwd.
 */
export function removed(d: Dentry): void {
  const dir = d.parent!;
  overwritten(d);
  addChild(dir, d.name, null);
}

/** After being renamed over, or before removed() says that the name is free. */
function overwritten(d: Dentry): void {
  if (d.pins === 0) notifyIfGone(d);
  if (d.isDir() && d.children !== null) forgetChildren(d);
  unhash(d);
  if (d.inode !== null && !d.inode.isDir()) inodeReleased(d.inode);
}

/** A directory that is gone has no names any more, not even ones that are known not to exist: shrink_dcache_parent(). */
function forgetChildren(dir: Dentry): void {
  for (const child of dir.children!.values()) if (child.inode === null) unhash(child);
}

/** Keeps a dentry in the cache, whatever its age; unpin() takes it back. */
export function pin(d: Dentry): void {
  d.pins++;
}

export function unpin(d: Dentry): void {
  if (--d.pins > 0 || d.hashed) return;
  notifyIfGone(d);
  d.releaseInode();
}

/** Tells watches of an inode that has lost its last name together with this dentry: dentry_unlink_inode(). */
function notifyIfGone(d: Dentry): void {
  const inode = d.inode;
  if (inode !== null && (inode.nlink === 0 || inode.dead)) notifyInodeGone(inode);
}

/** Moves a dentry to the place of `target` (negative, or what the rename has replaced): d_move(). */
export function moveDentry(d: Dentry, target: Dentry): void {
  const newParent = target.parent!;
  if (target.inode === null) {
    newParent.children?.delete(target.name);
    target.hashed = false;
    target.lru?.remove(target);
  } else overwritten(target);
  const siblings = d.parent?.children;
  if (siblings?.get(d.name) === d) siblings.delete(d.name);
  d.lru?.remove(d);
  d.name = target.name;
  hash(newParent, d);
}

/** RENAME_EXCHANGE: d_exchange(). */
export function exchangeDentries(a: Dentry, b: Dentry): void {
  const aParent = a.parent!;
  const aName = a.name;
  const bParent = b.parent!;
  aParent.children?.delete(aName);
  bParent.children?.delete(b.name);
  a.lru?.remove(a);
  b.lru?.remove(b);
  a.name = b.name;
  b.name = aName;
  hash(bParent, a);
  hash(aParent, b);
}

/** A description of the inode has been closed, or a dentry of it is gone. */
export function inodeReleased(inode: Inode): void {
  if (inode.opens === 0 && (inode.dentries === 0 || (inode.nlink === 0 && !inode.isDir()))) inode.evict();
}

/** A clock: a ring of hashed dentries in the order of their arrival. */
class Lru {
  head: Dentry | null = null;
  tail: Dentry | null = null;
  count = 0;
  limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  push(d: Dentry): void {
    this.append(d);
    if (this.count > this.limit) this.shrink(16, this.limit);
  }

  private append(d: Dentry): void {
    d.lru = this;
    d.lruPrev = this.tail;
    d.lruNext = null;
    if (this.tail === null) this.head = d;
    else this.tail.lruNext = d;
    this.tail = d;
    this.count++;
  }

  remove(d: Dentry): void {
    if (d.lru !== this) return;
    if (d.lruPrev === null) this.head = d.lruNext;
    else d.lruPrev.lruNext = d.lruNext;
    if (d.lruNext === null) this.tail = d.lruPrev;
    else d.lruNext.lruPrev = d.lruPrev;
    d.lru = null;
    d.lruPrev = null;
    d.lruNext = null;
    this.count--;
  }

  /** Drops dentries down to `target`, or finds within some steps that all candidates are in use; never the newest, which a walk is just using. */
  shrink(steps: number, target: number): void {
    for (let step = 0; step < steps && this.count > target; step++) {
      const d = this.head!;
      if (d === this.tail) return;
      this.remove(d);
      if (d.referenced || d.pins > 0 || isHeld(d)) {
        d.referenced = false;
        this.append(d);
      } else {
        d.parent!.children!.delete(d.name);
        d.releaseInode();
      }
    }
  }
}

/** What keeps a dentry besides pins. */
function isHeld(d: Dentry): boolean {
  if (d.mountCount > 0 || (d.children !== null && d.children.size > 0)) return true;
  const inode = d.inode;
  return (
    inode !== null &&
    (inode.boundSocket !== null || inode.fifo !== null || inode.watches !== null || inode.leases !== null || inode.locks !== null)
  );
}

const others = new Lru(DENTRY_LIMIT);
const directories = new Lru(DIRECTORY_LIMIT);

/** Changes the bounds, for tests and for boot. */
export function setDentryLimit(limit: number, ofDirectories = limit): void {
  others.limit = limit;
  directories.limit = ofDirectories;
}

/** Dentries in the cache now. */
export function dentryCount(): number {
  return others.count + directories.count;
}

/** Gives back what nobody holds: prune_dcache_sb() for all. */
export function dropDentries(): void {
  others.shrink(others.count * 2, 0);
  // A directory can go once those below it have gone.
  for (let before = -1; before !== directories.count; ) {
    before = directories.count;
    directories.shrink(before * 2, 0);
  }
}
