// Random bytes for getrandom(2), /dev/random, AT_RANDOM and address layout. Small requests are
// served from a pool, since one call into the host's generator costs more than the bytes.

import { getRandom } from 'ptrace-napi';

const POOL_SIZE = 4096;
const SMALL = 256;

const pool = new Uint8Array(POOL_SIZE);
let used = POOL_SIZE;

/** getrandom(2): more than 256 bytes may come in parts, when a signal comes. Node's own crypto would cost the start 5 ms. */
function fromHost(dst: Uint8Array, at: number, n: number): void {
  for (let done = 0; done < n; ) {
    const got = getRandom(dst, at + done, n - done);
    if (got < 0) throw new Error(`getrandom: errno ${-got}`);
    done += got;
  }
}

/** Fills dst[at, at+n) from the host's generator. Bytes that were handed out are wiped from the pool. */
export function fillRandom(dst: Uint8Array, at: number, n: number): void {
  if (n > SMALL) {
    fromHost(dst, at, n);
    return;
  }
  if (used + n > POOL_SIZE) {
    fromHost(pool, 0, POOL_SIZE);
    used = 0;
  }
  for (let i = 0; i < n; i++) {
    dst[at + i] = pool[used + i]!;
    pool[used + i] = 0;
  }
  used += n;
}

/** A random UUID as text: RFC 9562, version 4. */
export function randomUuid(): string {
  const bytes = new Uint8Array(16);
  fillRandom(bytes, 0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toHex();
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
