// What src/net.cc exports. Results are values or -errno; sockets are non-blocking and close-on-exec.

export function socketOpen(family: number, type: number, protocol: number): number;
export function socketBind(fd: number, name: Uint8Array, length: number): number;
export function socketConnect(fd: number, name: Uint8Array, length: number): number;
export function socketListen(fd: number, backlog: number): number;
/** The descriptor of the new connection; its peer's address is put into `name`, the address' length into out[0]. */
export function socketAccept(fd: number, name: Uint8Array, out: Int32Array): number;
export function socketShutdown(fd: number, how: number): number;
/** The length of the own or the peer's address, put into `out`. */
export function socketName(fd: number, peer: boolean, out: Uint8Array): number;
export function socketSetOption(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
/** SO_ATTACH_FILTER: `count` instructions of 8 bytes each. */
export function socketAttachFilter(fd: number, program: Uint8Array, count: number): number;
/** The length of the value. */
export function socketGetOption(fd: number, level: number, name: number, value: Uint8Array, room: number): number;
/** Sends bytes[0, n); MSG_DONTWAIT and MSG_NOSIGNAL are added. Lengths 0: no address, no control. */
export function socketSend(
  fd: number,
  bytes: Uint8Array,
  n: number,
  flags: number,
  name: Uint8Array,
  nameLength: number,
  control: Uint8Array,
  controlLength: number,
): number;
/** Receives up to n bytes; out becomes {name length, control length, msg_flags}. */
export function socketReceive(
  fd: number,
  bytes: Uint8Array,
  n: number,
  flags: number,
  name: Uint8Array,
  control: Uint8Array,
  controlRoom: number,
  out: Int32Array,
): number;
/** SIOCETHTOOL: the request is at the front of `data`, which has room for the answer. */
export function ethtool(fd: number, ifreq: Uint8Array, data: Uint8Array): number;
/** SIOCGIFCONF: bytes of struct ifreq put into `out`. */
export function interfaceList(fd: number, out: Uint8Array): number;

/**
 * Forks the network broker of a sandbox (src/netbroker.cc), which serves the socket `fd` until its other end is closed:
 * in the pid namespace of the Sentry, and in its network namespace or in the caller's, with at most the capabilities of the bit set.
 * ownNetwork: a network namespace to stand in instead, and to open all sockets in, or -1; raisesLo: and to raise lo there. Its pid or
 * -errno.
 */
export function forkNetBroker(
  fd: number,
  sentryPid: number,
  joinsNetwork: boolean,
  capabilities: number,
  ownNetwork: number,
  raisesLo: boolean,
): number;
/**
 * One request to the broker, with the descriptors fd and other (-1: none) and bytes[0, n), which the answer's bytes replace when `back` is
 * true. A descriptor that was made, the result, or -errno; -EPERM when the broker is gone.
 */
export function netBrokerCall(
  sock: number,
  request: number,
  a: number,
  b: number,
  c: number,
  fd: number,
  bytes: Uint8Array,
  n: number,
  back: boolean,
  other: number,
): number;
