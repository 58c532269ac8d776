// Resource limits and usage: kernel/sys.c.

import { EFAULT, EINVAL, EPERM, ESRCH } from '../abi/errno.ts';
import { CAP_SYS_RESOURCE, RLIMIT_CPU, RLIMIT_NLIMITS, RLIMIT_NOFILE, RUSAGE_CHILDREN, RUSAGE_SELF, RUSAGE_THREAD } from '../abi/sched.ts';
import { SYS_getrlimit, SYS_getrusage, SYS_prlimit64, SYS_setrlimit } from '../abi/sysno-x64.ts';
import { getU64, put64 } from '../base/int64.ts';
import { watchCpuLimit } from '../kernel/cpu-limit.ts';
import { NR_OPEN } from '../kernel/fd-table.ts';
import { UNLIMITED } from '../kernel/limits.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { cpuTimeNs, groupUsage } from '../kernel/task-exit.ts';
import { type ThreadGroup, Usage } from '../kernel/thread-group.ts';
import { noteResident } from '../kernel/usage.ts';
import { scratch } from '../mm/guest-memory.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** sizeof(struct rusage). */
export const RUSAGE_SIZE = 144;
const RLIMIT_SIZE = 16;

/** Encodes struct rusage. */
export function putUsage(v: DataView, at: number, u: Usage): void {
  for (let i = 0; i < RUSAGE_SIZE; i += 4) v.setInt32(at + i, 0, true);
  putTime(v, at, u.userNs);
  putTime(v, at + 16, u.systemNs);
  put64(v, at + 32, u.maxRssKb);
  put64(v, at + 64, u.minorFaults);
  put64(v, at + 72, u.majorFaults);
  put64(v, at + 128, u.voluntarySwitches);
  put64(v, at + 136, u.involuntarySwitches);
}

function putTime(v: DataView, at: number, ns: number): void {
  put64(v, at, Math.floor(ns / 1e9));
  put64(v, at + 8, Math.floor((ns % 1e9) / 1000));
}

/** getrusage(2). */
export function getrusage(t: Task, a: SyscallArgs): number {
  let usage: Usage;
  switch (a.int(0)) {
    case RUSAGE_SELF:
      noteResident(t);
      usage = groupUsage(t.group);
      break;
    case RUSAGE_CHILDREN:
      usage = t.group.childUsage;
      break;
    case RUSAGE_THREAD:
      usage = new Usage();
      noteResident(t);
      usage.userNs = cpuTimeNs(t) * t.group.userShare;
      usage.systemNs = cpuTimeNs(t) - usage.userNs;
      usage.maxRssKb = t.group.maxRssKb;
      usage.voluntarySwitches = t.voluntarySwitches;
      usage.involuntarySwitches = t.involuntarySwitches;
      break;
    default:
      return -EINVAL;
  }
  putUsage(scratch.view, 0, usage);
  return t.mm.copyOut(a.addr(1), scratch.u8, 0, RUSAGE_SIZE);
}

/** A rlim64_t: all ones is infinity, and whatever does not fit exactly is as good as that. */
function getLimit(v: DataView, at: number): number {
  const value = getU64(v, at);
  return value >= Number.MAX_SAFE_INTEGER ? UNLIMITED : value;
}

function putLimit(v: DataView, at: number, value: number): void {
  if (value !== UNLIMITED) {
    put64(v, at, value);
    return;
  }
  v.setInt32(at, -1, true);
  v.setInt32(at + 4, -1, true);
}

/** do_prlimit(): 0 or -errno; the old limits go to scratch at RLIMIT_SIZE. */
function changeLimit(t: Task, group: ThreadGroup, resource: number, isSet: boolean): number {
  if (resource >= RLIMIT_NLIMITS) return -EINVAL;
  const v = scratch.view;
  const limits = group.limits;
  const soft = getLimit(v, 0);
  const hard = getLimit(v, 8);
  if (isSet) {
    if (soft > hard) return -EINVAL;
    if (resource === RLIMIT_NOFILE && hard > NR_OPEN) return -EPERM;
    if (hard > limits.hard[resource]! && !t.creds.capableIn(t.kernel.rootUserNamespace, CAP_SYS_RESOURCE)) return -EPERM;
  }
  putLimit(v, RLIMIT_SIZE, limits.soft[resource]!);
  putLimit(v, RLIMIT_SIZE + 8, limits.hard[resource]!);
  // "The caller is asking for an immediate RLIMIT_CPU expiry", which zero does not mean to the kernel.
  if (isSet) {
    limits.set(resource, resource === RLIMIT_CPU && soft === 0 ? 1 : soft, hard);
    if (resource === RLIMIT_CPU) watchCpuLimit(group);
  }
  return 0;
}

/** getrlimit(2). */
export function getrlimit(t: Task, a: SyscallArgs): number {
  const result = changeLimit(t, t.group, a.uint(0), false);
  return result < 0 ? result : t.mm.copyOut(a.addr(1), scratch.u8, RLIMIT_SIZE, RLIMIT_SIZE);
}

/** setrlimit(2). */
export function setrlimit(t: Task, a: SyscallArgs): number {
  if (t.mm.copyIn(a.addr(1), scratch.u8, 0, RLIMIT_SIZE) < 0) return -EFAULT;
  return changeLimit(t, t.group, a.uint(0), true);
}

/** prlimit(2). */
export function prlimit64(t: Task, a: SyscallArgs): number {
  const pid = a.int(0);
  const newAddr = a.addr(2);
  const oldAddr = a.addr(3);
  if (newAddr !== 0 && t.mm.copyIn(newAddr, scratch.u8, 0, RLIMIT_SIZE) < 0) return -EFAULT;
  const target = pid === 0 ? t : t.pidns.task(pid);
  if (target === undefined) return -ESRCH;
  if (!mayChangeLimits(t, target)) return -EPERM;
  const result = changeLimit(t, target.group, a.uint(1), newAddr !== 0);
  if (result < 0 || oldAddr === 0) return result;
  return t.mm.copyOut(oldAddr, scratch.u8, RLIMIT_SIZE, RLIMIT_SIZE);
}

/** check_prlimit_permission(). */
function mayChangeLimits(t: Task, target: Task): boolean {
  if (t === target) return true;
  const from = t.creds;
  const to = target.creds;
  const sameUser = from.uid === to.euid && from.uid === to.suid && from.uid === to.uid;
  const sameGroup = from.gid === to.egid && from.gid === to.sgid && from.gid === to.gid;
  return (sameUser && sameGroup) || from.capableIn(to.userns, CAP_SYS_RESOURCE);
}

export const limitCalls: readonly SyscallLine[] = [
  call(SYS_getrusage, 'getrusage', 'who:int usage:addr', getrusage, 'partial', 'no fault or block counts'),
  call(SYS_getrlimit, 'getrlimit', 'resource:int rlim:addr', getrlimit),
  call(SYS_setrlimit, 'setrlimit', 'resource:int rlim:addr', setrlimit, 'partial', 'RSS, LOCKS and RTTIME are stored without effect'),
  call(SYS_prlimit64, 'prlimit64', 'pid:pid resource:int new_limit:addr old_limit:addr', prlimit64, 'partial', 'as setrlimit'),
];
