// semget(2), shmget(2), msgget(2) and their families.

import type { Context } from '../../platform/platform.ts';
import { E2BIG, EACCES, EFAULT, EINVAL, ENOMEM, EPERM, ERANGE } from '../abi/errno.ts';
import {
  GETALL,
  GETNCNT,
  GETPID,
  GETVAL,
  GETZCNT,
  IPC_INFO,
  IPC_PERM,
  IPC_RMID,
  IPC_SET,
  IPC_STAT,
  MSG_INFO,
  MSG_STAT,
  MSG_STAT_ANY,
  MSGMAX,
  MSGMNB,
  MSGMNI,
  MSQID_DS,
  putIpcPermission,
  SEM_INFO,
  SEM_STAT,
  SEM_STAT_ANY,
  SEMID_DS,
  SEMMNI,
  SEMMSL,
  SEMOPM,
  SEMVMX,
  SETALL,
  SETVAL,
  SHM_EXEC,
  SHM_HUGETLB,
  SHM_INFO,
  SHM_LOCK,
  SHM_LOCKED,
  SHM_RDONLY,
  SHM_REMAP,
  SHM_RND,
  SHM_STAT,
  SHM_STAT_ANY,
  SHM_UNLOCK,
  SHMID_DS,
  SHMMAX_HI,
  SHMMAX_LO,
  SHMMNI,
} from '../abi/ipc.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE } from '../abi/mman.ts';
import { CAP_IPC_LOCK, CAP_SYS_RESOURCE } from '../abi/sched.ts';
import {
  SYS_msgctl,
  SYS_msgget,
  SYS_msgrcv,
  SYS_msgsnd,
  SYS_semctl,
  SYS_semget,
  SYS_semop,
  SYS_semtimedop,
  SYS_shmat,
  SYS_shmctl,
  SYS_shmdt,
  SYS_shmget,
} from '../abi/sysno-x64.ts';
import { put64 } from '../base/int64.ts';
import { updatePermission } from '../kernel/ipc.ts';
import { MessageQueue, messageTable, receiveMessage, removeQueue, sendMessage } from '../kernel/ipc-msg.ts';
import { forgetUndo, removeSemaphores, SemaphoreSet, type SemOperation, semaphoreOperate, semaphoreTable } from '../kernel/ipc-sem.ts';
import { ShmSegment, shmTable } from '../kernel/ipc-shm.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { FOREVER } from '../kernel/timers.ts';
import { scratch } from '../mm/guest-memory.ts';
import { MIN_ADDRESS } from '../mm/memory-manager.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const READ = 0o444;
const WRITE = 0o222;
const SEMBUF_SIZE = 6;

/** A process number as t's namespace knows it, from one of the root's. */
function pidFor(t: Task, rootPid: number): number {
  // In the root namespace the number stands for itself, even of a process that is gone by now: ipc keeps its struct pid.
  const pid = t.kernel.rootPidNamespace.findAny(rootPid);
  if (pid === undefined) return t.pidns === t.kernel.rootPidNamespace ? rootPid : 0;
  return pid.numberIn(t.pidns);
}

// ---- semaphores

function semget(t: Task, a: SyscallArgs): number {
  const count = a.int(1);
  const flags = a.int(2);
  if (count < 0 || count > SEMMSL) return -EINVAL;
  return semaphoreTable(t.ns.ipc).get(
    t,
    a.int(0),
    flags,
    (set) => (count > set.values.length ? -EINVAL : 0),
    () => (count === 0 ? -EINVAL : new SemaphoreSet(t, a.int(0), flags, count)),
  );
}

function operate(t: Task, a: SyscallArgs, deadlineNs: number): number {
  const count = a.addr(2);
  if (count < 1 || a.int(0) < 0) return -EINVAL;
  if (count > SEMOPM) return -E2BIG;
  if (t.mm.copyIn(a.addr(1), scratch.u8, 0, count * SEMBUF_SIZE) < 0) return -EFAULT;
  const operations: SemOperation[] = [];
  for (let i = 0; i < count; i++) {
    const at = i * SEMBUF_SIZE;
    operations.push({
      num: scratch.view.getUint16(at, true),
      op: scratch.view.getInt16(at + 2, true),
      flags: scratch.view.getInt16(at + 4, true),
    });
  }
  return semaphoreOperate(t, a.int(0), operations, deadlineNs);
}

function semop(t: Task, a: SyscallArgs): number {
  return operate(t, a, FOREVER);
}

function semtimedop(t: Task, a: SyscallArgs): number {
  const addr = a.addr(3);
  if (addr === 0) return operate(t, a, FOREVER);
  const sec = t.mm.loadI64(addr);
  const nsec = t.mm.loadI64(addr + 8);
  if (Number.isNaN(sec) || Number.isNaN(nsec)) return -EFAULT;
  if (sec < 0 || nsec < 0 || nsec >= 1e9) return -EINVAL;
  return operate(t, a, t.kernel.clock.monotonicNs() + sec * 1e9 + nsec);
}

function semctl(t: Task, a: SyscallArgs): number {
  const cmd = a.int(2) & ~0x100;
  if (a.int(0) < 0) return -EINVAL;
  const table = semaphoreTable(t.ns.ipc);
  if (cmd === IPC_INFO || cmd === SEM_INFO) return semaphoreInfo(t, cmd, a.addr(3));
  const byIndex = cmd === SEM_STAT || cmd === SEM_STAT_ANY;
  const set = byIndex ? table.at(a.int(0)) : table.find(a.int(0));
  if (typeof set === 'number') return set;
  const num = a.int(1);
  switch (cmd) {
    case IPC_STAT:
    case SEM_STAT:
    case SEM_STAT_ANY: {
      if (cmd !== SEM_STAT_ANY && !set.permits(t, READ)) return -EACCES;
      const v = scratch.view;
      scratch.u8.fill(0, 0, SEMID_DS.size);
      putIpcPermission(v, SEMID_DS.perm, set.shownTo(t));
      put64(v, SEMID_DS.otime, set.otimeSec);
      put64(v, SEMID_DS.ctime, set.ctimeSec);
      put64(v, SEMID_DS.nsems, set.values.length);
      return t.mm.copyOut(a.addr(3), scratch.u8, 0, SEMID_DS.size) < 0 ? -EFAULT : byIndex ? set.id : 0;
    }
    case IPC_SET:
      return setPermission(t, set, a.addr(3), SEMID_DS.size);
    case IPC_RMID:
      return set.ownedBy(t) ? removeSemaphores(t, set) : -EPERM;
    case GETALL: {
      if (!set.permits(t, READ)) return -EACCES;
      for (let i = 0; i < set.values.length; i++) scratch.view.setUint16(i * 2, set.values[i]!, true);
      return t.mm.copyOut(a.addr(3), scratch.u8, 0, set.values.length * 2);
    }
    case SETALL: {
      if (!set.permits(t, WRITE)) return -EACCES;
      if (t.mm.copyIn(a.addr(3), scratch.u8, 0, set.values.length * 2) < 0) return -EFAULT;
      for (let i = 0; i < set.values.length; i++) if (scratch.view.getUint16(i * 2, true) > SEMVMX) return -ERANGE;
      for (let i = 0; i < set.values.length; i++) {
        set.values[i] = scratch.view.getUint16(i * 2, true);
        set.pids[i] = t.group.tgid;
      }
      forgetUndo(t, set, -1);
      set.ctimeSec = t.kernel.clock.realtimeSec();
      set.changed();
      return 0;
    }
    case GETVAL:
    case GETPID:
    case GETNCNT:
    case GETZCNT:
      if (!set.permits(t, READ)) return -EACCES;
      if (num < 0 || num >= set.values.length) return -EINVAL;
      if (cmd === GETPID) return pidFor(t, set.pids[num]!);
      return (cmd === GETVAL ? set.values : cmd === GETNCNT ? set.decreasers : set.zeroWaiters)[num]!;
    case SETVAL: {
      const value = a.int(3);
      if (num < 0 || num >= set.values.length) return -EINVAL;
      if (value < 0 || value > SEMVMX) return -ERANGE;
      if (!set.permits(t, WRITE)) return -EACCES;
      forgetUndo(t, set, num);
      set.values[num] = value;
      set.pids[num] = t.group.tgid;
      set.ctimeSec = t.kernel.clock.realtimeSec();
      set.changed();
      return 0;
    }
    default:
      return -EINVAL;
  }
}

/** struct seminfo: ten ints. */
function semaphoreInfo(t: Task, cmd: number, addr: number): number {
  const table = semaphoreTable(t.ns.ipc);
  let total = 0;
  for (const set of table.all()) total += set.values.length;
  const all = SEMMNI * SEMMSL;
  const used = cmd === SEM_INFO ? table.count : 20;
  const adjust = cmd === SEM_INFO ? total : SEMVMX;
  return putInts(t, addr, [all, SEMMNI, all, all, SEMMSL, SEMOPM, SEMOPM, used, SEMVMX, adjust], table.maxIndex());
}

function putInts(t: Task, addr: number, values: readonly number[], result: number): number {
  for (let i = 0; i < values.length; i++) scratch.view.setInt32(i * 4, values[i]!, true);
  return t.mm.copyOut(addr, scratch.u8, 0, values.length * 4) < 0 ? -EFAULT : result;
}

/** IPC_SET: owner and mode from the front of the struct. */
function setPermission(t: Task, object: SemaphoreSet | ShmSegment | MessageQueue, addr: number, size: number): number {
  if (t.mm.copyIn(addr, scratch.u8, 0, size) < 0) return -EFAULT;
  const v = scratch.view;
  return updatePermission(t, object, v.getUint32(IPC_PERM.uid, true), v.getUint32(IPC_PERM.gid, true), v.getUint32(IPC_PERM.mode, true));
}

// ---- shared memory

function shmget(t: Task, a: SyscallArgs): number {
  const size = a.addr(1);
  const flags = a.int(2);
  // No huge pages are set aside.
  if ((flags & SHM_HUGETLB) !== 0) return -ENOMEM;
  return shmTable(t.ns.ipc).get(
    t,
    a.int(0),
    flags,
    (segment) => (size > segment.size ? -EINVAL : 0),
    () => ShmSegment.create(t, a.int(0), flags, size),
  );
}

let sender: Task;
function send(context: Context, hostFd: number): number {
  return sender.kernel.platform.sendFd(context, hostFd);
}

function shmat(t: Task, a: SyscallArgs): number {
  let addr = a.addr(1);
  const flags = a.int(2);
  const mm = t.mm;
  if (a.int(0) < 0) return -EINVAL;
  if (addr !== 0 && addr % PAGE_SIZE !== 0) {
    if ((flags & SHM_RND) === 0) return -EINVAL;
    addr -= addr % PAGE_SIZE;
    if (addr === 0 && (flags & SHM_REMAP) !== 0) return -EINVAL;
  } else if (addr === 0 && (flags & SHM_REMAP) !== 0) {
    return -EINVAL;
  }
  const segment = shmTable(t.ns.ipc).find(a.int(0));
  if (typeof segment === 'number') return segment;
  const readOnly = (flags & SHM_RDONLY) !== 0;
  const executable = (flags & SHM_EXEC) !== 0;
  if (!segment.permits(t, (readOnly ? READ : READ | WRITE) | (executable ? 0o111 : 0))) return -EACCES;
  const length = Math.ceil(segment.size / PAGE_SIZE) * PAGE_SIZE;
  if (addr === 0) {
    addr = mm.findAddress(0, length, false);
    if (addr < 0) return addr;
  } else {
    if (addr < MIN_ADDRESS || addr + length > mm.top) return -EINVAL;
    if ((flags & SHM_REMAP) === 0 && mm.vmas.overlaps(addr, addr + length)) return -EINVAL;
  }
  const prot = PROT_READ | (readOnly ? 0 : PROT_WRITE) | (executable ? PROT_EXEC : 0);
  const maxProt = PROT_READ | PROT_EXEC | (readOnly ? 0 : PROT_WRITE);
  t.context.resetCalls();
  sender = t;
  segment.incRef();
  const mapped = mm.map(t.context, send, addr, length, prot, maxProt, MAP_SHARED, segment, 0, '');
  if (mapped < 0) return mapped;
  segment.atimeSec = t.kernel.clock.realtimeSec();
  segment.lastPid = t.group.tgid;
  t.n0 = addr;
  t.n1 = length;
  return t.tailHostCalls(resumeAttachFailed);
}

function resumeAttachFailed(t: Task, _why: number): number {
  t.mm.forget(t.n0, t.n1);
  return t.context.callResult(t.context.callsDone);
}

/** Unmaps the segment that was attached at the address, as far as it still is: ipc/shm.c:ksys_shmdt(). */
function shmdt(t: Task, a: SyscallArgs): number {
  const addr = a.addr(0);
  if (addr % PAGE_SIZE !== 0) return -EINVAL;
  const mm = t.mm;
  const first = mm.vmas.list.find((v) => v.start >= addr && v.backing instanceof ShmSegment && v.start - v.offset === addr);
  if (first === undefined) return -EINVAL;
  const segment = first.backing as ShmSegment;
  segment.lastPid = t.group.tgid;
  t.context.resetCalls();
  const end = addr + Math.ceil(segment.size / PAGE_SIZE) * PAGE_SIZE;
  for (const v of mm.vmas.list.filter((m) => m.start >= addr && m.end <= end && m.backing === segment && m.start - m.offset === addr)) {
    if (t.context.callsFull) break;
    mm.unmap(t.context, v.start, v.end - v.start);
  }
  return t.tailHostCalls(resumeDetachFailed);
}

function resumeDetachFailed(t: Task, _why: number): number {
  return t.context.callResult(t.context.callsDone);
}

function shmctl(t: Task, a: SyscallArgs): number {
  const cmd = a.int(1) & ~0x100;
  const addr = a.addr(2);
  if (a.int(0) < 0 || cmd < 0) return -EINVAL;
  const table = shmTable(t.ns.ipc);
  if (cmd === IPC_INFO || cmd === SHM_INFO) return segmentInfo(t, cmd, addr);
  const byIndex = cmd === SHM_STAT || cmd === SHM_STAT_ANY;
  const segment = byIndex ? table.at(a.int(0)) : table.find(a.int(0));
  if (typeof segment === 'number') return segment;
  switch (cmd) {
    case IPC_STAT:
    case SHM_STAT:
    case SHM_STAT_ANY: {
      if (cmd !== SHM_STAT_ANY && !segment.permits(t, READ)) return -EACCES;
      const v = scratch.view;
      scratch.u8.fill(0, 0, SHMID_DS.size);
      putIpcPermission(v, SHMID_DS.perm, segment.shownTo(t));
      put64(v, SHMID_DS.segsz, segment.size);
      put64(v, SHMID_DS.atime, segment.atimeSec);
      put64(v, SHMID_DS.dtime, segment.dtimeSec);
      put64(v, SHMID_DS.ctime, segment.ctimeSec);
      v.setInt32(SHMID_DS.cpid, pidFor(t, segment.creatorPid), true);
      v.setInt32(SHMID_DS.lpid, pidFor(t, segment.lastPid), true);
      put64(v, SHMID_DS.nattch, segment.attached);
      return t.mm.copyOut(addr, scratch.u8, 0, SHMID_DS.size) < 0 ? -EFAULT : byIndex ? segment.id : 0;
    }
    case IPC_SET:
      return setPermission(t, segment, addr, SHMID_DS.size);
    case IPC_RMID:
      if (!segment.ownedBy(t)) return -EPERM;
      segment.markRemoved();
      return 0;
    case SHM_LOCK:
    case SHM_UNLOCK:
      if (!t.creds.capableIn(t.ns.ipc.userns, CAP_IPC_LOCK) && t.creds.euid !== segment.uid && t.creds.euid !== segment.cuid) return -EPERM;
      // Guest memory is the host's to page: the mark is kept, nothing is pinned.
      if (cmd === SHM_LOCK) segment.mode |= SHM_LOCKED;
      else segment.mode &= ~SHM_LOCKED;
      return 0;
    default:
      return -EINVAL;
  }
}

/** struct shminfo64 (nine longs), struct shm_info (an int and five longs). */
function segmentInfo(t: Task, cmd: number, addr: number): number {
  const table = shmTable(t.ns.ipc);
  const v = scratch.view;
  scratch.u8.fill(0, 0, 72);
  if (cmd === IPC_INFO) {
    v.setUint32(0, SHMMAX_LO, true);
    v.setUint32(4, SHMMAX_HI, true);
    put64(v, 8, 1);
    put64(v, 16, SHMMNI);
    put64(v, 24, SHMMNI);
    v.setUint32(32, SHMMAX_LO, true);
    v.setUint32(36, SHMMAX_HI, true);
    return t.mm.copyOut(addr, scratch.u8, 0, 72) < 0 ? -EFAULT : table.maxIndex();
  }
  let pages = 0;
  for (const segment of table.all()) pages += Math.ceil(segment.size / PAGE_SIZE);
  v.setInt32(0, table.count, true);
  put64(v, 8, pages);
  put64(v, 16, pages);
  return t.mm.copyOut(addr, scratch.u8, 0, 48) < 0 ? -EFAULT : table.maxIndex();
}

// ---- messages

function msgget(t: Task, a: SyscallArgs): number {
  return messageTable(t.ns.ipc).get(
    t,
    a.int(0),
    a.int(1),
    () => 0,
    () => new MessageQueue(t, a.int(0), a.int(1)),
  );
}

function msgsnd(t: Task, a: SyscallArgs): number {
  const size = a.addr(2);
  const type = t.mm.loadI64(a.addr(1));
  if (Number.isNaN(type)) return -EFAULT;
  if (size > MSGMAX || a.int(0) < 0 || type < 1) return -EINVAL;
  const data = new Uint8Array(size);
  if (t.mm.copyIn(a.addr(1) + 8, data, 0, size) < 0) return -EFAULT;
  return sendMessage(t, a.int(0), { type, data }, a.int(3));
}

function msgrcv(t: Task, a: SyscallArgs): number {
  if (a.int(0) < 0 || a.long(2) < 0) return -EINVAL;
  return receiveMessage(t, a.int(0), a.addr(1), a.addr(2), a.long(3), a.int(4));
}

function msgctl(t: Task, a: SyscallArgs): number {
  const cmd = a.int(1) & ~0x100;
  const addr = a.addr(2);
  if (a.int(0) < 0 || cmd < 0) return -EINVAL;
  const table = messageTable(t.ns.ipc);
  if (cmd === IPC_INFO || cmd === MSG_INFO) return queueInfo(t, cmd, addr);
  const byIndex = cmd === MSG_STAT || cmd === MSG_STAT_ANY;
  const queue = byIndex ? table.at(a.int(0)) : table.find(a.int(0));
  if (typeof queue === 'number') return queue;
  switch (cmd) {
    case IPC_STAT:
    case MSG_STAT:
    case MSG_STAT_ANY: {
      if (cmd !== MSG_STAT_ANY && !queue.permits(t, READ)) return -EACCES;
      const v = scratch.view;
      scratch.u8.fill(0, 0, MSQID_DS.size);
      putIpcPermission(v, MSQID_DS.perm, queue.shownTo(t));
      put64(v, MSQID_DS.stime, queue.stimeSec);
      put64(v, MSQID_DS.rtime, queue.rtimeSec);
      put64(v, MSQID_DS.ctime, queue.ctimeSec);
      put64(v, MSQID_DS.cbytes, queue.bytes);
      put64(v, MSQID_DS.qnum, queue.messages.length);
      put64(v, MSQID_DS.qbytes, queue.maxBytes);
      v.setInt32(MSQID_DS.lspid, pidFor(t, queue.lastSender), true);
      v.setInt32(MSQID_DS.lrpid, pidFor(t, queue.lastReceiver), true);
      return t.mm.copyOut(addr, scratch.u8, 0, MSQID_DS.size) < 0 ? -EFAULT : byIndex ? queue.id : 0;
    }
    case IPC_SET: {
      if (t.mm.copyIn(addr, scratch.u8, 0, MSQID_DS.size) < 0) return -EFAULT;
      const maxBytes = scratch.view.getUint32(MSQID_DS.qbytes, true);
      if (!queue.ownedBy(t)) return -EPERM;
      if (maxBytes > MSGMNB && !t.creds.capableIn(t.ns.ipc.userns, CAP_SYS_RESOURCE)) return -EPERM;
      const set = setPermission(t, queue, addr, MSQID_DS.size);
      if (set < 0) return set;
      queue.maxBytes = maxBytes;
      // Senders may fit now, and a smaller limit is theirs to find.
      queue.waiters.notify(3);
      return 0;
    }
    case IPC_RMID:
      if (!queue.ownedBy(t)) return -EPERM;
      removeQueue(t, queue);
      return 0;
    default:
      return -EINVAL;
  }
}

/** struct msginfo: seven ints and a short. */
function queueInfo(t: Task, cmd: number, addr: number): number {
  const table = messageTable(t.ns.ipc);
  let count = 0;
  let bytes = 0;
  for (const queue of table.all()) {
    count += queue.messages.length;
    bytes += queue.bytes;
  }
  const now = cmd === MSG_INFO;
  const pool = now ? table.count : (MSGMNI * MSGMNB) / 1024;
  return putInts(t, addr, [pool, now ? count : MSGMNB, MSGMAX, MSGMNB, MSGMNI, 16, now ? bytes : MSGMNB, 0xffff], table.maxIndex());
}

export const ipcCalls: readonly SyscallLine[] = [
  call(SYS_semget, 'semget', 'key:int nsems:int flags:flags', semget),
  call(SYS_semop, 'semop', 'semid:int sops:addr nsops:size', semop),
  call(SYS_semtimedop, 'semtimedop', 'semid:int sops:addr nsops:size timeout:timespec', semtimedop),
  call(SYS_semctl, 'semctl', 'semid:int semnum:int cmd:int arg:addr', semctl),
  call(SYS_shmget, 'shmget', 'key:int size:size flags:flags', shmget, 'full', 'no huge pages'),
  call(SYS_shmat, 'shmat', 'shmid:int addr:addr flags:flags', shmat),
  call(SYS_shmdt, 'shmdt', 'addr:addr', shmdt),
  call(SYS_shmctl, 'shmctl', 'shmid:int cmd:int buf:addr', shmctl, 'partial', 'SHM_LOCK pins nothing'),
  call(SYS_msgget, 'msgget', 'key:int flags:flags', msgget),
  call(SYS_msgsnd, 'msgsnd', 'msqid:int msgp:addr size:size flags:flags', msgsnd),
  call(
    SYS_msgrcv,
    'msgrcv',
    'msqid:int msgp:addr size:size type:long flags:flags',
    msgrcv,
    'full',
    'MSG_COPY is ENOSYS, as without CONFIG_CHECKPOINT_RESTORE',
  ),
  call(SYS_msgctl, 'msgctl', 'msqid:int cmd:int buf:addr', msgctl),
];
