// The processes of a paused container, whose Sentry answers nobody: as the process of --pid-file has shown them last.

import { readdirSync, readFileSync } from 'node:fs';
import type { ProcessInfo } from '../sentry/boot/control-protocol.ts';
import { RunscError } from './errors.ts';

/** USER_HZ: what times in /proc count. */
const TICK_NS = 1e7;

/** anchor: the host's number of the process that stands for the container. Throws where that one shows nothing. */
export function pausedProcesses(anchor: number): ProcessInfo[] {
  const proc = `/proc/${anchor}/root/proc`;
  const found: ProcessInfo[] = [];
  try {
    const uptimeNs = Number.parseFloat(readFileSync(`${proc}/uptime`, 'latin1')) * 1e9;
    for (const name of readdirSync(proc)) if (/^\d+$/.test(name)) found.push(readProcess(`${proc}/${name}`, uptimeNs));
  } catch (error) {
    throw new RunscError('listing the processes of a paused container: resume it first', error);
  }
  return found.sort((a, b) => a.pid - b.pid);
}

/** Fields by their numbers in proc_pid_stat(5). */
function readProcess(dir: string, uptimeNs: number): ProcessInfo {
  const stat = readFileSync(`${dir}/stat`, 'latin1');
  const nameEnd = stat.lastIndexOf(')');
  const rest = stat.slice(nameEnd + 2).split(' ');
  const field = (number: number): number => Number(rest[number - 3]);
  const uid = /^Uid:\s*(\d+)/m.exec(readFileSync(`${dir}/status`, 'latin1'))?.[1];
  return {
    pid: Number.parseInt(stat, 10),
    ppid: field(4),
    uid: Number(uid ?? 0),
    threads: field(20),
    command: stat.slice(stat.indexOf('(') + 1, nameEnd),
    cpuNs: (field(14) + field(15)) * TICK_NS,
    ageNs: Math.max(0, uptimeNs - field(22) * TICK_NS),
  };
}
