// The host's mounts as /proc/self/mountinfo lists them: proc_pid_mountinfo(5).

import { readFileSync } from 'node:fs';

interface HostMount {
  readonly point: string;
  readonly source: string;
}

let mounts: HostMount[] | undefined;

function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

function hostMounts(): HostMount[] {
  if (mounts !== undefined) return mounts;
  mounts = [];
  let text = '';
  try {
    text = readFileSync('/proc/self/mountinfo', 'utf8');
  } catch {
    // A caller without /proc: names are all that is lost.
  }
  for (const line of text.split('\n')) {
    const [left = '', right = ''] = line.split(' - ');
    const point = left.split(' ')[4];
    const source = right.split(' ')[1];
    if (point !== undefined && source !== undefined) mounts.push({ point: unescaped(point), source: unescaped(source) });
  }
  return mounts;
}

/** What a mount table names as the source of the file system that a resolved path is on: a device, "shm", "overlay". */
export function sourceOf(path: string): string {
  let best: HostMount | undefined;
  for (const mount of hostMounts()) {
    const { point } = mount;
    const covers = point === '/' || path === point || path.startsWith(`${point}/`);
    // The last of several at one place lies on top.
    if (covers && (best === undefined || point.length >= best.point.length)) best = mount;
  }
  return best?.source ?? 'none';
}
