// A platform without a host: guest memory is an array, guest code never runs. Tests play the guest:
// they put registers into a context and tell the kernel of an event.

import { Context } from '../../platform/context.ts';
import { CONTEXT_SIZE } from '../../platform/context-page.ts';
import type { AddressSpace, Mappings, Platform } from '../../platform/platform.ts';
import { Region } from '../../platform/region.ts';
import { ENODEV, ESRCH } from '../../sentry/abi/errno.ts';

const MAX_CONTEXTS = 24;
/** Guest memory: one readable and writable range. */
export const MEMORY_START = 0x10000;
export const MEMORY_SIZE = 0x80000;

class FakeSpace implements AddressSpace {
  readonly hostPid = 1;
  withdrawAnswers(): void {}
  readonly memoryTid = 1;
  mappings: Mappings | null = null;
  readonly bytes: Uint8Array;
  contexts = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  private room(addr: number, n: number): number {
    if (addr < MEMORY_START || addr >= MEMORY_START + MEMORY_SIZE) return 0;
    return Math.min(n, MEMORY_START + MEMORY_SIZE - addr);
  }

  readSome(addr: number, dst: Uint8Array, at: number, n: number): number {
    const got = this.room(addr, n);
    if (got > 0) dst.set(this.bytes.subarray(addr - MEMORY_START, addr - MEMORY_START + got), at);
    return got;
  }

  writeSome(addr: number, src: Uint8Array, at: number, n: number): number {
    const put = this.room(addr, n);
    if (put > 0) this.bytes.set(src.subarray(at, at + put), addr - MEMORY_START);
    return put;
  }

  writeNow(addr: number, src: Uint8Array, at: number, n: number): number {
    return this.writeSome(addr, src, at, n);
  }

  readString(addr: number, dst: Uint8Array, at: number, n: number): number {
    return this.readSome(addr, dst, at, n);
  }

  fromHost(_addr: number, _n: number, _hostFd: number, _offset: number, _flags: number): number {
    throw new Error('a fake platform has no host');
  }

  toHost(_addr: number, _n: number, _hostFd: number, _offset: number): number {
    throw new Error('a fake platform has no host');
  }

  readForced(addr: number, dst: Uint8Array, at: number, n: number): number {
    return this.readSome(addr, dst, at, n);
  }

  restoreCode(): void {}

  writeForced(addr: number, src: Uint8Array, at: number, n: number): number {
    return this.writeSome(addr, src, at, n);
  }
}

export class FakePlatform implements Platform {
  readonly name = 'ptrace';
  readonly topAddress = 0x7fef00000000;
  readonly vdsoAddr = 0;
  readonly hwcap = 0;
  readonly hwcap2 = 0;
  readonly futexWaiters = null;
  readonly vdsoSize = 0;
  readonly vvarSize = 0;
  readonly rseqFeatureSize = 0;
  readonly rseqAlign = 0;
  readonly abortsSections = true;
  readonly fpStateSize = 836;
  private readonly region = new Region(new ArrayBuffer(CONTEXT_SIZE * MAX_CONTEXTS));
  private readonly contexts: (Context | undefined)[] = [undefined];
  /** Contexts in the order in which they were let go on, with what was put into rax by answer(). */
  readonly resumed: Context[] = [];
  readonly kicked: Context[] = [];
  readonly released: Context[] = [];

  newAddressSpace(_nursery: Context | null = null): Context {
    return this.add(new FakeSpace(new Uint8Array(MEMORY_SIZE)), null);
  }

  newNursery(): Context {
    return this.newAddressSpace();
  }

  fork(parent: Context): Context {
    return this.add(new FakeSpace((parent.space as FakeSpace).bytes.slice()), parent);
  }

  newThread(parent: Context): Context {
    return this.add(parent.space as FakeSpace, parent);
  }

  private add(space: FakeSpace, parent: Context | null): Context {
    const context = new Context(this.region, this.contexts.length, space);
    this.contexts.push(context);
    space.contexts++;
    if (parent !== null) {
      const regs = new Uint8Array(27 * 8);
      parent.saveRegs(regs, 0);
      context.loadRegs(regs, 0);
    }
    return context;
  }

  releaseContext(context: Context): void {
    this.released.push(context);
    this.contexts[context.index] = undefined;
  }

  releaseSpace(_space: AddressSpace): void {}

  killSpace(_space: AddressSpace): void {}

  statistics(): object {
    return {};
  }

  next(_deadlineNs: number): number {
    throw new Error('a fake platform has no events of its own');
  }

  contextAt(index: number): Context {
    return this.contexts[index]!;
  }

  answer(context: Context, result: number): void {
    context.setReg(10, result);
    this.resumed.push(context);
  }

  run(context: Context): void {
    this.resumed.push(context);
  }

  sendFd(_context: Context, _hostFd: number): number {
    return 0;
  }

  runBatch(_context: Context, _tail: boolean): void {
    throw new Error('a fake platform has no host');
  }

  kick(context: Context): void {
    this.kicked.push(context);
  }

  compareExchange(): number {
    return -ESRCH;
  }

  setAffinity(): void {}

  setNice(): void {}

  userShare(): number {
    return -1;
  }

  readDebug(): number {
    return 0;
  }

  writeDebug(): number {
    return 0;
  }

  watch(_hostFd: number, _events: number, _token: number): number {
    return 0;
  }

  unwatch(_hostFd: number): void {}

  hostToken(): number {
    return -1;
  }

  hostEvents(): number {
    return 0;
  }

  /** There is no processor behind it. */
  readXstate(): number {
    return -ENODEV;
  }

  writeXstate(): number {
    return -ENODEV;
  }

  cpuTimeNs(_context: Context): number {
    return 0;
  }
}
