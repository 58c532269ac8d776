// Directories of an overlay: fs/overlayfs/{namei,dir,readdir}.c.
//
// The first readdir merges the layers' listings into `merged`; from then on the directory keeps it
// up to date itself (lower trees do not change, and the upper one only through here), with cookies
// that grow, so that positions stay right.

import { EINVAL, EIO, ENOENT, ENOTEMPTY, EPERM, EXDEV } from '../abi/errno.ts';
import { O_RDONLY, RENAME_EXCHANGE, RENAME_WHITEOUT } from '../abi/fcntl.ts';
import { S_IFCHR, S_IFDIR, S_IFMT } from '../abi/stat.ts';
import { latin1 } from '../base/latin1.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Task } from '../kernel/task.ts';
import { takeNames } from '../vfs/dir-names.ts';
import { DirStream, FIRST_COOKIE, type StreamEntry, type StreamSource } from '../vfs/dir-stream.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { DirSink, Inode, VfsPath } from '../vfs/filesystem.ts';
import { touchAtime } from '../vfs/times.ts';
import { copyUp, maker, openLayer } from './overlay-copy-up.ts';
import { OverlayInode } from './overlay-inode.ts';
import { isWhiteout, OPAQUE_XATTR } from './overlay-marks.ts';

const DT_CHR = S_IFCHR >> 12;
const YES = new Uint8Array([0x79]);

class MergedEntry implements StreamEntry {
  readonly name: string;
  readonly cookie: number;
  removed = false;
  private readonly ino: number;
  private readonly mode: number;

  constructor(name: string, cookie: number, ino: number, mode: number) {
    this.name = name;
    this.cookie = cookie;
    this.ino = ino;
    this.mode = mode;
  }

  entryIno(): number {
    return this.ino;
  }

  entryMode(): number {
    return this.mode;
  }
}

/** An open directory. As long as it is nothing but its one lower half, that half's own stream is passed on. */
class OverlayDirStream extends DirStream {
  private readonly node: OverlayDir;
  private lower: FileDescription | null = null;

  constructor(path: VfsPath, flags: number, node: OverlayDir) {
    super(path, flags, node, node);
    this.node = node;
  }

  override readdir(t: Task, sink: DirSink): number {
    if (this.pos === 0 || this.lower !== null) {
      const lower = this.passedOn();
      if (lower !== null) return this.pass(t, lower, sink);
    }
    const error = this.node.merge(t);
    return error < 0 ? error : super.readdir(t, sink);
  }

  /** The stream of the lower half if it alone is the directory, or null. */
  private passedOn(): FileDescription | null {
    const { node } = this;
    if (!node.isLowerAlone()) return null;
    if (this.lower === null) {
      const lower = openLayer(node.lowers[0]!, O_RDONLY);
      if (typeof lower === 'number') return null;
      this.lower = lower;
      node.passing++;
    }
    this.lower.pos = this.pos;
    return this.lower.hasPlainEntries() ? this.lower : null;
  }

  private pass(t: Task, lower: FileDescription, sink: DirSink): number {
    touchAtime(this.path!.mount, this.dir);
    passer.to = sink;
    passer.base = this.node.lowerInoBase();
    passer.self = this.dir.ino;
    passer.parent = (this.path!.dentry.parent?.inode ?? this.dir).ino;
    const error = lower.readdir(t, passer);
    this.pos = lower.pos;
    return error;
  }

  protected override release(t: Task | null): void {
    super.release(t);
    if (this.lower === null) return;
    this.node.passing--;
    this.lower.decRef(t);
  }
}

/** Hands a lower stream's entries on with the overlay's inode numbers. */
class Passer implements DirSink {
  to!: DirSink;
  base = 0;
  self = 0;
  parent = 0;

  entry(name: string, ino: number, type: number, next: number): boolean {
    const number = name === '.' ? this.self : name === '..' ? this.parent : this.base + ino;
    return this.to.entry(name, number, type, next);
  }

  entryBytes(bytes: Uint8Array, at: number, length: number, ino: number, type: number, next: number): boolean {
    return this.to.entryBytes(bytes, at, length, this.base + ino, type, next);
  }
}

const passer = new Passer();

export class OverlayDir extends OverlayInode implements StreamSource {
  private merged: Map<string, MergedEntry> | null = null;
  private nextCookie = FIRST_COOKIE;
  /** Open streams that pass the lower half's on. */
  passing = 0;

  /** Nothing is merged here, and no change has been made yet. */
  isLowerAlone(): boolean {
    return this.upper === null && this.merged === null && this.lowers.length === 1;
  }

  lowerInoBase(): number {
    return this.fs.inoOf(this.lowers[0]!.fs, 0);
  }

  override beforeCopyUp(): void {
    // Streams that stand in the lower half go on in the merged listing, whose positions begin with the same entries.
    if (this.passing > 0) this.merge(null);
  }

  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    return new OverlayDirStream(path, flags, this);
  }

  // ---- merging

  override lookup(name: string): Inode | number {
    let upper: Inode | null = null;
    if (this.upper !== null) {
      const found = this.upper.lookup(name);
      if (typeof found !== 'number') {
        const known = this.fs.known(found);
        if (known !== undefined) return this.placed(name, known);
        if (isWhiteout(found)) return -ENOENT;
        upper = found;
      } else if (found !== -ENOENT) return found;
    }
    const lowers: Inode[] = [];
    if (upper === null || (upper.isDir() && !isOpaque(upper))) {
      const error = this.lowerLookup(name, upper !== null, lowers);
      if (error < 0) return error;
    }
    if (upper === null && lowers.length === 0) return -ENOENT;
    return this.placed(name, this.fs.object(upper, lowers));
  }

  /** What the lower trees merge under a name; with `dirsOnly` the upper tree has a directory there. */
  private lowerLookup(name: string, dirsOnly: boolean, out: Inode[]): number {
    const last = this.lowers.length - 1;
    for (let i = 0; i <= last; i++) {
      const found = this.lowers[i]!.lookup(name);
      if (typeof found === 'number') {
        if (found === -ENOENT) continue;
        return found;
      }
      if (isWhiteout(found)) break;
      if (!found.isDir()) {
        if (!dirsOnly && out.length === 0) out.push(found);
        break;
      }
      out.push(found);
      if (i < last && isOpaque(found)) break;
    }
    return 0;
  }

  private placed(name: string, child: OverlayInode): OverlayInode {
    child.dir = this;
    child.name = name;
    return child;
  }

  /** Whether the lower trees would show something under the name. */
  private lowerHas(name: string): boolean {
    const found: Inode[] = [];
    this.lowerLookup(name, false, found);
    return found.length > 0;
  }

  entries(): Iterator<StreamEntry> {
    return this.merged!.values();
  }

  /** Makes `merged`, if it is not there: 0 or -errno. */
  merge(t: Task | null): number {
    if (this.merged !== null) return 0;
    const merged = new Map<string, MergedEntry>();
    const hidden = new Set<string>();
    const layers = this.upper === null ? this.lowers : [this.upper, ...this.lowers];
    for (const layer of layers) {
      const error = this.mergeLayer(t, layer, merged, hidden);
      if (error < 0) return error;
    }
    this.merged = merged;
    return 0;
  }

  private mergeLayer(t: Task | null, layer: Inode, merged: Map<string, MergedEntry>, hidden: Set<string>): number {
    const file = openLayer(layer, O_RDONLY);
    if (typeof file === 'number') return file;
    const sink = new LayerSink(this, layer, merged, hidden);
    let error = 0;
    for (let before = -1; error === 0 && file.pos !== before; ) {
      before = file.pos;
      // Layers list for the kernel itself; those that take part (tmpfs, the gofer's) do not ask for whom.
      error = file.readdir(t as Task, sink);
    }
    file.decRef(null);
    return Math.min(error, 0);
  }

  /** An entry of a layer, for LayerSink. */
  mergeEntry(layer: Inode, name: string, ino: number, type: number, merged: Map<string, MergedEntry>, hidden: Set<string>): void {
    if (merged.has(name) || hidden.has(name)) return;
    let number = this.fs.inoOf(layer.fs, ino);
    if (type === DT_CHR || layer === this.upper) {
      const inode = layer.lookup(name);
      if (typeof inode !== 'number') {
        if (isWhiteout(inode)) {
          hidden.add(name);
          return;
        }
        if (layer === this.upper) number = this.fs.upperIno(inode);
      }
    }
    merged.set(name, new MergedEntry(name, this.nextCookie++, number, type << 12));
  }

  private insert(name: string, child: OverlayInode): OverlayInode {
    this.merged?.set(name, new MergedEntry(name, this.nextCookie++, child.ino, child.mode & S_IFMT));
    return this.placed(name, child);
  }

  private take(name: string): void {
    const entry = this.merged?.get(name);
    if (entry === undefined) return;
    entry.removed = true;
    this.merged!.delete(name);
  }

  override evict(): void {
    this.merged = null;
    super.evict();
  }

  // ---- making names

  override create(creds: Credentials, name: string, mode: number): Inode | number {
    return this.make(name, false, (dir) => dir.create(creds, name, mode));
  }

  override mkdir(creds: Credentials, name: string, mode: number): Inode | number {
    return this.make(name, true, (dir) => dir.mkdir(creds, name, mode));
  }

  override mknod(creds: Credentials, name: string, mode: number, rdev: number): Inode | number {
    // "Don't allow creation of 'whiteout' on overlay": fs/overlayfs/dir.c:ovl_mknod().
    if ((mode & S_IFMT) === S_IFCHR && rdev === 0) return -EPERM;
    return this.make(name, false, (dir) => dir.mknod(creds, name, mode, rdev));
  }

  override symlink(creds: Credentials, name: string, target: string): Inode | number {
    return this.make(name, false, (dir) => dir.symlink(creds, name, target));
  }

  override tmpfile(creds: Credentials, mode: number): Inode | number {
    const error = copyUp(this, true);
    if (error < 0) return error;
    const made = this.upper!.tmpfile(creds, mode);
    return typeof made === 'number' ? made : this.fs.object(made, []);
  }

  /** Makes an object in the upper directory, in place of the whiteout if there is one. */
  private make(name: string, isDir: boolean, create: (dir: Inode) => Inode | number): Inode | number {
    const dir = this.ready();
    if (typeof dir === 'number') return dir;
    const hid = dropWhiteout(dir, name);
    const made = create(dir);
    if (typeof made === 'number') {
      if (hid) dir.mknod(maker, name, S_IFCHR, 0);
      return made;
    }
    // What a lower tree has under this name must not show through the new directory.
    if (isDir && hid) made.setxattr(OPAQUE_XATTR, YES, 0);
    this.mirror();
    return this.insert(name, this.fs.object(made, []));
  }

  /** The upper directory, made if it is not there; or -errno. */
  private ready(): Inode | number {
    const error = copyUp(this, true);
    return error < 0 ? error : this.upper!;
  }

  override link(name: string, target: Inode): number {
    const file = target as OverlayInode;
    const dir = this.ready();
    if (typeof dir === 'number') return dir;
    let error = copyUp(file, true);
    if (error < 0) return error;
    const hid = dropWhiteout(dir, name);
    error = dir.link(name, file.upper!);
    if (error < 0) {
      if (hid) dir.mknod(maker, name, S_IFCHR, 0);
      return error;
    }
    file.nlink++;
    file.mirror();
    this.mirror();
    this.insert(name, file);
    return 0;
  }

  // ---- taking names away

  override unlink(name: string, child: Inode): number {
    const file = child as OverlayInode;
    const dir = this.ready();
    if (typeof dir === 'number') return dir;
    const error = this.removeUpper(dir, name);
    if (error < 0) return error;
    this.nameRemoved(dir, name);
    file.nameGone();
    file.mirror();
    return 0;
  }

  override rmdir(name: string, child: Inode): number {
    const gone = child as OverlayDir;
    let error = gone.merge(null);
    if (error < 0) return error;
    if (gone.merged!.size > 0) return -ENOTEMPTY;
    const dir = this.ready();
    if (typeof dir === 'number') return dir;
    error = this.removeUpper(dir, name);
    if (error < 0) return error;
    this.nameRemoved(dir, name);
    gone.nlink = 0;
    return 0;
  }

  /** Takes the upper tree's entry away, if it has one. A directory's whiteouts go with it. */
  private removeUpper(dir: Inode, name: string): number {
    const found = dir.lookup(name);
    if (typeof found === 'number') return found === -ENOENT ? 0 : found;
    if (!found.isDir()) return dir.unlink(name, found);
    const error = clearWhiteouts(found);
    return error < 0 ? error : dir.rmdir(name, found);
  }

  /** The merged tree has lost a name: hides the lower one. */
  private nameRemoved(dir: Inode, name: string): void {
    if (this.lowerHas(name)) dir.mknod(maker, name, S_IFCHR, 0);
    this.take(name);
    this.mirror();
  }

  // ---- renaming

  override rename(oldName: string, child: Inode, newDir: Inode, newName: string, replaced: Inode | undefined, flags: number): number {
    // What would be a whiteout to others is none to see here: ovl_rename().
    if ((flags & RENAME_WHITEOUT) !== 0) return -EINVAL;
    const moved = child as OverlayInode;
    const target = replaced as OverlayInode | undefined;
    const to = newDir as OverlayDir;
    const exchange = (flags & RENAME_EXCHANGE) !== 0;
    // What is merged must find its lower halves again at the new place: only memory tells.
    if (!this.fs.ownsUpper && (isMerged(moved) || (exchange && isMerged(target!)))) return -EXDEV;
    if (target instanceof OverlayDir && !exchange) {
      const error = target.merge(null);
      if (error < 0) return error;
      if (target.merged!.size > 0) return -ENOTEMPTY;
    }
    let error = this.ownName(oldName, moved);
    if (error < 0) return error;
    const fromUpper = this.upper!;
    const toUpper = to.ready();
    if (typeof toUpper === 'number') return toUpper;
    if (exchange) {
      error = to.ownName(newName, target!);
      if (error < 0) return error;
      error = fromUpper.rename(oldName, moved.upper!, toUpper, newName, target!.upper!, flags);
      if (error < 0) return error;
      this.take(oldName);
      to.take(newName);
      this.insert(oldName, target!);
      to.insert(newName, moved);
      this.mirror();
      to.mirror();
      return 0;
    }

    const hid = dropWhiteout(toUpper, newName);
    let over = toUpper.lookup(newName);
    if (typeof over !== 'number' && over.isDir()) {
      error = clearWhiteouts(over);
      if (error < 0) return error;
    }
    if (typeof over === 'number' && over !== -ENOENT) return over;
    over = typeof over === 'number' ? 0 : over;
    error = fromUpper.rename(oldName, moved.upper!, toUpper, newName, typeof over === 'number' ? undefined : over, 0);
    if (error < 0) {
      if (hid) toUpper.mknod(maker, newName, S_IFCHR, 0);
      return error;
    }
    if (moved.isDir() && !isMerged(moved)) moved.upper!.setxattr(OPAQUE_XATTR, YES, 0);
    if (target !== undefined) {
      if (target instanceof OverlayDir) target.nlink = 0;
      else target.nameGone();
      to.take(newName);
    }
    this.nameRemoved(fromUpper, oldName);
    to.insert(newName, moved);
    moved.mirror();
    to.mirror();
    return 0;
  }

  /** Copies the child up, and makes sure that the upper directory has it under this name. */
  private ownName(name: string, child: OverlayInode): number {
    const dir = this.ready();
    if (typeof dir === 'number') return dir;
    this.placed(name, child);
    const error = copyUp(child, true);
    if (error < 0) return error;
    const found = dir.lookup(name);
    if (typeof found !== 'number') return found === child.upper ? 0 : -EIO;
    // One of several lower names: the twin has had none so far.
    return found === -ENOENT ? dir.link(name, child.upper!) : found;
  }
}

/** Takes a layer's entries into the merged listing. */
class LayerSink implements DirSink {
  private readonly dir: OverlayDir;
  private readonly layer: Inode;
  private readonly merged: Map<string, MergedEntry>;
  private readonly hidden: Set<string>;

  constructor(dir: OverlayDir, layer: Inode, merged: Map<string, MergedEntry>, hidden: Set<string>) {
    this.dir = dir;
    this.layer = layer;
    this.merged = merged;
    this.hidden = hidden;
  }

  entry(name: string, ino: number, type: number, _next: number): boolean {
    if (name !== '.' && name !== '..') this.dir.mergeEntry(this.layer, name, ino, type, this.merged, this.hidden);
    return true;
  }

  entryBytes(bytes: Uint8Array, at: number, length: number, ino: number, type: number, next: number): boolean {
    return this.entry(latin1(bytes, at, at + length), ino, type, next);
  }
}

function isMerged(node: OverlayInode): boolean {
  return (node.mode & S_IFMT) === S_IFDIR && node.lowers.length > 0;
}

function isOpaque(dir: Inode): boolean {
  const mark = dir.getxattr(OPAQUE_XATTR);
  return typeof mark !== 'number' && mark.length === 1 && mark[0] === YES[0];
}

/** Takes a whiteout away: whether there was one. */
function dropWhiteout(dir: Inode, name: string): boolean {
  const found = dir.lookup(name);
  if (typeof found === 'number' || !isWhiteout(found)) return false;
  if (dir.unlink(name, found) < 0) return false;
  found.evict();
  return true;
}

/** Empties an upper directory that shows nothing. */
function clearWhiteouts(dir: Inode): number {
  const file = openLayer(dir, O_RDONLY);
  if (typeof file === 'number') return file;
  const names = takeNames(file);
  if (typeof names === 'number') return names;
  for (const name of names) if (!dropWhiteout(dir, name)) return -ENOTEMPTY;
  return 0;
}
