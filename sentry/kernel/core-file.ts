// The head of a core file, fs/binfmt_elf.c:elf_core_dump(): the ELF header, a program header for the
// notes and for each mapping, then the notes, by which a debugger knows threads, registers and files.

import { PRPSINFO, PRSTATUS, PSARGS_SIZE } from '../abi/core.ts';
import {
  EHDR_EHSIZE,
  EHDR_MACHINE,
  EHDR_PHENTSIZE,
  EHDR_PHNUM,
  EHDR_PHOFF,
  EHDR_SIZE,
  EHDR_TYPE,
  EHDR_VERSION,
  ELFCLASS64,
  ELFDATA2LSB,
  EM_X86_64,
  ET_CORE,
  EV_CURRENT,
  NT_AUXV,
  NT_FILE,
  NT_PRFPREG,
  NT_PRPSINFO,
  NT_PRSTATUS,
  NT_SIGINFO,
  NT_X86_XSTATE,
  PF_R,
  PF_W,
  PF_X,
  PHDR_ALIGN,
  PHDR_FILESZ,
  PHDR_FLAGS,
  PHDR_MEMSZ,
  PHDR_OFFSET,
  PHDR_SIZE,
  PHDR_TYPE,
  PHDR_VADDR,
  PT_LOAD,
  PT_NOTE,
} from '../abi/elf.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../abi/mman.ts';
import { put64 } from '../base/int64.ts';
import { putLatin1 } from '../base/latin1.ts';
import { FileBacking } from '../mm/backing.ts';
import type { Backing, Vma } from '../mm/vma.ts';
import { pathName } from '../vfs/path-name.ts';
import { SIGINFO_SIZE, type SigInfo } from './signal-queue.ts';
import type { Task } from './task.ts';
import { cpuTimeNs } from './task-exit.ts';

const FPREGS_SIZE = 512;
const MAX_XSTATE = 16384;
/** /proc/[pid]/coredump_filter: MMF_DUMP_*. */
const DUMP_ANON_PRIVATE = 1;
const DUMP_ANON_SHARED = 2;
const DUMP_MAPPED_PRIVATE = 4;
const DUMP_MAPPED_SHARED = 8;
const DUMP_ELF_HEADERS = 16;

const xstate = new Uint8Array(MAX_XSTATE);

export interface Note {
  readonly name: string;
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** A mapping and how much of it, from its start, is in the file. */
export interface Segment {
  readonly start: number;
  readonly end: number;
  readonly prot: number;
  readonly fileSize: number;
  /** Pages that are not there are zeros, and need not be read. */
  readonly isSparse: boolean;
}

// ---- notes

/** What is known of a thread at its end: its registers are complete. */
export function threadNotes(t: Task, signo: number): Note[] {
  const notes = [{ name: 'CORE', type: NT_PRSTATUS, bytes: prstatus(t, signo) }];
  const size = t.kernel.platform.readXstate(t.context, xstate);
  if (size < FPREGS_SIZE) return notes;
  new DataView(notes[0]!.bytes.buffer).setInt32(PRSTATUS.fpvalid, 1, true);
  notes.push({ name: 'CORE', type: NT_PRFPREG, bytes: xstate.slice(0, FPREGS_SIZE) });
  notes.push({ name: 'LINUX', type: NT_X86_XSTATE, bytes: xstate.slice(0, size) });
  return notes;
}

function prstatus(t: Task, signo: number): Uint8Array {
  const { group, signals } = t;
  const ns = group.pidns;
  const bytes = new Uint8Array(PRSTATUS.size);
  const v = new DataView(bytes.buffer);
  v.setInt32(PRSTATUS.signo, signo, true);
  v.setUint16(PRSTATUS.cursig, signo, true);
  v.setInt32(PRSTATUS.sigpend, signals.pending.lo, true);
  v.setInt32(PRSTATUS.sigpend + 4, signals.pending.hi, true);
  v.setInt32(PRSTATUS.sighold, signals.blockedLo, true);
  v.setInt32(PRSTATUS.sighold + 4, signals.blockedHi, true);
  v.setInt32(PRSTATUS.pid, t.pid.numberIn(ns), true);
  v.setInt32(PRSTATUS.ppid, group.parentPidIn(ns), true);
  v.setInt32(PRSTATUS.pgrp, group.processGroup.pid.numberIn(ns), true);
  v.setInt32(PRSTATUS.sid, group.session.pid.numberIn(ns), true);
  putTime(v, PRSTATUS.utime, cpuTimeNs(t));
  putTime(v, PRSTATUS.cutime, group.childUsage.userNs);
  putTime(v, PRSTATUS.cstime, group.childUsage.systemNs);
  t.context.saveRegs(bytes, PRSTATUS.reg);
  return bytes;
}

/** struct timeval. */
function putTime(v: DataView, at: number, ns: number): void {
  put64(v, at, Math.floor(ns / 1e9));
  put64(v, at + 8, Math.floor((ns % 1e9) / 1000));
}

function psinfo(t: Task): Uint8Array {
  const { group, creds } = t;
  const ns = group.pidns;
  const bytes = new Uint8Array(PRPSINFO.size);
  const v = new DataView(bytes.buffer);
  bytes[PRPSINFO.sname] = 'R'.charCodeAt(0);
  v.setInt8(PRPSINFO.nice, t.sched.nice);
  v.setUint32(PRPSINFO.uid, creds.userns.uidFromKernel(creds.uid), true);
  v.setUint32(PRPSINFO.gid, creds.userns.gidFromKernel(creds.gid), true);
  v.setInt32(PRPSINFO.pid, group.pid.numberIn(ns), true);
  v.setInt32(PRPSINFO.ppid, group.parentPidIn(ns), true);
  v.setInt32(PRPSINFO.pgrp, group.processGroup.pid.numberIn(ns), true);
  v.setInt32(PRPSINFO.sid, group.session.pid.numberIn(ns), true);
  putLatin1(bytes, PRPSINFO.fname, t.comm);
  const length = Math.min(group.argEnd - group.argStart, PSARGS_SIZE - 1);
  const got = length <= 0 ? 0 : t.mm.space.readSome(group.argStart, bytes, PRPSINFO.psargs, length);
  for (let i = PRPSINFO.psargs; i < PRPSINFO.psargs + got; i++) if (bytes[i] === 0) bytes[i] = 0x20;
  return bytes;
}

function siginfo(info: SigInfo): Uint8Array {
  const bytes = new Uint8Array(SIGINFO_SIZE);
  info.encode(new DataView(bytes.buffer), 0);
  return bytes;
}

/** As /proc/[pid]/maps names it. */
function nameOf(t: Task, backing: Backing): string {
  return backing instanceof FileBacking && backing.file.path !== undefined ? pathName(backing.file.path, t.fs.root) : backing.name();
}

/** Count and page size; start, end and page offset of each mapped file; then their names. fill_files_note(). */
function mappedFiles(t: Task): Uint8Array {
  const mapped = t.mm.vmas.list.filter((vma) => vma.backing !== null);
  const names = mapped.map((vma) => nameOf(t, vma.backing!));
  const bytes = new Uint8Array(16 + mapped.length * 24 + names.reduce((sum, name) => sum + name.length + 1, 0));
  const v = new DataView(bytes.buffer);
  put64(v, 0, mapped.length);
  put64(v, 8, PAGE_SIZE);
  let at = 16;
  for (const vma of mapped) {
    put64(v, at, vma.start);
    put64(v, at + 8, vma.end);
    put64(v, at + 16, Math.floor(vma.offset / PAGE_SIZE));
    at += 24;
  }
  for (const name of names) at += putLatin1(bytes, at, name) + 1;
  return bytes;
}

/** The notes in Linux's order: those of the thread that has the signal, the process's own after its status, then the others. */
export function allNotes(t: Task, info: SigInfo, threads: readonly Note[][]): Note[] {
  const [first, ...others] = threads;
  const [status, ...registers] = first!;
  return [
    status!,
    { name: 'CORE', type: NT_PRPSINFO, bytes: psinfo(t) },
    { name: 'CORE', type: NT_SIGINFO, bytes: siginfo(info) },
    { name: 'CORE', type: NT_AUXV, bytes: t.group.auxv },
    { name: 'CORE', type: NT_FILE, bytes: mappedFiles(t) },
    ...registers,
    ...others.flat(),
  ];
}

/** struct elf64_note, name and contents, each padded to four bytes. */
function encodeNotes(notes: readonly Note[]): Uint8Array {
  const up = (n: number): number => Math.ceil(n / 4) * 4;
  const bytes = new Uint8Array(notes.reduce((sum, note) => sum + 12 + up(note.name.length + 1) + up(note.bytes.length), 0));
  const v = new DataView(bytes.buffer);
  let at = 0;
  for (const note of notes) {
    v.setUint32(at, note.name.length + 1, true);
    v.setUint32(at + 4, note.bytes.length, true);
    v.setUint32(at + 8, note.type, true);
    putLatin1(bytes, at + 12, note.name);
    at += 12 + up(note.name.length + 1);
    bytes.set(note.bytes, at);
    at += up(note.bytes.length);
  }
  return bytes;
}

// ---- memory

/** fs/coredump.c:vma_dump_size(). Which pages were written the host knows: a private file mapping that was ever writable counts as written. */
function dumpSize(v: Vma, filter: number, startsElf: (v: Vma) => boolean): number {
  const whole = v.end - v.start;
  if (v.dontDump) return 0;
  if (v.shared) {
    const isAnonymous = v.backing === null || v.backing.name().endsWith(' (deleted)');
    return (filter & (isAnonymous ? DUMP_ANON_SHARED : DUMP_MAPPED_SHARED)) !== 0 ? whole : 0;
  }
  if (v.backing === null) return v.mayDiffer && (filter & DUMP_ANON_PRIVATE) !== 0 ? whole : 0;
  if (v.mayDiffer && (filter & DUMP_ANON_PRIVATE) !== 0) return whole;
  if ((filter & DUMP_MAPPED_PRIVATE) !== 0) return whole;
  return (filter & DUMP_ELF_HEADERS) !== 0 && v.offset === 0 && startsElf(v) ? PAGE_SIZE : 0;
}

/** What of the process's memory its filter wants in the file. */
export function segments(t: Task): Segment[] {
  const magic = new Uint8Array(4);
  const startsElf = (v: Vma): boolean =>
    (v.prot & PROT_READ) !== 0 && t.mm.space.readSome(v.start, magic, 0, 4) === 4 && new DataView(magic.buffer).getUint32(0) === 0x7f454c46;
  const list: Segment[] = t.mm.vmas.list.map((v) => ({
    start: v.start,
    end: v.end,
    prot: v.prot,
    fileSize: dumpSize(v, t.mm.coredumpFilter, startsElf),
    isSparse: v.backing === null,
  }));
  // always_dump_vma().
  const { vdsoAddr, vdsoSize } = t.kernel.platform;
  if (t.mm.hasVdso)
    list.push({ start: vdsoAddr, end: vdsoAddr + vdsoSize, prot: PROT_READ | PROT_EXEC, fileSize: vdsoSize, isSparse: false });
  return list.sort((a, b) => a.start - b.start);
}

/** All that comes before the memory, which begins at the next page of the file. */
export function encodeHead(parts: readonly Segment[], notes: readonly Note[]): Uint8Array {
  const noteBytes = encodeNotes(notes);
  const notesAt = EHDR_SIZE + (parts.length + 1) * PHDR_SIZE;
  const dataAt = Math.ceil((notesAt + noteBytes.length) / PAGE_SIZE) * PAGE_SIZE;
  const bytes = new Uint8Array(dataAt);
  const v = new DataView(bytes.buffer);
  v.setUint32(0, 0x7f454c46);
  bytes[4] = ELFCLASS64;
  bytes[5] = ELFDATA2LSB;
  bytes[6] = EV_CURRENT;
  v.setUint16(EHDR_TYPE, ET_CORE, true);
  v.setUint16(EHDR_MACHINE, EM_X86_64, true);
  v.setUint32(EHDR_VERSION, EV_CURRENT, true);
  put64(v, EHDR_PHOFF, EHDR_SIZE);
  v.setUint16(EHDR_EHSIZE, EHDR_SIZE, true);
  v.setUint16(EHDR_PHENTSIZE, PHDR_SIZE, true);
  // vm.max_map_count keeps the number below PN_XNUM.
  v.setUint16(EHDR_PHNUM, parts.length + 1, true);
  let at = EHDR_SIZE;
  v.setUint32(at + PHDR_TYPE, PT_NOTE, true);
  put64(v, at + PHDR_OFFSET, notesAt);
  put64(v, at + PHDR_FILESZ, noteBytes.length);
  v.setUint32(at + PHDR_ALIGN, 4, true);
  let offset = dataAt;
  for (const { start, end, prot, fileSize } of parts) {
    at += PHDR_SIZE;
    const flags = ((prot & PROT_READ) !== 0 ? PF_R : 0) | ((prot & PROT_WRITE) !== 0 ? PF_W : 0) | ((prot & PROT_EXEC) !== 0 ? PF_X : 0);
    v.setUint32(at + PHDR_TYPE, PT_LOAD, true);
    v.setUint32(at + PHDR_FLAGS, flags, true);
    put64(v, at + PHDR_OFFSET, offset);
    put64(v, at + PHDR_VADDR, start);
    put64(v, at + PHDR_FILESZ, fileSize);
    put64(v, at + PHDR_MEMSZ, end - start);
    put64(v, at + PHDR_ALIGN, PAGE_SIZE);
    offset += fileSize;
  }
  bytes.set(noteBytes, notesAt);
  return bytes;
}
