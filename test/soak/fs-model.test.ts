// A million random operations on each kind of file system, compared with a model in memory: test/guest/fs-model.c.
import { mkdtempSync, rmSync } from 'node:fs';
import test from 'ava';
import { buildGuest } from '../support/guest.ts';
import { baseEnv, run } from '../support/processes.ts';
import { describe, launcher, platforms } from '../support/sandbox.ts';

const SEEDS = 10;
const OPERATIONS = 100_000;

interface Kind {
  name: string;
  /** Flags before and after `do`, and where the program works, for a folder of the host. */
  flags(folder: string): { runsc: string[]; do: string[]; at: string };
}

const kinds: Kind[] = [
  { name: 'tmpfs', flags: () => ({ runsc: [], do: [], at: 'tmpfs' }) },
  { name: 'an overlay', flags: (folder) => ({ runsc: [], do: [], at: folder }) },
  {
    name: 'a folder of the host',
    flags: (folder) => ({ runsc: ['--file-access-mounts=exclusive'], do: ['-v', `${folder}:/mnt`], at: '/mnt' }),
  },
  { name: 'a folder that others change too', flags: (folder) => ({ runsc: [], do: ['-v', `${folder}:/mnt`], at: '/mnt' }) },
];

for (const kind of kinds) {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const platform = platforms[seed % platforms.length]!;
    test.serial(`a hundred thousand operations of seed ${seed} on ${kind.name} (${platform})`, async (t) => {
      t.timeout(900_000);
      const folder = mkdtempSync('/var/tmp/runsc-model-');
      t.teardown(() => rmSync(folder, { recursive: true, force: true }));
      const flags = kind.flags(folder);
      const program = [await buildGuest('fs-model'), flags.at, `${seed}`, `${OPERATIONS}`];
      const argv = [launcher, `--platform=${platform}`, ...flags.runsc, 'do', ...flags.do, '--', ...program];
      const result = await run(argv, { env: baseEnv(), timeoutMs: 890_000 });
      t.is(result.stdout, `${OPERATIONS} operations: no difference\n`, describe('in the sandbox', argv, result));
    });
  }
}
