// The Sentry locks itself in: an empty read-only root, no capabilities in any thread, no new privileges, a filter on
// the host calls that are left. It runs after everything that needs the host's files has been read, and before the
// first guest instruction.

import { readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { EINVAL, errnoName } from '../abi/errno.ts';
import { AT_FDCWD, O_CLOEXEC } from '../abi/fcntl.ts';
import { MNT_DETACH, MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REMOUNT, OPEN_TREE_CLONE } from '../abi/mount.ts';
import { RLIMIT_CORE, RLIMIT_NOFILE } from '../abi/sched.ts';
import { debug } from '../base/log.ts';
import {
  dropAllCapabilities,
  dropBounding,
  getRlimit,
  loadSeccompProgram,
  mount,
  openTree,
  pivotRoot,
  setRlimit,
  umount2,
} from '../host/confine.ts';
import { setOwnDescriptors } from '../host/memory.ts';

import type { BootConfig } from './boot-config.ts';
import { sentryFilter } from './seccomp-filter.ts';

/** A step of lock-down that the host refused. */
export class LockDownError extends Error {
  readonly errno: number;

  constructor(step: string, result: number) {
    super(`locking down: ${step}: ${errnoName(-result)}`);
    this.errno = -result;
  }
}

function must(step: string, result: number): void {
  if (result < 0) throw new LockDownError(step, result);
}

let ownDescriptors = -1;

/** An empty tmpfs becomes the root of our mount namespace, and everything else leaves it. */
export function enterEmptyRoot(): void {
  // To open own descriptors again, read-only. A clone of that directory alone, so that ".." leads nowhere.
  ownDescriptors = openTree(AT_FDCWD, '/proc/self/fd', OPEN_TREE_CLONE | O_CLOEXEC);
  must("cloning the directory of the Sentry's descriptors", ownDescriptors);
  setOwnDescriptors(ownDescriptors);
  // Any folder that every host has will do: in here it is only a place to stand on.
  const place = '/proc';
  must('mounting an empty root', mount('runsc', place, 'tmpfs', MS_NOSUID | MS_NODEV | MS_NOEXEC, 'size=4k,nr_inodes=2,mode=555'));
  process.chdir(place);
  // "new_root and put_old may be the same directory" - pivot_root(2): the old root lies over the new one then.
  must('pivot_root', pivotRoot('.', '.'));
  must('unmounting the old root', umount2('.', MNT_DETACH));
  process.chdir('/');
  must('making the root read-only', mount(null, '/', null, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, null));
}

/** As many descriptors as the host lets us have, since every open file of a guest is one; and no core file, which would hold guests' memory. */
export function raiseLimits(): void {
  const nofile = getRlimit(0, RLIMIT_NOFILE);
  if (typeof nofile !== 'number') setRlimit(0, RLIMIT_NOFILE, nofile[1], nofile[1]);
  setRlimit(0, RLIMIT_CORE, 0, 0);
}

/** Stubs that guests clone behind our back count here too: as many as there may be contexts, and as many again for what is just ending. */
const MAX_PROCESSES = 16384;
/** Linux 6.14 gives each pid namespace a pid_max of its own; before, this file is the host's. */
const OWN_PID_MAX = [6, 14] as const;
const PID_MAX = '/proc/sys/kernel/pid_max';

/** The number of processes and threads of the sandbox, in a cgroup with a limit or not. Stays the host's where Linux has no such limit. */
export function limitProcesses(): void {
  const [major, minor] = release().split('.').map(Number);
  if (major! < OWN_PID_MAX[0] || (major === OWN_PID_MAX[0] && minor! < OWN_PID_MAX[1])) return;
  try {
    if (Number(readFileSync(PID_MAX, 'latin1')) > MAX_PROCESSES) writeFileSync(PID_MAX, String(MAX_PROCESSES));
  } catch (error) {
    debug(`limiting the sandbox's processes: ${(error as Error).message}`);
  }
}

/** The main thread's, and so that of every process it forks: what these execute gets no capabilities. */
export function dropBoundingSet(): void {
  // The first number that the kernel does not know answers EINVAL.
  for (let cap = 0, result = 0; result !== -EINVAL; cap++) {
    result = dropBounding(cap);
    if (result !== -EINVAL) must('dropping the bounding set', result);
  }
}

/** Capabilities and the hope of new ones, in every thread. */
export function dropPrivileges(): void {
  must('dropping capabilities', dropAllCapabilities());
}

/** The filter on the host calls of every thread: the last step. */
export function loadFilter(network: BootConfig['network']): void {
  must('loading the seccomp filter', loadSeccompProgram(sentryFilter(network, ownDescriptors)));
}
