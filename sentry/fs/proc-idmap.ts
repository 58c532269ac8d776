// uid_map, gid_map, projid_map and setgroups: kernel/user_namespace.c:map_write(),
// proc_setgroups_write(). user_namespaces(7), "User and group ID mappings".

import { EINVAL, EPERM } from '../abi/errno.ts';
import { CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN } from '../abi/sched.ts';
import type { Task } from '../kernel/task.ts';
import type { IdRange, UserNamespace } from '../kernel/user-namespace.ts';

/** UID_GID_MAP_MAX_EXTENTS. */
const MAX_RANGES = 340;
const MAX_ID = 0xffffffff;
const PAGE = 4096;

/** One "inside outside count" line a range, the outside ids as the reader's namespace names them. */
export function idMapText(t: Task, ns: UserNamespace, isUid: boolean): string {
  const map = ns.parent === null ? (isUid ? ns.hostUids : ns.hostGids) : isUid ? ns.uidMap : ns.gidMap;
  if (ns.parent === null && map === null) return row(0, 0, MAX_ID);
  let text = '';
  for (const range of map ?? []) text += row(range.inside, shownOutside(t, ns, range, isUid), range.count);
  return text;
}

function row(inside: number, outside: number, count: number): string {
  return `${String(inside).padStart(10)} ${String(outside).padStart(10)} ${String(count).padStart(10)}\n`;
}

/** The lower ids are those of the parent for a reader inside, else of the reader's namespace. */
function shownOutside(t: Task, ns: UserNamespace, range: IdRange, isUid: boolean): number {
  const reader = t.creds.userns;
  if (reader === ns || ns.parent === null || reader === ns.parent) return range.outside;
  const id = isUid ? ns.parent.uidToKernel(range.outside) : ns.parent.gidToKernel(range.outside);
  return isUid ? reader.uidFromKernel(id) : reader.gidFromKernel(id);
}

/** A write to uid_map or gid_map. */
export function writeIdMap(t: Task, ns: UserNamespace, data: string, offset: number, isUid: boolean): number {
  const creds = t.creds;
  if (ns.parent === null) return -EPERM;
  if (creds.userns !== ns && creds.userns !== ns.parent) return -EPERM;
  // "the single write must start at the beginning of the file" and fit a page.
  if (offset !== 0 || data.length >= PAGE) return -EINVAL;
  // A mapping is set once.
  if ((isUid ? ns.uidMap : ns.gidMap) !== null) return -EPERM;
  if (!creds.capableIn(ns, CAP_SYS_ADMIN)) return -EPERM;
  const ranges = parseRanges(data);
  if (ranges === undefined) return -EINVAL;
  if (!mayMap(t, ns, ranges, isUid)) return -EPERM;
  for (const range of ranges) {
    if (!parentCovers(ns.parent, range, isUid)) return -EPERM;
  }
  if (isUid) ns.uidMap = ranges;
  else ns.gidMap = ranges;
  return data.length;
}

function parseRanges(data: string): IdRange[] | undefined {
  const text = data.endsWith('\0') ? data.slice(0, data.indexOf('\0')) : data;
  const lines = text.split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  if (lines.length === 0 || lines.length > MAX_RANGES) return undefined;
  const ranges: IdRange[] = [];
  for (const line of lines) {
    const match = /^\s*(\d+)\s+(\d+)\s+(\d+)\s*$/.exec(line);
    if (match === null) return undefined;
    const range: IdRange = { inside: Number(match[1]), outside: Number(match[2]), count: Number(match[3]) };
    if (range.inside >= MAX_ID || range.outside >= MAX_ID || range.count === 0) return undefined;
    if (range.inside + range.count > MAX_ID || range.outside + range.count > MAX_ID) return undefined;
    if (ranges.some((other) => overlaps(range, other))) return undefined;
    ranges.push(range);
  }
  return ranges;
}

function overlaps(a: IdRange, b: IdRange): boolean {
  const inside = a.inside < b.inside + b.count && b.inside < a.inside + a.count;
  const outside = a.outside < b.outside + b.count && b.outside < a.outside + a.count;
  return inside || outside;
}

/** new_idmap_permitted(). */
function mayMap(t: Task, ns: UserNamespace, ranges: readonly IdRange[], isUid: boolean): boolean {
  const creds = t.creds;
  const parent = ns.parent!;
  const only = ranges.length === 1 ? ranges[0]! : undefined;
  if (only !== undefined && only.count === 1 && ns.owner === creds.euid) {
    if (isUid && parent.uidToKernel(only.outside) === creds.euid) return true;
    if (!isUid && !ns.setgroupsAllowed && parent.gidToKernel(only.outside) === creds.egid) return true;
  }
  return creds.capableIn(parent, isUid ? CAP_SETUID : CAP_SETGID);
}

function parentCovers(parent: UserNamespace, range: IdRange, isUid: boolean): boolean {
  if (parent.parent === null) return true;
  const map = isUid ? parent.uidMap : parent.gidMap;
  return map?.some((r) => range.outside >= r.inside && range.outside + range.count <= r.inside + r.count) === true;
}

export function setgroupsText(ns: UserNamespace): string {
  return ns.setgroupsAllowed ? 'allow\n' : 'deny\n';
}

/** "deny" may be written until gid_map is; there is no way back to "allow". */
export function writeSetgroups(t: Task, ns: UserNamespace, data: string, offset: number): number {
  if (offset !== 0 || data.length > 8) return -EINVAL;
  const word = data.replace(/\0.*$/, '').trimEnd();
  if (word !== 'allow' && word !== 'deny') return -EINVAL;
  if (!t.creds.capableIn(ns, CAP_SYS_ADMIN)) return -EPERM;
  if (word === 'allow') return ns.setgroupsAllowed ? data.length : -EPERM;
  if (ns.gidMap !== null || ns.parent === null) return -EPERM;
  ns.setgroupsAllowed = false;
  return data.length;
}
