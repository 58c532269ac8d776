import test from 'ava';
import { buildGuest } from '../support/guest.ts';
import { baseEnv, run } from '../support/processes.ts';
import { describe, sandboxed } from '../support/sandbox.ts';

for (let seed = 1; seed <= 20; seed++) {
  test.serial(`a hundred thousand forged events of seed ${seed} harm nobody else in the sandbox`, async (t) => {
    t.timeout(300_000);
    const argv = sandboxed('systrap', [await buildGuest('helper-hostile'), 'fuzz', '100000', String(seed * 1000)]);
    const result = await run(argv, { env: baseEnv(), timeoutMs: 290_000 });
    t.is(result.status, 0, describe('in the sandbox', argv, result));
  });
}
