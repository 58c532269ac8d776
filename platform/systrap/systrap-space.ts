// One guest address space on the systrap platform: a stub process, born by another stub's clone(2)
// or not yet, and the order in which its threads change its mappings.

import { closeFd, pread, preadv2, pwrite, readToGuest, systrapForced, vmRead, vmWrite, writeFromGuest } from 'ptrace-napi';
import { EFAULT } from '../../sentry/abi/errno.ts';
import { objectArray } from '../../sentry/base/array.ts';
import { CTX_DATA } from '../context-page.ts';
import type { AddressSpace, Mappings } from '../platform.ts';
import { AROUND, BEFORE, JUMP_SIZE, jumpIn, type Patch } from './patches.ts';
import type { SystrapContext } from './systrap-context.ts';

/** Larger results go to the guest at once: the way over the context page would copy them twice. */
const MAX_OUT_BYTES = 16384;
/** From here on a view, which has to be allocated, is cheaper than a loop: a struct stat is below. */
const LOOP_BYTES = 256;

function copy(dst: Uint8Array, to: number, src: Uint8Array, from: number, n: number): void {
  if (n > LOOP_BYTES) dst.set(src.subarray(from, from + n), to);
  else for (let i = 0; i < n; i++) dst[to + i] = src[from + i]!;
}

/** What a space asks of the platform that it belongs to. */
export interface SpaceOwner {
  /** A thread of the space whose memory can be reached, waiting for its birth if need be; 0 for none. */
  memoryTid(space: SystrapSpace): number;
  /** A call that is not answered yet will not be soon. */
  parked(c: SystrapContext): void;
}

export class SystrapSpace implements AddressSpace {
  private readonly owner: SpaceOwner;
  /** Contexts' memory, and our end of the socket that descriptors travel on. */
  readonly memfd: number;
  readonly socket: number;
  /** The stub's end, until it has been sent to whoever makes the process; then -1. */
  stubSocket = -1;
  /** Live contexts. */
  readonly contexts = objectArray<SystrapContext>();
  /** Threads that were told to end: their slots are free once the host says that they are gone. */
  readonly ending = objectArray<SystrapContext>();
  /** Threads that are to end as soon as they are ours again: until then one of them may be making a process. */
  readonly leaving = objectArray<SystrapContext>();
  nextSlot = 0;
  hostPid = 0;
  /** hostPid is this space's process beyond doubt, and not a number that its maker has made up. */
  isVerified = false;
  /** The context whose stub makes this process; null once it is there. */
  maker: SystrapContext | null = null;
  /** The process is gone, or was never born. */
  dead = false;
  /** Nobody wants it any more: a birth that is reported now ends at once. */
  released = false;
  /** The thread that is changing the mappings: later changes wait, since the VMAs already show this one as done. */
  busy: SystrapContext | null = null;
  readonly waiting = objectArray<SystrapContext>();
  /** CPU time of the process that was handed out to its threads, ns. */
  cpuGivenNs = 0;

  mappings: Mappings | null = null;
  /** The sites that its code was, or may be, patched at. */
  patches: Patch | null = null;
  /** The thread whose call is being served: what its stub has fetched is good, and what is stored may wait for its return. */
  current: SystrapContext | null = null;

  constructor(owner: SpaceOwner, memfd: number, socket: number) {
    this.owner = owner;
    this.memfd = memfd;
    this.socket = socket;
  }

  /** The host thread whose memory is meant; 0 when there is none. */
  get memoryTid(): number {
    if (this.current !== null && this.current.outs > 0) this.flushOuts();
    return this.owner.memoryTid(this);
  }

  /** Gives back its descriptors. */
  close(): void {
    closeFd(this.memfd);
    closeFd(this.socket);
    if (this.stubSocket >= 0) closeFd(this.stubSocket);
  }

  withdrawAnswers(): void {
    for (const c of this.contexts) c.withdrawAnswers();
  }

  parked(c: SystrapContext): void {
    this.owner.parked(c);
  }

  /** Stores what the stub would copy on its return: somebody is about to look. */
  flushOuts(): void {
    const c = this.current!;
    const { region } = c;
    const tid = this.owner.memoryTid(this);
    for (let i = 0; i < c.outs; i++) {
      const at = c.base + CTX_DATA + c.outAt[i]!;
      if (tid !== 0) vmWrite(tid, c.outAddr[i]!, region.u8, at, c.outLength[i]!);
    }
    c.dropOuts();
    // What has been fetched was there before that.
    c.forgetFetched();
  }

  /** The thread whose fetched copies hold for [addr, addr+n): nothing is still to be stored there. */
  private fetcher(addr: number, n: number): SystrapContext | null {
    const c = this.current;
    if (c === null || c.outs === 0 || !c.hasOutIn(addr, n)) return c;
    this.flushOuts();
    return c;
  }

  readSome(addr: number, dst: Uint8Array, at: number, n: number): number {
    const c = this.fetcher(addr, n);
    if (c !== null) {
      const from = c.fetched(addr, n);
      if (from >= 0) {
        copy(dst, at, c.region.u8, from, n);
        return n;
      }
    }
    const tid = this.owner.memoryTid(this);
    return tid === 0 ? 0 : vmRead(tid, addr, dst, at, n);
  }

  readString(addr: number, dst: Uint8Array, at: number, n: number): number {
    const c = this.fetcher(addr, n);
    if (c !== null) {
      const from = c.fetchedString(addr);
      if (from >= 0 && c.fetchedLength <= n) {
        copy(dst, at, c.region.u8, from, c.fetchedLength);
        // The guest may have changed it since: without a NUL it is no string.
        if (dst[at + c.fetchedLength - 1] === 0) return c.fetchedLength;
      }
    }
    const tid = this.owner.memoryTid(this);
    return tid === 0 ? 0 : vmRead(tid, addr, dst, at, n);
  }

  writeSome(addr: number, src: Uint8Array, at: number, n: number): number {
    const c = this.current;
    if (c !== null && n <= MAX_OUT_BYTES && n > 0 && this.mappings!.isWritable(addr, n)) {
      const to = c.addOut(addr, n);
      if (to >= 0) {
        copy(c.region.u8, to, src, at, n);
        return n;
      }
    }
    return this.writeNow(addr, src, at, n);
  }

  fromHost(addr: number, n: number, hostFd: number, offset: number, flags: number): number {
    const c = this.current;
    if (c !== null && n <= MAX_OUT_BYTES && n > 0 && this.mappings!.isWritable(addr, n)) {
      const to = c.addOut(addr, n);
      if (to >= 0) {
        const got = flags === 0 ? pread(hostFd, c.region.u8, to, n, offset) : preadv2(hostFd, c.region.u8, to, n, offset, flags);
        c.shortenOut(Math.max(got, 0));
        return got;
      }
    }
    const tid = this.memoryTid;
    this.current?.forgetFetched();
    return tid === 0 ? -EFAULT : readToGuest(tid, addr, n, hostFd, offset, flags);
  }

  toHost(addr: number, n: number, hostFd: number, offset: number): number {
    const c = n > 0 ? this.fetcher(addr, n) : null;
    if (c !== null) {
      const from = c.fetched(addr, n);
      if (from >= 0) return pwrite(hostFd, c.region.u8, from, n, offset);
    }
    const tid = this.memoryTid;
    return tid === 0 ? -EFAULT : writeFromGuest(tid, addr, n, hostFd, offset);
  }

  writeNow(addr: number, src: Uint8Array, at: number, n: number): number {
    if (this.hostPid === 0 && !this.dead && this.putUnborn(addr, src, at, n)) return n;
    const tid = this.memoryTid;
    this.current?.forgetFetched();
    return tid === 0 ? 0 : vmWrite(tid, addr, src, at, n);
  }

  readForced(addr: number, dst: Uint8Array, at: number, n: number): number {
    const tid = this.memoryTid;
    return tid === 0 ? 0 : systrapForced(tid, addr, dst, at, n, 0);
  }

  writeForced(addr: number, src: Uint8Array, at: number, n: number): number {
    const tid = this.memoryTid;
    return tid === 0 ? 0 : systrapForced(tid, addr, src, at, n, 1);
  }

  restoreCode(): void {
    const now = new Uint8Array(AROUND);
    for (let p = this.patches; p !== null; p = p.next) {
      const from = p.rip - BEFORE;
      const tid = this.memoryTid;
      if (tid === 0 || vmRead(tid, from, now, 0, AROUND) !== AROUND) continue;
      // Other code may be there by now.
      const at = jumpIn(now);
      if (at >= 0) this.writeForced(from + at, p.original, at, JUMP_SIZE);
    }
    this.patches = null;
  }

  /** What a new process is to find in its memory: its stub stores it before the first instruction. */
  private putUnborn(addr: number, src: Uint8Array, at: number, n: number): boolean {
    const c = this.contexts[0];
    if (c === undefined || !c.held) return false;
    const to = c.addOut(addr, n);
    if (to < 0) return false;
    copy(c.region.u8, to, src, at, n);
    return true;
  }
}
