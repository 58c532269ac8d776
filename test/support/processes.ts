// Starts programs for tests, gathers what they print, and ends what they started.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';

export interface Result {
  /** As a shell tells it: 128 + n for a program that signal n ended. */
  status: number;
  /** One char a byte. */
  stdout: string;
  stderr: string;
  timedOut: boolean;
  seconds: number;
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** What the program reads from its standard input; nothing is /dev/null. */
  input?: string;
  timeoutMs?: number;
}

/** Less than the minute that a test has, so that a hang is told with the output so far. */
const TIMEOUT_MS = 50_000;
/** Bytes kept of each stream: a program that runs wild shall not eat the test's memory. */
const KEPT = 1 << 20;

/** Runs a program to its end, or to the timeout, when it and all its descendants are killed. */
export async function run(argv: string[], options: RunOptions = {}): Promise<Result> {
  const started = performance.now();
  const child = spawn(argv[0], argv.slice(1), {
    cwd: options.cwd,
    env: options.env ?? baseEnv(),
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    // A session of its own: no terminal of the tester's reaches the program.
    detached: true,
  });
  const stdout = collect(child.stdout!);
  const stderr = collect(child.stderr!);
  if (options.input !== undefined) {
    child.stdin!.on('error', () => {}); // a program may end without reading its input
    child.stdin!.end(options.input, 'latin1');
  }
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killTree(child.pid!);
  }, options.timeoutMs ?? TIMEOUT_MS);
  const status = await new Promise<number>((resolve) => {
    child.on('error', (error) => {
      stderr.push(`${error.message}\n`);
      resolve(127);
    });
    child.on('exit', () => {
      // A descendant that keeps the pipes open would hold 'close' back for ever.
      setTimeout(() => {
        child.stdout!.destroy();
        child.stderr!.destroy();
      }, 2000).unref();
    });
    child.on('close', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
  clearTimeout(timer);
  return { status, stdout: stdout.join(''), stderr: stderr.join(''), timedOut, seconds: (performance.now() - started) / 1000 };
}

/** What tests hand down: enough to find programs, nothing that makes output depend on the tester. */
export function baseEnv(more: Record<string, string> = {}): Record<string, string> {
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
  return { PATH: path, HOME: '/tmp', LANG: 'C.UTF-8', LC_ALL: 'C.UTF-8', TZ: 'UTC', TERM: 'dumb', SHELL: '/bin/sh', ...more };
}

/** Kills a process with all that descends from it, the process last: nobody is left to be adopted unseen. */
export function killTree(pid: number): void {
  for (const descendant of descendants(pid).reverse()) kill(descendant);
  kill(-pid);
  kill(pid);
}

/** The pids below a process, parents before children. */
export function descendants(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = parentOf(Number(name));
    if (parent === undefined) continue;
    const known = children.get(parent);
    if (known === undefined) children.set(parent, [Number(name)]);
    else known.push(Number(name));
  }
  const found = [...(children.get(pid) ?? [])];
  for (let i = 0; i < found.length; i++) found.push(...(children.get(found[i]) ?? []));
  return found;
}

/** The arguments of a process; nothing once it is gone or a zombie. */
export function argvOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').slice(0, -1);
  } catch {
    return [];
  }
}

/** Whether a process is there and not a zombie. */
export function isAlive(pid: number): boolean {
  return argvOf(pid).length > 0;
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // Field 4, counted from behind the name, which may hold anything: proc_pid_stat(5).
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

function collect(stream: NodeJS.ReadableStream): string[] {
  const chunks: string[] = [];
  let kept = 0;
  stream.setEncoding('latin1');
  stream.on('data', (text: string) => {
    if (kept < KEPT) chunks.push(text);
    kept += text.length;
  });
  return chunks;
}
