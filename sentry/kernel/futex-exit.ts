// What a dying thread, or one that execs, owes to those who wait for its futexes: kernel/futex/core.c.

import { FUTEX_BITSET_MATCH_ANY, FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS } from '../abi/sched.ts';
import { getI64, getU64 } from '../base/int64.ts';
import { scratch } from '../mm/guest-memory.ts';
import { isError } from './futex.ts';
import { exitPiStates } from './futex-pi.ts';
import { exchangeWord } from './futex-word.ts';
import type { Task } from './task.ts';

/** sizeof(struct robust_list_head). */
const ROBUST_HEAD_SIZE = 24;
/** A list of the guest's making is walked only so far: include/uapi/linux/futex.h. */
const ROBUST_LIST_LIMIT = 2048;
const RETRIES = 16;

/** Robust mutexes, PI futexes, and the word of CLONE_CHILD_CLEARTID: mm_release(). */
export function exitFutexes(t: Task): void {
  if (t.robustListAddr !== 0) exitRobustList(t);
  t.robustListAddr = 0;
  exitPiStates(t);
  const addr = t.clearTidAddr;
  t.clearTidAddr = 0;
  // Nobody else sees the memory: "this might be called from a coredump, and then nobody waits".
  // "... to leave the value intact in a core dump": a debugger knows threads by it.
  if (addr === 0 || t.mm.refs <= 1 || t.group.dump !== null) return;
  t.mm.storeU32Now(addr, 0);
  wakeOne(t, addr);
}

function wakeOne(t: Task, addr: number): void {
  if (addr % 4 !== 0) return;
  const key = t.mm.futexKey(addr, false);
  if (!isError(key)) t.kernel.futexes.wake(key, 1, FUTEX_BITSET_MATCH_ANY | 0);
}

/** exit_robust_list(): struct robust_list_head is { next, futex_offset, list_op_pending }; bit 0 of an entry says PI. */
function exitRobustList(t: Task): void {
  const head = t.robustListAddr;
  if (t.mm.copyIn(head, scratch.u8, 0, ROBUST_HEAD_SIZE) < 0) return;
  let entry = getU64(scratch.view, 0);
  const offset = getI64(scratch.view, 8);
  const pending = getU64(scratch.view, 16);
  for (let limit = ROBUST_LIST_LIMIT; limit > 0; limit--) {
    const at = entry - (entry % 2);
    if (at === head) break;
    // The next one first: a woken thread may unlock and free this one.
    const next = t.mm.loadU64(at);
    if (entry !== pending && !futexDeath(t, at + offset, entry % 2 === 1, false)) return;
    if (next < 0) return;
    entry = next;
  }
  if (pending !== 0) futexDeath(t, pending - (pending % 2) + offset, pending % 2 === 1, true);
}

/** handle_futex_death(): false for a word that is not there. */
function futexDeath(t: Task, addr: number, isPi: boolean, isPending: boolean): boolean {
  if (addr % 4 !== 0 || addr < 0) return false;
  const id = t.pid.numberIn(t.pidns);
  for (let i = 0; i < RETRIES; i++) {
    const word = t.mm.loadU32(addr);
    if (word < 0) return false;
    // Died between unlocking in user space and the FUTEX_WAKE that was to follow.
    if (isPending && !isPi && word === 0) {
      wakeOne(t, addr);
      return true;
    }
    if ((word & FUTEX_TID_MASK) !== id) return true;
    const was = exchangeWord(t, addr, word, ((word & FUTEX_WAITERS) | FUTEX_OWNER_DIED) >>> 0);
    if (was < 0) return false;
    if (was !== word) continue;
    if (!isPi && (word & FUTEX_WAITERS) !== 0) wakeOne(t, addr);
    return true;
  }
  return true;
}
