// Changes of attributes, checked as Linux checks them, then handed to the inode: fs/attr.c, fs/open.c,
// fs/utimes.c. All take a resolved inode, so that path and descriptor calls share them; mount and
// dentry are null for files without a place in the tree.

import { EINVAL, EISDIR, EOPNOTSUPP, EOVERFLOW, EPERM, EROFS, ETXTBSY } from '../abi/errno.ts';
import { LANDLOCK_ACCESS_FS_TRUNCATE } from '../abi/landlock.ts';
import { IN_ACCESS, IN_ATTRIB, IN_MODIFY } from '../abi/poll.ts';
import { CAP_CHOWN, CAP_FSETID } from '../abi/sched.ts';
import { S_IALLUGO, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_IXGRP, UTIME_NOW, UTIME_OMIT } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Task } from '../kernel/task.ts';
import type { Dentry } from './dentry.ts';
import type { FileDescription } from './file-description.ts';
import {
  ATTR_ATIME,
  ATTR_ATIME_NOW,
  ATTR_GID,
  ATTR_MODE,
  ATTR_MTIME,
  ATTR_MTIME_NOW,
  ATTR_SIZE,
  ATTR_UID,
  type Inode,
  SetAttr,
} from './filesystem.ts';
import { notifyDentry } from './fsnotify.ts';
import { landlockPath } from './landlock.ts';
import { breakLeases } from './leases.ts';
import type { Mount } from './mount.ts';
import { credsOn } from './mount-idmap.ts';
import { capableOver, hasUnmappedId, inodePermission, MAY_WRITE, ownerOrCapable, privilegeBits, wantWrite } from './permissions.ts';
import { ACL_ACCESS, aclOf, storeAcl } from './posix-acl.ts';

/** Reused: handlers do not interleave, and file systems do not keep it. */
const attr = new SetAttr();

/** chmod(2): mode's S_IALLUGO bits. */
export function chmod(t: Task | null, creds: Credentials, mount: Mount | null, inode: Inode, d: Dentry | null, mode: number): number {
  const error = mount === null ? 0 : wantWrite(mount);
  if (error < 0) return error;
  creds = credsOn(mount, creds);
  // notify_change(): the mode of a symbolic link means nothing.
  if ((inode.mode & S_IFMT) === S_IFLNK) return -EOPNOTSUPP;
  if (hasUnmappedId(creds, inode)) return -EOVERFLOW;
  if (!ownerOrCapable(creds, inode)) return -EPERM;
  mode &= S_IALLUGO;
  if ((mode & S_ISGID) !== 0 && !creds.inGroup(inode.gid) && !capableOver(creds, inode, CAP_FSETID)) mode &= ~S_ISGID;
  attr.mask = ATTR_MODE;
  attr.mode = (inode.mode & S_IFMT) | mode;
  const result = apply(t, d, inode);
  return result < 0 ? result : chmodAcl(inode, mode);
}

/** posix_acl_chmod(): the list follows the mode, where the host does not see to that. */
function chmodAcl(inode: Inode, mode: number): number {
  if (inode.fs.acls === 2) inode.accessAcl = undefined;
  if (inode.fs.acls !== 1) return 0;
  const acl = aclOf(inode, ACL_ACCESS)?.copy();
  if (acl === undefined) return 0;
  acl.setMode(mode);
  return storeAcl(inode, ACL_ACCESS, acl);
}

/** chown(2) with root-namespace ids; -1 leaves one as it is. */
export function chown(
  t: Task | null,
  creds: Credentials,
  mount: Mount | null,
  inode: Inode,
  d: Dentry | null,
  uid: number,
  gid: number,
): number {
  const error = mount === null ? 0 : wantWrite(mount);
  if (error < 0) return error;
  if (mount !== null && mount.idmap !== null) {
    // "-1" would leave the id as it is, so what the files cannot have is refused first: chown_common().
    const { idmap } = mount;
    if ((uid !== -1 && idmap.uidFrom(uid) < 0) || (gid !== -1 && idmap.gidFrom(gid) < 0)) return -EOVERFLOW;
    // What has no id here can only be given one: notify_change().
    if ((uid === -1 && idmap.uidInto(inode.uid) < 0) || (gid === -1 && idmap.gidInto(inode.gid) < 0)) return -EOVERFLOW;
    uid = idmap.uidFrom(uid);
    gid = idmap.gidFrom(gid);
    creds = idmap.credentials(creds);
  }
  if (uid !== -1 && !(creds.fsuid === inode.uid && uid === inode.uid) && !capableOver(creds, inode, CAP_CHOWN)) return -EPERM;
  if (gid !== -1 && !mayChangeGroup(creds, inode, gid)) return -EPERM;
  attr.mask = (uid === -1 ? 0 : ATTR_UID) | (gid === -1 ? 0 : ATTR_GID);
  attr.uid = uid;
  attr.gid = gid;
  const mode = inode.mode;
  if ((mode & S_IFMT) !== S_IFDIR && (mode & (S_ISUID | S_ISGID)) !== 0) {
    // Whatever the caller's rights: notify_change() with ATTR_KILL_SUID and setattr_should_drop_sgid().
    let kill = mode & S_ISUID;
    if ((mode & S_ISGID) !== 0) {
      const keeps = (mode & S_IXGRP) === 0 && (creds.inGroup(inode.gid) || capableOver(creds, inode, CAP_FSETID));
      if (!keeps) kill |= S_ISGID;
    }
    if (kill !== 0) {
      attr.mask |= ATTR_MODE;
      attr.mode = mode & ~kill;
    }
  }
  return apply(t, d, inode);
}

function mayChangeGroup(creds: Credentials, inode: Inode, gid: number): boolean {
  if (creds.fsuid === inode.uid && (gid === inode.gid || creds.inGroup(gid))) return true;
  return capableOver(creds, inode, CAP_CHOWN);
}

/** One timestamp of utimensat(2). */
export interface NewTime {
  sec: number;
  /** 0..999999999, UTIME_NOW or UTIME_OMIT. */
  nsec: number;
}

/** utimensat(2) with decoded times; null for both means "now". */
export function setTimes(
  t: Task | null,
  creds: Credentials,
  mount: Mount | null,
  inode: Inode,
  d: Dentry | null,
  atime: NewTime | null,
  mtime: NewTime | null,
): number {
  attr.mask = 0;
  let explicit = false;
  if (atime === null || mtime === null || (atime.nsec === UTIME_NOW && mtime.nsec === UTIME_NOW)) {
    attr.mask = ATTR_ATIME | ATTR_MTIME | ATTR_ATIME_NOW | ATTR_MTIME_NOW;
  } else {
    if (!validNsec(atime.nsec) || !validNsec(mtime.nsec)) return -EINVAL;
    // "the call is successful without any check" - do_utimes() when both are UTIME_OMIT.
    if (atime.nsec === UTIME_OMIT && mtime.nsec === UTIME_OMIT) return 0;
    explicit = true;
    if (atime.nsec === UTIME_NOW) attr.mask |= ATTR_ATIME | ATTR_ATIME_NOW;
    else if (atime.nsec !== UTIME_OMIT) {
      attr.mask |= ATTR_ATIME;
      attr.atimeSec = atime.sec;
      attr.atimeNsec = atime.nsec;
    }
    if (mtime.nsec === UTIME_NOW) attr.mask |= ATTR_MTIME | ATTR_MTIME_NOW;
    else if (mtime.nsec !== UTIME_OMIT) {
      attr.mask |= ATTR_MTIME;
      attr.mtimeSec = mtime.sec;
      attr.mtimeNsec = mtime.nsec;
    }
  }
  const error = mount === null ? 0 : wantWrite(mount);
  if (error < 0) return error;
  creds = credsOn(mount, creds);
  if (explicit) {
    if (hasUnmappedId(creds, inode)) return -EOVERFLOW;
    if (!ownerOrCapable(creds, inode)) return -EPERM;
  } else if (!ownerOrCapable(creds, inode)) {
    const denied = inodePermission(inode, creds, MAY_WRITE);
    if (denied < 0) return denied;
  }
  return apply(t, d, inode);
}

function validNsec(nsec: number): boolean {
  return (nsec >= 0 && nsec < 1_000_000_000) || nsec === UTIME_NOW || nsec === UTIME_OMIT;
}

/** truncate(2) on a resolved place. The file-size limit is the caller's to check. */
export function truncatePath(
  t: Task | null,
  creds: Credentials,
  mount: Mount | null,
  inode: Inode,
  d: Dentry | null,
  size: number,
): number {
  if (inode.isDir()) return -EISDIR;
  if (!inode.isRegular()) return -EINVAL;
  creds = credsOn(mount, creds);
  const error = (mount === null ? 0 : wantWrite(mount)) || inodePermission(inode, creds, MAY_WRITE);
  if (error < 0) return error;
  if (inode.writers < 0) return -ETXTBSY;
  const refused = mount === null || d === null ? 0 : landlockPath(t, mount, d, LANDLOCK_ACCESS_FS_TRUNCATE);
  if (refused < 0) return refused;
  const waits = inode.leases === null ? 0 : breakLeases(inode, true, false);
  if (waits < 0) return waits;
  const failed = truncateInode(t, creds, inode, size, null);
  if (failed === 0 && d !== null) notifyDentry(d, IN_MODIFY);
  return failed;
}

/**
 * do_truncate() after all checks: sets the size, and takes setuid and setgid off as a write would.
 * Through `file` where there is an open one, since that may be all the file system can use.
 */
export function truncateInode(t: Task | null, creds: Credentials, inode: Inode, size: number, file: FileDescription | null): number {
  const kill = privilegeBits(inode, creds);
  // O_RDONLY | O_TRUNC truncates too, but not through a descriptor that cannot write.
  if (file !== null && t !== null && file.writable) {
    const error = file.truncate(t, size);
    if (error < 0) return error;
    if (kill === 0) return 0;
    attr.mask = ATTR_MODE;
  } else {
    attr.mask = ATTR_SIZE | (kill === 0 ? 0 : ATTR_MODE);
    attr.size = size;
  }
  attr.mode = inode.mode & ~kill;
  return inode.setattr(t, attr);
}

/** Takes setuid and setgid off a file that is about to be written: file_remove_privs(). Cheap when there is nothing to take. */
export function removePrivileges(t: Task | null, inode: Inode, mount: Mount | null): number {
  if ((inode.mode & (S_ISUID | S_ISGID)) === 0 || t === null || (inode.mode & S_IFMT) !== S_IFREG) return 0;
  const kill = privilegeBits(inode, credsOn(mount, t.creds));
  if (kill === 0) return 0;
  attr.mask = ATTR_MODE;
  attr.mode = inode.mode & ~kill;
  return inode.setattr(t, attr);
}

function apply(t: Task | null, d: Dentry | null, inode: Inode): number {
  if (inode.fs.readOnly) return -EROFS;
  if (inode.uid < 0 || inode.gid < 0) return -EOVERFLOW;
  const error = inode.setattr(t, attr);
  if (error === 0 && d !== null) notifyChange(d, attr.mask);
  return error;
}

/** fsnotify_change(). */
function notifyChange(d: Dentry, mask: number): void {
  const times = mask & (ATTR_ATIME | ATTR_MTIME);
  let events = (mask & (ATTR_UID | ATTR_GID | ATTR_MODE)) !== 0 ? IN_ATTRIB : 0;
  // "both times implies a utime(s) call"
  if (times === (ATTR_ATIME | ATTR_MTIME)) events |= IN_ATTRIB;
  else if (times === ATTR_ATIME) events |= IN_ACCESS;
  else if (times === ATTR_MTIME) events |= IN_MODIFY;
  if (events !== 0) notifyDentry(d, events);
}
