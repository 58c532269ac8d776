// mounts, mountinfo and mountstats: fs/proc_namespace.c. Readers may wait for a change: the file
// polls as POLLERR | POLLPRI once the mounts differ from what they were when it was last asked.

import { EINVAL } from '../abi/errno.ts';
import { POLLERR, POLLIN, POLLPRI, POLLRDNORM } from '../abi/poll.ts';
import type { Pid } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { VfsPath } from '../vfs/filesystem.ts';
import type { MountNamespace } from '../vfs/mount.ts';
import { TextDescription } from './kernfs.ts';
import { type ProcView, TaskFile, taskOf } from './proc-inode.ts';

export type MountsText = (ns: MountNamespace, root: VfsPath) => string;

export class MountsFile extends TaskFile {
  constructor(view: ProcView, pid: Pid, ino: number, permissions: number, text: MountsText) {
    super(view, pid, ino, permissions, (_t, target) => text(target.fs.mountNamespace, target.fs.root), undefined, false);
  }

  // "EINVAL" for a task that has no namespace any more: mounts_open_common().
  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    const target = taskOf(this.pid);
    if (target === undefined || target.stateLetter() === 'Z') return -EINVAL;
    return new MountsDescription(flags, path, this, target.fs.mountNamespace);
  }
}

class MountsDescription extends TextDescription {
  private readonly ns: MountNamespace;
  private seen: number;

  constructor(flags: number, path: VfsPath, node: MountsFile, ns: MountNamespace) {
    super(flags, path, node, ns.waiters);
    this.ns = ns;
    this.seen = ns.generation;
  }

  override canPoll(): boolean {
    return true;
  }

  override poll(_t: Task | null): number {
    let events = POLLIN | POLLRDNORM;
    if (this.ns.generation !== this.seen) {
      this.seen = this.ns.generation;
      events |= POLLERR | POLLPRI;
    }
    return events;
  }
}
