// Device nodes that a guest makes in its root, as tar, debootstrap and programs with CAP_MKNOD do. To the guest they mean
// its own devices; on the host they are real. So nobody but the host's root may come to open one there, unless it is of a
// device that everybody has anyway.

import { S_IFBLK, S_IFCHR } from '../sentry/abi/stat.ts';
import type { AttributeReader, ControlFd } from './control-fd.ts';
import { TREE_NODES } from './protocol/messages.ts';

/** null, zero, full, random, urandom; tty, console, ptmx: Documentation/admin-guide/devices.txt. */
const EVERYBODYS: ReadonlyMap<number, readonly number[]> = new Map([
  [1, [3, 5, 7, 8, 9]],
  [5, [0, 1, 2]],
]);
/** Permissions that a node of any other device never has. */
const GROUP_AND_OTHERS = 0o077;

/** Whether a node is of a device that is not everybody's. Overlays' whiteouts (0, 0) are of none. */
export function isGuarded(type: number, major: number, minor: number): boolean {
  if (type === S_IFBLK) return true;
  return type === S_IFCHR && !(major === 0 && minor === 0) && !EVERYBODYS.get(major)?.includes(minor);
}

/** The permissions that a guarded node gets when these are asked for. */
export function guardedMode(mode: number): number {
  return mode & ~GROUP_AND_OTHERS;
}

/** Whether the file is a guarded node in a tree whose guest makes nodes. Loads `attributes`. */
export function isGuardedFile(file: ControlFd, attributes: AttributeReader): boolean {
  if ((file.tree.flags & TREE_NODES) === 0 || (file.type !== S_IFBLK && file.type !== S_IFCHR)) return false;
  return attributes.ofFd(file.fd) < 0 || isGuarded(file.type, attributes.rdevMajor, attributes.rdevMinor);
}
