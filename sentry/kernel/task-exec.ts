// execve(2): fs/exec.c, fs/binfmt_elf.c, fs/binfmt_script.c. Everything that can fail for the
// caller's reasons is done first; then the other threads end, a fresh stub is taken, its memory is
// laid out by one batch of host calls, and the task moves over to it. From the moment the other
// threads are gone a failure kills, as on Linux.

import type { AddressSpace, Context, Platform } from '../../platform/platform.ts';
import { CS, DS, EFLAGS, ES, FS, FS_BASE, GS, GS_BASE, ORIG_RAX, R15, RIP, RSP, SS } from '../../platform/platform.ts';
import {
  AT_BASE,
  AT_CLKTCK,
  AT_EGID,
  AT_ENTRY,
  AT_EUID,
  AT_FLAGS,
  AT_GID,
  AT_HWCAP,
  AT_HWCAP2,
  AT_MINSIGSTKSZ,
  AT_PAGESZ,
  AT_PHDR,
  AT_PHENT,
  AT_PHNUM,
  AT_RSEQ_ALIGN,
  AT_RSEQ_FEATURE_SIZE,
  AT_SECURE,
  AT_SYSINFO_EHDR,
  AT_UID,
  PHDR_SIZE,
} from '../abi/elf.ts';
import { E2BIG, EAGAIN, EBADF, ELIBBAD, ELOOP, ENOENT, ENOEXEC, ENOTDIR } from '../abi/errno.ts';
import { AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW } from '../abi/fcntl.ts';
import { CLK_TCK, PAGE_SIZE, TASK_COMM_LEN } from '../abi/limits.ts';
import { RLIMIT_STACK } from '../abi/sched.ts';
import { SIGKILL } from '../abi/signal.ts';
// biome-ignore lint/correctness/noUnusedImports: startProgram() compares with BLOCKED; biome 2.6.8 does not see it
import { BLOCKED, REGISTERS_SET } from '../base/errors.ts';
import { latin1 } from '../base/latin1.ts';
import { fillRandom } from '../host/entropy.ts';
import { type ElfImage, readAt, readElf } from '../loader/elf.ts';
import { type Loaded, loadProgram } from '../loader/load.ts';
import { argumentBytes, buildStack } from '../loader/stack.ts';
import { MemoryManager } from '../mm/memory-manager.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { VfsPath } from '../vfs/filesystem.ts';
import { LOOKUP_EMPTY, LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import { checkFileCaps, credentialsForExec, type ExecCredentials } from './exec-credentials.ts';
import { watchExit } from './exit-watchdog.ts';
import { exitFutexes } from './futex-exit.ts';
import type { Kernel } from './kernel.ts';
import { enterTimeForChildren } from './namespace-sharing.ts';
import { execStop } from './ptrace.ts';
import type { Task } from './task.ts';
import { createProcess, type ProcessSpec, vforkDone } from './task-clone.ts';
import { exitGroup } from './task-exit.ts';
import { wakeForSignal } from './task-signals.ts';
import type { ThreadGroup } from './thread-group.ts';
import { noteUsage } from './usage.ts';

/** BINPRM_BUF_SIZE: what of a file decides its format, and the longest "#!" line. */
const HEAD_SIZE = 256;
/** Interpreters of interpreters: fs/exec.c:exec_binprm(). */
const MAX_SCRIPTS = 5;
/** MAX_ARG_STRLEN. */
const MAX_STRING = 32 * PAGE_SIZE;
/** What AT_MINSIGSTKSZ adds to the extended state: the fixed part of struct rt_sigframe. */
const SIGFRAME_SIZE = 1032;
/** The fixed bits of eflags: interrupts on. */
const INITIAL_EFLAGS = 0x202;
const USER_CS = 0x33;
const USER_DS = 0x2b;

interface Program {
  file: FileDescription;
  image: ElfImage;
}

/** An exec under way. */
interface Exec {
  program: Program;
  interpreter: Program | null;
  argv: string[];
  envp: string[];
  /** As the caller gave it: AT_EXECFN. */
  filename: string;
  creds: ExecCredentials;
  context: Context | null;
  mm: MemoryManager | null;
  loaded: Loaded | null;
  /** Of the thread that called, as its tracer knows it. */
  formerTid: number;
  /** How often a stub has been asked for. */
  tries: number;
}

/** execve(2) and execveat(2). REGISTERS_SET when the new program is to start, -errno, BLOCKED on the way. */
export function execve(t: Task, dirfd: number, path: string, argv: string[], envp: string[], flags: number): number {
  let start: VfsPath | null = null;
  if (dirfd !== AT_FDCWD && !path.startsWith('/')) {
    const dir = t.fds.get(dirfd);
    if (dir === undefined) return -EBADF;
    if (dir.path === undefined) return -ENOTDIR;
    start = dir.path;
  }
  if (path === '' && (flags & AT_EMPTY_PATH) === 0) return -ENOENT;
  const lookup = ((flags & AT_SYMLINK_NOFOLLOW) === 0 ? LOOKUP_FOLLOW : 0) | ((flags & AT_EMPTY_PATH) !== 0 ? LOOKUP_EMPTY : 0);
  const file = t.kernel.vfs.openExec(t, start, path, lookup);
  if (typeof file === 'number') return file;
  // A script behind a descriptor is named to its interpreter by that descriptor: fs/exec.c:alloc_bprm().
  const filename = start === null ? path : path === '' ? `/dev/fd/${dirfd}` : `/dev/fd/${dirfd}/${path}`;
  // Its interpreter could not open a descriptor that exec closes.
  const inaccessible = start !== null && t.fds.isCloexec(dirfd);
  const exec = prepare(t, file, filename, argv, envp, inaccessible);
  if (typeof exec === 'number') return exec;
  return beginExec(t, exec);
}

/**
 * A process that no guest has forked: a container's init, or what exec starts beside it. It runs
 * once the run loop does. The Task, or what execve(2) answers: -ENOENT, -EACCES, -ENOEXEC, …
 */
export function startProgram(
  kernel: Kernel,
  spec: Omit<ProcessSpec, 'context' | 'mm' | 'comm'>,
  path: string,
  argv: string[],
  envp: string[],
): Task | number {
  const context = kernel.platform.newAddressSpace(spec.container.nursery);
  if (typeof context === 'number') return context;
  const mm = newMemory(kernel.platform, context.space);
  const t = createProcess(kernel, { ...spec, context, mm, comm: 'runsc' });
  if (typeof t === 'number') {
    kernel.platform.releaseContext(context);
    return t;
  }
  const result = execve(t, AT_FDCWD, path, argv, envp, 0);
  if (result === BLOCKED) return t;
  t.group.onExit = null;
  exitGroup(t, 127 << 8);
  return result;
}

/** Finds program and interpreter, checks sizes. Takes over `file`. */
function prepare(t: Task, file: FileDescription, filename: string, argv: string[], envp: string[], inaccessible: boolean): Exec | number {
  const head = new Uint8Array(HEAD_SIZE);
  let args = argv.length === 0 ? [''] : argv;
  let name = filename;
  for (let depth = 0; ; depth++) {
    const length = readAt(file, head, HEAD_SIZE, 0);
    const failed = length < 0 ? length : checkArguments(t, args, envp);
    if (failed < 0) return drop(file, failed);
    if (head[0] !== 0x23 || head[1] !== 0x21) {
      const program = openProgram(t, file, head, length);
      if (typeof program === 'number') return program;
      const denied = checkFileCaps(t, file);
      if (denied < 0) {
        program.interpreter?.file.decRef(t);
        return drop(file, denied);
      }
      const creds = credentialsForExec(t, program.program.file);
      return {
        ...program,
        argv: args,
        envp,
        filename,
        creds,
        context: null,
        mm: null,
        loaded: null,
        formerTid: t.pid.numberIn(t.tracee?.tracer.pidns ?? t.pidns),
        tries: 0,
      };
    }
    if (depth === MAX_SCRIPTS) return drop(file, -ELOOP);
    const script = parseScript(head, length);
    file.decRef(t);
    if (script === null) return -ENOEXEC;
    if (inaccessible) return -ENOENT;
    args =
      script.argument === null
        ? [script.interpreter, name, ...args.slice(1)]
        : [script.interpreter, script.argument, name, ...args.slice(1)];
    name = script.interpreter;
    const next = t.kernel.vfs.openExec(t, null, script.interpreter, LOOKUP_FOLLOW);
    if (typeof next === 'number') return next;
    file = next;
  }
}

function drop(file: FileDescription, result: number): number {
  file.decRef(null);
  return result;
}

/** fs/exec.c:bprm_stack_limits(): a quarter of the stack's limit, at most 6 MiB; one string at most 128 KiB. */
function checkArguments(t: Task, argv: readonly string[], envp: readonly string[]): number {
  const limit = Math.max(Math.min(t.group.limits.soft[RLIMIT_STACK]! / 4, 6 * 1024 * 1024), 32 * PAGE_SIZE);
  if (argumentBytes(argv, envp) > limit) return -E2BIG;
  for (const s of argv) if (s.length >= MAX_STRING) return -E2BIG;
  for (const s of envp) if (s.length >= MAX_STRING) return -E2BIG;
  return 0;
}

/** "#!", blanks, the interpreter, blanks, one optional argument: fs/binfmt_script.c:load_script(). null for ENOEXEC. */
function parseScript(head: Uint8Array, length: number): { interpreter: string; argument: string | null } | null {
  let end = head.subarray(0, length).indexOf(0x0a);
  if (end < 0) {
    end = length;
    // A line that does not end in the buffer is whole only if the interpreter's name is.
    const text = latin1(head, 2, end).replace(/^[ \t]+/, '');
    if (length === HEAD_SIZE && !/[ \t\0]/.test(text)) return null;
  }
  const line = latin1(head, 2, end)
    .split('\0')[0]!
    .replace(/^[ \t]+|[ \t]+$/g, '');
  if (line === '') return null;
  const blank = line.search(/[ \t]/);
  if (blank < 0) return { interpreter: line, argument: null };
  return { interpreter: line.slice(0, blank), argument: line.slice(blank).replace(/^[ \t]+/, '') };
}

/** Parses the image and opens its interpreter. Takes over `file`. */
function openProgram(
  t: Task,
  file: FileDescription,
  head: Uint8Array,
  length: number,
): { program: Program; interpreter: Program | null } | number {
  const image = readElf(file, head, length);
  if (typeof image === 'number') return drop(file, image);
  const program = { file, image };
  if (image.interpreter === null) return { program, interpreter: null };
  const other = t.kernel.vfs.openExec(t, null, image.interpreter, LOOKUP_FOLLOW);
  if (typeof other === 'number') return drop(file, other);
  const otherHead = new Uint8Array(HEAD_SIZE);
  const otherLength = readAt(other, otherHead, HEAD_SIZE, 0);
  const otherImage = otherLength < 0 ? otherLength : readElf(other, otherHead, otherLength);
  if (typeof otherImage === 'number') {
    drop(other, 0);
    return drop(file, otherImage === -ENOEXEC ? -ELIBBAD : otherImage);
  }
  return { program, interpreter: { file: other, image: otherImage } };
}

function releaseFiles(t: Task, exec: Exec): void {
  exec.program.file.decRef(t);
  // Only the program itself stays closed to writers while it runs: fs/binfmt_elf.c:load_elf_binary().
  exec.interpreter?.file.allowWrites();
  exec.interpreter?.file.decRef(t);
}

/** de_thread(): the other threads end; the last one to go wakes us. */
function beginExec(t: Task, exec: Exec): number {
  const group = t.group;
  // Another thread is about to do the same, or the process ends: this one dies on its way out.
  if (group.execTask !== null || group.exiting) {
    releaseFiles(t, exec);
    return -EAGAIN;
  }
  t.object = exec;
  if (group.tasks.length > 1) {
    group.execTask = t;
    for (const other of group.tasks) if (other !== t) wakeForSignal(other, true);
    watchExit(group);
    return t.parkUninterruptible(resumeAlone);
  }
  if (group.leader !== t) becomeLeader(t, group);
  return loadExec(t, exec);
}

function resumeAlone(t: Task, _why: number): number {
  const exec = t.object as Exec;
  const group = t.group;
  if (group.exiting) {
    group.execTask = null;
    releaseFiles(t, exec);
    return exitGroup(t, group.groupExitStatus);
  }
  if (group.tasks.length > 1) return t.parkUninterruptible(resumeAlone);
  group.execTask = null;
  if (group.leader !== t) becomeLeader(t, group);
  return loadExec(t, exec);
}

/** Another thread than the leader has called exec: it takes the leader's number, and its own is free. */
function becomeLeader(t: Task, group: ThreadGroup): void {
  const kernel = t.kernel;
  kernel.tasks.delete(t.tid);
  t.pid.task = null;
  t.pid.releaseIfUnused();
  kernel.users.get(t.creds.uid).processes--;
  group.container.tasks--;
  t.pid = group.pid;
  t.tid = group.tgid;
  group.pid.task = t;
  kernel.tasks.set(t.tid, t);
  group.leader = t;
}

function newMemory(platform: Platform, space: AddressSpace): MemoryManager {
  const { topAddress, vdsoAddr, vdsoSize, vvarSize } = platform;
  return vdsoAddr === 0
    ? new MemoryManager(space, topAddress)
    : new MemoryManager(space, topAddress, vdsoAddr - vvarSize, vdsoAddr + vdsoSize);
}

/** Takes a fresh stub and queues the layout of its memory. */
function loadExec(t: Task, exec: Exec): number {
  const platform = t.kernel.platform;
  const context = platform.newAddressSpace(t.group.container.nursery);
  if (context === -EAGAIN && ++exec.tries <= MAX_TRIES) return tryLater(t);
  if (typeof context === 'number') {
    releaseFiles(t, exec);
    return context;
  }
  const mm = newMemory(platform, context.space);
  mm.keepFlags(t.mm);
  const send = (c: Context, fd: number) => platform.sendFd(c, fd);
  const loaded = loadProgram(t, mm, context, send, exec.program, exec.interpreter, t.group.limits.soft[RLIMIT_STACK]!);
  if (typeof loaded === 'number') {
    releaseFiles(t, exec);
    mm.decRef();
    platform.releaseContext(context);
    return loaded;
  }
  exec.context = context;
  exec.mm = mm;
  exec.loaded = loaded;
  exitFutexes(t);
  moveTo(t, context, mm);
  return t.hostCalls(resumeLoaded);
}

/** Between two tries to get a stub from a host that has no room for one, and how many there are. */
const RETRY_NS = 1e7;
const MAX_TRIES = 200;

/**
 * The host had no room for the program's stub, which on Linux needs none: the one that the task has left makes some as it ends.
 * True when it is tried again.
 */
export function waitsForExec(t: Task): boolean {
  if (t.resume !== resumeLoaded) return false;
  const exec = t.object as Exec;
  if (++exec.tries > MAX_TRIES) return false;
  tryLater(t);
  return true;
}

function tryLater(t: Task): number {
  t.parkUninterruptible(resumeRetry);
  t.kernel.timers.start(t.timer, t.kernel.clock.monotonicNs() + RETRY_NS);
  return BLOCKED;
}

function resumeRetry(t: Task, _why: number): number {
  const exec = t.object as Exec;
  if (t.group.exiting) {
    releaseFiles(t, exec);
    return exitGroup(t, t.group.groupExitStatus);
  }
  const result = loadExec(t, exec);
  // Nobody is left to be told of an error but who still has its former memory.
  return result === BLOCKED || t.context.birthError === 0 ? result : exitGroup(t, SIGKILL);
}

/** The task leaves its old memory; a vfork parent goes on with it. */
function moveTo(t: Task, context: Context, mm: MemoryManager): void {
  const kernel = t.kernel;
  const old = t.context;
  noteUsage(t);
  t.priorCpuNs += kernel.platform.cpuTimeNs(old);
  kernel.taskOfContext[old.index] = undefined;
  kernel.platform.releaseContext(old);
  t.mm.decRef();
  t.context = context;
  t.mm = mm;
  if (t.tracee !== null) mm.showCode();
  t.io.setMemory(mm);
  kernel.taskOfContext[context.index] = t;
  // The new stub thread is nobody's child: it starts on all processors.
  if (t.sched.isPinned && kernel.machine.hasHostNumbers) kernel.platform.setAffinity(context, t.sched.affinity);
  kernel.platform.setNice(context, t.sched.hostNice);
}

/** The memory is laid out: the rest of begin_new_exec() and start_thread(). */
function resumeLoaded(t: Task, _why: number): number {
  const exec = t.object as Exec;
  const { loaded, creds } = exec;
  t.object = null;
  if (t.context.callsDone !== t.context.callCount || loaded === null || !populate(t, exec, loaded)) {
    releaseFiles(t, exec);
    return exitGroup(t, SIGKILL);
  }
  const group = t.group;
  creds.install(t);
  if (group.handlers.refs > 1) {
    group.handlers.refs--;
    group.handlers = group.handlers.clone();
  }
  group.handlers.reset();
  t.signals.altStackAddr = 0;
  t.signals.altStackSize = 0;
  t.signals.altStackFlags = 2;
  t.clearTidAddr = 0;
  t.userDispatch = null;
  t.robustListAddr = 0;
  t.rseq = null;
  enterTimeForChildren(t, null);
  group.posixTimers?.release();
  group.didExec = true;
  t.kernel.processesChanged();
  if (t.fds.refs > 1) {
    const own = t.fds.clone();
    t.fds.decRef(t);
    t.fds = own;
  }
  t.fds.closeOnExec(t);
  group.exe = exec.program.file.path;
  group.exePath = exec.filename;
  t.comm = exec.filename.slice(exec.filename.lastIndexOf('/') + 1).slice(0, TASK_COMM_LEN - 1);
  releaseFiles(t, exec);
  vforkDone(t);
  return execStop(t, exec.formerTid);
}

/** Writes .bss tails and the first stack page(s), sets the registers. False when the host refuses. */
function populate(t: Task, exec: Exec, loaded: Loaded): boolean {
  const platform = t.kernel.platform;
  const space = t.mm.space;
  for (const zero of loaded.zeros) {
    const zeros = new Uint8Array(zero.length);
    const written = zero.writable ? space.writeSome(zero.addr, zeros, 0, zero.length) : space.writeForced(zero.addr, zeros, 0, zero.length);
    if (written !== zero.length) return false;
  }
  const random = new Uint8Array(16);
  fillRandom(random, 0, 16);
  const creds = exec.creds.creds;
  const auxv: [number, number][] = [
    [AT_SYSINFO_EHDR, platform.vdsoAddr],
    [AT_HWCAP, platform.hwcap],
    [AT_PAGESZ, PAGE_SIZE],
    [AT_CLKTCK, CLK_TCK],
    [AT_PHDR, loaded.phdrAddr],
    [AT_PHENT, PHDR_SIZE],
    [AT_PHNUM, exec.program.image.phdrCount],
    [AT_BASE, loaded.interpreterBase],
    [AT_FLAGS, 0],
    [AT_ENTRY, loaded.entry],
    [AT_UID, creds.userns.uidFromKernel(creds.uid)],
    [AT_EUID, creds.userns.uidFromKernel(creds.euid)],
    [AT_GID, creds.userns.gidFromKernel(creds.gid)],
    [AT_EGID, creds.userns.gidFromKernel(creds.egid)],
    [AT_SECURE, exec.creds.secure ? 1 : 0],
    [AT_HWCAP2, platform.hwcap2],
    [AT_MINSIGSTKSZ, platform.fpStateSize + SIGFRAME_SIZE],
  ];
  if (platform.rseqAlign !== 0) auxv.push([AT_RSEQ_FEATURE_SIZE, platform.rseqFeatureSize], [AT_RSEQ_ALIGN, platform.rseqAlign]);
  // A program of a shifted clock asks for the time: vdso-clock.ts.
  if (platform.vdsoAddr === 0 || t.ns.timeForChildren.isShifted) auxv.shift();
  const stack = buildStack(loaded.stackTop, exec.argv, exec.envp, exec.filename, auxv, random);
  if (space.writeSome(stack.start, stack.bytes, 0, stack.bytes.length) !== stack.bytes.length) return false;
  const group = t.group;
  group.argStart = stack.argStart;
  group.argEnd = stack.argEnd;
  group.envStart = stack.envStart;
  group.envEnd = stack.envEnd;
  group.auxv = stack.auxv;
  t.mm.stackStart = stack.start;
  setInitialRegisters(t.context, loaded.start, stack.start);
  return true;
}

/** arch/x86/kernel/process_64.c:start_thread(), ELF_PLAT_INIT(). */
function setInitialRegisters(c: Context, rip: number, rsp: number): void {
  for (let n = R15; n <= ORIG_RAX; n++) c.setReg(n, 0);
  c.setReg(RIP, rip);
  c.setReg(RSP, rsp);
  c.setReg(EFLAGS, INITIAL_EFLAGS);
  c.setReg(CS, USER_CS);
  c.setReg(SS, USER_DS);
  c.setReg(FS_BASE, 0);
  c.setReg(GS_BASE, 0);
  c.setReg(DS, 0);
  c.setReg(ES, 0);
  c.setReg(FS, 0);
  c.setReg(GS, 0);
}
