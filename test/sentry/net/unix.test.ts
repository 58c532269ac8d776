import test from 'ava';
import { EADDRINUSE, EAGAIN, ECONNREFUSED, EINVAL, EISCONN, ENOTCONN, EOPNOTSUPP, EPIPE } from '../../../sentry/abi/errno.ts';
import { POLLHUP, POLLIN, POLLOUT, POLLRDHUP } from '../../../sentry/abi/poll.ts';
import {
  AF_UNIX,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_PEEK,
  MSG_TRUNC,
  MSG_WAITALL,
  SCM_CREDENTIALS,
  SCM_RIGHTS,
  SO_PASSCRED,
  SO_PEERCRED,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOL_SOCKET,
} from '../../../sentry/abi/socket.ts';
import {
  SYS_accept,
  SYS_bind,
  SYS_close,
  SYS_connect,
  SYS_eventfd2,
  SYS_fork,
  SYS_getsockname,
  SYS_getsockopt,
  SYS_listen,
  SYS_poll,
  SYS_read,
  SYS_recvfrom,
  SYS_recvmsg,
  SYS_sendmsg,
  SYS_sendto,
  SYS_setsockopt,
  SYS_shutdown,
  SYS_socket,
  SYS_socketpair,
  SYS_write,
} from '../../../sentry/abi/sysno-x64.ts';
import type { Task } from '../../../sentry/kernel/task.ts';
import { registerSocketFamilies } from '../../../sentry/net/families.ts';
import { eventFdCalls } from '../../../sentry/syscalls/event-fd.ts';
import { fsOpenCalls } from '../../../sentry/syscalls/fs-open.ts';
import { fsReadWriteCalls } from '../../../sentry/syscalls/fs-read-write.ts';
import { pollCalls } from '../../../sentry/syscalls/poll.ts';
import { processCalls } from '../../../sentry/syscalls/process.ts';
import { socketCalls } from '../../../sentry/syscalls/socket.ts';
import { messageCalls } from '../../../sentry/syscalls/socket-message.ts';
import { optionCalls } from '../../../sentry/syscalls/socket-option.ts';
import { DATA, FakeGuest, put, rax, TASK_BLOCKED } from '../../support/fake-guest.ts';

const ADDR = DATA;
const MSG = DATA + 0x100;
const IOV = DATA + 0x180;
const CONTROL = DATA + 0x200;
const BUF = DATA + 0x400;

registerSocketFamilies();

function setup(): { g: FakeGuest; t: Task } {
  const g = new FakeGuest(
    [socketCalls, messageCalls, optionCalls, fsOpenCalls, fsReadWriteCalls, pollCalls, eventFdCalls, processCalls],
    false,
  );
  return { g, t: g.init };
}

function pair(g: FakeGuest, t: Task, type: number): [number, number] {
  g.sys(t, SYS_socketpair, AF_UNIX, type, 0, BUF);
  return [t.mm.loadU32(BUF), t.mm.loadU32(BUF + 4)];
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

/** struct sockaddr_un at ADDR; its length. */
function address(t: Task, name: string): number {
  return putText(t, ADDR, `\x01\0${name}`);
}

function message(t: Task, length: number, control: number): number {
  put(t, MSG, 0, 0, IOV, 1, control === 0 ? 0 : CONTROL, control, 0);
  put(t, IOV, BUF, length);
  return MSG;
}

function events(g: FakeGuest, t: Task, fd: number): number {
  t.mm.storeU32(MSG, fd);
  t.mm.storeU32(MSG + 4, POLLIN | POLLOUT | POLLRDHUP);
  g.sys(t, SYS_poll, MSG, 1, 0);
  return t.mm.loadU32(MSG + 4) >>> 16;
}

test('a server accepts whoever connects to its path, and both talk', (t) => {
  const { g, t: server } = setup();
  const listener = g.sys(server, SYS_socket, AF_UNIX, SOCK_STREAM, 0)!;
  const length = address(server, '/sock\0');
  t.is(g.sys(server, SYS_bind, listener, ADDR, length), 0);
  const second = g.sys(server, SYS_socket, AF_UNIX, SOCK_STREAM, 0)!;
  t.is(g.sys(server, SYS_bind, second, ADDR, length), -EADDRINUSE);
  t.is(g.sys(server, SYS_connect, second, ADDR, length), -ECONNREFUSED);
  t.is(g.sys(server, SYS_listen, listener, 5), 0);
  const client = g.task(g.sys(server, SYS_fork));
  t.is(g.sys(server, SYS_accept, listener, 0, 0), undefined);
  t.is(server.state, TASK_BLOCKED);
  t.is(g.sys(client, SYS_connect, second, ADDR, length), 0);
  const accepted = rax(server);
  t.is(g.sys(client, SYS_connect, second, ADDR, length), -EISCONN);
  g.sys(client, SYS_write, second, BUF, putText(client, BUF, 'ping'));
  t.is(g.sys(server, SYS_read, accepted, BUF, 100), 4);
  t.is(text(server, BUF, 4), 'ping');
  put(server, BUF, 0, 0);
  server.mm.storeU32(ADDR, 12);
  t.is(g.sys(server, SYS_getsockopt, accepted, SOL_SOCKET, SO_PEERCRED, BUF, ADDR), 0);
  t.is(server.mm.loadU32(BUF), client.tid);
  server.mm.storeU32(ADDR, 110);
  t.is(g.sys(server, SYS_getsockname, accepted, BUF, ADDR), 0);
  t.is(server.mm.loadU32(ADDR), length);
});

test('abstract names need no file, and types do not mix', (t) => {
  const { g, t: task } = setup();
  const stream = g.sys(task, SYS_socket, AF_UNIX, SOCK_STREAM, 0)!;
  const datagram = g.sys(task, SYS_socket, AF_UNIX, SOCK_DGRAM, 0)!;
  const length = address(task, '\0name');
  t.is(g.sys(task, SYS_bind, stream, ADDR, length), 0);
  t.is(g.sys(task, SYS_connect, datagram, ADDR, length), -ECONNREFUSED);
  t.is(g.sys(task, SYS_listen, datagram, 1), -EOPNOTSUPP);
  g.sys(task, SYS_close, stream);
  t.is(g.sys(task, SYS_connect, datagram, ADDR, length), -ECONNREFUSED);
  t.is(g.sys(task, SYS_bind, datagram, ADDR, 2), 0);
  task.mm.storeU32(MSG, 110);
  g.sys(task, SYS_getsockname, datagram, BUF, MSG);
  t.is(task.mm.loadU32(MSG), 8);
});

test('datagrams keep their borders; MSG_PEEK leaves them and MSG_TRUNC tells their length', (t) => {
  const { g, t: task } = setup();
  const [a, b] = pair(g, task, SOCK_DGRAM);
  g.sys(task, SYS_sendto, a, BUF, putText(task, BUF, 'first'), 0, 0, 0);
  g.sys(task, SYS_sendto, a, BUF, putText(task, BUF, 'second'), 0, 0, 0);
  t.is(g.sys(task, SYS_recvfrom, b, BUF, 2, MSG_PEEK | MSG_TRUNC, 0, 0), 5);
  t.is(g.sys(task, SYS_recvfrom, b, BUF, 100, 0, 0, 0), 5);
  t.is(g.sys(task, SYS_recvmsg, b, message(task, 3, 0), 0), 3);
  t.is(task.mm.loadU32(MSG + 48), MSG_TRUNC);
  t.is(g.sys(task, SYS_recvfrom, b, BUF, 100, MSG_DONTWAIT, 0, 0), -EAGAIN);
});

test('a stream that nobody reads fills up, and MSG_WAITALL waits for all', (t) => {
  const { g, t: task } = setup();
  // The counts are those of Linux 6.18.
  for (const [size, count] of [
    [1, 278],
    [1000, 93],
    [4000, 44],
    [5000, 34],
  ]) {
    const [full] = pair(g, task, SOCK_STREAM | SOCK_NONBLOCK);
    let writes = 0;
    while (g.sys(task, SYS_write, full, BUF, size!) === size) writes++;
    t.is(writes, count);
    t.is(events(g, task, full) & POLLOUT, 0);
  }
  const [c, d] = pair(g, task, SOCK_STREAM);
  const writer = g.task(g.sys(task, SYS_fork));
  t.is(g.sys(task, SYS_recvfrom, d, BUF, 6, MSG_WAITALL, 0, 0), undefined);
  g.sys(writer, SYS_write, c, BUF, putText(writer, BUF, 'abc'));
  t.is(task.state, TASK_BLOCKED);
  g.sys(writer, SYS_write, c, BUF, putText(writer, BUF, 'def'));
  t.is(rax(task), 6);
  t.is(text(task, BUF, 6), 'abcdef');
});

test('the end of a peer is POLLHUP, end of file and EPIPE; half a shutdown is POLLRDHUP', (t) => {
  const { g, t: task } = setup();
  const [a, b] = pair(g, task, SOCK_STREAM);
  g.sys(task, SYS_shutdown, a, 1);
  t.is(events(g, task, b), POLLIN | POLLOUT | POLLRDHUP);
  g.sys(task, SYS_close, a);
  t.is(events(g, task, b), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
  t.is(g.sys(task, SYS_read, b, BUF, 1), 0);
  t.is(g.sys(task, SYS_sendto, b, BUF, 1, MSG_NOSIGNAL, 0, 0), -EPIPE);
});

test('SCM_RIGHTS hands a descriptor over, and SO_PASSCRED tells who sent', (t) => {
  const { g, t: task } = setup();
  const [a, b] = pair(g, task, SOCK_SEQPACKET);
  const ev = g.sys(task, SYS_eventfd2, 5, 0)!;
  task.mm.storeU32(BUF, 1);
  t.is(g.sys(task, SYS_setsockopt, b, SOL_SOCKET, SO_PASSCRED, BUF, 4), 0);
  message(task, 1, 24);
  put(task, CONTROL, 20, SOL_SOCKET + SCM_RIGHTS * 2 ** 32, ev);
  t.is(g.sys(task, SYS_sendmsg, a, MSG, 0), 1);
  g.sys(task, SYS_close, ev);
  t.is(g.sys(task, SYS_recvmsg, b, message(task, 10, 256), 0), 1);
  t.is(task.mm.loadU64(MSG + 40), 32 + 24);
  t.is(task.mm.loadU32(CONTROL + 12), SCM_CREDENTIALS);
  t.is(task.mm.loadU32(CONTROL + 16), task.tid);
  const received = task.mm.loadU32(CONTROL + 32 + 16);
  t.is(g.sys(task, SYS_read, received, BUF, 8), 8);
  t.is(task.mm.loadU64(BUF), 5);
});

test('calls on the wrong kind of socket are refused as Linux does', (t) => {
  const { g, t: task } = setup();
  const stream = g.sys(task, SYS_socket, AF_UNIX, SOCK_STREAM, 0)!;
  const datagram = g.sys(task, SYS_socket, AF_UNIX, SOCK_DGRAM, 0)!;
  t.is(g.sys(task, SYS_accept, stream, 0, 0), -EINVAL);
  t.is(g.sys(task, SYS_accept, datagram, 0, 0), -EOPNOTSUPP);
  t.is(g.sys(task, SYS_listen, stream, 1), -EINVAL);
  t.is(g.sys(task, SYS_read, stream, BUF, 1), -EINVAL);
  t.is(g.sys(task, SYS_sendto, stream, BUF, 1, MSG_NOSIGNAL, 0, 0), -ENOTCONN);
  t.is(events(g, task, stream), POLLOUT | POLLHUP);
});
