// The life of processes: clone and its kin, exec, exit, wait, and their places in groups and
// sessions. kernel/fork.c, fs/exec.c, kernel/exit.c, kernel/sys.c. Further calls of the family are
// in prctl.ts, limits.ts and namespaces.ts.

import { E2BIG, EACCES, EAGAIN, EBADF, EBUSY, EFAULT, EINVAL, ENAMETOOLONG, EPERM, ERESTARTSYS, ESRCH } from '../abi/errno.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, O_NONBLOCK } from '../abi/fcntl.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { POLLIN } from '../abi/poll.ts';
import {
  __WALL,
  __WCLONE,
  __WNOTHREAD,
  CLONE_DETACHED,
  CLONE_NEWTIME,
  CLONE_PARENT,
  CLONE_PARENT_SETTID,
  CLONE_PIDFD,
  CLONE_THREAD,
  CLONE_VFORK,
  CLONE_VM,
  P_ALL,
  P_PGID,
  P_PID,
  P_PIDFD,
  WCONTINUED,
  WEXITED,
  WNOHANG,
  WNOWAIT,
  WSTOPPED,
  WUNTRACED,
} from '../abi/sched.ts';
import { NSIG, SIGCHLD } from '../abi/signal.ts';
import {
  SYS_clone,
  SYS_clone3,
  SYS_execve,
  SYS_execveat,
  SYS_exit,
  SYS_exit_group,
  SYS_fork,
  SYS_getpgid,
  SYS_getpgrp,
  SYS_getpid,
  SYS_getppid,
  SYS_getsid,
  SYS_gettid,
  SYS_setpgid,
  SYS_setsid,
  SYS_vfork,
  SYS_wait4,
  SYS_waitid,
} from '../abi/sysno-x64.ts';
import { getU64 } from '../base/int64.ts';
import { latin1 } from '../base/latin1.ts';
import { Cgroup } from '../fs/cgroupfs.ts';
import { MAX_PID_NS_LEVEL } from '../kernel/pid-namespace.ts';
import { PidFd } from '../kernel/pidfd.ts';
import { joinProcessGroup, ProcessGroup } from '../kernel/process-group.ts';
import { leaveRseq } from '../kernel/rseq.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_SIGNAL } from '../kernel/task.ts';
import { CloneArgs, cloneTask, startSession, startTask } from '../kernel/task-clone.ts';
import { execve as execTask } from '../kernel/task-exec.ts';
import { exitGroup, exitThread } from '../kernel/task-exit.ts';
import { Wait, waitOnce } from '../kernel/task-wait.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import { FOREVER } from '../kernel/timers.ts';
import { scratch } from '../mm/guest-memory.ts';
import { inodePermission, MAY_WRITE } from '../vfs/permissions.ts';
import { limitCalls, putUsage, RUSAGE_SIZE } from './limits.ts';
import { namespaceCalls } from './namespaces.ts';
import { newPidFd } from './pidfs.ts';
import { prctlCalls } from './prctl.ts';
import { processVmCalls } from './process-vm.ts';
import { ptraceCalls } from './ptrace.ts';
import { seccompCalls } from './seccomp.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const CSIGNAL = 0xff;

// ---- clone

const NO_NUMBERS: readonly number[] = [];
/** Made anew for every call: cloneTask() keeps nothing of it. */
const cloneArgs = new CloneArgs();

function resetCloneArgs(flags: number, exitSignal: number): CloneArgs {
  const c = cloneArgs;
  c.flags = flags;
  c.flagsHi = 0;
  c.exitSignal = exitSignal;
  c.stack = 0;
  c.parentTidAddr = 0;
  c.childTidAddr = 0;
  c.tls = 0;
  c.numbers = NO_NUMBERS;
  c.cgroup = undefined;
  return c;
}

/** fork(2). */
export function fork(t: Task, _a: SyscallArgs): number {
  return doClone(t, resetCloneArgs(0, SIGCHLD), 0);
}

/** vfork(2). */
export function vfork(t: Task, _a: SyscallArgs): number {
  return doClone(t, resetCloneArgs(CLONE_VFORK | CLONE_VM, SIGCHLD), 0);
}

/** clone(2) with x86-64's order of arguments: flags, stack, parent_tid, child_tid, tls. */
export function clone(t: Task, a: SyscallArgs): number {
  const flags = a.int(0) & ~CSIGNAL;
  if ((flags & CLONE_PIDFD) !== 0 && (flags & CLONE_PARENT_SETTID) !== 0 && a.addr(2) !== 0) return -EINVAL;
  const c = resetCloneArgs(flags, a.int(0) & CSIGNAL);
  c.stack = a.addr(1);
  c.parentTidAddr = a.addr(2);
  c.childTidAddr = a.addr(3);
  c.tls = a.addr(4);
  return doClone(t, c, a.addr(2));
}

// struct clone_args: eleven u64 by offset.
const CLONE_ARGS_SIZE_VER0 = 64;
const CLONE_ARGS_SIZE = 88;
const CLONE_HI_INTO_CGROUP = 2;
const INT_MAX = 0x7fffffff;

/** clone3(2). */
export function clone3(t: Task, a: SyscallArgs): number {
  const size = a.addr(1);
  if (size > PAGE_SIZE) return -E2BIG;
  if (size < CLONE_ARGS_SIZE_VER0) return -EINVAL;
  scratch.u8.fill(0, 0, CLONE_ARGS_SIZE);
  if (t.mm.copyIn(a.addr(0), scratch.u8, 0, size) < 0) return -EFAULT;
  // Fields of the future must be zero: copy_struct_from_user().
  for (let i = CLONE_ARGS_SIZE; i < size; i++) if (scratch.u8[i] !== 0) return -E2BIG;
  const v = scratch.view;
  const flags = v.getInt32(0, true);
  const flagsHi = v.getInt32(4, true);
  const pidfdAddr = getU64(v, 8);
  const exitSignal = getU64(v, 32);
  const stack = getU64(v, 40);
  const stackSize = getU64(v, 48);
  if (exitSignal > NSIG) return -EINVAL;
  // CLONE_CLEAR_SIGHAND and CLONE_INTO_CGROUP are all there is above 32 bits.
  if ((flagsHi & ~3) !== 0 || (flags & (CLONE_DETACHED | (CSIGNAL & ~CLONE_NEWTIME))) !== 0) return -EINVAL;
  if ((flags & (CLONE_THREAD | CLONE_PARENT)) !== 0 && exitSignal !== 0) return -EINVAL;
  if ((stack === 0) !== (stackSize === 0)) return -EINVAL;
  const numbersAddr = getU64(v, 64);
  const numberCount = getU64(v, 72);
  if (numberCount > MAX_PID_NS_LEVEL || (numbersAddr === 0) !== (numberCount === 0)) return -EINVAL;
  const cgroupFd = getU64(v, 80);
  const intoCgroup = (flagsHi & CLONE_HI_INTO_CGROUP) !== 0;
  if (intoCgroup && (cgroupFd > INT_MAX || size < CLONE_ARGS_SIZE)) return -EINVAL;
  const c = resetCloneArgs(flags, exitSignal);
  c.flagsHi = flagsHi;
  c.childTidAddr = getU64(v, 16);
  c.parentTidAddr = getU64(v, 24);
  c.stack = stack + stackSize;
  c.tls = getU64(v, 56);
  if (numberCount > 0) {
    if (t.mm.copyIn(numbersAddr, scratch.u8, 0, numberCount * 4) < 0) return -EFAULT;
    c.numbers = Array.from({ length: numberCount }, (_, i) => v.getInt32(i * 4, true));
  }
  if (intoCgroup) {
    const cgroup = cgroupBehind(t, cgroupFd);
    if (typeof cgroup === 'number') return cgroup;
    c.cgroup = cgroup;
  }
  return doClone(t, c, pidfdAddr);
}

/** cgroup_css_set_fork(): the cgroup whose directory is open as `fd`, if the caller may move processes there. */
function cgroupBehind(t: Task, fd: number): Cgroup | null | number {
  const inode = t.fds.get(fd)?.inode();
  if (!(inode instanceof Cgroup)) return -EBADF;
  const denied = inodePermission(inode, t.creds, MAY_WRITE);
  return denied < 0 ? denied : inode.takesProcesses() ? inode.asMembership() : -EBUSY;
}

function doClone(t: Task, c: CloneArgs, pidfdAddr: number): number {
  const isVfork = (c.flags & CLONE_VFORK) !== 0;
  if ((c.flags & CLONE_PIDFD) === 0) {
    const child = cloneTask(t, c);
    return typeof child === 'number' ? child : startTask(t, child, isVfork, c.exitSignal);
  }
  // The number is reserved, so that neither a full table nor a bad pointer is met after the child is born.
  const fd = t.fds.reserve(t.fdLimit);
  if (fd < 0) return fd;
  const child = t.mm.storeU32(pidfdAddr, fd) < 0 ? -EFAULT : cloneTask(t, c);
  if (typeof child === 'number') {
    t.fds.release(fd);
    return child;
  }
  const isThread = (c.flags & CLONE_THREAD) !== 0;
  t.fds.install(fd, newPidFd(child.pid, child.group, isThread ? child : null, 0), true);
  return startTask(t, child, isVfork, c.exitSignal);
}

// ---- exec

/** Strings of one exec are bounded by checkArguments(); this only keeps a hostile array from filling the Sentry first. */
const MAX_TOTAL = 8 * 1024 * 1024;
const MAX_ARG_STRLEN = 32 * PAGE_SIZE;

/** Guest memory a page at a time, since argument strings lie side by side. */
const page = { bytes: new Uint8Array(PAGE_SIZE), view: new DataView(new ArrayBuffer(0)), addr: -1, valid: 0 };
page.view = new DataView(page.bytes.buffer);

function loadPage(t: Task, addr: number): void {
  const start = addr - (addr % PAGE_SIZE);
  if (page.addr === start) return;
  page.addr = start;
  page.valid = t.mm.readSome(start, page.bytes, 0, PAGE_SIZE);
}

/** A string of fewer than MAX_ARG_STRLEN bytes: -EFAULT, -E2BIG. */
function copyInArgument(t: Task, addr: number): string | number {
  let text = '';
  while (text.length < MAX_ARG_STRLEN) {
    loadPage(t, addr);
    const from = addr - page.addr;
    if (from >= page.valid) return -EFAULT;
    const end = page.bytes.indexOf(0, from);
    if (end >= 0 && end < page.valid) return text + latin1(page.bytes, from, end);
    text += latin1(page.bytes, from, page.valid);
    addr += page.valid - from;
  }
  return -E2BIG;
}

/** A NULL-terminated array of strings; a null pointer is an empty one. -EFAULT, -E2BIG. */
function copyInArguments(t: Task, addr: number): string[] | number {
  const pointers: number[] = [];
  if (addr === 0) return [];
  page.addr = -1;
  for (let at = addr; ; at += 8) {
    let pointer: number;
    if (at % 8 === 0) {
      loadPage(t, at);
      if (at - page.addr + 8 > page.valid) return -EFAULT;
      pointer = getU64(page.view, at - page.addr);
    } else {
      pointer = t.mm.loadU64(at);
      if (pointer < 0) return -EFAULT;
    }
    if (pointer === 0) break;
    pointers.push(pointer);
    if (pointers.length * 8 > MAX_TOTAL) return -E2BIG;
  }
  const strings: string[] = [];
  let total = 0;
  for (const pointer of pointers) {
    const text = copyInArgument(t, pointer);
    if (typeof text === 'number') return text;
    total += text.length + 9;
    if (total > MAX_TOTAL) return -E2BIG;
    strings.push(text);
  }
  return strings;
}

/** execve(2). */
export function execve(t: Task, a: SyscallArgs): number {
  return exec(t, AT_FDCWD, a.addr(0), a.addr(1), a.addr(2), 0);
}

/** execveat(2). */
export function execveat(t: Task, a: SyscallArgs): number {
  const flags = a.int(4);
  if ((flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)) !== 0) return -EINVAL;
  return exec(t, a.int(0), a.addr(1), a.addr(2), a.addr(3), flags);
}

function exec(t: Task, dirfd: number, pathAddr: number, argvAddr: number, envpAddr: number, flags: number): number {
  const path = t.mm.copyInPath(pathAddr);
  if (typeof path === 'number') return path === -ENAMETOOLONG ? -ENAMETOOLONG : -EFAULT;
  const argv = copyInArguments(t, argvAddr);
  if (typeof argv === 'number') return argv;
  const envp = copyInArguments(t, envpAddr);
  if (typeof envp === 'number') return envp;
  return execTask(t, dirfd, path, argv, envp, flags);
}

// ---- exit and wait

/** exit(2): this thread alone. */
export function exit(t: Task, a: SyscallArgs): number {
  if (t.rseq !== null && t.mm.refs > 1) return leaveRseq(t, resumeExit);
  return exitThread(t, (a.int(0) & 0xff) << 8);
}

function resumeExit(t: Task, _why: number): number {
  return exitThread(t, (t.args.int(0) & 0xff) << 8);
}

/** exit_group(2). */
export function exit_group(t: Task, a: SyscallArgs): number {
  return exitGroup(t, (a.int(0) & 0xff) << 8);
}

/** wait4(2). */
export function wait4(t: Task, a: SyscallArgs): number {
  const pid = a.int(0);
  const options = a.int(2);
  if ((options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL)) !== 0) return -EINVAL;
  if (pid === -0x80000000) return -ESRCH;
  let w: Wait;
  if (pid === -1) w = new Wait(P_ALL, null, null, options | WEXITED);
  else if (pid > 0) w = new Wait(P_PID, t.pidns.find(pid) ?? null, null, options | WEXITED);
  else w = new Wait(P_PGID, null, pid === 0 ? t.group.processGroup : (t.pidns.find(-pid)?.processGroup ?? null), options | WEXITED);
  t.object = w;
  return resumeWait4(t, 0);
}

function resumeWait4(t: Task, why: number): number {
  const w = t.object as Wait;
  const result = waitOnce(t, w);
  if (result === 0 && (w.options & WNOHANG) === 0) {
    if (why !== WAKE_SIGNAL) return t.block(t.group.childWaiters, POLLIN, FOREVER, resumeWait4);
    t.object = null;
    return -ERESTARTSYS;
  }
  t.object = null;
  if (result <= 0) return result;
  const statusAddr = t.args.addr(1);
  const usageAddr = t.args.addr(3);
  if (statusAddr !== 0 && t.mm.storeU32(statusAddr, w.status) < 0) return -EFAULT;
  if (usageAddr !== 0) {
    putUsage(scratch.view, 0, w.usage);
    if (t.mm.copyOut(usageAddr, scratch.u8, 0, RUSAGE_SIZE) < 0) return -EFAULT;
  }
  return result;
}

/** waitid(2). */
export function waitid(t: Task, a: SyscallArgs): number {
  const type = a.int(0);
  const id = a.int(1);
  let options = a.int(3);
  if ((options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | __WCLONE | __WALL)) !== 0) return -EINVAL;
  if ((options & (WEXITED | WSTOPPED | WCONTINUED)) === 0) return -EINVAL;
  let w: Wait;
  switch (type) {
    case P_ALL:
      w = new Wait(P_ALL, null, null, options);
      break;
    case P_PID:
      if (id <= 0) return -EINVAL;
      w = new Wait(P_PID, t.pidns.find(id) ?? null, null, options);
      break;
    case P_PGID:
      if (id < 0) return -EINVAL;
      w = new Wait(P_PGID, null, id === 0 ? t.group.processGroup : (t.pidns.find(id)?.processGroup ?? null), options);
      break;
    case P_PIDFD: {
      if (id < 0) return -EINVAL;
      const file = t.fds.get(id);
      if (!(file instanceof PidFd)) return -EBADF;
      if ((file.flags & O_NONBLOCK) !== 0) options |= WNOHANG;
      w = new Wait(P_PIDFD, file.pid, null, options);
      break;
    }
    default:
      return -EINVAL;
  }
  t.object = w;
  return resumeWaitid(t, 0);
}

function resumeWaitid(t: Task, why: number): number {
  const w = t.object as Wait;
  const result = waitOnce(t, w);
  if (result === 0 && (w.options & WNOHANG) === 0) {
    if (why !== WAKE_SIGNAL) return t.block(t.group.childWaiters, POLLIN, FOREVER, resumeWaitid);
    t.object = null;
    return -ERESTARTSYS;
  }
  t.object = null;
  if (result < 0) return result;
  // A non-blocking pidfd tells the difference that WNOHANG does not: pidfd_open(2).
  if (result === 0 && w.type === P_PIDFD && (t.args.int(3) & WNOHANG) === 0) return -EAGAIN;
  const infoAddr = t.args.addr(2);
  const usageAddr = t.args.addr(4);
  if (result > 0 && usageAddr !== 0) {
    putUsage(scratch.view, 0, w.usage);
    if (t.mm.copyOut(usageAddr, scratch.u8, 0, RUSAGE_SIZE) < 0) return -EFAULT;
  }
  if (infoAddr === 0) return 0;
  const v = scratch.view;
  // Without a child every field is zero.
  v.setInt32(0, result > 0 ? SIGCHLD : 0, true);
  v.setInt32(4, 0, true);
  v.setInt32(8, w.code, true);
  v.setInt32(12, 0, true);
  v.setInt32(16, w.number, true);
  v.setInt32(20, w.uid, true);
  v.setInt32(24, w.value, true);
  // The padding of siginfo_t is left as it is: put_user() field by field.
  if (t.mm.copyOut(infoAddr, scratch.u8, 0, 12) < 0) return -EFAULT;
  return t.mm.copyOut(infoAddr + 16, scratch.u8, 16, 12);
}

// ---- numbers, groups, sessions

/** getpid(2). */
export function getpid(t: Task): number {
  return t.group.pid.numberIn(t.pidns);
}

/** gettid(2). */
export function gettid(t: Task): number {
  return t.pid.numberIn(t.pidns);
}

/** getppid(2). */
export function getppid(t: Task): number {
  return t.group.parentPidIn(t.pidns);
}

/** setpgid(2). */
export function setpgid(t: Task, a: SyscallArgs): number {
  const own = t.group;
  const number = a.int(0) === 0 ? own.pid.numberIn(t.pidns) : a.int(0);
  const pgid = a.int(1) === 0 ? number : a.int(1);
  if (pgid < 0) return -EINVAL;
  const pid = t.pidns.find(number);
  if (pid === undefined || pid.task === null) return -ESRCH;
  const group = pid.group;
  if (group === null) return -EINVAL;
  if (group.parent === own) {
    if (group.session !== own.session) return -EPERM;
    if (group.didExec) return -EACCES;
  } else if (group !== own) {
    return -ESRCH;
  }
  if (group.isSessionLeader) return -EPERM;
  let target: ProcessGroup | null = pid.processGroup;
  if (pgid !== number) {
    target = t.pidns.find(pgid)?.processGroup ?? null;
    if (target === null || target.session !== own.session) return -EPERM;
  }
  joinProcessGroup(group, target ?? new ProcessGroup(pid, group.session));
  return 0;
}

function processOf(t: Task, number: number): ThreadGroup | undefined {
  return number === 0 ? t.group : t.pidns.task(number)?.group;
}

/** getpgid(2). */
export function getpgid(t: Task, a: SyscallArgs): number {
  const group = processOf(t, a.int(0));
  return group === undefined ? -ESRCH : group.processGroup.pid.numberIn(t.pidns);
}

/** getpgrp(2). */
export function getpgrp(t: Task): number {
  return t.group.processGroup.pid.numberIn(t.pidns);
}

/** getsid(2). */
export function getsid(t: Task, a: SyscallArgs): number {
  const group = processOf(t, a.int(0));
  return group === undefined ? -ESRCH : group.session.pid.numberIn(t.pidns);
}

/** setsid(2). */
export function setsid(t: Task): number {
  const result = startSession(t.group);
  return result < 0 ? result : t.group.pid.numberIn(t.pidns);
}

export const processCalls: readonly SyscallLine[] = [
  call(SYS_fork, 'fork', '', fork),
  call(SYS_vfork, 'vfork', '', vfork),
  call(SYS_clone, 'clone', 'flags:flags stack:addr parent_tid:addr child_tid:addr tls:addr', clone),
  call(SYS_clone3, 'clone3', 'cl_args:addr size:size', clone3),
  call(SYS_execve, 'execve', 'filename:path argv:addr envp:addr', execve),
  call(SYS_execveat, 'execveat', 'dirfd:dirfd filename:path argv:addr envp:addr flags:flags', execveat),
  call(SYS_exit, 'exit', 'status:int', exit),
  call(SYS_exit_group, 'exit_group', 'status:int', exit_group),
  call(SYS_wait4, 'wait4', 'pid:pid wstatus:addr options:flags rusage:addr', wait4),
  call(SYS_waitid, 'waitid', 'idtype:int id:pid infop:addr options:flags rusage:addr', waitid),
  call(SYS_getpid, 'getpid', '', getpid),
  call(SYS_gettid, 'gettid', '', gettid),
  call(SYS_getppid, 'getppid', '', getppid),
  call(SYS_setpgid, 'setpgid', 'pid:pid pgid:pid', setpgid),
  call(SYS_getpgid, 'getpgid', 'pid:pid', getpgid),
  call(SYS_getpgrp, 'getpgrp', '', getpgrp),
  call(SYS_getsid, 'getsid', 'pid:pid', getsid),
  call(SYS_setsid, 'setsid', '', setsid),
  ...limitCalls,
  ...prctlCalls,
  ...namespaceCalls,
  ...seccompCalls,
  ...ptraceCalls,
  ...processVmCalls,
];
