// One guest address space on the systrap platform: a stub process, born by another stub's clone(2)
// or not yet, and the order in which its threads change its mappings.

import { systrapForced, vmRead, vmWrite } from 'ptrace-napi';
import type { AddressSpace } from '../platform.ts';
import type { SystrapPlatform } from './systrap.ts';
import type { SystrapContext } from './systrap-context.ts';

export class SystrapSpace implements AddressSpace {
  private readonly platform: SystrapPlatform;
  /** Contexts' memory, and our end of the socket that descriptors travel on. */
  readonly memfd: number;
  readonly socket: number;
  /** The stub's end, until it has been sent to whoever makes the process; then -1. */
  stubSocket = -1;
  /** Live contexts. */
  readonly contexts: SystrapContext[] = [];
  /** Threads that were told to end: their slots are free once the host says that they are gone. */
  readonly ending: SystrapContext[] = [];
  nextSlot = 0;
  hostPid = 0;
  /** The context whose stub makes this process; null once it is there. */
  maker: SystrapContext | null = null;
  /** The process is gone, or was never born. */
  dead = false;
  /** Nobody wants it any more: a birth that is reported now ends at once. */
  released = false;
  /** The thread that is changing the mappings: later changes wait, since the VMAs already show this one as done. */
  busy: SystrapContext | null = null;
  readonly waiting: SystrapContext[] = [];
  /** CPU time of the process that was handed out to its threads, ns. */
  cpuGivenNs = 0;

  constructor(platform: SystrapPlatform, memfd: number, socket: number) {
    this.platform = platform;
    this.memfd = memfd;
    this.socket = socket;
  }

  /** The host thread whose memory is meant; 0 when there is none. */
  get memoryTid(): number {
    return this.platform.memoryTid(this);
  }

  readSome(addr: number, dst: Uint8Array, at: number, n: number): number {
    const tid = this.memoryTid;
    return tid === 0 ? 0 : vmRead(tid, addr, dst, at, n);
  }

  writeSome(addr: number, src: Uint8Array, at: number, n: number): number {
    if (this.hostPid === 0 && !this.dead && this.putUnborn(addr, src, at, n)) return n;
    const tid = this.memoryTid;
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

  /** What a new process is to find in its memory: its stub stores it before the first instruction. */
  private putUnborn(addr: number, src: Uint8Array, at: number, n: number): boolean {
    const c = this.contexts[0];
    if (c === undefined || !c.held) return false;
    const to = c.addOut(addr, n);
    if (to < 0) return false;
    for (let i = 0; i < n; i++) c.region.u8[to + i] = src[at + i]!;
    return true;
  }
}
