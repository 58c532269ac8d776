// The systrap platform: guest system calls trap (or jump, once their site is patched) into the stub
// of their own process, which shares one page block a thread with the Sentry. architecture.md 2, 3.
//
// A context's state word says whose turn it is: 1 the Sentry's, 0 the stub's. Stubs announce a 1 in
// the ring. The ring is a hint that everybody can write: an index counts only if the context is the
// stub's by our own account (`held`) and its own state word says 1. An announcement that was lost is
// found by looking at all contexts before the Sentry sleeps.
//
//   take(): 0 → 1 seen, held              go(): the action stored, then state 0, then a wake-up if the stub sleeps
//
// What changes an address space (batches, clones) is done by one of its threads at a time: a
// further one waits in space.waiting until the stub has acknowledged the one before.

import { availableParallelism, getPriority } from 'node:os';
import {
  closeFd,
  createRegion,
  dupFd,
  ftruncate,
  getRandom,
  mapShared,
  memfdCreate,
  nextHostEvent,
  openStub,
  setAffinity,
  setNice,
  startNotifier,
  systrapAttach,
  systrapCpuTime,
  systrapDebug,
  systrapHostPending,
  systrapIsThread,
  systrapKick,
  systrapKill,
  systrapLeaveCpu,
  systrapLookNs,
  systrapMap,
  systrapPause,
  systrapReap,
  systrapSend,
  systrapSleep,
  systrapSpace,
  systrapSpin,
  systrapStart,
  systrapUnmap,
  systrapWake,
  systrapYield,
  unwatchFd,
  userShare,
  vmRead,
  watchFd,
} from 'ptrace-napi';
import { EAGAIN, EFAULT, EINVAL, ENOMEM, ESRCH, errnoName } from '../../sentry/abi/errno.ts';
import { SIGBUS, SIGFPE, SIGILL, SIGKILL, SIGSEGV, SIGTRAP } from '../../sentry/abi/signal.ts';
import { MIN_ERRNO } from '../../sentry/base/errors.ts';
import { debug } from '../../sentry/base/log.ts';
import { HOSTCALL_EXCHANGE } from '../context.ts';
import {
  CONTEXT_SIZE,
  CS,
  CTX_ACTION,
  CTX_ALIVE,
  CTX_BATCH_SEQ,
  CTX_CALLS,
  CTX_CLONE_RESULT,
  CTX_CLONE_SLOT,
  CTX_CPU,
  CTX_DATA,
  CTX_DIRTY,
  CTX_DONE_SEQ,
  CTX_DONE_WAITER,
  CTX_EVENT,
  CTX_FAULT_SIGNO,
  CTX_INDEX,
  CTX_KICKED,
  CTX_NIN,
  CTX_NONCE,
  CTX_PARKED,
  CTX_PATCH_PROT,
  CTX_PATCH_SITE,
  CTX_REGS,
  CTX_REGS_SIZE,
  CTX_RESULT,
  CTX_SELF,
  CTX_SLEEPING,
  CTX_STATE,
  CTX_STUB_STACK,
  CTX_TAIL,
  CTX_WAIT_STATUS,
  CTX_WAKE_SLOT,
  CTX_WATCHED,
  DIRTY_FS,
  DIRTY_GS,
  EFLAGS,
  GS_BASE,
  MAX_CONTEXTS,
  SS,
} from '../context-page.ts';
import { hostAuxv } from '../host-auxv.ts';
import {
  type AddressSpace,
  type Context,
  EVENT_BATCH,
  EVENT_DIED,
  EVENT_FAULT,
  EVENT_KICKED,
  EVENT_SYSCALL,
  FUTEX_BUCKETS,
  NEXT_HOST,
  NEXT_TIMEOUT,
  type Platform,
} from '../platform.ts';
import { Region } from '../region.ts';
import {
  ACTION_BATCH,
  ACTION_EXIT,
  ACTION_FORK,
  ACTION_FULL,
  ACTION_RAX,
  ACTION_SHOW_FP,
  ACTION_TAKE_FP,
  ACTION_THREAD,
  CONF_FILTER,
  CONF_FILTER_LENGTH,
  CONF_FUTEX_WAITERS,
  CONF_PATCH,
  CONF_PREFETCH,
  CONF_SIZE,
  CONF_VDSO_CLOCK,
  EVENT_CLONED,
  EVENT_SYSCALL_AT_SITE,
  MAX_SLOTS,
  PATCH_ALONE,
  RING_BELL,
  RING_HEAD,
  RING_MASK,
  RING_SENTRY_CPU,
  RING_SIZE,
  RING_SLOTS,
  RING_SPIN,
  STACK_SIZE,
  STACKS,
  STUB_STACK_SIZE,
  WINDOW,
} from './layout.ts';
import { AROUND, addCounts, BEFORE, noPatches, Patch, type PatchStatistics } from './patches.ts';
import { type CallArguments, prefetchTable } from './prefetch.ts';
import { stubFilter } from './stub-filter.ts';
import { BATCH_NONE, BATCH_PATCH, BATCH_REPORTS, BATCH_TAIL, SystrapContext } from './systrap-context.ts';
import { SystrapSpace } from './systrap-space.ts';

/** The filter's arithmetic keeps mappings one high word below the stub: high(addr) + high(length) + 1 < 0x7ff0. */
const TOP_ADDRESS = 0x7fee00000000;
/**
 * How long the loop looks at the ring before it sleeps, and a stub for its answer. A wake-up costs 15 to 20 µs on a virtual
 * machine: who spins less than the other side takes to wake up never meets it awake again, and every call costs two wake-ups.
 */
const SENTRY_SPIN_NS = 60000;
const STUB_SPIN_NS = 50000;
const CROWDED_SPIN_NS = 5000;
/** systrapSpin()'s word for a host descriptor that has something to tell. */
const SPIN_HOST = 2;
/** How often in a row the loop spins in vain for a host event, and for how long: times CROWDED_SPIN_NS. */
const HOST_SPINS = 4;
const HOST_SPIN_FACTOR = 8;
/** Looks from here before native code, which can pause, does the rest. */
const SENTRY_LOOKS = 300;
/** After so many spins in vain in a row only one sleep in 32 is preceded by one: twin of stub.c:spin_for_answer(). */
const MISSES_ALLOWED = 4;
const PROBE_MASK = 31;
/** So many sleeps in a row on the processor of the thread that is waited for, and the Sentry leaves it; next after so many more. */
const STACKED_ALLOWED = 8;
const STACKED_AGAIN = -200;
/** A thread without an event for this long computes, and needs its processor. Looked at after so many sleeps or events, and not more often than that. */
const COMPUTING_MS = 1;
const EVENTS_PER_SAMPLE = 512;
const SLEEP_WEIGHT = 16;
/** How often an announced but empty ring entry is looked at before all contexts are. */
const EMPTY_LOOKS = 2000;
/** Indexes that are free but keep their pages for the next use. */
const KEPT_MAPPINGS = 32;
/** Prepared processes and spaces; spaces whose descriptors may wait for an idle moment. */
const READY = 2;
const SPARES = 2;
const MAX_GONE = 64;
/** Processes that have come to their end but may be killed a little later. */
const MAX_DOOMED = 16;
/** While guest code runs the Sentry looks at all contexts this often: a guest can keep another's announcement from waking it. */
const LONGEST_SLEEP_NS = 1e8;
const START_TIMEOUT_NS = 5e9;
/** How long a birth is waited for, ns, and between looks at it. */
const BIRTH_TIMEOUT_NS = 5e8;
const BIRTH_PAUSE_NS = 20000;
/** How often a held context's answer is looked at before the first of those, and how long in all. */
const HELD_LOOKS = 3000;
const HELD_TIMEOUT_NS = 2e9;
const VERIFY_TIMEOUT_NS = 5e8;
const MAX_NICE = 19;
/** For so long after the host has refused one no process is made before somebody asks for it. */
const REFUSED_MS = 5000;
const USER_CS = 0x33;
const USER_SS = 0x2b;
const INITIAL_EFLAGS = 0x202;
/** Results of poll() that are no index. */
const EMPTY = -3;
const NOTHING = -4;
/** Deaths of processes whose clone is not reported yet; more are a stub's own inventions. */
const MAX_UNKNOWN_DEATHS = 256;
/** What the host and the clock have to tell is asked for after so many entries of the ring, or so many that led to nothing: guests can write over its announcements. */
const LONGEST_RUN = 1024;
const LONGEST_NOTHING = 64;

/** struct _fpstate_64 of a signal frame: arch/x86/include/uapi/asm/sigcontext.h. */
const MXCSR = 24;
const XSTATE_SW = 464;
const XSTATE_SW_SIZE = 48;
const FRAME_FEATURES = 472;
const XSTATE_HEADER = 512;
const XSTATE_HEADER_SIZE = 64;
const FP_MAGIC1 = 0x46505853;
const FP_MAGIC2 = 0x46505845;
const FP_MAGIC2_SIZE = 4;

export interface SystrapOptions {
  /** Guest code is patched so that a call site traps only a few times. */
  readonly patchSyscalls: boolean;
  /** The system calls by number: what the stub fetches for them. */
  readonly calls: readonly (CallArguments | undefined)[];
}

export class SystrapPlatform implements Platform {
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
  private readonly conf: Int32Array;
  /** Entries of the ring that were consumed. */
  private tail = 0;
  /** Entries until the host is asked without an announcement; entries in a row that led to nothing. */
  private untilBell = LONGEST_RUN;
  private isBellDue = false;
  private nothings = 0;
  private readonly contexts: (SystrapContext | undefined)[] = [];
  private readonly freeIndexes: number[] = [];
  private nextIndex = 1;
  private readonly spaces: Map<number, SystrapSpace> = new Map();
  private readonly zygote: SystrapContext;
  /** Contexts that wait for the zygote, or their nursery, to make their process. */
  private readonly births: SystrapContext[] = [];
  /** Contexts whose event is taken already and still to be told: those that have died, and who was heard while a birth was waited for. */
  private readonly untold: SystrapContext[] = [];
  /** First contexts of spaces that nobody has yet, and spaces whose descriptors are still to be closed. */
  private readonly spares: SystrapContext[] = [];
  private readonly gone: SystrapSpace[] = [];
  /** The last contexts of released processes that are still to be killed. */
  private readonly doomed: SystrapContext[] = [];
  /** Processes that wait for their first program. */
  private readonly ready: SystrapContext[] = [];
  private readonly patchCounts: PatchStatistics = noPatches();
  private readonly unknownDeaths: Map<number, number> = new Map();
  /** Guest threads that are, as far as we know, in guest code. */
  private running = 0;
  private stubSpin = -1;
  /** Of those, the ones that compute: they have had no event for a while. */
  private computing = 0;
  private spinMisses = 0;
  /** How many more times it is worth spinning for the host. */
  private hostSpins = 0;
  /** Where the stub slept that was let go on last, as CTX_CPU, and how often in a row that was our own processor. */
  private lastCpu = 0;
  private stacked = 0;
  private readonly spinLooks: number;
  private readonly stubLooks: number;
  private readonly crowdedLooks: number;
  /** Whose state word is looked at besides the ring, and who has had the last event: who has two in a row is worth it. */
  private watched: SystrapContext | null = null;
  private recent: SystrapContext | null = null;
  /** The one or the other is looked at first, in turn. */
  private ringFirst = false;
  /** Contexts with an event that was not announced. */
  private readonly missed: SystrapContext[] = [];
  /** For sample(). */
  private sinceSample = 0;
  private sampleTick = 0;
  private sampledMs = 0;
  /** Answered, but not let go on yet: its stub can wake a thread that is answered next. next() sees to it at the latest. */
  private due: SystrapContext | null = null;
  private readonly cpus: number = availableParallelism();
  private readonly ownNice: number = getPriority();
  /** When the host has last refused a process or thread; 0 for never. */
  private refusedMs = 0;
  private readonly hostEvent = new Int32Array(1);
  private readonly out = new Int32Array(3);
  private readonly word8 = new Uint8Array(8);

  /** Starts the first stub. Throws an Error that names what the host refused. */
  constructor(options: SystrapOptions) {
    this.region = new Region(createRegion(CONTEXT_SIZE * MAX_CONTEXTS));
    const ringFd = must('creating the ring', memfdCreate('ring'));
    must('sizing the ring', ftruncate(ringFd, RING_SIZE + CONF_SIZE));
    const shared = mapShared(ringFd, RING_SIZE + CONF_SIZE);
    if (typeof shared === 'number') throw new Error(`mapping the ring: ${errnoName(-shared)}`);
    this.ring = new Int32Array(shared, 0, RING_SIZE / 4);
    this.conf = new Int32Array(shared, RING_SIZE, CONF_SIZE / 4);
    this.futexWaiters = new Int32Array(shared, RING_SIZE + CONF_FUTEX_WAITERS, FUTEX_BUCKETS);
    const filter = stubFilter();
    new Uint8Array(shared, RING_SIZE + CONF_FILTER).set(filter);
    this.conf[CONF_FILTER_LENGTH >> 2] = filter.length / 8;
    this.conf[CONF_PATCH >> 2] = options.patchSyscalls ? 1 : 0;
    new Uint8Array(shared, RING_SIZE + CONF_PREFETCH).set(prefetchTable(options.calls));
    systrapAttach(shared);
    const lookNs = systrapLookNs();
    this.spinLooks = Math.ceil(SENTRY_SPIN_NS / lookNs);
    this.stubLooks = Math.ceil(STUB_SPIN_NS / lookNs);
    this.crowdedLooks = Math.ceil(CROWDED_SPIN_NS / lookNs);
    must('starting the notifier thread', startNotifier());

    must('making the first address space', systrapSpace(this.out));
    const memfd = this.out[0]!;
    const stubSocket = this.out[2]!;
    const space = new SystrapSpace(this, memfd, this.out[1]!);
    this.zygote = new SystrapContext(this.region, 0, space, space.nextSlot++);
    space.contexts.push(this.zygote);
    this.contexts[0] = this.zygote;
    must('mapping the first context', systrapMap(this.region.buffer, 0, memfd, 0));
    this.initPage(this.zygote, null);
    this.region.i32[CTX_STATE >> 2] = 0;
    this.zygote.held = false;
    const stubFd = openStub();
    const pid = must('starting the first stub', systrapStart(stubFd, stubSocket, memfd, ringFd));
    closeFd(stubFd);
    closeFd(stubSocket);
    closeFd(ringFd);
    space.hostPid = pid;
    this.zygote.hostTid = pid;
    this.zygote.verified = true;
    space.isVerified = true;
    this.zygote.batch = BATCH_REPORTS;
    this.spaces.set(pid, space);
    this.awaitZygote();
    this.fpStateSize = this.region.i32[CTX_DATA >> 2]!;
    this.vdsoAddr = this.region.load64(CTX_DATA + 8);
    for (const half of [0, 1]) this.conf[(CONF_VDSO_CLOCK >> 2) + half] = this.region.i32[(CTX_DATA + 16) / 4 + half]!;
    // The first program of the first container needs two, one before it is found and one to run.
    this.tidy();
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
    for (const c of this.contexts) if (c !== undefined) addCounts(this.patchCounts, c);
    return { ...this.patchCounts };
  }

  private awaitZygote(): void {
    for (let waitedNs = 0; Atomics.load(this.region.i32, CTX_STATE >> 2) !== 1; waitedNs += BIRTH_PAUSE_NS) {
      if (systrapReap(this.out) === this.zygote.hostTid) throw new Error(`the first stub has ended with status ${this.out[0]! >> 8}`);
      if (waitedNs > START_TIMEOUT_NS) throw new Error('the first stub does not answer');
      systrapPause(BIRTH_PAUSE_NS);
    }
    this.take(0);
  }

  // ---- births

  newAddressSpace(nursery: Context | null): Context | number {
    if (nursery !== null) return (nursery as SystrapContext).space.dead ? -ENOMEM : this.spawn(nursery as SystrapContext);
    for (let ready = this.ready.pop(); ready !== undefined; ready = this.ready.pop()) {
      if (!ready.space.dead) return ready;
      this.releaseSpace(ready.space);
    }
    return this.spawn(this.zygote);
  }

  newNursery(): Context | number {
    return this.spawn(this.zygote);
  }

  /** A child of the zygote or of a nursery, now or when that one has made those that were asked for before. */
  private spawn(maker: SystrapContext): SystrapContext | number {
    const child = this.newSpace(maker);
    if (typeof child === 'number') return child;
    if (maker.cloning === null) this.startClone(maker, child);
    else this.births.push(child);
    return child;
  }

  fork(parent: Context): Context | number {
    const from = parent as SystrapContext;
    if (from.space.dead) return -EAGAIN;
    const child = this.newSpace(from);
    if (typeof child === 'number') return child;
    child.space.patches = from.space.patches;
    child.nice = from.nice;
    return this.makeChild(from, child);
  }

  /** Lets `from` make the child: the child, or -errno when that has failed already. */
  private makeChild(from: SystrapContext, child: SystrapContext): SystrapContext | number {
    this.startClone(from, child);
    if (child.birthError === 0) return child;
    this.releaseContext(child);
    return child.birthError;
  }

  newThread(parent: Context): Context | number {
    const from = parent as SystrapContext;
    const space = from.space;
    if (space.dead) return -EAGAIN;
    const child = this.threadContext(space);
    if (typeof child === 'number') return child;
    this.initPage(child, from);
    this.region.i32[child.word + (CTX_ALIVE >> 2)] = 1;
    space.contexts.push(child);
    this.contexts[child.index] = child;
    child.nice = from.nice;
    return this.makeChild(from, child);
  }

  /** A context for one more thread: that of a thread that is gone, or a new one. */
  private threadContext(space: SystrapSpace): SystrapContext | number {
    const ended = space.ending[0];
    if (ended !== undefined && this.region.i32[ended.word + (CTX_ALIVE >> 2)] === 0) {
      space.ending.shift();
      const context = new SystrapContext(this.region, ended.index, space, ended.slot);
      context.published = true;
      return context;
    }
    if (space.nextSlot >= MAX_SLOTS) return -EAGAIN;
    const index = this.newIndex();
    if (index < 0) return index;
    const slot = space.nextSlot++;
    const mapped = systrapMap(this.region.buffer, index, space.memfd, slot);
    if (mapped < 0) {
      this.freeIndexes.push(index);
      return mapped;
    }
    return new SystrapContext(this.region, index, space, slot);
  }

  /** The first context of a process that `maker` will make: in the same slot, since it stands on a copy of the same stacks. */
  private newSpace(maker: SystrapContext): SystrapContext | number {
    const spare = maker.slot === 0 ? this.spares.pop() : undefined;
    const child = spare ?? this.makeSpace(maker.slot);
    if (typeof child === 'number') return child;
    const { space } = child;
    // Slots below the first one stay unused: a process whose first thread was forked by a late one is rare.
    space.nextSlot = maker.slot + 1;
    space.maker = maker;
    this.initPage(child, maker);
    this.contexts[child.index] = child;
    return child;
  }

  /** Memory and socket of a process to be, and its first context. */
  private makeSpace(slot: number): SystrapContext | number {
    const index = this.newIndex();
    if (index < 0) return index;
    const made = systrapSpace(this.out);
    if (made < 0) {
      this.freeIndexes.push(index);
      return made;
    }
    const space = new SystrapSpace(this, this.out[0]!, this.out[1]!);
    space.stubSocket = this.out[2]!;
    const mapped = systrapMap(this.region.buffer, index, space.memfd, slot);
    if (mapped < 0) {
      this.closeSpace(space);
      this.freeIndexes.push(index);
      return mapped;
    }
    const context = new SystrapContext(this.region, index, space, slot);
    space.contexts.push(context);
    return context;
  }

  /** What can be done while nothing else is: a spare space for the next fork, and the ends of what is gone. False when there was nothing. */
  private tidy(): boolean {
    if (this.endDoomed()) return true;
    const gone = this.gone.pop();
    if (gone !== undefined) {
      this.closeSpace(gone);
      return true;
    }
    if (this.ready.length < READY && this.zygote.cloning === null && !this.zygote.space.dead && !this.wasRefused()) {
      const ready = this.spawn(this.zygote);
      if (typeof ready === 'number') return false;
      this.ready.push(ready);
      return true;
    }
    if (this.spares.length >= SPARES) return false;
    const spare = this.makeSpace(0);
    if (typeof spare === 'number') return false;
    // The first store costs a page: now, not when the fork is waited for.
    this.region.i32[spare.word] = 1;
    this.spares.push(spare);
    return true;
  }

  /** The host has no room for more: what there is, is for those who ask. */
  private wasRefused(): boolean {
    return this.refusedMs !== 0 && performance.now() - this.refusedMs < REFUSED_MS;
  }

  private hasToTidy(): boolean {
    return this.doomed.length > 0 || this.gone.length > 0 || this.ready.length < READY || this.spares.length < SPARES;
  }

  private newIndex(): number {
    const free = this.freeIndexes.pop();
    if (free !== undefined) return free;
    return this.nextIndex >= MAX_CONTEXTS ? -ENOMEM : this.nextIndex++;
  }

  private initPage(c: SystrapContext, parent: SystrapContext | null): void {
    const { region, base, word } = c;
    region.u8.fill(0, base, base + CTX_CALLS);
    c.withdrawAnswers();
    region.i32[word + (CTX_STATE >> 2)] = 1;
    region.i32[word + (CTX_INDEX >> 2)] = c.index;
    region.store64(base + CTX_SELF, WINDOW + c.slot * CONTEXT_SIZE);
    region.store64(base + CTX_STUB_STACK, STACKS + c.slot * STACK_SIZE + STUB_STACK_SIZE);
    // So few bytes are never cut: getrandom(2).
    if (getRandom(c.nonce, 0, 8) !== 8) throw new Error('the host gives no random bytes');
    region.u8.set(c.nonce, base + CTX_NONCE);
    if (parent === null) {
      c.setReg(CS, USER_CS);
      c.setReg(SS, USER_SS);
      c.setReg(EFLAGS, INITIAL_EFLAGS);
      return;
    }
    region.u8.copyWithin(base + CTX_REGS, parent.base + CTX_REGS, parent.base + CTX_REGS + CTX_REGS_SIZE);
    // A thread starts with the stub's gs base.
    if (c.space === parent.space && c.reg(GS_BASE) !== 0) region.i32[word + (CTX_DIRTY >> 2)] = DIRTY_GS;
    const dirty = region.i32[parent.word + (CTX_DIRTY >> 2)]!;
    if (dirty !== 0) region.i32[word + (CTX_DIRTY >> 2)]! |= dirty & (DIRTY_FS | DIRTY_GS);
  }

  /** Has parent's stub make `child`, now or when its address space is free for it. */
  private startClone(parent: SystrapContext, child: SystrapContext): void {
    parent.cloning = child;
    if (this.isFree(parent)) this.sendClone(parent);
    else parent.space.waiting.push(parent);
  }

  private sendClone(parent: SystrapContext): void {
    const child = parent.cloning!;
    parent.space.busy = parent;
    if (child.space === parent.space) {
      this.region.i32[parent.word + (CTX_CLONE_SLOT >> 2)] = child.slot;
      this.go(parent, ACTION_THREAD);
      return;
    }
    if (child.space.released) {
      this.cloned(parent, -ESRCH);
      return;
    }
    const sent = systrapSend(parent.space.socket, child.space.stubSocket, child.space.memfd);
    closeFd(child.space.stubSocket);
    child.space.stubSocket = -1;
    if (sent < 0) this.cloned(parent, sent);
    else this.go(parent, ACTION_FORK);
  }

  /** The stub of `parent` has answered: the host's number of the child, or -errno. */
  private cloned(parent: SystrapContext, result: number): void {
    const child = parent.cloning!;
    const space = child.space;
    parent.cloning = null;
    if (parent.space.busy === parent) parent.space.busy = null;
    const isProcess = space !== parent.space;
    if (isProcess) space.maker = null;
    if (result <= 0 || (isProcess && !this.isFreePid(child, result))) {
      debug(`a stub could not be cloned: ${result}`);
      this.refusedMs = performance.now();
      // Those that are as good as gone count, and the next try is to find their room.
      while (this.endDoomed());
      child.birthError = result < 0 && result >= MIN_ERRNO ? result : -EAGAIN;
      // The call that was to make it fails, if its answer still waits here.
      if (parent.deferred === ACTION_RAX) this.region.store64(parent.base + CTX_RESULT, child.birthError);
      if (isProcess) {
        this.spaceDied(space, SIGKILL);
      } else {
        this.region.i32[child.word + (CTX_ALIVE >> 2)] = 0;
        this.contextDied(child, SIGKILL);
      }
    } else {
      child.hostTid = result;
      if (!child.held) this.setInGuest(child, true);
      if (isProcess) this.processBorn(child, result);
      // A process has its page only when it has run for a while; its first event is early enough.
      if (!isProcess && !space.dead && !child.verified) this.hasPage(child);
      if (child.kickWanted) this.kick(child);
      if (child.affinity !== null) this.setAffinity(child, child.affinity);
      if (child.nice !== parent.nice) this.applyNice(child);
    }
    if (isProcess && space.released) this.closeSpace(space);
    this.proceed(parent);
    if (this.births.length > 0 && parent.cloning === null) {
      const at = this.births.findIndex((birth) => birth.space.maker === parent);
      if (at >= 0) this.startClone(parent, this.births.splice(at, 1)[0]!);
    }
    this.flush(parent.space);
  }

  /** Whether a child may be of this number: no other process is, or only one whose maker has made its number up. */
  private isFreePid(child: SystrapContext, pid: number): boolean {
    const other = this.spaces.get(pid);
    if (other === undefined) return true;
    if (other.isVerified || this.isOwn(other)) return false;
    child.hostTid = pid;
    if (!this.verify(child)) return false;
    debug(`process ${pid} is not what its maker said it was`);
    this.spaceDied(other, SIGKILL);
    this.spaces.delete(pid);
    return true;
  }

  private processBorn(child: SystrapContext, pid: number): void {
    const space = child.space;
    space.hostPid = pid;
    this.spaces.set(pid, space);
    const status = this.unknownDeaths.get(pid);
    if (status !== undefined) this.unknownDeaths.delete(pid);
    // An old death is that of another process, which had the number before and of which nobody has told: numbers come back
    // after some thousand forks. Whether this one has mapped its page already says nothing, it may not have run yet.
    if (status !== undefined && !systrapIsThread(pid, pid)) {
      this.spaces.delete(pid);
      this.spaceDied(space, status);
    } else if (space.released) {
      this.kill(space, child);
    }
  }

  /** The thread does what came for it while its stub was busy with a clone. */
  private proceed(c: SystrapContext): void {
    const action = c.deferred;
    c.deferred = 0;
    if (action === 0 || c.space.dead) return;
    if (action === ACTION_BATCH) {
      this.startBatch(c);
      return;
    }
    if (action === ACTION_EXIT) {
      this.exitThread(c);
      return;
    }
    if (action === ACTION_RAX && c.isAtSite) this.orderPatch(c);
    this.go(c, action);
  }

  // ---- ends

  releaseContext(context: Context): void {
    const c = context as SystrapContext;
    const space = c.space;
    const at = space.contexts.indexOf(c);
    if (at < 0) return;
    if (this.due === c) this.releaseDue();
    c.endCall();
    if (space.contexts.length === 1) {
      this.releaseSpace(space);
      return;
    }
    space.contexts.splice(at, 1);
    this.dropFds(c);
    if (space.dead) {
      this.contexts[c.index] = undefined;
      this.freeIndex(c.index);
      return;
    }
    const waits = space.waiting.indexOf(c);
    if (waits >= 0 && c.cloning === null) space.waiting.splice(waits, 1);
    if (c.cloning === null && c.held) {
      this.exitThread(c);
      return;
    }
    space.leaving.push(c);
    c.exitWanted = true;
    if (c.cloning !== null) c.deferred = ACTION_EXIT;
    else this.kick(c);
  }

  private exitThread(c: SystrapContext): void {
    addCounts(this.patchCounts, c);
    const space = c.space;
    if (this.watched === c) this.watched = null;
    if (this.recent === c) this.recent = null;
    this.contexts[c.index] = undefined;
    space.ending.push(c);
    const at = space.leaving.indexOf(c);
    if (at >= 0) space.leaving.splice(at, 1);
    if (space.busy === c) space.busy = null;
    this.go(c, ACTION_EXIT);
    this.setInGuest(c, false);
    this.flush(space);
  }

  releaseSpace(of: AddressSpace): void {
    const space = of as SystrapSpace;
    if (space.released) return;
    if (this.due !== null && this.due.space === space) this.releaseDue();
    space.released = true;
    if (!space.dead && space.hostPid !== 0) this.end(space);
    for (const c of space.contexts) this.forget(c);
    for (const c of space.leaving) this.forget(c);
    for (const c of space.ending) this.freeIndex(c.index);
    space.contexts.length = 0;
    space.leaving.length = 0;
    space.ending.length = 0;
    space.waiting.length = 0;
    if (space.maker === null) this.gone.push(space);
    if (this.gone.length > MAX_GONE) this.closeSpace(this.gone.pop()!);
  }

  killSpace(of: AddressSpace): void {
    const space = of as SystrapSpace;
    if (space.dead || space.released) return;
    debug(`stub process ${space.hostPid} does not come back and is killed`);
    if (space.hostPid !== 0) this.kill(space, space.contexts[0]!);
    this.spaceDied(space, SIGKILL);
  }

  /**
   * A process whose only thread waits for us does nothing any more, and giving back its memory takes the host long, on our own
   * processor: that is for an idle moment, when who has waited for its end goes on already.
   */
  private end(space: SystrapSpace): void {
    const last = space.contexts[0]!;
    const isStill = space.contexts.length === 1 && space.ending.length === 0 && last.held;
    if (isStill && this.doomed.length < MAX_DOOMED) this.doomed.push(last);
    else this.kill(space, last);
  }

  /** False when there was none. */
  private endDoomed(): boolean {
    const c = this.doomed.pop();
    if (c === undefined) return false;
    // One that has ended by itself may have left its number to another.
    if (this.spaces.get(c.space.hostPid) === c.space) this.kill(c.space, c);
    return true;
  }

  private forget(c: SystrapContext): void {
    addCounts(this.patchCounts, c);
    if (this.watched === c) this.watched = null;
    if (this.recent === c) this.recent = null;
    this.setInGuest(c, false);
    this.endClone(c);
    this.dropFds(c);
    this.contexts[c.index] = undefined;
    this.freeIndex(c.index);
  }

  /** Its maker ends before it has told of the birth: nobody will ever know the child's number, so it is to end by itself. */
  private orphaned(child: SystrapContext): void {
    if (child.space.released) {
      // Its page may be another's by now: what of it has been made stays where it is until the sandbox ends.
      child.space.maker = null;
      this.closeSpace(child.space);
      return;
    }
    const { i32 } = this.region;
    i32[child.word + (CTX_ACTION >> 2)] = ACTION_EXIT;
    Atomics.store(i32, child.word + (CTX_STATE >> 2), 0);
    systrapWake(this.region.buffer, child.base + CTX_STATE);
    child.space.maker = null;
    this.spaceDied(child.space, SIGKILL);
  }

  private freeIndex(index: number): void {
    this.freeIndexes.push(index);
    if (this.freeIndexes.length > KEPT_MAPPINGS) systrapUnmap(this.region.buffer, index);
  }

  private closeSpace(space: SystrapSpace): void {
    closeFd(space.memfd);
    closeFd(space.socket);
    if (space.stubSocket >= 0) closeFd(space.stubSocket);
  }

  /** Ends the process, if it is the one that its maker has named: what a tampering stub has made of itself dies with the sandbox at the latest. */
  private kill(space: SystrapSpace, of: SystrapContext): void {
    if (space.isVerified || (of.hostTid === space.hostPid && this.verify(of))) systrapKill(space.hostPid, SIGKILL);
  }

  private dropFds(c: SystrapContext): void {
    for (const fd of c.fds) closeFd(fd);
    c.fds.length = 0;
  }

  private contextDied(c: SystrapContext, status: number): void {
    this.region.i32[c.word + (CTX_WAIT_STATUS >> 2)] = status;
    this.setInGuest(c, false);
    c.held = true;
    c.taken = EVENT_DIED;
    this.untold.push(c);
  }

  private spaceDied(space: SystrapSpace, status: number): void {
    if (space.dead) return;
    debug(`stub process ${space.hostPid} has ended with wait status ${status}`);
    space.dead = true;
    space.busy = null;
    space.waiting.length = 0;
    for (const c of space.leaving) this.endClone(c);
    for (const c of space.contexts) {
      this.endClone(c);
      this.contextDied(c, status);
    }
  }

  /** Nobody will tell any more whether c's stub has made the child. */
  private endClone(c: SystrapContext): void {
    const child = c.cloning;
    c.cloning = null;
    c.deferred = 0;
    if (child !== null && child.space !== c.space) this.orphaned(child);
  }

  /** A stub that says what cannot be: its process ends. */
  private tampering(c: SystrapContext, what: string): void {
    debug(`context ${c.index}: ${what}`);
    const space = c.space;
    if (space.hostPid !== 0) this.kill(space, c);
    this.spaceDied(space, SIGKILL);
  }

  private reap(): void {
    for (;;) {
      const pid = systrapReap(this.out);
      if (pid <= 0) return;
      const space = this.spaces.get(pid);
      if (space === undefined) {
        // The oldest is given up: stubs that were made behind our back die unknown too.
        if (this.unknownDeaths.size >= MAX_UNKNOWN_DEATHS) this.unknownDeaths.delete(this.unknownDeaths.keys().next().value!);
        this.unknownDeaths.set(pid, this.out[0]!);
        continue;
      }
      this.spaces.delete(pid);
      if (!space.released) this.spaceDied(space, this.out[0]!);
    }
  }

  // ---- memory

  /** A thread of the space whose memory can be reached, waiting for its birth if need be; 0 for none. */
  memoryTid(space: SystrapSpace): number {
    if (space.dead) return 0;
    if (space.hostPid === 0 && !this.awaitBirth(space)) return 0;
    for (const c of space.contexts) {
      if (!c.verified && !this.verify(c)) continue;
      // The process's own number is its own until we reap it. That of another thread, which may have ended behind our back, could
      // be another process's by now.
      if (c.hostTid === space.hostPid || systrapIsThread(space.hostPid, c.hostTid)) return c.hostTid;
    }
    return 0;
  }

  private awaitBirth(space: SystrapSpace): boolean {
    for (let waitedNs = 0; space.hostPid === 0 && !space.dead; waitedNs += BIRTH_PAUSE_NS) {
      const maker = space.maker;
      if (maker === null || waitedNs > BIRTH_TIMEOUT_NS) return false;
      this.releaseDue();
      this.flush(maker.space);
      const { busy } = maker.space;
      if (this.hasEvent(maker)) this.take(maker.index);
      // The maker waits for this one, which waits for us.
      else if (busy !== null && busy !== maker && this.hasEvent(busy)) {
        if (this.take(busy.index)) this.untold.push(busy);
      } else systrapPause(BIRTH_PAUSE_NS);
    }
    return !space.dead;
  }

  private hasEvent(c: SystrapContext): boolean {
    return !c.held && Atomics.load(this.region.i32, c.word + (CTX_STATE >> 2)) === 1;
  }

  /**
   * Whether the host thread that a stub has claimed to be is one of this address space: it has this
   * context's page in its memory. Asked as early as it can be answered, since the guest may change the
   * page later. Until the thread has been heard of it may still have to map the page.
   */
  private verify(c: SystrapContext): boolean {
    if (c.verified) return true;
    if (c.hostTid === 0) return false;
    for (let waitedNs = 0; ; waitedNs += BIRTH_PAUSE_NS) {
      if (this.hasPage(c)) return true;
      if (c.isHeardOf || waitedNs >= VERIFY_TIMEOUT_NS || c.space.dead) return false;
      systrapPause(BIRTH_PAUSE_NS);
    }
  }

  /** Whether hostPid is this space's process beyond doubt by now. */
  private isOwn(space: SystrapSpace): boolean {
    for (const c of space.contexts) if (c.hostTid === space.hostPid && this.hasPage(c)) return true;
    return false;
  }

  private hasPage(c: SystrapContext): boolean {
    const { word8 } = this;
    const addr = WINDOW + c.slot * CONTEXT_SIZE + CTX_NONCE;
    c.verified = vmRead(c.hostTid, addr, word8, 0, 8) === 8 && equal(word8, c.nonce);
    if (c.verified && c.hostTid === c.space.hostPid) c.space.isVerified = true;
    return c.verified;
  }

  // ---- turns

  /** It is the stub's turn. */
  private go(c: SystrapContext, action: number): void {
    const { i32 } = this.region;
    i32[c.word + (CTX_ACTION >> 2)] = action;
    c.held = false;
    c.letGo();
    // One that is not born yet takes nobody's processor.
    if (c.hostTid !== 0) this.setInGuest(c, action !== ACTION_EXIT);
    if (c.isParked) {
      c.isParked = false;
      i32[c.word + (CTX_PARKED >> 2)] = 0;
    }
    const { due } = this;
    const isAsleep = Atomics.load(i32, c.word + (CTX_SLEEPING >> 2)) !== 0;
    if (due !== null) {
      this.due = null;
      if (isAsleep && due.space === c.space) {
        i32[due.word + (CTX_WAKE_SLOT >> 2)] = c.slot + 1;
        Atomics.store(i32, c.word + (CTX_STATE >> 2), 0);
        this.release(due);
        return;
      }
      this.release(due);
    }
    if (action === ACTION_RAX && !isAsleep) this.due = c;
    else this.release(c);
  }

  /** The stub finds the answer, or is woken to do so. */
  private release(c: SystrapContext): void {
    const { i32 } = this.region;
    Atomics.store(i32, c.word + (CTX_STATE >> 2), 0);
    this.lastCpu = 0;
    if (Atomics.load(i32, c.word + (CTX_SLEEPING >> 2)) === 0) return;
    this.lastCpu = i32[c.word + (CTX_CPU >> 2)]!;
    systrapWake(this.region.buffer, c.base + CTX_STATE);
  }

  private releaseDue(): void {
    const { due } = this;
    if (due === null) return;
    this.due = null;
    this.release(due);
  }

  /** A call that is not answered yet will not be soon: its stub need not look for the answer, unless there are processors to spare. */
  parked(c: SystrapContext): void {
    if (this.running > 0 && this.running + 2 <= this.cpus) return;
    c.isParked = true;
    this.region.i32[c.word + (CTX_PARKED >> 2)] = 1;
  }

  /** Counts the threads that compute. */
  private sample(): void {
    this.sinceSample = 0;
    const nowMs = performance.now();
    if (nowMs - this.sampledMs < COMPUTING_MS) return;
    this.sampledMs = nowMs;
    let computing = 0;
    if (this.running > 0) {
      for (let index = 0; index < this.nextIndex; index++) {
        const c = this.contexts[index];
        if (c?.inGuest && c.eventTick < this.sampleTick) computing++;
      }
    }
    this.sampleTick++;
    this.computing = computing;
    this.publishSpin();
  }

  /** Looks at c's state word from now on: its stub stores no announcement, which costs it and us four cache lines. c is ours. */
  private watchState(c: SystrapContext): void {
    this.unwatchState();
    this.watched = c;
    this.region.i32[c.word + (CTX_WATCHED >> 2)] = 1;
  }

  /** Its stub rings again, unless it has just posted something. */
  private unwatchState(): void {
    const c = this.watched;
    if (c === null) return;
    this.watched = null;
    const { i32 } = this.region;
    Atomics.store(i32, c.word + (CTX_WATCHED >> 2), 0);
    if (!c.held && i32[c.word + (CTX_STATE >> 2)] === 1) this.missed.push(c);
  }

  private hasWatchedEvent(): boolean {
    const c = this.watched;
    return c !== null && !c.held && this.region.i32[c.word + (CTX_STATE >> 2)] === 1;
  }

  /** The next event: an index, NEXT_HOST, NOTHING, or EMPTY. */
  private look(): number {
    if (this.missed.length > 0) {
      const { index } = this.missed.pop()!;
      return this.take(index) ? index : NOTHING;
    }
    const first = this.ringFirst;
    this.ringFirst = !first;
    if (first) {
      const found = this.poll();
      if (found !== EMPTY) return found;
    }
    if (this.hasWatchedEvent()) {
      const { index } = this.watched!;
      return this.take(index) ? index : NOTHING;
    }
    return first ? EMPTY : this.poll();
  }

  /** Looks out for an event before the loop sleeps: true when there is one. Spinning adapts to how often it succeeds. */
  private spin(): boolean {
    this.sinceSample += SLEEP_WEIGHT;
    if (this.sinceSample >= EVENTS_PER_SAMPLE) this.sample();
    // The thread that is to make a call needs a processor as well.
    if (this.running === 0) return this.spinForHost();
    if (this.computing + 2 > this.cpus) return false;
    // The scheduler may leave both sides of a conversation on one processor for a long time: they keep taking turns on it.
    if (this.lastCpu !== 0 && this.lastCpu === this.ring[RING_SENTRY_CPU]) {
      if (++this.stacked <= STACKED_ALLOWED) return false;
      this.stacked = STACKED_AGAIN;
      // Its caller has been woken, and is not to find us asleep: who is woken is put beside who wakes.
      systrapLeaveCpu();
      this.spinMisses = 0;
    }
    const misses = this.spinMisses;
    if (misses < MISSES_ALLOWED || (misses & PROBE_MASK) === 0) {
      const watched = this.watched !== null && !this.watched.held ? this.watched.base + CTX_STATE : 0;
      for (let looks = SENTRY_LOOKS; looks > 0; looks--) {
        const isQuiet = Atomics.load(this.ring, RING_HEAD) === this.tail;
        if (isQuiet && (watched === 0 || Atomics.load(this.region.i32, watched >> 2) !== 1)) continue;
        this.spinMisses = 0;
        return true;
      }
      // Longer only on a processor that no guest thread waits for.
      if (this.running >= this.cpus) return false;
      const news = systrapSpin(this.tail, this.spinLooks, this.region.buffer, watched);
      if (news !== 0) {
        this.spinMisses = 0;
        if (news === SPIN_HOST) this.isBellDue = true;
        return true;
      }
    }
    this.spinMisses = (misses + 1) & 0xffff;
    return false;
  }

  /** The same for what the host has to tell, when no guest runs: a peer that has just been answered often asks again at once. */
  private spinForHost(): boolean {
    if (this.hostSpins === 0) return false;
    if (systrapSpin(this.tail, this.crowdedLooks * HOST_SPIN_FACTOR, this.region.buffer, 0) === 0) {
      this.hostSpins--;
      return false;
    }
    this.hostSpins = HOST_SPINS;
    this.isBellDue = true;
    return true;
  }

  /** No guest runs, and none is about to be born or to end: all wait for an answer of ours. */
  private holdsAll(): boolean {
    if (this.running > 0) return false;
    for (let index = 0; index < this.nextIndex; index++) {
      const c = this.contexts[index];
      if (c !== undefined && !c.held) return false;
    }
    return true;
  }

  private setInGuest(c: SystrapContext, inGuest: boolean): void {
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

  /** Takes the event of a context whose turn it was; true when the kernel is to hear of it. */
  private take(index: number): boolean {
    const c = this.contexts[index];
    if (c === undefined) return false;
    const { i32 } = this.region;
    if (c.held || i32[c.word + (CTX_STATE >> 2)] !== 1) {
      // An acknowledged batch is announced without an event.
      if (c.space.waiting.length > 0) this.flush(c.space);
      return false;
    }
    const event = i32[c.word + (CTX_EVENT >> 2)]!;
    c.held = true;
    c.taken = event;
    if (c === this.recent) {
      if (c !== this.watched) this.watchState(c);
    } else {
      this.recent = c;
    }
    // Clones and batches are parts of the call that came from there.
    if (event !== EVENT_CLONED && event !== EVENT_BATCH) c.isAtSite = false;
    c.eventTick = this.sampleTick;
    if (!c.isHeardOf) this.heardOf(c);
    this.setInGuest(c, false);
    const { space, batch } = c;
    if (c.cloning !== null) {
      if (event !== EVENT_CLONED) {
        this.tampering(c, `event ${event} in place of a clone's end`);
        return false;
      }
      this.cloned(c, i32[c.word + (CTX_CLONE_RESULT >> 2)]!);
      return false;
    }
    if (space.busy === c) space.busy = null;
    c.batch = BATCH_NONE;
    if (space.waiting.length > 0) this.flush(space);
    if (c.exitWanted) {
      this.exitThread(c);
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
        if (c.isAtSite) this.patchCounts.offered++;
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
    this.tampering(c, `event ${event} out of turn`);
    return false;
  }

  /** The first event of a thread: from now on its page is where it belongs, or never will be. */
  private heardOf(c: SystrapContext): void {
    if (c.hostTid !== 0 && !c.verified) this.hasPage(c);
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
    while (this.endDoomed());
    this.reap();
    return systrapHostPending() ? NEXT_HOST : NOTHING;
  }

  private bellDue(): number {
    this.isBellDue = false;
    return this.bell();
  }

  /** Looks for an event that was not announced. */
  private scan(): number {
    for (let index = 0; index < this.nextIndex; index++) {
      const c = this.contexts[index];
      if (c === undefined || c.held || Atomics.load(this.region.i32, c.word + (CTX_STATE >> 2)) !== 1) continue;
      if (this.take(index)) return index;
    }
    return NOTHING;
  }

  next(deadlineNs: number): number {
    if (++this.sinceSample >= EVENTS_PER_SAMPLE) this.sample();
    let hasYielded = false;
    for (;;) {
      // Also what the last turn of this loop has answered: until then the state word has its event of before.
      this.releaseDue();
      if (this.untold.length > 0) {
        const untold = this.untold.shift()!;
        if (this.contexts[untold.index] === untold) return untold.index;
        continue;
      }
      let found = this.isBellDue ? this.bellDue() : this.look();
      if (found === EMPTY) {
        if (this.spin()) continue;
        // Before the last look: who posts after it rings.
        this.unwatchState();
        found = this.scan();
        if (found === NOTHING && this.running > 0 && !hasYielded && this.hasToTidy()) {
          // A guest thread may be waiting for this very processor.
          hasYielded = true;
          systrapYield();
          continue;
        }
        if (found === NOTHING && this.tidy()) continue;
        if (found === NOTHING) found = this.bell();
        if (
          found === NOTHING &&
          this.untold.length === 0 &&
          systrapSleep(this.tail, deadlineNs, this.running > 0 ? LONGEST_SLEEP_NS : Number.POSITIVE_INFINITY, this.holdsAll()) === 1
        )
          return NEXT_TIMEOUT;
      }
      if (found === NOTHING && ++this.nothings >= LONGEST_NOTHING) {
        this.nothings = 0;
        found = this.bell();
        if (found === NOTHING && this.untold.length === 0 && systrapSleep(this.tail, deadlineNs, 0, false) === 1) return NEXT_TIMEOUT;
      } else if (found >= 0 && --this.untilBell === 0) {
        this.untilBell = LONGEST_RUN;
        // The event is taken: what the host has to tell is asked for before the next one.
        this.isBellDue = true;
      }
      if (found >= 0 || found === NEXT_HOST) return found;
    }
  }

  contextAt(index: number): Context {
    return this.contexts[index]!;
  }

  answer(context: Context, result: number): void {
    const c = context as SystrapContext;
    this.region.store64(c.base + CTX_RESULT, result);
    if (c.isAtSite && c.cloning === null) this.orderPatch(c);
    this.proceedWith(c, ACTION_RAX);
  }

  run(context: Context): void {
    this.proceedWith(context as SystrapContext, ACTION_FULL);
  }

  /** The stub would patch the site of this call: it may if the code is the guest's own and nobody else changes the address space now. */
  private orderPatch(c: SystrapContext): void {
    if (!this.isFree(c)) {
      this.patchCounts.busy++;
      return;
    }
    if (!this.allowPatch(c)) return;
    c.batch = BATCH_PATCH;
    this.beginChange(c);
  }

  /** Tells the stub how the site is to be left, if it may be patched as the mappings are now, or after the batch that comes first. */
  private allowPatch(c: SystrapContext): boolean {
    c.isAtSite = false;
    const rip = this.region.load64(c.base + CTX_PATCH_SITE);
    const { space } = c;
    const { mappings } = space;
    if (mappings === null) return false;
    // The jump takes up to 7 bytes before or 6 bytes behind this address, maybe on two pages.
    const prot = mappings.patchableProt(rip - BEFORE);
    if (prot < 0 || mappings.patchableProt(rip - BEFORE + AROUND - 1) !== prot) {
      this.patchCounts.notPatchable++;
      return false;
    }
    const original = new Uint8Array(AROUND);
    if (vmRead(c.hostTid, rip - BEFORE, original, 0, AROUND) !== AROUND) return false;
    space.patches = new Patch(rip, original, space.patches);
    const isAlone = space.contexts.length === 1 && space.ending.length === 0;
    this.region.i32[c.word + (CTX_PATCH_PROT >> 2)] = prot | (isAlone ? PATCH_ALONE : 0);
    this.region.store64(c.base + CTX_PATCH_SITE, rip);
    return true;
  }

  /** From now on `c` changes its address space, until it acknowledges that. */
  private beginChange(c: SystrapContext): void {
    const { i32 } = this.region;
    c.batchSeq = (c.batchSeq + 1) | 0;
    i32[c.word + (CTX_BATCH_SEQ >> 2)] = c.batchSeq;
    i32[c.word + (CTX_DONE_WAITER >> 2)] = 0;
    c.space.busy = c;
  }

  private proceedWith(c: SystrapContext, action: number): void {
    if (c.space.dead) return;
    if (c.cloning !== null) c.deferred = action;
    else this.go(c, action);
  }

  // ---- host calls

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
    else this.startBatch(c);
  }

  private startBatch(c: SystrapContext): void {
    if (this.isFree(c)) this.sendBatch(c);
    else c.space.waiting.push(c);
  }

  private sendBatch(c: SystrapContext): void {
    const space = c.space;
    for (const fd of c.fds) {
      const sent = systrapSend(space.socket, fd, -1);
      if (sent < 0) debug(`sending a descriptor to a stub: ${errnoName(-sent)}`);
    }
    if (c.fds.length > 0) this.dropFds(c);
    // A batch that does not return to the guest is followed by an answer.
    if (c.isAtSite && c.batch === BATCH_TAIL) this.allowPatch(c);
    this.beginChange(c);
    this.go(c, ACTION_BATCH);
  }

  /** Whether `c` may change its address space now; otherwise whoever does so will ring when it is done. */
  private isFree(c: SystrapContext): boolean {
    const { busy, waiting } = c.space;
    if (busy === null) return waiting.length === 0 || waiting[0] === c;
    if (busy === c) return true;
    if (busy.cloning !== null || (busy.batch !== BATCH_TAIL && busy.batch !== BATCH_PATCH)) return false;
    const { i32 } = this.region;
    if (Atomics.load(i32, busy.word + (CTX_DONE_SEQ >> 2)) !== busy.batchSeq) {
      Atomics.store(i32, busy.word + (CTX_DONE_WAITER >> 2), 1);
      if (Atomics.load(i32, busy.word + (CTX_DONE_SEQ >> 2)) !== busy.batchSeq) return false;
    }
    c.space.busy = null;
    return waiting.length === 0 || waiting[0] === c;
  }

  /** Lets go on who waits for its address space. */
  private flush(space: SystrapSpace): void {
    const { waiting } = space;
    while (waiting.length > 0) {
      const c = waiting[0]!;
      if (!this.isFree(c)) return;
      waiting.shift();
      if (c.cloning !== null) this.sendClone(c);
      else this.sendBatch(c);
    }
  }

  kick(context: Context): void {
    const c = context as SystrapContext;
    if (c.space.dead) return;
    if (c.hostTid === 0 || !c.space.isVerified) {
      // Looked at before the thread enters the guest for the first time; if it is just doing so, the signal comes with its number.
      c.kickWanted = true;
      this.region.i32[c.word + (CTX_KICKED >> 2)] = 1;
      // A number that a stub has made up, ours even, must not get a signal.
      if (c.hostTid === 0 || !this.isOwn(c.space)) return;
    }
    c.kickWanted = false;
    systrapKick(c.space.hostPid, c.hostTid);
  }

  // ---- host descriptors

  // ---- extended state

  readXstate(context: Context, dst: Uint8Array): number {
    const c = context as SystrapContext;
    const size = this.fpStateSize - FP_MAGIC2_SIZE;
    if (size > dst.length) return -EINVAL;
    if (!this.showXstate(c)) return -ESRCH;
    const at = c.base + CTX_DATA;
    dst.set(this.region.u8.subarray(at, at + size));
    // A frame has the features among its own words, the register set has them first: fx_sw_bytes, xstate_regs.
    dst.fill(0, XSTATE_SW, XSTATE_SW + XSTATE_SW_SIZE);
    for (let i = 0; i < 8; i++) dst[XSTATE_SW + i] = this.region.u8[at + FRAME_FEATURES + i]!;
    return size;
  }

  writeXstate(context: Context, src: Uint8Array, n: number): number {
    const c = context as SystrapContext;
    const size = this.fpStateSize - FP_MAGIC2_SIZE;
    if (n !== size) return -EINVAL;
    // The last 16 bits of mxcsr, and all of the header but its first word, are reserved.
    if (src[MXCSR + 2] !== 0 || src[MXCSR + 3] !== 0) return -EINVAL;
    if (size > XSTATE_HEADER) for (let i = 8; i < XSTATE_HEADER_SIZE; i++) if (src[XSTATE_HEADER + i] !== 0) return -EINVAL;
    // What the stub still has to copy out of the data area goes first.
    if (!this.showXstate(c)) return -ESRCH;
    const { u8, i32 } = this.region;
    const at = c.base + CTX_DATA;
    for (let i = 0; i < size; i++) if (i < XSTATE_SW || i >= XSTATE_SW + XSTATE_SW_SIZE) u8[at + i] = src[i]!;
    if (size > XSTATE_HEADER) {
      i32[(at + XSTATE_SW) >> 2] = FP_MAGIC1;
      i32[(at + XSTATE_SW + 4) >> 2] = this.fpStateSize;
      i32[(at + XSTATE_SW + 16) >> 2] = size;
      i32[(at + size) >> 2] = FP_MAGIC2;
    }
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
    this.go(c, action);
    this.releaseDue();
    for (let looks = HELD_LOOKS; looks > 0 && Atomics.load(this.region.i32, c.word + (CTX_STATE >> 2)) !== 1; looks--);
    for (let waitedNs = 0; Atomics.load(this.region.i32, c.word + (CTX_STATE >> 2)) !== 1; waitedNs += BIRTH_PAUSE_NS) {
      if (c.space.dead) return false;
      if (waitedNs > HELD_TIMEOUT_NS) {
        // Whatever it answers later would be taken for the end of something else.
        this.tampering(c, `no answer to action ${action}`);
        return false;
      }
      systrapPause(BIRTH_PAUSE_NS);
    }
    c.held = true;
    this.setInGuest(c, false);
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
    return this.memoryTid(c.space) !== 0 && this.verify(c) ? systrapDebug(c.hostTid, n, 0, 0) : -ESRCH;
  }

  userShare(context: Context): number {
    return userShare(context.space.hostPid);
  }

  writeDebug(context: Context, n: number, value: number): number {
    const c = context as SystrapContext;
    return this.memoryTid(c.space) !== 0 && this.verify(c) ? systrapDebug(c.hostTid, n, value, 1) : -ESRCH;
  }

  setAffinity(context: Context, mask: Uint8Array): void {
    const c = context as SystrapContext;
    c.affinity = mask;
    if (c.hostTid !== 0 && this.verify(c)) setAffinity(c.hostTid, mask);
  }

  setNice(context: Context, nice: number): void {
    const c = context as SystrapContext;
    if (c.nice === nice) return;
    c.nice = nice;
    if (c.hostTid !== 0) this.applyNice(c);
  }

  private applyNice(c: SystrapContext): void {
    if (this.verify(c)) setNice(c.hostTid, Math.min(MAX_NICE, this.ownNice + c.nice));
  }

  watch(hostFd: number, events: number, token: number): number {
    return watchFd(hostFd, events, token);
  }

  unwatch(hostFd: number): void {
    unwatchFd(hostFd);
  }

  hostToken(): number {
    const token = nextHostEvent(this.hostEvent);
    if (token >= 0 && this.hostSpins < HOST_SPINS) this.hostSpins++;
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

function must(step: string, result: number): number {
  if (result < 0) throw new Error(`${step}: ${errnoName(-result)}`);
  return result;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
