// /proc/[pid] and /proc/[pid]/task/[tid]: the tables of fs/proc/base.c (tgid_base_stuff,
// tid_base_stuff) and the small files that no other proc-*.ts owns.

import { EACCES, EINVAL, ENOENT, EPERM, ESRCH } from '../abi/errno.ts';
import { TASK_COMM_LEN } from '../abi/limits.ts';
import { CAP_AUDIT_CONTROL, CAP_SYS_NICE, CAP_SYS_PTRACE, CAP_SYS_RESOURCE } from '../abi/sched.ts';
import { S_IFDIR, S_IFLNK, S_IFREG } from '../abi/stat.ts';
import { latin1 } from '../base/latin1.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Namespace } from '../kernel/namespace.ts';
import type { Pid } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { DirSink, Inode, VfsPath } from '../vfs/filesystem.ts';
import { mountinfoText, mountsText, pathName } from '../vfs/path-name.ts';
import { genericPermission } from '../vfs/permissions.ts';
import { direntType, TextDescription } from './kernfs.ts';
import { MntNamespace, nsPath, nsText } from './nsfs.ts';
import { ptraceMayAccess } from './proc-access.ts';
import { FdDir, FdInfoDir, MemFile, nameToInt, placeOf } from './proc-fd.ts';
import { idMapText, setgroupsText, writeIdMap, writeSetgroups } from './proc-idmap.ts';
import {
  MAP_INO,
  MagicLink,
  ownByTask,
  type ProcView,
  TaskDir,
  TaskFile,
  type TaskStore,
  type TaskText,
  THREAD_INO,
  taskIno,
  taskOf,
} from './proc-inode.ts';
import { fileOf, hex, mapsText, memorySizes, numaMapsText, smapsRollupText, smapsText } from './proc-maps.ts';
import { MountsFile } from './proc-mounts.ts';
import { PagemapFile } from './proc-pages.ts';
import { ioText, limitsText, schedstatText, schedText, statmText, statText, statusText } from './proc-status.ts';
import { timensText, writeTimens } from './proc-timens.ts';

/** A line of the table: how to make the inode, and what readdir says of it. */
interface Entry {
  readonly name: string;
  readonly mode: number;
  /** Only below /proc/[pid], or only below task/[tid]. */
  readonly only: 'both' | 'process' | 'thread';
  readonly make: (fs: ProcView, pid: Pid, ino: number) => Inode;
}

function file(name: string, permissions: number, text: TaskText, store?: TaskStore, guarded = false, only: Entry['only'] = 'both'): Entry {
  return {
    name,
    mode: S_IFREG | permissions,
    only,
    make: (fs, pid, ino) => new TaskFile(fs, pid, ino, permissions, text, store, guarded),
  };
}

function dir(name: string, permissions: number, make: Entry['make'], only: Entry['only'] = 'both'): Entry {
  return { name, mode: S_IFDIR | permissions, only, make };
}

function link(name: string, target: (task: Task) => VfsPath | number): Entry {
  return { name, mode: S_IFLNK | 0o777, only: 'both', make: (fs, pid, ino) => new PlaceLink(fs, pid, ino, target) };
}

function userns(name: string, text: UsernsText, store: UsernsStore): Entry {
  return { name, mode: S_IFREG | 0o644, only: 'both', make: (fs, pid, ino) => new UsernsFile(fs, pid, ino, text, store) };
}

const ENTRIES: readonly Entry[] = [
  dir('task', 0o555, (fs, pid, ino) => new TaskListDir(fs, pid, ino), 'process'),
  dir('fd', 0o500, (fs, pid, ino) => new FdDir(fs, pid, ino, 0o500)),
  dir('map_files', 0o500, (fs, pid, ino) => new MapFilesDir(fs, pid, ino), 'process'),
  dir('fdinfo', 0o555, (fs, pid, ino) => new FdInfoDir(fs, pid, ino, 0o555)),
  dir('ns', 0o511, (fs, pid, ino) => new NsDir(fs, pid, ino)),
  dir('net', 0o555, (fs) => fs.netDir),
  file('environ', 0o400, environText, undefined, true),
  file('auxv', 0o400, auxvText, undefined, true),
  file('status', 0o444, statusText),
  file('personality', 0o400, personalityText, undefined, true),
  file('limits', 0o444, limitsText),
  file('sched', 0o644, schedText, acceptAll),
  file('autogroup', 0o644, autogroupText, acceptAll, false, 'process'),
  file('timens_offsets', 0o644, timensText, writeTimens, false, 'process'),
  file('comm', 0o644, (_t, target) => `${target.comm}\n`, writeComm),
  file('syscall', 0o400, syscallText, undefined, true),
  file('cmdline', 0o444, cmdlineText),
  dir('attr', 0o555, (fs, pid, ino) => new AttrDir(fs, pid, ino)),
  file('children', 0o444, childrenText, undefined, false, 'thread'),
  file('stat', 0o444, (t, target, fs) => statText(t, target, fs, true), undefined, false, 'process'),
  file('stat', 0o444, (t, target, fs) => statText(t, target, fs, false), undefined, false, 'thread'),
  file('statm', 0o444, statmText),
  file('maps', 0o444, mapsText, undefined, true),
  file('numa_maps', 0o444, numaMapsText, undefined, true),
  { name: 'mem', mode: S_IFREG | 0o600, only: 'both', make: (fs, pid, ino) => new MemFile(fs, pid, ino) },
  link('cwd', (task) => task.fs.cwd),
  link('root', (task) => task.fs.root),
  link('exe', (task) => task.group.exe ?? -ENOENT),
  { name: 'mounts', mode: S_IFREG | 0o444, only: 'both', make: (fs, pid, ino) => new MountsFile(fs, pid, ino, 0o444, mountsText) },
  { name: 'mountinfo', mode: S_IFREG | 0o444, only: 'both', make: (fs, pid, ino) => new MountsFile(fs, pid, ino, 0o444, mountinfoText) },
  {
    name: 'mountstats',
    mode: S_IFREG | 0o400,
    only: 'process',
    make: (fs, pid, ino) => new MountsFile(fs, pid, ino, 0o400, mountstatsText),
  },
  { name: 'pagemap', mode: S_IFREG | 0o400, only: 'both', make: (fs, pid, ino) => new PagemapFile(fs, pid, ino) },
  file('clear_refs', 0o200, () => -EINVAL, acceptAll),
  file('smaps', 0o444, smapsText, undefined, true),
  file('smaps_rollup', 0o444, smapsRollupText, undefined, true),
  file('wchan', 0o444, () => '0'),
  file('stack', 0o400, () => '', undefined, true),
  file('schedstat', 0o444, schedstatText),
  file('cpuset', 0o444, () => '/\n'),
  file('cgroup', 0o444, cgroupText),
  file('oom_score', 0o444, oomScoreText),
  file('oom_adj', 0o644, oomAdjText, writeOomAdj),
  file('oom_score_adj', 0o644, (_t, target) => `${target.group.oomScoreAdj}\n`, writeOomScoreAdj),
  file('loginuid', 0o644, (_t, target) => String(auditIds.get(target.group) ?? UNSET_ID), writeLoginuid),
  file('sessionid', 0o444, () => String(UNSET_ID)),
  file('coredump_filter', 0o644, (_t, target) => `${hex(target.mm.coredumpFilter, 8)}\n`, writeCoredumpFilter, false, 'process'),
  file('io', 0o400, (_t, target) => ioText(target, true), undefined, true, 'process'),
  file('io', 0o400, (_t, target) => ioText(target, false), undefined, true, 'thread'),
  userns(
    'uid_map',
    (t, ns) => idMapText(t, ns, true),
    (t, ns, data, offset) => writeIdMap(t, ns, data, offset, true),
  ),
  userns(
    'gid_map',
    (t, ns) => idMapText(t, ns, false),
    (t, ns, data, offset) => writeIdMap(t, ns, data, offset, false),
  ),
  userns(
    'projid_map',
    (_t, ns) => projidMapText(ns),
    () => -EPERM,
  ),
  userns('setgroups', (_t, ns) => setgroupsText(ns), writeSetgroups),
  file('timers', 0o444, () => '', undefined, true, 'process'),
  file('timerslack_ns', 0o666, timerslackText, writeTimerslack, false, 'process'),
  file('patch_state', 0o400, () => '-1\n'),
  file('arch_status', 0o444, () => ''),
  // Pages of guests are never merged: fs/proc/base.c:proc_pid_ksm_stat().
  file(
    'ksm_stat',
    0o400,
    () => 'ksm_rmap_items 0\nksm_zero_pages 0\nksm_merging_pages 0\nksm_process_profit 0\nksm_merge_any: no\nksm_mergeable: no\n',
  ),
];

const PROCESS_ENTRIES: readonly Entry[] = ENTRIES.filter((e) => e.only !== 'thread');
const THREAD_ENTRIES: readonly Entry[] = ENTRIES.filter((e) => e.only !== 'process');

/** The directory of a process, or of one of its threads. */
export class PidDir extends TaskDir {
  private readonly whole: boolean;
  private readonly entries: readonly Entry[];

  constructor(fs: ProcView, pid: Pid, whole: boolean) {
    super(fs, pid, taskIno(pid, whole ? 0 : THREAD_INO), 0o555);
    this.whole = whole;
    this.entries = whole ? PROCESS_ENTRIES : THREAD_ENTRIES;
    this.nlink = whole ? 9 : 7;
  }

  /** The process that the directory stands for: tgid_pidfd_to_pid(). null for a thread's. */
  get process(): Pid | null {
    return this.whole ? this.pid : null;
  }

  // proc_pid_permission(): -ESRCH once the process is gone, and what hidepid says for processes of others.
  override permission(creds: Credentials, mask: number): number {
    const task = taskOf(this.pid);
    if (!this.whole) return genericPermission(this, creds, mask);
    if (task === undefined) return -ESRCH;
    const { hidepid } = this.view;
    if (hidepid > 0 && creds.fsuid !== task.creds.euid && !creds.capableIn(task.creds.userns, CAP_SYS_PTRACE)) {
      return hidepid === 1 ? -EPERM : -ENOENT;
    }
    return genericPermission(this, creds, mask);
  }

  override lookup(name: string): Inode | number {
    if (taskOf(this.pid) === undefined) return -ENOENT;
    const at = this.entries.findIndex((entry) => entry.name === name);
    return at < 0 ? -ENOENT : this.entries[at]!.make(this.view, this.pid, this.inoAt(at));
  }

  override childStillValid(_name: string, child: Inode | undefined): boolean {
    if (child === undefined) return true;
    if (taskOf(this.pid) === undefined) return false;
    if (child !== this.view.netDir) ownByTask(child, this.pid);
    return true;
  }

  override iterate(_t: Task, pos: number, sink: DirSink): number {
    if (taskOf(this.pid) === undefined) return -ENOENT;
    for (let at = pos - 2; at < this.entries.length; at++) {
      const entry = this.entries[at]!;
      if (!sink.entry(entry.name, this.inoAt(at), direntType(entry.mode), at + 3)) return at + 2;
    }
    return this.entries.length + 2;
  }

  private inoAt(index: number): number {
    return taskIno(this.pid, (this.whole ? 0 : THREAD_INO) + 1 + index);
  }
}

/** task: a directory per thread. */
class TaskListDir extends TaskDir {
  constructor(fs: ProcView, pid: Pid, ino: number) {
    super(fs, pid, ino, 0o555);
  }

  private threads(): Task[] {
    const leader = taskOf(this.pid);
    if (leader === undefined) return [];
    const tasks = leader.group.tasks;
    return tasks.includes(leader) ? tasks : [leader, ...tasks];
  }

  override getattr(t: Task | null): number {
    super.getattr(t);
    this.nlink = 2 + this.threads().length;
    return 0;
  }

  private find(name: string): Pid | undefined {
    const number = nameToInt(name);
    if (number <= 0) return undefined;
    const pid = this.view.pidns.find(number);
    return pid !== undefined && this.threads().some((task) => task.pid === pid) ? pid : undefined;
  }

  override lookup(name: string): Inode | number {
    const pid = this.find(name);
    return pid === undefined ? -ENOENT : new PidDir(this.view, pid, false);
  }

  override childStillValid(name: string, child: Inode | undefined): boolean {
    const pid = this.find(name);
    if (child === undefined || pid === undefined) return child === undefined && pid === undefined;
    ownByTask(child, pid);
    return (child as PidDir).pid === pid;
  }

  override iterate(_t: Task, pos: number, sink: DirSink): number {
    const ns = this.view.pidns;
    const pids = this.threads()
      .map((task) => task.pid)
      .sort((a, b) => a.numberIn(ns) - b.numberIn(ns));
    let next = pos;
    for (const pid of pids) {
      const number = pid.numberIn(ns);
      if (number + 2 < pos) continue;
      if (!sink.entry(String(number), taskIno(pid, THREAD_INO), direntType(S_IFDIR), number + 3)) return number + 2;
      next = number + 3;
    }
    return next;
  }
}

/** cwd, root, exe. */
class PlaceLink extends MagicLink {
  private readonly find: (task: Task) => VfsPath | number;

  constructor(view: ProcView, pid: Pid, ino: number, find: (task: Task) => VfsPath | number) {
    super(view, pid, ino, 0o777);
    this.size = 0;
    this.find = find;
  }

  override target(task: Task): VfsPath | number {
    return task.stateLetter() === 'Z' ? -ENOENT : this.find(task);
  }

  override label(t: Task, task: Task): string | number {
    const place = this.target(task);
    return typeof place === 'number' ? place : pathName(place, t.fs.root);
  }
}

// ---- ns

type NsOf = (task: Task) => Namespace;

/** A zombie has left all namespaces but these two. */
const KEPT_BY_ZOMBIES: readonly string[] = ['pid', 'user'];

const NAMESPACES: readonly (readonly [string, NsOf])[] = [
  ['cgroup', (task) => task.ns.cgroup],
  ['ipc', (task) => task.ns.ipc],
  ['mnt', (task) => MntNamespace.of(task.fs.mountNamespace)],
  ['net', (task) => task.ns.net],
  ['pid', (task) => task.pid.ns],
  ['pid_for_children', (task) => task.ns.pidForChildren],
  ['time', (task) => task.ns.time],
  ['time_for_children', (task) => task.ns.timeForChildren],
  ['user', (task) => task.creds.userns],
  ['uts', (task) => task.ns.uts],
];
const NS_INO = 256;

class NsDir extends TaskDir {
  constructor(fs: ProcView, pid: Pid, ino: number) {
    super(fs, pid, ino, 0o511);
  }

  override lookup(name: string): Inode | number {
    const at = NAMESPACES.findIndex((entry) => entry[0] === name);
    return at < 0 ? -ENOENT : new NsLink(this.view, this.pid, taskIno(this.pid, NS_INO + at), name, NAMESPACES[at]![1]);
  }

  override iterate(_t: Task, pos: number, sink: DirSink): number {
    for (let at = pos - 2; at < NAMESPACES.length; at++) {
      if (!sink.entry(NAMESPACES[at]![0], taskIno(this.pid, NS_INO + at), direntType(S_IFLNK), at + 3)) return at + 2;
    }
    return NAMESPACES.length + 2;
  }
}

class NsLink extends MagicLink {
  private readonly name: string;
  private readonly find: NsOf;

  constructor(view: ProcView, pid: Pid, ino: number, name: string, find: NsOf) {
    super(view, pid, ino, 0o777);
    this.size = 0;
    this.name = name;
    this.find = find;
  }

  private left(task: Task): boolean {
    return task.stateLetter() === 'Z' && !KEPT_BY_ZOMBIES.includes(this.name);
  }

  override target(task: Task): VfsPath | number {
    return this.left(task) ? -ENOENT : nsPath(this.find(task));
  }

  override label(_t: Task, task: Task): string | number {
    return this.left(task) ? -ENOENT : nsText(this.find(task));
  }
}

// ---- the user namespace

type UsernsText = (t: Task, ns: UserNamespace) => string;
type UsernsStore = (t: Task, ns: UserNamespace, data: string, offset: number) => number;

/** uid_map and its kin show the namespace that the task had when they were opened: proc_id_map_open(). */
class UsernsFile extends TaskFile {
  readonly show: UsernsText;
  readonly change: UsernsStore;

  constructor(view: ProcView, pid: Pid, ino: number, show: UsernsText, change: UsernsStore) {
    super(view, pid, ino, 0o644, () => '', undefined, false);
    this.show = show;
    this.change = change;
  }

  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    const target = taskOf(this.pid);
    if (target === undefined) return -EINVAL;
    return new UsernsDescription(flags, path, this, target.creds.userns);
  }
}

class UsernsDescription extends TextDescription {
  private readonly file: UsernsFile;
  private readonly ns: UserNamespace;

  constructor(flags: number, path: VfsPath, file: UsernsFile, ns: UserNamespace) {
    super(flags, path, file);
    this.file = file;
    this.ns = ns;
  }

  protected override generateText(t: Task): string {
    return this.file.show(t, this.ns);
  }

  protected override storeText(t: Task, data: string, offset: number): number {
    return this.file.change(t, this.ns, data, offset);
  }
}

// ---- map_files

class MapFilesDir extends TaskDir {
  constructor(fs: ProcView, pid: Pid, ino: number) {
    super(fs, pid, ino, 0o500);
  }

  override lookup(name: string): Inode | number {
    const found = this.find(name);
    return found === undefined ? -ENOENT : new MapLink(this.view, this.pid, taskIno(this.pid, MAP_INO), found);
  }

  override childStillValid(_name: string, _child: Inode | undefined): boolean {
    return false;
  }

  private find(name: string): FileDescription | undefined {
    const match = /^([0-9a-f]+)-([0-9a-f]+)$/.exec(name);
    const task = taskOf(this.pid);
    if (match === null || task === undefined) return undefined;
    const vma = task.mm.vmas.find(Number.parseInt(match[1]!, 16));
    if (vma === undefined || vma.backing === null || hex(vma.start, 0) !== match[1] || hex(vma.end, 0) !== match[2]) return undefined;
    return fileOf(vma.backing);
  }

  override iterate(_t: Task, pos: number, sink: DirSink): number {
    const task = taskOf(this.pid);
    if (task === undefined) return -ENOENT;
    let at = 2;
    for (const v of task.mm.vmas.list) {
      if (v.backing === null || fileOf(v.backing) === undefined) continue;
      if (at++ < pos) continue;
      if (!sink.entry(`${hex(v.start, 0)}-${hex(v.end, 0)}`, taskIno(this.pid, MAP_INO), direntType(S_IFLNK), at)) return at - 1;
    }
    return Math.max(at, pos);
  }
}

class MapLink extends MagicLink {
  private readonly mapped: FileDescription;

  constructor(view: ProcView, pid: Pid, ino: number, mapped: FileDescription) {
    super(view, pid, ino, (mapped.readable ? 0o500 : 0) | (mapped.writable ? 0o300 : 0));
    this.mapped = mapped;
  }

  override target(_task: Task): VfsPath {
    return placeOf(this.mapped);
  }

  override label(t: Task, _task: Task): string {
    return this.mapped.path === undefined ? this.mapped.linkText() : pathName(this.mapped.path, t.fs.root);
  }
}

// ---- attr: no security module is there to answer

const ATTRS: readonly string[] = ['current', 'prev', 'exec', 'fscreate', 'keycreate', 'sockcreate'];
const ATTR_INO = 512;

class AttrDir extends TaskDir {
  constructor(fs: ProcView, pid: Pid, ino: number) {
    super(fs, pid, ino, 0o555);
  }

  override lookup(name: string): Inode | number {
    const at = ATTRS.indexOf(name);
    if (at < 0) return -ENOENT;
    return new TaskFile(
      this.view,
      this.pid,
      taskIno(this.pid, ATTR_INO + at),
      name === 'prev' ? 0o444 : 0o666,
      () => -EINVAL,
      () => -EINVAL,
      false,
    );
  }

  override iterate(_t: Task, pos: number, sink: DirSink): number {
    for (let at = pos - 2; at < ATTRS.length; at++) {
      if (!sink.entry(ATTRS[at]!, taskIno(this.pid, ATTR_INO + at), direntType(S_IFREG), at + 3)) return at + 2;
    }
    return ATTRS.length + 2;
  }
}

// ---- memory of the program

const ARG_CHUNK = 128 * 1024;
const argBytes = new Uint8Array(ARG_CHUNK);

/** Bytes [start, end) of the target's memory as far as they can be read, at most ARG_CHUNK. */
function memoryText(target: Task, start: number, end: number): string {
  const size = Math.min(end - start, ARG_CHUNK);
  if (size <= 0) return '';
  const got = target.mm.readSome(start, argBytes, 0, size);
  return got <= 0 ? '' : latin1(argBytes, 0, got);
}

/** cmdline, with setproctitle(3)'s trick: a title that runs over the arguments ends in the environment. get_mm_cmdline(). */
export function cmdlineText(_t: Task, target: Task): string {
  if (target.stateLetter() === 'Z') return '';
  const { argStart, argEnd, envStart, envEnd } = target.group;
  const args = memoryText(target, argStart, argEnd);
  if (args.length === 0 || args.length < argEnd - argStart || args.charCodeAt(args.length - 1) === 0) return args;
  const inArgs = args.indexOf('\0');
  if (inArgs >= 0) return args.slice(0, inArgs + 1);
  if (envStart !== argEnd) return args;
  const rest = memoryText(target, envStart, envEnd);
  const end = rest.indexOf('\0');
  return args + (end < 0 ? rest : rest.slice(0, end + 1));
}

function environText(_t: Task, target: Task): string {
  return target.stateLetter() === 'Z' ? '' : memoryText(target, target.group.envStart, target.group.envEnd);
}

function auxvText(_t: Task, target: Task): string {
  return target.stateLetter() === 'Z' ? '' : latin1(target.group.auxv, 0, target.group.auxv.length);
}

// ---- small files

function acceptAll(_t: Task, _target: Task, data: string): number {
  return data.length;
}

function personalityText(_t: Task, target: Task): string {
  return `${hex(target.group.personality >>> 0, 8)}\n`;
}

function autogroupText(_t: Task, target: Task): string {
  return `/autogroup-${target.group.session.pid.numbers[0]} nice 0\n`;
}

/** "Writing to this file changes the name of any thread of the same process" - proc_pid_comm(5). */
function writeComm(t: Task, target: Task, data: string): number {
  if (t.group !== target.group) return -EINVAL;
  target.comm = data.replace(/[\0\n].*$/s, '').slice(0, TASK_COMM_LEN - 1);
  return data.length;
}

/** The call a parked task is in: its number, arguments, stack pointer and instruction pointer. */
function syscallText(_t: Task, target: Task): string {
  if (target.stateLetter() === 'R') return 'running\n';
  if (target.stateLetter() === 'Z') return '0 0x0 0x0\n';
  let text = `${target.sysno}`;
  for (let n = 0; n < 6; n++) text += ` 0x${target.args.addr(n).toString(16)}`;
  return `${text} 0x${target.context.reg(REG_RSP).toString(16)} 0x${target.context.reg(REG_RIP).toString(16)}\n`;
}

// struct user_regs_struct, arch/x86/include/asm/user_64.h.
const REG_RIP = 16;
const REG_RSP = 19;

function childrenText(_t: Task, target: Task, fs: ProcView): string {
  let text = '';
  for (const child of target.group.children) {
    if (child.parentTask === target) text += `${child.pid.numberIn(fs.pidns)} `;
  }
  return text;
}

function mountstatsText(ns: Parameters<typeof mountsText>[0], root: VfsPath): string {
  return mountsText(ns, root).replace(/^(\S+) (\S+) (\S+) .*$/gm, 'device $1 mounted on $2 with fstype $3');
}

function cgroupText(_t: Task, target: Task, fs: ProcView): string {
  return fs.cgroupText(target);
}

function projidMapText(ns: UserNamespace): string {
  return ns.parent === null ? '         0          0 4294967295\n' : '';
}

// ---- the out-of-memory killer's view

const OOM_MAX = 1000;
const OOM_ADJUST_MAX = 15;
const OOM_DISABLE = -17;

/** proc_oom_score(): 0–2000, from the share of memory in use and the adjustment. */
function oomScoreText(_t: Task, target: Task): string {
  const adj = target.group.oomScoreAdj;
  if (adj === -OOM_MAX || target.stateLetter() === 'Z') return '0\n';
  const points = (memorySizes(target.mm).resident * OOM_MAX) / target.group.container.memory.memoryBytes + adj;
  return `${Math.max(0, Math.floor(((OOM_MAX + points) * 2) / 3))}\n`;
}

function oomAdjText(_t: Task, target: Task): string {
  const adj = target.group.oomScoreAdj;
  return `${adj === OOM_MAX ? OOM_ADJUST_MAX : Math.trunc((adj * -OOM_DISABLE) / OOM_MAX)}\n`;
}

/** A decimal number as kstrtoint() takes it, or undefined. */
export function parseInteger(data: string): number | undefined {
  const match = /^\s*([+-]?)(0x[0-9a-f]+|\d+)\s*$/i.exec(data.replace(/\0.*$/, ''));
  if (match === null) return undefined;
  const digits = match[2]!;
  const value = digits.length > 1 && digits[0] === '0' && !/x/i.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
  if (Number.isNaN(value)) return undefined;
  return match[1] === '-' ? -value : value;
}

/** The smallest adjustment that a privileged writer has set; below it CAP_SYS_RESOURCE is needed. */
const oomMinimum = new WeakMap<ThreadGroup, number>();

function setOom(t: Task, target: Task, value: number, data: string): number {
  const privileged = t.creds.capableIn(t.kernel.rootUserNamespace, CAP_SYS_RESOURCE);
  if (value < (oomMinimum.get(target.group) ?? 0) && !privileged) return -EACCES;
  if (privileged) oomMinimum.set(target.group, value);
  target.group.oomScoreAdj = value;
  return data.length;
}

function writeOomScoreAdj(t: Task, target: Task, data: string): number {
  const value = parseInteger(data);
  if (value === undefined || value < -OOM_MAX || value > OOM_MAX) return -EINVAL;
  return setOom(t, target, value, data);
}

function writeOomAdj(t: Task, target: Task, data: string): number {
  const value = parseInteger(data);
  if (value === undefined || ((value < -16 || value > OOM_ADJUST_MAX) && value !== OOM_DISABLE)) return -EINVAL;
  return setOom(t, target, value === OOM_ADJUST_MAX ? OOM_MAX : Math.trunc((value * OOM_MAX) / -OOM_DISABLE), data);
}

// ---- audit, core dumps, timers

const UNSET_ID = 0xffffffff;
const auditIds = new WeakMap<ThreadGroup, number>();

/** loginuid: of the caller itself only, and once set only with CAP_AUDIT_CONTROL. */
function writeLoginuid(t: Task, target: Task, data: string, offset: number): number {
  if (t.group !== target.group) return -EPERM;
  const value = parseInteger(data);
  if (offset !== 0 || value === undefined || value < 0 || value > UNSET_ID) return -EINVAL;
  if (auditIds.has(target.group) && !t.creds.capable(CAP_AUDIT_CONTROL)) return -EPERM;
  if (value === UNSET_ID) auditIds.delete(target.group);
  else auditIds.set(target.group, value);
  return data.length;
}

const COREDUMP_BITS = 0x1ff;

function writeCoredumpFilter(_t: Task, target: Task, data: string): number {
  const value = parseInteger(data);
  if (value === undefined) return -EINVAL;
  target.mm.coredumpFilter = value & COREDUMP_BITS;
  return data.length;
}

function maySetTimerslack(t: Task, target: Task): boolean {
  return t === target || t.creds.capableIn(target.creds.userns, CAP_SYS_NICE);
}

function timerslackText(t: Task, target: Task): string | number {
  return maySetTimerslack(t, target) ? `${target.timerSlackNs}\n` : -EPERM;
}

function writeTimerslack(t: Task, target: Task, data: string): number {
  const value = parseInteger(data);
  if (value === undefined || value < 0) return -EINVAL;
  if (!maySetTimerslack(t, target)) return -EPERM;
  target.timerSlackNs = value === 0 ? target.defaultTimerSlackNs : value;
  return data.length;
}

/** Whether `t` sees more of the task than its existence: hidepid. */
export function mayInspect(t: Task, pid: Pid): number {
  const task = taskOf(pid);
  return task === undefined ? -ESRCH : ptraceMayAccess(t, task, true);
}
