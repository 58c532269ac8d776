// Which thread of the host a context is. A stub tells the number itself, and the guest can write what stubs tell: nothing is done
// to a thread of the host before the context's nonce was found in its memory.

import { getPriority } from 'node:os';
import { setAffinity, setNice, systrapPause, vmRead } from 'ptrace-napi';
import { CONTEXT_SIZE, CTX_NONCE } from '../context-page.ts';
import { WINDOW } from './layout.ts';
import type { SystrapContext } from './systrap-context.ts';
import type { SystrapSpace } from './systrap-space.ts';

const VERIFY_TIMEOUT_NS = 5e8;
/** Between looks at what a thread has not done yet. */
export const PAUSE_NS = 20000;
const MAX_NICE = 19;

const ownNice = getPriority();
const word8 = new Uint8Array(8);

/**
 * Whether the host thread that a stub has claimed to be is one of this address space: it has this
 * context's page in its memory. Asked as early as it can be answered, since the guest may change the
 * page later. Until the thread has been heard of it may still have to map the page.
 */
export function verify(c: SystrapContext): boolean {
  if (c.verified) return true;
  if (c.hostTid === 0) return false;
  for (let waitedNs = 0; ; waitedNs += PAUSE_NS) {
    if (hasPage(c)) return true;
    if (c.isHeardOf || waitedNs >= VERIFY_TIMEOUT_NS || c.space.dead) return false;
    systrapPause(PAUSE_NS);
  }
}

/** Whether hostPid is this space's process beyond doubt by now. */
export function isOwn(space: SystrapSpace): boolean {
  for (const c of space.contexts) if (c.hostTid === space.hostPid && hasPage(c)) return true;
  return false;
}

/** verify() by one look. */
export function hasPage(c: SystrapContext): boolean {
  const addr = WINDOW + c.slot * CONTEXT_SIZE + CTX_NONCE;
  c.verified = vmRead(c.hostTid, addr, word8, 0, 8) === 8 && equal(word8, c.nonce);
  if (c.verified && c.hostTid === c.space.hostPid) c.space.isVerified = true;
  return c.verified;
}

export function applyNice(c: SystrapContext): void {
  if (verify(c)) setNice(c.hostTid, Math.min(MAX_NICE, ownNice + c.nice));
}

/** Where its thread may run. c.affinity is not null. */
export function applyAffinity(c: SystrapContext): void {
  if (c.hostTid !== 0 && verify(c)) setAffinity(c.hostTid, c.affinity!);
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
