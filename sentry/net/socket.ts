// What a socket is to the system calls: struct socket with its proto_ops. The defaults answer as
// net/core/sock.c's sock_no_*() do. Like all files, sockets never block: -EAGAIN means that the
// caller may park on `waiters` and ask again.

import { ENOTTY, EOPNOTSUPP } from '../abi/errno.ts';
import { O_RDWR } from '../abi/fcntl.ts';
import { SOCK_SEQPACKET, SOCK_STREAM } from '../abi/socket.ts';
import type { WaitQueue } from '../base/wait-queue.ts';
import { newSocketInode } from '../fs/anon.ts';
import type { Pid } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { giveMessage, type Message, takeMessage } from './message.ts';

/** An address on its way to the guest. */
export class SocketName {
  readonly bytes: Uint8Array = new Uint8Array(128);
  readonly view: DataView = new DataView(this.bytes.buffer);
  length = 0;
}

export abstract class Socket extends FileDescription {
  /** AF_*. */
  readonly family: number;
  /** SOCK_*. */
  readonly type: number;
  readonly protocol: number;
  private readonly node: Inode;
  /** Reads were shut down: a blocking receive that finds nothing ends with 0. */
  isReadShut = false;

  /** flags: O_NONBLOCK. */
  constructor(t: Task | null, family: number, type: number, protocol: number, flags: number, waiters?: WaitQueue) {
    super(O_RDWR | flags, undefined, waiters);
    this.family = family;
    this.type = type;
    this.protocol = protocol;
    this.node = newSocketInode(t);
  }

  override inode(): Inode {
    return this.node;
  }

  override canPoll(): boolean {
    return true;
  }

  override linkText(): string {
    return `socket:[${this.inode().ino}]`;
  }

  /** A stream's blocking send goes on until all is sent; a datagram goes in one piece. */
  override writesAll(): boolean {
    return this.type === SOCK_STREAM;
  }

  /** A connection whose other half the bytes of a message do not belong to: MSG_WAITALL means something. */
  get isStream(): boolean {
    return this.type === SOCK_STREAM;
  }

  get isConnectionOriented(): boolean {
    return this.type === SOCK_STREAM || this.type === SOCK_SEQPACKET;
  }

  override read(t: Task, io: IoBuffer): number {
    // "Match SYS5 behaviour" - net/socket.c:sock_read_iter().
    if (io.remaining === 0) return 0;
    const m = takeMessage();
    const n = this.receive(t, io, m);
    m.dropRights(t);
    giveMessage(m);
    return n;
  }

  override write(t: Task, io: IoBuffer): number {
    const m = takeMessage();
    const n = this.send(t, io, m);
    giveMessage(m);
    return n;
  }

  /** The address is name[0, length): it has a family at least. 0 or -errno. */
  bind(_t: Task, _name: Uint8Array, _length: number): number {
    return -EOPNOTSUPP;
  }

  /** 0; -EAGAIN to ask again once writable; -EINPROGRESS when finishConnect() will tell, once writable; -errno. */
  connect(_t: Task, _name: Uint8Array, _length: number): number {
    return -EOPNOTSUPP;
  }

  /** How a connect that was in progress ended: 0, -EINPROGRESS or its error. */
  finishConnect(_t: Task, _name: Uint8Array, _length: number): number {
    return 0;
  }

  listen(_t: Task, _backlog: number): number {
    return -EOPNOTSUPP;
  }

  /** A connected socket with its fd flags not set yet; -EAGAIN when none waits. flags: O_NONBLOCK for the new one. */
  accept(_t: Task, _flags: number): Socket | number {
    return -EOPNOTSUPP;
  }

  /** The peer's address for accept(2), asked right after it. */
  acceptedName(t: Task, out: SocketName): number {
    return this.getName(t, true, out);
  }

  /** Whether getsockopt(2) is told the whole length of this value, even if not all of it had room. */
  tellsWholeLength(_level: number, _name: number): boolean {
    return false;
  }

  /** getsockname(2), or getpeername(2). */
  getName(_t: Task, _peer: boolean, _out: SocketName): number {
    return -EOPNOTSUPP;
  }

  /** how: SHUT_*. */
  shutdown(_t: Task, _how: number): number {
    return -EOPNOTSUPP;
  }

  /** Joins two fresh sockets of one family and type: socketpair(2). */
  pairWith(_t: Task, _other: Socket): number {
    return -EOPNOTSUPP;
  }

  /** Whether a receive with these flags waits for nobody: the queue of errors is as it is. */
  receivesAtOnce(_flags: number): boolean {
    return false;
  }

  /** Bytes sent. What was sent of m.rights is gone from it. */
  send(_t: Task, _io: IoBuffer, _m: Message): number {
    return -EOPNOTSUPP;
  }

  /** Bytes received; with MSG_TRUNC in m.flags a datagram's length. Fills m. */
  receive(_t: Task, _io: IoBuffer, _m: Message): number {
    return -EOPNOTSUPP;
  }

  /** The process at the other end, where that is known. */
  get peerPid(): Pid | null {
    return null;
  }

  /** How few bytes end a blocking receive: SO_RCVLOWAT. */
  get receiveLowWater(): number {
    return 1;
  }

  /** The new value is value[0, length). */
  setOption(_t: Task, _level: number, _name: number, _value: Uint8Array, _length: number): number {
    return -EOPNOTSUPP;
  }

  /** Puts the value at value[0…) and returns its length; `length` is the room that the guest has. */
  getOption(_t: Task, _level: number, _name: number, _value: Uint8Array, _length: number): number {
    return -EOPNOTSUPP;
  }

  override ioctl(_t: Task, _cmd: number, _arg: number): number {
    return -ENOTTY;
  }
}

/** A socket family: what socket(2) calls. -EPROTONOSUPPORT, -ESOCKTNOSUPPORT, …; flags: O_NONBLOCK. */
export type SocketFamily = (t: Task, family: number, type: number, protocol: number, flags: number) => Socket | number;

const families = new Map<number, SocketFamily>();

export function registerFamily(family: number, create: SocketFamily): void {
  families.set(family, create);
}

export function familyOf(family: number): SocketFamily | undefined {
  return families.get(family);
}
