// Prints the medians as a table for people.
import type { Column } from './column.ts';
import { median, type Row } from './group.ts';

export interface Line {
  group: string;
  row: Row;
}

export function medianOf(column: Column, line: Line): number | undefined {
  const values = column.samples.get(`${line.group}/${line.row.name}`);
  return values === undefined ? undefined : median(values);
}

/** How many times worse `value` is than `base`. */
export function ratio(row: Row, value: number | undefined, base: number | undefined): number | undefined {
  if (value === undefined || base === undefined || value === 0 || base === 0) return undefined;
  return row.isRate === true ? base / value : value / base;
}

/**
 * Behind each column but native stands its ratio to native; behind each peer, too, how our first column compares with it. A ratio of
 * ours that is above its bar is marked with '!'.
 */
export function printTable(columns: readonly Column[], lines: readonly Line[]): string {
  const base = columns.find((column) => column.kind === 'native');
  const first = columns.find((column) => column.kind === 'ours');
  const head = ['', ...columns.flatMap((column) => heads(column, base, first))];
  const cells = lines.map((line) => {
    const nativeValue = base === undefined ? undefined : medianOf(base, line);
    const ownValue = first === undefined ? undefined : medianOf(first, line);
    return [
      line.row.what,
      ...columns.flatMap((column) => {
        const value = medianOf(column, line);
        const shown = [show(value, line.row)];
        if (base !== undefined && column !== base)
          shown.push(showRatio(ratio(line.row, value, nativeValue), column === first ? line.row.native : undefined));
        if (column.kind === 'peer' && first !== undefined) shown.push(showRatio(ratio(line.row, ownValue, value), line.row.peer));
        return shown;
      }),
    ];
  });
  const all = [head, ...cells];
  const widths = head.map((_, at) => Math.max(...all.map((one) => one[at]!.length)));
  const print = (one: readonly string[]): string =>
    one
      .map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)))
      .join('  ')
      .trimEnd();
  const out = [print(head)];
  lines.forEach((line, at) => {
    if (at === 0 || lines[at - 1]!.group !== line.group) out.push(`${line.group}:`);
    out.push(print(cells[at]!));
  });
  return out.join('\n');
}

function heads(column: Column, base: Column | undefined, first: Column | undefined): string[] {
  const own = [column.name];
  if (base !== undefined && column !== base) own.push('× native');
  if (column.kind === 'peer' && first !== undefined) own.push(`ours × ${column.name}`);
  return own;
}

function show(value: number | undefined, row: Row): string {
  if (value === undefined) return '-';
  if (row.unit !== 'ns') return `${value.toFixed(value < 100 ? 1 : 0)} ${row.unit}`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} ms`;
  return value >= 1e4 ? `${(value / 1e3).toFixed(1)} µs` : `${value.toFixed(0)} ns`;
}

function showRatio(value: number | undefined, bar: number | undefined): string {
  if (value === undefined) return '-';
  const text = value >= 10 ? value.toFixed(0) : value.toFixed(2);
  return bar === undefined ? text : `${text} (${value > bar ? '!' : '≤'} ${bar})`;
}
