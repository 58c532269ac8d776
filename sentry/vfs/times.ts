// Timestamps. Linux stamps files with the coarse clock, which moves with the timer tick
// (ktime_get_coarse_real_ts64()); a millisecond is finer than its 4.

import { MS_NOATIME, MS_NODIRATIME, MS_RDONLY, MS_RELATIME } from '../abi/mount.ts';
import type { Inode } from './filesystem.ts';
import type { Mount } from './mount.ts';

/** The wall clock as the last readClock() left it. */
export const now = { sec: 0, nsec: 0 };

export function readClock(): void {
  const ms = Date.now();
  now.sec = Math.floor(ms / 1000);
  now.nsec = (ms - now.sec * 1000) * 1_000_000;
}

/** The contents changed: mtime and ctime are now. */
export function touchModified(inode: Inode): void {
  readClock();
  inode.mtimeSec = now.sec;
  inode.mtimeNsec = now.nsec;
  inode.ctimeSec = now.sec;
  inode.ctimeNsec = now.nsec;
}

/** Attributes changed: ctime is now. */
export function touchChanged(inode: Inode): void {
  readClock();
  inode.ctimeSec = now.sec;
  inode.ctimeNsec = now.nsec;
}

/** A new inode: all four times are now. */
export function touchBorn(inode: Inode): void {
  touchModified(inode);
  inode.atimeSec = now.sec;
  inode.atimeNsec = now.nsec;
  inode.btimeSec = now.sec;
  inode.btimeNsec = now.nsec;
}

const DAY = 24 * 60 * 60;

/** The contents were read through `mount`: touch_atime(), with relatime's rule. Only for inodes whose times live here. */
export function touchAtime(mount: Mount, inode: Inode): void {
  if (!inode.keepsAtime) return;
  const flags = mount.flags;
  if ((flags & (MS_NOATIME | MS_RDONLY)) !== 0 || inode.fs.readOnly) return;
  if ((flags & MS_NODIRATIME) !== 0 && inode.isDir()) return;
  readClock();
  if ((flags & MS_RELATIME) !== 0 && !atimeIsDue(inode)) return;
  inode.atimeSec = now.sec;
  inode.atimeNsec = now.nsec;
}

/** touch_atime() for a symbolic link that has been read or followed. */
export function touchLink(mount: Mount, inode: Inode): void {
  if (inode.keepsAtime) touchAtime(mount, inode);
  else inode.linkRead(mount);
}

/** relatime_need_update(), against the clock as readClock() left it. */
export function atimeIsDue(inode: Inode): boolean {
  const afterWrite = later(inode.atimeSec, inode.atimeNsec, inode.mtimeSec, inode.mtimeNsec);
  const afterChange = later(inode.atimeSec, inode.atimeNsec, inode.ctimeSec, inode.ctimeNsec);
  return !afterWrite || !afterChange || now.sec - inode.atimeSec >= DAY;
}

/** Whether time a is after time b. */
function later(aSec: number, aNsec: number, bSec: number, bNsec: number): boolean {
  return aSec > bSec || (aSec === bSec && aNsec > bNsec);
}
