// What the host kernel has told this process of the processor. Read before lock-down.

import { readFileSync } from 'node:fs';

const AT_HWCAP = 16;
const AT_HWCAP2 = 26;
/** HWCAP2_FSGSBASE: not told to the guest, since the stub finds its context by the gs base. */
const HWCAP2_FSGSBASE = 2;

export function hostAuxv(): { hwcap: number; hwcap2: number } {
  const auxv = readFileSync('/proc/self/auxv');
  const found = { hwcap: 0, hwcap2: 0 };
  for (let at = 0; at + 16 <= auxv.length; at += 16) {
    const type = Number(auxv.readBigUInt64LE(at));
    if (type === AT_HWCAP) found.hwcap = Number(auxv.readBigUInt64LE(at + 8));
    if (type === AT_HWCAP2) found.hwcap2 = Number(auxv.readBigUInt64LE(at + 8)) & ~HWCAP2_FSGSBASE;
  }
  return found;
}
