// devtmpfs: a tmpfs that the kernel has filled with its devices. drivers/base/devtmpfs.c; the links
// and folders are those that udev and the OCI runtime specification add.

import { makedev } from '../abi/device.ts';
import { S_IFCHR, S_IFDIR } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { VfsContext } from '../vfs/context.ts';
import type { Filesystem, Inode } from '../vfs/filesystem.ts';
import type { FilesystemType } from '../vfs/vfs.ts';
import { newTmpfs } from './tmpfs.ts';

/** Name, major, minor, permissions. */
const NODES: readonly (readonly [string, number, number, number])[] = [
  ['null', 1, 3, 0o666],
  ['zero', 1, 5, 0o666],
  ['full', 1, 7, 0o666],
  ['random', 1, 8, 0o666],
  ['urandom', 1, 9, 0o666],
  ['tty', 5, 0, 0o666],
  ['console', 5, 1, 0o600],
  ['ptmx', 5, 2, 0o666],
  ['fuse', 10, 229, 0o666],
];

const LINKS: readonly (readonly [string, string])[] = [
  ['fd', '/proc/self/fd'],
  ['stdin', '/proc/self/fd/0'],
  ['stdout', '/proc/self/fd/1'],
  ['stderr', '/proc/self/fd/2'],
  ['core', '/proc/kcore'],
];

const DIRS: readonly (readonly [string, number])[] = [
  ['pts', 0o755],
  ['shm', 0o1777],
  ['mqueue', 0o1777],
];

function fill(root: Inode, creds: Credentials): void {
  for (const [name, major, minor, permissions] of NODES) root.mknod(creds, name, S_IFCHR | permissions, makedev(major, minor));
  const net = root.mkdir(creds, 'net', S_IFDIR | 0o755);
  if (typeof net !== 'number') net.mknod(creds, 'tun', S_IFCHR | 0o666, makedev(10, 200));
  for (const [name, target] of LINKS) root.symlink(creds, name, target);
  for (const [name, permissions] of DIRS) root.mkdir(creds, name, S_IFDIR | permissions);
}

/** The type for mount(2): one instance, as in Linux. */
export function devtmpfsType(kernel: Kernel): FilesystemType {
  let only: Filesystem | null = null;
  return {
    name: 'devtmpfs',
    nodev: true,
    userMount: false,
    mount(_ctx: VfsContext, _source: string, _flags: number, options: string): Filesystem | number {
      if (only !== null) return only;
      const made = newTmpfs(options === '' ? 'mode=755' : options, undefined, 'devtmpfs');
      if (typeof made === 'number') return made;
      fill(made.root(), kernel.rootCredentials);
      // The tree stays when its last mount goes.
      made.mounts++;
      only = made;
      return made;
    },
  };
}
