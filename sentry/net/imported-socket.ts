// Sockets that the sandbox was started with: the standard streams of a program whose caller made them with socketpair(2), or a
// connection that it was handed; and connections to unix sockets of the host, where it may have some. Guests may talk over them, and a connected or listening one of the internet keeps its whole
// interface. A unix socket reaches into the host: it carries bytes only, no descriptors either way, and tells no host's path.

import { EINVAL, ENOTSOCK, EOPNOTSUPP } from '../abi/errno.ts';
import { O_NONBLOCK } from '../abi/fcntl.ts';
import { AF_INET, AF_INET6, AF_UNIX, SO_DOMAIN, SO_PROTOCOL, SO_TYPE, SOL_SOCKET } from '../abi/socket.ts';
import type { WaitQueue } from '../base/wait-queue.ts';
import { fcntlGetFlags } from '../host/host-io.ts';
import { socketGetOption } from '../host/host-net.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { HostSocket } from './host-socket.ts';
import type { Message } from './message.ts';
import { networkOf } from './network.ts';
import type { Socket, SocketName } from './socket.ts';

/** struct sockaddr_un of a socket without a name. */
const NAMELESS = 2;

class ImportedUnixSocket extends HostSocket {
  override bind(_t: Task, _name: Uint8Array, _length: number): number {
    return -EINVAL;
  }

  override connect(_t: Task, _name: Uint8Array, _length: number): number {
    return -EINVAL;
  }

  override listen(_t: Task, _backlog: number): number {
    return -EINVAL;
  }

  override accept(_t: Task, _flags: number): Socket | number {
    return -EOPNOTSUPP;
  }

  override getName(_t: Task, _peer: boolean, out: SocketName): number {
    out.view.setUint16(0, AF_UNIX, true);
    out.length = NAMELESS;
    return 0;
  }

  override send(t: Task, io: IoBuffer, m: Message): number {
    // A name would be looked up among the host's files.
    if (m.nameLength > 0) return -EOPNOTSUPP;
    m.controlLength = 0;
    return super.send(t, io, m);
  }

  override receive(t: Task, io: IoBuffer, m: Message): number {
    // Without room for control messages the host gives us no descriptors.
    m.controlRoom = 0;
    const n = super.receive(t, io, m);
    m.nameLength = 0;
    return n;
  }
}

/** A description for a socket of the host, which it takes over; -ENOTSOCK for what is none. */
export function importSocket(kernel: Kernel, hostFd: number): Socket | number {
  const network = networkOf(kernel, kernel.initialNamespaces.net);
  const family = option(hostFd, SO_DOMAIN);
  if (family < 0) return family;
  const type = option(hostFd, SO_TYPE);
  const nonblock = fcntlGetFlags(hostFd) & O_NONBLOCK;
  if (family === AF_UNIX) return new ImportedUnixSocket(kernel, null, network, family, type, 0, nonblock, hostFd);
  if (family !== AF_INET && family !== AF_INET6) return -ENOTSOCK;
  return new HostSocket(kernel, null, network, family, type, option(hostFd, SO_PROTOCOL), nonblock, hostFd);
}

/** The host's end of a guest's unix socket that has connected to a name of the host's; whoever waits for that waits for this. */
export function socketBehind(kernel: Kernel, type: number, hostFd: number, waiters: WaitQueue): Socket {
  return new ImportedUnixSocket(
    kernel,
    null,
    networkOf(kernel, kernel.initialNamespaces.net),
    AF_UNIX,
    type,
    0,
    O_NONBLOCK,
    hostFd,
    waiters,
  );
}

const value = new Uint8Array(4);
const valueView = new DataView(value.buffer);

function option(hostFd: number, name: number): number {
  const n = socketGetOption(hostFd, SOL_SOCKET, name, value, 4);
  return n < 0 ? n : valueView.getInt32(0, true);
}
