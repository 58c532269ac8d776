// Starting the two processes of a sandbox. Gofer and Sentry are started at the same time, get all they need by
// inherited descriptors, and the Sentry says "ready" when it has locked itself in.
//
//   runsc --+-- startProcess(sentry), id maps, cgroup, releaseProcess: the one that has most to do goes first
//           +-- startProcess(gofer), likewise
//           +-- the network broker, while both load
//           +-- finishProcess x 2: they are what they are to be
//           +-- "ready" or "failed" over the parent channel, or one of them dies
//
// Whatever goes wrong, what was started is killed and reaped before the error is thrown.

import { openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { isSea } from 'node:sea';
import type { GoferConfig } from '../gofer/config.ts';
import { POLLIN } from '../sentry/abi/poll.ts';
import { CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWUTS } from '../sentry/abi/sched.ts';
import { SIGKILL } from '../sentry/abi/signal.ts';
import type { BootConfig, BootFds } from '../sentry/boot/boot-config.ts';
import { endAnchor } from './anchor.ts';
import { ControlClient, SandboxGone } from './control-client.ts';
import { listenAt, pair, textFd } from './descriptors.ts';
import { errnoText, RunscError } from './errors.ts';
import {
  closeFd,
  finishProcess,
  forkNetBroker,
  ftruncate,
  memfdCreate,
  pidfdSendSignal,
  pollFds,
  releaseProcess,
  setAffinity,
  startProcess,
  waitPid,
} from './host.ts';
import { type IdMap, oneId, writeIdMaps } from './id-maps.ts';
import { phase, phasesOf } from './messages.ts';
import { openNamespace } from './namespaces.ts';
import { donateTrees, type PlannedTree } from './trees.ts';

/** At least gofer/protocol's REGION_SIZE. */
const GOFER_REGION_SIZE = 1024 * 1024;
/** As many as Linux can be built for; it takes away those that there are not. */
const ALL_PROCESSORS = new Uint8Array(8192 / 8).fill(0xff);
/** A folder that every host has; the gofer's new root is made on it, in its own mount namespace. */
const GOFER_NEW_ROOT = '/proc';

export interface SandboxOptions {
  readonly boot: Omit<BootConfig, 'fds' | 'ownNetwork' | 'networkCapabilities'>;
  readonly trees: readonly PlannedTree[];
  /** The container's stdio, and what it gets from 3 on. */
  readonly stdio: readonly number[];
  /** Where the control socket is bound; none for a sandbox that nobody else asks. */
  readonly controlPath?: string;
  /** Opened for appending. */
  readonly logFd?: number;
  /** Where the denials of egress policies go. */
  readonly egressLogFd?: number;
  /** The network: the caller's, a new one, or the one this file stands for. */
  readonly network: 'host' | 'new' | { readonly path: string };
  /** Capabilities that guests may use on that network, as a bit set: what the broker process gets. */
  readonly networkCapabilities: number;
  /** Ids of the gofer's user namespace, as the spec has them; the caller's own ids when undefined. */
  readonly maps?: { readonly uid: readonly IdMap[]; readonly gid: readonly IdMap[] };
  /** Called with each process before it runs: puts it into the cgroup. */
  readonly joinCgroup?: (pid: number) => void;
}

export interface SandboxProcess {
  readonly name: 'sentry' | 'gofer';
  readonly pid: number;
  readonly pidfd: number;
  /** A memfd that is its stderr, read when it dies; -1 when that is the log. */
  readonly errorsFd: number;
}

/** How this very program is started in another role. */
function selfCommand(role: string): { exe: string; argv: string[] } {
  // After an upgrade the path is another file or none: the running one is still there.
  const exe = process.execPath;
  return isSea() ? { exe, argv: [exe, role] } : { exe, argv: [exe, join(import.meta.dirname, 'main.ts'), role] };
}

/** Node's own variables would be meant for the caller's programs; its cache of compiled sources is ours. */
function roleEnvironment(): string[] {
  const cache = process.env['NODE_COMPILE_CACHE'];
  // Rings that nobody uses would cost descriptors and a hole in the filter.
  // The worker threads of V8 allocate little: arenas of their own would stay half empty.
  const environment = ['UV_USE_IO_URING=0', 'MALLOC_ARENA_MAX=1'];
  if (cache !== undefined && cache !== '') environment.push(`NODE_COMPILE_CACHE=${cache}`);
  return environment;
}

/** How long a Sentry that has closed its connection may take to be gone. */
const SENTRY_END_MS = 2000;

export class Sandbox {
  readonly sentry: SandboxProcess;
  readonly gofer: SandboxProcess;
  readonly control: ControlClient;
  /** The Sentry is that of a sandbox with other containers, and goes on without this one. */
  readonly isShared: boolean;
  /** A file that stands for the network namespace of a container that has another than its Sentry. */
  network: string | undefined = undefined;
  /** The process that stands for the container, while it is our child; 0: none. */
  anchorPid = 0;

  constructor(sentry: SandboxProcess, gofer: SandboxProcess, control: ControlClient, isShared = false) {
    this.isShared = isShared;
    this.sentry = sentry;
    this.gofer = gofer;
    this.control = control;
  }

  /** Starts gofer and Sentry and waits until the Sentry is locked in. */
  static start(options: SandboxOptions): Sandbox {
    phase('configuration read');
    const owned: number[] = [];
    const started: SandboxProcess[] = [];
    try {
      const parent = pair(owned);
      const gofer = pair(owned);
      const region = regionFd(owned);
      const control = options.controlPath === undefined ? -1 : listenAt(options.controlPath, owned);

      const broker = pair(owned);
      const sentryProcess = startSentry(options, parent[1]!, gofer[0]!, region, control, broker[0]!, owned);
      started.push(sentryProcess);
      releaseProcess(sentryProcess.pid);
      const goferProcess = startGofer(options, gofer[1]!, region, owned);
      started.push(goferProcess);
      releaseProcess(goferProcess.pid);
      startBroker(options, broker[1]!, sentryProcess.pid);
      for (const process of [...started]) finish(process, started);

      const sandbox = new Sandbox(sentryProcess, goferProcess, new ControlClient(parent[0]!));
      owned.splice(owned.indexOf(parent[0]!), 1);
      // Our copies of the children's ends must go before we wait: their death is an end of file here.
      while (owned.length > 0) closeFd(owned.pop()!);
      phase('processes of the sandbox started');
      sandbox.awaitReady();
      phase('sandbox ready');
      return sandbox;
    } catch (error) {
      for (const process of started) endProcess(process);
      for (const fd of owned) closeFd(fd);
      throw error;
    }
  }

  private awaitReady(): void {
    for (;;) {
      const event = this.control.takeEvent();
      if (event?.event === 'ready') {
        phasesOf('Sentry', event.phases);
        return;
      }
      if (event?.event === 'failed')
        throw new RunscError('booting the sandbox', event.errno === undefined ? event.error : `${event.error}: ${errnoText(event.errno)}`);
      if (event?.event === 'exit') throw new RunscError('booting the sandbox', 'the Sentry ended early');
      const dead = this.waitForMessage([]);
      if (dead !== undefined) throw new RunscError('booting the sandbox', dead);
    }
  }

  /** Files one message, or answers what died: a sentence. Returns early when one of `others` is readable. */
  waitForMessage(others: readonly number[]): string | undefined {
    const fds = [this.control.fd, this.gofer.pidfd, this.sentry.pidfd, ...others];
    const triples = Int32Array.from(fds.flatMap((fd) => [fd, POLLIN, 0]));
    pollFds(triples, -1);
    // What was said comes before who died: a process sends its last message and ends, and both are seen at once.
    let filed = false;
    let closed = false;
    try {
      while (this.control.receive(0)) filed = true;
    } catch (error) {
      if (!(error instanceof SandboxGone)) throw error;
      closed = true;
    }
    if (filed) return undefined;
    if (triples[5] !== 0) return this.goferEnded();
    // The end of the channel: the Sentry is dead, or about to be.
    if (triples[8] !== 0 || closed) return this.obituary(this.sentry);
    return undefined;
  }

  /** A gofer that ends well has seen the Sentry close its connection: then that one is the news. */
  private goferEnded(): string {
    const [pid, status] = waitPid(this.gofer.pid, 0);
    if (pid > 0 && status === 0 && pollFds(Int32Array.of(this.sentry.pidfd, POLLIN, 0), SENTRY_END_MS) > 0)
      return this.obituary(this.sentry);
    return this.lastNews(this.gofer, pid, status);
  }

  private obituary(process: SandboxProcess): string {
    const [pid, status] = waitPid(process.pid, 0);
    return this.lastNews(process, pid, status);
  }

  private lastNews(process: SandboxProcess, pid: number, status: number): string {
    const what = process.name === 'sentry' ? 'the Sentry' : 'the gofer';
    const last = lastWords(process);
    return `${what} ${pid < 0 ? 'is gone' : describeStatus(status)}${last === '' ? '' : ` (${last})`}`;
  }

  /** Kills what is left and reaps it. */
  end(): void {
    if (this.isShared) {
      // The Sentry ends a container whose anchor or maker goes.
      if (this.anchorPid > 0) endAnchor(this.anchorPid);
      this.control.close();
      closeFd(this.sentry.pidfd);
      endProcess(this.gofer);
      return;
    }
    endProcess(this.sentry);
    endProcess(this.gofer);
    if (this.anchorPid > 0) endAnchor(this.anchorPid);
    this.control.close();
  }
}

/** "was killed by signal 9", "ended with status 1". */
export function describeStatus(status: number): string {
  const signal = status & 0x7f;
  return signal === 0 ? `ended with status ${(status >> 8) & 0xff}` : `was killed by signal ${signal}`;
}

/** What a shell would make of a wait status: the code, or 128+n. */
export function exitCodeOfStatus(status: number): number {
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal;
}

export function endProcess(process: SandboxProcess): void {
  pidfdSendSignal(process.pidfd, SIGKILL);
  waitPid(process.pid, 0);
  closeFd(process.pidfd);
  if (process.errorsFd >= 0) closeFd(process.errorsFd);
}

/** The first lines of what it has written to stderr, as one. */
function lastWords(process: SandboxProcess): string {
  if (process.errorsFd < 0) return '';
  const buffer = Buffer.alloc(4096);
  const n = readSync(process.errorsFd, buffer, 0, buffer.length, 0);
  const lines = buffer.toString('utf8', 0, n).split('\n');
  // Node's own reports open with the place; the sentence is the line that names the error.
  return lines.find((line) => /\w*Error\b/.test(line)) ?? lines.find((line) => line.trim() !== '') ?? '';
}

function stderrOf(): number {
  const fd = memfdCreate('stderr');
  if (fd < 0) throw new RunscError('making a memfd for messages', errnoText(fd));
  return fd;
}

function devNull(owned: number[]): number {
  const fd = openSync('/dev/null', 'r+');
  owned.push(fd);
  return fd;
}

/** The memory that gofer and Sentry talk through; its pages come as they are touched. */
export function regionFd(owned: number[]): number {
  const fd = memfdCreate('gofer-channel');
  if (fd < 0) throw new RunscError('making a memfd for the gofer', errnoText(fd));
  owned.push(fd);
  const result = ftruncate(fd, GOFER_REGION_SIZE);
  if (result < 0) throw new RunscError('sizing the memfd for the gofer', errnoText(result));
  return fd;
}

export function startGofer(options: SandboxOptions, socket: number, region: number, owned: number[]): SandboxProcess {
  const nothing = devNull(owned);
  const errorsFd = options.logFd === undefined ? stderrOf() : -1;
  const errors = options.logFd ?? errorsFd;
  const maps = options.maps ?? (process.geteuid!() === 0 ? undefined : callersMaps());
  const donated = donateTrees(options.trees, options.maps !== undefined, 6, owned);
  const config: GoferConfig = {
    trees: donated.trees,
    regionFd: 5,
    socketFd: 4,
    logFd: options.logFd === undefined ? -1 : 2,
    debug: options.boot.debug,
    singleId: maps !== undefined && maps.uid.length === 1 && maps.uid[0]!.size === 1,
    newRoot: GOFER_NEW_ROOT,
    seccomp: true,
  };
  const fds: [number, number][] = [
    [0, nothing],
    [1, errors],
    [2, errors],
    [3, textFd('gofer-config', JSON.stringify(config), owned)],
    [4, socket],
    [5, region],
    ...donated.fds,
  ];
  const flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWPID;
  return begin('gofer', { fds, flags, maps, join: [], cwd: '/', pdeathsig: 0, errorsFd }, options);
}

function startSentry(
  options: SandboxOptions,
  parent: number,
  gofer: number,
  region: number,
  control: number,
  broker: number,
  owned: number[],
): SandboxProcess {
  const nothing = devNull(owned);
  const errorsFd = options.logFd === undefined ? stderrOf() : -1;
  const errors = options.logFd ?? errorsFd;
  const fds: [number, number][] = [
    [0, nothing],
    [1, errors],
    [2, errors],
    [4, parent],
    [5, gofer],
    [6, region],
  ];
  let next = 7;
  const place = (fd: number): number => {
    fds.push([next, fd]);
    return next++;
  };
  const bootFds: BootFds = {
    parent: 4,
    gofer: 5,
    goferRegion: 6,
    control: control < 0 ? undefined : place(control),
    netBroker: place(broker),
    egressLog: options.egressLogFd === undefined ? undefined : place(options.egressLogFd),
    log: options.logFd === undefined ? undefined : place(options.logFd),
    stdio: options.stdio.map(place),
  };
  const { networkCapabilities } = options;
  const config: BootConfig = { ...options.boot, ownNetwork: options.network === 'new', networkCapabilities, fds: bootFds };
  fds.push([3, textFd('sentry-config', JSON.stringify(config), owned)]);

  const join: [number, string][] = [];
  let flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWPID;
  if (options.network === 'new') flags |= CLONE_NEWNET;
  else if (options.network !== 'host') {
    const fd = openNamespace(options.network.path, 'network');
    owned.push(fd);
    join.push([fd, 'net']);
  }
  return begin('sentry', { fds, flags, maps: callersMaps(), join, cwd: '/', pdeathsig: SIGKILL, errorsFd }, options);
}

/** It ends by itself when the Sentry's end of its socket is closed, however that comes. */
export function startBroker(options: SandboxOptions, socket: number, sentry: number): void {
  const pid = forkNetBroker(socket, sentry, options.network !== 'host', options.networkCapabilities, -1, false);
  if (pid < 0) throw new RunscError('starting the network broker', errnoText(pid));
  options.joinCgroup?.(pid);
}

interface RoleOptions {
  readonly fds: readonly (readonly [number, number])[];
  readonly flags: number;
  /** undefined: no user namespace. */
  readonly maps: { readonly uid: readonly IdMap[]; readonly gid: readonly IdMap[] } | undefined;
  readonly join: readonly (readonly [number, string])[];
  readonly cwd: string;
  readonly pdeathsig: number;
  readonly errorsFd: number;
}

function callersMaps(): { uid: IdMap[]; gid: IdMap[] } {
  return { uid: oneId(process.geteuid!()), gid: oneId(process.getegid!()) };
}

function begin(name: 'sentry' | 'gofer', role: RoleOptions, options: SandboxOptions): SandboxProcess {
  const { exe, argv } = selfCommand(name);
  const base = {
    exe,
    argv,
    env: roleEnvironment(),
    fds: role.fds,
    cwd: role.cwd,
    session: true,
    privateMounts: true,
    join: role.join,
    pdeathsig: role.pdeathsig,
  };
  let maps = role.maps;
  let child: { pid: number; pidfd: number };
  try {
    const ids = maps === undefined ? {} : { uid: 0, gid: 0, dropGroups: process.geteuid!() === 0 };
    child = startProcess({ ...base, ...ids, cloneFlags: role.flags | (maps === undefined ? 0 : CLONE_NEWUSER) });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall !== 'clone') throw new RunscError(`starting the ${name}`, error);
    // Root of a container that may not make namespaces may still make a user namespace and be root there.
    if (maps === undefined) {
      maps = callersMaps();
      try {
        child = startProcess({ ...base, uid: 0, gid: 0, cloneFlags: role.flags | CLONE_NEWUSER });
      } catch {
        throw refused(name, error);
      }
    } else throw refused(name, error);
  }
  try {
    if (maps !== undefined) writeIdMaps(child.pid, maps.uid, maps.gid);
    // The container's processors are those of its cgroup, whatever its caller was pinned to. A refusal changes nothing.
    setAffinity(child.pid, ALL_PROCESSORS);
    options.joinCgroup?.(child.pid);
  } catch (error) {
    finishProcess(child.pid, true);
    endProcess({ name, ...child, errorsFd: role.errorsFd });
    throw new RunscError(`starting the ${name}`, error);
  }
  return { name, pid: child.pid, pidfd: child.pidfd, errorsFd: role.errorsFd };
}

export function finish(process: SandboxProcess, started: SandboxProcess[]): void {
  try {
    finishProcess(process.pid);
  } catch (error) {
    // It has been reaped, and its pidfd is closed.
    started.splice(started.indexOf(process), 1);
    const { syscall } = error as NodeJS.ErrnoException;
    throw syscall === 'mount' ? refused(process.name, error) : new RunscError(`starting the ${process.name}: ${syscall}`, error);
  }
}

/** Why a user namespace cannot be had, naming the setting that says so. */
function refused(name: string, error: unknown): RunscError {
  const settings: [string, (value: string) => boolean][] = [
    ['/proc/sys/user/max_user_namespaces', (v) => v === '0'],
    ['/proc/sys/kernel/unprivileged_userns_clone', (v) => v === '0'],
    ['/proc/sys/kernel/apparmor_restrict_unprivileged_userns', (v) => v === '1'],
  ];
  for (const [path, forbids] of settings) {
    let value: string;
    try {
      value = readFileSync(path, 'utf8').trim();
    } catch {
      continue;
    }
    const sysctl = path.slice('/proc/sys/'.length).replaceAll('/', '.');
    if (forbids(value))
      return new RunscError(`starting the ${name}: the host refuses user namespaces because of sysctl ${sysctl}=${value}`, error);
  }
  return new RunscError(
    `starting the ${name}: the host refuses new namespaces (is runsc itself in a container without CAP_SYS_ADMIN and with a seccomp profile?)`,
    error,
  );
}
