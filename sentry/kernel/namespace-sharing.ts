// Making and changing the namespaces of a task: kernel/nsproxy.c, kernel/user_namespace.c. Mount
// namespaces hang on the FsContext and are copied there.

import { EPERM, EUSERS } from '../abi/errno.ts';
import { CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWUTS } from '../abi/sched.ts';
import { type Credentials, fullCaps, noCaps } from './credentials.ts';
import { CgroupNamespace, IpcNamespace, NetNamespace, NsProxy } from './namespaces.ts';
import type { PidNamespace } from './pid-namespace.ts';
import type { Task } from './task.ts';
import { UserNamespace } from './user-namespace.ts';
import { UtsNamespace } from './uts-namespace.ts';

/** include/linux/user_namespace.h: nesting beyond it is -ENOSPC in new, -EUSERS in old kernels. */
const MAX_USER_NS_LEVEL = 32;

/** The set with those replaced by new ones that CLONE_NEW* flags name; pidForChildren is the caller's to choose. */
export function unshareNamespaces(from: NsProxy, flags: number, userns: UserNamespace, pidForChildren: PidNamespace): NsProxy {
  if ((flags & (CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP)) === 0 && pidForChildren === from.pidForChildren) return from;
  return new NsProxy(
    (flags & CLONE_NEWUTS) !== 0 ? new UtsNamespace(userns, from.uts.hostname, from.uts.domainname) : from.uts,
    (flags & CLONE_NEWIPC) !== 0 ? new IpcNamespace(userns) : from.ipc,
    (flags & CLONE_NEWNET) !== 0 ? new NetNamespace(userns, true) : from.net,
    (flags & CLONE_NEWCGROUP) !== 0 ? new CgroupNamespace(userns) : from.cgroup,
    pidForChildren,
  );
}

/** create_user_ns(): credentials with every capability in a new namespace. -EPERM when the creator's ids are not mapped, -EUSERS when nested too deep. */
export function newUserNamespace(t: Task): Credentials | number {
  const creds = t.creds;
  if (creds.userns.level >= MAX_USER_NS_LEVEL) return -EUSERS;
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
