// What the command line hands the Sentry, as JSON in a memfd. Descriptors are numbers in the Sentry's own table.
// Types only: runsc/ writes it, boot/ reads it.

/** A program to run in the container: the first one, or that of exec. OCI's process, checked and completed. */
export interface ProcessConfig {
  /** The program's file when it is not what args[0] names: hooks. */
  readonly path?: string;
  readonly args: readonly string[];
  /** "NAME=value". */
  readonly env: readonly string[];
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  /** undefined leaves 0022. */
  readonly umask?: number;
  readonly capabilities: CapabilitySets;
  /** RLIMIT_* number, soft, hard; -1 is no limit. */
  readonly rlimits: readonly (readonly [number, number, number])[];
  readonly noNewPrivileges: boolean;
  readonly oomScoreAdj?: number;
  /** personality(2)'s word. */
  readonly personality?: number;
  /** ioprio_set(2)'s word. */
  readonly ioPriority?: number;
  readonly scheduler?: SchedulerConfig;
  /** Numbers of the processors that it begins on: process.execCPUAffinity. */
  readonly processors?: readonly number[];
  /** A terminal of the sandbox's own is its stdio, bridged to stdioFds[0]. */
  readonly terminal: boolean;
  /** Its terminal leaves newlines alone: whoever reads it is no terminal. ONLCR of termios(3). */
  readonly bareNewlines?: boolean;
  /** Rows and columns. */
  readonly consoleSize?: readonly [number, number];
}

/** sched_setattr(2). */
export interface SchedulerConfig {
  /** SCHED_* */
  readonly policy: number;
  readonly priority: number;
  readonly nice: number;
  readonly resetOnFork: boolean;
  readonly runtimeNs: number;
  readonly deadlineNs: number;
  readonly periodNs: number;
}

/** Two words each, low first: bit n is capability n. */
export interface CapabilitySets {
  readonly bounding: readonly [number, number];
  readonly effective: readonly [number, number];
  readonly permitted: readonly [number, number];
  readonly inheritable: readonly [number, number];
  readonly ambient: readonly [number, number];
}

/** One file tree that the gofer serves: its number in the gofer's configuration. */
export interface TreeConfig {
  readonly tree: number;
  readonly readOnly: boolean;
  /** Nobody else changes it while we run: attributes need no second look. */
  readonly exclusive: boolean;
  /** Writes stay in the Sentry's memory. */
  readonly overlay: boolean;
  /** The tree is one file (a bind mount of a file). */
  readonly isFile: boolean;
  /** The kind of file system it is shown as. */
  readonly shownAs?: string;
}

export interface MountConfig {
  readonly target: string;
  /** "bind", or a file system of the Sentry's: "proc", "tmpfs", … */
  readonly type: string;
  /** As mountinfo shows it. */
  readonly source: string;
  /** MS_* */
  readonly flags: number;
  /** MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE, with MS_REC; 0 leaves it private. */
  readonly propagation?: number;
  /** File-system options, comma-separated: "size=65536k,mode=755". */
  readonly data: string;
  /** For bind mounts, and the file that an image is in. */
  readonly tree?: TreeConfig;
  /** A tmpfs that begins with what it covers. */
  readonly copyUp?: boolean;
  /** It becomes read-only once all is mounted: others are mounted on folders made in it. */
  readonly readOnlyAtLast?: boolean;
}

/** A device node of the spec, made in /dev. */
export interface DeviceConfig {
  readonly path: string;
  /** S_IFMT and permission bits. */
  readonly mode: number;
  readonly major: number;
  readonly minor: number;
  readonly uid: number;
  readonly gid: number;
}

export type EgressProtocol = 'tcp' | 'udp' | 'icmp' | 'any';

/** One line of an egress policy. Without network and name it is about any address. */
export interface EgressRule {
  readonly line: number;
  /** The line, for the log. */
  readonly text: string;
  readonly allow: boolean;
  readonly protocol: EgressProtocol;
  /** First and last; none: all. */
  readonly ports: readonly (readonly [number, number])[];
  /** 16 bytes, IPv4 mapped, and how many bits count. */
  readonly network?: readonly number[];
  readonly bits?: number;
  /** In small letters; "*." in front stands for all names below. */
  readonly name?: string;
}

export interface EgressPolicy {
  readonly file: string;
  readonly allowByDefault: boolean;
  /** 0 when the file has no such line. */
  readonly defaultLine: number;
  /** Whose answers bind names to addresses; they may be asked. */
  readonly resolvers: readonly { readonly address: readonly number[]; readonly port: number }[];
  readonly rules: readonly EgressRule[];
}

/** One line of uid_map. */
export interface IdRangeConfig {
  readonly inside: number;
  readonly outside: number;
  readonly count: number;
}

export interface DeviceRuleConfig {
  readonly allow: boolean;
  /** S_IFCHR, S_IFBLK, or 0 for both. */
  readonly kind: number;
  /** -1 is any. */
  readonly major: number;
  readonly minor: number;
  readonly access: string;
}

/** linux.timeOffsets: nsec is in [0, 1e9). */
export interface TimeOffsets {
  readonly monotonic: { readonly sec: number; readonly nsec: number };
  readonly boottime: { readonly sec: number; readonly nsec: number };
}

/** What the Sentry is told of one container, be it the first of its sandbox or a further one. */
export interface ContainerConfig {
  /** The container's id; "do" has none of a container's state. */
  readonly id: string;
  readonly hostname: string;
  readonly domainname?: string;
  /** All of them must allow what is sent. A further container has those of the first one. */
  readonly egress: readonly EgressPolicy[];
  /**
   * A signal from the command line ends the first program as it would end any: `do` stands for the program itself.
   * Otherwise it is immune without a handler, as the init of a pid namespace is: pid_namespaces(7).
   */
  readonly mortalInit: boolean;
  readonly root: TreeConfig;
  /** As in MountConfig, for the root mount. */
  readonly rootPropagation: number;
  readonly mounts: readonly MountConfig[];
  /** Links and nodes in /dev that the OCI runtime spec promises are made in addition. */
  readonly devices: readonly DeviceConfig[];
  readonly maskedPaths: readonly string[];
  readonly readonlyPaths: readonly string[];
  /** Which devices may be used and made: linux.resources.devices. The last rule that fits decides. */
  readonly deviceRules: readonly DeviceRuleConfig[];
  /** "kernel.shmmax" to its value. */
  readonly sysctl: Readonly<Record<string, string>>;
  /** What is added to its clocks; undefined: it has the machine's time namespace. */
  readonly timeOffsets?: TimeOffsets;
  readonly process: ProcessConfig;
  /** A filter on the calls of the container's programs, classic BPF in base64: linux.seccomp. */
  readonly seccomp?: string;
  /** Limits of the container's cgroup, for /proc/meminfo and /proc/cpuinfo; undefined: the host's. */
  readonly memoryBytes?: number;
  /** pids.max: tasks of the guest. */
  readonly tasksLimit?: number;
  /** Where the container's cgroup is on the host. */
  readonly cgroup?: CgroupView;
}

export interface BootConfig extends ContainerConfig {
  /** What the container's ids are on the host, where it has a user namespace there: no others exist inside. */
  readonly hostIds?: {
    readonly uids: readonly IdRangeConfig[];
    readonly gids: readonly IdRangeConfig[];
    /** The namespace is the caller's, too: who looks from there sees the container's own numbers. */
    readonly ofCaller: boolean;
  };
  /** auto: systrap, or ptrace where the host refuses seccomp filters. */
  readonly platform: 'auto' | 'systrap' | 'ptrace';
  readonly patchSyscalls: boolean;
  readonly strace: boolean;
  readonly debug: boolean;
  readonly network: 'none' | 'host' | 'sandbox';
  /** The network namespace is not the host's own: its parameters are the container's. */
  readonly mayTuneNetwork: boolean;
  /** The network namespace was made for us: lo is to be raised. */
  readonly ownNetwork: boolean;
  /** What a broker does for guests on that network, as a bit set of capabilities. */
  readonly networkCapabilities: number;
  readonly cpus?: number;
  readonly fds: BootFds;
}

/** Whose namespace a further container has, by the container's id; what is missing is its own. */
export interface SharedNamespaces {
  readonly pid?: string;
  readonly ipc?: string;
  readonly uts?: string;
  readonly time?: string;
}

/** A further container of a running sandbox, as request "create" has it. */
export interface MemberConfig extends ContainerConfig {
  readonly share: SharedNamespaces;
  /** It has a cgroup of its own on the host: its stubs are to come from a process that can be moved there. */
  readonly ownCgroup: boolean;
  /** Its network is another than the sandbox's: the broker that comes along is in it and opens all its sockets. */
  readonly ownNetwork: boolean;
  /** What the broker that comes along may do; as in BootConfig. */
  readonly networkCapabilities: number;
  readonly fds: MemberFds;
}

/** Places among the descriptors that come with request "create"; the first is the configuration itself. */
export interface MemberFds {
  readonly gofer: number;
  readonly goferRegion: number;
  /** A listening socket for this container's requests. */
  readonly control: number;
  readonly netBroker?: number;
  readonly stdio: readonly number[];
}

export interface CgroupView {
  /** Lines of /proc/self/cgroup for version 1, each with its newline. */
  readonly lines: string;
  /** Path in the unified hierarchy; '' for the guest's own root. */
  readonly unified: string;
  /** Counts the guest's memory. */
  readonly memoryUsagePath?: string;
}

export interface BootFds {
  /** SOCK_SEQPACKET to who started us: "ready", "exit", and requests as on the control socket. */
  readonly parent: number;
  /** The listening control socket, when the sandbox has one. */
  readonly control?: number;
  /** Connection to the network broker, when guests may use capabilities on the network. */
  readonly netBroker?: number;
  /** A line is appended for each denial of the egress policies. */
  readonly egressLog?: number;
  /** Lines are appended. */
  readonly log?: number;
  /** Connection to the gofer. */
  readonly gofer: number;
  /** Memory shared with it. */
  readonly goferRegion: number;
  /** The container's stdin, stdout and stderr (with a terminal three times the same), and what it gets from 3 on. */
  readonly stdio: readonly number[];
}
