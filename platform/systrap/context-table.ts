// All contexts of the sandbox by their index, which is their place in the shared region.

import { systrapUnmap } from 'ptrace-napi';
import { ENOMEM } from '../../sentry/abi/errno.ts';
import { MAX_CONTEXTS } from '../context-page.ts';
import type { Region } from '../region.ts';
import type { SystrapContext } from './systrap-context.ts';

/** Indexes that are free but keep their pages for the next use. */
const KEPT_MAPPINGS = 32;

export class ContextTable {
  readonly region: Region;
  readonly at: (SystrapContext | undefined)[] = [];
  /** One more than the highest index that was ever given. Index 0 is the zygote's. */
  end = 1;
  private readonly free: number[] = [];

  constructor(region: Region) {
    this.region = region;
  }

  /** An index, or -ENOMEM. */
  newIndex(): number {
    const free = this.free.pop();
    if (free !== undefined) return free;
    return this.end >= MAX_CONTEXTS ? -ENOMEM : this.end++;
  }

  /** An index that was never mapped. */
  putBack(index: number): void {
    this.free.push(index);
  }

  freeIndex(index: number): void {
    this.free.push(index);
    if (this.free.length > KEPT_MAPPINGS) systrapUnmap(this.region.buffer, index);
  }
}
