// Programs that no guest process has forked: the container's first one, and those of exec.

import { EACCES, ENOENT, ENOTDIR } from '../abi/errno.ts';
import { RLIMIT_NLIMITS } from '../abi/sched.ts';
import type { CapSet } from '../kernel/credentials.ts';
import { Credentials } from '../kernel/credentials.ts';
import { FdTable } from '../kernel/fd-table.ts';
import type { FsContext } from '../kernel/fs-context.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { Limits, UNLIMITED } from '../kernel/limits.ts';
import type { Task } from '../kernel/task.ts';
import { startProgram as execProgram } from '../kernel/task-exec.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import { KernelContext } from '../vfs/context.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { LOOKUP_DIRECTORY, LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import type { ProcessConfig } from './boot-config.ts';

/** What PATH is where the environment has none: execvp(3). */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What a login leaves: umask(2). */
const DEFAULT_UMASK = 0o022;

/** Why a program could not be started. */
export interface StartFailure {
  readonly error: string;
  readonly errno: number;
}

export function isFailure(result: Task | StartFailure): result is StartFailure {
  return 'errno' in result && 'error' in result;
}

/** Starts a program with `stdio` as its descriptors 0, 1 and 2, which are taken over. fs is a context of its own. */
export function startProgram(kernel: Kernel, config: ProcessConfig, fs: FsContext, stdio: readonly FileDescription[]): Task | StartFailure {
  const creds = credentialsOf(config, kernel.rootUserNamespace);
  const fds = new FdTable();
  for (const file of stdio) fds.add(file, false, stdio.length);
  fs.umask = config.umask ?? DEFAULT_UMASK;

  const ctx = new KernelContext(creds, fs);
  const cwd = kernel.vfs.lookup(ctx, null, config.cwd, LOOKUP_FOLLOW | LOOKUP_DIRECTORY);
  if (typeof cwd === 'number') return { error: `working directory ${config.cwd}`, errno: -cwd };
  fs.cwd = cwd;

  const path = findProgram(kernel, ctx, config);
  if (typeof path === 'number') return { error: '', errno: -path };
  const spec = { fds, fs, creds, limits: limitsOf(config), pidns: kernel.rootPidNamespace };
  const t = execProgram(kernel, spec, path, [...config.args], [...config.env]);
  if (typeof t === 'number') return { error: '', errno: -t };
  if (config.oomScoreAdj !== undefined) t.group.oomScoreAdj = config.oomScoreAdj;
  return t;
}

/** execvp(3): a name without a slash is looked for in PATH; one that may not be executed is remembered. The path or -errno. */
function findProgram(kernel: Kernel, ctx: KernelContext, config: ProcessConfig): string | number {
  const name = config.args[0] ?? '';
  if (name === '') return -ENOENT;
  if (name.includes('/')) return name;
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
