// An exception on the way of a task's event is a bug of ours, and what oops_end() is on Linux: the
// process whose call it was is killed, and all others go on. That is safe for the host, which trusts
// nothing in here, and for other guests as far as handlers go: these do not interleave, so that no
// lock is held, and what they share is changed in steps that each leave it whole. A file or a count
// may stay behind. Where none of this can be said the exception ends the sandbox instead: a broken
// invariant, the end of a process that had begun, and whatever was not done for a task.

import { SIGKILL } from '../abi/signal.ts';
import { InvariantError } from '../base/errors.ts';
import { warn } from '../base/log.ts';
import { running } from '../base/retry.ts';
import { openIntent } from '../vfs/open-intent.ts';
import type { Kernel } from './kernel.ts';
import { TASK_DEAD } from './task.ts';
import { exitThread } from './task-exit.ts';
import { startGroupExit } from './task-signals.ts';

/** Who fails more often than this is not worth going on for: kernel.oops_limit, which is 10,000. */
const MOST_FAILURES = 1000;

/** Kills the process of kernel.current for an exception on its behalf, or throws it on. */
export function containFailure(kernel: Kernel, error: unknown): void {
  const t = kernel.current;
  kernel.current = null;
  if (t === null || t.isEnding || t.state === TASK_DEAD || error instanceof InvariantError) throw error;
  if (++kernel.failures > MOST_FAILURES) throw error;
  const { message, stack = message } = error as Error;
  const call = t.sysno < 0 ? 'outside a call' : `in ${kernel.syscalls[t.sysno]?.name ?? `call ${t.sysno}`}`;
  warn(`the Sentry has failed ${call}; process ${t.group.tgid} (${t.comm}), thread ${t.tid}, is killed for it: ${stack}`);
  running.asker = null;
  openIntent.reading = false;
  t.questions = null;
  if (t.tracee !== null) t.tracee.exitReported = true;
  startGroupExit(t.group, SIGKILL);
  exitThread(t, t.group.groupExitStatus);
}
