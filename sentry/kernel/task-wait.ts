// Waiting for children: kernel/exit.c:do_wait(). Children belong to a process; the thread that
// cloned one matters for __WNOTHREAD only.

import { ECHILD } from '../abi/errno.ts';
import { __WALL, __WCLONE, __WNOTHREAD, P_ALL, P_PGID, WCONTINUED, WEXITED, WNOWAIT, WSTOPPED } from '../abi/sched.ts';
import { CLD_CONTINUED, CLD_DUMPED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, CLD_TRAPPED, SIGCHLD, SIGCONT } from '../abi/signal.ts';
import type { Pid } from './pid-namespace.ts';
import type { ProcessGroup } from './process-group.ts';
import { detach } from './ptrace-link.ts';
import type { Task } from './task.ts';
import { groupUsage, reap, releaseHeld, releaseTask } from './task-exit.ts';
import { type ThreadGroup, Usage } from './thread-group.ts';

const STATUS_CONTINUED = 0xffff;
const STATUS_STOPPED = 0x7f;

/** What is waited for, and what was found: struct wait_opts. */
export class Wait {
  /** P_ALL, P_PID or P_PGID. */
  readonly type: number;
  readonly pid: Pid | null;
  readonly processGroup: ProcessGroup | null;
  readonly options: number;

  // The child that was found: its number, for the caller.
  number = 0;
  uid = 0;
  /** As wait4(2) tells it. */
  status = 0;
  /** As waitid(2) tells it: CLD_* and exit code or signal. */
  code = 0;
  value = 0;
  readonly usage: Usage = new Usage();

  constructor(type: number, pid: Pid | null, processGroup: ProcessGroup | null, options: number) {
    this.type = type;
    this.pid = pid;
    this.processGroup = processGroup;
    this.options = options;
  }
}

/** Looks once: the number of a child that has something to tell, 0 when none has yet, -ECHILD when there is none to wait for. */
export function waitOnce(t: Task, w: Wait): number {
  let eligible = false;
  for (const child of t.group.children) {
    if (!isEligible(t, child, w)) continue;
    // A zombie will never stop or continue: who does not ask for ends has nothing to wait for, wait_consider_task().
    if (child.isDead && (w.options & WEXITED) === 0) continue;
    eligible = true;
    if (tells(t, child, w)) return w.number;
  }
  for (const thread of t.group.tasks) {
    if (thread.tracees === null || (thread !== t && (w.options & __WNOTHREAD) !== 0)) continue;
    for (const target of thread.tracees) {
      if (!isTraced(target, w)) continue;
      eligible = true;
      if (tracedTells(t, target, w)) return w.number;
    }
  }
  for (const zombie of t.group.traceZombies) {
    if (!isTraced(zombie, w)) continue;
    eligible = true;
    if ((w.options & WEXITED) === 0) continue;
    foundTask(t, zombie, w);
    died(w, zombie.exitStatus);
    if ((w.options & WNOWAIT) === 0) {
      t.group.traceZombies.splice(t.group.traceZombies.indexOf(zombie), 1);
      releaseTask(zombie);
    }
    return w.number;
  }
  return eligible ? 0 : -ECHILD;
}

function isEligible(t: Task, child: ThreadGroup, w: Wait): boolean {
  if (w.type === P_PGID) {
    if (child.processGroup !== w.processGroup) return false;
  } else if (w.type !== P_ALL && child.pid !== w.pid) {
    return false;
  }
  if ((w.options & __WNOTHREAD) !== 0 && child.parentTask !== t) return false;
  // Children that do not end with SIGCHLD are only seen by who asks for them.
  return (w.options & __WALL) !== 0 || (child.exitSignal !== SIGCHLD) === ((w.options & __WCLONE) !== 0);
}

function tells(t: Task, child: ThreadGroup, w: Wait): boolean {
  const keep = (w.options & WNOWAIT) !== 0;
  if (child.isDead) {
    if (child.heldByTracer) return false;
    found(t, child, w);
    died(w, child.groupExitStatus);
    if (keep) return true;
    t.group.childUsage.add(w.usage);
    reap(child);
    return true;
  }
  // A traced child's stops are its tracer's to hear.
  if (child.leader.tracee === null && child.isStopped && child.stopUnreported && (w.options & WSTOPPED) !== 0) {
    if (!keep) child.stopUnreported = false;
    found(t, child, w);
    w.status = (child.stopSignal << 8) | STATUS_STOPPED;
    w.code = CLD_STOPPED;
    w.value = child.stopSignal;
    return true;
  }
  if (child.continuedUnreported && (w.options & WCONTINUED) !== 0) {
    if (!keep) child.continuedUnreported = false;
    found(t, child, w);
    w.status = STATUS_CONTINUED;
    w.code = CLD_CONTINUED;
    w.value = SIGCONT;
    return true;
  }
  return false;
}

/** A tracee is waited for by its thread number, whatever it ends with. */
function isTraced(target: Task, w: Wait): boolean {
  if (w.type === P_PGID) return target.group.processGroup === w.processGroup;
  return w.type === P_ALL || target.pid === w.pid;
}

function tracedTells(t: Task, target: Task, w: Wait): boolean {
  const tracee = target.tracee!;
  const keep = (w.options & WNOWAIT) !== 0;
  if (target.group.isDead) {
    if ((w.options & WEXITED) === 0) return false;
    // Its own parent traces it: seen here, whatever signal it ends with.
    if (target.group.parent === t.group && !target.group.heldByTracer) return tells(t, target.group, w);
    if (!target.group.heldByTracer) return false;
    foundTask(t, target, w);
    died(w, target.group.groupExitStatus);
    if (keep) return true;
    detach(target, 0);
    releaseHeld(target.group);
    return true;
  }
  if (tracee.stopCode === 0 || tracee.isReported) return false;
  if (!keep) tracee.isReported = true;
  foundTask(t, target, w);
  w.status = (tracee.stopCode << 8) | STATUS_STOPPED;
  w.code = tracee.isGroupStop ? CLD_STOPPED : CLD_TRAPPED;
  w.value = tracee.stopCode;
  return true;
}

function died(w: Wait, status: number): void {
  const signo = status & 0x7f;
  w.status = status;
  w.code = signo === 0 ? CLD_EXITED : (status & 0x80) !== 0 ? CLD_DUMPED : CLD_KILLED;
  w.value = signo === 0 ? (status >> 8) & 0xff : signo;
}

function foundTask(t: Task, target: Task, w: Wait): void {
  w.number = target.pid.numberIn(t.pidns);
  w.uid = t.creds.userns.uidFromKernel(target.creds.uid);
  w.usage.assign(groupUsage(target.group));
}

function found(t: Task, child: ThreadGroup, w: Wait): void {
  w.number = child.pid.numberIn(t.pidns);
  w.uid = t.creds.userns.uidFromKernel(child.leader.creds.uid);
  w.usage.assign(groupUsage(child));
  w.usage.add(child.childUsage);
}
