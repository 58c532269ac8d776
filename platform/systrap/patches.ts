// The call sites that stubs have patched: what stood there before, so that others who look at the code see it, and how many there are.

import { CTX_SITES_FULL, CTX_SITES_NO_FORM, CTX_SITES_PATCHED, CTX_SITES_SPLIT } from '../context-page.ts';
import type { SystrapContext } from './systrap-context.ts';

/** Bytes around a `syscall` that a jump may have taken: 7 before the address behind it and 6 from there on. */
export const BEFORE = 7;
export const AROUND = 13;
export const JUMP_SIZE = 7;
/** Where the jump begins in them: over the instruction before and the `syscall`, or over the `syscall` and the compare behind it. */
const PLACES = [0, 5];

/** One site of an address space. A list grows at its head and never changes, so that parent and child of a fork share it. */
export class Patch {
  /** The address behind the `syscall`. */
  readonly rip: number;
  /** AROUND bytes from rip - BEFORE on, as they were. */
  readonly original: Uint8Array;
  readonly next: Patch | null;

  constructor(rip: number, original: Uint8Array, next: Patch | null) {
    this.rip = rip;
    this.original = original;
    this.next = next;
  }
}

/** Where in `now`, the bytes around a site as they are, a jump through the stub's table begins; -1 if there is none. stub/sites.h:patch_site() */
export function jumpIn(now: Uint8Array): number {
  for (const at of PLACES) {
    const third = at === 0 ? 0x25 : 0xe5;
    if (now[at] === 0xff && now[at + 1] === 0x24 && now[at + 2] === third && now[at + 5] === 6 && now[at + 6] === 0) return at;
  }
  return -1;
}

/** What became of the call sites that trapped often enough. */
export interface PatchStatistics {
  /** Sites that a stub could patch and has asked for. A site may ask again. */
  offered: number;
  patched: number;
  /** The code is not private, executable and read-only, or is shown to a debugger. */
  notPatchable: number;
  /** Another thread was changing the address space. */
  busy: number;
  /** Neither before nor behind the `syscall` is there an instruction of a known form. */
  noForm: number;
  /** Across two cache lines, while there are other threads. */
  split: number;
  /** The address space's table of jumps is full. */
  full: number;
}

export function noPatches(): PatchStatistics {
  return { offered: 0, patched: 0, notPatchable: 0, busy: 0, noForm: 0, split: 0, full: 0 };
}

/** Stubs count for themselves: a number is what the guest says it is, but no more than this. */
const MOST = 1_000_000;

/** Adds what the page of a context has counted, and has it begin anew. */
export function addCounts(to: PatchStatistics, c: SystrapContext): void {
  to.patched += take(c, CTX_SITES_PATCHED);
  to.noForm += take(c, CTX_SITES_NO_FORM);
  to.split += take(c, CTX_SITES_SPLIT);
  to.full += take(c, CTX_SITES_FULL);
}

function take(c: SystrapContext, offset: number): number {
  const { i32 } = c.region;
  const at = c.word + (offset >> 2);
  const count = i32[at]!;
  if (count !== 0) i32[at] = 0;
  return count > 0 ? Math.min(count, MOST) : 0;
}
