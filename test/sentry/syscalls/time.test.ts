import test from 'ava';
import { EAGAIN, EINVAL, EOPNOTSUPP, EPERM } from '../../../sentry/abi/errno.ts';
import { POLLIN } from '../../../sentry/abi/poll.ts';
import { SA_RESTORER, SIGALRM, SIGUSR1 } from '../../../sentry/abi/signal.ts';
import {
  SYS_alarm,
  SYS_clock_gettime,
  SYS_clock_nanosleep,
  SYS_clock_settime,
  SYS_eventfd2,
  SYS_fork,
  SYS_getitimer,
  SYS_kill,
  SYS_nanosleep,
  SYS_poll,
  SYS_read,
  SYS_rt_sigaction,
  SYS_rt_sigpending,
  SYS_rt_sigprocmask,
  SYS_rt_sigtimedwait,
  SYS_select,
  SYS_setitimer,
  SYS_timer_create,
  SYS_timer_getoverrun,
  SYS_timer_settime,
  SYS_timerfd_create,
  SYS_timerfd_settime,
} from '../../../sentry/abi/sysno-x64.ts';
import { CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_THREAD_CPUTIME_ID, TIMER_ABSTIME } from '../../../sentry/abi/time.ts';
import type { Task } from '../../../sentry/kernel/task.ts';
import { eventFdCalls } from '../../../sentry/syscalls/event-fd.ts';
import { fsReadWriteCalls } from '../../../sentry/syscalls/fs-read-write.ts';
import { pollCalls } from '../../../sentry/syscalls/poll.ts';
import { processCalls } from '../../../sentry/syscalls/process.ts';
import { signalCalls } from '../../../sentry/syscalls/signal.ts';
import { timeCalls } from '../../../sentry/syscalls/time.ts';
import { CODE, DATA, FakeGuest, put, rax, TASK_BLOCKED } from '../../support/fake-guest.ts';

const SPEC = DATA;
const LEFT = DATA + 0x40;
const BUF = DATA + 0x100;
const SECOND = 1e9;

function setup(): { g: FakeGuest; t: Task } {
  const g = new FakeGuest([timeCalls, eventFdCalls, fsReadWriteCalls, pollCalls, processCalls, signalCalls], false);
  return { g, t: g.init };
}

function handle(g: FakeGuest, t: Task, signo: number): void {
  put(t, BUF, CODE, SA_RESTORER, CODE, 0);
  g.sys(t, SYS_rt_sigaction, signo, BUF, 0, 8);
}

function now(g: FakeGuest): number {
  return g.kernel.clock.monotonicNs();
}

test('nanosleep ends at its deadline, and a handler interrupts it with the rest of the time', (t) => {
  const { g, t: task } = setup();
  put(task, SPEC, 5, 0);
  t.is(g.sys(task, SYS_nanosleep, SPEC, LEFT), undefined);
  g.expire(now(g) + 4 * SECOND);
  t.is(task.state, TASK_BLOCKED);
  g.expire(now(g) + 6 * SECOND);
  t.is(rax(task), 0);

  handle(g, task, SIGUSR1);
  const killer = g.task(g.sys(task, SYS_fork));
  g.sys(task, SYS_nanosleep, SPEC, LEFT);
  g.sys(killer, SYS_kill, task.tid, SIGUSR1);
  t.is(task.mm.loadU64(LEFT), 4);
  put(task, SPEC, 1, SECOND);
  t.is(g.sys(killer, SYS_nanosleep, put(killer, SPEC, 1, SECOND), 0), -EINVAL);
});

test('a sleep until a time that has passed returns at once, and the own CPU clock is refused', (t) => {
  const { g, t: task } = setup();
  put(task, SPEC, 1, 0);
  t.is(g.sys(task, SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, SPEC, 0), 0);
  t.is(g.sys(task, SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, SPEC, 0), -EOPNOTSUPP);
  t.is(g.sys(task, SYS_clock_nanosleep, 77, 0, SPEC, 0), -EINVAL);
  t.is(g.sys(task, SYS_clock_gettime, CLOCK_MONOTONIC, SPEC), 0);
  t.is(g.sys(task, SYS_clock_settime, CLOCK_REALTIME, SPEC), -EPERM);
  t.is(g.sys(task, SYS_clock_settime, CLOCK_MONOTONIC, SPEC), -EINVAL);
});

test('alarm sends SIGALRM and tells what was left; an interval timer goes on', (t) => {
  const { g, t: task } = setup();
  put(task, BUF, 0x2000, 0);
  g.sys(task, SYS_rt_sigprocmask, 0, BUF, 0, 8);
  t.is(g.sys(task, SYS_alarm, 10), 0);
  t.is(g.sys(task, SYS_alarm, 3), 10);
  g.expire(now(g) + 2 * SECOND);
  g.sys(task, SYS_rt_sigpending, BUF, 8);
  t.is(task.mm.loadU64(BUF), 0);
  g.expire(now(g) + 4 * SECOND);
  g.sys(task, SYS_rt_sigpending, BUF, 8);
  t.is(task.mm.loadU64(BUF), 2 ** (SIGALRM - 1));

  put(task, SPEC, 7, 0, 20, 0);
  t.is(g.sys(task, SYS_setitimer, 0, SPEC, 0), 0);
  t.is(g.sys(task, SYS_getitimer, 0, LEFT), 0);
  t.is(task.mm.loadU64(LEFT), 7);
  t.is(task.mm.loadU64(LEFT + 16), 19);
});

test('poll gives up at its timeout and writes nothing ready; select tells the time that is left', (t) => {
  const { g, t: task } = setup();
  const ev = g.sys(task, SYS_eventfd2, 0, 0)!;
  task.mm.storeU32(BUF, ev);
  task.mm.storeU32(BUF + 4, POLLIN);
  t.is(g.sys(task, SYS_poll, BUF, 1, 1000), undefined);
  g.expire(now(g) + 2 * SECOND);
  t.is(rax(task), 0);

  put(task, SPEC, 3, 0);
  put(task, BUF, 2 ** ev);
  t.is(g.sys(task, SYS_select, ev + 1, BUF, 0, 0, SPEC), undefined);
  g.expire(now(g) + 4 * SECOND);
  t.is(rax(task), 0);
  t.is(task.mm.loadU64(BUF), 0);
});

test('a handler interrupts a poll', (t) => {
  const { g, t: task } = setup();
  handle(g, task, SIGUSR1);
  const killer = g.task(g.sys(task, SYS_fork));
  g.sys(task, SYS_poll, 0, 0, 60000);
  t.is(task.state, TASK_BLOCKED);
  g.sys(killer, SYS_kill, task.tid, SIGUSR1);
  t.not(task.state, TASK_BLOCKED);
});

test('a periodic timerfd counts its expiries until it is read', (t) => {
  const { g, t: task } = setup();
  const fd = g.sys(task, SYS_timerfd_create, CLOCK_MONOTONIC, 0o4000)!;
  t.is(g.sys(task, SYS_read, fd, BUF, 8), -EAGAIN);
  put(task, SPEC, 0, 1, 0, 1);
  t.is(g.sys(task, SYS_timerfd_settime, fd, 0, SPEC, 0), 0);
  g.expire(now(g) + SECOND);
  t.is(g.sys(task, SYS_read, fd, BUF, 8), 8);
  t.true(task.mm.loadU64(BUF) > 1);
  t.is(g.sys(task, SYS_read, fd, BUF, 4), -EINVAL);
});

test('a POSIX timer queues one signal and counts the rest as overrun', (t) => {
  const { g, t: task } = setup();
  const set = 2 ** (SIGUSR1 - 1);
  put(task, BUF, set);
  g.sys(task, SYS_rt_sigprocmask, 0, BUF, 0, 8);
  put(task, BUF, 42, SIGUSR1);
  t.is(g.sys(task, SYS_timer_create, CLOCK_MONOTONIC, BUF, LEFT), 0);
  const id = task.mm.loadU32(LEFT);
  put(task, SPEC, 0, 1000, 0, 1000);
  t.is(g.sys(task, SYS_timer_settime, id, 0, SPEC, 0), 0);
  g.expire(now(g) + SECOND);
  g.sys(task, SYS_rt_sigpending, BUF, 8);
  t.is(task.mm.loadU64(BUF), set);
  put(task, BUF, set);
  t.is(g.sys(task, SYS_rt_sigtimedwait, BUF, BUF + 64, 0, 8), SIGUSR1);
  t.is(task.mm.loadU32(BUF + 64 + 24), 42);
  t.true(g.sys(task, SYS_timer_getoverrun, id)! > 0);
});
