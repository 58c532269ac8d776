// poll(2), select(2) and their forms with a signal mask. Each looks at all files once; only when
// none is ready does it register with them (PollTable.arm()) and park. While parked: t.pollTable
// has the files, t.n0 how many guest entries there are (poll) or the highest fd (select).

import { EBADF, EFAULT, EINTR, EINVAL, ERESTART_RESTARTBLOCK, ERESTARTNOHAND } from '../abi/errno.ts';
import { POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDBAND, POLLRDNORM, POLLWRBAND, POLLWRNORM } from '../abi/poll.ts';
import { SYS_poll, SYS_ppoll, SYS_pselect6, SYS_select } from '../abi/sysno-x64.ts';
import { BLOCKED } from '../base/errors.ts';
import { getU64 } from '../base/int64.ts';
import { PollTable } from '../kernel/poll-table.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Resume, type Task, WAKE_EVENT, WAKE_SIGNAL } from '../kernel/task.ts';
import { restoreMask, setTemporaryMask } from '../kernel/task-signals.ts';
import { FOREVER } from '../kernel/timers.ts';
import { openFile } from './io-common.ts';
import { call, type SyscallLine } from './syscall-line.ts';
import { loadedNs, loadLooseTimeval, loadTimespec, storeTimespecNs, storeTimevalNs } from './time-args.ts';

/** A deadline that has passed: look once, do not wait. */
const AT_ONCE = 0;
const SIGSET_SIZE = 8;

function tableOf(t: Task, bytes: number): PollTable {
  t.pollTable ??= new PollTable(t);
  t.pollTable.reset(bytes);
  return t.pollTable;
}

/** The monotonic deadline of a wait of `ns`; a wait of 0 does not ask for the time. */
function deadlineOf(t: Task, ns: number): number {
  if (ns === 0) return AT_ONCE;
  return ns === FOREVER ? FOREVER : t.kernel.clock.monotonicNs() + ns;
}

/** Registers with all files and parks; the files have just been found with nothing to report. */
function waitForFiles(t: Task, deadlineNs: number, resume: Resume): number {
  t.pollTable!.arm();
  return t.park(deadlineNs, resume);
}

/** Asks the files again after a wake-up; true when the task must go on waiting. */
function stillNothing(t: Task, why: number, unasked: number): boolean {
  return t.pollTable!.scan(unasked) === 0 && why === WAKE_EVENT;
}

/** What a call with a mask or a timeout that is written back does last: fs/select.c:poll_select_finish(). */
function finishMasked(t: Task, n: number, deadlineNs: number, timeAddr: number, isTimeval: boolean): number {
  if (n !== -ERESTARTNOHAND) restoreMask(t);
  if (timeAddr === 0 || deadlineNs === AT_ONCE || deadlineNs === FOREVER) return n;
  const leftNs = Math.max(0, deadlineNs - t.kernel.clock.monotonicNs());
  const stored = isTimeval ? storeTimevalNs(t, timeAddr, leftNs) : storeTimespecNs(t, timeAddr, leftNs);
  // A restart would read the time that could not be written.
  return stored < 0 && n === -ERESTARTNOHAND ? -EINTR : n;
}

/** Installs the mask at `addr` for the length of the call. 0, -EFAULT, or -EINVAL for another size of sigset_t. */
export function useSignalMask(t: Task, addr: number, size: number): number {
  if (addr === 0) return 0;
  if (size !== SIGSET_SIZE) return -EINVAL;
  if (t.mm.copyIn(addr, maskBytes, 0, SIGSET_SIZE) < 0) return -EFAULT;
  setTemporaryMask(t, maskView.getInt32(0, true), maskView.getInt32(4, true));
  return 0;
}
const maskBytes = new Uint8Array(SIGSET_SIZE);
const maskView = new DataView(maskBytes.buffer);

// ---- poll

const POLLFD_SIZE = 8;
const POLLFD_EVENTS = 4;
const POLLFD_REVENTS = 6;
const UNASKED = POLLERR | POLLHUP;

/** poll(2). */
export function poll(t: Task, a: SyscallArgs): number {
  const ms = a.int(2);
  return startPoll(t, ms < 0 ? FOREVER : deadlineOf(t, ms * 1e6), resumePoll);
}

function resumePoll(t: Task, why: number): number {
  if (why === WAKE_SIGNAL) {
    t.pollTable!.disarm();
    t.restart = restartPoll;
    t.restartDeadlineNs = t.deadlineNs;
    return -ERESTART_RESTARTBLOCK;
  }
  return stillNothing(t, why, UNASKED) ? t.park(t.deadlineNs, resumePoll) : storeRevents(t, true);
}

/** The rest of an interrupted poll, after a stop or a signal without a handler: the deadline stays. */
function restartPoll(t: Task): number {
  return startPoll(t, t.restartDeadlineNs, resumePoll);
}

/** ppoll(2). */
export function ppoll(t: Task, a: SyscallArgs): number {
  let deadlineNs = FOREVER;
  if (a.addr(2) !== 0) {
    const bad = loadTimespec(t, a.addr(2));
    if (bad < 0) return bad;
    deadlineNs = deadlineOf(t, loadedNs());
  }
  const masked = useSignalMask(t, a.addr(3), a.addr(4));
  if (masked < 0) return masked;
  const n = startPoll(t, deadlineNs, resumePpoll);
  return n === BLOCKED ? n : finishMasked(t, n, deadlineNs, a.addr(2), false);
}

function resumePpoll(t: Task, why: number): number {
  let n = -ERESTARTNOHAND;
  if (why !== WAKE_SIGNAL) {
    if (stillNothing(t, why, UNASKED)) return t.park(t.deadlineNs, resumePpoll);
    n = storeRevents(t, true);
  }
  t.pollTable!.disarm();
  return finishMasked(t, n, t.deadlineNs, t.args.addr(2), false);
}

function startPoll(t: Task, deadlineNs: number, resume: Resume): number {
  const addr = t.args.addr(0);
  const count = t.args.uint(1);
  if (count > t.fdLimit) return -EINVAL;
  const table = tableOf(t, count * POLLFD_SIZE);
  if (t.mm.copyIn(addr, table.bytes, 0, count * POLLFD_SIZE) < 0) return -EFAULT;
  for (let i = 0; i < count; i++) {
    const fd = table.view.getInt32(i * POLLFD_SIZE, true);
    table.add(fd, fd < 0 ? undefined : openFile(t, fd), table.view.getUint16(i * POLLFD_SIZE + POLLFD_EVENTS, true));
  }
  // A signal that the mask lets in is noticed even by a call that does not wait: fs/select.c:do_poll().
  if (table.scan(UNASKED) > 0 || (deadlineNs === AT_ONCE && !t.signals.interrupting)) return storeRevents(t, false);
  return waitForFiles(t, deadlineNs, resume);
}

/** Writes every revents and ends the wait: the number of files with events, or -EFAULT. */
function storeRevents(t: Task, waited: boolean): number {
  const table = t.pollTable!;
  const addr = t.args.addr(0);
  const size = table.count * POLLFD_SIZE;
  table.disarm();
  // Other threads may have changed the array while we waited; only revents is ours to write.
  if (waited && t.mm.copyIn(addr, table.bytes, 0, size) < 0) return -EFAULT;
  let ready = 0;
  for (let i = 0; i < table.count; i++) {
    const revents = table.revents(i);
    table.view.setUint16(i * POLLFD_SIZE + POLLFD_REVENTS, revents, true);
    if (revents !== 0) ready++;
  }
  return t.mm.copyOut(addr, table.bytes, 0, size) < 0 ? -EFAULT : ready;
}

// ---- select

// What makes a descriptor readable, writable and exceptional: fs/select.c.
const IN_SET = POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR | POLLNVAL;
const OUT_SET = POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR | POLLNVAL;
const EX_SET = POLLPRI | POLLNVAL;

/** select(2). */
export function select(t: Task, a: SyscallArgs): number {
  let deadlineNs = FOREVER;
  if (a.addr(4) !== 0) {
    const bad = loadLooseTimeval(t, a.addr(4));
    if (bad < 0) return bad;
    deadlineNs = deadlineOf(t, loadedNs());
  }
  const n = startSelect(t, deadlineNs, resumeSelect);
  return n === BLOCKED ? n : finishMasked(t, n, deadlineNs, a.addr(4), true);
}

function resumeSelect(t: Task, why: number): number {
  const n = selectAgain(t, why, resumeSelect);
  return n === BLOCKED ? n : finishMasked(t, n, t.deadlineNs, t.args.addr(4), true);
}

/** pselect6(2): the sixth argument points at the mask's address and size. */
export function pselect6(t: Task, a: SyscallArgs): number {
  let maskAddr = 0;
  let maskSize = 0;
  if (a.addr(5) !== 0) {
    if (t.mm.copyIn(a.addr(5), pairBytes, 0, 16) < 0) return -EFAULT;
    maskAddr = getU64(pairView, 0);
    maskSize = getU64(pairView, 8);
  }
  let deadlineNs = FOREVER;
  if (a.addr(4) !== 0) {
    const bad = loadTimespec(t, a.addr(4));
    if (bad < 0) return bad;
    deadlineNs = deadlineOf(t, loadedNs());
  }
  const masked = useSignalMask(t, maskAddr, maskSize);
  if (masked < 0) return masked;
  const n = startSelect(t, deadlineNs, resumePselect);
  return n === BLOCKED ? n : finishMasked(t, n, deadlineNs, a.addr(4), false);
}
const pairBytes = new Uint8Array(16);
const pairView = new DataView(pairBytes.buffer);

function resumePselect(t: Task, why: number): number {
  const n = selectAgain(t, why, resumePselect);
  return n === BLOCKED ? n : finishMasked(t, n, t.deadlineNs, t.args.addr(4), false);
}

function startSelect(t: Task, deadlineNs: number, resume: Resume): number {
  const a = t.args;
  if (a.int(0) < 0) return -EINVAL;
  // Bits beyond the descriptor table are not looked at: fs/select.c:core_sys_select().
  const count = Math.min(a.int(0), tableCapacity(t.fds.size));
  const size = setBytes(count);
  const table = tableOf(t, size * 3);
  for (let set = 0; set < 3; set++) {
    const addr = a.addr(set + 1);
    if (addr === 0) table.bytes.fill(0, set * size, (set + 1) * size);
    else if (t.mm.copyIn(addr, table.bytes, set * size, size) < 0) return -EFAULT;
  }
  for (let fd = 0; fd < count; fd++) {
    const events =
      (hasBit(table.bytes, 0, fd) ? IN_SET : 0) |
      (hasBit(table.bytes, size, fd) ? OUT_SET : 0) |
      (hasBit(table.bytes, size * 2, fd) ? EX_SET : 0);
    if (events === 0) continue;
    if (t.fds.get(fd) === undefined) return -EBADF;
    table.add(fd, openFile(t, fd), events);
  }
  t.n0 = count;
  if (table.scan(0) > 0 || (deadlineNs === AT_ONCE && !t.signals.interrupting)) return storeSets(t);
  return waitForFiles(t, deadlineNs, resume);
}

function selectAgain(t: Task, why: number, resume: Resume): number {
  if (why === WAKE_SIGNAL) {
    t.pollTable!.disarm();
    return -ERESTARTNOHAND;
  }
  return stillNothing(t, why, 0) ? t.park(t.deadlineNs, resume) : storeSets(t);
}

/** Writes the sets of what is ready and ends the wait: the number of bits, or -EFAULT. */
function storeSets(t: Task): number {
  const table = t.pollTable!;
  const size = setBytes(t.n0);
  table.disarm();
  table.bytes.fill(0, 0, size * 3);
  let bits = 0;
  for (let i = 0; i < table.count; i++) {
    const revents = table.revents(i);
    const asked = table.events(i);
    if ((asked & POLLIN) !== 0 && (revents & IN_SET) !== 0) bits += setBit(table.bytes, 0, table.fd(i));
    if ((asked & POLLOUT) !== 0 && (revents & OUT_SET) !== 0) bits += setBit(table.bytes, size, table.fd(i));
    if ((asked & POLLPRI) !== 0 && (revents & EX_SET) !== 0) bits += setBit(table.bytes, size * 2, table.fd(i));
  }
  for (let set = 0; set < 3; set++) {
    const addr = t.args.addr(set + 1);
    if (addr !== 0 && t.mm.copyOut(addr, table.bytes, set * size, size) < 0) return -EFAULT;
  }
  return bits;
}

/** Descriptors that Linux's table would have room for: fs/file.c:alloc_fdtable(). */
function tableCapacity(used: number): number {
  let capacity = 64;
  while (capacity < used) capacity *= 2;
  return capacity;
}

/** FDS_BYTES(): whole longs. */
function setBytes(count: number): number {
  return Math.ceil(count / 64) * 8;
}

function hasBit(bytes: Uint8Array, at: number, n: number): boolean {
  return (bytes[at + (n >> 3)]! & (1 << (n & 7))) !== 0;
}

function setBit(bytes: Uint8Array, at: number, n: number): number {
  bytes[at + (n >> 3)]! |= 1 << (n & 7);
  return 1;
}

export const pollCalls: readonly SyscallLine[] = [
  call(SYS_poll, 'poll', 'fds:pollfd nfds:uint timeout:int', poll),
  call(SYS_ppoll, 'ppoll', 'fds:pollfd nfds:uint tmo:timespec sigmask:sigset sigsetsize:size', ppoll),
  call(SYS_select, 'select', 'n:int readfds:addr writefds:addr exceptfds:addr timeout:timeval', select),
  call(SYS_pselect6, 'pselect6', 'n:int readfds:addr writefds:addr exceptfds:addr timeout:timespec sigmask:addr', pselect6),
];
