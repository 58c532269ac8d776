// A million malformed network calls, as in test/network/fuzz.test.ts.
import { sameAnswers } from '../support/network-fuzz.ts';
import { platforms } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const declare = unless(missing(['static-libc', 'root', 'unshare', 'ip']));
const SEEDS = 10;
const CALLS = 100_000;

for (let seed = 1; seed <= SEEDS; seed++) {
  const platform = platforms[seed % platforms.length]!;
  declare(`a hundred thousand malformed network calls of seed ${seed} (${platform})`, async (t) => {
    t.timeout(900_000);
    await sameAnswers(t, platform, seed, CALLS, true);
  });
}
