// Prints the medians as a table for people.
import type { Row } from './rows.ts';

export interface Measured {
  row: Row;
  /** By column; undefined where it could not be measured. */
  medians: (number | undefined)[];
}

/**
 * Columns are native, ours and the other runtimes, in this order. Behind ours stands its ratio to native, behind each other runtime
 * ours as a multiple of it; a ratio above its bar is marked with '!'.
 */
export function printTable(columns: string[], measured: Measured[]): string {
  const head = ['', columns[0], columns[1], '× native', ...columns.slice(2).flatMap((name) => [name, `× ${name}`])];
  const lines = [head];
  for (const { row, medians } of measured) {
    const [native, ours, ...others] = medians;
    const line = [row.what, show(native, row), show(ours, row), ratio(ours, native, row.native)];
    for (const other of others) line.push(show(other, row), ratio(ours, other, row.peer));
    lines.push(line);
  }
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) => line.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c]))).join('  ')).join('\n');
}

function show(value: number | undefined, row: Row): string {
  if (value === undefined) return '-';
  if (row.unit !== 'ns') return `${value.toFixed(1)} ${row.unit}`;
  if (value >= 1e6) return `${(value / 1e6).toFixed(1)} ms`;
  return value >= 1e4 ? `${(value / 1e3).toFixed(1)} µs` : `${value.toFixed(0)} ns`;
}

function ratio(ours: number | undefined, base: number | undefined, bar: number | undefined): string {
  if (ours === undefined || base === undefined || base === 0) return '-';
  const value = ours / base;
  const text = value >= 10 ? value.toFixed(0) : value.toFixed(2);
  if (bar === undefined) return text;
  return `${text} (${value > bar ? '!' : '≤'} ${bar})`;
}
