// dockerd and containerd on this runtime: the scripts beside this file, each with a daemon of its own. Only
// `npm run test:integration` has the time.
import { join } from 'node:path';
import test from 'ava';
import { baseEnv, run } from '../support/processes.ts';
import { launcher } from '../support/sandbox.ts';

const full = process.env.RUNSC_TEST_INTEGRATION === '1';

for (const script of ['docker.sh', 'containerd.sh']) {
  if (!full) {
    test.skip(`${script} (part of npm run test:integration)`, () => {});
    continue;
  }
  test.serial(script, async (t) => {
    t.timeout(1_200_000);
    const env = { ...baseEnv(), RUNSC: launcher, RUNSC_TEST_INTEGRATION: '1' };
    const result = await run(['bash', join(import.meta.dirname, script)], { env, timeoutMs: 1_190_000 });
    if (result.stdout.startsWith('skip:')) t.log(result.stdout.trim());
    t.is(result.status, 0, `${result.stdout}${result.stderr}`);
  });
}
