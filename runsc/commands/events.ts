// `runsc events`: what the sandbox's cgroup has counted, in runc's form.

import type { Cgroup } from '../cgroup.ts';
import type { Invocation } from '../cli.ts';
import { Container, sleepMs } from '../container.ts';
import { RunscError } from '../errors.ts';
import { print } from '../output.ts';
import { StateDir } from '../state-file.ts';

export function run({ config, flags, args }: Invocation): number {
  const interval = durationMs(flags.string('interval') ?? '5s');
  const id = args[0]!;
  const container = Container.load(config, id);
  if (container.status === 'stopped') throw new RunscError(`container "${id}" is not running`);
  if (flags.on('stats')) {
    tell({ type: 'stats', id, data: statsOf(container) });
    return 0;
  }
  const cgroup = container.cgroup();
  let kills = oomKills(cgroup);
  const isOver = (): boolean => container.status === 'stopped' || !new StateDir(config.root, id).exists();
  for (let next = Date.now(); !isOver(); ) {
    if (Date.now() >= next) {
      tell({ type: 'stats', id, data: statsOf(container) });
      next = Date.now() + interval;
    }
    sleepMs(Math.max(1, Math.min(OOM_POLL_MS, next - Date.now())));
    const now = oomKills(cgroup);
    if (now > kills) tell({ type: 'oom', id });
    kills = now;
  }
  return 0;
}

/** How soon a process that the host has killed for want of memory is told of. */
const OOM_POLL_MS = 200;

function tell(event: object): void {
  print(`${JSON.stringify(event)}\n`);
}

/** Processes of the container that the host has killed for want of memory so far. */
function oomKills(cgroup: Cgroup | undefined): number {
  const text = cgroup?.read('memory', 'memory.oom_control') ?? cgroup?.read('memory', 'memory.events');
  return words(text).get('oom_kill') ?? 0;
}

/** Go's notation: "5s", "1m30s", "250ms". */
export function durationMs(text: string): number {
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const total = parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit!]!, 0);
  if (parts.map((p) => p[0]).join('') !== text || total <= 0) throw new RunscError(`--interval ${text}`, 'must be a duration such as 5s');
  return total;
}

export function statsOf(container: Container): object {
  const cgroup = container.cgroup();
  const cpu = cpuUsage(cgroup) ?? sentryCpu(container);
  const memory = memoryUsage(cgroup);
  return {
    cpu: { usage: cpu, throttling: {} },
    cpuset: {},
    memory,
    pids: { current: number(cgroup?.read('pids', 'pids.current')), limit: number(cgroup?.read('pids', 'pids.max')) },
    blkio: {},
    hugetlb: {},
    intel_rdt: {},
    network_interfaces: null,
  };
}

/** "max" and what is missing are 0: no limit. */
function number(text: string | undefined): number {
  const n = Number(text);
  return text === undefined || Number.isNaN(n) ? 0 : n;
}

function words(text: string | undefined): Map<string, number> {
  return new Map((text ?? '').split('\n').map((line) => [line.split(' ')[0]!, Number(line.split(' ')[1])]));
}

function cpuUsage(cgroup: Cgroup | undefined): object | undefined {
  if (cgroup === undefined) return undefined;
  const stat = words(cgroup.read('cpu', 'cpu.stat'));
  const usec = stat.get('usage_usec');
  if (usec !== undefined)
    return { total: usec * 1000, user: (stat.get('user_usec') ?? 0) * 1000, kernel: (stat.get('system_usec') ?? 0) * 1000 };
  const total = cgroup.read('cpuacct', 'cpuacct.usage');
  if (total === undefined) return undefined;
  const user = number(cgroup.read('cpuacct', 'cpuacct.usage_user'));
  return { total: Number(total), user, kernel: Number(total) - user };
}

function sentryCpu(container: Container): object {
  const client = container.connect();
  const { cpuNs } = client.ask<{ cpuNs: number }>('asking the Sentry', { method: 'stats' });
  client.close();
  return { total: cpuNs, user: cpuNs, kernel: 0 };
}

function memoryUsage(cgroup: Cgroup | undefined): object {
  const v1 = cgroup?.read('memory', 'memory.usage_in_bytes') !== undefined;
  const usage = number(cgroup?.read('memory', v1 ? 'memory.usage_in_bytes' : 'memory.current'));
  const limit = number(cgroup?.read('memory', v1 ? 'memory.limit_in_bytes' : 'memory.max'));
  const stat = words(cgroup?.read('memory', 'memory.stat'));
  const swap = number(cgroup?.read('memory', v1 ? 'memory.memsw.usage_in_bytes' : 'memory.swap.current'));
  const raw = Object.fromEntries([...stat].filter(([name, value]) => name !== '' && !Number.isNaN(value)));
  const count = (n: number): object => ({ limit: 0, usage: n, failcnt: 0 });
  return {
    cache: stat.get('cache') ?? stat.get('file') ?? 0,
    usage: { limit, usage, failcnt: number(cgroup?.read('memory', 'memory.failcnt')) },
    swap: count(swap),
    kernel: count(0),
    kernelTCP: count(0),
    raw,
  };
}
