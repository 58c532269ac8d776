// The clocks the guest sees. The vDSO of the host is mapped as it is, so these must be the host's
// own clocks. Monotonic time is ns as one double: exact to the ns for 104 days of uptime.

import { CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME } from '../abi/time.ts';
import { clockNs, clockParts } from '../host/clock.ts';

export class Timekeeper {
  /** When the sandbox started: for start times and uptime. */
  readonly bootNs: number = clockNs(CLOCK_BOOTTIME);
  /** What read() has last found: seconds and ns, exact where one double of ns would not be. */
  readonly parts: Float64Array = new Float64Array(2);

  monotonicNs(): number {
    return clockNs(CLOCK_MONOTONIC);
  }

  boottimeNs(): number {
    return clockNs(CLOCK_BOOTTIME);
  }

  /** Wall time in whole seconds. */
  realtimeSec(): number {
    clockParts(CLOCK_REALTIME, this.parts);
    return this.parts[0]!;
  }

  /** Wall time in ns, exact to about 256 ns: for comparisons and deadlines, not for display. */
  realtimeNs(): number {
    return clockNs(CLOCK_REALTIME);
  }

  /** A host clock to `parts`: 0 or -errno. */
  read(clock: number): number {
    return clockParts(clock, this.parts);
  }

  /** The monotonic time in ns at which `clock` will show {sec, nsec}, if nobody sets it before. */
  monotonicAt(clock: number, sec: number, nsec: number): number {
    this.read(clock);
    return this.monotonicNs() + (sec - this.parts[0]!) * 1e9 + (nsec - this.parts[1]!);
  }
}
