// sched(7): kernel/sched/syscalls.c, getpriority(2) of kernel/sys.c, block/ioprio.c. The values are
// remembered (kernel/sched-state.ts); the host decides what runs.

import { E2BIG, EACCES, EFAULT, EINVAL, EPERM, ESRCH } from '../abi/errno.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import {
  CAP_SYS_ADMIN,
  CAP_SYS_NICE,
  PRIO_PGRP,
  PRIO_PROCESS,
  PRIO_USER,
  RLIMIT_NICE,
  RLIMIT_RTPRIO,
  SCHED_BATCH,
  SCHED_DEADLINE,
  SCHED_FIFO,
  SCHED_IDLE,
  SCHED_OTHER,
  SCHED_RESET_ON_FORK,
  SCHED_RR,
} from '../abi/sched.ts';
import {
  SYS_getpriority,
  SYS_ioprio_get,
  SYS_ioprio_set,
  SYS_sched_get_priority_max,
  SYS_sched_get_priority_min,
  SYS_sched_getaffinity,
  SYS_sched_getattr,
  SYS_sched_getparam,
  SYS_sched_getscheduler,
  SYS_sched_rr_get_interval,
  SYS_sched_setaffinity,
  SYS_sched_setattr,
  SYS_sched_setparam,
  SYS_sched_setscheduler,
  SYS_sched_yield,
  SYS_setpriority,
} from '../abi/sysno-x64.ts';
import { getU64, put64 } from '../base/int64.ts';
import { isFair, isRealtime } from '../kernel/sched-state.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { TASK_DEAD, type Task } from '../kernel/task.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import { scratch } from '../mm/guest-memory.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const MAX_RT_PRIO = 99;
const NICE_MIN = -20;
const NICE_MAX = 19;
/** The slice of sched_rr_timeslice_ms, and base_slice_ns of the fair class. */
const RR_SLICE_NS = 100000000;
const FAIR_SLICE_NS = 3000000;

// struct sched_attr, include/uapi/linux/sched/types.h.
const ATTR_SIZE_VER0 = 48;
const ATTR_SIZE_VER1 = 56;
const ATTR = {
  size: 0,
  policy: 4,
  flags: 8,
  nice: 16,
  priority: 20,
  runtime: 24,
  deadline: 32,
  period: 40,
  utilMin: 48,
  utilMax: 52,
} as const;
const FLAG_RESET_ON_FORK = 1;
const FLAG_KEEP_POLICY = 8;
const FLAG_KEEP_PARAMS = 16;
const FLAG_UTIL_CLAMP = 96;
const FLAG_ALL = 127;

/** The task a pid argument names: 0 is the caller. */
function find(t: Task, pid: number): Task | undefined {
  return pid === 0 ? t : t.pidns.task(pid);
}

/** check_same_owner(): by effective id against the target's effective or real one, or CAP_SYS_NICE. */
function maySchedule(t: Task, target: Task): boolean {
  const { euid } = t.creds;
  return euid === target.creds.euid || euid === target.creds.uid || mayNice(t, target);
}

function mayNice(t: Task, target: Task): boolean {
  return t.creds.capableIn(target.creds.userns, CAP_SYS_NICE);
}

/** can_nice(): RLIMIT_NICE counts 1–40 for nice 19 to -20. */
function canNice(t: Task, target: Task, nice: number): boolean {
  return 20 - nice <= target.group.limits.soft[RLIMIT_NICE]! || t.creds.capable(CAP_SYS_NICE);
}

// ---- policy

/** What setscheduler, setparam and setattr ask for. */
class Wanted {
  policy = 0;
  nice = 0;
  priority = 0;
  resetOnFork = false;
  runtimeNs = 0;
  deadlineNs = 0;
  periodNs = 0;
}

const wanted = new Wanted();

/** __sched_setscheduler() with user_check_sched_setscheduler(). */
function apply(t: Task, target: Task, w: Wanted): number {
  const { sched } = target;
  const { policy } = w;
  if (
    policy !== SCHED_OTHER &&
    policy !== SCHED_FIFO &&
    policy !== SCHED_RR &&
    policy !== SCHED_BATCH &&
    policy !== SCHED_IDLE &&
    policy !== SCHED_DEADLINE
  )
    return -EINVAL;
  if (w.priority < 0 || w.priority > MAX_RT_PRIO) return -EINVAL;
  const needsPriority = policy === SCHED_FIFO || policy === SCHED_RR;
  if (needsPriority !== w.priority > 0) return -EINVAL;
  // __checkparam_dl(): 0 < runtime ≤ deadline ≤ period, with a runtime of at least 1024 ns.
  if (policy === SCHED_DEADLINE) {
    const period = w.periodNs === 0 ? w.deadlineNs : w.periodNs;
    if (w.deadlineNs === 0 || w.runtimeNs < 1024 || w.runtimeNs > w.deadlineNs || w.deadlineNs > period) return -EINVAL;
  }
  if (!mayNice(t, target)) {
    if (!maySchedule(t, target)) return -EPERM;
    if (isFair(policy) && w.nice < sched.nice && !canNice(t, target, w.nice)) return -EPERM;
    if (needsPriority) {
      const limit = target.group.limits.soft[RLIMIT_RTPRIO]!;
      if (policy !== sched.policy && limit === 0) return -EPERM;
      if (w.priority > sched.rtPriority && w.priority > limit) return -EPERM;
    }
    if (policy === SCHED_DEADLINE) return -EPERM;
    if (sched.policy === SCHED_IDLE && policy !== SCHED_IDLE && !canNice(t, target, sched.nice)) return -EPERM;
    if (sched.resetOnFork && !w.resetOnFork) return -EPERM;
  }
  sched.policy = policy;
  sched.rtPriority = w.priority;
  if (isFair(policy)) sched.nice = Math.max(NICE_MIN, Math.min(NICE_MAX, w.nice));
  sched.resetOnFork = w.resetOnFork;
  sched.runtimeNs = w.runtimeNs;
  sched.relativeDeadlineNs = w.deadlineNs;
  sched.periodNs = w.periodNs === 0 ? w.deadlineNs : w.periodNs;
  tellHost(target);
  return 0;
}

function tellHost(target: Task): void {
  if (target.state !== TASK_DEAD) target.kernel.platform.setNice(target.context, target.sched.hostNice);
}

function setScheduler(t: Task, pid: number, policy: number, paramAddr: number): number {
  if (paramAddr === 0 || pid < 0) return -EINVAL;
  const priority = t.mm.loadU32(paramAddr);
  if (priority < 0) return -EFAULT;
  const target = find(t, pid);
  if (target === undefined) return -ESRCH;
  const keep = policy < 0;
  wanted.policy = keep ? target.sched.policy : policy & ~SCHED_RESET_ON_FORK;
  wanted.priority = priority | 0;
  wanted.nice = target.sched.nice;
  wanted.resetOnFork = keep ? target.sched.resetOnFork : (policy & SCHED_RESET_ON_FORK) !== 0;
  wanted.runtimeNs = 0;
  wanted.deadlineNs = 0;
  wanted.periodNs = 0;
  return apply(t, target, wanted);
}

/** sched_setscheduler(2). */
export function sched_setscheduler(t: Task, a: SyscallArgs): number {
  return a.int(1) < 0 ? -EINVAL : setScheduler(t, a.int(0), a.int(1), a.addr(2));
}

/** sched_setparam(2). */
export function sched_setparam(t: Task, a: SyscallArgs): number {
  return setScheduler(t, a.int(0), -1, a.addr(1));
}

/** sched_getscheduler(2). */
export function sched_getscheduler(t: Task, a: SyscallArgs): number {
  if (a.int(0) < 0) return -EINVAL;
  const target = find(t, a.int(0));
  if (target === undefined) return -ESRCH;
  return target.sched.policy | (target.sched.resetOnFork ? SCHED_RESET_ON_FORK : 0);
}

/** sched_getparam(2). */
export function sched_getparam(t: Task, a: SyscallArgs): number {
  if (a.addr(1) === 0 || a.int(0) < 0) return -EINVAL;
  const target = find(t, a.int(0));
  if (target === undefined) return -ESRCH;
  return t.mm.storeU32(a.addr(1), target.sched.rtPriority);
}

/** sched_setattr(2). */
export function sched_setattr(t: Task, a: SyscallArgs): number {
  const addr = a.addr(1);
  if (addr === 0 || a.int(0) < 0 || a.int(2) !== 0) return -EINVAL;
  const size = copyAttr(t, addr);
  if (size < 0) return size;
  const v = scratch.view;
  if (v.getInt32(ATTR.policy, true) < 0) return -EINVAL;
  const flags = v.getUint32(ATTR.flags, true);
  if (v.getUint32(ATTR.flags + 4, true) !== 0 || (flags & ~FLAG_ALL) !== 0) return -EINVAL;
  if ((flags & FLAG_UTIL_CLAMP) !== 0 && size < ATTR_SIZE_VER1) return -EINVAL;
  const target = find(t, a.int(0));
  if (target === undefined) return -ESRCH;
  const { sched } = target;
  const keepParams = (flags & FLAG_KEEP_PARAMS) !== 0;
  wanted.policy = (flags & FLAG_KEEP_POLICY) !== 0 ? sched.policy : v.getUint32(ATTR.policy, true);
  wanted.nice = keepParams ? sched.nice : Math.max(NICE_MIN, Math.min(NICE_MAX, v.getInt32(ATTR.nice, true)));
  wanted.priority = keepParams ? sched.rtPriority : v.getUint32(ATTR.priority, true);
  wanted.runtimeNs = keepParams ? sched.runtimeNs : getU64(v, ATTR.runtime);
  wanted.deadlineNs = keepParams ? sched.relativeDeadlineNs : getU64(v, ATTR.deadline);
  wanted.periodNs = keepParams ? sched.periodNs : getU64(v, ATTR.period);
  wanted.resetOnFork = (flags & FLAG_RESET_ON_FORK) !== 0;
  return apply(t, target, wanted);
}

/** sched_copy_attr(): the struct of whichever size into scratch; the size or -errno. */
function copyAttr(t: Task, addr: number): number {
  let size = t.mm.loadU32(addr);
  if (size < 0) return -EFAULT;
  if (size === 0) size = ATTR_SIZE_VER0;
  if (size < ATTR_SIZE_VER0 || size > PAGE_SIZE) return tooBig(t, addr);
  scratch.u8.fill(0, 0, PAGE_SIZE);
  if (t.mm.copyIn(addr, scratch.u8, 0, size) < 0) return -EFAULT;
  for (let at = ATTR_SIZE_VER1; at < size; at++) if (scratch.u8[at] !== 0) return tooBig(t, addr);
  return size;
}

/** The size that is known is written back: -E2BIG. */
function tooBig(t: Task, addr: number): number {
  t.mm.storeU32(addr, ATTR_SIZE_VER1);
  return -E2BIG;
}

/** sched_getattr(2). */
export function sched_getattr(t: Task, a: SyscallArgs): number {
  const size = a.uint(2);
  if (a.addr(1) === 0 || a.int(0) < 0 || size > PAGE_SIZE || size < ATTR_SIZE_VER0 || a.int(3) !== 0) return -EINVAL;
  const target = find(t, a.int(0));
  if (target === undefined) return -ESRCH;
  const { sched } = target;
  const v = scratch.view;
  scratch.u8.fill(0, 0, size);
  v.setUint32(ATTR.size, Math.min(size, ATTR_SIZE_VER1), true);
  v.setUint32(ATTR.policy, sched.policy, true);
  v.setUint32(ATTR.flags, sched.resetOnFork ? FLAG_RESET_ON_FORK : 0, true);
  if (isFair(sched.policy)) v.setInt32(ATTR.nice, sched.nice, true);
  v.setUint32(ATTR.priority, sched.rtPriority, true);
  if (sched.policy === SCHED_DEADLINE) {
    put64(v, ATTR.runtime, sched.runtimeNs);
    put64(v, ATTR.deadline, sched.relativeDeadlineNs);
    put64(v, ATTR.period, sched.periodNs);
  }
  if (size >= ATTR_SIZE_VER1) v.setUint32(ATTR.utilMax, 1024, true);
  return t.mm.copyOut(a.addr(1), scratch.u8, 0, size);
}

/** sched_get_priority_max(2). */
export function sched_get_priority_max(_t: Task, a: SyscallArgs): number {
  const policy = a.int(0);
  if (policy === SCHED_FIFO || policy === SCHED_RR) return MAX_RT_PRIO;
  return isFair(policy) || policy === SCHED_DEADLINE ? 0 : -EINVAL;
}

/** sched_get_priority_min(2). */
export function sched_get_priority_min(_t: Task, a: SyscallArgs): number {
  const policy = a.int(0);
  if (policy === SCHED_FIFO || policy === SCHED_RR) return 1;
  return isFair(policy) || policy === SCHED_DEADLINE ? 0 : -EINVAL;
}

/** sched_rr_get_interval(2). */
export function sched_rr_get_interval(t: Task, a: SyscallArgs): number {
  if (a.int(0) < 0) return -EINVAL;
  const target = find(t, a.int(0));
  if (target === undefined) return -ESRCH;
  const { policy } = target.sched;
  const ns = policy === SCHED_RR ? RR_SLICE_NS : isRealtime(policy) ? 0 : FAIR_SLICE_NS;
  put64(scratch.view, 0, 0);
  put64(scratch.view, 8, ns);
  return t.mm.copyOut(a.addr(1), scratch.u8, 0, 16);
}

/** sched_yield(2). */
export function sched_yield(): number {
  return 0;
}

// ---- affinity

/** sched_setaffinity(2). */
export function sched_setaffinity(t: Task, a: SyscallArgs): number {
  const { cpuCount, allowed } = t.kernel.machine;
  const bytes = Math.ceil(cpuCount / 8);
  const mask = new Uint8Array(bytes);
  if (t.mm.copyIn(a.addr(2), mask, 0, Math.min(a.uint(1), bytes)) < 0) return -EFAULT;
  const target = find(t, a.int(0));
  if (target === undefined) return -ESRCH;
  if (!maySchedule(t, target)) return -EPERM;
  if (allowed !== undefined) for (let i = 0; i < bytes; i++) mask[i]! &= allowed[i]!;
  let any = 0;
  for (let cpu = 0; cpu < bytes * 8; cpu++) {
    if (cpu >= cpuCount) mask[cpu >> 3]! &= ~(1 << (cpu & 7));
    else any |= mask[cpu >> 3]! & (1 << (cpu & 7));
  }
  if (any === 0) return -EINVAL;
  target.sched.affinity = mask;
  if (t.kernel.machine.hasHostNumbers && target.state !== TASK_DEAD) t.kernel.platform.setAffinity(target.context, mask);
  return 0;
}

/** sched_getaffinity(2): the bytes written, since the C library wants to know. */
export function sched_getaffinity(t: Task, a: SyscallArgs): number {
  const { cpuCount } = t.kernel.machine;
  const length = a.uint(1);
  if (length * 8 < cpuCount || length % 8 !== 0) return -EINVAL;
  const target = find(t, a.int(0));
  if (target === undefined) return -ESRCH;
  const size = Math.min(length, Math.ceil(cpuCount / 64) * 8);
  scratch.u8.fill(0, 0, size);
  scratch.u8.set(target.sched.affinity, 0);
  return t.mm.copyOut(a.addr(2), scratch.u8, 0, size) < 0 ? -EFAULT : size;
}

// ---- nice values and I/O priorities

/** The tasks that a (which, who) pair names: a task, a group's, a user's. */
function named(t: Task, process: number, pgrp: number, user: number, which: number, who: number): Task[] {
  const tasks: Task[] = [];
  if (which === process) {
    const target = find(t, who);
    if (target !== undefined) tasks.push(target);
  } else if (which === pgrp) {
    const group = who === 0 ? t.group.processGroup : t.pidns.find(who)?.processGroup;
    for (const member of group?.members ?? []) addThreads(member, tasks);
  } else if (which === user) {
    const uid = who === 0 ? t.creds.uid : t.creds.userns.uidToKernel(who);
    for (const task of t.kernel.tasks.values()) if (task.creds.uid === uid && task.pid.numberIn(t.pidns) !== 0) tasks.push(task);
  }
  return tasks;
}

function addThreads(group: ThreadGroup, tasks: Task[]): void {
  for (const task of group.tasks) tasks.push(task);
}

/** getpriority(2): 20 - nice, so that no result is negative. */
export function getpriority(t: Task, a: SyscallArgs): number {
  const which = a.int(0);
  if (which < PRIO_PROCESS || which > PRIO_USER) return -EINVAL;
  let best = -ESRCH;
  for (const task of named(t, PRIO_PROCESS, PRIO_PGRP, PRIO_USER, which, a.int(1))) best = Math.max(best, 20 - task.sched.nice);
  return best;
}

/** setpriority(2). */
export function setpriority(t: Task, a: SyscallArgs): number {
  const which = a.int(0);
  if (which < PRIO_PROCESS || which > PRIO_USER) return -EINVAL;
  const nice = Math.max(NICE_MIN, Math.min(NICE_MAX, a.int(2)));
  let result = -ESRCH;
  for (const task of named(t, PRIO_PROCESS, PRIO_PGRP, PRIO_USER, which, a.int(1))) {
    if (!maySchedule(t, task)) result = -EPERM;
    else if (nice < task.sched.nice && !canNice(t, task, nice)) result = -EACCES;
    else {
      if (result === -ESRCH) result = 0;
      task.sched.nice = nice;
      tellHost(task);
    }
  }
  return result;
}

const IOPRIO_CLASS_SHIFT = 13;
const IOPRIO_LEVELS = 8;
const IOPRIO_NONE = 0;
const IOPRIO_RT = 1;
const IOPRIO_BE = 2;
const IOPRIO_IDLE = 3;
const IOPRIO_WHO_PROCESS = 1;
const IOPRIO_WHO_PGRP = 2;
const IOPRIO_WHO_USER = 3;

/** ioprio_check_cap(). */
function checkIoprio(t: Task, ioprio: number): number {
  const level = ioprio & (IOPRIO_LEVELS - 1);
  switch (ioprio >> IOPRIO_CLASS_SHIFT) {
    case IOPRIO_RT:
      return t.creds.capable(CAP_SYS_ADMIN) || t.creds.capable(CAP_SYS_NICE) ? 0 : -EPERM;
    case IOPRIO_BE:
    case IOPRIO_IDLE:
      return 0;
    case IOPRIO_NONE:
      return level === 0 ? 0 : -EINVAL;
    default:
      return -EINVAL;
  }
}

/** ioprio_set(2). */
export function ioprio_set(t: Task, a: SyscallArgs): number {
  const which = a.int(0);
  const ioprio = a.int(2);
  const refused = checkIoprio(t, ioprio);
  if (refused < 0) return refused;
  if (which < IOPRIO_WHO_PROCESS || which > IOPRIO_WHO_USER) return -EINVAL;
  let result = -ESRCH;
  for (const task of named(t, IOPRIO_WHO_PROCESS, IOPRIO_WHO_PGRP, IOPRIO_WHO_USER, which, a.int(1))) {
    if (!maySchedule(t, task)) return -EPERM;
    task.sched.ioprio = ioprio;
    result = 0;
  }
  return result;
}

/** ioprio_get(2): the best of all that are named. */
export function ioprio_get(t: Task, a: SyscallArgs): number {
  const which = a.int(0);
  if (which < IOPRIO_WHO_PROCESS || which > IOPRIO_WHO_USER) return -EINVAL;
  let best = -ESRCH;
  for (const task of named(t, IOPRIO_WHO_PROCESS, IOPRIO_WHO_PGRP, IOPRIO_WHO_USER, which, a.int(1))) {
    const { ioprio } = task.sched;
    if (best < 0 || best >> IOPRIO_CLASS_SHIFT === IOPRIO_NONE) best = ioprio;
    else if (ioprio >> IOPRIO_CLASS_SHIFT !== IOPRIO_NONE) best = Math.min(best, ioprio);
  }
  return best;
}

const REMEMBERED = 'on systrap the host is told of nice values from 1 to 19 and of SCHED_IDLE; the rest is remembered only';

export const schedCalls: readonly SyscallLine[] = [
  call(SYS_sched_yield, 'sched_yield', '', sched_yield),
  call(SYS_getpriority, 'getpriority', 'which:int who:int', getpriority),
  call(SYS_setpriority, 'setpriority', 'which:int who:int prio:int', setpriority, 'partial', REMEMBERED),
  call(SYS_sched_setparam, 'sched_setparam', 'pid:pid param:addr', sched_setparam, 'partial', REMEMBERED),
  call(SYS_sched_getparam, 'sched_getparam', 'pid:pid param:addr', sched_getparam),
  call(SYS_sched_setscheduler, 'sched_setscheduler', 'pid:pid policy:int param:addr', sched_setscheduler, 'partial', REMEMBERED),
  call(SYS_sched_getscheduler, 'sched_getscheduler', 'pid:pid', sched_getscheduler),
  call(SYS_sched_get_priority_max, 'sched_get_priority_max', 'policy:int', sched_get_priority_max),
  call(SYS_sched_get_priority_min, 'sched_get_priority_min', 'policy:int', sched_get_priority_min),
  call(SYS_sched_rr_get_interval, 'sched_rr_get_interval', 'pid:pid interval:addr', sched_rr_get_interval),
  call(SYS_sched_setaffinity, 'sched_setaffinity', 'pid:pid len:uint mask:addr', sched_setaffinity),
  call(SYS_sched_getaffinity, 'sched_getaffinity', 'pid:pid len:uint mask:addr', sched_getaffinity),
  call(SYS_ioprio_set, 'ioprio_set', 'which:int who:int ioprio:int', ioprio_set, 'partial', REMEMBERED),
  call(SYS_ioprio_get, 'ioprio_get', 'which:int who:int', ioprio_get),
  call(SYS_sched_setattr, 'sched_setattr', 'pid:pid attr:addr flags:uint', sched_setattr, 'partial', REMEMBERED),
  call(SYS_sched_getattr, 'sched_getattr', 'pid:pid attr:addr size:uint flags:uint', sched_getattr),
];
