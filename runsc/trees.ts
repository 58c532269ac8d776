// Trees of files that the gofer cannot clone by itself: those that the ids of its user namespace may not reach, and those
// whose ids are mapped, which takes rights over their file system: mount_setattr(2), "ID-mapped mounts".

import { openSync } from 'node:fs';
import type { GoferTree } from '../gofer/config.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, O_CLOEXEC } from '../sentry/abi/fcntl.ts';
import { MOUNT_ATTR_IDMAP, OPEN_TREE_CLONE } from '../sentry/abi/mount.ts';
import { CLONE_NEWUSER } from '../sentry/abi/sched.ts';
import { errnoText, RunscError } from './errors.ts';
import { closeFd, finishProcess, mountSetattr, openTree, startProcess, tmpfs, waitPid } from './host.ts';
import { type IdMap, writeIdMaps } from './id-maps.ts';

/** How the ids of a mount are shown: mounts[].uidMappings and gidMappings. */
export interface MountIdMaps {
  readonly uid: readonly IdMap[];
  readonly gid: readonly IdMap[];
  /** Of the mounts below it, too. */
  readonly recursive: boolean;
}

/** A tmpfs of the host's: the gofer serves it, and it is in the mount namespace that others join: podman's cp. */
export interface HostTmpfs {
  /** As mount(2) takes them, ids as the caller has them. */
  readonly options: string;
  /** A mount of it that is nowhere yet, once the gofer has its own; whoever takes it closes it. */
  viewFd: number;
}

export interface PlannedTree extends GoferTree {
  readonly idMaps?: MountIdMaps;
  readonly tmpfs?: HostTmpfs;
}

export interface Donated {
  readonly trees: GoferTree[];
  /** Number in the gofer, number here. */
  readonly fds: readonly [number, number][];
}

/**
 * The trees as the gofer is told of them. foreignIds: it is not to have our ids. What is opened gets numbers from `next`
 * on there, and goes to `owned` here.
 */
export function donateTrees(planned: readonly PlannedTree[], foreignIds: boolean, next: number, owned: number[]): Donated {
  const fds: [number, number][] = [];
  const trees = planned.map(({ idMaps, tmpfs, ...tree }): GoferTree => {
    if (tmpfs !== undefined) {
      const fd = makeTmpfs(tree.hostPath, tmpfs);
      owned.push(fd);
      fds.push([next, fd]);
      return { ...tree, mountFd: next++ };
    }
    if (tree.overlay !== undefined || (idMaps === undefined && !foreignIds)) return tree;
    const fd = openTree(AT_FDCWD, tree.hostPath, OPEN_TREE_CLONE | O_CLOEXEC | AT_RECURSIVE);
    if (fd < 0) {
      // Who has no rights here may have them there.
      if (idMaps === undefined) return tree;
      throw new RunscError(`cloning the mounts of ${tree.hostPath}`, errnoText(fd));
    }
    owned.push(fd);
    if (idMaps !== undefined) mapIds(fd, tree.hostPath, idMaps);
    fds.push([next, fd]);
    return { ...tree, mountFd: next++ };
  });
  return { trees, fds };
}

/** The gofer's descriptor of it. */
function makeTmpfs(target: string, made: HostTmpfs): number {
  const mounts = tmpfs(made.options);
  if (typeof mounts === 'number') throw new RunscError(`config.json: mounting a tmpfs (${made.options}) for ${target}`, errnoText(mounts));
  made.viewFd = mounts[1];
  return mounts[0];
}

function mapIds(fd: number, path: string, maps: MountIdMaps): void {
  const namespace = namespaceWith(maps);
  const flags = AT_EMPTY_PATH | (maps.recursive ? AT_RECURSIVE : 0);
  const result = mountSetattr(fd, '', flags, MOUNT_ATTR_IDMAP, 0, 0, namespace);
  closeFd(namespace);
  if (result < 0)
    throw new RunscError(
      `config.json: mounts: mapping the ids of ${path} (has the host's file system id-mapped mounts?)`,
      errnoText(result),
    );
}

/** A user namespace with these maps, which lives as long as the descriptor: that of a process which never runs. */
function namespaceWith(maps: MountIdMaps): number {
  let child: { pid: number; pidfd: number };
  try {
    child = startProcess({ exe: '/', argv: ['runsc'], env: [], fds: [], cwd: '/', cloneFlags: CLONE_NEWUSER });
  } catch (error) {
    throw new RunscError('making a user namespace', error);
  }
  try {
    writeIdMaps(child.pid, maps.uid, maps.gid);
    return openSync(`/proc/${child.pid}/ns/user`, 'r');
  } catch (error) {
    throw new RunscError("giving a user namespace a mount's id maps", error);
  } finally {
    finishProcess(child.pid, true);
    waitPid(child.pid, 0);
    closeFd(child.pidfd);
  }
}
