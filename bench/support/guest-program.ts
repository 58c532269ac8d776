// The C programs of bench/guest/, compiled when they are wanted and kept in bench/guest/build/.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Column } from './column.ts';
import { type Sample, Unavailable } from './group.ts';

const folder = join(import.meta.dirname, '..', 'guest');

/** Path of the static program made of bench/guest/NAME.c. */
export function buildGuest(name: string): string {
  const source = join(folder, `${name}.c`);
  const binary = join(folder, 'build', name);
  if (existsSync(binary) && statSync(binary).mtimeMs >= statSync(source).mtimeMs) return binary;
  mkdirSync(join(folder, 'build'), { recursive: true });
  const gcc = spawnSync('gcc', ['-O2', '-Wall', '-static', '-pthread', '-o', binary, source], { encoding: 'utf8' });
  if (gcc.error !== undefined) throw new Unavailable(`gcc: ${gcc.error.message}`);
  if (gcc.status !== 0) throw new Error(`${source} does not compile:\n${gcc.stderr}`);
  return binary;
}

/** Runs a program that prints a line "ROW VALUE" for each row it is asked for. */
export function sampleLines(
  column: Column,
  program: readonly string[],
  wanted: ReadonlySet<string>,
  sample: Sample,
  timeoutMs?: number,
): void {
  const output = column.output(program, { timeoutMs });
  for (const match of output.matchAll(/^(\S+) ([\d.]+)$/gm)) if (wanted.has(match[1]!)) sample(match[1]!, Number(match[2]));
}
