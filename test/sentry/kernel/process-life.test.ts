import test from 'ava';
import { ECHILD, EINVAL, EPERM } from '../../../sentry/abi/errno.ts';
import {
  CLONE_CHILD_CLEARTID,
  CLONE_FILES,
  CLONE_FS,
  CLONE_SIGHAND,
  CLONE_THREAD,
  CLONE_VFORK,
  CLONE_VM,
  P_ALL,
  WEXITED,
  WNOHANG,
  WNOWAIT,
} from '../../../sentry/abi/sched.ts';
import { SIGCHLD, SIGCONT, SIGKILL, SIGSTOP, SIGUSR1 } from '../../../sentry/abi/signal.ts';
import {
  SYS_clone,
  SYS_exit,
  SYS_exit_group,
  SYS_fork,
  SYS_futex,
  SYS_getpgid,
  SYS_getpid,
  SYS_getppid,
  SYS_gettid,
  SYS_kill,
  SYS_pause,
  SYS_prctl,
  SYS_setpgid,
  SYS_setsid,
  SYS_vfork,
  SYS_wait4,
  SYS_waitid,
} from '../../../sentry/abi/sysno-x64.ts';
import { futexCalls } from '../../../sentry/syscalls/futex.ts';
import { identityCalls } from '../../../sentry/syscalls/identity.ts';
import { processCalls } from '../../../sentry/syscalls/process.ts';
import { signalCalls } from '../../../sentry/syscalls/signal.ts';
import { DATA, FakeGuest, put, TASK_BLOCKED, TASK_DEAD, TASK_GUEST, TASK_STOPPED } from '../../support/fake-guest.ts';

const THREAD = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD;

function guest(isInit = false): FakeGuest {
  return new FakeGuest([processCalls, signalCalls, futexCalls, identityCalls], isInit);
}

test('fork gives the child 0 and the parent its number; wait4 reaps it with its status', (t) => {
  const g = guest();
  const pid = g.sys(g.init, SYS_fork)!;
  const child = g.task(pid);
  t.is(child.context.reg(10), 0);
  t.is(g.sys(child, SYS_getppid), g.init.tid);
  t.is(g.sys(g.init, SYS_wait4, -1, DATA, WNOHANG), 0);
  g.sys(child, SYS_exit_group, 3);
  t.is(child.state, TASK_DEAD);
  t.is(g.sys(g.init, SYS_wait4, -1, DATA, 0), pid);
  t.is(g.init.mm.loadU32(DATA), 3 << 8);
  t.is(g.sys(g.init, SYS_wait4, -1, DATA, 0), -ECHILD);
  t.is(g.kernel.tasks.size, 1);
});

test('a parent parked in wait4 is woken by the end of its child', (t) => {
  const g = guest();
  const child = g.task(g.sys(g.init, SYS_fork));
  t.is(g.sys(g.init, SYS_wait4, child.tid, 0, 0), undefined);
  t.is(g.init.state, TASK_BLOCKED);
  g.sys(child, SYS_exit, 0);
  t.is(g.init.state, TASK_GUEST);
  t.is(g.init.context.reg(10), child.tid);
});

test('vfork parks the parent until the child exits', (t) => {
  const g = guest();
  t.is(g.sys(g.init, SYS_vfork), undefined);
  const child = [...g.kernel.tasks.values()].find((task) => task !== g.init)!;
  t.is(child.mm, g.init.mm);
  g.sys(child, SYS_exit_group, 0);
  t.is(g.init.state, TASK_GUEST);
  t.is(g.init.context.reg(10), child.tid);
});

test('a thread is in the group, and CLONE_CHILD_CLEARTID clears its word and wakes the joiner', (t) => {
  const g = guest();
  const tid = g.sys(g.init, SYS_clone, THREAD | CLONE_CHILD_CLEARTID, 0x50000, 0, DATA, 0)!;
  const thread = g.task(tid);
  t.is(g.sys(thread, SYS_getpid), g.init.tid);
  t.is(g.sys(thread, SYS_gettid), tid);
  put(g.init, DATA, tid);
  t.is(g.sys(g.init, SYS_futex, DATA, 0, tid, 0), undefined);
  g.sys(thread, SYS_exit, 0);
  t.is(g.init.state, TASK_GUEST);
  t.is(g.init.mm.loadU32(DATA), 0);
  t.false(g.kernel.tasks.has(tid));
});

test('exit_group ends threads that wait and threads in guest code', (t) => {
  const g = guest();
  const pid = g.sys(g.init, SYS_fork)!;
  const leader = g.task(pid);
  const waiting = g.task(g.sys(leader, SYS_clone, THREAD, 0x50000));
  const running = g.task(g.sys(leader, SYS_clone, THREAD, 0x50000));
  g.sys(waiting, SYS_pause);
  g.sys(leader, SYS_exit_group, 7);
  t.is(waiting.state, TASK_DEAD);
  t.is(running.state, TASK_DEAD);
  t.is(g.sys(g.init, SYS_wait4, pid, DATA, 0), pid);
  t.is(g.init.mm.loadU32(DATA), 7 << 8);
});

test('a dead leader is not waited for before its last thread has ended', (t) => {
  const g = guest();
  const pid = g.sys(g.init, SYS_fork)!;
  const leader = g.task(pid);
  const thread = g.task(g.sys(leader, SYS_clone, THREAD, 0x50000));
  g.sys(leader, SYS_exit, 1);
  t.is(g.sys(g.init, SYS_wait4, pid, DATA, WNOHANG), 0);
  g.sys(thread, SYS_exit, 2);
  t.is(g.sys(g.init, SYS_wait4, pid, DATA, WNOHANG), pid);
});

test('clone refuses combinations that make no sense', (t) => {
  const g = guest();
  t.is(g.sys(g.init, SYS_clone, CLONE_THREAD), -EINVAL);
  t.is(g.sys(g.init, SYS_clone, CLONE_SIGHAND), -EINVAL);
  t.is(g.sys(g.init, SYS_clone, CLONE_VFORK | CLONE_THREAD | CLONE_VM), -EINVAL);
});

test('an orphan goes to the nearest subreaper, else to init', (t) => {
  const g = guest(true);
  const reaper = g.task(g.sys(g.init, SYS_fork));
  t.is(g.sys(reaper, SYS_prctl, 36, 1), 0);
  const middle = g.task(g.sys(reaper, SYS_fork));
  const orphan = g.task(g.sys(middle, SYS_fork));
  g.sys(middle, SYS_exit_group, 0);
  t.is(g.sys(orphan, SYS_getppid), reaper.tid);
  g.sys(reaper, SYS_exit_group, 0);
  t.is(g.sys(orphan, SYS_getppid), 1);
});

test("the death of a pid namespace's init kills everybody in it, and is told last", (t) => {
  const g = guest(true);
  const child = g.task(g.sys(g.init, SYS_fork));
  const grandchild = g.task(g.sys(child, SYS_fork));
  g.sys(grandchild, SYS_pause);
  let status = -1;
  let left = -1;
  g.kernel.onInitExit = (_group, s) => {
    status = s;
    left = g.kernel.tasks.size;
  };
  g.sys(g.init, SYS_exit_group, 9);
  t.is(status, 9 << 8);
  t.is(left, 0);
  t.is(child.state, TASK_DEAD);
  t.is(grandchild.state, TASK_DEAD);
});

test('waitid with WNOWAIT leaves the zombie, and tells CLD_KILLED', (t) => {
  const g = guest();
  const pid = g.sys(g.init, SYS_fork)!;
  g.sys(g.init, SYS_kill, pid, SIGKILL);
  t.is(g.sys(g.init, SYS_waitid, P_ALL, 0, DATA, WEXITED | WNOWAIT, 0), 0);
  t.is(g.init.mm.loadU32(DATA), SIGCHLD);
  t.is(g.init.mm.loadU32(DATA + 8), 2);
  t.is(g.init.mm.loadU32(DATA + 16), pid);
  t.is(g.init.mm.loadU32(DATA + 24), SIGKILL);
  t.is(g.sys(g.init, SYS_wait4, pid, 0, 0), pid);
});

test('SIGSTOP stops a child, its parent sees it once, SIGCONT continues it', (t) => {
  const g = guest();
  const pid = g.sys(g.init, SYS_fork)!;
  const child = g.task(pid);
  g.sys(g.init, SYS_kill, pid, SIGSTOP);
  t.is(child.state, TASK_STOPPED);
  t.is(g.sys(g.init, SYS_wait4, pid, DATA, 2), pid);
  t.is(g.init.mm.loadU32(DATA), (SIGSTOP << 8) | 0x7f);
  t.is(g.sys(g.init, SYS_wait4, pid, DATA, 2 | WNOHANG), 0);
  g.sys(g.init, SYS_kill, pid, SIGUSR1);
  t.is(child.state, TASK_STOPPED);
  g.sys(g.init, SYS_kill, pid, SIGCONT);
  t.is(child.state, TASK_DEAD, 'the pending SIGUSR1 kills it once it goes on');
});

test('process groups: setpgid and setsid follow the session rules', (t) => {
  const g = guest();
  const child = g.task(g.sys(g.init, SYS_fork));
  t.is(g.sys(g.init, SYS_setpgid, child.tid, child.tid), 0);
  t.is(g.sys(g.init, SYS_getpgid, child.tid), child.tid);
  t.is(g.sys(child, SYS_setsid), -EPERM);
  const grandchild = g.task(g.sys(child, SYS_fork));
  t.is(g.sys(grandchild, SYS_getpgid, 0), child.tid);
  t.is(g.sys(grandchild, SYS_setsid), grandchild.tid);
  t.is(g.sys(child, SYS_setpgid, grandchild.tid, 0), -EPERM);
});
