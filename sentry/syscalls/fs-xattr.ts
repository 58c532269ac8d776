// Extended attributes: setxattr, getxattr, listxattr, removexattr, each by path, by link, by descriptor and
// by (dirfd, path).

import { E2BIG, EBADF, EFAULT, EINVAL, ENAMETOOLONG, ERANGE } from '../abi/errno.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_PATH } from '../abi/fcntl.ts';
import { layout, u32, u64 } from '../abi/layout.ts';
import { PAGE_SIZE, XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_SIZE_MAX } from '../abi/limits.ts';
import {
  SYS_fgetxattr,
  SYS_flistxattr,
  SYS_fremovexattr,
  SYS_fsetxattr,
  SYS_getxattr,
  SYS_getxattrat,
  SYS_lgetxattr,
  SYS_listxattr,
  SYS_listxattrat,
  SYS_llistxattr,
  SYS_lremovexattr,
  SYS_lsetxattr,
  SYS_removexattr,
  SYS_removexattrat,
  SYS_setxattr,
  SYS_setxattrat,
} from '../abi/sysno-x64.ts';
import { assert } from '../base/assert.ts';
import { getU64 } from '../base/int64.ts';
import { putLatin1 } from '../base/latin1.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';
import { XATTR_CREATE, XATTR_REPLACE } from '../vfs/simple-attr.ts';
import { getXattr, listXattr, removeXattr, setXattr } from '../vfs/xattr.ts';
import { copyInPathAt, target, targetAt, targetFile } from './fs-paths.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** Resolves argument 0 as a path into `target`. */
function byPath(t: Task, a: SyscallArgs, flags: number): number {
  const path = t.mm.copyInPath(a.addr(0));
  return typeof path === 'number' ? path : targetAt(t, AT_FDCWD, path, flags);
}

function byFd(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  return file === undefined || (file.flags & O_PATH) !== 0 ? -EBADF : targetFile(file);
}

/** The name, or -ERANGE for an empty or too long one. */
function copyInName(t: Task, addr: number): string | number {
  const name = t.mm.copyInString(addr, XATTR_NAME_MAX + 1);
  if (name === -ENAMETOOLONG || name === '') return -ERANGE;
  return name;
}

// ---- set

function set(t: Task, a: SyscallArgs, found: number): number {
  return found < 0 ? found : setValue(t, a.addr(1), a.addr(2), a.addr(3), a.int(4));
}

function setValue(t: Task, nameAddr: number, valueAddr: number, size: number, flags: number): number {
  if ((flags & ~(XATTR_CREATE | XATTR_REPLACE)) !== 0) return -EINVAL;
  const name = copyInName(t, nameAddr);
  if (typeof name === 'number') return name;
  if (size > XATTR_SIZE_MAX) return -E2BIG;
  const value = new Uint8Array(size);
  if (t.mm.copyIn(valueAddr, value, 0, size) < 0) return -EFAULT;
  return setXattr(t.creds, target.mount, target.inode, target.dentry, name, value, flags);
}

/** setxattr(2). */
export function setxattr(t: Task, a: SyscallArgs): number {
  return set(t, a, byPath(t, a, 0));
}

/** lsetxattr(2). */
export function lsetxattr(t: Task, a: SyscallArgs): number {
  return set(t, a, byPath(t, a, AT_SYMLINK_NOFOLLOW));
}

/** fsetxattr(2). */
export function fsetxattr(t: Task, a: SyscallArgs): number {
  return set(t, a, byFd(t, a));
}

// ---- get

function get(t: Task, a: SyscallArgs, found: number): number {
  return found < 0 ? found : getValue(t, a.addr(1), a.addr(2), a.addr(3));
}

function getValue(t: Task, nameAddr: number, valueAddr: number, size: number): number {
  const name = copyInName(t, nameAddr);
  if (typeof name === 'number') return name;
  const value = getXattr(t.creds, target.mount, target.inode, name);
  if (typeof value === 'number') return value;
  if (size === 0) return value.length;
  if (value.length > size) return -ERANGE;
  return t.mm.copyOut(valueAddr, value, 0, value.length) < 0 ? -EFAULT : value.length;
}

/** getxattr(2). */
export function getxattr(t: Task, a: SyscallArgs): number {
  return get(t, a, byPath(t, a, 0));
}

/** lgetxattr(2). */
export function lgetxattr(t: Task, a: SyscallArgs): number {
  return get(t, a, byPath(t, a, AT_SYMLINK_NOFOLLOW));
}

/** fgetxattr(2). */
export function fgetxattr(t: Task, a: SyscallArgs): number {
  return get(t, a, byFd(t, a));
}

// ---- list

function list(t: Task, a: SyscallArgs, found: number): number {
  return found < 0 ? found : listNames(t, a.addr(1), a.addr(2));
}

function listNames(t: Task, listAddr: number, size: number): number {
  const names = listXattr(t.creds, target.inode);
  if (typeof names === 'number') return names;
  let n = 0;
  for (const name of names) n += name.length + 1;
  if (size === 0) return n;
  if (n > XATTR_LIST_MAX) return -E2BIG;
  if (n > size) return -ERANGE;
  let at = 0;
  for (const name of names) {
    at += putLatin1(scratch.u8, at, name);
    scratch.u8[at++] = 0;
  }
  return t.mm.copyOut(listAddr, scratch.u8, 0, n) < 0 ? -EFAULT : n;
}

/** listxattr(2). */
export function listxattr(t: Task, a: SyscallArgs): number {
  return list(t, a, byPath(t, a, 0));
}

/** llistxattr(2). */
export function llistxattr(t: Task, a: SyscallArgs): number {
  return list(t, a, byPath(t, a, AT_SYMLINK_NOFOLLOW));
}

/** flistxattr(2). */
export function flistxattr(t: Task, a: SyscallArgs): number {
  return list(t, a, byFd(t, a));
}

// ---- remove

function remove(t: Task, a: SyscallArgs, found: number): number {
  return found < 0 ? found : removeName(t, a.addr(1));
}

function removeName(t: Task, nameAddr: number): number {
  const name = copyInName(t, nameAddr);
  return typeof name === 'number' ? name : removeXattr(t.creds, target.mount, target.inode, target.dentry, name);
}

/** removexattr(2). */
export function removexattr(t: Task, a: SyscallArgs): number {
  return remove(t, a, byPath(t, a, 0));
}

/** lremovexattr(2). */
export function lremovexattr(t: Task, a: SyscallArgs): number {
  return remove(t, a, byPath(t, a, AT_SYMLINK_NOFOLLOW));
}

/** fremovexattr(2). */
export function fremovexattr(t: Task, a: SyscallArgs): number {
  return remove(t, a, byFd(t, a));
}

// ---- by (dirfd, path), Linux 6.13

// struct xattr_args, include/uapi/linux/xattr.h.
const XATTR_ARGS = layout({ value: u64, valueSize: u32, flags: u32 });
assert(XATTR_ARGS.size === 16);
const xattrArgs = { valueAddr: 0, size: 0, flags: 0 };

function loadArgs(t: Task, addr: number, size: number): number {
  if (size < XATTR_ARGS.size) return -EINVAL;
  if (size > PAGE_SIZE) return -E2BIG;
  if (t.mm.copyIn(addr, scratch.u8, 0, size) < 0) return -EFAULT;
  for (let i = XATTR_ARGS.size; i < size; i++) if (scratch.u8[i] !== 0) return -E2BIG;
  xattrArgs.valueAddr = getU64(scratch.view, XATTR_ARGS.value);
  xattrArgs.size = scratch.view.getUint32(XATTR_ARGS.valueSize, true);
  xattrArgs.flags = scratch.view.getInt32(XATTR_ARGS.flags, true);
  return 0;
}

/** Resolves arguments 0 to 2, (dirfd, path, AT_ flags), into `target`. */
function byPathAt(t: Task, a: SyscallArgs): number {
  const flags = a.int(2);
  if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) !== 0) return -EINVAL;
  const path = copyInPathAt(t, a.addr(1), flags);
  return typeof path === 'number' ? path : targetAt(t, a.int(0), path, flags);
}

/** setxattrat(2). */
export function setxattrat(t: Task, a: SyscallArgs): number {
  const error = loadArgs(t, a.addr(4), a.addr(5)) || byPathAt(t, a);
  return error < 0 ? error : setValue(t, a.addr(3), xattrArgs.valueAddr, xattrArgs.size, xattrArgs.flags);
}

/** getxattrat(2). */
export function getxattrat(t: Task, a: SyscallArgs): number {
  const error = loadArgs(t, a.addr(4), a.addr(5)) || (xattrArgs.flags !== 0 ? -EINVAL : byPathAt(t, a));
  return error < 0 ? error : getValue(t, a.addr(3), xattrArgs.valueAddr, xattrArgs.size);
}

/** listxattrat(2). */
export function listxattrat(t: Task, a: SyscallArgs): number {
  const error = byPathAt(t, a);
  return error < 0 ? error : listNames(t, a.addr(3), a.addr(4));
}

/** removexattrat(2). */
export function removexattrat(t: Task, a: SyscallArgs): number {
  const error = byPathAt(t, a);
  return error < 0 ? error : removeName(t, a.addr(3));
}

export const fsXattrCalls: readonly SyscallLine[] = [
  call(SYS_setxattr, 'setxattr', 'path:path name:str value:buf:3 size:size flags:flags', setxattr),
  call(SYS_lsetxattr, 'lsetxattr', 'path:path name:str value:buf:3 size:size flags:flags', lsetxattr),
  call(SYS_fsetxattr, 'fsetxattr', 'fd:fd name:str value:buf:3 size:size flags:flags', fsetxattr),
  call(SYS_getxattr, 'getxattr', 'path:path name:str value:out:3 size:size', getxattr),
  call(SYS_lgetxattr, 'lgetxattr', 'path:path name:str value:out:3 size:size', lgetxattr),
  call(SYS_fgetxattr, 'fgetxattr', 'fd:fd name:str value:out:3 size:size', fgetxattr),
  call(SYS_listxattr, 'listxattr', 'path:path list:out:2 size:size', listxattr),
  call(SYS_llistxattr, 'llistxattr', 'path:path list:out:2 size:size', llistxattr),
  call(SYS_flistxattr, 'flistxattr', 'fd:fd list:out:2 size:size', flistxattr),
  call(SYS_removexattr, 'removexattr', 'path:path name:str', removexattr),
  call(SYS_lremovexattr, 'lremovexattr', 'path:path name:str', lremovexattr),
  call(SYS_fremovexattr, 'fremovexattr', 'fd:fd name:str', fremovexattr),
  call(SYS_setxattrat, 'setxattrat', 'dirfd:dirfd path:path flags:flags name:str args:buf:5 size:size', setxattrat),
  call(SYS_getxattrat, 'getxattrat', 'dirfd:dirfd path:path flags:flags name:str args:buf:5 size:size', getxattrat),
  call(SYS_listxattrat, 'listxattrat', 'dirfd:dirfd path:path flags:flags list:out:4 size:size', listxattrat),
  call(SYS_removexattrat, 'removexattrat', 'dirfd:dirfd path:path flags:flags name:str', removexattrat),
];
