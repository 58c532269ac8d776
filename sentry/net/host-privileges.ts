// What needs a capability on the host's network: the guest's own is checked here, by Linux's rules, and the call goes
// through the broker if the host refuses it to the Sentry, which has none.

import { EACCES, EPERM } from '../abi/errno.ts';
import { CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW } from '../abi/sched.ts';
import {
  IP_TRANSPARENT,
  IPV6_TRANSPARENT,
  SO_BINDTODEVICE,
  SO_BINDTOIFINDEX,
  SO_MARK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from '../abi/socket.ts';
import { socketBind, socketSetOption } from '../host/host-net.ts';
import { brokerBind, brokerSetOption } from '../host/net-broker.ts';
import type { NetNamespace } from '../kernel/namespaces.ts';
import type { Task } from '../kernel/task.ts';
import type { Network } from './network.ts';

/** ns_capable() over a network namespace, the task's own if none is named. */
export function netCapable(t: Task, cap: number, ns: NetNamespace = t.ns.net): boolean {
  return t.creds.capableIn(ns.userns, cap);
}

/** bind(2); ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE. */
export function bindHost(t: Task, network: Network, hostFd: number, name: Uint8Array, length: number): number {
  const n = socketBind(hostFd, name, length);
  return n === -EACCES && netCapable(t, CAP_NET_BIND_SERVICE, network.ns) ? keep(brokerBind(network.line, hostFd, name, length), n) : n;
}

/** setsockopt(2). */
export function setHostOption(
  t: Task,
  network: Network,
  hostFd: number,
  level: number,
  name: number,
  value: Uint8Array,
  length: number,
): number {
  const n = socketSetOption(hostFd, level, name, value, length);
  if (n !== -EPERM) return n;
  const { ns } = network;
  if (!netCapable(t, CAP_NET_ADMIN, ns) && !(rawWillDo(level, name) && netCapable(t, CAP_NET_RAW, ns))) return n;
  return brokerSetOption(network.line, hostFd, level, name, value, length);
}

/** Options for which CAP_NET_RAW is as good as CAP_NET_ADMIN: net/core/sock.c, net/ipv4/ip_sockglue.c. */
function rawWillDo(level: number, name: number): boolean {
  if (level === SOL_SOCKET) return name === SO_MARK || name === SO_BINDTODEVICE || name === SO_BINDTOIFINDEX;
  return (level === SOL_IP && name === IP_TRANSPARENT) || (level === SOL_IPV6 && name === IPV6_TRANSPARENT);
}

/** The broker's answer, or the host's own where there is no broker. */
function keep(answer: number, own: number): number {
  return answer === -EPERM ? own : answer;
}
