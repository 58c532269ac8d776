// How processes and threads of guests come to be: each is cloned by a stub, that of its parent, of the zygote or of a nursery.

import { closeFd, systrapIsThread, systrapMap, systrapSend, systrapSpace } from 'ptrace-napi';
import { EAGAIN, ENOMEM, ESRCH } from '../../sentry/abi/errno.ts';
import { SIGKILL } from '../../sentry/abi/signal.ts';
import { objectArray } from '../../sentry/base/array.ts';
import { MIN_ERRNO } from '../../sentry/base/errors.ts';
import { debug } from '../../sentry/base/log.ts';
import { CTX_ALIVE, CTX_CLONE_SLOT, CTX_RESULT } from '../context-page.ts';
import type { Changes } from './changes.ts';
import type { ContextTable } from './context-table.ts';
import type { Ends } from './ends.ts';
import { applyAffinity, applyNice, hasPage, isOwn, verify } from './host-thread.ts';
import { ACTION_BATCH, ACTION_EXIT, ACTION_FORK, ACTION_RAX, ACTION_THREAD, MAX_SLOTS } from './layout.ts';
import type { Spinning } from './spinning.ts';
import { SystrapContext } from './systrap-context.ts';
import { type SpaceOwner, SystrapSpace } from './systrap-space.ts';
import type { Turns } from './turns.ts';

/** Prepared processes and spaces. */
const READY = 2;
const SPARES = 2;
/** For so long after the host has refused one no process is made before somebody asks for it. */
const REFUSED_MS = 5000;

export class Births {
  private readonly zygote: SystrapContext;
  private readonly owner: SpaceOwner;
  private readonly contexts: ContextTable;
  private readonly turns: Turns;
  private readonly spinning: Spinning;
  private readonly changes: Changes;
  private readonly ends: Ends;
  /** Contexts that wait for the zygote, or their nursery, to make their process. */
  private readonly queue = objectArray<SystrapContext>();
  /** First contexts of spaces that nobody has yet. */
  private readonly spares = objectArray<SystrapContext>();
  /** Processes that wait for their first program. */
  private readonly ready = objectArray<SystrapContext>();
  /** When the host has last refused a process or thread; long ago for never. */
  private refusedMs: number = Number.NEGATIVE_INFINITY;
  private readonly out = new Int32Array(3);

  constructor(
    owner: SpaceOwner,
    contexts: ContextTable,
    turns: Turns,
    spinning: Spinning,
    changes: Changes,
    ends: Ends,
    zygote: SystrapContext,
  ) {
    this.owner = owner;
    this.contexts = contexts;
    this.turns = turns;
    this.spinning = spinning;
    this.changes = changes;
    this.ends = ends;
    this.zygote = zygote;
    changes.births = this;
  }

  hasToTidy(): boolean {
    return this.ready.length < READY || this.spares.length < SPARES;
  }

  /** Prepares one thing that will be wanted; false when there is no need. */
  tidy(): boolean {
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
    this.contexts.region.i32[spare.word] = 1;
    this.spares.push(spare);
    return true;
  }

  /** A process for exec, made by the nursery or the zygote: its context, or -errno. */
  newProcess(nursery: SystrapContext | null): SystrapContext | number {
    if (nursery !== null) return nursery.space.dead ? -ENOMEM : this.spawn(nursery);
    for (let ready = this.ready.pop(); ready !== undefined; ready = this.ready.pop()) {
      if (!ready.space.dead) return ready;
      this.ends.releaseSpace(ready.space);
    }
    return this.spawn(this.zygote);
  }

  newNursery(): SystrapContext | number {
    return this.spawn(this.zygote);
  }

  /** A child of the zygote or of a nursery, now or when that one has made those that were asked for before. */
  private spawn(maker: SystrapContext): SystrapContext | number {
    const child = this.newSpace(maker);
    if (typeof child === 'number') return child;
    if (maker.cloning === null) this.startClone(maker, child);
    else this.queue.push(child);
    return child;
  }

  fork(from: SystrapContext): SystrapContext | number {
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
    this.ends.releaseContext(child);
    return child.birthError;
  }

  newThread(from: SystrapContext): SystrapContext | number {
    const space = from.space;
    if (space.dead) return -EAGAIN;
    const child = this.threadContext(space);
    if (typeof child === 'number') return child;
    child.prepare(from);
    this.contexts.region.i32[child.word + (CTX_ALIVE >> 2)] = 1;
    space.contexts.push(child);
    this.contexts.at[child.index] = child;
    child.nice = from.nice;
    return this.makeChild(from, child);
  }

  /** A context for one more thread: that of a thread that is gone, or a new one. */
  private threadContext(space: SystrapSpace): SystrapContext | number {
    const ended = space.ending[0];
    if (ended !== undefined && this.contexts.region.i32[ended.word + (CTX_ALIVE >> 2)] === 0) {
      space.ending.shift();
      const context = new SystrapContext(this.contexts.region, ended.index, space, ended.slot);
      context.published = true;
      return context;
    }
    if (space.nextSlot >= MAX_SLOTS) return -EAGAIN;
    const index = this.contexts.newIndex();
    if (index < 0) return index;
    const slot = space.nextSlot++;
    const mapped = systrapMap(this.contexts.region.buffer, index, space.memfd, slot);
    if (mapped < 0) {
      this.contexts.putBack(index);
      return mapped;
    }
    return new SystrapContext(this.contexts.region, index, space, slot);
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
    child.prepare(maker);
    this.contexts.at[child.index] = child;
    return child;
  }

  /** Memory and socket of a process to be, and its first context. */
  private makeSpace(slot: number): SystrapContext | number {
    const index = this.contexts.newIndex();
    if (index < 0) return index;
    const made = systrapSpace(this.out);
    if (made < 0) {
      this.contexts.putBack(index);
      return made;
    }
    const space = new SystrapSpace(this.owner, this.out[0]!, this.out[1]!);
    space.stubSocket = this.out[2]!;
    const mapped = systrapMap(this.contexts.region.buffer, index, space.memfd, slot);
    if (mapped < 0) {
      space.close();
      this.contexts.putBack(index);
      return mapped;
    }
    const context = new SystrapContext(this.contexts.region, index, space, slot);
    space.contexts.push(context);
    return context;
  }

  /** The host has no room for more: what there is, is for those who ask. */
  private wasRefused(): boolean {
    return performance.now() - this.refusedMs < REFUSED_MS;
  }

  /** Has parent's stub make `child`, now or when its address space is free for it. */
  private startClone(parent: SystrapContext, child: SystrapContext): void {
    parent.cloning = child;
    if (this.changes.isFree(parent)) this.sendClone(parent);
    else parent.space.waiting.push(parent);
  }

  sendClone(parent: SystrapContext): void {
    const child = parent.cloning!;
    parent.space.busy = parent;
    if (child.space === parent.space) {
      this.contexts.region.i32[parent.word + (CTX_CLONE_SLOT >> 2)] = child.slot;
      this.turns.go(parent, ACTION_THREAD);
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
    else this.turns.go(parent, ACTION_FORK);
  }

  /** The stub of `parent` has answered: the host's number of the child, or -errno. */
  cloned(parent: SystrapContext, result: number): void {
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
      while (this.ends.endDoomed());
      child.birthError = result < 0 && result >= MIN_ERRNO ? result : -EAGAIN;
      // The call that was to make it fails, if its answer still waits here.
      if (parent.deferred === ACTION_RAX) this.contexts.region.store64(parent.base + CTX_RESULT, child.birthError);
      if (isProcess) {
        this.ends.spaceDied(space, SIGKILL);
      } else {
        this.contexts.region.i32[child.word + (CTX_ALIVE >> 2)] = 0;
        this.ends.contextDied(child, SIGKILL);
      }
    } else {
      child.hostTid = result;
      if (!child.held) this.spinning.setInGuest(child, true);
      if (isProcess) this.processBorn(child, result);
      // A process has its page only when it has run for a while; its first event is early enough.
      if (!isProcess && !space.dead && !child.verified) hasPage(child);
      if (child.kickWanted) this.turns.kick(child);
      if (child.affinity !== null) applyAffinity(child);
      if (child.nice !== parent.nice) applyNice(child);
    }
    if (isProcess && space.released) space.close();
    this.proceed(parent);
    if (this.queue.length > 0 && parent.cloning === null) {
      const at = this.queue.findIndex((birth) => birth.space.maker === parent);
      if (at >= 0) this.startClone(parent, this.queue.splice(at, 1)[0]!);
    }
    this.changes.flush(parent.space);
  }

  /** Whether a child may be of this number: no other process is, or only one whose maker has made its number up. */
  private isFreePid(child: SystrapContext, pid: number): boolean {
    const other = this.ends.spaces.get(pid);
    if (other === undefined) return true;
    if (other.isVerified || isOwn(other)) return false;
    child.hostTid = pid;
    if (!verify(child)) return false;
    debug(`process ${pid} is not what its maker said it was`);
    this.ends.spaceDied(other, SIGKILL);
    this.ends.spaces.delete(pid);
    return true;
  }

  private processBorn(child: SystrapContext, pid: number): void {
    const space = child.space;
    space.hostPid = pid;
    this.ends.spaces.set(pid, space);
    const status = this.ends.unknownDeaths.get(pid);
    if (status !== undefined) this.ends.unknownDeaths.delete(pid);
    // An old death is that of another process, which had the number before and of which nobody has told: numbers come back
    // after some thousand forks. Whether this one has mapped its page already says nothing, it may not have run yet.
    if (status !== undefined && !systrapIsThread(pid, pid)) {
      this.ends.spaces.delete(pid);
      this.ends.spaceDied(space, status);
    } else if (space.released) {
      this.ends.kill(space, child);
    }
  }

  /** The thread does what came for it while its stub was busy with a clone. */
  private proceed(c: SystrapContext): void {
    const action = c.deferred;
    c.deferred = 0;
    if (action === 0 || c.space.dead) return;
    if (action === ACTION_BATCH) {
      this.changes.startBatch(c);
      return;
    }
    if (action === ACTION_EXIT) {
      this.ends.exitThread(c);
      return;
    }
    if (action === ACTION_RAX && c.isAtSite) this.changes.orderPatch(c);
    this.turns.go(c, action);
  }
}
