// Where the host has its cgroups: version 1 with a tree a controller, version 2 with one, or both (the controllers are
// version 1's then, and the unified tree is there for systemd). cgroups(7).

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunscError } from './errors.ts';

/** Controllers of version 1 that a container gets a cgroup of, as runc's: libcontainer/cgroups/fs. */
const V1_CONTROLLERS = [
  'cpuset',
  'devices',
  'memory',
  'cpu',
  'cpuacct',
  'pids',
  'blkio',
  'hugetlb',
  'net_cls',
  'net_prio',
  'perf_event',
  'freezer',
  'rdma',
  'misc',
  'name=systemd',
] as const;

export interface Hierarchies {
  /** Mount point of version 2. */
  readonly unified: string | undefined;
  /** Version 1: controller to mount point. Empty: version 2 has the controllers. */
  readonly v1: ReadonlyMap<string, string>;
}

export function hierarchies(): Hierarchies {
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
      if ((V1_CONTROLLERS as readonly string[]).includes(option) && !v1.has(option)) v1.set(option, point);
  }
  return { unified, v1 };
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
