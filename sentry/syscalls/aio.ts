// Linux's asynchronous I/O: fs/aio.c, io_submit(2). A request is tried at once; one whose file would
// have to wait is tried again when the file has news. Completions queue in the context until
// io_getevents(2) fetches them.
//
// A context's id is an address, since libaio looks for a ring of completions there before it makes
// the call. Ours lie in the vDSO, which is readable and no ring, so that every program calls us.

import { EAGAIN, EBADF, EFAULT, EINTR, EINVAL, ENOSYS } from '../abi/errno.ts';
import { POLLERR, POLLHUP, POLLIN } from '../abi/poll.ts';
import { SYS_io_cancel, SYS_io_destroy, SYS_io_getevents, SYS_io_setup, SYS_io_submit } from '../abi/sysno-x64.ts';
import { RETRY } from '../base/errors.ts';
import { getI64, put64 } from '../base/int64.ts';
import { Waiter, WaitQueue } from '../base/wait-queue.ts';
import { EventFile } from '../fs/eventfd.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_SIGNAL, WAKE_TIMEOUT } from '../kernel/task.ts';
import { FOREVER } from '../kernel/timers.ts';
import { scratch } from '../mm/guest-memory.ts';
import type { MemoryManager } from '../mm/memory-manager.ts';
import { UserIo } from '../mm/user-io.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { deadlineAfter, openFile, READ_EVENTS, WRITE_EVENTS } from './io-common.ts';
import { call, type SyscallLine } from './syscall-line.ts';
import { loadedNs, loadTimespec } from './time-args.ts';

// struct iocb and struct io_event, include/uapi/linux/aio_abi.h.
const IOCB = { data: 0, key: 8, rwFlags: 12, opcode: 16, fd: 20, buf: 24, nbytes: 32, offset: 40, flags: 56, resfd: 60, size: 64 } as const;
const IO_EVENT_SIZE = 32;
const PREAD = 0;
const PWRITE = 1;
const FSYNC = 2;
const FDSYNC = 3;
const NOOP = 6;
const PREADV = 7;
const PWRITEV = 8;
const FLAG_RESFD = 1;

/** Contexts of one address space: as many ids as the first page of the vDSO has room for. */
const MAX_CONTEXTS = 64;
const ID_STEP = 64;

/** A completion: the words of `data` as they were given, and the address of the request. */
interface Completion {
  readonly dataLo: number;
  readonly dataHi: number;
  readonly iocbAddr: number;
  readonly result: number;
}

class AioContext {
  readonly id: number;
  readonly limit: number;
  readonly done: Completion[] = [];
  /** Requests that wait for their files. */
  readonly pending: Set<Request> = new Set();
  readonly waiters: WaitQueue = new WaitQueue();
  dead = false;

  constructor(id: number, limit: number) {
    this.id = id;
    this.limit = limit;
  }

  complete(event: Completion): void {
    this.done.push(event);
    this.waiters.notify(POLLIN);
  }
}

/** A request whose file has nothing to give, or no room, yet. */
class Request extends Waiter {
  private readonly context: AioContext;
  private readonly mm: MemoryManager;
  private readonly file: FileDescription;
  private readonly resfd: EventFile | null;
  private readonly io: UserIo;
  private readonly opcode: number;
  private readonly offset: number;
  private readonly dataLo: number;
  private readonly dataHi: number;
  private readonly iocbAddr: number;

  constructor(context: AioContext, t: Task, file: FileDescription, resfd: EventFile | null, io: UserIo, iocbAddr: number, v: DataView) {
    super();
    this.context = context;
    this.mm = t.mm;
    this.file = file;
    this.resfd = resfd;
    this.io = io;
    this.opcode = v.getUint16(IOCB.opcode, true);
    this.offset = getI64(v, IOCB.offset);
    this.dataLo = v.getInt32(IOCB.data, true);
    this.dataHi = v.getInt32(IOCB.data + 4, true);
    this.iocbAddr = iocbAddr;
    file.incRef();
    resfd?.incRef();
  }

  /** Tries once; a file that would wait is tried again when it has news. t is null after the submission. */
  run(t: Task | null): number {
    const result = this.attempt(t);
    // The whole submission is made again with the answer that this one waits for.
    if (result === RETRY) {
      this.drop(t);
      return result;
    }
    if (result === -EAGAIN && !this.file.nonblocking) {
      this.context.pending.add(this);
      this.file.waiters.add(this, isWrite(this.opcode) ? WRITE_EVENTS : READ_EVENTS);
      return 0;
    }
    this.finish(t, result);
    return 0;
  }

  private attempt(t: Task | null): number {
    switch (this.opcode) {
      case FSYNC:
      case FDSYNC:
        return t === null ? -EINVAL : this.file.fsync(t, this.opcode === FDSYNC);
      case NOOP:
        return 0;
      default:
        this.io.rewind();
        return isWrite(this.opcode) ? this.file.pwrite(t, this.io, this.offset) : this.file.pread(t, this.io, this.offset);
    }
  }

  override notified(_events: number): void {
    this.unlink();
    // The address space may be gone by now: nobody is left to tell.
    if (this.mm.refs === 0) this.drop(null);
    else this.run(null);
  }

  private finish(t: Task | null, result: number): void {
    this.context.complete({ dataLo: this.dataLo, dataHi: this.dataHi, iocbAddr: this.iocbAddr, result });
    this.resfd?.signal();
    this.drop(t);
  }

  /** Gives back what it holds. */
  drop(t: Task | null): void {
    this.unlink();
    this.context.pending.delete(this);
    this.file.decRef(t);
    this.resfd?.decRef(t);
  }
}

function isWrite(opcode: number): boolean {
  return opcode === PWRITE || opcode === PWRITEV;
}

const contexts: WeakMap<MemoryManager, Map<number, AioContext>> = new WeakMap();

function find(t: Task, id: number): AioContext | undefined {
  return contexts.get(t.mm)?.get(id);
}

/** io_setup(2). */
export function io_setup(t: Task, a: SyscallArgs): number {
  const idAddr = a.addr(1);
  const given = t.mm.loadU64(idAddr);
  if (given < 0) return -EFAULT;
  const limit = a.uint(0);
  if (given !== 0 || limit === 0) return -EINVAL;
  if (limit > t.kernel.sysctls.int('fs.aio-max-nr')) return -EAGAIN;
  const { vdsoAddr } = t.kernel.platform;
  if (vdsoAddr === 0) return -ENOSYS;
  let own = contexts.get(t.mm);
  if (own === undefined) {
    own = new Map();
    contexts.set(t.mm, own);
  }
  for (let n = 0; n < MAX_CONTEXTS; n++) {
    const id = vdsoAddr + n * ID_STEP;
    if (own.has(id)) continue;
    if (t.mm.storeU64(idAddr, id) < 0) return -EFAULT;
    own.set(id, new AioContext(id, limit));
    return 0;
  }
  return -EAGAIN;
}

/** io_destroy(2): what waits is given up, and so are those who wait for it. */
export function io_destroy(t: Task, a: SyscallArgs): number {
  const context = find(t, a.addr(0));
  if (context === undefined) return -EINVAL;
  contexts.get(t.mm)!.delete(context.id);
  context.dead = true;
  for (const request of [...context.pending]) request.drop(t);
  context.waiters.notify(POLLIN | POLLHUP);
  return 0;
}

/** io_submit(2): how many were taken; an error only if the first was not. */
export function io_submit(t: Task, a: SyscallArgs): number {
  const context = find(t, a.addr(0));
  const count = a.long(1);
  if (context === undefined || count < 0) return -EINVAL;
  for (let i = 0; i < count; i++) {
    const iocbAddr = t.mm.loadU64(a.addr(2) + i * 8);
    const error = iocbAddr < 0 ? -EFAULT : submitOne(t, context, iocbAddr);
    if (error < 0) return i > 0 ? i : error;
  }
  return count;
}

/** io_submit_one(). */
function submitOne(t: Task, context: AioContext, iocbAddr: number): number {
  const v = scratch.view;
  if (t.mm.copyIn(iocbAddr, scratch.u8, 0, IOCB.size) < 0) return -EFAULT;
  if (getI64(v, IOCB.nbytes) < 0) return -EINVAL;
  if (context.done.length + context.pending.size >= context.limit) return -EAGAIN;
  const opcode = v.getUint16(IOCB.opcode, true);
  const flags = v.getUint32(IOCB.flags, true);
  const file = openFile(t, v.getInt32(IOCB.fd, true));
  if (file === undefined) return -EBADF;
  let resfd: EventFile | null = null;
  if ((flags & FLAG_RESFD) !== 0) {
    const event = t.fds.get(v.getInt32(IOCB.resfd, true));
    if (event === undefined) return -EBADF;
    if (!(event instanceof EventFile)) return -EINVAL;
    resfd = event;
  }
  const io = new UserIo(t.mm);
  const bufAddr = v.getUint32(IOCB.buf, true) + v.getUint32(IOCB.buf + 4, true) * 4294967296;
  const request = new Request(context, t, file, resfd, io, iocbAddr, v);
  const bad = prepare(io, file, opcode, bufAddr, getI64(v, IOCB.nbytes), getI64(v, IOCB.offset));
  if (bad < 0) {
    request.drop(t);
    return bad;
  }
  // aio_key is written back: KIOCB_KEY is 0.
  t.mm.storeU32(iocbAddr + IOCB.key, 0);
  return request.run(t);
}

function prepare(io: UserIo, file: FileDescription, opcode: number, bufAddr: number, length: number, offset: number): number {
  switch (opcode) {
    case FSYNC:
    case FDSYNC:
    case NOOP:
      return 0;
    case PREAD:
    case PREADV:
      if (!file.readable) return -EBADF;
      break;
    case PWRITE:
    case PWRITEV:
      if (!file.writable) return -EBADF;
      break;
    default:
      return -EINVAL;
  }
  if (offset < 0) return -EINVAL;
  if (opcode === PREADV || opcode === PWRITEV) {
    const total = io.setIovec(bufAddr, length);
    return Math.min(total, 0);
  }
  io.setBuffer(bufAddr, length);
  return 0;
}

/** io_cancel(2): what has begun is not taken back, "-EINVAL" for a request that is not pending. */
export function io_cancel(t: Task, a: SyscallArgs): number {
  return find(t, a.addr(0)) === undefined ? -EINVAL : t.mm.loadU32(a.addr(1)) < 0 ? -EFAULT : -EINVAL;
}

/** Copies completions out, at most n from number `from` of the array on: how many, or -EFAULT. */
function fetch(t: Task, context: AioContext, eventsAddr: number, n: number): number {
  let got = 0;
  while (got < n && context.done.length > 0) {
    const event = context.done[0]!;
    const v = scratch.view;
    v.setInt32(0, event.dataLo, true);
    v.setInt32(4, event.dataHi, true);
    put64(v, 8, event.iocbAddr);
    put64(v, 16, event.result);
    put64(v, 24, 0);
    if (t.mm.copyOut(eventsAddr + got * IO_EVENT_SIZE, scratch.u8, 0, IO_EVENT_SIZE) < 0) return got > 0 ? got : -EFAULT;
    context.done.shift();
    got++;
  }
  return got;
}

/** io_getevents(2). While parked: t.object is the context, t.n0 what has been fetched. */
export function io_getevents(t: Task, a: SyscallArgs): number {
  const min = a.long(1);
  const count = a.long(2);
  let deadline: number = FOREVER;
  if (a.addr(4) !== 0) {
    const error = loadTimespec(t, a.addr(4));
    if (error < 0) return error;
    deadline = deadlineAfter(t, loadedNs());
  }
  const context = find(t, a.addr(0));
  if (context === undefined || min < 0 || count < 0 || min > count) return -EINVAL;
  const got = fetch(t, context, a.addr(3), count);
  if (got < 0 || got >= min || deadline <= t.kernel.clock.monotonicNs()) return got;
  t.object = context;
  t.n0 = got;
  return t.block(context.waiters, POLLIN | POLLHUP | POLLERR, deadline, resumeGetevents);
}

function resumeGetevents(t: Task, why: number): number {
  const context = t.object as AioContext;
  const a = t.args;
  const more = fetch(t, context, a.addr(3) + t.n0 * IO_EVENT_SIZE, a.long(2) - t.n0);
  if (more > 0) t.n0 += more;
  if (more >= 0 && t.n0 < a.long(1) && !context.dead && why !== WAKE_SIGNAL && why !== WAKE_TIMEOUT) {
    return t.block(context.waiters, POLLIN | POLLHUP | POLLERR, t.deadlineNs, resumeGetevents);
  }
  t.object = null;
  if (t.n0 > 0) return t.n0;
  if (more < 0) return more;
  if (context.dead) return -EINVAL;
  return why === WAKE_SIGNAL ? -EINTR : 0;
}

export const aioCalls: readonly SyscallLine[] = [
  call(SYS_io_setup, 'io_setup', 'events:uint ctx:addr', io_setup),
  call(SYS_io_destroy, 'io_destroy', 'ctx:addr', io_destroy),
  call(SYS_io_submit, 'io_submit', 'ctx:addr count:long iocbs:addr', io_submit, 'partial', 'no IOCB_CMD_POLL; no ring in user memory'),
  call(SYS_io_cancel, 'io_cancel', 'ctx:addr iocb:addr result:addr', io_cancel, 'partial', 'nothing can be taken back'),
  call(SYS_io_getevents, 'io_getevents', 'ctx:addr min:long count:long events:addr timeout:addr', io_getevents),
];
