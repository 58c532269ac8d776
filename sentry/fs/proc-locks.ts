// /proc/locks, and the lines about locks in /proc/[pid]/fdinfo: fs/locks.c:locks_show(), show_fd_locks().

import { major, minor } from '../abi/device.ts';
import { F_RDLCK, F_WRLCK, LOCK_SH } from '../abi/fcntl.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { PidNamespace } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import { LOCK_TO_END, lockedInodes } from '../vfs/file-locks.ts';
import type { Inode } from '../vfs/filesystem.ts';

/** "00:2a:17". */
function placeText(inode: Inode): string {
  const hex = (n: number): string => n.toString(16).padStart(2, '0');
  return `${hex(major(inode.dev))}:${hex(minor(inode.dev))}:${inode.ino}`;
}

/** A process's number where the reader looks from; -1 for locks that are nobody's, 0 for who cannot be seen. */
function seenPid(kernel: Kernel, ns: PidNamespace, pid: number): number {
  if (pid <= 0) return -1;
  // The first namespace shows also who is gone: an flock lasts as long as its file is open anywhere.
  if (ns === kernel.rootPidNamespace) return pid;
  return kernel.rootPidNamespace.find(pid)?.numberIn(ns) ?? 0;
}

/** The lines of one inode's locks without their number: all of them, or those of the given owners. */
function lines(kernel: Kernel, ns: PidNamespace, inode: Inode, owners: readonly object[] | null): string[] {
  const out: string[] = [];
  const { locks } = inode;
  if (locks === null) return out;
  const place = placeText(inode);
  for (const { owner, type, pid } of locks.whole) {
    const seen = seenPid(kernel, ns, pid);
    if (seen === 0 || (owners !== null && !owners.includes(owner))) continue;
    out.push(`FLOCK  ADVISORY  ${type === LOCK_SH ? 'READ ' : 'WRITE'} ${seen} ${place} 0 EOF`);
  }
  for (const { owner, type, pid, start, end } of locks.ranges) {
    const seen = seenPid(kernel, ns, pid);
    if (seen === 0 || (owners !== null && !owners.includes(owner)) || (type !== F_RDLCK && type !== F_WRLCK)) continue;
    const kind = pid < 0 ? 'OFDLCK' : 'POSIX ';
    out.push(`${kind} ADVISORY  ${type === F_RDLCK ? 'READ ' : 'WRITE'} ${seen} ${place} ${start} ${end >= LOCK_TO_END ? 'EOF' : end}`);
  }
  return out;
}

/** /proc/locks. */
export function locksText(t: Task): string {
  let text = '';
  let n = 0;
  for (const inode of lockedInodes) for (const line of lines(t.kernel, t.pidns, inode, null)) text += `${++n}: ${line}\n`;
  return text;
}

/** fdinfo: what the description, or the process that has it, holds of its file. */
export function fdLocksText(t: Task, inode: Inode, owners: readonly object[]): string {
  let n = 0;
  return lines(t.kernel, t.pidns, inode, owners)
    .map((line) => `lock:\t${++n}: ${line}\n`)
    .join('');
}
