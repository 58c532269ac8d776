import test from 'ava';
import { knownLatin1, knownPart, latin1, putLatin1 } from '../../../sentry/base/latin1.ts';

const bytes = new Uint8Array(5000);

test('bytes become a string of one char each, whatever their number', (t) => {
  for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7) & 255;
  for (const n of [0, 1, 12, 13, 255, 256, 1024, 1025, 5000]) {
    const text = latin1(bytes, 0, n);
    t.is(text.length, n);
    const back = new Uint8Array(n);
    t.is(putLatin1(back, 0, text), n);
    t.deepEqual(back, bytes.subarray(0, n));
  }
});

test('a known string is always that of the bytes, also when others share its place', (t) => {
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 20000; i++) {
      const text = `/${i.toString(36)}/${'x'.repeat(i % 300)}`;
      const n = putLatin1(bytes, 0, text);
      if (knownLatin1(bytes, n) !== text) t.fail(`${text} became ${knownLatin1(bytes, n)}`);
      if (knownPart(text, 1, n) !== text.slice(1)) t.fail(`a part of ${text} became ${knownPart(text, 1, n)}`);
    }
  }
  t.is(knownLatin1(bytes, 0), '');
  t.is(knownPart('abc', 1, 1), '');
});
