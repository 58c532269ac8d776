// Whether what request "create" brings is a container's configuration: it comes from another process, and a word of the
// wrong kind would be found out somewhere deep in the kernel, in the middle of a pod that has other containers.

import type { MemberConfig } from './boot-config.ts';

/** What is wrong with a value, from its name on; undefined when nothing is. */
type Check = (value: unknown, at: string) => string | undefined;

const text: Check = (value, at) => (typeof value === 'string' ? undefined : `${at} is no string`);
const flag: Check = (value, at) => (typeof value === 'boolean' ? undefined : `${at} is no boolean`);
const word: Check = (value, at) => (typeof value === 'number' && Number.isFinite(value) ? undefined : `${at} is no number`);

function whole(least: number, most: number): Check {
  return (value, at) =>
    Number.isInteger(value) && (value as number) >= least && (value as number) <= most
      ? undefined
      : `${at} is no whole number from ${least} to ${most}`;
}

function optional(check: Check): Check {
  return (value, at) => (value === undefined ? undefined : check(value, at));
}

function list(check: Check, length?: number): Check {
  return (value, at) => {
    if (!Array.isArray(value) || (length !== undefined && value.length !== length))
      return `${at} is no list${length === undefined ? '' : ` of ${length}`}`;
    for (const [i, item] of value.entries()) {
      const wrong = check(item, `${at}[${i}]`);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function map(check: Check): Check {
  return (value, at) => {
    if (!isObject(value)) return `${at} is no object`;
    for (const [name, item] of Object.entries(value)) {
      const wrong = check(item, `${at}.${name}`);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };
}

function shape(checks: Readonly<Record<string, Check>>): Check {
  return (value, at) => {
    if (!isObject(value)) return `${at} is no object`;
    for (const name of Object.keys(checks)) {
      const wrong = checks[name]!(value[name], at === '' ? name : `${at}.${name}`);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  };
}

const u32 = whole(0, 0xffffffff);
const i32 = whole(-0x80000000, 0xffffffff);
const capabilities = list(i32, 2);

const scheduler = shape({
  policy: u32,
  priority: i32,
  nice: whole(-20, 19),
  resetOnFork: flag,
  runtimeNs: word,
  deadlineNs: word,
  periodNs: word,
});

const processChecks: Readonly<Record<string, Check>> = {
  path: optional(text),
  args: list(text),
  env: list(text),
  cwd: text,
  uid: u32,
  gid: u32,
  groups: list(u32),
  umask: optional(whole(0, 0o777)),
  capabilities: shape({
    bounding: capabilities,
    effective: capabilities,
    permitted: capabilities,
    inheritable: capabilities,
    ambient: capabilities,
  }),
  rlimits: list(list(word, 3)),
  noNewPrivileges: flag,
  oomScoreAdj: optional(whole(-1000, 1000)),
  personality: optional(u32),
  ioPriority: optional(u32),
  scheduler: optional(scheduler),
  terminal: flag,
  bareNewlines: optional(flag),
  consoleSize: optional(list(whole(0, 0xffff), 2)),
};

const tree = shape({
  tree: whole(0, 0xffff),
  readOnly: flag,
  exclusive: flag,
  overlay: flag,
  isFile: flag,
  shownAs: optional(text),
});

const mount = shape({
  target: text,
  type: text,
  source: text,
  flags: i32,
  propagation: optional(i32),
  data: text,
  tree: optional(tree),
  copyUp: optional(flag),
  readOnlyAtLast: optional(flag),
});

const clockOffset = shape({ sec: word, nsec: whole(0, 1e9 - 1) });

const device = shape({ path: text, mode: u32, major: u32, minor: u32, uid: u32, gid: u32 });
const deviceRule = shape({ allow: flag, kind: u32, major: word, minor: word, access: text });

const member = shape({
  id: text,
  hostname: text,
  domainname: optional(text),
  egress: list(map(() => undefined)),
  mortalInit: flag,
  root: tree,
  rootPropagation: i32,
  mounts: list(mount),
  devices: list(device),
  maskedPaths: list(text),
  readonlyPaths: list(text),
  deviceRules: list(deviceRule),
  sysctl: map(text),
  timeOffsets: optional(shape({ monotonic: clockOffset, boottime: clockOffset })),
  process: shape(processChecks),
  seccomp: optional(text),
  memoryBytes: optional(whole(1, Number.MAX_SAFE_INTEGER)),
  tasksLimit: optional(whole(1, Number.MAX_SAFE_INTEGER)),
  cgroup: optional(shape({ lines: text, unified: text })),
  share: shape({ pid: optional(text), ipc: optional(text), uts: optional(text), time: optional(text) }),
  ownCgroup: flag,
  ownNetwork: flag,
  networkCapabilities: whole(0, Number.MAX_SAFE_INTEGER),
});

/** The configuration of a further container that came with `count` descriptors, or what is wrong with it. */
export function checkMember(config: unknown, count: number): MemberConfig | string {
  // The first descriptor is the configuration's own, and each is used once.
  const place = whole(1, count - 1);
  const fds = shape({ gofer: place, goferRegion: place, control: place, netBroker: optional(place), stdio: list(place) });
  const wrong = member(config, '') ?? fds((config as MemberConfig).fds, 'fds');
  if (wrong !== undefined) return wrong;
  const checked = config as MemberConfig;
  const { gofer, goferRegion, control, netBroker, stdio } = checked.fds;
  const places = [gofer, goferRegion, control, ...(netBroker === undefined ? [] : [netBroker]), ...stdio];
  if (new Set(places).size !== places.length) return 'fds names a descriptor twice';
  if (checked.ownNetwork && netBroker === undefined) return 'a network of its own needs fds.netBroker';
  if (stdio.length < 3) return 'fds.stdio has fewer than three descriptors';
  return checked;
}
