// System V semaphores: ipc/sem.c. A set of operations happens at once or not at all; who cannot
// proceed waits on the set and tries again, in order of arrival, whenever a value has changed.

import { E2BIG, EACCES, EAGAIN, EFBIG, EIDRM, EINTR, ERANGE } from '../abi/errno.ts';
import { IPC_NOWAIT, SEM_UNDO, SEMMNI, SEMOPM, SEMVMX } from '../abi/ipc.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import { IpcObject, IpcTable } from './ipc.ts';
import type { IpcNamespace } from './namespaces.ts';
import { type Task, WAKE_SIGNAL, WAKE_TIMEOUT } from './task.ts';
import type { GroupTimers, ThreadGroup } from './thread-group.ts';

const CHANGED = 1;
const READ = 0o444;
const WRITE = 0o222;

export class SemaphoreSet extends IpcObject {
  readonly values: Int32Array;
  /** Who has last changed each, in the root pid namespace. */
  readonly pids: Int32Array;
  /** Waiting for an increase, and for zero. */
  readonly decreasers: Int32Array;
  readonly zeroWaiters: Int32Array;
  readonly waiters: WaitQueue = new WaitQueue();
  otimeSec = 0;

  constructor(t: Task, key: number, mode: number, count: number) {
    super(t, key, mode);
    this.values = new Int32Array(count);
    this.pids = new Int32Array(count);
    this.decreasers = new Int32Array(count);
    this.zeroWaiters = new Int32Array(count);
  }

  changed(): void {
    this.waiters.notify(CHANGED);
  }
}

export function semaphoreTable(ns: IpcNamespace): IpcTable<SemaphoreSet> {
  return IpcTable.of<SemaphoreSet>(ns, 'sem', SEMMNI);
}

/** struct sembuf, decoded. */
export interface SemOperation {
  num: number;
  op: number;
  flags: number;
}

/** What a process takes back when it ends: struct sem_undo_list. */
class UndoList implements GroupTimers {
  private readonly group: ThreadGroup;
  private readonly bySet = new Map<SemaphoreSet, Int32Array>();

  constructor(group: ThreadGroup) {
    this.group = group;
  }

  adjustments(set: SemaphoreSet): Int32Array {
    let list = this.bySet.get(set);
    if (list === undefined) {
      list = new Int32Array(set.values.length);
      this.bySet.set(set, list);
    }
    return list;
  }

  /** SETVAL and SETALL make earlier operations forgotten. */
  forget(set: SemaphoreSet, num: number): void {
    const list = this.bySet.get(set);
    if (list === undefined) return;
    if (num < 0) list.fill(0);
    else list[num] = 0;
  }

  /** exit_sem(). */
  release(): void {
    for (const [set, list] of this.bySet) {
      if (set.removed) continue;
      for (let i = 0; i < list.length; i++) {
        if (list[i] === 0) continue;
        set.values[i] = Math.min(Math.max(set.values[i]! + list[i]!, 0), SEMVMX);
        set.pids[i] = this.group.tgid;
      }
      set.otimeSec = this.group.kernel.clock.realtimeSec();
      set.changed();
    }
    this.bySet.clear();
  }
}

function undoOf(group: ThreadGroup): UndoList {
  if (group.semUndo === null) group.semUndo = new UndoList(group);
  return group.semUndo as UndoList;
}

/** All processes' adjustments of a set (or of one semaphore of it) are void. */
export function forgetUndo(t: Task, set: SemaphoreSet, num: number): void {
  for (const task of t.kernel.tasks.values()) (task.group.semUndo as UndoList | null)?.forget(set, num);
}

/** The operation that a waiting task is stuck at. */
interface Pending {
  set: SemaphoreSet;
  operations: SemOperation[];
  stuckAt: SemOperation;
}

/** semtimedop(2) on decoded operations; deadlineNs absolute and monotonic. */
export function semaphoreOperate(t: Task, id: number, operations: SemOperation[], deadlineNs: number): number {
  if (operations.length > SEMOPM) return -E2BIG;
  const set = semaphoreTable(t.ns.ipc).find(id);
  if (typeof set === 'number') return set;
  let alters = false;
  for (const o of operations) {
    if (o.num >= set.values.length) return -EFBIG;
    if (o.op !== 0) alters = true;
  }
  if (!set.permits(t, alters ? WRITE : READ)) return -EACCES;
  return attempt(t, { set, operations, stuckAt: operations[0]! }, deadlineNs);
}

function attempt(t: Task, p: Pending, deadlineNs: number): number {
  const result = tryAll(t, p);
  if (result !== -EAGAIN) return result;
  if ((p.stuckAt.flags & IPC_NOWAIT) !== 0) return -EAGAIN;
  const counts = p.stuckAt.op === 0 ? p.set.zeroWaiters : p.set.decreasers;
  counts[p.stuckAt.num]!++;
  t.object = p;
  return t.block(p.set.waiters, CHANGED, deadlineNs, resumeOperate);
}

function resumeOperate(t: Task, why: number): number {
  const p = t.object as Pending;
  const counts = p.stuckAt.op === 0 ? p.set.zeroWaiters : p.set.decreasers;
  counts[p.stuckAt.num]!--;
  t.object = null;
  if (p.set.removed) return -EIDRM;
  const result = tryAll(t, p);
  if (result !== -EAGAIN) return result;
  // "Never automatically restarted after being interrupted by a signal handler" - semop(2).
  if (why === WAKE_SIGNAL) return -EINTR;
  if (why === WAKE_TIMEOUT) return -EAGAIN;
  return attempt(t, p, t.deadlineNs);
}

/** perform_atomic_semop(): 0, -EAGAIN with p.stuckAt set, -ERANGE. */
function tryAll(t: Task, p: Pending): number {
  const { set, operations } = p;
  let done = 0;
  let result = 0;
  for (; done < operations.length; done++) {
    const o = operations[done]!;
    const value = set.values[o.num]!;
    if (o.op === 0 ? value !== 0 : value + o.op < 0) {
      p.stuckAt = o;
      result = -EAGAIN;
      break;
    }
    if (value + o.op > SEMVMX) {
      result = -ERANGE;
      break;
    }
    if ((o.flags & SEM_UNDO) !== 0) {
      const undo = undoOf(t.group).adjustments(set)[o.num]! - o.op;
      if (undo < -SEMVMX - 1 || undo > SEMVMX) {
        result = -ERANGE;
        break;
      }
    }
    set.values[o.num] = value + o.op;
  }
  if (result < 0) {
    while (--done >= 0) set.values[operations[done]!.num]! -= operations[done]!.op;
    return result;
  }
  let changed = false;
  for (const o of operations) {
    set.pids[o.num] = t.group.tgid;
    if (o.op !== 0) changed = true;
    if ((o.flags & SEM_UNDO) !== 0) undoOf(t.group).adjustments(set)[o.num]! -= o.op;
  }
  set.otimeSec = t.kernel.clock.realtimeSec();
  if (changed) set.changed();
  return 0;
}

/** IPC_RMID: who waits is told that the set is gone. */
export function removeSemaphores(t: Task, set: SemaphoreSet): number {
  semaphoreTable(t.ns.ipc).remove(set);
  set.changed();
  return 0;
}
