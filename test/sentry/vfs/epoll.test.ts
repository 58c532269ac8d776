import test from 'ava';
import { EEXIST, EINVAL, ELOOP, ENOENT, EPERM } from '../../../sentry/abi/errno.ts';
import { O_CREAT, O_RDWR } from '../../../sentry/abi/fcntl.ts';
import {
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLET,
  EPOLLEXCLUSIVE,
  EPOLLIN,
  EPOLLONESHOT,
  EPOLLOUT,
} from '../../../sentry/abi/poll.ts';
import {
  SYS_close,
  SYS_dup,
  SYS_epoll_create1,
  SYS_epoll_ctl,
  SYS_epoll_wait,
  SYS_eventfd2,
  SYS_fork,
  SYS_open,
  SYS_read,
  SYS_write,
} from '../../../sentry/abi/sysno-x64.ts';
import type { Task } from '../../../sentry/kernel/task.ts';
import { epollCalls } from '../../../sentry/syscalls/epoll.ts';
import { eventFdCalls } from '../../../sentry/syscalls/event-fd.ts';
import { fsFdCalls } from '../../../sentry/syscalls/fs-fd.ts';
import { fsOpenCalls } from '../../../sentry/syscalls/fs-open.ts';
import { fsReadWriteCalls } from '../../../sentry/syscalls/fs-read-write.ts';
import { processCalls } from '../../../sentry/syscalls/process.ts';
import { DATA, FakeGuest, put, rax, TASK_BLOCKED } from '../../support/fake-guest.ts';

const EVENT = DATA;
const EVENTS = DATA + 0x100;
const WORD = DATA + 0x400;

function setup(): { g: FakeGuest; t: Task; ep: number; ev: number } {
  const g = new FakeGuest([epollCalls, eventFdCalls, fsOpenCalls, fsReadWriteCalls, fsFdCalls, processCalls], false);
  const t = g.init;
  put(t, WORD, 1);
  return { g, t, ep: g.sys(t, SYS_epoll_create1, 0)!, ev: g.sys(t, SYS_eventfd2, 0, 0)! };
}

function ctl(g: FakeGuest, t: Task, ep: number, op: number, fd: number, events: number): number | undefined {
  t.mm.storeU32(EVENT, events >>> 0);
  t.mm.storeU64(EVENT + 4, fd * 1000);
  return g.sys(t, SYS_epoll_ctl, ep, op, fd, EVENT);
}

test('a level-triggered file is reported as long as it is ready, with the data it was added with', (t) => {
  const { g, t: task, ep, ev } = setup();
  t.is(ctl(g, task, ep, EPOLL_CTL_ADD, ev, EPOLLIN), 0);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 0);
  g.sys(task, SYS_write, ev, WORD, 8);
  for (let i = 0; i < 2; i++) {
    t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 1);
    t.is(task.mm.loadU32(EVENTS), EPOLLIN);
    t.is(task.mm.loadU64(EVENTS + 4), ev * 1000);
  }
  g.sys(task, SYS_read, ev, EVENTS, 8);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 0);
});

test('an edge-triggered file is reported once per event, a one-shot one until it is modified', (t) => {
  const { g, t: task, ep, ev } = setup();
  ctl(g, task, ep, EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLET);
  g.sys(task, SYS_write, ev, WORD, 8);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 1);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 0);
  g.sys(task, SYS_write, ev, WORD, 8);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 1);
  t.is(ctl(g, task, ep, EPOLL_CTL_MOD, ev, EPOLLIN | EPOLLONESHOT), 0);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 1);
  g.sys(task, SYS_write, ev, WORD, 8);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 0);
  ctl(g, task, ep, EPOLL_CTL_MOD, ev, EPOLLIN);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 1);
});

test('epoll_wait sleeps until a watched epoll, nested in another, has an event', (t) => {
  const { g, t: task, ep, ev } = setup();
  const inner = g.sys(task, SYS_epoll_create1, 0)!;
  ctl(g, task, inner, EPOLL_CTL_ADD, ev, EPOLLIN);
  ctl(g, task, ep, EPOLL_CTL_ADD, inner, EPOLLIN);
  const writer = g.task(g.sys(task, SYS_fork));
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, -1), undefined);
  t.is(task.state, TASK_BLOCKED);
  g.sys(writer, SYS_write, ev, put(writer, WORD, 1), 8);
  t.is(rax(task), 1);
  t.is(task.mm.loadU64(EVENTS + 4), inner * 1000);
});

test('a watch ends when the last descriptor of the file is closed, not before', (t) => {
  const { g, t: task, ep, ev } = setup();
  ctl(g, task, ep, EPOLL_CTL_ADD, ev, EPOLLOUT);
  const copy = g.sys(task, SYS_dup, ev)!;
  g.sys(task, SYS_close, ev);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 1);
  g.sys(task, SYS_close, copy);
  t.is(g.sys(task, SYS_epoll_wait, ep, EVENTS, 8, 0), 0);
});

test('epoll_ctl refuses what Linux refuses', (t) => {
  const { g, t: task, ep, ev } = setup();
  const other = g.sys(task, SYS_epoll_create1, 0)!;
  t.is(ctl(g, task, ep, EPOLL_CTL_MOD, ev, EPOLLIN), -ENOENT);
  t.is(ctl(g, task, ep, EPOLL_CTL_DEL, ev, 0), -ENOENT);
  t.is(ctl(g, task, ep, EPOLL_CTL_ADD, ev, EPOLLIN), 0);
  t.is(ctl(g, task, ep, EPOLL_CTL_ADD, ev, EPOLLIN), -EEXIST);
  t.is(ctl(g, task, ep, EPOLL_CTL_ADD, ep, EPOLLIN), -EINVAL);
  t.is(ctl(g, task, ep, EPOLL_CTL_ADD, other, EPOLLIN | EPOLLEXCLUSIVE), -EINVAL);
  t.is(ctl(g, task, ep, EPOLL_CTL_ADD, other, EPOLLIN), 0);
  t.is(ctl(g, task, other, EPOLL_CTL_ADD, ep, EPOLLIN), -ELOOP);
  task.mm.copyOut(WORD, Buffer.from('/f\0'), 0, 3);
  const file = g.sys(task, SYS_open, WORD, O_CREAT | O_RDWR, 0o600)!;
  t.is(ctl(g, task, ep, EPOLL_CTL_ADD, file, EPOLLIN), -EPERM);
});
