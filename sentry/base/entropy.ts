// Random bytes for getrandom(2), /dev/random, AT_RANDOM and address layout. Small requests are
// served from a pool, since one call into the host's generator costs more than the bytes.

import { randomFillSync } from 'node:crypto';

const POOL_SIZE = 4096;
const SMALL = 256;

const pool = new Uint8Array(POOL_SIZE);
let used = POOL_SIZE;

/** Fills dst[at, at+n) from the host's generator. Bytes that were handed out are wiped from the pool. */
export function fillRandom(dst: Uint8Array, at: number, n: number): void {
  if (n > SMALL) {
    randomFillSync(dst, at, n);
    return;
  }
  if (used + n > POOL_SIZE) {
    randomFillSync(pool, 0, POOL_SIZE);
    used = 0;
  }
  for (let i = 0; i < n; i++) {
    dst[at + i] = pool[used + i]!;
    pool[used + i] = 0;
  }
  used += n;
}
