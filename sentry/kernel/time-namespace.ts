// Time namespaces: kernel/time/namespace.c, time_namespaces(7). One shifts the monotonic and the
// boot-time clock of its members. The host's vDSO knows nothing of that, so members with shifted
// clocks ask the Sentry: see vdso-clock.ts.

import { CLOCK_BOOTTIME, CLOCK_BOOTTIME_ALARM, CLOCK_MONOTONIC, CLOCK_MONOTONIC_COARSE, CLOCK_MONOTONIC_RAW } from '../abi/time.ts';
import { type Namespace, nextNamespaceIno } from './namespace.ts';
import type { UserNamespace } from './user-namespace.ts';

/** fs/proc/generic.c:PROC_TIME_INIT_INO. */
const INITIAL_INO = 0xeffffffa;

/** What is added to a clock; nsec is in [0, 1e9). */
export interface ClockOffset {
  sec: number;
  nsec: number;
}

export class TimeNamespace implements Namespace {
  readonly kind = 'time';
  readonly ino: number;
  readonly userns: UserNamespace;
  readonly monotonic: ClockOffset;
  readonly boottime: ClockOffset;
  /** Somebody has entered: the offsets stay as they are. */
  frozen: boolean;

  private constructor(userns: UserNamespace, ino: number, like: TimeNamespace | null) {
    this.userns = userns;
    this.ino = ino;
    this.monotonic = { sec: like?.monotonic.sec ?? 0, nsec: like?.monotonic.nsec ?? 0 };
    this.boottime = { sec: like?.boottime.sec ?? 0, nsec: like?.boottime.nsec ?? 0 };
    this.frozen = like === null;
  }

  /** That of the machine, which shifts nothing. */
  static initial(userns: UserNamespace): TimeNamespace {
    return new TimeNamespace(userns, INITIAL_INO, null);
  }

  /** A new one that begins with the offsets of another. */
  static like(other: TimeNamespace, userns: UserNamespace): TimeNamespace {
    return new TimeNamespace(userns, nextNamespaceIno(), other);
  }

  /** One that a container begins with, by the offsets of its configuration. */
  static shifted(userns: UserNamespace, offsets: { readonly monotonic: ClockOffset; readonly boottime: ClockOffset }): TimeNamespace {
    const ns = new TimeNamespace(userns, nextNamespaceIno(), null);
    Object.assign(ns.monotonic, offsets.monotonic);
    Object.assign(ns.boottime, offsets.boottime);
    ns.frozen = true;
    return ns;
  }

  get isShifted(): boolean {
    const { monotonic, boottime } = this;
    return monotonic.sec !== 0 || monotonic.nsec !== 0 || boottime.sec !== 0 || boottime.nsec !== 0;
  }

  /** The offset of a host clock, or null for one that is the same everywhere. */
  offset(clock: number): ClockOffset | null {
    switch (clock) {
      case CLOCK_MONOTONIC:
      case CLOCK_MONOTONIC_RAW:
      case CLOCK_MONOTONIC_COARSE:
        return this.monotonic;
      case CLOCK_BOOTTIME:
      case CLOCK_BOOTTIME_ALARM:
        return this.boottime;
      default:
        return null;
    }
  }

  /** The same in ns: an absolute time of a member is so much later than the host's. */
  offsetNs(clock: number): number {
    const offset = this.offset(clock);
    return offset === null ? 0 : offset.sec * 1e9 + offset.nsec;
  }
}
