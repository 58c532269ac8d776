// What src/net.cc exports. Results are values or -errno; sockets are non-blocking and close-on-exec.

export function socketOpen(family: number, type: number, protocol: number): number;
export function socketBind(fd: number, name: Uint8Array, length: number): number;
export function socketConnect(fd: number, name: Uint8Array, length: number): number;
export function socketListen(fd: number, backlog: number): number;
/** The descriptor of the new connection. */
export function socketAccept(fd: number): number;
export function socketShutdown(fd: number, how: number): number;
/** The length of the own or the peer's address, put into `out`. */
export function socketName(fd: number, peer: boolean, out: Uint8Array): number;
export function socketSetOption(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
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
/** SIOCGIFCONF: bytes of struct ifreq put into `out`. */
export function interfaceList(fd: number, out: Uint8Array): number;
