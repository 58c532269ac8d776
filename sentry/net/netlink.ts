// AF_NETLINK. NETLINK_ROUTE is the host's, in the sandbox's network namespace: what a guest asks of
// links, addresses and routes is answered as it is, and the Sentry has no capability by which it
// could change them, so that requests to change something get the host's own EPERM. Events of
// devices (NETLINK_KOBJECT_UEVENT) there are none; a listener hears nothing.

import { EAFNOSUPPORT, EAGAIN, EPROTONOSUPPORT, ESOCKTNOSUPPORT } from '../abi/errno.ts';
import { POLLOUT, POLLWRBAND, POLLWRNORM } from '../abi/poll.ts';
import { AF_NETLINK, NETLINK_KOBJECT_UEVENT, NETLINK_ROUTE, SOCK_DGRAM, SOCK_RAW } from '../abi/socket.ts';
import { socketOpen } from '../host/host-net.ts';
import type { Task } from '../kernel/task.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { HostSocket } from './host-socket.ts';
import type { Message } from './message.ts';
import type { Socket, SocketName } from './socket.ts';
import { KernelSocket } from './socket-options.ts';

/** sizeof(struct sockaddr_nl). */
const SOCKADDR_NL_SIZE = 12;

/** A socket on which nothing ever happens. */
class SilentNetlinkSocket extends KernelSocket {
  private portId = 0;
  private groups = 0;

  override bind(t: Task, name: Uint8Array, _length: number): number {
    const v = new DataView(name.buffer, name.byteOffset, name.byteLength);
    this.portId = v.getInt32(4, true) || t.group.tgid;
    this.groups = v.getInt32(8, true);
    return 0;
  }

  override getName(_t: Task, _peer: boolean, out: SocketName): number {
    out.view.setUint32(0, AF_NETLINK, true);
    out.view.setInt32(4, this.portId, true);
    out.view.setInt32(8, this.groups, true);
    out.length = SOCKADDR_NL_SIZE;
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

/** socket(AF_NETLINK, …). */
export function newNetlinkSocket(t: Task, family: number, type: number, protocol: number, flags: number): Socket | number {
  if (type !== SOCK_RAW && type !== SOCK_DGRAM) return -ESOCKTNOSUPPORT;
  if (protocol === NETLINK_KOBJECT_UEVENT) return new SilentNetlinkSocket(t, family, type, protocol, flags);
  if (protocol !== NETLINK_ROUTE) return -EPROTONOSUPPORT;
  // The interfaces of the sandbox's namespace are not those of one made inside it.
  if (t.ns.net.isolated) return -EAFNOSUPPORT;
  const hostFd = socketOpen(family, type, protocol);
  return hostFd < 0 ? hostFd : new HostSocket(t.kernel, t, family, type, protocol, flags, hostFd);
}
