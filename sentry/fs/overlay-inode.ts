// An object of the merged tree. Its attribute fields mirror those of the real inode (the upper one,
// else the topmost lower one), except for the inode number, which stays what it was at first, and
// the number of links, which counts names of the merged tree.

import { ENODATA } from '../abi/errno.ts';
import { O_ACCMODE, O_APPEND, O_CREAT, O_EXCL, O_RDONLY, O_TRUNC } from '../abi/fcntl.ts';
import { S_IFDIR, S_IFMT } from '../abi/stat.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { ATTR_SIZE, Inode, type SetAttr, type VfsPath } from '../vfs/filesystem.ts';
import type { Mount } from '../vfs/mount.ts';
import { touchLink } from '../vfs/times.ts';
import type { OverlayFilesystem } from './overlay.ts';
import { copyUp } from './overlay-copy-up.ts';
import type { OverlayDir } from './overlay-dir.ts';
import { OverlayFile } from './overlay-file.ts';

/** The overlay's own marks in the upper tree; nobody else's business. */
const PRIVATE_XATTRS = 'trusted.overlay.';

export class OverlayInode extends Inode {
  declare readonly fs: OverlayFilesystem;
  upper: Inode | null;
  /** For a directory all that are merged, topmost first; else at most one. */
  lowers: readonly Inode[];
  /** A name by which it is reached, as far as known: where copy-up puts the twin. */
  dir: OverlayDir | null = null;
  name = '';

  constructor(fs: OverlayFilesystem, upper: Inode | null, lowers: readonly Inode[]) {
    const real = upper ?? lowers[0]!;
    // A copied-up directory keeps the number of its origin.
    const origin = lowers[0] ?? real;
    super(fs, fs.inoOf(origin.fs, origin.ino), real.mode);
    this.upper = upper;
    this.lowers = lowers;
    this.nlink = real.nlink;
    this.mirror();
  }

  /** The inode that holds the contents and attributes now. */
  get real(): Inode {
    return this.upper ?? this.lowers[0]!;
  }

  /** It is about to get its upper half. */
  beforeCopyUp(): void {}

  /** Copies the real inode's attributes. */
  mirror(): void {
    const real = this.real;
    this.mode = real.mode;
    this.uid = real.uid;
    this.gid = real.gid;
    this.rdev = real.rdev;
    this.size = real.size;
    this.blocks = real.blocks;
    this.blockSize = real.blockSize;
    this.atimeSec = real.atimeSec;
    this.atimeNsec = real.atimeNsec;
    this.mtimeSec = real.mtimeSec;
    this.mtimeNsec = real.mtimeNsec;
    this.ctimeSec = real.ctimeSec;
    this.ctimeNsec = real.ctimeNsec;
    this.btimeSec = real.btimeSec;
    this.btimeNsec = real.btimeNsec;
    // Counting the subdirectories of a merged directory would mean reading it: fs/overlayfs/inode.c:ovl_getattr().
    if ((this.mode & S_IFMT) === S_IFDIR) this.nlink = this.upper !== null && this.lowers.length === 0 ? real.nlink : 1;
  }

  override getattr(t: Task | null): number {
    const error = this.real.getattr(t);
    if (error < 0) return error;
    this.mirror();
    return 0;
  }

  override setattr(t: Task | null, attr: SetAttr): number {
    const drops = (attr.mask & ATTR_SIZE) !== 0 && attr.size === 0;
    const error = copyUp(this, !drops) || this.upper!.setattr(t, attr);
    this.mirror();
    return error;
  }

  override readlink(t: Task | null): string | number {
    return this.real.readlink(t);
  }

  override linkRead(mount: Mount): void {
    const { real } = this;
    // A lower layer is never written to, not even its access times: fs/overlayfs/inode.c:ovl_update_time().
    if (this.upper === null) return;
    touchLink(mount, real);
    this.mirror();
  }

  override open(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    if ((flags & O_ACCMODE) !== O_RDONLY || (flags & O_TRUNC) !== 0) {
      const error = copyUp(this, (flags & O_TRUNC) === 0);
      if (error < 0) return error;
    }
    const inner = this.openReal(t, path, flags);
    return typeof inner === 'number' ? inner : new OverlayFile(path, flags, this, inner);
  }

  /** A description of the real inode; it belongs to one of ours, so the place it names is ours too. */
  openReal(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    return this.real.open(t, path, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_APPEND));
  }

  override getxattr(name: string): Uint8Array | number {
    return name.startsWith(PRIVATE_XATTRS) ? -ENODATA : this.real.getxattr(name);
  }

  override setxattr(name: string, value: Uint8Array, flags: number): number {
    const error = copyUp(this, true) || this.upper!.setxattr(name, value, flags);
    this.mirror();
    return error;
  }

  override removexattr(name: string): number {
    const known = this.getxattr(name);
    if (typeof known === 'number') return known;
    const error = copyUp(this, true) || this.upper!.removexattr(name);
    this.mirror();
    return error;
  }

  override listxattr(): string[] | number {
    const names = this.real.listxattr();
    return typeof names === 'number' ? names : names.filter((n) => !n.startsWith(PRIVATE_XATTRS));
  }

  /** A name of the merged tree is gone. */
  nameGone(): void {
    this.nlink--;
    if (this.nlink > 0) return;
    // The index has counted as a name of the upper file: overlay-copy-up.ts.
    if (this.fs.unindex(this)) this.upper!.nlink--;
  }

  override evict(): void {
    if (this.upper !== null) {
      if (this.nlink === 0) this.upper.evict();
      return;
    }
    for (const lower of this.lowers) {
      this.fs.forget(lower);
      lower.evict();
    }
  }
}
