import test from 'ava';
import { R12, RAX, RDI, RDX, RIP, RSI, RSP } from '../../../platform/platform.ts';
import { EAGAIN, EINTR, EPERM, ESRCH } from '../../../sentry/abi/errno.ts';
import { RLIMIT_CORE } from '../../../sentry/abi/sched.ts';
import {
  SA_NODEFER,
  SA_ONSTACK,
  SA_RESETHAND,
  SA_RESTART,
  SA_RESTORER,
  SA_SIGINFO,
  SIG_IGN,
  SIGKILL,
  SIGSEGV,
  SIGTERM,
  SIGUSR1,
  SIGUSR2,
} from '../../../sentry/abi/signal.ts';
import {
  SYS_fork,
  SYS_getpid,
  SYS_kill,
  SYS_pause,
  SYS_rt_sigaction,
  SYS_rt_sigpending,
  SYS_rt_sigprocmask,
  SYS_rt_sigqueueinfo,
  SYS_rt_sigreturn,
  SYS_rt_sigsuspend,
  SYS_rt_sigtimedwait,
  SYS_setresuid,
  SYS_sigaltstack,
  SYS_tgkill,
  SYS_wait4,
} from '../../../sentry/abi/sysno-x64.ts';
import type { Task } from '../../../sentry/kernel/task.ts';
import { futexCalls } from '../../../sentry/syscalls/futex.ts';
import { identityCalls } from '../../../sentry/syscalls/identity.ts';
import { processCalls } from '../../../sentry/syscalls/process.ts';
import { signalCalls } from '../../../sentry/syscalls/signal.ts';
import { CODE, DATA, FakeGuest, put, TASK_BLOCKED, TASK_DEAD, TASK_GUEST } from '../../support/fake-guest.ts';

const HANDLER = CODE + 0x400;
const RESTORER = CODE + 0x800;

function guest(isInit = false): FakeGuest {
  return new FakeGuest([processCalls, signalCalls, futexCalls, identityCalls], isInit);
}

function catchSignal(g: FakeGuest, t: Task, signo: number, flags = 0, handler = HANDLER, mask = 0): void {
  put(t, DATA, handler, flags + SA_RESTORER, RESTORER, mask);
  g.sys(t, SYS_rt_sigaction, signo, DATA, 0, 8);
}

/** What the handler's `ret` and the restorer do: rsp points behind pretcode. */
function handlerReturns(g: FakeGuest, t: Task): void {
  t.context.setReg(RSP, t.context.reg(RSP) + 8);
  g.sys(t, SYS_rt_sigreturn);
}

test('a handler gets number, siginfo and ucontext, and rt_sigreturn restores every register', (t) => {
  const g = guest();
  const task = g.init;
  catchSignal(g, task, SIGUSR1, SA_SIGINFO);
  task.context.setRegWords(R12, 0x12345678, -2);
  const rsp = task.context.reg(RSP);
  const rip = task.context.reg(RIP) + 2;
  g.sys(task, SYS_kill, task.tid, SIGUSR1);
  const c = task.context;
  t.is(c.reg(RIP), HANDLER);
  t.is(c.reg(RDI), SIGUSR1);
  t.is((c.reg(RSP) + 8) % 16, 0);
  t.is(task.mm.loadU64(c.reg(RSP)), RESTORER);
  t.true(c.reg(RSP) < rsp - 128 - 836);
  t.is(task.mm.loadU32(c.reg(RSI)), SIGUSR1);
  t.is(task.mm.loadU32(c.reg(RSI) + 16), task.tid);
  // uc_mcontext.rip at 8 bytes of pretcode and 168 of ucontext.
  t.is(task.mm.loadU64(c.reg(RDX) + 40 + 16 * 8), rip);
  c.setReg(R12, 1);
  handlerReturns(g, task);
  t.is(c.reg(RIP), rip);
  t.is(c.reg(RSP), rsp);
  t.is(c.regLo(R12), 0x12345678);
  t.is(c.regHi(R12), -2);
  t.is(c.reg(RAX), 0);
});

test('the signal is blocked while its handler runs, unless SA_NODEFER', (t) => {
  const g = guest();
  catchSignal(g, g.init, SIGUSR1);
  g.sys(g.init, SYS_kill, g.init.tid, SIGUSR1);
  t.is(g.init.signals.blockedLo, 1 << (SIGUSR1 - 1));
  handlerReturns(g, g.init);
  t.is(g.init.signals.blockedLo, 0);
  catchSignal(g, g.init, SIGUSR2, SA_NODEFER + SA_RESETHAND);
  g.sys(g.init, SYS_kill, g.init.tid, SIGUSR2);
  t.is(g.init.signals.blockedLo, 0);
  t.is(g.init.group.handlers.get(SIGUSR2).handler, 0);
});

test('wait4 is made again after a handler with SA_RESTART, and answers EINTR without', (t) => {
  const g = guest();
  const task = g.init;
  const child = g.task(g.sys(task, SYS_fork));
  catchSignal(g, task, SIGUSR1, SA_RESTART);
  catchSignal(g, task, SIGUSR2);
  g.sys(task, SYS_wait4, -1, 0, 0, 0);
  t.is(task.state, TASK_BLOCKED);
  const rip = task.context.reg(RIP);
  g.sys(child, SYS_kill, task.tid, SIGUSR1);
  t.is(task.context.reg(RIP), HANDLER);
  handlerReturns(g, task);
  t.is(task.context.reg(RIP), rip - 2);
  t.is(task.context.reg(RAX), SYS_wait4);
  g.sys(task, SYS_wait4, -1, 0, 0, 0);
  g.sys(child, SYS_kill, task.tid, SIGUSR2);
  handlerReturns(g, task);
  t.is(task.context.regLo(RAX), -EINTR);
});

test('an ignored signal does not even wake a waiter', (t) => {
  const g = guest();
  const child = g.task(g.sys(g.init, SYS_fork));
  catchSignal(g, g.init, SIGTERM, 0, SIG_IGN);
  g.sys(g.init, SYS_pause);
  g.sys(child, SYS_kill, g.init.tid, SIGTERM);
  t.is(g.init.state, TASK_BLOCKED);
});

test('sigsuspend swaps the mask for the wait and restores it behind the handler', (t) => {
  const g = guest();
  const child = g.task(g.sys(g.init, SYS_fork));
  catchSignal(g, g.init, SIGUSR1);
  put(g.init, DATA, 1 << (SIGUSR1 - 1));
  g.sys(g.init, SYS_rt_sigprocmask, 0, DATA, 0, 8);
  g.sys(child, SYS_kill, g.init.tid, SIGUSR1);
  t.is(g.init.state, TASK_GUEST);
  g.sys(g.init, SYS_rt_sigpending, DATA + 64, 8);
  t.is(g.init.mm.loadU32(DATA + 64), 1 << (SIGUSR1 - 1));
  put(g.init, DATA, 0);
  g.sys(g.init, SYS_rt_sigsuspend, DATA, 8);
  t.is(g.init.context.reg(RIP), HANDLER);
  handlerReturns(g, g.init);
  t.is(g.init.context.regLo(RAX), -EINTR);
  t.is(g.init.signals.blockedLo, 1 << (SIGUSR1 - 1));
});

test('rt_sigtimedwait takes blocked signals, real-time ones in order of sending', (t) => {
  const g = guest();
  const task = g.init;
  put(task, DATA, 0, 0);
  task.mm.storeWords(DATA, 0, 1 << 2);
  g.sys(task, SYS_rt_sigprocmask, 0, DATA, 0, 8);
  const info = DATA + 256;
  for (const value of [11, 22]) {
    put(task, info, 0, 0xffffffff, task.tid, value);
    task.mm.storeU32(info + 8, 0xffffffff);
    t.is(g.sys(task, SYS_rt_sigqueueinfo, task.tid, 35, info), 0);
  }
  t.is(g.sys(task, SYS_rt_sigtimedwait, DATA, info, 0, 8), 35);
  t.is(task.mm.loadU64(info + 24), 11);
  t.is(g.sys(task, SYS_rt_sigtimedwait, DATA, info, 0, 8), 35);
  t.is(task.mm.loadU64(info + 24), 22);
  put(task, DATA + 512, 0, 0);
  t.is(g.sys(task, SYS_rt_sigtimedwait, DATA, info, DATA + 512, 8), -EAGAIN);
});

test('SA_ONSTACK puts the frame on the alternate stack', (t) => {
  const g = guest();
  put(g.init, DATA, 0x40000, 0, 0x4000);
  t.is(g.sys(g.init, SYS_sigaltstack, DATA, 0), 0);
  catchSignal(g, g.init, SIGUSR1, SA_ONSTACK);
  g.sys(g.init, SYS_kill, g.init.tid, SIGUSR1);
  const sp = g.init.context.reg(RSP);
  t.true(sp > 0x40000 && sp < 0x44000);
  t.is(g.sys(g.init, SYS_sigaltstack, DATA, 0), -EPERM);
});

test('a fault kills when its signal is blocked, and reaches a handler with its address otherwise', (t) => {
  const g = guest();
  // Without a limit of 0 the status tells of a core file.
  g.init.group.limits.soft[RLIMIT_CORE] = 1e6;
  const child = g.task(g.sys(g.init, SYS_fork));
  catchSignal(g, child, SIGSEGV, SA_SIGINFO);
  g.fault(child, SIGSEGV, 1, 0xdead000);
  t.is(child.context.reg(RIP), HANDLER);
  t.is(child.mm.loadU64(child.context.reg(RSI) + 16), 0xdead000);
  // The handler's own fault: SIGSEGV is blocked now.
  g.fault(child, SIGSEGV, 1, 0xdead000);
  t.is(child.state, TASK_DEAD);
  t.is(g.sys(g.init, SYS_wait4, child.tid, DATA, 0), child.tid);
  t.is(g.init.mm.loadU32(DATA), SIGSEGV | 0x80);
});

test('two signals at once make two frames, each of which returns into the next', (t) => {
  const g = guest();
  const task = g.init;
  catchSignal(g, task, SIGUSR1);
  catchSignal(g, task, SIGUSR2, 0, HANDLER + 0x40);
  const rip = task.context.reg(RIP) + 2;
  put(task, DATA, 2 ** (SIGUSR1 - 1) + 2 ** (SIGUSR2 - 1), 0);
  g.sys(task, SYS_rt_sigprocmask, 0, DATA, 0, 8);
  g.sys(task, SYS_kill, task.tid, SIGUSR1);
  g.sys(task, SYS_kill, task.tid, SIGUSR2);
  g.sys(task, SYS_rt_sigprocmask, 1, DATA, 0, 8);
  t.is(task.context.reg(RIP), HANDLER + 0x40);
  handlerReturns(g, task);
  t.is(task.context.reg(RIP), HANDLER);
  handlerReturns(g, task);
  t.is(task.context.reg(RIP), rip + 6);
});

test('the init of a pid namespace is immune to signals without a handler, even to SIGKILL from inside', (t) => {
  const g = guest(true);
  const child = g.task(g.sys(g.init, SYS_fork));
  t.is(g.sys(child, SYS_kill, 1, SIGTERM), 0);
  t.is(g.sys(child, SYS_kill, 1, SIGKILL), 0);
  t.is(g.init.state, TASK_GUEST);
  catchSignal(g, g.init, SIGTERM);
  g.sys(child, SYS_kill, 1, SIGTERM);
  t.is(g.init.context.reg(RIP), HANDLER);
});

test('kill needs a common user id; tgkill needs the right group', (t) => {
  const g = guest();
  const child = g.task(g.sys(g.init, SYS_fork));
  t.is(g.sys(child, SYS_setresuid, 1000, 1000, 1000), 0);
  t.is(g.sys(child, SYS_kill, g.init.tid, SIGTERM), -EPERM);
  t.is(g.sys(g.init, SYS_kill, child.tid, 0), 0);
  t.is(g.sys(g.init, SYS_kill, 12345, 0), -ESRCH);
  t.is(g.sys(g.init, SYS_tgkill, g.sys(g.init, SYS_getpid)!, child.tid, SIGTERM), -ESRCH);
});
