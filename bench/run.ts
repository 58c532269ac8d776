// `npm run bench`: native, ours and other runtimes side by side. Every round runs each of them once, in turn, so that a change of
// the machine's mood hits all alike; medians over the rounds are compared.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { idleMemory } from './idle-memory.ts';
import { allRows, guestRows, median, memoryRow, startRow } from './rows.ts';
import { type Measured, printTable } from './table.ts';

const root = join(import.meta.dirname, '..');
const usage = `npm run bench -- [options]
  --runtime 'PATH [FLAG...]'  another runtime with a 'do' command (may be repeated)
  --ours 'PATH [FLAG...]'     how ours is started (default bin/runsc)
  --row NAME                  measure this row alone (may be repeated): ${allRows.map((row) => row.name).join(' ')}
  --rounds N                  rounds (default 5)
  --json                      print JSON in place of the table`;

const { values: options } = parseArgs({
  options: {
    runtime: { type: 'string', multiple: true, default: [] },
    ours: { type: 'string', default: join(root, 'bin', 'runsc') },
    row: { type: 'string', multiple: true, default: [] },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(usage);
  process.exit(0);
}

interface Column {
  name: string;
  /** What stands before the program to run; nothing for native. */
  prefix: string[];
  /** Row name to one value a round. */
  samples: Map<string, number[]>;
}

function column(name: string, command: string): Column {
  const words = command.split(' ').filter((word) => word !== '');
  const prefix = words.length === 0 ? [] : [resolve(words[0]), ...words.slice(1), 'do'];
  return { name, prefix, samples: new Map() };
}

const others = options.runtime.map((command, i) => column(options.runtime.length > 1 ? `other ${i + 1}` : 'other', command));
const columns = [column('native', ''), column('ours', options.ours), ...others];
const rounds = Number(options.rounds);
const wanted = allRows.filter((row) => options.row.length === 0 || options.row.includes(row.name));
const program = buildGuest();

for (let round = 1; round <= rounds; round++) {
  for (const one of columns) {
    if (!options.json) process.stderr.write(`\rround ${round} of ${rounds}: ${one.name.padEnd(10)}`);
    runGuest(one);
    runStart(one);
    // Memory hardly varies: once is enough.
    if (round === 1 && one.prefix.length > 0 && wanted.includes(memoryRow)) sample(one, memoryRow.name, await idleMemory(one.prefix));
  }
}
if (!options.json) process.stderr.write(`\r${' '.repeat(40)}\r`);
report();

function buildGuest(): string {
  const source = join(root, 'bench', 'guest', 'ub.c');
  const binary = join(root, 'bench', 'guest', 'build', 'ub');
  if (existsSync(binary) && statSync(binary).mtimeMs >= statSync(source).mtimeMs) return binary;
  mkdirSync(join(binary, '..'), { recursive: true });
  const gcc = spawnSync('gcc', ['-O2', '-Wall', '-static', '-pthread', '-o', binary, source], { stdio: 'inherit' });
  if (gcc.status !== 0) throw new Error(`bench: ${source} does not compile`);
  return binary;
}

function sample(one: Column, row: string, value: number | undefined): void {
  if (value === undefined) return;
  const values = one.samples.get(row);
  if (values === undefined) one.samples.set(row, [value]);
  else values.push(value);
}

function runGuest(one: Column): void {
  const rows = guestRows.filter((row) => wanted.includes(row)).map((row) => row.name);
  if (rows.length === 0) return;
  const [command, ...args] = [...one.prefix, program, ...rows];
  const run = spawnSync(command, args, { encoding: 'utf8', timeout: 120_000, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const match of run.stdout.matchAll(/^(\S+) ([\d.]+)$/gm)) sample(one, match[1], Number(match[2]));
  if (run.status !== 0) complain(one, `ended with ${run.signal ?? `status ${run.status}`}: ${run.stderr.trim().split('\n').at(-1)}`);
}

function runStart(one: Column): void {
  if (!wanted.includes(startRow)) return;
  const [command, ...args] = [...one.prefix, 'true'];
  for (let i = 0; i < 3; i++) {
    const start = process.hrtime.bigint();
    const run = spawnSync(command, args, { stdio: 'ignore', timeout: 60_000 });
    if (run.status !== 0) {
      complain(one, `cannot run 'true': ${run.error?.message ?? run.signal ?? `status ${run.status}`}`);
      return;
    }
    sample(one, startRow.name, Number(process.hrtime.bigint() - start) / 1e6);
  }
}

function complain(one: Column, what: string): void {
  process.stderr.write(`\nbench: ${one.prefix.join(' ') || one.name} ${what}\n`);
  process.exitCode = 1;
}

function report(): void {
  const measured: Measured[] = wanted.map((row) => ({
    row,
    medians: columns.map((one) => (one.samples.has(row.name) ? median(one.samples.get(row.name)!) : undefined)),
  }));
  if (!options.json) {
    console.log(
      printTable(
        columns.map((one) => one.name),
        measured,
      ),
    );
    return;
  }
  const rows = measured.map(({ row, medians }) => ({
    name: row.name,
    unit: row.unit,
    bars: { native: row.native, peer: row.peer },
    medians: Object.fromEntries(columns.map((one, i) => [one.name, medians[i]])),
    ratios: Object.fromEntries(columns.filter((_, i) => i !== 1).map((one) => [one.name, ratioOfOurs(medians, columns.indexOf(one))])),
  }));
  console.log(JSON.stringify({ rounds, columns: columns.map((one) => ({ name: one.name, command: one.prefix })), rows }, null, 2));
}

function ratioOfOurs(medians: (number | undefined)[], base: number): number | undefined {
  const ours = medians[1];
  const other = medians[base];
  return ours === undefined || other === undefined ? undefined : ours / other;
}
