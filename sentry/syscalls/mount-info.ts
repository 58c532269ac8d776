// listmount(2) and statmount(2), Linux 6.8: what mountinfo tells, in binary. Mounts are named by
// their unique ids, which start beyond the old ones: fs/namespace.c:mnt_id_ctr.

import { major, minor } from '../abi/device.ts';
import { E2BIG, EFAULT, EINVAL, ENOENT, EOVERFLOW, EPERM } from '../abi/errno.ts';
import { array, layout, u32, u64 } from '../abi/layout.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import {
  MOUNT_ATTR_IDMAP,
  MOUNT_ATTR_NOATIME,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NODIRATIME,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_NOSYMFOLLOW,
  MOUNT_ATTR_RDONLY,
  MOUNT_ATTR_RELATIME,
  MOUNT_ATTR_STRICTATIME,
  MS_NOATIME,
  MS_NODEV,
  MS_NODIRATIME,
  MS_NOEXEC,
  MS_NOSUID,
  MS_NOSYMFOLLOW,
  MS_PRIVATE,
  MS_RDONLY,
  MS_RELATIME,
  MS_SHARED,
  MS_SLAVE,
  MS_UNBINDABLE,
} from '../abi/mount.ts';
import { SYS_listmount, SYS_statmount } from '../abi/sysno-x64.ts';
import { assert } from '../base/assert.ts';
import { getU64, put64 } from '../base/int64.ts';
import { putLatin1 } from '../base/latin1.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';
import { firstUniqueMountId, type Mount } from '../vfs/mount.ts';
import type { MountIdmap } from '../vfs/mount-idmap.ts';
import { mayMount } from '../vfs/mount-ops.ts';
import { pathBelow } from '../vfs/path-name.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const STATMOUNT_SB_BASIC = 1;
const STATMOUNT_MNT_BASIC = 2;
const STATMOUNT_PROPAGATE_FROM = 4;
const STATMOUNT_MNT_ROOT = 8;
const STATMOUNT_MNT_POINT = 0x10;
const STATMOUNT_FS_TYPE = 0x20;
const STATMOUNT_MNT_NS_ID = 0x40;
const STATMOUNT_MNT_OPTS = 0x80;
const STATMOUNT_FS_SUBTYPE = 0x100;
const STATMOUNT_SB_SOURCE = 0x200;
const STATMOUNT_OPT_ARRAY = 0x400;
const STATMOUNT_SUPPORTED_MASK = 0x1000;
const STATMOUNT_MNT_UIDMAP = 0x2000;
const STATMOUNT_MNT_GIDMAP = 0x4000;
const SUPPORTED =
  STATMOUNT_SB_BASIC |
  STATMOUNT_MNT_BASIC |
  STATMOUNT_PROPAGATE_FROM |
  STATMOUNT_MNT_ROOT |
  STATMOUNT_MNT_POINT |
  STATMOUNT_FS_TYPE |
  STATMOUNT_MNT_NS_ID |
  STATMOUNT_MNT_OPTS |
  STATMOUNT_FS_SUBTYPE |
  STATMOUNT_SB_SOURCE |
  STATMOUNT_OPT_ARRAY |
  STATMOUNT_SUPPORTED_MASK |
  STATMOUNT_MNT_UIDMAP |
  STATMOUNT_MNT_GIDMAP;
const LISTMOUNT_REVERSE = 1;
/** mnt_id for "the caller's root": ~0. */
const LSMT_ROOT = 2 ** 64;

// struct mnt_id_req, include/uapi/linux/mount.h.
const REQUEST = layout({ size: u32, spare: u32, id: u64, param: u64, nsId: u64 });
const REQUEST_SIZE_VER0 = 24;
const request = { id: 0, param: 0 };

// struct statmount; what follows it are strings, at the offsets in its fields.
const STATMOUNT = layout({
  total: u32,
  mntOpts: u32,
  mask: u64,
  sbDevMajor: u32,
  sbDevMinor: u32,
  sbMagic: u64,
  sbFlags: u32,
  fsType: u32,
  mntId: u64,
  mntParentId: u64,
  mntIdOld: u32,
  mntParentIdOld: u32,
  mntAttr: u64,
  mntPropagation: u64,
  mntPeerGroup: u64,
  mntMaster: u64,
  propagateFrom: u64,
  mntRoot: u32,
  mntPoint: u32,
  mntNsId: u64,
  fsSubtype: u32,
  sbSource: u32,
  optNum: u32,
  optArray: u32,
  securityOptions: array(u32, 2),
  supportedMask: u64,
  uidmapNum: u32,
  uidmap: u32,
  gidmapNum: u32,
  gidmap: u32,
  spare: array(u64, 43),
});
assert(STATMOUNT.size === 512);

function loadRequest(t: Task, addr: number): number {
  const size = t.mm.loadU32(addr);
  if (size < 0) return size;
  if (size < REQUEST_SIZE_VER0) return -EINVAL;
  if (size > PAGE_SIZE) return -E2BIG;
  if (t.mm.copyIn(addr, scratch.u8, 0, size) < 0) return -EFAULT;
  for (let i = REQUEST.size; i < size; i++) if (scratch.u8[i] !== 0) return -E2BIG;
  if (scratch.view.getUint32(REQUEST.spare, true) !== 0) return -EINVAL;
  request.id = getU64(scratch.view, REQUEST.id);
  request.param = getU64(scratch.view, REQUEST.param);
  if (request.id <= firstUniqueMountId) return -EINVAL;
  // Another namespace than the caller's can be named by its id only through a descriptor of it.
  const nsId = size > REQUEST_SIZE_VER0 ? getU64(scratch.view, REQUEST.nsId) : 0;
  return nsId === 0 || nsId === t.fs.mountNamespace.id ? 0 : -ENOENT;
}

function uniqueId(m: Mount): number {
  return m.id + firstUniqueMountId;
}

function findMount(t: Task, id: number): Mount | undefined {
  if (id >= LSMT_ROOT) return t.fs.root.mount;
  for (const m of t.fs.mountNamespace.mounts) if (uniqueId(m) === id) return m;
  return undefined;
}

/** listmount(2): unique ids of the mounts below one, oldest first. */
export function listmount(t: Task, a: SyscallArgs): number {
  const flags = a.int(3);
  const room = a.addr(2);
  if ((flags & ~LISTMOUNT_REVERSE) !== 0) return -EINVAL;
  if (room > 1_000_000) return -EOVERFLOW;
  const error = loadRequest(t, a.addr(0));
  if (error < 0) return error;
  const { root } = t.fs;
  const isRoot = request.id >= LSMT_ROOT;
  const top = findMount(t, request.id);
  if (top === undefined) return -ENOENT;
  if (!isRoot && pathBelow(top, top.root, root) === undefined && !mayMount(t)) return -EPERM;
  const last = request.param;
  const all = [...t.fs.mountNamespace.mounts].sort((x, y) => x.id - y.id);
  if ((flags & LISTMOUNT_REVERSE) !== 0) all.reverse();
  let n = 0;
  for (const m of all) {
    if (n === room) break;
    const id = uniqueId(m);
    if (last !== 0 && ((flags & LISTMOUNT_REVERSE) !== 0 ? id >= last : id <= last)) continue;
    // The mount itself is not among those below it, except for the root's whole tree.
    if ((m === top && !isRoot) || !m.isUnder(top) || pathBelow(m, m.root, root) === undefined) continue;
    if (t.mm.storeU64(a.addr(1) + n * 8, id) < 0) return -EFAULT;
    n++;
  }
  return n;
}

/** Strings behind the struct. */
let used = 0;

function putString(text: string): number {
  const at = used;
  used += putLatin1(scratch.u8, STATMOUNT.size + used, text);
  scratch.u8[STATMOUNT.size + used++] = 0;
  return at;
}

/** statmount(2). */
export function statmount(t: Task, a: SyscallArgs): number {
  if (a.int(3) !== 0) return -EINVAL;
  const error = loadRequest(t, a.addr(0));
  if (error < 0) return error;
  const wanted = request.param;
  const m = request.id >= LSMT_ROOT ? undefined : findMount(t, request.id);
  if (m === undefined) return -ENOENT;
  const where = pathBelow(m, m.root, t.fs.root);
  if (where === undefined && !mayMount(t)) return -EPERM;
  used = 0;
  const v = scratch.view;
  scratch.u8.fill(0, 0, STATMOUNT.size);
  const bits = wanted % 2 ** 31;
  const fs = m.fs;
  if ((bits & STATMOUNT_SB_BASIC) !== 0) {
    v.setUint32(STATMOUNT.sbDevMajor, major(fs.dev), true);
    v.setUint32(STATMOUNT.sbDevMinor, minor(fs.dev), true);
    put64(v, STATMOUNT.sbMagic, fs.magic);
    v.setUint32(STATMOUNT.sbFlags, fs.readOnly ? MS_RDONLY : 0, true);
  }
  if ((bits & STATMOUNT_MNT_BASIC) !== 0) putBasics(m);
  if ((bits & STATMOUNT_PROPAGATE_FROM) !== 0) put64(v, STATMOUNT.propagateFrom, m.master?.id ?? 0);
  if ((bits & STATMOUNT_MNT_NS_ID) !== 0) put64(v, STATMOUNT.mntNsId, m.namespace?.id ?? 0);
  if ((bits & STATMOUNT_FS_TYPE) !== 0) v.setUint32(STATMOUNT.fsType, putString(fs.type), true);
  if ((bits & STATMOUNT_MNT_ROOT) !== 0) v.setUint32(STATMOUNT.mntRoot, putString(m.root.pathInFs()), true);
  if ((bits & STATMOUNT_MNT_POINT) !== 0) v.setUint32(STATMOUNT.mntPoint, putString(where ?? ''), true);
  if ((bits & STATMOUNT_MNT_OPTS) !== 0) v.setUint32(STATMOUNT.mntOpts, putString(fs.options().slice(1)), true);
  if ((bits & STATMOUNT_SB_SOURCE) !== 0) v.setUint32(STATMOUNT.sbSource, putString(m.source), true);
  if ((bits & STATMOUNT_SUPPORTED_MASK) !== 0) put64(v, STATMOUNT.supportedMask, SUPPORTED);
  // What a mount does not have is not in the mask: a subtype, options, id maps.
  let mask = bits & SUPPORTED & ~(STATMOUNT_FS_SUBTYPE | STATMOUNT_OPT_ARRAY | STATMOUNT_MNT_UIDMAP | STATMOUNT_MNT_GIDMAP);
  if ((bits & STATMOUNT_FS_SUBTYPE) !== 0 && fs.subtype !== '') {
    v.setUint32(STATMOUNT.fsSubtype, putString(fs.subtype), true);
    mask |= STATMOUNT_FS_SUBTYPE;
  }
  const options = fs.options().slice(1);
  if ((bits & STATMOUNT_OPT_ARRAY) !== 0 && options !== '') {
    const each = options.split(',');
    v.setUint32(STATMOUNT.optNum, each.length, true);
    v.setUint32(STATMOUNT.optArray, putString(each.join('\0')), true);
    mask |= STATMOUNT_OPT_ARRAY;
  }
  if (m.idmap !== null) mask |= putMaps(t, m.idmap, bits);
  put64(v, STATMOUNT.mask, mask);
  const total = STATMOUNT.size + used;
  v.setUint32(STATMOUNT.total, total, true);
  const room = a.addr(2);
  if (used > 0 && room < total) return -EOVERFLOW;
  return t.mm.copyOut(a.addr(1), scratch.u8, 0, Math.min(room, total));
}

/** The id maps that are asked for, a line a string; what of the mask they make true, also where the caller can name none of the ids. */
function putMaps(t: Task, idmap: MountIdmap, bits: number): number {
  const v = scratch.view;
  const { userns } = t.creds;
  if ((bits & STATMOUNT_MNT_UIDMAP) !== 0) {
    const lines = idmap.lines(userns, true);
    v.setUint32(STATMOUNT.uidmapNum, lines.length, true);
    if (lines.length > 0) v.setUint32(STATMOUNT.uidmap, putString(lines.join('\0')), true);
  }
  if ((bits & STATMOUNT_MNT_GIDMAP) !== 0) {
    const lines = idmap.lines(userns, false);
    v.setUint32(STATMOUNT.gidmapNum, lines.length, true);
    if (lines.length > 0) v.setUint32(STATMOUNT.gidmap, putString(lines.join('\0')), true);
  }
  return bits & (STATMOUNT_MNT_UIDMAP | STATMOUNT_MNT_GIDMAP);
}

function putBasics(m: Mount): void {
  const v = scratch.view;
  const parent = m.parent ?? m;
  put64(v, STATMOUNT.mntId, uniqueId(m));
  put64(v, STATMOUNT.mntParentId, uniqueId(parent));
  v.setUint32(STATMOUNT.mntIdOld, m.id, true);
  v.setUint32(STATMOUNT.mntParentIdOld, parent.id, true);
  put64(v, STATMOUNT.mntAttr, attrOfFlags(m.flags) + (m.idmap === null ? 0 : MOUNT_ATTR_IDMAP));
  let kind = m.peers !== null ? MS_SHARED : 0;
  if (m.master !== null) kind |= MS_SLAVE;
  if (kind === 0) kind = m.unbindable ? MS_UNBINDABLE : MS_PRIVATE;
  put64(v, STATMOUNT.mntPropagation, kind);
  put64(v, STATMOUNT.mntPeerGroup, m.peers?.id ?? 0);
  put64(v, STATMOUNT.mntMaster, m.master?.id ?? 0);
}

/** mnt_to_attr_flags(). */
function attrOfFlags(flags: number): number {
  let attr = 0;
  if ((flags & MS_RDONLY) !== 0) attr |= MOUNT_ATTR_RDONLY;
  if ((flags & MS_NOSUID) !== 0) attr |= MOUNT_ATTR_NOSUID;
  if ((flags & MS_NODEV) !== 0) attr |= MOUNT_ATTR_NODEV;
  if ((flags & MS_NOEXEC) !== 0) attr |= MOUNT_ATTR_NOEXEC;
  if ((flags & MS_NODIRATIME) !== 0) attr |= MOUNT_ATTR_NODIRATIME;
  if ((flags & MS_NOSYMFOLLOW) !== 0) attr |= MOUNT_ATTR_NOSYMFOLLOW;
  if ((flags & MS_NOATIME) !== 0) attr |= MOUNT_ATTR_NOATIME;
  else attr |= (flags & MS_RELATIME) !== 0 ? MOUNT_ATTR_RELATIME : MOUNT_ATTR_STRICTATIME;
  return attr;
}

export const mountInfoCalls: readonly SyscallLine[] = [
  call(SYS_statmount, 'statmount', 'request:addr buf:addr size:size flags:flags', statmount, 'partial', "the caller's namespace only"),
  call(SYS_listmount, 'listmount', 'request:addr ids:addr count:size flags:flags', listmount, 'partial', "the caller's namespace only"),
];
