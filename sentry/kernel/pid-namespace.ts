// Process numbers: struct pid and struct pid_namespace. A Pid has one number in its own namespace
// and one in each above it, up to the sandbox's root. It lives as long as a task, a process group
// or a session uses it, so that no number means two things at once.

import { EAGAIN, EEXIST, EINVAL, ENOMEM, EPERM } from '../abi/errno.ts';
import { CAP_CHECKPOINT_RESTORE, CAP_SYS_ADMIN } from '../abi/sched.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import type { Credentials } from './credentials.ts';
import type { Namespace } from './namespace.ts';
import { nextNamespaceIno } from './namespace.ts';
import type { ProcessGroup, Session } from './process-group.ts';
import type { Task } from './task.ts';
import type { ThreadGroup } from './thread-group.ts';
import type { UserNamespace } from './user-namespace.ts';

/** include/linux/threads.h: numbers are below it. */
export const PID_MAX = 32768;
const NONE_WANTED: readonly number[] = [];
/** Where numbering goes on after it has wrapped: kernel/pid.c. */
const RESERVED_PIDS = 300;
/** include/linux/pid_namespace.h. */
export const MAX_PID_NS_LEVEL = 32;

export class Pid {
  /** The deepest namespace that knows it: the task's own. */
  readonly ns: PidNamespace;
  /** By level; numbers[0] is the sandbox's root namespace. */
  readonly numbers: readonly number[];
  task: Task | null = null;
  /** The process whose leader's number this is. */
  group: ThreadGroup | null = null;
  processGroup: ProcessGroup | null = null;
  session: Session | null = null;
  /** pidfd pollers: POLLIN when the process has ended. */
  readonly waiters: WaitQueue = new WaitQueue();

  constructor(ns: PidNamespace, numbers: readonly number[]) {
    this.ns = ns;
    this.numbers = numbers;
  }

  /** pid_nr_ns(): the number as seen from `ns`, 0 when it cannot be seen from there. */
  numberIn(ns: PidNamespace): number {
    if (ns.level > this.ns.level) return 0;
    let at = this.ns;
    while (at.level > ns.level) at = at.parent!;
    return at === ns ? this.numbers[ns.level]! : 0;
  }

  /** Frees the numbers if nothing uses them any more. Call after clearing one of the four uses. */
  releaseIfUnused(): void {
    if (this.task !== null || this.group !== null || this.processGroup !== null || this.session !== null) return;
    for (let ns: PidNamespace | null = this.ns; ns !== null; ns = ns.parent) ns.forget(this.numbers[ns.level]!);
  }
}

export class PidNamespace implements Namespace {
  readonly kind = 'pid';
  readonly ino: number = nextNamespaceIno();
  readonly parent: PidNamespace | null;
  readonly userns: UserNamespace;
  readonly level: number;
  /** Number 1; orphans become its children, and its death is everybody's. */
  init: ThreadGroup | null = null;
  /** init has died: nobody may be born here any more. */
  dying = false;
  /** Processes numbered here, zombies included; counted by thread-group.ts and task-exit.ts. */
  processes = 0;
  private readonly pids = new Map<number, Pid>();
  private last = 0;
  /** Number 1 is kept for a first process that is still to come. */
  private firstIsKept = false;

  constructor(parent: PidNamespace | null, userns: UserNamespace) {
    this.parent = parent;
    this.userns = userns;
    this.level = parent === null ? 0 : parent.level + 1;
  }

  /** Keeps number 1 for allocateFirst(): others may be born before it. */
  keepFirst(): void {
    this.firstIsKept = true;
    this.last = 1;
  }

  get awaitsFirst(): boolean {
    return this.firstIsKept;
  }

  /** Number 1, which has been kept: the sandbox's root namespace only. */
  allocateFirst(): Pid {
    this.firstIsKept = false;
    const pid = new Pid(this, [1]);
    this.pids.set(1, pid);
    return pid;
  }

  /**
   * A new Pid here and in all namespaces above; -EAGAIN without a free number, -ENOMEM once init is dead. `wanted` are the numbers
   * that somebody with `creds` asks for, here first: -EINVAL, -EPERM, -EEXIST. kernel/pid.c:alloc_pid().
   */
  allocate(wanted: readonly number[] = NONE_WANTED, creds: Credentials | null = null): Pid | number {
    if (wanted.length > this.level + 1) return -EINVAL;
    if (this.dying) return -ENOMEM;
    const numbers: number[] = new Array(this.level + 1);
    for (let ns: PidNamespace | null = this; ns !== null; ns = ns.parent) {
      const at = this.level - ns.level;
      const number = at < wanted.length ? ns.checkWanted(wanted[at]!, creds!) : ns.nextFree();
      if (number < 0) return number;
      numbers[ns.level] = number;
    }
    const pid = new Pid(this, numbers);
    for (let ns: PidNamespace | null = this; ns !== null; ns = ns.parent) {
      const number = numbers[ns.level]!;
      if (this.level - ns.level >= wanted.length) ns.last = number;
      ns.pids.set(number, pid);
    }
    return pid;
  }

  private checkWanted(number: number, creds: Credentials): number {
    // "fail if a PID != 1 is requested and no PID 1 exists"
    if (number < 1 || number >= PID_MAX || (number !== 1 && this.init === null)) return -EINVAL;
    if (!creds.capableIn(this.userns, CAP_CHECKPOINT_RESTORE) && !creds.capableIn(this.userns, CAP_SYS_ADMIN)) return -EPERM;
    return this.pids.has(number) ? -EEXIST : number;
  }

  /** The number given out last: loadavg, ns_last_pid. */
  get lastNumber(): number {
    return this.last;
  }

  /** find_pid_ns(). */
  find(number: number): Pid | undefined {
    return this.pids.get(number);
  }

  /** The thread with this number here. */
  task(number: number): Task | undefined {
    return this.pids.get(number)?.task ?? undefined;
  }

  /** The process with this number here. */
  group(number: number): ThreadGroup | undefined {
    return this.pids.get(number)?.group ?? undefined;
  }

  /** All numbers in use, ascending: /proc's directory, kill(-1). */
  numbers(): number[] {
    return [...this.pids.keys()].sort((a, b) => a - b);
  }

  forget(number: number): void {
    this.pids.delete(number);
  }

  /** Whether `other` is this namespace or lies inside it. */
  contains(other: PidNamespace): boolean {
    for (let at: PidNamespace | null = other; at !== null; at = at.parent) if (at === this) return true;
    return false;
  }

  private nextFree(): number {
    if (this.pids.size >= PID_MAX - 1) return -EAGAIN;
    let number = this.last;
    do {
      number = number + 1 < PID_MAX ? number + 1 : RESERVED_PIDS;
      // The low numbers are used only once, so a wrapped search that finds nothing has failed.
      if (number === this.last) return -EAGAIN;
    } while (this.pids.has(number));
    return number;
  }
}
