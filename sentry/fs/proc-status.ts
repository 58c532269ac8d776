// What /proc/[pid] tells of a process in words and numbers: fs/proc/array.c and the small files of
// fs/proc/base.c. proc_pid_stat(5), proc_pid_status(5).

import { CLK_TCK, PAGE_SIZE } from '../abi/limits.ts';
import { RLIMIT_RSS } from '../abi/sched.ts';
import { NSIG, SIG_DFL, SIG_IGN } from '../abi/signal.ts';
import { CLOCK_BOOTTIME } from '../abi/time.ts';
import type { CapSet } from '../kernel/credentials.ts';
import type { Pid, PidNamespace } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import { ptraceMayAccess } from './proc-access.ts';
import type { NumbersView, ProcView } from './proc-inode.ts';
import { MemorySizes, memorySizes } from './proc-maps.ts';

const NS_PER_TICK = 1e9 / CLK_TCK;
const KIB = 1024;
const RLIM_INFINITY_TEXT = '18446744073709551615';
const PF_FORKNOEXEC = 0x40;
const PF_RANDOMIZE = 0x400000;

const STATE_NAMES: Record<string, string> = {
  R: 'R (running)',
  S: 'S (sleeping)',
  D: 'D (disk sleep)',
  T: 'T (stopped)',
  t: 't (tracing stop)',
  X: 'X (dead)',
  Z: 'Z (zombie)',
};

/** CPU time of one thread, ns; 0 once it has ended. */
export function cpuTimeOf(task: Task): number {
  return task.stateLetter() === 'Z' ? 0 : task.kernel.platform.cpuTimeNs(task.context) + task.priorCpuNs;
}

/** CPU time of a process with its ended threads, ns. */
export function groupCpuTime(group: ThreadGroup): number {
  let ns = group.deadUsage.userNs + group.deadUsage.systemNs;
  for (const task of group.tasks) ns += cpuTimeOf(task);
  return ns;
}

function ticks(ns: number): number {
  return Math.floor(ns / NS_PER_TICK);
}

function hasMemory(task: Task): boolean {
  return task.stateLetter() !== 'Z';
}

function threadCount(group: ThreadGroup): number {
  return Math.max(1, group.tasks.length);
}

function sizesOf(task: Task): MemorySizes {
  return hasMemory(task) ? memorySizes(task.mm) : new MemorySizes();
}

/** A process group's or session's number as `ns` sees it. */
function number(pid: Pid, ns: PidNamespace): number {
  return pid.numberIn(ns);
}

/** stat of the process, or of one thread: do_task_stat(). */
export function statText(t: Task, target: Task, fs: NumbersView, whole: boolean): string {
  const group = target.group;
  const ns = fs.pidns;
  const permitted = ptraceMayAccess(t, target, true) === 0;
  const mm = hasMemory(target) ? target.mm : undefined;
  const sizes = sizesOf(target);
  const tty = group.tty;
  const dead = group.deadUsage;
  const own = whole ? groupCpuTime(group) : cpuTimeOf(target);
  let ignored = 0;
  let caught = 0;
  for (let signo = 1; signo < 32; signo++) {
    const handler = group.handlers.get(signo).handler;
    if (handler === SIG_IGN) ignored |= 1 << (signo - 1);
    else if (handler !== SIG_DFL) caught |= 1 << (signo - 1);
  }
  const pending = target.signals.pending.lo;
  const rss = group.limits.soft[RLIMIT_RSS]!;
  const shown = (value: number): number => (mm === undefined ? 0 : permitted ? value : 0);
  const fields: (number | string)[] = [
    (whole ? group.pid : target.pid).numberIn(ns),
    `(${target.comm})`,
    target.stateLetter(),
    group.parentPidIn(ns),
    number(group.processGroup.pid, ns),
    number(group.session.pid, ns),
    tty === null ? 0 : tty.dev,
    tty === null || tty.foreground === null ? -1 : number(tty.foreground.pid, ns),
    PF_RANDOMIZE | (group.didExec ? 0 : PF_FORKNOEXEC),
    whole ? dead.minorFaults : 0,
    group.childUsage.minorFaults,
    whole ? dead.majorFaults : 0,
    group.childUsage.majorFaults,
    ticks(own),
    0,
    ticks(group.childUsage.userNs),
    ticks(group.childUsage.systemNs),
    target.sched.statPriority,
    target.sched.nice,
    threadCount(group),
    0,
    ticks(Math.max(0, group.startNs - t.kernel.clock.bootNs + t.ns.time.offsetNs(CLOCK_BOOTTIME))),
    sizes.total,
    Math.floor(sizes.resident / PAGE_SIZE),
    Number.isFinite(rss) ? rss : RLIM_INFINITY_TEXT,
    mm === undefined ? 0 : permitted ? mm.codeStart : 1,
    mm === undefined ? 0 : permitted ? mm.codeEnd : 1,
    shown(mm?.stackStart ?? 0),
    0,
    0,
    pending & 0x7fffffff,
    target.signals.blockedLo & 0x7fffffff,
    ignored & 0x7fffffff,
    caught & 0x7fffffff,
    0,
    0,
    0,
    whole || target === group.leader ? group.exitSignal : -1,
    0,
    target.sched.rtPriority,
    target.sched.policy,
    0,
    0,
    0,
    shown(mm?.dataStart ?? 0),
    shown(mm?.dataEnd ?? 0),
    shown(mm?.brkStart ?? 0),
    shown(group.argStart),
    shown(group.argEnd),
    shown(group.envStart),
    shown(group.envEnd),
    permitted ? (whole ? group.groupExitStatus : target.exitStatus) : 0,
  ];
  return `${fields.join(' ')}\n`;
}

/** statm: pages. */
export function statmText(_t: Task, target: Task): string {
  const s = sizesOf(target);
  const pages = (bytes: number): number => Math.floor(bytes / PAGE_SIZE);
  return `${pages(s.total)} ${pages(s.resident)} ${pages(s.residentFile + s.residentShared)} ${pages(s.exe)} 0 ${pages(s.data + s.stack)} 0\n`;
}

/** status. */
export function statusText(t: Task, target: Task, fs: NumbersView): string {
  const group = target.group;
  const creds = target.creds;
  const userns = t.creds.userns;
  const uid = (id: number): number => userns.uidFromKernel(id);
  const gid = (id: number): number => userns.gidFromKernel(id);
  let text = `Name:\t${escapeName(target.comm)}\n`;
  text += `Umask:\t${target.fs.umask.toString(8).padStart(4, '0')}\n`;
  text += `State:\t${STATE_NAMES[target.stateLetter()]}\n`;
  text += `Tgid:\t${group.pid.numberIn(fs.pidns)}\nNgid:\t0\nPid:\t${target.pid.numberIn(fs.pidns)}\nPPid:\t${group.parentPidIn(fs.pidns)}\n`;
  text += `TracerPid:\t${tracerOf(target, fs.pidns)}\n`;
  text += `Uid:\t${uid(creds.uid)}\t${uid(creds.euid)}\t${uid(creds.suid)}\t${uid(creds.fsuid)}\n`;
  text += `Gid:\t${gid(creds.gid)}\t${gid(creds.egid)}\t${gid(creds.sgid)}\t${gid(creds.fsgid)}\n`;
  text += `FDSize:\t${tableSize(target)}\nGroups:\t${creds.groups.map(gid).join(' ')} \n`;
  text += `NStgid:${inner(group.pid, fs.pidns)}\nNSpid:${inner(target.pid, fs.pidns)}\n`;
  text += `NSpgid:${inner(group.processGroup.pid, fs.pidns)}\nNSsid:${inner(group.session.pid, fs.pidns)}\nKthread:\t0\n`;
  if (hasMemory(target)) text += memoryText(target);
  text += `Threads:\t${threadCount(group)}\n`;
  text += signalText(t, target);
  text += `CapInh:\t${capText(creds.inheritable)}\nCapPrm:\t${capText(creds.permitted)}\nCapEff:\t${capText(creds.effective)}\nCapBnd:\t${capText(creds.bounding)}\nCapAmb:\t${capText(creds.ambient)}\n`;
  text += `NoNewPrivs:\t${creds.noNewPrivs ? 1 : 0}\nSeccomp:\t${target.seccompMode}\nSeccomp_filters:\t${target.seccompFilters.length}\n`;
  text += 'Speculation_Store_Bypass:\tthread vulnerable\nSpeculationIndirectBranch:\tunknown\n';
  text += `Cpus_allowed:\t${target.sched.cpuMask}\nCpus_allowed_list:\t${target.sched.cpuList}\n`;
  text += 'Mems_allowed:\t00000000,00000001\nMems_allowed_list:\t0\n';
  text += `voluntary_ctxt_switches:\t${target.voluntarySwitches}\nnonvoluntary_ctxt_switches:\t${target.involuntarySwitches}\n`;
  return text;
}

/** Backslash and newline as escapes, so that a line stays a line: proc_task_name(). */
function escapeName(comm: string): string {
  return comm.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

/** The numbers in the reader's namespace and those below it, each after a tab. */
function inner(pid: Pid, from: PidNamespace): string {
  let text = '';
  for (let level = from.level; level <= pid.ns.level; level++) text += `\t${pid.numbers[level]}`;
  return text;
}

/** struct fdtable is sized in powers of two from 64 on. */
function tableSize(task: Task): number {
  let size = 64;
  while (size < task.fds.size) size *= 2;
  return size;
}

function memoryText(target: Task): string {
  const s = memorySizes(target.mm);
  const kb = (name: string, bytes: number): string => `${name}:\t${String(Math.floor(bytes / KIB)).padStart(8)} kB\n`;
  return (
    kb('VmPeak', Math.max(target.mm.peak, s.total)) +
    kb('VmSize', s.total) +
    kb('VmLck', target.mm.lockedBytes()) +
    kb('VmPin', 0) +
    kb('VmHWM', s.resident) +
    kb('VmRSS', s.resident) +
    kb('RssAnon', s.residentAnon) +
    kb('RssFile', s.residentFile) +
    kb('RssShmem', s.residentShared) +
    kb('VmData', s.data) +
    kb('VmStk', s.stack) +
    kb('VmExe', s.exe) +
    kb('VmLib', s.lib) +
    kb('VmPTE', Math.ceil(s.resident / (2 * KIB * KIB)) * 4 * KIB + 16 * KIB) +
    kb('VmSwap', 0) +
    kb('HugetlbPages', 0) +
    'CoreDumping:\t0\nTHP_enabled:\t1\nuntag_mask:\t0xffffffffffffffff\n'
  );
}

function signalText(t: Task, target: Task): string {
  const group = target.group;
  let ignoredLo = 0;
  let ignoredHi = 0;
  let caughtLo = 0;
  let caughtHi = 0;
  for (let signo = 1; signo <= NSIG; signo++) {
    const handler = group.handlers.get(signo).handler;
    const lo = signo <= 32 ? 1 << (signo - 1) : 0;
    const hi = signo > 32 ? 1 << (signo - 33) : 0;
    if (handler === SIG_IGN) {
      ignoredLo |= lo;
      ignoredHi |= hi;
    } else if (handler !== SIG_DFL) {
      caughtLo |= lo;
      caughtHi |= hi;
    }
  }
  const signals = target.signals;
  const queued = t.kernel.users.get(target.creds.uid).pendingSignals;
  const limit = group.limits.soft[11]!;
  return (
    `SigQ:\t${queued}/${Number.isFinite(limit) ? limit : RLIM_INFINITY_TEXT}\n` +
    `SigPnd:\t${maskText(signals.pending.lo, signals.pending.hi)}\nShdPnd:\t${maskText(group.pending.lo, group.pending.hi)}\n` +
    `SigBlk:\t${maskText(signals.blockedLo, signals.blockedHi)}\nSigIgn:\t${maskText(ignoredLo, ignoredHi)}\nSigCgt:\t${maskText(caughtLo, caughtHi)}\n`
  );
}

/** Two words as 16 hex digits. */
export function maskText(lo: number, hi: number): string {
  return (hi >>> 0).toString(16).padStart(8, '0') + (lo >>> 0).toString(16).padStart(8, '0');
}

function capText(set: CapSet): string {
  return maskText(set.lo, set.hi);
}

function tracerOf(target: Task, ns: PidNamespace): number {
  return target.tracee === null ? 0 : target.tracee.tracer.group.pid.numberIn(ns);
}

const LIMIT_NAMES: readonly (readonly [string, string])[] = [
  ['Max cpu time', 'seconds'],
  ['Max file size', 'bytes'],
  ['Max data size', 'bytes'],
  ['Max stack size', 'bytes'],
  ['Max core file size', 'bytes'],
  ['Max resident set', 'bytes'],
  ['Max processes', 'processes'],
  ['Max open files', 'files'],
  ['Max locked memory', 'bytes'],
  ['Max address space', 'bytes'],
  ['Max file locks', 'locks'],
  ['Max pending signals', 'signals'],
  ['Max msgqueue size', 'bytes'],
  ['Max nice priority', ''],
  ['Max realtime priority', ''],
  ['Max realtime timeout', 'us'],
];

/** limits. */
export function limitsText(_t: Task, target: Task): string {
  const limits = target.group.limits;
  const row = (name: string, soft: string, hard: string): string => `${name.padEnd(25)} ${soft.padEnd(20)} ${hard.padEnd(20)} `;
  const value = (n: number): string => (Number.isFinite(n) ? String(n) : 'unlimited');
  let text = `${row('Limit', 'Soft Limit', 'Hard Limit')}${'Units'.padEnd(10)}\n`;
  for (let i = 0; i < LIMIT_NAMES.length; i++) {
    const [name, unit] = LIMIT_NAMES[i]!;
    text += `${row(name, value(limits.soft[i]!), value(limits.hard[i]!))}${unit === '' ? '' : unit.padEnd(10)}\n`;
  }
  return text;
}

/** io. What reaches a disk is the host's to count: read_bytes and write_bytes are 0. */
export function ioText(target: Task, whole: boolean): string {
  let readBytes = 0;
  let writtenBytes = 0;
  let reads = 0;
  let writes = 0;
  const add = (c: { readBytes: number; readCalls: number; writtenBytes: number; writeCalls: number }): void => {
    readBytes += c.readBytes;
    writtenBytes += c.writtenBytes;
    reads += c.readCalls;
    writes += c.writeCalls;
  };
  if (whole) {
    add(target.group.deadIo);
    for (const task of target.group.tasks) add(task.ioCounts);
  } else {
    add(target.ioCounts);
  }
  return `rchar: ${readBytes}\nwchar: ${writtenBytes}\nsyscr: ${reads}\nsyscw: ${writes}\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n`;
}

/** schedstat: ns on the CPU, ns waiting for it, time slices. */
export function schedstatText(_t: Task, target: Task): string {
  return `${Math.floor(cpuTimeOf(target))} 0 ${target.voluntarySwitches + target.involuntarySwitches}\n`;
}

/** sched: the lines that tools look for. kernel/sched/debug.c:proc_sched_show_task(). */
export function schedText(_t: Task, target: Task, fs: ProcView): string {
  const runtime = cpuTimeOf(target);
  const row = (name: string, value: string | number): string => `${name.padEnd(45)}:${String(value).padStart(21)}\n`;
  const split = `${Math.floor(runtime / 1e6)}.${String(Math.floor(runtime % 1e6)).padStart(6, '0')}`;
  return (
    `${target.comm} (${target.pid.numberIn(fs.pidns)}, #threads: ${threadCount(target.group)})\n${'-'.repeat(67)}\n` +
    row('se.exec_start', '0.000000') +
    row('se.sum_exec_runtime', split) +
    row('nr_switches', target.voluntarySwitches + target.involuntarySwitches) +
    row('nr_voluntary_switches', target.voluntarySwitches) +
    row('nr_involuntary_switches', target.involuntarySwitches) +
    row('policy', target.sched.policy) +
    row('prio', 100 + target.sched.statPriority)
  );
}
