// What guests may do on a network by their capabilities, in a network namespace of its own that stands for a container's.
import { readdirSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { buildGuest } from '../support/guest.ts';
import { run } from '../support/processes.ts';
import { launcher, platforms } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const reason = missing(['root', 'static-libc', 'unshare', 'ip']);
const inOwnNetwork = ['unshare', '--net', 'sh', '-c', 'ip link set lo up; exec "$@"', 'sh'];

const ALL = [
  'socket(AF_INET, SOCK_RAW, IPPROTO_ICMP): ok',
  'socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)): ok',
  'socket(AF_INET, SOCK_STREAM, 0): ok',
  'bind(fd, (void *)&at, sizeof at): ok',
  'setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark): ok',
  'setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big): ok',
  'ioctl(fd, SIOCSIFMTU, &ifr): ok',
  'RTM_NEWADDR: ok',
];
const NO_RAW = ALL.map((line) => (/SOCK_RAW/.test(line) ? line.replace(': ok', ' = -1 EPERM') : line));
const NONE = NO_RAW.map((line) => {
  if (/^bind/.test(line)) return line.replace(': ok', ' = -1 EACCES');
  if (/^(setsockopt|ioctl)/.test(line)) return line.replace(': ok', ' = -1 EPERM');
  return line.replace('RTM_NEWADDR: ok', 'RTM_NEWADDR: EPERM');
});

interface Case {
  title: string;
  flags: string[];
  /** Before the program, inside. */
  as?: string[];
  lines: string[];
}

const cases: Case[] = [
  { title: 'root in a network of its own has all it would have natively', flags: ['--net-raw'], lines: ALL },
  { title: 'raw sockets need --net-raw', flags: [], lines: NO_RAW },
  { title: 'the same with --network=none', flags: ['--net-raw', '--network=none'], lines: ALL },
  {
    title: 'a user has no capability to use',
    flags: ['--net-raw'],
    as: ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups'],
    lines: NONE,
  },
  {
    title: 'root of a user namespace made inside has none over the network outside it',
    flags: ['--net-raw'],
    as: ['unshare', '--user', '--map-root-user'],
    lines: NONE,
  },
];

for (const platform of platforms) {
  for (const { title, flags, as = [], lines } of cases) {
    const declare = unless(reason);
    declare(`${title} (${platform})`, async (t) => {
      t.timeout(120_000);
      const program = await buildGuest('helper-netcaps');
      const command = [...inOwnNetwork, launcher, `--platform=${platform}`, ...flags, 'do', '--', ...as, program];
      const result = await run(command, { timeoutMs: 30_000 });
      t.deepEqual(result.stdout.trim().split('\n'), lines, result.stderr);
    });
  }

  const declare = unless(reason);
  declare(`no interface leaves for the network of a process of the host (${platform})`, async (t) => {
    t.timeout(120_000);
    const name = `rb${process.pid}`;
    // Numbers that name a process of ours, and the first one, on the host.
    const move = [process.pid, 1].map(
      (pid) => `ip link set ${name} netns ${pid}; ip link add ${name}b type veth peer name ${name}c netns ${pid}`,
    );
    const script = `ip link add ${name} type veth peer name ${name}p; ${move.join('; ')}; ip -o link`;
    const command = [...inOwnNetwork, launcher, `--platform=${platform}`, 'do', '--', 'sh', '-c', script];
    const result = await run(command, { timeoutMs: 30_000 });
    t.regex(result.stdout, new RegExp(`: ${name}@`), result.stderr);
    t.deepEqual(
      Object.keys(networkInterfaces())
        .concat(readdirSync('/sys/class/net'))
        .filter((one) => one.startsWith(name)),
      [],
    );
  });
}

for (const platform of platforms) {
  for (const as of [[], ['setpriv', '--reuid=1000', '--regid=1000', '--clear-groups']]) {
    const who = as.length === 0 ? 'root' : 'a user';
    const declare = unless(missing(['root', 'static-libc', 'setpriv']));
    declare(`${who} on the host's own network chooses how a socket avoids congestion as on the host (${platform})`, async (t) => {
      t.timeout(120_000);
      const program = await buildGuest('helper-congestion');
      const wanted = await run([...as, program], { timeoutMs: 30_000 });
      const result = await run([launcher, `--platform=${platform}`, 'do', '--', ...as, program], { timeoutMs: 30_000 });
      t.is(result.stdout, wanted.stdout, result.stderr);
    });
  }
}
