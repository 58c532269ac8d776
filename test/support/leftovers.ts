// What runsc must not leave behind on a host: compared before and after a test run.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join, normalize } from 'node:path';

export interface HostState {
  processes: Map<string, string>;
  mounts: Set<string>;
  /** Whether there is a process in it or below. */
  cgroups: Map<string, boolean>;
  files: Set<string>;
}

/** Programs of this checkout by which a process of runsc is known: the script that Node runs, or the process's own file. */
const ENTRY_POINTS = ['runsc/main.ts', 'native/build/Release/stub', 'native/build/Release/anchor', 'dist/runsc'];
/** Folders whose entries named runsc* are ours, and folders that are ours as a whole. */
const SCRATCH = ['/tmp', '/var/tmp', '/dev/shm'];
const STATE_DIRS = ['/run/runsc', '/var/run/runsc'];

export function hostState(root: string): HostState {
  return { processes: processes(root), mounts: mounts(), cgroups: cgroups(), files: files() };
}

/** One line for each thing that is there now and was not before. */
export function leftovers(before: HostState, now: HostState): string[] {
  const found: string[] = [];
  for (const [key, cmdline] of now.processes) if (!before.processes.has(key)) found.push(`process ${key.split(' ')[0]}: ${cmdline}`);
  for (const mount of now.mounts) if (!before.mounts.has(mount)) found.push(`mount ${mount}`);
  // One with processes in it is somebody's who lives; were the processes ours, they would be found themselves.
  for (const [cgroup, lives] of now.cgroups) if (!lives && !before.cgroups.has(cgroup)) found.push(`cgroup ${cgroup}`);
  for (const file of now.files) if (!before.files.has(file)) found.push(`file ${file}`);
  return found;
}

/** Keyed by pid and start time, since pids come back. */
function processes(root: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const pid of list('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    const cmdline = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
    // A shell or an editor may name our files in an argument: the program itself or its first argument has to be ours. Another
    // checkout's processes are not our business.
    const [, script = ''] = cmdline.split(' ');
    const own = [executable(pid), normalize(script)];
    if (!ENTRY_POINTS.some((entry) => own.includes(join(root, entry)))) continue;
    const stat = read(`/proc/${pid}/stat`);
    // Field 22, counted from behind the name, which may hold anything: proc_pid_stat(5).
    const startTime = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    found.set(`${pid} ${startTime}`, cmdline);
  }
  return found;
}

/** Mount points of this mount namespace where runsc mounts anything: field 5 and the type, proc_pid_mountinfo(5). */
function mounts(): Set<string> {
  const lines = read('/proc/self/mountinfo').trim().split('\n');
  const shown = lines.map((line) => `${line.split(' ')[4]} (${line.split(' - ')[1]})`);
  // Others of the host may mount what they like meanwhile.
  return new Set(shown.filter((line) => [...SCRATCH, ...STATE_DIRS].some((dir) => line.startsWith(`${dir}/`))));
}

/** Parents that front ends make and keep; what is in them is for the tests of those to check. */
const FRONT_ENDS = /^(libpod_parent|machine\.slice|docker|buildah|default|k8s\.io|conmon)/;

/** Control groups other than those that systemd makes for its own units meanwhile, and front ends for theirs. */
function cgroups(): Map<string, boolean> {
  const found = new Map<string, boolean>();
  const walk = (dir: string, depth: number): boolean => {
    let lives = read(join(dir, 'cgroup.procs')) !== '';
    for (const entry of depth < 8 ? dirs(dir) : []) {
      if (/\.(service|scope|slice|mount|socket|swap)$/.test(entry) && !entry.includes('runsc')) continue;
      if (FRONT_ENDS.test(entry)) continue;
      const path = join(dir, entry);
      const isPopulated = walk(path, depth + 1);
      found.set(path, isPopulated);
      lives ||= isPopulated;
    }
    return lives;
  };
  walk('/sys/fs/cgroup', 0);
  return found;
}

function files(): Set<string> {
  const found = new Set<string>();
  for (const dir of SCRATCH) for (const name of list(dir)) if (name.startsWith('runsc')) found.add(join(dir, name));
  const stateDirs = [...STATE_DIRS];
  if (process.env.XDG_RUNTIME_DIR) stateDirs.push(join(process.env.XDG_RUNTIME_DIR, 'runsc'));
  for (const dir of stateDirs) for (const name of list(dir)) found.add(join(dir, name));
  return found;
}

// What goes away while it is read was no leftover: these answer nothing then.
function list(dir: string): string[] {
  try {
    return readdirSync(dir);
  } catch {
    return [];
  }
}

/** The file that a process runs, as it was when it began. */
function executable(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '');
  } catch {
    return '';
  }
}

function dirs(dir: string): string[] {
  try {
    const entries = readdirSync(dir, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}
