// The life of a container from outside: create, start, kill, delete, and what it is doing just now. A command holds
// the container's lock while it changes something.

import { renameSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { SIGCONT, SIGKILL, SIGSTOP } from '../sentry/abi/signal.ts';
import type { SandboxState } from '../sentry/boot/control-protocol.ts';
import { startAnchor } from './anchor.ts';
import { type BootPlan, planBoot, planProcess } from './boot-from-spec.ts';
import { Cgroup, type CgroupRecord } from './cgroup.ts';
import type { Config } from './config.ts';
import { sendConsole, sendPidfdOf } from './console.ts';
import { prepareCgroup } from './container-cgroup.ts';
import { ControlClient, SandboxGone } from './control-client.ts';
import { RunscError } from './errors.ts';
import { startError } from './foreground.ts';
import { type OciState, runHooks, runHooksAnyway } from './hooks.ts';
import { closeFd, killProcess } from './host.ts';
import { joinSandbox } from './join-sandbox.ts';
import { openEgressLog, openLog } from './log.ts';
import { debugLine } from './messages.ts';
import { hostNumberOf, processesInNamespaceOf } from './namespaces.ts';
import { checkPod, findPod } from './pod.ts';
import { Sandbox, type SandboxOptions } from './sandbox.ts';
import { readSpec, type Spec, type SpecProcess } from './spec.ts';
import { runGuestHook } from './start-hooks.ts';
import { type ContainerState, identify, isAlive, type Remains, StateDir } from './state-file.ts';
import { TerminalRelay } from './terminal-relay.ts';

export interface Created {
  readonly container: Container;
  readonly sandbox: Sandbox;
  readonly spec: Spec;
  /** For a terminal whose other side is not the caller's terminal. */
  readonly relay: TerminalRelay | undefined;
}

export type Status = 'creating' | 'created' | 'running' | 'paused' | 'stopped';

export interface CreateOptions {
  readonly bundle: string;
  readonly consoleSocket: string | undefined;
  readonly pidFile: string | undefined;
  readonly pidfdSocket: string | undefined;
  /** The caller waits for the end itself: the sandbox dies with it. */
  readonly foreground: boolean;
  /** Its descriptors, from 0 on. */
  readonly stdio: readonly number[];
}

/** How long a killed sandbox may take to be gone. */
const DEATH_MS = 10_000;
const POLL_MS = 5;

export function sleepMs(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

export class Container {
  readonly dir: StateDir;
  readonly config: Config;
  state: ContainerState;

  constructor(dir: StateDir, config: Config, state: ContainerState) {
    this.dir = dir;
    this.config = config;
    this.state = state;
  }

  static load(config: Config, id: string): Container {
    const dir = new StateDir(config.root, id);
    return new Container(dir, config, dir.load());
  }

  /** Makes a container; its program does not run yet. The sandbox is the caller's child. */
  static create(config: Config, id: string, options: CreateOptions): Created {
    const bundle = resolve(options.bundle);
    const dir = new StateDir(config.root, id);
    const spec = readSpec(bundle);
    const pod = findPod(config, id, spec);
    const plan = planBoot(id, bundle, spec, config, pod?.member.maps);
    if (pod !== undefined) checkPod(pod, plan, config);
    if (!options.foreground) checkConsole(spec, options.consoleSocket);
    if (spec.seccomp !== undefined) debugLine(`seccomp filter flags: ${spec.seccomp.flags}`);
    dir.create();
    const release = dir.lock();
    const undo: (() => void)[] = [() => dir.remove()];
    let consoleFd = -1;
    let relay: TerminalRelay | undefined;
    try {
      const { joinSandbox: joinBeside, joinPod, join, cgroup } = prepareCgroup(config, dir, spec, pod);
      undo.push(() => cgroup()?.remove());
      let stdio = options.stdio;
      if (spec.process.terminal && options.consoleSocket !== undefined) {
        consoleFd = sendConsole(options.consoleSocket, spec.process.consoleSize);
        stdio = [consoleFd, consoleFd, consoleFd, ...stdio.slice(3)];
      } else if (spec.process.terminal) {
        relay = TerminalRelay.whereNeeded(spec.process.consoleSize);
        if (relay !== undefined) stdio = [relay.slave, relay.slave, relay.slave, ...stdio.slice(3)];
      }
      const sandboxOptions: SandboxOptions = {
        boot: relay === undefined ? plan.boot : { ...plan.boot, process: { ...plan.boot.process, bareNewlines: true } },
        trees: plan.trees,
        stdio,
        controlPath: dir.controlPath,
        logFd: openLog(config, options.foreground ? 'run' : 'create', id),
        network: plan.network,
        networkCapabilities: plan.networkCapabilities,
        egressLogFd: openEgressLog(config),
        maps: plan.maps,
        joinCgroup: joinBeside,
      };
      const { sandbox, nursery } =
        pod === undefined
          ? { sandbox: Sandbox.start(sandboxOptions), nursery: 0 }
          : joinSandbox(pod, sandboxOptions, !config.ignoreCgroups);
      undo.push(() => sandbox.end());
      if (nursery !== 0 && cgroup() !== undefined) {
        join(nurseryOf(sandbox, nursery), true);
        joinPod(sandbox.gofer.pid);
      }
      if (pod === undefined) cgroup()?.claimStubs([sandbox.sentry.pid, sandbox.gofer.pid]);
      const own = pod === undefined ? { sentry: identify(sandbox.sentry.pid) } : {};
      const remains = { ...own, gofer: identify(sandbox.gofer.pid), cgroup: cgroup()?.record };
      dir.saveRemains(remains);
      const anchor = anchorOf(dir, plan, spec, sandbox, consoleFd, join);
      sandbox.anchorPid = anchor;
      dir.saveRemains({ ...remains, anchor: identify(anchor) });
      const state: ContainerState = {
        ociVersion: spec.ociVersion,
        id,
        bundle,
        rootfs: plan.rootfs,
        created: new Date().toISOString(),
        owner: process.getuid!(),
        annotations: spec.annotations,
        sentry: identify(sandbox.sentry.pid),
        gofer: identify(sandbox.gofer.pid),
        anchor: identify(anchor),
        memberOf: pod === undefined ? undefined : (pod.member.memberOf ?? pod.member.id),
        maps: plan.maps,
        platform: config.platform,
        started: false,
        paused: false,
        process: spec.process,
        startContainer: spec.hooks.startContainer,
        poststart: spec.hooks.poststart,
        poststop: spec.hooks.poststop,
        cgroup: cgroup()?.record,
      };
      const container = new Container(dir, config, state);
      // "called after the runtime environment has been created but before the pivot_root": the namespaces are there.
      for (const name of ['prestart', 'createRuntime', 'createContainer'] as const)
        runHooks(name, spec.hooks[name], container.ociState('creating'));
      const checked = sandbox.control.await(sandbox.control.send({ method: 'check' }));
      if (checked.error !== undefined) throw startError(spec.process.args[0]!, checked.error, checked.errno);
      dir.save(state);
      dir.saveRequest(execRequest(state.process));
      if (options.pidFile !== undefined) writePidFile(options.pidFile, anchor);
      if (options.pidfdSocket !== undefined) sendPidfdOf(options.pidfdSocket, anchor);
      if (!options.foreground) sandbox.control.ask('letting the sandbox go', { method: 'detach' });
      return { container, sandbox, spec, relay };
    } catch (error) {
      for (const step of undo.reverse()) {
        try {
          step();
        } catch {
          // The first failure is what is told.
        }
      }
      relay?.drain();
      throw error;
    } finally {
      if (consoleFd >= 0) closeFd(consoleFd);
      release();
    }
  }

  /** What it is doing. Asks the host, not the sandbox, so that a paused or dead one can be asked too. */
  get status(): Status {
    if (!isAlive(this.state.anchor) || !isAlive(this.state.sentry)) return 'stopped';
    if (this.state.paused) return 'paused';
    return this.state.started ? 'running' : 'created';
  }

  ociState(status: Status = this.status): OciState {
    const { ociVersion, id, bundle, annotations, anchor } = this.state;
    return { ociVersion, id, status, pid: status === 'stopped' ? 0 : anchor.pid, bundle, annotations };
  }

  private update(change: Partial<ContainerState>): void {
    this.state = { ...this.state, ...change };
    if (change.paused !== undefined) this.dir.saveRequest(change.paused ? undefined : execRequest(this.state.process));
    this.dir.save(this.state);
  }

  /** Runs `work` with the lock held and the state fresh. */
  locked<T>(work: () => T): T {
    const release = this.dir.lock();
    try {
      this.state = this.dir.load();
      return work();
    } finally {
      release();
    }
  }

  connect(): ControlClient {
    try {
      return ControlClient.connect(this.dir.controlPath);
    } catch (error) {
      if (error instanceof SandboxGone) throw new RunscError(`container "${this.state.id}" is not running`);
      throw error;
    }
  }

  /** Lets the created program run. */
  start(): void {
    this.locked(() => {
      const { status } = this;
      if (status !== 'created')
        throw new RunscError(
          `cannot start container "${this.state.id}"`,
          status === 'stopped' ? 'it has stopped' : `it is ${status} already`,
        );
      const client = this.connect();
      try {
        this.runStartHooks(client);
      } catch (error) {
        this.end();
        throw error;
      }
      const reply = client.await(client.send({ method: 'start' }));
      client.close();
      if (reply.error !== undefined) {
        // Nothing will ever run in it: runc's container is stopped then, too.
        this.end();
        throw startError(this.state.process.args[0]!, reply.error, reply.errno);
      }
      this.markStarted();
    });
  }

  /** startContainer hooks are programs of the container that run before its own. */
  runStartHooks(client: ControlClient): void {
    for (const [i, hook] of this.state.startContainer.entries())
      runGuestHook(client, `error running startContainer hook #${i}`, hook, this.state.process, this.ociState('created'));
  }

  markStarted(): void {
    this.update({ started: true });
    try {
      runHooks('poststart', this.state.poststart, this.ociState('running'));
    } catch (error) {
      // "the runtime MUST generate an error, stop and destroy the container": config.md, poststart.
      this.end();
      throw error;
    }
  }

  /** Kills all that runs in it. A sandbox of its own goes with it; in another's the Sentry ends a container whose anchor is gone. */
  private end(): void {
    const { memberOf, anchor, sentry } = this.state;
    if (memberOf === undefined) killProcess(sentry.pid, SIGKILL);
    else if (isAlive(anchor)) killProcess(anchor.pid, SIGKILL);
  }

  /** Sends a signal to the program, one process, a group or all. */
  signal(signal: number, to: 'process' | 'group' | 'all', pid: number): void {
    const { status } = this;
    if (status === 'stopped') {
      // runc's kill --all has nothing to do then, and says so by success.
      if (to === 'all') return;
      // Who ends a pod ends its containers one after the other, and with the first one the others are gone.
      if (signal === SIGKILL && this.state.memberOf !== undefined && !isAlive(this.state.sentry)) return;
      throw new RunscError(`cannot signal container "${this.state.id}"`, 'container not running');
    }
    if (signal === SIGKILL) this.thawSandbox();
    if (status === 'paused' && signal === SIGKILL) this.unpause();
    const client = this.connect();
    try {
      client.ask(`signalling container "${this.state.id}"`, { method: 'signal', pid, signal, to });
    } catch (error) {
      // It has ended meanwhile.
      if (!(error instanceof SandboxGone)) throw error;
      if (signal !== SIGKILL) throw new RunscError(`cannot signal container "${this.state.id}"`, 'container not running');
    } finally {
      client.close();
    }
  }

  /** Stops all host processes of the sandbox, or lets them go on. */
  pause(): void {
    this.locked(() => {
      if (this.status !== 'running') throw new RunscError(`container "${this.state.id}" cannot be paused`, `it is ${this.status}`);
      if (this.cgroup()?.freeze(true) !== true) {
        if (this.state.memberOf !== undefined)
          throw new RunscError(
            `container "${this.state.id}" cannot be paused`,
            `it has no cgroup of its own: pause "${this.state.memberOf}", and with it the pod`,
          );
        // The Sentry first: it would take a stopped stub for one that waits.
        killProcess(this.state.sentry.pid, SIGSTOP);
        for (const pid of processesInNamespaceOf(this.state.sentry.pid)) if (pid !== this.state.sentry.pid) killProcess(pid, SIGSTOP);
      }
      this.update({ paused: true });
    });
  }

  resume(): void {
    this.locked(() => {
      if (this.status !== 'paused') throw new RunscError(`container "${this.state.id}" cannot be resumed`, `it is ${this.status}`);
      this.unpause();
    });
  }

  private unpause(): void {
    if (this.cgroup()?.freeze(false) !== true) {
      for (const pid of processesInNamespaceOf(this.state.sentry.pid)) killProcess(pid, SIGCONT);
    }
    this.update({ paused: false });
  }

  /** The Sentry of a pod whose first container is paused is frozen too: it has to run to end another one. */
  private thawSandbox(): void {
    const { memberOf } = this.state;
    if (memberOf === undefined || !new StateDir(this.config.root, memberOf).exists()) return;
    const first = Container.load(this.config, memberOf);
    if (first.status === 'paused') first.resume();
  }

  cgroup(): Cgroup | undefined {
    return this.state.cgroup === undefined ? undefined : new Cgroup(this.state.cgroup as CgroupRecord);
  }

  /** Removes what is left of a stopped container; force kills it first. */
  delete(force: boolean): void {
    this.locked(() => {
      const { status } = this;
      if (status !== 'stopped') {
        // What has never run may go without force: runc's delete.go.
        if (!force && status !== 'created')
          throw new RunscError(`cannot delete container "${this.state.id}" that is not stopped`, `it is ${status}`);
        this.thawSandbox();
        if (status === 'paused') this.unpause();
        this.end();
      }
      const { sentry, gofer, anchor, memberOf, cgroup } = this.state;
      awaitDeath(this.state.id, { gofer, anchor, cgroup, ...(memberOf === undefined ? { sentry } : {}) });
      this.cgroup()?.remove();
      runHooksAnyway('poststop', this.state.poststop, this.ociState('stopped'));
      this.dir.remove();
    });
  }

  sandboxState(): SandboxState {
    const client = this.connect();
    const state = client.ask<SandboxState>(`asking container "${this.state.id}"`, { method: 'state' });
    client.close();
    return state;
  }
}

/** What starts one more program like the container's own, with the list of its arguments still empty and last. */
function execRequest(process: SpecProcess): string {
  const { args: _, ...rest } = planProcess({ ...process, terminal: false, consoleSize: undefined });
  return JSON.stringify({ id: 1, method: 'exec', process: { ...rest, bareNewlines: false, args: [] } });
}

/** The host's number of the process that makes the container's. */
function nurseryOf(sandbox: Sandbox, nursery: number): number {
  const pid = hostNumberOf(nursery, sandbox.sentry.pid);
  if (pid === undefined) throw new RunscError('moving the container to its cgroup', `the sandbox has no process ${nursery}`);
  return pid;
}

/** Starts the process that stands for the container, which hears of its end over a connection of its own. */
function anchorOf(
  dir: StateDir,
  plan: BootPlan,
  spec: Spec,
  sandbox: Sandbox,
  terminal: number,
  joinCgroup: (pid: number) => void,
): number {
  const client = ControlClient.connect(dir.controlPath);
  try {
    const reply = client.send({ method: 'anchor', pid: 1 });
    const network = plan.network === 'host' ? undefined : (sandbox.network ?? `/proc/${sandbox.sentry.pid}/ns/net`);
    const ownIds = plan.maps === undefined ? undefined : (plan.userNamespace ?? `/proc/${sandbox.gofer.pid}/ns/user`);
    const view = { spec, rootfs: plan.rootfs, mounts: plan.view, network, userNamespace: ownIds, maps: plan.maps };
    return startAnchor({ args: spec.process.args, connection: client.fd, reply, pid: 1, terminal, view, joinCgroup });
  } finally {
    for (const { host } of plan.view) if (host !== undefined && host.viewFd >= 0) closeFd(host.viewFd);
    client.close();
  }
}

/** runc's rules: a terminal needs somebody to give it to. */
function checkConsole(spec: Spec, socket: string | undefined): void {
  if (spec.process.terminal && socket === undefined)
    throw new RunscError('config.json: process.terminal', 'a detached container with a terminal needs --console-socket');
  if (!spec.process.terminal && socket !== undefined)
    throw new RunscError('--console-socket', 'is of no use without process.terminal in config.json');
}

/** As a whole or not at all: whoever waits for the file reads it at once. */
export function writePidFile(path: string, pid: number): void {
  try {
    writeFileSync(`${path}.new`, String(pid));
    renameSync(`${path}.new`, path);
  } catch (error) {
    throw new RunscError(`writing ${path}`, error);
  }
}

/** Cleans up after a container whose state cannot be read: its create was killed half-way, or the file is damaged. */
export function removeRemains(dir: StateDir): void {
  const remains = dir.loadRemains();
  if (remains !== undefined) {
    for (const process of [remains.sentry, remains.gofer, remains.anchor])
      if (process !== undefined && isAlive(process)) killProcess(process.pid, SIGKILL);
    awaitDeath(dir.id, remains);
    if (remains.cgroup !== undefined) new Cgroup(remains.cgroup as CgroupRecord).remove();
  }
  dir.remove();
}

/** A killed Sentry takes its stubs along, and the gofer ends when the Sentry's end of their socket is closed. */
function awaitDeath(id: string, state: Remains): void {
  for (let waited = 0; waited < DEATH_MS; waited += POLL_MS) {
    const { gofer } = state;
    if (![state.sentry, gofer, state.anchor].some((process) => process !== undefined && isAlive(process))) return;
    if (waited === DEATH_MS / 2 && gofer !== undefined && isAlive(gofer)) killProcess(gofer.pid, SIGKILL);
    sleepMs(POLL_MS);
  }
  throw new RunscError(`the processes of container "${id}" do not end`);
}
