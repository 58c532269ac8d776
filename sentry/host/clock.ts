import { clockNs as nativeClockNs } from 'ptrace-napi';

/** A host clock (CLOCK_*) in ns, as a double. */
export function clockNs(clock: number): number {
  return nativeClockNs(clock);
}
