// procfs: fs/proc/root.c. An instance shows the processes of one pid namespace, with the numbers
// they have there. The parts:
//
//   proc-files.ts   files of the root                proc-pid.ts      the tables of /proc/[pid]
//   proc-sys.ts     /proc/sys                        proc-status.ts   stat, status, limits, …
//   proc-net.ts     /proc/[pid]/net                  proc-maps.ts     maps, smaps
//   proc-inode.ts   inodes that name a process       proc-fd.ts       fd, fdinfo, mem
//   proc-idmap.ts   uid_map and its kin              proc-mounts.ts   mounts, mountinfo
//   proc-access.ts  who may look into whom           proc-sysvipc.ts  /proc/sysvipc
//   proc-net-host.ts  the host's tables of the sandbox's network

import { EINVAL, ENOENT } from '../abi/errno.ts';
import { PROC_SUPER_MAGIC, S_IFDIR, S_IFLNK } from '../abi/stat.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { PidNamespace } from '../kernel/pid-namespace.ts';
import type { SysctlSpec } from '../kernel/sysctl.ts';
import type { Task } from '../kernel/task.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';
import { containerOf, type VfsContext } from '../vfs/context.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { type DirSink, type Filesystem, Inode, type VfsPath } from '../vfs/filesystem.ts';
import { touchBorn } from '../vfs/times.ts';
import type { FilesystemType } from '../vfs/vfs.ts';
import { cgroupPathOf } from './cgroupfs.ts';
import { direntType, FixedText, GeneratedText, KernfsDir, KernfsFilesystem, StaticDir, Symlink, TextFile } from './kernfs.ts';
import { nameToInt } from './proc-fd.ts';
import {
  cgroupsText,
  cpuinfoText,
  devicesText,
  FIXED_FILES,
  filesystemsText,
  interruptsText,
  loadavgText,
  meminfoText,
  softirqsText,
  statText,
  uptimeText,
  versionText,
  vmstatText,
  zoneinfoText,
} from './proc-files.ts';
import { ownByTask, type ProcView, taskIno, taskOf } from './proc-inode.ts';
import { keysText, keyUsersText } from './proc-keys.ts';
import { locksText } from './proc-locks.ts';
import { netDir } from './proc-net.ts';
import { PageFramesFile } from './proc-pages.ts';
import { mayInspect, PidDir } from './proc-pid.ts';
import { sysDir } from './proc-sys.ts';
import { msgText, semText, shmText } from './proc-sysvipc.ts';

/** FIRST_PROCESS_ENTRY, fs/proc/internal.h: cookies below it are the fixed entries. */
const FIRST_PROCESS = 256;
/** hidepid=2 hides processes of others, 1 only what is in them; 4 is ptrace access to see them. */
const HIDEPID_INVISIBLE = 2;
const HIDEPID_NOT_PTRACEABLE = 4;

/** What boot decides about every instance. */
export interface ProcOptions {
  /** The kernel command line. */
  cmdline: string;
  sysctls: readonly SysctlSpec[];
}

export class ProcFilesystem extends KernfsFilesystem implements ProcView {
  readonly kernel: Kernel;
  readonly pidns: PidNamespace;
  readonly netDir: Inode;
  hidepid = 0;
  hidepidGid = 0;
  onlyPids = false;
  private readonly rootDir: RootDir;

  constructor(kernel: Kernel, pidns: PidNamespace, options: ProcOptions) {
    super('proc', allocateAnonDev(), PROC_SUPER_MAGIC);
    this.kernel = kernel;
    this.pidns = pidns;
    this.source = 'proc';
    this.rootDir = new RootDir(this, this.newIno());
    this.netDir = netDir(this);
    fillRoot(this, this.rootDir.fixed, options);
  }

  override root(): Inode {
    return this.rootDir;
  }

  override options(): string {
    const names: Record<number, string> = { 1: 'noaccess', 2: 'invisible', 4: 'ptraceable' };
    let text = this.hidepidGid === 0 ? '' : `,gid=${this.hidepidGid}`;
    if (this.hidepid !== 0) text += `,hidepid=${names[this.hidepid]}`;
    return this.onlyPids ? `${text},subset=pid` : text;
  }

  override remount(options: string): number {
    return this.configure(options);
  }

  /** Options of mount(2): hidepid, gid, subset. proc_parse_param(). */
  configure(options: string): number {
    for (const option of options.split(',')) {
      const [name, value = ''] = option.split('=');
      if (name === '') continue;
      if (name === 'hidepid') {
        const level = ['off', 'noaccess', 'invisible', '3', 'ptraceable'].indexOf(value);
        const n = level >= 0 ? level : nameToInt(value);
        if (n < 0 || n === 3 || n > 4) return -EINVAL;
        this.hidepid = n;
      } else if (name === 'gid') {
        const gid = nameToInt(value);
        if (gid < 0) return -EINVAL;
        this.hidepidGid = gid;
      } else if (name === 'subset') {
        if (value !== 'pid') return -EINVAL;
        this.onlyPids = true;
      } else {
        return -EINVAL;
      }
    }
    return 0;
  }

  cgroupText(target: Task): string {
    const { lines, unified } = target.group.container.hostCgroups;
    const path = cgroupPathOf(target.group);
    return `${lines}0::${unified === '' ? path : path === '/' ? unified : `${unified}${path}`}\n`;
  }

  /** has_pid_permissions() for seeing a process at all. */
  isVisible(t: Task | null, number: number): boolean {
    if (t === null || (this.hidepid !== HIDEPID_INVISIBLE && this.hidepid !== HIDEPID_NOT_PTRACEABLE)) return true;
    const pid = this.pidns.find(number);
    if (pid === undefined) return false;
    if (this.hidepid === HIDEPID_INVISIBLE && t.creds.inGroup(this.hidepidGid)) return true;
    return mayInspect(t, pid) === 0;
  }
}

class RootDir extends KernfsDir {
  readonly fixed: StaticDir;
  private readonly proc: ProcFilesystem;

  constructor(fs: ProcFilesystem, ino: number) {
    super(fs, ino, 0o555);
    this.proc = fs;
    this.fixed = new StaticDir(fs, ino, 0o555);
  }

  override lookup(name: string): Inode | number {
    const fixed = this.fixed.children.get(name);
    if (fixed !== undefined) return this.proc.onlyPids && name !== 'self' && name !== 'thread-self' ? -ENOENT : fixed;
    const number = nameToInt(name);
    if (number <= 0) return -ENOENT;
    const pid = this.proc.pidns.find(number);
    if (pid === undefined || taskOf(pid) === undefined) return -ENOENT;
    return new PidDir(this.proc, pid, true);
  }

  override childStillValid(name: string, child: Inode | undefined): boolean {
    if (!(child instanceof PidDir)) return child !== undefined || nameToInt(name) <= 0;
    if (this.proc.pidns.find(nameToInt(name)) !== child.pid || taskOf(child.pid) === undefined) return false;
    ownByTask(child, child.pid);
    return true;
  }

  override getattr(_t: Task | null): number {
    this.nlink = this.fixed.nlink + this.proc.pidns.numbers().length;
    return 0;
  }

  override iterate(t: Task, pos: number, sink: DirSink): number {
    if (pos < FIRST_PROCESS) {
      if (!this.proc.onlyPids) {
        const at = this.fixed.iterate(t, pos, sink);
        if (at < this.fixed.children.size + 2) return at;
      }
      pos = FIRST_PROCESS;
    }
    let next = pos;
    for (const number of this.proc.pidns.numbers()) {
      if (number + FIRST_PROCESS < pos) continue;
      const pid = this.proc.pidns.find(number)!;
      if (pid.group === null || !this.proc.isVisible(t, number)) continue;
      if (!sink.entry(String(number), taskIno(pid, 0), direntType(S_IFDIR), number + FIRST_PROCESS + 1)) return number + FIRST_PROCESS;
      next = number + FIRST_PROCESS + 1;
    }
    return next;
  }
}

/** self and thread-self: a link for whoever reads it. -ENOENT for a reader from outside the namespace. */
class SelfLink extends Inode {
  private readonly proc: ProcFilesystem;
  private readonly thread: boolean;

  constructor(fs: ProcFilesystem, ino: number, thread: boolean) {
    super(fs, ino, S_IFLNK | 0o777);
    this.proc = fs;
    this.thread = thread;
    touchBorn(this);
  }

  override readlink(t: Task | null): string | number {
    if (t === null) return -ENOENT;
    const group = t.group.pid.numberIn(this.proc.pidns);
    if (group === 0) return -ENOENT;
    return this.thread ? `${group}/task/${t.pid.numberIn(this.proc.pidns)}` : String(group);
  }

  override open(_t: Task | null, _path: VfsPath, _flags: number): FileDescription | number {
    return -EINVAL;
  }
}

/** Write-only and without effect. */
class SysrqTrigger extends TextFile {
  override text(): number {
    return -EINVAL;
  }

  override store(_t: Task, data: string): number {
    return data.length;
  }
}

function fillRoot(fs: ProcFilesystem, root: StaticDir, options: ProcOptions): void {
  const text = (name: string, make: (t: Task) => string): void => {
    root.add(name, new GeneratedText(fs, fs.newIno(), 0o444, make));
  };
  const dir = (name: string): StaticDir => {
    const made = new StaticDir(fs, fs.newIno(), 0o555);
    root.add(name, made);
    return made;
  };
  root.add('cmdline', new FixedText(fs, fs.newIno(), 0o444, `${options.cmdline}\n`));
  text('cgroups', cgroupsText);
  text('cpuinfo', cpuinfoText);
  text('devices', devicesText);
  text('filesystems', filesystemsText);
  text('interrupts', interruptsText);
  text('loadavg', loadavgText);
  text('locks', locksText);
  for (const name of ['kpagecount', 'kpageflags', 'kpagecgroup'])
    root.add(name, new PageFramesFile(fs, fs.newIno(), fs.kernel.machine.memoryBytes));
  text('meminfo', meminfoText);
  text('softirqs', softirqsText);
  text('stat', statText);
  text('uptime', uptimeText);
  text('keys', keysText);
  text('key-users', keyUsersText);
  text('version', versionText);
  text('vmstat', vmstatText);
  text('zoneinfo', zoneinfoText);
  for (const [name, permissions, content] of FIXED_FILES) root.add(name, new FixedText(fs, fs.newIno(), permissions, content));
  root.add('mounts', new Symlink(fs, fs.newIno(), 'self/mounts'));
  root.add('net', new Symlink(fs, fs.newIno(), 'self/net'));
  root.add('self', new SelfLink(fs, fs.newIno(), false));
  root.add('thread-self', new SelfLink(fs, fs.newIno(), true));
  root.add('sysrq-trigger', new SysrqTrigger(fs, fs.newIno(), 0o200));
  root.add('sys', sysDir(fs, options.sysctls));
  dir('bus');
  dir('driver');
  dir('fs');
  dir('irq');
  const tty = dir('tty');
  tty.add('drivers', new FixedText(fs, fs.newIno(), 0o444, TTY_DRIVERS));
  tty.add('ldiscs', new FixedText(fs, fs.newIno(), 0o444, 'n_tty       0\n'));
  const sysvipc = dir('sysvipc');
  sysvipc.add('msg', new GeneratedText(fs, fs.newIno(), 0o444, msgText));
  sysvipc.add('sem', new GeneratedText(fs, fs.newIno(), 0o444, semText));
  sysvipc.add('shm', new GeneratedText(fs, fs.newIno(), 0o444, shmText));
  const pressure = dir('pressure');
  for (const name of ['cpu', 'io', 'memory']) pressure.add(name, new FixedText(fs, fs.newIno(), 0o644, PRESSURE));
}

const TTY_DRIVERS =
  '/dev/tty             /dev/tty        5       0 system:/dev/tty\n/dev/console         /dev/console    5       1 system:console\n/dev/ptmx            /dev/ptmx       5       2 system\npty_slave            /dev/pts      136 0-1048575 pty:slave\npty_master           /dev/ptm      128 0-1048575 pty:master\n';
const PRESSURE = 'some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n';

/** The type for mount(2): an instance of the mounter's pid namespace. */
export function procType(kernel: Kernel, options: ProcOptions): FilesystemType {
  return {
    name: 'proc',
    nodev: true,
    userMount: true,
    mount(ctx: VfsContext, source: string, _flags: number, data: string): Filesystem | number {
      const fs = new ProcFilesystem(kernel, ctx.task?.pidns ?? containerOf(ctx, kernel).pidns, options);
      const error = fs.configure(data);
      if (error < 0) return error;
      if (source !== '') fs.source = source;
      return fs;
    },
  };
}
