// The global flags, once: their help, and what they come to.

import { join } from 'node:path';
import { RunscError } from './errors.ts';
import type { Flag, FlagValues } from './flags.ts';
import { inUserNamespace } from './namespaces.ts';

export type PlatformName = 'auto' | 'systrap' | 'ptrace';
export type NetworkMode = 'none' | 'host' | 'sandbox';
export type FileAccess = 'exclusive' | 'shared';

export const globalFlags: readonly Flag[] = [
  {
    name: 'root',
    kind: 'string',
    value: 'DIR',
    help: 'where the state of containers is kept',
    fallback: '$XDG_RUNTIME_DIR/runsc or /run/runsc',
  },
  { name: 'log', kind: 'string', value: 'FILE', help: 'file that errors are appended to, for whoever called runsc' },
  { name: 'log-format', kind: 'string', choices: ['text', 'json', 'json-k8s'], fallback: 'text', help: 'form of the lines of --log' },
  { name: 'debug', kind: 'switch', help: 'more lines in the logs' },
  {
    name: 'debug-log',
    kind: 'string',
    value: 'FILE',
    help: "the sandbox's own log; in a name that ends in / or has %ID%, %COMMAND% or %TIMESTAMP%, these are filled in",
  },
  { name: 'strace', kind: 'switch', help: 'a line in the debug log for each system call of the guest' },
  {
    name: 'platform',
    kind: 'string',
    choices: ['systrap', 'ptrace'],
    fallback: 'systrap, or ptrace where the host refuses it',
    help: 'how guest code is run',
  },
  {
    name: 'network',
    kind: 'string',
    choices: ['none', 'host', 'sandbox'],
    fallback: 'host',
    help: "the guest's network: only lo, or the sockets of the container's network namespace",
  },
  {
    name: 'file-access',
    kind: 'string',
    choices: ['exclusive', 'shared'],
    fallback: 'exclusive',
    help: 'whether others change the root file system while the container runs',
  },
  { name: 'file-access-mounts', kind: 'string', choices: ['exclusive', 'shared'], fallback: 'shared', help: 'the same for bind mounts' },
  {
    name: 'overlay2',
    kind: 'string',
    value: 'WHERE:MEDIUM',
    fallback: 'none',
    help: 'keep writes in the sandbox: root:memory, all:memory or none',
  },
  {
    name: 'host-uds',
    kind: 'string',
    choices: ['none', 'open', 'create', 'all'],
    fallback: 'none',
    help: "connect to unix sockets of the host in the container's files; names that guests bind are their own in any case",
  },
  { name: 'host-fifo', kind: 'string', choices: ['none', 'open'], fallback: 'none', help: "FIFOs of the host in the container's files" },
  { name: 'rootless', kind: 'tristate', choices: ['auto'], help: 'go on where the caller may not do what only root may' },
  { name: 'systemd-cgroup', kind: 'switch', help: 'cgroupsPath is slice:prefix:name, and systemd makes the cgroup' },
  { name: 'ignore-cgroups', kind: 'switch', help: 'put the sandbox into no cgroup' },
  { name: 'systrap-disable-syscall-patching', kind: 'switch', help: 'leave guest code as it is: each system call traps' },
  {
    name: 'net-raw',
    kind: 'switch',
    help: 'raw and packet sockets for the programs of `do` (containers get them by CAP_NET_RAW in config.json)',
  },
  { name: 'egress-policy', kind: 'string', value: 'FILE', help: 'rules of what the sandbox may send to' },
  { name: 'egress-log', kind: 'string', value: 'FILE', help: "file that a line is appended to for each of the policy's denials" },
  { name: 'allow-flag-override', kind: 'switch', help: 'annotations dev.gvisor.flag.* may set flags' },
  { name: 'alsologtostderr', kind: 'switch', help: 'debug lines on stderr too' },
  { name: 'debug-log-format', kind: 'string', value: 'FORMAT', help: 'form of the debug log', ignored: true },
  { name: 'debug-command', kind: 'string', value: 'NAMES', help: 'commands that write a debug log', ignored: true },
  { name: 'panic-log', kind: 'string', value: 'FILE', help: 'where the Sentry writes why it died' },
  { name: 'watchdog-action', kind: 'string', value: 'WORD', help: 'what a stuck task leads to', ignored: true },
  { name: 'oci-seccomp', kind: 'switch', help: "apply the spec's seccomp filters inside the sandbox", ignored: true },
  { name: 'criu', kind: 'string', value: 'PATH', help: "runc's checkpoint program", ignored: true },
  { name: 'directfs', kind: 'switch', help: 'how files of the host are opened', ignored: true },
];

/** What the global flags come to. */
export interface Config {
  readonly root: string;
  readonly log: string | undefined;
  readonly logFormat: string;
  readonly debug: boolean;
  readonly debugLog: string | undefined;
  readonly panicLog: string | undefined;
  readonly alsoLogToStderr: boolean;
  readonly strace: boolean;
  readonly platform: PlatformName;
  readonly network: NetworkMode;
  readonly fileAccess: FileAccess;
  readonly fileAccessMounts: FileAccess;
  /** Whose writes stay in the sandbox. */
  readonly overlay: 'none' | 'root' | 'all';
  readonly hostUds: 'none' | 'open' | 'create' | 'all';
  readonly hostFifo: 'none' | 'open';
  readonly rootless: boolean;
  readonly systemdCgroup: boolean;
  readonly ignoreCgroups: boolean;
  readonly patchSyscalls: boolean;
  readonly netRaw: boolean;
  readonly egressPolicy: string | undefined;
  readonly egressLog: string | undefined;
}

export function configFrom(values: FlagValues): Config {
  checkNetwork(values.string('network'));
  const rootless = values.string('rootless');
  // Root of a user namespace has no say over the host's cgroups either.
  const ordinaryUser = process.geteuid!() !== 0 || inUserNamespace();
  return {
    root: values.string('root') ?? defaultRoot(),
    log: values.string('log') || undefined,
    logFormat: values.string('log-format') ?? 'text',
    debug: values.on('debug'),
    debugLog: values.string('debug-log') || undefined,
    panicLog: values.string('panic-log') || undefined,
    alsoLogToStderr: values.on('alsologtostderr'),
    strace: values.on('strace'),
    platform: (values.string('platform') ?? 'auto') as PlatformName,
    network: (values.string('network') ?? 'host') as NetworkMode,
    fileAccess: (values.string('file-access') ?? 'exclusive') as FileAccess,
    fileAccessMounts: (values.string('file-access-mounts') ?? 'shared') as FileAccess,
    overlay: overlayOf(values.string('overlay2')),
    hostUds: (values.string('host-uds') ?? 'none') as Config['hostUds'],
    hostFifo: (values.string('host-fifo') ?? 'none') as Config['hostFifo'],
    rootless: rootless === undefined || rootless === 'auto' ? ordinaryUser : rootless === 'true',
    systemdCgroup: values.on('systemd-cgroup'),
    ignoreCgroups: values.on('ignore-cgroups'),
    patchSyscalls: !values.on('systrap-disable-syscall-patching'),
    netRaw: values.on('net-raw'),
    egressPolicy: values.string('egress-policy') || undefined,
    egressLog: values.string('egress-log') || undefined,
  };
}

/** The mode is known, its network stack is still to come. */
export function checkNetwork(mode: string | undefined): void {
  if (mode === 'sandbox') throw new RunscError('--network=sandbox', 'is not available yet: host and none are');
}

/**
 * runc's rule: an ordinary user's state is in the run-time folder of the login, root's in /run. Who is root of a user
 * namespace only, as below a rootless podman, is an ordinary user, unless the environment speaks of root.
 */
function defaultRoot(): string {
  const runtime = process.env['XDG_RUNTIME_DIR'];
  const ordinary = process.geteuid!() !== 0 || (inUserNamespace() && process.env['USER'] !== 'root');
  return runtime !== undefined && runtime !== '' && ordinary ? join(runtime, 'runsc') : '/run/runsc';
}

function overlayOf(text: string | undefined): Config['overlay'] {
  if (text === undefined || text === '' || text === 'none') return 'none';
  return text.startsWith('all:') ? 'all' : 'root';
}
