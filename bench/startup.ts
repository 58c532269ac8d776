// How long it takes from the command to its end.
import { spawnSync } from 'node:child_process';
import type { Column } from './support/column.ts';
import type { Group } from './support/group.ts';

export const startup: Group = {
  name: 'startup',
  what: 'starting sandboxes and programs in them',
  rows: [{ name: 'do', what: 'do true', unit: 'ms', peer: 0.8 }],
  measure(column, wanted, sample) {
    if (wanted.has('do') && column.hasDo) sample('do', elapsedMs(column));
  },
};

function elapsedMs(column: Column): number {
  const [command, ...args] = column.command('true');
  const start = process.hrtime.bigint();
  const run = spawnSync(command!, args, { stdio: 'ignore', timeout: 60_000 });
  if (run.status !== 0) throw new Error(`${[command, ...args].join(' ')}: ${run.error?.message ?? run.signal ?? `status ${run.status}`}`);
  return Number(process.hrtime.bigint() - start) / 1e6;
}
