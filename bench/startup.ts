// How long it takes from a command to its end: sandboxes, containers, and programs in a running one.
import { spawnSync } from 'node:child_process';
import type { Column } from './support/column.ts';
import { Bundle } from './support/container.ts';
import { type Group, Unavailable } from './support/group.ts';

let bundle: Bundle | undefined;

export const startup: Group = {
  name: 'startup',
  what: 'starting sandboxes, containers, and programs in them',
  rows: [
    { name: 'do', what: 'do true', unit: 'ms', peer: 0.8 },
    { name: 'run', what: 'run of a bundle whose program ends at once', unit: 'ms', peer: 0.8 },
    { name: 'exec', what: 'exec of a program that ends at once', unit: 'ms' },
    { name: 'at-once', what: '32 runs at once, each', unit: 'ms' },
  ],
  async measure(column, wanted, sample) {
    if (wanted.has('do') && column.hasDo) sample('do', elapsedMs(column));
    if (column.kind === 'native' || process.getuid!() !== 0) return;
    bundle ??= new Bundle();
    if (wanted.has('run')) sample('run', bundle.run(column));
    if (wanted.has('exec')) sample('exec', await bundle.exec(column));
    if (wanted.has('at-once')) sample('at-once', await bundle.runMany(column, 32));
  },
  dispose() {
    bundle?.dispose();
    bundle = undefined;
  },
};

function elapsedMs(column: Column): number {
  const [command, ...args] = column.command('true');
  const start = process.hrtime.bigint();
  const run = spawnSync(command!, args, { stdio: 'ignore', timeout: 60_000 });
  if (run.error !== undefined) throw new Unavailable(run.error.message);
  if (run.status !== 0) throw new Error(`${[command, ...args].join(' ')}: ${run.signal ?? `status ${run.status}`}`);
  return Number(process.hrtime.bigint() - start) / 1e6;
}
