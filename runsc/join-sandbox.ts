// A further container of a running sandbox: its gofer is started here, and its Sentry is told of it by request "create".
//
//   runsc --+-- startProcess(gofer), finishProcess
//           +-- connects to the sandbox's control socket; "create" with the configuration, the gofer's socket and memory,
//           |   a control socket of the container's own, its stdio
//           +-- the reply, or one of the two dies
//
// From then on the connection is the container's, as that to a sandbox's own first one is, and the container ends with
// it until "detach".

import { writeFileSync } from 'node:fs';
import { CAP_NET_ADMIN } from '../sentry/abi/sched.ts';
import type { MemberConfig, MemberFds } from '../sentry/boot/boot-config.ts';
import type { MemberCreated, Reply, SandboxState } from '../sentry/boot/control-protocol.ts';
import { ControlClient } from './control-client.ts';
import { listenAt, pair, textFd } from './descriptors.ts';
import { describe, errnoText, RunscError } from './errors.ts';
import { closeFd, forkNetBroker, pidfdOpen } from './host.ts';
import { debugLine } from './messages.ts';
import { inNetwork, inUserNamespace, openNamespace } from './namespaces.ts';
import { without } from './network-capabilities.ts';
import { type Pod, sharesNetwork } from './pod.ts';
import { endProcess, finish, regionFd, Sandbox, type SandboxOptions, type SandboxProcess, startBroker, startGofer } from './sandbox.ts';

/** One message carries 64, of which five are not stdio's. */
const MAX_STDIO = 59;

export interface Joined {
  readonly sandbox: Sandbox;
  /** The process that makes the container's, by its number in the sandbox's pid namespace; 0 for none. */
  readonly nursery: number;
}

/** Makes the container; ownCgroup: what it runs is to be moved to a cgroup of its own. */
export function joinSandbox(pod: Pod, options: SandboxOptions, ownCgroup: boolean): Joined {
  const { member } = pod;
  const what = `making the container in the sandbox of "${member.id}"`;
  if (options.stdio.length > MAX_STDIO)
    throw new RunscError(what, `--preserve-fds: at most ${MAX_STDIO - 3} descriptors can be handed over`);
  const owned: number[] = [];
  const started: SandboxProcess[] = [];
  let sandbox: Sandbox | undefined;
  try {
    const sentryPidfd = pidfdOpen(member.sentry.pid);
    if (sentryPidfd < 0) throw new RunscError(what, `the sandbox is gone (${errnoText(sentryPidfd)})`);
    owned.push(sentryPidfd);
    const goferEnds = pair(owned);
    const region = regionFd(owned);
    const control = listenAt(options.controlPath!, owned);
    const gofer = startGofer(options, goferEnds[1]!, region, owned);
    started.push(gofer);
    finish(gofer, started);
    const client = ControlClient.connect(pod.controlPath);
    owned.push(client.fd);

    const fds = [goferEnds[0]!, region, control];
    const ownNetwork = !sharesNetwork(pod, options.network);
    const network = ownNetwork ? networkFile(options, gofer.pid) : undefined;
    const networkCapabilities =
      network === undefined ? brokerFor(client, pod, options, fds, owned) : ownBroker(network, pod, options, fds, owned);
    const places: MemberFds = {
      gofer: 1,
      goferRegion: 2,
      control: 3,
      ...(fds.length > 3 ? { netBroker: 4 } : {}),
      stdio: options.stdio.map((_, i) => 1 + fds.length + i),
    };
    const { boot } = options;
    const config: MemberConfig = { ...boot, share: pod.share, ownCgroup, ownNetwork, networkCapabilities, fds: places };
    const request = client.send({ method: 'create' }, [
      textFd('container-config', JSON.stringify(config), owned),
      ...fds,
      ...options.stdio,
    ]);
    sandbox = new Sandbox({ name: 'sentry', pid: member.sentry.pid, pidfd: sentryPidfd, errorsFd: -1 }, gofer, client, true);
    sandbox.network = network;
    for (const fd of [sentryPidfd, client.fd]) owned.splice(owned.indexOf(fd), 1);
    // The gofer's end of its socket must be the only one, so that its death is seen.
    while (owned.length > 0) closeFd(owned.pop()!);
    const { nursery } = answer(what, sandbox, request);
    return { sandbox, nursery };
  } catch (error) {
    if (sandbox !== undefined) sandbox.end();
    else for (const process of started) endProcess(process);
    for (const fd of owned) closeFd(fd);
    throw error;
  }
}

/** A broker for the whole sandbox, if the container may do more on the network than those before it; adds its socket. What it may do. */
function brokerFor(client: ControlClient, pod: Pod, options: SandboxOptions, fds: number[], owned: number[]): number {
  const { networkCapabilities: has } = client.ask<SandboxState>(`asking the sandbox of "${pod.member.id}"`, { method: 'state' });
  const needs = has | options.networkCapabilities;
  if (needs === has) return has;
  const broker = pair(owned);
  startBroker({ ...options, networkCapabilities: needs }, broker[1]!, pod.member.sentry.pid);
  fds.push(broker[0]!);
  return needs;
}

/** What stands for a network that the Sentry is not in. A new one is the gofer's, which has one of its own, and no socket in it. */
function networkFile(options: SandboxOptions, gofer: number): string {
  if (options.network === 'new') return `/proc/${gofer}/ns/net`;
  return options.network === 'host' ? '/proc/self/ns/net' : options.network.path;
}

/** A broker in a network of the container's own, which opens all its sockets; adds its socket. What it may do. */
function ownBroker(network: string, pod: Pod, options: SandboxOptions, fds: number[], owned: number[]): number {
  // Who may change interfaces could send one to the network of another process that it can name: that of the Sentry.
  const caps = without(options.networkCapabilities, CAP_NET_ADMIN);
  const ends = pair(owned);
  fds.push(ends[0]!);
  const fd = openNamespace(network, 'network');
  owned.push(fd);
  if (options.boot.mayTuneNetwork) setNetworkParameters(network, options);
  const pid = forkNetBroker(ends[1]!, pod.member.sentry.pid, false, caps, fd, options.network === 'new');
  if (pid < 0) throw new RunscError('starting the network broker', errnoText(pid));
  options.joinCgroup?.(pid);
  return caps;
}

/** As the Sentry does in its own network, which it is root of. Who is root of a user namespace alone could not come back from there. */
function setNetworkParameters(network: string, options: SandboxOptions): void {
  const given = options.network === 'new' ? { 'net.ipv4.ping_group_range': '0 2147483647', ...options.boot.sysctl } : options.boot.sysctl;
  const wanted = Object.entries(given).filter(([name]) => /^net[./][\w./-]+$/.test(name));
  if (wanted.length === 0) return;
  if (inUserNamespace()) {
    debugLine(`parameters of the container's network are left as they are: ${wanted.map(([name]) => name).join(', ')}`);
    return;
  }
  inNetwork(network, () => {
    for (const [name, value] of wanted) {
      try {
        writeFileSync(`/proc/sys/${name.replaceAll('.', '/')}`, value);
      } catch (error) {
        debugLine(`sysctl ${name}=${value}: ${describe(error)}`);
      }
    }
  });
}

function answer(what: string, sandbox: Sandbox, request: number): MemberCreated {
  for (;;) {
    const reply: Reply | undefined = sandbox.control.takeReply(request);
    if (reply?.error !== undefined) throw new RunscError(what, reply.error);
    if (reply !== undefined) return reply.result as MemberCreated;
    const dead = sandbox.waitForMessage([]);
    if (dead !== undefined) throw new RunscError(what, dead);
  }
}
