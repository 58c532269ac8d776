// /proc/[pid]/maps and its kin: fs/proc/task_mmu.c. Guest pages live in the stub, where faults are
// the host's business, so how much of a mapping is resident has to be asked of the host; where it
// does not say, a mapping that may be accessed counts as resident up to RESIDENT_GUESS.

import { major, minor } from '../abi/device.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { MAP_LOCKED, MAP_NORESERVE, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE } from '../abi/mman.ts';
import { residentPages } from '../host/memory.ts';
import type { Task } from '../kernel/task.ts';
import type { MemoryManager } from '../mm/memory-manager.ts';
import type { Backing, Vma } from '../mm/vma.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { pathName } from '../vfs/path-name.ts';

const KIB = 1024;
/** Larger mappings are mostly reserved address space: thread stacks, arenas, heaps of runtimes. */
const RESIDENT_GUESS = 2 * 1024 * KIB;
/** Pages asked about one by one; of larger mappings a sample of SAMPLE_PAGES is taken. */
const EXACT_PAGES = 65536;
const SAMPLE_PAGES = 16384;
/** How long sizes stay true enough: ps reads several files of a process in a row. */
const FRESH_NS = 50e6;
/** Two pages, as the build of every kernel since 5.3 has it. */
/** Where names begin: seq_setwidth() of show_map_vma(). */
const NAME_COLUMN = 73;

/** Resident bytes of a mapping. */
export function residentOf(mm: MemoryManager, v: Vma): number {
  if ((v.prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) === 0) return 0;
  const pages = (v.end - v.start) / PAGE_SIZE;
  const stride = pages <= EXACT_PAGES ? 1 : Math.ceil(pages / SAMPLE_PAGES);
  const resident = residentPages(mm.hostTid, v.start, pages, stride);
  if (resident >= 0) return Math.min(pages, resident * stride) * PAGE_SIZE;
  return (v.flags & MAP_NORESERVE) !== 0 ? 0 : Math.min(v.end - v.start, RESIDENT_GUESS);
}

/** Sizes of an address space in bytes, as status and statm show them. */
export class MemorySizes {
  total = 0;
  resident = 0;
  residentAnon = 0;
  residentFile = 0;
  residentShared = 0;
  data = 0;
  stack = 0;
  exe = 0;
  lib = 0;
}

interface Measured {
  readonly sizes: MemorySizes;
  readonly atNs: number;
}

const measured = new WeakMap<MemoryManager, Measured>();

/** The sizes of the address space of a task that is alive, at most FRESH_NS old. */
export function memorySizes(mm: MemoryManager): MemorySizes {
  const nowNs = performance.now() * 1e6;
  const known = measured.get(mm);
  if (known !== undefined && known.sizes.total === mm.vmas.total && nowNs - known.atNs < FRESH_NS) return known.sizes;
  const sizes = measure(mm);
  measured.set(mm, { sizes, atNs: nowNs });
  return sizes;
}

function measure(mm: MemoryManager): MemorySizes {
  const s = new MemorySizes();
  s.total = mm.vmas.total;
  for (const v of mm.vmas.list) {
    const size = v.end - v.start;
    const resident = residentOf(mm, v);
    s.resident += resident;
    if (v.backing === null) s.residentAnon += resident;
    else if (fileOf(v.backing) === undefined) s.residentShared += resident;
    else s.residentFile += resident;
    // vm_stat_account(): private writable is data, executable and not writable is code.
    if (v.growsDown || v.label === '[stack]') s.stack += size;
    else if ((v.prot & (PROT_WRITE | PROT_EXEC)) === PROT_EXEC) s.lib += size;
    else if ((v.prot & PROT_WRITE) !== 0 && !v.shared) s.data += size;
  }
  s.exe = Math.max(0, mm.codeEnd - mm.codeStart);
  s.lib = Math.max(0, s.lib - s.exe);
  return s;
}

/** The open file behind a mapping, if it is one. */
export function fileOf(backing: Backing): FileDescription | undefined {
  return (backing as { file?: FileDescription }).file;
}

function nameOf(t: Task, v: Vma): string {
  const file = v.backing === null ? undefined : fileOf(v.backing);
  if (file?.path !== undefined) return pathName(file.path, t.fs.root).replaceAll('\n', '\\012');
  if (v.label !== '') return v.label;
  return v.backing === null ? '' : v.backing.name();
}

function line(t: Task, v: Vma): string {
  const perms = `${(v.prot & PROT_READ) !== 0 ? 'r' : '-'}${(v.prot & PROT_WRITE) !== 0 ? 'w' : '-'}${(v.prot & PROT_EXEC) !== 0 ? 'x' : '-'}${(v.flags & MAP_SHARED) !== 0 ? 's' : 'p'}`;
  const dev = v.backing?.dev ?? 0;
  const offset = v.backing === null ? 0 : v.offset;
  const head = `${hex(v.start, 8)}-${hex(v.end, 8)} ${perms} ${hex(offset, 8)} ${hex(major(dev), 2)}:${hex(minor(dev), 2)} ${v.backing?.ino ?? 0} `;
  const name = nameOf(t, v);
  return name === '' ? `${head}\n` : `${head.padEnd(NAME_COLUMN)}${name}\n`;
}

export function mapsText(t: Task, target: Task): string {
  let text = '';
  const { vdsoAddr } = t.kernel.platform;
  let vdsoShown = vdsoAddr === 0 || target.stateLetter() === 'Z';
  for (const v of target.mm.vmas.list) {
    if (!vdsoShown && v.start > vdsoAddr) {
      text += vdsoLines(t);
      vdsoShown = true;
    }
    text += line(t, v);
  }
  return vdsoShown ? text : text + vdsoLines(t);
}

/** The vDSO and its data are the host's, and no mappings of the guest's making. */
function vdsoLines(t: Task): string {
  const { vdsoAddr, vdsoSize, vvarSize } = t.kernel.platform;
  const text = (start: number, end: number, perms: string, name: string): string => {
    const head = `${hex(start, 8)}-${hex(end, 8)} ${perms} 00000000 00:00 0 `;
    return `${head.padEnd(NAME_COLUMN)}${name}\n`;
  };
  const data = vvarSize === 0 ? '' : text(vdsoAddr - vvarSize, vdsoAddr, 'r--p', '[vvar]');
  return data + text(vdsoAddr, vdsoAddr + vdsoSize, 'r-xp', '[vdso]');
}

export function smapsText(t: Task, target: Task): string {
  let text = '';
  for (const v of target.mm.vmas.list) {
    text += line(t, v);
    text += sizeLines(v.end - v.start);
    const resident = residentOf(target.mm, v);
    text += usageLines(
      v.backing === null ? resident : 0,
      v.backing === null ? 0 : resident,
      true,
      (v.flags & MAP_LOCKED) !== 0 ? resident : 0,
    );
    text += `THPeligible:           0\nVmFlags: ${vmFlags(v)}\n`;
  }
  return text;
}

export function smapsRollupText(_t: Task, target: Task): string {
  const list = target.mm.vmas.list;
  if (list.length === 0) return '';
  let anon = 0;
  let file = 0;
  for (const v of list) {
    if (v.backing === null) anon += residentOf(target.mm, v);
    else file += residentOf(target.mm, v);
  }
  const head = `${hex(list[0]!.start, 8)}-${hex(list[list.length - 1]!.end, 8)} ---p 00000000 00:00 0 `;
  return `${head.padEnd(NAME_COLUMN)}[rollup]\n${usageLines(anon, file, false)}`;
}

function sizeLines(size: number): string {
  return `${kb('Size', size)}${kb('KernelPageSize', 4 * KIB)}${kb('MMUPageSize', 4 * KIB)}`;
}

function usageLines(anon: number, file: number, perMapping: boolean, locked = 0): string {
  const rss = anon + file;
  let text = `${kb('Rss', rss)}${kb('Pss', rss)}${kb('Pss_Dirty', anon)}`;
  if (!perMapping) text += `${kb('Pss_Anon', anon)}${kb('Pss_File', file)}${kb('Pss_Shmem', 0)}`;
  text += `${kb('Shared_Clean', 0)}${kb('Shared_Dirty', 0)}${kb('Private_Clean', file)}${kb('Private_Dirty', anon)}${kb('Referenced', rss)}${kb('Anonymous', anon)}`;
  for (const zero of [
    'KSM',
    'LazyFree',
    'AnonHugePages',
    'ShmemPmdMapped',
    'FilePmdMapped',
    'Shared_Hugetlb',
    'Private_Hugetlb',
    'Swap',
    'SwapPss',
  ])
    text += kb(zero, 0);
  return text + kb('Locked', locked);
}

function vmFlags(v: Vma): string {
  let text = '';
  if ((v.prot & PROT_READ) !== 0) text += 'rd ';
  if ((v.prot & PROT_WRITE) !== 0) text += 'wr ';
  if ((v.prot & PROT_EXEC) !== 0) text += 'ex ';
  // Of a file that cannot be written a shared mapping is one in name only: VM_MAYSHARE without VM_SHARED.
  if (v.shared && (v.maxProt & PROT_WRITE) !== 0) text += 'sh ';
  if ((v.maxProt & PROT_READ) !== 0) text += 'mr ';
  if ((v.maxProt & PROT_WRITE) !== 0) text += 'mw ';
  if ((v.maxProt & PROT_EXEC) !== 0) text += 'me ';
  if (v.shared) text += 'ms ';
  if (v.growsDown) text += 'gd ';
  if ((v.flags & MAP_NORESERVE) !== 0) text += 'nr ';
  if ((v.flags & MAP_LOCKED) !== 0) text += 'lo ';
  if (v.dontFork) text += 'dc ';
  if (v.wipeOnFork) text += 'wf ';
  if (v.dontDump) text += 'dd ';
  return `${text}sd `;
}

export function numaMapsText(t: Task, target: Task): string {
  let text = '';
  for (const v of target.mm.vmas.list) {
    const name = nameOf(t, v);
    const pages = residentOf(target.mm, v) / PAGE_SIZE;
    let what = '';
    if (v.label === '[heap]') what = ' heap';
    else if (v.label === '[stack]') what = ' stack';
    else if (name.startsWith('/')) what = ` file=${name}`;
    text += `${hex(v.start, 8)} default${what}${pages > 0 ? `${v.backing === null ? ` anon=${pages} dirty=${pages}` : ` mapped=${pages}`} N0=${pages} kernelpagesize_kB=4` : ''}\n`;
  }
  return text;
}

function kb(name: string, bytes: number): string {
  return `${`${name}:`.padEnd(16)}${String(Math.floor(bytes / KIB)).padStart(8)} kB\n`;
}

export function hex(n: number, width: number): string {
  return n.toString(16).padStart(width, '0');
}
