// SIOCGIF* and SIOCSIF*: what programs ask about network interfaces, and change of them, through a
// socket of any family. The host answers, for the socket's network, on one that is kept for this
// alone; changes are the broker's.

import { EFAULT, ENODEV, ENOTTY, EPERM } from '../abi/errno.ts';
import { CAP_NET_ADMIN } from '../abi/sched.ts';
import { SIOCETHTOOL, SIOCGIFCONF } from '../abi/socket.ts';
import { interfaceList, ioctl } from '../host/host-net.ts';
import { brokerIoctl } from '../host/net-broker.ts';
import type { Task } from '../kernel/task.ts';
import { ethtoolIoctl } from './ethtool.ts';
import { isInterfaceChange, isInterfaceRequest } from './host-options.ts';
import { netCapable } from './host-privileges.ts';
import type { Network } from './network.ts';

const IFREQ_SIZE = 40;
/** More interfaces than these are not listed. */
const LIST_ROOM = 64 * 1024;

const bytes = new Uint8Array(LIST_ROOM);

/** Answers an interface request about a network, null for an empty one: 0, its errno, or -ENOTTY for any other request. */
export function interfaceIoctl(t: Task, network: Network | null, cmd: number, arg: number): number {
  if (cmd !== SIOCGIFCONF && cmd !== SIOCETHTOOL && !isInterfaceRequest(cmd) && !isInterfaceChange(cmd)) return -ENOTTY;
  if (network === null) return -ENODEV;
  const asker = network.asker();
  if (asker < 0) return asker;
  if (cmd === SIOCGIFCONF) return listInterfaces(t, asker, arg);
  if (t.mm.copyIn(arg, bytes, 0, IFREQ_SIZE) < 0) return -EFAULT;
  if (cmd === SIOCETHTOOL) return ethtoolIoctl(t, asker, bytes);
  if (isInterfaceChange(cmd)) {
    // The broker tells what is wrong beyond the capability: dev_ioctl() checks that first.
    return netCapable(t, CAP_NET_ADMIN, network.ns) ? Math.min(brokerIoctl(network.line, asker, cmd, bytes, IFREQ_SIZE), 0) : -EPERM;
  }
  const n = ioctl(asker, cmd, bytes);
  return n < 0 ? n : t.mm.copyOut(arg, bytes, 0, IFREQ_SIZE);
}

/** struct ifconf is a length and a pointer; without the pointer it asks for the length. */
function listInterfaces(t: Task, asker: number, arg: number): number {
  const room = t.mm.loadU32(arg);
  const addr = t.mm.loadU64(arg + 8);
  if (room < 0 || addr < 0) return -EFAULT;
  const all = interfaceList(asker, bytes);
  if (all < 0) return all;
  const n = addr === 0 ? all : Math.min(all, Math.floor(room / IFREQ_SIZE) * IFREQ_SIZE);
  if (addr !== 0 && t.mm.copyOut(addr, bytes, 0, n) < 0) return -EFAULT;
  return t.mm.storeU32(arg, n);
}
