// The option "tmpcopyup" of a tmpfs in config.json, runc's own: the new file system begins with what the folder that it
// covers has. podman asks for it with each --tmpfs.

import { O_DIRECTORY, O_NOFOLLOW, O_RDONLY } from '../abi/fcntl.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../abi/stat.ts';
import { copyAttributes, copyData } from '../fs/overlay-copy-up.ts';
import type { KernelContext } from '../vfs/context.ts';
import { takeNames } from '../vfs/dir-names.ts';
import type { VfsPath } from '../vfs/filesystem.ts';
import type { Vfs } from '../vfs/vfs.ts';

/** Deeper trees are images that want something else than a tmpfs. */
const MAX_DEPTH = 256;

/** Copies what is in `from` into the empty `to`. 0 or -errno. */
export function copyTreeInto(vfs: Vfs, ctx: KernelContext, from: VfsPath, to: VfsPath, depth = 0): number {
  if (depth > MAX_DEPTH) return 0;
  const names = namesIn(vfs, ctx, from);
  if (typeof names === 'number') return names;
  for (const name of names) {
    const at = vfs.lookup(ctx, from, name, 0);
    if (typeof at === 'number') return at;
    const made = copyEntry(vfs, ctx, at, to, name);
    if (made < 0) return made;
    const twin = vfs.lookup(ctx, to, name, 0);
    if (typeof twin === 'number') return twin;
    const inode = at.dentry.inode!;
    if ((inode.mode & S_IFMT) === S_IFREG) {
      const copied = copyData(twin.dentry.inode!, inode);
      if (copied < 0) return copied;
    } else if ((inode.mode & S_IFMT) === S_IFDIR) {
      const below = copyTreeInto(vfs, ctx, at, twin, depth + 1);
      if (below < 0) return below;
    }
    const attributes = copyAttributes(twin.dentry.inode!, inode);
    if (attributes < 0) return attributes;
  }
  return 0;
}

function copyEntry(vfs: Vfs, ctx: KernelContext, at: VfsPath, to: VfsPath, name: string): number {
  const inode = at.dentry.inode!;
  const type = inode.mode & S_IFMT;
  if (type === S_IFDIR) return vfs.mkdirAt(ctx, to, name, 0o755);
  if (type !== S_IFLNK) return vfs.mknodAt(ctx, to, name, inode.mode, inode.rdev);
  const target = inode.readlink(null);
  return typeof target === 'number' ? target : vfs.symlinkAt(ctx, target, to, name);
}

function namesIn(vfs: Vfs, ctx: KernelContext, dir: VfsPath): string[] | number {
  const file = vfs.openAt(ctx, dir, '.', O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
  if (typeof file === 'number') return file;
  return takeNames(file);
}
