// ptrace(2): requests of a tracer. What a tracee does about them is in kernel/ptrace.ts, what its
// registers are in ptrace-registers.ts.

import { ORIG_RAX, R8, R9, R10, RAX, RDI, RDX, RIP, RSI, RSP } from '../../platform/platform.ts';
import { NT_PRFPREG, NT_PRSTATUS } from '../abi/elf.ts';
import { EFAULT, EINVAL, EIO, EPERM, ESRCH } from '../abi/errno.ts';
import {
  PTRACE_ARCH_PRCTL,
  PTRACE_ATTACH,
  PTRACE_CONT,
  PTRACE_DETACH,
  PTRACE_EVENT_STOP,
  PTRACE_GET_RSEQ_CONFIGURATION,
  PTRACE_GET_SYSCALL_INFO,
  PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG,
  PTRACE_GETEVENTMSG,
  PTRACE_GETFPREGS,
  PTRACE_GETREGS,
  PTRACE_GETREGSET,
  PTRACE_GETSIGINFO,
  PTRACE_GETSIGMASK,
  PTRACE_INTERRUPT,
  PTRACE_KILL,
  PTRACE_LISTEN,
  PTRACE_OLDSETOPTIONS,
  PTRACE_PEEKDATA,
  PTRACE_PEEKSIGINFO,
  PTRACE_PEEKSIGINFO_SHARED,
  PTRACE_PEEKTEXT,
  PTRACE_PEEKUSR,
  PTRACE_POKEDATA,
  PTRACE_POKETEXT,
  PTRACE_POKEUSR,
  PTRACE_SECCOMP_GET_FILTER,
  PTRACE_SECCOMP_GET_METADATA,
  PTRACE_SEIZE,
  PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG,
  PTRACE_SETFPREGS,
  PTRACE_SETOPTIONS,
  PTRACE_SETREGS,
  PTRACE_SETREGSET,
  PTRACE_SETSIGINFO,
  PTRACE_SETSIGMASK,
  PTRACE_SINGLESTEP,
  PTRACE_SYSCALL,
  PTRACE_SYSEMU,
  PTRACE_SYSEMU_SINGLESTEP,
  PTRACE_TRACEME,
} from '../abi/ptrace.ts';
import { NSIG, SIGKILL } from '../abi/signal.ts';
import { SYS_ptrace } from '../abi/sysno-x64.ts';
import { getU64, put64 } from '../base/int64.ts';
import { ptraceMayAccess } from '../fs/proc-access.ts';
import { AT_ENTRY, AT_EXIT, AT_SECCOMP, interrupt, letGo, listen, TRACE_CALLS, TRACE_EMULATE, TRACE_RUN } from '../kernel/ptrace.ts';
import { attach, checkStopped, detach, stopAttached } from '../kernel/ptrace-link.ts';
import { SIGINFO_SIZE, SIGINFO_WORDS } from '../kernel/signal-queue.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { TASK_DEAD, type Task } from '../kernel/task.ts';
import { sendKernelSignal, setBlocked } from '../kernel/task-signals.ts';
import { scratch } from '../mm/guest-memory.ts';
import { archPrctl, getRegs, peekUser, pokeUser, regset, setRegs } from './ptrace-registers.ts';
import { checkOptions, dispatchConfig, rseqConfiguration, seccompFilter, seccompMetadata, setDispatchConfig } from './ptrace-state.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const AUDIT_ARCH_X86_64 = 0xc000003e;
/** struct ptrace_syscall_info by what it tells. */
const INFO_NONE = 24;
const INFO_ENTRY = 80;
const INFO_EXIT = 33;
const INFO_SECCOMP = 84;
const CALL_ARGUMENTS: readonly number[] = [RDI, RSI, RDX, R10, R8, R9];

/** ptrace(2). */
export function ptrace(t: Task, a: SyscallArgs): number {
  const request = a.int(0);
  if (request === PTRACE_TRACEME) return traceMe(t);
  const target = t.pidns.task(a.int(1));
  if (target === undefined) return -ESRCH;
  if (request === PTRACE_ATTACH || request === PTRACE_SEIZE) return attachTo(t, target, request === PTRACE_SEIZE, a.addr(2), a.addr(3));
  if (request === PTRACE_KILL) {
    if (target.tracee?.tracer !== t) return -ESRCH;
    sendKernelSignal(target.group, SIGKILL);
    return 0;
  }
  if (request === PTRACE_INTERRUPT) {
    if (target.tracee?.tracer !== t || target.state === TASK_DEAD) return -ESRCH;
    if (!target.tracee.isSeized) return -EIO;
    interrupt(target);
    return 0;
  }
  const wrong = checkStopped(t, target);
  return wrong < 0 ? wrong : onStopped(t, target, request, a);
}

function traceMe(t: Task): number {
  const { parentTask } = t.group;
  if (t.tracee !== null || parentTask === null) return -EPERM;
  return attach(parentTask, t, t, false, 0);
}

function attachTo(t: Task, target: Task, isSeized: boolean, addr: number, options: number): number {
  if (isSeized) {
    const wrong = addr !== 0 ? -EIO : checkOptions(t, options);
    if (wrong < 0) return wrong === -EINVAL ? -EIO : wrong;
  }
  if (target.group === t.group) return -EPERM;
  if (ptraceMayAccess(t, target, false) < 0) return -EPERM;
  const result = attach(t, target, t, isSeized, isSeized ? options : 0);
  if (result === 0) stopAttached(target);
  return result;
}

/** Requests on a tracee that is in a ptrace-stop. */
function onStopped(t: Task, target: Task, request: number, a: SyscallArgs): number {
  const tracee = target.tracee!;
  const addr = a.addr(2);
  const dataAddr = a.addr(3);
  switch (request) {
    case PTRACE_CONT:
      return go(target, TRACE_RUN, false, a);
    case PTRACE_SYSCALL:
      return go(target, TRACE_CALLS, false, a);
    case PTRACE_SINGLESTEP:
      return go(target, TRACE_RUN, true, a);
    case PTRACE_SYSEMU:
      return go(target, TRACE_EMULATE, false, a);
    case PTRACE_SYSEMU_SINGLESTEP:
      return go(target, TRACE_EMULATE, true, a);
    case PTRACE_DETACH:
      if (dataAddr > NSIG) return -EIO;
      detach(target, dataAddr);
      return 0;
    case PTRACE_LISTEN:
      if (!tracee.isSeized || tracee.info === null || tracee.info.code >> 8 !== PTRACE_EVENT_STOP) return -EIO;
      listen(target);
      return 0;
    case PTRACE_PEEKTEXT:
    case PTRACE_PEEKDATA:
      if (target.mm.readForced(addr, scratch.u8, 0, 8) !== 8) return -EIO;
      return t.mm.copyOut(dataAddr, scratch.u8, 0, 8);
    case PTRACE_POKETEXT:
    case PTRACE_POKEDATA:
      scratch.view.setInt32(0, a.lo(3), true);
      scratch.view.setInt32(4, a.hi(3), true);
      return target.mm.writeForced(addr, scratch.u8, 0, 8) === 8 ? 0 : -EIO;
    case PTRACE_PEEKUSR:
      return peekUser(t, target, addr, dataAddr);
    case PTRACE_POKEUSR:
      return pokeUser(target, addr, a);
    case PTRACE_GETREGS:
      return getRegs(t, target, NT_PRSTATUS, dataAddr);
    case PTRACE_SETREGS:
      return setRegs(t, target, NT_PRSTATUS, dataAddr);
    case PTRACE_GETFPREGS:
      return getRegs(t, target, NT_PRFPREG, dataAddr);
    case PTRACE_SETFPREGS:
      return setRegs(t, target, NT_PRFPREG, dataAddr);
    case PTRACE_ARCH_PRCTL:
      return archPrctl(t, target, addr, dataAddr);
    case PTRACE_GETREGSET:
    case PTRACE_SETREGSET:
      return regset(t, target, request === PTRACE_GETREGSET, addr, dataAddr);
    case PTRACE_SETOPTIONS:
    case PTRACE_OLDSETOPTIONS:
      return setOptions(t, target, dataAddr);
    case PTRACE_GETEVENTMSG:
      return t.mm.storeU64(dataAddr, tracee.eventMessage);
    case PTRACE_GETSIGINFO:
      if (tracee.info === null) return -EINVAL;
      tracee.info.encode(scratch.view, 0);
      return t.mm.copyOut(dataAddr, scratch.u8, 0, SIGINFO_SIZE);
    case PTRACE_SETSIGINFO:
      if (tracee.info === null) return -EINVAL;
      if (t.mm.copyIn(dataAddr, scratch.u8, 0, SIGINFO_SIZE) < 0) return -EFAULT;
      for (let i = 0; i < SIGINFO_WORDS; i++) tracee.info.words[i] = scratch.view.getInt32(i * 4, true);
      return 0;
    case PTRACE_PEEKSIGINFO:
      return peekSigInfo(t, target, addr, dataAddr);
    case PTRACE_GETSIGMASK:
      return addr !== 8 ? -EINVAL : t.mm.storeWords(dataAddr, target.signals.blockedLo, target.signals.blockedHi);
    case PTRACE_SETSIGMASK:
      if (addr !== 8) return -EINVAL;
      if (t.mm.copyIn(dataAddr, scratch.u8, 0, 8) < 0) return -EFAULT;
      setBlocked(target, scratch.view.getInt32(0, true), scratch.view.getInt32(4, true));
      return 0;
    case PTRACE_GET_SYSCALL_INFO:
      return callInfo(t, target, addr, dataAddr);
    case PTRACE_SECCOMP_GET_FILTER:
      return seccompFilter(t, target, addr, dataAddr);
    case PTRACE_SECCOMP_GET_METADATA:
      return seccompMetadata(t, target, addr, dataAddr);
    case PTRACE_GET_RSEQ_CONFIGURATION:
      return rseqConfiguration(t, target, addr, dataAddr);
    case PTRACE_SET_SYSCALL_USER_DISPATCH_CONFIG:
      return setDispatchConfig(t, target, addr, dataAddr);
    case PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG:
      return dispatchConfig(t, target, addr, dataAddr);
  }
  return -EIO;
}

function setOptions(t: Task, target: Task, options: number): number {
  const wrong = checkOptions(t, options);
  if (wrong === 0) target.tracee!.options = options | 0;
  return wrong;
}

function go(target: Task, mode: number, steps: boolean, a: SyscallArgs): number {
  if (a.addr(3) > NSIG) return -EIO;
  letGo(target, mode, steps, a.int(3));
  return 0;
}

/** PTRACE_PEEKSIGINFO: signals that wait in the tracee's own queue or its process's, oldest first; they stay there. */
function peekSigInfo(t: Task, target: Task, argsAddr: number, dataAddr: number): number {
  if (t.mm.copyIn(argsAddr, scratch.u8, 0, 16) < 0) return -EFAULT;
  // struct ptrace_peeksiginfo_args: where to start, flags, how many.
  const first = getU64(scratch.view, 0);
  const flags = scratch.view.getUint32(8, true);
  const count = scratch.view.getInt32(12, true);
  if ((flags & ~PTRACE_PEEKSIGINFO_SHARED) !== 0 || count < 0) return -EINVAL;
  const queue = (flags & PTRACE_PEEKSIGINFO_SHARED) !== 0 ? target.group.pending : target.signals.pending;
  for (let i = 0; i < count; i++) {
    const info = queue.at(first + i);
    if (info === undefined) return i;
    info.encode(scratch.view, 0);
    if (t.mm.copyOut(dataAddr + i * SIGINFO_SIZE, scratch.u8, 0, SIGINFO_SIZE) < 0) return i > 0 ? i : -EFAULT;
  }
  return count;
}

/** PTRACE_GET_SYSCALL_INFO: the size of what there is to tell, of which at most `size` bytes are copied. */
function callInfo(t: Task, target: Task, size: number, dataAddr: number): number {
  const v = scratch.view;
  const c = target.context;
  const at = target.tracee!.at;
  scratch.u8.fill(0, 0, INFO_SECCOMP + 4);
  scratch.u8[0] = at;
  v.setUint32(4, AUDIT_ARCH_X86_64, true);
  put64(v, 8, c.reg(RIP));
  put64(v, 16, c.reg(RSP));
  let length = INFO_NONE;
  if (at === AT_ENTRY || at === AT_SECCOMP) {
    v.setInt32(24, c.regLo(ORIG_RAX), true);
    v.setInt32(28, c.regHi(ORIG_RAX), true);
    for (let i = 0; i < CALL_ARGUMENTS.length; i++) {
      v.setInt32(32 + i * 8, c.regLo(CALL_ARGUMENTS[i]!), true);
      v.setInt32(36 + i * 8, c.regHi(CALL_ARGUMENTS[i]!), true);
    }
    length = at === AT_ENTRY ? INFO_ENTRY : INFO_SECCOMP;
    if (at === AT_SECCOMP) v.setUint32(80, target.tracee!.eventMessage, true);
  } else if (at === AT_EXIT) {
    const lo = c.regLo(RAX);
    const hi = c.regHi(RAX);
    v.setInt32(24, lo, true);
    v.setInt32(28, hi, true);
    scratch.u8[32] = hi === -1 && lo < 0 && lo >= -4095 ? 1 : 0;
    length = INFO_EXIT;
  }
  if (t.mm.copyOut(dataAddr, scratch.u8, 0, Math.min(size, length)) < 0) return -EFAULT;
  return length;
}

export const ptraceCalls: readonly SyscallLine[] = [
  call(SYS_ptrace, 'ptrace', 'request:int pid:pid addr:ulong data:ulong', ptrace, 'partial', 'no SINGLEBLOCK'),
];
