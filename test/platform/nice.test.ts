// What a guest's nice values do: on the host's own kernel, and on the platform that hands them on.
import { buildGuest } from '../support/guest.ts';
import { baseEnv, run } from '../support/processes.ts';
import { describe, sandboxed } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const reason = missing(['root', 'static-libc']);
const declare = unless(reason);
declare(`a process with a nice value steps back behind one without${reason === undefined ? '' : `: ${reason}`}`, async (t) => {
  t.timeout(60_000);
  const helper = await buildGuest('helper-nice');
  for (const argv of [[helper], sandboxed('systrap', [helper])]) {
    const result = await run(argv, { env: baseEnv() });
    t.is(result.stdout, 'nice 19: steps back\nSCHED_IDLE: steps back\n', describe('', argv, result));
  }
});
