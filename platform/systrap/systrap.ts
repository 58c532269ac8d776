// The systrap platform: guest system calls trap (or jump, once their site is patched) into the stub
// of their own process, which shares one page block a thread with the Sentry. architecture.md 2, 3.
//
// A context's state word says whose turn it is: 1 the Sentry's, 0 the stub's. Stubs announce a 1 in
// the ring. The ring is a hint that everybody can write: an index counts only if the context is the
// stub's by our own account (`held`) and its own state word says 1. An announcement that was lost is
// found by looking at all contexts before the Sentry sleeps.
//
//   take(): 0 → 1 seen, held              turns.go(): the action stored, then state 0, then a wake-up if the stub sleeps
//
// Here is the run loop's side; how threads come and go is in births.ts and ends.ts.

import {
  closeFd,
  createRegion,
  dupFd,
  nextHostEvent,
  startNotifier,
  systrapAttach,
  systrapCpuTime,
  systrapDebug,
  systrapHostPending,
  systrapIsThread,
  systrapPause,
  systrapReap,
  systrapSleep,
  systrapYield,
  unwatchFd,
  userShare,
  watchFd,
} from 'ptrace-napi';
import { EFAULT, EINVAL, ESRCH } from '../../sentry/abi/errno.ts';
import { SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP } from '../../sentry/abi/signal.ts';
import { HOSTCALL_EXCHANGE } from '../context.ts';
import {
  CONTEXT_SIZE,
  CTX_CLONE_RESULT,
  CTX_DATA,
  CTX_EVENT,
  CTX_FAULT_SIGNO,
  CTX_NIN,
  CTX_PATCH_PROT,
  CTX_RESULT,
  CTX_STATE,
  CTX_TAIL,
  MAX_CONTEXTS,
} from '../context-page.ts';
import { hostAuxv } from '../host-auxv.ts';
import {
  type AddressSpace,
  type Context,
  EVENT_BATCH,
  EVENT_FAULT,
  EVENT_KICKED,
  EVENT_SYSCALL,
  NEXT_HOST,
  NEXT_TIMEOUT,
  type Platform,
} from '../platform.ts';
import { Region } from '../region.ts';
import { Births } from './births.ts';
import { Changes } from './changes.ts';
import { ContextTable } from './context-table.ts';
import { Ends } from './ends.ts';
import { applyAffinity, applyNice, hasPage, PAUSE_NS, verify } from './host-thread.ts';
import {
  ACTION_BATCH,
  ACTION_FULL,
  ACTION_RAX,
  ACTION_SHOW_FP,
  ACTION_TAKE_FP,
  EVENT_CLONED,
  EVENT_SYSCALL_AT_SITE,
  RING_BELL,
  RING_HEAD,
  RING_MASK,
  RING_SLOTS,
} from './layout.ts';
import { addCounts, type PatchStatistics } from './patches.ts';
import { must, Ring, type SystrapOptions } from './ring.ts';
import { SPIN_HOST, SPIN_VAIN, Spinning } from './spinning.ts';
import { BATCH_NONE, BATCH_REPORTS, BATCH_TAIL, type SystrapContext } from './systrap-context.ts';
import type { SpaceOwner, SystrapSpace } from './systrap-space.ts';
import { Turns } from './turns.ts';
import { FP_MAGIC2_SIZE, frameFromRegset, isValidRegset, regsetFromFrame } from './xstate.ts';
import { startZygote } from './zygote.ts';

/** The filter's arithmetic keeps mappings one high word below the stub: high(addr) + high(length) + 1 < 0x7ff0. */
const TOP_ADDRESS = 0x7fee00000000;
/** How often an announced but empty ring entry is looked at before all contexts are. */
const EMPTY_LOOKS = 2000;
/** While guest code runs the Sentry looks at all contexts this often: a guest can keep another's announcement from waking it. */
const LONGEST_SLEEP_NS = 1e8;
const START_TIMEOUT_NS = 5e9;
/** How long a birth is waited for, ns. */
const BIRTH_TIMEOUT_NS = 5e8;
/** How often a held context's answer is looked at before the first pause, and how long in all. */
const HELD_LOOKS = 3000;
const HELD_TIMEOUT_NS = 2e9;
/** Results of poll() that are no index. */
const EMPTY = -3;
const NOTHING = -4;
/** What the host and the clock have to tell is asked for after so many entries of the ring, or so many that led to nothing: guests can write over its announcements. */
const LONGEST_RUN = 1024;
const LONGEST_NOTHING = 64;

export class SystrapPlatform implements Platform, SpaceOwner {
  readonly name = 'systrap';
  readonly topAddress: number = TOP_ADDRESS;
  readonly vdsoAddr: number;
  readonly futexWaiters: Int32Array;
  readonly fpStateSize: number;
  readonly hwcap: number;
  readonly hwcap2: number;
  readonly vdsoSize: number;
  readonly vvarSize: number;
  readonly rseqFeatureSize: number;
  readonly rseqAlign: number;
  readonly abortsSections = true;
  private readonly region: Region;
  private readonly ring: Int32Array;
  private readonly contexts: ContextTable;
  private readonly spinning: Spinning;
  private readonly turns: Turns;
  private readonly changes: Changes;
  private readonly ends: Ends;
  private readonly births: Births;
  /** Entries of the ring that were consumed. */
  private tail = 0;
  /** Entries until the host is asked without an announcement; entries in a row that led to nothing. */
  private untilBell = LONGEST_RUN;
  private isBellDue = false;
  private nothings = 0;
  /** The one or the other, watched state word and ring, is looked at first, in turn. */
  private ringFirst = false;
  private readonly hostEvent = new Int32Array(1);
  private readonly status = new Int32Array(1);

  /** Starts the first stub. Throws an Error that names what the host refused. */
  constructor(options: SystrapOptions) {
    this.region = new Region(createRegion(CONTEXT_SIZE * MAX_CONTEXTS));
    const ring = new Ring(options);
    this.ring = ring.words;
    this.futexWaiters = ring.futexWaiters;
    systrapAttach(ring.buffer);
    this.contexts = new ContextTable(this.region);
    this.spinning = new Spinning(this.contexts, this.ring);
    this.turns = new Turns(this.region, this.spinning);
    this.changes = new Changes(this.region, this.turns);
    this.ends = new Ends(this.contexts, this.turns, this.spinning, this.changes);
    must('starting the notifier thread', startNotifier());
    const zygote = startZygote(this, this.contexts, ring.fd);
    closeFd(ring.fd);
    this.ends.spaces.set(zygote.hostTid, zygote.space);
    this.births = new Births(this, this.contexts, this.turns, this.spinning, this.changes, this.ends, zygote);
    this.awaitZygote(zygote);
    this.fpStateSize = this.region.i32[CTX_DATA >> 2]!;
    this.vdsoAddr = this.region.load64(CTX_DATA + 8);
    ring.setVdsoClock(this.region.i32[(CTX_DATA + 16) >> 2]!, this.region.i32[(CTX_DATA + 20) >> 2]!);
    // The first program of the first container needs two, one before it is found and one to run.
    this.births.tidy();
    const auxv = hostAuxv();
    this.hwcap = auxv.hwcap;
    this.hwcap2 = auxv.hwcap2;
    this.rseqFeatureSize = auxv.rseqFeatureSize;
    this.rseqAlign = auxv.rseqAlign;
    this.vdsoSize = auxv.vdsoSize;
    this.vvarSize = auxv.vvarSize;
  }

  /** What has become of call sites since the start. */
  statistics(): PatchStatistics {
    for (const c of this.contexts.at) if (c !== undefined) addCounts(this.changes.patchCounts, c);
    return { ...this.changes.patchCounts };
  }

  private awaitZygote(zygote: SystrapContext): void {
    for (let waitedNs = 0; Atomics.load(this.region.i32, CTX_STATE >> 2) !== 1; waitedNs += PAUSE_NS) {
      if (systrapReap(this.status) === zygote.hostTid) throw new Error(`the first stub has ended with status ${this.status[0]! >> 8}`);
      if (waitedNs > START_TIMEOUT_NS) throw new Error('the first stub does not answer');
      systrapPause(PAUSE_NS);
    }
    this.take(0);
  }

  // ---- births and ends

  newAddressSpace(nursery: Context | null): Context | number {
    return this.births.newProcess(nursery as SystrapContext | null);
  }

  newNursery(): Context | number {
    return this.births.newNursery();
  }

  fork(parent: Context): Context | number {
    return this.births.fork(parent as SystrapContext);
  }

  newThread(parent: Context): Context | number {
    return this.births.newThread(parent as SystrapContext);
  }

  releaseContext(context: Context): void {
    this.ends.releaseContext(context as SystrapContext);
  }

  releaseSpace(space: AddressSpace): void {
    this.ends.releaseSpace(space as SystrapSpace);
  }

  killSpace(space: AddressSpace): void {
    this.ends.killSpace(space as SystrapSpace);
  }

  /** What can be done while nothing else is: the ends of what is gone, and preparing what the next fork and exec need. False when there was nothing. */
  private tidy(): boolean {
    return this.ends.tidy() || this.births.tidy();
  }

  private hasToTidy(): boolean {
    return this.ends.hasToTidy() || this.births.hasToTidy();
  }

  // ---- memory

  /** A thread of the space whose memory can be reached, waiting for its birth if need be; 0 for none. */
  memoryTid(space: SystrapSpace): number {
    if (space.dead) return 0;
    if (space.hostPid === 0 && !this.awaitBirth(space)) return 0;
    for (const c of space.contexts) {
      if (!c.verified && !verify(c)) continue;
      // The process's own number is its own until we reap it. That of another thread, which may have ended behind our back, could
      // be another process's by now.
      if (c.hostTid === space.hostPid || systrapIsThread(space.hostPid, c.hostTid)) return c.hostTid;
    }
    return 0;
  }

  private awaitBirth(space: SystrapSpace): boolean {
    for (let waitedNs = 0; space.hostPid === 0 && !space.dead; waitedNs += PAUSE_NS) {
      const maker = space.maker;
      if (maker === null || waitedNs > BIRTH_TIMEOUT_NS) return false;
      this.turns.releaseDue();
      this.changes.flush(maker.space);
      const { busy } = maker.space;
      if (this.hasEvent(maker)) this.take(maker.index);
      // The maker waits for this one, which waits for us.
      else if (busy !== null && busy !== maker && this.hasEvent(busy)) {
        if (this.take(busy.index)) this.turns.untold.push(busy);
      } else systrapPause(PAUSE_NS);
    }
    return !space.dead;
  }

  private hasEvent(c: SystrapContext): boolean {
    return !c.held && Atomics.load(this.region.i32, c.word + (CTX_STATE >> 2)) === 1;
  }

  parked(c: SystrapContext): void {
    this.turns.parked(c);
  }

  // ---- events

  /** The next event: an index, NEXT_HOST, NOTHING, or EMPTY. */
  private look(): number {
    if (this.turns.missed.length > 0) {
      const { index } = this.turns.missed.pop()!;
      return this.take(index) ? index : NOTHING;
    }
    const first = this.ringFirst;
    this.ringFirst = !first;
    if (first) {
      const found = this.poll();
      if (found !== EMPTY) return found;
    }
    if (this.turns.hasWatchedEvent()) {
      const { index } = this.turns.watched!;
      return this.take(index) ? index : NOTHING;
    }
    return first ? EMPTY : this.poll();
  }

  /** No guest runs, and none is about to be born or to end: all wait for an answer of ours. */
  private holdsAll(): boolean {
    if (this.spinning.running > 0) return false;
    for (let index = 0; index < this.contexts.end; index++) {
      const c = this.contexts.at[index];
      if (c !== undefined && !c.held) return false;
    }
    return true;
  }

  /** Takes the event of a context whose turn it was; true when the kernel is to hear of it. */
  private take(index: number): boolean {
    const c = this.contexts.at[index];
    if (c === undefined) return false;
    const { i32 } = this.region;
    if (c.held || i32[c.word + (CTX_STATE >> 2)] !== 1) {
      // An acknowledged batch is announced without an event.
      if (c.space.waiting.length > 0) this.changes.flush(c.space);
      return false;
    }
    const event = i32[c.word + (CTX_EVENT >> 2)]!;
    c.held = true;
    c.taken = event;
    this.turns.heard(c);
    // Clones and batches are parts of the call that came from there.
    if (event !== EVENT_CLONED && event !== EVENT_BATCH) c.isAtSite = false;
    c.eventTick = this.spinning.sampleTick;
    if (!c.isHeardOf) this.heardOf(c);
    this.spinning.setInGuest(c, false);
    const { space, batch } = c;
    if (c.cloning !== null) {
      if (event !== EVENT_CLONED) {
        this.ends.tampering(c, `event ${event} in place of a clone's end`);
        return false;
      }
      this.births.cloned(c, i32[c.word + (CTX_CLONE_RESULT >> 2)]!);
      return false;
    }
    if (space.busy === c) space.busy = null;
    c.batch = BATCH_NONE;
    if (space.waiting.length > 0) this.changes.flush(space);
    if (c.exitWanted) {
      this.ends.exitThread(c);
      return false;
    }
    switch (event) {
      case EVENT_BATCH:
        // The batch has failed, and the site is as it was.
        if (batch === BATCH_TAIL) i32[c.word + (CTX_PATCH_PROT >> 2)] = 0;
        if (batch === BATCH_REPORTS || batch === BATCH_TAIL) return true;
        break;
      case EVENT_SYSCALL:
      case EVENT_SYSCALL_AT_SITE:
        if (batch === BATCH_REPORTS) break;
        c.taken = EVENT_SYSCALL;
        c.isAtSite = event === EVENT_SYSCALL_AT_SITE;
        if (c.isAtSite) this.changes.patchCounts.offered++;
        c.beginCall();
        return true;
      case EVENT_KICKED:
        if (batch !== BATCH_REPORTS) return true;
        break;
      case EVENT_FAULT: {
        const signo = i32[c.word + (CTX_FAULT_SIGNO >> 2)]!;
        c.takenSigno = signo;
        if (batch !== BATCH_REPORTS && (signo === SIGSEGV || signo === SIGBUS || signo === SIGFPE || signo === SIGILL || signo === SIGTRAP))
          return true;
        break;
      }
    }
    this.ends.tampering(c, `event ${event} out of turn`);
    return false;
  }

  /** The first event of a thread: from now on its page is where it belongs, or never will be. */
  private heardOf(c: SystrapContext): void {
    if (c.hostTid !== 0 && !c.verified) hasPage(c);
    c.isHeardOf = true;
  }

  /** One entry of the ring: an index whose event was taken, NEXT_HOST, NOTHING, or EMPTY. */
  private poll(): number {
    const { ring } = this;
    const head = ring[RING_HEAD]!;
    if (head === this.tail) return EMPTY;
    const ahead = (head - this.tail) | 0;
    if (ahead < 0 || ahead > RING_MASK) {
      // Nobody announces so much: a guest has written the head. Walking there entry by entry could take hours.
      this.tail = head;
      return this.scan();
    }
    const slot = RING_SLOTS + (this.tail & RING_MASK);
    let entry = Atomics.exchange(ring, slot, 0);
    // The head is advanced first, the entry stored right after.
    for (let looks = 0; entry === 0 && looks < EMPTY_LOOKS; looks++) entry = Atomics.exchange(ring, slot, 0);
    this.tail = (this.tail + 1) | 0;
    if (entry === RING_BELL) return this.bell();
    if (entry === 0) return this.scan();
    const index = entry - 1;
    return this.take(index) ? index : NOTHING;
  }

  private bell(): number {
    while (this.ends.endDoomed());
    this.ends.reap();
    return systrapHostPending() ? NEXT_HOST : NOTHING;
  }

  private bellDue(): number {
    this.isBellDue = false;
    return this.bell();
  }

  /** Looks for an event that was not announced. */
  private scan(): number {
    for (let index = 0; index < this.contexts.end; index++) {
      const c = this.contexts.at[index];
      if (c === undefined || c.held || Atomics.load(this.region.i32, c.word + (CTX_STATE >> 2)) !== 1) continue;
      if (this.take(index)) return index;
    }
    return NOTHING;
  }

  next(deadlineNs: number): number {
    this.spinning.countEvent();
    let hasYielded = false;
    for (;;) {
      // Also what the last turn of this loop has answered: until then the state word has its event of before.
      this.turns.releaseDue();
      if (this.turns.untold.length > 0) {
        const untold = this.turns.untold.shift()!;
        if (this.contexts.at[untold.index] === untold) return untold.index;
        continue;
      }
      let found = this.isBellDue ? this.bellDue() : this.look();
      if (found === EMPTY) {
        const news = this.spinning.spin(this.tail, this.turns.watched);
        if (news === SPIN_HOST) this.isBellDue = true;
        if (news !== SPIN_VAIN) continue;
        // Before the last look: who posts after it rings.
        this.turns.unwatchState();
        found = this.scan();
        if (found === NOTHING && this.spinning.running > 0 && !hasYielded && this.hasToTidy()) {
          // A guest thread may be waiting for this very processor.
          hasYielded = true;
          systrapYield();
          continue;
        }
        if (found === NOTHING && this.tidy()) continue;
        if (found === NOTHING) found = this.bell();
        if (
          found === NOTHING &&
          this.turns.untold.length === 0 &&
          systrapSleep(this.tail, deadlineNs, this.spinning.running > 0 ? LONGEST_SLEEP_NS : Number.POSITIVE_INFINITY, this.holdsAll()) ===
            1
        )
          return NEXT_TIMEOUT;
      }
      if (found === NOTHING && ++this.nothings >= LONGEST_NOTHING) {
        this.nothings = 0;
        found = this.bell();
        if (found === NOTHING && this.turns.untold.length === 0 && systrapSleep(this.tail, deadlineNs, 0, false) === 1) return NEXT_TIMEOUT;
      } else if (found >= 0 && --this.untilBell === 0) {
        this.untilBell = LONGEST_RUN;
        // The event is taken: what the host has to tell is asked for before the next one.
        this.isBellDue = true;
      }
      if (found >= 0 || found === NEXT_HOST) return found;
    }
  }

  contextAt(index: number): Context {
    return this.contexts.at[index]!;
  }

  answer(context: Context, result: number): void {
    const c = context as SystrapContext;
    this.region.store64(c.base + CTX_RESULT, result);
    if (c.isAtSite && c.cloning === null) this.changes.orderPatch(c);
    this.proceedWith(c, ACTION_RAX);
  }

  run(context: Context): void {
    this.proceedWith(context as SystrapContext, ACTION_FULL);
  }

  private proceedWith(c: SystrapContext, action: number): void {
    if (c.space.dead) return;
    if (c.cloning !== null) c.deferred = action;
    else this.turns.go(c, action);
  }

  sendFd(context: Context, hostFd: number): number {
    const c = context as SystrapContext;
    const fd = dupFd(hostFd);
    if (fd < 0) return fd;
    c.fds.push(fd);
    return 0;
  }

  runBatch(context: Context, tail: boolean): void {
    const c = context as SystrapContext;
    if (c.space.dead) return;
    c.batch = tail ? BATCH_TAIL : BATCH_REPORTS;
    this.region.i32[c.word + (CTX_TAIL >> 2)] = tail ? 1 : 0;
    if (c.cloning !== null) c.deferred = ACTION_BATCH;
    else this.changes.startBatch(c);
  }

  kick(context: Context): void {
    this.turns.kick(context as SystrapContext);
  }

  // ---- extended state

  readXstate(context: Context, dst: Uint8Array): number {
    const c = context as SystrapContext;
    const size = this.fpStateSize - FP_MAGIC2_SIZE;
    if (size > dst.length) return -EINVAL;
    if (!this.showXstate(c)) return -ESRCH;
    const at = c.base + CTX_DATA;
    regsetFromFrame(dst, this.region.u8, at, size);
    return size;
  }

  writeXstate(context: Context, src: Uint8Array, n: number): number {
    const c = context as SystrapContext;
    const size = this.fpStateSize - FP_MAGIC2_SIZE;
    if (n !== size || !isValidRegset(src, size)) return -EINVAL;
    // What the stub still has to copy out of the data area goes first.
    if (!this.showXstate(c)) return -ESRCH;
    frameFromRegset(this.region.u8, this.region.i32, c.base + CTX_DATA, src, size);
    return this.serveHeld(c, ACTION_TAKE_FP) ? 0 : -ESRCH;
  }

  private showXstate(c: SystrapContext): boolean {
    if (!c.held || this.memoryTid(c.space) === 0 || c.cloning !== null) return false;
    this.region.i32[(c.base + CTX_DATA) >> 2] = this.fpStateSize - FP_MAGIC2_SIZE;
    return this.serveHeld(c, ACTION_SHOW_FP);
  }

  /** Has the stub of a held context do something short, and waits for it: the context is held again, its event as it was. */
  private serveHeld(c: SystrapContext, action: number): boolean {
    // What was prefetched lay where the state goes.
    this.region.i32[c.word + (CTX_NIN >> 2)] = 0;
    this.turns.go(c, action);
    this.turns.releaseDue();
    for (let looks = HELD_LOOKS; looks > 0 && Atomics.load(this.region.i32, c.word + (CTX_STATE >> 2)) !== 1; looks--);
    for (let waitedNs = 0; Atomics.load(this.region.i32, c.word + (CTX_STATE >> 2)) !== 1; waitedNs += PAUSE_NS) {
      if (c.space.dead) return false;
      if (waitedNs > HELD_TIMEOUT_NS) {
        // Whatever it answers later would be taken for the end of something else.
        this.ends.tampering(c, `no answer to action ${action}`);
        return false;
      }
      systrapPause(PAUSE_NS);
    }
    c.held = true;
    this.spinning.setInGuest(c, false);
    return true;
  }

  compareExchange(context: Context, addr: number, expected: number, value: number): number {
    const c = context as SystrapContext;
    if (!c.held || c.cloning !== null || this.memoryTid(c.space) === 0) return -ESRCH;
    c.resetCalls();
    c.addCall(HOSTCALL_EXCHANGE, 0, addr, expected, value, 0, 0, 0);
    this.region.i32[c.word + (CTX_TAIL >> 2)] = 0;
    if (!this.serveHeld(c, ACTION_BATCH)) return -ESRCH;
    const was = c.callResult(0);
    return was >= 0 && was < 2 ** 32 ? was : -EFAULT;
  }

  readDebug(context: Context, n: number): number {
    const c = context as SystrapContext;
    return this.memoryTid(c.space) !== 0 && verify(c) ? systrapDebug(c.hostTid, n, 0, 0) : -ESRCH;
  }

  userShare(context: Context): number {
    return userShare(context.space.hostPid);
  }

  writeDebug(context: Context, n: number, value: number): number {
    const c = context as SystrapContext;
    return this.memoryTid(c.space) !== 0 && verify(c) ? systrapDebug(c.hostTid, n, value, 1) : -ESRCH;
  }

  setAffinity(context: Context, mask: Uint8Array): void {
    const c = context as SystrapContext;
    c.affinity = mask;
    applyAffinity(c);
  }

  setNice(context: Context, nice: number): void {
    const c = context as SystrapContext;
    if (c.nice === nice) return;
    c.nice = nice;
    if (c.hostTid !== 0) applyNice(c);
  }

  watch(hostFd: number, events: number, token: number): number {
    return watchFd(hostFd, events, token);
  }

  unwatch(hostFd: number): void {
    unwatchFd(hostFd);
  }

  hostToken(): number {
    const token = nextHostEvent(this.hostEvent);
    if (token >= 0) this.spinning.countHostEvent();
    return token;
  }

  hostEvents(): number {
    return this.hostEvent[0]!;
  }

  /** Its thread's share of its process's time: what has passed since anybody asked goes to who asks now, as on the ptrace platform. */
  cpuTimeNs(context: Context): number {
    const c = context as SystrapContext;
    const { space } = c;
    if (space.hostPid !== 0 && !space.dead) {
      const now = systrapCpuTime(space.hostPid);
      if (now > space.cpuGivenNs) {
        c.cpuNs += now - space.cpuGivenNs;
        space.cpuGivenNs = now;
      }
    }
    return c.cpuNs;
  }
}
