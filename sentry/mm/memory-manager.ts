// One guest address space: struct mm_struct. Its mappings are kept here; the memory itself is the
// stub's (architecture.md 2), so every change is a change of the VMAs followed by host calls that
// the calling thread's stub makes. The methods below put those calls into a context's batch and
// answer what the guest shall see; the handlers in syscalls/mm.ts run the batch.
//
// Addresses are chosen here, and every host call says MAP_FIXED: VMAs and host cannot disagree.

import type { AddressSpace, Context, Mappings } from '../../platform/platform.ts';
import { HOSTCALL_RECEIVED_FD } from '../../platform/platform.ts';
import { EACCES, EFAULT, EINVAL, ENOMEM, EPERM } from '../abi/errno.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import {
  MADV_DODUMP,
  MADV_DOFORK,
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MADV_KEEPONFORK,
  MADV_WIPEONFORK,
  MAP_ANONYMOUS,
  MAP_FIXED,
  MAP_GROWSDOWN,
  MAP_LOCKED,
  MAP_NORESERVE,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_EXEC,
  PROT_READ,
  PROT_WRITE,
} from '../abi/mman.ts';
import { SYS_madvise, SYS_mmap, SYS_mprotect, SYS_mremap, SYS_munmap } from '../abi/sysno-x64.ts';
import { GuestMemory } from './guest-memory.ts';
import { type Backing, Vma } from './vma.ts';
import { VmaSet } from './vma-set.ts';

export const PROT_MASK: number = PROT_READ | PROT_WRITE | PROT_EXEC;
/** vm.mmap_min_addr: below lie the null pages and the stub's jump table. */
export const MIN_ADDRESS = 0x100000;
/** Kept with a VMA of the flags of mmap. */
const KEPT_FLAGS: number = MAP_SHARED | MAP_PRIVATE | MAP_GROWSDOWN | MAP_NORESERVE | MAP_LOCKED;

export function pageUp(n: number): number {
  return Math.ceil(n / PAGE_SIZE) * PAGE_SIZE;
}

export function pageDown(n: number): number {
  return Math.floor(n / PAGE_SIZE) * PAGE_SIZE;
}

/** PR_MDWE_NO_INHERIT. */
const MDWE_NO_INHERIT = 2;

/** What mmap sends descriptors through: the platform's sendFd for the context of the batch. */
export type SendFd = (context: Context, hostFd: number) => number;

let nextMmId = 1;

export class MemoryManager extends GuestMemory implements Mappings {
  readonly space: AddressSpace;
  /** Tasks (and exec in progress) that use it. */
  refs = 1;
  readonly id: number = nextMmId++;
  readonly vmas: VmaSet = new VmaSet();
  /** One past the highest guest address. */
  readonly top: number;
  /** Where top-down search starts: below the stack and its room to grow. */
  mmapBase: number;
  brkStart = 0;
  brk = 0;
  // For /proc/[pid]/stat and prctl(PR_SET_MM).
  codeStart = 0;
  codeEnd = 0;
  dataStart = 0;
  dataEnd = 0;
  stackStart = 0;
  /** The platform must not patch it: a tracer is, or was, attached. */
  private isCodeShown = false;
  /** MCL_FUTURE: mappings are made locked. */
  lockFuture = false;
  /** VmPeak, bytes. */
  peak = 0;
  /** /proc/[pid]/coredump_filter: MMF_DUMP_FILTER_DEFAULT. fork and exec keep it. */
  coredumpFilter = 0x33;
  /** PR_SET_MDWE: PR_MDWE_REFUSE_EXEC_GAIN and PR_MDWE_NO_INHERIT. */
  mdwe = 0;
  /** PR_SET_MEMORY_MERGE, which is without effect. */
  mergesAny = false;
  /** Some mapping is, or was, sealed: whoever changes mappings has to look. */
  private hasSeals = false;

  /** The vDSO and its data, which lie above `top` and can be looked at. */
  private readonly vdsoStart: number;
  private readonly vdsoEnd: number;
  /** The vDSO is where the host has put it, as far as we know: who maps something there replaces it. */
  hasVdso: boolean;
  /** A page of the stub's that nobody sees, above all that mmap places by itself; 0 for none. See hold(). */
  private anchor = 0;

  constructor(space: AddressSpace, top: number, vdsoStart = 0, vdsoEnd = 0) {
    super();
    this.space = space;
    this.top = top;
    this.vdsoStart = vdsoStart;
    this.vdsoEnd = vdsoEnd;
    this.hasVdso = vdsoEnd > 0;
    this.mmapBase = top;
    space.mappings = this;
  }

  incRef(): void {
    this.refs++;
  }

  /** True when this was the last user: the caller then ends the stub. */
  decRef(): boolean {
    if (--this.refs > 0) return false;
    for (const v of this.vmas.list) v.backing?.decRef();
    this.vmas.list.length = 0;
    this.vmas.total = 0;
    return true;
  }

  /** Whether [addr, addr+n) is none of the stub's. */
  private canSee(addr: number, n: number): boolean {
    return addr + n <= this.top || (addr >= this.vdsoStart && addr + n <= this.vdsoEnd);
  }

  readSome(addr: number, dst: Uint8Array, at: number, n: number): number {
    return this.canSee(addr, n) ? this.space.readSome(addr, dst, at, n) : 0;
  }

  writeSome(addr: number, src: Uint8Array, at: number, n: number): number {
    return addr + n > this.top ? 0 : this.space.writeSome(addr, src, at, n);
  }

  override writeNow(addr: number, src: Uint8Array, at: number, n: number): number {
    return addr + n > this.top ? 0 : this.space.writeNow(addr, src, at, n);
  }

  protected override readString(addr: number, dst: Uint8Array, at: number, n: number): number {
    return addr + n > this.top ? 0 : this.space.readString(addr, dst, at, n);
  }

  /** A host file's bytes straight into memory, and back: bytes or -errno. flags: 0 or RWF_NOWAIT. */
  fromHost(addr: number, n: number, hostFd: number, offset: number, flags: number): number {
    return addr + n > this.top ? -EFAULT : this.space.fromHost(addr, n, hostFd, offset, flags);
  }

  toHost(addr: number, n: number, hostFd: number, offset: number): number {
    return addr + n > this.top ? -EFAULT : this.space.toHost(addr, n, hostFd, offset);
  }

  /** Somebody else looks at the code, or may at any time: from now on it is and stays as the guest has loaded it. */
  showCode(): void {
    if (this.isCodeShown) return;
    this.isCodeShown = true;
    this.space.restoreCode();
  }

  /** showCode() if there is any in the range. */
  showCodeIn(addr: number, n: number): void {
    if (this.isCodeShown) return;
    const { list } = this.vmas;
    for (let at = this.vmas.indexAt(addr); at < list.length && list[at]!.start < addr + n; at++) {
      if ((list[at]!.prot & PROT_EXEC) !== 0) this.showCode();
    }
  }

  patchableProt(addr: number): number {
    if (this.isCodeShown) return -1;
    const v = this.vmas.find(addr);
    return v === undefined || v.shared || (v.prot & (PROT_WRITE | PROT_EXEC)) !== PROT_EXEC ? -1 : v.prot;
  }

  isWritable(addr: number, n: number): boolean {
    const { list } = this.vmas;
    const end = addr + n;
    for (let at = this.vmas.indexAt(addr); at < list.length; at++) {
      const v = list[at]!;
      if (v.start > addr || (v.prot & PROT_WRITE) === 0) return false;
      if (v.end >= end) return true;
      addr = v.end;
    }
    return false;
  }

  /** Past page protections, for debuggers: bytes moved. */
  readForced(addr: number, dst: Uint8Array, at: number, n: number): number {
    this.showCodeIn(addr, n);
    return this.canSee(addr, n) ? this.space.readForced(addr, dst, at, n) : 0;
  }

  writeForced(addr: number, src: Uint8Array, at: number, n: number): number {
    this.showCodeIn(addr, n);
    return this.canSee(addr, n) ? this.space.writeForced(addr, src, at, n) : 0;
  }

  /** For host calls that name the process whose memory they move. */
  get hostTid(): number {
    return this.space.memoryTid;
  }

  /**
   * Where a new mapping of `length` bytes goes: mm/mmap.c:get_unmapped_area(). A hint is taken when
   * it is free. -ENOMEM when there is no room.
   */
  findAddress(hint: number, length: number, low32: boolean): number {
    if (
      hint >= MIN_ADDRESS &&
      hint + length <= this.top &&
      !this.vmas.overlaps(hint, hint + length) &&
      !this.isTaken(hint, hint + length)
    ) {
      return hint;
    }
    if (low32) {
      // MAP_32BIT: arch/x86/kernel/sys_x86_64.c:find_start_end().
      const start = this.vmas.findFreeUp(length, 0x40000000, 0x80000000);
      return start < 0 ? -ENOMEM : start;
    }
    let start = this.vmas.findFree(length, MIN_ADDRESS, this.mmapBase);
    if (start >= 0 && this.isTaken(start, start + length)) start = this.vmas.findFree(length, MIN_ADDRESS, this.vdsoStart);
    for (let from = MIN_ADDRESS; start < 0; ) {
      start = this.vmas.findFreeUp(length, from, this.top);
      if (start < 0) return -ENOMEM;
      if (!this.isTaken(start, start + length)) break;
      from = start < this.vdsoEnd && start + length > this.vdsoStart ? this.vdsoEnd : this.anchor + PAGE_SIZE;
      start = -1;
    }
    return start;
  }

  private isFree(start: number, end: number): boolean {
    return !this.vmas.overlaps(start, end) && !this.isTaken(start, end);
  }

  /** The host has something in [start, end) that is no mapping of the guest's. */
  private isTaken(start: number, end: number): boolean {
    if (this.hasVdso && start < this.vdsoEnd && end > this.vdsoStart) return true;
    return this.anchor !== 0 && start < this.anchor + PAGE_SIZE && end > this.anchor;
  }

  /**
   * Maps a page without rights right above what mmap is to place. As long as it is there the host keeps the page tables of its
   * neighbourhood: a mapping that comes and goes would otherwise take two pages for them with it each time. On Linux
   * the vDSO is at this place.
   */
  hold(context: Context): void {
    this.anchor = this.mmapBase;
    context.addCall(SYS_mmap, 0, this.anchor, PAGE_SIZE, 0, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
  }

  /**
   * Maps [addr, addr+length), replacing what was there. Takes over the backing's reference. The
   * host call lands in the context's batch. 0 or -errno.
   */
  map(
    context: Context,
    send: SendFd,
    addr: number,
    length: number,
    prot: number,
    maxProt: number,
    flags: number,
    backing: Backing | null,
    offset: number,
    label: string,
  ): number {
    let hostFlags =
      MAP_FIXED | (flags & (MAP_NORESERVE | MAP_POPULATE)) | (backing !== null && (flags & MAP_SHARED) !== 0 ? MAP_SHARED : MAP_PRIVATE);
    if (backing === null) {
      hostFlags |= MAP_ANONYMOUS;
      context.addCall(SYS_mmap, 0, addr, length, prot, hostFlags, -1, 0);
    } else {
      const fd = (flags & MAP_SHARED) !== 0 && (maxProt & PROT_WRITE) !== 0 ? backing.hostFd : backing.readOnlyFd();
      const sent = fd < 0 ? fd : send(context, fd);
      if (sent < 0) {
        backing.decRef();
        return sent;
      }
      context.addCall(SYS_mmap, HOSTCALL_RECEIVED_FD, addr, length, prot, hostFlags, 0, backing.hostOffset + offset);
    }
    this.replaced(addr, addr + length);
    this.vmas.remove(addr, addr + length);
    this.vmas.insert(new Vma(addr, addr + length, prot, maxProt, flags & KEPT_FLAGS, backing, offset, label));
    this.peak = Math.max(this.peak, this.vmas.total);
    return 0;
  }

  /** What fork and exec leave as it is: include/linux/mm_types.h:mmf_init_legacy_flags(). */
  keepFlags(from: MemoryManager): void {
    this.coredumpFilter = from.coredumpFilter;
    this.mergesAny = from.mergesAny;
    this.mdwe = (from.mdwe & MDWE_NO_INHERIT) !== 0 ? 0 : from.mdwe;
  }

  /** PR_MDWE_REFUSE_EXEC_GAIN: include/linux/mman.h:map_deny_write_exec(). `old` is what the mapping has now. */
  deniesExec(old: number, prot: number): boolean {
    if (this.mdwe === 0 || (prot & PROT_EXEC) === 0) return false;
    return (prot & PROT_WRITE) !== 0 || (old & PROT_EXEC) === 0;
  }

  /** mseal(2): what is mapped in [start, end) stays as it is until the program ends. */
  seal(start: number, end: number): void {
    this.hasSeals = true;
    const { list } = this.vmas;
    this.vmas.splitAt(start);
    this.vmas.splitAt(end);
    for (let at = this.vmas.indexAt(start); at < list.length && list[at]!.start < end; at++) list[at]!.sealed = true;
    this.vmas.mergeAround(start, end);
  }

  /** Whether anything in [start, end) is sealed. */
  isSealed(start: number, end: number): boolean {
    if (!this.hasSeals) return false;
    const { list } = this.vmas;
    for (let at = this.vmas.indexAt(start); at < list.length && list[at]!.start < end; at++) if (list[at]!.sealed) return true;
    return false;
  }

  /** Whether contents of sealed memory that nobody may write would be lost: mm/madvise.c:can_madvise_modify(). */
  sealsContents(start: number, end: number): boolean {
    if (!this.hasSeals) return false;
    const { list } = this.vmas;
    for (let at = this.vmas.indexAt(start); at < list.length && list[at]!.start < end; at++) {
      const v = list[at]!;
      if (v.sealed && v.backing === null && (v.prot & PROT_WRITE) === 0) return true;
    }
    return false;
  }

  /** What was the host's in [start, end) is the guest's now. */
  private replaced(start: number, end: number): void {
    if (!this.isTaken(start, end)) return;
    if (this.anchor < end && this.anchor + PAGE_SIZE > start) this.anchor = 0;
    if (!this.hasVdso || start >= this.vdsoEnd || end <= this.vdsoStart) return;
    // The stub reads clocks there as well.
    this.hasVdso = false;
    this.space.withdrawAnswers();
  }

  /** The host refused a mapping after all: nothing is there. */
  forget(addr: number, length: number): void {
    this.vmas.remove(addr, addr + length);
  }

  /** Unmaps; returns whether there is anything for the host to do. */
  unmap(context: Context, addr: number, length: number): boolean {
    if (!this.vmas.overlaps(addr, addr + length)) return false;
    this.vmas.remove(addr, addr + length);
    context.addCall(SYS_munmap, 0, addr, length, 0, 0, 0, 0);
    return true;
  }

  /** mprotect(2) on a checked, page-aligned range. 0, -ENOMEM, -EPERM, -EACCES. */
  protect(context: Context, addr: number, length: number, prot: number): number {
    const end = addr + length;
    if (!this.vmas.covers(addr, end)) return -ENOMEM;
    const list = this.vmas.list;
    if (this.isSealed(addr, end)) return -EPERM;
    for (let at = this.vmas.indexAt(addr); at < list.length && list[at]!.start < end; at++) {
      if ((prot & ~list[at]!.maxProt) !== 0 || this.deniesExec(list[at]!.prot, prot)) return -EACCES;
    }
    this.vmas.splitAt(addr);
    this.vmas.splitAt(end);
    for (let at = this.vmas.indexAt(addr); at < list.length && list[at]!.start < end; at++) {
      list[at]!.prot = prot;
      list[at]!.noteWritable();
    }
    this.vmas.mergeAround(addr, end);
    context.addCall(SYS_mprotect, 0, addr, length, prot, 0, 0, 0);
    return 0;
  }

  /** madvise(2) advice that marks mappings. */
  mark(addr: number, end: number, advice: number): number {
    const list = this.vmas.list;
    if (advice === MADV_WIPEONFORK) {
      for (let at = this.vmas.indexAt(addr); at < list.length && list[at]!.start < end; at++) {
        if (list[at]!.backing !== null || list[at]!.shared) return -EINVAL;
      }
    }
    this.vmas.splitAt(addr);
    this.vmas.splitAt(end);
    for (let at = this.vmas.indexAt(addr); at < list.length && list[at]!.start < end; at++) {
      const v = list[at]!;
      if (advice === MADV_DONTFORK) v.dontFork = true;
      if (advice === MADV_DOFORK) v.dontFork = false;
      if (advice === MADV_WIPEONFORK) v.wipeOnFork = true;
      if (advice === MADV_KEEPONFORK) v.wipeOnFork = false;
      if (advice === MADV_DONTDUMP) v.dontDump = true;
      if (advice === MADV_DODUMP) v.dontDump = false;
    }
    this.vmas.mergeAround(addr, end);
    return 0;
  }

  /** mlock and munlock: marks what is mapped in [start, end). */
  setLocked(start: number, end: number, on: boolean): void {
    const list = this.vmas.list;
    this.vmas.splitAt(start);
    this.vmas.splitAt(end);
    for (let at = this.vmas.indexAt(start); at < list.length && list[at]!.start < end; at++) {
      if (on) list[at]!.flags |= MAP_LOCKED;
      else list[at]!.flags &= ~MAP_LOCKED;
    }
    this.vmas.mergeAround(start, end);
  }

  /** Bytes of [start, end) that are locked. */
  lockedBytes(start = 0, end: number = this.top): number {
    let n = 0;
    for (let at = this.vmas.indexAt(start); at < this.vmas.list.length && this.vmas.list[at]!.start < end; at++) {
      const v = this.vmas.list[at]!;
      if ((v.flags & MAP_LOCKED) !== 0) n += Math.min(v.end, end) - Math.max(v.start, start);
    }
    return n;
  }

  /** Bytes that RLIMIT_DATA counts: is_data_mapping(). */
  dataBytes(): number {
    let n = 0;
    for (const v of this.vmas.list) if (!v.shared && (v.prot & PROT_WRITE) !== 0 && v.label !== '[stack]') n += v.end - v.start;
    return n;
  }

  adviseHost(context: Context, addr: number, length: number, advice: number): void {
    context.addCall(SYS_madvise, 0, addr, length, advice, 0, 0, 0);
  }

  /**
   * mremap(2) of one mapping, all lengths page aligned and not 0: the new address or -errno.
   * `fixedAddr` is -1 unless MREMAP_FIXED.
   */
  remap(
    context: Context,
    addr: number,
    oldLength: number,
    newLength: number,
    mayMove: boolean,
    fixedAddr: number,
    dontUnmap: boolean,
  ): number {
    const v = this.vmas.find(addr);
    if (v === undefined) return -EFAULT;
    if (this.isSealed(addr, addr + oldLength) || (fixedAddr >= 0 && this.isSealed(fixedAddr, fixedAddr + newLength))) return -EPERM;
    // What is cut off may lie in other mappings: mm/mremap.c:shrink_vma().
    if (newLength < oldLength) {
      this.unmap(context, addr + newLength, oldLength - newLength);
      oldLength = newLength;
      if (fixedAddr < 0) return addr;
    }
    if (v.end < addr + oldLength) return -EFAULT;
    if (fixedAddr < 0 && newLength === oldLength && !dontUnmap) return addr;
    const grownEnd = addr + newLength;
    if (fixedAddr < 0 && !dontUnmap && v.end === addr + oldLength && grownEnd <= this.top && this.isFree(v.end, grownEnd)) {
      const piece = new Vma(
        v.end,
        grownEnd,
        v.prot,
        v.maxProt,
        v.flags,
        v.backing,
        v.backing === null ? 0 : v.offset + (v.end - v.start),
        v.label,
      );
      v.backing?.incRef();
      this.vmas.insert(piece);
      context.addCall(SYS_mremap, 0, addr, oldLength, newLength, 0, 0, 0);
      return addr;
    }
    if (!mayMove) return -ENOMEM;
    const to = fixedAddr >= 0 ? fixedAddr : this.findAddress(0, newLength, false);
    if (to < 0) return to;
    this.replaced(to, to + newLength);
    const moved = v.slice(addr, addr + oldLength);
    const offset = moved.offset;
    if (fixedAddr >= 0) this.vmas.remove(to, to + newLength);
    if (!dontUnmap) this.vmas.remove(addr, addr + oldLength);
    moved.start = to;
    moved.end = to + newLength;
    moved.offset = offset;
    this.vmas.insert(moved);
    // The host takes MREMAP_FIXED|MREMAP_MAYMOVE (and DONTUNMAP, 4) for the address that we chose.
    context.addCall(SYS_mremap, 0, addr, oldLength, newLength, 3 | (dontUnmap ? 4 : 0), to, 0);
    this.peak = Math.max(this.peak, this.vmas.total);
    return to;
  }

  /** A copy for fork: the host has copied (or shares) the memory itself. */
  fork(space: AddressSpace): MemoryManager {
    const child = new MemoryManager(space, this.top, this.vdsoStart, this.vdsoEnd);
    child.mmapBase = this.mmapBase;
    child.anchor = this.anchor;
    child.hasVdso = this.hasVdso;
    child.brkStart = this.brkStart;
    child.brk = this.brk;
    child.codeStart = this.codeStart;
    child.codeEnd = this.codeEnd;
    child.dataStart = this.dataStart;
    child.dataEnd = this.dataEnd;
    child.stackStart = this.stackStart;
    child.keepFlags(this);
    child.hasSeals = this.hasSeals;
    for (const v of this.vmas.list) {
      if (v.dontFork) continue;
      const copy = v.slice(v.start, v.end);
      // "Memory locks are not inherited by a child" - mlock(2).
      copy.flags &= ~MAP_LOCKED;
      child.vmas.list.push(copy);
      child.vmas.total += copy.end - copy.start;
    }
    child.peak = child.vmas.total;
    return child;
  }

  /**
   * What a futex word is known by: threads that name the same memory get the same key, whatever
   * their address of it. A number where it can be (private ones of the first mms), else a string.
   */
  futexKey(addr: number, isPrivate: boolean): number | string {
    if (!isPrivate) {
      const v = this.vmas.find(addr);
      if (v?.shared && v.backing !== null) return `s${v.backing.id}:${v.offset + (addr - v.start)}`;
    }
    // Who waits for a word of private memory as shared is not woken by who takes it for private: FUT_OFF_MMSHARED.
    if (this.id < 128) return this.id * 2 ** 46 + addr / 4 + (isPrivate ? 0 : 2 ** 45);
    return isPrivate ? `p${this.id}:${addr}` : `q${this.id}:${addr}`;
  }

  /** SIGSEGV below a growing stack: the start of the range to add above `addr`, or -1. mm/memory.c:expand_stack(). */
  growthFor(addr: number, stackLimit: number): Vma | null {
    const at = this.vmas.indexAt(addr);
    const v = this.vmas.list[at];
    if (v === undefined || !v.growsDown || v.start <= addr || v.end - addr > stackLimit) return null;
    const below = this.vmas.list[at - 1];
    if (below !== undefined && pageDown(addr) < below.end + 4096) return null;
    return v;
  }
}
