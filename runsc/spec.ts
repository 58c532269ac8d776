// config.json of a bundle: the OCI runtime specification's fields that this runtime knows, checked. What it does not
// know is ignored, as the specification wants; what it refuses says so.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as sched from '../sentry/abi/sched.ts';
import { processorList } from '../sentry/base/processor-list.ts';
import type { CapabilitySets, SchedulerConfig, TimeOffsets } from '../sentry/boot/boot-config.ts';
import { RunscError } from './errors.ts';
import { Field, MAX_SAFE, MAX_U32, stringMap } from './field.ts';
import type { IdMap } from './id-maps.ts';
import { debugLine, warning } from './messages.ts';
import { checkResources, type Resources } from './resources.ts';
import { checkSeccomp, type Seccomp } from './seccomp.ts';
import { checkTimeOffsets } from './time-offsets.ts';

export interface SpecProcess {
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly terminal: boolean;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  readonly umask: number | undefined;
  readonly capabilities: CapabilitySets;
  readonly rlimits: readonly (readonly [number, number, number])[];
  readonly noNewPrivileges: boolean;
  readonly oomScoreAdj: number | undefined;
  readonly ioPriority: number | undefined;
  readonly scheduler: SchedulerConfig | undefined;
  /** Where programs of exec run: execCPUAffinity.final. */
  readonly execProcessors: readonly number[] | undefined;
  readonly consoleSize: readonly [number, number] | undefined;
}

export interface SpecMount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
  readonly uidMappings: readonly IdMap[];
  readonly gidMappings: readonly IdMap[];
}

export interface SpecDevice {
  readonly path: string;
  readonly type: 'c' | 'b' | 'u' | 'p';
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
}

export interface SpecHook {
  readonly path: string;
  readonly args: readonly string[];
  readonly env: readonly string[];
  /** Seconds. */
  readonly timeout: number | undefined;
}

export const HOOKS = ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'] as const;
export type HookName = (typeof HOOKS)[number];

export interface SpecNamespace {
  readonly type: string;
  readonly path: string | undefined;
}

export interface Spec {
  readonly ociVersion: string;
  readonly root: { readonly path: string; readonly readonly: boolean };
  /** A pod's sandbox may have none until it is started; we want one. */
  readonly process: SpecProcess;
  readonly hostname: string | undefined;
  readonly domainname: string | undefined;
  readonly mounts: readonly SpecMount[];
  readonly hooks: Readonly<Record<HookName, readonly SpecHook[]>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly namespaces: readonly SpecNamespace[];
  readonly uidMappings: readonly IdMap[];
  readonly gidMappings: readonly IdMap[];
  readonly devices: readonly SpecDevice[];
  readonly cgroupsPath: string | undefined;
  readonly resources: Resources;
  readonly seccomp: Seccomp | undefined;
  /** personality(2)'s word. */
  readonly personality: number | undefined;
  /** Of a time namespace of its own; undefined without one. */
  readonly timeOffsets: TimeOffsets | undefined;
  readonly sysctl: Readonly<Record<string, string>>;
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  readonly rootfsPropagation: string | undefined;
}

/** Reads and checks a bundle's config.json. */
export function readSpec(bundle: string): Spec {
  const path = join(bundle, 'config.json');
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new RunscError('opening config.json', error);
  }
  return checkSpec(Field.parse('config.json', text));
}

/** Checks a whole specification. */
export function checkSpec(spec: Field): Spec {
  for (const platform of ['solaris', 'windows', 'vm', 'zos']) {
    if (spec.get(platform).exists) spec.get(platform).fail('this platform is not supported');
  }
  const ociVersion = spec.get('ociVersion').string();
  const version = /^(\d+)\.\d+\.\d+/.exec(ociVersion) ?? spec.get('ociVersion').fail('must be a version such as 1.0.2');
  if (version[1] !== '1') spec.get('ociVersion').fail(`version ${ociVersion} is not supported`);
  const root = spec.get('root').required();
  const linux = spec.get('linux');
  const cpus = linux.get('resources').get('cpu').get('cpus');
  if (spec.get('process').get('scheduler').get('policy').value === 'SCHED_DEADLINE' && cpus.exists && cpus.string() !== '')
    cpus.fail("process scheduler can't be used together with AllowedCPUs");
  const namespaces = checkNamespaces(linux.get('namespaces'));
  for (const name of ['hostname', 'domainname'])
    if (spec.get(name).exists && spec.get(name).string() !== '' && !namespaces.some((n) => n.type === 'uts'))
      spec.get(name).fail('cannot be set without a UTS namespace in linux.namespaces');
  const mountLabel = linux.get('mountLabel');
  if (mountLabel.exists && mountLabel.string() !== '') mountLabel.fail('SELinux labels are not supported');
  return {
    ociVersion,
    root: { path: nonEmpty(root.get('path')), readonly: root.get('readonly').boolean() },
    process: checkProcess(spec.get('process').required()),
    hostname: spec.get('hostname').optionalString(),
    domainname: spec.get('domainname').optionalString(),
    mounts: spec.get('mounts').array().map(checkMount),
    hooks: checkHooks(spec.get('hooks')),
    annotations: stringMap(spec.get('annotations')),
    namespaces,
    uidMappings: linux.get('uidMappings').array().map(checkIdMap),
    gidMappings: linux.get('gidMappings').array().map(checkIdMap),
    devices: linux.get('devices').array().map(checkDevice),
    cgroupsPath: linux.get('cgroupsPath').optionalString(),
    resources: checkResources(linux.get('resources')),
    seccomp: checkSeccomp(linux.get('seccomp')),
    personality: checkPersonality(linux.get('personality')),
    timeOffsets: checkTimeOffsets(linux.get('timeOffsets'), namespaces),
    sysctl: stringMap(linux.get('sysctl')),
    maskedPaths: linux.get('maskedPaths').strings(),
    readonlyPaths: linux.get('readonlyPaths').strings(),
    rootfsPropagation: checkPropagation(linux.get('rootfsPropagation')),
  };
}

function nonEmpty(field: Field): string {
  const text = field.string();
  if (text === '') field.fail('must not be empty');
  return text;
}

function absolute(field: Field): string {
  const path = field.string();
  if (!path.startsWith('/')) field.fail('must be an absolute path');
  return path;
}

/** OCI's process, of config.json or of exec's process.json. */
export function checkProcess(process: Field): SpecProcess {
  const argsField = process.get('args');
  const valid = Array.isArray(argsField.value) && argsField.value.length > 0 && argsField.value.every((a) => typeof a === 'string');
  if (!valid) argsField.fail('must be a non-empty array of strings');
  const args = argsField.strings();
  const selinux = process.get('selinuxLabel');
  if (selinux.exists && selinux.string() !== '') selinux.fail('SELinux labels are not supported');
  const user = process.get('user');
  const size = process.get('consoleSize');
  const env = process.get('env');
  const variables = env.strings();
  return {
    args,
    env: variables,
    cwd: absolute(process.get('cwd')),
    terminal: process.get('terminal').boolean(),
    uid: user.get('uid').optionalInteger(0, MAX_U32 - 1) ?? 0,
    gid: user.get('gid').optionalInteger(0, MAX_U32 - 1) ?? 0,
    groups: user
      .get('additionalGids')
      .array()
      .map((g) => g.integer(0, MAX_U32 - 1)),
    umask: user.get('umask').optionalInteger(0, 0o777),
    capabilities: checkCapabilities(process.get('capabilities')),
    rlimits: process.get('rlimits').array().map(checkRlimit),
    noNewPrivileges: process.get('noNewPrivileges').boolean(),
    oomScoreAdj: process.get('oomScoreAdj').optionalInteger(-1000, 1000),
    ioPriority: checkIoPriority(process.get('ioPriority')),
    scheduler: checkScheduler(process.get('scheduler')),
    execProcessors: checkAffinity(process.get('execCPUAffinity')),
    consoleSize: size.exists ? [size.get('height').integer(0, 65535), size.get('width').integer(0, 65535)] : undefined,
  };
}

const IO_CLASSES: Readonly<Record<string, number>> = { IOPRIO_CLASS_RT: 1, IOPRIO_CLASS_BE: 2, IOPRIO_CLASS_IDLE: 3 };

/** ioprio_set(2)'s word. */
function checkIoPriority(field: Field): number | undefined {
  if (!field.exists) return undefined;
  const name = field.get('class').string();
  const number = IO_CLASSES[name] ?? field.get('class').fail(`"${name}" is not an I/O scheduling class`);
  return number * 8192 + (field.get('priority').optionalInteger(0, 7) ?? 0);
}

/** `initial` is for runc's own steps towards the program, which there are none of here: it is only checked. */
function checkAffinity(field: Field): readonly number[] | undefined {
  const list = (name: string): readonly number[] | undefined => {
    const member = field.get(name);
    const text = member.optionalString();
    if (text === undefined || text === '') return undefined;
    return processorList(text) ?? member.fail(`"${text}" is not a list of processors such as 0-2,5`);
  };
  list('initial');
  return list('final');
}

const POLICIES = ['SCHED_OTHER', 'SCHED_FIFO', 'SCHED_RR', 'SCHED_BATCH', 'SCHED_IDLE', 'SCHED_DEADLINE'];
const SCHED_FLAGS = ['RESET_ON_FORK', 'RECLAIM', 'DL_OVERRUN', 'KEEP_POLICY', 'KEEP_PARAMS', 'UTIL_CLAMP_MIN', 'UTIL_CLAMP_MAX'].map(
  (name) => `SCHED_FLAG_${name}`,
);

function checkScheduler(field: Field): SchedulerConfig | undefined {
  if (!field.exists) return undefined;
  const name = field.get('policy').string();
  const policy = name === 'SCHED_ISO' ? sched.SCHED_ISO : POLICIES.includes(name) ? NUMBERS[name] : undefined;
  const flags = field.get('flags').array();
  for (const flag of flags) if (!SCHED_FLAGS.includes(flag.string())) flag.fail(`"${flag.string()}" is not a scheduler flag`);
  const time = (member: string): number => field.get(member).optionalInteger(0, MAX_SAFE) ?? 0;
  const deadline = { runtimeNs: time('runtime'), deadlineNs: time('deadline'), periodNs: time('period') };
  if (name !== 'SCHED_DEADLINE' && (deadline.runtimeNs !== 0 || deadline.deadlineNs !== 0 || deadline.periodNs !== 0))
    field.get('policy').fail('runtime, deadline and period are for SCHED_DEADLINE alone');
  const priority = field.get('priority').optionalInteger(0, 99) ?? 0;
  if (priority !== 0 && name !== 'SCHED_FIFO' && name !== 'SCHED_RR') field.get('priority').fail('is for SCHED_FIFO and SCHED_RR alone');
  return {
    policy: policy ?? field.get('policy').fail(`"${name}" is not a scheduling policy`),
    priority,
    nice: field.get('nice').optionalInteger(-20, 19) ?? 0,
    resetOnFork: flags.some((flag) => flag.value === 'SCHED_FLAG_RESET_ON_FORK'),
    ...deadline,
  };
}

const PERSONALITIES: Readonly<Record<string, number>> = { LINUX: 0, LINUX32: 8 };

function checkPersonality(field: Field): number | undefined {
  if (!field.exists) return undefined;
  const domain = field.get('domain').string();
  // "flags ... currently no flag values are supported": config-linux.md.
  if (field.get('flags').array().length > 0) field.get('flags').fail('no flags are supported');
  return PERSONALITIES[domain] ?? field.get('domain').fail(`"${domain}" must be LINUX or LINUX32`);
}

const NUMBERS = sched as unknown as Readonly<Record<string, number>>;

/** The number of "CAP_CHOWN" or "chown", or undefined. */
export function capabilityNumber(name: string): number | undefined {
  const full = name.toUpperCase().startsWith('CAP_') ? name.toUpperCase() : `CAP_${name.toUpperCase()}`;
  return full === 'CAP_LAST_CAP' ? undefined : NUMBERS[full];
}

/** Names of all capabilities, for `features`. */
export function capabilityNames(): string[] {
  const names: string[] = [];
  for (const name of Object.keys(NUMBERS))
    if (name.startsWith('CAP_') && name !== 'CAP_LAST_CAP' && NUMBERS[name]! <= sched.CAP_LAST_CAP) names.push(name);
  return names.sort((a, b) => NUMBERS[a]! - NUMBERS[b]!);
}

export function capabilityWords(numbers: readonly number[]): [number, number] {
  let lo = 0;
  let hi = 0;
  for (const cap of numbers) {
    if (cap < 32) lo |= 1 << cap;
    else hi |= 1 << (cap - 32);
  }
  return [lo, hi];
}

function checkCapabilities(field: Field): CapabilitySets {
  const set = (name: string): [number, number] => {
    const numbers: number[] = [];
    for (const word of field.get(name).array()) {
      const number = capabilityNumber(word.string());
      // "... MUST be ignored with a warning": config.md, of what the kernel does not know.
      if (number === undefined) warning(`ignoring unknown or unavailable capability ${word.string()} (${word.path})`);
      else numbers.push(number);
    }
    return capabilityWords(numbers);
  };
  const permitted = set('permitted');
  const inheritable = set('inheritable');
  return {
    bounding: set('bounding'),
    effective: set('effective'),
    permitted,
    inheritable,
    ambient: raisable(set('ambient'), permitted, inheritable),
  };
}

/** "only capabilities that are both permitted and inheritable can be ambient": prctl(2), PR_CAP_AMBIENT_RAISE. */
function raisable(ambient: [number, number], permitted: [number, number], inheritable: [number, number]): [number, number] {
  const allowed: [number, number] = [permitted[0] & inheritable[0], permitted[1] & inheritable[1]];
  // Engines that have given up inheritable ones ask for the whole of their list all the same: no news to anybody.
  const tell = inheritable[0] === 0 && inheritable[1] === 0 ? debugLine : warning;
  for (const [i, name] of capabilityNames().entries()) {
    const word = i < 32 ? 0 : 1;
    const bit = 1 << (i % 32);
    if ((ambient[word] & bit) !== 0 && (allowed[word] & bit) === 0)
      tell(`can't raise ambient capability ${name}: it is not both permitted and inheritable`);
  }
  return [ambient[0] & allowed[0], ambient[1] & allowed[1]];
}

function checkRlimit(field: Field): [number, number, number] {
  const type = field.get('type').string();
  const known = type === 'RLIMIT_NLIMITS' || !type.startsWith('RLIMIT_') ? undefined : NUMBERS[type];
  const number = known ?? field.get('type').fail(`"${type}" is not a resource limit`);
  const bound = (name: string): number => {
    const { value } = field.get(name).required();
    if (typeof value !== 'number' || !(value >= -1)) return field.get(name).fail('must be a whole number');
    // RLIM_INFINITY is 2^64-1, which JSON cannot carry exactly.
    return value >= MAX_SAFE || value === -1 ? -1 : value;
  };
  const soft = bound('soft');
  const hard = bound('hard');
  if (hard !== -1 && (soft === -1 || soft > hard)) field.get('soft').fail('must not be above hard');
  return [number, soft, hard];
}

function checkMount(field: Field): SpecMount {
  const destination = field.get('destination').string();
  if (destination === '') field.get('destination').fail('must not be empty');
  return {
    // runc takes a relative one too, as below the root.
    destination: destination.startsWith('/') ? destination : `/${destination}`,
    type: field.get('type').optionalString() ?? '',
    source: field.get('source').optionalString() ?? '',
    options: field.get('options').strings(),
    uidMappings: field.get('uidMappings').array().map(checkIdMap),
    gidMappings: field.get('gidMappings').array().map(checkIdMap),
  };
}

/** "If a namespaces field contains duplicated namespaces with same type, the runtime MUST generate an error": config-linux.md. */
function checkNamespaces(field: Field): SpecNamespace[] {
  const namespaces: SpecNamespace[] = [];
  for (const member of field.array()) {
    const namespace = checkNamespace(member);
    if (namespaces.some((n) => n.type === namespace.type)) member.fail(`is a second one of type "${namespace.type}"`);
    namespaces.push(namespace);
  }
  return namespaces;
}

const PROPAGATIONS = ['private', 'shared', 'slave', 'unbindable'].flatMap((word) => [word, `r${word}`]);

function checkPropagation(field: Field): string | undefined {
  const word = field.optionalString();
  if (word !== undefined && word !== '' && !PROPAGATIONS.includes(word)) field.fail(`"${word}" must be one of ${PROPAGATIONS.join(', ')}`);
  return word;
}

function checkNamespace(field: Field): SpecNamespace {
  const type = field.get('type').string();
  if (!['pid', 'network', 'mount', 'ipc', 'uts', 'user', 'cgroup', 'time'].includes(type))
    field.get('type').fail(`"${type}" is not a kind of namespace`);
  const path = field.get('path').optionalString();
  return { type, path: path === '' ? undefined : path };
}

function checkIdMap(field: Field): IdMap {
  return {
    containerID: field.get('containerID').integer(0, MAX_U32),
    hostID: field.get('hostID').integer(0, MAX_U32),
    size: field.get('size').integer(1, MAX_U32),
  };
}

function checkDevice(field: Field): SpecDevice {
  const type = field.get('type').string();
  if (type !== 'c' && type !== 'b' && type !== 'u' && type !== 'p') return field.get('type').fail('must be one of c, b, u, p');
  const numbered = type !== 'p';
  return {
    path: absolute(field.get('path')),
    type,
    major: numbered ? field.get('major').integer(0, 0xfff) : 0,
    minor: numbered ? field.get('minor').integer(0, 0xfffff) : 0,
    fileMode: (field.get('fileMode').optionalInteger(0, MAX_U32) ?? 0o666) & 0o7777,
    uid: field.get('uid').optionalInteger(0, MAX_U32) ?? 0,
    gid: field.get('gid').optionalInteger(0, MAX_U32) ?? 0,
  };
}

function checkHooks(field: Field): Record<HookName, SpecHook[]> {
  const hooks = {} as Record<HookName, SpecHook[]>;
  for (const name of HOOKS) {
    hooks[name] = field
      .get(name)
      .array()
      .map((hook) => ({
        path: absolute(hook.get('path')),
        args: hook.get('args').strings(),
        env: hook.get('env').strings(),
        timeout: hook.get('timeout').optionalInteger(1, MAX_U32),
      }));
  }
  return hooks;
}
