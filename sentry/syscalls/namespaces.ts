// unshare, setns and the names of a machine: kernel/fork.c:ksys_unshare(), kernel/nsproxy.c,
// kernel/sys.c. Also kcmp(2), which compares what tasks share.

import { EBADF, EFAULT, EINVAL, EPERM, ESRCH, EUSERS } from '../abi/errno.ts';
import {
  CAP_SYS_ADMIN,
  CAP_SYS_CHROOT,
  CLONE_FILES,
  CLONE_FS,
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  CLONE_SIGHAND,
  CLONE_SYSVSEM,
  CLONE_THREAD,
  CLONE_VM,
} from '../abi/sched.ts';
import { SYS_kcmp, SYS_setdomainname, SYS_sethostname, SYS_setns, SYS_unshare } from '../abi/sysno-x64.ts';
import { latin1 } from '../base/latin1.ts';
import { MntNamespace, NsDescription } from '../fs/nsfs.ts';
import { ptraceMayAccess } from '../fs/proc-access.ts';
import { commitCredentials } from '../kernel/exec-credentials.ts';
import type { Namespace } from '../kernel/namespace.ts';
import { chargeNamespaces, held, newPidNamespace, roomForNamespaces } from '../kernel/namespace-limits.ts';
import { enterTime, enterUserNamespace, newUserNamespace, unshareNamespaces } from '../kernel/namespace-sharing.ts';
import type { CgroupNamespace, IpcNamespace, NetNamespace } from '../kernel/namespaces.ts';
import type { PidNamespace } from '../kernel/pid-namespace.ts';
import { PidFd } from '../kernel/pidfd.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import type { TimeNamespace } from '../kernel/time-namespace.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import type { UtsNamespace } from '../kernel/uts-namespace.ts';
import { scratch } from '../mm/guest-memory.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const NEW_FLAGS = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME;
const UNSHARE_FLAGS = NEW_FLAGS | CLONE_NEWUSER | CLONE_THREAD | CLONE_FS | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_SYSVSEM;
const HOST_NAME_MAX = 64;

/** unshare(2). */
export function unshare(t: Task, a: SyscallArgs): number {
  let flags = a.int(0);
  if ((flags & CLONE_NEWUSER) !== 0) flags |= CLONE_THREAD | CLONE_FS;
  if ((flags & CLONE_VM) !== 0) flags |= CLONE_SIGHAND;
  if ((flags & CLONE_SIGHAND) !== 0) flags |= CLONE_THREAD;
  if ((flags & CLONE_NEWNS) !== 0) flags |= CLONE_FS;
  if ((flags & ~UNSHARE_FLAGS) !== 0) return -EINVAL;
  if ((flags & (CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) !== 0 && t.group.tasks.length > 1) return -EINVAL;
  if ((flags & CLONE_SIGHAND) !== 0 && t.group.handlers.refs > 1) return -EINVAL;
  if ((flags & CLONE_VM) !== 0 && t.mm.refs > 1) return -EINVAL;

  const old = t.creds;
  let creds = old;
  if ((flags & CLONE_NEWUSER) !== 0) {
    const made = newUserNamespace(t);
    if (typeof made === 'number') return made;
    creds = made;
  }
  if ((flags & NEW_FLAGS) !== 0 && !creds.capableHere(CAP_SYS_ADMIN)) return -EPERM;
  const full = roomForNamespaces(t, flags & NEW_FLAGS, creds.userns);
  if (full < 0) return full;
  const before = held(t);
  let pidForChildren = t.ns.pidForChildren;
  if ((flags & CLONE_NEWPID) !== 0) {
    const made = newPidNamespace(t, creds.userns);
    if (typeof made === 'number') return made;
    pidForChildren = made;
  }
  if ((flags & CLONE_FS) !== 0 && t.fs.refs > 1) {
    t.fs.refs--;
    t.fs = t.fs.clone();
  }
  if ((flags & CLONE_NEWNS) !== 0) t.fs.unshareMounts(creds.userns);
  if ((flags & CLONE_FILES) !== 0 && t.fds.refs > 1) {
    t.fds.refs--;
    t.fds = t.fds.clone();
  }
  t.ns = unshareNamespaces(t.ns, flags, creds.userns, pidForChildren);
  if ((flags & NEW_FLAGS) !== 0) chargeNamespaces(t, t, before);
  if (creds !== old) commitCredentials(t, old, creds);
  return 0;
}

/** setns(2): by a namespace's own descriptor, or all of another process's that the flags name. */
export function setns(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  const type = a.int(1);
  if (file === undefined) return -EBADF;
  if (file instanceof NsDescription) {
    if (type !== 0 && type !== file.nsType) return -EINVAL;
    return enter(t, file.namespace, file.nsType);
  }
  if (!(file instanceof PidFd)) return -EINVAL;
  if (type === 0 || (type & ~(NEW_FLAGS | CLONE_NEWUSER)) !== 0) return -EINVAL;
  const target = file.target();
  if (typeof target === 'number') return target;
  if (file.group.isDead) return -ESRCH;
  if (ptraceMayAccess(t, target, false) < 0) return -EPERM;
  // The user namespace first, since it gives the rights for the others: kernel/nsproxy.c:validate_nsset().
  const wanted: [number, Namespace][] = [
    [CLONE_NEWUSER, target.creds.userns],
    [CLONE_NEWNS, MntNamespace.of(target.fs.mountNamespace)],
    [CLONE_NEWUTS, target.ns.uts],
    [CLONE_NEWIPC, target.ns.ipc],
    [CLONE_NEWPID, target.pidns],
    [CLONE_NEWCGROUP, target.ns.cgroup],
    [CLONE_NEWNET, target.ns.net],
    [CLONE_NEWTIME, target.ns.time],
  ];
  for (const [flag, ns] of wanted) {
    if ((type & flag) === 0) continue;
    const result = enter(t, ns, flag);
    if (result < 0) return result;
  }
  return 0;
}

function enter(t: Task, ns: Namespace, type: number): number {
  if (type === CLONE_NEWUSER) return enterUser(t, ns as UserNamespace);
  const creds = t.creds;
  const owner = ns.userns ?? t.kernel.rootUserNamespace;
  if (!creds.capableIn(owner, CAP_SYS_ADMIN) || !creds.capableHere(CAP_SYS_ADMIN)) return -EPERM;
  const now = t.ns;
  switch (type) {
    case CLONE_NEWUTS:
      t.ns = now.with({ uts: ns as UtsNamespace });
      return 0;
    case CLONE_NEWIPC:
      t.ns = now.with({ ipc: ns as IpcNamespace });
      return 0;
    case CLONE_NEWNET:
      t.ns = now.with({ net: ns as NetNamespace });
      return 0;
    case CLONE_NEWCGROUP:
      t.ns = now.with({ cgroup: ns as CgroupNamespace });
      return 0;
    case CLONE_NEWPID:
      // Only downwards, so that no process is its own ancestor's parent.
      if (!t.pidns.contains(ns as PidNamespace)) return -EINVAL;
      t.ns = now.with({ pidForChildren: ns as PidNamespace });
      return 0;
    case CLONE_NEWNS:
      if (!creds.capableHere(CAP_SYS_CHROOT)) return -EPERM;
      if (t.fs.refs !== 1) return -EINVAL;
      t.fs.enterMounts((ns as MntNamespace).mounts);
      return 0;
    case CLONE_NEWTIME:
      // timens_install(): all threads of a process have one clock.
      if (t.group.tasks.length > 1 || t.mm.refs > 1) return -EUSERS;
      enterTime(t, ns as TimeNamespace, t.mm.space);
      return 0;
  }
  return -EINVAL;
}

/** userns_install(). */
function enterUser(t: Task, ns: UserNamespace): number {
  // "Don't allow gaining capabilities by reentering the same user namespace."
  if (ns === t.creds.userns) return -EINVAL;
  if (t.group.tasks.length > 1 || t.fs.refs !== 1) return -EINVAL;
  if (!t.creds.capableIn(ns, CAP_SYS_ADMIN)) return -EPERM;
  commitCredentials(t, t.creds, enterUserNamespace(t.creds, ns));
  return 0;
}

/** The name that sethostname and setdomainname are given: latin1, or -errno. */
function copyInName(t: Task, a: SyscallArgs): string | number {
  const length = a.int(1);
  if (!t.creds.capableIn(t.uts.userns, CAP_SYS_ADMIN)) return -EPERM;
  if (length < 0 || length > HOST_NAME_MAX) return -EINVAL;
  if (t.mm.copyIn(a.addr(0), scratch.u8, 0, length) < 0) return -EFAULT;
  return latin1(scratch.u8, 0, length).split('\0')[0]!;
}

/** sethostname(2). */
export function sethostname(t: Task, a: SyscallArgs): number {
  const name = copyInName(t, a);
  if (typeof name === 'number') return name;
  t.uts.hostname = name;
  return 0;
}

/** setdomainname(2). */
export function setdomainname(t: Task, a: SyscallArgs): number {
  const name = copyInName(t, a);
  if (typeof name === 'number') return name;
  t.uts.domainname = name;
  return 0;
}

// ---- kcmp

const KCMP_FILE = 0;
const KCMP_VM = 1;
const KCMP_FILES = 2;
const KCMP_FS = 3;
const KCMP_SIGHAND = 4;
const KCMP_IO = 5;
const KCMP_SYSVSEM = 6;

/** An order among objects: Linux's is that of scrambled addresses, ours of first comparison. */
const orders = new WeakMap<object, number>();
let nextOrder = 1;

function orderOf(object: object): number {
  let order = orders.get(object);
  if (order === undefined) {
    order = nextOrder++;
    orders.set(object, order);
  }
  return order;
}

/** 0 same, 1 less, 2 greater: kcmp_ptr(). */
function compareObjects(a: object, b: object): number {
  if (a === b) return 0;
  return orderOf(a) < orderOf(b) ? 1 : 2;
}

/** kcmp(2). */
export function kcmp(t: Task, a: SyscallArgs): number {
  const one = t.pidns.task(a.int(0));
  const two = t.pidns.task(a.int(1));
  if (one === undefined || two === undefined) return -ESRCH;
  if (ptraceMayAccess(t, one, false) < 0 || ptraceMayAccess(t, two, false) < 0) return -EPERM;
  switch (a.int(2)) {
    case KCMP_FILE: {
      const x = one.fds.get(a.int(3));
      const y = two.fds.get(a.int(4));
      return x === undefined || y === undefined ? -EBADF : compareObjects(x, y);
    }
    case KCMP_VM:
      return compareObjects(one.mm, two.mm);
    case KCMP_FILES:
      return compareObjects(one.fds, two.fds);
    case KCMP_FS:
      return compareObjects(one.fs, two.fs);
    case KCMP_SIGHAND:
      return compareObjects(one.group.handlers, two.group.handlers);
    // Neither I/O contexts nor undo lists exist, so both are the same null pointer.
    case KCMP_IO:
    case KCMP_SYSVSEM:
      return 0;
  }
  return -EINVAL;
}

export const namespaceCalls: readonly SyscallLine[] = [
  call(SYS_unshare, 'unshare', 'flags:flags', unshare),
  call(SYS_setns, 'setns', 'fd:fd nstype:flags', setns),
  call(SYS_sethostname, 'sethostname', 'name:buf:1 len:size', sethostname),
  call(SYS_setdomainname, 'setdomainname', 'name:buf:1 len:size', setdomainname),
  call(SYS_kcmp, 'kcmp', 'pid1:pid pid2:pid type:int idx1:ulong idx2:ulong', kcmp, 'partial', 'no KCMP_EPOLL_TFD'),
];
