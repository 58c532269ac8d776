// Private memory of a sandbox whose only program sleeps.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Starts `command`, which runs for 4 s, or for 8 s after the first line that it prints, so that what it has left behind can be collected; MiB that only the sandbox's own processes hold
 * then, without the waiting command.
 */
export async function idleMemory(command: readonly string[], tellsWhen = false): Promise<number | undefined> {
  const before = new Set(pids());
  const cli = spawn(command[0]!, command.slice(1), { stdio: ['ignore', tellsWhen ? 'pipe' : 'ignore', 'ignore'] });
  const ended = new Promise<number>((resolve) => {
    cli.on('error', () => resolve(1));
    cli.on('close', (code) => resolve(code ?? 1));
  });
  if (tellsWhen) await Promise.race([new Promise((resolve) => cli.stdout!.once('data', resolve)), ended]);
  await sleep(tellsWhen ? 5000 : 2500);
  let kib = 0;
  for (const pid of pids()) {
    if (!before.has(pid) && pid !== cli.pid && belongsTo(pid, cli.pid!, before)) kib += privateKib(pid);
  }
  return (await ended) === 0 && kib > 0 ? kib / 1024 : undefined;
}

function pids(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** Whether it descends from the command, or was left to init by it: sandboxes may outlive the process that started them. */
function belongsTo(pid: number, ancestor: number, before: Set<number>): boolean {
  let at = pid;
  while (at !== ancestor) {
    const parent = parentOf(at);
    if (parent === undefined) return false;
    if (parent === 1 || before.has(parent)) return parent === 1 && /runsc|gofer|sentry|stub/.test(read(`/proc/${at}/cmdline`));
    at = parent;
  }
  return true;
}

function parentOf(pid: number): number | undefined {
  const stat = read(`/proc/${pid}/stat`);
  return stat === '' ? undefined : Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

function privateKib(pid: number): number {
  let kib = 0;
  for (const match of read(`/proc/${pid}/smaps_rollup`).matchAll(/^Private_(?:Clean|Dirty|Hugetlb):\s+(\d+) kB/gm)) kib += Number(match[1]);
  return kib;
}

// A process may end while it is looked at: it then counts nothing.
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
