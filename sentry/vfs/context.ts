// For whom the VFS acts. A Task is one; boot code makes its own, without a task.

import type { Credentials } from '../kernel/credentials.ts';
import type { FsContext } from '../kernel/fs-context.ts';
import type { Task } from '../kernel/task.ts';

export interface VfsContext {
  readonly creds: Credentials;
  /** Root, working directory, umask and mount namespace. */
  readonly fs: FsContext;
  /** null for the kernel's own doings. */
  readonly task: Task | null;
}

/** The kernel's own: boot, exec of the first program, tests. */
export class KernelContext implements VfsContext {
  readonly creds: Credentials;
  readonly fs: FsContext;
  readonly task: Task | null = null;

  constructor(creds: Credentials, fs: FsContext) {
    this.creds = creds;
    this.fs = fs;
  }
}
