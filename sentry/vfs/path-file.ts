// O_PATH descriptions: a place in the tree and nothing else. Every operation answers EBADF, as
// empty_fops does behind the checks of fdget().

import { EBADF } from '../abi/errno.ts';
import { O_PATH } from '../abi/fcntl.ts';
import { POLLNVAL } from '../abi/poll.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription } from './file-description.ts';
import type { DirSink, Inode, VfsPath } from './filesystem.ts';
import type { IoBuffer } from './io-buffer.ts';

export class PathFile extends FileDescription {
  constructor(path: VfsPath, flags: number) {
    super(flags | O_PATH, path);
  }

  override inode(): Inode {
    return this.path!.dentry.inode!;
  }

  override read(_t: Task, _io: IoBuffer): number {
    return -EBADF;
  }

  override write(_t: Task, _io: IoBuffer): number {
    return -EBADF;
  }

  override pread(_t: Task | null, _io: IoBuffer, _offset: number): number {
    return -EBADF;
  }

  override pwrite(_t: Task | null, _io: IoBuffer, _offset: number): number {
    return -EBADF;
  }

  override seek(_t: Task, _offset: number, _whence: number): number {
    return -EBADF;
  }

  override poll(_t: Task | null): number {
    return POLLNVAL;
  }

  override ioctl(_t: Task, _cmd: number, _arg: number): number {
    return -EBADF;
  }

  override readdir(_t: Task, _sink: DirSink): number {
    return -EBADF;
  }

  override mmap(): number {
    return -EBADF;
  }

  override fsync(_t: Task, _dataOnly: boolean): number {
    return -EBADF;
  }

  override truncate(_t: Task, _size: number): number {
    return -EBADF;
  }

  override fallocate(_t: Task, _mode: number, _offset: number, _length: number): number {
    return -EBADF;
  }
}
