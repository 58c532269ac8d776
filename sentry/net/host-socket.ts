// AF_INET and AF_INET6 on the host's own network: each guest socket is a host socket that the
// Sentry has opened in the sandbox's network namespace, and every call is handed on. The host
// socket never blocks; the notifier (Platform.watch) tells of changes, edge-triggered, from the
// first time that somebody has to wait. A watch that is added while the socket is ready says so
// at once, so nothing is missed between an -EAGAIN and the watch.
//
// Bytes of a stream go between guest memory and the host socket natively, without a buffer of ours;
// datagrams and all that has an address or control messages go through one shared buffer.

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
  ENOTCONN,
} from '../abi/errno.ts';
import { POLLERR, POLLIN, POLLPRI, POLLRDBAND, POLLRDHUP, POLLRDNORM, POLLWRBAND, POLLWRNORM } from '../abi/poll.ts';
import {
  AF_INET,
  AF_INET6,
  MSG_CONFIRM,
  MSG_DONTROUTE,
  MSG_DONTWAIT,
  MSG_EOR,
  MSG_ERRQUEUE,
  MSG_FASTOPEN,
  MSG_MORE,
  MSG_OOB,
  MSG_PEEK,
  MSG_TRUNC,
  MSG_WAITALL,
  MSG_ZEROCOPY,
  SHUT_WR,
  SO_ATTACH_FILTER,
  SO_PEERCRED,
  SO_RCVTIMEO_NEW,
  SO_RCVTIMEO_OLD,
  SO_SNDTIMEO_NEW,
  SO_SNDTIMEO_OLD,
  SO_ZEROCOPY,
  SOL_SOCKET,
} from '../abi/socket.ts';
import { STATX } from '../abi/stat.ts';
import { getU64, put64 } from '../base/int64.ts';
import type { WaitQueue } from '../base/wait-queue.ts';
import { fileAttributes, statxBuffer } from '../host/host-fd.ts';
import {
  close,
  ioctl,
  pollFd,
  socketAccept,
  socketConnect,
  socketGetOption,
  socketListen,
  socketName,
  socketReceive,
  socketSend,
  socketShutdown,
} from '../host/host-net.ts';
import type { HostWatcher, Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { Inode } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import type { DnsStream } from './dns.ts';
import { checkEgress, dnsStreamFor, isRestricted, mayBind, sawDatagram, sawStream } from './egress.ts';
import { isHostControl, isHostOption, isQueueRequest, isStampRequest } from './host-options.ts';
import { bindHost, setHostOption } from './host-privileges.ts';
import { toldEvents, unwatchHost, WATCHED, watchHost } from './host-watch.ts';
import { interfaceIoctl } from './interfaces.ts';
import type { Message } from './message.ts';
import { type Network, networkOf } from './network.ts';
import { Socket, type SocketName } from './socket.ts';
import { attachFilter } from './socket-filter.ts';
import { putInt } from './socket-options.ts';
import { getTimeout, setTimeout } from './socket-timeout.ts';
import { ZeroCopy } from './zero-copy.ts';

/** What a receive uses up; the other calls may change anything. */
const INPUT = POLLIN | POLLPRI | POLLRDNORM | POLLRDBAND;
const ANYTHING = -1;
const ASKED = WATCHED | POLLRDNORM | POLLWRNORM | POLLRDBAND | POLLWRBAND;

/** What is moved in one host call: more than any datagram. */
const CHUNK = 262144;
/** Longest datagram that inet sockets take: its length has 16 bits. */
const MAX_DATAGRAM = 0xffff;
/** Received control messages are cut beyond this. */
const CONTROL_ROOM = 4096;
const SEND_FLAGS = MSG_OOB | MSG_DONTROUTE | MSG_EOR | MSG_CONFIRM | MSG_MORE | MSG_FASTOPEN;
const RECEIVE_FLAGS = MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_ERRQUEUE;
const CMSG_HEADER = 16;
/** struct timeval and struct timespec. */
const STAMP_SIZE = 16;

// One set of buffers for all: handlers do not interleave, and nothing stays in them across calls.
const buffer = new Uint8Array(CHUNK);
const view = new DataView(buffer.buffer);
const received = new Int32Array(3);
/** The peer's address of the connection that was accepted last. */
const accepted = new Uint8Array(128);
const acceptedLength = new Int32Array(1);

export class HostSocket extends Socket implements HostWatcher {
  protected readonly kernel: Kernel;
  protected readonly hostFd: number;
  /** Where it is. */
  protected readonly network: Network;
  /** Of a network namespace that stays empty, from which nothing can be reached. */
  private readonly isolated: boolean;
  /** The inode has the host's number by now. */
  private isNumbered = false;
  /** With SO_ZEROCOPY. */
  private zeroCopy: ZeroCopy | null = null;
  /** A connection to a resolver of an egress policy. */
  private dns: DnsStream | null = null;
  private token = 0;
  /**
   * What our waiters know of and nobody has used up. The notifier says late what poll() may have
   * seen already, and an edge-triggered epoll must not hear of the same readiness twice. Bytes that
   * came on top of unread ones are news, so input stays here only until the watch's first word.
   */
  private seen = 0;

  /**
   * t: whose it is; null for one that the sandbox was started with. network: null for one that stays empty. waiters: those
   * of a socket that this one stands behind.
   */
  constructor(
    kernel: Kernel,
    t: Task | null,
    network: Network | null,
    family: number,
    type: number,
    protocol: number,
    flags: number,
    hostFd: number,
    waiters?: WaitQueue,
  ) {
    super(t, family, type, protocol, flags, waiters);
    this.kernel = kernel;
    this.hostFd = hostFd;
    this.network = network ?? networkOf(kernel, kernel.initialNamespaces.net)!;
    this.network.sockets++;
    this.isolated = network === null;
  }

  protected override release(_t: Task | null): void {
    unwatchHost(this.kernel, this.hostFd, this.token);
    close(this.hostFd);
    this.network.sockets--;
  }

  /** Numbered as on the host, whose tables of sockets have that number: so ss(8) and lsof(8) find who has it. Asked for once somebody looks. */
  override inode(): Inode {
    const inode = super.inode();
    if (this.isNumbered) return inode;
    this.isNumbered = true;
    if (fileAttributes(this.hostFd) === 0) inode.ino = getU64(statxBuffer, STATX.ino);
    return inode;
  }

  // ---- readiness

  hostReady(events: number): void {
    const isOld = (events & ~this.seen) === 0;
    this.seen = (this.seen | events) & ~INPUT;
    if (isOld) return;
    this.waiters.notify(toldEvents(events));
  }

  private watch(): void {
    if (this.token === 0) this.token = watchHost(this.kernel, this, this.hostFd);
  }

  /** Passes a host's answer on; who is told to wait will be told when not to. */
  private answer(n: number, used: number): number {
    this.seen &= ~used;
    if (n === -EAGAIN || n === -EINPROGRESS || n === -EALREADY) this.watch();
    return n;
  }

  override poll(_t: Task | null): number {
    const events = this.pollHost();
    return this.zeroCopy?.hasNews === true ? events | POLLERR : events;
  }

  private pollHost(): number {
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

  override bind(t: Task, name: Uint8Array, length: number): number {
    if (this.isolated) return -EADDRNOTAVAIL;
    if (this.isEgress && isRestricted()) {
      const bad = mayBind(this.family, name, length);
      if (bad < 0) return bad;
    }
    return bindHost(t, this.network, this.hostFd, name, length);
  }

  override connect(t: Task, name: Uint8Array, length: number): number {
    if (this.isolated) return -ENETUNREACH;
    if (this.isEgress && isRestricted()) {
      const bad = checkEgress(t, this.family, this.protocol, name, length, false);
      if (bad < 0) return bad;
      if (this.isStream) this.dns = dnsStreamFor(this.family, name, length);
    }
    return this.connectHost(name, length);
  }

  private connectHost(name: Uint8Array, length: number): number {
    return this.answer(socketConnect(this.hostFd, name, length), ANYTHING);
  }

  /** Asks the host again, which takes the result and, after a failure, leaves the socket ready for another try: inet_stream_connect(). */
  override finishConnect(_t: Task, name: Uint8Array, length: number): number {
    const n = this.connectHost(name, length);
    if (n === -EALREADY) return -EINPROGRESS;
    return n === -EISCONN ? 0 : n;
  }

  override listen(_t: Task, backlog: number): number {
    return socketListen(this.hostFd, backlog);
  }

  override accept(t: Task, flags: number): Socket | number {
    const hostFd = this.answer(socketAccept(this.hostFd, accepted, acceptedLength), INPUT);
    return hostFd < 0
      ? hostFd
      : new HostSocket(t.kernel, t, this.isolated ? null : this.network, this.family, this.type, this.protocol, flags, hostFd);
  }

  /** As it was accepted: a peer that has reset the connection since is no longer to be asked for. */
  override acceptedName(_t: Task, out: SocketName): number {
    out.length = Math.min(acceptedLength[0]!, out.bytes.length);
    out.bytes.set(accepted.subarray(0, out.length));
    return 0;
  }

  override getName(_t: Task, peer: boolean, out: SocketName): number {
    const n = socketName(this.hostFd, peer, out.bytes);
    if (n < 0) return n;
    out.length = n;
    return 0;
  }

  override shutdown(_t: Task, how: number): number {
    const n = socketShutdown(this.hostFd, how);
    // A datagram socket without a peer is told ENOTCONN, and shut down all the same: inet_shutdown(). The host
    // ends a blocking receive then, but knows none of ours.
    if (how !== SHUT_WR && !this.isStream && (n === 0 || n === -ENOTCONN)) {
      this.isReadShut = true;
      this.waiters.notify(POLLIN | POLLRDNORM | POLLRDHUP);
    }
    return n;
  }

  override receivesAtOnce(flags: number): boolean {
    return (flags & MSG_ERRQUEUE) !== 0 && this.isInet;
  }

  // ---- data

  private get isInet(): boolean {
    return this.family === AF_INET || this.family === AF_INET6;
  }

  /** What an egress policy is about: from a network that a guest has made nothing gets out. */
  private get isEgress(): boolean {
    return this.isInet && !this.network.isMade;
  }

  override send(t: Task, io: IoBuffer, m: Message): number {
    const n = this.sendNow(t, io, m);
    // One message is one send, however many tries it takes.
    if (n >= 0 && m.done === 0 && (m.flags & MSG_ZEROCOPY) !== 0 && this.zeroCopy !== null) {
      this.zeroCopy.sent();
      this.waiters.notify(POLLERR);
    }
    return n;
  }

  private sendNow(t: Task, io: IoBuffer, m: Message): number {
    if (this.isolated) return -ENETUNREACH;
    if (m.nameLength > 0 && this.isEgress && isRestricted()) {
      const bad = checkEgress(t, this.family, this.protocol, m.name, m.nameLength, true);
      if (bad < 0) return bad;
      if (this.isStream) this.dns = dnsStreamFor(this.family, m.name, m.nameLength);
    }
    if (!this.isStream) {
      if (m.isNameEmpty && this.isInet) return -EINVAL;
      // "Check the length" comes before any byte is copied: udp_sendmsg(), raw_sendmsg(), ping_common_sendmsg().
      if (io.remaining > (this.isInet ? MAX_DATAGRAM : CHUNK)) return -EMSGSIZE;
    }
    const controlLength = m.controlLength === 0 ? 0 : keepAllowed(m);
    if (controlLength < 0) return controlLength;
    const flags = m.flags & SEND_FLAGS;
    if (this.isStream && flags === 0 && controlLength === 0 && m.nameLength === 0 && io.isOneRange && io.remaining > 0) {
      return this.sendDirectly(io);
    }
    let done = 0;
    do {
      const n = Math.min(io.remaining, CHUNK);
      if (n > 0 && io.take(buffer, 0, n) !== n) return done > 0 ? done : -EFAULT;
      const sent = this.answer(socketSend(this.hostFd, buffer, n, flags, m.name, m.nameLength, m.control, controlLength), ANYTHING);
      if (sent < n) io.back(n - Math.max(sent, 0));
      if (sent === -EINPROGRESS && !this.nonblocking && (m.flags & MSG_DONTWAIT) === 0) return this.connectFirst(m);
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

  /** A fast open whose peer is not known yet is a connect(2) first: tcp_sendmsg_fastopen() waits for it. The rest is an ordinary send. */
  private connectFirst(m: Message): number {
    m.flags &= ~MSG_FASTOPEN;
    m.nameLength = 0;
    return -EAGAIN;
  }

  /** Part of a stream, from guest memory into the host's in one native call. */
  private sendDirectly(io: IoBuffer): number {
    const wanted = io.remaining;
    const n = this.answer(io.toHost(this.hostFd, wanted, -1), ANYTHING);
    // The caller may wait for room without asking again.
    if (n >= 0 && n < wanted) this.watch();
    return n;
  }

  override receive(_t: Task, io: IoBuffer, m: Message): number {
    const flags = m.flags & RECEIVE_FLAGS;
    if ((flags & MSG_ERRQUEUE) !== 0 && this.zeroCopy?.hasNews === true) {
      this.zeroCopy.tell(this.family, m);
      return 0;
    }
    if (this.isStream && flags === 0 && m.controlRoom === 0 && this.dns === null && io.isOneRange && io.remaining > 0) {
      return this.receiveDirectly(io, m);
    }
    const controlRoom = Math.min(m.controlRoom, CONTROL_ROOM);
    if (controlRoom > 0) m.needControl(CONTROL_ROOM);
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
      if ((flags & (MSG_PEEK | MSG_ERRQUEUE)) === 0 && this.isEgress && isRestricted()) this.learnNames(m, kept);
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

  /** What a resolver has said is what an egress policy knows of names. */
  private learnNames(m: Message, n: number): void {
    if (!this.isStream) sawDatagram(this.family, m.name, m.nameLength, buffer, n);
    else if (this.dns !== null) sawStream(this.dns, buffer, n);
  }

  private receiveDirectly(io: IoBuffer, m: Message): number {
    const wanted = io.remaining;
    const n = this.answer(io.fromHost(this.hostFd, wanted, -1), INPUT);
    // The caller may wait for the rest without asking again.
    if (n >= 0 && n < wanted && (m.flags & MSG_WAITALL) !== 0) this.watch();
    return n;
  }

  // ---- options

  override setOption(t: Task, level: number, name: number, value: Uint8Array, length: number): number {
    if (level === SOL_SOCKET) {
      const isRead = name === SO_RCVTIMEO_OLD || name === SO_RCVTIMEO_NEW;
      if (isRead || name === SO_SNDTIMEO_OLD || name === SO_SNDTIMEO_NEW) return setTimeout(this, isRead, value, length);
      if (name === SO_ZEROCOPY && this.isInet) return this.setZeroCopy(value, length);
      if (name === SO_ATTACH_FILTER) return attachFilter(t, this.hostFd, value, length);
    }
    return isHostOption(level, name) ? setHostOption(t, this.network, this.hostFd, level, name, value, length) : -ENOPROTOOPT;
  }

  private setZeroCopy(value: Uint8Array, length: number): number {
    if (length < 4) return -EINVAL;
    const n = new DataView(value.buffer, value.byteOffset, 4).getInt32(0, true);
    if (n < 0 || n > 1) return -EINVAL;
    this.zeroCopy = n === 0 ? null : (this.zeroCopy ?? new ZeroCopy());
    return 0;
  }

  override getOption(_t: Task, level: number, name: number, value: Uint8Array, length: number): number {
    if (level === SOL_SOCKET) {
      if (name === SO_RCVTIMEO_OLD || name === SO_RCVTIMEO_NEW) return getTimeout(this.readTimeoutNs, value);
      if (name === SO_SNDTIMEO_OLD || name === SO_SNDTIMEO_NEW) return getTimeout(this.writeTimeoutNs, value);
      if (name === SO_ZEROCOPY && this.isInet)
        return putInt(new DataView(value.buffer, value.byteOffset, 4), this.zeroCopy === null ? 0 : 1);
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
    if (isStampRequest(cmd)) {
      const n = ioctl(this.hostFd, cmd, buffer);
      return n < 0 ? n : t.mm.copyOut(arg, buffer, 0, STAMP_SIZE);
    }
    return interfaceIoctl(t, this.isolated ? null : this.network, cmd, arg);
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
    if (isHostControl(v.getInt32(at + 8, true), v.getInt32(at + 12, true), isRestricted())) {
      bytes.copyWithin(kept, at, at + space);
      put64(v, kept, size);
      kept += space;
    }
    at += space;
  }
  m.controlLength = kept;
  return kept;
}
