// Programs that no guest process has forked: the container's first one, and those of exec.

import { getSystemErrorMap } from 'node:util';
import { EACCES, ENOENT, ENOTDIR } from '../abi/errno.ts';
import { O_NONBLOCK, O_RDONLY } from '../abi/fcntl.ts';
import { RLIMIT_NLIMITS } from '../abi/sched.ts';
import { S_IFMT, S_IFREG } from '../abi/stat.ts';
import type { CapSet } from '../kernel/credentials.ts';
import { Credentials } from '../kernel/credentials.ts';
import { FdTable } from '../kernel/fd-table.ts';
import type { FsContext } from '../kernel/fs-context.ts';
import type { GuestContainer } from '../kernel/guest-container.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { Limits, UNLIMITED } from '../kernel/limits.ts';
import { installFilters } from '../kernel/seccomp.ts';
import type { SeccompFilter } from '../kernel/seccomp-filter.ts';
import type { Task } from '../kernel/task.ts';
import { startProgram as execProgram } from '../kernel/task-exec.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import { readAt } from '../loader/elf.ts';
import { KernelContext } from '../vfs/context.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { LOOKUP_DIRECTORY, LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import type { ProcessConfig } from './boot-config.ts';

/** What PATH is where the environment has none: execvp(3). */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What a login leaves: umask(2). */
const DEFAULT_UMASK = 0o022;

/** Why a program could not be started: a whole sentence, and the errno that it ends with. */
export interface StartFailure {
  readonly error: string;
  readonly errno: number;
}

export function isFailure(result: Task | StartFailure): result is StartFailure {
  return 'errno' in result && 'error' in result;
}

export interface StartOptions {
  /** A context of its own. */
  readonly fs: FsContext;
  /** By number; taken over. */
  readonly files: readonly FileDescription[];
  /** Filters it runs under, newest first. */
  readonly filters: readonly SeccompFilter[];
  /** It becomes process 1 if that number has been kept for it. */
  readonly first: boolean;
  readonly container: GuestContainer;
  /** The container's name: its programs share a session keyring. */
  readonly name: string;
}

/** Starts a program that no other has forked. */
export function startProgram(kernel: Kernel, config: ProcessConfig, options: StartOptions): Task | StartFailure {
  const { fs, files } = options;
  const creds = credentialsOf(config, kernel.rootUserNamespace);
  creds.sessionKeyring = kernel.keys.ofContainer(options.name, creds);
  fs.umask = config.umask ?? DEFAULT_UMASK;

  const path = findProgram(kernel, fs, creds, config);
  if (typeof path !== 'string') {
    // A pipe or a terminal of the host that stayed open here would keep who reads it waiting for ever.
    for (const file of files) file.decRef(null);
    return path;
  }
  const fds = new FdTable();
  for (const file of files) fds.add(file, false, files.length);
  const env = environmentOf(kernel, new KernelContext(creds, fs), config);
  const spec = { fds, fs, creds, limits: limitsOf(config), container: options.container, first: options.first };
  const t = execProgram(kernel, spec, path, [...config.args], env);
  // The words of runc's init, whose execve fails after all that create could look at was well: a missing interpreter.
  if (typeof t === 'number') return { error: `exec ${path}: ${errnoSentence(-t).replace(/ \(E\w+\)$/, '')}`, errno: -t };
  schedule(t, config);
  if (options.filters.length > 0) installFilters(t, options.filters);
  if (config.oomScoreAdj !== undefined) t.group.oomScoreAdj = config.oomScoreAdj;
  return t;
}

/**
 * Whether the program could be started as things stand: `create` tells what is missing, as runc's does. fs is a context
 * of its own.
 */
export function checkProgram(kernel: Kernel, config: ProcessConfig, fs: FsContext): StartFailure | undefined {
  const found = findProgram(kernel, fs, credentialsOf(config, kernel.rootUserNamespace), config);
  return typeof found === 'string' ? undefined : found;
}

/** Enters the working directory and looks for the program from there. */
function findProgram(kernel: Kernel, fs: FsContext, creds: Credentials, config: ProcessConfig): string | StartFailure {
  const ctx = new KernelContext(creds, fs);
  const cwd = kernel.vfs.lookup(ctx, null, config.cwd, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  if (typeof cwd === 'number')
    return { error: `chdir to cwd ("${config.cwd}") set in config.json failed: ${errnoSentence(-cwd)}`, errno: -cwd };
  fs.cwd = cwd;
  const name = config.path ?? config.args[0] ?? '';
  if (!name.includes('/')) {
    const path = searchPath(kernel, ctx, config, name);
    if (typeof path === 'string') return path;
    return path === -ENOENT ? { error: `exec: "${name}": executable file not found in $PATH`, errno: ENOENT } : notExecuted(config, -path);
  }
  const file = kernel.vfs.openExec(ctx, null, name, LOOKUP_FOLLOW);
  if (typeof file === 'number') return notExecuted(config, -file);
  file.decRef(null);
  return name;
}

/** "no such file or directory (ENOENT)". */
export function errnoSentence(errno: number): string {
  const known = getSystemErrorMap().get(-errno);
  return known === undefined ? `errno ${errno}` : `${known[1]} (${known[0]})`;
}

/** In the words of runc that front ends look for, to tell 126 from 127. */
function notExecuted(config: ProcessConfig, errno: number): StartFailure {
  const name = config.path ?? config.args[0] ?? '';
  const stat = errno === ENOENT || errno === ENOTDIR ? `stat ${name}: ` : '';
  return { error: `exec: "${name}": ${stat}${errnoSentence(errno)}`, errno };
}

/** execvp(3): a name without a slash is looked for in PATH; one that may not be executed is remembered. The path or -errno. */
function searchPath(kernel: Kernel, ctx: KernelContext, config: ProcessConfig, name: string): string | number {
  if (name === '') return -ENOENT;
  const path = config.env.find((v) => v.startsWith('PATH='))?.slice('PATH='.length) ?? DEFAULT_PATH;
  let denied = false;
  for (const dir of path.split(':')) {
    const candidate = `${dir === '' ? '.' : dir}/${name}`;
    const file = kernel.vfs.openExec(ctx, null, candidate, LOOKUP_FOLLOW);
    if (typeof file !== 'number') {
      file.decRef(null);
      return candidate;
    }
    if (file === -EACCES) denied = true;
    else if (file !== -ENOENT && file !== -ENOTDIR) return file;
  }
  return denied ? -EACCES : -ENOENT;
}

/** process.scheduler, process.ioPriority and linux.personality: remembered and shown, as what a program sets itself. */
function schedule(t: Task, config: ProcessConfig): void {
  if (config.personality !== undefined) t.group.personality = config.personality;
  if (config.ioPriority !== undefined) t.sched.ioprio = config.ioPriority;
  if (config.processors !== undefined) pin(t, config.processors);
  const { scheduler } = config;
  if (scheduler === undefined) return;
  t.sched.policy = scheduler.policy;
  t.sched.rtPriority = scheduler.priority;
  t.sched.nice = scheduler.nice;
  t.sched.resetOnFork = scheduler.resetOnFork;
  t.sched.runtimeNs = scheduler.runtimeNs;
  t.sched.relativeDeadlineNs = scheduler.deadlineNs;
  t.sched.periodNs = scheduler.periodNs;
}

/** Only what there is: sched_setaffinity(2). */
function pin(t: Task, processors: readonly number[]): void {
  const { machine, platform } = t.kernel;
  const mask = new Uint8Array(t.sched.affinity.length);
  for (const cpu of processors) if (t.sched.allows(cpu)) mask[cpu >> 3]! |= 1 << (cpu & 7);
  if (mask.every((byte) => byte === 0)) return;
  t.sched.affinity = mask;
  if (machine.hasHostNumbers) platform.setAffinity(t.context, mask);
}

/** The last of two variables of one name counts, and HOME is never empty: runc's prepareEnv(). */
function environmentOf(kernel: Kernel, ctx: KernelContext, config: ProcessConfig): string[] {
  const env = new Map<string, string>();
  for (const variable of config.env) {
    const equals = variable.indexOf('=');
    env.set(equals < 0 ? variable : variable.slice(0, equals), variable);
  }
  const home = env.get('HOME');
  if (home === undefined || home === 'HOME=') env.set('HOME', `HOME=${homeOf(kernel, ctx, config.uid)}`);
  return [...env.values()];
}

/** Largest /etc/passwd that is read. */
const MAX_PASSWD = 1024 * 1024;

/** The image's own idea of where a user is at home: passwd(5). */
function homeOf(kernel: Kernel, ctx: KernelContext, uid: number): string {
  const file = kernel.vfs.openAt(ctx, null, '/etc/passwd', O_RDONLY | O_NONBLOCK, 0);
  if (typeof file === 'number') return '/';
  const inode = file.inode();
  const size = (inode.mode & S_IFMT) === S_IFREG ? Math.min(inode.size, MAX_PASSWD) : 0;
  const bytes = new Uint8Array(size);
  const n = readAt(file, bytes, size, 0);
  file.decRef(null);
  if (n < 0) return '/';
  for (const line of Buffer.from(bytes.buffer, 0, n).toString('latin1').split('\n')) {
    const fields = line.split(':');
    if (fields.length >= 6 && fields[2] === String(uid)) return fields[5] === '' ? '/' : fields[5]!;
  }
  return '/';
}

function capSet([lo, hi]: readonly [number, number]): CapSet {
  return { lo: lo | 0, hi };
}

function credentialsOf(config: ProcessConfig, userns: UserNamespace): Credentials {
  const c = new Credentials(userns);
  c.uid = c.euid = c.suid = c.fsuid = config.uid;
  c.gid = c.egid = c.sgid = c.fsgid = config.gid;
  c.groups = [...config.groups].sort((a, b) => a - b);
  c.bounding = capSet(config.capabilities.bounding);
  c.effective = capSet(config.capabilities.effective);
  c.permitted = capSet(config.capabilities.permitted);
  c.inheritable = capSet(config.capabilities.inheritable);
  c.ambient = capSet(config.capabilities.ambient);
  c.noNewPrivs = config.noNewPrivileges;
  return c;
}

function limitsOf(config: ProcessConfig): Limits {
  const limits = new Limits();
  const bound = (n: number): number => (n < 0 || n >= 2 ** 63 ? UNLIMITED : n);
  for (const [resource, soft, hard] of config.rlimits) if (resource < RLIMIT_NLIMITS) limits.set(resource, bound(soft), bound(hard));
  return limits;
}
