// Whole programs, from fork to exit inside the sandbox: its start is not counted.
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Group } from './support/group.ts';
import { buildGuest } from './support/guest-program.ts';

const FILES = 2000;
const OBJECTS = 20;

let place = '';

const SQLITE = `import sqlite3, os, tempfile
with tempfile.TemporaryDirectory() as d:
    c = sqlite3.connect(os.path.join(d, 'db'), isolation_level=None)
    c.execute('create table t (id integer primary key, text)')
    for i in range(300): c.execute('insert into t (text) values (?)', ('row %d' % i,))`;

/** Program and its arguments by row; `needs` is what must be in PATH. */
const programs: Readonly<Record<string, { needs: string; argv: () => string[] }>> = {
  find: { needs: 'find', argv: () => ['find', '/usr'] },
  python: { needs: 'python3', argv: () => ['python3', '-c', 'pass'] },
  'git-status': { needs: 'git', argv: () => ['git', '-C', join(place, 'repository'), '-c', 'safe.directory=*', 'status'] },
  make: { needs: 'make', argv: () => ['make', '-s', '-B', '-C', join(place, 'make')] },
  sqlite: { needs: 'python3', argv: () => ['python3', '-c', SQLITE] },
};

export const programGroup: Group = {
  name: 'programs',
  what: 'whole programs',
  rows: [
    { name: 'find', what: 'find /usr', unit: 'ns' },
    { name: 'python', what: 'python3 -c pass', unit: 'ns' },
    { name: 'git-status', what: `git status of ${FILES} files`, unit: 'ns' },
    { name: 'make', what: `make of ${OBJECTS} small C files`, unit: 'ns' },
    { name: 'sqlite', what: '300 inserts into a sqlite file, each a transaction', unit: 'ns' },
  ],
  maxRounds: 3,
  prepare() {
    place = mkdtempSync(join(tmpdir(), 'runsc-bench-'));
    makeRepository(join(place, 'repository'));
    makeProject(join(place, 'make'));
  },
  measure(column, wanted, sample) {
    for (const name of wanted) {
      const { needs, argv } = programs[name]!;
      if (spawnSync('sh', ['-c', `command -v ${needs}`], { stdio: 'ignore' }).status !== 0) continue;
      sample(name, Number(column.output([buildGuest('tool'), 'time', '3', ...argv()])));
    }
  },
  dispose() {
    rmSync(place, { recursive: true, force: true });
  },
};

function makeRepository(dir: string): void {
  for (let i = 0; i < FILES; i++) {
    const folder = join(dir, `folder-${i % 50}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `file-${i}`), `contents of ${i}\n`);
  }
  const identity = ['-c', 'user.name=bench', '-c', 'user.email=bench@localhost'];
  for (const words of [
    ['init', '-q'],
    ['add', '.'],
    [...identity, 'commit', '-qm', 'All'],
  ])
    spawnSync('git', ['-C', dir, ...words], { stdio: 'ignore' });
}

function makeProject(dir: string): void {
  mkdirSync(dir, { recursive: true });
  const names = Array.from({ length: OBJECTS }, (_, i) => `part${i}`);
  for (const name of names)
    writeFileSync(join(dir, `${name}.c`), `#include <stdio.h>\nint ${name}(int n) { return printf("%d\\n", n); }\n`);
  writeFileSync(join(dir, 'Makefile'), `all: ${names.map((name) => `${name}.o`).join(' ')}\n%.o: %.c\n\tcc -O1 -c -o $@ $<\n`);
}
