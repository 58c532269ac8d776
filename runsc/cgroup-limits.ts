// linux.resources into the files of a cgroup: Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst. What a file is
// told follows runc, so that `update` and `docker update` find what they expect.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunscError } from './errors.ts';
import type { BlockDevice, Resources } from './resources.ts';

/** By controller, "" for version 2's tree; "" of version 1 is a hybrid host's unified tree. */
export type CgroupDirs = Readonly<Record<string, string>>;

type Value = string | number | undefined;

export function writeCgroup(path: string, value: string): void {
  try {
    writeFileSync(path, value);
  } catch (error) {
    throw new RunscError(`writing "${value}" to ${path}`, error);
  }
}

/** Sets limits; undefined ones stay as they are. */
export function applyV2(dirs: CgroupDirs, r: Resources): void {
  const set = (file: string, value: Value): void => {
    if (value !== undefined) writeCgroup(join(dirs['']!, file), String(value));
  };
  const limit = (n: number | undefined): Value => (n !== undefined && n < 0 ? 'max' : n);
  const { memory, cpu } = r;
  if (memory.checkBeforeUpdate === true) refuseBelowUse(dirs[''] ?? '', memory);
  // OCI counts memory and swap together, version 2 swap alone.
  if (memory.swap !== undefined) {
    if (memory.swap > 0 && memory.limit === undefined)
      throw new RunscError('linux.resources.memory.swap', 'needs a memory limit beside it on a host with cgroup version 2');
    set('memory.swap.max', memory.swap < 0 ? 'max' : Math.max(0, memory.swap - (memory.limit ?? 0)));
  }
  set('memory.max', limit(memory.limit));
  set('memory.low', limit(memory.reservation));
  if (cpu.idle !== undefined) set('cpu.idle', cpu.idle);
  if (cpu.shares !== undefined && cpu.shares > 0) set('cpu.weight', sharesToWeight(cpu.shares));
  if (cpu.quota !== undefined || cpu.period !== undefined) {
    const quota = cpu.quota === undefined || cpu.quota <= 0 ? 'max' : cpu.quota;
    set('cpu.max', cpu.period === undefined || cpu.period === 0 ? quota : `${quota} ${cpu.period}`);
  }
  set('cpu.max.burst', cpu.burst);
  set('cpuset.cpus', cpu.cpus === '' ? undefined : cpu.cpus);
  set('cpuset.mems', cpu.mems === '' ? undefined : cpu.mems);
  const pids = r.pids.limit;
  if (pids !== undefined && pids !== 0) set('pids.max', pids < 0 ? 'max' : pids);
  const io = r.blockIO;
  if (io.weight !== undefined && io.weight > 0) set('io.weight', weightToIoWeight(io.weight));
  for (const d of io.weightDevice) if (d.value > 0) set('io.weight', `${d.major}:${d.minor} ${weightToIoWeight(d.value)}`);
  for (const [name, devices] of [
    ['rbps', io.readBps],
    ['wbps', io.writeBps],
    ['riops', io.readIops],
    ['wiops', io.writeIops],
  ] as const)
    for (const d of devices) set('io.max', `${d.major}:${d.minor} ${name}=${d.value === 0 ? 'max' : d.value}`);
  for (const page of r.hugepages) set(`hugetlb.${page.size}.max`, page.limit);
  for (const entry of r.rdma) set('rdma.max', rdmaText(entry));
  for (const [file, value] of Object.entries(r.unified)) set(file, value);
}

/** Version 2 would kill to get below a limit, where version 1 refuses it: memory.checkBeforeUpdate of config-linux.md. */
function refuseBelowUse(dir: string, { limit = 0, swap = 0 }: Resources['memory']): void {
  const used = Number(readFileSync(join(dir, 'memory.current'), 'utf8'));
  if (swap > 0 && swap <= used) throw new RunscError('linux.resources.memory.swap', `${swap} is not above what is in use, ${used}`);
  if (limit > 0 && limit <= used) throw new RunscError('linux.resources.memory.limit', `${limit} is not above what is in use, ${used}`);
}

export function applyV1(dirs: CgroupDirs, r: Resources): void {
  const set = (controller: string, file: string, value: Value): void => {
    if (value === undefined || value === '') return;
    const dir = dirs[controller];
    if (dir === undefined) throw new RunscError(`the host has no cgroup controller "${controller}"`);
    writeCgroup(join(dir, file), String(value));
  };
  const files = new Set(Object.keys(r.unified));
  if (files.size > 0)
    throw new RunscError('invalid configuration: linux.resources.unified', 'cannot be used on a host with cgroup version 1');
  applyMemoryV1(dirs, r.memory, set);
  const { cpu } = r;
  if (cpu.idle !== undefined) set('cpu', 'cpu.idle', cpu.idle);
  if (cpu.shares !== undefined && cpu.shares > 0) set('cpu', 'cpu.shares', cpu.shares);
  setPair(
    () => set('cpu', 'cpu.rt_period_us', positive(cpu.realtimePeriod)),
    cpu.realtimeRuntime === undefined || cpu.realtimeRuntime === 0 ? undefined : () => set('cpu', 'cpu.rt_runtime_us', cpu.realtimeRuntime),
  );
  applyCpuQuotaV1(dirs, cpu, set);
  set('cpuset', 'cpuset.cpus', cpu.cpus);
  set('cpuset', 'cpuset.mems', cpu.mems);
  const pids = r.pids.limit;
  if (pids !== undefined && pids !== 0) set('pids', 'pids.max', pids < 0 ? 'max' : pids);
  applyBlockIoV1(dirs, r.blockIO, set);
  for (const page of r.hugepages) {
    // A hybrid host may have the controller in its unified tree.
    if (dirs['hugetlb'] === undefined && dirs[''] !== undefined)
      writeCgroup(join(dirs[''], `hugetlb.${page.size}.max`), String(page.limit));
    else set('hugetlb', `hugetlb.${page.size}.limit_in_bytes`, page.limit);
  }
  if (r.network.classID !== undefined && r.network.classID > 0) set('net_cls', 'net_cls.classid', r.network.classID);
  for (const { name, priority } of r.network.priorities) set('net_prio', 'net_prio.ifpriomap', `${name} ${priority}`);
  for (const entry of r.rdma) set('rdma', 'rdma.max', rdmaText(entry));
}

type Set = (controller: string, file: string, value: Value) => void;

function positive(n: number | undefined): number | undefined {
  return n !== undefined && n > 0 ? n : undefined;
}

/** A period and the time in it limit each other: when the new period does not fit the old time, the new time goes first. */
function setPair(period: () => void, time: (() => void) | undefined): void {
  try {
    period();
  } catch (error) {
    if (time === undefined) throw error;
    time();
    period();
    return;
  }
  time?.();
}

function applyCpuQuotaV1(dirs: CgroupDirs, cpu: Resources['cpu'], set: Set): void {
  const period = positive(cpu.period);
  const burst = cpu.burst;
  const quota = cpu.quota === 0 ? undefined : cpu.quota;
  // A burst may not exceed the quota: a lower one has to be there first, a higher one after.
  const lowered = burst !== undefined && burst < Number(readIn(dirs, 'cpu', 'cpu.cfs_burst_us') ?? 0);
  if (lowered) set('cpu', 'cpu.cfs_burst_us', burst);
  setPair(
    () => set('cpu', 'cpu.cfs_period_us', period),
    quota === undefined ? undefined : () => set('cpu', 'cpu.cfs_quota_us', quota < 0 ? -1 : quota),
  );
  if (burst !== undefined && !lowered) set('cpu', 'cpu.cfs_burst_us', burst);
}

function readIn(dirs: CgroupDirs, controller: string, file: string): string | undefined {
  try {
    return readFileSync(join(dirs[controller] ?? '', file), 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Memory alone may not exceed both together, so which goes first depends on the direction. */
function applyMemoryV1(dirs: CgroupDirs, memory: Resources['memory'], set: Set): void {
  const { limit, swap } = memory;
  const setLimit = (): void => set('memory', 'memory.limit_in_bytes', limit === 0 ? undefined : limit);
  // Where swap is not counted the file is missing, and runc leaves it at that.
  const setSwap = (): void => {
    if (swap !== undefined && swap !== 0 && readIn(dirs, 'memory', 'memory.memsw.limit_in_bytes') !== undefined)
      set('memory', 'memory.memsw.limit_in_bytes', swap);
  };
  if (limit === -1 && swap === undefined) {
    // Without a limit on memory one on both has no meaning: runc's rule.
    if (readIn(dirs, 'memory', 'memory.memsw.limit_in_bytes') !== undefined) set('memory', 'memory.memsw.limit_in_bytes', -1);
    setLimit();
  } else {
    const current = Number(readIn(dirs, 'memory', 'memory.memsw.limit_in_bytes') ?? Number.POSITIVE_INFINITY);
    if (swap === -1 || (limit !== undefined && swap !== undefined && swap > current)) {
      setSwap();
      setLimit();
    } else {
      setLimit();
      setSwap();
    }
  }
  set('memory', 'memory.soft_limit_in_bytes', memory.reservation === 0 ? undefined : memory.reservation);
  set('memory', 'memory.kmem.tcp.limit_in_bytes', positive(memory.kernelTCP));
  if (memory.swappiness !== undefined) {
    if (memory.swappiness > 100) throw new RunscError('linux.resources.memory.swappiness', 'must be between 0 and 100');
    set('memory', 'memory.swappiness', memory.swappiness);
  }
  if (memory.disableOOMKiller === true) set('memory', 'memory.oom_control', 1);
}

function applyBlockIoV1(dirs: CgroupDirs, io: Resources['blockIO'], set: Set): void {
  const dir = dirs['blkio'];
  const names = dir === undefined ? [] : readdirSync(dir);
  // The BFQ scheduler has files of its own, and only those on newer kernels.
  const prefix = names.includes('blkio.weight') ? 'blkio.' : 'blkio.bfq.';
  if (io.weight !== undefined && io.weight > 0) set('blkio', `${prefix}weight`, io.weight);
  if (io.leafWeight !== undefined && io.leafWeight > 0) set('blkio', 'blkio.leaf_weight', io.leafWeight);
  for (const d of io.weightDevice) {
    if (d.value > 0) set('blkio', `${prefix}weight_device`, `${d.major}:${d.minor} ${d.value}`);
    if (d.leaf !== undefined && d.leaf > 0) set('blkio', 'blkio.leaf_weight_device', `${d.major}:${d.minor} ${d.leaf}`);
  }
  const throttle: readonly (readonly [string, readonly BlockDevice[]])[] = [
    ['read_bps', io.readBps],
    ['write_bps', io.writeBps],
    ['read_iops', io.readIops],
    ['write_iops', io.writeIops],
  ];
  for (const [name, devices] of throttle)
    for (const d of devices) set('blkio', `blkio.throttle.${name}_device`, `${d.major}:${d.minor} ${d.value}`);
}

function rdmaText({ device, hcaHandles, hcaObjects }: Resources['rdma'][number]): string {
  const handles = hcaHandles === undefined ? '' : ` hca_handle=${hcaHandles}`;
  return `${device}${handles}${hcaObjects === undefined ? '' : ` hca_object=${hcaObjects}`}`;
}

/** runc's mapping of [2, 262144] to [1, 10000]: libcontainer/cgroups ConvertCPUSharesToCgroupV2Value. */
export function sharesToWeight(shares: number): number {
  return 1 + Math.floor(((Math.min(Math.max(shares, 2), 262144) - 2) * 9999) / 262142);
}

/** The same for [10, 1000] to [1, 10000]. */
export function weightToIoWeight(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}
