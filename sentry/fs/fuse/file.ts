// Open files and directories of a FUSE tree: fs/fuse/file.c, fs/fuse/readdir.c. Reads and writes go
// to the server as they are, several requests at a time; there is no cache but that of mappings.

import { EFAULT, EFBIG, EINVAL, EIO, ENODEV, ENOSYS, ENOTTY, ENXIO, EOPNOTSUPP, ESPIPE } from '../../abi/errno.ts';
import { O_APPEND, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET } from '../../abi/fcntl.ts';
import {
  COPY_IN,
  DIRENT,
  ENTRY_OUT_SIZE,
  FOPEN_DIRECT_IO,
  FOPEN_NONSEEKABLE,
  FOPEN_STREAM,
  FUSE_COPY_FILE_RANGE,
  FUSE_DO_READDIRPLUS,
  FUSE_FALLOCATE,
  FUSE_FLUSH,
  FUSE_FSYNC,
  FUSE_FSYNC_FDATASYNC,
  FUSE_FSYNCDIR,
  FUSE_IOCTL,
  FUSE_IOCTL_DIR,
  FUSE_IOCTL_RETRY,
  FUSE_LSEEK,
  FUSE_POLL,
  FUSE_POLL_SCHEDULE_NOTIFY,
  FUSE_READ,
  FUSE_READDIR,
  FUSE_READDIRPLUS,
  FUSE_READDIRPLUS_AUTO,
  FUSE_RELEASE,
  FUSE_RELEASEDIR,
  FUSE_WRITE,
  IOCTL_IN,
  IOCTL_OUT,
  POLL_IN,
  READ_IN,
} from '../../abi/fuse.ts';
import { FS_IOC_GETFLAGS, FS_IOC_SETFLAGS } from '../../abi/ioctl.ts';
import { PROT_WRITE } from '../../abi/mman.ts';
import { POLLERR, POLLIN, POLLOUT, POLLPRI, POLLRDNORM, POLLWRNORM } from '../../abi/poll.ts';
import { SYS_close } from '../../abi/sysno-x64.ts';
import { getI64, getU64, put64 } from '../../base/int64.ts';
import { latin1, putLatin1 } from '../../base/latin1.ts';
import { RETRY, running } from '../../base/retry.ts';
import type { Task } from '../../kernel/task.ts';
import { FileDescription, type Mappable } from '../../vfs/file-description.ts';
import { ATTR_SIZE, type DirSink, type Inode, SetAttr, type VfsPath } from '../../vfs/filesystem.ts';
import type { IoBuffer } from '../../vfs/io-buffer.ts';
import { PageCache, readBody } from './cache.ts';
import { type FuseRequest, type Id, MAX_IO } from './connection.ts';
import type { FuseInode } from './inode.ts';

/** What one call moves at most: all of it is under way at once. */
const MAX_CALL = 64 * MAX_IO;
const DIR_BUFFER = 32768;
const IOC_WRITE = 1 << 30;
const IOC_READ = 1 << 31;
const ALWAYS_READY = POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM;
/** Cookies of directories that a double cannot say exactly are kept in a table; these stand for its rows. */
const FIRST_ROW = 2 ** 52;

abstract class FuseDescription extends FileDescription {
  protected readonly node: FuseInode;
  protected readonly fh: Id;

  constructor(node: FuseInode, fh: Id, path: VfsPath, flags: number) {
    super(flags, path);
    this.node = node;
    this.fh = fh;
  }

  override inode(): Inode {
    return this.node;
  }

  /** fh and three words behind it. */
  protected handleBody(size: number, word: number): Uint8Array {
    const body = new Uint8Array(size);
    putLatin1(body, 0, this.fh);
    new DataView(body.buffer).setUint32(8, word, true);
    return body;
  }

  protected syncWith(opcode: number, dataOnly: boolean): number {
    const { connection } = this.node.fs;
    if (connection.missing.has(opcode)) return 0;
    const r = connection.ask(opcode, this.node.nodeid, this.handleBody(16, dataOnly ? FUSE_FSYNC_FDATASYNC : 0));
    return typeof r !== 'number' || r === -ENOSYS ? 0 : r;
  }

  /**
   * fuse_do_ioctl(): what the number says of its argument (_IOC_DIR, _IOC_SIZE) travels with it and comes back. A server of an
   * ordinary mount may not ask for more of the caller's memory.
   */
  override ioctl(t: Task, cmd: number, arg: number): number {
    const { node } = this;
    const { connection } = node.fs;
    if (node.isDir() && connection.minor < 18) return -ENOTTY;
    // These say `long` and mean an int.
    const size = cmd === FS_IOC_GETFLAGS || cmd === FS_IOC_SETFLAGS ? 4 : (cmd >>> 16) & 0x3fff;
    const inSize = (cmd & IOC_WRITE) !== 0 ? size : 0;
    const outSize = (cmd & IOC_READ) !== 0 ? size : 0;
    const body = new Uint8Array(IOCTL_IN.size + inSize);
    const v = new DataView(body.buffer);
    putLatin1(body, IOCTL_IN.fh, this.fh);
    v.setUint32(IOCTL_IN.flags, node.isDir() ? FUSE_IOCTL_DIR : 0, true);
    v.setUint32(IOCTL_IN.cmd, cmd, true);
    put64(v, IOCTL_IN.arg, arg);
    v.setUint32(IOCTL_IN.inSize, inSize, true);
    v.setUint32(IOCTL_IN.outSize, outSize, true);
    if (inSize > 0 && t.mm.copyIn(arg, body, IOCTL_IN.size, inSize) < 0) return -EFAULT;
    const r = connection.ask(FUSE_IOCTL, node.nodeid, body);
    if (typeof r === 'number') return r === -ENOSYS ? -ENOTTY : r;
    if (r.answer.length < IOCTL_OUT.size || (r.view.getUint32(IOCTL_OUT.flags, true) & FUSE_IOCTL_RETRY) !== 0) return -EIO;
    const n = r.answer.length - IOCTL_OUT.size;
    if (n > outSize) return -EIO;
    if (n > 0 && t.mm.copyOut(arg, r.answer, IOCTL_OUT.size, n) < 0) return -EFAULT;
    const result = r.view.getInt32(IOCTL_OUT.result, true);
    // Of all that is negative only what is an errno may reach the caller.
    return result === -ENOSYS ? -ENOTTY : Math.max(result, -4000);
  }
}

export class FuseFile extends FuseDescription {
  private readonly openFlags: number;
  /** Loaded for the program that is to be executed from it. */
  private program: PageCache | null = null;
  /** FUSE_POLL's kh: 0 until somebody has polled. */
  private pollHandle = 0;
  /** The last answer to FUSE_POLL, until it has been told; -1: none. */
  private polled = -1;
  private polling = false;

  constructor(node: FuseInode, fh: Id, openFlags: number, path: VfsPath, flags: number) {
    super(node, fh, path, flags);
    this.openFlags = openFlags;
    node.files.add(this);
  }

  /** What the server knows the open file by. */
  get handle(): Id {
    return this.fh;
  }

  // ---- readiness: fuse_file_poll()

  override canPoll(): boolean {
    return true;
  }

  /**
   * The server is asked, and told to notify of changes. What it says is told once: the next look asks again. A call that does not
   * wait finds nothing the first time, where Linux waits for the server.
   */
  override poll(_t: Task | null): number {
    const { connection } = this.node.fs;
    if (connection.missing.has(FUSE_POLL)) return ALWAYS_READY;
    if (!connection.connected) return POLLERR;
    if (this.polled >= 0) {
      const events = this.polled;
      this.polled = -1;
      if (events !== 0) return events;
    } else if (!this.polling) this.askForEvents();
    return 0;
  }

  private askForEvents(): void {
    const { node } = this;
    const { connection } = node.fs;
    if (this.pollHandle === 0) this.pollHandle = connection.addPolled(this);
    const body = new Uint8Array(POLL_IN.size);
    const v = new DataView(body.buffer);
    putLatin1(body, POLL_IN.fh, this.fh);
    put64(v, POLL_IN.kh, this.pollHandle);
    v.setUint32(POLL_IN.flags, FUSE_POLL_SCHEDULE_NOTIFY, true);
    v.setUint32(POLL_IN.events, ALWAYS_READY | POLLPRI, true);
    const r = connection.send(FUSE_POLL, node.nodeid, body, (done) => this.eventsArrived(done));
    this.polling = typeof r !== 'number';
  }

  private eventsArrived(r: FuseRequest): void {
    this.polling = false;
    if (r.error === -ENOSYS) this.node.fs.connection.missing.add(FUSE_POLL);
    this.polled = r.error === -ENOSYS ? ALWAYS_READY : r.error < 0 || r.answer.length < 4 ? POLLERR : r.view.getUint32(0, true) & 0xffff;
    if (this.polled !== 0) this.waiters.notify(this.polled);
  }

  /** FUSE_NOTIFY_POLL: ask again. */
  notified(): void {
    this.polled = -1;
    if (!this.polling) this.askForEvents();
  }

  private get isStream(): boolean {
    return (this.openFlags & (FOPEN_STREAM | FOPEN_NONSEEKABLE)) !== 0;
  }

  override read(_t: Task, io: IoBuffer): number {
    const n = this.readAt(io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pread(_t: Task | null, io: IoBuffer, offset: number): number {
    if (this.isStream) return -ESPIPE;
    return this.program !== null
      ? io.fromHost(this.program.hostFd, Math.min(io.remaining, this.program.size - offset), offset)
      : this.readAt(io, offset);
  }

  private readAt(io: IoBuffer, offset: number): number {
    const { node } = this;
    let want = Math.min(io.remaining, MAX_CALL);
    if (want === 0) return 0;
    // Without a size of its own to go by (direct I/O, files of size 0 that are made on reading), the server says where the end is.
    if ((this.openFlags & FOPEN_DIRECT_IO) === 0) {
      const error = node.refresh();
      if (error < 0) return error;
      if (offset >= node.size) return 0;
      want = Math.min(want, node.size - offset);
    }
    const { connection } = node.fs;
    const parts: FuseRequest[] = [];
    let waits = false;
    for (let at = 0; at < want; at += MAX_IO) {
      const r = connection.question(FUSE_READ, node.nodeid, readBody(this.fh, offset + at, Math.min(MAX_IO, want - at), 0));
      if (typeof r === 'number') return r;
      parts.push(r);
      waits ||= !r.answered;
    }
    if (waits) return RETRY;
    let done = 0;
    for (const r of parts) {
      if (r.error < 0) return done > 0 ? done : r.error;
      const n = Math.min(r.answer.length, MAX_IO, want - done);
      const put = io.put(r.answer, 0, n);
      if (put < 0) return done > 0 ? done : put;
      done += put;
      if (put < MAX_IO) break;
    }
    return done;
  }

  override write(_t: Task, io: IoBuffer): number {
    let offset = this.pos;
    if ((this.flags & O_APPEND) !== 0) {
      const error = this.node.refresh();
      if (error < 0) return error;
      offset = this.node.size;
    }
    const n = this.writeAt(io, offset);
    if (n > 0) this.pos = offset + n;
    return n;
  }

  override pwrite(_t: Task | null, io: IoBuffer, offset: number): number {
    if (this.isStream) return -ESPIPE;
    if ((this.flags & O_APPEND) !== 0) {
      const error = this.node.refresh();
      if (error < 0) return error;
      offset = this.node.size;
    }
    return this.writeAt(io, offset);
  }

  private writeAt(io: IoBuffer, offset: number): number {
    const { node } = this;
    const { connection } = node.fs;
    const want = Math.min(io.remaining, MAX_CALL);
    const most = Math.min(MAX_IO, connection.maxWrite);
    const parts: FuseRequest[] = [];
    let waits = false;
    for (let at = 0; at < want; at += most) {
      const n = Math.min(most, want - at);
      const body = readBody(this.fh, offset + at, n, n);
      if (io.take(body, READ_IN.size, n) !== n) return -EFAULT;
      const r = connection.question(FUSE_WRITE, node.nodeid, body, READ_IN.size);
      if (typeof r === 'number') return r;
      parts.push(r);
      waits ||= !r.answered;
    }
    if (waits) {
      io.back(want);
      return RETRY;
    }
    let done = 0;
    for (const r of parts) {
      if (r.error < 0 || r.answer.length < 8) {
        if (done === 0) return r.error < 0 ? r.error : -EIO;
        break;
      }
      const sent = r.message.length - READ_IN.size - 40;
      const n = Math.min(r.view.getUint32(0, true), sent);
      node.cache?.wrote(r.message, READ_IN.size + 40, n, offset + done);
      done += n;
      if (n < sent) break;
    }
    if (done > 0) {
      if (offset + done > node.size) node.size = offset + done;
      node.invalidate();
    }
    return done;
  }

  override seek(_t: Task, offset: number, whence: number): number {
    if (this.isStream) return -ESPIPE;
    let to: number;
    if (whence === SEEK_SET) to = offset;
    else if (whence === SEEK_CUR) to = this.pos + offset;
    else if (whence === SEEK_END) {
      const error = this.node.refresh();
      if (error < 0) return error;
      to = this.node.size + offset;
    } else {
      to = this.seekHole(offset, whence);
      if (to < 0) return to;
    }
    if (to < 0 || to >= 2 ** 63) return -EINVAL;
    this.pos = to;
    return to;
  }

  private seekHole(offset: number, whence: number): number {
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -EINVAL;
    const { connection } = this.node.fs;
    if (!connection.missing.has(FUSE_LSEEK)) {
      const body = new Uint8Array(24);
      const v = new DataView(body.buffer);
      putLatin1(body, 0, this.fh);
      put64(v, 8, offset);
      v.setUint32(16, whence, true);
      const r = connection.ask(FUSE_LSEEK, this.node.nodeid, body);
      if (typeof r !== 'number') return r.answer.length < 8 ? -EIO : getI64(r.view, 0);
      if (r !== -ENOSYS) return r;
    }
    // Without the server's help all is data: generic_file_llseek().
    const error = this.node.refresh();
    if (error < 0) return error;
    if (offset < 0 || offset >= this.node.size) return -ENXIO;
    return whence === SEEK_DATA ? offset : this.node.size;
  }

  override truncate(t: Task, size: number): number {
    const attr = new SetAttr();
    attr.mask = ATTR_SIZE;
    attr.size = size;
    return this.node.setattr(t, attr);
  }

  /** fuse_copy_file_range(): the server copies between its own files. */
  override copyFrom(_t: Task, input: FileDescription, from: number, to: number, n: number): number {
    const { node } = this;
    const { connection } = node.fs;
    if (!(input instanceof FuseFile) || connection.minor < 28 || connection.missing.has(FUSE_COPY_FILE_RANGE)) return -EOPNOTSUPP;
    const body = new Uint8Array(COPY_IN.size);
    const v = new DataView(body.buffer);
    putLatin1(body, COPY_IN.fhIn, input.fh);
    put64(v, COPY_IN.offIn, from);
    putLatin1(body, COPY_IN.nodeidOut, node.nodeid);
    putLatin1(body, COPY_IN.fhOut, this.fh);
    put64(v, COPY_IN.offOut, to);
    put64(v, COPY_IN.len, n);
    const r = connection.ask(FUSE_COPY_FILE_RANGE, input.node.nodeid, body);
    if (typeof r === 'number') return r === -ENOSYS ? -EOPNOTSUPP : r;
    if (r.answer.length < 8) return -EIO;
    const done = Math.min(n, r.view.getUint32(0, true));
    if (to + done > node.size) node.size = to + done;
    node.invalidate();
    node.contentsChanged(to, done);
    return done;
  }

  override fallocate(_t: Task, mode: number, offset: number, length: number): number {
    const { connection } = this.node.fs;
    if (connection.missing.has(FUSE_FALLOCATE)) return -EOPNOTSUPP;
    const body = new Uint8Array(32);
    const v = new DataView(body.buffer);
    putLatin1(body, 0, this.fh);
    put64(v, 8, offset);
    put64(v, 16, length);
    v.setUint32(24, mode, true);
    const r = connection.ask(FUSE_FALLOCATE, this.node.nodeid, body);
    if (typeof r === 'number') return r === -ENOSYS ? -EOPNOTSUPP : r;
    this.node.invalidate();
    return 0;
  }

  // ---- mappings

  override mmap(_t: Task, out: Mappable, prot: number, shared: boolean): number {
    // "Can't provide the coherency needed for MAP_SHARED" with direct I/O: fuse_file_mmap().
    if (shared && (this.openFlags & FOPEN_DIRECT_IO) !== 0) return -ENODEV;
    const cache = this.program ?? PageCache.of(this.node, this.fh);
    if (typeof cache === 'number') return cache === -EFBIG ? -ENODEV : cache;
    if (shared && (prot & PROT_WRITE) !== 0) cache.watch();
    out.hostFd = cache.hostFd;
    out.offset = 0;
    return 0;
  }

  override prepareExec(): number {
    const cache = PageCache.of(this.node, this.fh);
    if (typeof cache === 'number') return cache === -EFBIG ? -EIO : cache;
    this.program = cache;
    return 0;
  }

  /** Sends what mappings have written; nobody waits for the answers. */
  private writeBack(): void {
    if (!this.writable) return;
    this.node.cache?.changes((bytes, n, offset) => {
      const body = readBody(this.fh, offset, n, n);
      body.set(bytes, READ_IN.size);
      this.node.fs.connection.send(FUSE_WRITE, this.node.nodeid, body, null);
    });
  }

  // ---- the end

  override fsync(_t: Task, dataOnly: boolean): number {
    // What was sent before is served before.
    this.writeBack();
    return this.syncWith(FUSE_FSYNC, dataOnly);
  }

  /** FLUSH, whose result is that of close(2); every other way of closing does not wait for it. */
  override flush(t: Task): number {
    this.writeBack();
    const { connection } = this.node.fs;
    if (connection.missing.has(FUSE_FLUSH) || !connection.connected) return 0;
    const waits = running.asker === t && t.sysno === SYS_close;
    const done = (r: FuseRequest): void => {
      if (r.error === -ENOSYS) connection.missing.add(FUSE_FLUSH);
      if (waits && t.object === r) t.answeredClose();
    };
    const r = connection.send(FUSE_FLUSH, this.node.nodeid, this.handleBody(24, 0), done);
    if (!waits || typeof r === 'number') return 0;
    t.object = r;
    return t.parkUninterruptible(resumeClose);
  }

  protected override release(_t: Task | null): void {
    this.writeBack();
    this.node.files.delete(this);
    if (this.pollHandle !== 0) this.node.fs.connection.removePolled(this.pollHandle);
    const body = this.handleBody(24, this.flags);
    this.node.fs.connection.send(FUSE_RELEASE, this.node.nodeid, body, null);
  }
}

/** A fatal signal ends the wait without an answer. */
function resumeClose(t: Task, _why: number): number {
  const r = t.object as FuseRequest;
  t.object = null;
  return !r.answered || r.error === -ENOSYS ? 0 : r.error;
}

export class FuseDirectory extends FuseDescription {
  /** Cookies that do not fit a double, as eight bytes. */
  private readonly rows: Id[] = [];
  /** The offset for which wantsAttributes() has been decided, and how. */
  private decided = '';
  private decidedPlus = false;

  /** One answer of the server per call, as fuse_readdir_uncached(). */
  override readdir(_t: Task, sink: DirSink): number {
    const { node } = this;
    const { connection } = node.fs;
    const body = readBody(this.fh, 0, DIR_BUFFER, 0);
    if (this.pos >= FIRST_ROW) putLatin1(body, READ_IN.offset, this.rows[this.pos - FIRST_ROW] ?? '\0\0\0\0\0\0\0\0');
    else put64(new DataView(body.buffer), READ_IN.offset, this.pos);
    const plus = this.wantsAttributes(body);
    const r = connection.ask(plus ? FUSE_READDIRPLUS : FUSE_READDIR, node.nodeid, body);
    if (typeof r === 'number') {
      if (!plus || r !== -ENOSYS) return r;
      // Marked as missing by the answer.
      this.decided = '';
      return this.readdir(_t, sink);
    }
    this.decided = '';
    const { view: v, answer } = r;
    const head = plus ? ENTRY_OUT_SIZE : 0;
    let told = false;
    let full = false;
    for (let at = 0; at + head + DIRENT.size <= answer.length; ) {
      const entry = at + head;
      const length = v.getUint32(entry + DIRENT.namelen, true);
      if (length === 0 || length > 1024) return told ? 0 : -EIO;
      const start = entry + DIRENT.size;
      if (start + length > answer.length) break;
      const name = latin1(answer, start, start + length);
      if (name.includes('/') || name.includes('\0')) return told ? 0 : -EIO;
      // Nodes are counted by the server whether or not the caller has room for their names.
      if (plus) node.foundByReading(name, answer, v, at);
      if (!full) {
        const next = this.cookie(answer, v, entry + DIRENT.off);
        full = !sink.entry(name, getU64(v, entry + DIRENT.ino), v.getUint32(entry + DIRENT.type, true) & 15, next);
        if (full && !plus) return 0;
        if (!full) {
          told = true;
          this.pos = next;
        }
      }
      at = Math.ceil((start + length) / 8) * 8;
    }
    return 0;
  }

  /** fuse_use_readdirplus(). The question must be the same one when the call is made again. */
  private wantsAttributes(body: Uint8Array): boolean {
    const { flags, missing } = this.node.fs.connection;
    if ((flags & FUSE_DO_READDIRPLUS) === 0 || missing.has(FUSE_READDIRPLUS)) return false;
    if ((flags & FUSE_READDIRPLUS_AUTO) === 0) return true;
    const at = latin1(body, READ_IN.offset, READ_IN.offset + 8);
    if (this.decided !== at) {
      this.decided = at;
      this.decidedPlus = this.pos === 0 || this.node.wantsAttributes;
      this.node.wantsAttributes = false;
    }
    return this.decidedPlus;
  }

  private cookie(answer: Uint8Array, v: DataView, at: number): number {
    const value = getU64(v, at);
    if (value < FIRST_ROW) return value;
    const exact = latin1(answer, at, at + 8);
    const known = this.rows.indexOf(exact);
    if (known >= 0) return FIRST_ROW + known;
    this.rows.push(exact);
    return FIRST_ROW + this.rows.length - 1;
  }

  override seek(_t: Task, offset: number, whence: number): number {
    const to = whence === SEEK_SET ? offset : whence === SEEK_CUR ? this.pos + offset : -1;
    if (to < 0) return -EINVAL;
    if (to === 0) this.rows.length = 0;
    this.pos = to;
    return to;
  }

  override fsync(_t: Task, dataOnly: boolean): number {
    return this.syncWith(FUSE_FSYNCDIR, dataOnly);
  }

  protected override release(_t: Task | null): void {
    this.node.fs.connection.send(FUSE_RELEASEDIR, this.node.nodeid, this.handleBody(24, this.flags), null);
  }
}
