// Whose rights a program runs with: fs/exec.c:bprm_fill_uid(), security/commoncap.c:
// cap_bprm_creds_from_file(). In capabilities(7)'s words, for a program without root's privileges:
//
//   P'(ambient)   = (file is privileged) ? 0 : P(ambient)
//   P'(permitted) = (P(inheritable) & F(inheritable)) | (F(permitted) & P(bounding)) | P'(ambient)
//   P'(effective) = F(effective) ? P'(permitted) : P'(ambient)

import { EPERM } from '../abi/errno.ts';
import { MS_NOSUID } from '../abi/mount.ts';
import { CAP_SETUID, CAP_SYS_PTRACE, SECBIT_KEEP_CAPS, SECBIT_NOROOT } from '../abi/sched.ts';
import { S_ISGID, S_ISUID, S_IXGRP } from '../abi/stat.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { gidOn, uidOn } from '../vfs/mount-idmap.ts';
import { type CapSet, type Credentials, capsSubset, noCaps } from './credentials.ts';
import type { Task } from './task.ts';
import type { UserNamespace } from './user-namespace.ts';

// include/uapi/linux/capability.h: struct vfs_ns_cap_data.
const VFS_CAP_REVISION_MASK = 0xff000000;
const VFS_CAP_REVISION_1 = 0x01000000;
const VFS_CAP_REVISION_2 = 0x02000000;
const VFS_CAP_REVISION_3 = 0x03000000;
const VFS_CAP_FLAGS_EFFECTIVE = 1;

const SUID_DUMP_DISABLE = 0;
const SUID_DUMP_USER = 1;

/** A tracer without rights over what its tracee would become keeps it from becoming that: ptracer_capable(). */
function isHeldDown(t: Task, userns: UserNamespace): boolean {
  return t.tracee !== null && !t.tracee.creds.capableIn(userns, CAP_SYS_PTRACE);
}

interface FileCaps {
  permitted: CapSet;
  inheritable: CapSet;
  effective: boolean;
}

/** Credentials of the program that an exec is about to start. */
export class ExecCredentials {
  readonly creds: Credentials;
  /** AT_SECURE. */
  readonly secure: boolean;

  constructor(creds: Credentials, secure: boolean) {
    this.creds = creds;
    this.secure = secure;
  }

  /** commit_creds(), and what begin_new_exec() does with them. */
  install(t: Task): void {
    const old = t.creds;
    const c = this.creds;
    t.group.dumpable = old.euid === old.uid && old.egid === old.gid ? SUID_DUMP_USER : SUID_DUMP_DISABLE;
    if (this.secure) t.parentDeathSignal = 0;
    commitCredentials(t, old, c);
  }
}

/** cred_cap_issubset(): whoever makes a user namespace has, as its owner, all rights in there anyway. */
function gainsNothing(old: Credentials, c: Credentials): boolean {
  if (old.userns === c.userns) return capsSubset(c.permitted, old.permitted);
  for (let ns: UserNamespace | null = c.userns; ns !== null; ns = ns.parent) {
    if (ns.parent === old.userns && ns.owner === old.euid) return true;
  }
  return false;
}

/** Makes `c` the task's credentials; more rights than before make it undumpable and forget PR_SET_PDEATHSIG: kernel/cred.c:commit_creds(). */
export function commitCredentials(t: Task, old: Credentials, c: Credentials): void {
  if (old.euid !== c.euid || old.egid !== c.egid || old.fsuid !== c.fsuid || old.fsgid !== c.fsgid || !gainsNothing(old, c)) {
    t.group.dumpable = SUID_DUMP_DISABLE;
    t.parentDeathSignal = 0;
  }
  if (old.uid !== c.uid) {
    t.kernel.users.get(old.uid).processes--;
    t.kernel.users.get(c.uid).processes++;
  }
  t.creds = c;
}

/** What `t` becomes by executing `file`; nothing changes yet. An error of file capabilities is left to the caller as no privilege. */
export function credentialsForExec(t: Task, file: FileDescription): ExecCredentials {
  const old = t.creds;
  const c = old.clone();
  const inode = file.inode();
  const honoursSetid = file.path === undefined || (file.path.mount.flags & MS_NOSUID) === 0;
  const mount = file.path?.mount ?? null;
  const uid = uidOn(mount, inode.uid);
  const gid = gidOn(mount, inode.gid);
  if (honoursSetid && !old.noNewPrivs && c.userns.hasUid(uid) && c.userns.hasGid(gid)) {
    if ((inode.mode & S_ISUID) !== 0) c.euid = uid;
    // Without group execution the bit means mandatory locking.
    if ((inode.mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP)) c.egid = gid;
  }

  const fileCaps = honoursSetid ? readFileCaps(file, c.userns) : null;
  let effective = false;
  c.permitted = noCaps();
  if (fileCaps !== null) {
    c.permitted = {
      lo: (fileCaps.permitted.lo & c.bounding.lo) | (fileCaps.inheritable.lo & c.inheritable.lo),
      hi: (fileCaps.permitted.hi & c.bounding.hi) | (fileCaps.inheritable.hi & c.inheritable.hi),
    };
    effective = fileCaps.effective;
  }
  const root = c.userns.uidToKernel(0);
  const isSuidRootWithCaps = fileCaps !== null && c.uid !== root && c.euid === root;
  if ((c.securebits & SECBIT_NOROOT) === 0 && !isSuidRootWithCaps) {
    if (c.euid === root || c.uid === root) {
      c.permitted = { lo: old.bounding.lo | old.inheritable.lo, hi: old.bounding.hi | old.inheritable.hi };
    }
    if (c.euid === root) effective = true;
  }

  const isSetid = c.euid !== old.uid || c.egid !== old.gid;
  if ((isSetid || !capsSubset(c.permitted, old.permitted)) && (old.noNewPrivs || sharesFs(t) || isHeldDown(t, c.userns))) {
    if (old.noNewPrivs || !old.capableIn(c.userns, CAP_SETUID)) {
      c.euid = c.uid;
      c.egid = c.gid;
    }
    c.permitted = { lo: c.permitted.lo & old.permitted.lo, hi: c.permitted.hi & old.permitted.hi };
  }
  c.suid = c.euid;
  c.fsuid = c.euid;
  c.sgid = c.egid;
  c.fsgid = c.egid;
  if (fileCaps !== null || isSetid) c.ambient = noCaps();
  c.permitted = { lo: c.permitted.lo | c.ambient.lo, hi: c.permitted.hi | c.ambient.hi };
  const source = effective ? c.permitted : c.ambient;
  c.effective = { lo: source.lo, hi: source.hi };
  c.securebits &= ~SECBIT_KEEP_CAPS;
  const gained = effective || !capsSubset(c.permitted, c.ambient);
  return new ExecCredentials(c, isSetid || (c.uid !== root && gained));
}

/** LSM_UNSAFE_SHARE: another process sees the same root and working directory. */
function sharesFs(t: Task): boolean {
  let own = 0;
  for (const other of t.group.tasks) if (other.fs === t.fs) own++;
  return t.fs.refs > own;
}

/** Whether exec must fail: the file demands capabilities that the bounding set withholds. 0 or -EPERM. */
export function checkFileCaps(t: Task, file: FileDescription): number {
  if (file.path !== undefined && (file.path.mount.flags & MS_NOSUID) !== 0) return 0;
  const caps = readFileCaps(file, t.creds.userns);
  if (caps === null || !caps.effective) return 0;
  const c = t.creds;
  const got = {
    lo: (caps.permitted.lo & c.bounding.lo) | (caps.inheritable.lo & c.inheritable.lo),
    hi: (caps.permitted.hi & c.bounding.hi) | (caps.inheritable.hi & c.inheritable.hi),
  };
  return capsSubset(caps.permitted, got) ? 0 : -EPERM;
}

/** get_vfs_caps_from_disk(): null without the attribute, or when it belongs to another user namespace. */
function readFileCaps(file: FileDescription, userns: UserNamespace): FileCaps | null {
  const value = file.inode().getxattr('security.capability');
  if (typeof value === 'number' || value.length < 12) return null;
  const v = new DataView(value.buffer, value.byteOffset, value.length);
  const magic = v.getUint32(0, true);
  const revision = (magic & VFS_CAP_REVISION_MASK) >>> 0;
  const size = revision === VFS_CAP_REVISION_1 ? 12 : revision === VFS_CAP_REVISION_2 ? 20 : revision === VFS_CAP_REVISION_3 ? 24 : -1;
  if (size !== value.length) return null;
  const rootId = uidOn(file.path?.mount ?? null, revision === VFS_CAP_REVISION_3 ? v.getUint32(20, true) : 0);
  if (rootId < 0) return null;
  // v2 belongs to the root of the file system's namespace, v3 to the root it names: rootid_owns_currentns().
  let owns = false;
  for (let ns: UserNamespace | null = userns; ns !== null; ns = ns.parent) if (ns.uidToKernel(0) === rootId) owns = true;
  if (!owns) return null;
  const two = revision !== VFS_CAP_REVISION_1;
  return {
    permitted: { lo: v.getInt32(4, true), hi: two ? v.getInt32(12, true) : 0 },
    inheritable: { lo: v.getInt32(8, true), hi: two ? v.getInt32(16, true) : 0 },
    effective: (magic & VFS_CAP_FLAGS_EFFECTIVE) !== 0,
  };
}
