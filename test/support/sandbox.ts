// Runs one program on the host's kernel and in a sandbox, and compares what it printed and how it ended. The host's run is the
// judge of the test itself: it has to end with the status that the test expects.
//
// RUNSC_TEST_PLATFORMS lists the platforms to try, by commas (default systrap,ptrace). RUNSC_TEST_NATIVE=1 runs the host's side twice in
// place of a sandbox: what differs then is the test's own fault.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { baseEnv, type Result, type RunOptions, run } from './processes.ts';
import { missing, ownNamespaces } from './system.ts';

export const root = join(import.meta.dirname, '..', '..');
export const launcher = join(root, 'bin', 'runsc');
export const platforms = (process.env.RUNSC_TEST_PLATFORMS ?? 'systrap,ptrace').split(',').filter((name) => name !== '');
const nativeOnly = process.env.RUNSC_TEST_NATIVE === '1';

/** Longest time of one test, in milliseconds. */
const TEST_MS = 60_000;
/** Longest time of what a test has to build first. */
const BUILD_MS = 300_000;
const SHOWN_LINES = 40;

export interface Program extends RunOptions {
  /** What is run; or how to get it, if that takes work which only a test that runs should do. */
  argv: string[] | (() => Promise<string[]> | string[]);
  /** What it has to end with, default 0. */
  status?: number;
  /** Programs (and 'root', 'static-libc') without which the test is skipped. */
  needs?: string[];
  /** Takes out of an output what has to differ. */
  normalise?: (output: string) => string;
  /** Whether standard error is compared too, default true. */
  stderr?: boolean;
  /** More flags for `runsc`, before `do`. */
  flags?: string[];
}

/** Declares one test for each platform: `program` must print and end alike on the host and in the sandbox. */
export function alike(title: string, program: Program): void {
  const reason = missing(program.needs ?? []);
  if (reason !== undefined) {
    test.skip(`${title} (${reason})`, () => {});
    return;
  }
  let native: Promise<Result> | undefined;
  for (const platform of platforms) {
    // Serial: one sandbox at a time in each test file, and two files run at once.
    test.serial(`${title} (${nativeOnly ? 'native' : platform})`, async (t) => {
      // Building a program may take long, once; running it may not.
      t.timeout(BUILD_MS);
      const argv = typeof program.argv === 'function' ? await program.argv() : program.argv;
      t.timeout(TEST_MS);
      native ??= inScratch(program, [...ownNamespaces(), ...argv]);
      const host = await native;
      const judged = judge(program, host);
      if (judged !== undefined) {
        t.fail(`The test itself is wrong: ${judged}\n${describe('on the host', argv, host)}`);
        return;
      }
      const command = nativeOnly ? [...ownNamespaces(), ...argv] : sandboxed(platform, argv, program.flags);
      const guest = await inScratch(program, command);
      compare(t, program, argv, host, guest);
    });
  }
}

/** The command that runs `argv` in a sandbox of its own. */
export function sandboxed(platform: string, argv: string[], flags: string[] = []): string[] {
  return [launcher, `--platform=${platform}`, ...flags, 'do', '--', ...argv];
}

/** The command that runs `argv` where the test environment wants a sandbox: there, or on the host with RUNSC_TEST_NATIVE=1. */
export function guestCommand(platform: string, argv: string[]): string[] {
  return nativeOnly ? [...ownNamespaces(), ...argv] : sandboxed(platform, argv);
}

/**
 * Runs a command with TMPDIR naming an empty folder, of the same name for every run of this process: a path that is printed is the
 * same on both sides. Inside a sandbox that folder may be hidden by a mount of its own, so programs make it if need be.
 */
async function inScratch(program: Program, command: string[]): Promise<Result> {
  const base = (scratchBase ??= mkdtempSync('/tmp/runsc-test-'));
  const scratch = join(base, 'w');
  mkdirSync(scratch, { recursive: true });
  try {
    return await run(command, { ...program, env: baseEnv({ TMPDIR: scratch, ...program.env }) });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
let scratchBase: string | undefined;
test.after.always(() => {
  if (scratchBase !== undefined) rmSync(scratchBase, { recursive: true, force: true });
});

/** What is wrong with the host's own run, so that the comparison would mean nothing. */
function judge(program: Program, host: Result): string | undefined {
  if (host.timedOut) return 'it does not end on the host';
  const wanted = program.status ?? 0;
  if (host.status !== wanted) return `it ends with ${host.status} on the host, not with ${wanted}`;
  if (host.stdout === '' && wanted === 0) return 'it prints nothing on the host';
  const broken = /^.*: NO$/m.exec(host.stdout);
  if (broken !== null) return `a check does not hold on the host: ${broken[0]}`;
  return undefined;
}

function compare(t: ExecutionContext, program: Program, argv: string[], host: Result, guest: Result): void {
  const normalise = program.normalise ?? ((output: string) => output);
  const differences: string[] = [];
  let from = 0;
  if (guest.timedOut) differences.push('did not end in time');
  if (guest.status !== host.status) differences.push(`status ${guest.status}, on the host ${host.status}`);
  for (const stream of ['stdout', 'stderr'] as const) {
    if (stream === 'stderr' && program.stderr === false) continue;
    const [a, b] = [normalise(host[stream]).split('\n'), normalise(guest[stream]).split('\n')];
    const at = firstDifference(a, b);
    if (at < 0) continue;
    differences.push(`${stream}: line ${at + 1} is ${shown(b[at])}, on the host ${shown(a[at])}`);
    if (stream === 'stdout') from = Math.max(0, at - SHOWN_LINES / 2);
  }
  if (differences.length === 0) {
    t.pass();
    return;
  }
  const parts = [differences.join('\n'), describe('on the host', argv, host, from), describe('in the sandbox', argv, guest, from)];
  t.fail(`\n${parts.join('\n')}`);
}

function firstDifference(a: string[], b: string[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) if (a[i] !== b[i]) return i;
  return -1;
}

function shown(line: string | undefined): string {
  return line === undefined ? 'nothing' : JSON.stringify(line);
}

/** A run in words: command, status, time and some lines of its output, from line `from` (counted from 0) on. */
export function describe(where: string, argv: string[], result: Result, from = 0): string {
  const head = `--- ${where}: ${argv.map(quote).join(' ')}`;
  const end = `--- status ${result.status}${result.timedOut ? ', killed at the timeout' : ''}, ${result.seconds.toFixed(1)} s`;
  const lines = [head, end, ...block('stdout', result.stdout, from), ...block('stderr', result.stderr, 0)];
  return lines.join('\n');
}

function block(name: string, text: string, from: number): string[] {
  if (text === '') return [];
  const lines = text.replace(/\n$/, '').split('\n');
  const end = from + SHOWN_LINES;
  const before = from > 0 ? [`  | … ${from} lines`] : [];
  const after = lines.length > end ? [`  | … and ${lines.length - end} lines more`] : [];
  return [`${name}:`, ...before, ...lines.slice(from, end).map((line) => `  | ${line}`), ...after];
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
