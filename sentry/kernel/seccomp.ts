// What becomes of a call that a filter of the guest's own sees: kernel/seccomp.c. Filters stack: a
// task holds a list, newest first, that clone copies.

import { RAX, RIP } from '../../platform/platform.ts';
import { PTRACE_O_SUSPEND_SECCOMP } from '../abi/ptrace.ts';
import {
  SECCOMP_MODE_DISABLED,
  SECCOMP_MODE_FILTER,
  SECCOMP_MODE_STRICT,
  SECCOMP_RET_ACTION_FULL,
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_DATA,
  SECCOMP_RET_ERRNO,
  SECCOMP_RET_KILL_PROCESS,
  SECCOMP_RET_KILL_THREAD,
  SECCOMP_RET_LOG,
  SECCOMP_RET_TRACE,
  SECCOMP_RET_TRAP,
  SECCOMP_RET_USER_NOTIF,
} from '../abi/sched.ts';
import { SIGKILL, SIGSYS } from '../abi/signal.ts';
import { SYS_exit, SYS_read, SYS_rt_sigreturn, SYS_write } from '../abi/sysno-x64.ts';
import { REGISTERS_SET } from '../base/errors.ts';
import { dumpCore } from './core-dump.ts';
import { DATA_SIZE, type SeccompFilter } from './seccomp-filter.ts';
import type { SeccompListener } from './seccomp-notify.ts';
import { SigInfo } from './signal-queue.ts';
import type { Task } from './task.ts';
import { exitThread } from './task-exit.ts';
import { forceSignal } from './task-signals.ts';

const AUDIT_ARCH_X86_64 = 0xc000003e;
const SYS_SECCOMP = 1;
const MAX_ERRNO = 4095;
/** The call goes on. */
export const SECCOMP_CONTINUES = 1;
/** SECCOMP_RET_TRACE: a tracer decides; `seccompData` is its event message. */
export const SECCOMP_TRACED = 2;
/** SECCOMP_RET_USER_NOTIF: `seccompListener` decides, if there is one. */
export const SECCOMP_NOTIFIES = 3;
/** The data part of the last verdict, whose listener, and the call it was about. */
export let seccompData = 0;
export let seccompListener: SeccompListener | null = null;
export const seccompCall: Uint32Array = new Uint32Array(DATA_SIZE / 4);

/** Before a call is dispatched: SECCOMP_CONTINUES, _TRACED, _NOTIFIES, or the call's result (an error, REGISTERS_SET, EXITED). */
export function checkSeccomp(t: Task): number {
  if (t.tracee !== null && (t.tracee.options & PTRACE_O_SUSPEND_SECCOMP) !== 0) return SECCOMP_CONTINUES;
  if (t.seccompMode === SECCOMP_MODE_STRICT) {
    const nr = t.sysno;
    if (nr === SYS_read || nr === SYS_write || nr === SYS_exit || nr === SYS_rt_sigreturn) return SECCOMP_CONTINUES;
    return exitThread(t, SIGKILL);
  }
  if (t.seccompMode !== SECCOMP_MODE_FILTER) return SECCOMP_CONTINUES;
  const data = seccompCall;
  data[0] = t.sysno;
  data[1] = AUDIT_ARCH_X86_64;
  data[2] = t.context.regLo(RIP);
  data[3] = t.context.regHi(RIP);
  for (let i = 0; i < 12; i++) data[4 + i] = t.args.words[i]!;
  let verdict = SECCOMP_RET_ALLOW;
  let match: SeccompFilter | null = null;
  // The lowest action wins as a signed number, among equals the newest filter's.
  for (const filter of t.seccompFilters) {
    const v = filter.run(data);
    if ((v & SECCOMP_RET_ACTION_FULL) >= (verdict & SECCOMP_RET_ACTION_FULL)) continue;
    verdict = v;
    match = filter;
  }
  seccompListener = match === null ? null : match.listener;
  return act(t, verdict);
}

function act(t: Task, verdict: number): number {
  const action = (verdict & SECCOMP_RET_ACTION_FULL) >>> 0;
  seccompData = verdict & SECCOMP_RET_DATA;
  switch (action) {
    case SECCOMP_RET_ALLOW:
    case SECCOMP_RET_LOG:
      return SECCOMP_CONTINUES;
    case SECCOMP_RET_ERRNO:
      return -Math.min(seccompData, MAX_ERRNO);
    case SECCOMP_RET_TRACE:
      return SECCOMP_TRACED;
    case SECCOMP_RET_USER_NOTIF:
      return SECCOMP_NOTIFIES;
    case SECCOMP_RET_TRAP:
      forceSignal(t, filterInfo(t));
      return REGISTERS_SET;
    case SECCOMP_RET_KILL_THREAD:
      if (t.group.tasks.length > 1) return exitThread(t, SIGSYS);
      return dumpCore(t, filterInfo(t), REGISTERS_SET);
    case SECCOMP_RET_KILL_PROCESS:
    default:
      return dumpCore(t, filterInfo(t), REGISTERS_SET);
  }
}

/** force_sig_seccomp(). A handler may emulate the call: it finds the number where the call left it. */
function filterInfo(t: Task): SigInfo {
  t.context.setReg(RAX, t.sysno);
  const info = new SigInfo(SIGSYS, SYS_SECCOMP);
  info.words[1] = seccompData;
  info.setSys(t.context.reg(RIP), t.sysno, AUDIT_ARCH_X86_64 | 0);
  return info;
}

/** A new task is under the filters of the one that has made it. */
export function inheritFilters(t: Task, child: Task): void {
  child.seccompMode = t.seccompMode;
  child.seccompFilters = t.seccompFilters;
  child.watched = t.seccompMode !== SECCOMP_MODE_DISABLED;
  countFilters(child.seccompFilters, 1);
}

/** The task ends: listeners hear when no task is left that could call them. seccomp_filter_release(). */
export function releaseFilters(t: Task): void {
  countFilters(t.seccompFilters, -1);
}

function countFilters(filters: readonly SeccompFilter[], change: number): void {
  for (const filter of filters) {
    const { listener } = filter;
    if (listener === null) continue;
    if (change > 0) listener.users++;
    else listener.leave();
  }
}

/** Puts a task under `filters`, newest first. */
export function installFilters(t: Task, filters: readonly SeccompFilter[]): void {
  const old = t.seccompFilters;
  t.seccompFilters = filters;
  countFilters(filters, 1);
  countFilters(old, -1);
  t.seccompMode = SECCOMP_MODE_FILTER;
  t.watched = true;
}
