// Guests that attack their own stub: whatever becomes of them, the others in the sandbox must not notice.
import { buildGuest } from '../support/guest.ts';
import { baseEnv, run } from '../support/processes.ts';
import { describe, sandboxed } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const ATTACKS = [
  'opens',
  'unmaps-the-window',
  'makes-the-stub-writable',
  'unmaps-itself',
  'clones',
  'clears-the-ring',
  'fills-the-ring',
  'forges-events',
  'writes-its-context',
  'writes-the-jump-table',
  'stands-on-the-signal-stack',
  'writes-the-ring-head',
  'names-others-as-its-children',
  'ends-threads-by-itself',
  'ends-its-first-thread-by-itself',
  'blocks-all-signals',
  'has-a-thread-that-blocks-all-signals',
  'has-such-a-thread-and-execs',
  'blocks-the-trap',
  'returns-from-no-signal',
  'moves-its-signal-stack',
  'moves-its-gs-base',
  'closes-its-socket',
  'forges-answers',
  'is-signalled-while-it-scribbles',
  'makes-processes-of-its-own',
  'aborts-into-the-stub',
];

/** Events of chance that children forge, each until it is found out. */
const FORGED = 20_000;

const reason = missing(['root', 'static-libc']);
for (const attack of ATTACKS) {
  const declare = unless(reason);
  declare(`the sandbox goes on when a guest ${attack.replaceAll('-', ' ')}${reason === undefined ? '' : ` (${reason})`}`, async (t) => {
    t.timeout(60_000);
    const argv = sandboxed('systrap', [await buildGuest('helper-hostile'), attack]);
    const result = await run(argv, { env: baseEnv() });
    t.is(result.status, 0, describe('in the sandbox', argv, result));
    t.is(result.stdout, 'the sandbox goes on\n');
  });
}

const declare = unless(reason);
declare(
  `the sandbox goes on whatever guests write into their contexts and the ring${reason === undefined ? '' : ` (${reason})`}`,
  async (t) => {
    t.timeout(120_000);
    for (const seed of ['300', '900']) {
      const argv = sandboxed('systrap', [await buildGuest('helper-hostile'), 'fuzz', String(FORGED), seed]);
      const result = await run(argv, { env: baseEnv() });
      t.is(result.status, 0, describe('in the sandbox', argv, result));
      t.regex(result.stdout, /^\d+ children forged \d+ events\n$/);
    }
  },
);
