// A host that lets a sandbox have no more processes: guests hear of it as Linux would tell them.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildGuest } from '../support/guest.ts';
import { baseEnv, run } from '../support/processes.ts';
import { describe, platforms, sandboxed } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

/** Enough for the Sentry, the gofer and the command, each a Node of a dozen threads, and for some guests. */
const PIDS = 80;
const V1 = '/sys/fs/cgroup/pids';
const V2 = '/sys/fs/cgroup';

function parent(): string | undefined {
  if (existsSync(`${V1}/cgroup.procs`)) return V1;
  return existsSync(`${V2}/cgroup.controllers`) &&
    execFileSync('cat', [`${V2}/cgroup.subtree_control`], { encoding: 'utf8' }).includes('pids')
    ? V2
    : undefined;
}

/** Once the last process has left it. */
async function remove(cgroup: string): Promise<void> {
  for (let tries = 0; tries < 50; tries++) {
    try {
      rmdirSync(cgroup);
      return;
    } catch {
      await sleep(100);
    }
  }
}

const EXPECTED = [
  'fork: EAGAIN',
  'vfork is EAGAIN or ok: 1',
  'pthread_create is EAGAIN or ok: 1',
  'children that have ended: 0',
  'new processes: 1, killed at exec: 0',
  'all others ended by the signal: 1',
  '',
].join('\n');

const reason = missing(['root', 'static-libc']) ?? (parent() === undefined ? 'no cgroup counts processes here' : undefined);
const declare = unless(reason);
for (const platform of ['native', ...platforms] as const) {
  declare(
    `processes that the host refuses are EAGAIN, and nobody dies of it (${platform})${reason === undefined ? '' : `: ${reason}`}`,
    async (t) => {
      t.timeout(60_000);
      const helper = await buildGuest('helper-full-host');
      const cgroup = `${parent()!}/runsc-test-${process.pid}-${platform}`;
      mkdirSync(cgroup);
      try {
        writeFileSync(`${cgroup}/pids.max`, String(PIDS));
        const inner = platform === 'native' ? [helper] : sandboxed(platform, [helper], ['--ignore-cgroups']);
        const argv = ['sh', '-c', `echo $$ >${cgroup}/cgroup.procs; exec "$@"`, 'sh', ...inner];
        const result = await run(argv, { env: baseEnv() });
        t.is(result.stdout, EXPECTED, describe('', argv, result));
      } finally {
        await remove(cgroup);
      }
    },
  );
}
