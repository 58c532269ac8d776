// Resource limits of a process, and the counters of a user that some of them bound.

import {
  RLIMIT_CORE,
  RLIMIT_FSIZE,
  RLIMIT_MEMLOCK,
  RLIMIT_MSGQUEUE,
  RLIMIT_NICE,
  RLIMIT_NLIMITS,
  RLIMIT_NOFILE,
  RLIMIT_NPROC,
  RLIMIT_RTPRIO,
  RLIMIT_SIGPENDING,
  RLIMIT_STACK,
} from '../abi/sched.ts';

/** RLIM_INFINITY. Finite limits are exact below 2^53; the guest's larger ones count as infinite. */
export const UNLIMITED = Number.POSITIVE_INFINITY;

export class Limits {
  /** By RLIMIT_*; bytes, seconds or counts. */
  readonly soft: number[] = new Array(RLIMIT_NLIMITS).fill(UNLIMITED);
  readonly hard: number[] = new Array(RLIMIT_NLIMITS).fill(UNLIMITED);

  /** include/asm-generic/resource.h:INIT_RLIMITS, with the counts that a machine of a few GiB computes. */
  constructor() {
    this.set(RLIMIT_STACK, 8 * 1024 * 1024, UNLIMITED);
    this.set(RLIMIT_CORE, 0, UNLIMITED);
    this.set(RLIMIT_NPROC, 31512, 31512);
    this.set(RLIMIT_NOFILE, 1024, 1048576);
    this.set(RLIMIT_MEMLOCK, 8 * 1024 * 1024, 8 * 1024 * 1024);
    this.set(RLIMIT_SIGPENDING, 31512, 31512);
    this.set(RLIMIT_MSGQUEUE, 819200, 819200);
    this.set(RLIMIT_NICE, 0, 0);
    this.set(RLIMIT_RTPRIO, 0, 0);
  }

  set(resource: number, soft: number, hard: number): void {
    this.soft[resource] = soft;
    this.hard[resource] = hard;
  }

  /** RLIMIT_NOFILE: descriptors are numbered below it. */
  get nofile(): number {
    return this.soft[RLIMIT_NOFILE]!;
  }

  /** RLIMIT_FSIZE: no file is written at or beyond it. */
  get fileSize(): number {
    return this.soft[RLIMIT_FSIZE]!;
  }

  clone(): Limits {
    const c = new Limits();
    for (let i = 0; i < RLIMIT_NLIMITS; i++) c.set(i, this.soft[i]!, this.hard[i]!);
    return c;
  }
}

/** What one user has in use, by real uid: struct ucounts. */
export class UserCounts {
  processes = 0;
  pendingSignals = 0;
}

export class UserTable {
  private readonly byUid = new Map<number, UserCounts>();

  get(uid: number): UserCounts {
    let counts = this.byUid.get(uid);
    if (counts === undefined) {
      counts = new UserCounts();
      this.byUid.set(uid, counts);
    }
    return counts;
  }
}
