// What a container sees of its cgroup: /proc/self/cgroup, and on a host with version 1 the folders of its controllers,
// served read-only by the gofer. A container on version 2 has a hierarchy of the guest's own: sentry/fs/cgroupfs.ts.

import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { GoferTree } from '../gofer/config.ts';
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY } from '../sentry/abi/mount.ts';
import type { CgroupView, MountConfig } from '../sentry/boot/boot-config.ts';
import { cgroupPath, hierarchies } from './cgroup-hierarchies.ts';
import type { Config } from './config.ts';
import { parseMountOptions } from './mount-options.ts';
import type { Spec, SpecMount } from './spec.ts';
import { guestText } from './text.ts';

/** undefined without a cgroup of the container's own. */
export function cgroupView(id: string, spec: Spec, config: Config): CgroupView | undefined {
  if (config.ignoreCgroups) return undefined;
  const { unified, v1 } = hierarchies();
  const path = cgroupPath(spec.cgroupsPath, id, config.systemdCgroup);
  const ownNamespace = spec.namespaces.some((n) => n.type === 'cgroup');
  const shown = ownNamespace ? '/' : path;
  const byPoint = new Map<string, string[]>();
  for (const [controller, point] of v1) byPoint.set(point, [...(byPoint.get(point) ?? []), controller]);
  const points = [...byPoint];
  const lines = points.map(([, controllers], i) => `${points.length - i}:${controllers.join(',')}:${shown}\n`).join('');
  const memory = v1.get('memory');
  const usage =
    memory !== undefined
      ? join(memory, path, 'memory.usage_in_bytes')
      : v1.size === 0 && unified !== undefined
        ? join(unified, path, 'memory.current')
        : undefined;
  return {
    lines: guestText(lines),
    unified: ownNamespace ? '' : guestText(path),
    ...(usage === undefined ? {} : { memoryUsagePath: usage }),
  };
}

/** The caller's own cgroups of version 1: controllers, and the path. */
function callersCgroups(): [readonly string[], string][] {
  const lines = readFileSync('/proc/self/cgroup', 'utf8').split('\n');
  return lines.flatMap((line): [readonly string[], string][] => {
    const [, controllers = '', path = ''] = /^\d+:([^:]+):(.*)$/.exec(line) ?? [];
    return path === '' ? [] : [[controllers.split(','), path]];
  });
}

function v1Point(v1: ReadonlyMap<string, string>, controllers: readonly string[]): string | undefined {
  return v1.get(controllers.find((controller) => v1.has(controller)) ?? '');
}

/** A mount of type cgroup: on version 1 a folder with one a controller. */
export function planCgroupMount(
  mount: SpecMount,
  target: string,
  id: string,
  spec: Spec,
  config: Config,
  trees: GoferTree[],
): MountConfig[] {
  const { flags, propagation } = parseMountOptions(mount.options);
  const { v1 } = hierarchies();
  if (v1.size === 0 || config.ignoreCgroups)
    return [{ target: guestText(target), type: 'cgroup', source: 'cgroup', flags, propagation, data: '' }];
  const path = cgroupPath(spec.cgroupsPath, id, config.systemdCgroup);
  const own = config.rootless ? callersCgroups() : undefined;
  const standard = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  const mounts: MountConfig[] = [
    {
      target: guestText(target),
      type: 'tmpfs',
      source: 'tmpfs',
      flags: flags & ~MS_RDONLY,
      propagation,
      data: 'mode=755',
      readOnlyAtLast: (flags & MS_RDONLY) !== 0,
    },
  ];
  for (const point of new Set(v1.values())) {
    // Without rights to cgroups there is none of the container's: the caller's limits are its limits.
    const folder =
      own === undefined ? join(point, path) : join(point, own.find(([controllers]) => v1Point(v1, controllers) === point)?.[1] ?? '/');
    if (own !== undefined && !existsSync(folder)) continue;
    // What the guest wrote there would move or limit processes of the host.
    trees.push({ hostPath: guestText(folder), readOnly: true, shared: true });
    const tree = { tree: trees.length - 1, readOnly: true, exclusive: false, overlay: false, isFile: false, shownAs: 'cgroup' };
    const at = guestText(join(target, basename(point)));
    mounts.push({ target: at, type: 'bind', source: 'cgroup', flags: standard | MS_RDONLY, propagation: 0, data: '', tree });
  }
  return mounts;
}
