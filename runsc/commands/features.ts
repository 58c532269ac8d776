// `runsc features`: OCI's features structure (features-linux.md), which containerd and docker read.

import { type Invocation, OCI_VERSION, version } from '../cli.ts';
import { mountOptionWords } from '../mount-options.ts';
import { print } from '../output.ts';
import { seccompFeatures } from '../seccomp.ts';
import { capabilityNames, HOOKS } from '../spec.ts';

export function run(_invocation: Invocation): number {
  print(`${JSON.stringify(features(), null, 4)}\n`);
  return 0;
}

export function features(): object {
  return {
    ociVersionMin: '1.0.0',
    ociVersionMax: OCI_VERSION,
    hooks: HOOKS,
    mountOptions: mountOptionWords(),
    linux: {
      namespaces: ['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts'],
      capabilities: capabilityNames(),
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: false },
      seccomp: seccompFeatures,
      apparmor: { enabled: false },
      selinux: { enabled: false },
      intelRdt: { enabled: false },
      mountExtensions: { idmap: { enabled: false } },
    },
    annotations: { 'org.runsc.version': version() },
    potentiallyUnsafeConfigAnnotations: ['dev.gvisor.'],
  };
}
