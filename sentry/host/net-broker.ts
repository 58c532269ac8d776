// The Sentry's line to the network broker, the process that does what needs a capability in the sandbox's network
// namespace (native/src/netbroker.cc). The caller has checked that its guest has that capability. Without a broker, or
// where it was not given the capability itself, the answer is -EPERM.

import { close, netBrokerCall, socketPair } from 'ptrace-napi';
import { EPERM } from '../abi/errno.ts';
import { SOCK_SEQPACKET } from '../abi/socket.ts';

// Twin of native/src/netbroker.cc's Request.
const SOCKET = 0;
const BIND = 1;
const SET_OPTION = 2;
const SEND = 3;
const IOCTL = 4;
const TUN = 5;
const WRITE = 6;
const MAKER = 7;
const NETWORK = 8;
const TABLE = 9;

/** Files of /proc/net that show a network. Twin of native/src/netbroker.cc's kPaths, where they begin at 1. */
export const NETWORK_TABLES: readonly string[] = [
  'anycast6',
  'arp',
  'dev',
  'dev_mcast',
  'fib_trie',
  'icmp',
  'icmp6',
  'if_inet6',
  'igmp',
  'igmp6',
  'ipv6_route',
  'mcfilter',
  'mcfilter6',
  'netstat',
  'packet',
  'protocols',
  'ptype',
  'raw',
  'raw6',
  'route',
  'rt6_stats',
  'rt_cache',
  'snmp',
  'snmp6',
  'sockstat',
  'sockstat6',
  'tcp',
  'tcp6',
  'udp',
  'udp6',
  'udplite',
  'udplite6',
];

const NOTHING = new Uint8Array(0);
let broker = -1;
/** The line to the maker of networks, once one was wanted; -errno where it cannot be. */
let maker = 0;

/** The socket that the broker serves. Another that takes its place: the one before ends. */
export function useNetBroker(hostFd: number): void {
  if (broker >= 0) close(broker);
  broker = hostFd;
}

/** Who acts with capabilities on the sandbox's own network: the first argument of what follows. */
export function brokerLine(): number {
  return broker;
}

/** The same for networks that guests have made. -errno when there can be none. */
export function makerLine(): number {
  if (maker !== 0) return maker;
  if (broker < 0) return -EPERM;
  const ends = new Int32Array(2);
  maker = socketPair(SOCK_SEQPACKET, ends);
  if (maker < 0) return maker;
  const n = netBrokerCall(broker, MAKER, 0, 0, 0, ends[1]!, NOTHING, 0, false, -1);
  close(ends[1]!);
  maker = n < 0 ? n : ends[0]!;
  if (n < 0) close(ends[0]!);
  return maker;
}

/** A network of its own: a socket in it that names it. */
export function makeNetwork(): number {
  const line = makerLine();
  return line < 0 ? line : netBrokerCall(line, NETWORK, 0, 0, 0, -1, NOTHING, 0, false, -1);
}

/** Any socket in a network that was made, named by `network`; or, for -1, a raw, packet or netlink one in the sandbox's: its descriptor. */
export function networkSocket(network: number, family: number, type: number, protocol: number): number {
  const line = network < 0 ? broker : maker;
  return line < 0 ? -EPERM : netBrokerCall(line, SOCKET, family, type, protocol, network, NOTHING, 0, false, -1);
}

/** Any socket in the network of a broker that opens all there: its descriptor. */
export function lineSocket(line: number, family: number, type: number, protocol: number): number {
  return netBrokerCall(line, SOCKET, family, type, protocol, -1, NOTHING, 0, false, -1);
}

/** The same for a file of /proc/net. index: of NETWORK_TABLES. */
export function lineTable(line: number, index: number): number {
  return netBrokerCall(line, TABLE, index + 1, 0, 0, -1, NOTHING, 0, false, -1);
}

/** A file of /proc/net of a network that was made: its descriptor. index: of NETWORK_TABLES. */
export function networkTable(network: number, index: number): number {
  return maker <= 0 ? -EPERM : netBrokerCall(maker, TABLE, index + 1, 0, 0, network, NOTHING, 0, false, -1);
}

export function brokerBind(line: number, hostFd: number, name: Uint8Array, length: number): number {
  return line < 0 ? -EPERM : netBrokerCall(line, BIND, 0, 0, 0, hostFd, name, length, false, -1);
}

export function brokerSetOption(line: number, hostFd: number, level: number, name: number, value: Uint8Array, length: number): number {
  return line < 0 ? -EPERM : netBrokerCall(line, SET_OPTION, level, name, 0, hostFd, value, length, false, -1);
}

/**
 * Sends a netlink message; the last `nameLength` of the n bytes are where to, 0 for the host's kernel. At bytes[targetAt, +4), unless
 * that is 0, goes a descriptor of the network that the socket `target` is in.
 */
export function brokerSend(
  line: number,
  hostFd: number,
  bytes: Uint8Array,
  n: number,
  nameLength: number,
  targetAt: number,
  target: number,
): number {
  return line < 0 ? -EPERM : netBrokerCall(line, SEND, nameLength, targetAt, 0, hostFd, bytes, n, false, target);
}

/** An ioctl that changes an interface, by a struct ifreq. */
export function brokerIoctl(line: number, hostFd: number, cmd: number, ifreq: Uint8Array, n: number): number {
  return line < 0 ? -EPERM : netBrokerCall(line, IOCTL, cmd, 0, 0, hostFd, ifreq, n, true, -1);
}

/** TUNSETIFF on a fresh descriptor of /dev/net/tun: the descriptor. network: as for networkSocket(). */
export function brokerTun(network: number, ifreq: Uint8Array, n: number): number {
  const line = network < 0 ? broker : maker;
  return line < 0 ? -EPERM : netBrokerCall(line, TUN, 0, 0, 0, network, ifreq, n, true, -1);
}

/** Writes to a file of /proc/sys/net, at its start. */
export function brokerWrite(hostFd: number, bytes: Uint8Array, n: number): number {
  return broker < 0 ? -EPERM : netBrokerCall(broker, WRITE, 0, 0, 0, hostFd, bytes, n, false, -1);
}
