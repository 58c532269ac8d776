// Extended attributes: the rules of fs/xattr.c and security/commoncap.c, by name prefix.

import { EACCES, EINVAL, ENODATA, EOPNOTSUPP, EPERM, EROFS } from '../abi/errno.ts';
import { CAP_FSETID, CAP_SETFCAP, CAP_SYS_ADMIN } from '../abi/sched.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISGID, S_ISVTX } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Dentry } from './dentry.ts';
import { ATTR_MODE, type Inode, SetAttr } from './filesystem.ts';
import { notifyAttrib } from './fsnotify.ts';
import type { Mount } from './mount.ts';
import { credsOn } from './mount-idmap.ts';
import {
  capableInit,
  capableOver,
  capableOverFs,
  hasUnmappedId,
  inodePermission,
  MAY_READ,
  MAY_WRITE,
  ownerOrCapable,
  wantWrite,
} from './permissions.ts';
import { ACL_ACCESS, ACL_DEFAULT, type Acl, aclOf, decodeAcl, storeAcl } from './posix-acl.ts';
import { XATTR_CREATE, XATTR_REPLACE } from './simple-attr.ts';

/** xattr_permission() and the capability checks of the security prefix. */
function permitted(creds: Credentials, inode: Inode, name: string, writing: boolean): number {
  if (name.startsWith('security.')) {
    if (!writing) return 0;
    if (name === 'security.capability') return capableOver(creds, inode, CAP_SETFCAP) ? 0 : -EPERM;
    return capableOverFs(creds, inode.fs, CAP_SYS_ADMIN) ? 0 : -EPERM;
  }
  if (name.startsWith('system.')) return 0;
  if (name.startsWith('trusted.')) {
    // Of the initial user namespace only.
    const may = capableInit(creds, CAP_SYS_ADMIN);
    return may ? 0 : writing ? -EPERM : -ENODATA;
  }
  if (name.startsWith('user.')) {
    const type = inode.mode & S_IFMT;
    if (type !== S_IFREG && type !== S_IFDIR) return writing ? -EPERM : -ENODATA;
    if (type === S_IFDIR && (inode.mode & S_ISVTX) !== 0 && writing && !ownerOrCapable(creds, inode)) return -EPERM;
  } else {
    // No file system has a handler for any other kind: xattr_resolve_name().
    return -EOPNOTSUPP;
  }
  return inodePermission(inode, creds, writing ? MAY_WRITE : MAY_READ);
}

/** setxattr(2). value is the inode's to keep. */
export function setXattr(
  creds: Credentials,
  mount: Mount | null,
  inode: Inode,
  d: Dentry | null,
  name: string,
  value: Uint8Array,
  flags: number,
): number {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) return -EINVAL;
  creds = credsOn(mount, creds);
  if (name === ACL_ACCESS || name === ACL_DEFAULT) {
    const acl = decodeAcl(value, creds.userns, creds.idmap);
    return typeof acl === 'number' ? acl : setAcl(creds, mount, inode, d, name, acl);
  }
  const error = mayChange(creds, mount, inode, name) || inode.setxattr(name, value, flags);
  if (error === 0 && d !== null) notifyAttrib(d);
  return error;
}

/** removexattr(2). */
export function removeXattr(creds: Credentials, mount: Mount | null, inode: Inode, d: Dentry | null, name: string): number {
  creds = credsOn(mount, creds);
  if (name === ACL_ACCESS || name === ACL_DEFAULT) return setAcl(creds, mount, inode, d, name, null);
  const error = mayChange(creds, mount, inode, name) || inode.removexattr(name);
  if (error === 0 && d !== null) notifyAttrib(d);
  return error;
}

const modeChange = new SetAttr();

/** vfs_set_acl(), posix_acl_update_mode(): the mode follows an access list, and stands for one that says no more than it. */
function setAcl(creds: Credentials, mount: Mount | null, inode: Inode, d: Dentry | null, name: string, acl: Acl | null): number {
  const readOnly = mount === null ? 0 : wantWrite(mount);
  if (readOnly < 0) return readOnly;
  if (inode.fs.readOnly) return -EROFS;
  const type = inode.mode & S_IFMT;
  if (inode.fs.acls === 0 || type === S_IFLNK) return -EOPNOTSUPP;
  if (name === ACL_DEFAULT && type !== S_IFDIR) return acl === null ? 0 : -EACCES;
  if (!ownerOrCapable(creds, inode)) return -EPERM;
  let error = 0;
  if (name === ACL_ACCESS && acl !== null && inode.fs.acls === 1) {
    let mode = (inode.mode & ~0o777) | acl.mode;
    if (!creds.inGroup(inode.gid) && !capableOver(creds, inode, CAP_FSETID)) mode &= ~S_ISGID;
    modeChange.mask = ATTR_MODE;
    modeChange.mode = mode;
    error = inode.setattr(null, modeChange);
    if (error < 0) return error;
    if (acl.isPlain) acl = null;
  }
  error = storeAcl(inode, name, acl);
  if (error === 0 && d !== null) notifyAttrib(d);
  return error;
}

function mayChange(creds: Credentials, mount: Mount | null, inode: Inode, name: string): number {
  const error = mount === null ? 0 : wantWrite(mount);
  if (error < 0) return error;
  if (inode.fs.readOnly) return -EROFS;
  if (hasUnmappedId(creds, inode)) return -EPERM;
  return permitted(creds, inode, name, true);
}

/** getxattr(2): the value (not the caller's to change) or -errno. */
export function getXattr(creds: Credentials, mount: Mount | null, inode: Inode, name: string): Uint8Array | number {
  creds = credsOn(mount, creds);
  if (name === ACL_ACCESS || name === ACL_DEFAULT) {
    if (inode.fs.acls === 0 || (inode.mode & S_IFMT) === S_IFLNK) return -EOPNOTSUPP;
    return aclOf(inode, name)?.encode(creds.userns, creds.idmap) ?? -ENODATA;
  }
  const error = permitted(creds, inode, name, false);
  return error < 0 ? error : inode.getxattr(name);
}

/** listxattr(2): the names that the caller may know of. */
export function listXattr(creds: Credentials, inode: Inode): string[] | number {
  const names = inode.listxattr();
  if (typeof names === 'number') return names;
  const seesTrusted = capableInit(creds, CAP_SYS_ADMIN);
  return seesTrusted ? names : names.filter((n) => !n.startsWith('trusted.'));
}
