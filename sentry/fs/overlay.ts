// overlay: one tree out of read-only lower trees and an upper one that takes all changes; fs/overlayfs.
//
//   overlay-inode.ts    an object of the merged tree, and what it delegates to
//   overlay-dir.ts      merging: lookup, readdir, whiteouts, opaque directories, rename
//   overlay-copy-up.ts  the moment an object of a lower tree gets its upper twin
//   overlay-file.ts     open descriptions, which move to the upper file when it appears
//
// An OverlayInode belongs to the upper inode if there is one, else to the topmost lower one, and
// lives as long as that does (Inode.overlay). With a tmpfs of its own for an upper tree, whose
// inodes stay, this makes inode numbers constant, hard links whole and directories renamable without
// what Linux keeps in trusted.overlay.{origin,redirect} and its index directory. One that mount(2)
// has made breaks hard links when it copies up, and answers EXDEV for merged directories, as Linux
// does by default: its upper tree must mean the same after an unmount.
//
// Names in the upper tree: a whiteout (character device 0/0) hides a lower name, a directory with
// trusted.overlay.opaque=y hides all that lies below it.

import { EINVAL, EROFS } from '../abi/errno.ts';
import { OVERLAYFS_SUPER_MAGIC, S_IFDIR, S_IFMT } from '../abi/stat.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';
import type { VfsContext } from '../vfs/context.ts';
import { Filesystem, type Inode, type StatFs } from '../vfs/filesystem.ts';
import { LOOKUP_DIRECTORY, LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import type { FilesystemType, Vfs } from '../vfs/vfs.ts';
import { copyAttributes } from './overlay-copy-up.ts';
import { OverlayDir } from './overlay-dir.ts';
import { OverlayInode } from './overlay-inode.ts';
import { TmpfsFilesystem } from './tmpfs.ts';

/** Each layer's inode numbers start at a multiple of this. */
const INO_SPAN = 2 ** 44;

export class OverlayFilesystem extends Filesystem {
  /**
   * The upper tree is in memory and nobody else's: what an object remembers (its origin, its lower
   * halves, its other names) need not be written down there.
   */
  readonly ownsUpper: boolean;
  private readonly rootDir: OverlayDir;
  private readonly optionText: string;
  private readonly inoBase: Map<Filesystem, number> = new Map();
  /** For inodes that are part of another overlay too: the others know their object themselves (Inode.overlay). */
  private readonly shared: WeakMap<Inode, OverlayInode> = new WeakMap();
  /** Copied-up files with several lower names, by overlay inode number: the index directory. */
  private readonly index: Map<number, OverlayInode> = new Map();

  constructor(lowerRoots: readonly Inode[], upperRoot: Inode | null, ownsUpper: boolean, optionText: string) {
    super('overlay', allocateAnonDev(), OVERLAYFS_SUPER_MAGIC);
    this.source = 'overlay';
    this.acls = 1;
    this.optionText = optionText;
    this.readOnly = upperRoot === null;
    this.ownsUpper = ownsUpper;
    for (const root of lowerRoots) this.addLayer(root.fs);
    if (upperRoot !== null) this.addLayer(upperRoot.fs);
    this.rootDir = new OverlayDir(this, upperRoot, lowerRoots);
    if (upperRoot !== null) this.remember(upperRoot, this.rootDir);
  }

  private addLayer(fs: Filesystem): void {
    if (this.inoBase.has(fs)) return;
    this.inoBase.set(fs, this.inoBase.size * INO_SPAN);
    // A layer lives as long as the overlay, whoever unmounts it elsewhere.
    fs.mounts++;
  }

  override root(): Inode {
    return this.rootDir;
  }

  /** The inode number that stands for a layer's inode: Linux's xino. */
  inoOf(fs: Filesystem, ino: number): number {
    return this.inoBase.get(fs)! + ino;
  }

  /** The number of what an upper directory lists under a name: its origin's if it was copied up. */
  upperIno(upper: Inode): number {
    return this.known(upper)?.ino ?? this.inoOf(upper.fs, upper.ino);
  }

  /** The object that a layer's inode belongs to, if there is one already. */
  known(part: Inode): OverlayInode | undefined {
    const own = part.overlay;
    if (own === null) return undefined;
    return own.fs === this ? (own as OverlayInode) : this.shared.get(part);
  }

  private remember(part: Inode, object: OverlayInode): void {
    if (part.overlay === null || part.overlay.fs === this) part.overlay = object;
    else this.shared.set(part, object);
  }

  /** The object made of these layers' inodes; the same one as long as they are. */
  object(upper: Inode | null, lowers: readonly Inode[]): OverlayInode {
    const first = upper ?? lowers[0]!;
    const known = this.known(first) ?? (upper === null ? this.indexed(first) : undefined);
    if (known !== undefined) return known;
    const made = (first.mode & S_IFMT) === S_IFDIR ? new OverlayDir(this, upper, lowers) : new OverlayInode(this, upper, lowers);
    this.remember(first, made);
    return made;
  }

  private indexed(lower: Inode): OverlayInode | undefined {
    return lower.nlink > 1 ? this.index.get(this.inoOf(lower.fs, lower.ino)) : undefined;
  }

  /** An object has got its upper inode. `manyNames`: other lower names lead to it too. */
  copiedUp(inode: OverlayInode, upper: Inode, manyNames: boolean): void {
    this.remember(upper, inode);
    if (manyNames) this.index.set(inode.ino, inode);
  }

  /** The last name of an indexed object is gone. */
  unindex(inode: OverlayInode): boolean {
    return this.index.delete(inode.ino);
  }

  /** The object of a lower inode may be made anew from now on. */
  forget(lower: Inode): void {
    if (lower.overlay?.fs === this) lower.overlay = null;
    else this.shared.delete(lower);
  }

  override options(): string {
    return this.optionText;
  }

  override statfs(out: StatFs): number {
    const error = (this.rootDir.upper ?? this.rootDir.lowers[0]!).fs.statfs(out);
    out.type = this.magic;
    return error;
  }

  override sync(): number {
    return this.rootDir.upper?.fs.sync() ?? 0;
  }

  override release(): void {
    for (const fs of this.inoBase.keys()) if (--fs.mounts === 0) fs.release();
  }
}

/** An overlay of whole file systems, the topmost lower one first; -EINVAL where a root is no directory. `upper` is empty and ours alone. */
export function newOverlay(lowers: readonly Filesystem[], upper: Filesystem): OverlayFilesystem | number {
  const roots = lowers.map((fs) => fs.root());
  if (roots.length === 0 || roots.some((r) => (r.mode & S_IFMT) !== S_IFDIR)) return -EINVAL;
  for (const fs of lowers) fs.becomeLayer();
  const root = upper.root();
  // The merged root shows the upper one's attributes, and a fresh upper tree should not change what the lower one has.
  const error = copyAttributes(root, roots[0]!);
  return error < 0 ? error : new OverlayFilesystem(roots, root, upper instanceof TmpfsFilesystem, '');
}

/** For mount(2): lowerdir=a:b, upperdir=, workdir=, of directories that the caller can reach. */
export function overlayType(vfs: Vfs): FilesystemType {
  return {
    name: 'overlay',
    nodev: true,
    userMount: true,
    mount(ctx: VfsContext, source: string, _flags: number, options: string): Filesystem | number {
      const fs = mountOverlay(vfs, ctx, options);
      if (typeof fs !== 'number') fs.source = source;
      return fs;
    },
  };
}

const KNOWN = new Set(['redirect_dir', 'index', 'xino', 'metacopy', 'nfs_export', 'uuid', 'verity']);
const KNOWN_FLAGS = new Set(['userxattr', 'volatile', 'default_permissions']);

function mountOverlay(vfs: Vfs, ctx: VfsContext, options: string): OverlayFilesystem | number {
  let lowerText = '';
  let upperText = '';
  let workText = '';
  for (const option of splitEscaped(options, ',')) {
    const eq = option.indexOf('=');
    const key = eq < 0 ? option : option.slice(0, eq);
    const value = option.slice(eq + 1);
    if (key === 'lowerdir') lowerText = value;
    // "The layers are specified one by one, from top to bottom", and colons are nothing special in them.
    else if (key === 'lowerdir+') lowerText += `${lowerText === '' ? '' : ':'}${value.replace(/:/g, '\\:')}`;
    else if (key === 'upperdir') upperText = value;
    else if (key === 'workdir') workText = value;
    else if (option !== '' && !KNOWN.has(key) && !KNOWN_FLAGS.has(option)) return -EINVAL;
  }
  if (lowerText === '') return -EINVAL;
  // "The upperdir and workdir must be on the same mounted filesystem" - filesystems/overlayfs.rst
  if ((upperText === '') !== (workText === '')) return -EINVAL;
  const lowers: Inode[] = [];
  for (const path of splitEscaped(lowerText, ':')) {
    const dir = directory(vfs, ctx, path);
    if (typeof dir === 'number') return dir;
    lowers.push(dir);
  }
  let upper: Inode | null = null;
  let text = `,lowerdir=${lowerText}`;
  if (upperText !== '') {
    const dir = directory(vfs, ctx, upperText);
    if (typeof dir === 'number') return dir;
    const work = directory(vfs, ctx, workText);
    if (typeof work === 'number') return work;
    if (work.fs !== dir.fs) return -EINVAL;
    if (dir.fs.readOnly) return -EROFS;
    upper = dir;
    text += `,upperdir=${upperText},workdir=${workText}`;
  } else if (lowers.length < 2) return -EINVAL;
  return new OverlayFilesystem(lowers, upper, false, text);
}

function directory(vfs: Vfs, ctx: VfsContext, path: string): Inode | number {
  const at = vfs.lookup(ctx, null, path.replace(/\\(.)/g, '$1'), LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  if (typeof at === 'number') return at;
  // A layer is taken as its files are: what the mount makes of their ids would be lost.
  return at.mount.idmap === null ? at.dentry.inode! : -EINVAL;
}

/** Splits at unescaped separators. */
function splitEscaped(text: string, separator: string): string[] {
  const parts: string[] = [];
  let from = 0;
  for (let i = 0; i <= text.length; i++) {
    if (text[i] === '\\') i++;
    else if (i === text.length || text[i] === separator) {
      parts.push(text.slice(from, i));
      from = i + 1;
    }
  }
  return parts;
}
