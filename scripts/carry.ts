// The last step of `npm run build`: puts the libraries that Node is linked with, apart from glibc, into dist/runsc itself.
// native/launcher/launcher.c says how they are found there.
import { closeSync, openSync, readFileSync, readSync, statSync, writeSync } from 'node:fs';

/** In the order in which the dynamic linker is to load them: each needs at most those behind it. */
const LIBRARIES = ['libatomic.so.1', 'libstdc++.so.6', 'libgcc_s.so.1'];
const PAGE = 4096;
const HEADER_SIZE = 56;
const PT_LOAD = 1;
const PT_INTERP = 3;
const PT_PHDR = 6;
const PF_R_X = 5;
/** launcher.c: struct parameters, whose three libraries follow the words. */
const PARAMETERS = { entry: 0, interpreter: 8, programHeaders: 16, count: 24, libraries: 32, version: 176 };
const VERSION_BYTES = 128;
const LIBRARY = { name: 0, offset: 32, size: 40, bytes: 48 };
const HEADERS_COPY = 1024;
/** launcher.c: PROGRAM_HEADERS. */
const MAX_HEADERS = 32;

interface ProgramHeader {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly vaddr: number;
  readonly fileSize: number;
  readonly memorySize: number;
  readonly align: number;
}

function parseHeader(b: Buffer, at: number): ProgramHeader {
  const word = (offset: number) => Number(b.readBigUInt64LE(at + offset));
  return {
    type: b.readUInt32LE(at),
    flags: b.readUInt32LE(at + 4),
    offset: word(8),
    vaddr: word(16),
    fileSize: word(32),
    memorySize: word(40),
    align: word(48),
  };
}

function putHeader(b: Buffer, at: number, h: ProgramHeader): void {
  b.writeUInt32LE(h.type, at);
  b.writeUInt32LE(h.flags, at + 4);
  for (const [offset, value] of [
    [8, h.offset],
    [16, h.vaddr],
    [24, h.vaddr],
    [32, h.fileSize],
    [40, h.memorySize],
    [48, h.align],
  ])
    b.writeBigUInt64LE(BigInt(value), at + offset);
}

const roundUp = (n: number) => Math.ceil(n / PAGE) * PAGE;

/** The files that this process, which is the same Node, was linked with. */
function libraryFiles(): string[] {
  const mapped = readFileSync('/proc/self/maps', 'latin1').split('\n');
  return LIBRARIES.map((name) => {
    const path = mapped.map((line) => line.slice(73)).find((path) => path.includes(`/${name}`));
    if (path === undefined) throw new Error(`this Node is not linked with ${name}`);
    return path;
  });
}

/**
 * Makes the launcher the entry of an executable of type ET_EXEC, and appends the libraries. Throws where the file is not
 * laid out as expected; it is then unchanged. version: what the launcher answers to --version; none, and Node is asked.
 */
export function carryLibraries(executable: string, launcher: Buffer, version = ''): void {
  if (Buffer.byteLength(version) >= VERSION_BYTES) throw new Error(`the version has more than ${VERSION_BYTES - 1} bytes: ${version}`);
  const file = openSync(executable, 'r+');
  try {
    const elf = Buffer.alloc(64);
    readSync(file, elf, 0, 64, 0);
    const tableAt = Number(elf.readBigUInt64LE(32));
    const count = elf.readUInt16LE(56);
    if (elf.readUInt16LE(16) !== 2) throw new Error(`${executable} is not of type ET_EXEC`);
    if (count > MAX_HEADERS) throw new Error(`${executable} has ${count} program headers`);
    const table = Buffer.alloc(count * HEADER_SIZE);
    readSync(file, table, 0, table.length, tableAt);
    const headers = Array.from({ length: count }, (_, i) => parseHeader(table, i * HEADER_SIZE));
    const interpreter = headers.find((h) => h.type === PT_INTERP);
    if (interpreter === undefined) throw new Error(`${executable} has no dynamic linker`);

    const loads = headers.filter((h) => h.type === PT_LOAD);
    const vaddr = roundUp(Math.max(...loads.map((h) => h.vaddr + h.memorySize)));
    const offset = roundUp(statSync(executable).size);
    const segment = Buffer.from(launcher);
    for (const [i, h] of headers.entries())
      putHeader(segment, HEADERS_COPY + i * HEADER_SIZE, h.type === PT_PHDR ? { ...h, vaddr: vaddr + HEADERS_COPY } : h);
    const put = (at: number, value: number) => segment.writeBigUInt64LE(BigInt(value), at);
    put(PARAMETERS.entry, Number(elf.readBigUInt64LE(24)));
    put(PARAMETERS.interpreter, interpreter.vaddr);
    put(PARAMETERS.programHeaders, vaddr + HEADERS_COPY);
    put(PARAMETERS.count, count);
    segment.write(version, PARAMETERS.version);

    let end = offset + roundUp(segment.length);
    for (const [i, path] of libraryFiles().entries()) {
      const bytes = readFileSync(path);
      const at = PARAMETERS.libraries + i * LIBRARY.bytes;
      segment.write(LIBRARIES[i], at + LIBRARY.name, 'latin1');
      put(at + LIBRARY.offset, end);
      put(at + LIBRARY.size, bytes.length);
      writeSync(file, bytes, 0, bytes.length, end);
      end += roundUp(bytes.length);
    }
    writeSync(file, segment, 0, segment.length, offset);

    // The kernel gets the launcher's segment for PT_INTERP, behind the other segments: it wants them in order of address.
    const own = { type: PT_LOAD, flags: PF_R_X, offset, vaddr, fileSize: segment.length, memorySize: segment.length, align: PAGE };
    const rest = headers.filter((h) => h !== interpreter);
    rest.splice(rest.lastIndexOf(loads[loads.length - 1]) + 1, 0, own);
    for (const [i, h] of rest.entries()) putHeader(table, i * HEADER_SIZE, h);
    writeSync(file, table, 0, table.length, tableAt);
    elf.writeBigUInt64LE(BigInt(vaddr + PAGE), 24);
    writeSync(file, elf, 0, 64, 0);
  } finally {
    closeSync(file);
  }
}
