// process_vm_readv and process_vm_writev, which ask for the rights of ptrace(2): mm/process_vm_access.c.

import { EFAULT, EINVAL, ENOMEM, EPERM, ESRCH } from '../abi/errno.ts';
import { IOV_MAX, PAGE_SIZE } from '../abi/limits.ts';
import { MADV_COLD, MADV_COLLAPSE, MADV_PAGEOUT, MADV_WILLNEED } from '../abi/mman.ts';
import { CAP_SYS_NICE } from '../abi/sched.ts';
import { SYS_process_madvise, SYS_process_mrelease, SYS_process_vm_readv, SYS_process_vm_writev } from '../abi/sysno-x64.ts';
import { getU64 } from '../base/int64.ts';
import { ptraceMayAccess } from '../fs/proc-access.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { scratch } from '../mm/guest-memory.ts';
import { pidfdOrSelf } from './pidfs.ts';
import { call, type SyscallLine } from './syscall-line.ts';

interface Piece {
  addr: number;
  length: number;
}

function copyInPieces(t: Task, addr: number, count: number): Piece[] | number {
  if (count > IOV_MAX) return -EINVAL;
  if (t.mm.copyIn(addr, scratch.u8, 0, count * 16) < 0) return -EFAULT;
  const pieces: Piece[] = [];
  for (let i = 0; i < count; i++) pieces.push({ addr: getU64(scratch.view, i * 16), length: getU64(scratch.view, i * 16 + 8) });
  return pieces;
}

/** process_vm_readv(2). */
export function process_vm_readv(t: Task, a: SyscallArgs): number {
  return processVm(t, a, false);
}

/** process_vm_writev(2). */
export function process_vm_writev(t: Task, a: SyscallArgs): number {
  return processVm(t, a, true);
}

/** process_vm_rw(): bytes moved until the first page that cannot be reached. */
function processVm(t: Task, a: SyscallArgs, writes: boolean): number {
  if (a.addr(5) !== 0) return -EINVAL;
  const local = copyInPieces(t, a.addr(1), a.addr(2));
  if (typeof local === 'number') return local;
  const remote = copyInPieces(t, a.addr(3), a.addr(4));
  if (typeof remote === 'number') return remote;
  const target = t.pidns.task(a.int(0));
  if (target === undefined) return -ESRCH;
  if (ptraceMayAccess(t, target, false) < 0) return -EPERM;
  if (target.mm !== t.mm) for (const piece of remote) target.mm.showCodeIn(piece.addr, piece.length);
  const from = writes ? t.mm : target.mm;
  const to = writes ? target.mm : t.mm;
  const sources = writes ? local : remote;
  const targets = writes ? remote : local;
  let done = 0;
  let s = 0;
  let d = 0;
  let sAt = 0;
  let dAt = 0;
  while (s < sources.length && d < targets.length) {
    const n = Math.min(sources[s]!.length - sAt, targets[d]!.length - dAt, scratch.u8.length);
    if (n > 0) {
      const got = from.readSome(sources[s]!.addr + sAt, scratch.u8, 0, n);
      const put = got > 0 ? to.writeSome(targets[d]!.addr + dAt, scratch.u8, 0, got) : 0;
      done += put;
      if (put < n) return done === 0 ? -EFAULT : done;
      sAt += n;
      dAt += n;
    }
    if (sAt >= sources[s]!.length) {
      s++;
      sAt = 0;
    }
    if (dAt >= targets[d]!.length) {
      d++;
      dAt = 0;
    }
  }
  return done;
}

/** MADV_* that one process may give another: mm/madvise.c:process_madvise_remote_valid(). */
const REMOTE_ADVICE: readonly number[] = [MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_COLLAPSE];

/** process_madvise(2): hints, which have no effect: the bytes that they were given for. */
export function process_madvise(t: Task, a: SyscallArgs): number {
  if (a.uint(4) !== 0) return -EINVAL;
  const pieces = copyInPieces(t, a.addr(1), a.addr(2));
  if (typeof pieces === 'number') return pieces;
  const pidfd = pidfdOrSelf(t, a.int(0));
  if (typeof pidfd === 'number') return pidfd;
  const target = pidfd.target();
  if (typeof target === 'number') return target;
  if (!REMOTE_ADVICE.includes(a.int(3))) return -EINVAL;
  if (ptraceMayAccess(t, target, false) < 0) return -EPERM;
  if (target.mm !== t.mm && !t.creds.capable(CAP_SYS_NICE)) return -EPERM;
  let done = 0;
  for (const { addr, length } of pieces) {
    const end = addr + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
    if (addr % PAGE_SIZE !== 0) return done > 0 ? done : -EINVAL;
    if (length > 0 && !target.mm.vmas.covers(addr, end)) return done > 0 ? done : -ENOMEM;
    done += length;
  }
  return done;
}

/** process_mrelease(2): the memory of a process that is being killed goes with its stub. */
export function process_mrelease(t: Task, a: SyscallArgs): number {
  if (a.uint(1) !== 0) return -EINVAL;
  const pidfd = pidfdOrSelf(t, a.int(0));
  if (typeof pidfd === 'number') return pidfd;
  if (pidfd.group.isDead) return -ESRCH;
  return pidfd.group.exiting ? 0 : -EINVAL;
}

export const processVmCalls: readonly SyscallLine[] = [
  call(SYS_process_madvise, 'process_madvise', 'pidfd:fd vec:addr vlen:ulong advice:int flags:uint', process_madvise),
  call(SYS_process_mrelease, 'process_mrelease', 'pidfd:fd flags:uint', process_mrelease),
  call(SYS_process_vm_readv, 'process_vm_readv', 'pid:pid lvec:addr liovcnt:ulong rvec:addr riovcnt:ulong flags:ulong', process_vm_readv),
  call(
    SYS_process_vm_writev,
    'process_vm_writev',
    'pid:pid lvec:addr liovcnt:ulong rvec:addr riovcnt:ulong flags:ulong',
    process_vm_writev,
  ),
];
