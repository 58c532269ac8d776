// The gofer locks itself in. It starts as root of whatever namespaces the CLI has made for it (its own mount, network,
// IPC, UTS and PID namespaces; a user namespace too when the caller is not root) and sees the host's files once more:
// to clone the trees that it shall serve. Then its root becomes
//
//   /fd        the directory of its own descriptors (a clone of /proc/self/fd alone, so that ".." does not lead to /proc)
//   /trees/N   the trees, with all mounts below them, nosuid and nodev, read-only where asked
//
// and everything else leaves its mount namespace. Capabilities, new privileges and system calls go after that.

import { fstatSync, mkdirSync, writeFileSync } from 'node:fs';
import {
  close,
  dropAllCapabilities,
  getCapabilities,
  getRlimit,
  ignoreDebuggerSignal,
  mount,
  mountSetattr,
  moveMount,
  openTree,
  pivotRoot,
  setProcessName,
  setRlimit,
  umount2,
} from 'ptrace-napi';
import { ENOSYS, errnoName } from '../sentry/abi/errno.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, O_CLOEXEC } from '../sentry/abi/fcntl.ts';
import {
  MNT_DETACH,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
  MOVE_MOUNT_F_EMPTY_PATH,
  MS_BIND,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  MS_REMOUNT,
  OPEN_TREE_CLONE,
} from '../sentry/abi/mount.ts';
import { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP } from '../sentry/abi/sched.ts';
import type { GoferTree } from './config.ts';

/** A step that the host refused. */
export class ConfineError extends Error {
  constructor(step: string, result: number) {
    super(`confining the gofer: ${step}: ${errnoName(-result)}`);
  }
}

function must(step: string, result: number): number {
  if (result < 0) throw new ConfineError(step, result);
  return result;
}

/** Where a served tree and our descriptors are once the root is ours. */
export const FD_PATH = '/fd';
export function treePath(index: number): string {
  return `/trees/${index}`;
}

/** What serving files takes: to do for the container's users what their ids allow them, whatever our own are. */
const KEPT: readonly number[] = [CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID, CAP_MKNOD, CAP_SETFCAP];

/** Makes `newRoot` (any directory of the host, in our own mount namespace) the root described above. */
export function enterTrees(trees: readonly GoferTree[], newRoot: string): void {
  const clones = trees.map(
    (tree) => tree.mountFd ?? (tree.overlay === undefined ? cloneTree(tree.hostPath, AT_RECURSIVE) : mountOverlay(tree.overlay, newRoot)),
  );
  const areDirectories = clones.map((fd) => fstatSync(fd).isDirectory());
  const fdClone = cloneTree('/proc/self/fd', 0);
  restrict(fdClone, FD_PATH, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);

  must('mounting an empty root', mount('gofer', newRoot, 'tmpfs', MS_NOSUID | MS_NODEV | MS_NOEXEC, 'size=1m,mode=755'));
  process.chdir(newRoot);
  mkdirSync('fd');
  mkdirSync('trees');
  attach(fdClone, 'fd');
  for (const [i, tree] of trees.entries()) {
    const path = `trees/${i}`;
    if (areDirectories[i]) mkdirSync(path);
    else writeFileSync(path, '');
    limit(clones[i], path, tree);
    attach(clones[i], path);
  }
  // "new_root and put_old may be the same directory" - pivot_root(2): the old root lies over the new one then.
  must('pivot_root', pivotRoot('.', '.'));
  must('unmounting the old root', umount2('.', MNT_DETACH));
  process.chdir('/');
  must('making the root read-only', mount(null, '/', null, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, null));
}

function cloneTree(path: string, flags: number): number {
  return must(`cloning the mounts of ${path}`, openTree(AT_FDCWD, path, OPEN_TREE_CLONE | O_CLOEXEC | flags));
}

/** An overlay of the host's, mounted for a moment at `at`; its clone. */
function mountOverlay(options: string, at: string): number {
  must(`mounting an overlay (${options})`, mount('overlay', at, 'overlay', MS_NOSUID | MS_NODEV, options));
  const clone = cloneTree(at, 0);
  must('unmounting the overlay', umount2(at, MNT_DETACH));
  return clone;
}

function attach(fd: number, path: string): void {
  must(`mounting ${path}`, moveMount(fd, '', AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH));
  close(fd);
}

/** The server refuses writes to a read-only tree itself; that the mounts do too is the second lock. */
function limit(fd: number, path: string, tree: GoferTree): void {
  let attributes = MOUNT_ATTR_NOSUID;
  if (tree.devices !== true) attributes |= MOUNT_ATTR_NODEV;
  if (tree.readOnly) attributes |= MOUNT_ATTR_RDONLY;
  restrict(fd, path, attributes);
}

function restrict(fd: number, path: string, attributes: number): void {
  const result = mountSetattr(fd, '', AT_EMPTY_PATH | AT_RECURSIVE, attributes, 0, 0);
  // mount_setattr(2) came with Linux 5.12.
  if (result !== -ENOSYS) must(`restricting ${path}`, result);
}

/** All but the capabilities that serving takes, in every thread; the bounding set and new privileges too. */
export function dropPrivileges(): void {
  let lo = 0;
  for (const cap of KEPT) lo |= 1 << cap;
  // Root of a container has some of them only, and asking for others is EPERM.
  const [, , permitted] = getCapabilities();
  must('dropping capabilities', dropAllCapabilities(lo & permitted));
}

const RLIMIT_NOFILE = 7;
const RLIMIT_CORE = 4;

/** fs/nr_open of a host that has not been told otherwise. */
const MAX_NOFILE = 1 << 20;

/** A handle is a descriptor: as many as the host lets us have, and how many that are. */
export function raiseLimits(): number {
  // A core file would hold the names of the container's files.
  setRlimit(0, RLIMIT_CORE, 0, 0);
  setProcessName('runsc-gofer');
  ignoreDebuggerSignal();
  if (setRlimit(0, RLIMIT_NOFILE, MAX_NOFILE, MAX_NOFILE) === 0) return MAX_NOFILE;
  const limit = getRlimit(0, RLIMIT_NOFILE);
  if (typeof limit === 'number') return 1024;
  const hard = limit[1] < 0 ? MAX_NOFILE : limit[1];
  return setRlimit(0, RLIMIT_NOFILE, hard, hard) === 0 ? hard : limit[0];
}
