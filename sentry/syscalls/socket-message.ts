// send(2), recv(2) and their kin. One Message serves a call (or one element of sendmmsg) from its
// header to the last byte; while the call is parked it is t.object, and t.file is the socket.

import { EAGAIN, EBADF, EFAULT, EINVAL, EMSGSIZE, ENOBUFS, EPERM, EPIPE, ESRCH } from '../abi/errno.ts';
import { IOV_MAX, MAX_RW_COUNT } from '../abi/limits.ts';
import { CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN } from '../abi/sched.ts';
import {
  AF_UNIX,
  MSG_CMSG_CLOEXEC,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  MSG_OOB,
  MSG_PEEK,
  MSG_WAITALL,
  MSG_WAITFORONE,
  SCM_CREDENTIALS,
  SCM_PIDFD,
  SCM_RIGHTS,
  SOL_SOCKET,
} from '../abi/socket.ts';
import { SYS_recvfrom, SYS_recvmmsg, SYS_recvmsg, SYS_sendmmsg, SYS_sendmsg, SYS_sendto } from '../abi/sysno-x64.ts';
import { getU64, put64 } from '../base/int64.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_SIGNAL, WAKE_TIMEOUT } from '../kernel/task.ts';
import { FOREVER } from '../kernel/timers.ts';
import { SCRATCH_SIZE, scratch } from '../mm/guest-memory.ts';
import { giveMessage, type Message, SOCKADDR_MAX, takeMessage } from '../net/message.ts';
import type { Socket } from '../net/socket.ts';
import { putCreds } from '../net/unix.ts';
import { deadlineAfter, interruptedIo, outsideUser, READ_EVENTS, raiseSigpipe, WRITE_EVENTS } from './io-common.ts';
import { openPidfd } from './signal.ts';
import { loadName, socketOf, storeName } from './socket-common.ts';
import { call, type SyscallLine } from './syscall-line.ts';
import { loadedNs, loadTimespec, storeTimespecNs } from './time-args.ts';

// struct msghdr, include/linux/socket.h; struct mmsghdr adds the length.
const MSGHDR_NAME = 0;
const MSGHDR_NAMELEN = 8;
const MSGHDR_IOV = 16;
const MSGHDR_IOVLEN = 24;
const MSGHDR_CONTROL = 32;
const MSGHDR_CONTROLLEN = 40;
const MSGHDR_FLAGS = 48;
const MSGHDR_SIZE = 56;
const MMSGHDR_LEN = 56;
const MMSGHDR_SIZE = 64;

// struct cmsghdr.
const CMSG_HEADER = 16;
const CMSG_LEVEL = 8;
const CMSG_TYPE = 12;
/** SCM_MAX_FD: more descriptors in one message are refused. */
const SCM_MAX_FD = 253;
const UCRED_SIZE = 12;
const PIDFD_SIZE = 4;

// What a Message is for.
const SENDTO = 0;
const SENDMSG = 1;
const SENDMMSG = 2;
const RECVFROM = 3;
const RECVMSG = 4;
const RECVMMSG = 5;

/** Answer of an attempt that has to wait; below every errno. */
const WAIT = -0x200000;

const header = new Uint8Array(MSGHDR_SIZE);
const headerView = new DataView(header.buffer);

function mayWait(sock: Socket, m: Message): boolean {
  return (m.flags & MSG_DONTWAIT) === 0 && !sock.nonblocking;
}

// ---- sending

/** sendto(2). */
export function sendto(t: Task, a: SyscallArgs): number {
  if (outsideUser(a.addr(1), Math.min(a.addr(2), MAX_RW_COUNT))) return -EFAULT;
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const m = takeMessage();
  m.kind = SENDTO;
  m.flags = a.int(3);
  if (a.addr(4) !== 0) {
    const n = loadName(t, a.addr(4), a.int(5), m);
    if (n < 0) {
      giveMessage(m);
      return n;
    }
    m.isNameEmpty = m.nameLength === 0;
  }
  t.io.setBuffer(a.addr(1), a.addr(2));
  return runSend(t, sock, m);
}

/** sendmsg(2). */
export function sendmsg(t: Task, a: SyscallArgs): number {
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const m = takeMessage();
  m.kind = SENDMSG;
  m.flags = a.int(2);
  const n = loadSend(t, sock, m, a.addr(1));
  return n < 0 ? endSend(t, sock, m, n) : runSend(t, sock, m);
}

/** sendmmsg(2). */
export function sendmmsg(t: Task, a: SyscallArgs): number {
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  if (a.uint(2) === 0) return 0;
  const m = takeMessage();
  m.kind = SENDMMSG;
  m.flags = a.int(3);
  return sendNext(t, sock, m);
}

/** The element m.index of sendmmsg's array. */
function sendNext(t: Task, sock: Socket, m: Message): number {
  const n = loadSend(t, sock, m, t.args.addr(1) + m.index * MMSGHDR_SIZE);
  return n < 0 ? endSend(t, sock, m, n) : runSend(t, sock, m);
}

/** Takes a msghdr apart: address, buffers to t.io, control messages. */
function loadSend(t: Task, sock: Socket, m: Message, headerAddr: number): number {
  const bad = loadHeader(t, m, headerAddr);
  if (bad < 0) return bad;
  const nameAddr = getU64(headerView, MSGHDR_NAME);
  const controlAddr = getU64(headerView, MSGHDR_CONTROL);
  const controlLength = getU64(headerView, MSGHDR_CONTROLLEN);
  m.nameLength = 0;
  if (nameAddr !== 0) {
    const n = loadName(t, nameAddr, Math.min(headerView.getInt32(MSGHDR_NAMELEN, true), SOCKADDR_MAX), m);
    if (n < 0) return n;
  }
  const total = t.io.setIovec(getU64(headerView, MSGHDR_IOV), getU64(headerView, MSGHDR_IOVLEN));
  if (total < 0) return total;
  m.controlLength = 0;
  m.creds = null;
  return controlLength === 0 ? 0 : loadControl(t, sock, m, controlAddr, controlLength);
}

function loadHeader(t: Task, m: Message, headerAddr: number): number {
  m.headerAddr = headerAddr;
  if (t.mm.copyIn(headerAddr, header, 0, MSGHDR_SIZE) < 0) return -EFAULT;
  if (getU64(headerView, MSGHDR_NAME) !== 0 && headerView.getInt32(MSGHDR_NAMELEN, true) < 0) return -EINVAL;
  return getU64(headerView, MSGHDR_IOVLEN) > IOV_MAX ? -EMSGSIZE : 0;
}

/** Control messages of a send. For unix sockets they are taken here, for others they stay bytes: scm_send(), sock_cmsg_send(). */
function loadControl(t: Task, sock: Socket, m: Message, addr: number, length: number): number {
  if (length > SCRATCH_SIZE) return -ENOBUFS;
  if (t.mm.copyIn(addr, scratch.u8, 0, length) < 0) return -EFAULT;
  if (sock.family !== AF_UNIX) {
    m.needControl(length);
    m.control.set(scratch.u8.subarray(0, length));
    m.controlLength = length;
    return 0;
  }
  let at = 0;
  while (at + CMSG_HEADER <= length) {
    const size = getU64(scratch.view, at);
    if (size < CMSG_HEADER || size > length - at) return -EINVAL;
    if (scratch.view.getInt32(at + CMSG_LEVEL, true) === SOL_SOCKET) {
      const type = scratch.view.getInt32(at + CMSG_TYPE, true);
      let n = -EINVAL;
      if (type === SCM_RIGHTS) n = takeRights(t, m, at + CMSG_HEADER, size - CMSG_HEADER);
      else if (type === SCM_CREDENTIALS) n = takeCreds(t, m, at + CMSG_HEADER, size - CMSG_HEADER);
      if (n < 0) return n;
    }
    at += Math.ceil(size / 8) * 8;
  }
  return 0;
}

/** scm_fp_copy(): references of the descriptors in scratch[at, at + size). */
function takeRights(t: Task, m: Message, at: number, size: number): number {
  const count = Math.floor(size / 4);
  if (count + m.rights.length > SCM_MAX_FD) return -EINVAL;
  for (let i = 0; i < count; i++) {
    const fd = scratch.view.getInt32(at + i * 4, true);
    const file = t.fds.get(fd);
    if (file === undefined) return -EBADF;
    file.incRef();
    m.rights.push(file);
  }
  return 0;
}

/** scm_check_creds(): one may claim to be what one is, and more with the capability for it. */
function takeCreds(t: Task, m: Message, at: number, size: number): number {
  if (size !== UCRED_SIZE) return -EINVAL;
  const number = scratch.view.getInt32(at, true);
  const creds = t.creds;
  const uid = creds.userns.uidToKernel(scratch.view.getUint32(at + 4, true));
  const gid = creds.userns.gidToKernel(scratch.view.getUint32(at + 8, true));
  if (uid < 0 || gid < 0) return -EINVAL;
  const pid = t.group.pidns.find(number) ?? null;
  if (pid !== t.group.pid && !creds.capableIn(t.pidns.userns, CAP_SYS_ADMIN)) return -EPERM;
  if (uid !== creds.uid && uid !== creds.euid && uid !== creds.suid && !creds.capableHere(CAP_SETUID)) return -EPERM;
  if (gid !== creds.gid && gid !== creds.egid && gid !== creds.sgid && !creds.capableHere(CAP_SETGID)) return -EPERM;
  if (pid === null) return -ESRCH;
  m.creds = { pid, uid, gid };
  return 0;
}

/** Sends what t.io holds, waiting if need be, and finishes the call. */
function runSend(t: Task, sock: Socket, m: Message): number {
  const n = attemptSend(t, sock, m);
  if (n !== WAIT) return endSend(t, sock, m, n);
  sock.incRef();
  t.file = sock;
  t.object = m;
  return t.block(sock.waiters, WRITE_EVENTS, deadlineAfter(t, sock.writeTimeoutNs), resumeSend);
}

function resumeSend(t: Task, why: number): number {
  const sock = t.file as Socket;
  const m = t.object as Message;
  let n = m.done > 0 ? m.done : -EAGAIN;
  if (why === WAKE_SIGNAL && m.done === 0) n = interruptedIo(t);
  else if (why !== WAKE_SIGNAL && why !== WAKE_TIMEOUT) {
    n = attemptSend(t, sock, m);
    if (n === WAIT) return t.block(sock.waiters, WRITE_EVENTS, t.deadlineNs, resumeSend);
  }
  t.file = undefined;
  t.object = null;
  const result = endSend(t, sock, m, n);
  sock.decRef(t);
  return result;
}

function attemptSend(t: Task, sock: Socket, m: Message): number {
  let n: number;
  // After part of a stream the next try tells whether to wait for room or to stop.
  do {
    n = sock.send(t, t.io, m);
    if (n > 0) m.done += n;
    if (n === -EPIPE && (m.flags & MSG_NOSIGNAL) === 0 && sock.raisesSigpipe(m.done > 0)) raiseSigpipe(t);
  } while (n > 0 && t.io.remaining > 0 && sock.writesAll() && mayWait(sock, m));
  if (n === -EAGAIN && mayWait(sock, m)) return WAIT;
  return m.done > 0 ? m.done : n;
}

/** The message is sent, or will not be. */
function endSend(t: Task, sock: Socket, m: Message, n: number): number {
  m.dropRights(t);
  if (m.kind === SENDMMSG) {
    if (n >= 0) {
      if (t.mm.storeU32(m.headerAddr + MMSGHDR_LEN, n) < 0) n = -EFAULT;
      else {
        m.index++;
        m.done = 0;
        if (m.index < Math.min(t.args.uint(2), IOV_MAX)) return sendNext(t, sock, m);
      }
    }
    // What was sent counts, even if the next one failed.
    if (m.index > 0) n = m.index;
  }
  giveMessage(m);
  return n;
}

// ---- receiving

/** recvfrom(2). */
export function recvfrom(t: Task, a: SyscallArgs): number {
  if (outsideUser(a.addr(1), Math.min(a.addr(2), MAX_RW_COUNT))) return -EFAULT;
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const m = takeMessage();
  m.kind = RECVFROM;
  m.flags = a.int(3);
  t.io.setBuffer(a.addr(1), a.addr(2));
  return runReceive(t, sock, m);
}

/** recvmsg(2). */
export function recvmsg(t: Task, a: SyscallArgs): number {
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const m = takeMessage();
  m.kind = RECVMSG;
  m.flags = a.int(2);
  const n = loadReceive(t, m, a.addr(1));
  return n < 0 ? endReceive(t, sock, m, n) : runReceive(t, sock, m);
}

/** recvmmsg(2). The timeout is looked at after each message only, as recvmmsg(2) says under BUGS. */
export function recvmmsg(t: Task, a: SyscallArgs): number {
  let untilNs = FOREVER;
  if (a.addr(4) !== 0) {
    const bad = loadTimespec(t, a.addr(4));
    if (bad < 0) return bad;
    untilNs = t.kernel.clock.monotonicNs() + loadedNs();
  }
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  if (a.uint(2) === 0) return 0;
  const m = takeMessage();
  m.kind = RECVMMSG;
  m.flags = a.int(3);
  t.restartDeadlineNs = untilNs;
  return receiveNext(t, sock, m);
}

function receiveNext(t: Task, sock: Socket, m: Message): number {
  const n = loadReceive(t, m, t.args.addr(1) + m.index * MMSGHDR_SIZE);
  return n < 0 ? endReceive(t, sock, m, n) : runReceive(t, sock, m);
}

function loadReceive(t: Task, m: Message, headerAddr: number): number {
  const bad = loadHeader(t, m, headerAddr);
  if (bad < 0) return bad;
  m.controlRoom = getU64(headerView, MSGHDR_CONTROLLEN);
  m.nameLength = 0;
  m.outFlags = 0;
  m.creds = null;
  m.sender = undefined;
  m.controlLength = 0;
  const total = t.io.setIovec(getU64(headerView, MSGHDR_IOV), getU64(headerView, MSGHDR_IOVLEN));
  return Math.min(total, 0);
}

function runReceive(t: Task, sock: Socket, m: Message): number {
  const n = attemptReceive(t, sock, m);
  if (n !== WAIT) return endReceive(t, sock, m, n);
  sock.incRef();
  t.file = sock;
  t.object = m;
  return t.block(sock.waiters, READ_EVENTS, deadlineAfter(t, sock.readTimeoutNs), resumeReceive);
}

function resumeReceive(t: Task, why: number): number {
  const sock = t.file as Socket;
  const m = t.object as Message;
  let n = m.done > 0 ? m.done : -EAGAIN;
  if (why === WAKE_SIGNAL && m.done === 0) n = interruptedIo(t);
  else if (why !== WAKE_SIGNAL && why !== WAKE_TIMEOUT) {
    n = attemptReceive(t, sock, m);
    if (n === WAIT) return t.block(sock.waiters, READ_EVENTS, t.deadlineNs, resumeReceive);
  }
  t.file = undefined;
  t.object = null;
  const result = endReceive(t, sock, m, n);
  sock.decRef(t);
  return result;
}

function attemptReceive(t: Task, sock: Socket, m: Message): number {
  let n: number;
  do {
    n = sock.receive(t, t.io, m);
    if (n > 0) m.done += n;
  } while (n > 0 && wantsMore(t, sock, m));
  if (n === -EAGAIN && mayWait(sock, m) && !sock.receivesAtOnce(m.flags)) {
    if (!sock.isReadShut) return WAIT;
    n = 0;
  }
  return m.done > 0 ? m.done : n;
}

/** SO_RCVLOWAT and MSG_WAITALL: a stream goes on until there is as much as asked for, or descriptors have come. */
function wantsMore(t: Task, sock: Socket, m: Message): boolean {
  if (!sock.isStream || t.io.remaining === 0 || (m.flags & (MSG_PEEK | MSG_OOB)) !== 0 || m.rights.length > 0 || !mayWait(sock, m))
    return false;
  return m.done < ((m.flags & MSG_WAITALL) !== 0 ? FOREVER : sock.receiveLowWater);
}

/** A message has come, or none will. */
function endReceive(t: Task, sock: Socket, m: Message, n: number): number {
  if (n >= 0) {
    const told = m.kind === RECVFROM ? tellSource(t, m) : tellHeader(t, sock, m);
    if (told < 0) n = told;
  }
  m.dropRights(t);
  if (m.kind === RECVMMSG) {
    if (n >= 0) {
      if (t.mm.storeU32(m.headerAddr + MMSGHDR_LEN, n) < 0) n = -EFAULT;
      else if (wantsAnother(t, m)) return receiveNext(t, sock, m);
    }
    if (t.args.addr(4) !== 0 && t.restartDeadlineNs !== FOREVER) {
      const left = Math.max(0, t.restartDeadlineNs - t.kernel.clock.monotonicNs());
      if (storeTimespecNs(t, t.args.addr(4), left) < 0 && m.index === 0) n = -EFAULT;
    }
    if (m.index > 0) n = m.index;
  }
  giveMessage(m);
  return n;
}

function wantsAnother(t: Task, m: Message): boolean {
  m.index++;
  m.done = 0;
  if ((m.flags & MSG_WAITFORONE) !== 0) m.flags |= MSG_DONTWAIT;
  if (t.restartDeadlineNs !== FOREVER && t.kernel.clock.monotonicNs() >= t.restartDeadlineNs) return false;
  return m.index < Math.min(t.args.uint(2), IOV_MAX);
}

function tellSource(t: Task, m: Message): number {
  return t.args.addr(4) === 0 ? 0 : storeName(t, t.args.addr(4), t.args.addr(5), m.name, m.nameLength);
}

/** Writes back name, control messages and flags. The header is read again: only the pointers in it count. */
function tellHeader(t: Task, sock: Socket, m: Message): number {
  if (t.mm.copyIn(m.headerAddr, header, 0, MSGHDR_SIZE) < 0) return -EFAULT;
  const nameAddr = getU64(headerView, MSGHDR_NAME);
  const controlAddr = getU64(headerView, MSGHDR_CONTROL);
  if (nameAddr !== 0) {
    const n = storeName(t, nameAddr, m.headerAddr + MSGHDR_NAMELEN, m.name, m.nameLength);
    if (n < 0) return n;
  }
  m.outFlags |= m.flags & MSG_CMSG_CLOEXEC;
  // Without a place for them there is no room: put_cmsg(), scm_detach_fds().
  if (controlAddr === 0) m.controlRoom = 0;
  const used = sock.family === AF_UNIX ? putControl(t, m, controlAddr) : copyControl(t, m, controlAddr);
  if (used < 0) return used;
  if (t.mm.storeU32(m.headerAddr + MSGHDR_FLAGS, m.outFlags) < 0) return -EFAULT;
  return t.mm.storeU64(m.headerAddr + MSGHDR_CONTROLLEN, used);
}

/** Control messages that the host made: as they are, if there is room. */
function copyControl(t: Task, m: Message, addr: number): number {
  const n = Math.min(m.controlLength, m.controlRoom);
  if (n < m.controlLength) m.outFlags |= MSG_CTRUNC;
  return n > 0 && t.mm.copyOut(addr, m.control, 0, n) < 0 ? -EFAULT : n;
}

/** scm_recv(): credentials, then descriptors; bytes of control written, or -EFAULT. */
function putControl(t: Task, m: Message, addr: number): number {
  let used = 0;
  if (m.creds !== null) {
    putCreds(t, m.creds, scratch.u8.subarray(CMSG_HEADER));
    used = putCmsg(t, m, addr, SCM_CREDENTIALS, UCRED_SIZE);
    if (used < 0) return used;
  }
  if (m.sender !== undefined) {
    const put = putPidfd(t, m, addr, used);
    if (put < 0) return put;
    used = put;
  }
  return m.rights.length === 0 ? used : putRights(t, m, addr, used);
}

/** scm_pidfd_recv(): a descriptor of the sender, or the error number that stands for it; bytes of control used so far. */
function putPidfd(t: Task, m: Message, addr: number, used: number): number {
  const length = CMSG_HEADER + PIDFD_SIZE;
  if (m.controlRoom - used < length) {
    m.outFlags |= MSG_CTRUNC;
    return used;
  }
  const fd = m.sender === null ? -ESRCH : openPidfd(t, m.sender!);
  scratch.view.setInt32(CMSG_HEADER, fd, true);
  putCmsgHeader(length, SCM_PIDFD);
  if (t.mm.copyOut(addr + used, scratch.u8, 0, length) < 0) return -EFAULT;
  return used + Math.min(Math.ceil(length / 8) * 8, m.controlRoom - used);
}

/** put_cmsg(): one of level SOL_SOCKET, its data in scratch after the header; cut where the room ends. */
function putCmsg(t: Task, m: Message, addr: number, type: number, size: number): number {
  if (m.controlRoom < CMSG_HEADER) {
    m.outFlags |= MSG_CTRUNC;
    return 0;
  }
  let length = CMSG_HEADER + size;
  if (length > m.controlRoom) {
    m.outFlags |= MSG_CTRUNC;
    length = m.controlRoom;
  }
  putCmsgHeader(length, type);
  if (t.mm.copyOut(addr, scratch.u8, 0, length) < 0) return -EFAULT;
  return Math.min(Math.ceil(length / 8) * 8, m.controlRoom);
}

function putCmsgHeader(length: number, type: number): void {
  put64(scratch.view, 0, length);
  scratch.view.setInt32(CMSG_LEVEL, SOL_SOCKET, true);
  scratch.view.setInt32(CMSG_TYPE, type, true);
}

/** scm_detach_fds(): installs as many descriptors as there is room for. */
function putRights(t: Task, m: Message, addr: number, used: number): number {
  const room = m.controlRoom - used;
  const most = room < CMSG_HEADER ? 0 : Math.min(m.rights.length, Math.floor((room - CMSG_HEADER) / 4));
  let count = 0;
  while (count < most) {
    const file = m.rights[count]!;
    const fd = t.fds.add(file, (m.flags & MSG_CMSG_CLOEXEC) !== 0, t.fdLimit);
    if (fd < 0) break;
    file.incRef();
    scratch.view.setInt32(CMSG_HEADER + count * 4, fd, true);
    count++;
  }
  if (count < m.rights.length) m.outFlags |= MSG_CTRUNC;
  if (count === 0) return used;
  putCmsgHeader(CMSG_HEADER + count * 4, SCM_RIGHTS);
  if (t.mm.copyOut(addr + used, scratch.u8, 0, CMSG_HEADER + count * 4) < 0) return -EFAULT;
  return used + Math.min(CMSG_HEADER + Math.ceil((count * 4) / 8) * 8, room);
}

export const messageCalls: readonly SyscallLine[] = [
  call(SYS_sendto, 'sendto', 'fd:fd buf:buf:2 len:size flags:flags addr:buf:5 addrlen:int', sendto),
  call(SYS_sendmsg, 'sendmsg', 'fd:fd msg:msghdr flags:flags', sendmsg),
  call(SYS_sendmmsg, 'sendmmsg', 'fd:fd msgvec:addr vlen:uint flags:flags', sendmmsg),
  call(SYS_recvfrom, 'recvfrom', 'fd:fd buf:out:2 len:size flags:flags addr:addr addrlen:addr', recvfrom),
  call(SYS_recvmsg, 'recvmsg', 'fd:fd msg:msghdr flags:flags', recvmsg),
  call(SYS_recvmmsg, 'recvmmsg', 'fd:fd msgvec:addr vlen:uint flags:flags timeout:timespec', recvmmsg),
];
