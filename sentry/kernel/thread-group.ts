// A process: struct signal_struct and what Linux keeps of a process in its leader. Its threads are
// Tasks; the life of both is in task-clone.ts and task-exit.ts.

import { SIGCHLD } from '../abi/signal.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import type { Cgroup } from '../fs/cgroupfs.ts';
import type { VfsPath } from '../vfs/filesystem.ts';
import type { CoreDump } from './core-dump.ts';
import type { GuestContainer } from './guest-container.ts';
import { IoCounts } from './io-counts.ts';
import type { Kernel } from './kernel.ts';
import type { Limits } from './limits.ts';
import type { Pid, PidNamespace } from './pid-namespace.ts';
import type { ControllingTty, ProcessGroup, Session } from './process-group.ts';
import type { SignalHandlers } from './signal-actions.ts';
import { SignalQueue } from './signal-queue.ts';
import type { Task } from './task.ts';
import { sendKernelSignal } from './task-signals.ts';

/** Interval and POSIX timers of a process (itimers.ts, posix-timers.ts): ended with it. */
export interface GroupTimers {
  /** The process ends, or for POSIX timers execs. */
  release(): void;
}

/** Resources used: struct rusage, times in ns. */
export class Usage {
  userNs = 0;
  systemNs = 0;
  maxRssKb = 0;
  minorFaults = 0;
  majorFaults = 0;
  voluntarySwitches = 0;
  involuntarySwitches = 0;

  assign(other: Usage): void {
    this.userNs = other.userNs;
    this.systemNs = other.systemNs;
    this.maxRssKb = other.maxRssKb;
    this.minorFaults = other.minorFaults;
    this.majorFaults = other.majorFaults;
    this.voluntarySwitches = other.voluntarySwitches;
    this.involuntarySwitches = other.involuntarySwitches;
  }

  add(other: Usage): void {
    this.userNs += other.userNs;
    this.systemNs += other.systemNs;
    this.maxRssKb = Math.max(this.maxRssKb, other.maxRssKb);
    this.minorFaults += other.minorFaults;
    this.majorFaults += other.majorFaults;
    this.voluntarySwitches += other.voluntarySwitches;
    this.involuntarySwitches += other.involuntarySwitches;
  }
}

export class ThreadGroup {
  readonly kernel: Kernel;
  /** The process's number; the leader's too. */
  readonly pid: Pid;
  /** Set right after construction; exec by another thread makes that one the leader. */
  leader!: Task;
  /** Threads that have not exited; a dead leader is not among them. */
  readonly tasks: Task[] = [];

  /** real_parent's process; null for those that boot has started, and once nobody is left to wait. */
  parent: ThreadGroup | null = null;
  /** The thread that cloned us, for __WNOTHREAD and PR_SET_PDEATHSIG. */
  parentTask: Task | null = null;
  /** Oldest first; zombies included. */
  readonly children: Set<ThreadGroup> = new Set();
  processGroup!: ProcessGroup;
  tty: ControllingTty | null = null;
  /** Where it was put in the guest's own hierarchy (fs/cgroupfs.ts); null: at the root. Children are born there. */
  cgroup: Cgroup | null = null;

  /** Whose program it is; children are of the same. */
  container: GuestContainer;
  readonly limits: Limits;
  handlers: SignalHandlers;
  /** Signals for whichever thread can take them. */
  readonly pending: SignalQueue = new SignalQueue();

  /** What the parent is sent when we end; 0 for nothing. */
  exitSignal: number = SIGCHLD;
  /** exit_group or a fatal signal is under way: all threads end with groupExitStatus. SIGNAL_GROUP_EXIT. */
  exiting = false;
  /** A core file is being written, by a thread that waits for the others' end. */
  dump: CoreDump | null = null;
  /** exec is under way and kills all threads but this one. */
  execTask: Task | null = null;
  /** Wait status (signal, or code << 8) while `exiting`, final once isDead. */
  groupExitStatus = 0;
  /** All threads have ended and the parent has been told: a zombie until it is waited for. */
  isDead = false;
  /** Waited for, or nobody will: gone from all tables. */
  isReaped = false;
  /** Called with the wait status once the last thread has ended; for processes that boot has started. */
  onExit: ((status: number) => void) | null = null;

  /** A group stop is under way or complete. */
  stopSignal = 0;
  /** Threads that have yet to stop. */
  stopCount = 0;
  /** Every thread has stopped: SIGNAL_STOP_STOPPED. */
  isStopped = false;
  /** waitid's WSTOPPED has not been answered yet. */
  stopUnreported = false;
  /** SIGNAL_STOP_CONTINUED: WCONTINUED has not been answered yet. */
  continuedUnreported = false;

  /** Traced threads that have ended and whom our tracing threads have not waited for. */
  readonly traceZombies: Task[] = [];
  /** Dead, but a tracer that is not the parent has to wait for us first. */
  heldByTracer = false;
  /** Parents wait here for children: wait_chldexit. Notified with POLLIN. */
  readonly childWaiters: WaitQueue = new WaitQueue();
  /** Of threads that have ended. */
  readonly deadUsage: Usage = new Usage();
  readonly deadIo: IoCounts = new IoCounts();
  /** Of children that have been waited for. */
  readonly childUsage: Usage = new Usage();
  /** The resident set when it was last looked at, and the largest one, KiB. */
  rssKb = 0;
  maxRssKb = 0;
  /** How much of the CPU time was user time when that was last known, and what was told of both parts, ns: usage.ts. */
  userShare = 1;
  shownUserNs = 0;
  shownSystemNs = 0;
  /** Which of `tasks` a CPU timer has met last. */
  lastTicked = 0;
  readonly startNs: number;

  /** Init of its pid namespace: signals with their default action do nothing to it. SIGNAL_UNKILLABLE. */
  unkillable = false;
  isChildSubreaper = false;
  hasChildSubreaper = false;
  /** SUID_DUMP_USER 1, SUID_DUMP_DISABLE 0, root only 2. */
  dumpable = 1;
  oomScoreAdj = 0;
  personality = 0;
  /** PR_SET_IO_FLUSHER and PR_SET_THP_DISABLE: remembered only. */
  ioFlusher = false;
  thpDisabled = false;
  /** execve has succeeded since fork: setpgid by the parent is EACCES. */
  didExec = false;

  // What exec has loaded: /proc/[pid]/{exe,cmdline,environ,auxv}.
  exe: VfsPath | undefined = undefined;
  exePath = '';
  argStart = 0;
  argEnd = 0;
  envStart = 0;
  envEnd = 0;
  auxv: Uint8Array = new Uint8Array(0);

  itimers: GroupTimers | null = null;
  posixTimers: GroupTimers | null = null;
  /** SEM_UNDO operations to take back at the end: ipc-sem.ts. */
  semUndo: GroupTimers | null = null;
  /** RLIMIT_CPU, when it is finite. */
  cpuLimit: GroupTimers | null = null;

  constructor(kernel: Kernel, pid: Pid, handlers: SignalHandlers, limits: Limits) {
    this.kernel = kernel;
    this.container = kernel.firstContainer;
    this.pid = pid;
    this.handlers = handlers;
    this.limits = limits;
    this.startNs = kernel.clock.boottimeNs();
    pid.group = this;
    for (let ns: PidNamespace | null = pid.ns; ns !== null; ns = ns.visibleParent) ns.processes++;
  }

  /** Process number in the root pid namespace. */
  get tgid(): number {
    return this.pid.numbers[0]!;
  }

  get pidns(): PidNamespace {
    return this.pid.ns;
  }

  get session(): Session {
    return this.processGroup.session;
  }

  /** Number 1 of its pid namespace. */
  get isInit(): boolean {
    return this.pid.ns.init === this;
  }

  get isSessionLeader(): boolean {
    return this.processGroup.session.leader === this;
  }

  /** Sends the process the kernel's own signal: a hangup. SEND_SIG_PRIV. */
  signal(signo: number): void {
    sendKernelSignal(this, signo);
  }

  /** getppid(2) as seen from `ns`: 0 when the parent is outside. */
  parentPidIn(ns: PidNamespace): number {
    return this.parent === null ? 0 : this.parent.pid.numberIn(ns);
  }
}
