// The files of /proc itself: fs/proc/*.c and the many who register one. What the Sentry has no
// counterpart of (interrupts, disks, pages) is shown as a machine that has none of it.

import { CLK_TCK, PAGE_SIZE } from '../abi/limits.ts';
import { CLOCK_BOOTTIME } from '../abi/time.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { FilesystemType } from '../vfs/vfs.ts';
import { fileOf, memorySizes } from './proc-maps.ts';
import { groupCpuTime } from './proc-status.ts';

const KIB = 1024;
const NS_PER_TICK = 1e9 / CLK_TCK;

export function cpuinfoText(t: Task): string {
  return t.kernel.machine.cpuinfo;
}

/** Memory in use and how it is used, in bytes. Without a cgroup to ask, the sizes of all address spaces. */
class MemoryUse {
  total: number;
  used: number;
  anon = 0;
  shared = 0;
  mapped = 0;

  constructor(t: Task) {
    const { container } = t.group;
    this.total = container.memory.memoryBytes;
    const seen = new Set<object>();
    for (const task of t.kernel.tasks.values()) {
      if (task.group.container !== container || task.stateLetter() === 'Z' || seen.has(task.mm)) continue;
      seen.add(task.mm);
      const sizes = memorySizes(task.mm);
      this.anon += sizes.residentAnon;
      this.shared += sizes.residentShared;
      for (const v of task.mm.vmas.list) if (v.backing !== null && fileOf(v.backing) !== undefined) this.mapped += v.end - v.start;
    }
    const counted = container.memory.usedBytes();
    this.used = counted >= 0 ? counted : Math.min(this.anon + this.shared, this.total);
  }
}

/** fs/proc/meminfo.c:meminfo_proc_show(). */
export function meminfoText(t: Task): string {
  const use = new MemoryUse(t);
  const free = Math.max(0, use.total - use.used);
  const anon = Math.min(use.anon, use.used);
  const row = (name: string, bytes: number): string => `${`${name}:`.padEnd(16)}${String(Math.floor(bytes / KIB)).padStart(8)} kB\n`;
  const count = (name: string, n: number): string => `${`${name}:`.padEnd(16)}${String(n).padStart(8)}\n`;
  return (
    row('MemTotal', use.total) +
    row('MemFree', free) +
    row('MemAvailable', free) +
    row('Buffers', 0) +
    row('Cached', use.shared) +
    row('SwapCached', 0) +
    row('Active', anon) +
    row('Inactive', use.shared) +
    row('Active(anon)', anon) +
    row('Inactive(anon)', use.shared) +
    row('Active(file)', 0) +
    row('Inactive(file)', 0) +
    row('Unevictable', 0) +
    row('Mlocked', 0) +
    row('SwapTotal', 0) +
    row('SwapFree', 0) +
    row('Dirty', 0) +
    row('Writeback', 0) +
    row('AnonPages', anon) +
    row('Mapped', use.mapped) +
    row('Shmem', use.shared) +
    row('KReclaimable', 0) +
    row('Slab', 0) +
    row('SReclaimable', 0) +
    row('SUnreclaim', 0) +
    row('KernelStack', 0) +
    row('PageTables', 0) +
    row('SecPageTables', 0) +
    row('NFS_Unstable', 0) +
    row('Bounce', 0) +
    row('WritebackTmp', 0) +
    row('CommitLimit', use.total / 2) +
    row('Committed_AS', use.used) +
    row('VmallocTotal', 34359738367 * KIB) +
    row('VmallocUsed', 0) +
    row('VmallocChunk', 0) +
    row('Percpu', 0) +
    row('AnonHugePages', 0) +
    row('ShmemHugePages', 0) +
    row('ShmemPmdMapped', 0) +
    row('FileHugePages', 0) +
    row('FilePmdMapped', 0) +
    count('HugePages_Total', 0) +
    count('HugePages_Free', 0) +
    count('HugePages_Rsvd', 0) +
    count('HugePages_Surp', 0) +
    row('Hugepagesize', 2048 * KIB) +
    row('Hugetlb', 0) +
    row('DirectMap4k', 0) +
    row('DirectMap2M', use.total)
  );
}

/** Bytes in use and shared, for sysinfo(2). */
export function memoryInUse(t: Task): { used: number; shared: number } {
  const use = new MemoryUse(t);
  return { used: use.used, shared: use.shared };
}

/** All CPU time that guests have used, ns. */
function busyNs(kernel: Kernel): number {
  let ns = 0;
  const seen = new Set<object>();
  for (const task of kernel.tasks.values()) {
    if (seen.has(task.group)) continue;
    seen.add(task.group);
    ns += groupCpuTime(task.group);
  }
  return ns;
}

/** Time since the sandbox started, ns. */
export function uptimeNs(kernel: Kernel): number {
  return kernel.clock.boottimeNs() - kernel.clock.bootNs;
}

/** The same in a task's time namespace, whose offset may take back more than the sandbox is old. */
export function uptimeSeenBy(t: Task): number {
  return Math.max(0, uptimeNs(t.kernel) + t.ns.time.offsetNs(CLOCK_BOOTTIME));
}

function running(kernel: Kernel): number {
  let n = 0;
  for (const task of kernel.tasks.values()) if (task.stateLetter() === 'R') n++;
  return n;
}

function blocked(kernel: Kernel): number {
  let n = 0;
  for (const task of kernel.tasks.values()) if (task.stateLetter() === 'D') n++;
  return n;
}

/** fs/proc/stat.c:show_stat(). The time of processes that are gone is not in it. */
export function statText(t: Task): string {
  const kernel = t.kernel;
  const cpus = kernel.machine.cpuCount;
  const busy = busyNs(kernel);
  const idle = Math.max(0, uptimeNs(kernel) * cpus - busy);
  const user = Math.floor(busy / NS_PER_TICK);
  const free = Math.floor(idle / NS_PER_TICK);
  let text = `cpu  ${user} 0 0 ${free} 0 0 0 0 0 0\n`;
  for (let cpu = 0; cpu < cpus; cpu++) text += `cpu${cpu} ${Math.floor(user / cpus)} 0 0 ${Math.floor(free / cpus)} 0 0 0 0 0 0\n`;
  const born = Math.floor(kernel.clock.realtimeSec() - uptimeSeenBy(t) / 1e9);
  let switches = 0;
  for (const task of kernel.tasks.values()) switches += task.voluntarySwitches + task.involuntarySwitches;
  text += `intr 0\nctxt ${switches}\nbtime ${born}\nprocesses ${kernel.rootPidNamespace.lastNumber}\n`;
  text += `procs_running ${Math.max(1, running(kernel))}\nprocs_blocked ${blocked(kernel)}\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n`;
  return text;
}

export function uptimeText(t: Task): string {
  const up = uptimeSeenBy(t);
  const idle = Math.max(0, up * t.kernel.machine.cpuCount - busyNs(t.kernel));
  return `${hundredths(up)} ${hundredths(idle)}\n`;
}

function hundredths(ns: number): string {
  const h = Math.floor(ns / 1e7);
  return `${Math.floor(h / 100)}.${String(h % 100).padStart(2, '0')}`;
}

/** Exponentially decaying averages of runnable tasks over 1, 5 and 15 minutes, brought forward when somebody asks. */
class LoadAverage {
  readonly values: number[] = [0, 0, 0];
  private lastNs = 0;

  update(kernel: Kernel): void {
    const now = kernel.clock.monotonicNs();
    const active = running(kernel) + blocked(kernel);
    const seconds = this.lastNs === 0 ? 5 : (now - this.lastNs) / 1e9;
    this.lastNs = now;
    for (let i = 0; i < 3; i++) {
      const keep = Math.exp(-seconds / LOAD_SECONDS[i]!);
      this.values[i] = this.values[i]! * keep + active * (1 - keep);
    }
  }
}

const LOAD_SECONDS = [60, 300, 900];
const load = new LoadAverage();

/** The three averages. */
export function loadAverages(kernel: Kernel): readonly number[] {
  load.update(kernel);
  return load.values;
}

export function loadavgText(t: Task): string {
  const [one, five, fifteen] = loadAverages(t.kernel);
  const ns = t.pidns;
  return `${one!.toFixed(2)} ${five!.toFixed(2)} ${fifteen!.toFixed(2)} ${Math.max(1, running(t.kernel))}/${t.kernel.tasks.size} ${ns.lastNumber}\n`;
}

export function versionText(t: Task): string {
  const m = t.kernel.machine;
  return `${m.sysname} version ${m.release} (runsc) (gcc) ${m.version}\n`;
}

export function filesystemsText(t: Task): string {
  let text = '';
  for (const type of t.kernel.vfs.types.values() as Iterable<FilesystemType>) text += `${type.nodev ? 'nodev' : ''}\t${type.name}\n`;
  return text;
}

export function devicesText(): string {
  return 'Character devices:\n  1 mem\n  4 /dev/vc/0\n  5 /dev/tty\n  5 /dev/console\n  5 /dev/ptmx\n 10 misc\n128 ptm\n136 pts\n\nBlock devices:\n';
}

export function vmstatText(t: Task): string {
  const use = new MemoryUse(t);
  const pages = (bytes: number): number => Math.floor(bytes / PAGE_SIZE);
  const values: [string, number][] = [
    ['nr_free_pages', pages(use.total - use.used)],
    ['nr_inactive_anon', pages(use.shared)],
    ['nr_active_anon', pages(use.anon)],
    ['nr_inactive_file', 0],
    ['nr_active_file', 0],
    ['nr_unevictable', 0],
    ['nr_anon_pages', pages(use.anon)],
    ['nr_mapped', pages(use.mapped)],
    ['nr_file_pages', pages(use.shared)],
    ['nr_dirty', 0],
    ['nr_writeback', 0],
    ['nr_shmem', pages(use.shared)],
    ['pgpgin', 0],
    ['pgpgout', 0],
    ['pswpin', 0],
    ['pswpout', 0],
    ['pgfree', 0],
    ['pgactivate', 0],
    ['pgdeactivate', 0],
    ['pgfault', 0],
    ['pgmajfault', 0],
    ['oom_kill', 0],
  ];
  return values.map(([name, value]) => `${name} ${value}\n`).join('');
}

export function zoneinfoText(t: Task): string {
  const pages = Math.floor(t.group.container.memory.memoryBytes / PAGE_SIZE);
  return `Node 0, zone   Normal\n  pages free     ${pages}\n        min      0\n        low      0\n        high     0\n        spanned  ${pages}\n        present  ${pages}\n        managed  ${pages}\n`;
}

export function interruptsText(t: Task): string {
  let head = '    ';
  for (let cpu = 0; cpu < t.kernel.machine.cpuCount; cpu++) head += `       CPU${cpu}`;
  return `${head}\n`;
}

export function softirqsText(t: Task): string {
  const cpus = t.kernel.machine.cpuCount;
  let text = '                    ';
  for (let cpu = 0; cpu < cpus; cpu++) text += `${`CPU${cpu}`.padEnd(10)} `;
  text += '\n';
  for (const name of ['HI', 'TIMER', 'NET_TX', 'NET_RX', 'BLOCK', 'IRQ_POLL', 'TASKLET', 'SCHED', 'HRTIMER', 'RCU']) {
    text += `${`${name}:`.padStart(12)}${'          0'.repeat(cpus)}\n`;
  }
  return text;
}

export function cgroupsText(): string {
  let text = '#subsys_name\thierarchy\tnum_cgroups\tenabled\n';
  for (const name of ['cpuset', 'cpu', 'cpuacct', 'memory', 'pids']) text += `${name}\t0\t1\t1\n`;
  return text;
}

export const FIXED_FILES: readonly (readonly [string, number, string])[] = [
  ['modules', 0o444, ''],
  ['swaps', 0o444, 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n'],
  ['partitions', 0o444, 'major minor  #blocks  name\n\n'],
  ['diskstats', 0o444, ''],
  ['misc', 0o444, '229 fuse\n200 tun\n'],
  ['consoles', 0o444, ''],
  ['dma', 0o444, ' 4: cascade\n'],
  ['execdomains', 0o444, '0-0\tLinux           \t[kernel]\n'],
  ['fb', 0o444, ''],
  ['buddyinfo', 0o444, ''],
  ['pagetypeinfo', 0o400, ''],
  [
    'slabinfo',
    0o400,
    'slabinfo - version: 2.1\n# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n',
  ],
  ['kallsyms', 0o444, ''],
  ['vmallocinfo', 0o400, ''],
  ['iomem', 0o400, ''],
  ['ioports', 0o400, ''],
  ['timer_list', 0o400, ''],
  ['mtrr', 0o644, ''],
];
