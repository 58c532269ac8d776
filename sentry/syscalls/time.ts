// Clocks, sleeps and timers. Deadlines are monotonic ns; a wait on another clock is converted when
// it starts, since nobody in the sandbox can set a clock. Waits on CPU time look at their clock
// again whenever it could have come far enough (kernel/clocks.ts).

import { EFAULT, EINVAL, EOPNOTSUPP, EPERM, ERESTART_RESTARTBLOCK, ERESTARTNOHAND } from '../abi/errno.ts';
import { CLK_TCK } from '../abi/limits.ts';
import { CAP_WAKE_ALARM } from '../abi/sched.ts';
import { NSIG, SIGALRM } from '../abi/signal.ts';
import {
  SYS_adjtimex,
  SYS_alarm,
  SYS_clock_adjtime,
  SYS_clock_getres,
  SYS_clock_gettime,
  SYS_clock_nanosleep,
  SYS_clock_settime,
  SYS_getitimer,
  SYS_gettimeofday,
  SYS_nanosleep,
  SYS_setitimer,
  SYS_settimeofday,
  SYS_time,
  SYS_timer_create,
  SYS_timer_delete,
  SYS_timer_getoverrun,
  SYS_timer_gettime,
  SYS_timer_settime,
  SYS_times,
} from '../abi/sysno-x64.ts';
import {
  CLOCK_MONOTONIC,
  CLOCK_MONOTONIC_COARSE,
  CLOCK_REALTIME,
  CLOCK_REALTIME_COARSE,
  CLOCK_THREAD_CPUTIME_ID,
  ITIMER_PROF,
  ITIMER_REAL,
  SIGEV_NONE,
  SIGEV_SIGNAL,
  SIGEV_THREAD,
  SIGEV_THREAD_ID,
  TIMER_ABSTIME,
} from '../abi/time.ts';
import { put64 } from '../base/int64.ts';
import { type CpuClock, cpuClock, isAlarmClock, isHostClock, isTimerClock, withoutAlarm } from '../kernel/clocks.ts';
import { intervalTimer } from '../kernel/itimers.ts';
import { type Notification, type PosixTimer, PosixTimers, posixTimers } from '../kernel/posix-timers.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Resume, type Task, WAKE_SIGNAL } from '../kernel/task.ts';
import { groupUsage } from '../kernel/task-exit.ts';
import { scratch } from '../mm/guest-memory.ts';
import { call, type SyscallLine } from './syscall-line.ts';
import { loaded, loadedNs, loadTimespec, loadTimeval, putTimespecNs, putTimevalNs, storeTimespec, storeTimespecNs } from './time-args.ts';

// ---- reading and setting clocks

/** clock_gettime(2). */
export function clockGettime(t: Task, a: SyscallArgs): number {
  const clock = a.int(0);
  if (isHostClock(clock)) {
    const { parts } = t.kernel.clock;
    t.kernel.clock.read(withoutAlarm(clock));
    const offset = t.ns.time.offset(clock);
    if (offset === null) return storeTimespec(t, a.addr(1), parts[0]!, parts[1]!);
    const nsec = parts[1]! + offset.nsec;
    return storeTimespec(t, a.addr(1), parts[0]! + offset.sec + (nsec >= 1e9 ? 1 : 0), nsec % 1e9);
  }
  const cpu = cpuClock(t, clock);
  return cpu === undefined ? -EINVAL : storeTimespecNs(t, a.addr(1), cpu.nowNs());
}

/** What CONFIG_HZ=250 gives the coarse clocks. */
const COARSE_NS = 4e6;

/** clock_getres(2). */
export function clockGetres(t: Task, a: SyscallArgs): number {
  const clock = a.int(0);
  if (!isHostClock(clock) && cpuClock(t, clock) === undefined) return -EINVAL;
  if (a.addr(1) === 0) return 0;
  return storeTimespecNs(t, a.addr(1), clock === CLOCK_REALTIME_COARSE || clock === CLOCK_MONOTONIC_COARSE ? COARSE_NS : 1);
}

/** clock_settime(2): the host's clocks are not the guest's to set. */
export function clockSettime(t: Task, a: SyscallArgs): number {
  const clock = a.int(0);
  const isCpu = !isHostClock(clock) && cpuClock(t, clock) !== undefined;
  if (clock !== CLOCK_REALTIME && !isCpu) return -EINVAL;
  const bad = loadTimespec(t, a.addr(1));
  return bad < 0 ? bad : -EPERM;
}

/** gettimeofday(2). */
export function gettimeofday(t: Task, a: SyscallArgs): number {
  if (a.addr(0) !== 0) {
    const time = t.kernel.clock;
    time.read(CLOCK_REALTIME);
    const bad = storeTimespec(t, a.addr(0), time.parts[0]!, Math.floor(time.parts[1]! / 1000));
    if (bad < 0) return bad;
  }
  // The time zone of the kernel: nobody has ever set it.
  return a.addr(1) === 0 ? 0 : t.mm.storeU64(a.addr(1), 0);
}

/** settimeofday(2). */
export function settimeofday(t: Task, a: SyscallArgs): number {
  if (a.addr(0) !== 0) {
    const bad = loadTimeval(t, a.addr(0));
    if (bad < 0) return bad;
  }
  if (a.addr(1) !== 0 && t.mm.loadU64(a.addr(1)) < 0) return -EFAULT;
  return -EPERM;
}

const TIMEX_SIZE = 208;
const TIMEX_STATUS = 40;
const TIMEX_PRECISION = 56;
const TIMEX_TOLERANCE = 64;
const TIMEX_TIME = 72;
const TIMEX_TICK = 88;
const STA_UNSYNC = 0x40;
/** The state of a clock that nobody disciplines. */
const TIME_ERROR = 5;
const ADJ_OFFSET_SS_READ = 0xa001;

/** adjtimex(2): an undisciplined clock, to read only. */
export function adjtimex(t: Task, a: SyscallArgs): number {
  return readTimex(t, a.addr(0));
}

/** clock_adjtime(2). */
export function clockAdjtime(t: Task, a: SyscallArgs): number {
  const clock = a.int(0);
  if (clock !== CLOCK_REALTIME) return isHostClock(clock) || cpuClock(t, clock) !== undefined ? -EOPNOTSUPP : -EINVAL;
  return readTimex(t, a.addr(1));
}

function readTimex(t: Task, addr: number): number {
  const v = scratch.view;
  if (t.mm.copyIn(addr, scratch.u8, 0, TIMEX_SIZE) < 0) return -EFAULT;
  const modes = v.getUint32(0, true);
  if (modes !== 0 && modes !== ADJ_OFFSET_SS_READ) return -EPERM;
  scratch.u8.fill(0, 4, TIMEX_SIZE);
  v.setInt32(TIMEX_STATUS, STA_UNSYNC, true);
  put64(v, TIMEX_PRECISION, 1);
  put64(v, TIMEX_TOLERANCE, 32768000);
  const time = t.kernel.clock;
  time.read(CLOCK_REALTIME);
  put64(v, TIMEX_TIME, time.parts[0]!);
  put64(v, TIMEX_TIME + 8, Math.floor(time.parts[1]! / 1000));
  put64(v, TIMEX_TICK, 10000);
  return t.mm.copyOut(addr, scratch.u8, 0, TIMEX_SIZE) < 0 ? -EFAULT : TIME_ERROR;
}

/** time(2). */
export function time(t: Task, a: SyscallArgs): number {
  const sec = t.kernel.clock.realtimeSec();
  return a.addr(0) !== 0 && t.mm.storeU64(a.addr(0), sec) < 0 ? -EFAULT : sec;
}

const TICK_NS = 1e9 / CLK_TCK;

/** times(2): ticks since the host started. */
export function times(t: Task, a: SyscallArgs): number {
  if (a.addr(0) !== 0) {
    const own = groupUsage(t.group);
    const children = t.group.childUsage;
    put64(scratch.view, 0, Math.floor(own.userNs / TICK_NS));
    put64(scratch.view, 8, Math.floor(own.systemNs / TICK_NS));
    put64(scratch.view, 16, Math.floor(children.userNs / TICK_NS));
    put64(scratch.view, 24, Math.floor(children.systemNs / TICK_NS));
    if (t.mm.copyOut(a.addr(0), scratch.u8, 0, 32) < 0) return -EFAULT;
  }
  return Math.floor(t.kernel.clock.boottimeNs() / TICK_NS);
}

// ---- sleeping

/** nanosleep(2). */
export function nanosleep(t: Task, a: SyscallArgs): number {
  const bad = loadTimespec(t, a.addr(0));
  if (bad < 0) return bad;
  const ns = loadedNs();
  return ns === 0 ? 0 : t.park(t.kernel.clock.monotonicNs() + ns, resumeNanosleep);
}

function resumeNanosleep(t: Task, why: number): number {
  return why === WAKE_SIGNAL ? interruptSleep(t, t.deadlineNs, t.args.addr(1), restartNanosleep) : 0;
}

function restartNanosleep(t: Task): number {
  return t.park(t.restartDeadlineNs, resumeNanosleep);
}

/** A relative sleep is interrupted: tells what is left of it, and goes on to the same end if no handler runs. */
function interruptSleep(t: Task, untilNs: number, remainAddr: number, restart: (t: Task) => number): number {
  const left = untilNs - t.kernel.clock.monotonicNs();
  if (left <= 0) return 0;
  if (remainAddr !== 0 && storeTimespecNs(t, remainAddr, left) < 0) return -EFAULT;
  t.restart = restart;
  t.restartDeadlineNs = untilNs;
  return -ERESTART_RESTARTBLOCK;
}

/** clock_nanosleep(2). */
export function clockNanosleep(t: Task, a: SyscallArgs): number {
  const clock = a.int(0);
  const isAbsolute = (a.int(1) & TIMER_ABSTIME) !== 0;
  const cpu = isHostClock(clock) ? undefined : cpuClock(t, clock);
  if (cpu === undefined && !isHostClock(clock)) return -EINVAL;
  if (cpu === undefined ? !isTimerClock(clock) : clock === CLOCK_THREAD_CPUTIME_ID) return -EOPNOTSUPP;
  const bad = loadTimespec(t, a.addr(2));
  if (bad < 0) return bad;
  if (isAlarmClock(clock) && !t.creds.capable(CAP_WAKE_ALARM)) return -EPERM;
  if (cpu !== undefined) return cpuSleep(t, cpu, isAbsolute);
  if (!isAbsolute) {
    const ns = loadedNs();
    return ns === 0 ? 0 : t.park(t.kernel.clock.monotonicNs() + ns, resumeClockNanosleep);
  }
  const hostNs = clock === CLOCK_MONOTONIC ? loadedNs() : t.kernel.clock.monotonicAt(withoutAlarm(clock), loaded.sec, loaded.nsec);
  const deadlineNs = hostNs - t.ns.time.offsetNs(clock);
  return deadlineNs <= t.kernel.clock.monotonicNs() ? 0 : t.park(deadlineNs, resumeClockNanosleep);
}

function resumeClockNanosleep(t: Task, why: number): number {
  if (why !== WAKE_SIGNAL) return 0;
  // An absolute sleep is simply made again, with the same arguments.
  if ((t.args.int(1) & TIMER_ABSTIME) !== 0) return t.deadlineNs <= t.kernel.clock.monotonicNs() ? 0 : -ERESTARTNOHAND;
  return interruptSleep(t, t.deadlineNs, t.args.addr(3), restartClockNanosleep);
}

function restartClockNanosleep(t: Task): number {
  return t.park(t.restartDeadlineNs, resumeClockNanosleep);
}

/** posix_cpu_nsleep(). While parked t.object is the clock and t.n0 its mark. */
function cpuSleep(t: Task, cpu: CpuClock, isAbsolute: boolean): number {
  // "Diagnose required errors first": the sleeper's own CPU time stands still.
  if (cpu.task === t) return -EINVAL;
  t.object = cpu;
  t.n0 = isAbsolute ? loadedNs() : cpu.nowNs() + loadedNs();
  return continueCpuSleep(t, resumeCpuSleep);
}

function continueCpuSleep(t: Task, resume: Resume): number {
  const cpu = t.object as CpuClock;
  const left = t.n0 - cpu.nowNs();
  if (left > 0) return t.park(cpu.lookAgainNs(left), resume);
  t.object = null;
  return 0;
}

function resumeCpuSleep(t: Task, why: number): number {
  if (why !== WAKE_SIGNAL) return continueCpuSleep(t, resumeCpuSleep);
  const left = t.n0 - (t.object as CpuClock).nowNs();
  t.object = null;
  if (left <= 0) return 0;
  if ((t.args.int(1) & TIMER_ABSTIME) !== 0) return -ERESTARTNOHAND;
  if (t.args.addr(3) !== 0 && storeTimespecNs(t, t.args.addr(3), left) < 0) return -EFAULT;
  t.restart = restartCpuSleep;
  t.restartDeadlineNs = t.n0;
  return -ERESTART_RESTARTBLOCK;
}

function restartCpuSleep(t: Task): number {
  t.object = cpuClock(t, t.args.int(0)) ?? null;
  if (t.object === null) return -EINVAL;
  t.n0 = t.restartDeadlineNs;
  return continueCpuSleep(t, resumeCpuSleep);
}

// ---- interval timers

/** alarm(2): the seconds that were left of the last one, rounded so that a running one is never 0. */
export function alarm(t: Task, a: SyscallArgs): number {
  const timer = intervalTimer(t.group, ITIMER_REAL);
  const left = timer.remainingNs();
  timer.set(a.uint(0) * 1e9, 0);
  return left === 0 ? 0 : Math.max(1, Math.round(left / 1e9));
}

/** getitimer(2). */
export function getitimer(t: Task, a: SyscallArgs): number {
  const which = a.int(0);
  if (which < ITIMER_REAL || which > ITIMER_PROF) return -EINVAL;
  encodeItimer(t, which);
  return t.mm.copyOut(a.addr(1), scratch.u8, 0, 32);
}

/** setitimer(2): NULL for the new value switches off, as an obsolete favour. */
export function setitimer(t: Task, a: SyscallArgs): number {
  const which = a.int(0);
  let intervalNs = 0;
  let valueNs = 0;
  if (a.addr(1) !== 0) {
    let bad = loadTimeval(t, a.addr(1));
    if (bad < 0) return bad;
    intervalNs = loadedNs();
    bad = loadTimeval(t, a.addr(1) + 16);
    if (bad < 0) return bad;
    valueNs = loadedNs();
  }
  if (which < ITIMER_REAL || which > ITIMER_PROF) return -EINVAL;
  encodeItimer(t, which);
  intervalTimer(t.group, which).set(valueNs, intervalNs);
  return a.addr(2) === 0 ? 0 : t.mm.copyOut(a.addr(2), scratch.u8, 0, 32);
}

function encodeItimer(t: Task, which: number): void {
  const timer = intervalTimer(t.group, which);
  putTimevalNs(scratch.view, 0, timer.intervalNs);
  putTimevalNs(scratch.view, 16, timer.remainingNs());
}

// ---- POSIX timers

const SIGEVENT_SIZE = 64;

/** timer_create(2). */
export function timerCreate(t: Task, a: SyscallArgs): number {
  const clock = a.int(0);
  const cpu = isHostClock(clock) ? undefined : cpuClock(t, clock);
  if (cpu === undefined && !isHostClock(clock)) return -EINVAL;
  if (cpu === undefined && !isTimerClock(clock)) return -EOPNOTSUPP;
  const timers = posixTimers(t.group);
  const event: Notification = { signo: SIGALRM, task: null, valueLo: 0, valueHi: 0 };
  if (a.addr(1) !== 0) {
    const bad = loadSigevent(t, a.addr(1), event);
    if (bad < 0) return bad;
  }
  if (isAlarmClock(clock) && !t.creds.capable(CAP_WAKE_ALARM)) return -EPERM;
  const timer = timers.create(clock, cpu ?? null, event);
  if (typeof timer === 'number') return timer;
  if (a.addr(1) === 0) event.valueLo = timer.id;
  if (t.mm.storeU32(a.addr(2), timer.id) === 0) return 0;
  timers.delete(timer);
  return -EFAULT;
}

/** struct sigevent: value, signo, notify, thread. kernel/time/posix-timers.c:good_sigevent(). */
function loadSigevent(t: Task, addr: number, event: Notification): number {
  if (t.mm.copyIn(addr, scratch.u8, 0, SIGEVENT_SIZE) < 0) return -EFAULT;
  const v = scratch.view;
  event.valueLo = v.getInt32(0, true);
  event.valueHi = v.getInt32(4, true);
  event.signo = v.getInt32(8, true);
  switch (v.getInt32(12, true)) {
    case SIGEV_SIGNAL | SIGEV_THREAD_ID: {
      const task = t.group.pidns.task(v.getInt32(16, true));
      if (task === undefined || task.group !== t.group) return -EINVAL;
      event.task = task;
      break;
    }
    case SIGEV_SIGNAL:
    case SIGEV_THREAD:
      break;
    case SIGEV_NONE:
      event.signo = 0;
      return 0;
    default:
      return -EINVAL;
  }
  return event.signo <= 0 || event.signo > NSIG ? -EINVAL : 0;
}

function timerOf(t: Task, a: SyscallArgs): PosixTimer | undefined {
  return t.group.posixTimers instanceof PosixTimers ? t.group.posixTimers.get(a.int(0)) : undefined;
}

/** timer_settime(2). */
export function timerSettime(t: Task, a: SyscallArgs): number {
  if (a.addr(2) === 0) return -EINVAL;
  let bad = loadTimespec(t, a.addr(2));
  if (bad < 0) return bad;
  const intervalNs = loadedNs();
  bad = loadTimespec(t, a.addr(2) + 16);
  if (bad < 0) return bad;
  const timer = timerOf(t, a);
  if (timer === undefined) return -EINVAL;
  encodeTimer(timer);
  timer.set(loaded.sec, loaded.nsec, intervalNs, (a.int(1) & TIMER_ABSTIME) !== 0, t.ns.time.offsetNs(timer.clock));
  return a.addr(3) === 0 ? 0 : t.mm.copyOut(a.addr(3), scratch.u8, 0, 32);
}

/** timer_gettime(2). */
export function timerGettime(t: Task, a: SyscallArgs): number {
  const timer = timerOf(t, a);
  if (timer === undefined) return -EINVAL;
  encodeTimer(timer);
  return t.mm.copyOut(a.addr(1), scratch.u8, 0, 32);
}

function encodeTimer(timer: PosixTimer): void {
  const left = timer.remainingNs();
  putTimespecNs(scratch.view, 0, timer.intervalNs);
  putTimespecNs(scratch.view, 16, left);
}

/** timer_getoverrun(2). */
export function timerGetoverrun(t: Task, a: SyscallArgs): number {
  return timerOf(t, a)?.overrun ?? -EINVAL;
}

/** timer_delete(2). */
export function timerDelete(t: Task, a: SyscallArgs): number {
  const timer = timerOf(t, a);
  if (timer === undefined) return -EINVAL;
  posixTimers(t.group).delete(timer);
  return 0;
}

export const timeCalls: readonly SyscallLine[] = [
  call(SYS_clock_gettime, 'clock_gettime', 'clockid:clock tp:timespec', clockGettime),
  call(SYS_clock_getres, 'clock_getres', 'clockid:clock tp:timespec', clockGetres),
  call(SYS_clock_settime, 'clock_settime', 'clockid:clock tp:timespec', clockSettime, 'partial', 'always EPERM: the clocks are the host’s'),
  call(SYS_gettimeofday, 'gettimeofday', 'tv:timeval tz:addr', gettimeofday),
  call(SYS_settimeofday, 'settimeofday', 'tv:timeval tz:addr', settimeofday, 'partial', 'always EPERM'),
  call(SYS_adjtimex, 'adjtimex', 'buf:addr', adjtimex, 'partial', 'reads an undisciplined clock, sets nothing'),
  call(SYS_clock_adjtime, 'clock_adjtime', 'clockid:clock buf:addr', clockAdjtime, 'partial', 'reads an undisciplined clock, sets nothing'),
  call(SYS_time, 'time', 'tloc:addr', time),
  call(SYS_times, 'times', 'buf:addr', times),
  call(SYS_nanosleep, 'nanosleep', 'req:timespec rem:timespec', nanosleep),
  call(SYS_clock_nanosleep, 'clock_nanosleep', 'clockid:clock flags:flags req:timespec rem:timespec', clockNanosleep),
  call(SYS_alarm, 'alarm', 'seconds:uint', alarm),
  call(SYS_getitimer, 'getitimer', 'which:int curr:addr', getitimer),
  call(SYS_setitimer, 'setitimer', 'which:int new:addr old:addr', setitimer),
  call(SYS_timer_create, 'timer_create', 'clockid:clock sevp:addr timerid:addr', timerCreate),
  call(SYS_timer_settime, 'timer_settime', 'timerid:int flags:flags new:addr old:addr', timerSettime),
  call(SYS_timer_gettime, 'timer_gettime', 'timerid:int curr:addr', timerGettime),
  call(SYS_timer_getoverrun, 'timer_getoverrun', 'timerid:int', timerGetoverrun),
  call(SYS_timer_delete, 'timer_delete', 'timerid:int', timerDelete),
];
