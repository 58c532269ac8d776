// struct timespec and struct timeval as arguments. Durations and deadlines are ns in a double;
// what the guest stores as seconds and a fraction is kept as the pair, which is exact.

import { EFAULT, EINVAL } from '../abi/errno.ts';
import { getI64, put64 } from '../base/int64.ts';
import type { Task } from '../kernel/task.ts';
import { FOREVER } from '../kernel/timers.ts';

const SEC = 1e9;
/** KTIME_SEC_MAX: more seconds than this never end. */
const SEC_MAX = 9223372036;

const bytes = new Uint8Array(32);
const view = new DataView(bytes.buffer);

/** The result of the last successful load: a caller takes what it needs before the next one. */
export const loaded = { sec: 0, nsec: 0 };

/** A valid timespec to `loaded`: 0, -EFAULT, or -EINVAL for a negative or denormal one (timespec64_valid()). */
export function loadTimespec(t: Task, addr: number): number {
  if (t.mm.copyIn(addr, bytes, 0, 16) < 0) return -EFAULT;
  return settle(getI64(view, 0), getI64(view, 8));
}

/** A timeval to `loaded`; usec must be below a million. */
export function loadTimeval(t: Task, addr: number): number {
  if (t.mm.copyIn(addr, bytes, 0, 16) < 0) return -EFAULT;
  return settle(getI64(view, 0), getI64(view, 8) * 1000);
}

/** The two timevals of select(2): usec may be a million and more there, fs/select.c:kern_select(). */
export function loadLooseTimeval(t: Task, addr: number): number {
  if (t.mm.copyIn(addr, bytes, 0, 16) < 0) return -EFAULT;
  const usec = getI64(view, 8);
  const carry = Math.trunc(usec / 1e6);
  return settle(getI64(view, 0) + carry, (usec - carry * 1e6) * 1000);
}

function settle(sec: number, nsec: number): number {
  if (sec < 0 || nsec < 0 || nsec >= SEC) return -EINVAL;
  loaded.sec = sec;
  loaded.nsec = nsec;
  return 0;
}

/** `loaded` as a duration in ns. */
export function loadedNs(): number {
  return loaded.sec >= SEC_MAX ? FOREVER : loaded.sec * SEC + loaded.nsec;
}

export function storeTimespec(t: Task, addr: number, sec: number, nsec: number): number {
  put64(view, 0, sec);
  put64(view, 8, nsec);
  return t.mm.copyOut(addr, bytes, 0, 16);
}

/** A duration in ns as a timespec. */
export function storeTimespecNs(t: Task, addr: number, ns: number): number {
  return ns === FOREVER ? storeTimespec(t, addr, SEC_MAX, 0) : storeTimespec(t, addr, Math.floor(ns / SEC), Math.floor(ns % SEC));
}

/** A duration in ns as a timeval. */
export function storeTimevalNs(t: Task, addr: number, ns: number): number {
  if (ns === FOREVER) return storeTimespec(t, addr, SEC_MAX, 0);
  return storeTimespec(t, addr, Math.floor(ns / SEC), Math.floor((ns % SEC) / 1000));
}

/** Puts a timespec of `ns` at byte `at` of an array that is about to be copied out. */
export function putTimespecNs(v: DataView, at: number, ns: number): void {
  if (ns === FOREVER) ns = SEC_MAX * SEC;
  put64(v, at, Math.floor(ns / SEC));
  put64(v, at + 8, Math.floor(ns % SEC));
}

/** Puts a timeval of `ns`. */
export function putTimevalNs(v: DataView, at: number, ns: number): void {
  if (ns === FOREVER) ns = SEC_MAX * SEC;
  put64(v, at, Math.floor(ns / SEC));
  put64(v, at + 8, Math.floor((ns % SEC) / 1000));
}
