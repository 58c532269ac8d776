// What a tree of the host is called in a container's list of mounts: the file system that it is there, by its statfs(2)
// magic. What has no name here is "9p", and all answer statfs with that one's magic: an overlay of the host's takes the
// guest's own overlays above it, which engines inside would not try on what says that it is one.

import {
  BTRFS_SUPER_MAGIC,
  CGROUP_SUPER_MAGIC,
  CGROUP2_SUPER_MAGIC,
  EXT4_SUPER_MAGIC,
  F2FS_SUPER_MAGIC,
  FUSE_SUPER_MAGIC,
  NFS_SUPER_MAGIC,
  OVERLAYFS_SUPER_MAGIC,
  RAMFS_MAGIC,
  SQUASHFS_MAGIC,
  TMPFS_MAGIC,
  V9FS_MAGIC,
  XFS_SUPER_MAGIC,
} from '../../abi/stat.ts';

const NAMES: ReadonlyMap<number, string> = new Map([
  [BTRFS_SUPER_MAGIC, 'btrfs'],
  [CGROUP2_SUPER_MAGIC, 'cgroup2'],
  [CGROUP_SUPER_MAGIC, 'cgroup'],
  [EXT4_SUPER_MAGIC, 'ext4'],
  [F2FS_SUPER_MAGIC, 'f2fs'],
  [FUSE_SUPER_MAGIC, 'fuse'],
  [NFS_SUPER_MAGIC, 'nfs'],
  [OVERLAYFS_SUPER_MAGIC, 'overlay'],
  [RAMFS_MAGIC, 'ramfs'],
  [SQUASHFS_MAGIC, 'squashfs'],
  [TMPFS_MAGIC, 'tmpfs'],
  [XFS_SUPER_MAGIC, 'xfs'],
]);

/** The name of the kind with this magic. */
export function nameOfKind(magic: number): string {
  return NAMES.get(magic >>> 0) ?? '9p';
}

/** The magic that a tree of a kind answers: programs ask whether /dev/shm and /run are a tmpfs. */
export function magicOfKind(name: string): number {
  return name === 'tmpfs' ? TMPFS_MAGIC : V9FS_MAGIC;
}
