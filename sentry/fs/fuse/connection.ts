// What lies between a mounted FUSE file system and the program that serves it: requests in the
// order in which they were made, read from /dev/fuse, and answers that find their request by its
// number. fs/fuse/dev.c.
//
// Every byte of an answer is the guest's: lengths are checked before anything is read from it.

import { EAGAIN, ECONNABORTED, EINTR, EINVAL, EIO, ENAMETOOLONG, ENOENT, ENOSYS, ENOTCONN, EPROTO } from '../../abi/errno.ts';
import {
  FUSE_ASYNC_READ,
  FUSE_ATOMIC_O_TRUNC,
  FUSE_BIG_WRITES,
  FUSE_DO_READDIRPLUS,
  FUSE_DONT_MASK,
  FUSE_FORGET,
  FUSE_HAS_IOCTL_DIR,
  FUSE_INIT,
  FUSE_INTERRUPT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_NAME_MAX,
  FUSE_NO_OPEN_SUPPORT,
  FUSE_NO_OPENDIR_SUPPORT,
  FUSE_NOTIFY_DELETE,
  FUSE_NOTIFY_INVAL_ENTRY,
  FUSE_NOTIFY_INVAL_INODE,
  FUSE_NOTIFY_POLL,
  FUSE_NOTIFY_REPLY,
  FUSE_NOTIFY_RETRIEVE,
  FUSE_NOTIFY_STORE,
  FUSE_PARALLEL_DIROPS,
  FUSE_READDIRPLUS_AUTO,
  IN_HEADER,
  INIT_OUT,
  NOTIFY_RETRIEVE,
  NOTIFY_STORE,
  OUT_HEADER,
  RETRIEVE_REPLY,
} from '../../abi/fuse.ts';
import { POLLERR, POLLIN, POLLRDNORM } from '../../abi/poll.ts';
import { getI64, getU64, put64 } from '../../base/int64.ts';
import { latin1, putLatin1 } from '../../base/latin1.ts';
import { type Asker, type Question, RETRY, remember, remembered, running } from '../../base/retry.ts';
import type { Credentials } from '../../kernel/credentials.ts';
import type { PidNamespace } from '../../kernel/pid-namespace.ts';
import type { Task } from '../../kernel/task.ts';
import type { UserNamespace } from '../../kernel/user-namespace.ts';
import type { FuseDevice } from './device.ts';

/** Data of one READ or WRITE, so that a message and its header fit a buffer of 64 KiB on the way through pipes. */
export const MAX_IO = 61440;
/** What a server writes is no longer than this: a notification may bring contents. */
export const MAX_MESSAGE = 2 ** 20 + 4096;
/** Requests that wait for a server; more would only be memory in a hostile guest's hand. */
const MAX_WAITING = 65536;

const OFFERED =
  FUSE_ASYNC_READ |
  FUSE_ATOMIC_O_TRUNC |
  FUSE_BIG_WRITES |
  FUSE_DO_READDIRPLUS |
  FUSE_DONT_MASK |
  FUSE_HAS_IOCTL_DIR |
  FUSE_NO_OPEN_SUPPORT |
  FUSE_PARALLEL_DIROPS |
  FUSE_READDIRPLUS_AUTO |
  FUSE_NO_OPENDIR_SUPPORT;

const WAITING = 0;
const SENT = 1;
const DONE = 2;

/** Node numbers and file handles are eight bytes that only their server understands: kept as latin1 text. */
export type Id = string;
export const NO_HANDLE: Id = '\0\0\0\0\0\0\0\0';

export function idAt(bytes: Uint8Array, at: number): Id {
  return latin1(bytes, at, at + 8);
}

export class FuseRequest implements Question {
  readonly connection: FuseConnection;
  readonly unique: number;
  readonly opcode: number;
  readonly nodeid: Id;
  /** Header and body. */
  readonly message: Uint8Array;
  private state = WAITING;
  /** 0 or -errno, once answered. */
  error = 0;
  /** What follows the answer's header. */
  answer: Uint8Array = NOTHING;
  view: DataView = new DataView(NOTHING.buffer);
  /** An entry in the answer has been counted as a lookup of its node. */
  counted = false;
  private asker: Asker | null;
  private readonly done: ((r: FuseRequest) => void) | null;

  constructor(
    connection: FuseConnection,
    unique: number,
    opcode: number,
    nodeid: Id,
    message: Uint8Array,
    done: ((r: FuseRequest) => void) | null,
  ) {
    this.connection = connection;
    this.unique = unique;
    this.opcode = opcode;
    this.nodeid = nodeid;
    this.message = message;
    this.asker = running.asker;
    this.done = done;
  }

  get answered(): boolean {
    return this.state === DONE;
  }

  sent(): void {
    this.state = SENT;
  }

  withdraw(): boolean {
    if (this.state !== WAITING) return false;
    this.connection.withdraw(this);
    this.error = -EINTR;
    this.state = DONE;
    this.asker = null;
    this.connection.answeredOf(this.nodeid);
    return true;
  }

  interrupt(): void {
    if (this.state === SENT) this.connection.interrupt(this);
  }

  finish(error: number, answer: Uint8Array): void {
    this.state = DONE;
    this.error = error;
    this.answer = answer;
    this.view = new DataView(answer.buffer, answer.byteOffset, answer.length);
    this.done?.(this);
    const asker = this.asker;
    this.asker = null;
    asker?.answered();
    this.connection.answeredOf(this.nodeid);
  }
}

const NOTHING = new Uint8Array(0);

/** What a server has to tell of its nodes without having been asked: 0 or -errno. */
export interface Notified {
  /** Attributes, and with an offset that is not negative contents, are to be looked at anew; length 0 is up to the end. */
  invalidNode(id: Id, offset: number, length: number): number;
  invalidEntry(parent: Id, name: string): number;
  /** Contents for who has the file mapped. */
  store(id: Id, offset: number, bytes: Uint8Array): number;
  /** What is kept of a file's contents there, at most `n` bytes. */
  retrieve(id: Id, offset: number, n: number): Uint8Array | number;
}

/** An open file whose readiness the server tells: FUSE_NOTIFY_POLL. */
export interface Polled {
  notified(): void;
}

export class FuseConnection {
  private readonly userns: UserNamespace | null;
  private readonly pidns: PidNamespace | null;
  private readonly devices: Set<FuseDevice> = new Set();
  private waiting: FuseRequest[] = [];
  /** Where `waiting` starts. */
  private first = 0;
  /** Interrupts and forgets, which nobody answers; interrupts go first. */
  private readonly notes: Uint8Array[] = [];
  private readonly inHand: Map<number, FuseRequest> = new Map();
  private nextUnique = 2;
  private isConnected = true;
  private isInitialized = false;
  private isEnding = false;
  /** Made before the server has said what it can do. */
  private early: FuseRequest[] = [];
  /** From the server's answer to INIT. */
  minor = 0;
  flags = 0;
  maxWrite = 4096;
  /** Operations that the server does not have. */
  readonly missing: Set<number> = new Set();
  fs: Notified | null = null;
  /** In place of the running task's credentials: access(2) asks for the real user. */
  actingAs: Credentials | null = null;
  /** By the numbers given to the server: FUSE_POLL's kh. */
  private readonly polled: Map<number, Polled> = new Map();
  private nextPolled = 1;
  /** Requests without an answer by node, and FORGETs that wait for them: fuse_release_end() gives back a node last of all. */
  private readonly open: Map<Id, number> = new Map();
  private readonly held: Map<Id, number> = new Map();
  private interruptible = true;

  constructor(t: Task | null, userns: UserNamespace | null) {
    this.userns = userns;
    this.pidns = t === null ? null : t.pidns;
  }

  get connected(): boolean {
    return this.isConnected;
  }

  get hasWork(): boolean {
    return this.first < this.waiting.length || this.notes.length > 0;
  }

  addDevice(device: FuseDevice): void {
    this.devices.add(device);
  }

  removeDevice(device: FuseDevice): void {
    this.devices.delete(device);
    if (this.devices.size === 0) this.abort();
  }

  /** No more requests, and an end to all that wait: the server is gone, or the mount is. */
  abort(): void {
    if (!this.isConnected) return;
    this.isConnected = false;
    const lost = [...this.early, ...this.waiting.slice(this.first), ...this.inHand.values()];
    this.early = [];
    this.waiting = [];
    this.first = 0;
    this.notes.length = 0;
    this.inHand.clear();
    for (const r of lost) r.finish(-ECONNABORTED, NOTHING);
    for (const d of this.devices) d.waiters.notify(POLLERR | POLLIN);
  }

  /** The mount is gone: an end once what was asked before has its answers. */
  end(): void {
    this.isEnding = true;
    this.endIfIdle();
  }

  private endIfIdle(): void {
    if (this.isEnding && this.inHand.size === 0 && this.first >= this.waiting.length && this.early.length === 0) this.abort();
  }

  // ---- asking

  private message(opcode: number, unique: number, nodeid: Id, body: Uint8Array): Uint8Array {
    const m = new Uint8Array(IN_HEADER.size + body.length);
    const v = new DataView(m.buffer);
    v.setUint32(IN_HEADER.len, m.length, true);
    v.setUint32(IN_HEADER.opcode, opcode, true);
    put64(v, IN_HEADER.unique, unique);
    putLatin1(m, IN_HEADER.nodeid, nodeid);
    const t = running.asker as Task | null;
    if (t !== null) {
      const { fsuid, fsgid } = this.actingAs ?? t.creds;
      v.setUint32(IN_HEADER.uid, this.userns === null ? fsuid : this.userns.uidFromKernel(fsuid), true);
      v.setUint32(IN_HEADER.gid, this.userns === null ? fsgid : this.userns.gidFromKernel(fsgid), true);
      v.setUint32(IN_HEADER.pid, this.pidns === null ? t.tid : t.group.pid.numberIn(this.pidns), true);
    }
    m.set(body, IN_HEADER.size);
    return m;
  }

  private queue(r: FuseRequest): void {
    if (!this.isInitialized && r.opcode !== FUSE_INIT) {
      this.early.push(r);
      return;
    }
    if (this.first > 1024 && this.first * 2 > this.waiting.length) {
      this.waiting = this.waiting.slice(this.first);
      this.first = 0;
    }
    this.waiting.push(r);
    this.wakeServer();
  }

  private wakeServer(): void {
    for (const d of this.devices) d.waiters.notify(POLLIN | POLLRDNORM);
  }

  /** A request whose answer `done` hears, or nobody; -errno where there is no server. */
  send(opcode: number, nodeid: Id, body: Uint8Array, done: ((r: FuseRequest) => void) | null): FuseRequest | number {
    if (!this.isConnected) return -ENOTCONN;
    if (this.waiting.length - this.first + this.early.length >= MAX_WAITING) return -EIO;
    const unique = this.nextUnique;
    this.nextUnique += 2;
    const r = new FuseRequest(this, unique, opcode, nodeid, this.message(opcode, unique, nodeid, body), done);
    this.open.set(nodeid, (this.open.get(nodeid) ?? 0) + 1);
    this.queue(r);
    return r;
  }

  /**
   * Asks for the call that runs: the answered request, RETRY until then, or the server's -errno.
   * `keyed` bytes of the body tell the question from others of the call; by default all.
   */
  ask(opcode: number, nodeid: Id, body: Uint8Array, keyed: number = body.length): FuseRequest | number {
    const r = this.question(opcode, nodeid, body, keyed);
    if (typeof r === 'number') return r;
    if (!r.answered) return RETRY;
    if (r.error === -ENOSYS) this.missing.add(opcode);
    return r.error < 0 ? r.error : r;
  }

  /** The request of ask(), answered or not: several may be under way at once. */
  question(opcode: number, nodeid: Id, body: Uint8Array, keyed: number = body.length): FuseRequest | number {
    // Nobody can wait outside a call: a process that ends, the kernel's own reading.
    if (running.asker === null) return this.isConnected ? -EIO : -ENOTCONN;
    const key = this.key(opcode, nodeid, body, keyed);
    const known = remembered(key) as FuseRequest | undefined;
    if (known !== undefined) return known;
    const r = this.send(opcode, nodeid, body, null);
    if (typeof r !== 'number') remember(key, r);
    return r;
  }

  key(opcode: number, nodeid: Id, body: Uint8Array, keyed: number = body.length): string {
    return `${opcode}:${nodeid}:${latin1(body, 0, keyed)}`;
  }

  /** A FORGET: the kernel knows nothing of the node any more that `n` lookups have told it. It is sent when nothing asked of the node is without an answer. */
  forget(nodeid: Id, n: number): void {
    if (!this.isConnected || n === 0) return;
    if (this.open.has(nodeid)) {
      this.held.set(nodeid, (this.held.get(nodeid) ?? 0) + n);
      return;
    }
    const body = new Uint8Array(8);
    put64(new DataView(body.buffer), 0, n);
    this.notes.push(this.message(FUSE_FORGET, 0, nodeid, body));
    this.wakeServer();
  }

  /** One request of the node is over. */
  answeredOf(nodeid: Id): void {
    const left = (this.open.get(nodeid) ?? 1) - 1;
    if (left > 0) {
      this.open.set(nodeid, left);
      return;
    }
    this.open.delete(nodeid);
    const n = this.held.get(nodeid);
    if (n === undefined) return;
    this.held.delete(nodeid);
    this.forget(nodeid, n);
  }

  withdraw(r: FuseRequest): void {
    const at = this.waiting.indexOf(r, this.first);
    if (at >= 0) this.waiting.splice(at, 1);
    const early = this.early.indexOf(r);
    if (early >= 0) this.early.splice(early, 1);
  }

  interrupt(r: FuseRequest): void {
    if (!this.interruptible) return;
    const body = new Uint8Array(8);
    put64(new DataView(body.buffer), 0, r.unique);
    this.notes.unshift(this.message(FUSE_INTERRUPT, r.unique + 1, NO_HANDLE, body));
    this.wakeServer();
  }

  // ---- the server's side

  /** The next message, or null. `room` is what the reader's buffer holds: what does not fit is answered with -EIO. */
  take(room: number): Uint8Array | null {
    for (;;) {
      const note = this.notes.shift();
      if (note !== undefined) return note;
      if (this.first >= this.waiting.length) {
        this.waiting = [];
        this.first = 0;
        return null;
      }
      const r = this.waiting[this.first++]!;
      if (r.message.length > room) {
        r.finish(-EIO, NOTHING);
        continue;
      }
      this.inHand.set(r.unique, r);
      r.sent();
      return r.message;
    }
  }

  /** An answer or a notification: 0 or -errno for the server's write. */
  answer(bytes: Uint8Array): number {
    if (bytes.length < OUT_HEADER.size) return -EINVAL;
    const v = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    if (v.getUint32(OUT_HEADER.len, true) !== bytes.length) return -EINVAL;
    const error = v.getInt32(OUT_HEADER.error, true);
    const unique = getU64(v, OUT_HEADER.unique);
    const body = bytes.subarray(OUT_HEADER.size);
    if (unique === 0) return this.notified(error, body);
    if (error <= -512 || error > 0) return -EINVAL;
    if (unique % 2 === 1) return this.interruptAnswered(unique - 1, error);
    const r = this.inHand.get(unique);
    if (r === undefined) return -ENOENT;
    if (error !== 0 && body.length > 0) return -EINVAL;
    this.inHand.delete(unique);
    if (r.opcode === FUSE_INIT) this.initialize(error, body);
    r.finish(error, body);
    this.endIfIdle();
    return 0;
  }

  /** EAGAIN asks for another interrupt, ENOSYS for none any more. */
  private interruptAnswered(unique: number, error: number): number {
    const r = this.inHand.get(unique);
    if (r === undefined) return -ENOENT;
    if (error === -ENOSYS) this.interruptible = false;
    else if (error === -EAGAIN) this.interrupt(r);
    return 0;
  }

  /** A number for FUSE_POLL's kh. */
  addPolled(file: Polled): number {
    const kh = this.nextPolled++;
    this.polled.set(kh, file);
    return kh;
  }

  removePolled(kh: number): void {
    this.polled.delete(kh);
  }

  private notified(code: number, body: Uint8Array): number {
    const { fs } = this;
    const v = new DataView(body.buffer, body.byteOffset, body.length);
    switch (code) {
      case FUSE_NOTIFY_POLL:
        if (body.length !== 8) return -EINVAL;
        this.polled.get(getU64(v, 0))?.notified();
        return 0;
      case FUSE_NOTIFY_INVAL_INODE:
        return fs === null || body.length !== 24 ? -EINVAL : fs.invalidNode(idAt(body, 0), getI64(v, 8), getI64(v, 16));
      case FUSE_NOTIFY_STORE: {
        if (fs === null || body.length < NOTIFY_STORE.size) return -EINVAL;
        const data = body.subarray(NOTIFY_STORE.size);
        if (v.getUint32(NOTIFY_STORE.n, true) !== data.length) return -EINVAL;
        return fs.store(idAt(body, NOTIFY_STORE.nodeid), getU64(v, NOTIFY_STORE.offset), data);
      }
      case FUSE_NOTIFY_RETRIEVE:
        return body.length !== NOTIFY_RETRIEVE.size ? -EINVAL : this.retrieved(body, v);
      case FUSE_NOTIFY_INVAL_ENTRY:
      case FUSE_NOTIFY_DELETE: {
        const at = code === FUSE_NOTIFY_DELETE ? 24 : 16;
        if (fs === null || body.length < at + 1) return -EINVAL;
        const length = v.getUint32(code === FUSE_NOTIFY_DELETE ? 16 : 8, true);
        if (length > FUSE_NAME_MAX) return -ENAMETOOLONG;
        if (body.length !== at + length + 1) return -EINVAL;
        return fs.invalidEntry(idAt(body, 0), latin1(body, at, at + length));
      }
      default:
        return -EINVAL;
    }
  }

  /** fuse_retrieve(): the answer is a message of its own, which nobody answers. */
  private retrieved(body: Uint8Array, v: DataView): number {
    if (this.fs === null) return -EINVAL;
    const nodeid = idAt(body, NOTIFY_RETRIEVE.nodeid);
    const offset = getU64(v, NOTIFY_RETRIEVE.offset);
    const kept = this.fs.retrieve(nodeid, offset, Math.min(v.getUint32(NOTIFY_RETRIEVE.n, true), MAX_IO));
    if (typeof kept === 'number') return kept;
    const reply = new Uint8Array(RETRIEVE_REPLY.size + kept.length);
    const out = new DataView(reply.buffer);
    put64(out, RETRIEVE_REPLY.offset, offset);
    out.setUint32(RETRIEVE_REPLY.n, kept.length, true);
    reply.set(kept, RETRIEVE_REPLY.size);
    const message = this.message(FUSE_NOTIFY_REPLY, 0, nodeid, reply);
    message.set(body.subarray(NOTIFY_RETRIEVE.unique, NOTIFY_RETRIEVE.unique + 8), IN_HEADER.unique);
    this.notes.push(message);
    this.wakeServer();
    return 0;
  }

  /** The first request of all. */
  start(): void {
    const body = new Uint8Array(16);
    const v = new DataView(body.buffer);
    v.setUint32(0, FUSE_KERNEL_VERSION, true);
    v.setUint32(4, FUSE_KERNEL_MINOR_VERSION, true);
    v.setUint32(8, 0, true);
    v.setUint32(12, OFFERED, true);
    this.send(FUSE_INIT, NO_HANDLE, body, null);
  }

  private initialize(error: number, body: Uint8Array): void {
    const v = new DataView(body.buffer, body.byteOffset, body.length);
    if (
      error < 0 ||
      body.length < 8 ||
      v.getUint32(INIT_OUT.major, true) !== FUSE_KERNEL_VERSION ||
      v.getUint32(INIT_OUT.minor, true) < 12
    ) {
      // Older servers have structs of other sizes: all is refused, as by a kernel that knows the major version only.
      this.isInitialized = true;
      const early = this.early;
      this.early = [];
      for (const r of early) r.finish(-EPROTO, NOTHING);
      this.abort();
      return;
    }
    this.minor = Math.min(v.getUint32(INIT_OUT.minor, true), FUSE_KERNEL_MINOR_VERSION);
    if (body.length >= INIT_OUT.maxWrite + 4) {
      this.flags = v.getUint32(INIT_OUT.flags, true) & OFFERED;
      this.maxWrite = Math.max(4096, v.getUint32(INIT_OUT.maxWrite, true));
    }
    this.isInitialized = true;
    const early = this.early;
    this.early = [];
    for (const r of early) this.queue(r);
  }
}
