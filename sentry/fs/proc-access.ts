// Who may look into whom: kernel/ptrace.c:__ptrace_may_access() with security/commoncap.c.

import { EPERM } from '../abi/errno.ts';
import { CAP_SYS_PTRACE } from '../abi/sched.ts';
import type { CapSet } from '../kernel/credentials.ts';
import type { Task } from '../kernel/task.ts';
import { landlockMayTrace } from '../vfs/landlock.ts';

const SUID_DUMP_USER = 1;

/**
 * Whether `t` may inspect `target` as ptrace(2) would: 0 or -EPERM. `byFsIds` is
 * PTRACE_MODE_FSCREDS, for file access; otherwise the real ids count (PTRACE_MODE_REALCREDS).
 */
export function ptraceMayAccess(t: Task, target: Task, byFsIds: boolean): number {
  if (t.group === target.group) return 0;
  if (!landlockMayTrace(t.landlock, target.landlock)) return -EPERM;
  const mine = t.creds;
  const theirs = target.creds;
  const uid = byFsIds ? mine.fsuid : mine.uid;
  const gid = byFsIds ? mine.fsgid : mine.gid;
  const sameIds =
    uid === theirs.euid && uid === theirs.suid && uid === theirs.uid && gid === theirs.egid && gid === theirs.sgid && gid === theirs.gid;
  const capable = mine.capableIn(theirs.userns, CAP_SYS_PTRACE);
  if (!sameIds && !capable) return -EPERM;
  if (target.group.dumpable !== SUID_DUMP_USER && !capable) return -EPERM;
  // cap_ptrace_access_check(): nobody looks into a more privileged task of its own namespace.
  const enough = byFsIds ? mine.effective : mine.permitted;
  if (mine.userns === theirs.userns && isSubset(theirs.permitted, enough)) return 0;
  return capable ? 0 : -EPERM;
}

function isSubset(inner: CapSet, outer: CapSet): boolean {
  return (inner.lo & ~outer.lo) === 0 && (inner.hi & ~outer.hi) === 0;
}
