import test from 'ava';
import { EAGAIN, EBUSY } from '../../../sentry/abi/errno.ts';
import { F_GETPIPE_SZ, F_SETPIPE_SZ, O_DIRECT, O_NONBLOCK } from '../../../sentry/abi/fcntl.ts';
import { FIONREAD } from '../../../sentry/abi/ioctl.ts';
import { POLLHUP, POLLIN } from '../../../sentry/abi/poll.ts';
import {
  SYS_close,
  SYS_fcntl,
  SYS_fork,
  SYS_ioctl,
  SYS_pipe2,
  SYS_poll,
  SYS_read,
  SYS_splice,
  SYS_tee,
  SYS_write,
} from '../../../sentry/abi/sysno-x64.ts';
import type { Task } from '../../../sentry/kernel/task.ts';
import { fsFdCalls } from '../../../sentry/syscalls/fs-fd.ts';
import { fsOpenCalls } from '../../../sentry/syscalls/fs-open.ts';
import { fsReadWriteCalls } from '../../../sentry/syscalls/fs-read-write.ts';
import { fsSpliceCalls } from '../../../sentry/syscalls/fs-splice.ts';
import { pollCalls } from '../../../sentry/syscalls/poll.ts';
import { processCalls } from '../../../sentry/syscalls/process.ts';
import { signalCalls } from '../../../sentry/syscalls/signal.ts';
import { DATA, FakeGuest, rax, TASK_BLOCKED, TASK_DEAD } from '../../support/fake-guest.ts';

const FDS = DATA;
const BUF = DATA + 0x100;

function setup(flags = 0): { g: FakeGuest; t: Task; r: number; w: number } {
  const g = new FakeGuest([fsOpenCalls, fsReadWriteCalls, fsFdCalls, fsSpliceCalls, pollCalls, processCalls, signalCalls], false);
  const t = g.init;
  g.sys(t, SYS_pipe2, FDS, flags);
  return { g, t, r: t.mm.loadU32(FDS), w: t.mm.loadU32(FDS + 4) };
}

function putText(t: Task, addr: number, text: string): number {
  t.mm.copyOut(addr, Buffer.from(text, 'latin1'), 0, text.length);
  return text.length;
}

function text(t: Task, addr: number, n: number): string {
  const bytes = Buffer.alloc(n);
  t.mm.copyIn(addr, bytes, 0, n);
  return bytes.toString('latin1');
}

test('read on an empty pipe blocks, then returns what a writer put there', (t) => {
  const { g, t: task, r, w } = setup();
  const writer = g.task(g.sys(task, SYS_fork));
  t.is(g.sys(task, SYS_read, r, BUF, 16), undefined);
  t.is(task.state, TASK_BLOCKED);
  putText(writer, BUF, 'hello');
  t.is(g.sys(writer, SYS_write, w, BUF, 5), 5);
  t.is(rax(task), 5);
  t.is(text(task, BUF, 5), 'hello');
});

test('a pipe takes 65536 single bytes, and has room again only after a whole page was read', (t) => {
  const { g, t: task, r, w } = setup(O_NONBLOCK);
  for (let i = 0; i < 65536; i++) g.sys(task, SYS_write, w, BUF, 1);
  t.is(g.sys(task, SYS_write, w, BUF, 1), -EAGAIN);
  t.is(g.sys(task, SYS_read, r, BUF, 4095), 4095);
  t.is(g.sys(task, SYS_write, w, BUF, 1), -EAGAIN);
  t.is(g.sys(task, SYS_read, r, BUF, 1), 1);
  t.is(g.sys(task, SYS_write, w, BUF, 1), 1);
  g.sys(task, SYS_ioctl, r, FIONREAD, BUF);
  t.is(task.mm.loadU32(BUF), 65536 - 4096 + 1);
});

test('packets keep their borders, and what a reader has no room for is dropped', (t) => {
  const { g, t: task, r, w } = setup(O_DIRECT);
  putText(task, BUF, 'onetwo');
  g.sys(task, SYS_write, w, BUF, 3);
  g.sys(task, SYS_write, w, BUF + 3, 3);
  t.is(g.sys(task, SYS_read, r, BUF + 16, 2), 2);
  t.is(g.sys(task, SYS_read, r, BUF + 16, 100), 3);
  t.is(text(task, BUF + 16, 3), 'two');
});

test('the end of all writers is POLLHUP and end of file, and SIGPIPE kills a writer without readers', (t) => {
  const { g, t: task, r, w } = setup();
  const child = g.task(g.sys(task, SYS_fork));
  g.sys(task, SYS_close, w);
  t.is(g.sys(task, SYS_read, r, BUF, 1), undefined);
  g.sys(child, SYS_close, w);
  t.is(rax(task), 0);
  task.mm.storeU32(BUF, r);
  task.mm.storeU32(BUF + 4, POLLIN);
  t.is(g.sys(task, SYS_poll, BUF, 1, 0), 1);
  t.is(task.mm.loadU32(BUF + 4) >>> 16, POLLHUP);

  const second = setup();
  const writer = second.g.task(second.g.sys(second.t, SYS_fork));
  second.g.sys(second.t, SYS_close, second.r);
  second.g.sys(writer, SYS_close, second.r);
  second.g.sys(writer, SYS_write, second.w, BUF, 1);
  t.is(writer.state, TASK_DEAD);
});

test('a blocked write that has moved something goes on until all is taken', (t) => {
  const { g, t: task, r, w } = setup();
  const reader = g.task(g.sys(task, SYS_fork));
  t.is(g.sys(task, SYS_write, w, DATA, 20000), 20000);
  t.is(g.sys(task, SYS_write, w, DATA, 60000), undefined);
  let got = 0;
  while (task.state === TASK_BLOCKED) got += g.sys(reader, SYS_read, r, DATA, 8192)!;
  t.is(rax(task), 60000);
  while (got < 80000) got += g.sys(reader, SYS_read, r, DATA, 8192)!;
  t.is(got, 80000);
});

test('F_SETPIPE_SZ rounds up to a power of two of pages and refuses to drop data', (t) => {
  const { g, t: task, w } = setup();
  t.is(g.sys(task, SYS_fcntl, w, F_GETPIPE_SZ), 65536);
  t.is(g.sys(task, SYS_fcntl, w, F_SETPIPE_SZ, 70000), 131072);
  g.sys(task, SYS_write, w, DATA, 20000);
  t.is(g.sys(task, SYS_fcntl, w, F_SETPIPE_SZ, 4096), -EBUSY);
});

test('tee copies what splice then moves', (t) => {
  const { g, t: task, r, w } = setup();
  g.sys(task, SYS_pipe2, FDS + 16, 0);
  const r2 = task.mm.loadU32(FDS + 16);
  const w2 = task.mm.loadU32(FDS + 20);
  putText(task, BUF, 'abcdef');
  g.sys(task, SYS_write, w, BUF, 6);
  t.is(g.sys(task, SYS_tee, r, w2, 4, 0), 4);
  t.is(g.sys(task, SYS_splice, r, 0, w2, 0, 100, 0), 6);
  t.is(g.sys(task, SYS_read, r2, BUF, 100), 10);
  t.is(text(task, BUF, 10), 'abcdabcdef');
});
