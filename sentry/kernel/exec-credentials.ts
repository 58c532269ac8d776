// What execve makes of a task's credentials: set-id bits, file capabilities, root's own rules.
// security/commoncap.c:cap_bprm_creds_from_file(), fs/exec.c:bprm_fill_uid().

import { MS_NOSUID } from '../abi/mount.ts';
import { S_ISGID, S_ISUID, S_IXGRP } from '../abi/stat.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { CapSet, Credentials } from './credentials.ts';
import type { Task } from './task.ts';

const SECBIT_NOROOT = 1;
const SECBIT_KEEP_CAPS = 16;

/** struct vfs_ns_cap_data: include/uapi/linux/capability.h. */
const VFS_CAP_REVISION_MASK = 0xff000000;
const VFS_CAP_REVISION_2 = 0x02000000;
const VFS_CAP_REVISION_3 = 0x03000000;
const VFS_CAP_EFFECTIVE = 1;

interface FileCaps {
  permitted: CapSet;
  inheritable: CapSet;
  effective: boolean;
}

/** The credentials a program is to start with; installed once exec can no longer fail. */
export class ExecCredentials {
  readonly creds: Credentials;
  /** AT_SECURE: ids or capabilities have grown. */
  readonly secure: boolean;

  constructor(creds: Credentials, secure: boolean) {
    this.creds = creds;
    this.secure = secure;
  }

  install(t: Task): void {
    const group = t.group;
    const old = t.creds;
    const changed = this.creds.euid !== old.euid || this.creds.egid !== old.egid;
    // A process that has become somebody else is not its user's to inspect: begin_new_exec().
    group.dumpable = this.secure || changed || this.creds.uid !== this.creds.euid || this.creds.gid !== this.creds.egid ? 0 : 1;
    if (changed) t.parentDeathSignal = 0;
    t.creds = this.creds;
  }
}

/** Computes them for the program behind `file`. */
export function credentialsForExec(t: Task, file: FileDescription): ExecCredentials {
  const old = t.creds;
  const c = old.clone();
  const inode = file.inode();
  const mount = file.path?.mount;
  const maySuid = mount !== undefined && (mount.flags & MS_NOSUID) === 0 && !old.noNewPrivs;
  if (maySuid && c.userns.hasUid(inode.uid) && c.userns.hasGid(inode.gid)) {
    if ((inode.mode & S_ISUID) !== 0) c.euid = inode.uid;
    if ((inode.mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP)) c.egid = inode.gid;
  }
  const setId = c.euid !== old.euid || c.egid !== old.egid;
  c.suid = c.fsuid = c.euid;
  c.sgid = c.fsgid = c.egid;

  const raw = maySuid ? inode.getxattr('security.capability') : -1;
  const fileCaps = typeof raw === 'number' ? null : parseFileCaps(raw);
  let permitted: CapSet = { lo: 0, hi: 0 };
  let effective = false;
  if (fileCaps !== null) {
    permitted = union(intersect(fileCaps.permitted, c.bounding), intersect(fileCaps.inheritable, c.inheritable));
    effective = fileCaps.effective;
  }
  const rootUid = c.userns.uidToKernel(0);
  const noRoot = (c.securebits & SECBIT_NOROOT) !== 0;
  if (!noRoot && (c.euid === rootUid || c.uid === rootUid) && !(fileCaps !== null && c.uid !== rootUid)) {
    permitted = union(c.bounding, c.inheritable);
    if (c.euid === rootUid) effective = true;
  }
  if (fileCaps !== null || setId) c.ambient = { lo: 0, hi: 0 };
  c.permitted = union(permitted, c.ambient);
  c.effective = effective ? { lo: c.permitted.lo, hi: c.permitted.hi } : { lo: c.ambient.lo, hi: c.ambient.hi };
  c.securebits &= ~SECBIT_KEEP_CAPS;

  const gained = c.uid !== rootUid && (effective || !isSubset(c.permitted, c.ambient));
  return new ExecCredentials(c, setId || gained || c.uid !== c.euid || c.gid !== c.egid);
}

function union(a: CapSet, b: CapSet): CapSet {
  return { lo: a.lo | b.lo, hi: a.hi | b.hi };
}

function intersect(a: CapSet, b: CapSet): CapSet {
  return { lo: a.lo & b.lo, hi: a.hi & b.hi };
}

function isSubset(a: CapSet, b: CapSet): boolean {
  return (a.lo & ~b.lo) === 0 && (a.hi & ~b.hi) === 0;
}

/** null when the attribute is not of a revision that Linux knows. */
function parseFileCaps(raw: Uint8Array): FileCaps | null {
  if (raw.length < 20) return null;
  const v = new DataView(raw.buffer, raw.byteOffset, raw.length);
  const magic = v.getUint32(0, true);
  const revision = (magic & VFS_CAP_REVISION_MASK) >>> 0;
  if (revision !== VFS_CAP_REVISION_2 && revision !== VFS_CAP_REVISION_3) return null;
  return {
    permitted: { lo: v.getInt32(4, true), hi: v.getInt32(12, true) },
    inheritable: { lo: v.getInt32(8, true), hi: v.getInt32(16, true) },
    effective: (magic & VFS_CAP_EFFECTIVE) !== 0,
  };
}
