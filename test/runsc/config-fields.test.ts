// Every field that runtime-spec 1.2 has for Linux: honoured, which a look inside or at the host tells; refused, with a message that
// names it; or without effect, which docs/oci.md says. The list of fields is the specification's (config.md, config-linux.md), written
// down by hand, so that a field nobody thought of fails the first test.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import * as sysno from '../../sentry/abi/sysno-x64.ts';
import { Bundle, type Json } from '../support/bundle.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const reason = missing(['root']);
const serial = unless(reason);
const suffix = reason === undefined ? '' : ` (${reason})`;

const FIELDS = `
ociVersion root.path root.readonly hostname domainname annotations
mounts.destination mounts.type mounts.source mounts.options mounts.uidMappings mounts.gidMappings
process.terminal process.consoleSize.height process.consoleSize.width process.cwd process.env process.args process.commandLine
process.user.uid process.user.gid process.user.umask process.user.additionalGids process.user.username
process.rlimits.type process.rlimits.soft process.rlimits.hard process.apparmorProfile process.selinuxLabel process.noNewPrivileges
process.capabilities.bounding process.capabilities.effective process.capabilities.permitted process.capabilities.inheritable
process.capabilities.ambient process.oomScoreAdj process.ioPriority.class process.ioPriority.priority
process.scheduler.policy process.scheduler.nice process.scheduler.priority process.scheduler.flags process.scheduler.runtime
process.scheduler.deadline process.scheduler.period process.execCPUAffinity.initial process.execCPUAffinity.final
hooks.prestart hooks.createRuntime hooks.createContainer hooks.startContainer hooks.poststart hooks.poststop
hooks.path hooks.args hooks.env hooks.timeout
linux.namespaces.type linux.namespaces.path linux.uidMappings linux.gidMappings linux.timeOffsets
linux.devices.type linux.devices.path linux.devices.major linux.devices.minor linux.devices.fileMode linux.devices.uid linux.devices.gid
linux.cgroupsPath linux.sysctl linux.rootfsPropagation linux.maskedPaths linux.readonlyPaths linux.mountLabel
linux.personality.domain linux.personality.flags
linux.intelRdt.closID linux.intelRdt.l3CacheSchema linux.intelRdt.memBwSchema linux.intelRdt.enableCMT linux.intelRdt.enableMBM
linux.seccomp.defaultAction linux.seccomp.defaultErrnoRet linux.seccomp.architectures linux.seccomp.flags linux.seccomp.listenerPath
linux.seccomp.listenerMetadata linux.seccomp.syscalls.names linux.seccomp.syscalls.action linux.seccomp.syscalls.errnoRet
linux.seccomp.syscalls.args
linux.resources.unified linux.resources.devices linux.resources.pids.limit linux.resources.rdma
linux.resources.memory.limit linux.resources.memory.reservation linux.resources.memory.swap linux.resources.memory.kernel
linux.resources.memory.kernelTCP linux.resources.memory.swappiness linux.resources.memory.disableOOMKiller
linux.resources.memory.useHierarchy linux.resources.memory.checkBeforeUpdate
linux.resources.cpu.shares linux.resources.cpu.quota linux.resources.cpu.burst linux.resources.cpu.period linux.resources.cpu.idle
linux.resources.cpu.realtimeRuntime linux.resources.cpu.realtimePeriod linux.resources.cpu.cpus linux.resources.cpu.mems
linux.resources.blockIO.weight linux.resources.blockIO.leafWeight linux.resources.blockIO.weightDevice
linux.resources.blockIO.throttleReadBpsDevice linux.resources.blockIO.throttleWriteBpsDevice
linux.resources.blockIO.throttleReadIOPSDevice linux.resources.blockIO.throttleWriteIOPSDevice
linux.resources.hugepageLimits linux.resources.network.classID linux.resources.network.priorities
solaris windows vm zos
`
  .trim()
  .split(/\s+/);

type Change = (config: Json) => void;
/** Sets a value at "a.b.c", making what is on the way. */
function put(config: Json, path: string, value: unknown): void {
  const names = path.split('.');
  const last = names.pop()!;
  let at = config;
  for (const name of names) at = at[name] ??= {};
  at[last] = value;
}

// ---- Fields that are seen inside: one container has them all, and its script prints a part for each of them.

interface Inside {
  readonly fields: string;
  readonly set: Change;
  readonly script: string;
  readonly expect: RegExp;
}

const CAPS = { bounding: [0, 5, 10, 21, 23], effective: [0, 10], permitted: [0, 10, 21], inheritable: [0, 10], ambient: [10] };
const CAP_NAMES: Record<number, string> = {
  0: 'CAP_CHOWN',
  5: 'CAP_KILL',
  10: 'CAP_NET_BIND_SERVICE',
  21: 'CAP_SYS_ADMIN',
  23: 'CAP_SYS_NICE',
};
const mask = (numbers: readonly number[]): string =>
  numbers
    .reduce((sum, n) => sum + 2 ** n, 0)
    .toString(16)
    .padStart(16, '0');

const inside: readonly Inside[] = [
  { fields: 'root.path', set: () => {}, script: 'cat /in-root', expect: /^from the host$/ },
  { fields: 'root.readonly', set: (c) => put(c, 'root.readonly', true), script: 'touch /x 2>&1', expect: /Read-only file system/ },
  { fields: 'hostname', set: (c) => put(c, 'hostname', 'walker'), script: 'uname -n', expect: /^walker$/ },
  {
    fields: 'domainname',
    set: (c) => put(c, 'domainname', 'example.test'),
    script: 'cat /proc/sys/kernel/domainname',
    expect: /^example\.test$/,
  },
  { fields: 'process.args', set: () => {}, script: 'tr "\\0" " " </proc/$$/cmdline | head -c 11', expect: /^\/bin\/sh -c/ },
  { fields: 'process.cwd', set: (c) => put(c, 'process.cwd', '/usr/share'), script: 'pwd', expect: /^\/usr\/share$/ },
  { fields: 'process.env', set: (c) => c.process.env.push('WALK=a b'), script: 'echo "[$WALK]"', expect: /^\[a b\]$/ },
  {
    fields: 'process.user.uid process.user.gid process.user.additionalGids',
    set: (c) => Object.assign(c.process.user, { uid: 12, gid: 34, additionalGids: [56, 78] }),
    script: 'echo $(id -u) $(id -g) $(id -G)',
    expect: /^12 34 34 56 78$/,
  },
  { fields: 'process.user.umask', set: (c) => put(c, 'process.user.umask', 0o37), script: 'umask', expect: /^0037$/ },
  {
    fields: 'process.rlimits.type process.rlimits.soft process.rlimits.hard',
    set: (c) => {
      c.process.rlimits = [
        { type: 'RLIMIT_NOFILE', soft: 123, hard: 456 },
        { type: 'RLIMIT_CORE', soft: 0, hard: 0 },
        { type: 'RLIMIT_MEMLOCK', soft: 65536, hard: 131072 },
      ];
    },
    script: "grep -E 'open files|core file|locked memory' /proc/self/limits | tr -s ' '",
    expect: /core file size 0 0 bytes\s+Max open files 123 456 files\s+Max locked memory 65536 131072 bytes/,
  },
  {
    fields: ['bounding', 'effective', 'permitted', 'inheritable', 'ambient'].map((set) => `process.capabilities.${set}`).join(' '),
    set: (c) => {
      c.process.capabilities = Object.fromEntries(Object.entries(CAPS).map(([set, caps]) => [set, caps.map((n) => CAP_NAMES[n])]));
    },
    script: 'grep ^Cap /proc/$$/status',
    // An execve by who is not root leaves what is ambient: capabilities(7).
    expect: new RegExp(
      `CapInh:\\s${mask(CAPS.inheritable)}\\s+CapPrm:\\s${mask(CAPS.ambient)}\\s+CapEff:\\s${mask(CAPS.ambient)}\\s+CapBnd:\\s${mask(CAPS.bounding)}\\s+CapAmb:\\s${mask(CAPS.ambient)}`,
    ),
  },
  {
    fields: 'process.noNewPrivileges',
    set: (c) => put(c, 'process.noNewPrivileges', true),
    script: 'grep NoNewPrivs /proc/self/status',
    expect: /:\s1$/,
  },
  {
    fields: 'process.oomScoreAdj',
    set: (c) => put(c, 'process.oomScoreAdj', 321),
    script: 'cat /proc/self/oom_score_adj',
    expect: /^321$/,
  },
  {
    fields: 'process.ioPriority.class process.ioPriority.priority',
    set: (c) => put(c, 'process.ioPriority', { class: 'IOPRIO_CLASS_BE', priority: 6 }),
    script: 'ionice -p $$',
    expect: /^best-effort: prio 6$/,
  },
  {
    fields: 'process.scheduler.policy process.scheduler.nice process.scheduler.flags',
    set: (c) => put(c, 'process.scheduler', { policy: 'SCHED_BATCH', nice: 7, flags: ['SCHED_FLAG_RESET_ON_FORK'] }),
    script: 'chrt -p $$; cut -d" " -f19 /proc/$$/stat',
    expect: /SCHED_BATCH\|SCHED_RESET_ON_FORK[\s\S]*\n7$/,
  },
  {
    fields: 'mounts.destination mounts.type mounts.source mounts.options',
    set: (c) => c.mounts.push({ destination: '/walk', type: 'tmpfs', source: 'walked', options: ['noexec', 'size=64k', 'mode=1750'] }),
    script: 'grep " /walk " /proc/self/mounts; stat -c %a /walk',
    expect: /^walked \/walk tmpfs rw,[^ ]*noexec[^ ]*size=64k[\s\S]*\n1750$/,
  },
  {
    fields: 'linux.namespaces.type',
    set: (c) => c.linux.namespaces.push({ type: 'time' }, { type: 'cgroup' }),
    script: 'cat /proc/self/cgroup | tail -n 1; echo $$',
    expect: /^0::\/\n1$/,
  },
  {
    fields: 'linux.timeOffsets',
    set: (c) => put(c, 'linux.timeOffsets', { monotonic: { secs: 77, nanosecs: 5 }, boottime: { secs: 1_000_000 } }),
    script: 'cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime',
    expect: /^monotonic\s+77\s+5\nboottime\s+1000000\s+0\n10000\d\d$/,
  },
  {
    fields: [
      'linux.devices.type linux.devices.path linux.devices.major linux.devices.minor',
      'linux.devices.fileMode linux.devices.uid linux.devices.gid',
    ].join(' '),
    set: (c) => {
      c.linux.devices = [{ path: '/dev/walked', type: 'c', major: 1, minor: 5, fileMode: 0o640, uid: 7, gid: 8 }];
    },
    script: 'stat -c "%A %t %T %u %g" /dev/walked',
    expect: /^crw-r----- 1 5 7 8$/,
  },
  {
    fields: 'linux.sysctl',
    set: (c) => put(c, 'linux.sysctl', { 'kernel.shmmax': '1234567', 'net.ipv4.ip_unprivileged_port_start': '99' }),
    script: 'cat /proc/sys/kernel/shmmax /proc/sys/net/ipv4/ip_unprivileged_port_start',
    expect: /^1234567\n99$/,
  },
  {
    fields: 'linux.rootfsPropagation',
    set: (c) => put(c, 'linux.rootfsPropagation', 'rshared'),
    script: 'grep " / / " /proc/self/mountinfo',
    expect: / shared:\d+ /,
  },
  {
    fields: 'linux.maskedPaths',
    set: (c) => c.linux.maskedPaths.push('/in-root-too', '/usr/share/doc'),
    script: 'wc -c </in-root-too; ls -A /usr/share/doc | wc -l',
    expect: /^0\n0$/,
  },
  {
    fields: 'linux.readonlyPaths',
    set: (c) => c.linux.readonlyPaths.push('/writable/not'),
    script: 'touch /writable/yes; touch /writable/not/x 2>&1',
    expect: /^touch: .*Read-only file system$/,
  },
  {
    fields: 'linux.personality.domain',
    set: (c) => put(c, 'linux.personality', { domain: 'LINUX32' }),
    script: 'uname -m',
    expect: /^i686$/,
  },
  {
    fields: [
      'linux.seccomp.defaultAction linux.seccomp.architectures linux.seccomp.flags linux.seccomp.syscalls.names',
      'linux.seccomp.syscalls.action linux.seccomp.syscalls.errnoRet linux.seccomp.syscalls.args linux.seccomp.listenerPath',
      'linux.seccomp.listenerMetadata',
    ].join(' '),
    set: (c) =>
      put(c, 'linux.seccomp', {
        defaultAction: 'SCMP_ACT_ALLOW',
        architectures: ['SCMP_ARCH_X86_64'],
        flags: ['SECCOMP_FILTER_FLAG_LOG'],
        // Without SCMP_ACT_NOTIFY nobody is asked.
        listenerPath: '/nobody/listens',
        listenerMetadata: 'unused',
        syscalls: [
          { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 123 },
          // SIGUSR1 to anybody.
          { names: ['kill'], action: 'SCMP_ACT_ERRNO', errnoRet: 39, args: [{ index: 1, value: 10, op: 'SCMP_CMP_EQ' }] },
        ],
      }),
    script: 'grep ^Seccomp: /proc/self/status; mkdir /tmp/d 2>&1; kill -0 $$ && echo may; kill -USR1 $$ 2>&1',
    expect: /^Seccomp:\s2\n.*No medium found\nmay\n.*Directory not empty$/,
  },
  {
    fields: 'linux.resources.devices',
    set: (c) => {
      c.linux.devices.push(
        { path: '/dev/walked-fuse', type: 'c', major: 10, minor: 229, fileMode: 0o666 },
        { path: '/dev/walked-tun', type: 'c', major: 10, minor: 200, fileMode: 0o666 },
      );
      c.linux.resources.devices = [
        { allow: false, access: 'rwm' },
        { allow: true, type: 'c', major: 10, minor: 200, access: 'r' },
      ];
    },
    script: 'true </dev/walked-tun && echo may; (true >/dev/walked-tun) 2>&1; (true </dev/walked-fuse) 2>&1; echo x >/dev/null',
    expect: /^may\n.*Operation not permitted\n.*Operation not permitted$/,
  },
  {
    fields: 'linux.resources.memory.limit',
    set: (c) => put(c, 'linux.resources.memory.limit', 256 * 1024 * 1024),
    script: 'grep MemTotal /proc/meminfo',
    expect: /\s262144 kB$/,
  },
  {
    fields: 'linux.resources.cpu.quota linux.resources.cpu.period',
    set: (c) => Object.assign((c.linux.resources.cpu ??= {}), { quota: 100_000, period: 100_000 }),
    script: 'grep -c ^processor /proc/cpuinfo',
    expect: /^1$/,
  },
  {
    fields: 'linux.resources.pids.limit',
    set: (c) => put(c, 'linux.resources.pids', { limit: 20 }),
    script: 'i=0; while [ $i -lt 25 ]; do sleep 1 & i=$((i+1)); done 2>&1 | tail -n 1',
    expect: /[Cc]annot fork|Resource temporarily unavailable/,
  },
];

/** What a program prints for each of `parts`, in order. */
function script(parts: readonly Inside[]): string {
  return parts.map((part) => `${part.script}\necho ======`).join('\n');
}

// ---- Fields that the host shows: one container that is created and not started has them all.

interface OnHost {
  readonly fields: string;
  readonly set: Change;
  /** File of the container's cgroup: controller and name on version 1, name on version 2; where one is absent, it must say so. */
  readonly v1: readonly [string, string, RegExp];
  readonly v2?: readonly [string, RegExp];
}

/** A disk of the host: rates can only be set for one that there is. */
const disk = firstDisk();

function firstDisk(): { major: number; minor: number } {
  const [major, minor] = readFileSync('/proc/partitions', 'utf8').split('\n')[2]?.trim().split(/\s+/).map(Number) ?? [];
  return { major: major ?? 7, minor: minor ?? 0 };
}

const resources =
  (path: string, value: unknown): Change =>
  (c) =>
    put(c, `linux.resources.${path}`, value);
const MIB = 1024 * 1024;

const onHost: readonly OnHost[] = [
  {
    fields: 'linux.cgroupsPath',
    set: () => {},
    v1: ['cpu', 'cgroup.procs', /^\d/],
    v2: ['cgroup.procs', /^\d/],
  },
  {
    fields: 'linux.resources.memory.reservation',
    set: resources('memory.reservation', 64 * MIB),
    v1: ['memory', 'memory.soft_limit_in_bytes', /^67108864$/],
    v2: ['memory.low', /^67108864$/],
  },
  {
    fields: 'linux.resources.memory.swap',
    set: (c) => {
      put(c, 'linux.resources.memory.limit', 512 * MIB);
      put(c, 'linux.resources.memory.swap', 768 * MIB);
    },
    v1: ['memory', 'memory.memsw.limit_in_bytes', /^805306368$/],
    v2: ['memory.swap.max', /^268435456$/],
  },
  {
    fields: 'linux.resources.memory.kernelTCP',
    set: resources('memory.kernelTCP', 32 * MIB),
    v1: ['memory', 'memory.kmem.tcp.limit_in_bytes', /^33554432$/],
  },
  {
    fields: 'linux.resources.memory.swappiness',
    set: resources('memory.swappiness', 7),
    v1: ['memory', 'memory.swappiness', /^7$/],
  },
  {
    fields: 'linux.resources.memory.disableOOMKiller',
    set: resources('memory.disableOOMKiller', true),
    v1: ['memory', 'memory.oom_control', /^oom_kill_disable 1$/m],
  },
  {
    fields: 'linux.resources.cpu.shares',
    set: resources('cpu.shares', 512),
    v1: ['cpu', 'cpu.shares', /^512$/],
    v2: ['cpu.weight', /^20$/],
  },
  {
    fields: 'linux.resources.cpu.burst',
    set: (c) => put(c, 'linux.resources.cpu', { ...c.linux.resources.cpu, quota: 60_000, period: 100_000, burst: 20_000 }),
    v1: ['cpu', 'cpu.cfs_burst_us', /^20000$/],
    v2: ['cpu.max.burst', /^20000$/],
  },
  {
    fields: 'linux.resources.cpu.cpus linux.resources.cpu.mems',
    set: (c) => Object.assign(c.linux.resources.cpu, { cpus: '0', mems: '0' }),
    v1: ['cpuset', 'cpuset.cpus', /^0$/],
    v2: ['cpuset.cpus', /^0$/],
  },
  {
    fields: 'linux.resources.blockIO.throttleReadBpsDevice',
    set: (c) => put(c, 'linux.resources.blockIO.throttleReadBpsDevice', [{ ...disk, rate: 1048576 }]),
    v1: ['blkio', 'blkio.throttle.read_bps_device', / 1048576$/],
    v2: ['io.max', /rbps=1048576/],
  },
  {
    fields: 'linux.resources.blockIO.throttleWriteBpsDevice',
    set: (c) => put(c, 'linux.resources.blockIO.throttleWriteBpsDevice', [{ ...disk, rate: 1048577 }]),
    v1: ['blkio', 'blkio.throttle.write_bps_device', / 1048577$/],
    v2: ['io.max', /wbps=1048577/],
  },
  {
    fields: 'linux.resources.blockIO.throttleReadIOPSDevice',
    set: (c) => put(c, 'linux.resources.blockIO.throttleReadIOPSDevice', [{ ...disk, rate: 11 }]),
    v1: ['blkio', 'blkio.throttle.read_iops_device', / 11$/],
    v2: ['io.max', /riops=11/],
  },
  {
    fields: 'linux.resources.blockIO.throttleWriteIOPSDevice',
    set: (c) => put(c, 'linux.resources.blockIO.throttleWriteIOPSDevice', [{ ...disk, rate: 12 }]),
    v1: ['blkio', 'blkio.throttle.write_iops_device', / 12$/],
    v2: ['io.max', /wiops=12/],
  },
  {
    fields: 'linux.resources.hugepageLimits',
    set: resources('hugepageLimits', [{ pageSize: '2MB', limit: 4 * MIB }]),
    v1: ['hugetlb', 'hugetlb.2MB.limit_in_bytes', /^4194304$/],
    v2: ['hugetlb.2MB.max', /^4194304$/],
  },
  {
    fields: 'linux.resources.network.classID',
    set: resources('network.classID', 0x100001),
    v1: ['net_cls', 'net_cls.classid', /^1048577$/],
  },
  {
    fields: 'linux.resources.network.priorities',
    set: (c) => put(c, 'linux.resources.network.priorities', [{ name: 'lo', priority: 500 }]),
    v1: ['net_prio', 'net_prio.ifpriomap', /^lo 500$/m],
  },
];

// ---- Fields that are refused: `create` says why, names the field, and leaves nothing.

const refused: readonly (readonly [string, Change, RegExp])[] = [
  ['ociVersion', (c) => put(c, 'ociVersion', '2.0.0'), /ociVersion: version 2\.0\.0 is not supported/],
  ['process.selinuxLabel', (c) => put(c, 'process.selinuxLabel', 'a:b:c:d'), /process\.selinuxLabel: SELinux labels are not supported/],
  ['linux.mountLabel', (c) => put(c, 'linux.mountLabel', 'a:b:c:d'), /linux\.mountLabel: SELinux labels are not supported/],
  [
    'linux.personality.flags',
    (c) => put(c, 'linux.personality', { domain: 'LINUX', flags: ['ADDR_NO_RANDOMIZE'] }),
    /linux\.personality\.flags: no flags are supported/,
  ],
  [
    'linux.seccomp.syscalls.action',
    (c) => put(c, 'linux.seccomp', { defaultAction: 'SCMP_ACT_ALLOW', syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }] }),
    /linux\.seccomp\.syscalls\[0\]\.action: calls of a guest cannot be handed to an agent/,
  ],
  ['solaris', (c) => put(c, 'solaris', {}), /solaris: this platform is not supported/],
  ['windows', (c) => put(c, 'windows', {}), /windows: this platform is not supported/],
  ['vm', (c) => put(c, 'vm', {}), /vm: this platform is not supported/],
  ['zos', (c) => put(c, 'zos', {}), /zos: this platform is not supported/],
  ['linux.timeOffsets', (c) => put(c, 'linux.timeOffsets', { boottime: { secs: 1 } }), /linux\.timeOffsets: needs a time namespace/],
  ['linux.resources.rdma', (c) => put(c, 'linux.resources.rdma', { mlx5_1: { hcaHandles: 3 } }), /rdma/],
];

// ---- Fields without effect: a container has them and works, and docs/oci.md names them.

const withoutEffect: readonly (readonly [string, Change, RegExp])[] = [
  ['process.apparmorProfile', (c) => put(c, 'process.apparmorProfile', 'unconfined-walk'), /`process\.apparmorProfile`/],
  ['process.commandLine', (c) => put(c, 'process.commandLine', 'cmd /c dir'), /`process\.commandLine`/],
  ['process.user.username', (c) => put(c, 'process.user.username', 'nobody'), /`process\.user\.username`/],
  ['process.execCPUAffinity.initial', (c) => put(c, 'process.execCPUAffinity', { initial: '0' }), /`process\.execCPUAffinity`.*`initial`/],
  ...['closID', 'l3CacheSchema', 'memBwSchema', 'enableCMT', 'enableMBM'].map(
    (name) =>
      [
        `linux.intelRdt.${name}`,
        (c: Json) => put(c, `linux.intelRdt.${name}`, name.startsWith('enable') ? false : 'L3:0=f'),
        /`linux\.intelRdt`/,
      ] as const,
  ),
  [
    'linux.resources.memory.checkBeforeUpdate',
    (c) => put(c, 'linux.resources.memory.checkBeforeUpdate', true),
    /memory\.checkBeforeUpdate`/,
  ],
  ['linux.resources.memory.kernel', (c) => put(c, 'linux.resources.memory.kernel', 99 * MIB), /`linux\.resources\.memory\.kernel`/],
  ['linux.resources.memory.useHierarchy', (c) => put(c, 'linux.resources.memory.useHierarchy', true), /`useHierarchy`/],
];

// ---- Fields with a test of their own below, in this file.

const apart = `
process.terminal process.consoleSize.height process.consoleSize.width annotations
mounts.uidMappings mounts.gidMappings linux.uidMappings linux.gidMappings linux.namespaces.path
process.scheduler.priority process.scheduler.runtime process.scheduler.deadline process.scheduler.period
process.execCPUAffinity.final linux.seccomp.defaultErrnoRet
hooks.prestart hooks.createRuntime hooks.createContainer hooks.startContainer hooks.poststart hooks.poststop
hooks.path hooks.args hooks.env hooks.timeout
linux.resources.unified
linux.resources.cpu.idle linux.resources.cpu.realtimeRuntime linux.resources.cpu.realtimePeriod
linux.resources.blockIO.weight linux.resources.blockIO.leafWeight linux.resources.blockIO.weightDevice
`
  .trim()
  .split(/\s+/);

test('every field of the specification is honoured, refused or without effect by one of the tests here', (t) => {
  const walked = [
    ...inside.flatMap((entry) => entry.fields.split(' ')),
    ...onHost.flatMap((entry) => entry.fields.split(' ')),
    ...refused.map(([field]) => field),
    ...withoutEffect.map(([field]) => field),
    ...apart,
  ];
  t.deepEqual([...new Set(walked)].sort(), [...FIELDS].sort());
});

test('docs/oci.md names each field without effect', (t) => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/oci.md'), 'utf8');
  for (const [field, , named] of withoutEffect) t.regex(page, named, field);
});

/** A bundle that is removed after the test. */
function bundleFor(t: ExecutionContext, text: string, change: Change = () => {}): Bundle {
  const bundle = new Bundle(text);
  t.teardown(() => bundle.remove());
  bundle.config.linux.cgroupsPath = `/${bundle.path.split('/').at(-1)}`;
  change(bundle.config);
  writeFileSync(join(bundle.path, 'rootfs', 'in-root'), 'from the host\n');
  writeFileSync(join(bundle.path, 'rootfs', 'in-root-too'), 'hidden\n');
  return bundle;
}

serial(`what is seen inside${suffix}`, async (t) => {
  const bundle = bundleFor(t, script(inside), (config) => {
    for (const entry of inside) entry.set(config);
    config.mounts.push({ destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] });
    config.mounts.push({ destination: '/writable', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] });
    config.mounts.push({ destination: '/writable/not', type: 'tmpfs', source: 'tmpfs', options: ['mode=1777'] });
  }).write();
  const result = await bundle.runsc(['run', 'walk']);
  t.is(result.stderr, '');
  const parts = result.stdout.split('======\n');
  for (const [i, entry] of inside.entries()) t.regex((parts[i] ?? 'nothing').trim(), entry.expect, entry.fields);
});

const V1 = existsSync('/sys/fs/cgroup/memory/memory.limit_in_bytes');

/** The file of an entry in a cgroup that is there for the test alone; undefined where the host has none. */
function cgroupFile(entry: OnHost, path: string): readonly [string, RegExp] | undefined {
  if (!V1) return entry.v2 === undefined ? undefined : [`/sys/fs/cgroup${path}/${entry.v2[0]}`, entry.v2[1]];
  const [controller, name, expect] = entry.v1;
  const unified = `/sys/fs/cgroup/unified${path}/${entry.v2?.[0]}`;
  if (existsSync(`/sys/fs/cgroup/${controller}/cgroup.procs`)) return [`/sys/fs/cgroup/${controller}${path}/${name}`, expect];
  return entry.v2 === undefined ? undefined : [unified, entry.v2[1]];
}

serial(`what the host shows of the cgroup${suffix}`, async (t) => {
  const bundle = bundleFor(t, 'true');
  const plain = JSON.stringify(bundle.config);
  const known = onHost.filter((entry) => cgroupFile(entry, '') !== undefined);
  for (const entry of known) entry.set(bundle.config);
  bundle.write();
  const created = await bundle.runsc(['create', 'walk']);
  t.is(created.stderr, '');
  for (const entry of known) {
    const [file, expect] = cgroupFile(entry, bundle.config.linux.cgroupsPath)!;
    t.regex(readFileSync(file, 'utf8').trim(), expect, entry.fields);
  }
  // What this host has no controller for is refused by the controller's name.
  await bundle.runsc(['delete', '--force', 'walk']);
  for (const entry of onHost.filter((other) => !known.includes(other))) {
    const config = JSON.parse(plain);
    entry.set(config);
    writeFileSync(join(bundle.path, 'config.json'), JSON.stringify(config));
    const refusal = await bundle.runsc(['create', 'walk']);
    t.is(refusal.status, 1, entry.fields);
    t.true(refusal.stderr.includes(entry.v1[0]), `${entry.fields}: ${refusal.stderr}`);
  }
});

serial(`what is refused leaves nothing${suffix}`, async (t) => {
  const bundle = bundleFor(t, 'true');
  const plain = JSON.stringify(bundle.config);
  for (const [field, change, says] of refused) {
    const config = JSON.parse(plain);
    change(config);
    writeFileSync(join(bundle.path, 'config.json'), JSON.stringify(config));
    const result = await bundle.runsc(['create', 'walk']);
    t.is(result.status, 1, field);
    t.regex(result.stderr, says, field);
    t.is((await bundle.runsc(['list', '--quiet'])).stdout, '', field);
  }
});

serial(`what is without effect is no obstacle${suffix}`, async (t) => {
  const bundle = bundleFor(t, 'echo works', (config) => {
    for (const [, change] of withoutEffect) change(config);
  }).write();
  const result = await bundle.runsc(['run', 'walk']);
  t.is(result.stderr, '');
  t.is(result.stdout, 'works\n');
});

serial(`limits that hosts may lack are set or refused by the name of their file${suffix}`, async (t) => {
  const limits: readonly (readonly [string, unknown, RegExp])[] = [
    ['unified', { 'memory.high': '100000000' }, /unified/],
    ['cpu.idle', 1, /cpu\.idle/],
    ['cpu.realtimeRuntime', 5000, /cpu\.rt_runtime_us|cpu\.realtimeRuntime/],
    ['cpu.realtimePeriod', 500_000, /cpu\.rt_period_us|cpu\.realtimePeriod/],
    ['blockIO.weight', 400, /weight/],
    ['blockIO.leafWeight', 400, /leaf_weight|leafWeight/],
    ['blockIO.weightDevice', [{ ...disk, weight: 300, leafWeight: 200 }], /weight/],
  ];
  const bundle = bundleFor(t, 'true');
  const plain = JSON.stringify(bundle.config);
  for (const [field, value, names] of limits) {
    const config = JSON.parse(plain);
    put(config, `linux.resources.${field}`, value);
    writeFileSync(join(bundle.path, 'config.json'), JSON.stringify(config));
    const result = await bundle.runsc(['create', 'walk']);
    if (result.status !== 0) t.regex(result.stderr, names, field);
    await bundle.runsc(['delete', '--force', 'walk']);
  }
  t.pass();
});

serial(`process.terminal, process.consoleSize and annotations${suffix}`, async (t) => {
  const bundle = bundleFor(t, 'stty size; test -t 0 && test -t 1 && echo tty', (config) => {
    put(config, 'process.terminal', true);
    put(config, 'process.consoleSize', { height: 33, width: 77 });
    put(config, 'annotations', { 'org.walk.a': 'one', 'org.walk.b': '' });
  }).write();
  const run = await bundle.runsc(['run', '--keep', 'walk']);
  t.regex(run.stdout, /^33 77\r?\ntty\r?\n$/);
  const state = JSON.parse((await bundle.runsc(['state', 'walk'])).stdout);
  t.deepEqual(state.annotations, { 'org.walk.a': 'one', 'org.walk.b': '' });
});

serial(`linux.uidMappings, linux.gidMappings and mounts[].uidMappings${suffix}`, async (t) => {
  const ids = (host: number) => [{ containerID: 0, hostID: host, size: 5000 }];
  const bundle = bundleFor(t, 'tr -s " " </proc/self/uid_map; tr -s " " </proc/self/gid_map; stat -c "%u %g" /shown/file', (config) => {
    config.linux.namespaces.push({ type: 'user' });
    Object.assign(config.linux, { uidMappings: ids(100_000), gidMappings: ids(200_000) });
  });
  for (const folder of ['', 'rootfs', 'shown']) {
    mkdirSync(join(bundle.path, folder), { recursive: true });
    chmodSync(join(bundle.path, folder), 0o755);
  }
  // Mount points are made by the container's root.
  chownSync(join(bundle.path, 'rootfs'), 100_000, 200_000);
  writeFileSync(join(bundle.path, 'shown', 'file'), '');
  chownSync(join(bundle.path, 'shown', 'file'), 3, 4);
  bundle.config.mounts.push({
    destination: '/shown',
    type: 'bind',
    source: join(bundle.path, 'shown'),
    options: ['bind', 'ro'],
    uidMappings: ids(100_007),
    gidMappings: ids(200_009),
  });
  mkdirSync(join(bundle.path, 'rootfs', 'shown'), { recursive: true });
  bundle.write();
  const result = await bundle.runsc(['run', 'walk']);
  if (/idmap|id-mapped|mount_setattr/.test(result.stderr)) {
    t.log(`not on this host: ${result.stderr}`);
    t.pass();
    return;
  }
  t.is(result.stderr, '');
  // File 3:4 is 100010:200013 on the mount, and that is 10:13 for the container.
  t.is(result.stdout, ' 0 100000 5000\n 0 200000 5000\n10 13\n');
});

serial(`linux.namespaces.path: a network of another process${suffix}`, async (t) => {
  const port = '/proc/sys/net/ipv4/ip_unprivileged_port_start';
  const owner = spawn('unshare', ['-n', 'sh', '-c', `echo 77 >${port}; echo ready; exec sleep 100`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => owner.kill('SIGKILL'));
  await once(owner.stdout, 'data');
  const bundle = bundleFor(t, `cat ${port}`, (config) => {
    config.linux.namespaces.find((n: Json) => n.type === 'network').path = `/proc/${owner.pid}/ns/net`;
  }).write();
  const result = await bundle.runsc(['run', 'walk']);
  t.is(result.stderr, '');
  t.is(result.stdout, '77\n');
});

serial(`process.scheduler and process.execCPUAffinity of exec${suffix}`, async (t) => {
  const bundle = bundleFor(t, 'sleep 100', (config) => {
    config.process.capabilities = Object.fromEntries(Object.keys(CAPS).map((set) => [set, ['CAP_SYS_NICE', 'CAP_KILL']]));
    put(config, 'process.execCPUAffinity.final', '1');
  }).write();
  t.is((await bundle.runsc(['run', '--detach', 'walk'])).stderr, '');
  const shown = async (change: Change, text: string): Promise<string> => {
    const process = JSON.parse(JSON.stringify(bundle.config.process));
    process.args = ['/bin/sh', '-c', text];
    change({ process });
    writeFileSync(join(bundle.path, 'process.json'), JSON.stringify(process));
    const result = await bundle.runsc(['exec', '--process', join(bundle.path, 'process.json'), 'walk']);
    return result.stdout + result.stderr;
  };
  const scheduler =
    (value: unknown): Change =>
    (config) =>
      put(config, 'process.scheduler', value);
  t.regex(await shown(scheduler({ policy: 'SCHED_RR', priority: 9 }), 'chrt -p $$'), /SCHED_RR\n[^\n]*priority: 9\n/);
  const deadline = { policy: 'SCHED_DEADLINE', runtime: 42_000, deadline: 100_000, period: 1_000_000 };
  t.regex(await shown(scheduler(deadline), 'chrt -p $$'), /SCHED_DEADLINE\n[\s\S]*42000\/100000\/1000000\n/);
  t.regex(await shown(scheduler({ policy: 'SCHED_OTHER', priority: 9 }), 'true'), /process\.json: scheduler\.priority: is for SCHED_FIFO/);
  t.is(await shown(() => {}, 'grep Cpus_allowed_list /proc/self/status'), 'Cpus_allowed_list:\t1\n');
});

serial(`linux.seccomp.defaultErrnoRet${suffix}`, async (t) => {
  const names = Object.keys(sysno)
    .filter((name) => name.startsWith('SYS_'))
    .map((name) => name.slice('SYS_'.length))
    .filter((name) => name !== 'mkdir' && name !== 'mkdirat');
  const bundle = bundleFor(t, 'mkdir /tmp/d 2>&1', (config) => {
    put(config, 'linux.seccomp', {
      defaultAction: 'SCMP_ACT_ERRNO',
      defaultErrnoRet: 123,
      syscalls: [{ names, action: 'SCMP_ACT_ALLOW' }],
    });
  }).write();
  t.regex((await bundle.runsc(['run', 'walk'])).stdout, /No medium found/);
});

serial(`hooks: each at its point, with its state, words and variables; a slow or failing one${suffix}`, async (t) => {
  const bundle = bundleFor(t, 'true');
  const told = join(bundle.path, 'told');
  mkdirSync(told);
  const hook = (name: string, file: string, more = ''): Json => ({
    path: '/bin/sh',
    args: ['hooked', '-c', `read -r state; echo "$0 $HOOK $(echo "$state" | grep -o '"status":"[a-z]*"')" >>${file}; ${more}`],
    env: [`HOOK=${name}`, 'PATH=/bin:/usr/bin'],
    timeout: 20,
  });
  const all = {
    prestart: 'creating',
    createRuntime: 'creating',
    createContainer: 'creating',
    startContainer: 'created',
    poststart: 'running',
    poststop: 'stopped',
  };
  bundle.bind(told, '/told', 'rw');
  for (const name of Object.keys(all))
    put(bundle.config, `hooks.${name}`, [hook(name, name === 'startContainer' ? '/told/log' : `${told}/log`)]);
  bundle.write();
  t.is((await bundle.runsc(['run', 'walk'])).stderr, '');
  const expected = Object.entries(all).map(([name, status]) => `hooked ${name} "status":"${status}"\n`);
  t.is(readFileSync(`${told}/log`, 'utf8'), expected.join(''));

  // A failing hook of create leaves no container, and the hooks behind it are not run.
  for (const name of ['prestart', 'createRuntime', 'createContainer']) {
    writeFileSync(`${told}/log`, '');
    bundle.config.hooks = { [name]: [hook(name, `${told}/log`, 'echo no >&2; exit 3'), hook('second', `${told}/log`)] };
    bundle.write();
    const result = await bundle.runsc(['create', 'walk']);
    t.is(result.status, 1);
    t.regex(result.stderr, new RegExp(`error running ${name} hook #0: exit status 3, stdout: , stderr: no`));
    t.is(readFileSync(`${told}/log`, 'utf8').split('\n').length, 2, name);
    t.is((await bundle.runsc(['list', '--quiet'])).stdout, '', name);
  }
  // One of start ends the container, which is still to be deleted.
  for (const name of ['startContainer', 'poststart']) {
    bundle.config.hooks = { [name]: [hook(name, '/dev/null', 'exit 3')] };
    bundle.config.process.args = ['/bin/sleep', '100'];
    bundle.write();
    t.is((await bundle.runsc(['create', 'walk'])).stderr, '');
    const result = await bundle.runsc(['start', 'walk']);
    t.is(result.status, 1);
    t.regex(result.stderr, new RegExp(`error running ${name} hook #0: exit status 3`));
    t.is((await bundle.runsc(['delete', 'walk'])).stderr, '', name);
  }
  // One of delete is told of and the container is gone.
  bundle.config.hooks = { poststop: [hook('poststop', '/dev/null', 'exit 3')] };
  bundle.write();
  t.is((await bundle.runsc(['create', 'walk'])).stderr, '');
  const deleted = await bundle.runsc(['delete', 'walk']);
  t.is(deleted.status, 0);
  t.regex(deleted.stderr, /level=warning.*error running poststop hook #0: exit status 3/);
  t.is((await bundle.runsc(['list', '--quiet'])).stdout, '');
  // A slow one is killed.
  bundle.config.hooks = { createRuntime: [{ ...hook('slow', '/dev/null', 'sleep 100'), timeout: 1 }] };
  bundle.write();
  const slow = await bundle.runsc(['create', 'walk']);
  t.regex(slow.stderr, /error running createRuntime hook #0: \/bin\/sh took longer than 1 s/);
  t.true(slow.seconds < 20);
  t.is((await bundle.runsc(['list', '--quiet'])).stdout, '');
});
