// The Sentry's entry: reads what the command line hands over, builds the guest kernel, locks itself in, says "ready"
// and runs the loop for as long as the container lives.
//
// Order matters: the machine and the stub's executable are read while the host's files are there; the bounding set
// goes before the platform forks stubs, so that these never have a capability; the filter comes last.

import { readFileSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { createPlatform } from '../../platform/choose.ts';
import type { Platform } from '../../platform/platform.ts';
import { POLLERR, POLLHUP, POLLRDHUP } from '../abi/poll.ts';
import { info, setLogSink, warn } from '../base/log.ts';
import { GoferClient } from '../fs/gofer/client.ts';
import { doubt } from '../fs/gofer/doubt.ts';
import { adoptNetSysctls, setNetSysctl } from '../fs/proc-sys-net.ts';
import { bringUpLoopback, closeFd, exitNow, ignoreDebuggerSignal, setProcessName, writeHost } from '../host/confine.ts';
import { useNetBroker } from '../host/net-broker.ts';
import { FutexTable } from '../kernel/futex.ts';
import { type HostWatcher, Kernel } from '../kernel/kernel.ts';
import { loadMachine } from '../kernel/machine.ts';
import { PidNamespace } from '../kernel/pid-namespace.ts';
import { runLoop } from '../kernel/run-loop.ts';
import { TimeNamespace } from '../kernel/time-namespace.ts';
import { Timekeeper } from '../kernel/timekeeper.ts';
import { UserNamespace } from '../kernel/user-namespace.ts';
import { UtsNamespace } from '../kernel/uts-namespace.ts';
import { setEgressPolicies } from '../net/egress.ts';
import { registerSocketFamilies } from '../net/families.ts';
import { tidyNetworks } from '../net/network.ts';
import { Strace } from '../syscalls/strace.ts';
import { table } from '../syscalls/table.ts';
import { Vfs } from '../vfs/vfs.ts';
import type { BootConfig } from './boot-config.ts';
import { Container } from './container.ts';
import { ControlServer } from './control-server.ts';
import { deviceAllowed } from './device-rules.ts';
import { dropBoundingSet, dropPrivileges, enterEmptyRoot, limitProcesses, loadFilter, raiseLimits } from './lock-down.ts';
import { GOFER_REGION_SIZE, Members } from './members.ts';
import { Peer } from './peer.ts';
import { Phases } from './phases.ts';
import { registerFilesystems } from './register.ts';
import { setupVfs } from './setup-vfs.ts';
import { Statistics } from './statistics.ts';
import { setSysctls } from './sysctls.ts';
import { watchHost } from './watch.ts';
import { stepWorkersBack } from './worker-threads.ts';

/** Where the command line puts the configuration. */
const CONFIG_FD = 3;

/** The Sentry itself is broken: EX_SOFTWARE of sysexits.h. */
const EXIT_BROKEN = 70;

/** Exit code for a wait status: PID 1 of a namespace cannot kill itself by a signal. */
function exitCode(status: number): number {
  const signal = status & 0x7f;
  return signal === 0 ? (status >> 8) & 0xff : 128 + signal;
}

function openLog(config: BootConfig): void {
  const fd = config.fds.log;
  if (fd === undefined) return;
  setLogSink((line) => {
    const bytes = new TextEncoder().encode(`[sentry ${config.id}] ${line}`);
    writeHost(fd, bytes, 0, bytes.length);
  }, config.debug);
}

/** Denials go to a file of their own, or else to the log. */
function restrictEgress(config: BootConfig, kernel: Kernel): void {
  const fd = config.fds.egressLog;
  const write = (line: string): void => {
    if (fd === undefined) {
      warn(`egress: ${line}`);
      return;
    }
    const bytes = new TextEncoder().encode(`${new Date().toISOString()} ${config.id} ${line}\n`);
    writeHost(fd, bytes, 0, bytes.length);
  };
  setEgressPolicies(config.egress, write, () => kernel.clock.monotonicNs());
}

/** What was asked for, or for "auto" the faster one that the host allows. */
function choosePlatform(config: BootConfig): Platform {
  const options = { patchSyscalls: config.patchSyscalls, calls: table };
  if (config.platform !== 'auto') return createPlatform(config.platform, options);
  try {
    return createPlatform('systrap', options);
  } catch (error) {
    info(`using ptrace: ${(error as Error).message}`);
    return createPlatform('ptrace', options);
  }
}

function buildKernel(config: BootConfig): Kernel {
  const rootUserNamespace = new UserNamespace(null, 0, 0);
  if (config.hostIds !== undefined) {
    rootUserNamespace.hostUids = config.hostIds.uids;
    rootUserNamespace.hostGids = config.hostIds.gids;
    rootUserNamespace.isCallers = config.hostIds.ofCaller;
  }
  const platform = choosePlatform(config);
  const kernel = new Kernel({
    platform,
    clock: new Timekeeper(),
    vfs: new Vfs(),
    futexes: new FutexTable(platform.futexWaiters),
    rootPidNamespace: new PidNamespace(null, rootUserNamespace),
    rootUserNamespace,
    ...(config.timeOffsets && { rootTimeNamespace: TimeNamespace.shifted(rootUserNamespace, config.timeOffsets) }),
    rootUtsNamespace: new UtsNamespace(rootUserNamespace, config.hostname, config.domainname),
    options: { strace: config.strace },
    machine: loadMachine({ cpus: config.cpus, memoryBytes: config.memoryBytes, memoryUsagePath: config.cgroup?.memoryUsagePath }),
    syscalls: table,
  });
  if (config.tasksLimit !== undefined) kernel.firstContainer.tasksLimit = config.tasksLimit;
  if (config.cgroup !== undefined) kernel.firstContainer.hostCgroups = config.cgroup;
  if (config.strace) kernel.trace = new Strace();
  return kernel;
}

function connectGofer(config: BootConfig): GoferClient {
  const client = GoferClient.connect(config.fds.goferRegion, GOFER_REGION_SIZE, config.fds.gofer);
  if (typeof client === 'number') throw new Error("mapping the gofer's memory failed");
  return client;
}

/** Without the gofer no file can be opened any more: the sandbox ends, and says why. */
class GoferWatcher implements HostWatcher {
  private readonly parent: Peer;

  constructor(parent: Peer) {
    this.parent = parent;
  }

  hostReady(events: number): void {
    if ((events & (POLLRDHUP | POLLHUP | POLLERR)) === 0) return;
    warn('the gofer is gone: the sandbox ends');
    this.parent.send({ event: 'failed', error: 'the gofer is gone' });
    exitNow(EXIT_BROKEN);
  }
}

function boot(config: BootConfig, parent: Peer, phases: Phases): Kernel {
  setProcessName('runsc-sentry');
  ignoreDebuggerSignal();
  // The network namespace is ours alone then, and its lo is down.
  if (config.ownNetwork) bringUpLoopback();
  raiseLimits();
  limitProcesses();
  stepWorkersBack();
  dropBoundingSet();
  const kernel = buildKernel(config);
  phases.end('platform started');
  registerFilesystems(kernel);
  registerSocketFamilies();
  restrictEgress(config, kernel);
  if (config.fds.netBroker !== undefined) useNetBroker(config.fds.netBroker);
  // An egress policy is not to be undone by routing.
  adoptNetSysctls(config.mayTuneNetwork, config.mayTuneNetwork && config.egress.length === 0);
  // As front ends set it for containers: without raw sockets ping(8) needs datagram ones.
  if (config.ownNetwork) setNetSysctl('net.ipv4.ping_group_range', '0 0');
  setSysctls(kernel, config.sysctl);
  const scope = kernel.firstContainer;
  const root = setupVfs(kernel.vfs, connectGofer(config), kernel.rootUserNamespace, config, scope);
  phases.end('files mounted');
  scope.deviceAllowed = (kind, major, minor, access) => deviceAllowed(config.deviceRules, kind, major, minor, access);
  const container = new Container(kernel, config, config.fds.stdio, root, scope, true);
  // Everything that will ever be loaded has been: a checkout keeps what it compiled for the next start.
  flushCompileCache();
  enterEmptyRoot();
  dropPrivileges();
  const members = new Members(kernel, container, config);
  const server = new ControlServer(kernel, members, parent);
  if (config.fds.control !== undefined) server.listen(config.fds.control, container);
  kernel.everySecond = () => {
    doubt();
    server.everySecond();
    tidyNetworks(kernel);
  };
  const statistics = config.debug ? new Statistics(kernel.platform) : undefined;
  container.onEnd = (status) => {
    statistics?.tell();
    server.exited(container, status);
    exitNow(exitCode(status));
  };
  watchHost(kernel, config.fds.gofer, POLLRDHUP, new GoferWatcher(parent));
  loadFilter(config.network);
  phases.end('locked in');
  return kernel;
}

function main(): never {
  const phases = new Phases();
  phases.end('program loaded');
  const config = JSON.parse(readFileSync(CONFIG_FD, 'utf8')) as BootConfig;
  closeFd(CONFIG_FD);
  const parent = new Peer(config.fds.parent);
  openLog(config);
  try {
    const kernel = boot(config, parent, phases);
    parent.send({ event: 'ready', phases: phases.done });
    runLoop(kernel);
  } catch (error) {
    const { message, stack = message } = error as Error;
    warn(stack);
    parent.send({ event: 'failed', error: config.debug ? stack : message });
  }
  exitNow(EXIT_BROKEN);
}

main();
