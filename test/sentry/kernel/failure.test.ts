// What becomes of a sandbox whose Sentry throws in the middle of a guest's call.
import test from 'ava';
import { CTX_EVENT } from '../../../platform/context-page.ts';
import { EVENT_SYSCALL, NEXT_TIMEOUT, ORIG_RAX } from '../../../platform/platform.ts';
import { SIGKILL } from '../../../sentry/abi/signal.ts';
import { SYS_exit_group, SYS_fork, SYS_getpid, SYS_pause, SYS_wait4 } from '../../../sentry/abi/sysno-x64.ts';
import { assert } from '../../../sentry/base/assert.ts';
import { setLogSink } from '../../../sentry/base/log.ts';
import { runLoop } from '../../../sentry/kernel/run-loop.ts';
import type { Task } from '../../../sentry/kernel/task.ts';
import { identityCalls } from '../../../sentry/syscalls/identity.ts';
import { processCalls } from '../../../sentry/syscalls/process.ts';
import { signalCalls } from '../../../sentry/syscalls/signal.ts';
import type { SyscallLine } from '../../../sentry/syscalls/syscall-line.ts';
import { DATA, FakeGuest, TASK_DEAD, TASK_GUEST } from '../../support/fake-guest.ts';

const FAILS = 1000;
const BREAKS = 1001;
const FAILS_PARKED = 1002;

function line(nr: number, name: string, handler: SyscallLine['handler']): SyscallLine {
  return { nr, name, args: [], handler, support: 'full', note: '' } as unknown as SyscallLine;
}

const brokenCalls = [
  line(FAILS, 'fails', (): number => {
    throw new TypeError('no such thing');
  }),
  line(BREAKS, 'breaks', (): number => {
    assert(false, 'two and two');
    return 0;
  }),
  line(FAILS_PARKED, 'failsParked', (t): number => {
    t.parkUninterruptible(() => 0);
    throw new TypeError('parked already');
  }),
];

function guest(): FakeGuest {
  return new FakeGuest([processCalls, signalCalls, identityCalls, brokenCalls], false);
}

/** Lets the real loop see one call of each of these tasks, then stop. */
function runCalls(g: FakeGuest, ...calls: [Task, number][]): void {
  const left = [...calls];
  g.platform.next = () => {
    const next = left.shift();
    if (next === undefined) {
      g.kernel.stopped = true;
      return NEXT_TIMEOUT;
    }
    const [t, nr] = next;
    const { region } = t.context as unknown as { region: { i32: Int32Array } };
    region.i32[(t.context.base + CTX_EVENT) >> 2] = EVENT_SYSCALL;
    t.context.setReg(ORIG_RAX, nr);
    return t.context.index;
  };
  g.kernel.stopped = false;
  runLoop(g.kernel);
}

test.serial('an exception in a handler kills its process, with a line in the log, and no other', (t) => {
  const lines: string[] = [];
  setLogSink((text) => lines.push(text), false);
  t.teardown(() => setLogSink(undefined, false));
  for (const nr of [FAILS, FAILS_PARKED]) {
    const g = guest();
    const child = g.task(g.sys(g.init, SYS_fork));
    const other = g.task(g.sys(g.init, SYS_fork));
    runCalls(g, [child, nr], [other, SYS_getpid]);
    t.is(child.state, TASK_DEAD);
    t.is(other.state, TASK_GUEST);
    t.is(g.sys(g.init, SYS_wait4, child.tid, DATA, 0), child.tid);
    t.is(g.init.mm.loadU32(DATA), SIGKILL);
    g.sys(other, SYS_exit_group, 0);
    t.is(g.sys(g.init, SYS_wait4, -1, DATA, 0), other.tid);
  }
  t.is(lines.length, 2);
  t.regex(lines[0]!, /the Sentry has failed in fails; process \d+ \(init\), thread \d+, is killed for it: TypeError: no such thing\n +at /);
});

test.serial('threads of a process whose call has failed end with it, wherever they are', (t) => {
  const g = guest();
  const child = g.task(g.sys(g.init, SYS_fork));
  const CLONE_THREAD_FLAGS = 0x10f00;
  const thread = g.task(g.sys(child, 56, CLONE_THREAD_FLAGS, 0, 0, 0, 0));
  t.is(g.sys(thread, SYS_pause), undefined);
  runCalls(g, [child, FAILS]);
  g.settle();
  t.is(thread.state, TASK_DEAD);
  t.is(g.sys(g.init, SYS_wait4, -1, DATA, 0), child.tid);
});

test.serial('a broken invariant ends the sandbox', (t) => {
  const g = guest();
  const child = g.task(g.sys(g.init, SYS_fork));
  t.throws(() => runCalls(g, [child, BREAKS]), { message: 'assertion failed: two and two' });
});
