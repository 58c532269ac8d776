// Containers made and unmade by commands that are killed at any moment: nothing of them is left on the host.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Bundle } from '../support/bundle.ts';
import { launcher } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const CYCLES = 500;
const AT_ONCE = 8;
/** Part of the commands that are killed. */
const KILLED = 0.25;
/** Longer than a create takes. */
const KILL_WITHIN_MS = 500;
const PREFIX = 'runsc-cycle-';

const reason = missing(['root']);

function command(bundle: Bundle, words: string[], kill: boolean): Promise<number | null> {
  const child = spawn(launcher, ['--root', bundle.root, ...words], { cwd: bundle.path, stdio: 'ignore' });
  if (kill) setTimeout(() => child.kill('SIGKILL'), Math.random() * KILL_WITHIN_MS);
  return new Promise((resolve) => {
    child.on('exit', (code) => resolve(code));
  });
}

/** Folders of our containers in all hierarchies. */
function cgroups(): string[] {
  const found: string[] = [];
  for (const hierarchy of ['', ...readdirSync('/sys/fs/cgroup')]) {
    const dir = join('/sys/fs/cgroup', hierarchy);
    try {
      for (const name of readdirSync(dir)) if (name.startsWith(PREFIX)) found.push(join(dir, name));
    } catch {
      // A file of a version 2 hierarchy.
    }
  }
  return found;
}

unless(reason)('create, start, kill and delete, killed at random, leave nothing', async (t) => {
  t.timeout(3_600_000);
  const bundle = new Bundle('sleep 1000').write();
  t.teardown(() => bundle.remove());
  let next = 0;
  const cycle = async (): Promise<void> => {
    while (next < CYCLES) {
      const id = `${PREFIX}${next++}`;
      for (const words of [
        ['create', id],
        ['start', id],
        ['kill', id, 'KILL'],
        ['delete', id],
      ])
        await command(bundle, words, Math.random() < KILLED);
      t.is(await command(bundle, ['delete', '--force', id], false), 0, id);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, cycle));
  // What the last ones have started ends with them, a moment later.
  await sleep(2000);
  t.deepEqual(existsSync(bundle.root) ? readdirSync(bundle.root) : [], []);
  t.deepEqual(cgroups(), []);
});
