// POSIX access control lists: fs/posix_acl.c, acl(5). A list says for single users and groups what
// the mode says for owner, group and others; its mask bounds what it grants, and stands in the
// mode's group bits. A directory's default list becomes the list of what is made in it.
//
// Lists live in extended attributes, in the form that programs see; an inode keeps the decoded one.

import { EACCES, EINVAL, EOPNOTSUPP } from '../abi/errno.ts';
import { S_IFDIR, S_IFLNK, S_IFMT } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import type { Inode } from './filesystem.ts';
import type { MountIdmap } from './mount-idmap.ts';

export const ACL_ACCESS = 'system.posix_acl_access';
export const ACL_DEFAULT = 'system.posix_acl_default';

// include/uapi/linux/posix_acl.h and posix_acl_xattr.h.
const VERSION = 2;
const HEADER = 4;
const ENTRY = 8;
const USER_OBJ = 1;
const USER = 2;
const GROUP_OBJ = 4;
const GROUP = 8;
const MASK = 16;
const OTHER = 32;
const NO_ID = 0xffffffff;

interface AclEntry {
  readonly tag: number;
  perm: number;
  /** Of USER and GROUP entries, in the root user namespace. */
  readonly id: number;
}

/** The entries in their order: owner, users, group, groups, mask, others. */
export class Acl {
  readonly entries: readonly AclEntry[];

  constructor(entries: readonly AclEntry[]) {
    this.entries = entries;
  }

  copy(): Acl {
    return new Acl(this.entries.map((e) => ({ ...e })));
  }

  private find(tag: number): AclEntry | undefined {
    return this.entries.find((e) => e.tag === tag);
  }

  /** The permission bits that the list amounts to: posix_acl_equiv_mode(). */
  get mode(): number {
    const group = this.find(MASK) ?? this.find(GROUP_OBJ)!;
    return (this.find(USER_OBJ)!.perm << 6) | (group.perm << 3) | this.find(OTHER)!.perm;
  }

  /** Whether permission bits say the same. */
  get isPlain(): boolean {
    return this.entries.length === 3;
  }

  /** chmod(2): __posix_acl_chmod_masq(). */
  setMode(mode: number): void {
    this.find(USER_OBJ)!.perm = (mode >> 6) & 7;
    (this.find(MASK) ?? this.find(GROUP_OBJ)!).perm = (mode >> 3) & 7;
    this.find(OTHER)!.perm = mode & 7;
  }

  /** The list of a new file made with `mode`, of which the remaining bits are returned: posix_acl_create_masq(). */
  bound(mode: number): number {
    const owner = this.find(USER_OBJ)!;
    const group = this.find(MASK) ?? this.find(GROUP_OBJ)!;
    const other = this.find(OTHER)!;
    owner.perm &= (mode >> 6) & 7;
    group.perm &= (mode >> 3) & 7;
    other.perm &= mode & 7;
    return (mode & ~0o777) | this.mode;
  }

  /** Whether `creds` may do `want` (MAY_* bits) with a file of this owner: 0 or -EACCES. posix_acl_permission(). */
  permission(inode: Inode, creds: Credentials, want: number): number {
    let inGroup = false;
    for (const e of this.entries) {
      switch (e.tag) {
        case USER_OBJ:
          if (inode.uid === creds.fsuid) return (e.perm & want) === want ? 0 : -EACCES;
          break;
        case USER:
          if (e.id === creds.fsuid) return this.masked(e.perm, want);
          break;
        case GROUP_OBJ:
        case GROUP:
          if (!creds.inGroup(e.tag === GROUP ? e.id : inode.gid)) break;
          inGroup = true;
          if ((e.perm & want) === want) return this.masked(e.perm, want);
          break;
        case OTHER:
          return !inGroup && (e.perm & want) === want ? 0 : -EACCES;
      }
    }
    return -EACCES;
  }

  private masked(perm: number, want: number): number {
    const mask = this.find(MASK)?.perm ?? 7;
    return (perm & mask & want) === want ? 0 : -EACCES;
  }

  /** The value of the extended attribute, with ids as the namespace has them. */
  encode(userns: UserNamespace | null, idmap: MountIdmap | null = null): Uint8Array {
    const value = new Uint8Array(HEADER + this.entries.length * ENTRY);
    const v = new DataView(value.buffer);
    v.setUint32(0, VERSION, true);
    for (const [i, e] of this.entries.entries()) {
      const at = HEADER + i * ENTRY;
      v.setUint16(at, e.tag, true);
      v.setUint16(at + 2, e.perm, true);
      v.setUint32(at + 4, seenId(e, userns, idmap), true);
    }
    return value;
  }
}

function seenId(e: AclEntry, userns: UserNamespace | null, idmap: MountIdmap | null): number {
  if (e.tag === USER) return userns === null ? e.id : userns.uidFromKernel(idmap === null ? e.id : idmap.uidInto(e.id));
  if (e.tag === GROUP) return userns === null ? e.id : userns.gidFromKernel(idmap === null ? e.id : idmap.gidInto(e.id));
  return NO_ID;
}

/** The list in an attribute's value, null for an empty one; -EINVAL for what is none, -EOPNOTSUPP for another version. */
export function decodeAcl(value: Uint8Array, userns: UserNamespace | null, idmap: MountIdmap | null = null): Acl | null | number {
  if (value.length === 0) return null;
  if (value.length < HEADER) return -EINVAL;
  const v = new DataView(value.buffer, value.byteOffset, value.length);
  if (v.getUint32(0, true) !== VERSION) return -EOPNOTSUPP;
  if ((value.length - HEADER) % ENTRY !== 0) return -EINVAL;
  const entries: AclEntry[] = [];
  for (let at = HEADER; at < value.length; at += ENTRY) {
    const tag = v.getUint16(at, true);
    const perm = v.getUint16(at + 2, true);
    let id = v.getUint32(at + 4, true);
    if (tag === USER && userns !== null) id = userns.uidToKernel(id);
    if (tag === GROUP && userns !== null) id = userns.gidToKernel(id);
    if (tag === USER && idmap !== null) id = idmap.uidFrom(id);
    if (tag === GROUP && idmap !== null) id = idmap.gidFrom(id);
    if (id < 0 || perm > 7) return -EINVAL;
    entries.push({ tag, perm, id });
  }
  if (entries.length === 0) return null;
  return isValid(entries) ? new Acl(entries) : -EINVAL;
}

/** posix_acl_valid(): one of each, in order, and a mask where users or groups are named. */
function isValid(entries: readonly AclEntry[]): boolean {
  let next = USER_OBJ;
  let needsMask = false;
  for (const { tag } of entries) {
    switch (tag) {
      case USER_OBJ:
        if (next !== USER_OBJ) return false;
        next = USER;
        break;
      case USER:
        if (next !== USER) return false;
        needsMask = true;
        break;
      case GROUP_OBJ:
        if (next !== USER) return false;
        next = GROUP;
        break;
      case GROUP:
        if (next !== GROUP) return false;
        needsMask = true;
        break;
      case MASK:
        if (next !== GROUP) return false;
        next = OTHER;
        break;
      case OTHER:
        if (next !== OTHER && (next !== GROUP || needsMask)) return false;
        next = 0;
        break;
      default:
        return false;
    }
  }
  return next === 0;
}

// ---- inodes

/** The inode's list of this kind, or null. */
export function aclOf(inode: Inode, name: string): Acl | null {
  if (inode.fs.acls === 0 || (inode.mode & S_IFMT) === S_IFLNK) return null;
  const isAccess = name === ACL_ACCESS;
  let acl = isAccess ? inode.accessAcl : inode.defaultAcl;
  if (acl === undefined) {
    const value = inode.getxattr(name);
    const decoded = typeof value === 'number' ? null : decodeAcl(value, null);
    acl = typeof decoded === 'number' ? null : decoded;
    keep(inode, isAccess, acl);
  }
  return acl;
}

function keep(inode: Inode, isAccess: boolean, acl: Acl | null | undefined): void {
  if (isAccess) inode.accessAcl = acl;
  else inode.defaultAcl = acl;
}

/** Stores a list, or takes it away, with no look at the mode. 0 or -errno. */
export function storeAcl(inode: Inode, name: string, acl: Acl | null): number {
  keep(inode, name === ACL_ACCESS, undefined);
  if (acl !== null) return inode.setxattr(name, acl.encode(null), 0);
  const known = inode.getxattr(name);
  return typeof known === 'number' ? 0 : inode.removexattr(name);
}

/** The lists that birthMode() has found for the inode that is made next. */
const inherited: { access: Acl | null; default: Acl | null } = { access: null, default: null };

/**
 * The mode of what is made in `dir`, type bits kept: without the umask's bits, or bounded by the
 * default list of the directory, which then takes the umask's place. posix_acl_create().
 */
export function birthMode(dir: Inode, umask: number, mode: number): number {
  inherited.access = null;
  inherited.default = null;
  if ((mode & S_IFMT) === S_IFLNK) return mode;
  const acl = aclOf(dir, ACL_DEFAULT);
  if (acl === null) return mode & ~umask;
  const own = acl.copy();
  const bounded = own.bound(mode);
  if (!own.isPlain) inherited.access = own;
  if ((mode & S_IFMT) === S_IFDIR) inherited.default = acl;
  return bounded;
}

/** Gives the inode, just made, the lists that birthMode() has found. What cannot be stored goes without, as its mode says. */
export function inheritAcls(inode: Inode): void {
  const { access } = inherited;
  if (access !== null) storeAcl(inode, ACL_ACCESS, access);
  if (inherited.default !== null) storeAcl(inode, ACL_DEFAULT, inherited.default);
  inherited.access = null;
  inherited.default = null;
}
