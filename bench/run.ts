// `npm run bench`: native, this runtime on its platforms, and other runtimes side by side. Every round of a group runs each column
// once, in turn, so that a change of the machine's mood hits all alike; medians over the rounds are compared.
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { groups } from './groups.ts';
import { type Busy, makeBusy } from './support/busy.ts';
import { type Column, native, ours, peer, usualPeers } from './support/column.ts';
import { type Group, Unavailable } from './support/group.ts';
import { type Line, medianOf, printTable, ratio } from './support/table.ts';

const root = join(import.meta.dirname, '..');
const usage = `npm run bench -- [OPTION...] [GROUP | GROUP/ROW]...

Groups (all but those in brackets, if none is named):
${groups.map((group) => `  ${(group.isOptional === true ? `[${group.name}]` : group.name).padEnd(12)} ${group.what}`).join('\n')}

Options:
  --runtime 'PATH [FLAG...]'  another runtime (may be repeated; default: runsc, runc and crun of PATH)
  --no-peers                  no other runtime
  --ours 'PATH [FLAG...]'     how ours is started (default bin/runsc)
  --platform NAME             only this platform of ours (may be repeated; default systrap and ptrace)
  --rounds N                  rounds (default 5)
  --busy                      with two programs beside it that use all the CPU time they get
  --json                      print JSON in place of the table
  --list                      print the rows`;

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runtime: { type: 'string', multiple: true, default: [] },
    'no-peers': { type: 'boolean', default: false },
    ours: { type: 'string', default: join(root, 'bin', 'runsc') },
    platform: { type: 'string', multiple: true, default: ['systrap', 'ptrace'] },
    rounds: { type: 'string', default: '5' },
    busy: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) end(usage);
if (options.list) end(groups.flatMap((group) => group.rows.map((row) => `${group.name}/${row.name}  ${row.what}`)).join('\n'));

const known = new Set(groups.flatMap((group) => [group.name, ...group.rows.map((row) => `${group.name}/${row.name}`)]));
const unknown = positionals.find((name) => !known.has(name));
if (unknown !== undefined) end(`bench: there is no group or row '${unknown}': --list has them all`, 2);
const rounds = Number(options.rounds);
if (!Number.isInteger(rounds) || rounds < 1) end(`bench: --rounds ${options.rounds}: a number from 1 on is wanted`, 2);

const notes: string[] = [];
const columns: Column[] = [native(), ...options.platform.map((platform) => ours(options.ours, platform))];
const peers = options['no-peers'] ? [] : options.runtime.length > 0 ? options.runtime.map(peer) : usualPeers();
for (const one of peers) {
  if (typeof one === 'string') note(one);
  else columns.push(one);
}

const lines: Line[] = [];
const busy: Busy | undefined = options.busy ? makeBusy(2) : undefined;
try {
  for (const group of groups) await runGroup(group);
} finally {
  busy?.end();
}
report();

/** Names of the group's rows that the command line asks for. */
function wantedRows(group: Group): Set<string> {
  const isAll = positionals.length === 0 ? group.isOptional !== true : positionals.includes(group.name);
  return new Set(group.rows.map((row) => row.name).filter((name) => isAll || positionals.includes(`${group.name}/${name}`)));
}

async function runGroup(group: Group): Promise<void> {
  const wanted = wantedRows(group);
  if (wanted.size === 0) return;
  const lost = new Set<Column>();
  try {
    await group.prepare?.(wanted);
    for (const row of group.rows) if (wanted.has(row.name)) lines.push({ group: group.name, row });
    const count = Math.min(rounds, group.maxRounds ?? rounds);
    for (let round = 1; round <= count; round++) {
      for (const column of columns) {
        if (lost.has(column)) continue;
        progress(`${group.name}: round ${round} of ${count}: ${column.name}`);
        try {
          await group.measure(column, wanted, (row, value) => column.addSample(`${group.name}/${row}`, value));
        } catch (error) {
          // Once is enough to know, and a failing column must not cost the others their rounds.
          lost.add(column);
          if (!(error instanceof Unavailable)) process.exitCode = 1;
          note(`${group.name}: ${column.name}: ${error instanceof Error ? error.message : error}`);
        }
      }
    }
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    note(`${group.name} is left out: ${error.message}`);
  } finally {
    group.dispose?.();
    progress('');
  }
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${text.padEnd(60)}\r`);
}

function note(text: string): void {
  notes.push(text);
  process.stderr.write(`bench: ${text}\n`);
}

function report(): void {
  if (!options.json) {
    const measured = columns.filter((column) => column.samples.size > 0);
    console.log(printTable(measured, lines));
    return;
  }
  const base = columns[0]!;
  const rows = lines.map((line) => ({
    group: line.group,
    name: line.row.name,
    what: line.row.what,
    unit: line.row.unit,
    bars: { native: line.row.native, peer: line.row.peer },
    medians: Object.fromEntries(columns.map((column) => [column.name, medianOf(column, line)])),
    samples: Object.fromEntries(columns.map((column) => [column.name, column.samples.get(`${line.group}/${line.row.name}`)])),
    timesNative: Object.fromEntries(
      columns.slice(1).map((column) => [column.name, ratio(line.row, medianOf(column, line), medianOf(base, line))]),
    ),
    oursTimesPeer: Object.fromEntries(
      columns
        .filter((column) => column.kind === 'peer')
        .map((column) => [column.name, ratio(line.row, medianOf(columns[1]!, line), medianOf(column, line))]),
    ),
  }));
  const described = columns.map((column) => ({ name: column.name, kind: column.kind, command: column.runtime }));
  console.log(JSON.stringify({ rounds, busy: options.busy, columns: described, notes, rows }, null, 2));
}

function end(text: string, status = 0): never {
  (status === 0 ? process.stdout : process.stderr).write(`${text}\n`);
  process.exit(status);
}
