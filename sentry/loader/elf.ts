// Reading ELF images: fs/binfmt_elf.c. What is found is a plan; mapping it is load.ts's.

import {
  EHDR_ENTRY,
  EHDR_MACHINE,
  EHDR_PHENTSIZE,
  EHDR_PHNUM,
  EHDR_PHOFF,
  EHDR_SIZE,
  EHDR_TYPE,
  ELFCLASS64,
  ELFDATA2LSB,
  EM_X86_64,
  ET_DYN,
  ET_EXEC,
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
  PT_GNU_STACK,
  PT_INTERP,
  PT_LOAD,
} from '../abi/elf.ts';
import { EINVAL, ENOEXEC, ENOMEM } from '../abi/errno.ts';
import { PAGE_SIZE, PATH_MAX } from '../abi/limits.ts';
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../abi/mman.ts';
import { getU64 } from '../base/int64.ts';
import { latin1 } from '../base/latin1.ts';
import { BufferIo } from '../vfs/buffer-io.ts';
import type { FileDescription } from '../vfs/file-description.ts';

export interface Segment {
  vaddr: number;
  offset: number;
  fileSize: number;
  memSize: number;
  prot: number;
}

export interface ElfImage {
  /** ET_DYN: may go anywhere. */
  position: 'fixed' | 'anywhere';
  entry: number;
  segments: Segment[];
  /** Address of the program headers as loaded, relative to the base; AT_PHDR. */
  phdrAddr: number;
  phdrCount: number;
  interpreter: string | null;
  executableStack: boolean;
  /** Largest alignment of a segment. */
  align: number;
  /** Lowest and highest address of the segments, page aligned. */
  low: number;
  high: number;
}

const MAX_PHDRS = 65536 / PHDR_SIZE;

/** Reads up to n bytes at `offset`; the bytes got or -errno. */
export function readAt(file: FileDescription, buffer: Uint8Array, n: number, offset: number): number {
  const io = new BufferIo(buffer);
  let done = 0;
  while (done < n) {
    const got = file.pread(null, io.set(done, n - done), offset + done);
    if (got < 0) return got;
    if (got === 0) break;
    done += got;
  }
  return done;
}

/** Parses the image. -ENOEXEC for what is not an x86-64 ELF executable, -EINVAL and -ENOMEM for malformed ones. `head` holds the file's first bytes. */
export function readElf(file: FileDescription, head: Uint8Array, headLength: number): ElfImage | number {
  if (headLength < EHDR_SIZE) return -ENOEXEC;
  const v = new DataView(head.buffer, head.byteOffset, headLength);
  if (v.getUint32(0, false) !== 0x7f454c46 || head[4] !== ELFCLASS64 || head[5] !== ELFDATA2LSB) return -ENOEXEC;
  const type = v.getUint16(EHDR_TYPE, true);
  if ((type !== ET_EXEC && type !== ET_DYN) || v.getUint16(EHDR_MACHINE, true) !== EM_X86_64) return -ENOEXEC;
  const count = v.getUint16(EHDR_PHNUM, true);
  if (v.getUint16(EHDR_PHENTSIZE, true) !== PHDR_SIZE || count < 1 || count > MAX_PHDRS) return -ENOEXEC;
  const phoff = getU64(v, EHDR_PHOFF);
  const headers = new Uint8Array(count * PHDR_SIZE);
  const got = readAt(file, headers, headers.length, phoff);
  if (got < 0) return got;
  if (got !== headers.length) return -ENOEXEC;

  const image: ElfImage = {
    position: type === ET_DYN ? 'anywhere' : 'fixed',
    entry: getU64(v, EHDR_ENTRY),
    segments: [],
    phdrAddr: 0,
    phdrCount: count,
    interpreter: null,
    executableStack: false,
    align: PAGE_SIZE,
    low: Number.POSITIVE_INFINITY,
    high: 0,
  };
  const p = new DataView(headers.buffer);
  for (let i = 0; i < count; i++) {
    const failed = addHeader(file, image, p, i * PHDR_SIZE, phoff);
    if (failed < 0) return failed;
  }
  return image.segments.length === 0 ? -ENOEXEC : image;
}

function addHeader(file: FileDescription, image: ElfImage, p: DataView, at: number, phoff: number): number {
  const type = p.getUint32(at + PHDR_TYPE, true);
  const offset = getU64(p, at + PHDR_OFFSET);
  const fileSize = getU64(p, at + PHDR_FILESZ);
  if (type === PT_INTERP && image.interpreter === null) {
    // "/lib64/ld-linux-x86-64.so.2" and its NUL: fs/binfmt_elf.c:load_elf_binary().
    if (fileSize > PATH_MAX || fileSize < 2) return -ENOEXEC;
    const bytes = new Uint8Array(fileSize);
    const got = readAt(file, bytes, fileSize, offset);
    if (got !== fileSize) return got < 0 ? got : -ENOEXEC;
    if (bytes[fileSize - 1] !== 0) return -ENOEXEC;
    image.interpreter = latin1(bytes, 0, bytes.indexOf(0));
  } else if (type === PT_GNU_STACK) {
    image.executableStack = (p.getUint32(at + PHDR_FLAGS, true) & PF_X) !== 0;
  } else if (type === PT_LOAD) {
    const vaddr = getU64(p, at + PHDR_VADDR);
    const memSize = getU64(p, at + PHDR_MEMSZ);
    const align = getU64(p, at + PHDR_ALIGN);
    const flags = p.getUint32(at + PHDR_FLAGS, true);
    if (fileSize > memSize || vaddr + memSize > 2 ** 47 || memSize > 2 ** 47) return -EINVAL;
    if (offset % PAGE_SIZE !== vaddr % PAGE_SIZE) return -EINVAL;
    const last = image.segments[image.segments.length - 1];
    if (last !== undefined && vaddr < last.vaddr + last.memSize) return -EINVAL;
    if (align > PAGE_SIZE && Number.isInteger(Math.log2(align))) image.align = Math.max(image.align, align);
    // The headers lie in the segment that covers their file offset.
    if (phoff >= offset && phoff < offset + fileSize) image.phdrAddr = vaddr + (phoff - offset);
    image.low = Math.min(image.low, Math.floor(vaddr / PAGE_SIZE) * PAGE_SIZE);
    image.high = Math.max(image.high, Math.ceil((vaddr + memSize) / PAGE_SIZE) * PAGE_SIZE);
    const prot = ((flags & PF_R) !== 0 ? PROT_READ : 0) | ((flags & PF_W) !== 0 ? PROT_WRITE : 0) | ((flags & PF_X) !== 0 ? PROT_EXEC : 0);
    if (memSize > 0) image.segments.push({ vaddr, offset, fileSize, memSize, prot });
  }
  return image.high - image.low > 2 ** 46 ? -ENOMEM : 0;
}
