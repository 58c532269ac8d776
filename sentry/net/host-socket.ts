// AF_INET and AF_INET6 on the host's own network: each guest socket is a host socket that the
// Sentry has opened in the sandbox's network namespace, and every call is handed on. The host
// socket never blocks; the notifier (Platform.watch) tells of changes, edge-triggered, from the
// first time that somebody has to wait. A watch that is added while the socket is ready says so
// at once, so nothing is missed between an -EAGAIN and the watch.

import {
  EADDRNOTAVAIL,
  EAGAIN,
  EALREADY,
  EFAULT,
  EINPROGRESS,
  EINVAL,
  EISCONN,
  EMSGSIZE,
  ENETUNREACH,
  ENOPROTOOPT,
  EPERM,
  EPROTONOSUPPORT,
  ESOCKTNOSUPPORT,
} from '../abi/errno.ts';
import { POLLERR, POLLIN, POLLOUT, POLLPRI, POLLRDBAND, POLLRDHUP, POLLRDNORM, POLLWRBAND, POLLWRNORM } from '../abi/poll.ts';
import { CAP_NET_RAW } from '../abi/sched.ts';
import {
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  MSG_CONFIRM,
  MSG_DONTROUTE,
  MSG_EOR,
  MSG_ERRQUEUE,
  MSG_FASTOPEN,
  MSG_MORE,
  MSG_OOB,
  MSG_PEEK,
  MSG_TRUNC,
  MSG_WAITALL,
  SO_PEERCRED,
  SO_RCVTIMEO_NEW,
  SO_RCVTIMEO_OLD,
  SO_SNDTIMEO_NEW,
  SO_SNDTIMEO_OLD,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
  SOL_SOCKET,
} from '../abi/socket.ts';
import { getU64, put64 } from '../base/int64.ts';
import {
  close,
  ioctl,
  pollFd,
  socketAccept,
  socketBind,
  socketConnect,
  socketGetOption,
  socketListen,
  socketName,
  socketOpen,
  socketReceive,
  socketSend,
  socketSetOption,
  socketShutdown,
} from '../host/host-net.ts';
import { nextWatchToken } from '../host/watch-token.ts';
import type { HostWatcher, Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { isHostControl, isHostOption, isQueueRequest } from './host-options.ts';
import { interfaceIoctl } from './interfaces.ts';
import type { Message } from './message.ts';
import { Socket, type SocketName } from './socket.ts';
import { getTimeout, setTimeout } from './socket-timeout.ts';

const WATCHED = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;
/** What a receive uses up; the other calls may change anything. */
const INPUT = POLLIN | POLLPRI | POLLRDNORM | POLLRDBAND;
const ANYTHING = -1;
const ASKED = WATCHED | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND;

/** What is moved in one host call: more than any datagram. */
const CHUNK = 262144;
/** Received control messages are cut beyond this. */
const CONTROL_ROOM = 4096;
const SEND_FLAGS = MSG_OOB | MSG_DONTROUTE | MSG_EOR | MSG_CONFIRM | MSG_MORE | MSG_FASTOPEN;
const RECEIVE_FLAGS = MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE;
const CMSG_HEADER = 16;

// One set of buffers for all: handlers do not interleave, and nothing stays in them across calls.
const buffer = new Uint8Array(CHUNK);
const view = new DataView(buffer.buffer);
const received = new Int32Array(3);

export class HostSocket extends Socket implements HostWatcher {
  protected readonly kernel: Kernel;
  protected readonly hostFd: number;
  /** Of a network namespace made in the sandbox, from which nothing can be reached. */
  private readonly isolated: boolean;
  private token = 0;
  /**
   * What our waiters know of and nobody has used up. The notifier says late what poll() may have
   * seen already, and an edge-triggered epoll must not hear of the same readiness twice. Bytes that
   * came on top of unread ones are news, so input stays here only until the watch's first word.
   */
  private seen = 0;

  /** t: whose it is; null for one that the sandbox was started with. */
  constructor(kernel: Kernel, t: Task | null, family: number, type: number, protocol: number, flags: number, hostFd: number) {
    super(t, family, type, protocol, flags);
    this.kernel = kernel;
    this.hostFd = hostFd;
    this.isolated = t?.ns.net.isolated ?? false;
  }

  protected override release(_t: Task | null): void {
    if (this.token !== 0) {
      this.kernel.platform.unwatch(this.hostFd);
      this.kernel.hostWatchers.delete(this.token);
    }
    close(this.hostFd);
  }

  // ---- readiness

  hostReady(events: number): void {
    const isOld = (events & ~this.seen) === 0;
    this.seen = (this.seen | events) & ~INPUT;
    if (isOld) return;
    let told = events;
    if ((events & POLLIN) !== 0) told |= POLLRDNORM;
    if ((events & POLLOUT) !== 0) told |= POLLWRNORM;
    this.waiters.notify(told);
  }

  private watch(): void {
    if (this.token !== 0) return;
    this.token = nextWatchToken();
    this.kernel.hostWatchers.set(this.token, this);
    this.kernel.platform.watch(this.hostFd, WATCHED, this.token);
  }

  /** Passes a host's answer on; who is told to wait will be told when not to. */
  private answer(n: number, used: number): number {
    this.seen &= ~used;
    if (n === -EAGAIN || n === -EINPROGRESS || n === -EALREADY) this.watch();
    return n;
  }

  override poll(_t: Task | null): number {
    const isFirst = this.token === 0;
    this.watch();
    const events = pollFd(this.hostFd, ASKED, 0);
    if (events < 0) return POLLERR;
    const fresh = events & ~INPUT & ~this.seen;
    this.seen = isFirst ? events : (events & ~INPUT) | (this.seen & INPUT);
    // Whoever waits for it hears now; the notifier's word will be old by then.
    if (!isFirst && fresh !== 0) this.waiters.notify(fresh);
    return events;
  }

  // ---- connections

  override bind(_t: Task, name: Uint8Array, length: number): number {
    if (this.isolated) return -EADDRNOTAVAIL;
    return socketBind(this.hostFd, name, length);
  }

  override connect(_t: Task, name: Uint8Array, length: number): number {
    if (this.isolated) return -ENETUNREACH;
    return this.answer(socketConnect(this.hostFd, name, length), ANYTHING);
  }

  /** Asks the host again, which takes the result and, after a failure, leaves the socket ready for another try: inet_stream_connect(). */
  override finishConnect(t: Task, name: Uint8Array, length: number): number {
    const n = this.connect(t, name, length);
    if (n === -EALREADY) return -EINPROGRESS;
    return n === -EISCONN ? 0 : n;
  }

  override listen(_t: Task, backlog: number): number {
    return socketListen(this.hostFd, backlog);
  }

  override accept(t: Task, flags: number): Socket | number {
    const hostFd = this.answer(socketAccept(this.hostFd), INPUT);
    return hostFd < 0 ? hostFd : new HostSocket(t.kernel, t, this.family, this.type, this.protocol, flags, hostFd);
  }

  override getName(_t: Task, peer: boolean, out: SocketName): number {
    const n = socketName(this.hostFd, peer, out.bytes);
    if (n < 0) return n;
    out.length = n;
    return 0;
  }

  override shutdown(_t: Task, how: number): number {
    return socketShutdown(this.hostFd, how);
  }

  // ---- data

  override send(_t: Task, io: IoBuffer, m: Message): number {
    if (this.isolated) return -ENETUNREACH;
    if (!this.isStream && io.remaining > CHUNK) return -EMSGSIZE;
    const controlLength = m.controlLength === 0 ? 0 : keepAllowed(m);
    if (controlLength < 0) return controlLength;
    const flags = m.flags & SEND_FLAGS;
    let done = 0;
    do {
      const n = Math.min(io.remaining, CHUNK);
      if (n > 0 && io.take(buffer, 0, n) !== n) return done > 0 ? done : -EFAULT;
      const sent = this.answer(socketSend(this.hostFd, buffer, n, flags, m.name, m.nameLength, m.control, controlLength), ANYTHING);
      if (sent < n) io.back(n - Math.max(sent, 0));
      if (sent < 0) return done > 0 ? done : sent;
      done += sent;
      if (sent < n) {
        // The caller may wait for room without asking again.
        this.watch();
        break;
      }
    } while (io.remaining > 0);
    return done;
  }

  override receive(_t: Task, io: IoBuffer, m: Message): number {
    const controlRoom = Math.min(m.controlRoom, CONTROL_ROOM);
    if (controlRoom > 0) m.needControl(CONTROL_ROOM);
    const flags = m.flags & RECEIVE_FLAGS;
    let done = 0;
    do {
      const room = Math.min(io.remaining, CHUNK);
      const n = this.answer(socketReceive(this.hostFd, buffer, room, flags, m.name, m.control, controlRoom, received), INPUT);
      if (n < 0) return done > 0 ? done : n;
      m.nameLength = Math.min(received[0]!, m.name.length);
      m.controlLength = received[1]!;
      m.outFlags |= received[2]!;
      // "discard the received bytes" - tcp(7), MSG_TRUNC of a stream.
      if (this.isStream && (flags & MSG_TRUNC) !== 0) return n;
      const kept = Math.min(n, room);
      if (kept > 0 && io.put(buffer, 0, kept) !== kept) return done > 0 ? done : -EFAULT;
      done += n;
      if (n < room) {
        // The caller may wait for the rest (MSG_WAITALL) without asking again.
        if ((m.flags & MSG_WAITALL) !== 0) this.watch();
        break;
      }
    } while (this.isStream && (flags & MSG_PEEK) === 0 && io.remaining > 0);
    return done;
  }

  // ---- options

  override setOption(_t: Task, level: number, name: number, value: Uint8Array, length: number): number {
    if (level === SOL_SOCKET) {
      const isRead = name === SO_RCVTIMEO_OLD || name === SO_RCVTIMEO_NEW;
      if (isRead || name === SO_SNDTIMEO_OLD || name === SO_SNDTIMEO_NEW) return setTimeout(this, isRead, value, length);
    }
    return isHostOption(level, name) ? socketSetOption(this.hostFd, level, name, value, length) : -ENOPROTOOPT;
  }

  override getOption(_t: Task, level: number, name: number, value: Uint8Array, length: number): number {
    if (level === SOL_SOCKET) {
      if (name === SO_RCVTIMEO_OLD || name === SO_RCVTIMEO_NEW) return getTimeout(this.readTimeoutNs, value);
      if (name === SO_SNDTIMEO_OLD || name === SO_SNDTIMEO_NEW) return getTimeout(this.writeTimeoutNs, value);
      if (name === SO_PEERCRED) {
        // Nobody is known: pid 0 and the ids -1.
        value.fill(0, 0, 4);
        value.fill(0xff, 4, 12);
        return 12;
      }
    }
    return isHostOption(level, name) ? socketGetOption(this.hostFd, level, name, value, length) : -ENOPROTOOPT;
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    if (isQueueRequest(cmd)) {
      const n = ioctl(this.hostFd, cmd, buffer);
      return n < 0 ? n : t.mm.storeU32(arg, view.getUint32(0, true));
    }
    return interfaceIoctl(t, cmd, arg);
  }
}

/** Leaves only control messages in m.control that a guest may send; their bytes, or -EINVAL. */
function keepAllowed(m: Message): number {
  const bytes = m.control;
  const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  let kept = 0;
  while (at + CMSG_HEADER <= m.controlLength) {
    const size = getU64(v, at);
    if (size < CMSG_HEADER || size > m.controlLength - at) return -EINVAL;
    const space = Math.min(Math.ceil(size / 8) * 8, m.controlLength - at);
    if (isHostControl(v.getInt32(at + 8, true))) {
      bytes.copyWithin(kept, at, at + space);
      put64(v, kept, size);
      kept += space;
    }
    at += space;
  }
  m.controlLength = kept;
  return kept;
}

/** socket(AF_INET or AF_INET6, …): TCP, UDP and, where the host lets us, ping. */
export function newInetSocket(t: Task, family: number, type: number, protocol: number, flags: number): Socket | number {
  if (type === SOCK_RAW) return t.creds.capableIn(t.ns.net.userns, CAP_NET_RAW) ? open(t, family, type, protocol, flags) : -EPERM;
  if (type !== SOCK_STREAM && type !== SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  const isTcp = type === SOCK_STREAM && (protocol === 0 || protocol === IPPROTO_TCP);
  const isUdp = type === SOCK_DGRAM && (protocol === 0 || protocol === IPPROTO_UDP || protocol === IPPROTO_UDPLITE);
  const isPing = type === SOCK_DGRAM && (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6);
  if (!isTcp && !isUdp && !isPing) return -EPROTONOSUPPORT;
  return open(t, family, type, protocol, flags);
}

function open(t: Task, family: number, type: number, protocol: number, flags: number): Socket | number {
  const hostFd = socketOpen(family, type, protocol);
  if (hostFd < 0) return hostFd;
  const named = protocol !== 0 ? protocol : type === SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
  return new HostSocket(t.kernel, t, family, type, named, flags, hostFd);
}
