// What the host kernel has told this process of the processor. Read before lock-down.

import { readFileSync } from 'node:fs';

const AT_HWCAP = 16;
const AT_HWCAP2 = 26;
const AT_RSEQ_FEATURE_SIZE = 27;
const AT_RSEQ_ALIGN = 28;
/** HWCAP2_FSGSBASE: not told to the guest, since the stub finds its context by the gs base. */
const HWCAP2_FSGSBASE = 2;

/** Of the auxiliary vector what the guest's has too; 0 for what the host does not tell. */
export interface HostAuxv {
  hwcap: number;
  hwcap2: number;
  rseqFeatureSize: number;
  rseqAlign: number;
  /** Bytes of the vDSO, and of its data right below it. */
  vdsoSize: number;
  vvarSize: number;
}

const MAPPING = /^([0-9a-f]+)-([0-9a-f]+) .*\[(vvar|vdso)[a-z_]*\]$/gm;
const PAGE = 4096;

export function hostAuxv(): HostAuxv {
  const auxv = readFileSync('/proc/self/auxv');
  const found = { hwcap: 0, hwcap2: 0, rseqFeatureSize: 0, rseqAlign: 0, vdsoSize: 2 * PAGE, vvarSize: 0 };
  for (let at = 0; at + 16 <= auxv.length; at += 16) {
    const type = Number(auxv.readBigUInt64LE(at));
    if (type === AT_HWCAP) found.hwcap = Number(auxv.readBigUInt64LE(at + 8));
    if (type === AT_HWCAP2) found.hwcap2 = Number(auxv.readBigUInt64LE(at + 8)) & ~HWCAP2_FSGSBASE;
    if (type === AT_RSEQ_FEATURE_SIZE) found.rseqFeatureSize = Number(auxv.readBigUInt64LE(at + 8));
    if (type === AT_RSEQ_ALIGN) found.rseqAlign = Number(auxv.readBigUInt64LE(at + 8));
  }
  for (const [, start, end, name] of readFileSync('/proc/self/maps', 'latin1').matchAll(MAPPING)) {
    const size = Number.parseInt(end!, 16) - Number.parseInt(start!, 16);
    if (name === 'vdso') found.vdsoSize = size;
    else found.vvarSize += size;
  }
  return found;
}
