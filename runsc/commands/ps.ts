// `runsc ps`: the container's processes with their numbers inside, since the host sees only stubs.

import type { ProcessInfo } from '../../sentry/boot/control-protocol.ts';
import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { RunscError } from '../errors.ts';
import { hostText } from '../text.ts';

export function run({ config, flags, args }: Invocation): number {
  const container = Container.load(config, args[0]!);
  if (container.status !== 'running')
    throw new RunscError(`cannot list the processes of container "${args[0]}"`, `it is ${container.status}`);
  process.stdout.write(processTable(container, flags.string('format') === 'json'));
  return 0;
}

export function processTable(container: Container, json: boolean): string {
  const client = container.connect();
  const processes = client.ask<ProcessInfo[]>('listing processes', { method: 'ps' });
  client.close();
  if (json) return `${JSON.stringify(processes.map((p) => p.pid))}\n`;
  const now = Date.now();
  const rows = processes.map((p) => [
    String(p.uid),
    String(p.pid),
    String(p.ppid),
    String(p.ageNs > 0 ? Math.min(99, Math.floor((p.cpuNs / p.ageNs) * 100)) : 0),
    new Date(now - p.ageNs / 1e6).toTimeString().slice(0, 5),
    '?',
    duration(p.cpuNs),
    hostText(p.command),
  ]);
  return table([['UID', 'PID', 'PPID', 'C', 'STIME', 'TTY', 'TIME', 'CMD'], ...rows]);
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
