// The Sentry's side of a gofer connection: builds requests, waits for answers, and turns a broken connection into EIO.
// One request is under way at a time, since handlers do not interleave. Answers are decoded into a few shared objects
// (`attributes`, `directory`, …), valid until the next request.
//
// Handles that are not needed any more travel with the next request; nobody waits for a close.

import { Attributes, getAttributes } from '../../../gofer/protocol/attributes.ts';
import type { Reader, Writer } from '../../../gofer/protocol/buffer.ts';
import { ClientChannel } from '../../../gofer/protocol/channel.ts';
import {
  type AttachReply,
  CLOSE_MAX,
  DirEntry,
  getAttachReply,
  getContentsStep,
  getDirEntry,
  getListXattrReply,
  getMakeReply,
  getReaddirReply,
  getReadlinkReply,
  getStatfsReply,
  getStatReply,
  getStatsStep,
  getTwoAttributes,
  getUnlinkReply,
  getWalkOpenReply,
  getWalkReply,
  getWalkStep,
  getXattrReply,
  OP_ATTACH,
  OP_BIND,
  OP_CLOSE,
  OP_CONNECT,
  OP_CONTENTS,
  OP_CREATE,
  OP_GETXATTR,
  OP_LINK,
  OP_LISTXATTR,
  OP_OPEN,
  OP_READDIR,
  OP_READLINK,
  OP_REMOVEXATTR,
  OP_RENAME,
  OP_SETSTAT,
  OP_SETXATTR,
  OP_STAT,
  OP_STATFS,
  OP_STATS,
  OP_SYNC,
  OP_TMPFILE,
  OP_UNLINK,
  OP_UNWATCH,
  OP_WALK,
  OP_WALKOPEN,
  OP_WATCH,
  putAttach,
  putConnect,
  putHandle,
  putLink,
  putMake,
  putOpen,
  putReaddir,
  putRename,
  putSetStat,
  putSetXattr,
  putStats,
  putUnlink,
  putUnwatch,
  putWalk,
  putWalkOpen,
  putWatch,
  putXattrName,
  ReaddirReply,
  type SetStatFields,
  WALK_LOOK,
  WALK_OPEN,
  WalkReply,
} from '../../../gofer/protocol/messages.ts';
import { EAGAIN, EIO, EMFILE, ENFILE } from '../../abi/errno.ts';
import { POLLHUP } from '../../abi/poll.ts';
import { ProtocolError } from '../../base/errors.ts';
import { getU64 } from '../../base/int64.ts';
import { warn } from '../../base/log.ts';
import { close, futexWait, futexWake, mapShared, pollFd, recvTaggedFd } from '../../host/host-io.ts';
import type { StatFs } from '../../vfs/filesystem.ts';

/** What carries requests: a ClientChannel, or in tests a server in the same thread. */
export interface Transport {
  readonly request: Writer;
  readonly reply: Reader;
  readonly donated: number;
  readonly sequence: number;
  roundTrip(): number;
}

/** Takes a directory's entries as they come. */
export interface EntryTaker {
  /** The name is u8[nameAt, nameAt + nameLength) until it returns; attributes: those of the entry, or null. */
  take(entry: DirEntry, u8: Uint8Array, attributes: Attributes | null): void;
}

export class GoferClient {
  private readonly transport: Transport;
  private readonly socketFd: number;
  private readonly closes: number[] = [];
  /** An answer is being read: no other request may go out. */
  private busy = false;
  /** The connection is dropped: every request answers -EIO. */
  broken = false;
  /** Called when the connection has been dropped for what the gofer did. */
  onDropped: () => void = () => {};
  /** Handles that the gofer has open for us, and how many it can have. */
  handles = 0;
  handleLimit = Number.POSITIVE_INFINITY;
  /** Attributes of the file that a request is about, and of its directory. */
  readonly attributes: Attributes = new Attributes();
  readonly directory: Attributes = new Attributes();
  /** After walkOpen(), and make() with OP_CREATE, OP_TMPFILE or OP_BIND: the descriptor that came with it, which is the caller's now. */
  madeFd = -1;
  /** Where events of watch() arrive, or -1. */
  watchFd = -1;
  private readonly walkReply: WalkReply = new WalkReply();
  private readonly readdirReply: ReaddirReply = new ReaddirReply();
  private readonly entry: DirEntry = new DirEntry();
  private readonly entryAttributes: Attributes = new Attributes();

  constructor(transport: Transport, socketFd: number) {
    this.transport = transport;
    this.socketFd = socketFd;
  }

  /** A client over an inherited region and the socket beside it, or -errno. */
  static connect(regionFd: number, regionSize: number, socketFd: number): GoferClient | number {
    const memory = mapShared(regionFd, regionSize);
    if (typeof memory === 'number') return memory;
    const peerGone = () => {
      const events = pollFd(socketFd, 0, 0);
      return events > 0 && (events & POLLHUP) !== 0;
    };
    return new GoferClient(new ClientChannel(memory, { futexWait, futexWake }, peerGone), socketFd);
  }

  /** Gives a handle up, with the next request. */
  closeLater(handle: number): void {
    if (handle === 0 || this.broken) return;
    this.handles--;
    this.closes.push(handle);
    if (this.closes.length >= CLOSE_MAX && !this.busy) this.flush();
  }

  /** Sends what closeLater() has gathered. */
  flush(): void {
    while (this.closes.length > 0 && !this.broken) {
      this.begin(OP_CLOSE);
      this.call();
    }
  }

  private begin(op: number): Writer {
    const w = this.transport.request;
    w.at = 0;
    w.u32(op);
    const { closes } = this;
    const count = Math.min(closes.length, CLOSE_MAX);
    w.u32(count);
    for (let i = 0; i < count; i++) w.u32(closes.pop()!);
    return w;
  }

  /** The result: ≥ 0 or -errno. */
  private call(): number {
    if (this.broken) return -EIO;
    try {
      return this.transport.roundTrip();
    } catch (error) {
      return this.drop(error);
    }
  }

  /** Who breaks the protocol is not talked to again. */
  private drop(error: unknown): number {
    if (!(error instanceof ProtocolError)) throw error;
    warn(`gofer connection dropped: ${error.message}`);
    this.disconnect();
    this.onDropped();
    return -EIO;
  }

  /** Ends the connection, and so the gofer. */
  disconnect(): void {
    if (this.broken) return;
    this.broken = true;
    close(this.socketFd);
  }

  /** The descriptor that came with the last answer, or -errno. */
  private takeFd(): number {
    const { transport } = this;
    if (transport.donated === 0) return this.drop(new ProtocolError('an answer without its descriptor'));
    const fd = recvTaggedFd(this.socketFd, transport.sequence);
    if (fd >= 0) return fd;
    // The sandbox has all the descriptors it can have. Guests have limits of their own; what they share is the system's.
    if (fd === -EMFILE) return -ENFILE;
    return this.drop(new ProtocolError(fd === -EAGAIN ? 'a descriptor that was not sent' : `a descriptor that cannot be received: ${fd}`));
  }

  /** Runs a decoder over an answer: 0, or -EIO when the answer is broken. */
  private decoded(result: number, decode: (c: GoferClient, r: Reader) => void): number {
    if (result < 0) return result;
    try {
      decode(this, this.transport.reply);
      return 0;
    } catch (error) {
      return this.drop(error);
    }
  }

  /** The root of a tree. Attributes are in `out.attributes`. */
  attach(tree: number, out: AttachReply): number {
    putAttach(this.begin(OP_ATTACH), tree);
    const result = this.decoded(this.call(), (_c, r) => getAttachReply(r, out));
    if (result < 0) return result;
    this.handles++;
    this.handleLimit = out.handleLimit;
    return result;
  }

  /**
   * Walks down; `step` hears of each name reached, with `attributes` filled. 0 when all names were reached or the walk
   * ended at something that is no directory; else the -errno of the first name not reached.
   */
  walk(handle: number, flags: number, names: readonly string[], step: (index: number, handle: number) => void): number {
    putWalk(this.begin(OP_WALK), handle, flags, names);
    const result = this.call();
    if (result < 0) return result;
    const { reply } = this.transport;
    this.busy = true;
    try {
      getWalkReply(reply, names.length, this.walkReply);
      for (let i = 0; i < this.walkReply.reached; i++) {
        const reached = getWalkStep(reply, this.attributes);
        if (reached !== 0) this.handles++;
        step(i, reached);
      }
      reply.done();
    } catch (error) {
      return this.drop(error);
    } finally {
      this.busy = false;
    }
    return this.walkReply.status;
  }

  /** One name; its handle (0 with WALK_LOOK), `attributes` filled, with WALK_OPEN a descriptor or -1 in madeFd; or -errno. */
  walkOne(handle: number, flags: number, name: string): number {
    oneName[0] = name;
    putWalk(this.begin(OP_WALK), handle, flags, oneName);
    const result = this.call();
    if (result < 0) return result;
    const { reply } = this.transport;
    if (flags === WALK_OPEN) {
      this.madeFd = this.transport.donated === 0 ? -1 : this.takeFd();
      if (this.broken) return -EIO;
    }
    try {
      getWalkReply(reply, 1, this.walkReply);
      if (this.walkReply.reached === 0) {
        reply.done();
        if (this.walkReply.status === 0 || this.transport.donated !== 0) throw new ProtocolError('a walk that went nowhere');
        return this.walkReply.status;
      }
      const reached = getWalkStep(reply, this.attributes);
      reply.done();
      if ((reached === 0) !== (flags === WALK_LOOK)) throw new ProtocolError('a step without its handle');
      if (reached !== 0) this.handles++;
      return reached;
    } catch (error) {
      if (flags === WALK_OPEN && this.madeFd >= 0) close(this.madeFd);
      return this.drop(error);
    }
  }

  /** Fills `attributes`. */
  stat(handle: number): number {
    putHandle(this.begin(OP_STAT), handle);
    return this.decoded(this.call(), decodeStat);
  }

  /** Changes attributes, then fills `attributes`. */
  setStat(handle: number, fields: SetStatFields): number {
    putSetStat(this.begin(OP_SETSTAT), handle, fields);
    return this.decoded(this.call(), decodeStat);
  }

  /** A donated host descriptor, or -errno. flags: O_ACCMODE, O_APPEND, O_SYNC, O_DSYNC. */
  open(handle: number, flags: number): number {
    putOpen(this.begin(OP_OPEN), handle, flags);
    const result = this.call();
    return result < 0 ? result : this.takeFd();
  }

  /** A name's handle, with `attributes` and, in madeFd, a donated descriptor; or -errno. flags as open() takes them. */
  walkOpen(directory: number, name: string, flags: number): number {
    putWalkOpen(this.begin(OP_WALKOPEN), directory, name, flags);
    const result = this.call();
    if (result < 0) return result;
    this.madeFd = this.takeFd();
    if (this.broken) return -EIO;
    try {
      const handle = getWalkOpenReply(this.transport.reply, this.attributes);
      this.handles++;
      if (this.madeFd >= 0) return handle;
      this.closeLater(handle);
      return this.madeFd;
    } catch (error) {
      if (this.madeFd >= 0) close(this.madeFd);
      return this.drop(error);
    }
  }

  /** Makes something: op is OP_CREATE, OP_MKDIR, OP_MKNOD, OP_SYMLINK, OP_TMPFILE or OP_BIND. Its handle, `attributes` and `directory` filled. */
  make(
    op: number,
    directory: number,
    name: string,
    mode: number,
    uid: number,
    gid: number,
    rdevMajor: number,
    rdevMinor: number,
    target: string,
  ): number {
    putMake(this.begin(op), directory, name, mode, uid, gid, rdevMajor, rdevMinor, target);
    const result = this.call();
    if (result < 0) return result;
    this.madeFd = -1;
    if (op === OP_CREATE || op === OP_TMPFILE || op === OP_BIND) {
      this.madeFd = this.takeFd();
      if (this.broken) return -EIO;
    }
    try {
      const handle = getMakeReply(this.transport.reply, this.attributes, this.directory);
      this.handles++;
      // A file that was made without room for its descriptor can be opened later; a socket is lost.
      if (this.madeFd >= 0 || op !== OP_BIND) return handle;
      this.closeLater(handle);
      return this.madeFd;
    } catch (error) {
      if (this.madeFd >= 0) close(this.madeFd);
      return this.drop(error);
    }
  }

  link(handle: number, directory: number, name: string): number {
    putLink(this.begin(OP_LINK), handle, directory, name);
    return this.decoded(this.call(), decodeTwo);
  }

  /** child may be 0; else `attributes` is filled with what it has become. */
  unlink(directory: number, name: string, child: number, isDirectory: boolean): number {
    putUnlink(this.begin(OP_UNLINK), directory, child, isDirectory, name);
    return this.decoded(this.call(), decodeUnlink);
  }

  /** `attributes` is the old directory's answer, `directory` the new one's. */
  rename(oldDirectory: number, oldName: string, newDirectory: number, newName: string, flags: number): number {
    putRename(this.begin(OP_RENAME), oldDirectory, oldName, newDirectory, newName, flags);
    return this.decoded(this.call(), decodeTwo);
  }

  readlink(handle: number): string | number {
    putHandle(this.begin(OP_READLINK), handle);
    const result = this.call();
    if (result < 0) return result;
    try {
      return getReadlinkReply(this.transport.reply);
    } catch (error) {
      return this.drop(error);
    }
  }

  /**
   * A whole directory: the handle's, or the one that has `name` in it, which gets a handle of its own. flags: READDIR_*,
   * for the first `described` entries or a few more. `attributes` is the directory's after reading. The new handle, 0, or
   * -errno.
   */
  list(handle: number, name: string, flags: number, described: number, to: EntryTaker): number {
    const head = this.readdirReply;
    head.cookieLo = 0;
    head.cookieHi = 0;
    head.atEnd = false;
    let listed = handle;
    let made = 0;
    for (let count = 0; !head.atEnd; count += head.count) {
      const asked = made === 0 ? name : '';
      putReaddir(this.begin(OP_READDIR), listed, count < described ? flags : 0, head.cookieLo, head.cookieHi, asked);
      const result = this.call();
      if (result < 0) {
        this.closeLater(made);
        return result;
      }
      try {
        this.takeEntries(to);
        if ((head.handle !== 0) !== (asked !== '')) throw new ProtocolError('a directory without its handle');
      } catch (error) {
        return this.drop(error);
      }
      if (head.handle !== 0) {
        made = head.handle;
        listed = made;
        this.handles++;
      }
    }
    return made;
  }

  private takeEntries(to: EntryTaker): void {
    const { reply } = this.transport;
    const { readdirReply, entry } = this;
    getReaddirReply(reply, readdirReply);
    // A server that neither goes on nor ends would keep us for ever.
    if (readdirReply.count === 0 && !readdirReply.atEnd) throw new ProtocolError('a directory without end');
    getAttributes(reply, this.attributes);
    for (let i = 0; i < readdirReply.count; i++) {
      getDirEntry(reply, entry, this.entryAttributes);
      to.take(entry, reply.u8, entry.hasAttributes ? this.entryAttributes : null);
    }
    reply.done();
  }

  /** Attributes of several names in a directory: `step` hears of each that there is. 0 or -errno. */
  stats(directory: number, names: readonly string[], step: (index: number, attributes: Attributes) => void): number {
    putStats(this.begin(OP_STATS), directory, names);
    const result = this.call();
    if (result < 0) return result;
    const { reply } = this.transport;
    try {
      for (let i = 0; i < names.length; i++) if (getStatsStep(reply, this.attributes) === 0) step(i, this.attributes);
      reply.done();
      return 0;
    } catch (error) {
      return this.drop(error);
    }
  }

  /**
   * Attributes and bytes of small files in a directory: `step` hears of each, with the bytes at u8[at, at + length) until it returns,
   * or with a length of -errno. 0 or -errno.
   */
  contents(
    directory: number,
    names: readonly string[],
    step: (index: number, attributes: Attributes, u8: Uint8Array, at: number, length: number) => void,
  ): number {
    putStats(this.begin(OP_CONTENTS), directory, names);
    const result = this.call();
    if (result < 0) return result;
    const { reply } = this.transport;
    try {
      for (let i = 0; i < names.length; i++) {
        const n = getContentsStep(reply, this.attributes);
        step(i, this.attributes, reply.u8, reply.at - Math.max(n, 0), n);
      }
      reply.done();
      return 0;
    } catch (error) {
      return this.drop(error);
    }
  }

  statfs(handle: number, out: StatFs): number {
    putHandle(this.begin(OP_STATFS), handle);
    const result = this.call();
    if (result < 0) return result;
    const { reply } = this.transport;
    try {
      decodeStatfs(reply.view, getStatfsReply(reply), out);
      return 0;
    } catch (error) {
      return this.drop(error);
    }
  }

  getXattr(handle: number, name: string): Uint8Array | number {
    putXattrName(this.begin(OP_GETXATTR), handle, name);
    const result = this.call();
    if (result < 0) return result;
    try {
      return getXattrReply(this.transport.reply);
    } catch (error) {
      return this.drop(error);
    }
  }

  setXattr(handle: number, name: string, value: Uint8Array, flags: number): number {
    putSetXattr(this.begin(OP_SETXATTR), handle, flags, name, value);
    return this.decoded(this.call(), decodeStat);
  }

  removeXattr(handle: number, name: string): number {
    putXattrName(this.begin(OP_REMOVEXATTR), handle, name);
    return this.decoded(this.call(), decodeStat);
  }

  listXattr(handle: number): string[] | number {
    putHandle(this.begin(OP_LISTXATTR), handle);
    const result = this.call();
    if (result < 0) return result;
    try {
      return getListXattrReply(this.transport.reply);
    } catch (error) {
      return this.drop(error);
    }
  }

  /** fsync of a directory; wholeFs: syncfs. */
  sync(handle: number, wholeFs: boolean): number {
    putOpen(this.begin(OP_SYNC), handle, wholeFs ? 1 : 0);
    return this.call();
  }

  /** Watches a file for changes that others make: the watch's number or -errno. The first one leaves its descriptor in `watchFd`. */
  watch(handle: number): number {
    putWatch(this.begin(OP_WATCH), handle);
    const wd = this.call();
    if (wd < 0 || this.transport.donated === 0) return wd;
    const fd = this.takeFd();
    if (fd < 0) return fd;
    if (this.watchFd >= 0) close(this.watchFd);
    this.watchFd = fd;
    return wd;
  }

  /** Ends a watch. */
  unwatch(wd: number): void {
    putUnwatch(this.begin(OP_UNWATCH), wd);
    this.call();
  }

  /** A host socket connected to the one that the handle names, or -errno. */
  connect(handle: number, type: number): number {
    putConnect(this.begin(OP_CONNECT), handle, type);
    const result = this.call();
    return result < 0 ? result : this.takeFd();
  }
}

const oneName: string[] = [''];

function decodeStat(c: GoferClient, r: Reader): void {
  getStatReply(r, c.attributes);
}

function decodeTwo(c: GoferClient, r: Reader): void {
  getTwoAttributes(r, c.attributes, c.directory);
}

function decodeUnlink(c: GoferClient, r: Reader): void {
  getUnlinkReply(r, c.directory, c.attributes);
}

// struct statfs, arch/x86 64-bit: eleven words of 8 bytes, fsid in the eighth.
function decodeStatfs(v: DataView, at: number, out: StatFs): void {
  out.type = v.getUint32(at, true);
  out.blockSize = getU64(v, at + 8);
  out.blocks = getU64(v, at + 16);
  out.blocksFree = getU64(v, at + 24);
  out.blocksAvailable = getU64(v, at + 32);
  out.files = getU64(v, at + 40);
  out.filesFree = getU64(v, at + 48);
  out.nameLength = getU64(v, at + 64);
}
