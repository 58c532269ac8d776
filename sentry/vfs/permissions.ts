// Who may do what: fs/namei.c:generic_permission() and its neighbours, fs/attr.c.
//
// Ids of inodes and credentials are those of the root user namespace. A capability counts for an
// inode only if both its ids have a mapping in the caller's namespace.

import { EACCES, EOVERFLOW, EPERM, EROFS } from '../abi/errno.ts';
import { O_ACCMODE, O_APPEND, O_RDWR, O_TRUNC, O_WRONLY } from '../abi/fcntl.ts';
import { CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID } from '../abi/sched.ts';
import { S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_ISVTX, S_IXGRP, S_IXUGO } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { VfsContext } from './context.ts';
import type { Filesystem, Inode } from './filesystem.ts';
import type { Mount } from './mount.ts';
import { ACL_ACCESS, aclOf } from './posix-acl.ts';

export const MAY_EXEC = 1;
export const MAY_WRITE = 2;
export const MAY_READ = 4;
export const MAY_APPEND = 8;
/** Asked by access(2), and by chdir(2) and chroot(2): what only some file systems judge by. */
export const MAY_ACCESS = 16;
export const MAY_CHDIR = 64;

/** The access that open(2) flags ask for: ACC_MODE(). Access mode 3 asks for both but grants neither. */
export function accessOfFlags(flags: number): number {
  const mode = flags & O_ACCMODE;
  let mask = mode === 0 ? MAY_READ : mode === O_WRONLY ? MAY_WRITE : MAY_READ | MAY_WRITE;
  if ((flags & O_TRUNC) !== 0) mask |= MAY_WRITE;
  if ((flags & O_APPEND) !== 0 && (mode === O_WRONLY || mode === O_RDWR)) mask |= MAY_APPEND;
  return mask;
}

/** The rule of permission bits and capabilities: 0 or -EACCES. */
export function genericPermission(inode: Inode, creds: Credentials, mask: number): number {
  const want = mask & (MAY_READ | MAY_WRITE | MAY_EXEC);
  const mode = inode.mode;
  let bits: number;
  if (inode.uid === creds.fsuid) bits = mode >> 6;
  else {
    // Without the group's bits the mask grants nothing, so that no list can: IS_POSIXACL and S_IRWXG in acl_permission_check().
    if (inode.fs.acls !== 0 && (mode & 0o070) !== 0 && inode.accessAcl !== null) {
      if (overrides(inode, creds, want)) return 0;
      const acl = aclOf(inode, ACL_ACCESS);
      if (acl !== null) return acl.permission(inode, creds, want);
    }
    if ((mode & 0o77) === (mode & 7) * 0o11) bits = mode;
    else bits = creds.inGroup(inode.gid) ? mode >> 3 : mode;
  }
  if ((want & ~bits & 7) === 0) return 0;

  return overrides(inode, creds, want) ? 0 : -EACCES;
}

/** Whether capabilities grant what neither mode nor ACL does. */
function overrides(inode: Inode, creds: Credentials, want: number): boolean {
  const { mode } = inode;
  if ((mode & S_IFMT) === S_IFDIR) {
    if ((want & MAY_WRITE) === 0 && capableOver(creds, inode, CAP_DAC_READ_SEARCH)) return true;
    return capableOver(creds, inode, CAP_DAC_OVERRIDE);
  }
  if (want === MAY_READ && capableOver(creds, inode, CAP_DAC_READ_SEARCH)) return true;
  // "Read/write DACs are always overridable. Executable DACs are overridable when there is at least one exec bit set."
  return ((want & MAY_EXEC) === 0 || (mode & S_IXUGO) !== 0) && capableOver(creds, inode, CAP_DAC_OVERRIDE);
}

/** inode_permission(): file-system-wide rules, then the inode's own. */
export function inodePermission(inode: Inode, creds: Credentials, mask: number): number {
  if ((mask & MAY_WRITE) !== 0) {
    const type = inode.mode & S_IFMT;
    if (inode.fs.readOnly && (type === S_IFREG || type === S_IFDIR || type === S_IFLNK)) return -EROFS;
    // A file whose owner this namespace cannot name must not be written with wrong ids.
    if (inode.uid < 0 || inode.gid < 0 || (creds.idmap !== null && hasUnmappedId(creds, inode))) return -EACCES;
  }
  return inode.permission(creds, mask);
}

/** Whether the mount that the credentials are for shows nobody as owner or group: HAS_UNMAPPED_ID(). */
export function hasUnmappedId(creds: Credentials, inode: Inode): boolean {
  const { idmap } = creds;
  return idmap !== null && (idmap.uidInto(inode.uid) < 0 || idmap.gidInto(inode.gid) < 0);
}

/** Whether the caller's namespace can name a file's owner. */
function seesUid(creds: Credentials, uid: number): boolean {
  return creds.userns.hasUid(creds.idmap === null ? uid : creds.idmap.uidInto(uid));
}

function seesGid(creds: Credentials, gid: number): boolean {
  return creds.userns.hasGid(creds.idmap === null ? gid : creds.idmap.gidInto(gid));
}

/** capable(): effective in the initial user namespace. */
export function capableInit(creds: Credentials, cap: number): boolean {
  return creds.capable(cap);
}

/** A capability over a file system: ns_capable(sb->s_user_ns). */
export function capableOverFs(creds: Credentials, fs: Filesystem, cap: number): boolean {
  return fs.userns === null ? capableInit(creds, cap) : creds.capableIn(fs.userns, cap);
}

/** capable_wrt_inode_uidgid(). */
export function capableOver(creds: Credentials, inode: Inode, cap: number): boolean {
  return creds.capableHere(cap) && seesUid(creds, inode.uid) && seesGid(creds, inode.gid);
}

/** inode_owner_or_capable(). */
export function ownerOrCapable(creds: Credentials, inode: Inode): boolean {
  return inode.uid === creds.fsuid || (creds.capableHere(CAP_FOWNER) && seesUid(creds, inode.uid));
}

/** Whether a sticky directory protects the child from this caller: __check_sticky(). */
export function stickyForbids(dir: Inode, child: Inode, creds: Credentials): boolean {
  if ((dir.mode & S_ISVTX) === 0) return false;
  if (child.uid === creds.fsuid || dir.uid === creds.fsuid) return false;
  return !capableOver(creds, child, CAP_FOWNER);
}

/** Whether new files can carry the caller's ids: fsuidgid_has_mapping(). */
export function canOwnFiles(creds: Credentials): boolean {
  return creds.idmap === null ? creds.userns.hasUid(creds.fsuid) && creds.userns.hasGid(creds.fsgid) : creds.fsuid >= 0 && creds.fsgid >= 0;
}

/** The owning group of a new inode in `dir`: the directory's when it is setgid. */
export function newGid(dir: Inode, creds: Credentials): number {
  return (dir.mode & S_ISGID) !== 0 ? dir.gid : creds.fsgid;
}

/**
 * The mode of a new inode in `dir`: inode_init_owner() with mode_strip_sgid(). Directories inherit
 * setgid; an executable setgid file needs membership of the group or CAP_FSETID.
 */
export function newMode(dir: Inode, creds: Credentials, mode: number): number {
  if ((dir.mode & S_ISGID) === 0) return mode;
  if ((mode & S_IFMT) === S_IFDIR) return mode | S_ISGID;
  if ((mode & (S_ISGID | S_IXGRP)) !== (S_ISGID | S_IXGRP)) return mode;
  if (creds.inGroup(dir.gid) || capableOver(creds, dir, CAP_FSETID)) return mode;
  return mode & ~S_ISGID;
}

/** What a write or truncation takes off a file's mode, 0 if nothing: setattr_should_drop_suidgid(), should_remove_suid(). */
export function privilegeBits(inode: Inode, creds: Credentials): number {
  const mode = inode.mode;
  if ((mode & (S_ISUID | S_ISGID)) === 0 || (mode & S_IFMT) !== S_IFREG) return 0;
  if (capableInit(creds, CAP_FSETID)) return 0;
  let kill = mode & S_ISUID;
  // setgid without group execution was the sign of mandatory locking; it stays for members of the group.
  if ((mode & S_ISGID) !== 0 && ((mode & S_IXGRP) !== 0 || !creds.inGroup(inode.gid))) kill |= S_ISGID;
  return kill;
}

// ---- /proc/sys/fs/protected_*: what others have left in a folder for all

function protection(ctx: VfsContext, name: string): number {
  return ctx.task === null ? 0 : ctx.task.kernel.sysctls.int(name);
}

/** may_linkat(): nobody makes names for what is not theirs and could not be read and written anyway, or would carry rights. */
export function mayLink(ctx: VfsContext, creds: Credentials, inode: Inode): number {
  if (hasUnmappedId(creds, inode)) return -EOVERFLOW;
  if (ownerOrCapable(creds, inode) || protection(ctx, 'fs.protected_hardlinks') === 0) return 0;
  const { mode } = inode;
  const carriesRights = (mode & S_ISUID) !== 0 || (mode & (S_ISGID | S_IXGRP)) === (S_ISGID | S_IXGRP);
  if ((mode & S_IFMT) !== S_IFREG || carriesRights) return -EPERM;
  return inodePermission(inode, creds, MAY_READ | MAY_WRITE) < 0 ? -EPERM : 0;
}

/** may_follow_link(), for the last component of a path: in a sticky folder that all may write to, a link is its owner's and the folder's owner's to follow. */
export function mayFollow(ctx: VfsContext, creds: Credentials, dir: Inode, link: Inode): number {
  if (link.uid === creds.fsuid || link.uid === dir.uid) return 0;
  if ((dir.mode & (S_ISVTX | 0o002)) !== (S_ISVTX | 0o002)) return 0;
  return protection(ctx, 'fs.protected_symlinks') === 0 ? 0 : -EACCES;
}

/** may_create_in_sticky(): O_CREAT on what somebody else has put there already. */
export function mayReuse(ctx: VfsContext, creds: Credentials, dir: Inode, inode: Inode): number {
  if ((dir.mode & S_ISVTX) === 0 || inode.uid === dir.uid || inode.uid === creds.fsuid) return 0;
  const type = inode.mode & S_IFMT;
  if (type !== S_IFREG && type !== S_IFIFO) return 0;
  const level = protection(ctx, type === S_IFREG ? 'fs.protected_regular' : 'fs.protected_fifos');
  const isOpen = (dir.mode & 0o002) !== 0 ? level >= 1 : (dir.mode & 0o020) !== 0 && level >= 2;
  return isOpen ? -EACCES : 0;
}

/** Whether anything may be changed through this mount: mnt_want_write(). 0 or -EROFS. */
export function wantWrite(mount: Mount): number {
  return mount.readOnly || mount.fs.readOnly ? -EROFS : 0;
}

/** may_create() without the look at the name. */
export function mayCreate(dir: Inode, creds: Credentials): number {
  if (!canOwnFiles(creds)) return -EOVERFLOW;
  return inodePermission(dir, creds, MAY_WRITE | MAY_EXEC);
}

/** The part of may_delete() that is about rights. */
export function mayDelete(dir: Inode, child: Inode, creds: Credentials): number {
  const error = inodePermission(dir, creds, MAY_WRITE | MAY_EXEC);
  if (error < 0) return error;
  if (hasUnmappedId(creds, child)) return -EOVERFLOW;
  return stickyForbids(dir, child, creds) ? -EPERM : 0;
}
