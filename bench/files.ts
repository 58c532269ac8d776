// What people do with files: walking trees, unpacking, version control, package installs, databases, large reads.
import { type SpawnSyncOptions, spawnSync } from 'node:child_process';
import { closeSync, copyFileSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Column } from './support/column.ts';
import { type Group, type Sample, Unavailable } from './support/group.ts';
import { buildGuest } from './support/guest-program.ts';
import { idleMemory } from './support/private-memory.ts';

const SMALL_FILES = 20_000;
const TRACKED_FILES = 10_000;
const STATTED_FILES = 100_000;
const INSERTS = 10_000;
const GIBIBYTE = 2 ** 30;

let work = '';
let fb = '';
/** Rows for which this machine lacks a program. */
const lacking = new Set<string>();

export const files: Group = {
  name: 'files',
  what: 'work with many files, large files, a database',
  rows: [
    { name: 'find-cold', what: 'find /usr -type f, nothing cached', unit: 'ms', native: 3, peer: 1 },
    { name: 'find-warm', what: 'find /usr -type f, again', unit: 'ms', native: 1.5, peer: 1 },
    { name: 'tar', what: `tar x of ${SMALL_FILES} small files`, unit: 'ms', native: 1.5, peer: 1 },
    { name: 'git-status', what: `git status in ${TRACKED_FILES} files`, unit: 'ms', native: 2, peer: 1 },
    { name: 'npm-ci', what: 'npm ci --offline', unit: 'ms', native: 1.5, peer: 1 },
    { name: 'read-1g', what: 'read 1 GiB of the root', unit: 'MB/s', isRate: true, native: 1.2, peer: 1 },
    { name: 'random-read', what: 'pread 4 KiB anywhere in a bind mount', unit: 'ns', native: 2, peer: 1 },
    { name: 'sqlite', what: `sqlite, ${INSERTS} inserts`, unit: 'ms', native: 1.5, peer: 1 },
    { name: 'dentries', what: `private memory after ${STATTED_FILES} stats, at most 40 MiB above idle`, unit: 'MiB', peer: 1 },
  ],
  maxRounds: 3,
  isOptional: true,
  prepare,
  async measure(column, wanted, sample) {
    let failed: unknown;
    for (const [row, measure] of Object.entries(rows)) {
      if (!wanted.has(row) || lacking.has(row)) continue;
      try {
        await measure(column, sample);
      } catch (error) {
        // The other rows still tell something.
        failed ??= error;
      }
    }
    if (failed !== undefined) throw failed;
  },
  dispose() {
    if (work !== '') rmSync(work, { recursive: true, force: true });
  },
};

const rows: Record<string, (column: Column, sample: Sample) => void | Promise<void>> = {
  'find-cold'(column, sample) {
    dropCaches();
    timed(column, sample, 'find-cold', 1, ['find', '/usr', '-type', 'f']);
  },
  'find-warm'(column, sample) {
    // The first run of the sandbox fills its caches.
    inside(column, sample, `fb run fill 1 find /usr -type f; fb run find-warm 3 find /usr -type f`);
  },
  tar(column, sample) {
    inside(column, sample, `mkdir to && cd to && fb run tar 1 tar xf ${work}/small.tar; rm -rf ../to`);
  },
  'git-status'(column, sample) {
    const git = 'git --no-optional-locks -c safe.directory=* status';
    inside(column, sample, `cd ${work}/tracked && fb run fill 1 ${git}; fb run git-status 3 ${git}`);
  },
  'npm-ci'(column, sample) {
    const npm = `npm ci --offline --no-audit --no-fund --cache ${work}/npm-cache`;
    inside(column, sample, `cp -r ${work}/project to && cd to && fb run npm-ci 1 ${npm}; rm -rf ../to`);
  },
  'read-1g'(column, sample) {
    inside(column, sample, `fb read read-1g ${work}/large`);
  },
  'random-read'(column, sample) {
    const bound = column.kind === 'native' ? `${work}/large` : '/mnt/large';
    const flags = column.kind === 'native' ? [] : ['-v', `${work}:/mnt`, '--'];
    collect(column.output([...flags, fb, 'random-read', 'random-read', bound]), sample);
  },
  sqlite(column, sample) {
    // Without waiting for the disk, which an upper layer in memory never does.
    inside(column, sample, `fb run sqlite 1 sqlite3 to.db '.read ${work}/inserts.sql'; rm -f to.db`);
  },
  async dentries(column, sample) {
    if (column.kind === 'native') return;
    const mebibytes = await idleMemory(column.command(fb, 'hold', join(work, 'many')), true);
    if (mebibytes !== undefined) sample('dentries', mebibytes);
  },
};

function timed(column: Column, sample: Sample, row: string, times: number, command: readonly string[]): void {
  collect(column.output([fb, 'run', row, `${times}`, ...command]), sample);
}

/** Runs a line of shell in a folder that can be written, with fb's path for its name. */
function inside(column: Column, sample: Sample, script: string): void {
  const line = `cd ${work}/scratch && ${script.replaceAll(/\bfb (?=run|read)/g, `${fb} `)}`;
  collect(column.output(['sh', '-ec', line], { timeoutMs: 300_000 }), sample);
}

function collect(output: string, sample: Sample): void {
  for (const [, row, value] of output.matchAll(/^(\S+) ([\d.]+)$/gm)) if (row !== 'fill') sample(row!, Number(value));
}

/** Empties the host's caches, where we may: elsewhere "cold" is what a fresh sandbox is. */
function dropCaches(): void {
  spawnSync('sync');
  try {
    writeFileSync('/proc/sys/vm/drop_caches', '3');
  } catch {
    // Not root.
  }
}

// ---- what is worked on

function prepare(wanted: ReadonlySet<string>): void {
  fb = buildGuest('fb');
  // Not below /tmp, which may be memory.
  work = mkdtempSync('/var/tmp/runsc-bench-');
  mkdirSync(join(work, 'scratch'));
  copyFileSync(fb, join(work, 'fb'));
  fb = join(work, 'fb');
  if (wanted.has('tar')) prepareTar();
  if (wanted.has('git-status')) prepareGit();
  if (wanted.has('npm-ci')) prepareNpm();
  if (wanted.has('read-1g') || wanted.has('random-read')) prepareLarge();
  if (wanted.has('sqlite')) prepareSqlite();
  if (wanted.has('dentries')) fill(join(work, 'many'), STATTED_FILES, 0);
}

function prepareTar(): void {
  fill(join(work, 'small'), SMALL_FILES, 2600);
  must('tar', ['cf', join(work, 'small.tar'), '-C', join(work, 'small'), '.']);
}

function prepareLarge(): void {
  const large = openSync(join(work, 'large'), 'w');
  const block = Buffer.alloc(1 << 20, 'large file');
  for (let at = 0; at < GIBIBYTE; at += block.length) writeSync(large, block);
  closeSync(large);
}

function prepareSqlite(): void {
  if (lacks('sqlite', 'sqlite3')) return;
  const insert = "INSERT INTO t(b) VALUES('a value of a row');\n";
  const script = `PRAGMA synchronous=OFF;\nCREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);\n${insert.repeat(INSERTS)}`;
  writeFileSync(join(work, 'inserts.sql'), script);
}

/** `count` files of `bytes` bytes, a hundred a folder. */
function fill(folder: string, count: number, bytes: number): void {
  mkdirSync(folder, { recursive: true });
  const text = Buffer.alloc(bytes, 'text of a file\n');
  for (let i = 0; i < count; i++) {
    if (i % 100 === 0) mkdirSync(join(folder, `d${i / 100}`));
    writeFileSync(join(folder, `d${Math.floor(i / 100)}`, `file-${i % 100}`), text);
  }
}

function prepareGit(): void {
  if (lacks('git-status', 'git')) return;
  const tracked = join(work, 'tracked');
  fill(tracked, TRACKED_FILES, 40);
  const run = (...args: string[]) => must('git', ['-C', tracked, '-c', 'user.name=bench', '-c', 'user.email=bench@localhost', ...args]);
  run('init', '-q');
  run('add', '-A');
  run('commit', '-qm', 'all');
}

/** A project with forty dependencies of fifty files, which npm takes from tarballs. */
function prepareNpm(): void {
  if (lacks('npm-ci', 'npm')) return;
  const project = join(work, 'project');
  const dependencies: Record<string, string> = {};
  mkdirSync(join(project, 'tarballs'), { recursive: true });
  for (let i = 0; i < 40; i++) {
    const name = `bench-dependency-${i}`;
    const folder = join(work, 'package');
    mkdirSync(folder);
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name, version: '1.0.0' }));
    fill(folder, 50, 2000);
    must('tar', ['czf', join(project, 'tarballs', `${name}.tgz`), '-C', work, 'package']);
    rmSync(folder, { recursive: true });
    dependencies[name] = `file:tarballs/${name}.tgz`;
  }
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'bench', version: '1.0.0', dependencies }));
  const cache = ['--cache', join(work, 'npm-cache')];
  must('npm', ['install', '--package-lock-only', '--offline', '--no-audit', '--no-fund', ...cache], { cwd: project });
}

/** Whether this machine has no such program; the row is then left out. */
function lacks(row: string, program: string): boolean {
  if (spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0) return false;
  lacking.add(row);
  return true;
}

function must(program: string, args: readonly string[], options: SpawnSyncOptions = {}): void {
  const run = spawnSync(program, args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'latin1', ...options });
  if (run.error !== undefined) throw new Unavailable(`${program}: ${run.error.message}`);
  if (run.status !== 0) throw new Unavailable(`${program} ${args.join(' ')}: ${String(run.stderr).trim()}`);
}
