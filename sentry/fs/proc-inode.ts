// The inodes of /proc/[pid]. They name a Pid, not a task, as Linux's do (fs/proc/base.c): the file
// outlives the process and then answers ESRCH, and an exec that replaces the leader is followed.

import { EACCES, ENOENT, EPERM, ESRCH } from '../abi/errno.ts';
import { S_IFLNK } from '../abi/stat.ts';
import type { Pid, PidNamespace } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { ATTR_MODE, Inode, type SetAttr, type VfsPath } from '../vfs/filesystem.ts';
import { touchBorn } from '../vfs/times.ts';
import { applyAttr, KernfsDir, type KernfsFilesystem, TextFile } from './kernfs.ts';
import { ptraceMayAccess } from './proc-access.ts';

const DUMPABLE = 1;
/** Inodes of a task: its number in the sandbox's root namespace, then a number of the file. */
const INO_STRIDE = 2 ** 30;
export const FD_INO = 2 ** 24;
export const FDINFO_INO = 2 ** 25;
export const MAP_INO = 2 ** 26;
export const THREAD_INO = 2 ** 29;

/** What proc's inodes ask of their file system. */
export interface ProcView extends KernfsFilesystem {
  /** Whose numbers are shown. */
  readonly pidns: PidNamespace;
  /** The mount option: 0 shows everything, 1 hides what is in the directories of others, more hides these too. */
  readonly hidepid: number;
  /** /proc/[pid]/net, one directory for all: its files ask whose network to show. */
  readonly netDir: Inode;
  /** /proc/[pid]/cgroup. */
  cgroupText(target: Task): string;
}

/** All that the texts about a process need of it. */
export type NumbersView = Pick<ProcView, 'pidns'>;

/** The inode number of file `index` of a task: the same each time it is looked up. */
export function taskIno(pid: Pid, index: number): number {
  return pid.numbers[0]! * INO_STRIDE + index;
}

/** The task behind a Pid, zombies included. */
export function taskOf(pid: Pid): Task | undefined {
  return pid.task ?? pid.group?.leader;
}

/** Files belong to the task's effective user, or to root when it does not let itself be dumped: task_dump_owner(). */
export function ownByTask(inode: Inode, pid: Pid): void {
  const task = taskOf(pid);
  if (task === undefined) return;
  const visible = task.group.dumpable === DUMPABLE || (inode.isDir() && (inode.mode & 0o777) === 0o555);
  inode.uid = visible ? task.creds.euid : 0;
  inode.gid = visible ? task.creds.egid : 0;
}

/** Text of a task. */
export type TaskText = (t: Task, target: Task, fs: ProcView) => string | number;
/** A write to a file of a task: bytes taken or -errno. */
export type TaskStore = (t: Task, target: Task, data: string, offset: number, fs: ProcView) => number;

export class TaskFile extends TextFile {
  readonly view: ProcView;
  readonly pid: Pid;
  private readonly generate: TaskText;
  private readonly take: TaskStore | undefined;
  /** open(2) needs ptrace access to the task: mm_access(), proc_maps_open(). */
  private readonly guarded: boolean;

  constructor(
    view: ProcView,
    pid: Pid,
    ino: number,
    permissions: number,
    generate: TaskText,
    take: TaskStore | undefined,
    guarded: boolean,
  ) {
    super(view, ino, permissions);
    this.view = view;
    this.pid = pid;
    this.generate = generate;
    this.take = take;
    this.guarded = guarded;
    ownByTask(this, pid);
  }

  override mayOpen(t: Task | null, _flags: number): number {
    if (!this.guarded || t === null) return 0;
    const target = taskOf(this.pid);
    if (target === undefined) return -ESRCH;
    return ptraceMayAccess(t, target, true) < 0 ? -EACCES : 0;
  }

  override get pollable(): boolean {
    return false;
  }

  override text(t: Task): string | number {
    const target = taskOf(this.pid);
    return target === undefined ? -ESRCH : this.generate(t, target, this.view);
  }

  override store(t: Task, data: string, offset: number): number {
    if (this.take === undefined) return super.store(t, data, offset);
    const target = taskOf(this.pid);
    return target === undefined ? -ESRCH : this.take(t, target, data, offset, this.view);
  }

  override getattr(_t: Task | null): number {
    ownByTask(this, this.pid);
    return 0;
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    return (attr.mask & ATTR_MODE) !== 0 ? -EPERM : applyAttr(this, attr);
  }
}

export abstract class TaskDir extends KernfsDir {
  readonly view: ProcView;
  readonly pid: Pid;

  constructor(view: ProcView, pid: Pid, ino: number, permissions: number) {
    super(view, ino, permissions);
    this.view = view;
    this.pid = pid;
    ownByTask(this, pid);
  }

  override isGone(): boolean {
    return taskOf(this.pid) === undefined;
  }

  override getattr(_t: Task | null): number {
    ownByTask(this, this.pid);
    return 0;
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    return (attr.mask & ATTR_MODE) !== 0 ? -EPERM : applyAttr(this, attr);
  }
}

/** A link that leads to a place, whatever its text says: cwd, exe, fd/N. Looking needs ptrace access. */
export abstract class MagicLink extends Inode {
  readonly view: ProcView;
  readonly pid: Pid;

  constructor(view: ProcView, pid: Pid, ino: number, permissions: number) {
    super(view, ino, S_IFLNK | permissions);
    this.view = view;
    this.pid = pid;
    this.size = 64;
    touchBorn(this);
    ownByTask(this, pid);
  }

  /** Where it leads now, -errno, or undefined for text without a place. */
  abstract target(task: Task): VfsPath | number | undefined;

  abstract label(t: Task, task: Task): string | number;

  override readlink(t: Task | null): string | number {
    const task = taskOf(this.pid);
    if (task === undefined) return -ESRCH;
    if (t === null) return -EACCES;
    if (ptraceMayAccess(t, task, true) < 0) return -EACCES;
    return this.label(t, task);
  }

  override followMagic(t: Task | null): VfsPath | number | undefined {
    const task = taskOf(this.pid);
    if (task === undefined) return -ESRCH;
    if (t !== null && ptraceMayAccess(t, task, true) < 0) return -EACCES;
    return this.target(task);
  }

  override open(_t: Task | null, _path: VfsPath, _flags: number): FileDescription | number {
    return -ENOENT;
  }

  override getattr(_t: Task | null): number {
    ownByTask(this, this.pid);
    return 0;
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    return (attr.mask & ATTR_MODE) !== 0 ? -EPERM : applyAttr(this, attr);
  }
}
