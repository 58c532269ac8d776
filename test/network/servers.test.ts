// Real servers with real clients, all in one sandbox on its loopback interface: they print what they print on the host's kernel.
import { join } from 'node:path';
import { baseEnv, type Result, run } from '../support/processes.ts';
import { describe, launcher, platforms, root } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const scripts = join(root, 'test', 'programs', 'scripts', 'servers');
const inOwnNetwork = ['unshare', '--net', 'sh', '-c', 'ip link set lo up; exec "$@"', 'sh'];
const TIMEOUT_MS = 120_000;

interface Server {
  title: string;
  argv: string[];
  needs: string[];
}

const servers: readonly Server[] = [
  { title: "Node's http, https and http2", argv: ['node.sh', process.execPath], needs: ['openssl'] },
  { title: "OpenJDK's HttpServer and HttpClient", argv: ['java.sh'], needs: ['java', 'javac'] },
  { title: 'OpenSSH', argv: ['ssh.sh'], needs: ['ssh', 'sshd', 'scp', 'ssh-keygen'] },
  { title: 'redis', argv: ['redis.sh'], needs: ['redis-server', 'redis-benchmark', 'redis-cli'] },
  { title: 'nginx', argv: ['nginx.sh'], needs: ['nginx', 'wrk', 'curl', 'openssl'] },
  { title: 'PostgreSQL', argv: ['postgres.sh'], needs: ['psql', 'setpriv', '/usr/lib/postgresql'] },
  { title: 'apt-get from a mirror', argv: ['apt.sh'], needs: ['apt-get', 'dpkg-deb', '/usr/bin/python3'] },
];

const onHost = new Map<string, Promise<Result>>();

for (const platform of platforms) {
  for (const { title, argv, needs } of servers) {
    const declare = unless(missing(['root', 'bash', 'unshare', 'ip', ...needs]));
    declare(`${title} (${platform})`, async (t) => {
      t.timeout(3 * TIMEOUT_MS);
      const program = ['bash', join(scripts, argv[0]!), ...argv.slice(1)];
      const options = { env: baseEnv(), timeoutMs: TIMEOUT_MS };
      if (!onHost.has(title)) onHost.set(title, run([...inOwnNetwork, ...program], options));
      const wanted = await onHost.get(title)!;
      t.is(wanted.status, 0, describe('on the host', program, wanted));
      const command = [launcher, `--platform=${platform}`, '--network=none', 'do', '--', ...program];
      const result = await run(command, options);
      t.is(result.stdout, wanted.stdout, describe('in the sandbox', command, result));
      t.is(result.status, 0);
    });
  }
}
