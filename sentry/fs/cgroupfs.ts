// cgroup2: Documentation/admin-guide/cgroup-v2.rst. A container sees a hierarchy of its own, whose
// root is the container's cgroup: it can make groups, move processes and set limits, which are
// remembered. The limits that hold are the host's, on the sandbox as a whole.

import { EBUSY, EINVAL, ENOENT, EOPNOTSUPP, EPERM, ERANGE, ESRCH } from '../abi/errno.ts';
import { CGROUP2_SUPER_MAGIC } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { GuestContainer } from '../kernel/guest-container.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';
import { containerOf, type VfsContext } from '../vfs/context.ts';
import type { Filesystem, Inode } from '../vfs/filesystem.ts';
import type { FilesystemType } from '../vfs/vfs.ts';
import { KernfsFilesystem, StaticDir, TextFile } from './kernfs.ts';
import { nameToInt } from './proc-fd.ts';
import { memorySizes } from './proc-maps.ts';
import { groupCpuTime } from './proc-status.ts';

const CONTROLLERS: readonly string[] = ['cpuset', 'cpu', 'io', 'memory', 'pids'];
const SIGKILL = 9;

/** One file of a cgroup. */
interface FileSpec {
  readonly name: string;
  readonly mode: number;
  /** Absent from the root cgroup. */
  readonly notInRoot: boolean;
  /** The controller that the parent must have enabled; '' for the core's. */
  readonly controller: string;
  /** The text, or the default of a value that is remembered. */
  readonly show: string | ((c: Cgroup, t: Task) => string);
  /** A write: 0 or -errno. Absent for what cannot be written. */
  readonly store?: (c: Cgroup, t: Task, value: string) => number;
}

function shown(name: string, controller: string, show: FileSpec['show'], notInRoot = false): FileSpec {
  return { name, mode: 0o444, notInRoot, controller, show };
}

/** A limit: a number with an optional suffix, or "max". */
function limit(name: string, controller: string, initial: string): FileSpec {
  return { name, mode: 0o644, notInRoot: true, controller, show: initial, store: (c, _t, value) => c.remember(name, normalized(value)) };
}

/** Anything goes, as it was written. */
function free(name: string, controller: string, initial: string): FileSpec {
  return { name, mode: 0o644, notInRoot: true, controller, show: initial, store: (c, _t, value) => c.remember(name, value) };
}

const SUFFIXES = 'KMGTPE';

/** memparse(): "64M" is 67108864; page counters are whole pages. undefined for what is no number. */
function normalized(value: string): string | undefined {
  if (value === 'max') return value;
  const match = /^(\d+)([KMGTPE]?)$/i.exec(value);
  if (match === null) return undefined;
  return String(Number(match[1]) * 1024 ** (match[2] === '' ? 0 : SUFFIXES.indexOf(match[2]!.toUpperCase()) + 1));
}

function setCpuMax(c: Cgroup, _t: Task, value: string): number {
  const match = /^(max|\d+)(?:\s+(\d+))?$/.exec(value);
  if (match === null) return -EINVAL;
  const period = match[2] ?? c.value('cpu.max', 'max 100000').split(' ')[1]!;
  if (Number(period) < 1000 || Number(period) > 1000000) return -EINVAL;
  if (match[1] !== 'max' && Number(match[1]) < 1000) return -EINVAL;
  return c.remember('cpu.max', `${match[1]} ${period}`);
}

function setWeight(c: Cgroup, _t: Task, value: string): number {
  const n = nameToInt(value);
  return n < 1 || n > 10000 ? -ERANGE : c.remember('cpu.weight', value);
}

const FILES: readonly FileSpec[] = [
  { name: 'cgroup.procs', mode: 0o644, notInRoot: false, controller: '', show: (c, t) => c.processesText(t), store: moveProcess },
  { name: 'cgroup.threads', mode: 0o644, notInRoot: false, controller: '', show: (c, t) => c.threadsText(t), store: () => -EOPNOTSUPP },
  shown('cgroup.controllers', '', (c) => line(c.controllers().join(' '))),
  {
    name: 'cgroup.subtree_control',
    mode: 0o644,
    notInRoot: false,
    controller: '',
    show: (c) => line([...c.enabled].join(' ')),
    store: setSubtreeControl,
  },
  shown('cgroup.events', '', (c) => `populated ${c.isPopulated() ? 1 : 0}\nfrozen ${c.value('cgroup.freeze', '0')}\n`, true),
  {
    name: 'cgroup.type',
    mode: 0o644,
    notInRoot: true,
    controller: '',
    show: 'domain',
    store: (_c, _t, value) => (value === 'threaded' ? -EOPNOTSUPP : -EINVAL),
  },
  shown('cgroup.stat', '', (c) => `nr_descendants ${c.descendants()}\nnr_dying_descendants 0\n`),
  {
    name: 'cgroup.max.depth',
    mode: 0o644,
    notInRoot: false,
    controller: '',
    show: 'max',
    store: (c, _t, value) => c.remember('cgroup.max.depth', normalized(value)),
  },
  {
    name: 'cgroup.max.descendants',
    mode: 0o644,
    notInRoot: false,
    controller: '',
    show: 'max',
    store: (c, _t, value) => c.remember('cgroup.max.descendants', normalized(value)),
  },
  {
    name: 'cgroup.freeze',
    mode: 0o644,
    notInRoot: true,
    controller: '',
    show: '0',
    store: (_c, _t, value) => (value === '0' ? 0 : -EOPNOTSUPP),
  },
  { name: 'cgroup.kill', mode: 0o200, notInRoot: true, controller: '', show: '', store: killAll },
  shown('cpu.stat', '', (c) => cpuStat(c)),
  { name: 'cpu.max', mode: 0o644, notInRoot: true, controller: 'cpu', show: 'max 100000', store: setCpuMax },
  limit('cpu.max.burst', 'cpu', '0'),
  { name: 'cpu.weight', mode: 0o644, notInRoot: true, controller: 'cpu', show: '100', store: setWeight },
  free('cpu.weight.nice', 'cpu', '0'),
  free('cpu.idle', 'cpu', '0'),
  free('cpuset.cpus', 'cpuset', ''),
  shown('cpuset.cpus.effective', 'cpuset', (_c, t) => line(t.kernel.machine.cpuList)),
  free('cpuset.mems', 'cpuset', ''),
  shown('cpuset.mems.effective', 'cpuset', '0'),
  free('io.max', 'io', ''),
  free('io.weight', 'io', 'default 100'),
  shown('io.stat', 'io', () => ''),
  shown('memory.current', 'memory', (c) => line(c.memoryBytes()), true),
  shown('memory.peak', 'memory', (c) => line(c.memoryBytes()), true),
  limit('memory.min', 'memory', '0'),
  limit('memory.low', 'memory', '0'),
  limit('memory.high', 'memory', 'max'),
  limit('memory.max', 'memory', 'max'),
  free('memory.oom.group', 'memory', '0'),
  shown('memory.events', 'memory', 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0', true),
  shown('memory.events.local', 'memory', 'low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0', true),
  shown('memory.stat', 'memory', (c) => memoryStat(c)),
  shown('memory.swap.current', 'memory', '0', true),
  limit('memory.swap.max', 'memory', 'max'),
  shown('memory.swap.events', 'memory', 'high 0\nmax 0\nfail 0', true),
  shown('pids.current', 'pids', (c) => line(c.taskCount()), true),
  shown('pids.peak', 'pids', (c) => line(c.taskCount()), true),
  shown('pids.events', 'pids', 'max 0', true),
  limit('pids.max', 'pids', 'max'),
];

function line(value: string | number): string {
  return `${value}\n`;
}

/** "0" is the writer. A process goes as a whole; cgroup_procs_write(). */
function moveProcess(c: Cgroup, t: Task, value: string): number {
  const number = nameToInt(value);
  if (number < 0) return -EINVAL;
  const group = number === 0 ? t.group : t.pidns.group(number);
  if (group === undefined || group.container !== c.hierarchy.container) return -ESRCH;
  if (!c.takesProcesses()) return -EBUSY;
  c.hierarchy.move(group, c);
  return 0;
}

/** "+cpu -memory": cgroup_subtree_control_write(). */
function setSubtreeControl(c: Cgroup, _t: Task, value: string): number {
  const words = value.split(/\s+/).filter((word) => word !== '');
  const available = c.controllers();
  for (const word of words) {
    const name = word.slice(1);
    if (word[0] !== '+' && word[0] !== '-') return -EINVAL;
    if (!CONTROLLERS.includes(name)) return -EINVAL;
    if (word[0] === '+' && !available.includes(name)) return -ENOENT;
    if (word[0] === '-' && c.childDirs().some((child) => child.enabled.has(name))) return -EBUSY;
  }
  if (c.parent !== null && words.some((word) => word[0] === '+') && c.members().length > 0) return -EBUSY;
  for (const word of words) {
    if (word[0] === '+') c.enabled.add(word.slice(1));
    else c.enabled.delete(word.slice(1));
  }
  for (const child of c.childDirs()) child.updateFiles();
  return 0;
}

function killAll(c: Cgroup, _t: Task, value: string): number {
  if (value !== '1') return -ERANGE;
  for (const group of c.membersBelow()) group.signal(SIGKILL);
  return 0;
}

function cpuStat(c: Cgroup): string {
  let ns = 0;
  for (const group of c.membersBelow()) ns += groupCpuTime(group);
  const us = Math.floor(ns / 1000);
  return `usage_usec ${us}\nuser_usec ${us}\nsystem_usec 0\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n`;
}

function memoryStat(c: Cgroup): string {
  const anon = c.memoryBytes();
  return `anon ${anon}\nfile 0\nkernel 0\nkernel_stack 0\npagetables 0\nshmem 0\nfile_mapped 0\nfile_dirty 0\nfile_writeback 0\ninactive_anon 0\nactive_anon ${anon}\ninactive_file 0\nactive_file 0\nunevictable 0\nslab 0\npgfault 0\npgmajfault 0\n`;
}

class CgroupFile extends TextFile {
  private readonly group: Cgroup;
  private readonly spec: FileSpec;

  constructor(group: Cgroup, spec: FileSpec) {
    super(group.hierarchy, group.hierarchy.newIno(), spec.mode);
    this.group = group;
    this.spec = spec;
  }

  override text(t: Task): string {
    const { show } = this.spec;
    return typeof show === 'string' ? line(this.group.value(this.spec.name, show)) : show(this.group, t);
  }

  override store(t: Task, data: string, _offset: number): number {
    const { store } = this.spec;
    if (store === undefined) return -EINVAL;
    const error = store(this.group, t, data.replace(/\0.*$/s, '').trim());
    return error < 0 ? error : data.length;
  }
}

/** A cgroup and its directory. */
export class Cgroup extends StaticDir {
  readonly hierarchy: CgroupFilesystem;
  readonly name: string;
  readonly parent: Cgroup | null;
  /** cgroup.subtree_control. */
  readonly enabled: Set<string> = new Set();
  private readonly values: Map<string, string> = new Map();

  constructor(hierarchy: CgroupFilesystem, name: string, parent: Cgroup | null) {
    super(hierarchy, hierarchy.newIno(), 0o755);
    this.hierarchy = hierarchy;
    this.name = name;
    this.parent = parent;
    this.updateFiles();
  }

  /** "no internal processes": a group that distributes resources holds no processes, the root excepted. */
  takesProcesses(): boolean {
    return this.enabled.size === 0 || this.parent === null;
  }

  /** What a member's ThreadGroup.cgroup is. */
  asMembership(): Cgroup | null {
    return this === this.hierarchy.root() ? null : this;
  }

  /** "/" or "/a/b". */
  path(): string {
    if (this.parent === null) return '/';
    const above = this.parent.path();
    return above === '/' ? `/${this.name}` : `${above}/${this.name}`;
  }

  /** What can be enabled here: cgroup.controllers. */
  controllers(): readonly string[] {
    return this.parent === null ? CONTROLLERS : CONTROLLERS.filter((name) => this.parent!.enabled.has(name));
  }

  /** The files of a controller come and go with the parent's subtree_control. */
  updateFiles(): void {
    const available = this.controllers();
    for (const spec of FILES) {
      const wanted = (spec.controller === '' || available.includes(spec.controller)) && !(spec.notInRoot && this.parent === null);
      const there = this.children.has(spec.name);
      if (wanted && !there) this.add(spec.name, new CgroupFile(this, spec));
      else if (!wanted && there) this.remove(spec.name);
    }
  }

  value(name: string, initial: string): string {
    return this.values.get(name) ?? initial;
  }

  remember(name: string, value: string | undefined): number {
    if (value === undefined) return -EINVAL;
    this.values.set(name, value);
    return 0;
  }

  childDirs(): Cgroup[] {
    return [...this.children.values()].filter((child) => child instanceof Cgroup);
  }

  descendants(): number {
    return this.childDirs().reduce((n, child) => n + 1 + child.descendants(), 0);
  }

  /** Processes of this very group that have not been reaped. */
  members(): ThreadGroup[] {
    return this.hierarchy.groups().filter((group) => this.hierarchy.of(group) === this);
  }

  membersBelow(): ThreadGroup[] {
    return this.childDirs().reduce((all, child) => all.concat(child.membersBelow()), this.members());
  }

  isPopulated(): boolean {
    return this.membersBelow().some((group) => !group.isDead);
  }

  taskCount(): number {
    return this.membersBelow().reduce((n, group) => n + group.tasks.length, 0);
  }

  memoryBytes(): number {
    const { memory } = this.hierarchy.container;
    if (this.parent === null && memory.usedBytes() >= 0) return memory.usedBytes();
    let bytes = 0;
    for (const group of this.membersBelow()) if (!group.isDead) bytes += memorySizes(group.leader.mm).residentAnon;
    return bytes;
  }

  processesText(t: Task): string {
    return this.members()
      .filter((group) => !group.isDead)
      .map((group) => line(group.pid.numberIn(t.pidns)))
      .join('');
  }

  threadsText(t: Task): string {
    let text = '';
    for (const group of this.members()) for (const task of group.tasks) text += line(task.pid.numberIn(t.pidns));
    return text;
  }

  override mkdir(creds: Credentials, name: string, mode: number): Inode | number {
    // "To avoid confusing userspace": names with a newline would break /proc/[pid]/cgroup.
    if (name.includes('\n')) return -EINVAL;
    const made = new Cgroup(this.hierarchy, name, this);
    made.mode = mode;
    made.uid = creds.fsuid;
    made.gid = creds.fsgid;
    for (const child of made.children.values()) {
      child.uid = creds.fsuid;
      child.gid = creds.fsgid;
    }
    this.add(name, made);
    return made;
  }

  override rmdir(name: string, child: Inode): number {
    if (!(child instanceof Cgroup)) return -EPERM;
    if (child.childDirs().length > 0) return -EBUSY;
    if (child.isPopulated()) return -EBUSY;
    this.remove(name);
    // Zombies end where the next living relative is.
    for (const group of child.members()) this.hierarchy.move(group, this);
    return 0;
  }

  override unlink(_name: string, _child: Inode): number {
    return -EPERM;
  }
}

export class CgroupFilesystem extends KernfsFilesystem {
  readonly container: GuestContainer;
  private readonly kernel: Kernel;
  private readonly top: Cgroup;

  constructor(kernel: Kernel, container: GuestContainer) {
    super('cgroup2', allocateAnonDev(), CGROUP2_SUPER_MAGIC);
    this.kernel = kernel;
    this.container = container;
    this.source = 'cgroup2';
    this.top = new Cgroup(this, '', null);
  }

  override root(): Inode {
    return this.top;
  }

  /** The cgroup of a process: its own, or the root. */
  of(group: ThreadGroup): Cgroup {
    return group.cgroup instanceof Cgroup && group.cgroup.hierarchy === this ? group.cgroup : this.top;
  }

  move(group: ThreadGroup, to: Cgroup): void {
    group.cgroup = to === this.top ? null : to;
  }

  /** All processes of the container. */
  groups(): ThreadGroup[] {
    const all = new Set<ThreadGroup>();
    for (const task of this.kernel.tasks.values()) if (task.group.container === this.container) all.add(task.group);
    return [...all];
  }
}

/** What /proc/[pid]/cgroup shows. */
export function cgroupPathOf(group: ThreadGroup): string {
  return group.cgroup instanceof Cgroup ? group.cgroup.path() : '/';
}

/** The type for mount(2): one hierarchy a container. "cgroup" without a controller of version 1 is taken for the same. */
export function cgroupTypes(kernel: Kernel): FilesystemType[] {
  const hierarchies: WeakMap<GuestContainer, CgroupFilesystem> = new WeakMap();
  const mount = (ctx: VfsContext, _source: string, _flags: number, _options: string): Filesystem => {
    const container = containerOf(ctx, kernel);
    const known = hierarchies.get(container);
    if (known !== undefined) return known;
    const made = new CgroupFilesystem(kernel, container);
    hierarchies.set(container, made);
    return made;
  };
  const version1 = (ctx: VfsContext, source: string, flags: number, options: string): Filesystem | number =>
    options === '' ? mount(ctx, source, flags, options) : -EINVAL;
  return [
    { name: 'cgroup', nodev: true, userMount: true, mount: version1 },
    { name: 'cgroup2', nodev: true, userMount: true, mount },
  ];
}
