// ptrace(2): requests of a tracer. What a tracee does about them is in kernel/ptrace.ts. Also
// process_vm_readv and process_vm_writev, which ask for the same rights.

import {
  CS,
  DS,
  EFLAGS,
  ES,
  FS,
  FS_BASE,
  GS,
  GS_BASE,
  ORIG_RAX,
  R8,
  R9,
  R10,
  RAX,
  RDI,
  RDX,
  RIP,
  RSI,
  RSP,
  SS,
} from '../../platform/platform.ts';
import { EFAULT, EINVAL, EIO, EPERM, ESRCH } from '../abi/errno.ts';
import { IOV_MAX } from '../abi/limits.ts';
import {
  PTRACE_ATTACH,
  PTRACE_CONT,
  PTRACE_DETACH,
  PTRACE_EVENT_STOP,
  PTRACE_GET_SYSCALL_INFO,
  PTRACE_GETEVENTMSG,
  PTRACE_GETREGS,
  PTRACE_GETREGSET,
  PTRACE_GETSIGINFO,
  PTRACE_GETSIGMASK,
  PTRACE_INTERRUPT,
  PTRACE_KILL,
  PTRACE_LISTEN,
  PTRACE_O_MASK,
  PTRACE_OLDSETOPTIONS,
  PTRACE_PEEKDATA,
  PTRACE_PEEKTEXT,
  PTRACE_PEEKUSR,
  PTRACE_POKEDATA,
  PTRACE_POKETEXT,
  PTRACE_POKEUSR,
  PTRACE_SEIZE,
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
import { SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace } from '../abi/sysno-x64.ts';
import { getU64, put64 } from '../base/int64.ts';
import { ptraceMayAccess } from '../fs/proc-access.ts';
import {
  AT_ENTRY,
  AT_EXIT,
  AT_SECCOMP,
  attach,
  checkStopped,
  detach,
  interrupt,
  letGo,
  listen,
  stopAttached,
  TRACE_CALLS,
  TRACE_EMULATE,
  TRACE_RUN,
} from '../kernel/ptrace.ts';
import { seccompData } from '../kernel/seccomp.ts';
import { SIGINFO_SIZE, SIGINFO_WORDS } from '../kernel/signal-queue.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { TASK_DEAD, type Task } from '../kernel/task.ts';
import { sendKernelSignal, setBlocked } from '../kernel/task-signals.ts';
import { scratch } from '../mm/guest-memory.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** sizeof(struct user_regs_struct). */
const REGS_SIZE = 27 * 8;
/** offsetof(struct user, u_debugreg) and its end: eight registers that are never used. */
const DEBUGREG = 848;
const USER_SIZE = 912;
const NT_PRSTATUS = 1;
const TASK_SIZE = 0x7ffffffff000;
const AUDIT_ARCH_X86_64 = 0xc000003e;
const EFLAGS_USER = 0x50dd5;
const EFLAGS_FIXED = 0x202;
const USER_CS = 0x33;
const USER_SS = 0x2b;
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
  return attach(parentTask, t, false, 0);
}

function attachTo(t: Task, target: Task, isSeized: boolean, addr: number, options: number): number {
  if (isSeized && (addr !== 0 || (options & ~PTRACE_O_MASK) !== 0)) return -EIO;
  if (target.group === t.group) return -EPERM;
  if (ptraceMayAccess(t, target, false) < 0) return -EPERM;
  const result = attach(t, target, isSeized, isSeized ? options : 0);
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
      saveRegs(target);
      return t.mm.copyOut(dataAddr, scratch.u8, 0, REGS_SIZE);
    case PTRACE_SETREGS:
      if (t.mm.copyIn(dataAddr, scratch.u8, 0, REGS_SIZE) < 0) return -EFAULT;
      return loadRegs(target, REGS_SIZE);
    case PTRACE_GETREGSET:
    case PTRACE_SETREGSET:
      return regset(t, target, request === PTRACE_GETREGSET, addr, dataAddr);
    case PTRACE_SETOPTIONS:
    case PTRACE_OLDSETOPTIONS:
      if (dataAddr > 0xffffffff || (a.int(3) & ~PTRACE_O_MASK) !== 0) return -EINVAL;
      tracee.options = a.int(3);
      return 0;
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
    case PTRACE_GETSIGMASK:
      return addr !== 8 ? -EINVAL : t.mm.storeWords(dataAddr, target.signals.blockedLo, target.signals.blockedHi);
    case PTRACE_SETSIGMASK:
      if (addr !== 8) return -EINVAL;
      if (t.mm.copyIn(dataAddr, scratch.u8, 0, 8) < 0) return -EFAULT;
      setBlocked(target, scratch.view.getInt32(0, true), scratch.view.getInt32(4, true));
      return 0;
    case PTRACE_GET_SYSCALL_INFO:
      return callInfo(t, target, addr, dataAddr);
  }
  return -EIO;
}

function go(target: Task, mode: number, steps: boolean, a: SyscallArgs): number {
  if (a.addr(3) > NSIG) return -EIO;
  letGo(target, mode, steps, a.int(3));
  return 0;
}

function saveRegs(target: Task): void {
  target.context.saveRegs(scratch.u8, 0);
}

/** Takes the first `n` bytes of scratch as registers; what the host must not see is put right or refused. */
function loadRegs(target: Task, n: number): number {
  const c = target.context;
  const v = scratch.view;
  for (let reg = 0; reg * 8 + 8 <= n; reg++) {
    const lo = v.getInt32(reg * 8, true);
    const hi = v.getInt32(reg * 8 + 4, true);
    const result = setReg(target, reg, lo, hi);
    if (result < 0) return result;
  }
  c.setReg(CS, USER_CS);
  c.setReg(SS, USER_SS);
  return 0;
}

/** putreg(). -EIO for a value that the register cannot have. */
function setReg(target: Task, reg: number, lo: number, hi: number): number {
  const c = target.context;
  const value = (lo >>> 0) + (hi >>> 0) * 4294967296;
  switch (reg) {
    case FS_BASE:
    case GS_BASE:
      if (value >= TASK_SIZE) return -EIO;
      break;
    case RIP:
      // Not canonical for the host: the guest would fault there, and so it does, at an address that is.
      if (value >= TASK_SIZE) return -EIO;
      break;
    case EFLAGS:
      c.setReg(EFLAGS, (lo & EFLAGS_USER) | EFLAGS_FIXED);
      return 0;
    case CS:
    case SS:
    case DS:
    case ES:
    case FS:
    case GS:
      return 0;
  }
  c.setRegWords(reg, lo, hi);
  return 0;
}

function peekUser(t: Task, target: Task, offset: number, dataAddr: number): number {
  if (offset % 8 !== 0 || offset >= USER_SIZE) return -EIO;
  if (offset >= REGS_SIZE) return t.mm.storeU64(dataAddr, 0);
  return t.mm.storeWords(dataAddr, target.context.regLo(offset / 8), target.context.regHi(offset / 8));
}

function pokeUser(target: Task, offset: number, a: SyscallArgs): number {
  if (offset % 8 !== 0 || offset >= USER_SIZE) return -EIO;
  if (offset < REGS_SIZE) return setReg(target, offset / 8, a.lo(3), a.hi(3));
  // No debug register is to be had; clearing one changes nothing.
  return offset >= DEBUGREG && a.addr(3) === 0 ? 0 : -EIO;
}

/** PTRACE_GETREGSET and PTRACE_SETREGSET with an iovec; general registers only. */
function regset(t: Task, target: Task, isGet: boolean, type: number, iovAddr: number): number {
  if (type !== NT_PRSTATUS) return -EINVAL;
  if (t.mm.copyIn(iovAddr, scratch.u8, 0, 16) < 0) return -EFAULT;
  const base = getU64(scratch.view, 0);
  const length = Math.min(getU64(scratch.view, 8), REGS_SIZE);
  if (length % 8 !== 0) return -EINVAL;
  if (isGet) {
    saveRegs(target);
    if (t.mm.copyOut(base, scratch.u8, 0, length) < 0) return -EFAULT;
  } else {
    if (t.mm.copyIn(base, scratch.u8, 0, length) < 0) return -EFAULT;
    const result = loadRegs(target, length);
    if (result < 0) return result;
  }
  return t.mm.storeU64(iovAddr + 8, length);
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
    if (at === AT_SECCOMP) v.setUint32(80, seccompData, true);
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

// ---- process_vm_*

interface Piece {
  addr: number;
  length: number;
}

function copyInPieces(t: Task, addr: number, count: number): Piece[] | number {
  if (count > IOV_MAX) return -EINVAL;
  if (t.mm.copyIn(addr, scratch.u8, 0, count * 16) < 0) return -EFAULT;
  const pieces: Piece[] = [];
  for (let i = 0; i < count; i++) pieces.push({ addr: getU64(scratch.view, i * 16), length: getU64(scratch.view, i * 16 + 8) });
  return pieces;
}

/** process_vm_readv(2). */
export function process_vm_readv(t: Task, a: SyscallArgs): number {
  return processVm(t, a, false);
}

/** process_vm_writev(2). */
export function process_vm_writev(t: Task, a: SyscallArgs): number {
  return processVm(t, a, true);
}

/** mm/process_vm_access.c: bytes moved until the first page that cannot be reached. */
function processVm(t: Task, a: SyscallArgs, writes: boolean): number {
  if (a.addr(5) !== 0) return -EINVAL;
  const local = copyInPieces(t, a.addr(1), a.addr(2));
  if (typeof local === 'number') return local;
  const remote = copyInPieces(t, a.addr(3), a.addr(4));
  if (typeof remote === 'number') return remote;
  const target = t.pidns.task(a.int(0));
  if (target === undefined) return -ESRCH;
  if (ptraceMayAccess(t, target, false) < 0) return -EPERM;
  const from = writes ? t.mm : target.mm;
  const to = writes ? target.mm : t.mm;
  const sources = writes ? local : remote;
  const targets = writes ? remote : local;
  let done = 0;
  let s = 0;
  let d = 0;
  let sAt = 0;
  let dAt = 0;
  while (s < sources.length && d < targets.length) {
    const n = Math.min(sources[s]!.length - sAt, targets[d]!.length - dAt, scratch.u8.length);
    if (n > 0) {
      const got = from.readSome(sources[s]!.addr + sAt, scratch.u8, 0, n);
      const put = got > 0 ? to.writeSome(targets[d]!.addr + dAt, scratch.u8, 0, got) : 0;
      done += put;
      if (put < n) return done === 0 ? -EFAULT : done;
      sAt += n;
      dAt += n;
    }
    if (sAt >= sources[s]!.length) {
      s++;
      sAt = 0;
    }
    if (dAt >= targets[d]!.length) {
      d++;
      dAt = 0;
    }
  }
  return done;
}

export const ptraceCalls: readonly SyscallLine[] = [
  call(
    SYS_ptrace,
    'ptrace',
    'request:int pid:pid addr:ulong data:ulong',
    ptrace,
    'partial',
    'no floating-point register sets, no debug registers, no PEEKSIGINFO, no SECCOMP_GET_FILTER',
  ),
  call(SYS_process_vm_readv, 'process_vm_readv', 'pid:pid lvec:addr liovcnt:ulong rvec:addr riovcnt:ulong flags:ulong', process_vm_readv),
  call(
    SYS_process_vm_writev,
    'process_vm_writev',
    'pid:pid lvec:addr liovcnt:ulong rvec:addr riovcnt:ulong flags:ulong',
    process_vm_writev,
  ),
];
