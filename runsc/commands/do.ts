// `runsc do`: one command in a sandbox that sees the files of the host. Nothing of a container is made: no state,
// no cgroup, no control socket; the sandbox ends with this process.

import { realpathSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { GoferTree } from '../../gofer/config.ts';
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY } from '../../sentry/abi/mount.ts';
import { CAP_NET_RAW } from '../../sentry/abi/sched.ts';
import type { CapabilitySets, MountConfig } from '../../sentry/boot/boot-config.ts';
import { callerLimits } from '../caller-limits.ts';
import type { Invocation } from '../cli.ts';
import { checkNetwork, type NetworkMode } from '../config.ts';
import { egressPolicies } from '../egress-policy.ts';
import { RunscError } from '../errors.ts';
import { catchSignals, runInForeground } from '../foreground.ts';
import { isTerminal } from '../host.ts';
import { type HostPolicy, hostPolicyOf, policyOfFile } from '../host-policy.ts';
import { openEgressLog, openLog } from '../log.ts';
import { isHostNetwork, networkCapabilities, without } from '../network-capabilities.ts';
import { Sandbox } from '../sandbox.ts';
import { guestText } from '../text.ts';

/** Bits 0 to 40: CAP_LAST_CAP. */
const ALL_CAPABILITIES: readonly [number, number] = [-1, 0x1ff];
const NO_CAPABILITIES: readonly [number, number] = [0, 0];

const standardMounts: readonly MountConfig[] = [
  { target: '/proc', type: 'proc', source: 'proc', flags: MS_NOSUID | MS_NODEV | MS_NOEXEC, data: '' },
  { target: '/sys', type: 'sysfs', source: 'sysfs', flags: MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, data: '' },
  { target: '/dev', type: 'devtmpfs', source: 'udev', flags: MS_NOSUID, data: 'mode=755' },
  { target: '/dev/pts', type: 'devpts', source: 'devpts', flags: MS_NOSUID | MS_NOEXEC, data: 'gid=5,mode=620,ptmxmode=666' },
  { target: '/dev/shm', type: 'tmpfs', source: 'tmpfs', flags: MS_NOSUID | MS_NODEV, data: 'mode=1777' },
];

export function run({ config, flags, args }: Invocation): number {
  const root = folder('root', flags.string('root') ?? '/');
  const cwd = flags.string('cwd') ?? (root === '/' ? process.cwd() : '/');
  const overlay = flags.string('force-overlay') !== 'false';
  const trees: GoferTree[] = [{ hostPath: root, readOnly: overlay, shared: false }];
  const mounts = [...standardMounts, ...flags.list('volume').map((text) => volume(text, trees, hostPolicyOf(config)))];
  checkNetwork(flags.string('network'));
  const network = (flags.string('network') ?? config.network) as NetworkMode;
  const uid = flags.number('uid') ?? 0;
  const privileged: CapabilitySets = {
    bounding: ALL_CAPABILITIES,
    effective: uid === 0 ? ALL_CAPABILITIES : NO_CAPABILITIES,
    permitted: uid === 0 ? ALL_CAPABILITIES : NO_CAPABILITIES,
    inheritable: NO_CAPABILITIES,
    ambient: NO_CAPABILITIES,
  };
  const egress = egressPolicies(config.egressPolicy, {});
  const terminal = isTerminal(0);
  const signals = catchSignals();
  // Root of a try-out may do all that a container may be given, except what the flag asks for.
  const capabilities = networkCapabilities(privileged, network === 'none' ? 'new' : 'host', egress.length > 0);
  const sandbox = Sandbox.start({
    boot: {
      id: 'do',
      hostname: guestText(flags.string('hostname') ?? 'runsc'),
      platform: config.platform,
      patchSyscalls: config.patchSyscalls,
      strace: config.strace,
      debug: config.debug,
      network,
      egress,
      mayTuneNetwork: !isHostNetwork(network === 'none' ? 'new' : 'host'),
      mortalInit: true,
      root: { tree: 0, readOnly: false, exclusive: true, overlay, isFile: false },
      rootPropagation: 0,
      mounts,
      devices: [],
      maskedPaths: [],
      readonlyPaths: [],
      deviceRules: [],
      sysctl: {},
      process: {
        args: args.map(guestText),
        env: environment(flags.list('env')),
        cwd: guestText(cwd),
        uid,
        gid: flags.number('gid') ?? 0,
        groups: [],
        umask: process.umask(),
        capabilities: privileged,
        rlimits: callerLimits(),
        noNewPrivileges: false,
        terminal,
      },
    },
    trees,
    stdio: [0, 1, 2],
    logFd: openLog(config, 'do', 'do'),
    network: network === 'none' ? 'new' : 'host',
    networkCapabilities: config.netRaw ? capabilities : without(capabilities, CAP_NET_RAW),
    egressLogFd: openEgressLog(config),
  });
  return runInForeground(sandbox, signals, { name: args[0]!, terminal });
}

function folder(flag: string, path: string): string {
  try {
    const real = realpathSync(path);
    if (statSync(real).isDirectory()) return real;
  } catch (error) {
    throw new RunscError(`--${flag} ${path}`, error);
  }
  throw new RunscError(`--${flag} ${path}: not a directory`);
}

/** The caller's environment with what --env adds; a name alone takes the caller's value along. */
function environment(added: readonly string[]): string[] {
  const env = new Map(Object.entries(process.env) as [string, string][]);
  // Ours, from bin/runsc.
  env.delete('NODE_COMPILE_CACHE');
  for (const text of added) {
    const equals = text.indexOf('=');
    if (equals === 0) throw new RunscError(`--env ${text}: has no name`);
    if (equals > 0) env.set(text.slice(0, equals), text.slice(equals + 1));
  }
  return [...env].map(([name, value]) => guestText(`${name}=${value}`));
}

/** SRC:DST[:OPTIONS] as a bind mount whose writes reach the host. */
function volume(text: string, trees: GoferTree[], policy: HostPolicy): MountConfig {
  const [source = '', target = '', options = ''] = text.split(':');
  if (source === '' || !target.startsWith('/'))
    throw new RunscError(`--volume ${text}: must be SRC:DST or SRC:DST:ro, with an absolute DST`);
  const words = options === '' ? [] : options.split(',');
  for (const word of words) if (word !== 'ro' && word !== 'rw') throw new RunscError(`--volume ${text}: unknown option "${word}"`);
  const readOnly = words.includes('ro');
  let path: string;
  let isFile: boolean;
  let ownPolicy: HostPolicy;
  try {
    path = realpathSync(resolve(source));
    const stat = statSync(path);
    isFile = !stat.isDirectory();
    ownPolicy = policyOfFile(stat, policy);
  } catch (error) {
    throw new RunscError(`--volume ${text}`, error);
  }
  trees.push({ hostPath: path, readOnly, shared: true, ...ownPolicy });
  const tree = { tree: trees.length - 1, readOnly, exclusive: false, overlay: false, isFile };
  return { target: guestText(target), type: 'bind', source: guestText(path), flags: readOnly ? MS_RDONLY : 0, data: '', tree };
}
