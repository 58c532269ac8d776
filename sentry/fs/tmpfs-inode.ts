import { EINVAL, EOPNOTSUPP } from '../abi/errno.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { ATTR_SIZE, Inode, type SetAttr, type VfsPath } from '../vfs/filesystem.ts';
import { ACL_ACCESS, ACL_DEFAULT } from '../vfs/posix-acl.ts';
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
    const refused = checkName(name);
    if (refused < 0) return refused;
    if (this.xattrs === null) this.xattrs = new SimpleXattrs();
    return this.xattrs.get(name);
  }

  override setxattr(name: string, value: Uint8Array, flags: number): number {
    const refused = checkName(name);
    if (refused < 0) return refused;
    if (this.xattrs === null) this.xattrs = new SimpleXattrs();
    const error = this.xattrs.set(name, value, flags);
    if (error === 0) touchChanged(this);
    return error;
  }

  override removexattr(name: string): number {
    const refused = checkName(name);
    if (refused < 0) return refused;
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

/** xattr_resolve_name(): a kind that tmpfs knows, and something behind the dot. */
function checkName(name: string): number {
  if (name === ACL_ACCESS || name === ACL_DEFAULT) return 0;
  const dot = name.indexOf('.') + 1;
  const kind = name.slice(0, dot);
  if (kind !== 'user.' && kind !== 'trusted.' && kind !== 'security.') return -EOPNOTSUPP;
  return name.length === dot ? -EINVAL : 0;
}
