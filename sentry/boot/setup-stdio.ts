// Descriptors 0, 1 and 2 of a program that boot starts: the host's own descriptors, or a terminal of the guest that is
// bridged to the host's.

import { O_RDWR } from '../abi/fcntl.ts';
import { newPipeInode } from '../fs/anon.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { KernelContext } from '../vfs/context.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import type { ProcessConfig } from './boot-config.ts';
import type { StartFailure } from './start-process.ts';

/** A descriptor of the host that bytes go through in order. */
class HostStream extends FileDescription {
  private readonly hostFd: number;
  private readonly node: Inode = newPipeInode(null);

  constructor(hostFd: number) {
    super(O_RDWR, undefined);
    this.hostFd = hostFd;
  }

  override inode(): Inode {
    return this.node;
  }

  override read(_t: Task, io: IoBuffer): number {
    return io.fromHost(this.hostFd, io.remaining, -1);
  }

  override write(_t: Task, io: IoBuffer): number {
    return io.toHost(this.hostFd, io.remaining, -1);
  }
}

export interface Stdio {
  /** For descriptors 0, 1 and 2. */
  readonly files: readonly FileDescription[];
  /** The program exists: a terminal becomes its controlling one. */
  attach(t: Task): void;
  resize(rows: number, columns: number): void;
}

class HostStdio implements Stdio {
  readonly files: readonly FileDescription[];

  constructor(files: readonly FileDescription[]) {
    this.files = files;
  }

  attach(_t: Task): void {}

  resize(_rows: number, _columns: number): void {}
}

/** Makes the three descriptions; hostFds are taken over. */
export function openStdio(
  _kernel: Kernel,
  _process: ProcessConfig,
  hostFds: readonly [number, number, number],
  _root: KernelContext,
): Stdio | StartFailure {
  const files: FileDescription[] = [];
  for (const fd of hostFds) {
    files.push(new HostStream(fd));
  }
  return new HostStdio(files);
}

/** The program has ended: its terminal goes. */
export function releaseStdio(_kernel: Kernel, _stdio: Stdio): void {}
