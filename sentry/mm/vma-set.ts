// The mappings of an address space, sorted and without overlap: what Linux keeps in a maple tree.
// A sorted array with binary search: processes have tens to a few thousand mappings, and moving
// the tail of an array of pointers is cheaper than walking a tree of objects.

import type { Vma } from './vma.ts';

export class VmaSet {
  readonly list: Vma[] = [];
  /** Bytes mapped, for RLIMIT_AS and VmSize. */
  total = 0;

  /** Index of the first mapping that ends above `addr`. */
  indexAt(addr: number): number {
    let low = 0;
    let high = this.list.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (this.list[mid]!.end <= addr) low = mid + 1;
      else high = mid;
    }
    return low;
  }

  /** The mapping that contains `addr`. */
  find(addr: number): Vma | undefined {
    const v = this.list[this.indexAt(addr)];
    return v !== undefined && v.start <= addr ? v : undefined;
  }

  /** Whether any mapping overlaps [start, end). */
  overlaps(start: number, end: number): boolean {
    const v = this.list[this.indexAt(start)];
    return v !== undefined && v.start < end;
  }

  /** Inserts into free space and merges with its neighbours. Takes over the reference of v's backing. */
  insert(v: Vma): void {
    this.total += v.end - v.start;
    let at = this.indexAt(v.start);
    const before = this.list[at - 1];
    if (before?.continues(v)) {
      before.end = v.end;
      v.backing?.decRef();
      v = before;
      at--;
    } else {
      this.list.splice(at, 0, v);
    }
    const after = this.list[at + 1];
    if (after !== undefined && v.continues(after)) {
      v.end = after.end;
      after.backing?.decRef();
      this.list.splice(at + 1, 1);
    }
  }

  /** Makes `addr` a boundary if it lies inside a mapping. */
  splitAt(addr: number): void {
    const at = this.indexAt(addr);
    const v = this.list[at];
    if (v === undefined || v.start >= addr) return;
    this.list.splice(at + 1, 0, v.slice(addr, v.end));
    v.end = addr;
  }

  /** Takes everything out of [start, end). */
  remove(start: number, end: number): void {
    if (!this.overlaps(start, end)) return;
    this.splitAt(start);
    this.splitAt(end);
    const from = this.indexAt(start);
    let to = from;
    while (to < this.list.length && this.list[to]!.start < end) {
      const v = this.list[to]!;
      this.total -= v.end - v.start;
      v.backing?.decRef();
      to++;
    }
    this.list.splice(from, to - from);
  }

  /** Joins equal neighbours in and around [start, end), after their properties have changed. */
  mergeAround(start: number, end: number): void {
    let at = Math.max(1, this.indexAt(start));
    while (at < this.list.length && this.list[at]!.start <= end) {
      const before = this.list[at - 1]!;
      const v = this.list[at]!;
      if (before.continues(v)) {
        before.end = v.end;
        v.backing?.decRef();
        this.list.splice(at, 1);
      } else {
        at++;
      }
    }
  }

  /** Whether every byte of [start, end) is mapped. */
  covers(start: number, end: number): boolean {
    let at = this.indexAt(start);
    let addr = start;
    while (addr < end) {
      const v = this.list[at++];
      if (v === undefined || v.start > addr) return false;
      addr = v.end;
    }
    return true;
  }

  /** The highest free range of `length` bytes in [low, high): its start, or -1. `guard` bytes stay free below a growing stack. */
  findFree(length: number, low: number, high: number): number {
    let at = this.indexAt(high);
    let top = high;
    const across = this.list[at];
    if (across !== undefined && across.start < high) top = floorBelow(across);
    for (at--; ; at--) {
      const v = at >= 0 ? this.list[at] : undefined;
      const floor = v === undefined ? low : Math.max(low, v.end);
      if (top - floor >= length) return top - length;
      if (v === undefined || v.start <= low) return -1;
      top = floorBelow(v);
    }
  }

  /** The lowest free range at or above `from`, below `high`: its start, or -1. */
  findFreeUp(length: number, from: number, high: number): number {
    let start = from;
    for (let at = this.indexAt(from); at < this.list.length; at++) {
      const v = this.list[at]!;
      if (v.start - start >= length) break;
      start = Math.max(start, v.end);
    }
    return start + length <= high ? start : -1;
  }
}

/** Where free space below a mapping ends: mm/mmap.c:vm_unmapped_area() keeps stack_guard_gap below what grows down. */
function floorBelow(v: Vma): number {
  return v.growsDown ? v.start - STACK_GUARD : v.start;
}

/** stack_guard_gap: 256 pages. */
export const STACK_GUARD = 256 * 4096;
