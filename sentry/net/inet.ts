// socket(AF_INET or AF_INET6, …) on the host's network: TCP, UDP, ping where the host lets us, and raw
// sockets where the sandbox may have them.

import { EPERM, EPROTONOSUPPORT, ESOCKTNOSUPPORT } from '../abi/errno.ts';
import { CAP_NET_RAW } from '../abi/sched.ts';
import {
  IPPROTO_ICMP,
  IPPROTO_ICMPV6,
  IPPROTO_TCP,
  IPPROTO_UDP,
  IPPROTO_UDPLITE,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_STREAM,
} from '../abi/socket.ts';
import { socketOpen } from '../host/host-net.ts';
import type { Task } from '../kernel/task.ts';
import { refuseRaw } from './egress.ts';
import { netCapable } from './host-privileges.ts';
import { HostSocket } from './host-socket.ts';
import { networkOf } from './network.ts';
import type { Socket } from './socket.ts';

/** inet_create(), inet6_create(). */
export function newInetSocket(t: Task, family: number, type: number, protocol: number, flags: number): Socket | number {
  if (type === SOCK_RAW) return newRawSocket(t, family, protocol, flags);
  if (type !== SOCK_STREAM && type !== SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  const isTcp = type === SOCK_STREAM && (protocol === 0 || protocol === IPPROTO_TCP);
  const isUdp = type === SOCK_DGRAM && (protocol === 0 || protocol === IPPROTO_UDP || protocol === IPPROTO_UDPLITE);
  const isPing = type === SOCK_DGRAM && (protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6);
  if (!isTcp && !isUdp && !isPing) return -EPROTONOSUPPORT;
  const network = networkOf(t.kernel, t.ns.net);
  const hostFd = network === null ? socketOpen(family, type, protocol) : network.open(family, type, protocol);
  if (hostFd < 0) return hostFd;
  const named = protocol !== 0 ? protocol : type === SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
  return new HostSocket(t.kernel, t, network, family, type, named, flags, hostFd);
}

function newRawSocket(t: Task, family: number, protocol: number, flags: number): Socket | number {
  // "IPPROTO_IP … EPROTONOSUPPORT": no raw socket listens to the number 0.
  if (protocol === 0) return -EPROTONOSUPPORT;
  if (!netCapable(t, CAP_NET_RAW)) return -EPERM;
  const refused = t.ns.net.isolated ? 0 : refuseRaw(t);
  if (refused < 0) return refused;
  const network = networkOf(t.kernel, t.ns.net);
  const hostFd = network === null ? -EPERM : network.openPrivileged(family, SOCK_RAW, protocol);
  return hostFd < 0 ? hostFd : new HostSocket(t.kernel, t, network, family, SOCK_RAW, protocol, flags, hostFd);
}
