import { EINVAL, EOPNOTSUPP } from '../abi/errno.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { ATTR_SIZE, Inode, type SetAttr, type VfsPath } from '../vfs/filesystem.ts';
import { copyAttr, SimpleXattrs } from '../vfs/simple-attr.ts';
import { touchChanged } from '../vfs/times.ts';
import type { TmpfsFilesystem } from './tmpfs.ts';

/** What all tmpfs inodes share. */
export abstract class TmpfsInode extends Inode {
  declare readonly fs: TmpfsFilesystem;
  private xattrs: SimpleXattrs | null = null;
  private freed = false;

  constructor(fs: TmpfsFilesystem, ino: number, mode: number) {
    super(fs, ino, mode);
    this.keepsAtime = true;
  }

  override open(_t: Task | null, _path: VfsPath, _flags: number): FileDescription | number {
    return -EINVAL;
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    if ((attr.mask & ATTR_SIZE) !== 0) return -EINVAL;
    copyAttr(this, attr);
    return 0;
  }

  override getxattr(name: string): Uint8Array | number {
    if (!knownXattr(name)) return -EOPNOTSUPP;
    if (this.xattrs === null) this.xattrs = new SimpleXattrs();
    return this.xattrs.get(name);
  }

  override setxattr(name: string, value: Uint8Array, flags: number): number {
    if (!knownXattr(name)) return -EOPNOTSUPP;
    if (this.xattrs === null) this.xattrs = new SimpleXattrs();
    const error = this.xattrs.set(name, value, flags);
    if (error === 0) touchChanged(this);
    return error;
  }

  override removexattr(name: string): number {
    if (!knownXattr(name)) return -EOPNOTSUPP;
    if (this.xattrs === null) this.xattrs = new SimpleXattrs();
    const error = this.xattrs.remove(name);
    if (error === 0) touchChanged(this);
    return error;
  }

  override listxattr(): string[] | number {
    return this.xattrs === null ? [] : this.xattrs.names();
  }

  override evict(): void {
    if (this.nlink > 0 || this.freed) return;
    this.freed = true;
    this.fs.unchargeInode();
    this.free();
  }

  /** Gives back what the inode holds beyond itself. */
  protected free(): void {}
}

function knownXattr(name: string): boolean {
  return name.startsWith('user.') || name.startsWith('trusted.') || name.startsWith('security.');
}
