import test from 'ava';
import { fuzzGofer } from '../support/gofer-fuzz.ts';

for (let seed = 1; seed <= 50; seed++) {
  test(`a hundred thousand random requests of seed ${seed} break nothing`, (t) => {
    const result = fuzzGofer(seed, 100_000);
    t.is(result.after, result.before);
  });
}
