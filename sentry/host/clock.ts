import { clockNs as nativeClockNs, clockParts as nativeClockParts } from 'ptrace-napi';

/** A host clock (CLOCK_*) in ns, as a double. */
export function clockNs(clock: number): number {
  return nativeClockNs(clock);
}

/** A host clock exactly: seconds to out[0], ns to out[1]. 0 or -errno. */
export function clockParts(clock: number, out: Float64Array): number {
  return nativeClockParts(clock, out);
}
