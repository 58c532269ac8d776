import test from 'ava';
import { fuzzGofer } from '../support/gofer-fuzz.ts';

test('twenty thousand random requests are answered or refused, and leave no descriptor behind', (t) => {
  const result = fuzzGofer(6, 20_000);
  t.is(result.served + result.refused, 20_000);
  t.true(result.served > 5_000);
  t.true(result.refused > 1_000);
  // All but CONNECT, which needs somebody who listens.
  t.is(result.done.filter((n) => n > 0).length, result.done.length - 1);
  t.is(result.after, result.before);
});
