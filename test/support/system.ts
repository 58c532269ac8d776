// What the machine has: tests whose program is missing skip themselves and say so.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { baseEnv } from './processes.ts';

/** The path of a program that a guest would find too, or undefined. */
export function findProgram(name: string): string | undefined {
  const dirs = name === 'go' ? ['/usr/local/go/bin', ...pathDirs()] : pathDirs();
  return dirs.map((dir) => join(dir, name)).find(isExecutable);
}

/** Why a test that needs these programs cannot run here, or undefined if it can. 'static-libc' stands for a gcc that links statically, 'core-pattern' for core files by that name, a path for a device. */
export function missing(needs: string[]): string | undefined {
  for (const need of needs) {
    if (need === 'root') {
      if (process.getuid!() !== 0) return 'needs root';
    } else if (need.startsWith('/')) {
      if (!existsSync(need)) return `needs ${need}`;
    } else if (need === 'core-pattern') {
      if (readFileSync('/proc/sys/kernel/core_pattern', 'latin1') !== 'core\n') return 'needs a host that writes core files as "core"';
    } else if (need === 'static-libc') {
      if (!linksStatically()) return 'needs gcc with a static C library';
    } else if (findProgram(need) === undefined) {
      return `needs ${need}`;
    }
  }
  return undefined;
}

/**
 * What puts a program into namespaces of its own on the host's kernel, where it is process 1 as it is in a sandbox; nothing where
 * that is refused.
 */
export function ownNamespaces(): string[] {
  if (namespaces === undefined) {
    const flags = ['--pid', '--fork', '--kill-child', '--mount', '--mount-proc', '--ipc', '--uts'];
    const prefix = ['unshare', ...(process.getuid!() === 0 ? [] : ['--user', '--map-root-user']), ...flags];
    namespaces = spawnSync(prefix[0], [...prefix.slice(1), 'true'], { env: baseEnv() }).status === 0 ? prefix : [];
  }
  return namespaces;
}
let namespaces: string[] | undefined;

let staticLibc: boolean | undefined;
function linksStatically(): boolean {
  if (staticLibc === undefined) {
    const source = 'int main(void) { return 0; }\n';
    const options = { env: baseEnv(), input: source };
    staticLibc = spawnSync('gcc', ['-static', '-pthread', '-x', 'c', '-o', '/dev/null', '-'], options).status === 0;
  }
  return staticLibc;
}

function pathDirs(): string[] {
  return baseEnv().PATH.split(':');
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
