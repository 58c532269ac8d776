// The sandbox's cgroup: made, joined, limited, read and removed. Limits on memory hold for the guest: its processes are
// the host processes in there. The Sentry and the gofer, whose memory is ours and not the container's, stand beside it
// where the host lets them (version 1, for memory and pids), in a cgroup of their own whose limit leaves room for them:
//
//   .../ID            stubs, the process of --pid-file    memory.limit_in_bytes as configured
//   .../ID.sandbox    Sentry, gofer                       the same and SANDBOX_ROOM more, since tmpfs files are the Sentry's
//
// On version 2 a cgroup is a whole: they are all in one.

import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { hierarchies } from './cgroup-hierarchies.ts';
import { applyV1, applyV2, writeCgroup } from './cgroup-limits.ts';
import { describe, RunscError } from './errors.ts';
import { spawnSync } from './host-program.ts';
import type { Resources } from './resources.ts';

const V2_CONTROLLERS = ['memory', 'cpu', 'pids', 'cpuset', 'io', 'hugetlb', 'rdma', 'misc'];
/** Controllers of version 1 whose count is the guest's alone. */
const GUEST_ONLY = ['memory', 'pids'];
/** What Sentry and gofer need, and the pages of files in the guest's memory beyond its limit. */
const SANDBOX_ROOM = 256 * 1024 * 1024;

/** How long a cgroup may take to become empty once its processes are dead. */
const REMOVE_TRIES = 1000;
const REMOVE_PAUSE_MS = 10;

/** What state.json keeps. */
export interface CgroupRecord {
  readonly version: 1 | 2;
  /** By controller; version 2 has one, "", which on version 1 is a hybrid host's unified tree. */
  readonly dirs: Readonly<Record<string, string>>;
  /** Where Sentry and gofer are instead, by controller. */
  readonly sandbox: Readonly<Record<string, string>>;
}

export interface CgroupCreation {
  /** systemd has put processes of ours there. */
  readonly madeBySystemd: boolean;
  /** Sentry and gofer are elsewhere: there is no cgroup beside it for them. */
  readonly alone: boolean;
  /** Called before the first folder is made, so that whoever is killed then can be cleaned up after. */
  readonly planned: (record: CgroupRecord) => void;
}

export class Cgroup {
  readonly record: CgroupRecord;

  constructor(record: CgroupRecord) {
    this.record = record;
  }

  private get isV2(): boolean {
    return this.record.version === 2;
  }

  /** Makes the folders. Throws for one that is frozen, or has processes unless systemd has put ours there. */
  static create(path: string, how: CgroupCreation): Cgroup {
    const full = recordFor(path);
    const record = how.alone ? { ...full, sandbox: {} } : full;
    refuseUsed(record, how.madeBySystemd);
    how.planned(record);
    const { unified, v1 } = hierarchies();
    if (unified !== undefined && record.dirs[''] !== undefined) makeV2(unified, path);
    for (const dirs of [record.dirs, record.sandbox]) {
      for (const [controller, dir] of Object.entries(dirs)) {
        if (controller === '') continue;
        make(dir);
        if (controller === 'cpuset') inheritCpuset(v1.get('cpuset')!, dir);
      }
    }
    return new Cgroup(record);
  }

  /** Moves a process of the guest, or one that stands for it, in. */
  join(pid: number): void {
    for (const dir of new Set(Object.values(this.record.dirs))) writeCgroup(join(dir, 'cgroup.procs'), String(pid));
  }

  /** Moves Sentry or gofer in. */
  joinSandbox(pid: number): void {
    const dirs = { ...this.record.dirs, ...this.record.sandbox };
    for (const dir of new Set(Object.values(dirs))) writeCgroup(join(dir, 'cgroup.procs'), String(pid));
  }

  /** Moves in the process that makes the container's, and so these. Tasks are counted by the guest, and that one is none. */
  joinNursery(pid: number): void {
    for (const [controller, dir] of Object.entries(this.record.dirs))
      if (controller !== 'pids') writeCgroup(join(dir, 'cgroup.procs'), String(pid));
  }

  /** Stubs were born beside their Sentry: their memory is the guest's. `system` are the processes that stay. */
  claimStubs(system: readonly number[]): void {
    const from = this.record.sandbox['memory'];
    const to = this.record.dirs['memory'];
    if (from === undefined || to === undefined) return;
    for (const line of readFileSync(join(from, 'cgroup.procs'), 'utf8').split('\n')) {
      if (line === '' || system.includes(Number(line))) continue;
      try {
        writeFileSync(join(to, 'cgroup.procs'), line);
      } catch (error) {
        // Ended meanwhile.
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw new RunscError(`moving process ${line} to ${to}`, error);
      }
    }
  }

  /** Sets limits; undefined ones stay as they are. */
  apply(r: Resources): void {
    if (this.isV2) applyV2(this.record.dirs, r);
    else applyV1(this.record.dirs, r);
    const beside = this.record.sandbox['memory'];
    const { limit } = r.memory;
    if (beside !== undefined && limit !== undefined && limit !== 0)
      writeCgroup(join(beside, 'memory.limit_in_bytes'), String(limit < 0 ? -1 : limit + SANDBOX_ROOM));
  }

  /** Stops or continues all processes. false where the host has no freezer. */
  freeze(on: boolean): boolean {
    const dir = this.record.dirs[this.isV2 ? '' : 'freezer'];
    if (dir === undefined) return false;
    const file = join(dir, this.isV2 ? 'cgroup.freeze' : 'freezer.state');
    if (!existsSync(file)) return false;
    writeCgroup(file, this.isV2 ? (on ? '1' : '0') : on ? 'FROZEN' : 'THAWED');
    return true;
  }

  /** Whether somebody has stopped all processes, be it us. */
  get isFrozen(): boolean {
    return frozen(this.record);
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

  /** Host numbers of the processes that stand for programs of the guest. */
  standIns(): number[] {
    const text = this.read('pids', 'cgroup.procs') ?? '';
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
  }

  /** Removes the folders, waiting a moment for the last processes to leave. */
  remove(): void {
    for (const dir of new Set([...Object.values(this.record.dirs), ...Object.values(this.record.sandbox)])) removeTree(dir);
  }
}

/** Where a container at `path` has its cgroups. */
export function recordFor(path: string): CgroupRecord {
  const { unified, v1 } = hierarchies();
  const dirs: Record<string, string> = {};
  const sandbox: Record<string, string> = {};
  if (v1.size === 0) {
    if (unified === undefined) throw new RunscError('no cgroup file system is mounted');
    return { version: 2, dirs: { '': join(unified, path) }, sandbox };
  }
  for (const [controller, point] of v1) {
    dirs[controller] = join(point, path);
    if (GUEST_ONLY.includes(controller) && path !== '/') sandbox[controller] = join(point, `${path}.sandbox`);
  }
  if (unified !== undefined) dirs[''] = join(unified, path);
  return { version: 1, dirs, sandbox };
}

function frozen({ version, dirs }: CgroupRecord): boolean {
  const dir = dirs[version === 2 ? '' : 'freezer'];
  if (dir === undefined) return false;
  try {
    const text = readFileSync(join(dir, version === 2 ? 'cgroup.freeze' : 'freezer.state'), 'utf8').trim();
    return text === '1' || text === 'FROZEN' || text === 'FREEZING';
  } catch {
    return false;
  }
}

/** A container whose processes others can stop or count is no container: runc's rule. */
function refuseUsed(record: CgroupRecord, madeBySystemd: boolean): void {
  if (frozen(record)) throw new RunscError("container's cgroup unexpectedly frozen");
  if (madeBySystemd) return;
  let used = 0;
  for (const dir of Object.values(record.dirs)) {
    try {
      used = Math.max(used, readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n').length - 1);
    } catch {
      // Not there yet.
    }
  }
  if (used > 0) throw new RunscError("container's cgroup is not empty", `${used} process(es) found`);
}

function make(dir: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o755 });
  } catch (error) {
    throw new RunscError(`making the cgroup ${dir}`, error);
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

/** Whoever was inside may have made groups below. */
function removeTree(dir: string): void {
  try {
    for (const entry of readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) removeTree(join(dir, entry.name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw new RunscError(`reading the cgroup ${dir}`, error);
    return;
  }
  removeWhenEmpty(dir);
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
export function createCgroup(
  path: string,
  resources: Resources,
  how: CgroupCreation & { readonly tolerant: boolean },
  told: (why: string) => void,
): Cgroup | undefined {
  let cgroup: Cgroup | undefined;
  try {
    cgroup = Cgroup.create(path, how);
    cgroup.apply(resources);
    return cgroup;
  } catch (error) {
    try {
      cgroup?.remove();
    } catch {
      // What stands in the way of making it stands in the way of removing it.
    }
    if (!how.tolerant) throw new RunscError('setting up the cgroup', error);
    told(`going on without a cgroup: ${describe(error)}`);
    return undefined;
  }
}
