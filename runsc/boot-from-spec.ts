// From a checked config.json to what Sentry and gofer are told: file trees, mounts, the first program.

import { realpathSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { EINVAL } from '../sentry/abi/errno.ts';
import { MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY } from '../sentry/abi/mount.ts';
import { CAP_MKNOD } from '../sentry/abi/sched.ts';
import { S_IFBLK, S_IFCHR, S_IFIFO } from '../sentry/abi/stat.ts';
import type { BootConfig, DeviceConfig, IdRangeConfig, MountConfig, ProcessConfig } from '../sentry/boot/boot-config.ts';
import { idMapsIn, type ViewMount } from './anchor.ts';
import { cgroupView, planCgroupMount } from './cgroup-view.ts';
import type { Config } from './config.ts';
import { egressPolicies } from './egress-policy.ts';
import { errnoText, RunscError } from './errors.ts';
import { sourceOf } from './host-mounts.ts';
import { type HostPolicy, hostPolicyOf, policyOfFile } from './host-policy.ts';
import { type IdMap, idMapsOf, sameIdMap } from './id-maps.ts';
import { parseMountOptions } from './mount-options.ts';
import { hostnameIn, inUserNamespace, isOwnNamespace } from './namespaces.ts';
import { isHostNetwork, networkCapabilities } from './network-capabilities.ts';
import type { SandboxOptions } from './sandbox.ts';
import type { Spec, SpecDevice, SpecMount, SpecProcess } from './spec.ts';
import { guestText } from './text.ts';
import type { HostTmpfs, MountIdMaps, PlannedTree } from './trees.ts';

export interface BootPlan {
  readonly boot: Omit<BootConfig, 'fds' | 'ownNetwork' | 'networkCapabilities'>;
  readonly trees: readonly PlannedTree[];
  readonly network: SandboxOptions['network'];
  readonly networkCapabilities: number;
  readonly maps: SandboxOptions['maps'];
  /** The file of the container's user namespace, if that one is there already. */
  readonly userNamespace: string | undefined;
  /** Absolute, resolved. */
  readonly rootfs: string;
  /** The mounts as who joins the container's mount namespace on the host finds them. */
  readonly view: readonly ViewMount[];
}

/** Mounts that a program on Linux cannot do without; config.json may leave them out. */
const requiredMounts: readonly MountConfig[] = [
  { target: '/proc', type: 'proc', source: 'proc', flags: MS_NOSUID | MS_NODEV | MS_NOEXEC, data: '' },
  { target: '/dev', type: 'devtmpfs', source: 'udev', flags: MS_NOSUID, data: 'mode=755' },
  { target: '/dev/pts', type: 'devpts', source: 'devpts', flags: MS_NOSUID | MS_NOEXEC, data: 'mode=620,ptmxmode=666' },
];

/** Who has no id outside cannot be: setuid(2), EINVAL. */
function refuseUnmapped(kind: 'uid' | 'gid', id: number, maps: readonly IdMap[]): void {
  if (!maps.some((m) => id >= m.containerID && id < m.containerID + m.size))
    throw new RunscError(`config.json: process.user.${kind}: ${id} has no mapping in the user namespace`, errnoText(EINVAL));
}

/** Device nodes of the host's file system are what a container with this capability makes in its root, as with runc. */
function mayMakeNodes(spec: Spec): boolean {
  return (spec.process.capabilities.bounding[0] & (1 << CAP_MKNOD)) !== 0;
}

/** podMaps: ids of the sandbox that the container is made in, for a user namespace by path. */
export function planBoot(id: string, bundle: string, spec: Spec, config: Config, podMaps?: BootPlan['maps']): BootPlan {
  const rootfs = findRootfs(bundle, spec);
  const { maps, path: userNamespace } = planUserNamespace(spec, podMaps);
  const hostPolicy = hostPolicyOf(config);
  const rootOverlay = config.overlay !== 'none';
  const trees: PlannedTree[] = [
    {
      hostPath: guestText(rootfs),
      readOnly: rootOverlay,
      shared: config.fileAccess === 'shared',
      nodes: mayMakeNodes(spec),
      ...hostPolicy,
    },
  ];
  const mounts: MountConfig[] = [];
  const hostTmpfs = new Map<SpecMount, HostTmpfs>();
  for (const mount of spec.mounts) {
    if (mount.type.startsWith('cgroup')) mounts.push(...planCgroupMount(mount, normalize(mount.destination), id, spec, config, trees));
    else if (isHostTmpfs(mount, spec)) mounts.push(planHostTmpfs(mount, maps, trees, hostTmpfs));
    else mounts.push(planMount(mount, bundle, config, trees, hostPolicy, mountIdMaps(mount, maps)));
  }
  for (const mount of [...requiredMounts].reverse()) if (!mounts.some((m) => m.target === mount.target)) mounts.unshift(mount);

  const cpus =
    spec.resources.cpu.quota !== undefined && spec.resources.cpu.quota > 0
      ? Math.max(1, Math.ceil(spec.resources.cpu.quota / (spec.resources.cpu.period ?? 100000)))
      : undefined;
  const limit = spec.resources.memory.limit;
  const pids = spec.resources.pids.limit;
  const network = planNetwork(spec, config);
  if (isHostNetwork(network) && spec.namespaces.every((n) => n.type !== 'network')) refuseHostSysctls(spec);
  const egress = egressPolicies(config.egressPolicy, spec.annotations);
  // dockerd's way to set it.
  const domainname = spec.domainname ?? spec.sysctl['kernel.domainname'];
  const shown = maps ?? (inUserNamespace() ? idMapsOf('self') : undefined);
  if (shown !== undefined) {
    refuseUnmapped('uid', spec.process.uid, shown.uid);
    refuseUnmapped('gid', spec.process.gid, shown.gid);
  }
  return {
    boot: {
      hostIds:
        shown === undefined ? undefined : { uids: shown.uid.map(idRange), gids: shown.gid.map(idRange), ofCaller: maps === undefined },
      id,
      hostname: guestText(hostnameOf(spec)),
      domainname: domainname === undefined ? undefined : guestText(domainname),
      platform: config.platform,
      patchSyscalls: config.patchSyscalls,
      strace: config.strace,
      debug: config.debug,
      network: config.network,
      egress,
      mayTuneNetwork: !isHostNetwork(network),
      mortalInit: false,
      root: { tree: 0, readOnly: spec.root.readonly, exclusive: config.fileAccess === 'exclusive', overlay: rootOverlay, isFile: false },
      rootPropagation: parseMountOptions([spec.rootfsPropagation ?? '']).propagation,
      mounts,
      devices: spec.devices.map(planDevice),
      maskedPaths: spec.maskedPaths.map(guestText),
      readonlyPaths: spec.readonlyPaths.map(guestText),
      sysctl: spec.sysctl,
      timeOffsets: spec.timeOffsets,
      // execCPUAffinity is about exec alone: config.md.
      process: { ...planProcess(spec.process), processors: undefined, personality: spec.personality },
      deviceRules: spec.resources.devices.map((rule) => ({
        allow: rule.allow,
        kind: rule.type === 'c' ? S_IFCHR : rule.type === 'b' ? S_IFBLK : 0,
        major: rule.major ?? -1,
        minor: rule.minor ?? -1,
        access: rule.access,
      })),
      seccomp: spec.seccomp?.program,
      memoryBytes: limit !== undefined && limit > 0 ? limit : undefined,
      cpus,
      tasksLimit: pids !== undefined && pids > 0 ? pids : undefined,
      cgroup: cgroupView(id, spec, config),
    },
    trees,
    network,
    networkCapabilities: networkCapabilities(spec.process.capabilities, network, egress.length > 0),
    maps,
    userNamespace,
    rootfs,
    view: viewOf(spec, bundle, hostTmpfs),
  };
}

/** Parameters of a network that the container shares with the host are the host's: runc's rule. */
function refuseHostSysctls(spec: Spec): void {
  for (const name of Object.keys(spec.sysctl))
    if (/^net[./]/.test(name))
      throw new RunscError(
        `config.json: linux.sysctl.${name}`,
        "the container has no network namespace of its own, and the host's is not changed",
      );
}

/** Bind mounts are what they are; of a tmpfs nothing can be shown but that it hides what is below. */
function viewOf(spec: Spec, bundle: string, hostTmpfs: ReadonlyMap<SpecMount, HostTmpfs>): ViewMount[] {
  const view: ViewMount[] = [];
  for (const mount of spec.mounts) {
    const { flags } = parseMountOptions(mount.options);
    const target = normalize(mount.destination);
    const readOnly = (flags & MS_RDONLY) !== 0;
    if (mount.type === 'bind' || (flags & MS_BIND) !== 0) {
      const source = isAbsolute(mount.source) ? mount.source : join(bundle, mount.source);
      view.push({ kind: 'bind', source, target, readOnly, isFile: !isFolder(source) });
    } else if (mount.type !== 'tmpfs') view.push({ kind: 'folder', source: '', target, readOnly, isFile: false });
    else view.push({ kind: 'tmpfs', source: '', target, readOnly, isFile: false, host: hostTmpfs.get(mount) });
  }
  return view;
}

/**
 * Whether a tmpfs is to be the host's: podman's cp enters the mount namespace of a running container and copies there. A
 * tmpfs of the Sentry's own is faster, so other engines, which do not look, get that.
 */
function isHostTmpfs(mount: SpecMount, spec: Spec): boolean {
  const isOurs = /^\/(dev|proc|sys)(\/|$)/.test(normalize(mount.destination));
  return mount.type === 'tmpfs' && !isOurs && spec.annotations['io.container.manager'] === 'libpod';
}

function planHostTmpfs(mount: SpecMount, maps: BootPlan['maps'], trees: PlannedTree[], made: Map<SpecMount, HostTmpfs>): MountConfig {
  const { flags, propagation, data } = parseMountOptions(mount.options);
  const target = guestText(normalize(mount.destination));
  const words = data.split(',').filter((word) => word !== '');
  const idOf = (name: string) => Number(words.findLast((word) => word.startsWith(`${name}=`))?.slice(name.length + 1) ?? 0);
  const options = [
    ...words.filter((word) => !/^[ug]id=/.test(word)),
    `uid=${outside(idOf('uid'), maps?.uid)}`,
    `gid=${outside(idOf('gid'), maps?.gid)}`,
  ].join(',');
  const tmpfs: HostTmpfs = { options, viewFd: -1 };
  made.set(mount, tmpfs);
  trees.push({ hostPath: target, readOnly: false, shared: false, nodes: false, tmpfs });
  return {
    target,
    type: 'tmpfs',
    source: guestText(mount.source === '' ? 'tmpfs' : mount.source),
    flags: flags & ~MS_RDONLY,
    propagation,
    data: guestText(data),
    tree: { tree: trees.length - 1, readOnly: false, exclusive: true, overlay: false, isFile: false, shownAs: 'tmpfs' },
    copyUp: mount.options.some((word) => word === 'tmpcopyup' || word === 'copyup'),
    readOnlyAtLast: (flags & MS_RDONLY) !== 0,
  };
}

/** What the caller calls an id of the container; one without a mapping stays, and mount(2) refuses it. */
function outside(id: number, maps: readonly IdMap[] | undefined): number {
  const map = maps?.find((m) => id >= m.containerID && id < m.containerID + m.size);
  return map === undefined ? id : map.hostID + id - map.containerID;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? true;
}

/** The container's user namespace: its maps, and its file if it is there already. Both are undefined without one of its own. */
function planUserNamespace(spec: Spec, podMaps: BootPlan['maps']): { maps: BootPlan['maps']; path: string | undefined } {
  // Our own by its path is none: a pod's whose containers are in the caller's.
  const user = spec.namespaces.find((n) => n.type === 'user' && (n.path === undefined || !isOwnNamespace(n.path, 'user')));
  const { uidMappings: uid, gidMappings: gid } = spec;
  if (user?.path === undefined) {
    if (user === undefined) return { maps: undefined, path: undefined };
    if (uid.length === 0)
      throw new RunscError('config.json: linux.uidMappings', 'is missing: no id exists in a user namespace without mappings');
    if (gid.length === 0) throw new RunscError('config.json: linux.gidMappings', 'is missing beside uidMappings');
    return { maps: { uid, gid }, path: undefined };
  }
  const maps = podMaps ?? idMapsAt(user.path);
  if (maps.uid.length === 0 || maps.gid.length === 0)
    throw new RunscError(`config.json: linux.namespaces: ${user.path}`, 'the user namespace has no id maps');
  if ((uid.length > 0 && !sameIdMap(uid, maps.uid)) || (gid.length > 0 && !sameIdMap(gid, maps.gid)))
    throw new RunscError('config.json: linux.uidMappings', `are not the maps of the user namespace ${user.path}`);
  return { maps, path: user.path };
}

/** A process's namespace has its maps beside it; any other is entered for them. */
function idMapsAt(path: string): { uid: IdMap[]; gid: IdMap[] } {
  const process = /^\/proc\/(\d+|self)\/ns\/user$/.exec(path);
  if (process === null) return idMapsIn(path);
  try {
    return idMapsOf(process[1] === 'self' ? 'self' : Number(process[1]));
  } catch (error) {
    throw new RunscError(`config.json: linux.namespaces: reading the id maps of ${path}`, error);
  }
}

function idRange(map: IdMap): IdRangeConfig {
  return { inside: map.containerID, outside: map.hostID, count: map.size };
}

/** A new UTS namespace begins with the name of the one it was made in, as any does; one of others has theirs. */
function hostnameOf(spec: Spec): string {
  const uts = spec.namespaces.find((n) => n.type === 'uts');
  if (uts?.path !== undefined) return hostnameIn(uts.path);
  return (uts === undefined ? undefined : spec.hostname) ?? hostname();
}

function findRootfs(bundle: string, spec: Spec): string {
  const path = resolve(bundle, spec.root.path);
  try {
    const real = realpathSync(path);
    if (statSync(real).isDirectory()) return real;
  } catch (error) {
    throw new RunscError(`config.json: root.path: ${path}`, error);
  }
  throw new RunscError(`config.json: root.path: ${path}`, 'not a directory');
}

function planNetwork(spec: Spec, config: Config): SandboxOptions['network'] {
  if (config.network === 'none') return 'new';
  const namespace = spec.namespaces.find((n) => n.type === 'network');
  if (namespace === undefined) return 'host';
  return namespace.path === undefined ? 'new' : { path: namespace.path };
}

function planMount(
  mount: SpecMount,
  bundle: string,
  config: Config,
  trees: PlannedTree[],
  hostPolicy: HostPolicy,
  idMaps: MountIdMaps | undefined,
): MountConfig {
  const { flags, propagation, data } = parseMountOptions(mount.options);
  const target = normalize(mount.destination);
  if (mount.type === 'overlay') {
    const readOnly = (flags & MS_RDONLY) !== 0 || !/(^|,)upperdir=/.test(data);
    const hostPath = guestText(mount.source === '' ? 'overlay' : mount.source);
    trees.push({ hostPath, overlay: guestText(data), readOnly, shared: config.fileAccessMounts === 'shared', ...hostPolicy });
    const tree = { tree: trees.length - 1, readOnly, exclusive: config.fileAccessMounts === 'exclusive', overlay: false, isFile: false };
    return { target: guestText(target), type: 'bind', source: hostPath, flags, propagation, data: '', tree };
  }
  if (mount.type === 'erofs' && (flags & MS_BIND) === 0) {
    const hostPath = guestText(imageFile(mount, bundle));
    trees.push({ hostPath, readOnly: true, shared: false, ...hostPolicy });
    const tree = { tree: trees.length - 1, readOnly: true, exclusive: true, overlay: false, isFile: false };
    return {
      target: guestText(target),
      type: 'erofs',
      source: hostPath,
      flags: flags | MS_RDONLY,
      propagation,
      data: guestText(data),
      tree,
    };
  }
  if (mount.type !== 'bind' && (flags & MS_BIND) === 0) {
    if (mount.type === '') throw new RunscError(`config.json: the mount at ${mount.destination}`, 'has no type');
    return {
      target: guestText(target),
      type: mount.type,
      source: guestText(mount.source === '' ? mount.type : mount.source),
      // Others are mounted in it, and /dev gets its devices, before it is closed: runc's finalizeRootfs().
      flags: mount.type === 'tmpfs' ? flags & ~MS_RDONLY : flags,
      propagation,
      data: guestText(data),
      copyUp: mount.type === 'tmpfs' && mount.options.some((word) => word === 'tmpcopyup' || word === 'copyup'),
      readOnlyAtLast: mount.type === 'tmpfs' && (flags & MS_RDONLY) !== 0,
    };
  }
  if (mount.source === '') throw new RunscError(`config.json: the bind mount at ${mount.destination}`, 'has no source');
  const source = isAbsolute(mount.source) ? mount.source : join(bundle, mount.source);
  let hostPath: string;
  let isFile: boolean;
  let policy = hostPolicy;
  try {
    hostPath = realpathSync(source);
    const stat = statSync(hostPath);
    isFile = !stat.isDirectory();
    policy = policyOfFile(stat, hostPolicy);
  } catch (error) {
    throw new RunscError(`config.json: the bind mount at ${mount.destination}: ${source}`, error);
  }
  // The kernel's own file systems of the host would show the host: the Sentry has its own.
  const overlay = config.overlay === 'all';
  const readOnly = (flags & MS_RDONLY) !== 0;
  const shared = config.fileAccessMounts === 'shared';
  trees.push({ hostPath: guestText(hostPath), readOnly: readOnly || overlay, shared, ...(idMaps && { idMaps }), ...policy });
  const tree = { tree: trees.length - 1, readOnly, exclusive: config.fileAccessMounts === 'exclusive', overlay, isFile };
  return {
    target: guestText(target),
    type: 'bind',
    source: guestText(sourceOf(hostPath)),
    flags: flags & ~MS_BIND,
    propagation,
    data: '',
    tree,
  };
}

/** The file that a mount of an image names. */
function imageFile(mount: SpecMount, bundle: string): string {
  const source = isAbsolute(mount.source) ? mount.source : join(bundle, mount.source);
  try {
    const path = realpathSync(source);
    if (statSync(path).isFile()) return path;
  } catch (error) {
    throw new RunscError(`config.json: the ${mount.type} mount at ${mount.destination}: ${source}`, error);
  }
  throw new RunscError(`config.json: the ${mount.type} mount at ${mount.destination}: ${source}`, 'is no file with an image in it');
}

/** Mappings alone mean "idmap", and "idmap" alone the container's own: config.md, uidMappings. */
function mountIdMaps(mount: SpecMount, container: BootPlan['maps']): MountIdMaps | undefined {
  const { uidMappings: uid, gidMappings: gid, options } = mount;
  const recursive = options.includes('ridmap');
  if (!recursive && !options.includes('idmap') && uid.length === 0 && gid.length === 0) return undefined;
  const refuse = (why: string): never => {
    throw new RunscError(`config.json: the id-mapped mount at ${mount.destination}`, why);
  };
  if (mount.type !== 'bind' && (parseMountOptions(options).flags & MS_BIND) === 0) refuse('only bind mounts can have their ids mapped');
  if (uid.length > 0 !== gid.length > 0) refuse('needs both uidMappings and gidMappings');
  if (uid.length > 0) return { uid, gid, recursive };
  const { uid: ownUid, gid: ownGid } = container ?? refuse('has neither uidMappings nor a container with a user namespace of its own');
  return { uid: ownUid, gid: ownGid, recursive };
}

/** "/a//b/" as "/a/b", without leaving the root. */
function normalize(path: string): string {
  return resolve('/', path);
}

function planDevice(device: SpecDevice): DeviceConfig {
  const kind = device.type === 'b' ? S_IFBLK : device.type === 'p' ? S_IFIFO : S_IFCHR;
  const { major, minor, uid, gid } = device;
  return { path: guestText(device.path), mode: kind | device.fileMode, major, minor, uid, gid };
}

/** The program as the Sentry starts it. */
export function planProcess(process: SpecProcess): ProcessConfig {
  return {
    args: process.args.map(guestText),
    env: process.env.map(guestText),
    cwd: guestText(process.cwd),
    uid: process.uid,
    gid: process.gid,
    groups: process.groups,
    umask: process.umask,
    capabilities: process.capabilities,
    rlimits: process.rlimits,
    noNewPrivileges: process.noNewPrivileges,
    oomScoreAdj: process.oomScoreAdj,
    ioPriority: process.ioPriority,
    scheduler: process.scheduler,
    processors: process.execProcessors,
    terminal: process.terminal,
    consoleSize: process.consoleSize,
  };
}
