// prctl(2), arch_prctl(2), personality(2): kernel/sys.c, arch/x86/kernel/process_64.c.

import { FS_BASE, GS_BASE, RAX } from '../../platform/platform.ts';
import { EACCES, EBADF, EFAULT, EINVAL, ENODEV, ENOMEM, ENXIO, EPERM } from '../abi/errno.ts';
import { layout, u32, u64 } from '../abi/layout.ts';
import { PAGE_SIZE, TASK_COMM_LEN } from '../abi/limits.ts';
import {
  ARCH_GET_CPUID,
  ARCH_GET_FS,
  ARCH_GET_GS,
  ARCH_SET_CPUID,
  ARCH_SET_FS,
  ARCH_SET_GS,
  CAP_CHECKPOINT_RESTORE,
  CAP_LAST_CAP,
  CAP_SETPCAP,
  CAP_SYS_ADMIN,
  CAP_SYS_RESOURCE,
  PR_CAP_AMBIENT,
  PR_CAP_AMBIENT_CLEAR_ALL,
  PR_CAP_AMBIENT_IS_SET,
  PR_CAP_AMBIENT_LOWER,
  PR_CAP_AMBIENT_RAISE,
  PR_CAPBSET_DROP,
  PR_CAPBSET_READ,
  PR_GET_CHILD_SUBREAPER,
  PR_GET_DUMPABLE,
  PR_GET_IO_FLUSHER,
  PR_GET_KEEPCAPS,
  PR_GET_MDWE,
  PR_GET_MEMORY_MERGE,
  PR_GET_NAME,
  PR_GET_NO_NEW_PRIVS,
  PR_GET_PDEATHSIG,
  PR_GET_SECCOMP,
  PR_GET_SECUREBITS,
  PR_GET_SPECULATION_CTRL,
  PR_GET_THP_DISABLE,
  PR_GET_TID_ADDRESS,
  PR_GET_TIMERSLACK,
  PR_GET_TIMING,
  PR_GET_TSC,
  PR_MCE_KILL,
  PR_MCE_KILL_CLEAR,
  PR_MCE_KILL_DEFAULT,
  PR_MCE_KILL_GET,
  PR_MCE_KILL_SET,
  PR_MDWE_NO_INHERIT,
  PR_MDWE_REFUSE_EXEC_GAIN,
  PR_SET_CHILD_SUBREAPER,
  PR_SET_DUMPABLE,
  PR_SET_IO_FLUSHER,
  PR_SET_KEEPCAPS,
  PR_SET_MDWE,
  PR_SET_MEMORY_MERGE,
  PR_SET_MM,
  PR_SET_MM_ARG_END,
  PR_SET_MM_ARG_START,
  PR_SET_MM_AUXV,
  PR_SET_MM_BRK,
  PR_SET_MM_END_CODE,
  PR_SET_MM_END_DATA,
  PR_SET_MM_ENV_END,
  PR_SET_MM_ENV_START,
  PR_SET_MM_EXE_FILE,
  PR_SET_MM_MAP,
  PR_SET_MM_MAP_SIZE,
  PR_SET_MM_START_BRK,
  PR_SET_MM_START_CODE,
  PR_SET_MM_START_DATA,
  PR_SET_MM_START_STACK,
  PR_SET_NAME,
  PR_SET_NO_NEW_PRIVS,
  PR_SET_PDEATHSIG,
  PR_SET_PTRACER,
  PR_SET_SECCOMP,
  PR_SET_SECUREBITS,
  PR_SET_SPECULATION_CTRL,
  PR_SET_SYSCALL_USER_DISPATCH,
  PR_SET_THP_DISABLE,
  PR_SET_TIMERSLACK,
  PR_SET_TIMING,
  PR_SET_TSC,
  PR_SET_VMA,
  PR_SET_VMA_ANON_NAME,
  PR_SPEC_L1D_FLUSH,
  PR_TASK_PERF_EVENTS_DISABLE,
  PR_TASK_PERF_EVENTS_ENABLE,
  PR_TIMING_STATISTICAL,
  PR_TSC_ENABLE,
  RLIMIT_DATA,
  SECBIT_KEEP_CAPS,
  SECBIT_KEEP_CAPS_LOCKED,
  SECBIT_NO_CAP_AMBIENT_RAISE,
} from '../abi/sched.ts';
import { NSIG } from '../abi/signal.ts';
import { SYS_arch_prctl, SYS_personality, SYS_prctl } from '../abi/sysno-x64.ts';
import { assert } from '../base/assert.ts';
import { REGISTERS_SET } from '../base/errors.ts';
import { getU64 } from '../base/int64.ts';
import { latin1, putLatin1 } from '../base/latin1.ts';
import { type CapSet, hasCap, noCaps } from '../kernel/credentials.ts';
import { UNLIMITED } from '../kernel/limits.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import { setUserDispatch } from '../kernel/user-dispatch.ts';
import { FileBacking } from '../mm/backing.ts';
import { scratch } from '../mm/guest-memory.ts';
import { prctlSeccomp } from './seccomp.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const PR_GET_AUXV = 0x41555856;
/** SECURE_ALL_BITS and SECURE_ALL_LOCKS. */
const SECURE_BITS = 0x555;
const SECURE_LOCKS = 0xaaa;
/** SECBIT_EXEC_RESTRICT_FILE and SECBIT_EXEC_DENY_INTERACTIVE, for interpreters, and their locks: anybody may set them. */
const SECURE_UNPRIVILEGED = 0xf00;
const TASK_SIZE = 0x7ffffffff000;
/** The longest auxiliary vector that is kept: saved_auxv. */
const AUXV_MAX = 8 * 46;

// struct prctl_mm_map, include/uapi/linux/prctl.h.
const MM_MAP = layout({
  startCode: u64,
  endCode: u64,
  startData: u64,
  endData: u64,
  startBrk: u64,
  brk: u64,
  startStack: u64,
  argStart: u64,
  argEnd: u64,
  envStart: u64,
  envEnd: u64,
  auxv: u64,
  auxvSize: u32,
  exeFd: u32,
});
assert(MM_MAP.size === 104);
type MmFields = [number, number, number, number, number, number, number, number, number, number, number];
/** include/uapi/linux/prctl.h: the longest name of an anonymous mapping, NUL included. */
const ANON_VMA_NAME_MAX_LEN = 80;

/** prctl(2). */
export function prctl(t: Task, a: SyscallArgs): number {
  const arg2 = a.addr(1);
  const rest = a.addr(2) !== 0 || a.addr(3) !== 0 || a.addr(4) !== 0;
  const group = t.group;
  switch (a.int(0)) {
    case PR_SET_PDEATHSIG:
      if (arg2 > NSIG) return -EINVAL;
      t.parentDeathSignal = arg2;
      return 0;
    case PR_GET_PDEATHSIG:
      return t.mm.storeU32(arg2, t.parentDeathSignal);
    case PR_GET_DUMPABLE:
      return group.dumpable;
    case PR_SET_DUMPABLE:
      if (arg2 > 1) return -EINVAL;
      group.dumpable = arg2;
      return 0;
    case PR_SET_NAME:
      return setName(t, arg2);
    case PR_GET_NAME:
      scratch.u8.fill(0, 0, TASK_COMM_LEN);
      putLatin1(scratch.u8, 0, t.comm);
      return t.mm.copyOut(arg2, scratch.u8, 0, TASK_COMM_LEN);
    case PR_GET_KEEPCAPS:
      return (t.creds.securebits & SECBIT_KEEP_CAPS) !== 0 ? 1 : 0;
    case PR_SET_KEEPCAPS:
      return setKeepCaps(t, arg2);
    case PR_GET_SECUREBITS:
      return t.creds.securebits;
    case PR_SET_SECUREBITS:
      return setSecureBits(t, arg2);
    case PR_CAPBSET_READ:
      return arg2 > CAP_LAST_CAP ? -EINVAL : hasCap(t.creds.bounding, arg2) ? 1 : 0;
    case PR_CAPBSET_DROP:
      return dropBounding(t, arg2);
    case PR_CAP_AMBIENT:
      return ambient(t, a);
    case PR_SET_NO_NEW_PRIVS:
      if (arg2 !== 1 || rest) return -EINVAL;
      if (!t.creds.noNewPrivs) {
        const c = t.creds.clone();
        c.noNewPrivs = true;
        t.creds = c;
      }
      return 0;
    case PR_GET_NO_NEW_PRIVS:
      return arg2 !== 0 || rest ? -EINVAL : t.creds.noNewPrivs ? 1 : 0;
    case PR_SET_CHILD_SUBREAPER:
      group.isChildSubreaper = arg2 !== 0;
      if (arg2 !== 0) markDescendants(group);
      return 0;
    case PR_GET_CHILD_SUBREAPER:
      return t.mm.storeU32(arg2, group.isChildSubreaper ? 1 : 0);
    case PR_GET_TID_ADDRESS:
      return t.mm.storeU64(arg2, t.clearTidAddr);
    case PR_SET_TIMERSLACK:
      t.timerSlackNs = a.long(1) <= 0 ? t.defaultTimerSlackNs : arg2;
      return 0;
    case PR_GET_TIMERSLACK:
      return t.timerSlackNs;
    case PR_GET_TIMING:
      return PR_TIMING_STATISTICAL;
    case PR_SET_TIMING:
      return arg2 === PR_TIMING_STATISTICAL ? 0 : -EINVAL;
    case PR_GET_TSC:
      return t.mm.storeU32(arg2, PR_TSC_ENABLE);
    case PR_SET_TSC:
      return arg2 === PR_TSC_ENABLE ? 0 : -EINVAL;
    case PR_TASK_PERF_EVENTS_DISABLE:
    case PR_TASK_PERF_EVENTS_ENABLE:
      return 0;
    case PR_MCE_KILL:
      if (a.addr(3) !== 0 || a.addr(4) !== 0) return -EINVAL;
      return setMachineCheckPolicy(t, arg2, a.addr(2));
    case PR_MCE_KILL_GET:
      return arg2 !== 0 || rest ? -EINVAL : t.machineCheckPolicy;
    case PR_SET_THP_DISABLE:
      if (rest) return -EINVAL;
      group.thpDisabled = arg2 !== 0;
      return 0;
    case PR_GET_THP_DISABLE:
      return arg2 !== 0 || rest ? -EINVAL : group.thpDisabled ? 1 : 0;
    case PR_SET_IO_FLUSHER:
      if (!t.creds.capableIn(t.kernel.rootUserNamespace, CAP_SYS_RESOURCE)) return -EPERM;
      if (rest || arg2 > 1) return -EINVAL;
      group.ioFlusher = arg2 === 1;
      return 0;
    case PR_GET_IO_FLUSHER:
      if (!t.creds.capableIn(t.kernel.rootUserNamespace, CAP_SYS_RESOURCE)) return -EPERM;
      return arg2 !== 0 || rest ? -EINVAL : group.ioFlusher ? 1 : 0;
    // PR_SPEC_NOT_AFFECTED for all three: there is nothing to mitigate per thread here.
    case PR_GET_SPECULATION_CTRL:
      return rest ? -EINVAL : arg2 <= PR_SPEC_L1D_FLUSH ? 0 : -ENODEV;
    case PR_SET_SPECULATION_CTRL:
      return a.addr(3) !== 0 || a.addr(4) !== 0 ? -EINVAL : arg2 <= PR_SPEC_L1D_FLUSH ? -ENXIO : -ENODEV;
    case PR_SET_SYSCALL_USER_DISPATCH:
      return setUserDispatch(t, arg2, a.addr(2), a.addr(3), a.addr(4));
    case PR_SET_MDWE:
      return rest ? -EINVAL : setMdwe(t, arg2);
    case PR_GET_MDWE:
      return arg2 !== 0 || rest ? -EINVAL : t.mm.mdwe;
    case PR_SET_MEMORY_MERGE:
      if (rest) return -EINVAL;
      t.mm.mergesAny = arg2 !== 0;
      return 0;
    case PR_GET_MEMORY_MERGE:
      return arg2 !== 0 || rest ? -EINVAL : t.mm.mergesAny ? 1 : 0;
    // Yama's exceptions: without Yama everybody may trace its own.
    case PR_SET_PTRACER:
      return -EINVAL;
    case PR_GET_SECCOMP:
      return t.seccompMode;
    case PR_SET_SECCOMP:
      return prctlSeccomp(t, arg2, a.addr(2));
    case PR_SET_MM:
      return setMm(t, a);
    case PR_SET_VMA:
      return arg2 === PR_SET_VMA_ANON_NAME ? nameMapping(t, a.addr(2), a.addr(3), a.addr(4)) : -EINVAL;
    case PR_GET_AUXV:
      if (a.addr(3) !== 0 || a.addr(4) !== 0) return -EINVAL;
      if (t.mm.copyOut(arg2, group.auxv, 0, Math.min(a.addr(2), group.auxv.length)) < 0) return -EFAULT;
      return group.auxv.length;
  }
  return -EINVAL;
}

function setMachineCheckPolicy(t: Task, what: number, policy: number): number {
  if (what === PR_MCE_KILL_CLEAR ? policy !== 0 : what !== PR_MCE_KILL_SET || policy > PR_MCE_KILL_DEFAULT) return -EINVAL;
  t.machineCheckPolicy = what === PR_MCE_KILL_CLEAR ? PR_MCE_KILL_DEFAULT : policy;
  return 0;
}

/** kernel/sys.c:prctl_set_mdwe(): what is set once stays. */
function setMdwe(t: Task, bits: number): number {
  if (bits > (PR_MDWE_REFUSE_EXEC_GAIN | PR_MDWE_NO_INHERIT)) return -EINVAL;
  if ((bits & PR_MDWE_NO_INHERIT) !== 0 && (bits & PR_MDWE_REFUSE_EXEC_GAIN) === 0) return -EINVAL;
  if (t.mm.mdwe !== 0 && t.mm.mdwe !== bits) return -EPERM;
  t.mm.mdwe = bits;
  return 0;
}

function setName(t: Task, addr: number): number {
  const name = t.mm.copyInString(addr, TASK_COMM_LEN);
  if (typeof name === 'string') {
    t.comm = name;
    return 0;
  }
  // Longer names are cut: strncpy_from_user() of 15 bytes.
  if (t.mm.copyIn(addr, scratch.u8, 0, TASK_COMM_LEN - 1) < 0) return -EFAULT;
  t.comm = latin1(scratch.u8, 0, TASK_COMM_LEN - 1);
  return 0;
}

function setKeepCaps(t: Task, on: number): number {
  if (on > 1) return -EINVAL;
  if ((t.creds.securebits & SECBIT_KEEP_CAPS_LOCKED) !== 0) return -EPERM;
  const c = t.creds.clone();
  c.securebits = on === 1 ? c.securebits | SECBIT_KEEP_CAPS : c.securebits & ~SECBIT_KEEP_CAPS;
  t.creds = c;
  return 0;
}

/** cap_task_prctl(): locked bits stay as they are, and locks are never taken off. */
function setSecureBits(t: Task, bits: number): number {
  const now = t.creds.securebits;
  const locked = (now & SECURE_LOCKS) >> 1;
  if (bits > 0xfff || (bits & ~(SECURE_BITS | SECURE_LOCKS)) !== 0) return -EPERM;
  if ((locked & (now ^ bits)) !== 0 || (now & SECURE_LOCKS & ~bits) !== 0) return -EPERM;
  // "For legacy reason, denies non-change."
  const isFree = now !== bits && ((now ^ bits) & ~SECURE_UNPRIVILEGED) === 0;
  if (!isFree && !t.creds.capableHere(CAP_SETPCAP)) return -EPERM;
  const c = t.creds.clone();
  c.securebits = bits;
  t.creds = c;
  return 0;
}

function without(set: CapSet, cap: number): CapSet {
  return cap < 32 ? { lo: set.lo & ~(1 << cap), hi: set.hi } : { lo: set.lo, hi: set.hi & ~(1 << (cap - 32)) };
}

function withCap(set: CapSet, cap: number): CapSet {
  return cap < 32 ? { lo: set.lo | (1 << cap), hi: set.hi } : { lo: set.lo, hi: set.hi | (1 << (cap - 32)) };
}

function dropBounding(t: Task, cap: number): number {
  if (!t.creds.capableHere(CAP_SETPCAP)) return -EPERM;
  if (cap > CAP_LAST_CAP) return -EINVAL;
  const c = t.creds.clone();
  c.bounding = without(c.bounding, cap);
  t.creds = c;
  return 0;
}

/** PR_CAP_AMBIENT: "a capability is ambient only while it is permitted and inheritable". */
function ambient(t: Task, a: SyscallArgs): number {
  const what = a.addr(1);
  const cap = a.addr(2);
  if (a.addr(3) !== 0 || a.addr(4) !== 0) return -EINVAL;
  const old = t.creds;
  if (what === PR_CAP_AMBIENT_CLEAR_ALL) {
    if (cap !== 0) return -EINVAL;
    const c = old.clone();
    c.ambient = noCaps();
    t.creds = c;
    return 0;
  }
  if (cap > CAP_LAST_CAP) return -EINVAL;
  if (what === PR_CAP_AMBIENT_IS_SET) return hasCap(old.ambient, cap) ? 1 : 0;
  if (what !== PR_CAP_AMBIENT_RAISE && what !== PR_CAP_AMBIENT_LOWER) return -EINVAL;
  const raises = what === PR_CAP_AMBIENT_RAISE;
  if (raises && (!hasCap(old.permitted, cap) || !hasCap(old.inheritable, cap) || (old.securebits & SECBIT_NO_CAP_AMBIENT_RAISE) !== 0)) {
    return -EPERM;
  }
  const c = old.clone();
  c.ambient = raises ? withCap(c.ambient, cap) : without(c.ambient, cap);
  t.creds = c;
  return 0;
}

/** walk_process_tree(propagate_has_child_subreaper). */
function markDescendants(group: ThreadGroup): void {
  for (const child of group.children) {
    // A namespace's init has its own orphans.
    if (child.hasChildSubreaper || child.isInit) continue;
    child.hasChildSubreaper = true;
    markDescendants(child);
  }
}

/** PR_SET_MM: what /proc/[pid] shows of the image; nothing is moved. */
function setMm(t: Task, a: SyscallArgs): number {
  const what = a.addr(1);
  const value = a.addr(2);
  if (a.addr(4) !== 0) return -EINVAL;
  if (what === PR_SET_MM_MAP_SIZE) return t.mm.storeU32(value, MM_MAP.size);
  if (what === PR_SET_MM_MAP) return setMmMap(t, value, a.addr(3));
  if (!t.creds.capableIn(t.kernel.rootUserNamespace, CAP_SYS_RESOURCE)) return -EPERM;
  const { group, mm } = t;
  if (what === PR_SET_MM_AUXV) {
    const size = a.addr(3);
    if (size > AUXV_MAX) return -EINVAL;
    const auxv = new Uint8Array(size);
    if (mm.copyIn(value, auxv, 0, size) < 0) return -EFAULT;
    group.auxv = auxv;
    return 0;
  }
  if (a.addr(3) !== 0) return -EINVAL;
  if (what === PR_SET_MM_EXE_FILE) {
    return setExe(t, a.int(2));
  }
  if (value >= TASK_SIZE || value < 65536) return -EINVAL;
  switch (what) {
    case PR_SET_MM_START_CODE:
      mm.codeStart = value;
      break;
    case PR_SET_MM_END_CODE:
      mm.codeEnd = value;
      break;
    case PR_SET_MM_START_DATA:
      mm.dataStart = value;
      break;
    case PR_SET_MM_END_DATA:
      mm.dataEnd = value;
      break;
    case PR_SET_MM_START_STACK:
      mm.stackStart = value;
      break;
    case PR_SET_MM_START_BRK:
      mm.brkStart = value;
      break;
    case PR_SET_MM_BRK:
      mm.brk = value;
      break;
    case PR_SET_MM_ARG_START:
      group.argStart = value;
      break;
    case PR_SET_MM_ARG_END:
      group.argEnd = value;
      break;
    case PR_SET_MM_ENV_START:
      group.envStart = value;
      break;
    case PR_SET_MM_ENV_END:
      group.envEnd = value;
      break;
    default:
      return -EINVAL;
  }
  return 0;
}

/** PR_SET_MM_MAP: all of it at once, for who restores a process. prctl_set_mm_map(), validate_prctl_map_addr(). */
function setMmMap(t: Task, addr: number, size: number): number {
  if (size !== MM_MAP.size) return -EINVAL;
  const bytes = new Uint8Array(size);
  if (t.mm.copyIn(addr, bytes, 0, size) < 0) return -EFAULT;
  const v = new DataView(bytes.buffer);
  const fields: number[] = [];
  for (let at = MM_MAP.startCode; at <= MM_MAP.envEnd; at += 8) fields.push(getU64(v, at));
  if (fields.some((value) => value >= TASK_SIZE || value < 65536)) return -EINVAL;
  const [startCode, endCode, startData, endData, startBrk, brk, startStack, argStart, argEnd, envStart, envEnd] = fields as MmFields;
  if (startCode >= endCode || startData > endData || startBrk > brk || argStart > argEnd || envStart > envEnd) return -EINVAL;
  const limit = t.group.limits.soft[RLIMIT_DATA]!;
  if (limit !== UNLIMITED && brk - startBrk + (endData - startData) > limit) return -EINVAL;
  const auxvSize = v.getUint32(MM_MAP.auxvSize, true);
  const auxv = new Uint8Array(auxvSize > AUXV_MAX ? 0 : auxvSize);
  if (auxvSize > 0) {
    if (getU64(v, MM_MAP.auxv) === 0 || auxvSize > AUXV_MAX) return -EINVAL;
    if (t.mm.copyIn(getU64(v, MM_MAP.auxv), auxv, 0, auxvSize) < 0) return -EFAULT;
  }
  const { group, mm } = t;
  const exeFd = v.getInt32(MM_MAP.exeFd, true);
  if (exeFd !== -1) {
    if (!t.creds.capableHere(CAP_CHECKPOINT_RESTORE) && !t.creds.capableHere(CAP_SYS_ADMIN)) return -EPERM;
    const error = setExe(t, exeFd);
    if (error < 0) return error;
  }
  mm.codeStart = startCode;
  mm.codeEnd = endCode;
  mm.dataStart = startData;
  mm.dataEnd = endData;
  mm.brkStart = startBrk;
  mm.brk = brk;
  mm.stackStart = startStack;
  group.argStart = argStart;
  group.argEnd = argEnd;
  group.envStart = envStart;
  group.envEnd = envEnd;
  if (auxvSize > 0) group.auxv = auxv;
  return 0;
}

function setExe(t: Task, fd: number): number {
  const file = t.fds.get(fd);
  if (file === undefined) return -EBADF;
  if (file.path === undefined || !file.inode().isRegular() || (file.inode().mode & 0o111) === 0) return -EACCES;
  t.group.exe = file.path;
  return 0;
}

/** PR_SET_VMA_ANON_NAME: mm/madvise.c:madvise_set_anon_name(). */
function nameMapping(t: Task, start: number, length: number, nameAddr: number): number {
  let label = '';
  if (nameAddr !== 0) {
    const name = t.mm.copyInString(nameAddr, ANON_VMA_NAME_MAX_LEN);
    if (typeof name === 'number') return name === -EFAULT ? -EFAULT : -EINVAL;
    // Printable, and nothing that would break a line of /proc/[pid]/maps.
    if (/[^\x20-\x7e]|[\\`$[\]]/.test(name)) return -EINVAL;
    label = name;
  }
  if (start % PAGE_SIZE !== 0) return -EINVAL;
  const end = start + Math.ceil(length / PAGE_SIZE) * PAGE_SIZE;
  if (end === start) return 0;
  const { vmas } = t.mm;
  // What is mapped gets the name all the same: madvise_walk_vmas().
  let result = vmas.covers(start, end) ? 0 : -ENOMEM;
  vmas.splitAt(start);
  vmas.splitAt(end);
  for (let at = vmas.indexAt(start); at < vmas.list.length && vmas.list[at]!.start < end; at++) {
    const v = vmas.list[at]!;
    if (v.backing instanceof FileBacking) result = -EBADF;
    else v.label = nameAddr === 0 ? '' : v.backing === null ? `[anon:${label}]` : `[anon_shmem:${label}]`;
  }
  vmas.mergeAround(start, end);
  return result;
}

/** arch_prctl(2): the bases of fs and gs are registers, so a change goes the way of those. */
export function arch_prctl(t: Task, a: SyscallArgs): number {
  const addr = a.addr(1);
  const c = t.context;
  switch (a.int(0)) {
    case ARCH_SET_FS:
    case ARCH_SET_GS:
      if (addr >= TASK_SIZE) return -EPERM;
      c.setReg(a.int(0) === ARCH_SET_FS ? FS_BASE : GS_BASE, addr);
      c.setReg(RAX, 0);
      return REGISTERS_SET;
    case ARCH_GET_FS:
      return t.mm.storeU64(addr, c.reg(FS_BASE));
    case ARCH_GET_GS:
      return t.mm.storeU64(addr, c.reg(GS_BASE));
    case ARCH_GET_CPUID:
      return 1;
    case ARCH_SET_CPUID:
      // As a CPU that cannot fault on cpuid.
      return -ENODEV;
  }
  return -EINVAL;
}

/** personality(2): remembered; exec looks at ADDR_NO_RANDOMIZE. */
export function personality(t: Task, a: SyscallArgs): number {
  const old = t.group.personality;
  if (a.uint(0) !== 0xffffffff) t.group.personality = a.uint(0);
  return old;
}

export const prctlCalls: readonly SyscallLine[] = [
  call(
    SYS_prctl,
    'prctl',
    'option:int arg2:ulong arg3:ulong arg4:ulong arg5:ulong',
    prctl,
    'partial',
    'PR_SCHED_CORE and the calls of other architectures are EINVAL; timing, timer slack and huge-page settings are remembered only',
  ),
  call(SYS_arch_prctl, 'arch_prctl', 'code:int addr:ulong', arch_prctl, 'partial', 'no CET, no AMX permission, no cpuid faulting'),
  call(SYS_personality, 'personality', 'persona:ulong', personality, 'partial', 'only ADDR_NO_RANDOMIZE has an effect'),
];
