// Sockets: making and naming them. Messages are in socket-message.ts, options in socket-option.ts.
//
// While an accept is parked, t.n0 is the reserved fd and t.n1 the flags; while a connect is parked,
// t.object is a Message that holds the address, and t.n0 says whether the connection is under way.

import { EAFNOSUPPORT, EAGAIN, EALREADY, ECONNABORTED, EFAULT, EINPROGRESS, EINVAL } from '../abi/errno.ts';
import { O_CLOEXEC, O_NONBLOCK } from '../abi/fcntl.ts';
import { LANDLOCK_ACCESS_NET_BIND_TCP, LANDLOCK_ACCESS_NET_CONNECT_TCP } from '../abi/landlock.ts';
import { AF_INET, AF_INET6, AF_MAX, AF_UNSPEC, SHUT_RDWR, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from '../abi/socket.ts';
import {
  SYS_accept,
  SYS_accept4,
  SYS_bind,
  SYS_connect,
  SYS_getpeername,
  SYS_getsockname,
  SYS_listen,
  SYS_shutdown,
  SYS_socket,
  SYS_socketpair,
} from '../abi/sysno-x64.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_SIGNAL, WAKE_TIMEOUT } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';
import { giveMessage, type Message, takeMessage } from '../net/message.ts';
import { familyOf, type Socket, SocketName } from '../net/socket.ts';
import { landlockPort } from '../vfs/landlock.ts';
import { deadlineAfter, interruptedIo, READ_EVENTS, WRITE_EVENTS } from './io-common.ts';
import { loadName, socketOf, storeName } from './socket-common.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const SOCK_TYPE_MASK = 0xf;
/** include/linux/net.h: types are below. */
const SOCK_MAX = 11;

// ---- making

/** socket(2). */
export function socket(t: Task, a: SyscallArgs): number {
  const flags = a.int(1) & ~SOCK_TYPE_MASK;
  if ((flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) !== 0) return -EINVAL;
  const made = create(t, a.int(0), a.int(1) & SOCK_TYPE_MASK, a.int(2), flags & O_NONBLOCK);
  if (typeof made === 'number') return made;
  const fd = t.fds.add(made, (flags & O_CLOEXEC) !== 0, t.fdLimit);
  if (fd < 0) made.decRef(t);
  return fd;
}

/** __sock_create(). */
function create(t: Task, family: number, type: number, protocol: number, flags: number): Socket | number {
  if (family < 0 || family >= AF_MAX) return -EAFNOSUPPORT;
  if (type < 0 || type >= SOCK_MAX) return -EINVAL;
  const make = familyOf(family);
  return make === undefined ? -EAFNOSUPPORT : make(t, family, type, protocol, flags);
}

/** socketpair(2). */
export function socketpair(t: Task, a: SyscallArgs): number {
  const flags = a.int(1) & ~SOCK_TYPE_MASK;
  if ((flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) !== 0) return -EINVAL;
  const first = t.fds.reserve(t.fdLimit);
  if (first < 0) return first;
  const second = t.fds.reserve(t.fdLimit);
  if (second < 0) {
    t.fds.release(first);
    return second;
  }
  const result = makePair(t, a, first, second, flags);
  if (result < 0) {
    t.fds.release(first);
    t.fds.release(second);
  }
  return result;
}

function makePair(t: Task, a: SyscallArgs, first: number, second: number, flags: number): number {
  scratch.view.setInt32(0, first, true);
  scratch.view.setInt32(4, second, true);
  if (t.mm.copyOut(a.addr(3), scratch.u8, 0, 8) < 0) return -EFAULT;
  const type = a.int(1) & SOCK_TYPE_MASK;
  const one = create(t, a.int(0), type, a.int(2), flags & O_NONBLOCK);
  if (typeof one === 'number') return one;
  const two = create(t, a.int(0), type, a.int(2), flags & O_NONBLOCK);
  if (typeof two === 'number') {
    one.decRef(t);
    return two;
  }
  const joined = one.pairWith(t, two);
  if (joined < 0) {
    one.decRef(t);
    two.decRef(t);
    return joined;
  }
  t.fds.install(first, one, (flags & O_CLOEXEC) !== 0);
  t.fds.install(second, two, (flags & O_CLOEXEC) !== 0);
  return 0;
}

// ---- addresses

const outName = new SocketName();

/** security/landlock/net.c:current_check_access_socket(): the port of a TCP socket's address. */
function landlockTcp(t: Task, sock: Socket, m: Message, access: number): number {
  if (t.landlock === null || sock.type !== SOCK_STREAM || (sock.family !== AF_INET && sock.family !== AF_INET6)) return 0;
  const { name, nameLength } = m;
  if (nameLength < 2) return -EINVAL;
  const family = name[0]! | (name[1]! << 8);
  if (family === AF_UNSPEC) {
    // Connecting to nothing takes the connection back, which is always allowed; binding to it means any address.
    if (access === LANDLOCK_ACCESS_NET_CONNECT_TCP) return 0;
    if (sock.family === AF_INET6) return -EAFNOSUPPORT;
  } else if (family !== sock.family) return -EINVAL;
  if (nameLength < (family === AF_INET6 ? 24 : 16)) return -EINVAL;
  return landlockPort(t, name[2]! * 256 + name[3]!, access);
}

/** bind(2). */
export function bind(t: Task, a: SyscallArgs): number {
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const m = takeMessage();
  let n = loadName(t, a.addr(1), a.int(2), m);
  if (n === 0) n = landlockTcp(t, sock, m, LANDLOCK_ACCESS_NET_BIND_TCP) || sock.bind(t, m.name, m.nameLength);
  giveMessage(m);
  return n;
}

/** listen(2). */
export function listen(t: Task, a: SyscallArgs): number {
  const sock = socketOf(t, a.int(0));
  return typeof sock === 'number' ? sock : sock.listen(t, a.int(1));
}

/** getsockname(2). */
export function getsockname(t: Task, a: SyscallArgs): number {
  return tellName(t, a, false);
}

/** getpeername(2). */
export function getpeername(t: Task, a: SyscallArgs): number {
  return tellName(t, a, true);
}

function tellName(t: Task, a: SyscallArgs, peer: boolean): number {
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const n = sock.getName(t, peer, outName);
  return n < 0 ? n : storeName(t, a.addr(1), a.addr(2), outName.bytes, outName.length);
}

/** shutdown(2). */
export function shutdown(t: Task, a: SyscallArgs): number {
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const how = a.int(1);
  return how < 0 || how > SHUT_RDWR ? -EINVAL : sock.shutdown(t, how);
}

// ---- accept

/** accept(2). */
export function accept(t: Task, a: SyscallArgs): number {
  return startAccept(t, a, 0);
}

/** accept4(2). */
export function accept4(t: Task, a: SyscallArgs): number {
  return startAccept(t, a, a.int(3));
}

function startAccept(t: Task, a: SyscallArgs, flags: number): number {
  if ((flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) !== 0) return -EINVAL;
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const fd = t.fds.reserve(t.fdLimit);
  if (fd < 0) return fd;
  const made = sock.accept(t, flags & O_NONBLOCK);
  if (made !== -EAGAIN || sock.nonblocking) return finishAccept(t, made, fd, flags);
  sock.incRef();
  t.file = sock;
  t.n0 = fd;
  t.n1 = flags;
  return t.block(sock.waiters, READ_EVENTS, deadlineAfter(t, sock.readTimeoutNs), resumeAccept);
}

function resumeAccept(t: Task, why: number): number {
  const sock = t.file as Socket;
  const made = why === WAKE_SIGNAL ? interruptedIo(t) : sock.accept(t, t.n1 & O_NONBLOCK);
  if (made === -EAGAIN && why !== WAKE_TIMEOUT) return t.block(sock.waiters, READ_EVENTS, t.deadlineNs, resumeAccept);
  t.file = undefined;
  sock.decRef(t);
  return finishAccept(t, made, t.n0, t.n1);
}

function finishAccept(t: Task, made: Socket | number, fd: number, flags: number): number {
  if (typeof made === 'number') {
    t.fds.release(fd);
    return made;
  }
  const nameAddr = t.args.addr(1);
  if (nameAddr !== 0) {
    const named = made.acceptedName(t, outName);
    const stored = named < 0 ? -ECONNABORTED : storeName(t, nameAddr, t.args.addr(2), outName.bytes, outName.length);
    if (stored < 0) {
      t.fds.release(fd);
      made.decRef(t);
      return stored;
    }
  }
  t.fds.install(fd, made, (flags & O_CLOEXEC) !== 0);
  return fd;
}

// ---- connect

/** connect(2). */
export function connect(t: Task, a: SyscallArgs): number {
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const m = takeMessage();
  let n = loadName(t, a.addr(1), a.int(2), m);
  if (n === 0 && m.nameLength >= 2) n = landlockTcp(t, sock, m, LANDLOCK_ACCESS_NET_CONNECT_TCP);
  if (n === 0) n = m.nameLength < 2 ? -EINVAL : sock.connect(t, m.name, m.nameLength);
  const underWay = n === -EINPROGRESS || n === -EALREADY;
  if ((n !== -EAGAIN && !underWay) || sock.nonblocking) {
    giveMessage(m);
    return n;
  }
  sock.incRef();
  t.file = sock;
  t.object = m;
  t.n0 = underWay ? 1 : 0;
  return t.block(sock.waiters, WRITE_EVENTS, deadlineAfter(t, sock.writeTimeoutNs), resumeConnect);
}

function resumeConnect(t: Task, why: number): number {
  const sock = t.file as Socket;
  const m = t.object as Message;
  let n: number;
  if (why === WAKE_SIGNAL) n = interruptedIo(t);
  else if (t.n0 !== 0) n = sock.finishConnect(t, m.name, m.nameLength);
  else {
    n = sock.connect(t, m.name, m.nameLength);
    if (n === -EINPROGRESS) t.n0 = 1;
  }
  if ((n === -EAGAIN || n === -EINPROGRESS) && why !== WAKE_TIMEOUT)
    return t.block(sock.waiters, WRITE_EVENTS, t.deadlineNs, resumeConnect);
  t.file = undefined;
  t.object = null;
  giveMessage(m);
  sock.decRef(t);
  return n;
}

export const socketCalls: readonly SyscallLine[] = [
  call(SYS_socket, 'socket', 'family:int type:int protocol:int', socket),
  call(SYS_socketpair, 'socketpair', 'family:int type:int protocol:int sv:addr', socketpair),
  call(SYS_bind, 'bind', 'fd:fd addr:buf:2 addrlen:int', bind),
  call(SYS_listen, 'listen', 'fd:fd backlog:int', listen),
  call(SYS_accept, 'accept', 'fd:fd addr:addr addrlen:addr', accept),
  call(SYS_accept4, 'accept4', 'fd:fd addr:addr addrlen:addr flags:flags', accept4),
  call(SYS_connect, 'connect', 'fd:fd addr:buf:2 addrlen:int', connect),
  call(SYS_getsockname, 'getsockname', 'fd:fd addr:addr addrlen:addr', getsockname),
  call(SYS_getpeername, 'getpeername', 'fd:fd addr:addr addrlen:addr', getpeername),
  call(SYS_shutdown, 'shutdown', 'fd:fd how:int', shutdown),
];
