// The registers of a stopped tracee as ptrace(2) shows them: arch/x86/kernel/ptrace.c. General ones
// lie in its context; the extended state is the platform's to fetch.

import { CS, DS, EFLAGS, ES, FS, FS_BASE, GS, GS_BASE, RIP, SS } from '../../platform/platform.ts';
import { NT_PRFPREG, NT_PRSTATUS, NT_X86_XSTATE } from '../abi/elf.ts';
import { EFAULT, EINVAL, EIO, EPERM } from '../abi/errno.ts';
import { ARCH_GET_FS, ARCH_GET_GS, ARCH_SET_FS, ARCH_SET_GS } from '../abi/sched.ts';
import { getU64 } from '../base/int64.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';

/** sizeof(struct user_regs_struct). */
const REGS_SIZE = 27 * 8;
/** offsetof(struct user, u_debugreg) and its end: eight registers of the stub's thread. */
const DEBUGREG = 848;
const USER_SIZE = 912;
const TASK_SIZE = 0x7ffffffff000;
const EFLAGS_USER = 0x50dd5;
const EFLAGS_FIXED = 0x202;
const USER_CS = 0x33;
const USER_SS = 0x2b;
/** sizeof(struct user_fpregs_struct), the start of the XSAVE layout. */
const FPREGS_SIZE = 512;
const XSTATE_HEADER = 512;
/** XFEATURE_MASK_FPSSE. */
const FP_AND_SSE = 3;
/** Words of fxregs that belong to software. */
const SOFTWARE_WORDS = 464;
const MXCSR = 24;

/** The extended state, between platform and guest; no CPU has more of it. */
const xstate = new Uint8Array(16384);

/** Copies all registers to scratch. */
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

/** PTRACE_PEEKUSR. */
export function peekUser(t: Task, target: Task, offset: number, dataAddr: number): number {
  if (offset % 8 !== 0 || offset >= USER_SIZE) return -EIO;
  if (offset >= DEBUGREG) {
    const value = t.kernel.platform.readDebug(target.context, (offset - DEBUGREG) / 8);
    return value < 0 ? value : t.mm.storeU64(dataAddr, value);
  }
  if (offset >= REGS_SIZE) return t.mm.storeU64(dataAddr, 0);
  return t.mm.storeWords(dataAddr, target.context.regLo(offset / 8), target.context.regHi(offset / 8));
}

/** PTRACE_POKEUSR. */
export function pokeUser(target: Task, offset: number, a: SyscallArgs): number {
  if (offset % 8 !== 0 || offset >= USER_SIZE) return -EIO;
  if (offset < REGS_SIZE) return setReg(target, offset / 8, a.lo(3), a.hi(3));
  if (offset < DEBUGREG) return -EIO;
  // The host refuses what no user may watch; what a double cannot hold is not an address of one.
  const value = a.addr(3);
  return value > Number.MAX_SAFE_INTEGER ? -EINVAL : target.kernel.platform.writeDebug(target.context, (offset - DEBUGREG) / 8, value);
}

/** PTRACE_GETREGS, PTRACE_GETFPREGS. */
export function getRegs(t: Task, target: Task, type: number, dataAddr: number): number {
  const size = readSet(target, type);
  return size < 0 ? size : t.mm.copyOut(dataAddr, scratch.u8, 0, size);
}

/** PTRACE_SETREGS, PTRACE_SETFPREGS. */
export function setRegs(t: Task, target: Task, type: number, dataAddr: number): number {
  const size = type === NT_PRSTATUS ? REGS_SIZE : FPREGS_SIZE;
  if (t.mm.copyIn(dataAddr, scratch.u8, 0, size) < 0) return -EFAULT;
  return loadSet(target, type, size);
}

/** PTRACE_GETREGSET and PTRACE_SETREGSET: an iovec, whose length becomes that of what was moved. ptrace_regset(). */
export function regset(t: Task, target: Task, isGet: boolean, type: number, iovAddr: number): number {
  if (type !== NT_PRSTATUS && type !== NT_PRFPREG && type !== NT_X86_XSTATE) return -EINVAL;
  if (t.mm.copyIn(iovAddr, scratch.u8, 0, 16) < 0) return -EFAULT;
  const base = getU64(scratch.view, 0);
  const wanted = getU64(scratch.view, 8);
  if (wanted % 8 !== 0) return -EINVAL;
  const size = readSet(target, type);
  if (size < 0) return size;
  const length = Math.min(wanted, size);
  if (isGet) {
    if (t.mm.copyOut(base, scratch.u8, 0, length) < 0) return -EFAULT;
  } else {
    if (t.mm.copyIn(base, scratch.u8, 0, length) < 0) return -EFAULT;
    const result = loadSet(target, type, length);
    if (result < 0) return result;
  }
  return t.mm.storeU64(iovAddr + 8, length);
}

/** Puts a register set into scratch: its bytes, or -errno. */
function readSet(target: Task, type: number): number {
  if (type === NT_PRSTATUS) {
    saveRegs(target);
    return REGS_SIZE;
  }
  const size = target.kernel.platform.readXstate(target.context, xstate);
  if (size < 0) return -EIO;
  const n = type === NT_PRFPREG ? FPREGS_SIZE : size;
  scratch.u8.set(n === xstate.length ? xstate : xstate.subarray(0, n));
  if (type === NT_PRFPREG) scratch.u8.fill(0, SOFTWARE_WORDS, FPREGS_SIZE);
  return n;
}

/** Takes the first `n` bytes of scratch as that register set. */
function loadSet(target: Task, type: number, n: number): number {
  if (type === NT_PRSTATUS) return loadRegs(target, n);
  const { platform } = target.kernel;
  const size = platform.readXstate(target.context, xstate);
  if (size < 0) return -EIO;
  // xstateregs_set(): "A whole standard-format XSAVE buffer is needed".
  if (type === NT_X86_XSTATE) return n !== size ? -EFAULT : platform.writeXstate(target.context, scratch.u8, n);
  if (n !== FPREGS_SIZE) return -EINVAL;
  if (scratch.view.getUint16(MXCSR + 2, true) !== 0) return -EINVAL;
  xstate.set(scratch.u8.subarray(0, SOFTWARE_WORDS));
  if (size > XSTATE_HEADER) xstate[XSTATE_HEADER]! |= FP_AND_SSE;
  return platform.writeXstate(target.context, xstate, size);
}

/** PTRACE_ARCH_PRCTL: arch_prctl(2) for the tracee, with the argument before the code. */
export function archPrctl(t: Task, target: Task, value: number, code: number): number {
  const c = target.context;
  switch (code) {
    case ARCH_SET_FS:
    case ARCH_SET_GS:
      if (value >= TASK_SIZE) return -EPERM;
      c.setReg(code === ARCH_SET_FS ? FS_BASE : GS_BASE, value);
      return 0;
    case ARCH_GET_FS:
      return t.mm.storeU64(value, c.reg(FS_BASE));
    case ARCH_GET_GS:
      return t.mm.storeU64(value, c.reg(GS_BASE));
  }
  return -EINVAL;
}
