// Waiting for children: kernel/exit.c:do_wait(). Children belong to a process; the thread that
// cloned one matters for __WNOTHREAD only.

import { ECHILD } from '../abi/errno.ts';
import { __WALL, __WCLONE, __WNOTHREAD, P_ALL, P_PGID, WCONTINUED, WEXITED, WNOWAIT, WSTOPPED } from '../abi/sched.ts';
import { CLD_CONTINUED, CLD_DUMPED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SIGCHLD, SIGCONT } from '../abi/signal.ts';
import type { Pid } from './pid-namespace.ts';
import type { ProcessGroup } from './process-group.ts';
import type { Task } from './task.ts';
import { groupUsage, reap } from './task-exit.ts';
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
    const status = child.groupExitStatus;
    const signo = status & 0x7f;
    found(t, child, w);
    w.status = status;
    w.code = signo === 0 ? CLD_EXITED : (status & 0x80) !== 0 ? CLD_DUMPED : CLD_KILLED;
    w.value = signo === 0 ? (status >> 8) & 0xff : signo;
    if (keep) return true;
    t.group.childUsage.add(w.usage);
    reap(child);
    return true;
  }
  if (child.isStopped && child.stopUnreported && (w.options & WSTOPPED) !== 0) {
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

function found(t: Task, child: ThreadGroup, w: Wait): void {
  w.number = child.pid.numberIn(t.pidns);
  w.uid = t.creds.userns.uidFromKernel(child.leader.creds.uid);
  w.usage.assign(groupUsage(child));
  w.usage.add(child.childUsage);
}
