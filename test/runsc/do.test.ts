// `runsc do` from outside: what it hands the program, what it gives back, and what it says when something is wrong.
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { buildGuest } from '../support/guest.ts';
import { baseEnv, type RunOptions, run } from '../support/processes.ts';
import { launcher } from '../support/sandbox.ts';

const dir = mkdtempSync('/tmp/runsc-do-');
test.after.always(() => rmSync(dir, { recursive: true }));

const sandbox = (words: string[], options: RunOptions = {}) => run([launcher, ...words], { cwd: dir, ...options });
const shell = (script: string, flags: string[] = []) => sandbox(['do', ...flags, '--', '/bin/sh', '-c', script]);

/**
 * Runs `runsc do` behind a shell: once the program has printed "ready", the shell goes on with `then`, in which $cli is
 * runsc's process. What the program has printed comes last.
 */
function behind(program: string, then: string) {
  const out = join(dir, 'out');
  const script = `"$0" do -- /bin/sh -c '${program}' >${out} & cli=$!; until grep -q ready ${out} 2>/dev/null; do sleep 0.1; done; ${then}; cat ${out}; rm ${out}`;
  return run(['/bin/sh', '-c', script, launcher], { cwd: dir });
}

async function prints(t: ExecutionContext, script: string, stdout: string, flags: string[] = []): Promise<void> {
  const result = await shell(script, flags);
  t.is(result.stderr, '');
  t.is(result.stdout, stdout);
  t.is(result.status, 0);
}

test.serial('do: environment, working directory, user and host name', async (t) => {
  const result = await sandbox(['do', '--env', 'B=2', '--', '/bin/sh', '-c', 'echo $A $B; pwd; id -u; uname -n'], {
    env: baseEnv({ A: '1' }),
  });
  t.is(result.stdout, `1 2\n${dir}\n0\nrunsc\n`);
});

test.serial('do: --debug tells when each step of the start was done, in order', async (t) => {
  const { stderr } = await sandbox(['--debug', 'do', 'true']);
  const steps = [...stderr.matchAll(/phase: (.*) at ([\d.]+) ms/g)].map(([, name, at]) => ({ name, at: Number(at) }));
  t.deepEqual(
    steps.map(({ name }) => name),
    [
      'command line read',
      'configuration read',
      'processes of the sandbox started',
      'Sentry: program loaded',
      'Sentry: platform started',
      'Sentry: files mounted',
      'Sentry: locked in',
      'sandbox ready',
      'program started',
      'program ended',
      'command done',
    ],
  );
  for (let i = 1; i < steps.length; i++) t.true(steps[i]!.at >= steps[i - 1]!.at, `${steps[i]!.name} is not before ${steps[i - 1]!.name}`);
});

test.serial('do: standard input reaches the program', async (t) => {
  const result = await sandbox(['do', 'cat'], { input: 'a\nb\n' });
  t.is(result.stdout, 'a\nb\n');
});

test.serial('do: writes stay in the sandbox', async (t) => {
  const file = join(dir, 'kept');
  writeFileSync(file, 'old');
  await prints(t, `echo new >${file}; cat ${file}; echo x >${dir}/made; ls ${dir}`, 'new\nkept\nmade\n');
  t.is(readFileSync(file, 'utf8'), 'old');
  t.deepEqual(readdirSync(dir), ['kept']);
});

test.serial('do: what is changed on the host below a volume reaches inotify in the sandbox', async (t) => {
  const source = mkdtempSync('/tmp/runsc-watched-');
  t.teardown(() => rmSync(source, { recursive: true }));
  writeFileSync(join(source, 'file'), 'old');
  const out = join(dir, 'events');
  const watcher = run(
    ['/bin/sh', '-c', `exec "$0" do --volume "$1:/v" -- "$2" /v >${out}`, launcher, source, await buildGuest('helper-watch')],
    {
      cwd: dir,
    },
  );
  await until(() => existsSync(out) && readFileSync(out, 'utf8').includes('ready'));
  appendFileSync(join(source, 'file'), 'new');
  writeFileSync(join(source, 'made'), 'x');
  renameSync(join(source, 'made'), join(source, 'moved'));
  chmodSync(join(source, 'moved'), 0o600);
  rmSync(join(source, 'moved'));
  mkdirSync(join(source, 'folder'));
  rmSync(join(source, 'folder'), { recursive: true });
  mkdirSync(join(source, 'stop'));
  t.is((await watcher).status, 0);
  const heard =
    '2 file.,8 file.,100 made.,2 made.,8 made.,40 made a,80 moved a,4 moved.,200 moved.,40000100 folder.,40000200 folder.,40000100 stop.';
  t.is(readFileSync(out, 'utf8'), ['ready', ...heard.split(','), ''].join('\n'));
});

/** Waits for a condition, ten seconds at most. */
async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
}

test.serial('do: --volume lets writes through, read-only ones not', async (t) => {
  const source = mkdtempSync('/tmp/runsc-volume-');
  t.teardown(() => rmSync(source, { recursive: true }));
  await prints(t, 'echo x >/v/file; cat /v/file', 'x\n', ['--volume', `${source}:/v`]);
  t.is(readFileSync(join(source, 'file'), 'utf8'), 'x\n');
  const result = await shell('echo y >/v/file', ['--volume', `${source}:/v:ro`]);
  t.not(result.status, 0);
  t.regex(result.stderr, /Read-only file system/);
});

test.serial("do: the exit code is the program's, 128 + n for a signal", async (t) => {
  t.is((await shell('exit 7')).status, 7);
  t.is((await shell('sh -c "kill -SEGV \\$\\$"')).status, 128 + 11);
  const killed = await behind('echo ready; exec sleep 30', 'kill -TERM $cli; wait $cli; echo $?');
  t.is(
    killed.stdout,
    `${128 + 15}
ready
`,
  );
});

test.serial('do: a signal to runsc reaches the program', async (t) => {
  const result = await behind('trap "echo caught; exit 3" TERM; echo ready; sleep 20 & wait', 'kill -TERM $cli; wait $cli; echo $?');
  t.is(result.stdout, '3\nready\ncaught\n');
});

test.serial('do: sockets of the host are reached with --host-uds=open alone', async (t) => {
  const server = createServer({ allowHalfOpen: true }, (client) => {
    let heard = 0;
    client.on('data', (data) => {
      heard += data.length;
    });
    client.on('end', () => client.end(`heard ${heard} bytes`));
  });
  await new Promise<void>((resolve) => server.listen(join(dir, 'socket'), resolve));
  t.teardown(() => server.close());
  const guest = await buildGuest('helper-host-uds');
  const talk = (flags: string[]) => sandbox([...flags, 'do', `--volume=${dir}:/mnt`, '--', guest, '/mnt/socket']);
  t.is((await talk([])).stdout, 'connect: Connection refused\n');
  t.is(
    (await talk(['--host-uds=open'])).stdout,
    'peer /mnt/socket\nheard 700000 bytes\nend\nagain: Transport endpoint is already connected\n',
  );
});

test.serial('do: root of a container, without some capabilities', async (t) => {
  if (process.getuid!() !== 0) return t.pass();
  const few = ['setpriv', '--bounding-set', '-mknod,-dac_read_search,-sys_time', '--', launcher, 'do', '--', '/bin/echo', 'runs'];
  const result = await run(few, { cwd: dir });
  t.is(result.stderr, '');
  t.is(result.stdout, 'runs\n');
});

test.serial('do: the program sees only its own processes', async (t) => {
  await prints(t, 'echo $$; ls -d /proc/[0-9]* | wc -l', '1\n3\n');
});

test.serial('do: --network=none has lo alone', async (t) => {
  const result = await sandbox(['--network=none', 'do', '--', '/bin/sh', '-c', "sed -n 's/^ *\\([a-z0-9]*\\):.*/\\1/p' /proc/net/dev"]);
  t.is(result.stdout, 'lo\n');
});

const wrong: [string, string[], number, RegExp][] = [
  [
    'a missing program',
    ['do', 'no-such-program'],
    127,
    /^runsc: starting "no-such-program": exec: "no-such-program": executable file not found in \$PATH\n$/,
  ],
  [
    'a file that is not executable',
    ['do', '/etc/passwd'],
    126,
    /^runsc: starting "\/etc\/passwd": exec: "\/etc\/passwd": permission denied \(EACCES\)\n$/,
  ],
  ['a directory', ['do', '/etc'], 126, /permission denied \(EACCES\)/],
  ['no command', ['do'], 1, /"do" requires at least 1 argument /],
  ['an unknown flag', ['do', '--nope', 'true'], 1, /flag provided but not defined: --nope/],
  ['an unknown global flag', ['--nope', 'do', 'true'], 1, /flag provided but not defined: --nope/],
  ['an unknown command', ['dance'], 1, /unknown command "dance"/],
  ['an unknown platform', ['--platform=kvm', 'do', 'true'], 1, /must be one of systrap, ptrace/],
  [
    'a missing working directory',
    ['do', '--cwd', '/no/such', 'true'],
    127,
    /chdir to cwd \("\/no\/such"\) set in config.json failed: no such file or directory/,
  ],
  ['a missing root', ['do', '--root', '/no/such', 'true'], 1, /--root \/no\/such: no such file or directory \(ENOENT\)/],
  ['a bad volume', ['do', '--volume', 'x', 'true'], 1, /--volume x: must be SRC:DST/],
];
for (const [title, words, status, message] of wrong) {
  test.serial(`do: ${title}`, async (t) => {
    const result = await sandbox(words);
    t.regex(result.stderr, message);
    t.is(result.status, status);
    t.is(result.stdout, '');
  });
}

test.serial('errors are lines of JSON in --log', async (t) => {
  const log = join(dir, 'log.json');
  t.teardown(() => rmSync(log));
  await sandbox(['--log', log, '--log-format', 'json', 'start', 'nobody', '--root-is-wrong']);
  await sandbox(['--root', join(dir, 'none'), '--log', log, '--log-format', 'json', 'start', 'nobody']);
  const lines = readFileSync(log, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  t.deepEqual(
    lines.map((line) => line.level),
    ['error', 'error'],
  );
  t.is(lines[1].msg, 'container "nobody" does not exist');
});

const SLEEPER = 'echo ready; exec sleep 30';

for (const role of ['gofer', 'sentry']) {
  test.serial(`a ${role} that is killed ends the sandbox, and runsc says so`, async (t) => {
    const result = await behind(SLEEPER, `kill -KILL $(pgrep -P $cli -f '${role}$'); wait $cli; echo $?; pgrep -P $cli`);
    t.is(result.stdout, '1\nready\n');
    t.regex(result.stderr, role === 'gofer' ? /the gofer (is gone|was killed by signal 9)/ : /the Sentry was killed by signal 9/);
  });
}

test.serial('nothing outlives a runsc that is killed', async (t) => {
  // Where nobody reaps orphans, what is dead stays to be seen.
  const alive = `for pid in $pids; do grep -q '^State:.*[^Z] (' /proc/$pid/status 2>/dev/null && echo $pid; done`;
  const result = await behind(SLEEPER, `pids=$(pgrep -P $cli); kill -KILL $cli; sleep 1; ${alive}`);
  t.is(result.stdout, 'ready\n');
});

test.serial('the Sentry is confined: no capabilities, no new privileges, a filter, an empty root', async (t) => {
  const status = `for task in /proc/$pid/task/*; do grep -hE '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' $task/status; done | sort | uniq`;
  const look = `pid=$(pgrep -P $cli -f 'sentry$'); ${status}; ls -A /proc/$pid/root/; readlink /proc/$pid/ns/mnt; kill -KILL $cli`;
  const result = await behind(SLEEPER, look);
  const lines = result.stdout.split('\n');
  t.deepEqual(lines.slice(0, 4), ['CapBnd:\t0000000000000000', 'CapEff:\t0000000000000000', 'NoNewPrivs:\t1', 'Seccomp:\t2']);
  t.regex(lines[4], /^mnt:/);
  t.not(lines[4], readlinkSync('/proc/self/ns/mnt'));
});
