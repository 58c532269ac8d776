// Containers for tests: a bundle whose root holds one static program, a state folder of its own, and a list of all that is left of
// it afterwards. The test process becomes the reaper of orphans, so whatever a sandbox leaves running shows up below it.
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { setChildSubreaper, waitPid } from 'ptrace-napi';
import { buildGuest } from './guest.ts';
import { baseEnv, descendants, isAlive, type Result, type RunOptions, run } from './processes.ts';
import { launcher } from './sandbox.ts';

const WNOHANG = 1;
/** How long what has ended may take to be gone, in milliseconds. */
const PATIENCE_MS = 5000;

// biome-ignore lint/suspicious/noExplicitAny: a config.json that a test is to spoil has any shape.
export type Spec = any;

/** Where the only program of a bundle's root lies. */
export const VICTIM = '/bin/victim';

export class VictimBundle {
  /** Everything below here is the test's: bundle, root and state. */
  readonly dir: string;
  readonly rootfs: string;
  private readonly platform: string;
  private readonly ids = new Set<string>();

  private constructor(dir: string, platform: string) {
    this.dir = dir;
    this.rootfs = join(dir, 'rootfs');
    this.platform = platform;
  }

  /** A bundle whose program is the victim with these arguments; `change` may alter its config.json. */
  static async create(platform: string, args: string[], change: (spec: Spec) => void = () => {}): Promise<VictimBundle> {
    setChildSubreaper(1);
    const bundle = new VictimBundle(mkdtempSync('/tmp/runsc-test-'), platform);
    for (const name of ['bin', 'dev', 'proc', 'sys', 'tmp']) mkdirSync(join(bundle.rootfs, name), { recursive: true });
    copyFileSync(await buildGuest('helper-victim'), join(bundle.rootfs, VICTIM));
    bundle.configure([VICTIM, ...args], change);
    return bundle;
  }

  /** Writes config.json anew. */
  configure(args: string[], change: (spec: Spec) => void = () => {}): void {
    const spec: Spec = {
      ociVersion: '1.0.2',
      root: { path: 'rootfs' },
      process: { args, cwd: '/', env: ['PATH=/bin'], user: { uid: 0, gid: 0 } },
      hostname: 'test',
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['size=1m', 'mode=1777'] },
      ],
      linux: { namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })) },
    };
    change(spec);
    this.write(JSON.stringify(spec));
  }

  /** Writes config.json as it stands, well-formed or not. */
  write(text: string): void {
    writeFileSync(join(this.dir, 'config.json'), text);
  }

  /** `runsc` with this bundle's state folder. */
  runsc(args: string[], options: RunOptions = {}): Promise<Result> {
    const flags = [`--root=${join(this.dir, 'state')}`, `--platform=${this.platform}`];
    return run([launcher, ...flags, ...args], { env: baseEnv(), timeoutMs: 30_000, ...options });
  }

  /** `runsc run ID`. */
  run(id: string, options: RunOptions = {}): Promise<Result> {
    this.ids.add(id);
    return this.runsc(['run', `--bundle=${this.dir}`, id], options);
  }

  /** `runsc create ID`; throws with its words if it fails. The container's output goes nowhere. */
  async createContainer(id: string): Promise<void> {
    this.ids.add(id);
    const pidFile = join(this.dir, `${id}.pid`);
    const created = await this.runsc(['create', `--bundle=${this.dir}`, `--pid-file=${pidFile}`, id]);
    if (created.status !== 0) throw new Error(`create: ${created.stderr}`);
  }

  async start(id: string): Promise<void> {
    await this.createContainer(id);
    const started = await this.runsc(['start', id]);
    if (started.status !== 0) throw new Error(`start: ${started.stderr}`);
  }

  /** The host process that stands for a container. */
  pidOf(id: string): number {
    return Number(readFileSync(join(this.dir, `${id}.pid`), 'utf8'));
  }

  /** What `state` says of a container: its status, or 'none'. */
  async status(id: string): Promise<string> {
    const { status, stdout } = await this.runsc(['state', id]);
    return status === 0 ? (JSON.parse(stdout).status as string) : 'none';
  }

  /** Waits until `state` says so. */
  async becomes(id: string, wanted: string): Promise<boolean> {
    for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(100)) if ((await this.status(id)) === wanted) return true;
    return false;
  }

  /** Deletes every container by force and then names all that is still there: nothing, if runsc cleans up behind itself. */
  async remains(): Promise<string[]> {
    for (const id of this.ids) await this.runsc(['delete', '--force', id]);
    let found: string[] = [];
    for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(100)) {
      found = [...processes(), ...this.files(), ...this.mounts(), ...cgroups(this.ids)];
      if (found.length === 0) return found;
    }
    return found;
  }

  /** Removes all of it, whatever state it is in. */
  dispose(): void {
    for (const pid of descendants(process.pid)) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }

  private files(): string[] {
    const state = join(this.dir, 'state');
    const states = existsSync(state) ? readdirSync(state).map((name) => `state ${name}`) : [];
    // Mount points are made in the root and stay there, as with other runtimes.
    const entries = readdirSync(this.rootfs, { recursive: true, withFileTypes: true });
    const strangers = entries.filter((entry) => !entry.isDirectory() && entry.name !== 'victim').map((entry) => entry.name);
    return [...states, ...strangers.map((name) => `file ${name} in the root`)];
  }

  private mounts(): string[] {
    const lines = readFileSync('/proc/self/mountinfo', 'latin1').split('\n');
    return lines.filter((line) => line.includes(this.dir)).map((line) => `mount ${line.split(' ')[4]}`);
  }
}

/** Processes below this one that have not ended, other than those it started itself and still waits for. */
function processes(): string[] {
  const found: string[] = [];
  for (const pid of descendants(process.pid)) {
    if (isAlive(pid)) found.push(`process ${pid}: ${readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ')}`);
    // Orphans come to us as zombies; what Node itself has started, Node reaps.
    else if (adopted(pid)) waitPid(pid, WNOHANG);
  }
  return found;
}

function adopted(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' && Number(fields[1]) === process.pid;
  } catch {
    return false;
  }
}

function cgroups(ids: Set<string>): string[] {
  const found: string[] = [];
  const walk = (dir: string, depth: number): void => {
    let names: string[] = [];
    try {
      names = readdirSync(dir, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => entry.name);
    } catch {
      return; // gone while it is read
    }
    for (const name of names) {
      if (ids.has(name)) found.push(`cgroup ${join(dir, name)}`);
      if (depth < 5) walk(join(dir, name), depth + 1);
    }
  };
  walk('/sys/fs/cgroup', 0);
  return found;
}
