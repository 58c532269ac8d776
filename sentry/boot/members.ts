// Further containers of a running sandbox: a pod. Each comes with a gofer, a control socket and descriptors of its own,
// by request "create", and ends without the others. What is shared is what its configuration says: the network always,
// pid, IPC and UTS namespaces with the container that it names.

import { readSync } from 'node:fs';
import { EBADMSG, EEXIST, EINVAL, ENOENT } from '../abi/errno.ts';
import { POLLERR, POLLHUP, POLLRDHUP } from '../abi/poll.ts';
import { SIGKILL } from '../abi/signal.ts';
import { warn } from '../base/log.ts';
import { GoferClient } from '../fs/gofer/client.ts';
import { closeFd } from '../host/confine.ts';
import { useNetBroker } from '../host/net-broker.ts';
import { GuestContainer } from '../kernel/guest-container.ts';
import type { HostWatcher, Kernel } from '../kernel/kernel.ts';
import { CgroupNamespace, IpcNamespace, NetNamespace } from '../kernel/namespaces.ts';
import { PidNamespace } from '../kernel/pid-namespace.ts';
import { sendKernelSignal } from '../kernel/task-signals.ts';
import { TimeNamespace } from '../kernel/time-namespace.ts';
import { Timer } from '../kernel/timers.ts';
import { UtsNamespace } from '../kernel/uts-namespace.ts';
import { joinNetwork, type Network } from '../net/network.ts';
import type { BootConfig, MemberConfig } from './boot-config.ts';
import { Container } from './container.ts';
import { deviceAllowed } from './device-rules.ts';
import { checkMember } from './member-check.ts';
import { setupVfs } from './setup-vfs.ts';
import type { StartFailure } from './start-process.ts';
import { setSysctls } from './sysctls.ts';
import { watchHost } from './watch.ts';

/** The command line makes the memory shared with a gofer so large: gofer/protocol/channel.ts needs less. */
export const GOFER_REGION_SIZE = 1024 * 1024;
/** How often it is looked whether the last process of an ended container is gone. */
const TIDY_NS = 20e6;
/** Of a configuration: a command line of Linux's largest size fits in. */
const MAX_CONFIG = 16 * 1024 * 1024;

/** A further container, and what goes with it. */
export interface Member {
  readonly container: Container;
  /** Where its requests are heard. */
  readonly controlFd: number;
}

/** What a container that has ended still has until its last process is gone. */
interface Remains {
  readonly container: Container;
  readonly gofer: Gofer;
}

export class Members extends Timer {
  readonly kernel: Kernel;
  readonly first: Container;
  private readonly boot: BootConfig;
  private readonly living: Map<string, Container> = new Map();
  private readonly gofers: Map<Container, Gofer> = new Map();
  private readonly ended: Set<Remains> = new Set();
  /** Of containers with one of their own. */
  private readonly networks: Map<GuestContainer, Network> = new Map();
  /** What the network broker may do, as a bit set of capabilities. */
  networkCapabilities: number;

  constructor(kernel: Kernel, first: Container, boot: BootConfig) {
    super();
    this.kernel = kernel;
    this.first = first;
    this.boot = boot;
    this.networkCapabilities = boot.networkCapabilities;
    this.living.set(boot.id, first);
  }

  /** Makes a container of what came with a request: its configuration and descriptors, which are taken over in any case. */
  create(fds: readonly number[]): Member | StartFailure {
    const taken = new Set<number>();
    try {
      const read = readConfig(fds[0]);
      if (typeof read === 'string') return { error: read, errno: EBADMSG };
      const config = checkMember(read, fds.length);
      if (typeof config === 'string') return { error: `the configuration of a container: ${config}`, errno: EINVAL };
      return this.make(config, fds, taken);
    } finally {
      for (const fd of fds) if (!taken.has(fd)) closeFd(fd);
    }
  }

  private make(config: MemberConfig, fds: readonly number[], taken: Set<number>): Member | StartFailure {
    if (this.living.has(config.id)) return { error: `container "${config.id}" is in this sandbox already`, errno: EEXIST };
    if (JSON.stringify(config.egress) !== JSON.stringify(this.boot.egress))
      return { error: "a pod has one egress policy: give it to the pod's sandbox, or run this container in one of its own", errno: EINVAL };
    const scope = this.scopeOf(config);
    if ('errno' in scope) return scope;
    const client = GoferClient.connect(fds[config.fds.goferRegion]!, GOFER_REGION_SIZE, fds[config.fds.gofer]!);
    if (typeof client === 'number') return { error: "the gofer's memory cannot be mapped", errno: -client };
    taken.add(fds[config.fds.gofer]!);
    const { kernel } = this;
    const gofer = new Gofer(kernel, client, fds[config.fds.gofer]!, () => this.goferGone(config.id));
    try {
      const root = setupVfs(kernel.vfs, client, kernel.rootUserNamespace, config, scope);
      const stdio = config.fds.stdio.map((place) => fds[place]!);
      const container = new Container(kernel, config, stdio, root, scope, config.share.pid === undefined);
      if (config.ownCgroup) {
        const nursery = kernel.platform.newNursery();
        if (typeof nursery === 'number') throw new Error(`a process for the container's cgroup cannot be made: ${-nursery}`);
        scope.nursery = nursery;
      }
      // Those of a network of its own have been set by who knows it.
      setSysctls(kernel, config.sysctl, config.ownNetwork);
      for (const fd of stdio) taken.add(fd);
      this.takeBroker(config, scope, fds, taken);
      const controlFd = fds[config.fds.control]!;
      taken.add(controlFd);
      this.living.set(config.id, container);
      this.gofers.set(container, gofer);
      return { container, controlFd };
    } catch (error) {
      gofer.close();
      const { errno } = error as { errno?: unknown };
      return { error: (error as Error).message, errno: typeof errno === 'number' ? errno : EINVAL };
    }
  }

  /** The namespaces that it has of others, and those of its own; what it may use. */
  private scopeOf(config: MemberConfig): GuestContainer | StartFailure {
    const { kernel } = this;
    const userns = kernel.rootUserNamespace;
    const sharers: Record<string, Container> = {};
    for (const [kind, id] of Object.entries(config.share)) {
      const sharer = this.living.get(id);
      if (sharer === undefined)
        return { error: `container "${id}", whose ${kind} namespace is to be shared, is not in this sandbox`, errno: ENOENT };
      sharers[kind] = sharer;
    }
    const { pid, ipc, uts, time: clocks } = sharers as { pid?: Container; ipc?: Container; uts?: Container; time?: Container };
    const pidns = pid?.scope.pidns ?? new PidNamespace(kernel.rootPidNamespace, userns, true);
    const own = config.timeOffsets === undefined ? kernel.machineTime : TimeNamespace.shifted(userns, config.timeOffsets);
    const time = clocks?.scope.namespaces.time ?? own;
    const namespaces = kernel.initialNamespaces.with({
      time,
      timeForChildren: time,
      uts: uts?.scope.namespaces.uts ?? new UtsNamespace(userns, config.hostname, config.domainname),
      ...(config.ownNetwork ? { net: new NetNamespace(userns, true) } : {}),
      ipc: ipc?.scope.namespaces.ipc ?? new IpcNamespace(userns),
      cgroup: new CgroupNamespace(userns),
      pidForChildren: pidns,
    });
    const scope = new GuestContainer(pidns, namespaces, kernel.machine.shareOf(config.memoryBytes, -1));
    if (config.tasksLimit !== undefined) scope.tasksLimit = config.tasksLimit;
    if (config.cgroup !== undefined) scope.hostCgroups = config.cgroup;
    const rules = config.deviceRules;
    scope.deviceAllowed = (kind, major, minor, access) => deviceAllowed(rules, kind, major, minor, access);
    return scope;
  }

  /** The broker of a network of its own; or one that takes the place of the sandbox's, which ends: one for all, with the rights of all. */
  private takeBroker(config: MemberConfig, scope: GuestContainer, fds: readonly number[], taken: Set<number>): void {
    if (config.fds.netBroker === undefined) return;
    const fd = fds[config.fds.netBroker]!;
    taken.add(fd);
    if (config.ownNetwork) {
      this.networks.set(scope, joinNetwork(scope.namespaces.net, fd));
      return;
    }
    useNetBroker(fd);
    this.networkCapabilities = config.networkCapabilities;
  }

  private goferGone(id: string): void {
    const container = this.living.get(id);
    if (container === undefined) return;
    warn(`the gofer of container "${id}" is gone: the container ends`);
    this.end(container);
  }

  /** Kills all that runs in a further container. */
  end(container: Container): void {
    if (container.status === 'stopped') return;
    if (container.init === null) container.abandon(SIGKILL);
    for (const group of container.groups()) sendKernelSignal(group, SIGKILL);
  }

  /** Its first program has ended. What the others still use of it goes once nobody of its processes is left. */
  forget(container: Container): void {
    if (this.living.get(container.config.id) !== container) return;
    this.living.delete(container.config.id);
    const gofer = this.gofers.get(container);
    this.gofers.delete(container);
    if (gofer === undefined) return;
    this.ended.add({ container, gofer });
    this.fired();
  }

  /** Takes down what ended containers have left, as far as nothing of theirs runs any more. */
  override fired(): void {
    this.tidy();
    const { timers, clock } = this.kernel;
    if (this.ended.size > 0) timers.start(this, clock.monotonicNs() + TIDY_NS);
  }

  private tidy(): void {
    for (const remains of this.ended) {
      const { container, gofer } = remains;
      if (container.groups().length > 0) continue;
      this.ended.delete(remains);
      container.root.fs.decRef();
      gofer.close();
      this.networks.get(container.scope)?.dispose();
      this.networks.delete(container.scope);
      const { nursery } = container.scope;
      if (nursery !== null) this.kernel.platform.releaseSpace(nursery.space);
      container.scope.nursery = null;
    }
  }
}

/** A further container's connection to its files. */
class Gofer implements HostWatcher {
  private readonly kernel: Kernel;
  private readonly client: GoferClient;
  private readonly fd: number;
  private readonly gone: () => void;
  private readonly token: number;
  private isClosed = false;

  constructor(kernel: Kernel, client: GoferClient, fd: number, gone: () => void) {
    this.kernel = kernel;
    this.client = client;
    this.fd = fd;
    this.gone = gone;
    this.token = watchHost(kernel, fd, POLLRDHUP, this);
    client.onDropped = () => this.hostReady(POLLHUP);
  }

  hostReady(events: number): void {
    if ((events & (POLLRDHUP | POLLHUP | POLLERR)) === 0) return;
    this.close();
    this.gone();
  }

  /** Files that others still have open of it can be read as far as their descriptors are here. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.kernel.hostWatchers.delete(this.token);
    // A connection that was dropped is closed, and its number may be another's.
    if (this.client.broken) return;
    this.kernel.platform.unwatch(this.fd);
    this.client.disconnect();
  }
}

/** The configuration of a further container, or what is wrong with its file. */
function readConfig(fd: number | undefined): unknown {
  if (fd === undefined) return 'no configuration came with the request';
  const chunks: Buffer[] = [];
  let size = 0;
  for (;;) {
    const chunk = Buffer.alloc(64 * 1024);
    let n: number;
    try {
      n = readSync(fd, chunk, 0, chunk.length, size);
    } catch (error) {
      return `its configuration cannot be read: ${(error as Error).message}`;
    }
    if (n === 0) break;
    size += n;
    if (size > MAX_CONFIG) return 'its configuration is too large';
    chunks.push(chunk.subarray(0, n));
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    return 'its configuration is no JSON';
  }
}
