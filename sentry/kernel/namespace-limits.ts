// /proc/sys/user/max_*_namespaces: kernel/ucount.c. A namespace counts against its maker's euid in the user
// namespace that it belongs to, and against the owner of each user namespace on the way up from there.
//
// Nobody counts namespaces as they come and go, since what holds one is found by the garbage collector alone. When a limit
// is in the way at all, those that tasks are in are counted. One that only a descriptor or a mount holds does not count.

import { EINVAL, ENOSPC } from '../abi/errno.ts';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../abi/sched.ts';

import { MAX_PID_NS_LEVEL, PidNamespace } from './pid-namespace.ts';
import type { Task } from './task.ts';
import type { UserNamespace } from './user-namespace.ts';

const KINDS: readonly (readonly [number, string])[] = [
  [CLONE_NEWUSER, 'user'],
  [CLONE_NEWNS, 'mnt'],
  [CLONE_NEWUTS, 'uts'],
  [CLONE_NEWIPC, 'ipc'],
  [CLONE_NEWPID, 'pid'],
  [CLONE_NEWNET, 'net'],
  [CLONE_NEWCGROUP, 'cgroup'],
  [CLONE_NEWTIME, 'time'],
];

/** What kernel/sysctl.ts begins with: a limit that is no lower is out of reach. */
const DEFAULT_LIMIT = 31512;

interface Counted {
  readonly userns: UserNamespace | null;
}

/** Euid of who made a namespace; a user namespace knows its owner. */
const makers = new WeakMap<Counted, number>();

/** Room in all limits for the new namespaces that `flags` name, in user namespace `userns`: 0 or -ENOSPC. */
export function roomForNamespaces(t: Task, flags: number, userns: UserNamespace): number {
  for (const [flag, kind] of KINDS) {
    if ((flags & flag) === 0) continue;
    let uid = t.creds.euid;
    for (let at: UserNamespace | null = userns; at !== null; at = at.parent) {
      const limit = at.namespaceLimit(kind, t.kernel.sysctls.int(`user.max_${kind}_namespaces`));
      if (limit < DEFAULT_LIMIT && (limit === 0 || countCharged(t, kind, at, uid) >= limit)) return -ENOSPC;
      uid = at.owner;
    }
  }
  return 0;
}

/** Remembers who made what `child` has and `maker` has not. */
export function chargeNamespaces(maker: Task, child: Task, before: ReadonlySet<Counted>): void {
  for (const ns of held(child)) if (!before.has(ns)) makers.set(ns, maker.creds.euid);
}

/** What a task is in, user namespaces left out. */
export function held(t: Task): ReadonlySet<Counted> {
  const { uts, ipc, net, cgroup, pidForChildren, time, timeForChildren } = t.ns;
  return new Set<Counted>([uts, ipc, net, cgroup, pidForChildren, time, timeForChildren, t.fs.mountNamespace]);
}

/** How many namespaces of a kind are charged to `uid` in user namespace `at`. */
function countCharged(t: Task, kind: string, at: UserNamespace, uid: number): number {
  const seen = new Set<Counted>();
  const { rootPidNamespace } = t.kernel;
  for (const number of rootPidNamespace.numbers()) {
    const task = rootPidNamespace.findAny(number)?.task;
    if (task === undefined || task === null) continue;
    if (kind === 'user') {
      for (let ns: UserNamespace | null = task.creds.userns; ns !== null; ns = ns.parent) seen.add(ns);
    } else if (kind === 'mnt') seen.add(task.fs.mountNamespace);
    else if (kind === 'pid') {
      for (let ns: PidNamespace | null = task.ns.pidForChildren; ns !== null; ns = ns.parent) seen.add(ns);
    } else {
      seen.add(task.ns[kind as 'uts' | 'ipc' | 'net' | 'cgroup' | 'time']);
      if (kind === 'time') seen.add(task.ns.timeForChildren);
    }
  }
  let count = 0;
  for (const ns of seen) if (chargedIn(ns, kind, at) === uid) count++;
  return count;
}

/** The id that a namespace is charged to in user namespace `at`, or -1. */
function chargedIn(ns: Counted, kind: string, at: UserNamespace): number {
  let uid = kind === 'user' ? (ns as UserNamespace).owner : (makers.get(ns) ?? -1);
  for (let level = ns.userns; level !== null; level = level.parent) {
    if (level === at) return uid;
    uid = level.owner;
  }
  return -1;
}

/** copy_pid_ns(): a namespace for the caller's next children. -EINVAL when it has made one already, -ENOSPC when nested too deep. */
export function newPidNamespace(t: Task, userns: UserNamespace): PidNamespace | number {
  if (t.ns.pidForChildren !== t.pidns) return -EINVAL;
  if (t.pidns.level >= MAX_PID_NS_LEVEL) return -ENOSPC;
  return new PidNamespace(t.pidns, userns);
}
