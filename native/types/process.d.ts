// What src/process.cc exports. Unless told otherwise a function answers 0 (or what its host call answers) or -errno.
// Paths are latin1 strings, a char per byte.

/** What a new process gets. */
export interface ProcessOptions {
  exe: string;
  /** argv[0] included. */
  argv: readonly string[];
  /** "NAME=value". */
  env: readonly string[];
  cwd?: string;
  /** [number in the child, descriptor of ours]; everything else is closed. */
  fds: readonly (readonly [number, number])[];
  /** CLONE_NEW* words. */
  cloneFlags?: number;
  /** Namespaces of others to be born in: [descriptor, its name below /proc/self/ns]. */
  join?: readonly (readonly [number, string])[];
  /** Ids taken on inside, after the maps are written. */
  uid?: number;
  gid?: number;
  /** setgroups to none before. */
  dropGroups?: boolean;
  /** No mount of the child's is seen outside; needs CLONE_NEWNS. */
  privateMounts?: boolean;
  session?: boolean;
  /** A terminal of ours to become the session's controlling one. */
  ctty?: number;
  /** Signal sent when the thread that started it ends. */
  pdeathsig?: number;
  umask?: number;
  noNewPrivs?: boolean;
  /** [RLIMIT_*, soft, hard]; -1 is no limit. */
  limits?: readonly (readonly [number, number, number])[];
}

/** Clones a child that waits for releaseProcess(); its id maps are to be written meanwhile. Throws {code, errno, syscall}. */
export function startProcess(options: ProcessOptions): { pid: number; pidfd: number };

/** Lets the child go on to execve, without waiting for that. Throws {code, errno, syscall}. */
export function releaseProcess(pid: number): void;

/** Lets the child go on, where that has not been done, and waits for its execve. Throws {code, errno, syscall} naming the step that failed; the child is reaped then, and its pidfd closed. abandon: kills it instead (the caller reaps). */
export function finishProcess(pid: number, abandon?: boolean): void;

/** [pid, status] with pid 0 when WNOHANG found nothing, or -errno. */
export function waitPid(pid: number, flags: number): [number, number];
/** The wait status, or -errno. */
export function waitPidAsync(pid: number): Promise<number>;
export function killProcess(pid: number, signal: number): number;
export function pidfdOpen(pid: number): number;
export function pidfdSendSignal(pidfd: number, signal: number): number;

export function unshare(flags: number): number;
export function setns(fd: number, type: number): number;
export function setHostname(name: string): number;
export function mount(source: string | null, target: string, type: string | null, flags: number, data: string | null): number;
export function umount2(target: string, flags: number): number;
export function pivotRoot(newRoot: string, putOld: string): number;
export function chroot(path: string): number;
export function fchdir(fd: number): number;
/** userNamespace: a descriptor, for MOUNT_ATTR_IDMAP. */
export function mountSetattr(
  dirFd: number,
  path: string,
  flags: number,
  set: number,
  clear: number,
  propagation: number,
  userNamespace?: number,
): number;
export function openTree(dirFd: number, path: string, flags: number): number;
/** A new tmpfs with these options, as two detached mounts of it; or -errno. */
export function tmpfs(options: string): [number, number] | number;
export function moveMount(fromFd: number, fromPath: string, toFd: number, toPath: string, flags: number): number;
/** Raises lo in the network namespace of the calling thread. */
export function bringUpLoopback(): number;

/** capset(2) of the calling thread: two words each, low first. */
export function setCapabilities(effLo: number, effHi: number, permLo: number, permHi: number, inhLo: number, inhHi: number): number;
/** Takes every capability (but those given, low word first), the bounding set and the hope of new privileges from every thread of the process. Needs /proc unless the process is PID 1 of its namespace. */
export function dropAllCapabilities(keepLo?: number, keepHi?: number): number;
/** [effective lo, hi, permitted lo, hi, inheritable lo, hi]. */
export function getCapabilities(): [number, number, number, number, number, number];
/** Of the calling thread, as the next three. */
export function dropBounding(cap: number): number;
export function clearAmbient(): number;
export function raiseAmbient(cap: number): number;
export function setKeepCaps(on: number): number;
export function setNoNewPrivs(): number;
export function setPdeathsig(signal: number): number;
export function setDumpable(on: number): number;
export function setChildSubreaper(on: number): number;
/** At most 15 bytes. */
export function setProcessName(name: string): number;
/** Node starts a debugger for whoever sends SIGUSR1: not in this process any more. */
export function ignoreDebuggerSignal(): void;
/** Of all threads of the process, as the next two; -1 leaves an id. */
export function setResUid(real: number, effective: number, saved: number): number;
export function setResGid(real: number, effective: number, saved: number): number;
export function setGroups(groups: readonly number[]): number;
/** [soft, hard] with -1 for no limit, or -errno. pid 0 is the caller. */
export function getRlimit(pid: number, resource: number): [number, number] | number;
export function setRlimit(pid: number, resource: number, soft: number, hard: number): number;
export function setsid(): number;
export function closeRange(first: number, last: number, flags: number): number;
export function dup2(from: number, to: number): number;
export function flock(fd: number, operation: number): number;
/** A close-on-exec memfd that holds `bytes`. */
export function memfdWith(name: string, bytes: Uint8Array): number;
/** Ends the process by the signal, without a core file; as PID 1 of a namespace by exit code 128+n. */
export function dieBySignal(signal: number): never;
/** _exit(2): no exit handlers, no threads joined. */
export function exitNow(code: number): never;

/** [master, slave, name of the slave], close-on-exec, or -errno. */
export function openPty(): [number, number, string] | number;
/** The C library's struct termios, to be given back to setTermios. */
export function getTermios(fd: number): Uint8Array | number;
export function setTermios(fd: number, termios: Uint8Array): number;
export function makeRaw(fd: number): number;
/** [rows, columns] or -errno. */
export function getWindowSize(fd: number): [number, number] | number;
export function setWindowSize(fd: number, rows: number, columns: number): number;
export function setControllingTty(fd: number): number;

/** [pid, uid, gid] of a unix socket's peer. */
export function peerCredentials(fd: number): [number, number, number] | number;
/** A bound and listening, or a connected, unix socket of SOCK_* `type`; paths longer than sun_path work. */
export function unixListen(path: string, type: number): number;
export function unixConnect(path: string, type: number): number;
/** flags: SOCK_NONBLOCK. */
export function acceptSocket(fd: number, flags?: number): number;
/** poll(2) over [fd, events, revents] triples; timeout in ms, -1 waits for ever. */
export function pollFds(triples: Int32Array, timeoutMs: number): number;
/** The read end of a pipe that gets the number of each of these signals as a byte. Once a process. */
export function signalPipe(signals: readonly number[]): number;
export function ignoreSignal(signal: number): number;
/** "ENOENT" and "No such file or directory" for 2. */
export function errnoName(errno: number): string;
export function errnoText(errno: number): string;
