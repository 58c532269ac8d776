// /proc/keys and /proc/key-users: security/keys/proc.c.

import type { Key } from '../kernel/keys.ts';
import type { Task } from '../kernel/task.ts';

const NEED_VIEW = 1;
/** Seconds of the units that a time to expiry is told in. */
const UNITS: readonly (readonly [number, string])[] = [
  [60, 's'],
  [3600, 'm'],
  [86400, 'h'],
  [604800, 'd'],
];

/** The keys that the reader may view. */
export function keysText(t: Task): string {
  const { keys } = t.kernel;
  let text = '';
  for (const key of keys.all()) {
    if (!keys.permits(t, key, keys.isPossessed(t, key), NEED_VIEW)) continue;
    const flags = `I${key.revoked ? 'R' : '-'}-Q---`;
    const serial = key.serial.toString(16).padStart(8, '0');
    const perm = (key.perm >>> 0).toString(16).padStart(8, '0');
    const uid = t.creds.userns.uidFromKernel(key.uid);
    const gid = t.creds.userns.gidFromKernel(key.gid);
    text += `${serial} ${flags} ${pad(1, 5)} ${timeLeft(t, key).padStart(4)} ${perm} ${pad(uid, 5)} ${pad(gid, 5)} ${key.type.slice(0, 9).padEnd(9)} ${described(key)}\n`;
  }
  return text;
}

function pad(n: number, width: number): string {
  return String(n).padStart(width);
}

function timeLeft(t: Task, key: Key): string {
  if (key.expirySec === 0) return 'perm';
  const left = key.expirySec - t.kernel.clock.realtimeSec();
  if (left <= 0) return 'expd';
  let unit = 1;
  for (const [below, letter] of UNITS) {
    if (left < below) return `${Math.floor(left / unit)}${letter}`;
    unit = below;
  }
  return `${Math.floor(left / unit)}w`;
}

function described(key: Key): string {
  if (!key.isKeyring) return `${key.description}: ${key.payload.length}`;
  return `${key.description}: ${key.links.length === 0 ? 'empty' : key.links.length}`;
}

/** Users with keys: how many, and how much of their quota. */
export function keyUsersText(t: Task): string {
  const { keys, sysctls } = t.kernel;
  const counts = new Map<number, { keys: number; bytes: number }>();
  for (const key of keys.all()) {
    const of = counts.get(key.uid) ?? { keys: 0, bytes: 0 };
    of.keys++;
    of.bytes += key.description.length + 1 + key.payload.length;
    counts.set(key.uid, of);
  }
  let text = '';
  for (const [uid, of] of [...counts].sort((a, b) => a[0] - b[0])) {
    const root = uid === 0 ? 'root_' : '';
    const most = sysctls.int(`kernel.keys.${root}maxkeys`);
    const room = sysctls.int(`kernel.keys.${root}maxbytes`);
    text += `${pad(t.creds.userns.uidFromKernel(uid), 5)}: ${pad(of.keys, 5)} ${of.keys}/${of.keys} ${of.keys}/${most} ${of.bytes}/${room}\n`;
  }
  return text;
}
