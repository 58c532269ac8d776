// Containers from outside, the way podman, containerd and docker drive an OCI runtime.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { Bundle } from '../support/bundle.ts';
import { missing } from '../support/system.ts';

const reason = missing(['root']);

/** A test with a bundle of its own whose program is `script`. */
function bundled(title: string, script: string, body: (t: ExecutionContext, b: Bundle) => Promise<void>): void {
  if (reason !== undefined) {
    test.skip(`${title} (${reason})`, () => {});
    return;
  }
  test.serial(title, async (t) => {
    const bundle = new Bundle(script);
    t.teardown(() => bundle.remove());
    await body(t, bundle);
  });
}

async function ok(t: ExecutionContext, b: Bundle, ...words: string[]): Promise<string> {
  const result = await b.runsc(words);
  t.is(result.stderr, '', words.join(' '));
  t.is(result.status, 0, words.join(' '));
  return result.stdout;
}

async function statusOf(b: Bundle, id: string): Promise<string> {
  const result = await b.runsc(['state', id]);
  return result.status === 0 ? JSON.parse(result.stdout).status : result.stderr;
}

async function until(what: () => Promise<boolean> | boolean): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    if (await what()) return true;
    await sleep(50);
  }
  return false;
}

/** stat of all that is shown in the /proc of a container's process. */
function commands(pid: number): string {
  const proc = `/proc/${pid}/root/proc`;
  const numbers = readdirSync(proc).filter((name) => /^\d+$/.test(name));
  return numbers.map((number) => (existsSync(`${proc}/${number}/stat`) ? readFileSync(`${proc}/${number}/stat`, 'utf8') : '')).join('');
}

bundled('run: prints, ends with the status, leaves nothing', 'echo "hello from $(cat /proc/sys/kernel/hostname)"; exit 7', async (t, b) => {
  b.config.hostname = 'guest';
  b.write();
  const result = await b.runsc(['run', 'a']);
  t.is(result.stderr, '');
  t.is(result.stdout, 'hello from guest\n');
  t.is(result.status, 7);
  t.is(await ok(t, b, 'list', '--quiet'), '');
});

bundled('the life of a container: created, running, paused, running, stopped, gone', 'echo up; sleep 60', async (t, b) => {
  b.write();
  const pidFile = join(b.path, 'pid');
  await ok(t, b, 'create', '--pid-file', pidFile, 'a');
  t.is(await statusOf(b, 'a'), 'created');
  const pid = Number(readFileSync(pidFile, 'utf8'));
  t.true(existsSync(`/proc/${pid}`));
  await ok(t, b, 'start', 'a');
  t.is(await statusOf(b, 'a'), 'running');
  t.regex((await b.runsc(['start', 'a'])).stderr, /cannot start container "a": it is running already/);
  t.regex((await b.runsc(['create', 'a'])).stderr, /container with id "a" already exists/);
  t.regex((await b.runsc(['delete', 'a'])).stderr, /cannot delete container "a" that is not stopped: it is running/);
  await ok(t, b, 'pause', 'a');
  t.is(await statusOf(b, 'a'), 'paused');
  t.regex(await ok(t, b, 'ps', 'a'), /^UID .*CMD\n.* 1 +0 .* sh\n/);
  await ok(t, b, 'resume', 'a');
  t.is(await statusOf(b, 'a'), 'running');
  await ok(t, b, 'kill', 'a', 'KILL');
  t.true(await until(async () => (await statusOf(b, 'a')) === 'stopped'));
  t.regex((await b.runsc(['kill', 'a'])).stderr, /cannot signal container "a": container not running/);
  await ok(t, b, 'delete', 'a');
  t.regex(await statusOf(b, 'a'), /container "a" does not exist/);
});

bundled('a signal that ends a container before its program runs', 'echo never', async (t, b) => {
  b.write();
  await ok(t, b, 'create', 'a');
  await ok(t, b, 'kill', 'a', 'KILL');
  t.true(await until(async () => (await statusOf(b, 'a')) === 'stopped'));
  await ok(t, b, 'delete', 'a');
});

bundled('exec: user, directory, environment, status, missing programs', 'sleep 60', async (t, b) => {
  b.write();
  await ok(t, b, 'create', 'a');
  await ok(t, b, 'start', 'a');
  const exec = await b.runsc([
    'exec',
    '--user',
    '12:34',
    '--cwd',
    '/usr',
    '--env',
    'X=y',
    'a',
    '/bin/sh',
    '-c',
    'id -u; id -g; pwd; echo $X; exit 5',
  ]);
  t.is(exec.stdout, '12\n34\n/usr\ny\n');
  t.is(exec.status, 5);
  const none = await b.runsc(['exec', 'a', '/no/such']);
  t.regex(none.stderr, /starting "\/no\/such": exec: "\/no\/such": stat \/no\/such: no such file or directory \(ENOENT\)/);
  t.is(none.status, 255);
  const list = await ok(t, b, 'ps', '--format', 'json', 'a');
  // Numbers on the host, as runc's: whoever asks looks them up there.
  t.true(existsSync(`/proc/${JSON.parse(list)[0]}`));
});

bundled('exec --detach: a host process stands for it and ends with its status', 'sleep 60', async (t, b) => {
  b.write();
  await ok(t, b, 'create', 'a');
  await ok(t, b, 'start', 'a');
  const pidFile = join(b.path, 'pid');
  await ok(t, b, 'exec', '--detach', '--pid-file', pidFile, 'a', '/bin/sh', '-c', 'sleep 4; exit 3');
  const pid = readFileSync(pidFile, 'utf8');
  const running = (): boolean => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  t.true(running());
  t.true(await until(() => !running()));
});

bundled('bind mounts: written through, read-only, single files', 'echo x >/rw/file; echo y >/ro/file; cat /etc/one', async (t, b) => {
  mkdirSync(join(b.path, 'rw'));
  mkdirSync(join(b.path, 'ro'));
  writeFileSync(join(b.path, 'one'), 'one\n');
  b.bind(join(b.path, 'rw'), '/rw', 'rw');
  b.bind(join(b.path, 'ro'), '/ro', 'ro');
  b.bind(join(b.path, 'one'), '/etc/one', 'ro');
  b.write();
  const result = await b.runsc(['run', 'a']);
  t.is(result.stdout, 'one\n');
  t.regex(result.stderr, /\/ro\/file: Read-only file system/);
  t.is(readFileSync(join(b.path, 'rw', 'file'), 'utf8'), 'x\n');
});

bundled('the root file system is written through, or read-only, or kept below an overlay', 'echo x >/made && echo done', async (t, b) => {
  b.write();
  t.is((await b.runsc(['--overlay2', 'root:memory', 'run', 'a'])).stdout, 'done\n');
  t.false(existsSync(join(b.path, 'rootfs', 'made')));
  const through = await b.runsc(['run', 'a']);
  t.is(through.stderr, '');
  t.is(through.stdout, 'done\n');
  t.is(readFileSync(join(b.path, 'rootfs', 'made'), 'utf8'), 'x\n');
  rmSync(join(b.path, 'rootfs', 'made'));
  b.config.root.readonly = true;
  b.write();
  t.regex((await b.runsc(['run', 'a'])).stderr, /Read-only file system/);
});

bundled(
  'user, capabilities, limits and no_new_privs are those of the spec',
  'id -u; id -g; id -G; ulimit -n; grep -E "^(CapEff|CapBnd|NoNewPrivs)" /proc/self/status',
  async (t, b) => {
    b.config.process.user = { uid: 1000, gid: 1001, additionalGids: [5, 7] };
    b.config.process.capabilities = { bounding: ['CAP_KILL', 'CAP_CHOWN'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] };
    b.config.process.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 100, hard: 200 }];
    b.write();
    const result = await b.runsc(['run', 'a']);
    t.is(result.stdout, '1000\n1001\n1001 5 7\n100\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000021\nNoNewPrivs:\t1\n');
  },
);

bundled('hooks get the state on stdin, and a failing one stops the creation', 'true', async (t, b) => {
  const seen = join(b.path, 'seen');
  const hook = (name: string): object => ({
    path: '/bin/sh',
    args: ['sh', '-c', `printf '${name} ' >>${seen}; cat >>${seen}; echo >>${seen}`],
  });
  b.config.hooks = { createRuntime: [hook('createRuntime')], poststart: [hook('poststart')], poststop: [hook('poststop')] };
  b.write();
  t.is((await b.runsc(['run', 'a'])).status, 0);
  const lines = readFileSync(seen, 'utf8').trim().split('\n');
  t.deepEqual(
    lines.map((line) => line.split(' ', 1)[0]),
    ['createRuntime', 'poststart', 'poststop'],
  );
  const state = JSON.parse(lines[0].slice(lines[0].indexOf('{')));
  t.is(state.id, 'a');
  t.is(state.bundle, b.path);
  t.true(state.pid > 0);
  b.config.hooks = { createRuntime: [{ path: '/bin/sh', args: ['sh', '-c', 'echo no >&2; exit 1'] }] };
  b.write();
  const refused = await b.runsc(['create', 'a']);
  t.regex(refused.stderr, /error running createRuntime hook #0: exit status 1, stdout: , stderr: no/);
  t.is(await ok(t, b, 'list', '--quiet'), '');
});

bundled('masked and read-only paths', 'cat /proc/kcore; ls /proc/acpi; echo 1 >/proc/sys/kernel/panic', async (t, b) => {
  b.write();
  const result = await b.runsc(['run', 'a']);
  t.is(result.stdout, '');
  t.regex(result.stderr, /Read-only file system/);
});

bundled('a container that was killed from outside is stopped, and delete cleans up', 'sleep 60', async (t, b) => {
  b.write();
  for (const role of ['sentry', 'gofer']) {
    await ok(t, b, 'create', 'a');
    await ok(t, b, 'start', 'a');
    const state = JSON.parse(readFileSync(join(b.root, 'a', 'state.json'), 'utf8'));
    process.kill(state[role].pid, 'SIGKILL');
    t.true(await until(async () => (await statusOf(b, 'a')) === 'stopped'), role);
    t.regex((await b.runsc(['exec', 'a', 'true'])).stderr, /cannot exec in a stopped container: "a" is not running/);
    await ok(t, b, 'delete', 'a');
    t.false(existsSync(join(b.root, 'a')));
  }
});

bundled('bad input is told by its field or its name', 'true', async (t, b) => {
  const says = async (message: RegExp, ...words: string[]): Promise<void> => {
    const result = await b.runsc(words);
    t.regex(result.stderr, message);
    t.is(result.status, 1);
  };
  await says(/opening config.json: no such file or directory \(ENOENT\)/, 'create', 'a');
  b.config.process.args = [];
  b.write();
  await says(/config.json: process.args: must be a non-empty array of strings/, 'create', 'a');
  b.config.process.args = ['/no/such'];
  b.config.root.path = 'missing';
  b.write();
  await says(/config.json: root.path: .*\/missing: no such file or directory \(ENOENT\)/, 'create', 'a');
  b.config.root.path = 'rootfs';
  b.write();
  await says(/invalid container id "\.\.\/a"/, 'create', '../a');
  await says(/invalid container id "a\/b"/, 'state', 'a/b');
  await says(/container "nobody" does not exist/, 'start', 'nobody');
  await says(/unknown signal "SIGNOPE"/, 'kill', 'nobody', 'SIGNOPE');
  await says(/opening config.json/, 'create', '--bundle', '/no/such', 'a');
  const missingProgram = await b.runsc(['run', 'a']);
  t.is(missingProgram.status, 127);
  t.regex(missingProgram.stderr, /starting "\/no\/such": exec: "\/no\/such": stat \/no\/such: no such file or directory/);
  t.is(await ok(t, b, 'list', '--quiet'), '');
  await ok(t, b, 'delete', '--force', 'nobody');
});

bundled(
  'the process of --pid-file shows the container: files, name, signals',
  'trap "echo got; exit 5" TERM; echo x > /made; while :; do sleep 0.1; done',
  async (t, b) => {
    b.config.hostname = 'guest';
    b.write();
    const pidFile = join(b.path, 'pid');
    await ok(t, b, 'create', '--pid-file', pidFile, 'a');
    const pid = Number(readFileSync(pidFile, 'utf8'));
    await ok(t, b, 'start', 'a');
    t.true(await until(() => existsSync(`/proc/${pid}/root/made`)));
    t.is(spawnSync('nsenter', ['-u', '-t', String(pid), 'hostname'], { encoding: 'utf8' }).stdout, 'guest\n');
    t.true(await until(() => existsSync(`/proc/${pid}/root/proc/1/cmdline`)));
    t.regex(readFileSync(`/proc/${pid}/root/proc/1/cmdline`, 'utf8'), /^\/bin\/sh\0-c\0/);
    t.true(await until(() => /\(sleep\) /.test(commands(pid))));
    process.kill(pid, 'SIGTERM');
    t.true(await until(async () => (await statusOf(b, 'a')) === 'stopped'));
  },
);

bundled('list, features and spec are JSON that tools read', 'sleep 60', async (t, b) => {
  b.write();
  await ok(t, b, 'create', 'a');
  const [entry] = JSON.parse(await ok(t, b, 'list', '--format', 'json'));
  t.is(entry.id, 'a');
  t.is(entry.status, 'created');
  t.is(entry.bundle, b.path);
  const features = JSON.parse(await ok(t, b, 'features'));
  t.is(features.ociVersionMin, '1.0.0');
  t.true(features.linux.capabilities.includes('CAP_CHOWN'));
  t.regex((await b.runsc(['spec'])).stderr, /config.json: is there already/);
});

bundled('debug --stacks says what each thread is in', '(read line < /fifo) & sleep 1000 & wait', async (t, b) => {
  b.write();
  t.is(spawnSync('mkfifo', [join(b.path, 'rootfs', 'fifo')]).status, 0);
  await ok(t, b, 'create', 'a');
  await ok(t, b, 'start', 'a');
  let said = '';
  const all = [
    /process 1 sh \(S\)\n {4}in (wait4|rt_sigsuspend)\(/,
    /\n {4}in open(at)?\(.*"\/fifo"/,
    /process \d+ sleep \(S\)\n {4}in (clock_)?nanosleep\(.*\n {4}until an event, or 9\d\d\.\d{3} s have passed, or a signal\n/,
  ];
  const isAll = await until(async () => {
    said = await ok(t, b, 'debug', '--stacks', 'a');
    return all.every((line) => line.test(said));
  });
  t.true(isAll, said);
  await ok(t, b, 'delete', '--force', 'a');
});
