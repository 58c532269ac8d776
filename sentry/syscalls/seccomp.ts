// seccomp(2): the guest restricts itself. kernel/seccomp.c.

import { EACCES, EBUSY, EFAULT, EINVAL, ENOMEM, EOPNOTSUPP, ESRCH } from '../abi/errno.ts';
import {
  CAP_SYS_ADMIN,
  SECCOMP_FILTER_FLAG_LOG,
  SECCOMP_FILTER_FLAG_NEW_LISTENER,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW,
  SECCOMP_FILTER_FLAG_TSYNC,
  SECCOMP_FILTER_FLAG_TSYNC_ESRCH,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
  SECCOMP_GET_ACTION_AVAIL,
  SECCOMP_GET_NOTIF_SIZES,
  SECCOMP_MODE_DISABLED,
  SECCOMP_MODE_FILTER,
  SECCOMP_MODE_STRICT,
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_ERRNO,
  SECCOMP_RET_KILL_PROCESS,
  SECCOMP_RET_KILL_THREAD,
  SECCOMP_RET_LOG,
  SECCOMP_RET_TRACE,
  SECCOMP_RET_TRAP,
  SECCOMP_RET_USER_NOTIF,
  SECCOMP_SET_MODE_FILTER,
  SECCOMP_SET_MODE_STRICT,
} from '../abi/sched.ts';
import { SYS_seccomp } from '../abi/sysno-x64.ts';
import { getU64 } from '../base/int64.ts';
import { anonInode } from '../fs/anon.ts';
import { fillRandom } from '../host/entropy.ts';
import { installFilters } from '../kernel/seccomp.ts';
import { BPF_MAXINSNS, DATA_SIZE, INSNS_OVERHEAD, INSTRUCTION_SIZE, MAX_INSNS_PER_PATH, SeccompFilter } from '../kernel/seccomp-filter.ts';
import { NOTIF_RESP_SIZE, NOTIF_SIZE, SeccompListenerFile } from '../kernel/seccomp-listener.ts';
import { SeccompListener } from '../kernel/seccomp-notify.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const FILTER_FLAGS =
  SECCOMP_FILTER_FLAG_TSYNC |
  SECCOMP_FILTER_FLAG_LOG |
  SECCOMP_FILTER_FLAG_SPEC_ALLOW |
  SECCOMP_FILTER_FLAG_NEW_LISTENER |
  SECCOMP_FILTER_FLAG_TSYNC_ESRCH |
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
/** struct seccomp_notif_sizes: three u16. */
const NOTIF_SIZES_SIZE = 6;

/** seccomp(2). */
export function seccomp(t: Task, a: SyscallArgs): number {
  const flags = a.int(1);
  const addr = a.addr(2);
  switch (a.int(0)) {
    case SECCOMP_SET_MODE_STRICT:
      return flags !== 0 || addr !== 0 ? -EINVAL : setStrict(t);
    case SECCOMP_SET_MODE_FILTER:
      return setFilter(t, flags, addr);
    case SECCOMP_GET_ACTION_AVAIL:
      return flags !== 0 ? -EINVAL : isActionAvailable(t, addr);
    case SECCOMP_GET_NOTIF_SIZES:
      return flags !== 0 ? -EINVAL : getNotifSizes(t, addr);
  }
  return -EINVAL;
}

/** prctl(PR_SET_SECCOMP). */
export function prctlSeccomp(t: Task, mode: number, addr: number): number {
  if (mode === SECCOMP_MODE_STRICT) return setStrict(t);
  return mode === SECCOMP_MODE_FILTER ? setFilter(t, 0, addr) : -EINVAL;
}

function setStrict(t: Task): number {
  if (t.seccompMode !== SECCOMP_MODE_DISABLED && t.seccompMode !== SECCOMP_MODE_STRICT) return -EINVAL;
  t.seccompMode = SECCOMP_MODE_STRICT;
  t.watched = true;
  return 0;
}

function getNotifSizes(t: Task, addr: number): number {
  scratch.view.setUint16(0, NOTIF_SIZE, true);
  scratch.view.setUint16(2, NOTIF_RESP_SIZE, true);
  scratch.view.setUint16(4, DATA_SIZE, true);
  return t.mm.copyOut(addr, scratch.u8, 0, NOTIF_SIZES_SIZE) < 0 ? -EFAULT : 0;
}

function isActionAvailable(t: Task, addr: number): number {
  const action = t.mm.loadU32(addr);
  switch (action) {
    case SECCOMP_RET_KILL_PROCESS:
    case SECCOMP_RET_KILL_THREAD:
    case SECCOMP_RET_TRAP:
    case SECCOMP_RET_ERRNO:
    case SECCOMP_RET_USER_NOTIF:
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_ALLOW:
      return 0;
  }
  return action < 0 ? -EFAULT : -EOPNOTSUPP;
}

function setFilter(t: Task, flags: number, addr: number): number {
  if ((flags & ~FILTER_FLAGS) !== 0) return -EINVAL;
  const listens = (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) !== 0;
  // Both want to answer a number: a thread's, a descriptor's.
  if (listens && (flags & SECCOMP_FILTER_FLAG_TSYNC) !== 0 && (flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH) === 0) return -EINVAL;
  if (!listens && (flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) !== 0) return -EINVAL;
  // struct sock_fprog: length, then the address.
  if (t.mm.copyIn(addr, scratch.u8, 0, 16) < 0) return -EFAULT;
  const count = scratch.view.getUint16(0, true);
  const programAddr = getU64(scratch.view, 8);
  if (count === 0 || count > BPF_MAXINSNS) return -EINVAL;
  if (!t.creds.noNewPrivs && !t.creds.capableHere(CAP_SYS_ADMIN)) return -EACCES;
  if (t.mm.copyIn(programAddr, scratch.u8, 0, count * INSTRUCTION_SIZE) < 0) return -EFAULT;
  const filter = SeccompFilter.create(scratch.view, count);
  if (typeof filter === 'number') return filter;
  if (t.seccompMode === SECCOMP_MODE_STRICT) return -EINVAL;
  let total = filter.length;
  for (const other of t.seccompFilters) total += other.length + INSNS_OVERHEAD;
  if (total > MAX_INSNS_PER_PATH) return -ENOMEM;
  if ((flags & SECCOMP_FILTER_FLAG_TSYNC) !== 0) {
    const straggler = findStraggler(t);
    if (straggler !== null) return (flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH) !== 0 ? -ESRCH : straggler.pid.numberIn(t.pidns);
  }
  let fd = 0;
  if (listens) {
    if (t.seccompFilters.some(hasListener)) return -EBUSY;
    fd = t.fds.reserve(t.fdLimit);
    if (fd < 0) return fd;
    const listener = new SeccompListener((flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV) !== 0, firstId());
    filter.listener = listener;
    t.fds.install(fd, new SeccompListenerFile(listener, anonInode), true);
  }
  const filters = [filter, ...t.seccompFilters];
  installFilters(t, filters);
  if ((flags & SECCOMP_FILTER_FLAG_TSYNC) === 0) return fd;
  for (const other of t.group.tasks) {
    if (other === t) continue;
    installFilters(other, filters);
    if (t.creds.noNewPrivs && !other.creds.noNewPrivs) {
      const c = other.creds.clone();
      c.noNewPrivs = true;
      other.creds = c;
    }
  }
  return fd;
}

function hasListener(filter: SeccompFilter): boolean {
  return filter.listener !== null && !filter.listener.isClosed;
}

/** Identifiers start anywhere, so that one of another listener is not taken for ours. */
function firstId(): number {
  fillRandom(scratch.u8, 0, 4);
  return scratch.view.getUint32(0, true);
}

/** A thread whose filters are not ours, or an older part of ours: seccomp_can_sync_threads(). */
function findStraggler(t: Task): Task | null {
  const ours = t.seccompFilters;
  for (const other of t.group.tasks) {
    if (other === t || other.seccompMode === SECCOMP_MODE_DISABLED) continue;
    const theirs = other.seccompFilters;
    if (other.seccompMode === SECCOMP_MODE_STRICT || theirs.length > ours.length) return other;
    if (theirs.length > 0 && ours[ours.length - theirs.length] !== theirs[0]) return other;
  }
  return null;
}

export const seccompCalls: readonly SyscallLine[] = [call(SYS_seccomp, 'seccomp', 'operation:int flags:flags args:addr', seccomp)];
