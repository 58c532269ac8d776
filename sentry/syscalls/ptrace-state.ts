// What ptrace(2) tells of a tracee beside its registers: seccomp's filters and the rseq area.

import { EACCES, EFAULT, EINVAL, ENOENT, EPERM } from '../abi/errno.ts';
import { PTRACE_O_MASK, PTRACE_O_SUSPEND_SECCOMP } from '../abi/ptrace.ts';
import { CAP_SYS_ADMIN, PR_SYS_DISPATCH_INCLUSIVE_ON, PR_SYS_DISPATCH_OFF, PR_SYS_DISPATCH_ON } from '../abi/sched.ts';
import { getU64, put64 } from '../base/int64.ts';
import { INSTRUCTION_SIZE, type SeccompFilter } from '../kernel/seccomp-filter.ts';
import type { Task } from '../kernel/task.ts';
import { setUserDispatch } from '../kernel/user-dispatch.ts';
import { scratch } from '../mm/guest-memory.ts';

const SECCOMP_MODE_FILTER = 2;
/** struct seccomp_metadata: which filter, its flags. */
const METADATA_SIZE = 16;
/** struct ptrace_rseq_configuration: address, size, signature, flags, padding. */
const RSEQ_SIZE = 24;

/** PTRACE_SETOPTIONS and PTRACE_SEIZE: check_ptrace_options(). 0, -EINVAL, -EPERM. */
export function checkOptions(t: Task, options: number): number {
  if (options > 0xffffffff || (options & ~PTRACE_O_MASK) !== 0) return -EINVAL;
  if ((options & PTRACE_O_SUSPEND_SECCOMP) === 0) return 0;
  const suspended = t.tracee !== null && (t.tracee.options & PTRACE_O_SUSPEND_SECCOMP) !== 0;
  return t.creds.capable(CAP_SYS_ADMIN) && t.seccompMode === 0 && !suspended ? 0 : -EPERM;
}

/** get_nth_filter(): the filters are counted from the oldest. */
function nthFilter(t: Task, target: Task, n: number): SeccompFilter | number {
  if (!t.creds.capable(CAP_SYS_ADMIN) || t.seccompMode !== 0) return -EACCES;
  if (target.seccompMode !== SECCOMP_MODE_FILTER) return -EINVAL;
  return target.seccompFilters[target.seccompFilters.length - 1 - n] ?? -ENOENT;
}

/** PTRACE_SECCOMP_GET_FILTER: the number of instructions, which are copied if there is a place for them. */
export function seccompFilter(t: Task, target: Task, n: number, dataAddr: number): number {
  const filter = nthFilter(t, target, n);
  if (typeof filter === 'number') return filter;
  if (dataAddr === 0) return filter.length;
  filter.encode(scratch.view);
  return t.mm.copyOut(dataAddr, scratch.u8, 0, filter.length * INSTRUCTION_SIZE) < 0 ? -EFAULT : filter.length;
}

/** PTRACE_SECCOMP_GET_METADATA: no filter asks for its actions to be logged. */
export function seccompMetadata(t: Task, target: Task, size: number, dataAddr: number): number {
  if (!t.creds.capable(CAP_SYS_ADMIN) || t.seccompMode !== 0) return -EACCES;
  const length = Math.min(size, METADATA_SIZE);
  if (length < 8) return -EINVAL;
  if (t.mm.copyIn(dataAddr, scratch.u8, 0, 8) < 0) return -EFAULT;
  const n = getU64(scratch.view, 0);
  const filter = nthFilter(t, target, n);
  if (typeof filter === 'number') return filter;
  put64(scratch.view, 0, n);
  put64(scratch.view, 8, 0);
  return t.mm.copyOut(dataAddr, scratch.u8, 0, length) < 0 ? -EFAULT : length;
}

const SUD_SIZE = 32;

/** PTRACE_GET_RSEQ_CONFIGURATION: all zero for a thread without an area. */
export function rseqConfiguration(t: Task, target: Task, size: number, dataAddr: number): number {
  const v = scratch.view;
  put64(v, 0, target.rseq?.addr ?? 0);
  v.setUint32(8, target.rseq?.length ?? 0, true);
  v.setUint32(12, target.rseq?.signature ?? 0, true);
  put64(v, 16, 0);
  return t.mm.copyOut(dataAddr, scratch.u8, 0, Math.min(size, RSEQ_SIZE)) < 0 ? -EFAULT : RSEQ_SIZE;
}

/** PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG: struct ptrace_sud_config. */
export function dispatchConfig(t: Task, target: Task, size: number, dataAddr: number): number {
  if (size !== SUD_SIZE) return -EINVAL;
  const d = target.userDispatch;
  const v = scratch.view;
  put64(v, 0, d === null ? PR_SYS_DISPATCH_OFF : d.inverted ? PR_SYS_DISPATCH_INCLUSIVE_ON : PR_SYS_DISPATCH_ON);
  put64(v, 8, d?.selectorAddr ?? 0);
  put64(v, 16, d?.start ?? 0);
  put64(v, 24, d === null ? 0 : d.end - d.start);
  return t.mm.copyOut(dataAddr, scratch.u8, 0, SUD_SIZE) < 0 ? -EFAULT : 0;
}

/** PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG. */
export function setDispatchConfig(t: Task, target: Task, size: number, dataAddr: number): number {
  if (size !== SUD_SIZE) return -EINVAL;
  if (t.mm.copyIn(dataAddr, scratch.u8, 0, SUD_SIZE) < 0) return -EFAULT;
  const v = scratch.view;
  return setUserDispatch(target, getU64(v, 0), getU64(v, 16), getU64(v, 24), getU64(v, 8));
}
