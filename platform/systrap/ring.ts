// The memory that all stubs share with the Sentry: the ring of announcements and, read-only for them, their configuration.

import { ftruncate, mapShared, memfdCreate } from 'ptrace-napi';
import { errnoName } from '../../sentry/abi/errno.ts';
import { FUTEX_BUCKETS } from '../platform.ts';
import {
  CONF_FILTER,
  CONF_FILTER_LENGTH,
  CONF_FUTEX_WAITERS,
  CONF_PATCH,
  CONF_PREFETCH,
  CONF_SIZE,
  CONF_VDSO_CLOCK,
  RING_SIZE,
} from './layout.ts';
import { type CallArguments, prefetchTable } from './prefetch.ts';
import { stubFilter } from './stub-filter.ts';

export interface SystrapOptions {
  /** Guest code is patched so that a call site traps only a few times. */
  readonly patchSyscalls: boolean;
  /** The system calls by number: what the stub fetches for them. */
  readonly calls: readonly (CallArguments | undefined)[];
}

/** The result, or an Error that names the step and what the host said. */
export function must(step: string, result: number): number {
  if (result < 0) throw new Error(`${step}: ${errnoName(-result)}`);
  return result;
}

export class Ring {
  /** Its memfd: the first stub's to inherit, then the caller's to close. */
  readonly fd: number;
  readonly buffer: ArrayBuffer;
  readonly words: Int32Array;
  readonly futexWaiters: Int32Array;
  private readonly conf: Int32Array;

  /** Throws an Error that names what the host refused. */
  constructor(options: SystrapOptions) {
    this.fd = must('creating the ring', memfdCreate('ring'));
    must('sizing the ring', ftruncate(this.fd, RING_SIZE + CONF_SIZE));
    const shared = mapShared(this.fd, RING_SIZE + CONF_SIZE);
    if (typeof shared === 'number') throw new Error(`mapping the ring: ${errnoName(-shared)}`);
    this.buffer = shared;
    this.words = new Int32Array(shared, 0, RING_SIZE / 4);
    this.conf = new Int32Array(shared, RING_SIZE, CONF_SIZE / 4);
    this.futexWaiters = new Int32Array(shared, RING_SIZE + CONF_FUTEX_WAITERS, FUTEX_BUCKETS);
    const filter = stubFilter();
    new Uint8Array(shared, RING_SIZE + CONF_FILTER).set(filter);
    this.conf[CONF_FILTER_LENGTH >> 2] = filter.length / 8;
    this.conf[CONF_PATCH >> 2] = options.patchSyscalls ? 1 : 0;
    new Uint8Array(shared, RING_SIZE + CONF_PREFETCH).set(prefetchTable(options.calls));
  }

  /** The address of the vDSO's clock_gettime(), in two words. */
  setVdsoClock(low: number, high: number): void {
    this.conf[CONF_VDSO_CLOCK >> 2] = low;
    this.conf[(CONF_VDSO_CLOCK >> 2) + 1] = high;
  }
}
