// Descriptors 0, 1 and 2 of a program that boot starts: the host's own descriptors, or a terminal of the guest that is
// bridged to the host's.

import { newHostFile } from '../fs/gofer/host-file.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { KernelContext } from '../vfs/context.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { ProcessConfig } from './boot-config.ts';
import type { StartFailure } from './start-process.ts';

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
  kernel: Kernel,
  _process: ProcessConfig,
  hostFds: readonly [number, number, number],
  _root: KernelContext,
): Stdio | StartFailure {
  const files: FileDescription[] = [];
  for (const fd of hostFds) {
    const file = newHostFile(kernel, fd);
    if (typeof file === 'number') return { error: 'a descriptor of the host', errno: -file };
    files.push(file);
  }
  return new HostStdio(files);
}

/** The program has ended: its terminal goes. */
export function releaseStdio(_kernel: Kernel, _stdio: Stdio): void {}
