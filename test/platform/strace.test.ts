// Calls that the stub could answer by itself are to be seen nevertheless when somebody wants to see calls.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildGuest } from '../support/guest.ts';
import { baseEnv, run } from '../support/processes.ts';
import { describe, sandboxed } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const ROUNDS = 30;

const reason = missing(['root', 'static-libc']);
const declare = unless(reason);
declare(`--strace shows every call, also those that need no kernel${reason === undefined ? '' : ` (${reason})`}`, async (t) => {
  t.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'runsc-strace-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const log = join(folder, 'calls.log');
  const argv = sandboxed('systrap', [await buildGuest('fixed-answers'), '--ids', '0'], ['--strace', `--debug-log=${log}`]);
  const result = await run(argv, { env: baseEnv() });
  t.is(result.status, 0, describe('in the sandbox', argv, result));
  const text = readFileSync(log, 'latin1');
  for (const name of ['getpid', 'gettid', 'getuid', 'sched_yield', 'futex', 'clock_gettime', 'gettimeofday', 'time']) {
    const lines = text.match(new RegExp(`\\b${name}\\(`, 'g'))?.length ?? 0;
    t.true(lines >= ROUNDS, `${name} is there ${lines} times, not ${ROUNDS}`);
  }
});
