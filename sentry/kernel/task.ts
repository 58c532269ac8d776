// A guest thread: struct task_struct. Its fields only; what happens to it is in task-*.ts beside
// this file. A task is always in exactly one of the states below, and only the run loop
// (run-loop.ts) moves it between guest and Sentry.
//
//   GUEST      runs guest code; the platform owns its registers
//   HANDLER    a system call of it (or a fault) is being served right now
//   BLOCKED    parked by block(); `resume` continues it
//   READY      woken, on the kernel's ready list; its continuation runs next
//   HOST_CALLS its stub executes a batch; `resume` continues it
//   STOPPED    job control or ptrace has stopped it
//   DEAD       exited; a zombie when it is the leader and nobody has waited for it yet

import type { Context } from '../../platform/platform.ts';
import { BLOCKED } from '../base/errors.ts';
import type { ListNode } from '../base/list.ts';
import type { Question } from '../base/retry.ts';
import { Waiter, type WaitQueue } from '../base/wait-queue.ts';
import type { MemoryManager } from '../mm/memory-manager.ts';
import type { UserIo } from '../mm/user-io.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { Domain } from '../vfs/landlock.ts';
import type { Credentials } from './credentials.ts';
import type { FdTable } from './fd-table.ts';
import type { FsContext } from './fs-context.ts';
import type { FutexWaiter } from './futex.ts';
import type { PiState } from './futex-pi.ts';
import { IoCounts } from './io-counts.ts';
import type { Kernel } from './kernel.ts';
import type { NsProxy } from './namespaces.ts';
import type { Pid, PidNamespace } from './pid-namespace.ts';
import type { PollTable } from './poll-table.ts';
import type { Tracee } from './ptrace.ts';
import type { Rseq } from './rseq.ts';
import { SchedState } from './sched-state.ts';
import type { SeccompFilter } from './seccomp-filter.ts';
import { SignalState } from './signal-state.ts';
import { SyscallArgs } from './syscall-args.ts';
import { raiseSignal } from './task-signals.ts';
import type { ThreadGroup } from './thread-group.ts';
import { FOREVER, Timer } from './timers.ts';
import type { UserDispatch } from './user-dispatch.ts';
import type { UtsNamespace } from './uts-namespace.ts';

export const TASK_GUEST = 0;
export const TASK_HANDLER = 1;
export const TASK_BLOCKED = 2;
export const TASK_READY = 3;
export const TASK_HOST_CALLS = 4;
export const TASK_STOPPED = 5;
export const TASK_DEAD = 6;

// Why a parked task goes on.
export const WAKE_EVENT = 1;
export const WAKE_TIMEOUT = 2;
export const WAKE_SIGNAL = 3;

/** Continues a parked task: like a handler, it answers a result or BLOCKED. A module-level function, never a closure. */
export type Resume = (t: Task, why: number) => number;

/** What restart_syscall(2) runs after a signal handler that did not abort the call. */
export type Restart = (t: Task) => number;

/** The one thing a task waits for. poll and epoll own their further waiters and wake the task through task.wake(). */
class TaskWaiter extends Waiter {
  readonly task: Task;

  constructor(task: Task) {
    super();
    this.task = task;
  }

  override notified(_events: number): void {
    this.unlink();
    this.task.wake(WAKE_EVENT);
  }
}

class BlockTimer extends Timer {
  readonly task: Task;

  constructor(task: Task) {
    super();
    this.task = task;
  }

  override fired(_nowNs: number): void {
    this.task.wake(WAKE_TIMEOUT);
  }
}

const NO_FILTERS: readonly SeccompFilter[] = [];

export class Task implements ListNode<Task> {
  readonly kernel: Kernel;
  /** Itself: what makes a task a VfsContext. */
  readonly task: Task = this;
  /** Thread id in the root pid namespace; exec by another thread than the leader takes the leader's. */
  tid: number;
  pid: Pid;
  group: ThreadGroup;
  context: Context;
  mm: MemoryManager;
  fds: FdTable;
  fs: FsContext;
  private currentCreds!: Credentials;
  /** At most 15 chars, latin1. */
  comm: string;
  state: number = TASK_HANDLER;
  readonly signals: SignalState = new SignalState();

  // The running or parked system call.
  sysno = -1;
  readonly args: SyscallArgs = new SyscallArgs();
  /** The call's buffers in guest memory, reused by every read and write of the task. */
  readonly io: UserIo;

  // Parking. One waiter, one deadline, and slots for what a continuation needs.
  readonly waiter: TaskWaiter = new TaskWaiter(this);
  readonly timer: BlockTimer = new BlockTimer(this);
  resume: Resume | null = null;
  /** false: only a fatal signal or the event ends the wait (vfork, host calls). */
  interruptible = true;
  wakeReason = 0;
  /** tailHostCalls() under a trace, which wants to see the result. */
  tailResume: Resume | null = null;
  /** Absolute, monotonic; FOREVER for none. */
  deadlineNs: number = FOREVER;
  restart: Restart | null = null;
  /** Absolute and monotonic, for `restart`: deadlineNs does not survive the stop that interrupted the call. */
  restartDeadlineNs: number = FOREVER;
  /** The files that poll and select wait for; made by the first of these calls. */
  pollTable: PollTable | null = null;
  file: FileDescription | undefined = undefined;
  object: unknown = null;
  n0 = 0;
  n1 = 0;
  n2 = 0;

  /** A system call of the task is looked at before it is dispatched: seccomp, or a tracer. */
  private isWatched = false;
  /** SECCOMP_MODE_*. */
  seccompMode = 0;
  /** PR_SET_SYSCALL_USER_DISPATCH. */
  userDispatch: UserDispatch | null = null;
  /** PR_MCE_KILL's policy, which nothing asks for here: PR_MCE_KILL_DEFAULT. */
  machineCheckPolicy = 2;
  /** Newest first. */
  seccompFilters: readonly SeccompFilter[] = NO_FILTERS;
  /** What the running call has asked a guest's program: base/retry.ts. */
  questions: Map<string, Question> | null = null;
  /** The Landlock rules that the task is under: vfs/landlock.ts. */
  landlock: Domain | null = null;
  /** Who traces us and how far: ptrace.ts. */
  tracee: Tracee | null = null;
  /** Whom we trace. */
  tracees: Set<Task> | null = null;
  /** The one futex that FUTEX_WAIT waits for; made by the first one. */
  futexWaiter: FutexWaiter | null = null;
  /** PI futexes that we own and others wait for. */
  piStates: PiState[] | null = null;

  // Set by set_tid_address(2), set_robust_list(2), CLONE_CHILD_CLEARTID.
  clearTidAddr = 0;
  robustListAddr = 0;
  /** rseq(2)'s area, which the host thread has too. */
  rseq: Rseq | null = null;

  /** exitThread() gives back what it has, which must not happen twice. */
  isEnding = false;
  /** Wait status as wait4(2) reports it, once DEAD. */
  exitStatus = 0;

  /** Run-state start and totals for accounting, ns. */
  startNs = 0;
  voluntarySwitches = 0;
  involuntarySwitches = 0;

  /** Namespaces other than pid (the task's pid knows it) and user (the credentials do). */
  ns: NsProxy;
  /** CPU time in ns of contexts that exec has left behind. */
  priorCpuNs = 0;
  /** Who waits in vfork(2) until we exec or exit. */
  vforkParent: Task | null = null;
  /** PR_SET_PDEATHSIG. */
  parentDeathSignal = 0;
  /** PR_SET_TIMERSLACK, ns. */
  timerSlackNs = 50000;
  defaultTimerSlackNs = 50000;

  /** Reads and writes so far: /proc/[pid]/io. */
  readonly ioCounts: IoCounts = new IoCounts();
  /** Policy, nice value, affinity; fork inherits them. */
  readonly sched: SchedState;

  // The kernel's ready list.
  list: object | null = null;
  listPrev: Task | null = null;
  listNext: Task | null = null;

  constructor(
    kernel: Kernel,
    pid: Pid,
    group: ThreadGroup,
    context: Context,
    mm: MemoryManager,
    io: UserIo,
    fds: FdTable,
    fs: FsContext,
    creds: Credentials,
    comm: string,
  ) {
    this.kernel = kernel;
    this.tid = pid.numbers[0]!;
    this.pid = pid;
    this.ns = kernel.initialNamespaces;
    this.group = group;
    this.context = context;
    this.mm = mm;
    this.io = io;
    this.fds = fds;
    this.fs = fs;
    this.creds = creds;
    this.comm = comm;
    this.startNs = kernel.clock.monotonicNs();
    this.sched = new SchedState(kernel.machine.cpuCount, kernel.machine.allowed);
  }

  get creds(): Credentials {
    return this.currentCreds;
  }

  set creds(creds: Credentials) {
    this.currentCreds = creds;
    this.context.withdrawAnswers();
  }

  get watched(): boolean {
    return this.isWatched;
  }

  set watched(watched: boolean) {
    this.isWatched = watched;
    this.context.withdrawAnswers();
  }

  /** The state as /proc/[pid]/stat has it: fs/proc/array.c:task_state_array. */
  stateLetter(): string {
    switch (this.state) {
      case TASK_BLOCKED:
        return this.interruptible ? 'S' : 'D';
      case TASK_STOPPED:
        return this.tracee === null ? 'T' : 't';
      case TASK_DEAD:
        return 'Z';
      default:
        return 'R';
    }
  }

  /** The limit that fd-table operations take. */
  get fdLimit(): number {
    return this.group.limits.nofile;
  }

  get uts(): UtsNamespace {
    return this.ns.uts;
  }

  /** The thread's own pid namespace. */
  get pidns(): PidNamespace {
    return this.pid.ns;
  }

  /** Sends itself a signal as the kernel does (SIGPIPE, SIGXFSZ): send_sig(sig, current, 0). */
  raise(signo: number): void {
    raiseSignal(this, signo);
  }

  /** The process with this number in our pid namespace: for F_SETOWN, SCM_CREDENTIALS and the like. */
  findGroup(pid: number): ThreadGroup | undefined {
    return this.pid.ns.group(pid);
  }

  /**
   * Parks the task on `queue` until one of `mask`'s events, the deadline (absolute monotonic ns,
   * FOREVER for none) or a signal; then the run loop calls `resume`. Check the condition before and
   * again in `resume`; nothing can slip between a check and block() because handlers do not
   * interleave. A signal that is already deliverable makes `resume` run at once with WAKE_SIGNAL.
   */
  block(queue: WaitQueue, mask: number, deadlineNs: number, resume: Resume): number {
    queue.add(this.waiter, mask);
    return this.park(deadlineNs, resume);
  }

  /** block() for a task whose wake-up comes by wake() from elsewhere, or by the deadline alone. */
  park(deadlineNs: number, resume: Resume): number {
    this.resume = resume;
    this.deadlineNs = deadlineNs;
    this.interruptible = true;
    this.state = TASK_BLOCKED;
    this.voluntarySwitches++;
    if (deadlineNs !== FOREVER) this.kernel.timers.start(this.timer, deadlineNs);
    this.kernel.trace?.parked(this);
    if (this.signals.interrupting) this.wake(WAKE_SIGNAL);
    return BLOCKED;
  }

  /** park() that only wake(WAKE_EVENT) or a fatal signal ends. */
  parkUninterruptible(resume: Resume): number {
    this.resume = resume;
    this.deadlineNs = FOREVER;
    this.interruptible = false;
    this.state = TASK_BLOCKED;
    this.voluntarySwitches++;
    return BLOCKED;
  }

  /** One of `questions` has its answer. */
  answered(): void {
    if (this.questions !== null) this.wake(WAKE_EVENT);
  }

  /** close(2) waits for a file's last word, and here it is. */
  answeredClose(): void {
    this.wake(WAKE_EVENT);
  }

  /** Makes a parked task continue; nothing happens to one that is not parked. */
  wake(why: number): void {
    if (this.state !== TASK_BLOCKED) return;
    this.waiter.unlink();
    this.kernel.timers.stop(this.timer);
    this.wakeReason = why;
    this.state = TASK_READY;
    this.kernel.ready.push(this);
  }

  /**
   * Lets the stub execute the calls that the handler has put into this.context's batch, then runs
   * `resume` (WAKE_EVENT) with their results. Returns BLOCKED.
   */
  hostCalls(resume: Resume): number {
    this.resume = resume;
    this.state = TASK_HOST_CALLS;
    this.kernel.platform.runBatch(this.context, false);
    return BLOCKED;
  }

  /** Like hostCalls, but the guest goes on with the last call's result; `resume` runs only when a call has failed. */
  tailHostCalls(resume: Resume): number {
    if (this.kernel.trace !== null || this.tracee !== null) {
      this.tailResume = resume;
      return this.hostCalls(resumeTail);
    }
    this.resume = resume;
    this.state = TASK_GUEST;
    this.kernel.platform.runBatch(this.context, true);
    return BLOCKED;
  }
}

/** The batch of tailHostCalls() has come back after all. */
function resumeTail(t: Task, why: number): number {
  const c = t.context;
  return c.callsDone === c.callCount ? c.callResult(c.callCount - 1) : t.tailResume!(t, why);
}
