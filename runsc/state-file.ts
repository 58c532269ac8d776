// What is known of a container between two commands: one folder a container below --root, with state.json, a lock and
// the control socket. state.json is replaced as a whole, so that a reader never sees half of it.

import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errnoText, RunscError } from './errors.ts';
import { flock } from './host.ts';
import type { IdMap } from './id-maps.ts';
import type { SpecHook, SpecProcess } from './spec.ts';

const LOCK_EX = 2;

/** A host process that cannot be mistaken for a later one of the same number. */
export interface ProcessId {
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  readonly startTime: number;
}

export interface ContainerState {
  readonly ociVersion: string;
  readonly id: string;
  /** Absolute. */
  readonly bundle: string;
  readonly rootfs: string;
  /** RFC 3339. */
  readonly created: string;
  /** Uid of who created it. */
  readonly owner: number;
  readonly annotations: Readonly<Record<string, string>>;
  readonly sentry: ProcessId;
  readonly gofer: ProcessId;
  /** Stands for the container's program on the host. */
  readonly anchor: ProcessId;
  /** The container that its sandbox began with; undefined: itself. */
  readonly memberOf?: string;
  /** Ids of its user namespace, and the platform asked for: those of a further container must agree. */
  readonly maps?: { readonly uid: readonly IdMap[]; readonly gid: readonly IdMap[] };
  readonly platform?: string;
  /** Its program has been started. */
  readonly started: boolean;
  readonly paused: boolean;
  /** The container's first process: exec takes user, environment and so on from it. */
  readonly process: SpecProcess;
  /** Run by start inside the container, before its program. */
  readonly startContainer: readonly SpecHook[];
  /** Run by start and by delete. */
  readonly poststart: readonly SpecHook[];
  readonly poststop: readonly SpecHook[];
  /** Where the sandbox was put; undefined without one of ours. */
  readonly cgroup: unknown;
}

/** What has to end and to go when a container does. Written once, before state.json, so that a damaged or half-made container can be cleaned up too. */
export interface Remains {
  /** Processes are absent while there are none yet. */
  readonly sentry?: ProcessId;
  readonly gofer?: ProcessId;
  readonly anchor?: ProcessId;
  readonly cgroup: unknown;
}

/** runc's rule for ids, so that one is always a file name: libcontainer/factory_linux.go. */
export function checkId(id: string): string {
  if (id === '') throw new RunscError('the container id must not be empty');
  if (!/^[\w+\-.]+$/.test(id) || id === '.' || id === '..' || id.length > 1024) {
    throw new RunscError(`invalid container id "${id}": it may have letters, digits and the characters _ + - .`);
  }
  return id;
}

export class StateDir {
  readonly path: string;
  readonly id: string;

  constructor(root: string, id: string) {
    this.id = checkId(id);
    this.path = join(resolve(root), id);
  }

  get controlPath(): string {
    return join(this.path, 'control.sock');
  }

  /** Makes the folder of a new container. Throws when there is one. */
  create(): void {
    const root = resolve(this.path, '..');
    try {
      mkdirSync(root, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new RunscError(`making ${root}, where the state of containers is kept`, error);
    }
    try {
      mkdirSync(this.path, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw new RunscError(`container with id "${this.id}" already exists`);
      throw new RunscError(`making ${this.path}`, error);
    }
  }

  exists(): boolean {
    return statSync(this.path, { throwIfNoEntry: false }) !== undefined;
  }

  /** Takes the container's lock, waiting for whoever holds it; answers what releases it. */
  lock(): () => void {
    const path = join(this.path, 'lock');
    let fd: number;
    try {
      fd = openSync(path, 'a', 0o600);
    } catch (error) {
      throw this.missing(error);
    }
    const result = flock(fd, LOCK_EX);
    if (result < 0) {
      closeSync(fd);
      throw new RunscError(`locking ${path}`, errnoText(result));
    }
    return () => closeSync(fd);
  }

  load(): ContainerState {
    let text: string;
    try {
      text = readFileSync(join(this.path, 'state.json'), 'utf8');
    } catch (error) {
      throw this.missing(error);
    }
    const what = `reading the state of container "${this.id}"`;
    let state: Partial<ContainerState> | null;
    try {
      state = JSON.parse(text) as Partial<ContainerState> | null;
    } catch (error) {
      throw new RunscError(what, error);
    }
    if (state?.sentry === undefined || state.gofer === undefined || state.anchor === undefined)
      throw new RunscError(what, 'another version of runsc has written it: remove the container with delete --force');
    return state as ContainerState;
  }

  save(state: ContainerState): void {
    const path = join(this.path, 'state.json');
    try {
      writeFileSync(`${path}.new`, JSON.stringify(state), { mode: 0o600 });
      renameSync(`${path}.new`, path);
    } catch (error) {
      throw new RunscError(`writing ${path}`, error);
    }
  }

  /** For native/launcher/front.c, which asks the sandbox by it; undefined where a program cannot be started just now. */
  saveRequest(request: string | undefined): void {
    const path = join(this.path, 'exec.json');
    if (request === undefined) {
      rmSync(path, { force: true });
      return;
    }
    writeFileSync(`${path}.new`, request, { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  saveRemains(remains: Remains): void {
    writeFileSync(join(this.path, 'remains.json'), JSON.stringify(remains), { mode: 0o600 });
  }

  loadRemains(): Remains | undefined {
    try {
      return JSON.parse(readFileSync(join(this.path, 'remains.json'), 'utf8')) as Remains;
    } catch {
      return undefined;
    }
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }

  private missing(error: unknown): RunscError {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return new RunscError(`container "${this.id}" does not exist`);
    return new RunscError(`opening the state of container "${this.id}"`, error);
  }
}

/** Ids of all containers below a root, in order. */
export function listIds(root: string): string[] {
  try {
    return readdirSync(resolve(root), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && /^[\w+\-.]+$/.test(entry.name))
      .map((entry) => entry.name)
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw new RunscError(`reading ${root}`, error);
  }
}

/** Start time of a process in clock ticks since boot; undefined when there is none, or only a zombie. */
export function startTimeOf(pid: number): number | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name in brackets may hold anything: proc_pid_stat(5).
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[19]);
}

export function identify(pid: number): ProcessId {
  return { pid, startTime: startTimeOf(pid) ?? -1 };
}

export function isAlive(process: ProcessId): boolean {
  return startTimeOf(process.pid) === process.startTime;
}
