// Which running sandbox a container belongs to. Kubernetes' annotations say so, or a namespace that config.json names by
// its path: the processes and System V objects of a container are those of its guest kernel, so that whoever is to share
// them has to be in the same sandbox. Host name and network alone are shared between sandboxes as well.

import type { SharedNamespaces } from '../sentry/boot/boot-config.ts';
import type { BootPlan } from './boot-from-spec.ts';
import type { Config } from './config.ts';
import { RunscError } from './errors.ts';
import { debugLine } from './messages.ts';
import { namespaceId } from './namespaces.ts';
import type { Spec } from './spec.ts';
import { type ContainerState, isAlive, listIds, StateDir } from './state-file.ts';

/** The sandbox that a container is made in. */
export interface Pod {
  /** A container that is there; requests go to its control socket. */
  readonly member: ContainerState;
  readonly controlPath: string;
  readonly share: SharedNamespaces;
}

/** containerd's words, and CRI-O's. */
const TYPE_ANNOTATIONS = ['io.kubernetes.cri.container-type', 'io.kubernetes.cri-o.ContainerType'];
const SANDBOX_ANNOTATIONS = ['io.kubernetes.cri.sandbox-id', 'io.kubernetes.cri-o.SandboxID'];

/** Namespaces that only the guest kernel has, by their names in config.json and in /proc/PID/ns. */
const GUEST_NAMESPACES = ['pid', 'ipc'] as const;
const SHARED_NAMESPACES = ['pid', 'ipc', 'uts'] as const;

/** The sandbox that the container is to be made in; undefined: one of its own. */
export function findPod(config: Config, id: string, spec: Spec): Pod | undefined {
  const member = byAnnotation(config, spec) ?? byNamespace(config, spec);
  if (member === undefined || member.id === id) return undefined;
  const others = livingIn(config, member);
  if (others[0]!.paused && others[0]!.memberOf === undefined)
    throw new RunscError(`making a container in the sandbox of "${others[0]!.id}"`, 'it is paused: resume it first');
  return { member, controlPath: new StateDir(config.root, member.id).controlPath, share: shared(spec, others) };
}

function byAnnotation(config: Config, spec: Spec): ContainerState | undefined {
  const annotation = (names: readonly string[]): string | undefined =>
    names.map((name) => spec.annotations[name]).find((v) => v !== undefined);
  if (annotation(TYPE_ANNOTATIONS) !== 'container') return undefined;
  const sandbox = annotation(SANDBOX_ANNOTATIONS);
  if (sandbox === undefined)
    throw new RunscError(
      'config.json: annotations',
      `${TYPE_ANNOTATIONS[0]} is "container", and ${SANDBOX_ANNOTATIONS[0]} does not say of which sandbox`,
    );
  const dir = new StateDir(config.root, sandbox);
  // CRI-O makes no container for a pod's sandbox if it does not need one.
  if (!dir.exists()) {
    debugLine(`sandbox "${sandbox}" is no container of runsc's: the container gets a sandbox of its own`);
    return undefined;
  }
  const state = dir.load();
  if (!isRunning(state))
    throw new RunscError(`joining the sandbox of container "${sandbox}", which config.json's annotations name`, 'it has stopped');
  return state;
}

function byNamespace(config: Config, spec: Spec): ContainerState | undefined {
  let found: ContainerState | undefined;
  for (const kind of GUEST_NAMESPACES) {
    const namespace = identityOfPath(spec, kind);
    // Our own is the host's: containers that have it share nothing by it.
    if (namespace === undefined || namespace === namespaceId(`/proc/self/ns/${kind}`)) continue;
    for (const state of running(config)) {
      if (namespaceId(`/proc/${state.anchor.pid}/ns/${kind}`) !== namespace) continue;
      if (found !== undefined && found.sentry.pid !== state.sentry.pid)
        throw new RunscError(
          'config.json: linux.namespaces',
          `the pid and the ipc namespace are those of containers in two sandboxes, "${found.id}" and "${state.id}": a container can be in one only`,
        );
      found = state;
      break;
    }
  }
  return found;
}

/** "dev:ino" of the namespace that config.json names by its path. */
function identityOfPath(spec: Spec, kind: string): string | undefined {
  const path = spec.namespaces.find((n) => n.type === kind)?.path;
  return path === undefined ? undefined : namespaceId(path);
}

function isRunning(state: ContainerState): boolean {
  return isAlive(state.anchor) && isAlive(state.sentry);
}

function* running(config: Config): Generator<ContainerState> {
  for (const id of listIds(config.root)) {
    let state: ContainerState;
    try {
      state = new StateDir(config.root, id).load();
    } catch {
      // One that is being made or removed just now.
      continue;
    }
    if (isRunning(state)) yield state;
  }
}

/** The containers of a sandbox, that which it began with first. */
function livingIn(config: Config, member: ContainerState): ContainerState[] {
  const all = [...running(config)].filter((state) => state.sentry.pid === member.sentry.pid);
  return all.sort((a, b) => Number(a.memberOf !== undefined) - Number(b.memberOf !== undefined));
}

/** Whose namespaces it has. One that config.json does not list is the host's, which in a sandbox is the first container's. */
function shared(spec: Spec, others: readonly ContainerState[]): SharedNamespaces {
  const share: Record<string, string> = {};
  for (const kind of SHARED_NAMESPACES) {
    const asked = spec.namespaces.find((n) => n.type === kind);
    if (asked === undefined) share[kind] = others[0]!.id;
    else if (asked.path !== undefined) {
      const namespace = identityOfPath(spec, kind);
      const own = namespaceId(`/proc/self/ns/${kind}`);
      const owner = others.find((state) => namespace !== own && namespaceId(`/proc/${state.anchor.pid}/ns/${kind}`) === namespace);
      if (owner !== undefined) share[kind] = owner.id;
    }
  }
  // A guest's clocks have no namespace on the host: the container is known by its process.
  const clocks = /^\/proc\/(\d+)\/ns\/time$/.exec(spec.namespaces.find((n) => n.type === 'time')?.path ?? '');
  const owner = clocks === null ? undefined : others.find((state) => state.anchor.pid === Number(clocks[1]));
  if (owner !== undefined) share['time'] = owner.id;
  return share;
}

/** A sandbox has one set of ids and one platform: refuses a container that needs others. */
export function checkPod(pod: Pod, plan: BootPlan, config: Config): void {
  const { member } = pod;
  const refuse = (why: string, what: string): never => {
    throw new RunscError(
      `the container has to be in the sandbox of container "${member.id}", whose namespaces or pod it shares, and cannot`,
      `${why}: ${what}`,
    );
  };
  if (JSON.stringify(plan.maps ?? null) !== JSON.stringify(member.maps ?? null))
    refuse(
      'its user namespace has other ids',
      `give both the same linux.uidMappings and linux.gidMappings (--userns container:${member.id})`,
    );
  if (config.platform !== 'auto' && member.platform !== 'auto' && config.platform !== member.platform)
    refuse(`the sandbox runs on platform ${member.platform}`, `leave out --platform ${config.platform}`);
}

/** Whether the container has the network that the Sentry of its pod is in. */
export function sharesNetwork(pod: Pod, network: BootPlan['network']): boolean {
  if (network === 'new') return false;
  const wanted = namespaceId(network === 'host' ? '/proc/self/ns/net' : network.path);
  return wanted !== undefined && wanted === namespaceId(`/proc/${pod.member.sentry.pid}/ns/net`);
}
