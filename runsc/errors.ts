// Errors of the command line. What a user sees reads outermost action first and host errno last:
// `runsc: starting container "x": opening config.json: no such file or directory (ENOENT)`.

import { getSystemErrorMap } from 'node:util';

/** A program that is not there, and one that is there but cannot be executed: as shells answer. */
export const EXIT_NOT_FOUND = 127;
export const EXIT_NOT_EXECUTABLE = 126;

/** An action that failed, and why: another RunscError, a host error, or a sentence. */
export class RunscError extends Error {
  readonly exitCode: number;

  constructor(action: string, cause?: unknown, exitCode?: number) {
    super(action, cause === undefined ? undefined : { cause });
    this.exitCode = exitCode ?? (cause instanceof RunscError ? cause.exitCode : 1);
  }
}

/** "no such file or directory (ENOENT)" for 2 or -2. */
export function errnoText(errno: number): string {
  const known = getSystemErrorMap().get(-Math.abs(errno));
  return known === undefined ? `errno ${Math.abs(errno)}` : `${known[1]} (${known[0]})`;
}

/** The whole chain in one line. A host error that no RunscError explains names its file. */
export function describe(error: unknown, explained = false): string {
  if (error instanceof RunscError) return error.cause === undefined ? error.message : `${error.message}: ${describe(error.cause, true)}`;
  if (typeof error === 'string') return error;
  if (error instanceof Error) {
    const { errno, path } = error as NodeJS.ErrnoException;
    // Node's own text repeats the call and the path: "ENOENT: no such file or directory, open '/x'".
    if (typeof errno === 'number') {
      const text = errnoText(errno) === `errno ${Math.abs(errno)}` ? error.message : errnoText(errno);
      return path === undefined || explained ? text : `${path}: ${text}`;
    }
    return path === undefined ? error.message : `${path}: ${error.message}`;
  }
  return String(error);
}

/** The exit code that an error asks for. */
export function exitCodeOf(error: unknown): number {
  return error instanceof RunscError ? error.exitCode : 1;
}
