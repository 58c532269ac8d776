// --egress-policy from a guest's side: every way to an address, and what a DNS server may make of names.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { type DnsServer, serveDns } from '../support/dns-server.ts';
import { buildGuest } from '../support/guest.ts';
import { run } from '../support/processes.ts';
import { launcher, platforms } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const reason = missing(['static-libc']);
const declare = unless(reason);

let dns: DnsServer;
let folder: string;

test.before(async () => {
  folder = mkdtempSync('/tmp/runsc-egress-');
  dns = await serveDns({
    'good.test': [{ name: 'good.test', ttl: 60, address: '127.0.0.20' }],
    'api.good.test': [
      { name: 'api.good.test', ttl: 60, alias: 'edge.cdn.test' },
      { name: 'edge.cdn.test', ttl: 60, address: '127.0.0.21' },
    ],
    'brief.test': [{ name: 'brief.test', ttl: 0, address: '127.0.0.22' }],
    'inside.good.test': [{ name: 'inside.good.test', ttl: 60, address: '127.0.0.30' }],
    // Says that a name which is allowed has an address of its own choice.
    'evil.test': [
      { name: 'evil.test', ttl: 60, alias: 'good.test' },
      { name: 'good.test', ttl: 60, address: '127.0.0.40' },
    ],
  });
});

test.after.always(() => {
  dns.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the tries, each "how address port", and answers their lines and those of the log. */
async function tries(platform: string, policy: string, list: string, flags: string[] = []): Promise<{ lines: string[]; log: string[] }> {
  const file = join(folder, 'policy');
  const logFile = join(folder, 'log');
  writeFileSync(file, policy.replaceAll('DNS', String(dns.port)));
  writeFileSync(logFile, '');
  const program = await buildGuest('helper-egress');
  const words = list.replaceAll('DNS', String(dns.port)).trim().split(/\s+/);
  const command = [
    launcher,
    `--platform=${platform}`,
    ...flags,
    `--egress-policy=${file}`,
    `--egress-log=${logFile}`,
    'do',
    '--',
    program,
    ...words,
  ];
  const result = await run(command, { timeoutMs: 40_000 });
  const lines = result.stdout.trim().split('\n');
  return { lines: result.status === 0 ? lines : [...lines, result.stderr], log: readFileSync(logFile, 'latin1').trim().split('\n') };
}

for (const platform of platforms) {
  declare(`each way to a denied address is closed, and told of (${platform})`, async (t) => {
    t.timeout(120_000);
    const ways = [
      ...[
        'tcp',
        'udp',
        'tcp-fastopen',
        'sendto',
        'sendmsg',
        'sendmmsg',
        'sendto-unspec',
        'reconnect',
        'connected-sendto',
        'v4-on-v6',
        'device',
      ],
      ...['mapped-tcp', 'mapped-udp', 'mapped-sendto', 'mapped-sendmsg', 'mapped-sendmmsg'],
    ];
    const policy = 'default allow\ndeny 127.0.0.8 # not this one\n';
    const denied = await tries(platform, policy, ways.map((way) => `${way} 127.0.0.8 9`).join(' '));
    t.deepEqual(
      denied.lines,
      ways.map((way) => `${way} 127.0.0.8: EPERM`),
    );
    t.is(denied.log.length, ways.length);
    t.regex(denied.log[0]!, /denied tcp 127\.0\.0\.8 port 9 to pid 1 \(helper-egress[^)]*\): .*policy: line 2: deny 127\.0\.0\.8$/);
    const allowed = await tries(platform, policy, ways.map((way) => `${way} 127.0.0.9 9`).join(' '));
    t.deepEqual(
      allowed.lines,
      ways.map((way) => `${way} 127.0.0.9: passed`),
    );
  });

  declare(`ports, protocols, no address at all and raw sockets (${platform})`, async (t) => {
    t.timeout(120_000);
    const policy = 'allow 127.0.0.0/8 port 9,100-200 proto udp\nallow ::1 port 9\nallow any port 81 proto tcp\n';
    const { lines } = await tries(
      platform,
      policy,
      'sendto 127.0.0.8 9 sendto 127.0.0.8 150 sendto 127.0.0.8 201 tcp 127.0.0.8 9 tcp 127.0.0.8 81 sendto ::1 9 sendto ::1 10 sendto :: 9 sendto 0.0.0.0 9 tcp 0.0.0.0 9 raw 127.0.0.8 0 packet 127.0.0.8 0',
      ['--net-raw'],
    );
    t.deepEqual(lines, [
      'sendto 127.0.0.8: passed',
      'sendto 127.0.0.8: passed',
      'sendto 127.0.0.8: EPERM',
      'tcp 127.0.0.8: EPERM',
      'tcp 127.0.0.8: passed',
      'sendto ::1: passed',
      'sendto ::1: EPERM',
      'sendto ::: passed',
      'sendto 0.0.0.0: passed',
      'tcp 0.0.0.0: EPERM',
      'raw 127.0.0.8: EPERM',
      'packet 127.0.0.8: EPERM',
    ]);
  });

  declare(`names have the addresses that the resolver gave (${platform})`, async (t) => {
    t.timeout(120_000);
    const policy = 'resolver 127.0.0.1 port DNS\nallow good.test\nallow *.good.test port 9\nallow brief.test\ndeny 127.0.0.30\n';
    const { lines, log } = await tries(
      platform,
      policy,
      `tcp 127.0.0.20 9 ask good.test DNS tcp 127.0.0.20 9 mapped-sendto 127.0.0.20 9
       ask-tcp api.good.test DNS tcp 127.0.0.21 9 tcp 127.0.0.21 10
       ask brief.test DNS sendto 127.0.0.22 9 sleep 0 2500 sendto 127.0.0.22 9
       ask inside.good.test DNS tcp 127.0.0.30 9
       ask evil.test DNS tcp 127.0.0.40 9
       bind 127.0.0.1 DNS bind 0.0.0.0 DNS bind 127.0.0.77 DNS bind 127.0.0.1 0`,
    );
    t.deepEqual(lines, [
      'tcp 127.0.0.20: EPERM',
      'ask good.test: answered',
      'tcp 127.0.0.20: passed',
      'mapped-sendto 127.0.0.20: passed',
      'ask-tcp api.good.test: answered',
      'tcp 127.0.0.21: passed',
      'tcp 127.0.0.21: EPERM',
      'ask brief.test: answered',
      'sendto 127.0.0.22: passed',
      'sendto 127.0.0.22: EPERM',
      'ask inside.good.test: answered',
      'tcp 127.0.0.30: EPERM',
      'ask evil.test: answered',
      'tcp 127.0.0.40: EPERM',
      'bind 127.0.0.1: EACCES',
      'bind 0.0.0.0: EACCES',
      'bind 127.0.0.77: EACCES',
      'bind 127.0.0.1: passed',
    ]);
    t.true(log.some((line) => /127\.0\.0\.30 port 9 \(inside\.good\.test\) .* line 5: deny 127\.0\.0\.30$/.test(line)));
    t.true(log.some((line) => /127\.0\.0\.20 port 9 .* no rule matches, and the default is deny$/.test(line)));
  });
}

declare('a policy that cannot be read starts nothing, and its line is told', async (t) => {
  t.timeout(60_000);
  const file = join(folder, 'bad');
  writeFileSync(file, 'default deny\n\nallow 10.0.0.0/33\n');
  const result = await run([launcher, `--egress-policy=${file}`, 'do', 'true'], { timeoutMs: 20_000 });
  t.not(result.status, 0);
  t.is(result.stderr.trim(), `runsc: --egress-policy ${file}: line 3: '10.0.0.0/33': the length of the prefix is 0 to 32`);
});
