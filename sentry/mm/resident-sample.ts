// How much of an address space is resident, from a sample of its pages in one host call: what is
// asked at every end of a process. fs/proc-maps.ts counts, for those who look.

import { PAGE_SIZE } from '../abi/limits.ts';
import { PROT_EXEC, PROT_READ, PROT_WRITE } from '../abi/mman.ts';
import { residentSample } from '../host/memory.ts';
import type { MemoryManager } from './memory-manager.ts';

const SAMPLE = 192;
const pages = new Float64Array(SAMPLE + 1);

/** Bytes; 0 where the host does not say. */
export function estimateResident(mm: MemoryManager): number {
  const { list } = mm.vmas;
  let total = 0;
  for (const v of list) if ((v.prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) !== 0) total += (v.end - v.start) / PAGE_SIZE;
  const stride = Math.max(1, Math.ceil(total / SAMPLE));
  let n = 0;
  // The page of the accessible ones, counted over all mappings, that is looked at next.
  let next = 0;
  let before = 0;
  for (const v of list) {
    if ((v.prot & (PROT_READ | PROT_WRITE | PROT_EXEC)) === 0) continue;
    const count = (v.end - v.start) / PAGE_SIZE;
    for (; next < before + count && n < SAMPLE; next += stride) pages[n++] = v.start + (next - before) * PAGE_SIZE;
    before += count;
  }
  const resident = n === 0 ? 0 : residentSample(mm.hostTid, pages, n);
  return resident < 0 ? 0 : Math.min(total, resident * stride) * PAGE_SIZE;
}
