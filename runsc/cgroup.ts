// The sandbox's cgroup: made, limited, joined, read and removed, on hosts with version 1, version 2 or both (where the
// controllers are version 1's). cgroups(7), Documentation/admin-guide/cgroup-v2.rst. Limits apply to the sandbox as a
// whole: the guest's processes are processes of the host in it.

import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, RunscError } from './errors.ts';
import { spawnSync } from './host-program.ts';
import type { Resources } from './spec.ts';

/** Controllers that limits are set with; on version 1 each may be a tree of its own. */
const CONTROLLERS = ['memory', 'cpu', 'cpuacct', 'pids', 'cpuset', 'blkio', 'freezer', 'devices'] as const;
const V2_CONTROLLERS = ['memory', 'cpu', 'pids', 'cpuset', 'io'];

/** How long a cgroup may take to become empty once its processes are dead. */
const REMOVE_TRIES = 1000;
const REMOVE_PAUSE_MS = 10;

interface Hierarchies {
  /** Mount point of version 2, if it has the controllers. */
  readonly unified: string | undefined;
  /** Version 1: controller to mount point. */
  readonly v1: ReadonlyMap<string, string>;
}

/** What state.json keeps. */
export interface CgroupRecord {
  readonly version: 1 | 2;
  /** By controller; version 2 has one, "". */
  readonly dirs: Readonly<Record<string, string>>;
}

function hierarchies(): Hierarchies {
  const v1 = new Map<string, string>();
  let unified: string | undefined;
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const [type, , options = ''] = right.split(' ');
    const point = left.split(' ')[4]?.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
    if (point === undefined) continue;
    if (type === 'cgroup2') unified ??= point;
    if (type !== 'cgroup') continue;
    for (const option of options.split(','))
      if ((CONTROLLERS as readonly string[]).includes(option) && !v1.has(option)) v1.set(option, point);
  }
  // Hybrid: the unified tree is there for systemd, the controllers are version 1's.
  return v1.size > 0 ? { unified: undefined, v1 } : { unified, v1 };
}

/** Where in the hierarchies a container goes. systemd: "slice:prefix:name", systemd's own naming. */
export function cgroupPath(cgroupsPath: string | undefined, id: string, systemd: boolean): string {
  if (!systemd) return join('/', cgroupsPath === undefined || cgroupsPath === '' ? id : cgroupsPath);
  const { slice, unit } = systemdUnit(cgroupsPath, id);
  return join('/', slicePath(slice), unit);
}

export function systemdUnit(cgroupsPath: string | undefined, id: string): { slice: string; unit: string } {
  const parts = cgroupsPath === undefined || cgroupsPath === '' ? ['', 'runsc', id] : cgroupsPath.split(':');
  if (parts.length !== 3)
    throw new RunscError('config.json: linux.cgroupsPath', `"${cgroupsPath}" must be slice:prefix:name with --systemd-cgroup`);
  const [slice, prefix, name] = parts as [string, string, string];
  const unit = name.endsWith('.slice') ? name : prefix === '' ? `${name}.scope` : `${prefix}-${name}.scope`;
  return { slice: slice === '' ? 'system.slice' : slice, unit };
}

/** "a-b.slice" lies in "a.slice": systemd.slice(5). */
export function slicePath(slice: string): string {
  if (slice === '-.slice') return '/';
  const words = slice.replace(/\.slice$/, '').split('-');
  return words.map((_, i) => `${words.slice(0, i + 1).join('-')}.slice`).join('/');
}

export class Cgroup {
  readonly record: CgroupRecord;

  constructor(record: CgroupRecord) {
    this.record = record;
  }

  private get isV2(): boolean {
    return this.record.version === 2;
  }

  /** Makes the folders. */
  static create(path: string): Cgroup {
    const { unified, v1 } = hierarchies();
    const dirs: Record<string, string> = {};
    if (unified !== undefined) {
      dirs[''] = join(unified, path);
      makeV2(unified, path);
      return new Cgroup({ version: 2, dirs });
    }
    if (v1.size === 0) throw new RunscError('no cgroup file system is mounted');
    for (const [controller, point] of v1) {
      const dir = join(point, path);
      make(dir);
      if (controller === 'cpuset') inheritCpuset(point, dir);
      dirs[controller] = dir;
    }
    return new Cgroup({ version: 1, dirs });
  }

  /** Moves a process in. */
  join(pid: number): void {
    for (const dir of new Set(Object.values(this.record.dirs))) write(join(dir, 'cgroup.procs'), String(pid));
  }

  /** Sets limits; undefined ones stay as they are. */
  apply(r: Resources): void {
    if (this.isV2) this.applyV2(r);
    else this.applyV1(r);
  }

  private applyV2(r: Resources): void {
    const set = (file: string, value: string | number | undefined): void => {
      if (value !== undefined) write(join(this.record.dirs['']!, file), String(value));
    };
    const limit = (n: number | undefined): string | number | undefined => (n === -1 ? 'max' : n);
    const { memory, cpu } = r;
    set('memory.max', limit(memory.limit));
    set('memory.low', limit(memory.reservation));
    // OCI counts memory and swap together, version 2 swap alone.
    if (memory.swap !== undefined) set('memory.swap.max', memory.swap === -1 ? 'max' : Math.max(0, memory.swap - (memory.limit ?? 0)));
    if (cpu.shares !== undefined && cpu.shares > 0) set('cpu.weight', sharesToWeight(cpu.shares));
    if (cpu.quota !== undefined || cpu.period !== undefined) {
      const quota = cpu.quota === undefined || cpu.quota <= 0 ? 'max' : cpu.quota;
      set('cpu.max', cpu.period === undefined || cpu.period === 0 ? quota : `${quota} ${cpu.period}`);
    }
    set('cpu.max.burst', cpu.burst);
    set('cpu.idle', cpu.idle);
    set('cpuset.cpus', cpu.cpus === '' ? undefined : cpu.cpus);
    set('cpuset.mems', cpu.mems === '' ? undefined : cpu.mems);
    const pids = r.pids.limit;
    if (pids !== undefined && pids !== 0) set('pids.max', pids < 0 ? 'max' : pids);
    if (r.blockIO.weight !== undefined && r.blockIO.weight > 0) set('io.weight', weightToIoWeight(r.blockIO.weight));
    for (const [file, value] of Object.entries(r.unified)) {
      if (file.includes('/') || !file.includes('.'))
        throw new RunscError(`linux.resources.unified: "${file}" is not the name of a cgroup file`);
      set(file, value);
    }
  }

  private applyV1(r: Resources): void {
    const set = (controller: string, file: string, value: string | number | undefined): void => {
      const dir = this.record.dirs[controller];
      if (value === undefined || value === '') return;
      if (dir === undefined) throw new RunscError(`the host has no cgroup controller "${controller}"`);
      write(join(dir, file), String(value));
    };
    const { memory, cpu } = r;
    const limits: (() => void)[] = [
      () => set('memory', 'memory.limit_in_bytes', memory.limit),
      () => set('memory', 'memory.memsw.limit_in_bytes', memory.swap),
    ];
    // Memory alone may not exceed both together, so which goes first depends on the direction.
    const current =
      memory.swap === undefined
        ? Number.POSITIVE_INFINITY
        : Number(this.read('memory', 'memory.memsw.limit_in_bytes') ?? Number.POSITIVE_INFINITY);
    if ((memory.limit ?? 0) > current) limits.reverse();
    for (const step of limits) step();
    set('memory', 'memory.soft_limit_in_bytes', memory.reservation);
    set('memory', 'memory.swappiness', memory.swappiness);
    if (memory.disableOOMKiller === true) set('memory', 'memory.oom_control', 1);
    if (cpu.shares !== undefined && cpu.shares > 0) set('cpu', 'cpu.shares', cpu.shares);
    if (cpu.period !== undefined && cpu.period > 0) set('cpu', 'cpu.cfs_period_us', cpu.period);
    if (cpu.quota !== undefined && cpu.quota !== 0) set('cpu', 'cpu.cfs_quota_us', cpu.quota);
    set('cpu', 'cpu.cfs_burst_us', cpu.burst);
    set('cpu', 'cpu.rt_period_us', cpu.realtimePeriod);
    set('cpu', 'cpu.rt_runtime_us', cpu.realtimeRuntime);
    set('cpu', 'cpu.idle', cpu.idle);
    set('cpuset', 'cpuset.cpus', cpu.cpus);
    set('cpuset', 'cpuset.mems', cpu.mems);
    const pids = r.pids.limit;
    if (pids !== undefined && pids !== 0) set('pids', 'pids.max', pids < 0 ? 'max' : pids);
    if (r.blockIO.weight !== undefined && r.blockIO.weight > 0) set('blkio', 'blkio.weight', r.blockIO.weight);
  }

  /** Stops or continues all processes. false where the host has no freezer. */
  freeze(on: boolean): boolean {
    const dir = this.record.dirs[this.isV2 ? '' : 'freezer'];
    if (dir === undefined) return false;
    const file = join(dir, this.isV2 ? 'cgroup.freeze' : 'freezer.state');
    if (!existsSync(file)) return false;
    write(file, this.isV2 ? (on ? '1' : '0') : on ? 'FROZEN' : 'THAWED');
    return true;
  }

  /** A file of a controller, or undefined. */
  read(controller: string, file: string): string | undefined {
    const dir = this.record.dirs[this.isV2 ? '' : controller];
    if (dir === undefined) return undefined;
    try {
      return readFileSync(join(dir, file), 'utf8').trim();
    } catch {
      return undefined;
    }
  }

  /** Removes the folders, waiting a moment for the last processes to leave. */
  remove(): void {
    for (const dir of new Set(Object.values(this.record.dirs))) removeWhenEmpty(dir);
  }
}

function make(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw new RunscError(`making the cgroup ${dir}`, error);
  }
}

function write(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch (error) {
    throw new RunscError(`writing "${value}" to ${path}`, error);
  }
}

/** Version 2: a controller works in a folder if all above have passed it on. */
function makeV2(root: string, path: string): void {
  make(join(root, path));
  const above: string[] = [];
  for (let dir = dirname(join(root, path)); dir.startsWith(root); dir = dirname(dir)) above.unshift(dir);
  for (const dir of above) {
    let available: string[];
    try {
      available = readFileSync(join(dir, 'cgroup.controllers'), 'utf8').trim().split(' ');
    } catch {
      continue;
    }
    for (const controller of V2_CONTROLLERS) {
      if (!available.includes(controller)) continue;
      try {
        writeFileSync(join(dir, 'cgroup.subtree_control'), `+${controller}`);
      } catch {
        // Not ours to give, or processes sit there: a limit that needs it says so when it is written.
      }
    }
  }
}

/** Version 1: a fresh cpuset is empty, and no process may enter it before it has processors and memory. */
function inheritCpuset(point: string, dir: string): void {
  const parent = dirname(dir);
  if (parent.startsWith(point) && parent !== point) inheritCpuset(point, parent);
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    try {
      if (readFileSync(join(dir, file), 'utf8').trim() !== '') continue;
      writeFileSync(join(dir, file), readFileSync(join(parent, file), 'utf8').trim());
    } catch {
      // Mounted with noprefix or not at all: joining says what is wrong.
    }
  }
}

function removeWhenEmpty(dir: string): void {
  for (let i = 0; ; i++) {
    try {
      rmdirSync(dir);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      if (code !== 'EBUSY' || i === REMOVE_TRIES) throw new RunscError(`removing the cgroup ${dir}`, error);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, REMOVE_PAUSE_MS);
    }
  }
}

/** runc's mapping of [2, 262144] to [1, 10000]: libcontainer/cgroups ConvertCPUSharesToCgroupV2Value. */
export function sharesToWeight(shares: number): number {
  return 1 + Math.floor(((Math.min(Math.max(shares, 2), 262144) - 2) * 9999) / 262142);
}

/** The same for [10, 1000] to [1, 10000]. */
export function weightToIoWeight(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}

/** Asks systemd for a scope that holds the process; without systemd's bus the folder is simply made. */
export function startScope(slice: string, unit: string, pid: number): boolean {
  const user = process.geteuid!() !== 0 ? ['--user'] : [];
  const properties = ['PIDs', 'au', '1', String(pid), 'Delegate', 'b', 'true', 'Slice', 's', slice, 'DefaultDependencies', 'b', 'false'];
  const call = [
    'call',
    'org.freedesktop.systemd1',
    '/org/freedesktop/systemd1',
    'org.freedesktop.systemd1.Manager',
    'StartTransientUnit',
    'ssa(sv)a(sa(sv))',
  ];
  const done = spawnSync('busctl', [...user, ...call, unit, 'replace', '4', ...properties, '0'], { stdio: 'ignore' });
  return done.status === 0;
}

/** A cgroup for the sandbox; undefined where an ordinary user may have none. told hears why. */
export function createCgroup(path: string, resources: Resources, tolerant: boolean, told: (why: string) => void): Cgroup | undefined {
  let cgroup: Cgroup | undefined;
  try {
    cgroup = Cgroup.create(path);
    cgroup.apply(resources);
    return cgroup;
  } catch (error) {
    try {
      cgroup?.remove();
    } catch {
      // What stands in the way of making it stands in the way of removing it.
    }
    if (!tolerant) throw new RunscError('setting up the cgroup', error);
    told(`going on without a cgroup: ${describe(error)}`);
    return undefined;
  }
}
