// How cost grows with numbers, measured inside by bench/guest/grow.c; containers from outside. A row's time is that of one operation
// with all of them at work, so that rows of one kind are to be compared with each other as well.
import { Bundle } from './support/container.ts';
import type { Group, Row } from './support/group.ts';
import { buildGuest, sampleLines } from './support/guest-program.ts';

const CONTAINERS = [1, 4, 16, 64];

let bundle: Bundle | undefined;

export const growth: Group = {
  name: 'growth',
  what: 'how cost grows with threads, processes, open files and containers',
  rows: [
    ...[1, 16, 256].map((n): Row => ({ name: `threads-${n}`, what: `a byte through a pipe, ${n} threads at it`, unit: 'ns' })),
    ...[1, 8, 64].map((n): Row => ({ name: `processes-${n}`, what: `a byte through a pipe, ${n} processes at it`, unit: 'ns' })),
    ...[10, 100, 1000, 10_000].map((n): Row => ({ name: `files-${n}`, what: `open, fstat, close with ${n} files open`, unit: 'ns' })),
    ...CONTAINERS.map((n): Row => ({ name: `containers-${n}`, what: `run of a bundle, ${n} at once, each`, unit: 'ms' })),
  ],
  maxRounds: 3,
  async measure(column, wanted, sample) {
    if (column.hasDo) {
      // One after another, so that a runtime which cannot do the largest shows the others.
      for (const row of wanted) if (!row.startsWith('containers')) sampleLines(column, [buildGuest('grow'), row], wanted, sample);
    }
    if (column.kind === 'native' || process.getuid!() !== 0) return;
    for (const n of CONTAINERS) {
      if (!wanted.has(`containers-${n}`)) continue;
      bundle ??= new Bundle();
      sample(`containers-${n}`, await bundle.runMany(column, n));
    }
  },
  dispose() {
    bundle?.dispose();
    bundle = undefined;
  },
};
