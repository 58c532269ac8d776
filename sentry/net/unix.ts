// AF_UNIX, after net/unix/af_unix.c. Two connected sockets know each other as `peer`; what one
// sends is a Packet on the other's queue. A listener's queue holds the connections that wait for
// accept(2), each a socket whose other end has connected already.

import {
  EACCES,
  EADDRINUSE,
  EAGAIN,
  ECONNREFUSED,
  ECONNRESET,
  EEXIST,
  EFAULT,
  EINVAL,
  EISCONN,
  EMSGSIZE,
  ENOBUFS,
  ENOPROTOOPT,
  ENOSPC,
  ENOTCONN,
  EOPNOTSUPP,
  EPERM,
  EPIPE,
  EPROTONOSUPPORT,
  EPROTOTYPE,
  ERANGE,
  ESOCKTNOSUPPORT,
} from '../abi/errno.ts';
import { FIONREAD, TIOCOUTQ } from '../abi/ioctl.ts';
import { LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET } from '../abi/landlock.ts';
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLPRI, POLLRDBAND, POLLRDHUP, POLLRDNORM, POLLWRBAND, POLLWRNORM } from '../abi/poll.ts';
import {
  AF_UNIX,
  AF_UNSPEC,
  MSG_DONTWAIT,
  MSG_OOB,
  MSG_PEEK,
  MSG_TRUNC,
  SHUT_RD,
  SHUT_WR,
  SIOCATMARK,
  SO_PEERCRED,
  SO_PEERGROUPS,
  SO_PEERNAME,
  SO_REUSEPORT,
  SOCK_DGRAM,
  SOCK_RAW,
  SOCK_SEQPACKET,
  SOCK_STREAM,
  SOL_SOCKET,
} from '../abi/socket.ts';
import { S_IFSOCK } from '../abi/stat.ts';
import { latin1, putLatin1 } from '../base/latin1.ts';
import type { NetNamespace } from '../kernel/namespaces.ts';
import type { Pid } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { type Domain, landlockScoped } from '../vfs/landlock.ts';
import { credsOn } from '../vfs/mount-idmap.ts';
import { LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import { inodePermission, MAY_WRITE } from '../vfs/permissions.ts';
import { socketBehind } from './imported-socket.ts';
import { interfaceIoctl } from './interfaces.ts';
import type { Message, MessageCreds } from './message.ts';
import { networkOf } from './network.ts';
import type { Socket, SocketName } from './socket.ts';
import { KernelSocket } from './socket-options.ts';
import { MAX_STREAM_PACKET, newPacketQueue, Packet, type PacketQueue } from './unix-packet.ts';

const READABLE = POLLIN | POLLRDNORM | POLLPRI | POLLRDBAND;
const WRITABLE = POLLOUT | POLLWRNORM | POLLWRBAND;
const CHANGED = READABLE | WRITABLE | POLLERR | POLLHUP | POLLRDHUP;

/** sk_shutdown. */
const RCV_SHUTDOWN = 1;
const SEND_SHUTDOWN = 2;
const BOTH = 3;

/** Linux's names: TCP_CLOSE, TCP_LISTEN, TCP_ESTABLISHED. */
const UNCONNECTED = 0;
const LISTENING = 1;
const CONNECTED = 2;

/** net.unix.max_dgram_qlen of a socket that nobody has asked for. */
const DGRAM_QUEUE = 10;
/** SO_SNDBUFFORCE allows more than there is memory for in one piece. */
const MAX_DATAGRAM = 16 * 1024 * 1024;

/** sizeof(sa_family_t), and of struct sockaddr_un. */
const PATH_AT = 2;
const SOCKADDR_UN_SIZE = 110;
const UCRED_SIZE = 12;

export class UnixAddress {
  /** sun_path: a path, or a name that starts with a NUL. */
  readonly name: string;
  /** Where a path was bound: kept so that its inode stays the same one. */
  readonly place: VfsPath | null;

  constructor(name: string, place: VfsPath | null) {
    this.name = name;
    this.place = place;
  }

  get isAbstract(): boolean {
    return this.place === null;
  }

  /** As struct sockaddr_un; a path with its NUL. */
  put(out: Uint8Array): number {
    out[0] = AF_UNIX;
    out[1] = 0;
    let length = PATH_AT + putLatin1(out, PATH_AT, this.name);
    if (!this.isAbstract) out[length++] = 0;
    return length;
  }
}

/** Abstract names of each network namespace. Each type of socket has names of its own: unix_find_socket_byname(). */
const abstractNames = new WeakMap<NetNamespace, Map<string, UnixSocket>>();

function abstractTable(t: Task): Map<string, UnixSocket> {
  let table = abstractNames.get(t.ns.net);
  if (table === undefined) {
    table = new Map();
    abstractNames.set(t.ns.net, table);
  }
  return table;
}

/** The path or abstract name in an address, or -EINVAL: unix_validate_addr(), unix_mkname_bsd(). */
function nameOf(name: Uint8Array, length: number): string | number {
  if (length <= PATH_AT || length > SOCKADDR_UN_SIZE || name[0] !== AF_UNIX || name[1] !== 0) return -EINVAL;
  if (name[PATH_AT] === 0) return latin1(name, PATH_AT, length);
  let end = PATH_AT;
  while (end < length && name[end] !== 0) end++;
  return latin1(name, PATH_AT, end);
}

/** All that are open, for /proc/net/unix. */
const live: Set<UnixSocket> = new Set();

/** /proc/net/unix: net/unix/af_unix.c:unix_seq_show(). */
export function unixSocketsText(ns: NetNamespace): string {
  let text = 'Num       RefCount Protocol Flags    Type St Inode Path\n';
  for (const socket of live) text += socket.procLine(ns);
  return text;
}

export class UnixSocket extends KernelSocket {
  private state = UNCONNECTED;
  private peer: UnixSocket | null = null;
  /** Connected to a name of the host's: what talks to whoever is bound there, and that name. */
  private host: Socket | null = null;
  private hostName = '';
  private address: UnixAddress | null = null;
  private readonly netns: NetNamespace | null;
  /** The Landlock rules that whoever made the socket was under. */
  private readonly domain: Domain | null;
  private readonly queue: PacketQueue = newPacketQueue();
  /** The packet of the urgent byte that has not been received: oob_skb. */
  private urgentPacket: Packet | null = null;
  private shut = 0;
  private isDead = false;
  /** Has a struct socket: false for the far end of a connection until accept(2). */
  private accepted = true;
  /** Memory of what was sent and has not been received: sk_wmem_alloc. */
  private inFlight = 0;
  /** How many connections or datagrams may wait, less one: sk_max_ack_backlog. */
  private backlog: number;
  private peerCreds: MessageCreds | null = null;
  private peerGroups: readonly number[] = [];
  /** Sockets that wait for room in our queue: peer_wait. */
  private readonly crowd: Set<UnixSocket> = new Set();

  constructor(t: Task | null, type: number, flags: number) {
    super(t, AF_UNIX, type, 0, flags);
    this.netns = t === null ? null : t.ns.net;
    this.backlog = t === null ? DGRAM_QUEUE : t.kernel.sysctls.int('net.unix.max_dgram_qlen');
    this.domain = t === null ? null : t.landlock;
    live.add(this);
  }

  /** Its line of /proc/net/unix, or nothing for a socket of another network namespace. */
  procLine(ns: NetNamespace): string {
    if (this.netns !== null && this.netns !== ns) return '';
    const connected = this.state === CONNECTED;
    // Without a struct socket: SS_CONNECTING or SS_DISCONNECTING; with one SS_CONNECTED or SS_UNCONNECTED.
    const state = this.accepted ? (connected ? 3 : 1) : connected ? 2 : 4;
    const flags = this.state === LISTENING ? '00010000' : '00000000';
    const ino = this.accepted ? this.inode().ino : 0;
    const head = `0000000000000000: 0000000${connected ? 3 : 2} 00000000 ${flags} ${hex(this.type, 4)} ${hex(state, 2)} ${String(ino).padStart(5)}`;
    return this.address === null ? `${head}\n` : `${head} ${this.address.name.replaceAll('\0', '@')}\n`;
  }

  // ---- addresses

  override bind(t: Task, name: Uint8Array, length: number): number {
    if (length === PATH_AT && name[0] === AF_UNIX && name[1] === 0) return this.autobind(t);
    const text = nameOf(name, length);
    if (typeof text === 'number') return text;
    if (this.address !== null) return -EINVAL;
    if (text.charCodeAt(0) === 0) {
      const table = abstractTable(t);
      const key = this.abstractKey(text);
      if (table.has(key)) return -EADDRINUSE;
      table.set(key, this);
      this.address = new UnixAddress(text, null);
      return 0;
    }
    const place = t.kernel.vfs.makeNode(t, null, text, S_IFSOCK | (this.inode().mode & 0o777), 0);
    if (typeof place === 'number') return place === -EEXIST ? -EADDRINUSE : place;
    place.dentry.inode!.boundSocket = this;
    this.address = new UnixAddress(text, place);
    return 0;
  }

  /** An abstract name of five hex digits: unix_autobind(). */
  private autobind(t: Task): number {
    if (this.address !== null) return 0;
    const table = abstractTable(t);
    const first = Math.floor(Math.random() * 0x100000);
    for (let i = 0; i < 0x100000; i++) {
      const text = `\0${((first + i) % 0x100000).toString(16).padStart(5, '0')}`;
      const key = this.abstractKey(text);
      if (table.has(key)) continue;
      table.set(key, this);
      this.address = new UnixAddress(text, null);
      return 0;
    }
    return -ENOSPC;
  }

  private abstractKey(name: string): string {
    return `${this.type}${name}`;
  }

  /** The socket with this address, of our type: unix_find_other(). */
  private find(t: Task, name: Uint8Array, length: number): UnixSocket | number {
    const text = nameOf(name, length);
    if (typeof text === 'number') return text;
    let found: UnixSocket | null;
    if (text.charCodeAt(0) === 0) {
      found = abstractTable(t).get(this.abstractKey(text)) ?? null;
      if (found !== null && landlockScoped(t.landlock, found.domain, LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)) return -EPERM;
    } else {
      const place = t.kernel.vfs.lookup(t, null, text, LOOKUP_FOLLOW);
      if (typeof place === 'number') return place;
      const inode = place.dentry.inode!;
      const denied = inodePermission(inode, credsOn(place.mount, t.creds), MAY_WRITE);
      if (denied < 0) return denied;
      found = inode.boundSocket as UnixSocket | null;
    }
    if (found === null) return -ECONNREFUSED;
    return found.type === this.type ? found : -EPROTOTYPE;
  }

  /**
   * Nobody of the sandbox is bound at the name. Where the host's sockets may be used (--host-uds, a mount of the socket
   * itself), the host is asked: a socket of its own, connected, or -errno.
   */
  private findHost(t: Task, name: Uint8Array, length: number): Socket | number {
    const text = nameOf(name, length);
    if (typeof text === 'number' || text.charCodeAt(0) === 0) return -ECONNREFUSED;
    const place = t.kernel.vfs.lookup(t, null, text, LOOKUP_FOLLOW);
    if (typeof place === 'number') return place;
    const inode = place.dentry.inode!;
    if (inode.boundSocket !== null) return -ECONNREFUSED;
    const hostFd = inode.connectHost(this.type);
    // Refused by the tree's policy, or by a listener with a full queue, which cannot be waited for.
    if (hostFd === -EACCES || hostFd === -EAGAIN) return -ECONNREFUSED;
    return hostFd < 0 ? hostFd : socketBehind(t.kernel, this.type, hostFd, this.waiters);
  }

  private connectToHost(t: Task, name: Uint8Array, length: number): number {
    // The host is not asked for a connection that could not be used: whether somebody is there stays unknown, but for the one that is.
    if (this.state !== UNCONNECTED && this.isConnectionOriented) return this.host !== null ? -EISCONN : -ECONNREFUSED;
    const host = this.findHost(t, name, length);
    if (typeof host === 'number') return host;
    this.host?.decRef(t);
    if (this.peer !== null) this.disconnect();
    this.host = host;
    this.hostName = nameOf(name, length) as string;
    this.state = CONNECTED;
    this.waiters.notify(WRITABLE);
    return 0;
  }

  override getName(_t: Task, peer: boolean, out: SocketName): number {
    if (peer && this.host !== null) {
      out.length = new UnixAddress(this.hostName, null).put(out.bytes) + 1;
      out.bytes[out.length - 1] = 0;
      return 0;
    }
    const of = peer ? this.peer : this;
    if (of === null) return -ENOTCONN;
    out.length = putAddress(of.address, out.bytes);
    return 0;
  }

  // ---- connections

  override pairWith(t: Task, other: Socket): number {
    const o = other as UnixSocket;
    this.peer = o;
    o.peer = this;
    this.peerCreds = credsOf(t);
    o.peerCreds = this.peerCreds;
    this.peerGroups = t.creds.groups;
    o.peerGroups = t.creds.groups;
    this.state = CONNECTED;
    o.state = CONNECTED;
    return 0;
  }

  override listen(t: Task, backlog: number): number {
    if (!this.isConnectionOriented) return -EOPNOTSUPP;
    // "No listens on an unbound socket" - unix_listen().
    if (this.address === null || this.state === CONNECTED) return -EINVAL;
    const grown = backlog > this.backlog;
    this.backlog = Math.min(backlog >>> 0, t.kernel.sysctls.int('net.core.somaxconn'));
    this.state = LISTENING;
    this.peerCreds = credsOf(t);
    this.peerGroups = t.creds.groups;
    if (grown) this.makeRoom();
    return 0;
  }

  protected override get isListening(): boolean {
    return this.state === LISTENING;
  }

  override connect(t: Task, name: Uint8Array, length: number): number {
    return this.isConnectionOriented ? this.connectStream(t, name, length) : this.connectDatagram(t, name, length);
  }

  private connectStream(t: Task, name: Uint8Array, length: number): number {
    const bad = nameOf(name, length);
    if (typeof bad === 'number') return bad;
    if (this.wantsCreds && this.address === null) this.autobind(t);
    const listener = this.find(t, name, length);
    if (listener === -ECONNREFUSED) return this.connectToHost(t, name, length);
    if (typeof listener === 'number') return listener;
    if (listener.state !== LISTENING || (listener.shut & RCV_SHUTDOWN) !== 0) return -ECONNREFUSED;
    // Asked before our own state, as there.
    if (listener.queue.length > listener.backlog) {
      listener.crowd.add(this);
      return -EAGAIN;
    }
    if (this.state !== UNCONNECTED) return this.state === CONNECTED ? -EISCONN : -EINVAL;
    const far = new UnixSocket(null, this.type, 0);
    far.sndbuf = listener.sndbuf;
    far.passCred = listener.passCred;
    far.passPidfd = listener.passPidfd;
    far.address = listener.address;
    far.peer = this;
    far.peerCreds = credsOf(t);
    far.peerGroups = t.creds.groups;
    far.state = CONNECTED;
    far.accepted = false;
    this.peer = far;
    this.peerCreds = listener.peerCreds;
    this.peerGroups = listener.peerGroups;
    this.state = CONNECTED;
    const packet = new Packet(this, null, 0, true);
    packet.connection = far;
    listener.queue.push(packet);
    listener.waiters.notify(READABLE);
    return 0;
  }

  override accept(t: Task, flags: number): Socket | number {
    if (!this.isConnectionOriented) return -EOPNOTSUPP;
    if (this.state !== LISTENING) return -EINVAL;
    const packet = this.queue.shift();
    // A shut down listener has no more connections to give.
    if (packet === null) return (this.shut & RCV_SHUTDOWN) !== 0 ? -EINVAL : -EAGAIN;
    const socket = packet.connection!;
    packet.release();
    const inode = socket.inode();
    inode.uid = t.creds.fsuid;
    inode.gid = t.creds.fsgid;
    socket.flags |= flags;
    socket.accepted = true;
    this.makeRoom();
    return socket;
  }

  private connectDatagram(t: Task, name: Uint8Array, length: number): number {
    if (name[0] === AF_UNSPEC && name[1] === 0) {
      this.leaveHost(t);
      if (this.peer === null) return 0;
      this.disconnect();
      return 0;
    }
    if (typeof nameOf(name, length) === 'number') return -EINVAL;
    if (this.wantsCreds && this.address === null) this.autobind(t);
    const other = this.find(t, name, length);
    if (other === -ECONNREFUSED) return this.connectToHost(t, name, length);
    if (typeof other === 'number') return other;
    if (!other.takesFrom(this)) return -EPERM;
    this.leaveHost(t);
    if (this.peer !== null && this.peer !== other) this.disconnect();
    this.peer = other;
    this.state = CONNECTED;
    this.waiters.notify(WRITABLE);
    return 0;
  }

  private leaveHost(t: Task | null): void {
    if (this.host === null) return;
    this.host.decRef(t);
    this.host = null;
    this.state = UNCONNECTED;
  }

  private disconnect(): void {
    const old = this.peer!;
    this.peer = null;
    this.state = UNCONNECTED;
    old.crowd.delete(this);
    // What the old peer sent is dropped, and it is told: unix_dgram_disconnected().
    if (this.queue.length > 0) {
      this.dropQueue(null);
      this.makeRoom();
      if (!old.isDead && old.peer === this) {
        old.pendingError = ECONNRESET;
        old.waiters.notify(CHANGED);
      }
    }
  }

  /** unix_may_send(): a connected datagram socket hears its peer only. */
  private takesFrom(sender: UnixSocket): boolean {
    return this.peer === null || this.peer === sender;
  }

  override shutdown(t: Task, how: number): number {
    if (this.host !== null) return this.host.shutdown(t, how);
    const mine = how === SHUT_RD ? RCV_SHUTDOWN : how === SHUT_WR ? SEND_SHUTDOWN : BOTH;
    this.shut |= mine;
    const other = this.peer;
    if (other !== null && this.isConnectionOriented) {
      other.shut |= ((mine & RCV_SHUTDOWN) !== 0 ? SEND_SHUTDOWN : 0) | ((mine & SEND_SHUTDOWN) !== 0 ? RCV_SHUTDOWN : 0);
      other.waiters.notify(CHANGED);
    }
    this.waiters.notify(CHANGED);
    // Whoever waits to connect to a listener that is no more.
    if (this.state === LISTENING) this.makeRoom();
    return 0;
  }

  // ---- sending

  override send(t: Task, io: IoBuffer, m: Message): number {
    if (this.host !== null && m.nameLength === 0) return this.host.send(t, io, m);
    if (this.type === SOCK_STREAM) return this.sendStream(t, io, m);
    return (m.flags & MSG_OOB) !== 0 ? -EOPNOTSUPP : this.sendDatagram(t, io, m);
  }

  private sendStream(t: Task, io: IoBuffer, m: Message): number {
    // The last byte is the urgent one: queue_oob().
    const urgent = (m.flags & MSG_OOB) !== 0 ? 1 : 0;
    if (urgent > io.remaining) return -EOPNOTSUPP;
    if (m.nameLength > 0) return this.state === CONNECTED ? -EISCONN : -EOPNOTSUPP;
    const other = this.peer;
    if (other === null) return -ENOTCONN;
    if ((this.shut & SEND_SHUTDOWN) !== 0) return -EPIPE;
    let done = 0;
    while (io.remaining > 0) {
      const refused = this.cannotAllocate();
      if (refused < 0) return done > 0 ? done : refused;
      if (other.isDead || (other.shut & RCV_SHUTDOWN) !== 0) return done > 0 ? done : -EPIPE;
      const isMark = io.remaining === urgent;
      const n = isMark ? 1 : Math.min(io.remaining - urgent, Math.floor(this.sndbuf / 2) - 64, MAX_STREAM_PACKET);
      const packet = new Packet(this, this.address, n, true);
      packet.isUrgent = isMark;
      if (io.take(packet.bytes, 0, n) !== n) {
        packet.release();
        return done > 0 ? done : -EFAULT;
      }
      this.attach(t, packet, m, other);
      if (isMark) other.urgentPacket = packet;
      other.enqueue(packet);
      if (isMark) other.owner?.urgent();
      done += n;
    }
    return done;
  }

  private sendDatagram(t: Task, io: IoBuffer, m: Message): number {
    if (this.type === SOCK_SEQPACKET) {
      const error = this.takeError();
      if (error < 0) return error;
      if (this.state !== CONNECTED) return -ENOTCONN;
    }
    const toName = m.nameLength > 0 && this.type !== SOCK_SEQPACKET;
    if (toName && typeof nameOf(m.name, m.nameLength) === 'number') return -EINVAL;
    if (this.wantsCreds && this.address === null) this.autobind(t);
    const total = io.remaining;
    if (total > this.sndbuf - 32) return -EMSGSIZE;
    if (total > MAX_DATAGRAM) return -ENOBUFS;
    const refused = this.cannotAllocate();
    if (refused < 0) return refused;
    const other = toName ? this.find(t, m.name, m.nameLength) : this.peer;
    if (other === null) return -ENOTCONN;
    if (other === -ECONNREFUSED) return this.sendToHost(t, io, m);
    if (typeof other === 'number') return other;
    if (!other.takesFrom(this)) return -EPERM;
    if (other.isDead) return this.peerIsGone(other);
    if ((other.shut & RCV_SHUTDOWN) !== 0) return -EPIPE;
    if (other !== this && other.peer !== this && other.queue.length > other.backlog) {
      other.crowd.add(this);
      return -EAGAIN;
    }
    const packet = new Packet(this, this.address, total, false);
    if (total > 0 && io.take(packet.bytes, 0, total) !== total) {
      packet.release();
      return -EFAULT;
    }
    this.attach(t, packet, m, other);
    other.enqueue(packet);
    return total;
  }

  /** One datagram to a name of the host's: a connection for that long. */
  private sendToHost(t: Task, io: IoBuffer, m: Message): number {
    const host = this.findHost(t, m.name, m.nameLength);
    if (typeof host === 'number') return host;
    m.nameLength = 0;
    const n = host.send(t, io, m);
    host.decRef(t);
    // Nobody would tell when there is room.
    return n === -EAGAIN ? -ENOBUFS : n;
  }

  private peerIsGone(other: UnixSocket): number {
    if (this.type === SOCK_SEQPACKET) return -EPIPE;
    if (this.peer !== other) return -ECONNREFUSED;
    this.peer = null;
    this.state = UNCONNECTED;
    return -ECONNREFUSED;
  }

  /** sock_alloc_send_pskb(): a pending error, the end of sending, or no memory: 0 or -errno. */
  private cannotAllocate(): number {
    if (this.pendingError !== 0) return this.takeError();
    if ((this.shut & SEND_SHUTDOWN) !== 0) return -EPIPE;
    return this.inFlight >= this.sndbuf ? -EAGAIN : 0;
  }

  /** Ancillary data: descriptors go with the first packet of a send, credentials with every one. */
  private attach(t: Task, packet: Packet, m: Message, other: UnixSocket): void {
    if (m.rights.length > 0) {
      packet.rights = m.rights;
      m.rights = [];
    }
    if (m.creds !== null) packet.creds = m.creds;
    // Even unasked if one side wants them: maybe_add_creds().
    else if (this.wantsCreds || other.wantsCreds) packet.creds = credsOf(t);
    this.inFlight += packet.trueSize;
  }

  private get wantsCreds(): boolean {
    return this.passCred || this.passPidfd;
  }

  /** SO_PEERPIDFD: who connected, or listened. */
  override get peerPid(): Pid | null {
    return this.peerCreds?.pid ?? null;
  }

  private enqueue(packet: Packet): void {
    this.queue.push(packet);
    this.waiters.notify(READABLE);
  }

  /** A packet's memory is free again: sock_wfree(), unix_write_space(). */
  private sent(trueSize: number): void {
    this.inFlight -= trueSize;
    if (this.isWritable && !this.isDead) this.waiters.notify(WRITABLE);
  }

  private get isWritable(): boolean {
    return this.state !== LISTENING && this.inFlight * 4 <= this.sndbuf;
  }

  /** Writing to a stream whose reader has gone raises SIGPIPE, unless part was sent: unix_stream_sendmsg(). */
  override raisesSigpipe(moved: boolean): boolean {
    return this.type === SOCK_STREAM && !moved;
  }

  // ---- receiving

  override receive(t: Task, io: IoBuffer, m: Message): number {
    if (this.host !== null) return this.host.receive(t, io, m);
    if (this.type === SOCK_STREAM) return (m.flags & MSG_OOB) !== 0 ? this.receiveUrgent(io, m) : this.receiveStream(t, io, m);
    return (m.flags & MSG_OOB) !== 0 ? -EOPNOTSUPP : this.receiveDatagram(t, io, m);
  }

  /** The urgent byte out of turn: unix_stream_recv_urg(). Its empty packet stays where it was, as the mark. */
  private receiveUrgent(io: IoBuffer, m: Message): number {
    if (this.state !== CONNECTED) return -EINVAL;
    const packet = this.urgentPacket;
    if (packet === null || this.isUrgentInline) return -EINVAL;
    const n = Math.min(1, io.remaining);
    if (n > 0 && io.put(packet.bytes, packet.at, 1) !== 1) return -EFAULT;
    if ((m.flags & MSG_PEEK) === 0) {
      this.urgentPacket = null;
      packet.at += 1;
    }
    m.outFlags |= MSG_OOB;
    return n;
  }

  /** Reads stop at the urgent byte, and the next one goes on behind it: manage_oob(). The packet to read from, or null. */
  private pastMark(packet: Packet | null, peek: boolean, copied: boolean): Packet | null {
    if (packet === null || (packet.length > 0 && packet !== this.urgentPacket)) return packet;
    if (packet.length === 0 && packet !== this.urgentPacket && packet.isUrgent) {
      if (copied && this.urgentPacket === null) return null;
      const next: Packet | null = packet.listNext;
      if (!peek) this.drop(packet);
      packet = next;
    }
    if (packet === null || packet !== this.urgentPacket) return packet;
    if (copied) return null;
    if (this.isUrgentInline) {
      if (!peek) this.urgentPacket = null;
      return packet;
    }
    const next: Packet | null = packet.listNext;
    if (!peek) {
      this.urgentPacket = null;
      this.drop(packet);
    }
    return next;
  }

  /** SIOCATMARK. */
  private isAtMark(): boolean {
    const head = this.queue.head;
    if (head === null) return false;
    return (
      head === this.urgentPacket ||
      (head.length === 0 && head.isUrgent && (this.urgentPacket === null || head.listNext === this.urgentPacket))
    );
  }

  private receiveStream(t: Task, io: IoBuffer, m: Message): number {
    if (this.state !== CONNECTED) return -EINVAL;
    const peek = (m.flags & MSG_PEEK) !== 0;
    let done = 0;
    let packet = this.pastMark(this.queue.head, peek, false);
    if (packet === null) return this.nothingToReceive(m);
    // Bytes of different senders, or before and after descriptors, are never in one receive.
    const creds = packet.creds;
    // Once even without room for a byte: what comes with it is received.
    do {
      if (done > 0 && this.wantsCreds && !sameCreds(creds, packet.creds)) break;
      if (done === 0) this.describe(t, packet, m);
      const n = Math.min(packet.length, io.remaining);
      if (n > 0 && io.put(packet.bytes, packet.at, n) !== n) return done > 0 ? done : -EFAULT;
      done += n;
      const hadRights = packet.rights.length > 0;
      if (hadRights) this.passRights(packet, m, peek);
      const next: Packet | null = packet.listNext;
      if (!peek) {
        packet.at += n;
        if (packet.length > 0) break;
        this.drop(packet);
      }
      if (hadRights) break;
      packet = this.pastMark(next, peek, done > 0);
    } while (packet !== null && io.remaining > 0);
    return done;
  }

  private receiveDatagram(t: Task, io: IoBuffer, m: Message): number {
    if (this.type === SOCK_SEQPACKET && this.state !== CONNECTED) return -ENOTCONN;
    const packet = this.queue.head;
    if (packet === null) return this.nothingToReceive(m);
    const peek = (m.flags & MSG_PEEK) !== 0;
    const n = Math.min(packet.length, io.remaining);
    if (n > 0 && io.put(packet.bytes, packet.at, n) !== n) return -EFAULT;
    const length = packet.length;
    if (n < length) m.outFlags |= MSG_TRUNC;
    this.describe(t, packet, m);
    if (packet.rights.length > 0) this.passRights(packet, m, peek);
    if (!peek) {
      this.drop(packet);
      this.makeRoom();
    }
    return (m.flags & MSG_TRUNC) !== 0 ? length : n;
  }

  private nothingToReceive(m: Message): number {
    if (this.pendingError !== 0) return this.takeError();
    if ((this.shut & RCV_SHUTDOWN) === 0) return -EAGAIN;
    // A datagram socket that may not wait does not look at shutdown: __skb_recv_datagram().
    return this.type === SOCK_DGRAM && (this.nonblocking || (m.flags & MSG_DONTWAIT) !== 0) ? -EAGAIN : 0;
  }

  /** Who sent it. */
  private describe(_t: Task, packet: Packet, m: Message): void {
    m.nameLength = packet.from === null ? 0 : putAddress(packet.from, m.name);
    if (this.passCred) m.creds = packet.creds ?? NOBODY;
    if (this.passPidfd) m.sender = packet.creds?.pid ?? null;
  }

  private passRights(packet: Packet, m: Message, peek: boolean): void {
    for (const file of packet.rights) {
      if (peek) file.incRef();
      m.rights.push(file);
    }
    if (!peek) packet.rights = [];
  }

  private drop(packet: Packet): void {
    if (packet === this.urgentPacket) this.urgentPacket = null;
    this.queue.remove(packet);
    packet.release();
    packet.sender.sent(packet.trueSize);
  }

  private dropQueue(t: Task | null): void {
    for (let packet = this.queue.head; packet !== null; packet = this.queue.head) {
      buryAll(packet.rights, t);
      packet.rights = [];
      if (packet.connection !== null) {
        this.queue.remove(packet);
        packet.release();
        packet.connection.abandon();
      } else this.drop(packet);
    }
  }

  /** There is room in our queue again: those who wait for it may try. */
  private makeRoom(): void {
    if (this.crowd.size === 0) return;
    const waiting = [...this.crowd];
    this.crowd.clear();
    for (const socket of waiting) socket.waiters.notify(WRITABLE);
  }

  // ---- state

  override poll(t: Task | null): number {
    if (this.host !== null) return this.host.poll(t);
    let events = 0;
    if (this.pendingError !== 0) events |= POLLERR;
    if (this.shut === BOTH) events |= POLLHUP;
    if ((this.shut & RCV_SHUTDOWN) !== 0) events |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (this.queue.length > 0) events |= POLLIN | POLLRDNORM;
    if (this.urgentPacket !== null) events |= POLLPRI;
    if (this.isConnectionOriented && this.state === UNCONNECTED) events |= POLLHUP;
    if (this.isWritable && !this.peerIsFull()) events |= WRITABLE;
    return events;
  }

  /** A connected datagram socket can be writable and still have nowhere to write to: unix_dgram_poll(). */
  private peerIsFull(): boolean {
    const other = this.peer;
    if (this.type !== SOCK_DGRAM || other === null || other.peer === this || other.queue.length <= other.backlog) return false;
    other.crowd.add(this);
    return true;
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    if (this.host !== null && (cmd === FIONREAD || cmd === TIOCOUTQ)) return this.host.ioctl(t, cmd, arg);
    switch (cmd) {
      case SIOCATMARK:
        return this.type === SOCK_STREAM ? t.mm.storeU32(arg, this.isAtMark() ? 1 : 0) : -EOPNOTSUPP;
      case TIOCOUTQ:
        return t.mm.storeU32(arg, this.inFlight);
      case FIONREAD: {
        if (this.state === LISTENING) return -EINVAL;
        let n = this.queue.head?.length ?? 0;
        if (this.isConnectionOriented) {
          n = 0;
          for (let packet = this.queue.head; packet !== null; packet = packet.listNext) n += packet.length;
        }
        return t.mm.storeU32(arg, n);
      }
      default:
        return interfaceIoctl(t, networkOf(t.kernel, this.netns ?? t.ns.net), cmd, arg);
    }
  }

  override setOption(t: Task, level: number, name: number, value: Uint8Array, length: number): number {
    if (level === SOL_SOCKET && name === SO_REUSEPORT && length >= 4) return -EOPNOTSUPP;
    return super.setOption(t, level, name, value, length);
  }

  // A unix socket has no levels but SOL_SOCKET.
  protected override setFamilyOption(_t: Task, _level: number, _name: number, _value: Uint8Array, _length: number): number {
    return -EOPNOTSUPP;
  }

  protected override getFamilyOption(t: Task, level: number, name: number, value: Uint8Array, length: number): number {
    if (level !== SOL_SOCKET) return -EOPNOTSUPP;
    switch (name) {
      case SO_PEERCRED:
        putCreds(t, this.peerCreds, value);
        return UCRED_SIZE;
      case SO_PEERGROUPS: {
        if (this.peerCreds === null) return -ENOPROTOOPT;
        const v = new DataView(value.buffer, value.byteOffset, value.byteLength);
        if (length < this.peerGroups.length * 4) return -ERANGE;
        for (let i = 0; i < this.peerGroups.length; i++) v.setUint32(i * 4, t.creds.userns.gidFromKernel(this.peerGroups[i]!), true);
        return this.peerGroups.length * 4;
      }
      case SO_PEERNAME: {
        if (this.peer === null) return -ENOTCONN;
        const n = putAddress(this.peer.address, value);
        return n < length ? -EINVAL : length;
      }
      default:
        return -ENOPROTOOPT;
    }
  }

  /** unix_release_sock(). */
  protected override release(t: Task | null): void {
    live.delete(this);
    this.leaveHost(t);
    this.isDead = true;
    this.shut = BOTH;
    const address = this.address;
    if (address !== null) {
      if (address.place === null) {
        const table = this.netns === null ? undefined : abstractNames.get(this.netns);
        const key = this.abstractKey(address.name);
        if (table?.get(key) === this) table.delete(key);
      } else if (address.place.dentry.inode?.boundSocket === this) address.place.dentry.inode.boundSocket = null;
    }
    const other = this.peer;
    if (other !== null) {
      other.crowd.delete(this);
      if (this.isConnectionOriented && other.peer === this) {
        other.shut = BOTH;
        if (this.queue.length > 0) other.pendingError = ECONNRESET;
        other.waiters.notify(CHANGED);
      } else if (other.peer === this) other.waiters.notify(CHANGED);
    }
    this.dropQueue(t);
    this.makeRoom();
  }

  /** A connection that nobody has accepted dies with the listener. */
  private abandon(): void {
    live.delete(this);
    const other = this.peer;
    this.isDead = true;
    this.shut = BOTH;
    if (other !== null) {
      other.shut = BOTH;
      other.pendingError = ECONNRESET;
      other.waiters.notify(CHANGED);
    }
    this.dropQueue(null);
  }
}

function hex(n: number, digits: number): string {
  return n.toString(16).toUpperCase().padStart(digits, '0');
}

// A closed socket closes what was on its way to it, which may be sockets with more on the way: one
// after the other, since a chain of them is as long as its maker likes, and the stack is not.
const dying: FileDescription[] = [];
let burying = false;

function buryAll(files: readonly FileDescription[], t: Task | null): void {
  for (const file of files) dying.push(file);
  if (burying) return;
  burying = true;
  for (let file = dying.pop(); file !== undefined; file = dying.pop()) file.decRef(t);
  burying = false;
}

/** An address or, for an unbound socket, the family alone. */
function putAddress(address: UnixAddress | null, out: Uint8Array): number {
  if (address !== null) return address.put(out);
  out[0] = AF_UNIX;
  out[1] = 0;
  return PATH_AT;
}

const NOBODY: MessageCreds = { pid: null, uid: -1, gid: -1 };

function credsOf(t: Task): MessageCreds {
  return { pid: t.group.pid, uid: t.creds.euid, gid: t.creds.egid };
}

function sameCreds(a: MessageCreds | null, b: MessageCreds | null): boolean {
  if (a === null || b === null) return a === b;
  return a.pid === b.pid && a.uid === b.uid && a.gid === b.gid;
}

/** struct ucred as `t` sees it. Unknown peers are pid 0 and the ids -1. */
export function putCreds(t: Task, creds: MessageCreds | null, out: Uint8Array): void {
  const v = new DataView(out.buffer, out.byteOffset, out.byteLength);
  v.setInt32(0, creds?.pid?.numberIn(t.group.pidns) ?? 0, true);
  v.setInt32(4, creds === null ? -1 : t.creds.userns.uidFromKernel(creds.uid), true);
  v.setInt32(8, creds === null ? -1 : t.creds.userns.gidFromKernel(creds.gid), true);
}

/** socket(AF_UNIX, …). */
export function newUnixSocket(t: Task, _family: number, type: number, protocol: number, flags: number): Socket | number {
  if (protocol !== 0 && protocol !== AF_UNIX) return -EPROTONOSUPPORT;
  // "Believe it or not BSD has AF_UNIX, SOCK_RAW though nobody uses it" - unix_create().
  if (type === SOCK_RAW) type = SOCK_DGRAM;
  if (type !== SOCK_STREAM && type !== SOCK_DGRAM && type !== SOCK_SEQPACKET) return -ESOCKTNOSUPPORT;
  return new UnixSocket(t, type, flags);
}
