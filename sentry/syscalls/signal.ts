// Signals: kernel/signal.c. Sending and delivery are in kernel/task-signals.ts; frames in
// kernel/signal-frame.ts.

import { RSP } from '../../platform/platform.ts';
import { EAGAIN, EBADF, EFAULT, EINTR, EINVAL, ENOENT, ENOMEM, EPERM, ERESTARTNOHAND, ESRCH } from '../abi/errno.ts';
import { O_NONBLOCK } from '../abi/fcntl.ts';
import { NSIG, SA_RESETHAND, SI_TKILL, SI_USER, SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK, SIGKILL, SIGSTOP, SS_ONSTACK } from '../abi/signal.ts';
import {
  SYS_kill,
  SYS_pause,
  SYS_pidfd_getfd,
  SYS_pidfd_open,
  SYS_pidfd_send_signal,
  SYS_restart_syscall,
  SYS_rt_sigaction,
  SYS_rt_sigpending,
  SYS_rt_sigprocmask,
  SYS_rt_sigqueueinfo,
  SYS_rt_sigreturn,
  SYS_rt_sigsuspend,
  SYS_rt_sigtimedwait,
  SYS_rt_tgsigqueueinfo,
  SYS_sigaltstack,
  SYS_tgkill,
  SYS_tkill,
} from '../abi/sysno-x64.ts';
import { REGISTERS_SET } from '../base/errors.ts';
import { getI64, getU64, put64 } from '../base/int64.ts';
import { ptraceMayAccess } from '../fs/proc-access.ts';
import { PidDir } from '../fs/proc-pid.ts';
import type { Pid } from '../kernel/pid-namespace.ts';
import { PIDFD_THREAD, PidFd } from '../kernel/pidfd.ts';
import { ALT_EINVAL, ALT_EPERM, onAltStack, popSignalFrame, setAltStack } from '../kernel/signal-frame.ts';
import { SIGINFO_SIZE, SIGINFO_WORDS, SigInfo } from '../kernel/signal-queue.ts';
import { sigHi, sigLo, UNMASKABLE_LO } from '../kernel/signal-set.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_TIMEOUT } from '../kernel/task.ts';
import {
  checkKill,
  dequeueSignal,
  forceSigsegv,
  isFromOutside,
  killGroup,
  prepareReturn,
  recalcInterrupting,
  senderInfo,
  sendSignal,
  sendToGroup,
  sendToProcessGroup,
  setBlocked,
  setTemporaryMask,
} from '../kernel/task-signals.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import { FOREVER } from '../kernel/timers.ts';
import { scratch } from '../mm/guest-memory.ts';
import { openFile } from './io-common.ts';
import { newPidFd, pidfdOrSelf } from './pidfs.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const SIGSET_SIZE = 8;
const MINSIGSTKSZ = 2048;
const PIDFD_SIGNAL_THREAD = 1;
const PIDFD_SIGNAL_THREAD_GROUP = 2;
const PIDFD_SIGNAL_PROCESS_GROUP = 4;

// ---- actions and masks

/** struct kernel_sigaction of x86-64: handler, flags, restorer, mask; 8 bytes each. */
const SIGACTION_SIZE = 32;

/** rt_sigaction(2). */
export function rt_sigaction(t: Task, a: SyscallArgs): number {
  const signo = a.int(0);
  const newAddr = a.addr(1);
  const oldAddr = a.addr(2);
  if (a.addr(3) !== SIGSET_SIZE) return -EINVAL;
  const v = scratch.view;
  if (newAddr !== 0 && t.mm.copyIn(newAddr, scratch.u8, 0, SIGACTION_SIZE) < 0) return -EFAULT;
  if (signo < 1 || signo > NSIG || (newAddr !== 0 && (signo === SIGKILL || signo === SIGSTOP))) return -EINVAL;
  const action = t.group.handlers.get(signo);
  const handler = action.handler;
  const flags = action.flags;
  const restorer = action.restorer;
  const maskLo = action.maskLo;
  const maskHi = action.maskHi;
  if (newAddr !== 0) {
    action.handler = getU64(v, 0);
    // Bits that mean nothing are dropped, so that a program can tell what the kernel knows: SA_UNSUPPORTED.
    action.flags = (v.getUint32(8, true) & KNOWN_SA_FLAGS) >>> 0;
    action.restorer = getU64(v, 16);
    action.maskLo = v.getInt32(24, true) & ~UNMASKABLE_LO;
    action.maskHi = v.getInt32(28, true);
    // What is ignored from now on is not kept for later: POSIX 3.3.1.3.
    if (t.group.handlers.ignores(signo)) {
      t.group.pending.flush(sigLo(signo), sigHi(signo));
      for (const thread of t.group.tasks) thread.signals.pending.flush(sigLo(signo), sigHi(signo));
    }
  }
  if (oldAddr === 0) return 0;
  put64(v, 0, handler);
  put64(v, 8, flags);
  put64(v, 16, restorer);
  v.setInt32(24, maskLo, true);
  v.setInt32(28, maskHi, true);
  return t.mm.copyOut(oldAddr, scratch.u8, 0, SIGACTION_SIZE);
}

/** NOCLDSTOP NOCLDWAIT SIGINFO EXPOSE_TAGBITS RESTORER ONSTACK RESTART NODEFER RESETHAND. */
const KNOWN_SA_FLAGS = 0x7 | 0x800 | 0x04000000 | 0x08000000 | 0x10000000 | 0x40000000 | SA_RESETHAND;

/** rt_sigprocmask(2). */
export function rt_sigprocmask(t: Task, a: SyscallArgs): number {
  const setAddr = a.addr(1);
  const oldAddr = a.addr(2);
  if (a.addr(3) !== SIGSET_SIZE) return -EINVAL;
  const s = t.signals;
  const oldLo = s.blockedLo;
  const oldHi = s.blockedHi;
  if (setAddr !== 0) {
    if (t.mm.copyIn(setAddr, scratch.u8, 0, 8) < 0) return -EFAULT;
    const lo = scratch.view.getInt32(0, true);
    const hi = scratch.view.getInt32(4, true);
    switch (a.int(0)) {
      case SIG_BLOCK:
        setBlocked(t, oldLo | lo, oldHi | hi);
        break;
      case SIG_UNBLOCK:
        setBlocked(t, oldLo & ~lo, oldHi & ~hi);
        break;
      case SIG_SETMASK:
        setBlocked(t, lo, hi);
        break;
      default:
        return -EINVAL;
    }
  }
  return oldAddr === 0 ? 0 : t.mm.storeWords(oldAddr, oldLo, oldHi);
}

/** rt_sigpending(2): what is pending and blocked. */
export function rt_sigpending(t: Task, a: SyscallArgs): number {
  const size = a.addr(1);
  if (size > SIGSET_SIZE) return -EINVAL;
  const s = t.signals;
  scratch.view.setInt32(0, (s.pending.lo | t.group.pending.lo) & s.blockedLo, true);
  scratch.view.setInt32(4, (s.pending.hi | t.group.pending.hi) & s.blockedHi, true);
  return t.mm.copyOut(a.addr(0), scratch.u8, 0, size);
}

/** rt_sigreturn(2): goes back to where the signal interrupted. */
export function rt_sigreturn(t: Task, _a: SyscallArgs): number {
  if (!popSignalFrame(t)) forceSigsegv(t, 0);
  if (t.signals.interrupting) return prepareReturn(t, REGISTERS_SET);
  t.signals.fpRestoreAddr = 0;
  return REGISTERS_SET;
}

/** sigaltstack(2). */
export function sigaltstack(t: Task, a: SyscallArgs): number {
  const newAddr = a.addr(0);
  const oldAddr = a.addr(1);
  const s = t.signals;
  const sp = t.context.reg(RSP);
  const oldSp = s.altStackAddr;
  const oldSize = s.altStackSize;
  const oldFlags = onAltStack(s, sp) ? s.altStackFlags | SS_ONSTACK : s.altStackFlags;
  const v = scratch.view;
  if (newAddr !== 0) {
    if (t.mm.copyIn(newAddr, scratch.u8, 0, 24) < 0) return -EFAULT;
    const result = setAltStack(t, getU64(v, 0), v.getInt32(8, true), getU64(v, 16), MINSIGSTKSZ, sp);
    if (result < 0) return result === ALT_EPERM ? -EPERM : result === ALT_EINVAL ? -EINVAL : -ENOMEM;
  }
  if (oldAddr === 0) return 0;
  put64(v, 0, oldSp);
  v.setInt32(8, oldFlags, true);
  v.setInt32(12, 0, true);
  put64(v, 16, oldSize);
  return t.mm.copyOut(oldAddr, scratch.u8, 0, 24);
}

// ---- waiting

/** pause(2). */
export function pause(t: Task, _a: SyscallArgs): number {
  return t.park(FOREVER, resumePause);
}

function resumePause(_t: Task, _why: number): number {
  return -ERESTARTNOHAND;
}

/** rt_sigsuspend(2). */
export function rt_sigsuspend(t: Task, a: SyscallArgs): number {
  if (a.addr(1) !== SIGSET_SIZE) return -EINVAL;
  if (t.mm.copyIn(a.addr(0), scratch.u8, 0, 8) < 0) return -EFAULT;
  setTemporaryMask(t, scratch.view.getInt32(0, true), scratch.view.getInt32(4, true));
  return t.park(FOREVER, resumePause);
}

/** rt_sigtimedwait(2): takes a signal of the set, or waits for one. */
export function rt_sigtimedwait(t: Task, a: SyscallArgs): number {
  if (a.addr(3) !== SIGSET_SIZE) return -EINVAL;
  if (t.mm.copyIn(a.addr(0), scratch.u8, 0, 8) < 0) return -EFAULT;
  const lo = scratch.view.getInt32(0, true) & ~UNMASKABLE_LO;
  const hi = scratch.view.getInt32(4, true);
  let deadlineNs = FOREVER;
  if (a.addr(2) !== 0) {
    if (t.mm.copyIn(a.addr(2), scratch.u8, 0, 16) < 0) return -EFAULT;
    const sec = getI64(scratch.view, 0);
    const nsec = getI64(scratch.view, 8);
    if (sec < 0 || nsec < 0 || nsec >= 1e9) return -EINVAL;
    deadlineNs = sec === 0 && nsec === 0 ? 0 : t.kernel.clock.monotonicNs() + sec * 1e9 + nsec;
  }
  const info = dequeueSignal(t, ~lo, ~hi);
  if (info !== null) return takeWaited(t, info);
  if (deadlineNs === 0) return -EAGAIN;
  t.signals.waitLo = lo;
  t.signals.waitHi = hi;
  return t.park(deadlineNs, resumeTimedWait);
}

function resumeTimedWait(t: Task, why: number): number {
  const s = t.signals;
  const info = dequeueSignal(t, ~s.waitLo, ~s.waitHi);
  s.waitLo = 0;
  s.waitHi = 0;
  if (info !== null) return takeWaited(t, info);
  return why === WAKE_TIMEOUT ? -EAGAIN : -EINTR;
}

function takeWaited(t: Task, info: SigInfo): number {
  recalcInterrupting(t);
  const infoAddr = t.args.addr(1);
  if (infoAddr !== 0) {
    info.encode(scratch.view, 0);
    if (t.mm.copyOut(infoAddr, scratch.u8, 0, SIGINFO_SIZE) < 0) return -EFAULT;
  }
  return info.signo;
}

/** restart_syscall(2): goes on with a call that a stop or an ignored signal has interrupted. */
export function restart_syscall(t: Task, _a: SyscallArgs): number {
  const restart = t.restart;
  t.restart = null;
  return restart === null ? -EINTR : restart(t);
}

// ---- sending

function isSignal(signo: number): boolean {
  return signo >= 0 && signo <= NSIG;
}

/** kill(2): kill_something_info(). */
export function kill(t: Task, a: SyscallArgs): number {
  const pid = a.int(0);
  const signo = a.int(1);
  if (pid === -0x80000000) return -ESRCH;
  if (pid > 0) {
    const group = t.pidns.group(pid) ?? t.pidns.task(pid)?.group;
    if (group === undefined) return -ESRCH;
    return isSignal(signo) ? killGroup(t, group, signo) : -EINVAL;
  }
  if (pid === -1) return killAll(t, signo);
  const pgrp = pid === 0 ? t.group.processGroup : (t.pidns.find(-pid)?.processGroup ?? undefined);
  if (pgrp === undefined) return -ESRCH;
  return isSignal(signo) ? sendToProcessGroup(t, pgrp, signo) : -EINVAL;
}

/** Every process that the caller sees but init and itself. */
function killAll(t: Task, signo: number): number {
  let result = 0;
  let count = 0;
  for (const number of t.pidns.numbers()) {
    const group = t.pidns.group(number);
    if (group === undefined || number === 1 || group === t.group) continue;
    const err = isSignal(signo) ? killGroup(t, group, signo) : -EINVAL;
    count++;
    if (err !== -EPERM) result = err;
  }
  return count > 0 ? result : -ESRCH;
}

/** tgkill(2). */
export function tgkill(t: Task, a: SyscallArgs): number {
  if (a.int(0) <= 0 || a.int(1) <= 0) return -EINVAL;
  return killThread(t, a.int(0), a.int(1), a.int(2), null);
}

/** tkill(2). */
export function tkill(t: Task, a: SyscallArgs): number {
  return a.int(0) <= 0 ? -EINVAL : killThread(t, 0, a.int(0), a.int(1), null);
}

/** do_send_specific(): `info` is what the caller has made up, null for tkill's own. */
function killThread(t: Task, tgid: number, tid: number, signo: number, info: SigInfo | null): number {
  const target = t.pidns.task(tid);
  if (target === undefined || (tgid > 0 && target.group.pid.numberIn(t.pidns) !== tgid)) return -ESRCH;
  if (!isSignal(signo)) return -EINVAL;
  // si_fromuser(): what claims to be the kernel's, which only one to oneself may, asks nobody.
  if (info === null || info.code <= 0) {
    const denied = checkKill(t, target.group, signo);
    if (denied < 0) return denied;
  }
  if (signo === 0) return 0;
  return sendSignal(target, info ?? senderInfo(signo, SI_TKILL, t, target.group), isFromOutside(t, target.pidns));
}

/** A siginfo of the guest's: the number is the call's, the rest is taken as it is. -EFAULT. */
function copyInfo(t: Task, addr: number, signo: number): SigInfo | number {
  if (t.mm.copyIn(addr, scratch.u8, 0, SIGINFO_SIZE) < 0) return -EFAULT;
  const info = new SigInfo(signo, scratch.view.getInt32(8, true));
  for (let i = 1; i < SIGINFO_WORDS; i++) info.words[i] = scratch.view.getInt32(i * 4, true);
  return info;
}

/** "Not even root can pretend to send signals from the kernel. Nor can they impersonate a kill()/tgkill()". */
function impersonates(t: Task, info: SigInfo, group: ThreadGroup): boolean {
  return (info.code >= 0 || info.code === SI_TKILL) && group !== t.group;
}

/** rt_sigqueueinfo(2). */
export function rt_sigqueueinfo(t: Task, a: SyscallArgs): number {
  const pid = a.int(0);
  const signo = a.int(1);
  const info = copyInfo(t, a.addr(2), signo);
  if (typeof info === 'number') return info;
  const group = pid > 0 ? (t.pidns.group(pid) ?? t.pidns.task(pid)?.group) : undefined;
  if ((info.code >= 0 || info.code === SI_TKILL) && pid !== t.group.pid.numberIn(t.pidns)) return -EPERM;
  if (group === undefined) return -ESRCH;
  return sendInfo(t, group, signo, info);
}

function sendInfo(t: Task, group: ThreadGroup, signo: number, info: SigInfo): number {
  if (!isSignal(signo)) return -EINVAL;
  const denied = checkKill(t, group, signo);
  if (denied < 0 || signo === 0) return denied;
  return sendToGroup(group, info, isFromOutside(t, group.pidns));
}

/** rt_tgsigqueueinfo(2). */
export function rt_tgsigqueueinfo(t: Task, a: SyscallArgs): number {
  const tgid = a.int(0);
  const tid = a.int(1);
  const signo = a.int(2);
  const info = copyInfo(t, a.addr(3), signo);
  if (typeof info === 'number') return info;
  if (tgid <= 0 || tid <= 0) return -EINVAL;
  if ((info.code >= 0 || info.code === SI_TKILL) && tid !== t.pid.numberIn(t.pidns)) return -EPERM;
  return killThread(t, tgid, tid, signo, info);
}

// ---- pidfds

/** pidfd_open(2). */
export function pidfd_open(t: Task, a: SyscallArgs): number {
  const number = a.int(0);
  const flags = a.int(1);
  if ((flags & ~(O_NONBLOCK | PIDFD_THREAD)) !== 0 || number <= 0) return -EINVAL;
  const pid = t.pidns.find(number);
  if (pid === undefined || pid.task === null) return -ESRCH;
  const isThread = (flags & PIDFD_THREAD) !== 0;
  // A thread that is no leader has no process behind its number.
  if (!isThread && pid.group === null) return -ENOENT;
  return addPidfd(t, newPidFd(pid, pid.task.group, isThread ? pid.task : null, flags));
}

/** A descriptor of a process that a socket knows: -ESRCH once it is gone. */
export function openPidfd(t: Task, pid: Pid): number {
  return pid.group === null ? -ESRCH : addPidfd(t, newPidFd(pid, pid.group, null, 0));
}

function addPidfd(t: Task, file: PidFd): number {
  const fd = t.fds.add(file, true, t.fdLimit);
  if (fd < 0) file.decRef(t);
  return fd;
}

/** A pidfd, or the directory of a process in /proc, which pidfd_send_signal() takes as one. -EBADF, -ESRCH. */
function pidfdFor(t: Task, fd: number): PidFd | number {
  const self = pidfdOrSelf(t, fd);
  if (typeof self !== 'number') return self;
  const file = openFile(t, fd);
  if (file === undefined) return -EBADF;
  const inode = file.inode();
  if (!(inode instanceof PidDir) || inode.process === null) return -EBADF;
  const { group } = inode.process;
  return group === null ? -ESRCH : newPidFd(inode.process, group, null, 0);
}

/** pidfd_send_signal(2). */
export function pidfd_send_signal(t: Task, a: SyscallArgs): number {
  const flags = a.int(3);
  if ((flags & ~(PIDFD_SIGNAL_THREAD | PIDFD_SIGNAL_THREAD_GROUP | PIDFD_SIGNAL_PROCESS_GROUP)) !== 0) return -EINVAL;
  if ((flags & (flags - 1)) !== 0) return -EINVAL;
  const file = pidfdFor(t, a.int(0));
  if (typeof file === 'number') return file;
  const signo = a.int(1);
  // access_pidfd_pid_namespace(): only into namespaces at or below our own.
  if (!t.pidns.contains(file.pid.ns)) return -EINVAL;
  const group = file.group;
  let info: SigInfo | null = null;
  if (a.addr(2) !== 0) {
    const copied = copyInfo(t, a.addr(2), signo);
    if (typeof copied === 'number') return copied;
    if (scratch.view.getInt32(0, true) !== signo) return -EINVAL;
    if (impersonates(t, copied, group)) return -EPERM;
    info = copied;
  }
  const target = file.target();
  if (typeof target === 'number') return target;
  if (!isSignal(signo)) return -EINVAL;
  if (flags === PIDFD_SIGNAL_PROCESS_GROUP) {
    const pgrp = file.pid.processGroup;
    return pgrp === null ? -ESRCH : sendToProcessGroup(t, pgrp, signo);
  }
  const denied = checkKill(t, group, signo);
  if (denied < 0 || signo === 0) return denied;
  const force = isFromOutside(t, group.pidns);
  if (flags === PIDFD_SIGNAL_THREAD || (flags === 0 && file.isThread)) {
    return sendSignal(target, info ?? senderInfo(signo, SI_TKILL, t, group), force);
  }
  return sendToGroup(group, info ?? senderInfo(signo, SI_USER, t, group), force);
}

/** pidfd_getfd(2): needs what ptrace(2) would, PTRACE_MODE_ATTACH_REALCREDS. */
export function pidfd_getfd(t: Task, a: SyscallArgs): number {
  if (a.int(2) !== 0) return -EINVAL;
  const pidfd = t.fds.get(a.int(0));
  if (!(pidfd instanceof PidFd)) return -EBADF;
  const target = pidfd.target();
  if (typeof target === 'number') return target;
  if (pidfd.group.isDead) return -ESRCH;
  if (ptraceMayAccess(t, target, false) < 0) return -EPERM;
  const file = target.fds.get(a.int(1));
  if (file === undefined) return -EBADF;
  file.incRef();
  const fd = t.fds.add(file, true, t.fdLimit);
  if (fd < 0) file.decRef(t);
  return fd;
}

export const signalCalls: readonly SyscallLine[] = [
  call(SYS_rt_sigaction, 'rt_sigaction', 'signum:sig act:addr oldact:addr sigsetsize:size', rt_sigaction),
  call(SYS_rt_sigprocmask, 'rt_sigprocmask', 'how:int set:addr oldset:addr sigsetsize:size', rt_sigprocmask),
  call(SYS_rt_sigreturn, 'rt_sigreturn', '', rt_sigreturn),
  call(SYS_rt_sigpending, 'rt_sigpending', 'set:addr sigsetsize:size', rt_sigpending),
  call(SYS_rt_sigtimedwait, 'rt_sigtimedwait', 'set:addr info:addr timeout:timespec sigsetsize:size', rt_sigtimedwait),
  call(SYS_rt_sigsuspend, 'rt_sigsuspend', 'mask:addr sigsetsize:size', rt_sigsuspend),
  call(SYS_rt_sigqueueinfo, 'rt_sigqueueinfo', 'tgid:pid sig:sig info:addr', rt_sigqueueinfo),
  call(SYS_rt_tgsigqueueinfo, 'rt_tgsigqueueinfo', 'tgid:pid tid:pid sig:sig info:addr', rt_tgsigqueueinfo),
  call(SYS_sigaltstack, 'sigaltstack', 'ss:addr old_ss:addr', sigaltstack),
  call(SYS_pause, 'pause', '', pause),
  call(SYS_restart_syscall, 'restart_syscall', '', restart_syscall),
  call(SYS_kill, 'kill', 'pid:pid sig:sig', kill),
  call(SYS_tkill, 'tkill', 'tid:pid sig:sig', tkill),
  call(SYS_tgkill, 'tgkill', 'tgid:pid tid:pid sig:sig', tgkill),
  call(SYS_pidfd_open, 'pidfd_open', 'pid:pid flags:flags', pidfd_open),
  call(SYS_pidfd_send_signal, 'pidfd_send_signal', 'pidfd:fd sig:sig info:addr flags:flags', pidfd_send_signal),
  call(SYS_pidfd_getfd, 'pidfd_getfd', 'pidfd:fd targetfd:fd flags:flags', pidfd_getfd),
];
