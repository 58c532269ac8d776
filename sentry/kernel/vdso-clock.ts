// The vDSO of the host answers clock_gettime() without a call. Where a time namespace shifts the
// clocks its function is replaced by the call, in the private copy of the one process.

import type { AddressSpace, Platform } from '../../platform/platform.ts';
import { getU64 } from '../base/int64.ts';
import { latin1 } from '../base/latin1.ts';

const NAME = '__vdso_clock_gettime';
/** mov $SYS_clock_gettime, %eax; syscall; ret */
const CALL = new Uint8Array([0xb8, 0xe4, 0, 0, 0, 0x0f, 0x05, 0xc3]);

// struct elf64_hdr, elf64_phdr, elf64_dyn, elf64_sym; the image is linked at 0.
const PHOFF = 32;
const PHNUM = 56;
const PHDR_SIZE = 56;
const PT_DYNAMIC = 2;
const DT_STRTAB = 5;
const DT_SYMTAB = 6;
const SYM_SIZE = 24;

/** Offset of the function in the vDSO and what it begins with; null before the first look, offset 0 when there is none. */
let found: { offset: number; original: Uint8Array } | null = null;

/** Whether a process's vDSO tells the clock itself, or asks. The process is not in guest code. */
export function shiftVdso(platform: Platform, space: AddressSpace, shifted: boolean): void {
  if (platform.vdsoAddr === 0) return;
  // Asked of a process whose vDSO nobody has changed yet, since the first one to be changed is looked at before.
  found ??= find(platform, space);
  if (found.offset !== 0) space.writeForced(platform.vdsoAddr + found.offset, shifted ? CALL : found.original, 0, CALL.length);
}

function find(platform: Platform, space: AddressSpace): { offset: number; original: Uint8Array } {
  const image = new Uint8Array(platform.vdsoSize);
  const none = { offset: 0, original: CALL };
  if (space.readForced(platform.vdsoAddr, image, 0, image.length) !== image.length) return none;
  const v = new DataView(image.buffer);
  let symbols = 0;
  let strings = 0;
  const headers = getU64(v, PHOFF);
  for (let i = 0; i < v.getUint16(PHNUM, true); i++) {
    const at = headers + i * PHDR_SIZE;
    if (v.getUint32(at, true) !== PT_DYNAMIC) continue;
    for (let d = getU64(v, at + 8); d + 16 <= image.length && getU64(v, d) !== 0; d += 16) {
      if (getU64(v, d) === DT_SYMTAB) symbols = getU64(v, d + 8);
      if (getU64(v, d) === DT_STRTAB) strings = getU64(v, d + 8);
    }
  }
  // The string table follows the symbols.
  for (let at = symbols; symbols !== 0 && at + SYM_SIZE <= Math.min(strings, image.length); at += SYM_SIZE) {
    const name = strings + v.getUint32(at, true);
    if (latin1(image, name, Math.min(name + NAME.length + 1, image.length)) !== `${NAME}\0`) continue;
    const offset = getU64(v, at + 8);
    return { offset, original: image.slice(offset, offset + CALL.length) };
  }
  return none;
}
