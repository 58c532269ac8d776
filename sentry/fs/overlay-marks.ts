// How the layers of an overlay say what is not there.

import { S_IFCHR, S_IFMT } from '../abi/stat.ts';
import type { Inode } from '../vfs/filesystem.ts';

/** "y" on a directory hides what lies below it. */
export const OPAQUE_XATTR = 'trusted.overlay.opaque';

/** A character device 0/0 hides a name. */
export function isWhiteout(inode: Inode): boolean {
  return (inode.mode & S_IFMT) === S_IFCHR && inode.rdev === 0;
}
