// What a group of measurements is. One file a group beside run.ts, named in groups.ts: run.ts does the rounds and the table.
import type { Column } from './column.ts';

export type Unit = 'ns' | 'ms' | 'MiB' | 'MB/s' | '/s' | '%' | '×';

export interface Row {
  /** Unique in the group: the command line names it GROUP/NAME. */
  name: string;
  /** What people read in the table. */
  what: string;
  unit: Unit;
  /** Larger values are better (rates): ratios are then told the other way round, so that a ratio above 1 is always worse. */
  isRate?: boolean;
  /** Highest ratio against native, if there is a bar: docs/architecture.md. */
  native?: number;
  /** Highest ratio against another runtime. */
  peer?: number;
}

/** Takes one value of a row of the column that is being measured. */
export type Sample = (row: string, value: number) => void;

export interface Group {
  name: string;
  /** One line for --help. */
  what: string;
  rows: readonly Row[];
  /** At most so many rounds, for what hardly varies or takes long. */
  maxRounds?: number;
  /** Left out unless it is named. */
  isOptional?: boolean;
  /** Builds what the `wanted` rows need, once. Throws Unavailable if this machine cannot measure it. */
  prepare?(wanted: ReadonlySet<string>): void | Promise<void>;
  /** One round of one column. `wanted` are names of rows. Throws Unavailable where the column cannot do it. */
  measure(column: Column, wanted: ReadonlySet<string>, sample: Sample): void | Promise<void>;
  /** Removes what prepare() has made. */
  dispose?(): void;
}

/** A group, or a column of it, that cannot be measured; the message says what is missing. */
export class Unavailable extends Error {}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
