// Changing a futex word, which guest threads change at the same time.

import { ESRCH } from '../abi/errno.ts';
import type { Task } from './task.ts';

/**
 * Stores `value` in an aligned word of t's memory if that is `expected`: the word as it was, or
 * -EFAULT. t's own stub does it, in one step for all other threads; t is in a system call. Only
 * where the stub cannot, since it is dead or about to be, the Sentry loads and stores, and a guest
 * thread could slip in between.
 */
export function exchangeWord(t: Task, addr: number, expected: number, value: number): number {
  const was = t.kernel.platform.compareExchange(t.context, addr, expected, value);
  return was === -ESRCH ? t.mm.compareExchangeU32(addr, expected, value) : was;
}
