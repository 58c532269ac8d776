// Containers made and unmade by commands that are killed at any moment: nothing of them is left on the host.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setChildSubreaper, waitPid } from 'ptrace-napi';
import { Bundle } from '../support/bundle.ts';
import { descendants } from '../support/processes.ts';
import { launcher } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const CYCLES = Number(process.env.RUNSC_SOAK_CYCLES ?? 500);
const AT_ONCE = 8;
/** Part of the commands that are killed. */
const KILLED = 0.25;
/** Longer than a create takes. */
const KILL_WITHIN_MS = 500;
/** How long what has been killed may take to be gone, in milliseconds. */
const PATIENCE_MS = 10_000;
const WNOHANG = 1;
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

/** Lives that a container may have; each command may be killed at any moment, so any of them may fail. */
const LIVES: readonly ((id: string) => string[][])[] = [
  (id) => [
    ['create', id],
    ['start', id],
    ['kill', id, 'KILL'],
    ['delete', id],
  ],
  (id) => [
    ['run', '--detach', id],
    ['exec', id, 'true'],
    ['exec', '--detach', id, 'sleep', '1000'],
    ['pause', id],
    ['resume', id],
    ['delete', '--force', id],
  ],
  (id) => [
    ['create', id],
    ['kill', id, 'KILL'],
    ['start', id],
    ['delete', id],
  ],
];

/** Mounts of the host below a folder. */
function mountsBelow(path: string): string[] {
  const lines = readFileSync('/proc/self/mountinfo', 'latin1').split('\n');
  return lines.filter((line) => line.includes(path));
}

/** Takes the ends of those whose parents were killed, which are ours then; those that still run. */
async function orphans(): Promise<string[]> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    while (waitPid(-1, WNOHANG)[0] > 0);
    const left = descendants(process.pid);
    if (left.length === 0 || Date.now() > until) return left.map((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1'));
    await sleep(100);
  }
}

unless(reason)('create, start, kill and delete, killed at random, leave nothing', async (t) => {
  t.timeout(3_600_000);
  const bundle = new Bundle('sleep 1000').write();
  t.teardown(() => bundle.remove());
  setChildSubreaper(1);
  let next = 0;
  const cycle = async (): Promise<void> => {
    while (next < CYCLES) {
      const id = `${PREFIX}${next}`;
      for (const words of LIVES[next++ % LIVES.length]!(id)) await command(bundle, words, Math.random() < KILLED);
      t.is(await command(bundle, ['delete', '--force', id], false), 0, id);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, cycle));
  t.deepEqual(await orphans(), []);
  t.deepEqual(existsSync(bundle.root) ? readdirSync(bundle.root) : [], []);
  t.deepEqual(cgroups(), []);
  t.deepEqual(mountsBelow(bundle.path), []);
});
