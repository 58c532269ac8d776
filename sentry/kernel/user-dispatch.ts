// Syscall User Dispatch: kernel/entry/syscall_user_dispatch.c. Calls from outside a range of code come
// back to the program as SIGSYS while a byte of its memory says so. Neither forks nor execs keep it.

import { RAX, RIP } from '../../platform/platform.ts';
import { EFAULT, EINVAL } from '../abi/errno.ts';
import { PR_SYS_DISPATCH_INCLUSIVE_ON, PR_SYS_DISPATCH_OFF, PR_SYS_DISPATCH_ON } from '../abi/sched.ts';
import { SIGSEGV, SIGSYS } from '../abi/signal.ts';
import { REGISTERS_SET } from '../base/errors.ts';
import { dumpCore } from './core-dump.ts';
import { SigInfo } from './signal-queue.ts';
import type { Task } from './task.ts';
import { forceSignal } from './task-signals.ts';

const AUDIT_ARCH_X86_64 = 0xc000003e;
const SYS_USER_DISPATCH = 2;
const TASK_SIZE = 0x7ffffffff000;
const FILTER_ALLOW = 0;
const FILTER_BLOCK = 1;

/** What a task has asked for. */
export interface UserDispatch {
  /** Calls from [start, end) go through; `inverted` ones from elsewhere do. */
  readonly start: number;
  readonly end: number;
  readonly inverted: boolean;
  /** Address of the byte that switches it, or 0 for always on. */
  readonly selectorAddr: number;
}

const selector = new Uint8Array(1);

/** Whether the call that the task has made goes on; if not, its signal is sent: REGISTERS_SET, or what ends the task. 0 to go on. */
export function dispatchToUser(t: Task, d: UserDispatch): number {
  const c = t.context;
  const ip = c.reg(RIP);
  if ((ip >= d.start && ip < d.end) !== d.inverted) return 0;
  if (d.selectorAddr !== 0) {
    if (t.mm.copyIn(d.selectorAddr, selector, 0, 1) < 0) return dumpCore(t, new SigInfo(SIGSEGV, 0), REGISTERS_SET);
    if (selector[0] === FILTER_ALLOW) return 0;
    if (selector[0] !== FILTER_BLOCK) return dumpCore(t, new SigInfo(SIGSYS, 0), REGISTERS_SET);
  }
  // syscall_rollback(): a handler finds the call as it was made.
  c.setReg(RAX, t.sysno);
  const info = new SigInfo(SIGSYS, SYS_USER_DISPATCH);
  info.setSys(ip, t.sysno, AUDIT_ARCH_X86_64 | 0);
  forceSignal(t, info);
  return REGISTERS_SET;
}

/** PR_SET_SYSCALL_USER_DISPATCH, for a task or by its tracer: task_set_syscall_user_dispatch(). 0, -EINVAL, -EFAULT. */
export function setUserDispatch(t: Task, mode: number, start: number, length: number, selectorAddr: number): number {
  if (mode === PR_SYS_DISPATCH_OFF) {
    if (start !== 0 || length !== 0 || selectorAddr !== 0) return -EINVAL;
    t.userDispatch = null;
    return 0;
  }
  const inverted = mode === PR_SYS_DISPATCH_INCLUSIVE_ON;
  if (mode !== PR_SYS_DISPATCH_ON && !inverted) return -EINVAL;
  const end = start + length;
  if ((inverted || start !== 0) && (length === 0 || end >= 2 ** 64)) return -EINVAL;
  if (selectorAddr >= TASK_SIZE) return -EFAULT;
  t.userDispatch = { start, end, inverted, selectorAddr };
  t.watched = true;
  return 0;
}
