// Landlock: rules that a process puts on itself and its children; security/landlock/.
//
// A Ruleset is what a program fills; restricting itself with one makes a Domain, a copy of the
// rules as one more layer below those that are in force. Each layer says which rights it handles;
// a handled right is denied unless, for every layer, a rule on the file or on a directory above it
// grants it. Rules name inodes, which are kept alive as open files are: otherwise a later file with
// the same number would inherit them.
//
// A layer handles REFER (a file gets another parent) whether it says so or not.

import { EACCES, EPERM, EXDEV } from '../abi/errno.ts';
import { O_ACCMODE, O_RDWR, O_WRONLY } from '../abi/fcntl.ts';
import {
  LANDLOCK_ACCESS_FS_EXECUTE,
  LANDLOCK_ACCESS_FS_IOCTL_DEV,
  LANDLOCK_ACCESS_FS_MAKE_BLOCK,
  LANDLOCK_ACCESS_FS_MAKE_CHAR,
  LANDLOCK_ACCESS_FS_MAKE_DIR,
  LANDLOCK_ACCESS_FS_MAKE_FIFO,
  LANDLOCK_ACCESS_FS_MAKE_REG,
  LANDLOCK_ACCESS_FS_MAKE_SOCK,
  LANDLOCK_ACCESS_FS_MAKE_SYM,
  LANDLOCK_ACCESS_FS_READ_DIR,
  LANDLOCK_ACCESS_FS_READ_FILE,
  LANDLOCK_ACCESS_FS_REFER,
  LANDLOCK_ACCESS_FS_REMOVE_DIR,
  LANDLOCK_ACCESS_FS_REMOVE_FILE,
  LANDLOCK_ACCESS_FS_TRUNCATE,
  LANDLOCK_ACCESS_FS_WRITE_FILE,
  LANDLOCK_MASK_ACCESS_FS,
} from '../abi/landlock.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFSOCK } from '../abi/stat.ts';
import { type Dentry, inodeReleased } from './dentry.ts';
import type { Inode } from './filesystem.ts';
import type { Mount } from './mount.ts';

/** Rights that a rule on a file may grant. */
export const ACCESS_FILE =
  LANDLOCK_ACCESS_FS_EXECUTE |
  LANDLOCK_ACCESS_FS_WRITE_FILE |
  LANDLOCK_ACCESS_FS_READ_FILE |
  LANDLOCK_ACCESS_FS_TRUNCATE |
  LANDLOCK_ACCESS_FS_IOCTL_DEV;

/** The rules of one layer, or of a ruleset that is still being filled. */
export class Rules {
  readonly handledFs: number;
  readonly handledNet: number;
  /** LANDLOCK_SCOPE_*. */
  readonly scoped: number;
  readonly inodes: Map<Inode, number> = new Map();
  readonly ports: Map<number, number> = new Map();

  constructor(handledFs: number, handledNet: number, scoped: number) {
    this.handledFs = handledFs;
    this.handledNet = handledNet;
    this.scoped = scoped;
  }

  allowBeneath(inode: Inode, access: number): void {
    if (!this.inodes.has(inode)) inode.opens++;
    this.inodes.set(inode, (this.inodes.get(inode) ?? 0) | access);
  }

  allowPort(port: number, access: number): void {
    this.ports.set(port, (this.ports.get(port) ?? 0) | access);
  }

  copy(): Rules {
    const copy = new Rules(this.handledFs, this.handledNet, this.scoped);
    for (const [inode, access] of this.inodes) copy.allowBeneath(inode, access);
    for (const [port, access] of this.ports) copy.ports.set(port, access);
    return copy;
  }

  /** Lets the inodes go. */
  release(): void {
    for (const inode of this.inodes.keys()) {
      inode.opens--;
      inodeReleased(inode);
    }
    this.inodes.clear();
  }

  /** What the layer denies unless a rule says otherwise. */
  get denies(): number {
    return this.handledFs | LANDLOCK_ACCESS_FS_REFER;
  }
}

/** What is in force for a task: one layer and, by `parent`, those that were before it. Tasks count as references. */
export class Domain {
  readonly parent: Domain | null;
  readonly rules: Rules;
  /** Layers, this one included. */
  readonly depth: number;
  private refs = 1;

  constructor(parent: Domain | null, rules: Rules) {
    this.parent = parent;
    this.rules = rules;
    this.depth = parent === null ? 1 : parent.depth + 1;
    parent?.incRef();
  }

  incRef(): void {
    this.refs++;
  }

  decRef(): void {
    if (--this.refs > 0) return;
    this.rules.release();
    this.parent?.decRef();
  }

  /** Whether it restricts files at all; then it may not change mounts either. */
  get handlesFs(): boolean {
    for (let d: Domain | null = this; d !== null; d = d.parent) if (d.rules.handledFs !== 0) return true;
    return false;
  }

  isUnder(other: Domain): boolean {
    for (let d: Domain | null = this; d !== null; d = d.parent) if (d === other) return true;
    return false;
  }
}

/** A task as far as it is restricted. */
export interface Restricted {
  readonly landlock: Domain | null;
}

/**
 * The rights of `wanted` that a place and the directories above it grant in all layers of the
 * domain: is_access_to_paths_allowed(). What a mount hides is not asked.
 */
function granted(domain: Domain, mount: Mount, dentry: Dentry, wanted: number): number {
  let all = wanted;
  for (let d: Domain | null = domain; d !== null && all !== 0; d = d.parent) {
    const open = ~d.rules.denies & all;
    all &= open | grantedBy(d.rules, mount, dentry, all);
  }
  return all;
}

/** The rights of `wanted` that one layer's rules grant, from the place up to the root; `until` is the last directory that is asked. */
function grantedBy(rules: Rules, mount: Mount, dentry: Dentry, wanted: number, until: Dentry | null = null): number {
  if (rules.inodes.size === 0) return 0;
  let access = 0;
  let m = mount;
  for (let d: Dentry | null = dentry; d !== null; d = d.parent) {
    access |= (d.inode === null ? 0 : rules.inodes.get(d.inode)) ?? 0;
    if ((wanted & ~access) === 0 || d === until) break;
    while (d === m.root && m.parent !== null) {
      d = m.mountpoint!;
      m = m.parent;
    }
    // The root of a mount without parent is the end, whatever its file system has above.
    if (d === m.root) break;
  }
  return access & wanted;
}

/** One right on a place, for calls by path: 0 or -EACCES. */
export function landlockPath(t: Restricted | null, mount: Mount, dentry: Dentry, access: number): number {
  const domain = t === null ? null : t.landlock;
  if (domain === null || mount.internal) return 0;
  return granted(domain, mount, dentry, access) === access ? 0 : -EACCES;
}

/** For calls that change mounts: 0 or -EPERM. */
export function landlockMount(t: Restricted | null): number {
  return t !== null && t.landlock?.handlesFs === true ? -EPERM : 0;
}

/** The right to make a node of this type: get_mode_access(). */
export function makeAccess(mode: number): number {
  switch (mode & S_IFMT) {
    case S_IFLNK:
      return LANDLOCK_ACCESS_FS_MAKE_SYM;
    case S_IFDIR:
      return LANDLOCK_ACCESS_FS_MAKE_DIR;
    case S_IFCHR:
      return LANDLOCK_ACCESS_FS_MAKE_CHAR;
    case S_IFBLK:
      return LANDLOCK_ACCESS_FS_MAKE_BLOCK;
    case S_IFIFO:
      return LANDLOCK_ACCESS_FS_MAKE_FIFO;
    case S_IFSOCK:
      return LANDLOCK_ACCESS_FS_MAKE_SOCK;
    default:
      return LANDLOCK_ACCESS_FS_MAKE_REG;
  }
}

function removeAccess(inode: Inode | null): number {
  if (inode === null) return 0;
  return inode.isDir() ? LANDLOCK_ACCESS_FS_REMOVE_DIR : LANDLOCK_ACCESS_FS_REMOVE_FILE;
}

/**
 * hook_file_open(): the rights that the description keeps for later (TRUNCATE, IOCTL_DEV), or -EACCES.
 * flags are open(2)'s.
 */
export function landlockOpen(t: Restricted | null, mount: Mount, dentry: Dentry, flags: number, forExec: boolean): number {
  const domain = t === null ? null : t.landlock;
  if (domain === null || mount.internal) return LANDLOCK_MASK_ACCESS_FS;
  const type = dentry.inode!.mode & S_IFMT;
  let needed: number;
  if (type === S_IFDIR) needed = LANDLOCK_ACCESS_FS_READ_DIR;
  else {
    const mode = flags & O_ACCMODE;
    needed = mode === O_WRONLY ? 0 : mode === 3 ? 0 : LANDLOCK_ACCESS_FS_READ_FILE;
    if (mode === O_WRONLY || mode === O_RDWR) needed |= LANDLOCK_ACCESS_FS_WRITE_FILE;
    if (forExec) needed |= LANDLOCK_ACCESS_FS_EXECUTE;
  }
  const later = LANDLOCK_ACCESS_FS_TRUNCATE | LANDLOCK_ACCESS_FS_IOCTL_DEV;
  const access = granted(domain, mount, dentry, needed | later);
  return (needed & ~access) !== 0 ? -EACCES : access;
}

/**
 * current_check_refer_path(): a file gets a further name (`removes` false) or another one in place of
 * the old. A new parent needs REFER on both sides, and must not free the file of restrictions.
 * 0, -EACCES, or -EXDEV, on which programs copy instead.
 */
export function landlockRefer(
  t: Restricted | null,
  mount: Mount,
  old: Dentry,
  target: Dentry,
  removes: boolean,
  exchange: boolean,
): number {
  const domain = t === null ? null : t.landlock;
  if (domain === null) return 0;
  const inode = old.inode!;
  const other = target.inode;
  let needOld = exchange ? makeAccess(other!.mode) : 0;
  let needNew = makeAccess(inode.mode);
  if (removes) {
    needOld |= removeAccess(inode);
    needNew |= removeAccess(other);
  }
  const oldDir = old.parent ?? old;
  const newDir = target.parent!;
  if (oldDir === newDir) return landlockPath(t, mount, newDir, needOld | needNew);

  let refused = 0;
  for (let d: Domain | null = domain; d !== null; d = d.parent) {
    const { rules } = d;
    const denies = rules.denies;
    const oldDenied = denies & ~grantedBy(rules, mount, oldDir, LANDLOCK_MASK_ACCESS_FS);
    const newDenied = denies & ~grantedBy(rules, mount, newDir, LANDLOCK_MASK_ACCESS_FS);
    if ((oldDenied & needOld) !== 0 || (newDenied & needNew) !== 0) return -EACCES;
    if (((oldDenied | newDenied) & LANDLOCK_ACCESS_FS_REFER) !== 0) refused = -EXDEV;
    // What the file may not be used for where it is, it may not be used for where it goes.
    if (frees(rules, inode, oldDenied, newDenied)) refused = -EXDEV;
    if (exchange && frees(rules, other!, newDenied, oldDenied)) refused = -EXDEV;
  }
  return refused;
}

function frees(rules: Rules, inode: Inode, deniedHere: number, deniedThere: number): boolean {
  const relevant = inode.isDir() ? LANDLOCK_MASK_ACCESS_FS : ACCESS_FILE;
  return (deniedHere & ~(rules.inodes.get(inode) ?? 0) & ~deniedThere & relevant) !== 0;
}

/** LANDLOCK_ACCESS_NET_* for a TCP port: 0 or -EACCES. */
export function landlockPort(t: Restricted, port: number, access: number): number {
  for (let d = t.landlock; d !== null; d = d.parent) {
    if ((d.rules.handledNet & access) !== 0 && ((d.rules.ports.get(port) ?? 0) & access) === 0) return -EACCES;
  }
  return 0;
}

/**
 * Whether a domain may not reach beyond itself in this way (LANDLOCK_SCOPE_*), and `to` lies beyond
 * the layer that says so: domain_is_scoped().
 */
export function landlockScoped(from: Domain | null, to: Domain | null, scope: number): boolean {
  for (let d = from; d !== null; d = d.parent) {
    if ((d.rules.scoped & scope) !== 0 && (to === null || !to.isUnder(d))) return true;
  }
  return false;
}

/** A restricted task looks only into tasks that are restricted at least as much: hook_ptrace_access_check(). */
export function landlockMayTrace(tracer: Domain | null, target: Domain | null): boolean {
  return tracer === null || (target?.isUnder(tracer) ?? false);
}
