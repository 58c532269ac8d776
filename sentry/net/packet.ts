// AF_PACKET: frames of the host's interfaces, with --net-raw. Without CAP_NET_RAW the refusal is Linux's own.

import { EAFNOSUPPORT, EPERM, ESOCKTNOSUPPORT } from '../abi/errno.ts';
import { CAP_NET_RAW } from '../abi/sched.ts';
import { SOCK_DGRAM, SOCK_RAW } from '../abi/socket.ts';
import type { Task } from '../kernel/task.ts';
import { refuseRaw } from './egress.ts';
import { netCapable } from './host-privileges.ts';
import { HostSocket } from './host-socket.ts';
import { networkOf } from './network.ts';
import type { Socket } from './socket.ts';

/** packet_create(): SOCK_PACKET, which is long obsolete, is not offered. */
export function newPacketSocket(t: Task, family: number, type: number, protocol: number, flags: number): Socket | number {
  if (!netCapable(t, CAP_NET_RAW)) return -EPERM;
  const refused = t.ns.net.isolated ? 0 : refuseRaw(t);
  if (refused < 0) return refused;
  if (type !== SOCK_RAW && type !== SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  const network = networkOf(t.kernel, t.ns.net);
  if (network === null) return -EAFNOSUPPORT;
  const hostFd = network.openPrivileged(family, type, protocol);
  return hostFd < 0 ? hostFd : new HostSocket(t.kernel, t, network, family, type, protocol, flags, hostFd);
}
