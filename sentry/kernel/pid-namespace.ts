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
/** Above all numbers of tasks that there can be at once, by far. */
const HIDDEN_MAX = 1 << 22;
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
    while (at.level > ns.level) {
      if (at.sealed) return 0;
      at = at.parent!;
    }
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
  /**
   * A container's own beside the sandbox's first one: whoever is in the namespace above cannot see in here, since on
   * Linux both would be siblings. Numbers of the root namespace are the kernel's, and all processes have one.
   */
  readonly sealed: boolean;
  /** Number 1; orphans become its children, and its death is everybody's. */
  init: ThreadGroup | null = null;
  /** init has died: nobody may be born here any more. */
  dying = false;
  /** Processes numbered here, zombies included; counted by thread-group.ts and task-exit.ts. */
  processes = 0;
  private readonly pids = new Map<number, Pid>();
  private last = 0;
  private lastHidden = PID_MAX - 1;
  /** There are, or have been, sealed namespaces right below. */
  private hasSealed = false;
  /** Number 1 is kept for a first process that is still to come. */
  private firstIsKept = false;

  constructor(parent: PidNamespace | null, userns: UserNamespace, sealed = false) {
    this.sealed = sealed;
    if (sealed) parent!.hasSealed = true;
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

  /** The namespace whose processes see those in here, if there is one. */
  get visibleParent(): PidNamespace | null {
    return this.sealed ? null : this.parent;
  }

  /** Number 1, which has been kept: in the sandbox's root namespace, or a sealed one right below. */
  allocateFirst(): Pid {
    const numbers: number[] = new Array(this.level + 1).fill(1);
    if (this.parent !== null) numbers[0] = this.parent.nextHidden();
    this.firstIsKept = false;
    const pid = new Pid(this, numbers);
    this.pids.set(1, pid);
    this.parent?.pids.set(numbers[0]!, pid);
    return pid;
  }

  /**
   * A new Pid here and in all namespaces above; -EAGAIN without a free number, -ENOMEM once init is dead. `wanted` are the numbers
   * that somebody with `creds` asks for, here first: -EINVAL, -EPERM, -EEXIST. kernel/pid.c:alloc_pid().
   */
  allocate(wanted: readonly number[] = NONE_WANTED, creds: Credentials | null = null): Pid | number {
    // A sealed namespace is the first one for whoever is inside.
    if (wanted.length > this.visibleDepth) return -EINVAL;
    if (this.dying) return -ENOMEM;
    const numbers: number[] = new Array(this.level + 1);
    let hidden = false;
    for (let ns: PidNamespace | null = this; ns !== null; ns = ns.parent) {
      const at = this.level - ns.level;
      const number = hidden ? ns.nextHidden() : at < wanted.length ? ns.checkWanted(wanted[at]!, creds!) : ns.nextFree();
      if (number < 0) return number;
      numbers[ns.level] = number;
      hidden ||= ns.sealed;
    }
    const pid = new Pid(this, numbers);
    for (let ns: PidNamespace | null = this; ns !== null; ns = ns.parent) {
      const number = numbers[ns.level]!;
      if (this.level - ns.level >= wanted.length && number < PID_MAX) ns.last = number;
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
    const pid = this.pids.get(number);
    return pid === undefined || this.shows(pid) ? pid : undefined;
  }

  /** The same, whether it can be seen from here or not: for the kernel's own numbers, which are the root namespace's. */
  findAny(number: number): Pid | undefined {
    return this.pids.get(number);
  }

  /** The thread with this number here. */
  task(number: number): Task | undefined {
    return this.find(number)?.task ?? undefined;
  }

  /** The process with this number here. */
  group(number: number): ThreadGroup | undefined {
    return this.find(number)?.group ?? undefined;
  }

  /** All numbers in use, ascending: /proc's directory, kill(-1). */
  numbers(): number[] {
    const numbers: number[] = [];
    for (const [number, pid] of this.pids) if (this.shows(pid)) numbers.push(number);
    return numbers.sort((a, b) => a - b);
  }

  private shows(pid: Pid): boolean {
    return pid.ns === this || !this.hasSealed || pid.numberIn(this) !== 0;
  }

  forget(number: number): void {
    this.pids.delete(number);
  }

  /** Whether `other` is this namespace or lies inside it. */
  contains(other: PidNamespace): boolean {
    for (let at: PidNamespace | null = other; at !== null; at = at.visibleParent) if (at === this) return true;
    return false;
  }

  /** Namespaces that know a process of this one by a number that it can be called by. */
  private get visibleDepth(): number {
    let depth = 1;
    for (let ns = this.visibleParent; ns !== null; ns = ns.visibleParent) depth++;
    return depth;
  }

  /** The kernel's own number of a process that nobody in here sees: above all that are given out. */
  private nextHidden(): number {
    do this.lastHidden = this.lastHidden + 1 < HIDDEN_MAX ? this.lastHidden + 1 : PID_MAX;
    while (this.pids.has(this.lastHidden));
    return this.lastHidden;
  }

  private nextFree(): number {
    let number = this.last;
    for (let tries = 0; tries < PID_MAX; tries++) {
      number = number + 1 < PID_MAX ? number + 1 : RESERVED_PIDS;
      if (!this.pids.has(number)) return number;
    }
    // The low numbers are used only once, so a search that has been all around and found nothing has failed.
    return -EAGAIN;
  }
}
