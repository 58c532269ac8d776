// The birth of threads and processes: kernel/fork.c:copy_process(). The platform hands out a
// context with the parent's registers at once; the child's differ in rax, rsp and fs_base only.

import { type Context, FS_BASE, RAX, RSP } from '../../platform/platform.ts';
import { EAGAIN, EINVAL, EPERM, ERESTARTNOINTR } from '../abi/errno.ts';
import { PTRACE_EVENT_VFORK_DONE } from '../abi/ptrace.ts';
import {
  CAP_SYS_ADMIN,
  CAP_SYS_RESOURCE,
  CLONE_CHILD_CLEARTID,
  CLONE_CHILD_SETTID,
  CLONE_DETACHED,
  CLONE_FILES,
  CLONE_FS,
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
  CLONE_PARENT,
  CLONE_PARENT_SETTID,
  CLONE_PIDFD,
  CLONE_SETTLS,
  CLONE_SIGHAND,
  CLONE_SYSVSEM,
  CLONE_THREAD,
  CLONE_VFORK,
  CLONE_VM,
  RLIMIT_NPROC,
} from '../abi/sched.ts';
import { SIGCHLD, SS_DISABLE } from '../abi/signal.ts';
import { assert } from '../base/assert.ts';
import { REGISTERS_SET } from '../base/errors.ts';
import type { MemoryManager } from '../mm/memory-manager.ts';
import { UserIo } from '../mm/user-io.ts';
import { watchCpuLimit } from './cpu-limit.ts';
import type { Credentials } from './credentials.ts';
import type { FdTable } from './fd-table.ts';
import { pauseAfterFork } from './fork-pace.ts';
import type { FsContext } from './fs-context.ts';
import type { GuestContainer } from './guest-container.ts';
import type { Kernel } from './kernel.ts';
import { Limits } from './limits.ts';
import { chargeNamespaces, held, newPidNamespace, roomForNamespaces } from './namespace-limits.ts';
import { enterTimeForChildren, newUserNamespace, unshareNamespaces } from './namespace-sharing.ts';
import type { PidNamespace } from './pid-namespace.ts';
import { joinProcessGroup, ProcessGroup, Session } from './process-group.ts';
import { cloneEvent, eventStop, takeTracerSignal, wantsVforkDone } from './ptrace.ts';
import { traceChild } from './ptrace-link.ts';
import { inheritFilters } from './seccomp.ts';
import { SignalHandlers } from './signal-actions.ts';
import { TASK_GUEST, TASK_STOPPED, Task, WAKE_EVENT } from './task.ts';
import { recalcInterrupting } from './task-signals.ts';
import { wakeStopped } from './task-stop.ts';
import { ThreadGroup } from './thread-group.ts';

const TASK_SIZE_MAX = 2 ** 47 - 4096;

export const NAMESPACE_FLAGS = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;
/** clone3 only, in the high word of the flags: CLONE_CLEAR_SIGHAND. */
export const CLONE_HI_CLEAR_SIGHAND = 1;

/** struct kernel_clone_args: one call's decoded arguments. */
export class CloneArgs {
  /** CLONE_*, without the exit signal. */
  flags = 0;
  flagsHi = 0;
  exitSignal = 0;
  /** Initial stack pointer; 0 for the parent's. */
  stack = 0;
  parentTidAddr = 0;
  childTidAddr = 0;
  tls = 0;
  /** set_tid: numbers asked for, in the child's pid namespace first. */
  numbers: readonly number[] = [];
  /** CLONE_INTO_CGROUP: where the child is born; undefined for where its parent is. */
  cgroup: ThreadGroup['cgroup'] | undefined = undefined;
}

/**
 * Makes the child, which does not run yet: startTask() lets it. A Task, or -EINVAL, -EPERM, -EAGAIN,
 * -ENOMEM, -ERESTARTNOINTR.
 */
export function cloneTask(t: Task, a: CloneArgs): Task | number {
  const flags = a.flags;
  const invalid = checkFlags(t, a);
  if (invalid < 0) return invalid;
  // A fork that a signal interrupts is made again after the handler: no child misses a signal to the group.
  if (t.signals.interrupting) {
    recalcInterrupting(t);
    if (t.signals.interrupting) return -ERESTARTNOINTR;
  }
  const isThread = (flags & CLONE_THREAD) !== 0;
  const parent = t.group;
  const kernel = t.kernel;

  let creds = t.creds;
  if ((flags & CLONE_NEWUSER) !== 0) {
    const made = newUserNamespace(t);
    if (typeof made === 'number') return made;
    creds = made;
  }
  if ((flags & NAMESPACE_FLAGS & ~CLONE_NEWUSER) !== 0 && !creds.capableHere(CAP_SYS_ADMIN)) return -EPERM;
  const counts = kernel.users.get(creds.uid);
  if (
    counts.processes >= parent.limits.soft[RLIMIT_NPROC]! &&
    creds.uid !== 0 &&
    !creds.capable(CAP_SYS_RESOURCE) &&
    !creds.capable(CAP_SYS_ADMIN)
  ) {
    return -EAGAIN;
  }

  // kernel/cgroup/pids.c:pids_can_fork().
  if (parent.container.tasks >= parent.container.tasksLimit) return -EAGAIN;

  let pidns = t.ns.pidForChildren;
  const isNewPidNamespace = (flags & CLONE_NEWPID) !== 0;
  const full = roomForNamespaces(t, flags & NAMESPACE_FLAGS & ~CLONE_NEWUSER, creds.userns);
  if (full < 0) return full;
  if (isNewPidNamespace) {
    const made = newPidNamespace(t, creds.userns);
    if (typeof made === 'number') return made;
    pidns = made;
  }
  const pid = pidns.allocate(a.numbers, creds);
  if (typeof pid === 'number') return pid;

  const sharesMemory = (flags & CLONE_VM) !== 0;
  const context = sharesMemory ? kernel.platform.newThread(t.context) : kernel.platform.fork(t.context);
  if (typeof context === 'number') {
    pid.releaseIfUnused();
    return context;
  }
  const mm = sharesMemory ? t.mm : t.mm.fork(context.space);
  if (sharesMemory) mm.incRef();
  let fds = t.fds;
  if ((flags & CLONE_FILES) !== 0) fds.refs++;
  else fds = fds.clone();
  let fs = t.fs;
  if ((flags & CLONE_FS) !== 0) fs.refs++;
  else fs = fs.clone();
  const ns = unshareNamespaces(t.ns, flags, creds.userns, pidns);
  if ((flags & CLONE_NEWNS) !== 0) fs.unshareMounts(creds.userns);

  const group = isThread ? parent : newGroup(t, a, pid);
  const child = new Task(kernel, pid, group, context, mm, new UserIo(mm), fds, fs, creds, t.comm);
  child.ns = ns;
  if ((flags & NAMESPACE_FLAGS) !== 0) chargeNamespaces(t, child, held(t));
  // Who shares our memory shares our clock: copy_namespaces().
  if (!sharesMemory) enterTimeForChildren(child, context.space);
  inherit(t, child, a, sharesMemory);
  if (child.sched.hostNice !== t.sched.hostNice) kernel.platform.setNice(context, child.sched.hostNice);
  group.tasks.push(child);
  if (!isThread) adopt(t, child, a, pidns);
  enter(kernel, child);

  if (a.stack !== 0) context.setReg(RSP, a.stack);
  if ((flags & CLONE_SETTLS) !== 0) context.setReg(FS_BASE, a.tls);
  context.setReg(RAX, 0);
  if ((flags & CLONE_PARENT_SETTID) !== 0) t.mm.storeU32Now(a.parentTidAddr, pid.numberIn(t.pidns));
  if ((flags & CLONE_CHILD_SETTID) !== 0) mm.storeU32Now(a.childTidAddr, pid.numberIn(pidns));
  return child;
}

/**
 * Lets a new task run. Answers the parent's result: the child's number, after vfork once the child
 * has exec'd or exited, after a stop when the parent's tracer wants to hear of it.
 */
export function startTask(t: Task, child: Task, isVfork: boolean, exitSignal: number): number {
  const event = cloneEvent(t, isVfork, exitSignal);
  if (event !== 0) traceChild(t, child);
  const number = child.pid.numberIn(t.pidns);
  if (isVfork) {
    child.vforkParent = t;
    t.object = child;
  }
  t.n0 = number;
  if (child.tracee !== null) {
    // It begins with a stop.
    child.resume = resumeBirth;
    child.state = TASK_STOPPED;
    wakeStopped(child);
  } else {
    child.state = TASK_GUEST;
    t.kernel.platform.run(child.context);
  }
  if (event !== 0)
    return eventStop(t, event, child.pid.numberIn(t.tracee!.tracer.pidns), REGISTERS_SET, isVfork ? resumeVforkEvent : resumeCloneEvent);
  if (isVfork) return t.parkUninterruptible(resumeVfork);
  const pauseNs = child.group === t.group ? 0 : pauseAfterFork(t);
  return pauseNs === 0 ? number : t.park(t.kernel.clock.monotonicNs() + pauseNs, resumePaused);
}

function resumePaused(t: Task, _why: number): number {
  return t.n0;
}

function resumeBirth(_t: Task, _why: number): number {
  return REGISTERS_SET;
}

function resumeCloneEvent(t: Task, _why: number): number {
  takeTracerSignal(t);
  return t.n0;
}

function resumeVforkEvent(t: Task, why: number): number {
  takeTracerSignal(t);
  const child = t.object as Task;
  return child.vforkParent === t ? t.parkUninterruptible(resumeVfork) : resumeVfork(t, why);
}

function resumeVfork(t: Task, _why: number): number {
  // Killed while we waited: the child must not wake whatever we do next.
  const child = t.object as Task;
  if (child.vforkParent === t) child.vforkParent = null;
  t.object = null;
  if (wantsVforkDone(t)) return eventStop(t, PTRACE_EVENT_VFORK_DONE, t.n0, REGISTERS_SET, resumeCloneEvent);
  return t.n0;
}

/** exec and exit of a vfork child: the parent goes on. mm_release(). */
export function vforkDone(child: Task): void {
  const parent = child.vforkParent;
  if (parent === null) return;
  child.vforkParent = null;
  parent.wake(WAKE_EVENT);
}

/** The combinations that copy_process() refuses. */
function checkFlags(t: Task, a: CloneArgs): number {
  const flags = a.flags;
  if ((flags & CLONE_NEWNS) !== 0 && (flags & CLONE_FS) !== 0) return -EINVAL;
  if ((flags & CLONE_NEWUSER) !== 0 && (flags & CLONE_FS) !== 0) return -EINVAL;
  if ((flags & CLONE_THREAD) !== 0 && (flags & CLONE_SIGHAND) === 0) return -EINVAL;
  if ((flags & CLONE_SIGHAND) !== 0 && (flags & CLONE_VM) === 0) return -EINVAL;
  // Siblings of an init would have no init of their own above them.
  if ((flags & CLONE_PARENT) !== 0 && (t.group.isInit || t.group.unkillable)) return -EINVAL;
  if ((flags & CLONE_THREAD) !== 0 && ((flags & (CLONE_NEWUSER | CLONE_NEWPID)) !== 0 || t.ns.pidForChildren !== t.pidns)) return -EINVAL;
  if ((flags & CLONE_NEWIPC) !== 0 && (flags & CLONE_SYSVSEM) !== 0) return -EINVAL;
  if ((flags & CLONE_PIDFD) !== 0 && (flags & CLONE_DETACHED) !== 0) return -EINVAL;
  // do_arch_prctl_64(): the thread pointer must be an address of user space.
  if ((flags & CLONE_SETTLS) !== 0 && a.tls >= TASK_SIZE_MAX) return -EPERM;
  if ((a.flagsHi & CLONE_HI_CLEAR_SIGHAND) !== 0 && (flags & CLONE_SIGHAND) !== 0) return -EINVAL;
  return 0;
}

function newGroup(t: Task, a: CloneArgs, pid: ConstructorParameters<typeof ThreadGroup>[1]): ThreadGroup {
  const from = t.group;
  let handlers = from.handlers;
  if ((a.flags & CLONE_SIGHAND) !== 0) handlers.refs++;
  else handlers = handlers.clone();
  if ((a.flagsHi & CLONE_HI_CLEAR_SIGHAND) !== 0) handlers.reset();
  const group = new ThreadGroup(t.kernel, pid, handlers, from.limits.clone());
  t.kernel.processesChanged();
  group.exitSignal = (a.flags & CLONE_PARENT) !== 0 ? from.exitSignal : a.exitSignal;
  group.container = from.container;
  group.tty = from.tty;
  group.cgroup = a.cgroup === undefined ? from.cgroup : a.cgroup;
  group.rssKb = group.maxRssKb = from.rssKb;
  group.dumpable = from.dumpable;
  group.oomScoreAdj = from.oomScoreAdj;
  group.personality = from.personality;
  group.thpDisabled = from.thpDisabled;
  group.ioFlusher = from.ioFlusher;
  group.hasChildSubreaper = from.hasChildSubreaper || from.isChildSubreaper;
  group.exe = from.exe;
  group.exePath = from.exePath;
  group.argStart = from.argStart;
  group.argEnd = from.argEnd;
  group.envStart = from.envStart;
  group.envEnd = from.envEnd;
  group.auxv = from.auxv;
  return group;
}

/** What a child has of its parent besides what it shares. */
function inherit(t: Task, child: Task, a: CloneArgs, sharesMemory: boolean): void {
  const from = t.signals;
  const to = child.signals;
  // sigsuspend's mask is the parent's alone.
  to.blockedLo = from.hasSavedMask ? from.savedLo : from.blockedLo;
  to.blockedHi = from.hasSavedMask ? from.savedHi : from.blockedHi;
  // A new thread starts without an alternate stack; a fork, and a vfork child on our stack, keep it.
  if (!sharesMemory || (a.flags & CLONE_VFORK) !== 0) {
    to.altStackAddr = from.altStackAddr;
    to.altStackSize = from.altStackSize;
    to.altStackFlags = from.altStackFlags;
  } else {
    to.altStackFlags = SS_DISABLE;
  }
  child.clearTidAddr = (a.flags & CLONE_CHILD_CLEARTID) !== 0 ? a.childTidAddr : 0;
  // rseq_fork(): a copy of the memory has a copy of the area.
  if (!sharesMemory) child.rseq = t.rseq;
  inheritFilters(t, child);
  child.landlock = t.landlock;
  t.landlock?.incRef();
  child.timerSlackNs = t.timerSlackNs;
  child.machineCheckPolicy = t.machineCheckPolicy;
  child.defaultTimerSlackNs = t.timerSlackNs;
  child.sched.inherit(t.sched);
}

/** Gives a new process its place among relatives. */
function adopt(t: Task, child: Task, a: CloneArgs, pidns: PidNamespace): void {
  const group = child.group;
  const asSibling = (a.flags & CLONE_PARENT) !== 0;
  group.leader = child;
  group.parent = asSibling ? t.group.parent : t.group;
  group.parentTask = asSibling ? t.group.parentTask : t;
  group.parent?.children.add(group);
  joinFirst(group, t.group.processGroup);
  beInitIfFirst(group, pidns);
  watchCpuLimit(group);
}

/** The first process of a namespace is its init, but for a hook of startContainer and its children: number 1 is kept then. */
function beInitIfFirst(group: ThreadGroup, pidns: PidNamespace): void {
  if (pidns.init !== null || pidns.awaitsFirst) return;
  pidns.init = group;
  group.unkillable = true;
  // Subreapers above the namespace do not reach into it.
  group.hasChildSubreaper = false;
}

/** A process that has not been in any group yet joins one. */
function joinFirst(group: ThreadGroup, pgrp: ProcessGroup): void {
  group.processGroup = pgrp;
  pgrp.members.add(group);
}

/** Puts a task into the kernel's tables. */
function enter(kernel: Kernel, t: Task): void {
  t.pid.task = t;
  kernel.tasks.set(t.tid, t);
  assert(kernel.taskOfContext[t.context.index] === undefined, 'context belongs to another task');
  kernel.taskOfContext[t.context.index] = t;
  kernel.users.get(t.creds.uid).processes++;
  t.group.container.tasks++;
}

/** What boot gives a process that no guest process has forked. */
export interface ProcessSpec {
  context: Context;
  mm: MemoryManager;
  fds: FdTable;
  fs: FsContext;
  creds: Credentials;
  limits?: Limits;
  /** Whose program it is: it is born in that one's namespaces, and becomes init there if nobody is yet. */
  container: GuestContainer;
  /** It is the one that number 1 was kept for. */
  first?: boolean;
  comm: string;
}

/**
 * A process without a parent, leader of a session of its own: a container's init, or what exec
 * starts beside it. ThreadGroup.onExit tells of its end. It does not run before something is loaded
 * and platform.run(context) called. -EAGAIN or -ENOMEM without a number.
 */
export function createProcess(kernel: Kernel, spec: ProcessSpec): Task | number {
  const { container } = spec;
  const { pidns } = container;
  const pid = spec.first === true && pidns.awaitsFirst ? pidns.allocateFirst() : pidns.allocate();
  if (typeof pid === 'number') return pid;
  const group = new ThreadGroup(kernel, pid, new SignalHandlers(), spec.limits ?? new Limits());
  group.container = container;
  group.exitSignal = SIGCHLD;
  const t = new Task(kernel, pid, group, spec.context, spec.mm, new UserIo(spec.mm), spec.fds, spec.fs, spec.creds, spec.comm);
  t.ns = container.namespaces;
  group.leader = t;
  group.tasks.push(t);
  joinFirst(group, new ProcessGroup(pid, new Session(group)));
  beInitIfFirst(group, pidns);
  enter(kernel, t);
  watchCpuLimit(group);
  return t;
}

/** setsid(2): a session and a group of its own, without a terminal. -EPERM for a group leader. */
export function startSession(group: ThreadGroup): number {
  if (group.isSessionLeader || group.pid.processGroup !== null) return -EPERM;
  group.tty = null;
  const session = new Session(group);
  joinProcessGroup(group, new ProcessGroup(group.pid, session));
  return 0;
}
