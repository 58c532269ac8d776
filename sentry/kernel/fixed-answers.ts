// Calls whose answer stays the same until the Sentry itself changes something: the platform may give
// it without asking again. It is told with the first answer and takes all back with
// Context.withdrawAnswers(): when credentials change (Task.creds), when a tracer or a filter is to
// see the calls (Task.watched), and when a process gets another parent (task-exit.ts).

import {
  SYS_clock_gettime,
  SYS_futex,
  SYS_getegid,
  SYS_geteuid,
  SYS_getgid,
  SYS_getpid,
  SYS_getppid,
  SYS_gettid,
  SYS_gettimeofday,
  SYS_getuid,
  SYS_sched_yield,
  SYS_time,
} from '../abi/sysno-x64.ts';
import type { Task } from './task.ts';

const NUMBERS = 256;
const FIXED = 1;
/** Fixed as long as the user namespace's mapping is, which only that of the first one is. */
const IDS = 2;

const kinds = new Uint8Array(NUMBERS);
for (const nr of [SYS_getpid, SYS_gettid, SYS_getppid]) kinds[nr] = FIXED;
// Not the answer but the rule is fixed: the platform knows what these do. It yields; FUTEX_WAKE finds nobody as long as the
// counters of FutexTable say so; the clocks are the host's.
for (const nr of [SYS_sched_yield, SYS_futex, SYS_clock_gettime, SYS_gettimeofday, SYS_time]) kinds[nr] = FIXED;
for (const nr of [SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid]) kinds[nr] = IDS;

/** Has the platform give this answer from now on, if it is one of those. */
export function publishAnswer(t: Task, result: number): void {
  const kind = kinds[t.sysno & (NUMBERS - 1)]!;
  if (kind === 0 || t.sysno >= NUMBERS || result < 0 || t.watched || t.kernel.trace !== null) return;
  if (kind === IDS && t.creds.userns !== t.kernel.rootUserNamespace) return;
  if (t.sysno === SYS_clock_gettime && t.ns.time.isShifted) return;
  if (!t.mm.hasVdso && (t.sysno === SYS_clock_gettime || t.sysno === SYS_gettimeofday || t.sysno === SYS_time)) return;
  t.context.publishAnswer(t.sysno, result);
}
