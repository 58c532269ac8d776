// Making and changing the namespaces of a task: kernel/nsproxy.c, kernel/user_namespace.c. Mount
// namespaces hang on the FsContext and are copied there.

import type { AddressSpace } from '../../platform/platform.ts';
import { ENOSPC, EPERM } from '../abi/errno.ts';
import { CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWTIME, CLONE_NEWUSER, CLONE_NEWUTS } from '../abi/sched.ts';
import { type Credentials, fullCaps, noCaps } from './credentials.ts';
import { roomForNamespaces } from './namespace-limits.ts';
import { CgroupNamespace, IpcNamespace, NetNamespace, type NsProxy } from './namespaces.ts';
import type { PidNamespace } from './pid-namespace.ts';
import type { Task } from './task.ts';
import { TimeNamespace } from './time-namespace.ts';
import { UserNamespace } from './user-namespace.ts';
import { UtsNamespace } from './uts-namespace.ts';
import { shiftVdso } from './vdso-clock.ts';

/** kernel/user_namespace.c:create_user_ns(): a parent may be this deep. */
const MAX_USER_NS_LEVEL = 32;

/** The set with those replaced by new ones that CLONE_NEW* flags name; pidForChildren is the caller's to choose. */
export function unshareNamespaces(from: NsProxy, flags: number, userns: UserNamespace, pidForChildren: PidNamespace): NsProxy {
  const kinds = CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWTIME;
  if ((flags & kinds) === 0 && pidForChildren === from.pidForChildren) return from;
  return from.with({
    uts: (flags & CLONE_NEWUTS) !== 0 ? new UtsNamespace(userns, from.uts.hostname, from.uts.domainname) : from.uts,
    ipc: (flags & CLONE_NEWIPC) !== 0 ? new IpcNamespace(userns) : from.ipc,
    net: (flags & CLONE_NEWNET) !== 0 ? new NetNamespace(userns, true) : from.net,
    cgroup: (flags & CLONE_NEWCGROUP) !== 0 ? new CgroupNamespace(userns) : from.cgroup,
    pidForChildren,
    timeForChildren: (flags & CLONE_NEWTIME) !== 0 ? TimeNamespace.like(from.timeForChildren, userns) : from.timeForChildren,
  });
}

/** Goes into the namespace that is meant for children: timens_on_fork(), exec_task_namespaces(). `space` is the process's memory, where it is kept. */
export function enterTimeForChildren(t: Task, space: AddressSpace | null): void {
  const { timeForChildren } = t.ns;
  if (t.ns.time !== timeForChildren) enterTime(t, timeForChildren, space);
}

/** timens_commit(). */
export function enterTime(t: Task, ns: TimeNamespace, space: AddressSpace | null): void {
  const before = t.ns.time;
  ns.frozen = true;
  t.ns = t.ns.with({ time: ns, timeForChildren: ns });
  if (before.isShifted === ns.isShifted) return;
  // The stub answers clock_gettime() for those whose clocks are the host's.
  t.context.withdrawAnswers();
  if (space !== null) shiftVdso(t.kernel.platform, space, ns.isShifted);
}

/** create_user_ns(): credentials with every capability in a new namespace. -EPERM when the creator's ids are not mapped, -ENOSPC when nested too deep or beyond a limit. */
export function newUserNamespace(t: Task): Credentials | number {
  const creds = t.creds;
  if (creds.userns.level > MAX_USER_NS_LEVEL || roomForNamespaces(t, CLONE_NEWUSER, creds.userns) < 0) return -ENOSPC;
  // "verify that we can not violate the policy of which files may be accessed that is specified by the root directory"
  const root = t.fs.mountNamespace.rootPath();
  if (t.fs.root.mount !== root.mount || t.fs.root.dentry !== root.dentry) return -EPERM;
  if (!creds.userns.hasUid(creds.euid) || !creds.userns.hasGid(creds.egid)) return -EPERM;
  const ns = new UserNamespace(creds.userns, creds.euid, creds.egid);
  return enterUserNamespace(creds, ns);
}

/** set_cred_user_ns(): all capabilities there, none anywhere else. */
export function enterUserNamespace(creds: Credentials, ns: UserNamespace): Credentials {
  const made = creds.clone(ns);
  made.securebits = 0;
  made.inheritable = noCaps();
  made.ambient = noCaps();
  made.permitted = fullCaps();
  made.effective = fullCaps();
  made.bounding = fullCaps();
  return made;
}
