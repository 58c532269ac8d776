// Containers of a runtime by the OCI commands that all of them have: run, exec, kill, delete.
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Column } from './column.ts';
import { Unavailable } from './group.ts';
import { buildGuest } from './guest-program.ts';

const TIMEOUT_MS = 120_000;

/** A bundle with one static program, and a state folder for one runtime at a time. */
export class Bundle {
  readonly dir: string = mkdtempSync(join(tmpdir(), 'runsc-bench-'));
  private next = 1;

  constructor() {
    if (process.getuid!() !== 0) throw new Unavailable('containers are made by root');
    for (const name of ['proc', 'dev', 'sys', 'tmp']) mkdirSync(join(this.dir, 'rootfs', name), { recursive: true });
    copyFileSync(buildGuest('tool'), join(this.dir, 'rootfs', 'tool'));
  }

  /** config.json for a container that runs `tool` with these arguments. */
  private configure(args: readonly string[]): void {
    const config = {
      ociVersion: '1.0.2',
      process: { terminal: false, user: { uid: 0, gid: 0 }, args: ['/tool', ...args], env: ['PATH=/'], cwd: '/' },
      root: { path: 'rootfs', readonly: true },
      hostname: 'bench',
      mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
      linux: { namespaces: ['pid', 'mount', 'ipc', 'uts', 'network'].map((type) => ({ type })) },
    };
    writeFileSync(join(this.dir, 'config.json'), JSON.stringify(config));
  }

  private command(column: Column, ...words: string[]): [string, string[]] {
    const [path, ...flags] = column.runtime;
    return [path!, [...flags, '--root', join(this.dir, `state-${column.name}`), ...words]];
  }

  /** ms from the command to its end. */
  private timed(column: Column, ...words: string[]): number {
    const [path, args] = this.command(column, ...words);
    const start = process.hrtime.bigint();
    const ended = spawnSync(path, args, {
      encoding: 'latin1',
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
    });
    if (ended.status !== 0)
      throw new Error(`${words[0]}: ${ended.stderr.trim().split('\n').at(-1) || (ended.signal ?? `status ${ended.status}`)}`);
    return Number(process.hrtime.bigint() - start) / 1e6;
  }

  private id(): string {
    return `bench-${process.pid}-${this.next++}`;
  }

  /** ms for one container that does nothing. */
  run(column: Column): number {
    this.configure(['exit']);
    return this.timed(column, 'run', '--bundle', this.dir, this.id());
  }

  /** ms for each of `count` that are started together. */
  async runMany(column: Column, count: number): Promise<number> {
    this.configure(['exit']);
    const start = process.hrtime.bigint();
    const all = Array.from({ length: count }, () => {
      const [path, args] = this.command(column, 'run', '--bundle', this.dir, this.id());
      return new Promise<number>((resolve) => {
        const one = spawn(path, args, { stdio: 'ignore', timeout: TIMEOUT_MS, killSignal: 'SIGKILL' });
        one.on('error', () => resolve(1));
        one.on('close', (code) => resolve(code ?? 1));
      });
    });
    const statuses = await Promise.all(all);
    const failed = statuses.filter((status) => status !== 0).length;
    if (failed > 0) throw new Error(`${failed} of ${count} containers have failed`);
    return Number(process.hrtime.bigint() - start) / 1e6 / count;
  }

  /** Median ms of a few execs in one container. */
  async exec(column: Column): Promise<number> {
    this.configure(['pause']);
    const id = this.id();
    const [path, args] = this.command(column, 'run', '--detach', '--bundle', this.dir, id);
    const started = spawnSync(path, args, { stdio: 'ignore', timeout: TIMEOUT_MS });
    if (started.status !== 0) throw new Error(`run --detach ended with status ${started.status}`);
    try {
      const times = Array.from({ length: 3 }, () => this.timed(column, 'exec', id, '/tool', 'exit'));
      return times.sort((a, b) => a - b)[1]!;
    } finally {
      this.quietly(column, 'kill', id, 'KILL');
      await sleep(200);
      this.quietly(column, 'delete', '--force', id);
    }
  }

  private quietly(column: Column, ...words: string[]): void {
    const [path, args] = this.command(column, ...words);
    spawnSync(path, args, { stdio: 'ignore', timeout: TIMEOUT_MS });
  }

  dispose(): void {
    removeTree(this.dir);
  }
}

/** Runtimes may keep something mounted in their state folder, as gVisor does with an empty network namespace. */
export function removeTree(dir: string): void {
  for (const line of readFileSync('/proc/self/mounts', 'latin1').split('\n').reverse()) {
    const at = line.split(' ')[1];
    if (at?.startsWith(`${dir}/`)) spawnSync('umount', ['--lazy', at]);
  }
  rmSync(dir, { recursive: true, force: true });
}
