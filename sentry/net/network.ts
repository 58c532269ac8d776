// The host's network behind a guest's network namespace. The sandbox's own is where the Sentry opens sockets itself. One
// that a guest makes (unshare, clone) is a real one of the host too, with a lo that is down, made when something in it is
// first asked for: by a process that has capabilities over such networks and over no other (native/src/netbroker.cc).
// Nothing leads out of it. Where the host refuses it, the namespace stays empty: sockets can be made, but reach nothing.

import { errnoName } from '../abi/errno.ts';
import { AF_INET, SOCK_DGRAM } from '../abi/socket.ts';
import { warn } from '../base/log.ts';
import { NsInode } from '../fs/nsfs.ts';
import { close, socketOpen } from '../host/host-net.ts';
import { brokerLine, lineSocket, lineTable, makeNetwork, makerLine, networkSocket, networkTable } from '../host/net-broker.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { NetNamespace } from '../kernel/namespaces.ts';

/** Each costs the host some 100 KiB. */
const MAX_MADE = 64;
/** Fewer than these are let be until the next second. */
const TIDY_FROM = 16;

export class Network {
  readonly ns: NetNamespace;
  /** Made for a guest's namespace. */
  readonly isMade: boolean;
  /** Sockets of guests in it. */
  sockets = 0;
  /** A socket in it that asks the host about it, and by which the maker knows it; -1 when there is none yet. */
  private own: number;

  /** The broker of a network that is neither the sandbox's nor a guest's, but that of a further container; -1: it is one of those. */
  private readonly ownLine: number;

  constructor(ns: NetNamespace, handle: number, ownLine = -1) {
    this.ns = ns;
    this.ownLine = ownLine;
    this.isMade = handle >= 0;
    this.own = handle;
  }

  /** Who acts there with capabilities: for host/net-broker.ts. */
  get line(): number {
    return this.ownLine >= 0 ? this.ownLine : this.isMade ? makerLine() : brokerLine();
  }

  /** A descriptor for questions about the network, or -errno. */
  asker(): number {
    if (this.own < 0) this.own = this.open(AF_INET, SOCK_DGRAM, 0);
    return this.own;
  }

  /** A socket that needs no capability; its descriptor or -errno. */
  open(family: number, type: number, protocol: number): number {
    if (this.ownLine >= 0) return lineSocket(this.ownLine, family, type, protocol);
    return this.isMade ? networkSocket(this.own, family, type, protocol) : socketOpen(family, type, protocol);
  }

  /** The same for one that needs a capability, which the caller has checked. */
  openPrivileged(family: number, type: number, protocol: number): number {
    if (this.ownLine >= 0) return lineSocket(this.ownLine, family, type, protocol);
    return networkSocket(this.isMade ? this.own : -1, family, type, protocol);
  }

  /** A file of /proc/net, by its place in NETWORK_TABLES: its descriptor or -errno. */
  table(index: number): number {
    return this.ownLine >= 0 ? lineTable(this.ownLine, index) : networkTable(this.asker(), index);
  }

  dispose(): void {
    if (this.own >= 0) close(this.own);
    if (this.ownLine >= 0) close(this.ownLine);
    this.ns.stack = null;
  }
}

/** Has a namespace be a network of the host that the Sentry is not in, by the broker that is. dispose() ends that one. */
export function joinNetwork(ns: NetNamespace, line: number): Network {
  const network = new Network(ns, -1, line);
  ns.stack = network;
  return network;
}

/** What takes the place of a network that the host refuses. */
const REFUSED = {};
const made: Set<Network> = new Set();

/** The network of a namespace, made if need be; null for one that stays empty. */
export function networkOf(kernel: Kernel, ns: NetNamespace): Network | null {
  if (ns.stack === null) ns.stack = ns.isolated ? makeFor(kernel, ns) : new Network(ns, -1);
  return ns.stack === REFUSED ? null : (ns.stack as Network);
}

function makeFor(kernel: Kernel, ns: NetNamespace): Network | object {
  if (made.size >= TIDY_FROM) tidyNetworks(kernel);
  if (made.size >= MAX_MADE) {
    warn(`a network namespace of a guest stays empty: there are ${MAX_MADE} already`);
    return REFUSED;
  }
  const handle = makeNetwork();
  if (handle < 0) {
    warn(`a network namespace of a guest stays empty: the host answers ${errnoName(-handle)}`);
    return REFUSED;
  }
  const network = new Network(ns, handle);
  made.add(network);
  return network;
}

/** Gives networks back whose namespace nobody can reach any more: no task, descriptor, mount or socket. */
export function tidyNetworks(kernel: Kernel): void {
  if (made.size === 0) return;
  const reachable = new Set<unknown>();
  for (const task of kernel.tasks.values()) {
    reachable.add(task.ns.net);
    const { mountNamespace } = task.fs;
    if (reachable.has(mountNamespace)) continue;
    reachable.add(mountNamespace);
    for (const mount of mountNamespace.mounts) {
      const { inode } = mount.root;
      if (inode instanceof NsInode) reachable.add(inode.namespace);
    }
  }
  for (const network of made) {
    if (network.sockets > 0 || network.ns.opens > 0 || reachable.has(network.ns)) continue;
    made.delete(network);
    network.dispose();
  }
}
