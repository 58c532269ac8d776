// What the processes of one container have in common in the kernel. A sandbox begins with one container; those of a pod
// come later (boot/containers.ts) and share what their configuration says: namespaces are handed over, the rest is each
// container's own.

import type { Context } from '../../platform/platform.ts';
import type { MemoryShare } from './machine.ts';
import type { NsProxy } from './namespaces.ts';
import type { PidNamespace } from './pid-namespace.ts';
import type { ControllingTty } from './process-group.ts';

/** Whether a device may be used so: kind is S_IFCHR or S_IFBLK, access of "rwm". */
export type DeviceCheck = (kind: number, major: number, minor: number, access: string) => boolean;

function everyDevice(): boolean {
  return true;
}

export class GuestContainer {
  /** Where its first program, and those of exec, are born. */
  readonly pidns: PidNamespace;
  readonly namespaces: NsProxy;
  /** Its memory as /proc/meminfo shows it. */
  memory: MemoryShare;
  /** Threads, zombies included. */
  tasks = 0;
  /** Tasks that there may be at once: pids.max of the container. */
  tasksLimit: number = Number.POSITIVE_INFINITY;
  /** /proc/[pid]/cgroup of the host's version 1 hierarchies, and what stands before the path in the unified one. */
  hostCgroups: { readonly lines: string; readonly unified: string } = { lines: '', unified: '' };
  /** What /dev/console opens: the terminal of its first program. */
  console: ControllingTty | null = null;
  /** Which devices its programs may open and make: boot/device-rules.ts. */
  deviceAllowed: DeviceCheck = everyDevice;
  /** A process that makes those of this container, so that they are born in its cgroup on the host; null: the platform's own. */
  nursery: Context | null = null;

  constructor(pidns: PidNamespace, namespaces: NsProxy, memory: MemoryShare) {
    this.pidns = pidns;
    this.namespaces = namespaces;
    this.memory = memory;
  }
}
