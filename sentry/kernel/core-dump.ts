// Core files: fs/coredump.c:do_coredump(). The thread that a fatal signal has found ends all others,
// and each leaves its registers behind on its way out. Once it is alone it writes the file, into its
// own working directory and with its own rights, some megabytes at a time, so that others go on.

import { RAX } from '../../platform/platform.ts';
import { O_CREAT, O_EXCL, O_LARGEFILE, O_NOFOLLOW, O_WRONLY } from '../abi/fcntl.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { PROT_READ } from '../abi/mman.ts';
import { RLIMIT_CORE } from '../abi/sched.ts';
import { BLOCKED, REGISTERS_SET } from '../base/errors.ts';
import { debug } from '../base/log.ts';
import { residentPages } from '../host/memory.ts';
import { BufferIo } from '../vfs/buffer-io.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { allNotes, encodeHead, type Note, type Segment, segments, threadNotes } from './core-file.ts';
import type { SigInfo } from './signal-queue.ts';
import type { Task } from './task.ts';
import { exitThread } from './task-exit.ts';
import { startGroupExit } from './task-signals.ts';
import type { ThreadGroup } from './thread-group.ts';

const WAIT_STATUS_CORE = 0x80;
const SUID_DUMP_USER = 1;
/** Memory that is looked at, or written, before others have a turn. */
const SLICE = 8 * 1024 * 1024;
/** What is copied at once; and what is asked for as a whole whether any of it is there: reserved address space mostly is not. */
const CHUNK = 64 * PAGE_SIZE;
const BLOCK = 256 * CHUNK;

const buffer = new Uint8Array(CHUNK);
const io = new BufferIo(buffer);

/** A core file in the making. */
export class CoreDump {
  readonly task: Task;
  readonly info: SigInfo;
  readonly path: string;
  readonly threads: Note[][] = [];
  private file: FileDescription | null = null;
  private parts: Segment[] = [];
  /** Where in the memory the dump has come to: the part, and the offset in it; and in the file. */
  private part = 0;
  private done = 0;
  private offset = 0;
  /** What may still be written: RLIMIT_CORE counts no holes. */
  private left = 0;
  /** A hole ends the file so far. */
  private endsInHole = false;

  constructor(task: Task, info: SigInfo, path: string) {
    this.task = task;
    this.info = info;
    this.path = path;
  }

  /** A thread of the process is about to end; `result` is that of its call, or REGISTERS_SET. */
  note(t: Task, result: number): void {
    if (result !== REGISTERS_SET) t.context.setReg(RAX, result);
    this.threads.push(threadNotes(t, this.info.signo));
  }

  /** Opens the file and writes all but the memory. 0 or -errno. */
  begin(): number {
    const t = this.task;
    const { vfs } = t.kernel;
    t.mm.showCode();
    // A link in the place of the file must not lead elsewhere, and what stood there may be open to others.
    vfs.unlinkAt(t, null, this.path);
    const file = vfs.openAt(t, null, this.path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_LARGEFILE, 0o600);
    if (typeof file === 'number') return file;
    this.file = file;
    this.left = t.group.limits.soft[RLIMIT_CORE]!;
    this.parts = segments(t);
    const head = encodeHead(this.parts, allNotes(t, this.info, this.threads));
    for (let at = 0; at < head.length; at += CHUNK) {
      const n = Math.min(CHUNK, head.length - at);
      buffer.set(head.subarray(at, at + n));
      if (!this.write(0, n)) break;
      this.offset += n;
    }
    return 0;
  }

  /** Writes more of the memory: false when there is no more, or no room for it. */
  step(): boolean {
    for (let budget = SLICE; budget > 0; ) {
      const part = this.parts[this.part];
      if (part === undefined) return false;
      const rest = part.fileSize - this.done;
      if (rest <= 0) {
        this.part++;
        this.done = 0;
        continue;
      }
      const addr = part.start + this.done;
      const { isSparse } = part;
      let n = Math.min(rest, BLOCK);
      if (isSparse && !this.hasPages(addr, n)) {
        this.skip(n);
        budget -= n / 64;
        continue;
      }
      n = Math.min(rest, CHUNK);
      budget -= n;
      if (isSparse && !this.hasPages(addr, n)) this.skip(n);
      else if (!this.copy(addr, n, (part.prot & PROT_READ) !== 0)) return false;
    }
    return true;
  }

  /** Gives the file its full length and closes it. */
  end(): void {
    if (this.endsInHole && this.part >= this.parts.length) {
      buffer[0] = 0;
      this.offset--;
      this.write(0, 1);
    }
    this.file?.decRef(this.task);
    this.file = null;
  }

  private hasPages(addr: number, n: number): boolean {
    return residentPages(this.task.mm.hostTid, addr, n / PAGE_SIZE, 1) !== 0;
  }

  private skip(n: number): void {
    this.done += n;
    this.offset += n;
    this.endsInHole = true;
  }

  /** Copies [addr, addr + n) to the file: pages of zeros, and those that nobody can read, become holes. */
  private copy(addr: number, n: number, isReadable: boolean): boolean {
    const { space } = this.task.mm;
    let got = isReadable ? space.readSome(addr, buffer, 0, n) : 0;
    got -= got % PAGE_SIZE;
    while (got < n) {
      if (isReadable || !this.hasPages(addr + got, PAGE_SIZE) || space.readForced(addr + got, buffer, got, PAGE_SIZE) !== PAGE_SIZE)
        buffer.fill(0, got, got + PAGE_SIZE);
      got += PAGE_SIZE;
    }
    for (let at = 0; at < n; ) {
      let end = at;
      while (end < n && !isZero(end)) end += PAGE_SIZE;
      if (end > at) {
        if (!this.write(at, end - at)) return false;
        this.done += end - at;
        this.offset += end - at;
        at = end;
      } else {
        this.skip(PAGE_SIZE);
        at += PAGE_SIZE;
      }
    }
    return true;
  }

  /** buffer[at, at + n) to the present offset: false when not all of it could be written. */
  private write(at: number, n: number): boolean {
    const wanted = Math.min(n, this.left);
    let put = 0;
    while (put < wanted) {
      const step = this.file!.pwrite(this.task, io.set(at + put, wanted - put), this.offset + put);
      if (step <= 0) break;
      put += step;
    }
    this.left -= put;
    this.endsInHole = false;
    return put === n;
  }
}

function isZero(at: number): boolean {
  for (let i = at; i < at + PAGE_SIZE; i++) if (buffer[i] !== 0) return false;
  return true;
}

/** Whether Linux would write a file: for a process that its user may look into, and a limit that lets a page be written. */
function mayDump(group: ThreadGroup): boolean {
  return group.dumpable === SUID_DUMP_USER && group.limits.soft[RLIMIT_CORE]! >= PAGE_SIZE;
}

/** The process ends by a signal that dumps core. Like exitGroup(), or BLOCKED while others end or the file is written. */
export function dumpCore(t: Task, info: SigInfo, result: number): number {
  const { group } = t;
  const path = mayDump(group) ? corePath(t, info.signo) : '';
  startGroupExit(group, path === '' ? info.signo : info.signo | WAIT_STATUS_CORE);
  if (path === '') return exitThread(t, group.groupExitStatus);
  const dump = new CoreDump(t, info, path);
  group.dump = dump;
  dump.note(t, result);
  return group.tasks.length > 1 ? t.parkUninterruptible(resumeAlone) : write(t, dump);
}

function resumeAlone(t: Task, _why: number): number {
  return t.group.tasks.length > 1 ? t.parkUninterruptible(resumeAlone) : write(t, t.group.dump!);
}

function write(t: Task, dump: CoreDump): number {
  const error = dump.begin();
  if (error < 0) {
    debug(`core file ${dump.path} of process ${t.group.tgid}: error ${-error}`);
    t.group.groupExitStatus &= ~WAIT_STATUS_CORE;
    return finish(t, dump);
  }
  return resumeWrite(t, 0);
}

function resumeWrite(t: Task, _why: number): number {
  const dump = t.group.dump!;
  if (!dump.step()) return finish(t, dump);
  t.parkUninterruptible(resumeWrite);
  t.kernel.timers.start(t.timer, t.kernel.clock.monotonicNs());
  return BLOCKED;
}

function finish(t: Task, dump: CoreDump): number {
  dump.end();
  t.group.dump = null;
  return exitThread(t, t.group.groupExitStatus);
}

// ---- the name

/** format_corename(): kernel.core_pattern with what stands in it, or '' for a pipe or a socket, which have no reader here. */
function corePath(t: Task, signo: number): string {
  const { group, kernel, creds } = t;
  const pattern = kernel.sysctls.get('kernel.core_pattern') ?? '';
  if (pattern === '' || pattern.startsWith('|') || pattern.startsWith('@')) return '';
  let hasPid = false;
  const name = pattern.replace(/%(.?)/g, (_all, letter: string) => {
    switch (letter) {
      case '%':
        return '%';
      case 'p':
        hasPid = true;
        return `${group.pid.numberIn(group.pidns)}`;
      case 'P':
        return `${group.tgid}`;
      case 'i':
        return `${t.pid.numberIn(group.pidns)}`;
      case 'I':
        return `${t.tid}`;
      case 'u':
        return `${creds.userns.uidFromKernel(creds.uid)}`;
      case 'g':
        return `${creds.userns.gidFromKernel(creds.gid)}`;
      case 'd':
        return `${group.dumpable}`;
      case 's':
        return `${signo}`;
      case 't':
        return `${Math.floor(Date.now() / 1000)}`;
      case 'h':
        return flat(t.ns.uts.hostname);
      case 'e':
        return flat(t.comm);
      case 'f':
        return flat(group.exePath.slice(group.exePath.lastIndexOf('/') + 1));
      case 'E':
        return flat(group.exePath);
      case 'c':
        return limitText(group.limits.soft[RLIMIT_CORE]!);
      default:
        return '';
    }
  });
  return hasPid || kernel.sysctls.int('kernel.core_uses_pid') === 0 ? name : `${name}.${group.pid.numberIn(group.pidns)}`;
}

/** cn_esc_printf(): what a program chooses must not lead to another folder. */
function flat(text: string): string {
  const name = text.replaceAll('/', '!');
  return name === '.' ? '!' : name === '..' ? '!.' : name;
}

/** RLIM_INFINITY as an unsigned long. */
function limitText(limit: number): string {
  return Number.isFinite(limit) ? `${limit}` : '18446744073709551615';
}
