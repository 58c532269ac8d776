// How long the Sentry looks for an event before it sleeps, and stubs for their answers: as long as that succeeds, and never on
// a processor that somebody else needs.

import { availableParallelism } from 'node:os';
import { systrapLeaveCpu, systrapLookNs, systrapSpin } from 'ptrace-napi';
import { CTX_STATE } from '../context-page.ts';
import type { ContextTable } from './context-table.ts';
import { RING_HEAD, RING_SENTRY_CPU, RING_SPIN } from './layout.ts';
import type { SystrapContext } from './systrap-context.ts';

/**
 * How long the loop looks at the ring before it sleeps, and a stub for its answer. A wake-up costs 15 to 20 µs on a virtual
 * machine: who spins less than the other side takes to wake up never meets it awake again, and every call costs two wake-ups.
 */
const SENTRY_SPIN_NS = 60000;
const STUB_SPIN_NS = 50000;
const CROWDED_SPIN_NS = 5000;
/** What spin() has found: nothing; an event; a host descriptor that has something to tell. As systrapSpin() says it. */
export const SPIN_VAIN = 0;
const SPIN_EVENT = 1;
export const SPIN_HOST = 2;
/** How often in a row the loop spins in vain for a host event, and for how long: times CROWDED_SPIN_NS. */
const HOST_SPINS = 4;
const HOST_SPIN_FACTOR = 8;
/** Looks from here before native code, which can pause, does the rest. */
const SENTRY_LOOKS = 300;
/** After so many spins in vain in a row only one sleep in 32 is preceded by one: twin of stub/turns.h:spin_for_answer(). */
const MISSES_ALLOWED = 4;
const PROBE_MASK = 31;
/** So many sleeps in a row on the processor of the thread that is waited for, and the Sentry leaves it; next after so many more. */
const STACKED_ALLOWED = 8;
const STACKED_AGAIN = -200;
/** A thread without an event for this long computes, and needs its processor. Looked at after so many sleeps or events, and not more often than that. */
const COMPUTING_MS = 1;
const EVENTS_PER_SAMPLE = 512;
const SLEEP_WEIGHT = 16;

export class Spinning {
  /** Guest threads that are, as far as we know, in guest code. */
  running = 0;
  /** Where the stub slept that was let go on last, as CTX_CPU; 0 when it did not. */
  lastCpu = 0;
  /** Counts samples: SystrapContext.eventTick. */
  sampleTick = 0;
  private readonly contexts: ContextTable;
  private readonly ring: Int32Array;
  private readonly cpus: number = availableParallelism();
  private readonly spinLooks: number;
  private readonly stubLooks: number;
  private readonly crowdedLooks: number;
  /** Of the running ones, those that compute: they have had no event for a while. */
  private computing = 0;
  private spinMisses = 0;
  /** How often in a row lastCpu was our own processor. */
  private stacked = 0;
  /** How many more times it is worth spinning for the host. */
  private hostSpins = 0;
  /** What stubs were told last. */
  private stubSpin = -1;
  private sinceSample = 0;
  /** No small integer to begin with: a field that becomes a double gives the object another shape, and all code for the old one is thrown away. */
  private sampledMs: number = Number.NEGATIVE_INFINITY;

  constructor(contexts: ContextTable, ring: Int32Array) {
    this.contexts = contexts;
    this.ring = ring;
    const lookNs = systrapLookNs();
    this.spinLooks = Math.ceil(SENTRY_SPIN_NS / lookNs);
    this.stubLooks = Math.ceil(STUB_SPIN_NS / lookNs);
    this.crowdedLooks = Math.ceil(CROWDED_SPIN_NS / lookNs);
  }

  /** An event is about to be looked for. */
  countEvent(): void {
    if (++this.sinceSample >= EVENTS_PER_SAMPLE) this.sample();
  }

  /** A host descriptor had something to tell: a peer that is answered often asks again at once. */
  countHostEvent(): void {
    if (this.hostSpins < HOST_SPINS) this.hostSpins++;
  }

  /** More processors than guest threads that run, and one for us. */
  hasSpareCpu(): boolean {
    return this.running > 0 && this.running + 2 <= this.cpus;
  }

  /** Counts the threads that compute. */
  private sample(): void {
    this.sinceSample = 0;
    const nowMs = performance.now();
    if (nowMs - this.sampledMs < COMPUTING_MS) return;
    this.sampledMs = nowMs;
    let computing = 0;
    if (this.running > 0) {
      for (let index = 0; index < this.contexts.end; index++) {
        const c = this.contexts.at[index];
        if (c?.inGuest && c.eventTick < this.sampleTick) computing++;
      }
    }
    this.sampleTick++;
    this.computing = computing;
    this.publishSpin();
  }

  /** Looks out for an event before the loop sleeps: SPIN_VAIN, SPIN_EVENT or SPIN_HOST. Spinning adapts to how often it succeeds. */
  spin(tail: number, watched: SystrapContext | null): number {
    this.sinceSample += SLEEP_WEIGHT;
    if (this.sinceSample >= EVENTS_PER_SAMPLE) this.sample();
    // The thread that is to make a call needs a processor as well.
    if (this.running === 0) return this.spinForHost(tail);
    if (this.computing + 2 > this.cpus) return SPIN_VAIN;
    // The scheduler may leave both sides of a conversation on one processor for a long time: they keep taking turns on it.
    if (this.lastCpu !== 0 && this.lastCpu === this.ring[RING_SENTRY_CPU]) {
      if (++this.stacked <= STACKED_ALLOWED) return SPIN_VAIN;
      this.stacked = STACKED_AGAIN;
      // Its caller has been woken, and is not to find us asleep: who is woken is put beside who wakes.
      systrapLeaveCpu();
      this.spinMisses = 0;
    }
    const { i32, buffer } = this.contexts.region;
    const misses = this.spinMisses;
    if (misses < MISSES_ALLOWED || (misses & PROBE_MASK) === 0) {
      const word = watched !== null && !watched.held ? watched.base + CTX_STATE : 0;
      for (let looks = SENTRY_LOOKS; looks > 0; looks--) {
        const isQuiet = Atomics.load(this.ring, RING_HEAD) === tail;
        if (isQuiet && (word === 0 || Atomics.load(i32, word >> 2) !== 1)) continue;
        this.spinMisses = 0;
        return SPIN_EVENT;
      }
      // Longer only on a processor that no guest thread waits for.
      if (this.running >= this.cpus) return SPIN_VAIN;
      const news = systrapSpin(tail, this.spinLooks, buffer, word);
      if (news !== 0) {
        this.spinMisses = 0;
        return news;
      }
    }
    this.spinMisses = (misses + 1) & 0xffff;
    return SPIN_VAIN;
  }

  /** The same for what the host has to tell, when no guest runs: a peer that has just been answered often asks again at once. */
  private spinForHost(tail: number): number {
    if (this.hostSpins === 0) return SPIN_VAIN;
    if (systrapSpin(tail, this.crowdedLooks * HOST_SPIN_FACTOR, this.contexts.region.buffer, 0) === 0) {
      this.hostSpins--;
      return SPIN_VAIN;
    }
    this.hostSpins = HOST_SPINS;
    return SPIN_HOST;
  }

  setInGuest(c: SystrapContext, inGuest: boolean): void {
    if (c.inGuest === inGuest) return;
    c.inGuest = inGuest;
    this.running += inGuest ? 1 : -1;
    this.publishSpin();
  }

  private publishSpin(): void {
    // Who spins takes a processor from guests when there are as many of them. Where those make calls themselves, what the Sentry
    // takes for an answer is short against two wake-ups.
    const spin = this.computing + 2 > this.cpus ? 0 : this.running < this.cpus ? this.stubLooks : this.crowdedLooks;
    // Written only when it changes: every stub reads this cache line at every call.
    if (spin === this.stubSpin) return;
    this.stubSpin = spin;
    this.ring[RING_SPIN] = spin;
  }
}
