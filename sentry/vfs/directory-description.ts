// What all open directories have in common.

import { EINVAL, EISDIR } from '../abi/errno.ts';
import { SEEK_CUR, SEEK_SET } from '../abi/fcntl.ts';
import { neverTold } from '../base/wait-queue.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription } from './file-description.ts';
import type { Inode, VfsPath } from './filesystem.ts';
import type { IoBuffer } from './io-buffer.ts';

export abstract class DirectoryDescription<Directory extends Inode = Inode> extends FileDescription {
  protected readonly dir: Directory;

  constructor(path: VfsPath, flags: number, dir: Directory) {
    super(flags, path, neverTold);
    this.dir = dir;
  }

  override inode(): Directory {
    return this.dir;
  }

  override read(_t: Task, _io: IoBuffer): number {
    return -EISDIR;
  }

  override pread(_t: Task | null, _io: IoBuffer, _offset: number): number {
    return -EISDIR;
  }

  // Positions that were never handed out are harmless: fs/libfs.c:dcache_dir_lseek() takes any, too.
  override seek(_t: Task, offset: number, whence: number): number {
    const pos = whence === SEEK_SET ? offset : whence === SEEK_CUR ? this.pos + offset : -1;
    if (pos < 0) return -EINVAL;
    this.pos = pos;
    return pos;
  }

  override fsync(_t: Task, _dataOnly: boolean): number {
    return 0;
  }

  protected parentIno(): number {
    return this.path?.dentry.parent?.inode?.ino ?? this.dir.ino;
  }
}
