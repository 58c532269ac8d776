// Id maps of user namespaces: what /proc/PID/uid_map and gid_map are told.

import { readFileSync, writeFileSync } from 'node:fs';
import { RunscError } from './errors.ts';
import { spawnSync } from './host-program.ts';

/** OCI's linux.uidMappings entry. */
export interface IdMap {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
}

/** Root inside is `id` outside, and nobody else exists. */
export function oneId(id: number): IdMap[] {
  return [{ containerID: 0, hostID: id, size: 1 }];
}

export function idMapText(map: readonly IdMap[]): string {
  return map.map((m) => `${m.containerID} ${m.hostID} ${m.size}\n`).join('');
}

/** The maps of a process's user namespace; of another one than ours, in our ids: user_namespaces(7). */
export function idMapsOf(pid: number | 'self'): { uid: IdMap[]; gid: IdMap[] } {
  return { uid: readIdMap(pid, 'uid'), gid: readIdMap(pid, 'gid') };
}

/** Whether two maps say the same, line for line. */
export function sameIdMap(a: readonly IdMap[], b: readonly IdMap[]): boolean {
  return idMapText(a) === idMapText(b);
}

function readIdMap(pid: number | 'self', kind: string): IdMap[] {
  const map: IdMap[] = [];
  for (const line of readFileSync(`/proc/${pid}/${kind}_map`, 'latin1').split('\n')) {
    const [containerID, hostID, size] = line.trim().split(/\s+/).map(Number);
    if (size !== undefined && !Number.isNaN(size)) map.push({ containerID: containerID!, hostID: hostID!, size });
  }
  return map;
}

/**
 * Gives a fresh user namespace its maps. An ordinary user may map only the own ids by itself; ranges go through
 * newuidmap and newgidmap, which look into /etc/subuid: user_namespaces(7).
 */
export function writeIdMaps(pid: number, uid: readonly IdMap[], gid: readonly IdMap[]): void {
  const single = uid.length === 1 && uid[0]!.size === 1 && gid.length === 1 && gid[0]!.size === 1;
  if (process.geteuid!() !== 0) {
    if (!single) {
      runMapper('newuidmap', pid, uid);
      runMapper('newgidmap', pid, gid);
      return;
    }
    // Without this an unprivileged gid_map is refused: Linux 3.19.
    writeFileSync(`/proc/${pid}/setgroups`, 'deny');
  }
  writeFileSync(`/proc/${pid}/uid_map`, idMapText(uid));
  writeFileSync(`/proc/${pid}/gid_map`, idMapText(gid));
}

function runMapper(program: string, pid: number, map: readonly IdMap[]): void {
  const words = map.flatMap((m) => [String(m.containerID), String(m.hostID), String(m.size)]);
  const done = spawnSync(program, [String(pid), ...words], { encoding: 'utf8' });
  if (done.error !== undefined) throw new RunscError(`running ${program}`, done.error);
  if (done.status !== 0) throw new RunscError(`${program} refused the ranges of /etc/sub${program.slice(3, 6)}`, done.stderr.trim());
}
