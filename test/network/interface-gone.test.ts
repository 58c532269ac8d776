// The interface of the sandbox's network goes away while connections are open over it: sockets tell what they tell natively.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { baseEnv } from '../support/processes.ts';
import { launcher, platforms, root } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const reason = missing(['root', 'ip', '/usr/bin/python3']);
const script = join(root, 'test', 'programs', 'scripts', 'interface-gone.py');
const ECHO = `
import socket
s = socket.create_server(('10.204.9.1', 7000))
print('up', flush=True)
while True:
    c, _ = s.accept()
    while True:
        b = c.recv(100)
        if not b: break
        c.sendall(b)
`;

/** What the program prints, run with `prefix` before it, whose interface goes when it is ready. */
async function told(t: ExecutionContext, prefix: readonly string[]): Promise<string> {
  const [here, there] = [`rt-here-${process.pid}`, `rt-there-${process.pid}`];
  const ip = (...words: string[]): void => {
    const done = spawnSync('ip', words, { encoding: 'latin1' });
    if (done.status !== 0) throw new Error(`ip ${words.join(' ')}: ${done.stderr}`);
  };
  for (const name of [here, there]) ip('netns', 'add', name);
  t.teardown(() => {
    for (const name of [here, there]) spawnSync('ip', ['netns', 'delete', name]);
  });
  ip('-n', here, 'link', 'add', 'gone0', 'type', 'veth', 'peer', 'name', 'gone1', 'netns', there);
  for (const [name, device, address] of [
    [here, 'gone0', '10.204.9.2'],
    [there, 'gone1', '10.204.9.1'],
  ] as const) {
    ip('-n', name, 'address', 'add', `${address}/24`, 'dev', device);
    for (const one of ['lo', device]) ip('-n', name, 'link', 'set', one, 'up');
  }
  const inside = (name: string, ...words: string[]) =>
    spawn('ip', ['netns', 'exec', name, ...words], { env: baseEnv(), stdio: ['ignore', 'pipe', 'inherit'] });
  const server = inside(there, '/usr/bin/python3', '-c', ECHO);
  t.teardown(() => server.kill('SIGKILL'));
  await new Promise((resolve) => server.stdout.once('data', resolve));
  const program = inside(here, ...prefix, '/usr/bin/python3', script, '10.204.9.1', '10.204.9.2');
  t.teardown(() => program.kill('SIGKILL'));
  let said = '';
  program.stdout.on('data', (bytes: Buffer) => {
    said += bytes.toString('latin1');
    if (/^ready$/m.test(said)) spawnSync('ip', ['-n', here, 'link', 'delete', 'gone0']);
  });
  await new Promise((resolve) => program.once('close', resolve));
  for (const name of [here, there]) spawnSync('ip', ['netns', 'delete', name]);
  server.kill('SIGKILL');
  return said;
}

for (const platform of platforms) {
  const declare = unless(reason);
  declare(`an interface goes while connections are open (${platform})`, async (t) => {
    t.timeout(120_000);
    const native = await told(t, []);
    t.regex(native, /^connect ENETUNREACH$/m);
    t.is(await told(t, [launcher, `--platform=${platform}`, 'do', '--']), native);
  });
}
