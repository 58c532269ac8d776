// One column of the table: the host itself, this runtime on one of its platforms, or another runtime.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, realpathSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { Unavailable } from './group.ts';

export type Kind = 'native' | 'ours' | 'peer';

export class Column {
  readonly name: string;
  readonly kind: Kind;
  /** The runtime with its flags; nothing for native. */
  readonly runtime: readonly string[];
  /** Has gVisor's `do`, so that programs of the host can be run in it. */
  readonly hasDo: boolean;
  /** GROUP/ROW to one value a round. */
  readonly samples: Map<string, number[]> = new Map();

  constructor(name: string, kind: Kind, runtime: readonly string[], hasDo: boolean) {
    this.name = name;
    this.kind = kind;
    this.runtime = runtime;
    this.hasDo = hasDo;
  }

  /** The command that runs a program of the host's files in this column. */
  command(...program: string[]): string[] {
    if (this.kind === 'native') return program;
    if (!this.hasDo) throw new Unavailable(`${this.runtime[0]} has no 'do' command`);
    return [...this.runtime, 'do', ...program];
  }

  /** Runs it to its end; its standard output. `flags` are further ones of the runtime. */
  output(program: readonly string[], options: { timeoutMs?: number; env?: NodeJS.ProcessEnv } = {}): string {
    const [command, ...args] = this.command(...program);
    const run = spawnSync(command!, args, {
      encoding: 'latin1',
      timeout: options.timeoutMs ?? 120_000,
      killSignal: 'SIGKILL',
      maxBuffer: 1 << 26,
      env: options.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    if (run.status !== 0) {
      const why = run.error?.message ?? (run.signal !== null ? `was ended by ${run.signal}` : `ended with status ${run.status}`);
      throw new Error(`${[command, ...args].join(' ')}: ${why}: ${(run.stderr ?? '').trim().split('\n').at(-1)}`);
    }
    return run.stdout;
  }

  addSample(row: string, value: number): void {
    const values = this.samples.get(row);
    if (values === undefined) this.samples.set(row, [value]);
    else values.push(value);
  }
}

export function native(): Column {
  return new Column('native', 'native', [], true);
}

export function ours(command: string, platform: string): Column {
  const [path, ...flags] = words(command);
  return new Column(platform, 'ours', [resolve(path!), ...flags, `--platform=${platform}`], true);
}

/** A runtime by its path or its name in PATH, with flags; a sentence where there is none. */
export function peer(command: string): Column | string {
  const [name, ...flags] = words(command);
  const path = which(name!);
  if (path === undefined) return `${name} is not installed`;
  return new Column(name!.split('/').at(-1)!, 'peer', [path, ...flags], hasDoCommand(path));
}

/** What is compared with when nothing is named: the runtimes that PATH has, but not this one under its name. */
export function usualPeers(): (Column | string)[] {
  const own = realpathSync(join(import.meta.dirname, '..', '..'));
  const runsc = which('runsc');
  const isOwn = runsc !== undefined && realpathSync(runsc).startsWith(own);
  return [isOwn ? 'runsc in PATH is this one' : peer('runsc'), peer('runc'), peer('crun')];
}

function words(command: string): string[] {
  return command.split(' ').filter((word) => word !== '');
}

function which(name: string): string | undefined {
  const candidates = name.includes('/') ? [resolve(name)] : (process.env.PATH ?? '').split(delimiter).map((dir) => join(dir, name));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function hasDoCommand(path: string): boolean {
  const help = spawnSync(path, ['help'], { encoding: 'latin1', timeout: 20_000, stdio: ['ignore', 'pipe', 'pipe'] });
  return /^\s*do\s/m.test(`${help.stdout}${help.stderr}`);
}
