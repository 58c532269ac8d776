// Lines for who calls runsc: warnings and debug lines, in the form that runc's logs have, so that conmon, containerd and
// scripts read them. They go to --log where there is one, else to stderr.

import { appendFileSync } from 'node:fs';

let logFile = '';
let json = false;
let debugging = false;

/** More than a Sentry has, and longer than it calls one. */
const MOST_PHASES = 32;
const LONGEST_PHASE = 64;

/** From the global flags, before a command runs. */
export function configureMessages(log: string | undefined, format: string | undefined, debug: boolean): void {
  logFile = log ?? '';
  json = format === 'json' || format === 'json-k8s';
  debugging = debug;
}

export function hasLogFile(): boolean {
  return logFile !== '';
}

export function messageLine(level: string, message: string): string {
  const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  if (json) return `${JSON.stringify({ level, msg: message, time })}\n`;
  return `time="${time}" level=${level} msg=${JSON.stringify(message)}\n`;
}

function write(level: string, message: string): void {
  const line = messageLine(level, message);
  if (logFile === '') process.stderr.write(line);
  else appendFileSync(logFile, line);
}

/** Something was ignored or did not work, and the command goes on. */
export function warning(message: string): void {
  try {
    write('warning', message);
  } catch {
    // A full disk must not end a command that works.
  }
}

/** With --debug only. */
export function debugLine(message: string): void {
  if (!debugging) return;
  try {
    write('debug', message);
  } catch {
    // As above.
  }
}

/** A step of a start is done: with --debug, how long after this process began. */
export function phase(name: string, uptimeMs: number = process.uptime() * 1000): void {
  if (debugging) debugLine(`phase: ${name} at ${uptimeMs.toFixed(1)} ms`);
}

/** Phases of another process, by CLOCK_MONOTONIC in ms. What it says is shown as it is, but not at any length. */
export function phasesOf(who: string, phases: readonly (readonly [string, number])[]): void {
  if (!debugging || !Array.isArray(phases)) return;
  const [seconds, nanoseconds] = process.hrtime();
  const start = seconds * 1000 + nanoseconds / 1e6 - process.uptime() * 1000;
  for (const [name, at] of phases.slice(0, MOST_PHASES)) phase(`${who}: ${String(name).slice(0, LONGEST_PHASE)}`, Number(at) - start);
}

/** What ended the command, for the log file: stderr has it in plain words. Throws what writing throws. */
export function logError(message: string): void {
  appendFileSync(logFile, messageLine('error', message));
}
