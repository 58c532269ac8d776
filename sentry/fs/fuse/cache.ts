// The contents of a FUSE file that somebody maps: a memfd that is filled from the server before the
// mapping is made, and whose changes go back when the file is synced or closed. What the server
// changes meanwhile does not show, as in a page cache that nobody invalidates.

import { EFBIG } from '../../abi/errno.ts';
import { FUSE_READ, READ_IN } from '../../abi/fuse.ts';
import { put64 } from '../../base/int64.ts';
import { putLatin1 } from '../../base/latin1.ts';
import { RETRY, remember, running } from '../../base/retry.ts';
import { closeFd, ftruncate, memfdCreate, pread, pwrite } from '../../host/memory.ts';
import { type FuseRequest, type Id, MAX_IO } from './connection.ts';
import type { FuseInode } from './inode.ts';

/** Larger files are not mapped: all of one is held in memory. */
const MAX_MAPPED = 2 ** 31;
const chunk = new Uint8Array(MAX_IO);

export class PageCache {
  readonly hostFd: number;
  private readonly node: FuseInode;
  /** What the server has said of the contents that are here. */
  private readonly mtimeSec: number;
  private readonly mtimeNsec: number;
  size: number;
  private missing = 0;
  private failed = 0;
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
      if (cache === null || cache.size !== node.size || cache.mtimeSec !== node.mtimeSec || cache.mtimeNsec !== node.mtimeNsec) {
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
        const started = cache.fill(fh);
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
    return cache.missing > 0 ? RETRY : cache;
  }

  /** Being filled, or changed by mappings: not to be replaced by what the server has. */
  private get isCurrent(): boolean {
    return this.missing > 0 || this.failed < 0 || this.clean !== null;
  }

  private fill(fh: Id): number {
    for (let at = 0; at < this.size; at += MAX_IO) {
      const body = readBody(fh, at, Math.min(MAX_IO, this.size - at), 0);
      const r = this.node.fs.connection.send(FUSE_READ, this.node.nodeid, body, (done) => this.arrived(done, at));
      if (typeof r === 'number') {
        this.failed = r;
        return r;
      }
      this.missing++;
      if (running.asker !== null) remember(`fill:${r.unique}`, r);
    }
    return 0;
  }

  private arrived(r: FuseRequest, at: number): void {
    this.missing--;
    if (r.error < 0) this.failed = r.error;
    else if (r.answer.length > 0) pwrite(this.hostFd, r.answer, 0, Math.min(r.answer.length, MAX_IO), at);
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
