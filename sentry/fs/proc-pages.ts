// /proc/[pid]/pagemap, and /proc/kpagecount and its kin: fs/proc/task_mmu.c:pagemap_read(), fs/proc/page.c. Numbers of page
// frames are the host's affair, so they are 0 here, as Linux shows them to whoever lacks CAP_SYS_ADMIN.

import { EINVAL } from '../abi/errno.ts';
import { SEEK_CUR, SEEK_SET } from '../abi/fcntl.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { residentPages } from '../host/memory.ts';
import type { Pid } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { MemoryManager } from '../mm/memory-manager.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Filesystem, Inode, VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { TextFile } from './kernfs.ts';
import { TaskMemoryFile } from './proc-fd.ts';
import type { ProcView } from './proc-inode.ts';

const ENTRY = 8;
const TASK_SIZE = 2 ** 47 - PAGE_SIZE;
// The high byte of an entry: PM_PRESENT, PM_FILE, PM_MMAP_EXCLUSIVE.
const PRESENT = 0x80;
const OF_FILE = 0x20;
const EXCLUSIVE = 0x01;
const CHUNK = 512 * ENTRY;

/** A file of 8-byte entries, read at multiples of 8 only. */
abstract class EntriesDescription extends FileDescription {
  private readonly node: Inode;
  private readonly chunk = new Uint8Array(CHUNK);

  constructor(flags: number, path: VfsPath, node: Inode) {
    super(flags, path);
    this.node = node;
  }

  /** Bytes that there are. */
  protected abstract length(): number;
  /** Fills in the entries from number `first` on; `out` is all zeros. */
  protected abstract fill(out: Uint8Array, first: number): void;

  override inode(): Inode {
    return this.node;
  }

  // mem_lseek().
  override seek(_t: Task, offset: number, whence: number): number {
    const pos = whence === SEEK_SET ? offset : whence === SEEK_CUR ? this.pos + offset : -1;
    if (pos < 0) return -EINVAL;
    this.pos = pos;
    return pos;
  }

  override read(t: Task, io: IoBuffer): number {
    const n = this.pread(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pread(_t: Task | null, io: IoBuffer, offset: number): number {
    if (offset % ENTRY !== 0 || io.remaining % ENTRY !== 0) return -EINVAL;
    const wanted = Math.min(io.remaining, this.length() - offset);
    for (let done = 0; done < wanted; ) {
      const n = Math.min(CHUNK, wanted - done);
      this.chunk.fill(0, 0, n);
      this.fill(this.chunk.subarray(0, n), (offset + done) / ENTRY);
      const put = io.put(this.chunk, 0, n);
      if (put < 0) return done > 0 ? done : put;
      done += put;
      if (put < n) return done;
    }
    return Math.max(0, wanted);
  }
}

class PagemapDescription extends EntriesDescription {
  private readonly mm: MemoryManager;

  constructor(flags: number, path: VfsPath, node: Inode, mm: MemoryManager) {
    super(flags, path, node);
    this.mm = mm;
  }

  protected override length(): number {
    return this.mm.refs === 0 ? 0 : (TASK_SIZE / PAGE_SIZE) * ENTRY;
  }

  protected override fill(out: Uint8Array, first: number): void {
    const from = first * PAGE_SIZE;
    const to = from + (out.length / ENTRY) * PAGE_SIZE;
    for (const v of this.mm.vmas.list) {
      if (v.start >= to) break;
      for (let at = Math.max(v.start, from); at < Math.min(v.end, to); at += PAGE_SIZE) {
        if (residentPages(this.mm.hostTid, at, 1, 1) !== 1) continue;
        out[((at - from) / PAGE_SIZE) * ENTRY + 7] = PRESENT | (v.backing === null ? EXCLUSIVE : OF_FILE);
      }
    }
  }
}

/** The inode of pagemap. */
export class PagemapFile extends TaskMemoryFile {
  constructor(view: ProcView, pid: Pid, ino: number) {
    super(view, pid, ino, 0o400);
  }

  protected override describe(flags: number, path: VfsPath, target: Task): FileDescription {
    return new PagemapDescription(flags, path, this, target.mm);
  }
}

class FramesDescription extends EntriesDescription {
  private readonly bytes: number;

  constructor(flags: number, path: VfsPath, node: Inode, memoryBytes: number) {
    super(flags, path, node);
    this.bytes = Math.floor(memoryBytes / PAGE_SIZE) * ENTRY;
  }

  protected override length(): number {
    return this.bytes;
  }

  protected override fill(_out: Uint8Array, _first: number): void {}
}

/** kpagecount, kpageflags and kpagecgroup: an entry a page frame, of which nothing is told. */
export class PageFramesFile extends TextFile {
  private readonly memoryBytes: number;

  constructor(fs: Filesystem, ino: number, memoryBytes: number) {
    super(fs, ino, 0o400);
    this.memoryBytes = memoryBytes;
  }

  override text(_t: Task): string {
    return '';
  }

  override open(_t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    return new FramesDescription(flags, path, this, this.memoryBytes);
  }
}
