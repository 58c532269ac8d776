// /dev/net/tun: interfaces whose other end is a program. The host has them, in the network of the task that opened the
// device; the broker makes the interface for guests with CAP_NET_ADMIN there, and what is read and written afterwards
// is one packet a call on the descriptor that it has sent. drivers/net/tun.c.

import { EAGAIN, EBADFD, EEXIST, EFAULT, EINVAL, EPERM } from '../abi/errno.ts';
import { POLLERR, POLLOUT, POLLRDNORM, POLLWRNORM } from '../abi/poll.ts';
import { CAP_NET_ADMIN } from '../abi/sched.ts';
import { SIOCGIFHWADDR, SIOCSIFHWADDR } from '../abi/socket.ts';
import {
  TUN_FEATURES,
  TUNGETFEATURES,
  TUNGETIFF,
  TUNGETSNDBUF,
  TUNGETVNETBE,
  TUNGETVNETHDRSZ,
  TUNGETVNETLE,
  TUNSETDEBUG,
  TUNSETGROUP,
  TUNSETIFF,
  TUNSETLINK,
  TUNSETNOCSUM,
  TUNSETOFFLOAD,
  TUNSETOWNER,
  TUNSETPERSIST,
  TUNSETQUEUE,
  TUNSETSNDBUF,
  TUNSETVNETBE,
  TUNSETVNETHDRSZ,
  TUNSETVNETLE,
} from '../abi/tun.ts';
import { DeviceDescription } from '../fs/devices.ts';
import { close, ioctl, ioctlValue, pollFd, read, write } from '../host/host-io.ts';
import { brokerTun } from '../host/net-broker.ts';
import type { HostWatcher, Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import type { VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import type { Vfs } from '../vfs/vfs.ts';
import { netCapable } from './host-privileges.ts';
import { toldEvents, unwatchHost, WATCHED, watchHost } from './host-watch.ts';
import { type Network, networkOf } from './network.ts';

const MISC_MAJOR = 10;
const TUN_MINOR = 200;
const IFREQ_SIZE = 40;
/** More than any packet with its headers. */
const PACKET_MAX = 128 * 1024;

const bytes = new Uint8Array(PACKET_MAX);

class TunDevice extends DeviceDescription implements HostWatcher {
  private readonly kernel: Kernel;
  private readonly network: Network | null;
  /** The host's descriptor, once there is an interface. */
  private hostFd = -1;
  private token = 0;

  constructor(t: Task, path: VfsPath, flags: number) {
    super(flags, path);
    this.kernel = t.kernel;
    this.network = networkOf(t.kernel, t.ns.net);
    if (this.network !== null) this.network.sockets++;
  }

  protected override release(_t: Task | null): void {
    unwatchHost(this.kernel, this.hostFd, this.token);
    if (this.hostFd >= 0) close(this.hostFd);
    if (this.network !== null) this.network.sockets--;
  }

  // ---- readiness

  hostReady(events: number): void {
    this.waiters.notify(toldEvents(events));
  }

  private watch(): void {
    if (this.token === 0) this.token = watchHost(this.kernel, this, this.hostFd);
  }

  override canPoll(): boolean {
    return true;
  }

  override poll(_t: Task | null): number {
    if (this.hostFd < 0) return POLLERR;
    this.watch();
    const events = pollFd(this.hostFd, WATCHED | POLLRDNORM | POLLWRNORM, 0);
    return events < 0 ? POLLERR : events;
  }

  // ---- packets

  override read(_t: Task, io: IoBuffer): number {
    if (this.hostFd < 0) return -EBADFD;
    const n = read(this.hostFd, bytes, 0, Math.min(io.remaining, PACKET_MAX));
    if (n === -EAGAIN) this.watch();
    return n > 0 && io.put(bytes, 0, n) !== n ? -EFAULT : n;
  }

  override write(_t: Task, io: IoBuffer): number {
    if (this.hostFd < 0) return -EBADFD;
    const n = io.remaining;
    if (n > PACKET_MAX) return -EINVAL;
    if (io.take(bytes, 0, n) !== n) return -EFAULT;
    const written = write(this.hostFd, bytes, 0, n);
    if (written < 0) io.back(n);
    if (written === -EAGAIN) this.watch();
    return written;
  }

  // ---- the interface

  override ioctl(t: Task, cmd: number, arg: number): number {
    if (cmd === TUNGETFEATURES) return t.mm.storeU32(arg, TUN_FEATURES);
    if (cmd === TUNSETIFF) return this.attach(t, arg);
    if (this.hostFd < 0) return -EBADFD;
    switch (cmd) {
      case TUNSETNOCSUM:
      case TUNSETDEBUG:
      case TUNSETLINK:
      case TUNSETOFFLOAD:
      case TUNSETPERSIST:
        return ioctlValue(this.hostFd, cmd, arg);
      // Whoever attaches to an interface needs CAP_NET_ADMIN here, owner or not.
      case TUNSETOWNER:
      case TUNSETGROUP:
        return 0;
      case TUNGETIFF:
      case SIOCGIFHWADDR:
        return this.exchange(t, cmd, arg, 0, IFREQ_SIZE);
      case TUNSETQUEUE:
      case SIOCSIFHWADDR:
        return this.exchange(t, cmd, arg, IFREQ_SIZE, 0);
      case TUNGETSNDBUF:
      case TUNGETVNETHDRSZ:
      case TUNGETVNETLE:
      case TUNGETVNETBE:
        return this.exchange(t, cmd, arg, 0, 4);
      case TUNSETSNDBUF:
      case TUNSETVNETHDRSZ:
      case TUNSETVNETLE:
      case TUNSETVNETBE:
        return this.exchange(t, cmd, arg, 4, 0);
      default:
        return -EINVAL;
    }
  }

  /** Hands on a request whose argument has so many bytes in and out. */
  private exchange(t: Task, cmd: number, arg: number, into: number, out: number): number {
    bytes.fill(0, 0, IFREQ_SIZE);
    if (into > 0 && t.mm.copyIn(arg, bytes, 0, into) < 0) return -EFAULT;
    const n = ioctl(this.hostFd, cmd, bytes);
    return n >= 0 && out > 0 && t.mm.copyOut(arg, bytes, 0, out) < 0 ? -EFAULT : n;
  }

  /** tun_set_iff(). */
  private attach(t: Task, arg: number): number {
    if (t.mm.copyIn(arg, bytes, 0, IFREQ_SIZE) < 0) return -EFAULT;
    if (this.hostFd >= 0) return -EEXIST;
    const { network } = this;
    if (network === null || !netCapable(t, CAP_NET_ADMIN, network.ns)) return -EPERM;
    const hostFd = brokerTun(network.isMade ? network.asker() : -1, bytes, IFREQ_SIZE);
    if (hostFd < 0) return hostFd;
    this.hostFd = hostFd;
    // Who waits for an error alone does not know that it is over.
    this.waiters.notify(POLLOUT | POLLWRNORM);
    return t.mm.copyOut(arg, bytes, 0, IFREQ_SIZE);
  }
}

export function registerTun(vfs: Vfs): void {
  vfs.registerCharDevice(MISC_MAJOR, TUN_MINOR, (t: Task | null, at: VfsPath, flags: number) =>
    t === null ? -EPERM : new TunDevice(t, at, flags),
  );
}
