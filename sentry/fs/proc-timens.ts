// /proc/[pid]/timens_offsets: kernel/time/namespace.c:proc_timens_show_offsets(), proc_timens_set_offset().

import { EACCES, EINVAL, EPERM, ERANGE } from '../abi/errno.ts';
import { CAP_SYS_TIME } from '../abi/sched.ts';
import { CLOCK_BOOTTIME, CLOCK_MONOTONIC } from '../abi/time.ts';
import type { Task } from '../kernel/task.ts';
import type { ClockOffset } from '../kernel/time-namespace.ts';

/** KTIME_SEC_MAX: no clock shows more seconds, and half of them are left to run. */
const SEC_MAX = 9223372036;
const MAX_LINES = 2;

export function timensText(_t: Task, target: Task): string {
  const ns = target.ns.timeForChildren;
  return line('monotonic', ns.monotonic) + line('boottime', ns.boottime);
}

function line(name: string, offset: ClockOffset): string {
  return `${name.padEnd(10)} ${String(offset.sec).padStart(10)} ${String(offset.nsec).padStart(9)}\n`;
}

/** Lines of a clock's name or number, seconds, ns; all of them or none. */
export function writeTimens(t: Task, target: Task, data: string, offset: number): number {
  if (offset !== 0) return -EINVAL;
  const ns = target.ns.timeForChildren;
  const lines = data.replace(/\0.*$/s, '').split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  if (lines.length === 0 || lines.length > MAX_LINES) return -EINVAL;
  const wanted: [number, number, number][] = [];
  for (const text of lines) {
    const words = /^\s*(\w+)\s+(-?\d{1,19})\s+(\d{1,19})\s*$/.exec(text);
    const clock = words === null ? -1 : clockNamed(words[1]!);
    if (words === null || clock < 0 || Number(words[3]) >= 1e9) return -EINVAL;
    wanted.push([clock, Number(words[2]), Number(words[3])]);
  }
  if (!t.creds.capableIn(ns.userns, CAP_SYS_TIME)) return -EPERM;
  for (const [clock, sec] of wanted) {
    t.kernel.clock.read(clock);
    const shown = t.kernel.clock.parts[0]! + sec;
    if (Math.abs(sec) > SEC_MAX || shown < 0 || shown > SEC_MAX / 2) return -ERANGE;
  }
  if (ns.frozen) return -EACCES;
  for (const [clock, sec, nsec] of wanted) {
    const to = clock === CLOCK_MONOTONIC ? ns.monotonic : ns.boottime;
    to.sec = sec;
    to.nsec = nsec;
  }
  return data.length;
}

function clockNamed(name: string): number {
  if (name === 'monotonic' || name === String(CLOCK_MONOTONIC)) return CLOCK_MONOTONIC;
  return name === 'boottime' || name === String(CLOCK_BOOTTIME) ? CLOCK_BOOTTIME : -1;
}
