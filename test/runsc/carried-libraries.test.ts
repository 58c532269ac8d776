// scripts/carry.ts and native/launcher, tried on Node itself.
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { carryLibraries } from '../../scripts/carry.ts';
import { unless } from '../support/unless.ts';

const launcher = join(import.meta.dirname, '..', '..', 'native', 'build', 'Release', 'launcher');
const GLIBC = [
  '/lib64/ld-linux-x86-64.so.2',
  ...['c.so.6', 'm.so.6', 'dl.so.2', 'pthread.so.0'].map((n) => `/lib/x86_64-linux-gnu/lib${n}`),
];
const rootless = process.getuid?.() === 0 ? [] : ['--map-root-user'];
const reason = !GLIBC.every((path) => existsSync(path))
  ? 'the C library is elsewhere on this host'
  : spawnSync('unshare', [...rootless, '--mount', 'true']).status !== 0
    ? 'the host makes no mount namespace for this user'
    : undefined;
const maybe = unless(reason);
const suffix = reason === undefined ? '' : ` (${reason})`;

/** A root folder with a C library and nothing else but the executable. */
function smallRoot(executable: string): string {
  const root = mkdtempSync(join(tmpdir(), 'runsc-small-'));
  for (const path of GLIBC) {
    mkdirSync(join(root, dirname(path)), { recursive: true });
    copyFileSync(path, join(root, path));
  }
  mkdirSync(join(root, 'proc'));
  copyFileSync(executable, join(root, 'node'));
  return root;
}

function runInside(root: string, ...args: string[]) {
  const script = 'mount --rbind /proc "$0/proc" && exec chroot "$0" /node "$@"';
  return spawnSync('unshare', [...rootless, '--mount', '--', 'sh', '-c', script, root, ...args], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH },
  });
}

maybe(`an executable with its libraries inside runs where there is only the C library${suffix}`, (t) => {
  t.timeout(120_000);
  const root = smallRoot(process.execPath);
  t.teardown(() => rmSync(root, { recursive: true }));
  const without = runInside(root, '--version');
  t.is(without.status, 127);
  t.regex(without.stderr, /libatomic/);

  carryLibraries(join(root, 'node'), readFileSync(launcher));
  const script =
    'console.log(process.argv[1], Object.keys(process.env).join(), require("fs").readFileSync("/proc/self/maps","latin1").match(/memfd:lib[a-z+_]*/g)[0])';
  const inside = runInside(root, '-e', script, 'word');
  t.is(inside.stderr, '');
  t.regex(inside.stdout, /^word PATH(,PWD)? memfd:lib/);
  // Where the host has them, they are the host's.
  const here = execFileSync(join(root, 'node'), ['-p', 'require("fs").readFileSync("/proc/self/maps","latin1").includes("memfd:lib")'], {
    encoding: 'utf8',
  });
  t.is(here, 'false\n');
});

maybe(`a word is said about what lacks${suffix}`, (t) => {
  t.timeout(120_000);
  const root = smallRoot(process.execPath);
  t.teardown(() => rmSync(root, { recursive: true }));
  carryLibraries(join(root, 'node'), readFileSync(launcher));
  const noProc = spawnSync('unshare', [...rootless, '--mount', '--', 'chroot', root, '/node', '--version'], { encoding: 'utf8' });
  t.is(noProc.status, 127);
  t.regex(noProc.stderr, /libatomic1 and libstdc\+\+6, or mount \/proc/);
  rmSync(join(root, 'lib64'), { recursive: true });
  const noLibc = runInside(root, '--version');
  t.is(noLibc.status, 127);
  t.regex(noLibc.stderr, /glibc.*ld-linux-x86-64/);
});
