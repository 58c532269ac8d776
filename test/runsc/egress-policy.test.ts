import test from 'ava';
import { parsePolicy } from '../../runsc/egress-policy.ts';
import { describe } from '../../runsc/errors.ts';
import { formatAddress, parseAddress } from '../../sentry/base/ip-address.ts';

const read = (text: string) => parsePolicy('policy', '/p', text);

test('lines become rules, comments and empty lines nothing', (t) => {
  const policy = read(
    '# all\ndefault allow\n\ndeny 10.0.0.0/8 port 22,80-90 proto tcp # inside\nallow FD00::/8\nresolver ::1 port 5353\nallow *.Example.COM.\n',
  );
  t.true(policy.allowByDefault);
  t.deepEqual(policy.resolvers, [{ address: parseAddress('::1')!, port: 5353 }]);
  t.deepEqual(policy.rules, [
    { line: 4, text: 'deny 10.0.0.0/8 port 22,80-90 proto tcp', allow: false, protocol: 'tcp', ports: [[22, 22], [80, 90]], network: parseAddress('10.0.0.0')!, bits: 104 }, // biome-ignore format: one rule
    { line: 5, text: 'allow FD00::/8', allow: true, protocol: 'any', ports: [], network: parseAddress('fd00::')!, bits: 8 },
    { line: 7, text: 'allow *.Example.COM.', allow: true, protocol: 'any', ports: [], name: '*.example.com' },
  ]);
  t.false(read('').allowByDefault);
});

const wrong: [string, RegExp][] = [
  ['allow', /line 1: what to allow or deny is missing/],
  ['\npermit any', /line 2: 'permit' is none of allow, deny, default and resolver/],
  ['allow 10.0.0.1/8', /line 1: '10\.0\.0\.1\/8' has bits set after the prefix/],
  ['allow 10.0.0.0/33', /the length of the prefix is 0 to 32/],
  ['allow ::/129', /the length of the prefix is 0 to 128/],
  ['allow 10.0.0', /'10\.0\.0' is not an IP address or network/],
  ['allow 010.0.0.1', /is not an IP address/],
  ['allow 1::2::3', /is not an IP address/],
  ['allow any port', /'port' has no value/],
  ['allow any port 70000', /'70000' is not a port/],
  ['allow any port 90-80', /the range ends before it begins/],
  ['allow any port 1 port 2', /'port' is given twice/],
  ['allow any proto sctp', /'sctp' is none of the protocols/],
  ['allow any proto icmp port 3', /icmp has no ports/],
  ['allow any to 3', /'to' is neither 'port' nor 'proto'/],
  ['allow a..b', /'a\.\.b' is neither an address nor a network nor a host name/],
  ['allow *', /is neither an address nor a network/],
  ['allow example.com', /line 1: a rule with a name needs a 'resolver' line/],
  ['default maybe', /'default' is followed by allow or deny/],
  ['default deny\ndefault deny', /line 2: the default was given in line 1 already/],
  ['resolver example.com', /'resolver' is followed by an IP address, not by 'example\.com'/],
  ['resolver 10.0.0.1 port 1-2', /a resolver has one port/],
];

for (const [text, message] of wrong) {
  test(`refused: ${JSON.stringify(text)}`, (t) => {
    t.regex(describe(t.throws(() => read(text))), message);
  });
}

test('addresses are read and printed alike', (t) => {
  for (const text of ['10.1.2.3', '::', '::1', 'fe80::1', '1:2:3:4:5:6:7:8', '1:0:0:2::3', '2001:db8::1:0:0:1']) {
    const bytes = parseAddress(text);
    t.truthy(bytes, text);
    t.deepEqual(parseAddress(formatAddress(bytes!)), bytes, text);
  }
  t.deepEqual(parseAddress('::ffff:10.0.0.1'), parseAddress('10.0.0.1'));
  for (const text of ['', '1.2.3', '1.2.3.4.5', '256.1.1.1', ':::', '1:2', '1:2:3:4:5:6:7:8:9', '12345::', 'g::', '1.2.3.4::', '::1.2.3']) {
    t.is(parseAddress(text), undefined, text);
  }
});
