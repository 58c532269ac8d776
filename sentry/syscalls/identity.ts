// Who a task is: kernel/sys.c, kernel/groups.c, kernel/capability.c. Ids of the guest are those of
// its user namespace; the kernel's own are the root namespace's.

import { EFAULT, EINVAL, EPERM, ESRCH } from '../abi/errno.ts';
import { NGROUPS_MAX } from '../abi/limits.ts';
import {
  CAP_CHOWN,
  CAP_DAC_OVERRIDE,
  CAP_DAC_READ_SEARCH,
  CAP_FOWNER,
  CAP_FSETID,
  CAP_LAST_CAP,
  CAP_LINUX_IMMUTABLE,
  CAP_MAC_OVERRIDE,
  CAP_MKNOD,
  CAP_SETGID,
  CAP_SETPCAP,
  CAP_SETUID,
  SECBIT_KEEP_CAPS,
  SECBIT_NO_SETUID_FIXUP,
} from '../abi/sched.ts';
import {
  SYS_capget,
  SYS_capset,
  SYS_getegid,
  SYS_geteuid,
  SYS_getgid,
  SYS_getgroups,
  SYS_getresgid,
  SYS_getresuid,
  SYS_getuid,
  SYS_setfsgid,
  SYS_setfsuid,
  SYS_setgid,
  SYS_setgroups,
  SYS_setregid,
  SYS_setresgid,
  SYS_setresuid,
  SYS_setreuid,
  SYS_setuid,
} from '../abi/sysno-x64.ts';
import { type CapSet, type Credentials, capsSubset, noCaps } from '../kernel/credentials.ts';
import { commitCredentials } from '../kernel/exec-credentials.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** "Leave as it is", for set*re*id. */
const KEEP = 0xffffffff;

// ---- reading

/** getuid(2). */
export function getuid(t: Task): number {
  return t.creds.userns.uidFromKernel(t.creds.uid);
}

/** geteuid(2). */
export function geteuid(t: Task): number {
  return t.creds.userns.uidFromKernel(t.creds.euid);
}

/** getgid(2). */
export function getgid(t: Task): number {
  return t.creds.userns.gidFromKernel(t.creds.gid);
}

/** getegid(2). */
export function getegid(t: Task): number {
  return t.creds.userns.gidFromKernel(t.creds.egid);
}

/** getresuid(2). */
export function getresuid(t: Task, a: SyscallArgs): number {
  const { userns, uid, euid, suid } = t.creds;
  return putThree(t, a, userns.uidFromKernel(uid), userns.uidFromKernel(euid), userns.uidFromKernel(suid));
}

/** getresgid(2). */
export function getresgid(t: Task, a: SyscallArgs): number {
  const { userns, gid, egid, sgid } = t.creds;
  return putThree(t, a, userns.gidFromKernel(gid), userns.gidFromKernel(egid), userns.gidFromKernel(sgid));
}

function putThree(t: Task, a: SyscallArgs, real: number, effective: number, saved: number): number {
  if (t.mm.storeU32(a.addr(0), real) < 0) return -EFAULT;
  if (t.mm.storeU32(a.addr(1), effective) < 0) return -EFAULT;
  return t.mm.storeU32(a.addr(2), saved);
}

// ---- user ids

/** Installs changed user ids, after the capability fix-up. */
function changeUids(t: Task, c: Credentials): number {
  fixCapabilities(t.creds, c);
  commitCredentials(t, t.creds, c);
  return 0;
}

/** cap_emulate_setxuid(): leaving root takes capabilities away, becoming effective root gives them. */
function fixCapabilities(old: Credentials, c: Credentials): void {
  if ((c.securebits & SECBIT_NO_SETUID_FIXUP) !== 0) return;
  const root = old.userns.uidToKernel(0);
  const wasRoot = old.uid === root || old.euid === root || old.suid === root;
  const isRoot = c.uid === root || c.euid === root || c.suid === root;
  if (wasRoot && !isRoot) {
    if ((c.securebits & SECBIT_KEEP_CAPS) === 0) {
      c.permitted = noCaps();
      c.effective = noCaps();
    }
    // Pre-ambient programs expect setresuid to nonroot to drop all capabilities.
    c.ambient = noCaps();
  }
  if (old.euid === root && c.euid !== root) c.effective = noCaps();
  if (old.euid !== root && c.euid === root) c.effective = { lo: c.permitted.lo, hi: c.permitted.hi };
}

/** setuid(2). */
export function setuid(t: Task, a: SyscallArgs): number {
  const id = t.creds.userns.uidToKernel(a.uint(0));
  if (id < 0) return -EINVAL;
  const c = t.creds.clone();
  if (t.creds.capableHere(CAP_SETUID)) {
    c.uid = id;
    c.suid = id;
  } else if (id !== t.creds.uid && id !== t.creds.suid) {
    return -EPERM;
  }
  c.euid = id;
  c.fsuid = id;
  return changeUids(t, c);
}

/** setreuid(2). */
export function setreuid(t: Task, a: SyscallArgs): number {
  const old = t.creds;
  const ruid = a.uint(0);
  const euid = a.uint(1);
  const kruid = ruid === KEEP ? old.uid : old.userns.uidToKernel(ruid);
  const keuid = euid === KEEP ? old.euid : old.userns.uidToKernel(euid);
  if (kruid < 0 || keuid < 0) return -EINVAL;
  const privileged = old.capableHere(CAP_SETUID);
  if (ruid !== KEEP && kruid !== old.uid && kruid !== old.euid && !privileged) return -EPERM;
  if (euid !== KEEP && keuid !== old.uid && keuid !== old.euid && keuid !== old.suid && !privileged) return -EPERM;
  const c = old.clone();
  c.uid = kruid;
  c.euid = keuid;
  if (ruid !== KEEP || (euid !== KEEP && keuid !== old.uid)) c.suid = c.euid;
  c.fsuid = c.euid;
  return changeUids(t, c);
}

/** setresuid(2). */
export function setresuid(t: Task, a: SyscallArgs): number {
  const old = t.creds;
  const c = old.clone();
  const privileged = old.capableHere(CAP_SETUID);
  const ids = [old.uid, old.euid, old.suid];
  for (let i = 0; i < 3; i++) {
    if (a.uint(i) === KEEP) continue;
    const id = old.userns.uidToKernel(a.uint(i));
    if (id < 0) return -EINVAL;
    if (id !== old.uid && id !== old.euid && id !== old.suid && !privileged) return -EPERM;
    ids[i] = id;
  }
  c.uid = ids[0]!;
  c.euid = ids[1]!;
  c.suid = ids[2]!;
  c.fsuid = c.euid;
  return changeUids(t, c);
}

/** setfsuid(2): answers the old id, whether it worked or not. */
export function setfsuid(t: Task, a: SyscallArgs): number {
  const old = t.creds;
  const was = old.userns.uidFromKernel(old.fsuid);
  const id = old.userns.uidToKernel(a.uint(0));
  if (id < 0 || id === old.fsuid) return was;
  if (id !== old.uid && id !== old.euid && id !== old.suid && !old.capableHere(CAP_SETUID)) return was;
  const c = old.clone();
  c.fsuid = id;
  if ((c.securebits & SECBIT_NO_SETUID_FIXUP) === 0) {
    const root = old.userns.uidToKernel(0);
    if (old.fsuid === root && id !== root) c.effective = { lo: c.effective.lo & ~FS_CAPS_LO, hi: c.effective.hi & ~FS_CAPS_HI };
    if (old.fsuid !== root && id === root) {
      c.effective = { lo: c.effective.lo | (c.permitted.lo & FS_CAPS_LO), hi: c.effective.hi | (c.permitted.hi & FS_CAPS_HI) };
    }
  }
  commitCredentials(t, old, c);
  return was;
}

/** CAP_FS_SET. */
const FS_CAPS_LO =
  (1 << CAP_CHOWN) |
  (1 << CAP_MKNOD) |
  (1 << CAP_DAC_OVERRIDE) |
  (1 << CAP_DAC_READ_SEARCH) |
  (1 << CAP_FOWNER) |
  (1 << CAP_FSETID) |
  (1 << CAP_LINUX_IMMUTABLE);
const FS_CAPS_HI = 1 << (CAP_MAC_OVERRIDE - 32);

// ---- group ids

/** setgid(2). */
export function setgid(t: Task, a: SyscallArgs): number {
  const old = t.creds;
  const id = old.userns.gidToKernel(a.uint(0));
  if (id < 0) return -EINVAL;
  const c = old.clone();
  if (old.capableHere(CAP_SETGID)) {
    c.gid = id;
    c.sgid = id;
  } else if (id !== old.gid && id !== old.sgid) {
    return -EPERM;
  }
  c.egid = id;
  c.fsgid = id;
  commitCredentials(t, old, c);
  return 0;
}

/** setregid(2). */
export function setregid(t: Task, a: SyscallArgs): number {
  const old = t.creds;
  const rgid = a.uint(0);
  const egid = a.uint(1);
  const krgid = rgid === KEEP ? old.gid : old.userns.gidToKernel(rgid);
  const kegid = egid === KEEP ? old.egid : old.userns.gidToKernel(egid);
  if (krgid < 0 || kegid < 0) return -EINVAL;
  const privileged = old.capableHere(CAP_SETGID);
  if (rgid !== KEEP && krgid !== old.gid && krgid !== old.egid && !privileged) return -EPERM;
  if (egid !== KEEP && kegid !== old.gid && kegid !== old.egid && kegid !== old.sgid && !privileged) return -EPERM;
  const c = old.clone();
  c.gid = krgid;
  c.egid = kegid;
  if (rgid !== KEEP || (egid !== KEEP && kegid !== old.gid)) c.sgid = c.egid;
  c.fsgid = c.egid;
  commitCredentials(t, old, c);
  return 0;
}

/** setresgid(2). */
export function setresgid(t: Task, a: SyscallArgs): number {
  const old = t.creds;
  const c = old.clone();
  const privileged = old.capableHere(CAP_SETGID);
  const ids = [old.gid, old.egid, old.sgid];
  for (let i = 0; i < 3; i++) {
    if (a.uint(i) === KEEP) continue;
    const id = old.userns.gidToKernel(a.uint(i));
    if (id < 0) return -EINVAL;
    if (id !== old.gid && id !== old.egid && id !== old.sgid && !privileged) return -EPERM;
    ids[i] = id;
  }
  c.gid = ids[0]!;
  c.egid = ids[1]!;
  c.sgid = ids[2]!;
  c.fsgid = c.egid;
  commitCredentials(t, old, c);
  return 0;
}

/** setfsgid(2). */
export function setfsgid(t: Task, a: SyscallArgs): number {
  const old = t.creds;
  const was = old.userns.gidFromKernel(old.fsgid);
  const id = old.userns.gidToKernel(a.uint(0));
  if (id < 0 || id === old.fsgid) return was;
  if (id !== old.gid && id !== old.egid && id !== old.sgid && !old.capableHere(CAP_SETGID)) return was;
  const c = old.clone();
  c.fsgid = id;
  commitCredentials(t, old, c);
  return was;
}

/** getgroups(2). */
export function getgroups(t: Task, a: SyscallArgs): number {
  const size = a.int(0);
  const { groups, userns } = t.creds;
  if (size < 0) return -EINVAL;
  if (size === 0) return groups.length;
  if (groups.length > size) return -EINVAL;
  let addr = a.addr(1);
  for (const gid of groups) {
    if (t.mm.storeU32(addr, userns.gidFromKernel(gid)) < 0) return -EFAULT;
    addr += 4;
  }
  return groups.length;
}

/** setgroups(2). */
export function setgroups(t: Task, a: SyscallArgs): number {
  const old = t.creds;
  const count = a.uint(0);
  // may_setgroups(): not before the namespace's gid_map is written, and not where it is denied.
  const { userns } = old;
  if (!old.capableHere(CAP_SETGID) || (userns.parent !== null && userns.gidMap === null) || !userns.setgroupsAllowed) return -EPERM;
  if (count > NGROUPS_MAX) return -EINVAL;
  const addr = a.addr(1);
  const groups: number[] = [];
  for (let i = 0; i < count; i++) {
    const id = t.mm.loadU32(addr + i * 4);
    if (id < 0) return -EFAULT;
    const gid = old.userns.gidToKernel(id);
    if (gid < 0) return -EINVAL;
    groups.push(gid);
  }
  groups.sort((x, y) => x - y);
  const c = old.clone();
  c.groups = groups;
  commitCredentials(t, old, c);
  return 0;
}

// ---- capabilities

const CAPABILITY_VERSION_1 = 0x19980330;
const CAPABILITY_VERSION_2 = 0x20071026;
const CAPABILITY_VERSION_3 = 0x20080522;
const VALID_HI = 2 ** (CAP_LAST_CAP - 31) - 1;

/** Words a set has in the guest's struct: 1, 2, or -EINVAL after telling the version we like. cap_validate_magic(). */
function capabilityWords(t: Task, headerAddr: number): number {
  const version = t.mm.loadU32(headerAddr);
  switch (version) {
    case CAPABILITY_VERSION_1:
      return 1;
    case CAPABILITY_VERSION_2:
    case CAPABILITY_VERSION_3:
      return 2;
  }
  if (version < 0) return -EFAULT;
  return t.mm.storeU32(headerAddr, CAPABILITY_VERSION_3) < 0 ? -EFAULT : -EINVAL;
}

/** capget(2). */
export function capget(t: Task, a: SyscallArgs): number {
  const headerAddr = a.addr(0);
  const dataAddr = a.addr(1);
  const words = capabilityWords(t, headerAddr);
  // A null data pointer only asks for the version.
  if (words < 0) return words === -EINVAL && dataAddr === 0 ? 0 : words;
  if (dataAddr === 0) return 0;
  const pid = t.mm.loadU32(headerAddr + 4);
  if (pid < 0) return -EFAULT;
  if ((pid | 0) < 0) return -EINVAL;
  const target = pid === 0 ? t : t.pidns.task(pid);
  if (target === undefined) return -ESRCH;
  const { effective, permitted, inheritable } = target.creds;
  const v = scratch.view;
  v.setInt32(0, effective.lo, true);
  v.setInt32(4, permitted.lo, true);
  v.setInt32(8, inheritable.lo, true);
  v.setInt32(12, effective.hi, true);
  v.setInt32(16, permitted.hi, true);
  v.setInt32(20, inheritable.hi, true);
  return t.mm.copyOut(dataAddr, scratch.u8, 0, words * 12);
}

/** capset(2): cap_capset(). */
export function capset(t: Task, a: SyscallArgs): number {
  const headerAddr = a.addr(0);
  const words = capabilityWords(t, headerAddr);
  if (words < 0) return words;
  const pid = t.mm.loadU32(headerAddr + 4);
  if (pid < 0) return -EFAULT;
  if (pid !== 0 && pid !== t.pid.numberIn(t.pidns)) return -EPERM;
  scratch.u8.fill(0, 0, 24);
  if (t.mm.copyIn(a.addr(1), scratch.u8, 0, words * 12) < 0) return -EFAULT;
  const v = scratch.view;
  const effective: CapSet = { lo: v.getInt32(0, true), hi: v.getInt32(12, true) & VALID_HI };
  const permitted: CapSet = { lo: v.getInt32(4, true), hi: v.getInt32(16, true) & VALID_HI };
  const inheritable: CapSet = { lo: v.getInt32(8, true), hi: v.getInt32(20, true) & VALID_HI };
  const old = t.creds;
  const union = (x: CapSet, y: CapSet): CapSet => ({ lo: x.lo | y.lo, hi: x.hi | y.hi });
  // "no one may raise inheritable beyond permitted without CAP_SETPCAP", and never beyond the bounding set.
  if (!old.capableHere(CAP_SETPCAP) && !capsSubset(inheritable, union(old.inheritable, old.permitted))) return -EPERM;
  if (!capsSubset(inheritable, union(old.inheritable, old.bounding))) return -EPERM;
  if (!capsSubset(permitted, old.permitted)) return -EPERM;
  if (!capsSubset(effective, permitted)) return -EPERM;
  const c = old.clone();
  c.effective = effective;
  c.permitted = permitted;
  c.inheritable = inheritable;
  c.ambient = {
    lo: c.ambient.lo & permitted.lo & inheritable.lo,
    hi: c.ambient.hi & permitted.hi & inheritable.hi,
  };
  commitCredentials(t, old, c);
  return 0;
}

export const identityCalls: readonly SyscallLine[] = [
  call(SYS_getuid, 'getuid', '', getuid),
  call(SYS_getgid, 'getgid', '', getgid),
  call(SYS_setuid, 'setuid', 'uid:uid', setuid),
  call(SYS_setgid, 'setgid', 'gid:uid', setgid),
  call(SYS_geteuid, 'geteuid', '', geteuid),
  call(SYS_getegid, 'getegid', '', getegid),
  call(SYS_setreuid, 'setreuid', 'ruid:uid euid:uid', setreuid),
  call(SYS_setregid, 'setregid', 'rgid:uid egid:uid', setregid),
  call(SYS_getgroups, 'getgroups', 'size:int list:addr', getgroups),
  call(SYS_setgroups, 'setgroups', 'size:int list:addr', setgroups),
  call(SYS_setresuid, 'setresuid', 'ruid:uid euid:uid suid:uid', setresuid),
  call(SYS_getresuid, 'getresuid', 'ruid:addr euid:addr suid:addr', getresuid),
  call(SYS_setresgid, 'setresgid', 'rgid:uid egid:uid sgid:uid', setresgid),
  call(SYS_getresgid, 'getresgid', 'rgid:addr egid:addr sgid:addr', getresgid),
  call(SYS_setfsuid, 'setfsuid', 'uid:uid', setfsuid),
  call(SYS_setfsgid, 'setfsgid', 'gid:uid', setfsgid),
  call(SYS_capget, 'capget', 'hdrp:addr datap:addr', capget),
  call(SYS_capset, 'capset', 'hdrp:addr datap:addr', capset),
];
