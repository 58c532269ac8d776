// `runsc spec`: a config.json to begin with, as runc writes it.

import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { hierarchies } from '../cgroup-hierarchies.ts';
import { type Invocation, OCI_VERSION } from '../cli.ts';
import { RunscError } from '../errors.ts';

const CAPABILITIES = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'];

export function run({ flags, args }: Invocation): number {
  const path = join(flags.string('bundle') ?? '.', 'config.json');
  if (existsSync(path)) throw new RunscError(`${path}`, 'is there already; remove it first');
  const spec = template(args.length > 0 ? args : ['sh'], flags.on('rootless'), flags.string('netns'));
  try {
    writeFileSync(path, `${JSON.stringify(spec, null, '\t')}\n`, { mode: 0o666 });
  } catch (error) {
    throw new RunscError(`writing ${path}`, error);
  }
  return 0;
}

interface SpecMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options?: readonly string[];
}

/** The mounts that runc's template has, so that what edits one edits the other: libcontainer/specconv/example.go. */
const MOUNTS: readonly SpecMount[] = [
  { destination: '/proc', type: 'proc', source: 'proc' },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'] },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  { destination: '/dev/shm', type: 'tmpfs', source: 'shm', options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'] },
];

export function template(args: readonly string[], rootless: boolean, netns: string | undefined): object {
  const namespaces: { type: string; path?: string }[] = ['pid', 'network', 'ipc', 'uts', 'mount'].map((type) => ({ type }));
  // On version 1 programs look for their cgroup by its path on the host: runc's rule.
  if (hierarchies().v1.size === 0) namespaces.push({ type: 'cgroup' });
  if (netns !== undefined) namespaces[1] = { type: 'network', path: netns };
  if (rootless) {
    // Without its own network namespace the container shares the user's, as runc's does.
    namespaces.splice(1, 1);
    namespaces.push({ type: 'user' });
  }
  return {
    ociVersion: OCI_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
      cwd: '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'runsc',
    mounts: MOUNTS.map((mount) => (rootless ? rootlessMount(mount) : mount)),
    linux: {
      ...(rootless
        ? {
            uidMappings: [{ containerID: 0, hostID: process.geteuid!(), size: 1 }],
            gidMappings: [{ containerID: 0, hostID: process.getegid!(), size: 1 }],
          }
        : { resources: { devices: [{ allow: false, access: 'rwm' }] } }),
      namespaces,
      maskedPaths: [
        '/proc/acpi',
        '/proc/asound',
        '/proc/kcore',
        '/proc/keys',
        '/proc/latency_stats',
        '/proc/timer_list',
        '/proc/timer_stats',
        '/proc/sched_debug',
        '/sys/firmware',
        '/proc/scsi',
      ],
      readonlyPaths: ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'],
    },
  };
}

/** Only one group is mapped, so that none can be named; a sysfs of a network namespace that is not ours cannot be mounted. */
function rootlessMount(mount: SpecMount): SpecMount {
  if (mount.destination === '/sys')
    return { ...mount, type: 'none', source: '/sys', options: ['rbind', 'nosuid', 'noexec', 'nodev', 'ro'] };
  return { ...mount, options: mount.options?.filter((option) => !option.startsWith('gid=')) };
}
