// The root object: what all tasks of a sandbox share.

import type { Platform } from '../../platform/platform.ts';
import { List } from '../base/list.ts';
import type { Vfs } from '../vfs/vfs.ts';
import { Credentials } from './credentials.ts';
import type { FutexTable } from './futex.ts';
import { GuestContainer } from './guest-container.ts';
import { KeyTable } from './keys.ts';
import { UserTable } from './limits.ts';
import { type Machine, plainMachine } from './machine.ts';
import { CgroupNamespace, IpcNamespace, NetNamespace, NsProxy } from './namespaces.ts';
import type { PidNamespace } from './pid-namespace.ts';
import type { SyscallArgs } from './syscall-args.ts';
import { Sysctls } from './sysctl.ts';
import type { Task } from './task.ts';
import type { ThreadGroup } from './thread-group.ts';
import { TimeNamespace } from './time-namespace.ts';
import type { Timekeeper } from './timekeeper.ts';
import { TimerHeap } from './timers.ts';
import type { UserNamespace } from './user-namespace.ts';
import type { UtsNamespace } from './uts-namespace.ts';

/** Options of the sandbox that the kernel itself looks at. */
export interface KernelOptions {
  /** One line per call to the log. */
  strace: boolean;
}

/** What dispatch needs of a line of the table. */
export interface SyscallEntry {
  readonly name: string;
  readonly args: readonly string[];
  readonly handler: (t: Task, a: SyscallArgs) => number;
}

export class Kernel {
  readonly platform: Platform;
  readonly clock: Timekeeper;
  readonly vfs: Vfs;
  readonly futexes: FutexTable;
  readonly rootPidNamespace: PidNamespace;
  readonly rootUserNamespace: UserNamespace;
  readonly rootUtsNamespace: UtsNamespace;
  readonly options: KernelOptions;
  /** Processors and memory as the guest sees them. */
  readonly machine: Machine;
  readonly sysctls: Sysctls = new Sysctls();
  readonly keys: KeyTable = new KeyTable(this);
  /** The kernel's own, for what it makes itself. */
  readonly rootCredentials: Credentials;
  /** Pseudo terminals in use, in all instances of devpts. */
  ptyCount = 0;
  /** syscalls/table.ts by number; boot hands it in, since the kernel does not import upwards. */
  readonly syscalls: readonly (SyscallEntry | undefined)[];
  readonly timers: TimerHeap = new TimerHeap();
  /** Woken tasks whose continuations are to run. */
  readonly ready: List<Task> = new List<Task>();
  /** By tid of the root pid namespace. */
  readonly tasks: Map<number, Task> = new Map();
  /** By platform context index. */
  readonly taskOfContext: (Task | undefined)[] = [];
  /** What a task has that has unshared nothing; boot gives a further container its own. */
  readonly initialNamespaces: NsProxy;
  /** Of containers that have none of their own. */
  readonly machineTime: TimeNamespace;
  /** The one that the sandbox began with. */
  readonly firstContainer: GuestContainer;
  readonly users: UserTable = new UserTable();
  /** The init of a pid namespace has ended, with this wait status, and everybody in it is gone; set by boot. */
  onInitExit: ((group: ThreadGroup, status: number) => void) | null = null;
  /** The run loop returns at its next turn. */
  stopped = false;
  /** Whose event or continuation runs now; null for what is no task's. */
  current: Task | null = null;
  /** Exceptions that have killed a process. */
  failures = 0;
  /** Prints every call: syscalls/strace.ts, installed by boot for --strace. */
  trace: SyscallTrace | null = null;
  /** Set by boot: a process has begun, ended or become another program. */
  processesChanged: () => void = () => {};
  /** Set by boot: called about once a second, for as long as there is something to do. */
  everySecond: () => void = () => {};
  /** Called by the run loop for ready host descriptors, by token. */
  readonly hostWatchers: Map<number, HostWatcher> = new Map();

  constructor(parts: {
    platform: Platform;
    clock: Timekeeper;
    vfs: Vfs;
    futexes: FutexTable;
    rootPidNamespace: PidNamespace;
    rootUserNamespace: UserNamespace;
    rootUtsNamespace: UtsNamespace;
    /** That of the first container; without it the machine's own. */
    rootTimeNamespace?: TimeNamespace;
    options: KernelOptions;
    machine?: Machine;
    syscalls: readonly (SyscallEntry | undefined)[];
  }) {
    this.platform = parts.platform;
    this.clock = parts.clock;
    this.vfs = parts.vfs;
    this.futexes = parts.futexes;
    this.rootPidNamespace = parts.rootPidNamespace;
    this.rootUserNamespace = parts.rootUserNamespace;
    this.rootUtsNamespace = parts.rootUtsNamespace;
    this.rootCredentials = Credentials.root(parts.rootUserNamespace);
    this.machineTime = TimeNamespace.initial(parts.rootUserNamespace);
    const time = parts.rootTimeNamespace ?? this.machineTime;
    this.initialNamespaces = new NsProxy({
      uts: parts.rootUtsNamespace,
      ipc: new IpcNamespace(parts.rootUserNamespace),
      net: new NetNamespace(parts.rootUserNamespace, false),
      cgroup: new CgroupNamespace(parts.rootUserNamespace),
      pidForChildren: parts.rootPidNamespace,
      time,
      timeForChildren: time,
    });
    this.options = parts.options;
    this.machine = parts.machine ?? plainMachine();
    this.firstContainer = new GuestContainer(parts.rootPidNamespace, this.initialNamespaces, this.machine);
    this.syscalls = parts.syscalls;
  }

  /** Tells the watchers of host descriptors what has happened by now. */
  takeHostEvents(): void {
    const platform = this.platform;
    for (let token = platform.hostToken(); token >= 0; token = platform.hostToken()) {
      this.hostWatchers.get(token)?.hostReady(platform.hostEvents());
    }
  }
}

/** Told of every system call; `result` may be an internal one of base/errors.ts. */
export interface SyscallTrace {
  enter(t: Task, entry: SyscallEntry | undefined): void;
  /** The task waits inside the call. */
  parked(t: Task): void;
  exit(t: Task, result: number): void;
}

/** Told when a watched host descriptor changes; events are poll(2) bits. */
export interface HostWatcher {
  hostReady(events: number): void;
}
