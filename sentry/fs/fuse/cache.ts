// The contents of a FUSE file that somebody maps: a memfd that is filled from the server before the
// mapping is made, and whose changes go back when the file is synced or closed. What the server
// changes meanwhile shows when it says so (FUSE_NOTIFY_INVAL_INODE): then what changed is read anew.

import { EFBIG, EIO } from '../../abi/errno.ts';
import { FUSE_READ, READ_IN } from '../../abi/fuse.ts';
import { put64 } from '../../base/int64.ts';
import { putLatin1 } from '../../base/latin1.ts';
import { type Asker, type Question, RETRY, remember, running } from '../../base/retry.ts';
import { closeFd, ftruncate, memfdCreate, pread, pwrite } from '../../host/memory.ts';
import { type FuseRequest, type Id, MAX_IO } from './connection.ts';
import type { FuseInode } from './inode.ts';

/** Larger files are not mapped: all of one is held in memory. */
const MAX_MAPPED = 2 ** 31;
const chunk = new Uint8Array(MAX_IO);

/** Somebody who maps the file waits until its contents are here. */
class FillQuestion implements Question {
  answered = false;
  readonly asker: Asker;

  constructor(asker: Asker) {
    this.asker = asker;
  }

  /** The reading goes on for whoever else wants the contents. */
  withdraw(): boolean {
    this.answered = true;
    return true;
  }

  interrupt(): void {}
}

export class PageCache {
  readonly hostFd: number;
  private readonly node: FuseInode;
  /** What the server has said of the contents that are here. */
  private readonly mtimeSec: number;
  private readonly mtimeNsec: number;
  size: number;
  private missing = 0;
  private failed = 0;
  private waiting: FillQuestion[] = [];
  /** The server has said that contents have changed, and nobody has the file open to read them by. */
  private outdated = false;
  /** The contents as the server has them, while somebody may write to a shared mapping. */
  private clean: Uint8Array | null = null;
  private older: PageCache | null;

  private constructor(node: FuseInode, hostFd: number, older: PageCache | null) {
    this.node = node;
    this.hostFd = hostFd;
    this.size = node.size;
    this.mtimeSec = node.mtimeSec;
    this.mtimeNsec = node.mtimeNsec;
    this.older = older;
  }

  /** The filled cache of a file with the handle `fh`: RETRY until it is filled. */
  static of(node: FuseInode, fh: Id): PageCache | number {
    let cache = node.cache;
    if (cache === null || !cache.isCurrent) {
      const error = node.refresh();
      if (error < 0) return error;
      if (
        cache === null ||
        cache.outdated ||
        cache.size !== node.size ||
        cache.mtimeSec !== node.mtimeSec ||
        cache.mtimeNsec !== node.mtimeNsec
      ) {
        if (node.size > MAX_MAPPED) return -EFBIG;
        const fd = memfdCreate('fuse');
        if (fd < 0) return fd;
        const sized = ftruncate(fd, node.size);
        if (sized < 0) {
          closeFd(fd);
          return sized;
        }
        // Mappings of the older contents live on.
        cache = new PageCache(node, fd, cache);
        node.cache = cache;
        const started = cache.fill(fh, 0, cache.size);
        if (started < 0) return started;
      }
    }
    if (cache.failed < 0) {
      node.cache = cache.older;
      cache.older = null;
      const { failed } = cache;
      cache.drop();
      return failed;
    }
    return cache.missing > 0 ? cache.waitForContents() : cache;
  }

  private waitForContents(): number {
    const { asker } = running;
    if (asker === null) return -EIO;
    const question = new FillQuestion(asker);
    this.waiting.push(question);
    remember(`contents:${this.node.nodeid}`, question);
    return RETRY;
  }

  /** Being filled, or changed by mappings: not to be replaced by what the server has. */
  private get isCurrent(): boolean {
    return this.missing > 0 || this.failed < 0 || this.clean !== null;
  }

  private fill(fh: Id, from: number, to: number): number {
    for (let at = from; at < to; at += MAX_IO) {
      const body = readBody(fh, at, Math.min(MAX_IO, to - at), 0);
      const r = this.node.fs.connection.send(FUSE_READ, this.node.nodeid, body, (done) => this.arrived(done, at));
      if (typeof r === 'number') {
        this.failed = r;
        return r;
      }
      this.missing++;
    }
    return 0;
  }

  private arrived(r: FuseRequest, at: number): void {
    this.missing--;
    if (r.error < 0) this.failed = r.error;
    else if (r.answer.length > 0) pwrite(this.hostFd, r.answer, 0, Math.min(r.answer.length, MAX_IO), at);
    if (this.missing > 0) return;
    const { waiting } = this;
    this.waiting = [];
    for (const question of waiting) {
      if (question.answered) continue;
      question.answered = true;
      question.asker.answered();
    }
  }

  /** The server has changed these contents: mappings see them once they have been read through the open file `fh`. */
  renew(fh: Id | null, offset: number, length: number): void {
    // What mappings have written may not have gone back yet: it is worth more than what the server has.
    if (this.clean !== null) return;
    if (fh === null) {
      this.outdated = true;
      return;
    }
    const from = Math.floor(offset / 4096) * 4096;
    this.fill(fh, from, Math.min(this.size, offset + length));
  }

  /** A copy of what is here of these contents. */
  kept(offset: number, n: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(n, this.size - offset)));
    if (this.missing > 0 || bytes.length === 0) return bytes.subarray(0, 0);
    return bytes.subarray(0, Math.max(0, pread(this.hostFd, bytes, 0, bytes.length, offset)));
  }

  /** A shared mapping may write from now on: what differs later is told from what the server has. */
  watch(): void {
    if (this.clean !== null) return;
    this.clean = new Uint8Array(this.size);
    pread(this.hostFd, this.clean, 0, this.size, 0);
  }

  /** Calls `put` for each stretch that mappings have changed since the last time. */
  changes(put: (bytes: Uint8Array, n: number, offset: number) => void): void {
    const { clean } = this;
    if (clean === null) return;
    for (let at = 0; at < Math.min(this.size, clean.length); at += MAX_IO) {
      const n = pread(this.hostFd, chunk, 0, Math.min(MAX_IO, this.size - at, clean.length - at), at);
      if (n <= 0) return;
      let from = 0;
      while (from < n && chunk[from] === clean[at + from]) from++;
      if (from === n) continue;
      let to = n;
      while (chunk[to - 1] === clean[at + to - 1]) to--;
      clean.set(chunk.subarray(from, to), at + from);
      put(chunk.slice(from, to), to - from, at + from);
    }
  }

  /** write(2) has put these bytes at the server: mappings see them too. */
  wrote(bytes: Uint8Array, at: number, n: number, offset: number): void {
    pwrite(this.hostFd, bytes, at, n, offset);
    if (offset + n > this.size) this.resize(offset + n);
    this.clean?.set(bytes.subarray(at, at + Math.max(0, Math.min(n, this.clean.length - offset))), Math.min(offset, this.clean.length));
  }

  resize(size: number): void {
    if (size > MAX_MAPPED) return;
    ftruncate(this.hostFd, size);
    this.size = size;
    if (this.clean === null) return;
    const clean = new Uint8Array(size);
    clean.set(this.clean.subarray(0, Math.min(size, this.clean.length)));
    this.clean = clean;
  }

  drop(): void {
    closeFd(this.hostFd);
    this.older?.drop();
    this.older = null;
  }
}

/** struct fuse_read_in, or fuse_write_in, which has the same fields. */
export function readBody(fh: Id, offset: number, n: number, data: number): Uint8Array {
  const body = new Uint8Array(READ_IN.size + data);
  const v = new DataView(body.buffer);
  putLatin1(body, READ_IN.fh, fh);
  put64(v, READ_IN.offset, offset);
  v.setUint32(READ_IN.count, n, true);
  return body;
}
