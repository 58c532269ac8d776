// `runsc ps`: the container's processes with their numbers inside, since the host sees only stubs.

import { readFileSync } from 'node:fs';
import type { ProcessInfo } from '../../sentry/boot/control-protocol.ts';
import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { RunscError } from '../errors.ts';
import { print } from '../output.ts';
import { pausedProcesses } from '../paused-processes.ts';
import { hostText } from '../text.ts';

export function run({ config, flags, args }: Invocation): number {
  const container = Container.load(config, args[0]!);
  if (flags.string('format') === 'json') {
    print(`${JSON.stringify(hostProcesses(container))}\n`);
    return 0;
  }
  print(processTable(container, args.slice(1)));
  return 0;
}

/** Numbers on the host, for who looks them up there: processes that stand for the container's programs. */
function hostProcesses(container: Container): number[] {
  if (container.status === 'stopped') return [];
  const known = container.cgroup()?.standIns() ?? [];
  return known.length > 0 ? known : [container.ociState().pid];
}

type Column = readonly [title: string, of: (p: ProcessInfo, now: number) => string];

const COLUMNS: Readonly<Record<string, Column>> = {
  user: ['UID', (p) => userName(p.uid)],
  uid: ['UID', (p) => String(p.uid)],
  pid: ['PID', (p) => String(p.pid)],
  ppid: ['PPID', (p) => String(p.ppid)],
  c: ['C', (p) => String(p.ageNs > 0 ? Math.min(99, Math.floor((p.cpuNs / p.ageNs) * 100)) : 0)],
  stime: ['STIME', (p, now) => new Date(now - p.ageNs / 1e6).toTimeString().slice(0, 5)],
  tty: ['TTY', () => '?'],
  stat: ['STAT', (p) => (p.threads > 1 ? 'Sl' : 'S')],
  time: ['TIME', (p) => duration(p.cpuNs)],
  nlwp: ['NLWP', (p) => String(p.threads)],
  etime: ['ELAPSED', (p) => duration(p.ageNs)],
  comm: ['COMMAND', (p) => hostText(p.command)],
  cmd: ['CMD', (p) => hostText(p.command)],
};
const ALIASES: Readonly<Record<string, string>> = {
  args: 'comm',
  command: 'comm',
  tname: 'tty',
  tt: 'tty',
  s: 'stat',
  state: 'stat',
  cputime: 'time',
};

const FULL = ['user', 'pid', 'ppid', 'c', 'stime', 'tty', 'time', 'cmd'];
/** ps(1) sets numbers flush right. */
const BSD_COLUMNS: Column[] = [
  ['    PID', (p) => String(p.pid).padStart(7)],
  ...['tty', 'stat', 'time', 'comm'].map((name) => COLUMNS[name]!),
];

/** The options of ps(1) that choose columns: -f, -o. Others choose processes, and these are the container's. */
function columnsFor(options: readonly string[]): Column[] {
  const chosen = options.findIndex((word) => /^-?[a-zA-Z]*o$/.test(word));
  const list = chosen >= 0 ? options[chosen + 1] : options.find((word) => word.startsWith('-o'))?.slice(2);
  if (list !== undefined) {
    return list.split(',').map((word) => {
      const [name = '', title] = word.split('=');
      const known = COLUMNS[ALIASES[name] ?? name];
      if (known === undefined) throw new RunscError(`ps -o ${list}`, `there is no column "${name}"`);
      return title === undefined ? known : [title, known[1]];
    });
  }
  const full = options.length === 0 || options.some((word) => /^-\w*f/.test(word));
  return full ? FULL.map((name) => COLUMNS[name]!) : BSD_COLUMNS;
}

export function processTable(container: Container, options: readonly string[]): string {
  const columns = columnsFor(options);
  const { status } = container;
  let processes: ProcessInfo[] = [];
  if (status === 'paused') processes = pausedProcesses(container.state.anchor.pid);
  else if (status !== 'stopped') {
    const client = container.connect();
    processes = client.ask<ProcessInfo[]>('listing processes', { method: 'ps' });
    client.close();
  }
  const now = Date.now();
  return table([columns.map(([title]) => title), ...processes.map((p) => columns.map(([, of]) => of(p, now)))]);
}

let names: Map<number, string> | undefined;

/** As ps(1) of the host names users. */
function userName(uid: number): string {
  if (names === undefined) {
    names = new Map();
    try {
      for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
        const [name, , number] = line.split(':');
        if (number !== undefined && !names.has(Number(number))) names.set(Number(number), name!);
      }
    } catch {
      // Numbers then.
    }
  }
  return names.get(uid) ?? String(uid);
}

function duration(ns: number): string {
  const s = Math.floor(ns / 1e9);
  return [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60].map((n) => String(n).padStart(2, '0')).join(':');
}

/** Columns as wide as their widest cell, the last one ragged. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => `${row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i]! + 2))).join('')}\n`).join('');
}
