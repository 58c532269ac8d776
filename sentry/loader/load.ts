// Mapping a program into an empty address space: fs/binfmt_elf.c:load_elf_binary(). The host
// calls land in the new context's batch; what must be written once they are done is listed in
// the result.

import type { Context } from '../../platform/platform.ts';
import { ENOEXEC, ENOMEM } from '../abi/errno.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { MAP_NORESERVE, MAP_PRIVATE, PROT_EXEC, PROT_READ, PROT_WRITE } from '../abi/mman.ts';
import { fillRandom } from '../host/entropy.ts';
import type { Task } from '../kernel/task.ts';
import { FileBacking } from '../mm/backing.ts';
import { type MemoryManager, PROT_MASK, pageDown, pageUp, type SendFd } from '../mm/memory-manager.ts';
import type { FileDescription, Mappable } from '../vfs/file-description.ts';
import type { ElfImage } from './elf.ts';

/** Two thirds of the address space: ELF_ET_DYN_BASE. */
const PIE_BASE = 0x555555554000;
/** mmap_base() leaves at least this much below the stack's top. */
const MIN_STACK_GAP = 128 * 1024 * 1024;
/** Memory for the stack is promised, not given; more than this nobody fills. */
const MAX_STACK = 256 * 1024 * 1024;
/** Segments of program and interpreter together that fit one batch; linkers make four or five each. */
const MAX_SEGMENTS = 17;

/** Bytes after the file's end in a segment's last page: to be zeroed, they are .bss. */
export interface ZeroRange {
  addr: number;
  length: number;
  writable: boolean;
}

export interface Loaded {
  /** Where the first instruction is: the interpreter's entry if there is one. */
  start: number;
  /** AT_ENTRY, AT_PHDR, AT_BASE. */
  entry: number;
  phdrAddr: number;
  interpreterBase: number;
  stackTop: number;
  zeros: ZeroRange[];
}

/** personality(2). */
const ADDR_NO_RANDOMIZE = 0x40000;
const randomBytes = new Uint8Array(8);
const randomView = new DataView(randomBytes.buffer);

/** The program is to lie where it always does: personality(2), kernel.randomize_va_space. */
let isFixed = false;

/** A random multiple of a page below 2^bits pages. */
function randomPages(bits: number): number {
  if (isFixed) return 0;
  fillRandom(randomBytes, 0, 8);
  return (randomView.getUint32(0, true) % 2 ** bits) * PAGE_SIZE;
}

/**
 * Lays out `mm` and queues the mappings. stackLimit in bytes. 0 bytes have been written when it returns; a negative
 * result leaves the address space to be thrown away.
 */
export function loadProgram(
  t: Task,
  mm: MemoryManager,
  context: Context,
  send: SendFd,
  program: { file: FileDescription; image: ElfImage },
  interpreter: { file: FileDescription; image: ElfImage } | null,
  stackLimit: number,
): Loaded | number {
  const { image } = program;
  if (image.segments.length + (interpreter?.image.segments.length ?? 0) > MAX_SEGMENTS) return -ENOEXEC;
  const zeros: ZeroRange[] = [];
  context.resetCalls();
  isFixed = (t.group.personality & ADDR_NO_RANDOMIZE) !== 0 || t.kernel.sysctls.int('kernel.randomize_va_space') === 0;

  const stackSize = pageUp(Math.min(Math.max(stackLimit, PAGE_SIZE * 32), MAX_STACK));
  const stackTop = mm.top - PAGE_SIZE - randomPages(22);
  const stackProt = PROT_READ | PROT_WRITE | (image.executableStack ? PROT_EXEC : 0);
  const failed = mm.map(
    context,
    send,
    stackTop - stackSize,
    stackSize,
    stackProt,
    PROT_MASK,
    MAP_PRIVATE | MAP_NORESERVE,
    null,
    0,
    '[stack]',
  );
  if (failed < 0) return failed;
  mm.mmapBase = pageDown(stackTop - Math.max(stackSize, MIN_STACK_GAP) - randomPages(26));
  mm.hold(context);

  let base = 0;
  if (image.position === 'anywhere') {
    // A static PIE and the dynamic loader run by hand go where mmap would put them; others low, away from their libraries.
    const at = interpreter === null ? mm.findAddress(0, image.high - image.low + image.align, false) : PIE_BASE + randomPages(24);
    if (at < 0) return at;
    base = Math.floor(at / image.align) * image.align + (interpreter === null && at % image.align !== 0 ? image.align : 0) - image.low;
  } else if (image.low < 0x100000 || image.high > mm.mmapBase) {
    return -ENOMEM;
  }
  const mapped = mapImage(t, mm, context, send, program.file, image, base, zeros);
  if (mapped < 0) return mapped;

  let interpreterBase = 0;
  if (interpreter !== null) {
    const at = mm.findAddress(0, interpreter.image.high - interpreter.image.low, false);
    if (at < 0) return at;
    interpreterBase = interpreter.image.position === 'anywhere' ? at - interpreter.image.low : 0;
    const put = mapImage(t, mm, context, send, interpreter.file, interpreter.image, interpreterBase, zeros);
    if (put < 0) return put;
  }
  setLayout(mm, image, base);
  return {
    start: interpreter === null ? base + image.entry : interpreterBase + interpreter.image.entry,
    entry: base + image.entry,
    phdrAddr: base + image.phdrAddr,
    interpreterBase,
    stackTop,
    zeros,
  };
}

/** Code, data and heap as /proc/[pid]/stat and brk(2) know them. */
function setLayout(mm: MemoryManager, image: ElfImage, base: number): void {
  mm.codeStart = Number.POSITIVE_INFINITY;
  for (const s of image.segments) {
    const start = base + s.vaddr;
    if (start < mm.codeStart) mm.codeStart = start;
    if ((s.prot & PROT_EXEC) !== 0) mm.codeEnd = Math.max(mm.codeEnd, start + s.fileSize);
    if (start > mm.dataStart) mm.dataStart = start;
    mm.dataEnd = Math.max(mm.dataEnd, start + s.fileSize);
  }
  mm.brkStart = mm.brk = pageUp(base + image.high) + randomPages(13);
}

function mapImage(
  t: Task,
  mm: MemoryManager,
  context: Context,
  send: SendFd,
  file: FileDescription,
  image: ElfImage,
  base: number,
  zeros: ZeroRange[],
): number {
  const mappable: Mappable = { hostFd: -1, offset: 0 };
  const able = file.mmap(t, mappable, PROT_READ | PROT_EXEC, false);
  if (able < 0) return able;
  for (const s of image.segments) {
    const start = pageDown(base + s.vaddr);
    const fileEnd = base + s.vaddr + s.fileSize;
    const end = pageUp(base + s.vaddr + s.memSize);
    let next = start;
    if (s.fileSize > 0) {
      next = pageUp(fileEnd);
      const backing = new FileBacking(file, mappable.hostFd, mappable.offset);
      const put = mm.map(context, send, start, next - start, s.prot, PROT_MASK, MAP_PRIVATE, backing, pageDown(s.offset), '');
      if (put < 0) return put;
      if (s.memSize > s.fileSize && fileEnd < next)
        zeros.push({ addr: fileEnd, length: next - fileEnd, writable: (s.prot & PROT_WRITE) !== 0 });
    }
    if (end > next) {
      const put = mm.map(context, send, next, end - next, s.prot, PROT_MASK, MAP_PRIVATE, null, 0, '');
      if (put < 0) return put;
    }
  }
  return 0;
}
