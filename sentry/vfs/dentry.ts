// The dentry cache: names of the tree, shared by all mounts of a file system (struct dentry).
//
// A directory's dentry keeps its known children, found ones and missing ones (negative dentries,
// inode null). Memory is bounded by a clock over all dentries: beyond DENTRY_LIMIT the oldest that
// was not used since the hand last passed is dropped. Dropping must not break identity, because a
// mount point, a working directory or an open file may hold the dentry: a dropped child stays in
// `weakChildren` for as long as somebody else holds it, and is found there again. So the garbage
// collector does the work of d_count, and nobody has to count references.
//
// Inodes count their dentries and opens; when both are zero the file system hears evict().

import { ENOENT } from '../abi/errno.ts';
import type { Filesystem, Inode } from './filesystem.ts';

/** Cached dentries of all file systems together. */
export const DENTRY_LIMIT = 32768;

export class Dentry {
  readonly fs: Filesystem;
  name: string;
  /** null: the root of its file system, or detached for good. */
  parent: Dentry | null;
  /** null: the name is known not to exist. */
  inode: Inode | null;
  children: Map<string, Dentry> | null = null;
  weakChildren: Map<string, WeakRef<Dentry>> | null = null;
  /** Mounts, in any namespace, whose mount point is this dentry. */
  mountCount = 0;
  /** Reachable by name from its parent; false once unlinked, overwritten or invalidated. */
  hashed = true;
  /** Used since the clock hand last passed. */
  referenced = false;
  lruPrev: Dentry | null = null;
  lruNext: Dentry | null = null;
  inLru = false;

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
  const child = dir.children?.get(name);
  if (child !== undefined) return child;
  if (dir.weakChildren === null) return undefined;
  const revived = dir.weakChildren.get(name)?.deref();
  if (revived === undefined) return undefined;
  dir.weakChildren.delete(name);
  collected.unregister(revived);
  hash(dir, revived);
  return revived;
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
  lru.push(child);
}

/** A negative dentry becomes the name of `inode`: d_instantiate(). */
export function instantiate(d: Dentry, inode: Inode): void {
  d.inode = inode;
  inode.dentries++;
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
  lru.remove(d);
  if (d.inode !== null) collected.register(d, new Held(d.inode, null, ''), d);
}

/**
 * After unlink or rmdir: the name is gone. Files that nobody has open are given back at once, so
 * that their space is free when unlink(2) returns; a directory may be somebody's cwd.
 */
export function removed(d: Dentry): void {
  const inode = d.inode;
  const isDir = inode?.isDir() === true;
  if (inode === null || isDir || inode.opens > 0) {
    unhash(d);
    return;
  }
  const siblings = d.parent?.children;
  if (siblings?.get(d.name) === d) siblings.delete(d.name);
  d.hashed = false;
  lru.remove(d);
  dropInode(inode);
}

/** Moves a dentry to the place of `target` (negative, or what the rename has replaced): d_move(). */
export function moveDentry(d: Dentry, target: Dentry): void {
  const newParent = target.parent!;
  if (target.inode === null) {
    newParent.children?.delete(target.name);
    target.hashed = false;
    lru.remove(target);
  } else {
    removed(target);
  }
  const siblings = d.parent?.children;
  if (siblings?.get(d.name) === d) siblings.delete(d.name);
  lru.remove(d);
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
  lru.remove(a);
  lru.remove(b);
  a.name = b.name;
  b.name = aName;
  hash(bParent, a);
  hash(aParent, b);
}

/** A description of the inode has been closed, or a dentry of it is gone. */
export function inodeReleased(inode: Inode): void {
  if (inode.opens === 0 && (inode.dentries === 0 || (inode.nlink === 0 && !inode.isDir()))) inode.evict();
}

function dropInode(inode: Inode): void {
  inode.dentries--;
  inodeReleased(inode);
}

/** What is left of a dentry when the collector has taken it. */
class Held {
  readonly inode: Inode;
  readonly parent: Dentry | null;
  readonly name: string;

  constructor(inode: Inode, parent: Dentry | null, name: string) {
    this.inode = inode;
    this.parent = parent;
    this.name = name;
  }
}

const collected = new FinalizationRegistry<Held>((held) => {
  const weak = held.parent?.weakChildren;
  if (weak && weak.get(held.name)?.deref() === undefined) weak.delete(held.name);
  dropInode(held.inode);
});

/** The clock: a ring of all hashed dentries in the order of their arrival. */
class Lru {
  head: Dentry | null = null;
  tail: Dentry | null = null;
  count = 0;
  limit = DENTRY_LIMIT;

  push(d: Dentry): void {
    this.append(d);
    if (this.count > this.limit) this.shrink();
  }

  private append(d: Dentry): void {
    d.inLru = true;
    d.lruPrev = this.tail;
    d.lruNext = null;
    if (this.tail === null) this.head = d;
    else this.tail.lruNext = d;
    this.tail = d;
    this.count++;
  }

  remove(d: Dentry): void {
    if (!d.inLru) return;
    if (d.lruPrev === null) this.head = d.lruNext;
    else d.lruPrev.lruNext = d.lruNext;
    if (d.lruNext === null) this.tail = d.lruPrev;
    else d.lruNext.lruPrev = d.lruPrev;
    d.inLru = false;
    d.lruPrev = null;
    d.lruNext = null;
    this.count--;
  }

  /** Drops one dentry or finds within a few steps that all candidates are in use; never the newest, which a walk is just using. */
  private shrink(): void {
    for (let steps = 0; steps < 16; steps++) {
      const d = this.head!;
      if (d === this.tail) return;
      this.remove(d);
      if (d.referenced || d.mountCount > 0 || hasChildren(d)) {
        d.referenced = false;
        this.append(d);
      } else {
        this.drop(d);
        if (this.count <= this.limit) return;
      }
    }
  }

  private drop(d: Dentry): void {
    const parent = d.parent!;
    parent.children!.delete(d.name);
    if (d.inode === null) {
      d.hashed = false;
      return;
    }
    if (parent.weakChildren === null) parent.weakChildren = new Map();
    parent.weakChildren.set(d.name, new WeakRef(d));
    collected.register(d, new Held(d.inode, parent, d.name), d);
  }
}

function hasChildren(d: Dentry): boolean {
  return d.children !== null && d.children.size > 0;
}

const lru = new Lru();

/** Changes the bound, for tests and for boot. */
export function setDentryLimit(limit: number): void {
  lru.limit = limit;
}

/** Dentries in the cache now. */
export function dentryCount(): number {
  return lru.count;
}
