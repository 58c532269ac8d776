import test from 'ava';
import { formatAddress } from '../../../sentry/base/ip-address.ts';
import { DnsStream, readDnsAnswer } from '../../../sentry/net/dns.ts';
import { encodeAnswer } from '../../support/dns-server.ts';

function read(bytes: Uint8Array): string[] {
  const seen: string[] = [];
  readDnsAnswer(bytes, bytes.length, (name, address, ttl) => seen.push(`${name} ${formatAddress(address)} ${ttl}`));
  return seen;
}

test('a name has the addresses at the end of its aliases, for the shortest time on the way', (t) => {
  const answer = encodeAnswer(1, 'WWW.example.com', [
    { name: 'WWW.example.com', ttl: 300, alias: 'a.cdn.test' },
    { name: 'a.cdn.test', ttl: 20, alias: 'b.cdn.test' },
    { name: 'b.cdn.test', ttl: 60, address: '10.0.0.1' },
    { name: 'b.cdn.test', ttl: 5, address: '10.0.0.2' },
    { name: 'other.test', ttl: 60, address: '10.0.0.3' },
  ]);
  t.deepEqual(read(answer), ['www.example.com 10.0.0.1 20', 'www.example.com 10.0.0.2 5']);
});

test('aliases in a circle, questions, errors and cut messages tell nothing', (t) => {
  const circle = encodeAnswer(1, 'a.test', [
    { name: 'a.test', ttl: 1, alias: 'b.test' },
    { name: 'b.test', ttl: 1, alias: 'a.test' },
  ]);
  t.deepEqual(read(circle), []);
  const good = encodeAnswer(1, 'a.test', [{ name: 'a.test', ttl: 1, address: '10.0.0.1' }]);
  t.deepEqual(read(good), ['a.test 10.0.0.1 1']);
  const flagged = (at: number, bits: number): Uint8Array => Uint8Array.from(good, (byte, i) => (i === at ? byte ^ bits : byte));
  t.deepEqual(read(flagged(2, 0x80)), [], 'a question');
  t.deepEqual(read(flagged(2, 0x02)), [], 'truncated');
  t.deepEqual(read(flagged(3, 0x03)), [], 'no such name');
  for (let n = 0; n < good.length; n++) t.deepEqual(read(good.subarray(0, n)), [], `${n} bytes`);
});

test('a time with the highest bit set is none', (t) => {
  t.deepEqual(read(encodeAnswer(1, 'a.test', [{ name: 'a.test', ttl: 0x80000001, address: '10.0.0.1' }])), ['a.test 10.0.0.1 0']);
});

test('over TCP messages come in any pieces', (t) => {
  const first = encodeAnswer(1, 'a.test', [{ name: 'a.test', ttl: 1, address: '10.0.0.1' }]);
  const second = encodeAnswer(2, 'b.test', [{ name: 'b.test', ttl: 1, address: '10.0.0.2' }]);
  const framed = Buffer.concat([first, Buffer.alloc(0), second].flatMap((m) => [Buffer.from([m.length >> 8, m.length & 0xff]), m]));
  for (const size of [1, 2, 3, 7, framed.length]) {
    const stream = new DnsStream();
    const seen: string[] = [];
    for (let at = 0; at < framed.length; at += size) {
      const piece = framed.subarray(at, at + size);
      stream.take(piece, piece.length, (name) => seen.push(name));
    }
    t.deepEqual(seen, ['a.test', 'b.test'], `${size} bytes at a time`);
  }
});

test('damaged answers are read without harm, and for the name in the question alone', (t) => {
  const good = encodeAnswer(1, 'a.test', [
    { name: 'a.test', ttl: 300, alias: 'b.test' },
    { name: 'b.test', ttl: 60, address: '10.0.0.1' },
  ]);
  let seed = 1;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 8) % n;
  };
  for (let i = 0; i < 50_000; i++) {
    const bytes = Uint8Array.from(good);
    for (let changes = 1 + random(4); changes > 0; changes--) bytes[random(bytes.length)] = random(256);
    const names = new Set<string>();
    readDnsAnswer(bytes, bytes.length, (name) => names.add(name));
    if (names.size > 1) t.fail([...names].join(' '));
  }
  t.pass();
});
