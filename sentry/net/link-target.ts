// Netlink messages that send an interface to another network namespace name that by a process or a descriptor of the guest.
// The host's kernel would take either for one of the broker's, so that each is replaced: one by a descriptor that the broker
// makes, of the network behind the guest's namespace, any other by one that there is not.

import { NsDescription } from '../fs/nsfs.ts';
import type { NetNamespace } from '../kernel/namespaces.ts';
import type { Task } from '../kernel/task.ts';
import type { Network } from './network.ts';
import { networkOf } from './network.ts';

// struct nlmsghdr, struct ifinfomsg, struct rtattr.
const NLMSG_HEADER = 16;
const IFINFOMSG = 16;
const RTA_HEADER = 4;
const RTA_TYPE_MASK = 0x3fff;
const RTM_NEWLINK = 16;
const RTM_SETLINK = 19;

const IFLA_LINKINFO = 18;
const IFLA_NET_NS_PID = 19;
const IFLA_NET_NS_FD = 28;
const IFLA_INFO_DATA = 2;
/** The one nested description of a second interface: veth and its kin. */
const PEER = 1;
const NO_FD = 0xffffffff;

/** Where the descriptor goes, 0 for nowhere; and whose network it is. */
export const target: { at: number; network: Network | null } = { at: 0, network: null };

/** Takes what names a namespace out of the messages in v[0, n), and tells in `target` what the broker is to put there. */
export function findTarget(t: Task, v: DataView, n: number): void {
  target.at = 0;
  target.network = null;
  for (let at = 0; at + NLMSG_HEADER <= n; ) {
    const size = v.getUint32(at, true);
    const type = v.getUint16(at + 4, true);
    if (size < NLMSG_HEADER) return;
    const end = Math.min(at + size, n);
    if (type === RTM_NEWLINK || type === RTM_SETLINK) walk(t, v, at + NLMSG_HEADER + IFINFOMSG, end, 0);
    at += Math.ceil(size / 4) * 4;
  }
}

/** Attributes in v[at, end): of a link (0), of its IFLA_LINKINFO (1), or of what is specific to its kind (2). */
function walk(t: Task, v: DataView, start: number, end: number, level: number): void {
  for (let at = start; at + RTA_HEADER <= end; ) {
    const size = v.getUint16(at, true);
    if (size < RTA_HEADER || at + size > end) return;
    const type = v.getUint16(at + 2, true) & RTA_TYPE_MASK;
    const from = at + RTA_HEADER;
    if (level === 0 && (type === IFLA_NET_NS_PID || type === IFLA_NET_NS_FD) && size === RTA_HEADER + 4) {
      replace(t, v, at, type === IFLA_NET_NS_PID);
    } else if (level === 0 && type === IFLA_LINKINFO) walk(t, v, from, at + size, 1);
    else if (level === 1 && type === IFLA_INFO_DATA) walk(t, v, from, at + size, 2);
    else if (level === 2 && type === PEER) walk(t, v, from + IFINFOMSG, at + size, 0);
    at += Math.ceil(size / 4) * 4;
  }
}

function replace(t: Task, v: DataView, at: number, isPid: boolean): void {
  const value = v.getInt32(at + RTA_HEADER, true);
  const ns = isPid ? namespaceOfProcess(t, value) : namespaceOfFile(t, value);
  v.setUint16(at + 2, IFLA_NET_NS_FD, true);
  v.setUint32(at + RTA_HEADER, NO_FD, true);
  const network = ns === undefined || target.at !== 0 ? null : networkOf(t.kernel, ns);
  if (network === null) return;
  target.at = at + RTA_HEADER;
  target.network = network;
}

function namespaceOfProcess(t: Task, pid: number): NetNamespace | undefined {
  return t.pidns.task(pid)?.ns.net;
}

function namespaceOfFile(t: Task, fd: number): NetNamespace | undefined {
  const file = t.fds.get(fd);
  return file instanceof NsDescription && file.namespace.kind === 'net' ? (file.namespace as NetNamespace) : undefined;
}
