// Lines for who calls runsc: warnings and debug lines, in the form that runc's logs have, so that conmon, containerd and
// scripts read them. They go to --log where there is one, else to stderr.

import { appendFileSync } from 'node:fs';

let logFile = '';
let json = false;
let debugging = false;

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

/** What ended the command, for the log file: stderr has it in plain words. Throws what writing throws. */
export function logError(message: string): void {
  appendFileSync(logFile, messageLine('error', message));
}
