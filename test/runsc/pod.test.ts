// Several containers in one sandbox: a pod as containerd's CRI and CRI-O ask for it by annotations, and as podman and
// docker do by the namespaces of another container.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { Bundle } from '../support/bundle.ts';
import { launcher } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';

const reason = missing(['root']);
const CRI = { type: 'io.kubernetes.cri.container-type', sandbox: 'io.kubernetes.cri.sandbox-id' };
const CRIO = { type: 'io.kubernetes.cri-o.ContainerType', sandbox: 'io.kubernetes.cri-o.SandboxID' };

/** A pod whose sandbox container, "pod", runs; others are made beside it. */
class Pod {
  readonly sandbox: Bundle = new Bundle('trap "exit 3" TERM; while :; do sleep 1; done');
  private readonly bundles: Bundle[] = [];
  readonly t: ExecutionContext;

  constructor(t: ExecutionContext) {
    this.t = t;
    t.teardown(() => this.remove());
  }

  /** The anchor of a container that has been created. */
  pid(id: string): number {
    return Number(readFileSync(join(this.sandbox.path, `${id}.pid`), 'utf8'));
  }

  async start(words = CRI): Promise<this> {
    this.sandbox.config.hostname = 'pod-host';
    ownCgroup(this.sandbox);
    this.sandbox.config.annotations = { [words.type]: 'sandbox', [words.sandbox]: 'pod' };
    this.sandbox.write();
    await this.create(this.sandbox, 'pod');
    await this.ok('start', 'pod');
    return this;
  }

  /** A bundle of a member with namespaces of its own but for the pod's network and host name. */
  member(script: string, words = CRI, ...shared: string[]): Bundle {
    const bundle = new Bundle(script, this.sandbox.root);
    this.bundles.push(bundle);
    ownCgroup(bundle);
    bundle.config.annotations = { [words.type]: 'container', [words.sandbox]: 'pod' };
    delete bundle.config.hostname;
    this.share(bundle, 'network', 'uts', ...shared);
    return bundle.write();
  }

  /** A bundle without annotations that names namespaces of a container by their paths. */
  stranger(script: string, id: string, ...shared: string[]): Bundle {
    const bundle = this.member(script);
    bundle.config.annotations = {};
    this.share(bundle, ...shared);
    const files: Record<string, string> = { network: 'net' };
    for (const namespace of bundle.config.linux.namespaces)
      if (namespace.path !== undefined) namespace.path = `/proc/${this.pid(id)}/ns/${files[namespace.type] ?? namespace.type}`;
    return bundle.write();
  }

  private share(bundle: Bundle, ...kinds: string[]): void {
    const files: Record<string, string> = { network: 'net' };
    for (const namespace of bundle.config.linux.namespaces)
      if (kinds.includes(namespace.type)) namespace.path = `/proc/${this.pid('pod')}/ns/${files[namespace.type] ?? namespace.type}`;
  }

  async create(bundle: Bundle, id: string): Promise<void> {
    await this.ok('create', '--bundle', bundle.path, '--pid-file', join(this.sandbox.path, `${id}.pid`), id);
  }

  async run(bundle: Bundle, id: string): Promise<void> {
    await this.create(bundle, id);
    await this.ok('start', id);
  }

  async ok(...words: string[]): Promise<string> {
    const result = await this.sandbox.runsc(words);
    this.t.is(result.stderr, '', words.join(' '));
    this.t.is(result.status, 0, words.join(' '));
    return result.stdout;
  }

  async status(id: string): Promise<string> {
    const result = await this.sandbox.runsc(['state', id]);
    return result.status === 0 ? JSON.parse(result.stdout).status : result.stderr;
  }

  async until(what: () => Promise<boolean> | boolean): Promise<void> {
    for (let i = 0; i < 100; i++) {
      if (await what()) return;
      await sleep(50);
    }
    this.t.fail('it does not happen');
  }

  async remove(): Promise<void> {
    await this.sandbox.remove();
    for (const bundle of this.bundles) rmSync(bundle.path, { recursive: true, force: true });
  }

  // biome-ignore lint/suspicious/noExplicitAny: state.json
  state(id: string): any {
    return JSON.parse(readFileSync(join(this.sandbox.root, id, 'state.json'), 'utf8'));
  }

  /** Names of the processes beside the guest's: Sentry, gofers, broker. */
  helpers(): string {
    const { cgroup } = this.state('pod');
    const dir = cgroup.sandbox.memory ?? cgroup.dirs[''];
    const names = readFileSync(join(dir, 'cgroup.procs'), 'utf8').split('\n').map(commOf);
    return names.filter((name) => name.startsWith('runsc-')).join(' ');
  }
}

/** A name that containers of the same id, of other runs, do not have. */
function ownCgroup(bundle: Bundle): void {
  bundle.config.linux.cgroupsPath = `/${basename(bundle.path)}`;
}

/** Of a process, or '' when there is none. */
function commOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '';
  }
}

function podTest(title: string, body: (t: ExecutionContext, pod: Pod) => Promise<void>): void {
  if (reason !== undefined) test.skip(`${title} (${reason})`, () => {});
  else test.serial(title, (t) => body(t, new Pod(t)));
}

/** The commands that a container's processes list shows. */
const PROCESSES = 'for p in /proc/[0-9]*; do cat $p/cmdline 2>/dev/null | tr "\\0" " "; echo; done';

podTest('containers of a pod are in one sandbox, each with its own processes, files and end', async (t, pod) => {
  await pod.start();
  const one = pod.member('echo 1 > /mine; exec sleep 111');
  const two = pod.member('echo 2 > /mine; exec sleep 222');
  await pod.run(one, 'one');
  await pod.run(two, 'two');
  const sentries = ['pod', 'one', 'two'].map((id) => pod.state(id).sentry.pid);
  t.is(new Set(sentries).size, 1);
  const gofers = ['pod', 'one', 'two'].map((id) => pod.state(id).gofer.pid);
  t.is(new Set(gofers).size, 3);

  await pod.until(() => existsSync(join(two.path, 'rootfs', 'mine')) && existsSync(join(one.path, 'rootfs', 'mine')));
  t.is(await pod.ok('exec', 'one', 'cat', '/mine'), '1\n');
  t.is(await pod.ok('exec', 'two', 'cat', '/mine'), '2\n');
  const seen = await pod.ok('exec', 'one', '/bin/sh', '-c', PROCESSES);
  t.regex(seen, /sleep 111/);
  t.notRegex(seen, /sleep 222|trap/);
  const ofPod = await pod.ok('exec', 'pod', '/bin/sh', '-c', PROCESSES);
  t.notRegex(ofPod, /sleep 111|sleep 222/);
  // The host name is the pod's, the first process is each one's own.
  t.is(await pod.ok('exec', 'two', 'cat', '/proc/sys/kernel/hostname'), 'pod-host\n');
  t.regex(await pod.ok('exec', 'two', 'cat', '/proc/1/cmdline'), /sleep.222/);
  t.regex(await pod.ok('ps', 'one'), /^UID.*\n\S+ +1 +0 .*sleep\n$/);

  await pod.ok('kill', 'one', 'KILL');
  await pod.until(async () => (await pod.status('one')) === 'stopped');
  t.is(await pod.status('two'), 'running');
  await pod.ok('delete', 'one');
  t.is(await pod.ok('exec', 'two', 'cat', '/mine'), '2\n');

  // The same name can be used again.
  await pod.run(pod.member('exec sleep 333'), 'one');
  t.is(await pod.status('one'), 'running');

  await pod.ok('delete', '--force', 'pod');
  t.is(await pod.status('one'), 'stopped');
  t.is(await pod.status('two'), 'stopped');
  await pod.ok('delete', 'one');
  await pod.ok('delete', 'two');
  t.is(await pod.ok('list', '--quiet'), '');
});

podTest('the words of CRI-O; user, capabilities, limits and environment are each container its own', async (t, pod) => {
  await pod.start(CRIO);
  const one = pod.member('ulimit -n; id -u; grep CapEff /proc/self/status; echo $NAME; exit 5', CRIO);
  one.config.process.user = { uid: 1000, gid: 1000 };
  one.config.process.capabilities = { bounding: ['CAP_KILL'], effective: [], permitted: [], inheritable: [], ambient: [] };
  one.config.process.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 123, hard: 456 }];
  one.config.process.env.push('NAME=one');
  one.write();
  const result = await pod.sandbox.runsc(['run', '--bundle', one.path, 'one']);
  t.is(result.stderr, '');
  t.is(result.stdout, '123\n1000\nCapEff:\t0000000000000000\none\n');
  t.is(result.status, 5);
  t.is(await pod.ok('list', '--quiet'), 'pod\n');
});

podTest('a container that names the pid and ipc namespace of another shares them', async (t, pod) => {
  await pod.start();
  await pod.run(pod.member('exec sleep 111'), 'one');
  await pod.run(pod.stranger('exec sleep 222', 'one', 'pid', 'ipc'), 'two');
  for (const id of ['one', 'two']) {
    const seen = await pod.ok('exec', id, '/bin/sh', '-c', PROCESSES);
    t.regex(seen, /sleep 111/, id);
    t.regex(seen, /sleep 222/, id);
  }
  // Commands are about the container that they name.
  t.notRegex(await pod.ok('ps', 'two'), /^\S+ +1 /m);
  await pod.ok('kill', 'two', 'KILL');
  await pod.until(async () => (await pod.status('two')) === 'stopped');
  t.is(await pod.status('one'), 'running');
  await pod.ok('delete', 'two');

  // Whose pid namespace it is takes the others along, as on Linux.
  await pod.run(pod.stranger('exec sleep 333', 'one', 'pid'), 'three');
  await pod.ok('kill', 'one', 'KILL');
  await pod.until(async () => (await pod.status('three')) === 'stopped');
  t.is(await pod.status('pod'), 'running');
});

podTest('what cannot be in the sandbox is refused with the reason, and leaves nothing', async (t, pod) => {
  await pod.start();
  const helpers = pod.helpers();
  const mapped = pod.stranger('true', 'pod', 'pid');
  mapped.config.linux.namespaces.push({ type: 'user' });
  mapped.config.linux.uidMappings = mapped.config.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
  mapped.write();
  const ids = await pod.sandbox.runsc(['create', '--bundle', mapped.path, 'one']);
  t.regex(ids.stderr, /has to be in the sandbox of container "pod".*its user namespace has other ids: give both the same/);
  const nobody = pod.member('true');
  nobody.config.annotations[CRI.sandbox] = '../pod';
  nobody.write();
  t.regex((await pod.sandbox.runsc(['create', '--bundle', nobody.path, 'one'])).stderr, /invalid container id/);
  const program = pod.member('true');
  program.config.process.args = ['/nothing/there'];
  program.write();
  const missingProgram = await pod.sandbox.runsc(['create', '--bundle', program.path, 'one']);
  t.regex(missingProgram.stderr, /stat \/nothing\/there: no such file or directory/);
  t.is(missingProgram.status, 127);
  program.config.process.args = ['nothing-there'];
  program.write();
  t.regex((await pod.sandbox.runsc(['create', '--bundle', program.path, 'one'])).stderr, /executable file not found in \$PATH/);
  const mount = pod.member('true');
  mount.config.mounts.push({ destination: '/x', type: 'nofs', source: 'x', options: [] });
  mount.write();
  t.regex((await pod.sandbox.runsc(['create', '--bundle', mount.path, 'one'])).stderr, /mounting nofs at \/x: ENODEV/);
  t.is(await pod.ok('list', '--quiet'), 'pod\n');
  await pod.until(() => pod.helpers() === helpers);
  t.is(await pod.ok('exec', 'pod', 'echo', 'well'), 'well\n');
});

podTest('a gofer that dies ends its container alone; a Sentry that dies ends all', async (t, pod) => {
  await pod.start();
  await pod.run(pod.member('exec sleep 111'), 'one');
  await pod.run(pod.member('exec sleep 222'), 'two');
  process.kill(pod.state('one').gofer.pid, 'SIGKILL');
  await pod.until(async () => (await pod.status('one')) === 'stopped');
  t.is(await pod.ok('exec', 'two', 'echo', 'well'), 'well\n');
  t.is(await pod.ok('exec', 'pod', 'echo', 'well'), 'well\n');
  await pod.ok('delete', 'one');
  const { gofer } = pod.state('two');
  process.kill(pod.state('pod').sentry.pid, 'SIGKILL');
  await pod.until(async () => (await pod.status('two')) === 'stopped' && (await pod.status('pod')) === 'stopped');
  await pod.until(() => !existsSync(`/proc/${gofer.pid}/root/.`));
  await pod.ok('delete', 'two');
  await pod.ok('delete', 'pod');
});

podTest('the process of --pid-file stands for one container; a create that is killed leaves a pod that is well', async (t, pod) => {
  await pod.start();
  const helpers = pod.helpers();
  await pod.run(pod.member('trap "exit 0" TERM; while :; do sleep 1; done'), 'one');
  await pod.run(pod.member('exec sleep 222'), 'two');
  process.kill(pod.pid('one'), 'SIGTERM');
  await pod.until(async () => (await pod.status('one')) === 'stopped');
  process.kill(pod.pid('two'), 'SIGKILL');
  await pod.until(async () => (await pod.status('two')) === 'stopped');
  await pod.ok('delete', 'one');
  await pod.ok('delete', 'two');

  const late = pod.member('exec sleep 333');
  for (const ms of [150, 300, 450, 600, 800]) {
    const create = spawn(launcher, ['--root', late.root, 'create', '--bundle', late.path, 'late'], { stdio: 'ignore' });
    await sleep(ms);
    create.kill('SIGKILL');
    await pod.ok('delete', '--force', 'late');
    t.is(await pod.ok('exec', 'pod', 'echo', 'well'), 'well\n');
  }
  await pod.run(late, 'late');
  await pod.ok('kill', 'late', 'KILL');
  await pod.until(async () => (await pod.status('late')) === 'stopped');
  await pod.ok('delete', 'late');
  await pod.until(() => pod.helpers() === helpers);
});

podTest('pause, limits and hooks are those of one container', async (t, pod) => {
  await pod.start();
  const one = pod.member('exec sleep 111');
  one.config.linux.resources = { memory: { limit: 64 * 1024 * 1024 }, pids: { limit: 4 } };
  const told = join(one.path, 'told');
  one.config.hooks = { poststop: [{ path: '/bin/sh', args: ['sh', '-c', `cat > ${told}`] }] };
  await pod.run(one.write(), 'one');
  await pod.run(pod.member('exec sleep 222'), 'two');
  t.regex(await pod.ok('exec', 'one', 'grep', 'MemTotal', '/proc/meminfo'), / 65536 kB/);
  t.notRegex(await pod.ok('exec', 'two', 'grep', 'MemTotal', '/proc/meminfo'), / 65536 kB/);
  const forks = ['/bin/sh', '-c', 'for i in 1 2 3 4 5 6; do sleep 0.2 & done; wait; echo done'];
  t.regex((await pod.sandbox.runsc(['exec', 'one', ...forks])).stderr, /[Cc]annot fork/);
  t.is(await pod.ok('exec', 'two', ...forks), 'done\n');
  // A program that needs more than the limit is killed, and no other.
  const hungry = await pod.sandbox.runsc(['exec', 'one', '/bin/sh', '-c', 'head -c 200000000 /dev/zero | tail -n 1 | wc -c']);
  t.not(hungry.stdout, '200000000\n');
  t.is(await pod.status('one'), 'running');
  t.is(await pod.status('two'), 'running');

  await pod.ok('pause', 'one');
  t.is(await pod.status('one'), 'paused');
  t.is(await pod.ok('exec', 'two', 'echo', 'well'), 'well\n');
  await pod.ok('resume', 'one');
  t.is(await pod.ok('exec', 'one', 'echo', 'well'), 'well\n');
  await pod.ok('pause', 'one');
  await pod.ok('delete', '--force', 'one');
  t.is(JSON.parse(readFileSync(told, 'utf8')).id, 'one');
  // Whoever is to be killed in a paused pod has the pod go on.
  await pod.ok('pause', 'pod');
  await pod.ok('delete', '--force', 'two');
  t.is(await pod.status('pod'), 'running');
});

podTest('a container that shares processes may have a network of its own', async (t, pod) => {
  await pod.start();
  const alone = pod.stranger('exec sleep 111', 'pod', 'pid');
  alone.config.linux.namespaces.find((n: { type: string }) => n.type === 'network').path = undefined;
  alone.config.linux.sysctl = { 'net.ipv4.ip_unprivileged_port_start': '80' };
  await pod.run(alone.write(), 'one');
  t.regex(await pod.ok('exec', 'pod', '/bin/sh', '-c', PROCESSES), /sleep 111/);
  const network = (pid: number): number => statSync(`/proc/${pid}/ns/net`).ino;
  t.not(network(pod.pid('one')), network(pod.pid('pod')));
  // lo is up, and nobody of the pod hears what is said on it.
  const say =
    'import socket,sys; s=socket.socket(); s.bind(("127.0.0.1", 81)); s.listen(); c=socket.create_connection(("127.0.0.1", 81)); print(c.getpeername()[1])';
  t.is(await pod.ok('exec', 'one', 'python3', '-c', say), '81\n');
  const hold = 'import socket,time; s=socket.socket(); s.bind(("127.0.0.1", 8181)); s.listen(); time.sleep(60)';
  await pod.ok('exec', '--detach', 'one', 'python3', '-c', hold);
  const ask = ['python3', '-c', 'import socket; print(socket.socket().connect_ex(("127.0.0.1", 8181)))'];
  await pod.until(async () => (await pod.ok('exec', 'one', ...ask)) === '0\n');
  t.is(await pod.ok('exec', 'pod', ...ask), '111\n');
  // 8181 is 1FF5.
  t.regex(await pod.ok('exec', 'one', 'cat', '/proc/net/tcp'), /0100007F:1FF5/);
  t.notRegex(await pod.ok('exec', 'pod', 'cat', '/proc/net/tcp'), /0100007F:1FF5/);
  const helpers = pod.helpers();
  await pod.ok('delete', '--force', 'one');
  await pod.until(() => pod.helpers().length < helpers.length);
});
