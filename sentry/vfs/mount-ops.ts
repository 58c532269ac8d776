// What mount(2), umount2(2), pivot_root(2) and the new mount calls do to the mounts of the caller's
// namespace: fs/namespace.c. Arguments are resolved places; flags are MS_*, MNT_*, MOUNT_ATTR_*.

import { EAGAIN, EBUSY, EINVAL, ELOOP, ENODEV, ENOENT, ENOSPC, ENOTBLK, ENOTDIR, EPERM } from '../abi/errno.ts';
import {
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_STRICTATIME,
  MS_BIND,
  MS_MOVE,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_PRIVATE,
  MS_RDONLY,
  MS_REC,
  MS_RELATIME,
  MS_REMOUNT,
  MS_SHARED,
  MS_SLAVE,
  MS_STRICTATIME,
  MS_UNBINDABLE,
} from '../abi/mount.ts';
import { CAP_SYS_ADMIN } from '../abi/sched.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import type { VfsContext } from './context.ts';
import type { Filesystem, VfsPath } from './filesystem.ts';
import { notifyUnmounted } from './fsnotify.ts';
import { landlockMount } from './landlock.ts';
import {
  attachBeneath,
  attachTree,
  copiesBusy,
  copyTree,
  discardTree,
  fitsNamespaces,
  MOUNT_FLAGS,
  Mount,
  type MountNamespace,
  umountTree,
  wouldOvermount,
} from './mount.ts';
import { MountIdmap } from './mount-idmap.ts';
import { isDeleted } from './path-name.ts';
import { LOOKUP_FOLLOW } from './path-walk.ts';
import { capableOverFs } from './permissions.ts';
import type { FilesystemType, Vfs } from './vfs.ts';

const PROPAGATION = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE;
const ATIME_FLAGS = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;
/** Mounts that a namespace may hold: fs.mount-max. */
const MOUNT_MAX = 100_000;

/** may_mount(). */
export function mayMount(ctx: VfsContext): boolean {
  return ctx.creds.capableIn(ctx.fs.mountNamespace.userns, CAP_SYS_ADMIN);
}

/** Whether the mount belongs to the caller's namespace: check_mnt(). */
function isOurs(ctx: VfsContext, m: Mount): boolean {
  return m.namespace === ctx.fs.mountNamespace;
}

/** The flags of a mount from mount(2)'s; relatime unless told otherwise. */
export function mountFlags(flags: number): number {
  let out = flags & MOUNT_FLAGS & ~MS_RELATIME;
  if ((flags & MS_STRICTATIME) !== 0) out &= ~MS_NOATIME;
  else if ((flags & MS_NOATIME) === 0) out |= MS_RELATIME;
  return out;
}

/** The flags of a mount after mount(2) with MS_REMOUNT: "the default atime for remount is preservation" - path_mount(). */
function remountFlags(m: Mount, flags: number): number {
  if ((flags & ATIME_FLAGS) !== 0) return mountFlags(flags);
  return (flags & MOUNT_FLAGS) | (m.flags & (MS_NOATIME | MS_NODIRATIME | MS_RELATIME));
}

/** mount(2): which operation the flags mean, path_mount(). `source` is text for a new mount, a path for bind and move. */
export function mountPath(
  vfs: Vfs,
  ctx: VfsContext,
  source: string | null,
  at: VfsPath,
  type: string | null,
  flags: number,
  data: string,
): number {
  if (!mayMount(ctx) || landlockMount(ctx.task) < 0) return -EPERM;
  if ((flags & (MS_REMOUNT | MS_BIND)) === (MS_REMOUNT | MS_BIND)) return remountMount(ctx, at, flags);
  if ((flags & MS_REMOUNT) !== 0) return remountFilesystem(ctx, at, flags, data);
  if ((flags & MS_BIND) !== 0) {
    if (source === null || source === '') return -EINVAL;
    const from = vfs.lookup(ctx, null, source, LOOKUP_FOLLOW);
    return typeof from === 'number' ? from : bindMount(ctx, from, at, (flags & MS_REC) !== 0);
  }
  if ((flags & PROPAGATION) !== 0) return setPropagation(ctx, at, flags);
  if ((flags & MS_MOVE) !== 0) {
    if (source === null || source === '') return -EINVAL;
    const from = vfs.lookup(ctx, null, source, LOOKUP_FOLLOW);
    return typeof from === 'number' ? from : moveMount(ctx, from, at);
  }
  return newMount(vfs, ctx, source ?? 'none', at, type, flags, data);
}

/** The type by name, if this caller may mount it: -ENODEV, -EPERM. */
export function typeFor(vfs: Vfs, ctx: VfsContext, name: string): FilesystemType | number {
  const dot = name.indexOf('.');
  const type = vfs.types.get(dot < 0 ? name : name.slice(0, dot));
  // "ext4.sub": only fuse has subtypes.
  if (type === undefined || (dot >= 0 && type.name !== 'fuse')) return -ENODEV;
  if (!type.userMount && ctx.creds.userns.parent !== null) return -EPERM;
  return type;
}

function newMount(vfs: Vfs, ctx: VfsContext, source: string, at: VfsPath, name: string | null, flags: number, data: string): number {
  if (name === null) return -EINVAL;
  const type = typeFor(vfs, ctx, name);
  if (typeof type === 'number') return type;
  if (!type.nodev && type.fromFile !== true) return -ENOTBLK;
  const fs = makeFilesystem(ctx, type, source, flags, data);
  if (typeof fs === 'number') return fs;
  if (name.includes('.')) fs.subtype = name.slice(name.indexOf('.') + 1);
  return attachFilesystem(ctx, fs, at, mountFlags(flags), source);
}

/** A file system of the caller's, or one that is there already and is shared: vfs_get_tree() and mount_too_revealing(). */
export function makeFilesystem(ctx: VfsContext, type: FilesystemType, source: string, flags: number, data: string): Filesystem | number {
  const fs = type.mount(ctx, source, flags, data);
  if (typeof fs === 'number') return fs;
  if (fs.mounts === 0) {
    fs.userns = ctx.creds.userns;
    if ((flags & MS_RDONLY) !== 0) fs.readOnly = true;
  }
  if (!tooRevealing(ctx, fs)) return fs;
  if (fs.mounts === 0) fs.release();
  return -EPERM;
}

/**
 * mount_too_revealing(): in a user namespace of its own, proc and sysfs may only be mounted anew
 * where one is visible already with nothing hidden; else what a container masks could be unmasked.
 */
function tooRevealing(ctx: VfsContext, fs: Filesystem): boolean {
  const ns = ctx.fs.mountNamespace;
  if (ns.userns.parent === null || (fs.type !== 'proc' && fs.type !== 'sysfs')) return false;
  // What sysfs shows of the network is the network namespace's, so that must be the mounter's too.
  if (fs.type === 'sysfs' && ctx.task !== null && !ctx.creds.capableIn(ctx.task.ns.net.userns, CAP_SYS_ADMIN)) return true;
  for (const m of ns.mounts) if (m.fs.type === fs.type && m.root === m.fs.rootDentry && !hidesAnything(m)) return false;
  return true;
}

/** Whether locked mounts cover more than directories that are there to be mounted on. */
function hidesAnything(m: Mount): boolean {
  for (const [point, child] of m.children) if (child.locked && !(point.isDir() && point.inode!.nlink <= 2)) return true;
  return false;
}

/** Puts a file system on a place. What is refused is given back. */
export function attachFilesystem(ctx: VfsContext, fs: Filesystem, at: VfsPath, flags: number, source: string): number {
  const m = Mount.of(fs, flags, source);
  if (at.mount.fs === fs && at.mount.root === at.dentry) {
    discardTree(m);
    return -EBUSY;
  }
  const error = graft(ctx, m, at);
  if (error < 0) discardTree(m);
  return error;
}

/** graft_tree(): attaches a detached tree. */
export function graft(ctx: VfsContext, top: Mount, at: VfsPath): number {
  if (!isOurs(ctx, at.mount)) return -EINVAL;
  if (at.dentry.isDir() !== top.root.isDir()) return -ENOTDIR;
  if (isDeleted(at.dentry)) return -ENOENT;
  const place = topmost(at);
  if (!fitsNamespaces(place.mount, place.dentry, top.tree().length, true, MOUNT_MAX)) return -ENOSPC;
  attachTree(top, place.mount, place.dentry);
  return 0;
}

/** What a place shows: the root of the last mount over it. */
export function topmost(at: VfsPath): VfsPath {
  let { mount, dentry } = at;
  for (let over = mount.childAt(dentry); over !== undefined; over = mount.childAt(dentry)) {
    mount = over;
    dentry = over.root;
  }
  return { mount, dentry };
}

// ---- bind, move

/** do_loopback(). */
export function bindMount(ctx: VfsContext, from: VfsPath, at: VfsPath, recursive: boolean): number {
  if (!isOurs(ctx, at.mount)) return -EINVAL;
  const copy = cloneForBind(ctx, from, recursive);
  if (typeof copy === 'number') return copy;
  const error = graft(ctx, copy, at);
  if (error < 0) discardTree(copy);
  return error;
}

/** A detached copy of what `from` shows: open_tree(OPEN_TREE_CLONE), bind mounts. */
export function cloneForBind(ctx: VfsContext, from: VfsPath, recursive: boolean): Mount | number {
  const m = from.mount;
  if (m.unbindable) return -EINVAL;
  // A mount of nobody's namespace may only be copied while it belongs to a tree that nobody has attached yet: may_copy_tree().
  if (!isOurs(ctx, m) && !isAnonymous(m) && !isNamespaceFile(from)) return -EINVAL;
  if (!recursive && hasLockedChildren(m, from)) return -EINVAL;
  return copyTree(m, from.dentry, { single: !recursive });
}

/** One of /proc/[pid]/ns, which are mounted nowhere; a mount namespace could so come to lie in itself: mnt_ns_loop(). */
function isNamespaceFile(at: VfsPath): boolean {
  return at.mount.internal && at.mount.fs.type === 'nsfs' && !at.dentry.name.startsWith('mnt:');
}

/** Whether the mount belongs to a tree of open_tree(2) or fsmount(2). */
function isAnonymous(m: Mount): boolean {
  let top = m;
  while (top.parent !== null) top = top.parent;
  return top.anonymous;
}

function hasLockedChildren(m: Mount, from: VfsPath): boolean {
  for (const [point, child] of m.children) if (child.locked && point.isUnder(from.dentry)) return true;
  return false;
}

/** do_move_mount(): an attached mount to another place, or a detached tree to its first; `beneath` puts it below the mount that is there. */
export function moveMount(ctx: VfsContext, from: VfsPath, at: VfsPath, beneath = false): number {
  const m = from.mount;
  if (from.dentry !== m.root) return -EINVAL;
  const attached = m.parent !== null;
  if (attached ? !isOurs(ctx, m) && !isAnonymous(m) : !m.anonymous) return -EINVAL;
  if (!isOurs(ctx, at.mount) || m.locked) return -EINVAL;
  if (at.dentry.isDir() !== m.root.isDir()) return -EINVAL;
  // "mount point is shared": its peers could not follow.
  if (attached && m.parent!.peers !== null) return -EINVAL;
  if (at.mount.peers !== null && m.tree().some((c) => c.unbindable)) return -EINVAL;
  if (beneath) {
    const error = canMoveBeneath(ctx, m, at);
    if (error < 0) return error;
  }
  const over = beneath ? at.mount : null;
  const place = over === null ? topmost(at) : { mount: over.parent!, dentry: over.mountpoint! };
  if (place.mount.isUnder(m)) return -ELOOP;
  if (!fitsNamespaces(place.mount, place.dentry, m.tree().length, !attached, MOUNT_MAX)) return -ENOSPC;
  if (isDeleted(place.dentry)) return -ENOENT;
  m.anonymous = false;
  m.detach();
  if (over !== null) attachBeneath(m, over);
  else attachTree(m, place.mount, place.dentry);
  ctx.fs.mountNamespace.changed();
  return 0;
}

/** can_move_mount_beneath(). */
function canMoveBeneath(ctx: VfsContext, m: Mount, at: VfsPath): number {
  const over = at.mount;
  const { parent } = over;
  if (parent === null || at.dentry !== over.root || over.locked) return -EINVAL;
  // What lies over the root of the moved mount would stay hidden below the one it goes beneath.
  if (m.childAt(m.root) !== undefined) return -EINVAL;
  // "Mounting beneath the rootfs only makes sense when the semantics of pivot_root(".", ".") are used."
  // (What Linux calls the namespace's root lies, empty, below ours.)
  if (over === ctx.fs.root.mount) return -EINVAL;
  if (m.isUnder(over)) return -EINVAL;
  const point = over.mountpoint!;
  if (wouldOvermount(parent, over, point)) return -EINVAL;
  return isOurs(ctx, m) && wouldOvermount(parent, m, point) ? -EINVAL : 0;
}

// ---- changes of what is mounted

/** do_reconfigure_mnt(): MS_REMOUNT | MS_BIND changes this mount only. */
export function remountMount(ctx: VfsContext, at: VfsPath, flags: number): number {
  const m = at.mount;
  if (!isOurs(ctx, m) || at.dentry !== m.root) return -EINVAL;
  return changeFlags(m, remountFlags(m, flags));
}

/** Sets a mount's flags: -EPERM against a lock, -EBUSY for read-only with writers. */
function changeFlags(m: Mount, wanted: number): number {
  const error = canChangeFlags(m, wanted);
  if (error < 0) return error;
  m.flags = wanted;
  m.namespace?.changed();
  return 0;
}

function canChangeFlags(m: Mount, wanted: number): number {
  const locked = m.lockedFlags;
  const restricting = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if ((locked & restricting & m.flags & ~wanted) !== 0) return -EPERM;
  const times = MS_NOATIME | MS_NODIRATIME | MS_RELATIME;
  if ((locked & times) !== 0 && ((m.flags ^ wanted) & times) !== 0) return -EPERM;
  return (wanted & MS_RDONLY) !== 0 && !m.readOnly && m.writers > 0 ? -EBUSY : 0;
}

/** do_remount(): the file system itself, and the mount's flags. */
export function remountFilesystem(ctx: VfsContext, at: VfsPath, flags: number, data: string): number {
  const m = at.mount;
  if (!isOurs(ctx, m) || at.dentry !== m.root) return -EINVAL;
  if (!capableOverFs(ctx.creds, m.fs, CAP_SYS_ADMIN)) return -EPERM;
  const readOnly = (flags & MS_RDONLY) !== 0;
  const wanted = remountFlags(m, flags);
  let error = canChangeFlags(m, wanted);
  if (error < 0) return error;
  if (readOnly && !m.fs.readOnly && m.writers > 0) return -EBUSY;
  error = m.fs.remount(data);
  if (error < 0) return error;
  m.fs.readOnly = readOnly;
  return changeFlags(m, wanted);
}

/** do_change_type(): MS_SHARED, MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE, one of them, with MS_REC or not. */
export function setPropagation(ctx: VfsContext, at: VfsPath, flags: number): number {
  const kind = flags & PROPAGATION;
  // "exactly one propagation type": flags_to_propagation_type().
  if ((kind & (kind - 1)) !== 0) return -EINVAL;
  const m = at.mount;
  if (at.dentry !== m.root || !isOurs(ctx, m)) return -EINVAL;
  const all = (flags & MS_REC) !== 0 ? m.tree() : [m];
  for (const one of all) changeType(one, kind);
  ctx.fs.mountNamespace.changed();
  return 0;
}

function changeType(m: Mount, kind: number): void {
  if (kind === MS_SHARED) m.makeShared();
  else if (kind === MS_SLAVE) m.makeSlave();
  else if (kind === MS_PRIVATE) m.makePrivate();
  else m.makeUnbindable();
}

/** What mount_setattr(2) is to change. */
export interface MountChange {
  /** MOUNT_ATTR_* but the id map. */
  set: number;
  clear: number;
  /** MS_SHARED and its kin, or 0. */
  propagation: number;
  /** The namespace whose maps the mount takes, null for none, undefined where nothing was said of it. */
  idmap: UserNamespace | null | undefined;
  /** A map that is there may go: open_tree_attr(2). */
  replaces: boolean;
}

/** mount_setattr(2) on one mount or, recursive, all below. All or none. */
export function setMountAttr(ctx: VfsContext, at: VfsPath, change: MountChange, recursive: boolean): number {
  const { set, clear, propagation, idmap } = change;
  const m = at.mount;
  if (at.dentry !== m.root) return -EINVAL;
  if (m.namespace !== null && !isOurs(ctx, m)) return -EINVAL;
  const all = recursive ? m.tree() : [m];
  for (const one of all) {
    const error = canChangeFlags(one, withAttr(one.flags, set, clear)) || canMapIds(ctx, one, change);
    if (error < 0) return error;
  }
  for (const one of all) {
    one.flags = withAttr(one.flags, set, clear);
    if (propagation !== 0) changeType(one, propagation);
    if (idmap !== undefined) one.idmap = idmap === null ? null : new MountIdmap(idmap, one.fs.userns?.parent ? one.fs.userns : null);
  }
  m.namespace?.changed();
  return 0;
}

/** can_idmap_mount(). */
function canMapIds(ctx: VfsContext, m: Mount, { idmap, replaces }: MountChange): number {
  if (idmap === undefined) return 0;
  const { fs } = m;
  // "Creating an idmapped mount with the filesystem wide idmapping doesn't make sense".
  if (idmap === fs.userns) return -EINVAL;
  // "We only allow an mount to change it's idmapping if it has never been accessible to userspace."
  if (!replaces && m.idmap !== null) return -EPERM;
  if (!fs.allowsIdmap) return -EINVAL;
  if (!capableOverFs(ctx.creds, fs, CAP_SYS_ADMIN)) return -EPERM;
  return isAnonymous(m) ? 0 : -EINVAL;
}

/** MS_* for MOUNT_ATTR_*: fsmount(2)'s attributes. */
export function flagsOfAttr(attr: number): number {
  return withAttr(MS_RELATIME, attr, MOUNT_ATTR__ATIME);
}

function withAttr(flags: number, set: number, clear: number): number {
  flags = (flags & ~plainFlags(clear)) | plainFlags(set);
  if ((clear & MOUNT_ATTR__ATIME) === MOUNT_ATTR__ATIME) {
    const mode = set & MOUNT_ATTR__ATIME;
    flags &= ~(MS_NOATIME | MS_RELATIME);
    if (mode === MOUNT_ATTR_NOATIME) flags |= MS_NOATIME;
    else if (mode !== MOUNT_ATTR_STRICTATIME) flags |= MS_RELATIME;
  }
  return flags;
}

function plainFlags(attr: number): number {
  let flags = 0;
  if ((attr & MOUNT_ATTR_RDONLY) !== 0) flags |= MS_RDONLY;
  if ((attr & MOUNT_ATTR_NOSUID) !== 0) flags |= MS_NOSUID;
  if ((attr & MOUNT_ATTR_NODEV) !== 0) flags |= MS_NODEV;
  if ((attr & MOUNT_ATTR_NOEXEC) !== 0) flags |= MS_NOEXEC;
  if ((attr & MOUNT_ATTR_NODIRATIME) !== 0) flags |= MS_NODIRATIME;
  if ((attr & MOUNT_ATTR_NOSYMFOLLOW) !== 0) flags |= MS_NOSYMFOLLOW;
  return flags;
}

// ---- umount, pivot_root

/** umount2(2) on a resolved place; `isBusy` tells whether files or tasks still use a mount. */
export function umountPath(ctx: VfsContext, at: VfsPath, flags: number, isBusy: (m: Mount) => boolean): number {
  const m = at.mount;
  if (!mayMount(ctx)) return -EPERM;
  if (at.dentry !== m.root || !isOurs(ctx, m) || m.locked) return -EINVAL;
  if (landlockMount(ctx.task) < 0) return -EPERM;
  if ((flags & MNT_FORCE) !== 0 && !ctx.creds.capableIn(ctx.fs.mountNamespace.userns, CAP_SYS_ADMIN)) return -EPERM;
  if ((flags & MNT_EXPIRE) !== 0) {
    if (m === ctx.fs.root.mount || (flags & (MNT_FORCE | MNT_DETACH)) !== 0) return -EINVAL;
    if (m.children.size > 0 || isBusy(m)) return -EBUSY;
    if (!m.expiryMark) {
      m.expiryMark = true;
      return -EAGAIN;
    }
  }
  // The root of the namespace: a remount to read-only, as Linux does on shutdown.
  if (m === ctx.fs.root.mount && (flags & MNT_DETACH) === 0 && m.parent === null) {
    if (!capableOverFs(ctx.creds, m.fs, CAP_SYS_ADMIN)) return -EPERM;
    m.fs.readOnly = true;
    return 0;
  }
  if (m.parent === null) return -EINVAL;
  if ((flags & MNT_DETACH) === 0 && (m.children.size > 0 || isBusy(m) || copiesBusy(m, isBusy))) return -EBUSY;
  notifyUnmounted(m);
  umountTree(m, true);
  return 0;
}

/** pivot_root(2): `newRoot` becomes the root mount, the old one goes to `putOld`. The caller moves tasks' roots. */
export function pivotRoot(ctx: VfsContext, newRoot: VfsPath, putOld: VfsPath): number {
  if (!mayMount(ctx) || landlockMount(ctx.task) < 0) return -EPERM;
  const root = ctx.fs.root;
  const newMount = newRoot.mount;
  const rootMount = root.mount;
  const ns: MountNamespace = ctx.fs.mountNamespace;
  if (putOld.mount.peers !== null || newMount.parent?.peers || rootMount.parent?.peers) return -EINVAL;
  if (!isOurs(ctx, rootMount) || !isOurs(ctx, newMount)) return -EINVAL;
  if (newMount.locked) return -EINVAL;
  if (isDeleted(newRoot.dentry)) return -ENOENT;
  if (newMount === rootMount || putOld.mount === rootMount) return -EBUSY;
  if (root.dentry !== rootMount.root || newRoot.dentry !== newMount.root) return -EINVAL;
  if (newMount.parent === null) return -EINVAL;
  // put_old must be reachable from new_root, and new_root from the old root.
  if (!reachable(putOld, newRoot) || !reachable(newRoot, root)) return -EINVAL;
  if (!newRoot.dentry.isDir() || !putOld.dentry.isDir()) return -ENOTDIR;

  const parent = rootMount.parent;
  const point = rootMount.mountpoint;
  newMount.detach();
  if (rootMount.locked) {
    newMount.locked = true;
    rootMount.locked = false;
  }
  rootMount.detach();
  rootMount.attach(putOld.mount, putOld.dentry);
  if (parent !== null) newMount.attach(parent, point!);
  else {
    newMount.join(ns);
    ns.root = newMount;
  }
  ns.changed();
  return 0;
}

/** is_path_reachable(). */
function reachable(at: VfsPath, from: VfsPath): boolean {
  let { mount, dentry } = at;
  while (mount !== from.mount && mount.parent !== null) {
    dentry = mount.mountpoint!;
    mount = mount.parent;
  }
  return mount === from.mount && dentry.isUnder(from.dentry);
}
