// For whom the VFS acts. A Task is one; boot code makes its own, without a task.

import type { Credentials } from '../kernel/credentials.ts';
import type { FsContext } from '../kernel/fs-context.ts';
import type { GuestContainer } from '../kernel/guest-container.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';

export interface VfsContext {
  readonly creds: Credentials;
  /** Root, working directory, umask and mount namespace. */
  readonly fs: FsContext;
  /** null for the kernel's own doings. */
  readonly task: Task | null;
  /** For whose setup the kernel acts; undefined: the first container's. */
  readonly container?: GuestContainer | undefined;
}

/** The container whose namespaces and rules count. */
export function containerOf(ctx: VfsContext, kernel: Kernel): GuestContainer {
  return ctx.task?.group.container ?? ctx.container ?? kernel.firstContainer;
}

/** The kernel's own: boot, exec of the first program, tests. */
export class KernelContext implements VfsContext {
  readonly creds: Credentials;
  readonly fs: FsContext;
  readonly task: Task | null = null;
  readonly container: GuestContainer | undefined;

  constructor(creds: Credentials, fs: FsContext, container?: GuestContainer) {
    this.creds = creds;
    this.fs = fs;
    this.container = container;
  }
}
