// One connection: a shared region with a request area, a reply area and a doorbell. One request is under way at a
// time; the client waits for its answer.
//
//   region   0    doorbell words, each pair on a cache line of its own
//            4096 request area: u32 op, u32 count, count handles to close, body
//            ...  reply area:   i32 result, u32 descriptors (0 or 1), body
//
//   client:  copies the request in · length · requestSeq = n · wakes the server if it says that it sleeps
//   server:  copies the request out · serves · copies the reply in · length · replySeq = n · wakes the client likewise
//
// No wake-up is lost: who goes to sleep raises its flag first and looks at the other's word again (both are
// sequentially consistent), and the futex compares the word once more. Both sides spin for a moment before they
// sleep, since a wake-up across CPUs costs more than most requests.
//
// Each side copies a message into private memory before it looks at it: the other cannot change it any more.

import { assert } from '../../sentry/base/assert.ts';
import { ProtocolError } from '../../sentry/base/errors.ts';
import { Reader, Writer } from './buffer.ts';

const REQUEST_SEQ = 0;
const REQUEST_LENGTH = 1;
const SERVER_SLEEPS = 16;
const REPLY_SEQ = 32;
const REPLY_LENGTH = 33;
const CLIENT_SLEEPS = 48;

/** An extended attribute's largest value with all around it. */
export const REQUEST_SIZE = 72 * 1024;
export const REPLY_SIZE = 128 * 1024;
const REQUEST_AT = 4096;
const REPLY_AT = REQUEST_AT + REQUEST_SIZE;
/** Bytes of the shared region. */
export const REGION_SIZE: number = REPLY_AT + REPLY_SIZE;
/** op and count; result and descriptors. */
export const FRAME_HEAD = 8;

/** The host's part in a channel: futexes on words of the region, and descriptors over the socket beside it. */
export interface ChannelHost {
  /** As hostcalls.d.ts has it; timeoutUs -1 waits for ever. */
  futexWait(words: Int32Array, index: number, expected: number, timeoutUs: number): number;
  futexWake(words: Int32Array, index: number, count: number): number;
}

// Turns of a spin, some 40 ns each: at most 20 µs, about what a wake-up across CPUs costs. Where it did not help, the
// next one is shorter: on a busy machine the other side does not even run while we spin.
const MAX_SPINS = 500;
const MIN_SPINS = 8;
/** How often a waiting client asks whether the server still lives. */
const LIFE_CHECK_US = 200_000;

class Region {
  readonly words: Int32Array;
  readonly request: Uint8Array;
  readonly reply: Uint8Array;

  constructor(memory: ArrayBuffer) {
    assert(memory.byteLength >= REGION_SIZE, 'gofer region too small');
    this.words = new Int32Array(memory, 0, 64);
    this.request = new Uint8Array(memory, REQUEST_AT, REQUEST_SIZE);
    this.reply = new Uint8Array(memory, REPLY_AT, REPLY_SIZE);
  }
}

/** Copies n bytes; short messages by hand, since a subarray for each would be garbage on every call. */
function copyBytes(from: Uint8Array, to: Uint8Array, n: number): void {
  if (n > 256) {
    to.set(from.subarray(0, n));
    return;
  }
  for (let i = 0; i < n; i++) to[i] = from[i];
}

/** Busy waiting for a word to change, for as long as that has lately paid. */
class Spin {
  private turns = MAX_SPINS;

  /** Whether the word differs from `old` by now. */
  until(words: Int32Array, index: number, old: number): boolean {
    for (let i = 0; i < this.turns; i++) {
      if (Atomics.load(words, index) !== old) {
        this.turns = Math.min(MAX_SPINS, this.turns * 2);
        return true;
      }
      Atomics.pause(20);
    }
    this.turns = Math.max(MIN_SPINS, this.turns >> 1);
    return false;
  }
}

/** The Sentry's end. */
export class ClientChannel {
  /** The request being built, its head included. */
  readonly request: Writer = new Writer(REQUEST_SIZE);
  /** The last answer; `at` stands behind its head. */
  readonly reply: Reader = new Reader(REPLY_SIZE);
  /** Descriptors that the last answer says were sent: 0 or 1. */
  donated = 0;
  /** Number of the current request; a donated descriptor is tagged with it. */
  sequence = 0;
  private readonly region: Region;
  private readonly host: ChannelHost;
  private readonly peerGone: () => boolean;
  private readonly spin: Spin = new Spin();

  /** peerGone tells whether the server's end of the socket is closed. */
  constructor(memory: ArrayBuffer, host: ChannelHost, peerGone: () => boolean) {
    this.region = new Region(memory);
    this.host = host;
    this.peerGone = peerGone;
  }

  /** Sends the request and waits for its answer: the result, ≥ 0 or -errno. Throws ProtocolError for a broken or dead server. */
  roundTrip(): number {
    const { words, request } = this.region;
    const old = this.sequence;
    const sequence = (old + 1) | 0;
    this.sequence = sequence;
    copyBytes(this.request.u8, request, this.request.at);
    words[REQUEST_LENGTH] = this.request.at;
    Atomics.store(words, REQUEST_SEQ, sequence);
    if (Atomics.load(words, SERVER_SLEEPS) !== 0) this.host.futexWake(words, REQUEST_SEQ, 1);
    if (!this.spin.until(words, REPLY_SEQ, old)) this.sleep(old);
    return this.receive(sequence);
  }

  private sleep(old: number): void {
    const { words } = this.region;
    Atomics.store(words, CLIENT_SLEEPS, 1);
    while (Atomics.load(words, REPLY_SEQ) === old) {
      this.host.futexWait(words, REPLY_SEQ, old, LIFE_CHECK_US);
      if (Atomics.load(words, REPLY_SEQ) === old && this.peerGone()) throw new ProtocolError('the gofer is gone');
    }
    Atomics.store(words, CLIENT_SLEEPS, 0);
  }

  private receive(sequence: number): number {
    const { words, reply } = this.region;
    if (Atomics.load(words, REPLY_SEQ) !== sequence) throw new ProtocolError('an answer to another request');
    const length = words[REPLY_LENGTH];
    if (length < FRAME_HEAD || length > REPLY_SIZE) throw new ProtocolError(`an answer of ${length} bytes`);
    copyBytes(reply, this.reply.u8, length);
    this.reply.reset(length);
    const result = this.reply.i32();
    this.donated = this.reply.u32();
    if (this.donated > 1 || (result < 0 && this.donated !== 0)) throw new ProtocolError(`${this.donated} descriptors`);
    return result;
  }
}

/** The gofer's end. */
export class ServerChannel {
  readonly request: Reader = new Reader(REQUEST_SIZE);
  readonly reply: Writer = new Writer(REPLY_SIZE);
  /** Number of the request being served. */
  sequence = 0;
  private readonly region: Region;
  private readonly host: ChannelHost;
  private readonly spin: Spin = new Spin();

  constructor(memory: ArrayBuffer, host: ChannelHost) {
    this.region = new Region(memory);
    this.host = host;
  }

  /** Waits for the next request and copies it into `request`. */
  next(): void {
    const { words, request } = this.region;
    if (!this.spin.until(words, REQUEST_SEQ, this.sequence)) this.sleep();
    this.sequence = Atomics.load(words, REQUEST_SEQ);
    const length = words[REQUEST_LENGTH];
    if (length < FRAME_HEAD || length > REQUEST_SIZE) throw new ProtocolError(`a request of ${length} bytes`);
    copyBytes(request, this.request.u8, length);
    this.request.reset(length);
  }

  /** Sends what `reply` holds, its head included. */
  send(): void {
    const { words, reply } = this.region;
    copyBytes(this.reply.u8, reply, this.reply.at);
    words[REPLY_LENGTH] = this.reply.at;
    Atomics.store(words, REPLY_SEQ, this.sequence);
    if (Atomics.load(words, CLIENT_SLEEPS) !== 0) this.host.futexWake(words, REPLY_SEQ, 1);
  }

  private sleep(): void {
    const { words } = this.region;
    Atomics.store(words, SERVER_SLEEPS, 1);
    while (Atomics.load(words, REQUEST_SEQ) === this.sequence) this.host.futexWait(words, REQUEST_SEQ, this.sequence, -1);
    Atomics.store(words, SERVER_SLEEPS, 0);
  }
}
