// A podman with a storage of its own, whose containers run on this checkout's runsc, and an image made of the host's
// static busybox. As root, or as an ordinary user with ids of its own.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { baseEnv, type Result, run } from './processes.ts';
import { launcher } from './sandbox.ts';
import { findProgram } from './system.ts';

/** Longest time of one script: a loaded machine starts a container in seconds. */
const SCRIPT_MS = 120_000;
const PACKAGES = ['podman', 'crun', 'conmon', 'busybox-static', 'uidmap', 'fuse-overlayfs', 'slirp4netns', 'netavark', 'aardvark-dns'];
export const ROOTLESS_USER = 'runsc-test';

/** Why podman cannot be tried here, or undefined. install: gets what is missing, which only root of a Debian can. */
export function podmanMissing(install: boolean): string | undefined {
  if (process.getuid!() !== 0) return 'needs root';
  const programs = ['podman', 'conmon', 'busybox'];
  if (install && programs.some((name) => findProgram(name) === undefined) && findProgram('apt-get') !== undefined) {
    const apt = ['-o', 'DPkg::Lock::Timeout=120', '-y', '--no-install-recommends', 'install', ...PACKAGES];
    spawnSync('apt-get', apt, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...baseEnv(), DEBIAN_FRONTEND: 'noninteractive' } });
  }
  const absent = programs.find((name) => findProgram(name) === undefined);
  if (absent !== undefined) return `needs ${absent}`;
  const busybox = spawnSync('file', ['-L', findProgram('busybox')!], { encoding: 'utf8' });
  return busybox.status === 0 && !busybox.stdout.includes('static') ? 'needs a static busybox' : undefined;
}

/** Why there is no ordinary user to try it as, or undefined; makes the user. */
export function rootlessMissing(): string | undefined {
  if (findProgram('newuidmap') === undefined) return 'needs newuidmap';
  if (spawnSync('id', [ROOTLESS_USER]).status !== 0) {
    const made = spawnSync('useradd', ['--create-home', '--add-subids-for-system', '--system', '--shell', '/bin/sh', ROOTLESS_USER], {
      encoding: 'utf8',
    });
    if (made.status !== 0) return `the user ${ROOTLESS_USER} cannot be made: ${made.stderr.trim()}`;
  }
  const reads = spawnSync('setpriv', [...asUser(), 'test', '-x', launcher]);
  return reads.status === 0 ? undefined : `${ROOTLESS_USER} may not read this checkout`;
}

function asUser(): string[] {
  return ['--reuid', ROOTLESS_USER, '--regid', ROOTLESS_USER, '--init-groups', '--'];
}

export class Podman {
  /** Short, for the sockets below it. */
  readonly dir: string = mkdtempSync('/tmp/runsc-pd-');
  readonly rootless: boolean;
  private count = 0;

  constructor(rootless: boolean) {
    this.rootless = rootless;
    const conf = [
      '[containers]',
      'default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]',
      'log_driver = "k8s-file"',
      'netns = "none"',
      '[engine]',
      'cgroup_manager = "cgroupfs"',
      'events_logger = "file"',
      'runtime = "runsc"',
      '[engine.runtimes]',
      `runsc = ["${launcher}"]`,
    ];
    writeFileSync(join(this.dir, 'containers.conf'), `${conf.join('\n')}\n`);
    const storage = ['[storage]', `driver = "${rootless ? 'vfs' : 'overlay'}"`, `graphroot = "${this.dir}/s"`, `runroot = "${this.dir}/r"`];
    writeFileSync(join(this.dir, 'storage.conf'), `${storage.join('\n')}\n`);
    mkdirSync(join(this.dir, 'xdg'), { mode: 0o700 });
    mkdirSync(join(this.dir, 'work'));
    if (rootless) spawnSync('chown', ['-R', ROOTLESS_USER, this.dir]);
    chmodSync(this.dir, 0o755);
  }

  /** Makes the image "bb". */
  async makeImage(): Promise<Result> {
    const image = join(this.dir, 'image');
    for (const name of ['bin', 'tmp', 'etc', 'root', 'home']) mkdirSync(join(image, name), { recursive: true });
    chmodSync(join(image, 'tmp'), 0o1777);
    copyFileSync(findProgram('busybox')!, join(image, 'bin', 'busybox'));
    const applets = spawnSync('busybox', ['--list'], { encoding: 'utf8' }).stdout.split('\n');
    for (const name of applets) if (name !== '' && name !== 'busybox') symlinkSync('busybox', join(image, 'bin', name));
    writeFileSync(join(image, 'etc', 'passwd'), 'root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home:/bin/sh\n');
    writeFileSync(join(image, 'etc', 'group'), 'root:x:0:\nalice:x:1000:\nstaff:x:50:alice\n');
    writeFileSync(join(image, 'etc', 'text'), 'text\n');
    return this.run(`tar -C ${image} -c . | $P import -q -c 'CMD /bin/sh' -c ENV=PATH=/bin - bb`);
  }

  /** Runs a shell script in which $P is podman and $N a name that nobody else has. */
  run(script: string): Promise<Result> {
    const env = {
      ...baseEnv(),
      P: 'podman',
      N: `c${++this.count}`,
      L: launcher,
      TERM: 'dumb',
      CONTAINERS_CONF: join(this.dir, 'containers.conf'),
      CONTAINERS_STORAGE_CONF: join(this.dir, 'storage.conf'),
      ...(this.rootless ? { HOME: join(this.dir, 'work'), USER: ROOTLESS_USER, XDG_RUNTIME_DIR: join(this.dir, 'xdg') } : {}),
    };
    const shell = ['/bin/bash', '-c', script];
    return run(this.rootless ? ['setpriv', ...asUser(), ...shell] : shell, { env, cwd: join(this.dir, 'work'), timeoutMs: SCRIPT_MS });
  }

  /** Containers, images and storage. */
  async remove(): Promise<void> {
    await this.run('$P pod rm -f -a -t 0; $P rm -f -a -t 0; $P volume rm -f -a; $P rmi -f -a; $P unshare rm -rf ../s 2>/dev/null');
    spawnSync('umount', [join(this.dir, 's', 'overlay')], { stdio: 'ignore' });
    // A rootless podman keeps a process that holds its user namespace.
    if (this.rootless) spawnSync('bash', ['-c', `kill $(cat ${this.dir}/xdg/libpod/tmp/pause.pid 2>/dev/null) 2>/dev/null`]);
    rmSync(this.dir, { recursive: true, force: true });
  }
}
