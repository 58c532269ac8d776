// What part of its CPU time the Sentry spends on collecting garbage, as the debug log tells at a sandbox's end. The collector's pauses
// are measured by the clock, so that on a machine with other work the part is told too high.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Column } from './support/column.ts';
import { type Group, Unavailable } from './support/group.ts';
import { buildGuest } from './support/guest-program.ts';

export const gc: Group = {
  name: 'gc',
  what: "the garbage collector's part of the Sentry's CPU time",
  rows: [
    { name: 'same', what: 'garbage while the same file is looked up, opened and read', unit: '%' },
    { name: 'calls', what: 'garbage while files are found, opened and listed for the first time', unit: '%' },
    { name: 'processes', what: 'garbage while processes are forked and start programs', unit: '%' },
  ],
  maxRounds: 3,
  measure(column, wanted, sample) {
    if (column.kind !== 'ours') return;
    const ub = buildGuest('ub');
    if (wanted.has('same'))
      sample('same', share(column, ['sh', '-c', `for i in 1 2 3 4 5 6 7 8; do ${ub} stat open-close fstat pread-4k pwrite-4k; done`]));
    if (wanted.has('calls')) sample('calls', share(column, ['find', '/usr/share', '-size', '+1']));
    if (wanted.has('processes'))
      sample('processes', share(column, ['sh', '-c', 'i=0; while [ $i -lt 300 ]; do /bin/true; i=$((i+1)); done']));
  },
};

/** Percent. */
function share(column: Column, program: readonly string[]): number {
  const dir = mkdtempSync(join(tmpdir(), 'runsc-bench-'));
  try {
    const logged = new Column(column.name, column.kind, [...column.runtime, '--debug', '--debug-log', `${dir}/`], true);
    logged.output(['sh', '-c', '"$@" >/dev/null 2>&1; true', 'sh', ...program]);
    for (const name of readdirSync(dir)) {
      const told = /garbage: \d+ collections, ([\d.]+) ms of ([\d.]+) ms CPU time/.exec(readFileSync(join(dir, name), 'utf8'));
      if (told !== null) return (Number(told[1]) / Number(told[2])) * 100;
    }
    throw new Unavailable('the debug log does not tell of garbage');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
