// What of a host's special files a guest may use: --host-uds, --host-fifo, and mounts that name one.

import type { Stats } from 'node:fs';
import type { Config } from './config.ts';

/** As the gofer's trees have it. */
export type HostPolicy = { readonly hostUds: Config['hostUds']; readonly hostFifo: boolean };

/** Who mounts a socket or a FIFO by its own name means it to be used: a directory may have some by chance. */
export function policyOfFile(stat: Stats, policy: HostPolicy): HostPolicy {
  if (stat.isSocket() && policy.hostUds === 'none') return { ...policy, hostUds: 'open' };
  return stat.isFIFO() ? { ...policy, hostFifo: true } : policy;
}

/** Of trees in general. */
export function hostPolicyOf(config: Config): HostPolicy {
  return { hostUds: config.hostUds, hostFifo: config.hostFifo === 'open' };
}
