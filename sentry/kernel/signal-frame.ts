// Linux's signal frame on the guest's stack: arch/x86/kernel/signal_64.c. From high to low:
//
//   [ redzone 128, unless the alternate stack is entered ]
//   extended state, 64-byte aligned, written by the platform on the next resume
//   struct rt_sigframe: return address (sa_restorer), struct ucontext, siginfo; its end is 16-byte aligned minus 8
//
// Unwinders find registers by these offsets, so they are asserted.

import {
  CS,
  EFLAGS,
  ORIG_RAX,
  R8,
  R9,
  R10,
  R11,
  R12,
  R13,
  R14,
  R15,
  RAX,
  RBP,
  RBX,
  RCX,
  RDI,
  RDX,
  RIP,
  RSI,
  RSP,
  SS,
} from '../../platform/platform.ts';
import { array, i32, layout, u16, u64 } from '../abi/layout.ts';
import { SA_ONSTACK, SA_RESTORER, SS_DISABLE, SS_ONSTACK } from '../abi/signal.ts';
import { assert } from '../base/assert.ts';
import { getU64, put64 } from '../base/int64.ts';
import { Scratch } from '../mm/guest-memory.ts';
import type { SignalAction } from './signal-actions.ts';
import { SIGINFO_SIZE, type SigInfo } from './signal-queue.ts';
import type { SignalState } from './signal-state.ts';
import type { Task } from './task.ts';
import { setBlocked } from './task-signals.ts';

// arch/x86/include/uapi/asm/sigcontext.h: struct sigcontext_64.
const SIGCONTEXT = layout({
  r8: u64,
  r9: u64,
  r10: u64,
  r11: u64,
  r12: u64,
  r13: u64,
  r14: u64,
  r15: u64,
  di: u64,
  si: u64,
  bp: u64,
  bx: u64,
  dx: u64,
  ax: u64,
  cx: u64,
  sp: u64,
  ip: u64,
  flags: u64,
  cs: u16,
  gs: u16,
  fs: u16,
  ss: u16,
  err: u64,
  trapno: u64,
  oldmask: u64,
  cr2: u64,
  fpstate: u64,
  reserved: array(u64, 8),
});
assert(SIGCONTEXT.size === 256 && SIGCONTEXT.fpstate === 184);

// include/uapi/asm-generic/ucontext.h, with the 64-bit sigset that the kernel uses.
const UCONTEXT = layout({
  flags: u64,
  link: u64,
  stackSp: u64,
  stackFlags: i32,
  stackSize: u64,
  mcontext: { size: SIGCONTEXT.size, align: 8 },
  sigmask: u64,
});
assert(UCONTEXT.mcontext === 40 && UCONTEXT.sigmask === 296 && UCONTEXT.size === 304);

// arch/x86/include/asm/sigframe.h: struct rt_sigframe.
const FRAME = layout({ pretcode: u64, uc: { size: UCONTEXT.size, align: 8 }, info: { size: SIGINFO_SIZE, align: 8 } });
assert(FRAME.uc === 8 && FRAME.info === 312 && FRAME.size === 440);

const UC_FP_XSTATE = 1;
const UC_SIGCONTEXT_SS = 2;
const UC_STRICT_RESTORE_SS = 4;
const SS_AUTODISARM = -0x80000000;
const REDZONE = 128;
const MINSIGSTKSZ = 2048;

/** struct _fpstate: control words of a CPU just reset, for a frame whose extended state is the initial one. */
const FXSAVE_SIZE = 512;
const FXSAVE_MXCSR = 24;
const INITIAL_FCW = 0x37f;
const INITIAL_MXCSR = 0x1f80;

const EFLAGS_TF = 0x100;
const EFLAGS_DF = 0x400;
const EFLAGS_RF = 0x10000;
/** FIX_EFLAGS: what rt_sigreturn takes from the frame: AC OF DF TF SF ZF AF PF CF RF. */
const EFLAGS_USER = 0x50dd5;
const EFLAGS_FIXED = 0x202;

const USER_CS = 0x33;
const USER_SS = 0x2b;
const TASK_SIZE = 0x7ffffffff000;

/** General registers by their place in struct sigcontext_64, from r8 on. */
const ORDER: readonly number[] = [R8, R9, R10, R11, R12, R13, R14, R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP, EFLAGS];

const frame = new Scratch(FRAME.size);
const fp = new Scratch(FXSAVE_SIZE + 64);

/**
 * Pushes the frame for one signal and points the registers at its handler. The saved mask is what
 * rt_sigreturn puts back. False when the stack cannot take it: the caller forces SIGSEGV.
 */
export function pushSignalFrame(t: Task, info: SigInfo, action: SignalAction, maskLo: number, maskHi: number): boolean {
  const c = t.context;
  const s = t.signals;
  // x86-64 has no return path of the kernel's own: setup_rt_frame() refuses a handler without SA_RESTORER.
  if ((action.flags & SA_RESTORER) === 0) return false;
  const oldSp = c.reg(RSP);
  let sp = oldSp - REDZONE;
  let checked = onAltStack(s, oldSp);
  if ((action.flags & SA_ONSTACK) !== 0 && !checked && s.altStackSize !== 0) {
    sp = s.altStackAddr + s.altStackSize;
    checked = true;
  }
  const fpAddr = down(sp - t.kernel.platform.fpStateSize, 64);
  const addr = down(fpAddr - FRAME.size, 16) - 8;
  // An overflow of the alternate stack must not run into what lies below it.
  if (checked && !(addr >= s.altStackAddr && addr < s.altStackAddr + s.altStackSize)) return false;

  const v = frame.view;
  frame.u8.fill(0);
  put64(v, FRAME.pretcode, action.restorer);
  const uc = FRAME.uc;
  v.setInt32(uc + UCONTEXT.flags, UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS, true);
  put64(v, uc + UCONTEXT.stackSp, s.altStackAddr);
  v.setInt32(uc + UCONTEXT.stackFlags, s.altStackFlags, true);
  put64(v, uc + UCONTEXT.stackSize, s.altStackSize);
  const mc = uc + UCONTEXT.mcontext;
  for (let i = 0; i < ORDER.length; i++) {
    v.setInt32(mc + i * 8, c.regLo(ORDER[i]!), true);
    v.setInt32(mc + i * 8 + 4, c.regHi(ORDER[i]!), true);
  }
  v.setUint16(mc + SIGCONTEXT.cs, c.regLo(CS), true);
  v.setUint16(mc + SIGCONTEXT.ss, c.regLo(SS), true);
  put64(v, mc + SIGCONTEXT.err, s.errorCode);
  put64(v, mc + SIGCONTEXT.trapno, s.trapno);
  v.setInt32(mc + SIGCONTEXT.oldmask, maskLo, true);
  v.setInt32(mc + SIGCONTEXT.oldmask + 4, maskHi, true);
  put64(v, mc + SIGCONTEXT.cr2, s.faultAddr);
  put64(v, mc + SIGCONTEXT.fpstate, fpAddr);
  v.setInt32(uc + UCONTEXT.sigmask, maskLo, true);
  v.setInt32(uc + UCONTEXT.sigmask + 4, maskHi, true);
  info.encode(v, FRAME.info);
  if (t.mm.copyOut(addr, frame.u8, 0, FRAME.size) < 0) return false;
  if (!saveExtendedState(t, fpAddr)) return false;

  if ((s.altStackFlags & SS_AUTODISARM) !== 0) {
    s.altStackAddr = 0;
    s.altStackSize = 0;
    s.altStackFlags = SS_DISABLE;
  }
  c.setReg(RDI, info.signo);
  c.setReg(RSI, addr + FRAME.info);
  c.setReg(RDX, addr + FRAME.uc);
  c.setReg(RAX, 0);
  c.setReg(RIP, action.handler);
  c.setReg(RSP, addr);
  c.setReg(CS, USER_CS);
  c.setReg(SS, USER_SS);
  c.setReg(EFLAGS, c.regLo(EFLAGS) & ~(EFLAGS_DF | EFLAGS_RF | EFLAGS_TF));
  setNoCall(t);
  return true;
}

/** No call is being served any more, so nothing is restarted: orig_ax = -1. */
function setNoCall(t: Task): void {
  t.context.setRegWords(ORIG_RAX, -1, -1);
}

/**
 * The state belongs to the CPU until the resume, so the platform writes the first frame's. A
 * further frame on the same resume interrupts a handler that has not run an instruction: its state
 * is the initial one. And what rt_sigreturn was about to restore still lies in the older frame.
 */
function saveExtendedState(t: Task, to: number): boolean {
  const s = t.signals;
  const size = t.kernel.platform.fpStateSize;
  if (s.fpSaved) {
    fp.u8.fill(0);
    fp.view.setUint16(0, INITIAL_FCW, true);
    fp.view.setUint32(FXSAVE_MXCSR, INITIAL_MXCSR, true);
    return t.mm.copyOut(to, fp.u8, 0, FXSAVE_SIZE + 64) >= 0;
  }
  s.fpSaved = true;
  if (s.fpRestoreAddr !== 0) {
    const from = s.fpRestoreAddr;
    s.fpRestoreAddr = 0;
    t.context.setFpInitial();
    const copy = new Uint8Array(size);
    return t.mm.copyIn(from, copy, 0, size) >= 0 && t.mm.copyOut(to, copy, 0, size) >= 0;
  }
  // A page that cannot be written must fail here, not in the platform.
  if (t.mm.copyOut(to, zeroByte, 0, 1) < 0 || t.mm.copyOut(to + size - 1, zeroByte, 0, 1) < 0) return false;
  t.context.setFpSave(to);
  t.context.setFpInitial();
  return true;
}

const zeroByte = new Uint8Array(1);

/** rt_sigreturn(2): takes everything back from the frame that rsp points behind. False for a bad frame: SIGSEGV. */
export function popSignalFrame(t: Task): boolean {
  const c = t.context;
  const addr = c.reg(RSP) - 8;
  if (t.mm.copyIn(addr, frame.u8, 0, FRAME.size) < 0) return false;
  const v = frame.view;
  const uc = FRAME.uc;
  const mc = uc + UCONTEXT.mcontext;
  const fpAddr = getU64(v, mc + SIGCONTEXT.fpstate);
  if (fpAddr % 64 !== 0 || fpAddr > TASK_SIZE) return false;

  setBlocked(t, v.getInt32(uc + UCONTEXT.sigmask, true), v.getInt32(uc + UCONTEXT.sigmask + 4, true));
  for (let i = 0; i < ORDER.length; i++) {
    if (ORDER[i] === EFLAGS) continue;
    c.setRegWords(ORDER[i]!, v.getInt32(mc + i * 8, true), v.getInt32(mc + i * 8 + 4, true));
  }
  // The host takes these registers as they are: an instruction pointer that is not canonical, or another segment than user code's, never reaches it.
  if (getU64(v, mc + SIGCONTEXT.ip) >= TASK_SIZE) return false;
  c.setReg(CS, USER_CS);
  c.setReg(SS, USER_SS);
  c.setReg(EFLAGS, (v.getInt32(mc + SIGCONTEXT.flags, true) & EFLAGS_USER) | EFLAGS_FIXED);
  setNoCall(t);
  if (fpAddr !== 0) {
    t.context.setFpRestore(fpAddr);
    t.signals.fpRestoreAddr = fpAddr;
  }
  // restore_altstack(): errors are disregarded.
  setAltStack(
    t,
    getU64(v, uc + UCONTEXT.stackSp),
    v.getInt32(uc + UCONTEXT.stackFlags, true),
    getU64(v, uc + UCONTEXT.stackSize),
    MINSIGSTKSZ,
    c.reg(RSP),
  );
  return true;
}

/** sas_ss_flags(): whether sp lies on the alternate stack. With SS_AUTODISARM it never counts. */
export function onAltStack(s: SignalState, sp: number): boolean {
  if ((s.altStackFlags & SS_AUTODISARM) !== 0) return false;
  return s.altStackSize !== 0 && sp > s.altStackAddr && sp - s.altStackAddr <= s.altStackSize;
}

export const ALT_EPERM = -1;
export const ALT_EINVAL = -2;
export const ALT_ENOMEM = -3;

/** do_sigaltstack(), the setting half: 0, or which error it is. `sp` is the stack pointer of the caller. */
export function setAltStack(t: Task, addr: number, flags: number, size: number, min: number, sp: number): number {
  const s = t.signals;
  if (onAltStack(s, sp)) return ALT_EPERM;
  const mode = flags & ~SS_AUTODISARM;
  if (mode !== SS_DISABLE && mode !== SS_ONSTACK && mode !== 0) return ALT_EINVAL;
  if (mode === SS_DISABLE) {
    s.altStackAddr = 0;
    s.altStackSize = 0;
  } else {
    if (size < min) return ALT_ENOMEM;
    s.altStackAddr = addr;
    s.altStackSize = size;
  }
  s.altStackFlags = flags;
  return 0;
}

function down(addr: number, align: number): number {
  return addr - (addr % align);
}
