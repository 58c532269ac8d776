// The Sentry's line to the network broker, the process that does what needs a capability in the sandbox's network
// namespace (native/src/netbroker.cc). The caller has checked that its guest has that capability. Without a broker, or
// where it was not given the capability itself, the answer is -EPERM.

import { close, netBrokerCall } from 'ptrace-napi';
import { EPERM } from '../abi/errno.ts';

// Twin of native/src/netbroker.cc's Request.
const SOCKET = 0;
const BIND = 1;
const SET_OPTION = 2;
const SEND = 3;
const IOCTL = 4;
const TUN = 5;
const WRITE = 6;

const NOTHING = new Uint8Array(0);
let broker = -1;

/** The socket that the broker serves. Another that takes its place: the one before ends. */
export function useNetBroker(hostFd: number): void {
  if (broker >= 0) close(broker);
  broker = hostFd;
}

export function hasNetBroker(): boolean {
  return broker >= 0;
}

/** A raw, packet or netlink socket: its descriptor. */
export function brokerSocket(family: number, type: number, protocol: number): number {
  return broker < 0 ? -EPERM : netBrokerCall(broker, SOCKET, family, type, protocol, -1, NOTHING, 0, false);
}

export function brokerBind(hostFd: number, name: Uint8Array, length: number): number {
  return broker < 0 ? -EPERM : netBrokerCall(broker, BIND, 0, 0, 0, hostFd, name, length, false);
}

export function brokerSetOption(hostFd: number, level: number, name: number, value: Uint8Array, length: number): number {
  return broker < 0 ? -EPERM : netBrokerCall(broker, SET_OPTION, level, name, 0, hostFd, value, length, false);
}

/** Sends a netlink message; the last `nameLength` of the n bytes are where to, 0 for the host's kernel. */
export function brokerSend(hostFd: number, bytes: Uint8Array, n: number, nameLength: number): number {
  return broker < 0 ? -EPERM : netBrokerCall(broker, SEND, nameLength, 0, 0, hostFd, bytes, n, false);
}

/** An ioctl that changes an interface, by a struct ifreq. */
export function brokerIoctl(hostFd: number, cmd: number, ifreq: Uint8Array, n: number): number {
  return broker < 0 ? -EPERM : netBrokerCall(broker, IOCTL, cmd, 0, 0, hostFd, ifreq, n, true);
}

/** TUNSETIFF on a fresh descriptor of /dev/net/tun: the descriptor. */
export function brokerTun(ifreq: Uint8Array, n: number): number {
  return broker < 0 ? -EPERM : netBrokerCall(broker, TUN, 0, 0, 0, -1, ifreq, n, true);
}

/** Writes to a file of /proc/sys/net, at its start. */
export function brokerWrite(hostFd: number, bytes: Uint8Array, n: number): number {
  return broker < 0 ? -EPERM : netBrokerCall(broker, WRITE, 0, 0, 0, hostFd, bytes, n, false);
}
