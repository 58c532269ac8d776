// `runsc update`: other limits for a running container's cgroup.

import { readFileSync } from 'node:fs';
import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { RunscError } from '../errors.ts';
import { Field } from '../field.ts';
import type { FlagValues } from '../flags.ts';
import { checkResources, type Resources } from '../resources.ts';

export function run({ config, flags, args }: Invocation): number {
  const container = Container.load(config, args[0]!);
  const resources = resourcesOf(flags);
  container.locked(() => {
    const { status } = container;
    if (status === 'stopped') throw new RunscError(`container "${args[0]}" is not running`);
    const cgroup = container.cgroup();
    if (cgroup === undefined) throw new RunscError(`container "${args[0]}" has no cgroup`);
    cgroup.apply(resources);
    const { limit } = resources.memory;
    const tasks = resources.pids.limit;
    const changed = (n: number | undefined): number | null | undefined => (n === undefined || n === 0 ? undefined : n < 0 ? null : n);
    // A paused Sentry hears of it when it goes on.
    const client = container.connect();
    client.send({ method: 'limits', memoryBytes: changed(limit), tasks: changed(tasks) });
    client.close();
  });
  return 0;
}

function resourcesOf(flags: FlagValues): Resources {
  const file = flags.string('resources');
  const base = file === undefined ? checkResources(new Field('--resources', undefined)) : readResources(file);
  const n = (name: string): number | undefined => integer(name, flags.string(name));
  const bytes = (name: string): number | undefined => size(name, flags.string(name));
  const { memory, cpu } = base;
  return {
    ...base,
    memory: {
      ...memory,
      limit: bytes('memory') ?? memory.limit,
      reservation: bytes('memory-reservation') ?? memory.reservation,
      swap: bytes('memory-swap') ?? memory.swap,
    },
    cpu: {
      shares: n('cpu-share') ?? cpu.shares,
      quota: n('cpu-quota') ?? cpu.quota,
      period: n('cpu-period') ?? cpu.period,
      burst: n('cpu-burst') ?? cpu.burst,
      idle: n('cpu-idle') ?? cpu.idle,
      realtimeRuntime: n('cpu-rt-runtime') ?? cpu.realtimeRuntime,
      realtimePeriod: n('cpu-rt-period') ?? cpu.realtimePeriod,
      cpus: flags.string('cpuset-cpus') ?? cpu.cpus,
      mems: flags.string('cpuset-mems') ?? cpu.mems,
    },
    pids: { limit: n('pids-limit') ?? base.pids.limit },
    blockIO: { ...base.blockIO, weight: n('blkio-weight') ?? base.blockIO.weight },
  };
}

function readResources(file: string): Resources {
  try {
    return checkResources(Field.parse(file, readFileSync(file === '-' ? 0 : file, 'utf8')));
  } catch (error) {
    throw error instanceof RunscError ? error : new RunscError(`opening ${file}`, error);
  }
}

function integer(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (!/^-?\d+$/.test(text)) throw new RunscError(`--${name} ${text}`, 'must be a whole number');
  return Number(text);
}

/** Bytes, with docker's units: 512m, 2g. */
function size(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  const match = /^(-?\d+)([bkmgt]?)b?$/i.exec(text);
  if (match === null) throw new RunscError(`--${name} ${text}`, 'must be a size such as 512m');
  return Number(match[1]) * 1024 ** 'bkmgt'.indexOf(match[2]!.toLowerCase() || 'b');
}
