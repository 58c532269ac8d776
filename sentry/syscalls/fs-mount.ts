// mount(2), umount2(2), pivot_root(2), sync(2), syncfs(2), and the mount API of file descriptors.

import { E2BIG, EBADF, EBUSY, EFAULT, EINVAL, ENAMETOOLONG, EOPNOTSUPP, EPERM } from '../abi/errno.ts';
import { AT_EMPTY_PATH, AT_NO_AUTOMOUNT, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, O_PATH } from '../abi/fcntl.ts';
import { layout, u64 } from '../abi/layout.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import {
  FSCONFIG_CMD_CREATE,
  FSCONFIG_CMD_CREATE_EXCL,
  FSCONFIG_CMD_RECONFIGURE,
  FSCONFIG_SET_BINARY,
  FSCONFIG_SET_FD,
  FSCONFIG_SET_FLAG,
  FSCONFIG_SET_PATH,
  FSCONFIG_SET_PATH_EMPTY,
  FSCONFIG_SET_STRING,
  FSMOUNT_CLOEXEC,
  FSOPEN_CLOEXEC,
  FSPICK_CLOEXEC,
  FSPICK_EMPTY_PATH,
  FSPICK_NO_AUTOMOUNT,
  FSPICK_SYMLINK_NOFOLLOW,
  MNT_DETACH,
  MNT_EXPIRE,
  MNT_FORCE,
  MOUNT_ATTR__ATIME,
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT__MASK,
  MOVE_MOUNT_BENEATH,
  MOVE_MOUNT_F_EMPTY_PATH,
  MOVE_MOUNT_F_SYMLINKS,
  MOVE_MOUNT_SET_GROUP,
  MOVE_MOUNT_T_EMPTY_PATH,
  MOVE_MOUNT_T_SYMLINKS,
  MS_MGC_MSK,
  MS_MGC_VAL,
  MS_NOUSER,
  MS_PRIVATE,
  MS_RDONLY,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
  OPEN_TREE_CLOEXEC,
  OPEN_TREE_CLONE,
  UMOUNT_NOFOLLOW,
} from '../abi/mount.ts';
import { CAP_SYS_ADMIN } from '../abi/sched.ts';
import {
  SYS_fsconfig,
  SYS_fsmount,
  SYS_fsopen,
  SYS_fspick,
  SYS_mount,
  SYS_mount_setattr,
  SYS_move_mount,
  SYS_open_tree,
  SYS_open_tree_attr,
  SYS_pivot_root,
  SYS_sync,
  SYS_syncfs,
  SYS_umount2,
} from '../abi/sysno-x64.ts';
import { assert } from '../base/assert.ts';
import { DetachedMountFile, FsContextFile } from '../fs/mount-file.ts';
import { NsDescription } from '../fs/nsfs.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import { scratch } from '../mm/guest-memory.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { Filesystem, VfsPath } from '../vfs/filesystem.ts';
import { landlockMount } from '../vfs/landlock.ts';
import { Mount } from '../vfs/mount.ts';
import {
  cloneForBind,
  flagsOfAttr,
  type MountChange,
  makeFilesystem,
  mayMount,
  mountPath,
  moveMount as moveMountTo,
  pivotRoot as pivot,
  remountFilesystem,
  setMountAttr,
  topmost,
  typeFor,
  umountPath,
} from '../vfs/mount-ops.ts';
import { LOOKUP_DIRECTORY, LOOKUP_EMPTY, LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import { lookupFlags, startOf } from './fs-paths.ts';
import { mountInfoCalls } from './mount-info.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** An optional string of at most a page; longer ones are cut off by -EINVAL. */
function copyInText(t: Task, addr: number): string | number | null {
  if (addr === 0) return null;
  const text = t.mm.copyInString(addr, PAGE_SIZE);
  return text === -ENAMETOOLONG ? -EINVAL : text;
}

/** mount(2). */
export function mount(t: Task, a: SyscallArgs): number {
  const type = copyInText(t, a.addr(2));
  if (typeof type === 'number') return type;
  const source = copyInText(t, a.addr(0));
  if (typeof source === 'number') return source;
  const data = copyInText(t, a.addr(4));
  if (typeof data === 'number') return data;
  const path = t.mm.copyInPath(a.addr(1));
  if (typeof path === 'number') return path;
  let flags = a.int(3);
  // Magic of Linux 0.99: programs may still send it.
  if ((flags & MS_MGC_MSK) >>> 0 === MS_MGC_VAL) flags &= ~MS_MGC_MSK;
  if ((flags & MS_NOUSER) !== 0) return -EINVAL;
  const { vfs } = t.kernel;
  const at = vfs.lookup(t, null, path, LOOKUP_FOLLOW);
  return typeof at === 'number' ? at : mountPath(vfs, t, source, at, type, flags, data ?? '');
}

/** Whether something stands on a mount: an open file, or a task's root or working directory. */
function isBusy(t: Task, m: Mount): boolean {
  if (m.opens > 0) return true;
  for (const other of t.kernel.tasks.values()) if (other.fs.cwd.mount === m || other.fs.root.mount === m) return true;
  return false;
}

/** umount2(2). */
export function umount2(t: Task, a: SyscallArgs): number {
  const flags = a.int(1);
  if ((flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW)) !== 0) return -EINVAL;
  const path = t.mm.copyInPath(a.addr(0));
  if (typeof path === 'number') return path;
  const at = t.kernel.vfs.lookup(t, null, path, (flags & UMOUNT_NOFOLLOW) !== 0 ? 0 : LOOKUP_FOLLOW);
  // What lies over the place goes, also where the path ends in ".": LOOKUP_MOUNTPOINT.
  return typeof at === 'number' ? at : umountPath(t, topmost(at), flags, (m) => isBusy(t, m));
}

/** pivot_root(2). */
export function pivotRoot(t: Task, a: SyscallArgs): number {
  if (!mayMount(t)) return -EPERM;
  const newPath = t.mm.copyInPath(a.addr(0));
  if (typeof newPath === 'number') return newPath;
  const oldPath = t.mm.copyInPath(a.addr(1));
  if (typeof oldPath === 'number') return oldPath;
  const { vfs } = t.kernel;
  const newRoot = vfs.lookup(t, null, newPath, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  if (typeof newRoot === 'number') return newRoot;
  const putOld = vfs.lookup(t, null, oldPath, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  if (typeof putOld === 'number') return putOld;
  const oldRoot = t.fs.root;
  const error = pivot(t, newRoot, putOld);
  if (error < 0) return error;
  // Every task that stood on the old root stands on the new one: fs/fs_struct.c:chroot_fs_refs().
  for (const other of t.kernel.tasks.values()) {
    if (samePlace(other.fs.root, oldRoot)) other.fs.root = newRoot;
    if (samePlace(other.fs.cwd, oldRoot)) other.fs.cwd = newRoot;
  }
  return 0;
}

function samePlace(a: VfsPath, b: VfsPath): boolean {
  return a.mount === b.mount && a.dentry === b.dentry;
}

/** sync(2). */
export function sync(t: Task, _a: SyscallArgs): number {
  const done = new Set<Filesystem>();
  for (const m of t.fs.mountNamespace.mounts) {
    if (done.has(m.fs)) continue;
    done.add(m.fs);
    m.fs.sync();
  }
  return 0;
}

/** syncfs(2). */
export function syncfs(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  return file === undefined || (file.flags & O_PATH) !== 0 ? -EBADF : file.inode().fs.sync();
}

// ---- the mount API of file descriptors

function install(t: Task, file: FileDescription, cloexec: boolean): number {
  const fd = t.fds.add(file, cloexec, t.fdLimit);
  if (fd < 0) file.decRef(t);
  return fd;
}

/** The place of (dirfd, path) for calls with flags of their own. */
function placeAt(t: Task, dirfd: number, pathAddr: number, lookup: number): VfsPath | number {
  const path = t.mm.copyInPath(pathAddr);
  if (typeof path === 'number') return path;
  const start = startOf(t, dirfd, path, (lookup & LOOKUP_EMPTY) !== 0);
  return typeof start === 'number' ? start : t.kernel.vfs.lookup(t, start, path, lookup);
}

/** open_tree(2). */
export function openTree(t: Task, a: SyscallArgs): number {
  const flags = a.int(2);
  if ((flags & ~(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW)) !== 0)
    return -EINVAL;
  const clones = (flags & OPEN_TREE_CLONE) !== 0;
  if ((flags & AT_RECURSIVE) !== 0 && !clones) return -EINVAL;
  if (clones && !mayMount(t)) return -EPERM;
  const at = placeAt(t, a.int(0), a.addr(1), lookupFlags(flags));
  if (typeof at === 'number') return at;
  const cloexec = (flags & OPEN_TREE_CLOEXEC) !== 0;
  if (!clones) {
    const file = t.kernel.vfs.openPath(t, at, O_PATH);
    return typeof file === 'number' ? file : install(t, file, cloexec);
  }
  const copy = cloneForBind(t, at, (flags & AT_RECURSIVE) !== 0);
  return typeof copy === 'number' ? copy : install(t, new DetachedMountFile(copy), cloexec);
}

/** move_mount(2). */
export function moveMount(t: Task, a: SyscallArgs): number {
  const flags = a.int(4);
  if (!mayMount(t)) return -EPERM;
  if ((flags & ~MOVE_MOUNT__MASK) !== 0) return -EINVAL;
  const beneath = (flags & MOVE_MOUNT_BENEATH) !== 0;
  if (beneath && (flags & MOVE_MOUNT_SET_GROUP) !== 0) return -EINVAL;
  let lookup = (flags & MOVE_MOUNT_F_SYMLINKS) !== 0 ? LOOKUP_FOLLOW : 0;
  if ((flags & MOVE_MOUNT_F_EMPTY_PATH) !== 0) lookup |= LOOKUP_EMPTY;
  const from = placeAt(t, a.int(0), a.addr(1), lookup);
  if (typeof from === 'number') return from;
  lookup = (flags & MOVE_MOUNT_T_SYMLINKS) !== 0 ? LOOKUP_FOLLOW : 0;
  if ((flags & MOVE_MOUNT_T_EMPTY_PATH) !== 0) lookup |= LOOKUP_EMPTY;
  const to = placeAt(t, a.int(2), a.addr(3), lookup);
  if (typeof to === 'number') return to;
  if (landlockMount(t) < 0) return -EPERM;
  if ((flags & MOVE_MOUNT_SET_GROUP) !== 0) return joinGroup(from.mount, to.mount);
  return moveMountTo(t, from, to, beneath);
}

/** MOVE_MOUNT_SET_GROUP: the private mount `to` becomes a peer (or a fellow slave) of `from`. do_set_group(). */
function joinGroup(from: Mount, to: Mount): number {
  if (to.peers !== null || to.master !== null || from.fs !== to.fs || !to.root.isUnder(from.root)) return -EINVAL;
  if (from.peers === null && from.master === null) return -EINVAL;
  if (from.peers !== null) to.joinPeers(from);
  if (from.master !== null) to.setMaster(from.master);
  return 0;
}

/** fsopen(2). */
export function fsopen(t: Task, a: SyscallArgs): number {
  const flags = a.int(1);
  if (!mayMount(t)) return -EPERM;
  if ((flags & ~FSOPEN_CLOEXEC) !== 0) return -EINVAL;
  const name = t.mm.copyInString(a.addr(0), PAGE_SIZE);
  if (typeof name === 'number') return name;
  const type = typeFor(t.kernel.vfs, t, name);
  return typeof type === 'number' ? type : install(t, new FsContextFile(type, null), (flags & FSOPEN_CLOEXEC) !== 0);
}

/** fspick(2). */
export function fspick(t: Task, a: SyscallArgs): number {
  const flags = a.int(2);
  if (!mayMount(t)) return -EPERM;
  if ((flags & ~(FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH)) !== 0) return -EINVAL;
  let lookup = (flags & FSPICK_SYMLINK_NOFOLLOW) !== 0 ? 0 : LOOKUP_FOLLOW;
  if ((flags & FSPICK_EMPTY_PATH) !== 0) lookup |= LOOKUP_EMPTY;
  const at = placeAt(t, a.int(0), a.addr(1), lookup);
  if (typeof at === 'number') return at;
  if (at.dentry !== at.mount.root) return -EINVAL;
  return install(t, new FsContextFile(null, at), (flags & FSPICK_CLOEXEC) !== 0);
}

/** fsconfig(2). */
export function fsconfig(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  if (file === undefined) return -EBADF;
  if (!(file instanceof FsContextFile)) return -EINVAL;
  const command = a.int(1);
  const aux = a.int(4);
  switch (command) {
    case FSCONFIG_SET_FLAG: {
      const key = copyInKey(t, a.addr(2));
      if (a.addr(3) !== 0 || aux !== 0) return -EINVAL;
      return typeof key === 'number' ? key : file.set(key, null);
    }
    case FSCONFIG_SET_STRING: {
      const key = copyInKey(t, a.addr(2));
      if (aux !== 0 || a.addr(3) === 0) return -EINVAL;
      if (typeof key === 'number') return key;
      const value = t.mm.copyInString(a.addr(3), 256);
      if (value === -ENAMETOOLONG) return -EINVAL;
      return typeof value === 'number' ? value : file.set(key, value);
    }
    case FSCONFIG_SET_FD: {
      const key = copyInKey(t, a.addr(2));
      if (a.addr(3) !== 0 || aux < 0) return -EINVAL;
      if (typeof key === 'number') return key;
      // No file system of ours takes one: FUSE's is a number in a string, on Linux 6.18 too.
      return t.fds.get(aux) === undefined ? -EBADF : -EINVAL;
    }
    // Nor binary blobs or paths.
    case FSCONFIG_SET_BINARY:
    case FSCONFIG_SET_PATH:
    case FSCONFIG_SET_PATH_EMPTY:
      return -EINVAL;
    case FSCONFIG_CMD_CREATE:
    case FSCONFIG_CMD_CREATE_EXCL:
      return create(t, file);
    case FSCONFIG_CMD_RECONFIGURE:
      if (file.picked === null) return -EINVAL;
      return remountFilesystem(t, file.picked, file.readOnly ? MS_RDONLY : 0, file.options);
    default:
      return -EOPNOTSUPP;
  }
}

function copyInKey(t: Task, addr: number): string | number {
  const key = t.mm.copyInString(addr, 256);
  return key === -ENAMETOOLONG || key === '' ? -EINVAL : key;
}

function create(t: Task, file: FsContextFile): number {
  if (file.type === null || file.created !== null) return -EBUSY;
  const fs = makeFilesystem(t, file.type, file.source === '' ? 'none' : file.source, file.readOnly ? MS_RDONLY : 0, file.options);
  if (typeof fs === 'number') return fs;
  file.created = fs;
  return 0;
}

const VALID_ATTR =
  MOUNT_ATTR_RDONLY |
  MOUNT_ATTR_NOSUID |
  MOUNT_ATTR_NODEV |
  MOUNT_ATTR_NOEXEC |
  MOUNT_ATTR__ATIME |
  MOUNT_ATTR_NODIRATIME |
  MOUNT_ATTR_NOSYMFOLLOW;

/** fsmount(2). */
export function fsmount(t: Task, a: SyscallArgs): number {
  const attr = a.int(2);
  if (!mayMount(t)) return -EPERM;
  if ((a.int(1) & ~FSMOUNT_CLOEXEC) !== 0 || (attr & ~VALID_ATTR) !== 0) return -EINVAL;
  const file = t.fds.get(a.int(0));
  if (file === undefined) return -EBADF;
  if (!(file instanceof FsContextFile)) return -EINVAL;
  const fs = file.take();
  if (fs === null) return -EINVAL;
  return install(
    t,
    new DetachedMountFile(Mount.of(fs, flagsOfAttr(attr), file.source === '' ? 'none' : file.source)),
    (a.int(1) & FSMOUNT_CLOEXEC) !== 0,
  );
}

// struct mount_attr, include/uapi/linux/mount.h.
const MOUNT_ATTR = layout({ set: u64, clear: u64, propagation: u64, usernsFd: u64 });
assert(MOUNT_ATTR.size === 32);

/** open_tree_attr(2), Linux 6.15: open_tree and mount_setattr on what it opens. */
export function openTreeAttr(t: Task, a: SyscallArgs): number {
  if (a.addr(3) === 0 && a.addr(4) !== 0) return -EINVAL;
  const fd = openTree(t, a);
  if (fd < 0 || a.addr(3) === 0) return fd;
  const at = t.fds.get(fd)!.path!;
  const recursive = (a.int(2) & AT_RECURSIVE) !== 0;
  let error = loadMountAttr(t, a.addr(3), a.addr(4), true);
  if (error === 0) error = setMountAttr(t, at, wanted, recursive);
  if (error === 0) return fd;
  t.fds.close(t, fd);
  return error;
}

/** What loadMountAttr() has read. */
const wanted: MountChange = { set: 0, clear: 0, propagation: 0, idmap: undefined, replaces: false };

/** mount_setattr(2). */
export function mountSetattr(t: Task, a: SyscallArgs): number {
  const flags = a.int(2);
  if ((flags & ~(AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT)) !== 0) return -EINVAL;
  if (!mayMount(t)) return -EPERM;
  const error = loadMountAttr(t, a.addr(3), a.addr(4), false);
  if (error < 0) return error;
  // "Don't bother walking through the mounts if this is a nop."
  if (wanted.set === 0 && wanted.clear === 0 && wanted.propagation === 0 && wanted.idmap === undefined) return 0;
  const at = placeAt(t, a.int(0), a.addr(1), lookupFlags(flags));
  if (typeof at === 'number') return at;
  return setMountAttr(t, at, wanted, (flags & AT_RECURSIVE) !== 0);
}

/** A checked struct mount_attr into `wanted`; `replaces`: a copied mount's map may go or become another, open_tree_attr(2). */
function loadMountAttr(t: Task, addr: number, size: number, replaces: boolean): number {
  if (size > PAGE_SIZE) return -E2BIG;
  if (size < MOUNT_ATTR.size) return -EINVAL;
  if (t.mm.copyIn(addr, scratch.u8, 0, size) < 0) return -EFAULT;
  for (let i = MOUNT_ATTR.size; i < size; i++) if (scratch.u8[i] !== 0) return -E2BIG;
  const v = scratch.view;
  const set = v.getInt32(MOUNT_ATTR.set, true);
  const clear = v.getInt32(MOUNT_ATTR.clear, true);
  const propagation = v.getInt32(MOUNT_ATTR.propagation, true);
  const fdHigh = v.getInt32(MOUNT_ATTR.usernsFd + 4, true);
  const fdLow = v.getInt32(MOUNT_ATTR.usernsFd, true);
  const high = v.getInt32(MOUNT_ATTR.set + 4, true) | v.getInt32(MOUNT_ATTR.clear + 4, true) | v.getInt32(MOUNT_ATTR.propagation + 4, true);
  if (high !== 0 || ((set | clear) & ~(VALID_ATTR | MOUNT_ATTR_IDMAP)) !== 0) return -EINVAL;
  // The atime modes are one value, not bits: it can only be replaced as a whole.
  if ((clear & MOUNT_ATTR__ATIME) === 0 ? (set & MOUNT_ATTR__ATIME) !== 0 : (clear & MOUNT_ATTR__ATIME) !== MOUNT_ATTR__ATIME)
    return -EINVAL;
  const kinds = propagation & (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE);
  if (kinds !== propagation || (kinds & (kinds - 1)) !== 0) return -EINVAL;
  const idmap = ((set | clear) & MOUNT_ATTR_IDMAP) === 0 ? undefined : idmapFrom(t, set, clear, replaces, fdHigh === 0 ? fdLow : -1);
  if (typeof idmap === 'number') return idmap;
  wanted.idmap = idmap;
  wanted.set = set & ~MOUNT_ATTR_IDMAP;
  wanted.clear = clear & ~MOUNT_ATTR_IDMAP;
  wanted.propagation = propagation;
  wanted.replaces = replaces;
  return 0;
}

/** The map that the attributes ask for, null for none: build_mount_idmapped(). */
function idmapFrom(t: Task, set: number, clear: number, replaces: boolean, fd: number): UserNamespace | null | number {
  if ((clear & MOUNT_ATTR_IDMAP) !== 0) {
    if (!replaces) return -EINVAL;
    if ((set & MOUNT_ATTR_IDMAP) === 0) return null;
  }
  if (fd < 0) return -EINVAL;
  const file = t.fds.get(fd);
  if (file === undefined || (file.flags & O_PATH) !== 0) return -EBADF;
  if (!(file instanceof NsDescription) || file.namespace.kind !== 'user') return -EINVAL;
  const userns = file.namespace as UserNamespace;
  // "The initial idmapping cannot be used to create an idmapped mount."
  if (userns.parent === null || !t.creds.capableIn(userns, CAP_SYS_ADMIN)) return -EPERM;
  return userns.uidMap === null || userns.gidMap === null ? -EINVAL : userns;
}

export const fsMountCalls: readonly SyscallLine[] = [
  ...mountInfoCalls,
  call(SYS_open_tree_attr, 'open_tree_attr', 'dirfd:dirfd path:path flags:flags attr:buf:4 size:size', openTreeAttr),
  call(SYS_mount, 'mount', 'source:str target:path type:str flags:flags data:str', mount),
  call(SYS_umount2, 'umount2', 'target:path flags:flags', umount2),
  call(SYS_pivot_root, 'pivot_root', 'newRoot:path putOld:path', pivotRoot),
  call(SYS_sync, 'sync', '', sync),
  call(SYS_syncfs, 'syncfs', 'fd:fd', syncfs),
  call(SYS_open_tree, 'open_tree', 'dirfd:dirfd path:path flags:flags', openTree),
  call(SYS_move_mount, 'move_mount', 'fromDirfd:dirfd fromPath:path toDirfd:dirfd toPath:path flags:flags', moveMount),
  call(SYS_fsopen, 'fsopen', 'type:str flags:flags', fsopen, 'partial', 'no message log; parameters are checked by FSCONFIG_CMD_CREATE'),
  call(SYS_fspick, 'fspick', 'dirfd:dirfd path:path flags:flags', fspick),
  call(
    SYS_fsconfig,
    'fsconfig',
    'fd:fd command:uint key:str value:addr aux:int',
    fsconfig,
    'partial',
    'flags and strings only; no layers of overlays by descriptor',
  ),
  call(SYS_fsmount, 'fsmount', 'fd:fd flags:flags attributes:flags', fsmount),
  call(SYS_mount_setattr, 'mount_setattr', 'dirfd:dirfd path:path flags:flags attr:buf:4 size:size', mountSetattr),
];
