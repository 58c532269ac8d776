// AF_NETLINK. NETLINK_ROUTE is the host's, in the sandbox's network namespace: what a guest asks of
// links, addresses and routes is answered as it is, and NETLINK_SOCK_DIAG tells of inet sockets. Requests that change something go through the
// broker if the guest may make them; the Sentry has no capability by which it could, so that any
// other gets the host's own EPERM. Events of devices (NETLINK_KOBJECT_UEVENT) there are none; a
// listener hears nothing.

import { EADDRINUSE, EAFNOSUPPORT, EAGAIN, EFAULT, EINVAL, EMSGSIZE, EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT } from '../abi/errno.ts';
import { POLLOUT, POLLWRBAND, POLLWRNORM } from '../abi/poll.ts';
import { CAP_NET_ADMIN } from '../abi/sched.ts';
import {
  AF_INET,
  AF_INET6,
  AF_NETLINK,
  NETLINK_KOBJECT_UEVENT,
  NETLINK_LIST_MEMBERSHIPS,
  NETLINK_ROUTE,
  NETLINK_SOCK_DIAG,
  SCM_CREDENTIALS,
  SOCK_DGRAM,
  SOCK_RAW,
  SOL_NETLINK,
  SOL_SOCKET,
} from '../abi/socket.ts';
import { getU64 } from '../base/int64.ts';
import { socketBind } from '../host/host-net.ts';
import { brokerSend } from '../host/net-broker.ts';
import type { Task } from '../kernel/task.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { netCapable } from './host-privileges.ts';
import { HostSocket } from './host-socket.ts';
import { findTarget, target } from './link-target.ts';
import type { Message } from './message.ts';
import { networkOf } from './network.ts';
import type { Socket, SocketName } from './socket.ts';
import { KernelSocket } from './socket-options.ts';

// struct sockaddr_nl.
const SOCKADDR_NL_SIZE = 12;
const NL_PID = 4;
const NL_GROUPS = 8;

// struct cmsghdr with a struct ucred.
const CMSG_HEADER = 16;
const UCRED_SIZE = 12;

// struct nlmsghdr.
const NLMSG_HEADER = 16;
const NLMSG_TYPE = 4;
/** Types below are netlink's own: NLMSG_MIN_TYPE. */
const NLMSG_MIN_TYPE = 16;
/** rtnetlink: the two low bits of a type say what is done; this is "get", which anybody may. */
const KIND_GET = 2;
/** The one request of sock_diag. */
const SOCK_DIAG_BY_FAMILY = 20;

/** What goes through the broker is at most this long, with the address. */
const CHANGE_MAX = 64 * 1024;
/** How many port numbers are tried when the process's own is taken: netlink_autobind() tries all. */
const PORT_TRIES = 16;

const bytes = new Uint8Array(CHANGE_MAX);
const view = new DataView(bytes.buffer);
const ownName = new Uint8Array(SOCKADDR_NL_SIZE);
const ownView = new DataView(ownName.buffer);

function putName(out: SocketName, portId: number, groups: number): void {
  out.view.setUint32(0, AF_NETLINK, true);
  out.view.setInt32(NL_PID, portId, true);
  out.view.setInt32(NL_GROUPS, groups, true);
  out.length = SOCKADDR_NL_SIZE;
}

/** A socket on which nothing ever happens. */
class SilentNetlinkSocket extends KernelSocket {
  private portId = 0;
  private groups = 0;
  private peerPort = 0;
  private peerGroups = 0;

  override bind(t: Task, name: Uint8Array, length: number): number {
    const v = new DataView(name.buffer, name.byteOffset, name.byteLength);
    if (length < SOCKADDR_NL_SIZE || v.getUint16(0, true) !== AF_NETLINK) return -EINVAL;
    if (this.portId !== 0 && v.getInt32(NL_PID, true) !== 0 && v.getInt32(NL_PID, true) !== this.portId) return -EINVAL;
    this.portId = this.portId || v.getInt32(NL_PID, true) || t.group.tgid;
    this.groups = v.getInt32(NL_GROUPS, true);
    return 0;
  }

  /** netlink_connect(): a datagram socket's default destination, and a port number of its own. */
  override connect(t: Task, name: Uint8Array, length: number): number {
    const v = new DataView(name.buffer, name.byteOffset, name.byteLength);
    const family = v.getUint16(0, true);
    if (family === 0) {
      this.peerPort = 0;
      this.peerGroups = 0;
      return 0;
    }
    if (length < SOCKADDR_NL_SIZE || family !== AF_NETLINK) return -EINVAL;
    this.peerPort = v.getInt32(NL_PID, true);
    this.peerGroups = v.getInt32(NL_GROUPS, true);
    this.portId ||= t.group.tgid;
    return 0;
  }

  override getName(_t: Task, peer: boolean, out: SocketName): number {
    if (peer) putName(out, this.peerPort, this.peerGroups);
    else putName(out, this.portId, this.groups);
    return 0;
  }

  override send(_t: Task, io: IoBuffer, _m: Message): number {
    return io.remaining;
  }

  override receive(_t: Task, _io: IoBuffer, _m: Message): number {
    return -EAGAIN;
  }

  protected override setFamilyOption(): number {
    return 0;
  }

  override poll(_t: Task | null): number {
    return POLLOUT | POLLWRNORM | POLLWRBAND;
  }
}

/** Whose port number it is: the process that the socket was made by. */
const processOfPort = new Map<number, number>();

/** One of the host's kernel, with a port number as a guest's process would have it. */
class NetlinkSocket extends HostSocket {
  protected isBound = false;
  private portId = 0;

  private bound(t: Task, portId: number): void {
    this.isBound = true;
    this.portId = portId;
    processOfPort.set(portId, t.group.tgid);
  }

  protected override release(t: Task | null): void {
    if (this.isBound) processOfPort.delete(this.portId);
    super.release(t);
  }

  /**
   * netlink_autobind(): a socket without a port number gets its process's, which on the host would be the Sentry's. Others that
   * share the namespace may have that number; then one that is no process's is taken, as Linux does.
   */
  protected autobind(t: Task, groups: number): number {
    let portId = t.group.tgid;
    for (let tries = 0; ; tries++) {
      ownView.setUint32(0, AF_NETLINK, true);
      ownView.setInt32(NL_PID, portId, true);
      ownView.setInt32(NL_GROUPS, groups, true);
      const n = socketBind(this.hostFd, ownName, SOCKADDR_NL_SIZE);
      if (n === 0) this.bound(t, portId);
      if (n !== -EADDRINUSE || tries === PORT_TRIES) return n;
      portId = -4097 - Math.floor(Math.random() * 0x7fff0000);
    }
  }

  override bind(t: Task, name: Uint8Array, length: number): number {
    const v = new DataView(name.buffer, name.byteOffset, name.byteLength);
    const isOurs = length >= SOCKADDR_NL_SIZE && v.getUint16(0, true) === AF_NETLINK;
    if (isOurs && !this.isBound && v.getInt32(NL_PID, true) === 0) return this.autobind(t, v.getInt32(NL_GROUPS, true));
    const n = super.bind(t, name, length);
    if (n === 0) this.bound(t, v.getInt32(NL_PID, true));
    return n;
  }

  override connect(t: Task, name: Uint8Array, length: number): number {
    const bad = this.isBound ? 0 : this.autobind(t, 0);
    return bad < 0 ? bad : super.connect(t, name, length);
  }

  override send(t: Task, io: IoBuffer, m: Message): number {
    const bad = this.isBound ? 0 : this.autobind(t, 0);
    return bad < 0 ? bad : super.send(t, io, m);
  }

  /** Who sent it the host tells in its own numbers, of the Sentry's or the broker's process; port numbers are the guest's. */
  override receive(t: Task, io: IoBuffer, m: Message): number {
    const n = super.receive(t, io, m);
    if (n < 0 || m.controlLength === 0) return n;
    const v = new DataView(m.control.buffer, m.control.byteOffset, m.control.byteLength);
    for (let at = 0; at + CMSG_HEADER + UCRED_SIZE <= m.controlLength; ) {
      const size = getU64(v, at);
      if (size < CMSG_HEADER) break;
      if (v.getInt32(at + 8, true) === SOL_SOCKET && v.getInt32(at + 12, true) === SCM_CREDENTIALS) {
        v.setInt32(at + CMSG_HEADER, processOfPort.get(m.nameView.getInt32(NL_PID, true)) ?? 0, true);
      }
      at += Math.ceil(size / 8) * 8;
    }
    return n;
  }

  override tellsWholeLength(level: number, name: number): boolean {
    return level === SOL_NETLINK && name === NETLINK_LIST_MEMBERSHIPS;
  }
}

class RouteSocket extends NetlinkSocket {
  override send(t: Task, io: IoBuffer, m: Message): number {
    const bad = this.isBound ? 0 : this.autobind(t, 0);
    if (bad < 0) return bad;
    const { line, ns } = this.network;
    if (line < 0 || !netCapable(t, CAP_NET_ADMIN, ns)) return super.send(t, io, m);
    const n = io.remaining;
    if (n > CHANGE_MAX - SOCKADDR_NL_SIZE) return -EMSGSIZE;
    if (io.take(bytes, 0, n) !== n) return -EFAULT;
    if (!isToOthers(m) && onlyAsks(n)) {
      io.back(n);
      return super.send(t, io, m);
    }
    bytes.set(m.name.subarray(0, m.nameLength), n);
    findTarget(t, view, n);
    const { at, network } = target;
    const asker = network === null ? -1 : network.asker();
    return brokerSend(line, this.hostFd, bytes, n + m.nameLength, m.nameLength, asker < 0 ? 0 : at, asker);
  }
}

/** sock_diag(7): what ss asks of the inet sockets in the namespace, which /proc/net tells as well. Other families' are not the guest's. */
class DiagSocket extends NetlinkSocket {
  override send(t: Task, io: IoBuffer, m: Message): number {
    const n = io.remaining;
    if (n > CHANGE_MAX) return -EMSGSIZE;
    if (io.take(bytes, 0, n) !== n) return -EFAULT;
    if (!onlyInet(n)) return -EPERM;
    io.back(n);
    return super.send(t, io, m);
  }
}

/** Whether all messages in bytes[0, n) are about AF_INET and AF_INET6: the first byte of each request. */
function onlyInet(n: number): boolean {
  let at = 0;
  while (at + NLMSG_HEADER < n) {
    const size = view.getUint32(at, true);
    const family = bytes[at + NLMSG_HEADER]!;
    if (size <= NLMSG_HEADER || view.getUint16(at + NLMSG_TYPE, true) !== SOCK_DIAG_BY_FAMILY) return false;
    if (family !== AF_INET && family !== AF_INET6) return false;
    at += Math.ceil(size / 4) * 4;
  }
  return at > 0;
}

/** A message for another socket, or a group of them, and not for the kernel. */
function isToOthers(m: Message): boolean {
  return m.nameLength >= SOCKADDR_NL_SIZE && (m.nameView.getInt32(NL_PID, true) !== 0 || m.nameView.getInt32(NL_GROUPS, true) !== 0);
}

/** Whether none of the messages in bytes[0, n) would change anything. */
function onlyAsks(n: number): boolean {
  let at = 0;
  while (at + NLMSG_HEADER <= n) {
    const size = view.getUint32(at, true);
    const type = view.getUint16(at + NLMSG_TYPE, true);
    if (type >= NLMSG_MIN_TYPE && (type & 3) !== KIND_GET) return false;
    if (size < NLMSG_HEADER) break;
    at += Math.ceil(size / 4) * 4;
  }
  return true;
}

/** socket(AF_NETLINK, …). */
export function newNetlinkSocket(t: Task, family: number, type: number, protocol: number, flags: number): Socket | number {
  if (type !== SOCK_RAW && type !== SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  if (protocol === NETLINK_KOBJECT_UEVENT) return new SilentNetlinkSocket(t, family, type, protocol, flags);
  if (protocol !== NETLINK_ROUTE && protocol !== NETLINK_SOCK_DIAG) return -EPROTONOSUPPORT;
  const network = networkOf(t.kernel, t.ns.net);
  if (network === null) return -EAFNOSUPPORT;
  if (protocol === NETLINK_SOCK_DIAG) {
    const diagFd = network.open(family, type, protocol);
    return diagFd < 0 ? diagFd : new DiagSocket(t.kernel, t, network, family, type, protocol, flags, diagFd);
  }
  // Both who opened the socket and who sends have to be capable: netlink_ns_capable().
  let hostFd = netCapable(t, CAP_NET_ADMIN) ? network.openPrivileged(family, type, protocol) : -1;
  if (hostFd < 0) hostFd = network.open(family, type, protocol);
  return hostFd < 0 ? hostFd : new RouteSocket(t.kernel, t, network, family, type, protocol, flags, hostFd);
}
