// Entry of a system call: the call's number and arguments are copied out of shared memory once,
// then the table's handler runs. Its end, restarts included, is in task-run.ts.

import { ORIG_RAX, R8, R9, R10, RDI, RDX, RSI } from '../../platform/platform.ts';
import { ENOSYS } from '../abi/errno.ts';
import { warnOnce } from '../base/log.ts';
import { checkSeccomp, SECCOMP_CONTINUES, SECCOMP_TRACED } from './seccomp.ts';
import { TASK_HANDLER, type Task } from './task.ts';
import { finish } from './task-run.ts';

/** The guest has made a system call: EVENT_SYSCALL. */
export function enterSyscall(t: Task): void {
  const c = t.context;
  const words = t.args.words;
  const nr = c.regLo(ORIG_RAX);
  words[0] = c.regLo(RDI);
  words[1] = c.regHi(RDI);
  words[2] = c.regLo(RSI);
  words[3] = c.regHi(RSI);
  words[4] = c.regLo(RDX);
  words[5] = c.regHi(RDX);
  words[6] = c.regLo(R10);
  words[7] = c.regHi(R10);
  words[8] = c.regLo(R8);
  words[9] = c.regHi(R8);
  words[10] = c.regLo(R9);
  words[11] = c.regHi(R9);
  t.sysno = nr;
  t.state = TASK_HANDLER;
  const entry = t.kernel.syscalls[nr];
  const trace = t.kernel.trace;
  if (trace !== null) trace.enter(t, entry);
  if (t.watched) {
    const verdict = checkSeccomp(t);
    if (verdict !== SECCOMP_CONTINUES) {
      // A tracer that could decide is not there.
      finish(t, verdict === SECCOMP_TRACED ? -ENOSYS : verdict);
      return;
    }
  }
  if (entry === undefined) {
    warnOnce(`system call ${nr} is not implemented`);
    finish(t, -ENOSYS);
    return;
  }
  finish(t, entry.handler(t, t.args));
}
