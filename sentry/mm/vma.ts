// One mapping of a guest address space: struct vm_area_struct. Neighbours with equal properties are
// merged, so that /proc/[pid]/maps reads as on Linux.

import { MAP_GROWSDOWN, MAP_SHARED, PROT_WRITE } from '../abi/mman.ts';

/** What stands behind a mapping that is not private anonymous memory. Counted: one reference a VMA. */
export interface Backing {
  /** Host descriptor that a stub maps; kept open as long as the backing lives. */
  readonly hostFd: number;
  /** The same that cannot write, for mappings that must never: a guest can do to a descriptor of its stub whatever that allows. Or -errno. */
  readOnlyFd(): number;
  /** Where the object's offset 0 lies in the host descriptor. */
  readonly hostOffset: number;
  /** Identity for shared futexes and merging. */
  readonly id: number;
  /** For /proc/[pid]/maps. */
  readonly dev: number;
  readonly ino: number;
  name(): string;
  incRef(): void;
  decRef(): void;
}

export class Vma {
  /** Page aligned; end is exclusive. */
  start: number;
  end: number;
  /** PROT_*. */
  prot: number;
  /** What mprotect may add: VM_MAYREAD and its kin as PROT_* bits. */
  maxProt: number;
  /** MAP_SHARED, MAP_GROWSDOWN, MAP_NORESERVE, MAP_LOCKED as given to mmap. */
  flags: number;
  /** null: private anonymous. */
  backing: Backing | null;
  /** Byte offset in the backing of `start`. */
  offset: number;
  /** "[heap]", "[stack]" or a name by prctl(PR_SET_VMA). */
  label: string;
  /** MADV_DONTFORK, MADV_WIPEONFORK, MADV_DONTDUMP. */
  dontFork = false;
  wipeOnFork = false;
  dontDump = false;
  /** mseal(2). */
  sealed = false;
  /** A private mapping that is or was writable: its pages may differ from the file's, or from zeros. VM_ACCOUNT, which keeps such mappings apart from others. */
  mayDiffer: boolean;

  constructor(
    start: number,
    end: number,
    prot: number,
    maxProt: number,
    flags: number,
    backing: Backing | null,
    offset: number,
    label: string,
  ) {
    this.start = start;
    this.end = end;
    this.prot = prot;
    this.maxProt = maxProt;
    this.flags = flags;
    this.backing = backing;
    this.offset = offset;
    this.label = label;
    this.mayDiffer = false;
    this.noteWritable();
  }

  /** Its protection is new. */
  noteWritable(): void {
    if ((this.prot & PROT_WRITE) !== 0 && !this.shared) this.mayDiffer = true;
  }

  get shared(): boolean {
    return (this.flags & MAP_SHARED) !== 0;
  }

  get growsDown(): boolean {
    return (this.flags & MAP_GROWSDOWN) !== 0;
  }

  /** The part [start, end) as a mapping of its own, with its own reference. */
  slice(start: number, end: number): Vma {
    const v = new Vma(
      start,
      end,
      this.prot,
      this.maxProt,
      this.flags,
      this.backing,
      this.backing === null ? 0 : this.offset + (start - this.start),
      this.label,
    );
    v.dontFork = this.dontFork;
    v.wipeOnFork = this.wipeOnFork;
    v.dontDump = this.dontDump;
    v.sealed = this.sealed;
    v.mayDiffer = this.mayDiffer;
    this.backing?.incRef();
    return v;
  }

  /** Whether `next`, which starts where this ends, could be one mapping with it. */
  continues(next: Vma): boolean {
    return (
      this.end === next.start &&
      this.prot === next.prot &&
      this.flags === next.flags &&
      this.backing === next.backing &&
      this.label === next.label &&
      this.maxProt === next.maxProt &&
      this.dontFork === next.dontFork &&
      this.wipeOnFork === next.wipeOnFork &&
      this.dontDump === next.dontDump &&
      this.sealed === next.sealed &&
      this.mayDiffer === next.mayDiffer &&
      (this.backing === null || this.offset + (this.end - this.start) === next.offset)
    );
  }
}
