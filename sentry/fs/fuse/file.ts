// Open files and directories of a FUSE tree: fs/fuse/file.c, fs/fuse/readdir.c. Reads and writes go
// to the server as they are, several requests at a time; there is no cache but that of mappings.

import { EFAULT, EFBIG, EINVAL, EIO, ENODEV, ENOSYS, ENXIO, EOPNOTSUPP, ESPIPE } from '../../abi/errno.ts';
import { O_APPEND, SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET } from '../../abi/fcntl.ts';
import {
  DIRENT,
  FOPEN_DIRECT_IO,
  FOPEN_NONSEEKABLE,
  FOPEN_STREAM,
  FUSE_FALLOCATE,
  FUSE_FLUSH,
  FUSE_FSYNC,
  FUSE_FSYNC_FDATASYNC,
  FUSE_FSYNCDIR,
  FUSE_LSEEK,
  FUSE_READ,
  FUSE_READDIR,
  FUSE_RELEASE,
  FUSE_RELEASEDIR,
  FUSE_WRITE,
  READ_IN,
} from '../../abi/fuse.ts';
import { PROT_WRITE } from '../../abi/mman.ts';
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
}

export class FuseFile extends FuseDescription {
  private readonly openFlags: number;
  /** Loaded for the program that is to be executed from it. */
  private program: PageCache | null = null;

  constructor(node: FuseInode, fh: Id, openFlags: number, path: VfsPath, flags: number) {
    super(node, fh, path, flags);
    this.openFlags = openFlags;
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

  override readdir(_t: Task, sink: DirSink): number {
    let told = false;
    for (;;) {
      const body = readBody(this.fh, 0, DIR_BUFFER, 0);
      if (this.pos >= FIRST_ROW) putLatin1(body, READ_IN.offset, this.rows[this.pos - FIRST_ROW] ?? '\0\0\0\0\0\0\0\0');
      else put64(new DataView(body.buffer), READ_IN.offset, this.pos);
      const r = this.node.fs.connection.ask(FUSE_READDIR, this.node.nodeid, body);
      if (typeof r === 'number') return told ? 0 : r;
      const { view: v, answer } = r;
      let at = 0;
      while (at + DIRENT.size <= answer.length) {
        const length = v.getUint32(at + DIRENT.namelen, true);
        if (length === 0 || length > 1024) return told ? 0 : -EIO;
        const start = at + DIRENT.size;
        if (start + length > answer.length) break;
        const name = latin1(answer, start, start + length);
        if (name.includes('/') || name.includes('\0')) return told ? 0 : -EIO;
        const next = this.cookie(answer, v, at + DIRENT.off);
        if (!sink.entry(name, getU64(v, at + DIRENT.ino), v.getUint32(at + DIRENT.type, true) & 15, next)) return 0;
        told = true;
        this.pos = next;
        at = Math.ceil((start + length) / 8) * 8;
      }
      if (at === 0) return 0;
    }
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
