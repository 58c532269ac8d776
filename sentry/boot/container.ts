// The container inside the Sentry: its first program, those of exec, and who waits for their end.

import { EBUSY, EINVAL, ESRCH, errnoName } from '../abi/errno.ts';
import { SIGKILL } from '../abi/signal.ts';
import type { Console } from '../fs/console.ts';
import { closeFd, writeHost } from '../host/confine.ts';
import { dup } from '../host/host-io.ts';
import type { FsContext } from '../kernel/fs-context.ts';
import type { GuestContainer } from '../kernel/guest-container.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { INSTRUCTION_SIZE, SeccompFilter } from '../kernel/seccomp-filter.ts';
import type { Task } from '../kernel/task.ts';
import { sendKernelSignal } from '../kernel/task-signals.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import type { KernelContext } from '../vfs/context.ts';
import type { ContainerConfig, ProcessConfig } from './boot-config.ts';
import type { SandboxState } from './control-protocol.ts';
import { openStdio } from './setup-stdio.ts';
import { checkProgram, isFailure, type StartFailure, startProgram } from './start-process.ts';

/** Descriptors 0, 1 and 2. */
const STDIO = 3;
/** Ends of programs of exec that are kept. */
const MAX_ENDINGS = 256;

/** A program of classic BPF in base64. Throws when it is none: the command line made it. */
function filterFrom(program: string): SeccompFilter {
  const bytes = Buffer.from(program, 'base64');
  const filter = SeccompFilter.create(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), bytes.length / INSTRUCTION_SIZE);
  if (typeof filter === 'number') throw new Error(`the seccomp program of the container is invalid: ${errnoName(-filter)}`);
  return filter;
}

export class Container {
  readonly kernel: Kernel;
  readonly config: ContainerConfig;
  /** What its processes have in common. */
  readonly scope: GuestContainer;
  /** Root's view of the container's mounts: where programs start. */
  readonly root: KernelContext;
  status: SandboxState['status'] = 'created';
  /** The first program; null until it starts. */
  init: ThreadGroup | null = null;
  /** The host's, until the program has it. */
  private stderr = -1;
  /** Called with the wait status of the first program, once. */
  onEnd: (status: number) => void = () => {};
  /** What its programs run under from the start. */
  private readonly filters: readonly SeccompFilter[];
  private readonly waiters: Map<ThreadGroup, ((status: number) => void)[]> = new Map();
  /** Who waits for the first program before it is there. */
  private readonly early: ((status: number) => void)[] = [];
  /** The host's descriptors of the first program. */
  private readonly stdio: readonly number[];
  private isStdioTaken = false;
  /** It has a pid namespace of its own, whose first process is its first program. */
  private readonly ownsPids: boolean;
  /** Of programs of exec that have ended, by their number, for who asks late: the one who waits and the one who stands for it. */
  private readonly endings: Map<number, number> = new Map();
  private readonly terminals: Map<ThreadGroup, Console> = new Map();

  /** stdio is taken over once the first program starts. Throws for a seccomp program that is none. */
  constructor(
    kernel: Kernel,
    config: ContainerConfig,
    stdio: readonly number[],
    root: KernelContext,
    scope: GuestContainer,
    ownsPids: boolean,
  ) {
    this.kernel = kernel;
    this.config = config;
    this.stdio = stdio;
    this.root = root;
    this.scope = scope;
    this.ownsPids = ownsPids;
    this.filters = config.seccomp === undefined ? [] : [filterFrom(config.seccomp)];
    if (ownsPids) scope.pidns.keepFirst();
  }

  /** A process's number as requests name it: that of the container's pid namespace. */
  numberOf(group: ThreadGroup): number {
    return group.pid.numberIn(this.scope.pidns);
  }

  /** The container's process of that number; 1 is the first program, whatever it is called in a namespace shared with others. */
  find(pid: number): ThreadGroup | undefined {
    if (pid === 1) return this.init ?? undefined;
    const group = this.scope.pidns.group(pid);
    return group?.container === this.scope ? group : undefined;
  }

  /** Its living processes. */
  groups(): ThreadGroup[] {
    const groups: ThreadGroup[] = [];
    for (const number of this.scope.pidns.numbers()) {
      const group = this.scope.pidns.group(number);
      if (group !== undefined && !group.isDead && group.container === this.scope) groups.push(group);
    }
    return groups;
  }

  /** Why the configured program cannot be started, as things stand. */
  check(): StartFailure | undefined {
    return checkProgram(this.kernel, this.config.process, this.root.fs.clone());
  }

  /** Runs the configured program. After a failure somebody has to end the container. */
  start(): Task | StartFailure {
    if (this.init !== null) return { error: 'the container has been started already', errno: EBUSY };
    if (this.status === 'stopped') return { error: 'the container has ended', errno: ESRCH };
    this.stderr = dup(this.stdio[2]!);
    this.isStdioTaken = true;
    const t = this.run(this.config.process, this.stdio, true);
    if (isFailure(t)) return t;
    closeFd(this.stderr);
    this.init = t.group;
    this.status = 'running';
    return t;
  }

  /** As runc's init, which has nobody else to tell when execve fails: a line on the container's stderr, and status 1. */
  endUnstarted(failure: StartFailure): void {
    const line = new TextEncoder().encode(`${failure.error}\n`);
    writeHost(this.stderr, line, 0, line.length);
    closeFd(this.stderr);
    this.abandon(1 << 8);
  }

  /** Runs one more program with these host descriptors, which are taken over, as its own from 0 on. */
  exec(process: ProcessConfig, hostFds: readonly number[]): Task | StartFailure {
    // Before the first program, too: runc's exec works in a created container, and hooks run then.
    if (this.status === 'stopped') return { error: 'the container is not running', errno: ESRCH };
    if (hostFds.length < STDIO) return { error: 'three descriptors are needed', errno: EINVAL };
    return this.run(process, hostFds, false);
  }

  private run(asked: ProcessConfig, hostFds: readonly number[], first: boolean): Task | StartFailure {
    // linux.personality is the container's, not one process's.
    const process = { ...asked, personality: this.config.process.personality };
    const fs: FsContext = this.root.fs.clone();
    const stdio = openStdio(this.kernel, process, hostFds, this.root);
    if ('errno' in stdio) return stdio;
    const t = startProgram(this.kernel, process, {
      fs,
      files: stdio.files,
      filters: this.filters,
      first: first && this.ownsPids,
      container: this.scope,
      name: this.config.id,
    });
    if (isFailure(t)) {
      stdio.console?.close();
      return t;
    }
    if (stdio.console !== undefined) {
      stdio.console.attach(t);
      this.terminals.set(t.group, stdio.console);
      if (first) this.scope.console = stdio.console.pty;
    }
    this.endings.delete(this.numberOf(t.group));
    t.group.onExit = (status) => this.ended(t.group, status);
    return t;
  }

  /** Has `told` called with a process's wait status, now if it has ended. false for a number that is nobody's. */
  onExitOf(pid: number, told: (status: number) => void): boolean {
    const status = this.endings.get(pid);
    if (status !== undefined) {
      told(status);
      return true;
    }
    if (pid === 1 && this.init === null) {
      this.early.push(told);
      return this.status !== 'stopped';
    }
    const group = this.find(pid);
    if (group === undefined || group.isDead) return false;
    const others = this.waiters.get(group);
    if (others !== undefined) others.push(told);
    else this.waiters.set(group, [told]);
    group.onExit ??= (ended) => this.ended(group, ended);
    return true;
  }

  private ended(group: ThreadGroup, status: number): void {
    const told = group === this.init ? [...this.early, ...(this.waiters.get(group) ?? [])] : this.waiters.get(group);
    this.waiters.delete(group);
    this.terminals.get(group)?.close();
    this.terminals.delete(group);
    for (const tell of told ?? []) tell(status);
    if (group === this.init) {
      this.status = 'stopped';
      this.scope.console = null;
      // In a namespace of its own the others are dead by now: zap_pid_ns_processes().
      for (const left of this.groups()) sendKernelSignal(left, SIGKILL);
      this.onEnd(status);
      return;
    }
    this.endings.set(this.numberOf(group), status);
    if (this.endings.size > MAX_ENDINGS)
      for (const oldest of this.endings.keys()) {
        this.endings.delete(oldest);
        break;
      }
  }

  /** Ends the container before its program has started, with this wait status. */
  abandon(status: number): void {
    this.status = 'stopped';
    if (!this.isStdioTaken) for (const fd of this.stdio) closeFd(fd);
    this.isStdioTaken = true;
    // Hooks, and programs of exec.
    for (const left of this.groups()) sendKernelSignal(left, SIGKILL);
    for (const tell of this.early) tell(status);
    this.onEnd(status);
  }

  /** The host's terminal behind a program's has a new size. */
  resize(pid: number, rows: number, columns: number): boolean {
    const group = this.find(pid);
    const terminal = group === undefined ? undefined : this.terminals.get(group);
    terminal?.resize(rows, columns);
    return terminal !== undefined;
  }
}
