// struct nsproxy and the namespaces that hold no more than others hang on them. A task's set is
// immutable: unshare and setns install a changed copy, so that threads can share one.

import type { Namespace } from './namespace.ts';
import { nextNamespaceIno } from './namespace.ts';
import type { PidNamespace } from './pid-namespace.ts';
import type { TimeNamespace } from './time-namespace.ts';
import type { UserNamespace } from './user-namespace.ts';
import type { UtsNamespace } from './uts-namespace.ts';

/** SysV IPC objects and POSIX message queues; their tables hang on `tables`, by name of the owner module. */
export class IpcNamespace implements Namespace {
  readonly kind = 'ipc';
  readonly ino: number = nextNamespaceIno();
  readonly userns: UserNamespace;
  readonly tables: Map<string, unknown> = new Map();

  constructor(userns: UserNamespace) {
    this.userns = userns;
  }
}

/** Interfaces, routes, sockets. The network code keeps its state in `stack`. */
export class NetNamespace implements Namespace {
  readonly kind = 'net';
  readonly ino: number = nextNamespaceIno();
  readonly userns: UserNamespace;
  /** Made inside the sandbox: at first it has a loopback interface that is down and nothing else. */
  readonly isolated: boolean;
  stack: unknown = null;
  /** Descriptors that name it. */
  opens = 0;

  constructor(userns: UserNamespace, isolated: boolean) {
    this.userns = userns;
    this.isolated = isolated;
  }
}

export class CgroupNamespace implements Namespace {
  readonly kind = 'cgroup';
  readonly ino: number = nextNamespaceIno();
  readonly userns: UserNamespace;

  constructor(userns: UserNamespace) {
    this.userns = userns;
  }
}

/** One namespace of each kind that a task's set has. */
export interface NsParts {
  readonly uts: UtsNamespace;
  readonly ipc: IpcNamespace;
  readonly net: NetNamespace;
  readonly cgroup: CgroupNamespace;
  /** Where the next child is born: pid_ns_for_children. A task's own namespace is its pid's. */
  readonly pidForChildren: PidNamespace;
  readonly time: TimeNamespace;
  /** Where the next child, or the program of the next exec, is: time_ns_for_children. */
  readonly timeForChildren: TimeNamespace;
}

export class NsProxy implements NsParts {
  readonly uts: UtsNamespace;
  readonly ipc: IpcNamespace;
  readonly net: NetNamespace;
  readonly cgroup: CgroupNamespace;
  readonly pidForChildren: PidNamespace;
  readonly time: TimeNamespace;
  readonly timeForChildren: TimeNamespace;

  constructor(parts: NsParts) {
    this.uts = parts.uts;
    this.ipc = parts.ipc;
    this.net = parts.net;
    this.cgroup = parts.cgroup;
    this.pidForChildren = parts.pidForChildren;
    this.time = parts.time;
    this.timeForChildren = parts.timeForChildren;
  }

  /** The same but for what `change` has. */
  with(change: Partial<NsParts>): NsProxy {
    return new NsProxy({ ...this, ...change });
  }
}
