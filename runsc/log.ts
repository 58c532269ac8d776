// The sandbox's own log: opened by the command line, inherited by gofer and Sentry.

import { mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Config } from './config.ts';
import { RunscError } from './errors.ts';

/** Opens the debug log for appending; undefined without --debug-log. With --alsologtostderr and no file it is stderr. */
export function openLog(config: Config, command: string, id: string): number | undefined {
  if (config.debugLog === undefined) return config.alsoLogToStderr || config.strace ? 2 : undefined;
  const path = logPath(config.debugLog, command, id, new Date());
  try {
    mkdirSync(dirname(path), { recursive: true });
    return openSync(path, 'a', 0o644);
  } catch (error) {
    throw new RunscError(`opening the debug log ${path}`, error);
  }
}

/** Fills %ID%, %CID%, %COMMAND% and %TIMESTAMP% in; a folder gets a file per command, as gVisor names them. */
export function logPath(pattern: string, command: string, id: string, now: Date): string {
  const full = pattern.endsWith('/') ? join(pattern, 'runsc.log.%TIMESTAMP%.%COMMAND%.txt') : pattern;
  const stamp = now.toISOString().replace(/[-:]/g, '').replace('T', '-').replace('Z', '');
  const values: Record<string, string> = { ID: id, CID: id, COMMAND: command, TIMESTAMP: stamp };
  return full.replace(/%(ID|CID|COMMAND|TIMESTAMP)%/g, (_, name: string) => values[name]!);
}

/** The file for an egress policy's denials, or undefined: they go to the debug log then. */
export function openEgressLog(config: Config): number | undefined {
  if (config.egressLog === undefined) return undefined;
  try {
    return openSync(config.egressLog, 'a', 0o640);
  } catch (error) {
    throw new RunscError(`--egress-log ${config.egressLog}`, error);
  }
}
