import type { Group } from './support/group.ts';
import { idleMemory } from './support/private-memory.ts';

export const memory: Group = {
  name: 'memory',
  what: 'private memory of an idle sandbox',
  rows: [{ name: 'idle', what: 'private memory while `sleep` runs', unit: 'MiB', peer: 1 }],
  maxRounds: 1,
  async measure(column, _wanted, sample) {
    if (column.kind === 'native') return;
    const mebibytes = await idleMemory(column.command('sleep', '4'));
    if (mebibytes !== undefined) sample('idle', mebibytes);
  },
};
