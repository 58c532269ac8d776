// The ptrace platform: PTRACE_SYSEMU on stub processes, host calls injected by the tracer. Needs
// nothing of the host but ptrace(2) of its own children. Everything is synchronous: a batch is done
// when runBatch() returns, and its event waits in the native queue for next().

import {
  closeFd,
  createRegion,
  nextHostEvent,
  openStub,
  ptraceBatch,
  ptraceClone,
  ptraceCpuTime,
  ptraceDebug,
  ptraceExchange,
  ptraceForced,
  ptraceKick,
  ptraceNext,
  ptraceRegset,
  ptraceRelease,
  ptraceRun,
  ptraceSendFd,
  ptraceStart,
  readToGuest,
  setAffinity,
  startNotifier,
  systrapKill,
  unwatchFd,
  userShare,
  vmRead,
  vmWrite,
  watchFd,
  writeFromGuest,
} from 'ptrace-napi';
import { NT_X86_XSTATE } from '../../sentry/abi/elf.ts';
import { ENOMEM, errnoName } from '../../sentry/abi/errno.ts';
import { SIGKILL } from '../../sentry/abi/signal.ts';
import { Context } from '../context.ts';
import { CONTEXT_SIZE, CTX_REGS, CTX_REGS_SIZE, MAX_CONTEXTS, RAX } from '../context-page.ts';
import { hostAuxv } from '../host-auxv.ts';
import type { AddressSpace, Mappings, Platform } from '../platform.ts';
import { Region } from '../region.ts';

/** The stub starts at 0x7ff000000000; the filter's arithmetic (architecture.md 2) keeps the 4 GiB below it free. */
export const TOP_ADDRESS = 0x7fef00000000;

class PtraceSpace implements AddressSpace {
  mappings: Mappings | null = null;
  /** Live contexts; memory is reached through any of them, since a dead leader has none. */
  readonly contexts: Context[] = [];
  hostPid = 0;

  withdrawAnswers(): void {}

  private tid(): number {
    return this.contexts.length === 0 ? 0 : this.contexts[0]!.hostTid;
  }

  readSome(addr: number, dst: Uint8Array, at: number, n: number): number {
    return vmRead(this.tid(), addr, dst, at, n);
  }

  writeSome(addr: number, src: Uint8Array, at: number, n: number): number {
    return vmWrite(this.tid(), addr, src, at, n);
  }

  writeNow(addr: number, src: Uint8Array, at: number, n: number): number {
    return vmWrite(this.tid(), addr, src, at, n);
  }

  readString(addr: number, dst: Uint8Array, at: number, n: number): number {
    return vmRead(this.tid(), addr, dst, at, n);
  }

  fromHost(addr: number, n: number, hostFd: number, offset: number, flags: number): number {
    return readToGuest(this.tid(), addr, n, hostFd, offset, flags);
  }

  toHost(addr: number, n: number, hostFd: number, offset: number): number {
    return writeFromGuest(this.tid(), addr, n, hostFd, offset);
  }

  readForced(addr: number, dst: Uint8Array, at: number, n: number): number {
    return this.forced(addr, dst, at, n, 0);
  }

  restoreCode(): void {}

  writeForced(addr: number, src: Uint8Array, at: number, n: number): number {
    return this.forced(addr, src, at, n, 1);
  }

  private forced(addr: number, bytes: Uint8Array, at: number, n: number, write: number): number {
    // What is not protected needs no word-by-word way, and only a stopped thread can go that one.
    const done = write === 1 ? this.writeSome(addr, bytes, at, n) : this.readSome(addr, bytes, at, n);
    if (done === n) return n;
    for (const context of this.contexts)
      if (!context.inGuest) return done + ptraceForced(context.index, addr + done, bytes, at + done, n - done, write);
    return done;
  }

  /** For host calls that move bytes between a descriptor and the guest. */
  get memoryTid(): number {
    return this.tid();
  }
}

export class PtracePlatform implements Platform {
  readonly name = 'ptrace';
  readonly topAddress: number = TOP_ADDRESS;
  readonly vdsoAddr: number;
  readonly futexWaiters = null;
  readonly fpStateSize: number;
  readonly hwcap: number;
  readonly hwcap2: number;
  readonly vdsoSize: number;
  readonly vvarSize: number;
  readonly rseqFeatureSize: number;
  readonly rseqAlign: number;
  readonly abortsSections = false;
  private readonly region: Region;
  private readonly contexts: (Context | undefined)[] = [];
  private readonly freeIndexes: number[] = [];
  private nextIndex = 1;
  private readonly zygote: Context;
  private readonly hostEvent = new Int32Array(1);

  /** Starts the first stub. Throws an Error that names what the host refused. */
  constructor() {
    const buffer = createRegion(CONTEXT_SIZE * MAX_CONTEXTS);
    this.region = new Region(buffer);
    const notifier = startNotifier();
    if (notifier < 0) throw new Error(`starting the notifier thread: ${errnoName(-notifier)}`);
    const stubFd = openStub();
    const out = new Float64Array(3);
    const started = ptraceStart(buffer, stubFd, out);
    closeFd(stubFd);
    if (started < 0) throw new Error(`starting the first stub under ptrace: ${errnoName(-started)}`);
    const space = new PtraceSpace();
    space.hostPid = out[0]!;
    this.vdsoAddr = out[1]!;
    this.fpStateSize = out[2]!;
    const auxv = hostAuxv();
    this.hwcap = auxv.hwcap;
    this.hwcap2 = auxv.hwcap2;
    this.rseqFeatureSize = auxv.rseqFeatureSize;
    this.rseqAlign = auxv.rseqAlign;
    this.vdsoSize = auxv.vdsoSize;
    this.vvarSize = auxv.vvarSize;
    this.zygote = new Context(this.region, 0, space);
    this.zygote.hostTid = space.hostPid;
    space.contexts.push(this.zygote);
    this.contexts[0] = this.zygote;
  }

  newAddressSpace(nursery: Context | null): Context | number {
    return this.clone(nursery ?? this.zygote, new PtraceSpace(), false);
  }

  newNursery(): Context | number {
    return this.clone(this.zygote, new PtraceSpace(), false);
  }

  fork(parent: Context): Context | number {
    return this.clone(parent, new PtraceSpace(), false);
  }

  newThread(parent: Context): Context | number {
    return this.clone(parent, parent.space as PtraceSpace, true);
  }

  private clone(parent: Context, space: PtraceSpace, isThread: boolean): Context | number {
    const index = this.freeIndexes.pop() ?? this.nextIndex++;
    if (index >= MAX_CONTEXTS) {
      this.nextIndex--;
      return -ENOMEM;
    }
    const tid = ptraceClone(parent.index, index, isThread ? 1 : 0);
    if (tid < 0) {
      this.freeIndexes.push(index);
      return tid;
    }
    const context = new Context(this.region, index, space);
    this.region.u8.fill(0, context.base, context.base + CTX_REGS);
    this.region.u8.copyWithin(context.base + CTX_REGS, parent.base + CTX_REGS, parent.base + CTX_REGS + CTX_REGS_SIZE);
    context.hostTid = tid;
    if (!isThread) space.hostPid = tid;
    space.contexts.push(context);
    this.contexts[index] = context;
    return context;
  }

  releaseContext(context: Context): void {
    const space = context.space as PtraceSpace;
    const at = space.contexts.indexOf(context);
    if (at < 0) return;
    space.contexts.splice(at, 1);
    ptraceRelease(context.index, space.contexts.length === 0 ? 1 : 0);
    this.forget(context);
  }

  releaseSpace(space: AddressSpace): void {
    const contexts = (space as PtraceSpace).contexts;
    while (contexts.length > 0) {
      const context = contexts.pop()!;
      ptraceRelease(context.index, 1);
      this.forget(context);
    }
  }

  killSpace(space: AddressSpace): void {
    if (space.hostPid > 0) systrapKill(space.hostPid, SIGKILL);
  }

  private forget(context: Context): void {
    this.contexts[context.index] = undefined;
    this.freeIndexes.push(context.index);
  }

  next(deadlineNs: number): number {
    const index = ptraceNext(deadlineNs);
    if (index >= 0) this.contexts[index]!.inGuest = false;
    return index;
  }

  contextAt(index: number): Context {
    return this.contexts[index]!;
  }

  answer(context: Context, result: number): void {
    context.setReg(RAX, result);
    context.inGuest = true;
    ptraceRun(context.index);
  }

  run(context: Context): void {
    context.inGuest = true;
    ptraceRun(context.index);
  }

  sendFd(context: Context, hostFd: number): number {
    return ptraceSendFd(context.index, hostFd);
  }

  runBatch(context: Context, tail: boolean): void {
    context.inGuest = true;
    ptraceBatch(context.index, tail ? 1 : 0);
  }

  kick(context: Context): void {
    ptraceKick(context.index);
  }

  readXstate(context: Context, dst: Uint8Array): number {
    return ptraceRegset(context.index, NT_X86_XSTATE, dst, dst.length, 0);
  }

  writeXstate(context: Context, src: Uint8Array, n: number): number {
    return Math.min(ptraceRegset(context.index, NT_X86_XSTATE, src, n, 1), 0);
  }

  compareExchange(context: Context, addr: number, expected: number, value: number): number {
    return ptraceExchange(context.index, addr, expected, value);
  }

  readDebug(context: Context, n: number): number {
    return ptraceDebug(context.index, n, 0, 0);
  }

  userShare(context: Context): number {
    return userShare(context.space.hostPid);
  }

  writeDebug(context: Context, n: number, value: number): number {
    return ptraceDebug(context.index, n, value, 1);
  }

  setAffinity(context: Context, mask: Uint8Array): void {
    setAffinity(context.hostTid, mask);
  }

  /** Without effect: the Sentry waits for a tracee that makes a host call, and with it all other guests would. */
  setNice(_context: Context, _nice: number): void {}

  statistics(): object {
    return {};
  }

  watch(hostFd: number, events: number, token: number): number {
    return watchFd(hostFd, events, token);
  }

  unwatch(hostFd: number): void {
    unwatchFd(hostFd);
  }

  hostToken(): number {
    return nextHostEvent(this.hostEvent);
  }

  hostEvents(): number {
    return this.hostEvent[0]!;
  }

  cpuTimeNs(context: Context): number {
    return ptraceCpuTime(context.index);
  }
}
