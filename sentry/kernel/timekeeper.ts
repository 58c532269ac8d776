// The clocks the guest sees. The vDSO of the host is mapped as it is, so these must be the host's
// own clocks. Monotonic time is ns as one double: exact to the ns for 104 days of uptime.

import { clockNs } from '../host/clock.ts';
import { CLOCK_BOOTTIME, CLOCK_MONOTONIC, CLOCK_REALTIME } from '../abi/time.ts';

export class Timekeeper {
  /** When the sandbox started: for start times and uptime. */
  readonly bootNs: number = clockNs(CLOCK_BOOTTIME);

  monotonicNs(): number {
    return clockNs(CLOCK_MONOTONIC);
  }

  boottimeNs(): number {
    return clockNs(CLOCK_BOOTTIME);
  }

  /** Wall time in whole seconds and ns, since the product does not fit a double. */
  realtimeSec(): number {
    return Math.floor(clockNs(CLOCK_REALTIME) / 1e9);
  }

  /** Wall time in ns, exact to about 256 ns: for comparisons and deadlines, not for display. */
  realtimeNs(): number {
    return clockNs(CLOCK_REALTIME);
  }
}
