// Namespaces of running processes, read from /proc.

import { readdirSync, readlinkSync } from 'node:fs';

function pidNamespaceOf(pid: number | string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/pid`);
  } catch {
    return undefined;
  }
}

/** Host numbers of all processes in a process's pid namespace: a Sentry and its stubs. */
export function processesInNamespaceOf(pid: number): number[] {
  const namespace = pidNamespaceOf(pid);
  // Never our own: a Sentry that has died meanwhile must not make us stop the host.
  if (namespace === undefined || namespace === pidNamespaceOf('self')) return [];
  const found: number[] = [];
  for (const name of readdirSync('/proc')) if (/^\d+$/.test(name) && pidNamespaceOf(name) === namespace) found.push(Number(name));
  return found;
}
