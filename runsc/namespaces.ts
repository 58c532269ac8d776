// Namespaces of running processes, read from /proc.

import { openSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { CLONE_NEWNET, CLONE_NEWUTS } from '../sentry/abi/sched.ts';
import { errnoText, RunscError } from './errors.ts';
import { closeFd, setns } from './host.ts';

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

/** The host's number of a process by the one that it has in another's pid namespace. undefined: there is none. */
export function hostNumberOf(pid: number, inNamespaceOf: number): number | undefined {
  return processesInNamespaceOf(inNamespaceOf).find((host) => {
    try {
      const line = /^NSpid:\s*(.*)$/m.exec(readFileSync(`/proc/${host}/status`, 'latin1'));
      return Number(line?.[1]?.split(/\s+/).at(-1)) === pid;
    } catch {
      return false;
    }
  });
}

/** Whether we are in a user namespace other than the host's, which alone maps all ids: user_namespaces(7). */
export function inUserNamespace(): boolean {
  try {
    return !/^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'latin1'));
  } catch {
    return false;
  }
}

/** Whether the file stands for the namespace that we are in ourselves. kind: as in /proc/self/ns. */
export function isOwnNamespace(path: string, kind: string): boolean {
  const own = namespaceId(`/proc/self/ns/${kind}`);
  return own !== undefined && own === namespaceId(path);
}

/** "dev:ino" of a namespace file; undefined where there is none, or that of another's process. */
export function namespaceId(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

/** The host name of a UTS namespace, which is entered for the moment that it takes to ask. */
export function hostnameIn(path: string): string {
  const own = openNamespace('/proc/thread-self/ns/uts', 'own UTS');
  const other = openNamespace(path, 'UTS');
  try {
    const entered = setns(other, CLONE_NEWUTS);
    if (entered < 0) throw new RunscError(`entering the UTS namespace ${path}`, errnoText(entered));
    return hostname();
  } finally {
    setns(own, CLONE_NEWUTS);
    closeFd(own);
    closeFd(other);
  }
}

/** Does something in another network namespace; processes that it forks stay there. */
export function inNetwork(path: string, work: () => void): void {
  const other = openNamespace(path, 'network');
  let own = -1;
  try {
    own = openNamespace('/proc/thread-self/ns/net', 'own network');
    enterNetwork(other, path);
    try {
      work();
    } finally {
      enterNetwork(own, 'of our own');
    }
  } finally {
    closeFd(other);
    if (own >= 0) closeFd(own);
  }
}

function enterNetwork(fd: number, what: string): void {
  const entered = setns(fd, CLONE_NEWNET);
  if (entered < 0) throw new RunscError(`entering the network namespace ${what}`, errnoText(entered));
}

/** Opens a namespace file such as /proc/7/ns/net. */
export function openNamespace(path: string, kind: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw new RunscError(`opening the ${kind} namespace ${path}`, error);
  }
}
