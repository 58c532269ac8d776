// mmap(2) and its family. The address space's rules are in mm/memory-manager.ts; here arguments
// are checked as mm/mmap.c, mm/mprotect.c, mm/mremap.c and mm/madvise.c check them.

import type { Context } from '../../platform/platform.ts';
import { EACCES, EAGAIN, EBADF, EBUSY, EEXIST, EFAULT, EINVAL, ENOMEM, EOPNOTSUPP, EOVERFLOW, EPERM } from '../abi/errno.ts';
import { F_SEAL_FUTURE_WRITE, F_SEAL_WRITE } from '../abi/fcntl.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import {
  MADV_COLD,
  MADV_COLLAPSE,
  MADV_DODUMP,
  MADV_DOFORK,
  MADV_DONTDUMP,
  MADV_DONTFORK,
  MADV_DONTNEED,
  MADV_FREE,
  MADV_HUGEPAGE,
  MADV_HWPOISON,
  MADV_KEEPONFORK,
  MADV_MERGEABLE,
  MADV_NOHUGEPAGE,
  MADV_NORMAL,
  MADV_PAGEOUT,
  MADV_POPULATE_READ,
  MADV_POPULATE_WRITE,
  MADV_RANDOM,
  MADV_REMOVE,
  MADV_SEQUENTIAL,
  MADV_UNMERGEABLE,
  MADV_WILLNEED,
  MADV_WIPEONFORK,
  MAP_32BIT,
  MAP_ANONYMOUS,
  MAP_DENYWRITE,
  MAP_EXECUTABLE,
  MAP_FIXED,
  MAP_FIXED_NOREPLACE,
  MAP_GROWSDOWN,
  MAP_HUGETLB,
  MAP_LOCKED,
  MAP_NONBLOCK,
  MAP_NORESERVE,
  MAP_POPULATE,
  MAP_PRIVATE,
  MAP_SHARED,
  MAP_SHARED_VALIDATE,
  MAP_STACK,
  MAP_TYPE,
  MREMAP_DONTUNMAP,
  MREMAP_FIXED,
  MREMAP_MAYMOVE,
  MS_ASYNC,
  MS_INVALIDATE,
  MS_SYNC,
  PROT_EXEC,
  PROT_GROWSDOWN,
  PROT_GROWSUP,
  PROT_READ,
  PROT_SEM,
  PROT_WRITE,
} from '../abi/mman.ts';
import { MS_NOEXEC } from '../abi/mount.ts';
import { RLIMIT_AS, RLIMIT_DATA } from '../abi/sched.ts';
import {
  SYS_brk,
  SYS_madvise,
  SYS_mincore,
  SYS_mmap,
  SYS_mprotect,
  SYS_mremap,
  SYS_mseal,
  SYS_msync,
  SYS_munmap,
  SYS_remap_file_pages,
} from '../abi/sysno-x64.ts';
import { UNLIMITED } from '../kernel/limits.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { FileBacking, SharedMemory } from '../mm/backing.ts';
import { scratch } from '../mm/guest-memory.ts';
import { MIN_ADDRESS, PROT_MASK, pageDown, pageUp } from '../mm/memory-manager.ts';
import type { Backing } from '../mm/vma.ts';
import type { FileDescription, Mappable } from '../vfs/file-description.ts';
import { openFile } from './io-common.ts';
import { checkNewLock, mayLockMore } from './mm-lock.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** include/linux/mman.h:LEGACY_MAP_MASK. */
const LEGACY_MAP_MASK =
  MAP_TYPE |
  MAP_FIXED |
  MAP_ANONYMOUS |
  MAP_DENYWRITE |
  MAP_EXECUTABLE |
  MAP_GROWSDOWN |
  MAP_LOCKED |
  MAP_NORESERVE |
  MAP_POPULATE |
  MAP_NONBLOCK |
  MAP_STACK |
  MAP_HUGETLB |
  MAP_32BIT;

const mappable: Mappable = { hostFd: -1, offset: 0 };

// One function for all: the platform is reached through the context's owner, the running task.
let sender: Task;
function send(context: Context, hostFd: number): number {
  return sender.kernel.platform.sendFd(context, hostFd);
}

function aligned(n: number): boolean {
  return n % PAGE_SIZE === 0;
}

/** mmap(2). */
export function mmap(t: Task, a: SyscallArgs): number {
  const hint = a.addr(0);
  const length = pageUp(a.addr(1));
  const prot = a.int(2) & PROT_MASK;
  const flags = a.int(3);
  const offset = a.addr(5);
  if (!aligned(offset)) return -EINVAL;
  let file: FileDescription | undefined;
  if ((flags & MAP_ANONYMOUS) === 0) {
    file = openFile(t, a.int(4));
    if (file === undefined) return -EBADF;
  }
  if (a.addr(1) === 0) return -EINVAL;
  if (length === 0 || length > t.mm.top) return -ENOMEM;
  if (offset + length >= 2 ** 63) return -EOVERFLOW;
  const type = flags & MAP_TYPE;
  // MAP_SHARED_VALIDATE is for files alone, and refuses flags that it does not know.
  if (type !== MAP_SHARED && type !== MAP_PRIVATE && (type !== MAP_SHARED_VALIDATE || file === undefined)) return -EINVAL;
  if (type === MAP_SHARED_VALIDATE && (flags & ~LEGACY_MAP_MASK) !== 0) return -EOPNOTSUPP;
  // No huge pages are set aside: hugetlb_file_setup() of an empty pool.
  if ((flags & MAP_HUGETLB) !== 0) return -ENOMEM;
  const mm = t.mm;

  const fixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) !== 0;
  let addr: number;
  if (fixed) {
    if (!aligned(hint)) return -EINVAL;
    if (hint + length > mm.top) return -ENOMEM;
    if (hint < MIN_ADDRESS) return -EPERM;
    if ((flags & MAP_FIXED_NOREPLACE) !== 0 && mm.vmas.overlaps(hint, hint + length)) return -EEXIST;
    if (mm.isSealed(hint, hint + length)) return -EPERM;
    addr = hint;
  } else {
    addr = mm.findAddress(pageUp(hint), length, (flags & MAP_32BIT) !== 0);
    if (addr < 0) return addr;
  }
  if (mm.vmas.total + length > t.group.limits.soft[RLIMIT_AS]!) return -ENOMEM;
  if (!fitsDataLimit(t, flags, prot, length)) return -ENOMEM;
  const isLocked = (flags & MAP_LOCKED) !== 0;
  const may = checkNewLock(t, length, isLocked);
  if (may < 0) return may;

  if (mm.deniesExec(PROT_EXEC, prot)) return -EACCES;
  const shared = type !== MAP_PRIVATE;
  let maxProt = PROT_MASK;
  let backing: Backing | null = null;
  let label = '';
  if (file !== undefined && file.anonymousMapping !== true) {
    maxProt = fileMaxProt(file, shared);
    if (!file.readable) return -EACCES;
    if (shared && (prot & PROT_WRITE) !== 0 && !file.writable) return -EACCES;
    if ((prot & PROT_EXEC) !== 0 && (maxProt & PROT_EXEC) === 0) return -EPERM;
    const able = file.mmap(t, mappable, prot, shared);
    if (able < 0) return able;
    backing = new FileBacking(file, mappable.hostFd, mappable.offset);
  } else if (shared) {
    label = '/dev/zero (deleted)';
    const memory = SharedMemory.create(length, label);
    if (typeof memory === 'number') return memory;
    backing = memory;
    label = '';
  }

  const c = t.context;
  c.resetCalls();
  sender = t;
  const kept =
    (shared ? MAP_SHARED : MAP_PRIVATE) |
    (flags & (MAP_GROWSDOWN | MAP_NORESERVE | MAP_POPULATE)) |
    (isLocked || mm.lockFuture ? MAP_LOCKED : 0);
  const mapped = mm.map(c, send, addr, length, prot, maxProt, kept, backing, backing instanceof FileBacking ? offset : 0, label);
  if (mapped < 0) return mapped;
  t.n0 = addr;
  t.n1 = length;
  return t.tailHostCalls(resumeMmapFailed);
}

/** may_expand_vm(): RLIMIT_DATA counts private mappings that can be written, but for stacks. */
function fitsDataLimit(t: Task, flags: number, prot: number, length: number): boolean {
  const limit = t.group.limits.soft[RLIMIT_DATA]!;
  if (limit === UNLIMITED || (flags & MAP_TYPE) !== MAP_PRIVATE || (prot & PROT_WRITE) === 0 || (flags & MAP_GROWSDOWN) !== 0) return true;
  return t.mm.dataBytes() + length <= limit;
}

function resumeMmapFailed(t: Task, _why: number): number {
  t.mm.forget(t.n0, t.n1);
  return t.context.callResult(t.context.callsDone);
}

/** What mprotect may later give a mapping of the file: mm/mmap.c:do_mmap(). */
function fileMaxProt(file: FileDescription, shared: boolean): number {
  let prot = PROT_MASK;
  // Seals take the right from new mappings: mm/memfd.c:memfd_check_seals_mmap().
  const seals = shared ? file.getSeals() : 0;
  if (shared && (!file.writable || (seals > 0 && (seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) !== 0))) prot &= ~PROT_WRITE;
  const mount = file.path?.mount;
  if (mount !== undefined && (mount.flags & MS_NOEXEC) !== 0) prot &= ~PROT_EXEC;
  return prot;
}

/** munmap(2). */
export function munmap(t: Task, a: SyscallArgs): number {
  const addr = a.addr(0);
  const length = pageUp(a.addr(1));
  if (!aligned(addr) || length === 0 || addr + length > t.mm.top) return -EINVAL;
  if (t.mm.isSealed(addr, addr + length)) return -EPERM;
  t.context.resetCalls();
  if (!t.mm.unmap(t.context, addr, length)) return 0;
  return t.tailHostCalls(resumeFailedCall);
}

/** The result of the call that the host has refused. */
function resumeFailedCall(t: Task, _why: number): number {
  return t.context.callResult(t.context.callsDone);
}

/** mprotect(2). */
export function mprotect(t: Task, a: SyscallArgs): number {
  let addr = a.addr(0);
  const prot = a.int(2);
  const grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
  if (grows === (PROT_GROWSDOWN | PROT_GROWSUP)) return -EINVAL;
  if (!aligned(addr)) return -EINVAL;
  let length = pageUp(a.addr(1));
  if (a.addr(1) === 0) return 0;
  if (isVvar(t, addr) && (prot & PROT_WRITE) !== 0) return -EACCES;
  if (addr + length > t.mm.top || length === 0) return -ENOMEM;
  if ((prot & ~(PROT_MASK | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP)) !== 0) return -EINVAL;
  if (grows === PROT_GROWSDOWN) {
    const v = t.mm.vmas.find(addr);
    if (v === undefined) return -ENOMEM;
    if (!v.growsDown && v.label !== '[stack]') return -EINVAL;
    length += addr - v.start;
    addr = v.start;
  } else if (grows === PROT_GROWSUP) {
    return -EINVAL;
  }
  t.context.resetCalls();
  const result = t.mm.protect(t.context, addr, length, prot & PROT_MASK);
  return result < 0 ? result : t.tailHostCalls(resumeFailedCall);
}

/** The vDSO's data, which nobody may ever write: VM_MAYWRITE is not set. */
function isVvar(t: Task, addr: number): boolean {
  const { vdsoAddr, vvarSize } = t.kernel.platform;
  return addr >= vdsoAddr - vvarSize && addr < vdsoAddr;
}

/** brk(2): the new break, or the old one when it cannot be. */
export function brk(t: Task, a: SyscallArgs): number {
  const mm = t.mm;
  const want = a.addr(0);
  if (want < mm.brkStart || want > mm.top) return mm.brk;
  const oldEnd = pageUp(mm.brk);
  const newEnd = pageUp(want);
  const c = t.context;
  if (newEnd === oldEnd) {
    mm.brk = want;
    return want;
  }
  c.resetCalls();
  t.n0 = oldEnd;
  t.n1 = newEnd;
  t.n2 = want;
  if (newEnd < oldEnd) {
    if (mm.isSealed(newEnd, oldEnd)) return mm.brk;
    mm.unmap(c, newEnd, oldEnd - newEnd);
    mm.brk = want;
    return c.callCount === 0 ? want : t.hostCalls(resumeBrk);
  }
  const limit = t.group.limits.soft[RLIMIT_DATA]!;
  if (newEnd - mm.brkStart + (mm.dataEnd - mm.dataStart) > limit) return mm.brk;
  if (!fitsDataLimit(t, MAP_PRIVATE, PROT_WRITE, newEnd - oldEnd) || checkNewLock(t, newEnd - oldEnd, false) < 0) return mm.brk;
  if (mm.vmas.total + (newEnd - oldEnd) > t.group.limits.soft[RLIMIT_AS]!) return mm.brk;
  if (mm.vmas.overlaps(oldEnd, newEnd + PAGE_SIZE)) return mm.brk;
  mm.map(
    c,
    send,
    oldEnd,
    newEnd - oldEnd,
    PROT_READ | PROT_WRITE,
    PROT_MASK,
    MAP_PRIVATE | (mm.lockFuture ? MAP_LOCKED : 0),
    null,
    0,
    '[heap]',
  );
  return t.hostCalls(resumeBrk);
}

function resumeBrk(t: Task, _why: number): number {
  const mm = t.mm;
  if (t.context.callsDone === t.context.callCount) {
    mm.brk = t.n2;
  } else if (t.n1 > t.n0) {
    mm.forget(t.n0, t.n1 - t.n0);
  }
  return mm.brk;
}

/** mremap(2). */
export function mremap(t: Task, a: SyscallArgs): number {
  const addr = a.addr(0);
  const oldLength = pageUp(a.addr(1));
  const newLength = pageUp(a.addr(2));
  const flags = a.int(3);
  const newAddr = a.addr(4);
  const mm = t.mm;
  const fixed = (flags & MREMAP_FIXED) !== 0;
  const dontUnmap = (flags & MREMAP_DONTUNMAP) !== 0;
  const mayMove = (flags & MREMAP_MAYMOVE) !== 0;
  if ((flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP)) !== 0) return -EINVAL;
  if ((fixed || dontUnmap) && !mayMove) return -EINVAL;
  if (dontUnmap && oldLength !== newLength) return -EINVAL;
  if (!aligned(addr) || newLength === 0) return -EINVAL;
  if (newLength > mm.top) return -ENOMEM;
  if (fixed) {
    if (!aligned(newAddr) || newAddr + newLength > mm.top) return -EINVAL;
    if (addr + oldLength > newAddr && newAddr + newLength > addr) return -EINVAL;
    if (newAddr < MIN_ADDRESS) return -EPERM;
  }
  const v = mm.vmas.find(addr);
  // A length of 0 duplicates a shared mapping and is refused for a private one: mm/mremap.c:vma_to_resize().
  if (oldLength === 0) return v === undefined ? -EFAULT : duplicateShared(t, addr, newLength, fixed ? newAddr : -1, mayMove);
  if (dontUnmap && v?.backing != null && !v.shared) return -EINVAL;
  if (newLength > oldLength && mm.vmas.total + newLength - oldLength > t.group.limits.soft[RLIMIT_AS]!) return -ENOMEM;
  if (newLength > oldLength && v !== undefined && (v.flags & MAP_LOCKED) !== 0 && !mayLockMore(t, newLength - oldLength)) return -EAGAIN;
  const c = t.context;
  c.resetCalls();
  const result = mm.remap(c, addr, oldLength, newLength, mayMove, fixed ? newAddr : -1, dontUnmap);
  if (result < 0 || c.callCount === 0) return result;
  t.n0 = result;
  return t.hostCalls(resumeMremap);
}

function resumeMremap(t: Task, _why: number): number {
  return t.context.callsDone === t.context.callCount ? t.n0 : t.context.callResult(t.context.callsDone);
}

function duplicateShared(t: Task, addr: number, length: number, fixedAddr: number, mayMove: boolean): number {
  const v = t.mm.vmas.find(addr)!;
  if (!v.shared || v.backing === null) return -EINVAL;
  if (!mayMove) return -ENOMEM;
  const to = fixedAddr >= 0 ? fixedAddr : t.mm.findAddress(0, length, false);
  if (to < 0) return to;
  t.context.resetCalls();
  sender = t;
  v.backing.incRef();
  const mapped = t.mm.map(t.context, send, to, length, v.prot, v.maxProt, v.flags, v.backing, v.offset + (addr - v.start), v.label);
  if (mapped < 0) return mapped;
  t.n0 = to;
  t.n1 = length;
  return t.tailHostCalls(resumeMmapFailed);
}

/** madvise(2). */
export function madvise(t: Task, a: SyscallArgs): number {
  const addr = a.addr(0);
  const advice = a.int(2);
  if (!knownAdvice(advice)) return -EINVAL;
  const length = pageUp(a.addr(1));
  if (!aligned(addr) || (a.addr(1) !== 0 && length === 0)) return -EINVAL;
  // What wraps on Linux is a double beyond 64 bits here.
  if (addr + length >= 2 ** 64) return -EINVAL;
  if (length === 0) return 0;
  const mm = t.mm;
  const end = addr + length;
  const covered = mm.vmas.covers(addr, end);
  const c = t.context;
  switch (advice) {
    case MADV_DONTNEED:
    case MADV_FREE:
      if (mm.sealsContents(addr, end)) return -EPERM;
      if (advice === MADV_FREE && !anonymousPrivate(t, addr, end)) return -EINVAL;
      // can_madv_lru_vma().
      if (mm.lockedBytes(addr, end) > 0) return -EINVAL;
      c.resetCalls();
      adviseMapped(t, addr, end, advice);
      if (c.callCount === 0) return covered ? 0 : -ENOMEM;
      t.n0 = covered ? 0 : -ENOMEM;
      return t.hostCalls(resumeAdvise);
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
      if (!covered) return -ENOMEM;
      c.resetCalls();
      mm.adviseHost(c, addr, length, advice);
      t.n0 = 0;
      return t.hostCalls(resumeAdvise);
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK: {
      if ((advice === MADV_DONTFORK || advice === MADV_WIPEONFORK) && mm.sealsContents(addr, end)) return -EPERM;
      const marked = mm.mark(addr, end, advice);
      if (marked < 0) return marked;
      c.resetCalls();
      adviseMapped(t, addr, end, advice);
      t.n0 = covered ? 0 : -ENOMEM;
      return c.callCount === 0 ? t.n0 : t.hostCalls(resumeAdvise);
    }
    case MADV_DONTDUMP:
    case MADV_DODUMP:
      mm.mark(addr, end, advice);
      return covered ? 0 : -ENOMEM;
    case MADV_REMOVE: {
      const v = mm.vmas.find(addr);
      if (v === undefined) return -ENOMEM;
      if (!v.shared || v.backing === null || (v.maxProt & PROT_WRITE) === 0) return v.backing === null ? -EINVAL : -EACCES;
      c.resetCalls();
      mm.adviseHost(c, addr, Math.min(end, v.end) - addr, advice);
      t.n0 = 0;
      return t.hostCalls(resumeAdvise);
    }
    case MADV_HWPOISON:
      return -EPERM;
    case MADV_COLD:
    case MADV_PAGEOUT:
      return mm.lockedBytes(addr, end) > 0 ? -EINVAL : covered ? 0 : -ENOMEM;
    default:
      // Hints about access patterns and page sizes: taken, without effect.
      return covered ? 0 : -ENOMEM;
  }
}

function resumeAdvise(t: Task, _why: number): number {
  return t.context.callsDone === t.context.callCount ? t.n0 : t.context.callResult(t.context.callsDone);
}

function knownAdvice(advice: number): boolean {
  switch (advice) {
    case MADV_NORMAL:
    case MADV_RANDOM:
    case MADV_SEQUENTIAL:
    case MADV_WILLNEED:
    case MADV_DONTNEED:
    case MADV_FREE:
    case MADV_REMOVE:
    case MADV_DONTFORK:
    case MADV_DOFORK:
    case MADV_MERGEABLE:
    case MADV_UNMERGEABLE:
    case MADV_HUGEPAGE:
    case MADV_NOHUGEPAGE:
    case MADV_DONTDUMP:
    case MADV_DODUMP:
    case MADV_WIPEONFORK:
    case MADV_KEEPONFORK:
    case MADV_COLD:
    case MADV_PAGEOUT:
    case MADV_POPULATE_READ:
    case MADV_POPULATE_WRITE:
    case MADV_COLLAPSE:
    case MADV_HWPOISON:
      return true;
    default:
      return false;
  }
}

function anonymousPrivate(t: Task, addr: number, end: number): boolean {
  const list = t.mm.vmas.list;
  for (let at = t.mm.vmas.indexAt(addr); at < list.length && list[at]!.start < end; at++) {
    if (list[at]!.backing !== null) return false;
  }
  return true;
}

/** One host call per mapped stretch, as far as the batch reaches: the host has the same holes. */
function adviseMapped(t: Task, addr: number, end: number, advice: number): void {
  const list = t.mm.vmas.list;
  let at = t.mm.vmas.indexAt(addr);
  while (at < list.length && list[at]!.start < end && !t.context.callsFull) {
    const from = Math.max(addr, list[at]!.start);
    let to = list[at]!.end;
    while (at + 1 < list.length && list[at + 1]!.start === to && to < end) to = list[++at]!.end;
    t.mm.adviseHost(t.context, from, Math.min(to, end) - from, advice);
    at++;
  }
}

/** mseal(2). */
export function mseal(t: Task, a: SyscallArgs): number {
  const start = a.addr(0);
  const length = pageUp(a.addr(1));
  if (a.addr(2) !== 0 || !aligned(start)) return -EINVAL;
  if (length === 0) return a.addr(1) === 0 ? 0 : -EINVAL;
  const end = start + length;
  if (end >= 2 ** 64) return -EINVAL;
  if (!t.mm.vmas.covers(start, end)) return -ENOMEM;
  t.mm.seal(start, end);
  return 0;
}

/** remap_file_pages(2), which Linux too makes a mapping of its own by now: mm/mmap.c. */
export function remap_file_pages(t: Task, a: SyscallArgs): number {
  const start = pageDown(a.addr(0));
  const length = pageDown(a.addr(1));
  const offset = a.addr(3) * PAGE_SIZE;
  if (a.addr(2) !== 0 || length === 0 || start + length > t.mm.top) return -EINVAL;
  if (offset + length >= 2 ** 63) return -EINVAL;
  const end = start + length;
  const { vmas } = t.mm;
  const v = vmas.find(start);
  if (v === undefined || !v.shared || v.backing === null || !vmas.covers(start, end)) return -EINVAL;
  for (let at = vmas.indexAt(start); at < vmas.list.length && vmas.list[at]!.start < end; at++) {
    const next = vmas.list[at]!;
    if (next.backing !== v.backing || next.flags !== v.flags || next.prot !== v.prot) return -EINVAL;
  }
  if (t.mm.isSealed(start, end)) return -EPERM;
  t.context.resetCalls();
  sender = t;
  v.backing.incRef();
  const mapped = t.mm.map(t.context, send, start, length, v.prot, v.maxProt, v.flags | MAP_POPULATE, v.backing, offset, v.label);
  if (mapped < 0) return mapped;
  t.n0 = start;
  t.n1 = length;
  t.n2 = 0;
  return t.hostCalls(resumeRemapped);
}

function resumeRemapped(t: Task, _why: number): number {
  return t.context.callsDone === t.context.callCount ? 0 : resumeMmapFailed(t, 0);
}

/** msync(2). Shared file mappings are the file's own pages; MS_SYNC asks the file to store them. */
export function msync(t: Task, a: SyscallArgs): number {
  const addr = a.addr(0);
  const flags = a.int(2);
  if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) !== 0 || !aligned(addr)) return -EINVAL;
  if ((flags & MS_ASYNC) !== 0 && (flags & MS_SYNC) !== 0) return -EINVAL;
  const length = pageUp(a.addr(1));
  if (length === 0) return a.addr(1) === 0 ? 0 : -ENOMEM;
  const end = addr + length;
  if ((flags & MS_INVALIDATE) !== 0 && t.mm.lockedBytes(addr, end) > 0) return -EBUSY;
  if ((flags & MS_SYNC) !== 0) {
    const list = t.mm.vmas.list;
    for (let at = t.mm.vmas.indexAt(addr); at < list.length && list[at]!.start < end; at++) {
      const v = list[at]!;
      if (!v.shared || !(v.backing instanceof FileBacking)) continue;
      const synced = v.backing.file.fsync(t, true);
      if (synced < 0 && synced !== -EINVAL) return synced;
    }
  }
  return t.mm.vmas.covers(addr, end) ? 0 : -ENOMEM;
}

/** mincore(2): what is mapped counts as resident. */
export function mincore(t: Task, a: SyscallArgs): number {
  const addr = a.addr(0);
  if (!aligned(addr)) return -EINVAL;
  const length = pageUp(a.addr(1));
  if (addr + length > t.mm.top) return -ENOMEM;
  if (length > 0 && !t.mm.vmas.covers(addr, addr + length)) return -ENOMEM;
  const pages = length / PAGE_SIZE;
  const vec = a.addr(2);
  scratch.u8.fill(1, 0, Math.min(pages, scratch.u8.length));
  for (let done = 0; done < pages; done += scratch.u8.length) {
    const failed = t.mm.copyOut(vec + done, scratch.u8, 0, Math.min(pages - done, scratch.u8.length));
    if (failed < 0) return failed;
  }
  return 0;
}

export const memoryCalls: readonly SyscallLine[] = [
  call(SYS_mmap, 'mmap', 'addr:addr length:size prot:prot flags:mapflags fd:fd offset:addr', mmap, 'full', 'no huge pages'),
  call(SYS_mprotect, 'mprotect', 'addr:addr length:size prot:prot', mprotect),
  call(SYS_munmap, 'munmap', 'addr:addr length:size', munmap),
  call(SYS_mseal, 'mseal', 'addr:addr length:size flags:ulong', mseal),
  call(SYS_remap_file_pages, 'remap_file_pages', 'addr:addr size:size prot:ulong pgoff:ulong flags:ulong', remap_file_pages),
  call(SYS_brk, 'brk', 'addr:addr', brk),
  call(SYS_mremap, 'mremap', 'addr:addr old_size:size new_size:size flags:flags new_addr:addr', mremap),
  call(SYS_msync, 'msync', 'addr:addr length:size flags:flags', msync),
  call(SYS_mincore, 'mincore', 'addr:addr length:size vec:addr', mincore, 'partial', 'every mapped page is called resident'),
  call(SYS_madvise, 'madvise', 'addr:addr length:size advice:int', madvise, 'partial', 'access and huge-page hints have no effect'),
];
