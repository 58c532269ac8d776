// Which capabilities a sandbox's network broker gets. The Sentry has none of its own; what a guest does with one of
// these on the sandbox's network goes through the broker, so that it is worth what the container's configuration says
// and never more.

import { existsSync, statSync } from 'node:fs';
import { CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, CAP_NET_RAW } from '../sentry/abi/sched.ts';
import type { CapabilitySets } from '../sentry/boot/boot-config.ts';
import type { SandboxOptions } from './sandbox.ts';

/**
 * In place of CAP_NET_ADMIN on the host's own network: sockets choose how they avoid congestion among what the host has, which concerns
 * nobody else. Twin of native/src/netbroker.cc's kChoosesCongestion.
 */
const CHOOSES_CONGESTION = 1 << 30;

/** A bit set; isRestricted: there is an egress policy. Interfaces, routes and filters are never those of the host itself. */
export function networkCapabilities(sets: CapabilitySets, network: SandboxOptions['network'], isRestricted: boolean): number {
  const [low] = sets.bounding;
  // Raw packets and interfaces of its own are ways around an egress policy.
  if (isRestricted) return low & (1 << CAP_NET_BIND_SERVICE);
  let caps = low & ((1 << CAP_NET_BIND_SERVICE) | (1 << CAP_NET_RAW));
  if (!isHostNetwork(network)) caps |= low & (1 << CAP_NET_ADMIN);
  else if ((low & (1 << CAP_NET_ADMIN)) !== 0) caps |= CHOOSES_CONGESTION;
  return caps;
}

/** The host's first network namespace alone has settings that are the whole machine's: net/core/sysctl_net_core.c. */
const OWN_SETTINGS = '/proc/sys/net/core';
const FIRST_ONLY = '/proc/sys/net/core/netdev_max_backlog';

/** Whether this is the network of the host itself; one of which that cannot be told counts as that. */
export function isHostNetwork(network: SandboxOptions['network']): boolean {
  if (network === 'new') return false;
  const own = namespaceOf('/proc/self/ns/net');
  const target = network === 'host' ? own : namespaceOf(network.path);
  if (target === undefined || own === undefined || target === namespaceOf('/proc/1/ns/net')) return true;
  return target === own && (!existsSync(OWN_SETTINGS) || existsSync(FIRST_ONLY));
}

function namespaceOf(path: string): string | undefined {
  try {
    const { dev, ino } = statSync(path);
    return `${dev}:${ino}`;
  } catch {
    // Another's namespaces are shown to those only that may trace it.
    return undefined;
  }
}

/** The same without a capability. */
export function without(caps: number, cap: number): number {
  return caps & ~(1 << cap);
}
