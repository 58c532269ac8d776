// Pipes and FIFOs, after fs/pipe.c. A pipe is a ring of page-sized slots; how writes fill slots is
// part of what a guest sees (when a pipe is full, what a packet is), so the ring is Linux's own:
//
//   slot        0      1      2      3            tail = 1, head = 3 (both count up, slot = n & mask)
//             +------+------+------+------+
//   pages     |      | ab.. | cd   |      |      one preallocated buffer, slot n at n * PAGE_SIZE
//             +------+------+------+------+
//   offset[n], length[n], packet[n]              what of the page is unread; O_DIRECT writes are packets
//
// A write of up to PIPE_BUF bytes lands in one slot, or is merged into the last one if all of it
// fits there: that is what makes it atomic. Nothing is allocated for a read or a write.

import { EAGAIN, EBUSY, EFAULT, EINVAL, ENOMEM, ENOTTY, ENXIO, EPERM, EPIPE } from '../abi/errno.ts';
import { O_ACCMODE, O_DIRECT, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY } from '../abi/fcntl.ts';
import { FIONREAD } from '../abi/ioctl.ts';
import { PAGE_SIZE } from '../abi/limits.ts';
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM } from '../abi/poll.ts';
import { PIPEFS_MAGIC } from '../abi/stat.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Inode, VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { newPipeInode } from './anon.ts';

/** PIPE_DEF_BUFFERS, include/linux/pipe_fs_i.h. */
const DEFAULT_SLOTS = 16;
/** /proc/sys/fs/pipe-max-size: what F_SETPIPE_SZ gives without CAP_SYS_RESOURCE. */
export const PIPE_MAX_SIZE = 1048576;
const LARGEST_SIZE = 0x80000000;
/** Even with that capability: all of the ring is made at once here. */
const LARGEST_RING = 64 * 1024 * 1024;

// Buffers of pipes that are gone. They need no clearing: only written bytes are ever read.
const POOL_LIMIT = 32;
const pool: Uint8Array[] = [];

function takePages(slots: number): Uint8Array {
  if (slots === DEFAULT_SLOTS && pool.length > 0) return pool.pop()!;
  return new Uint8Array(slots * PAGE_SIZE);
}

function givePages(pages: Uint8Array): void {
  if (pages.length === DEFAULT_SLOTS * PAGE_SIZE && pool.length < POOL_LIMIT) pool.push(pages);
}

const NO_PAGES = new Uint8Array(0);

/** The ring and who is at its ends: struct pipe_inode_info. */
export class Pipe {
  readonly waiters: WaitQueue = new WaitQueue();
  readers = 0;
  writers = 0;
  /** How often each end was ever opened: a FIFO's open waits for a change, so that a peer that came and went counts. */
  readerOpens = 0;
  writerOpens = 0;
  slots = DEFAULT_SLOTS;
  private pages: Uint8Array = NO_PAGES;
  private offset: Int32Array = new Int32Array(DEFAULT_SLOTS);
  private length: Int32Array = new Int32Array(DEFAULT_SLOTS);
  private packet: Uint8Array = new Uint8Array(DEFAULT_SLOTS);
  private head = 0;
  private tail = 0;

  get empty(): boolean {
    return this.head === this.tail;
  }

  get full(): boolean {
    return this.head - this.tail >= this.slots;
  }

  /** Unread bytes: FIONREAD. */
  get bytes(): number {
    let n = 0;
    for (let at = this.tail; at !== this.head; at++) n += this.length[at & (this.slots - 1)]!;
    return n;
  }

  /** Moves unread bytes to `io`: fs/pipe.c:pipe_read(). 0 at the end, -EAGAIN when there may come more. */
  read(io: IoBuffer): number {
    let left = io.remaining;
    if (left === 0) return 0;
    const wasFull = this.full;
    let done = 0;
    while (this.head !== this.tail) {
      const slot = this.tail & (this.slots - 1);
      const n = Math.min(this.length[slot]!, left);
      // Bytes of a slot that the guest could not take in full stay unread.
      if (io.put(this.pages, slot * PAGE_SIZE + this.offset[slot]!, n) !== n) {
        if (done === 0) done = -EFAULT;
        break;
      }
      done += n;
      left -= n;
      this.offset[slot]! += n;
      this.length[slot]! -= n;
      const isPacket = this.packet[slot] !== 0;
      // The rest of a packet is thrown away: "reads of fewer bytes than the packet" - pipe(2).
      if (isPacket || this.length[slot] === 0) this.dropSlot(slot);
      if (isPacket || left === 0) break;
    }
    if (done === 0) return this.writers === 0 ? 0 : -EAGAIN;
    // As Linux wakes: writers hear of room only when there was none, which edge-triggered epoll shows.
    if (wasFull && !this.full) this.waiters.notify(POLLOUT | POLLWRNORM);
    return done;
  }

  /** Takes bytes from `io`: fs/pipe.c:pipe_write(). May take part of them; -EAGAIN when none fits, -EPIPE without readers. */
  write(io: IoBuffer, asPackets: boolean): number {
    const total = io.remaining;
    if (total === 0) return 0;
    if (this.readers === 0) return -EPIPE;
    if (this.pages.length === 0) this.pages = takePages(this.slots);
    const mask = this.slots - 1;
    let done = 0;
    const odd = total % PAGE_SIZE;
    if (odd !== 0 && this.head !== this.tail) {
      const last = (this.head - 1) & mask;
      const end = this.offset[last]! + this.length[last]!;
      if (this.packet[last] === 0 && end + odd <= PAGE_SIZE) {
        if (io.take(this.pages, last * PAGE_SIZE + end, odd) !== odd) return -EFAULT;
        this.length[last]! += odd;
        done = odd;
      }
    }
    let result = 0;
    while (done < total) {
      if (this.head - this.tail >= this.slots) {
        result = -EAGAIN;
        break;
      }
      const slot = this.head & mask;
      const n = Math.min(PAGE_SIZE, total - done);
      if (io.take(this.pages, slot * PAGE_SIZE, n) !== n) {
        result = -EFAULT;
        break;
      }
      this.fillSlot(slot, n, asPackets);
      done += n;
    }
    if (done > 0) this.waiters.notify(POLLIN | POLLRDNORM);
    return done > 0 ? done : result;
  }

  /** splice and tee between two pipes: copies up to `n` bytes to `to`, slot by slot; `consume` takes them out here. Bytes, or -EAGAIN. */
  copyTo(to: Pipe, n: number, consume: boolean): number {
    if (to.pages.length === 0) to.pages = takePages(to.slots);
    const wasFull = this.full;
    let done = 0;
    // `ahead` counts slots from the tail, which moves when slots are consumed.
    let ahead = 0;
    while (ahead < this.head - this.tail && done < n && !to.full) {
      const from = (this.tail + ahead) & (this.slots - 1);
      const slot = to.head & (to.slots - 1);
      const chunk = Math.min(this.length[from]!, n - done);
      const start = from * PAGE_SIZE + this.offset[from]!;
      to.pages.set(this.pages.subarray(start, start + chunk), slot * PAGE_SIZE);
      to.fillSlot(slot, chunk, this.packet[from] !== 0);
      done += chunk;
      if (!consume) {
        ahead++;
        continue;
      }
      this.offset[from]! += chunk;
      this.length[from]! -= chunk;
      if (this.length[from] === 0) this.dropSlot(from);
    }
    if (done === 0) return -EAGAIN;
    if (consume && wasFull && !this.full) this.waiters.notify(POLLOUT | POLLWRNORM);
    to.waiters.notify(POLLIN | POLLRDNORM);
    return done;
  }

  /** Copies up to `n` unread bytes of the first packet or run of bytes to dst[0…), leaving them; consume() takes them. */
  peek(dst: Uint8Array, n: number): number {
    let done = 0;
    for (let at = this.tail; at !== this.head && done < n; at++) {
      const slot = at & (this.slots - 1);
      if (this.packet[slot] !== 0 && done > 0) break;
      const chunk = Math.min(this.length[slot]!, n - done);
      const start = slot * PAGE_SIZE + this.offset[slot]!;
      dst.set(this.pages.subarray(start, start + chunk), done);
      done += chunk;
      if (this.packet[slot] !== 0) break;
    }
    return done;
  }

  /** Drops `n` bytes that peek() has shown. */
  consume(n: number): void {
    const wasFull = this.full;
    while (n > 0) {
      const slot = this.tail & (this.slots - 1);
      const chunk = Math.min(this.length[slot]!, n);
      this.offset[slot]! += chunk;
      this.length[slot]! -= chunk;
      n -= chunk;
      if (this.length[slot] === 0) this.dropSlot(slot);
    }
    if (wasFull && !this.full) this.waiters.notify(POLLOUT | POLLWRNORM);
  }

  /** Bytes that a write of whole pages could still place. */
  get room(): number {
    return (this.slots - (this.head - this.tail)) * PAGE_SIZE;
  }

  /** F_GETPIPE_SZ. */
  get capacity(): number {
    return this.slots * PAGE_SIZE;
  }

  /** F_SETPIPE_SZ: the new capacity, or -EINVAL, -EPERM above the limit, -EBUSY when what is unread does not fit. */
  resize(size: number, privileged: boolean): number {
    if (size > LARGEST_SIZE) return -EINVAL;
    let rounded = PAGE_SIZE;
    while (rounded < size) rounded *= 2;
    const slots = rounded / PAGE_SIZE;
    if (slots > this.slots && rounded > PIPE_MAX_SIZE && !privileged) return -EPERM;
    if (rounded > LARGEST_RING) return -ENOMEM;
    const used = this.head - this.tail;
    if (slots < used) return -EBUSY;
    if (slots === this.slots) return rounded;
    const pages = takePages(slots);
    const offset = new Int32Array(slots);
    const length = new Int32Array(slots);
    const packet = new Uint8Array(slots);
    for (let i = 0; i < used; i++) {
      const from = (this.tail + i) & (this.slots - 1);
      pages.set(this.pages.subarray(from * PAGE_SIZE, (from + 1) * PAGE_SIZE), i * PAGE_SIZE);
      offset[i] = this.offset[from]!;
      length[i] = this.length[from]!;
      packet[i] = this.packet[from]!;
    }
    const wasFull = this.full;
    givePages(this.pages);
    this.pages = pages;
    this.offset = offset;
    this.length = length;
    this.packet = packet;
    this.slots = slots;
    this.head = used;
    this.tail = 0;
    if (wasFull && !this.full) this.waiters.notify(POLLOUT | POLLWRNORM);
    return rounded;
  }

  addEnds(readable: boolean, writable: boolean): void {
    if (readable) {
      this.readers++;
      this.readerOpens++;
    }
    if (writable) {
      this.writers++;
      this.writerOpens++;
    }
    // wake_up_partner(): opens that wait for this end.
    this.waiters.notify(POLLIN | POLLOUT);
  }

  removeEnds(readable: boolean, writable: boolean): void {
    if (readable) this.readers--;
    if (writable) this.writers--;
    if (this.readers === 0 && this.writers === 0) {
      givePages(this.pages);
      this.pages = NO_PAGES;
      this.head = 0;
      this.tail = 0;
      return;
    }
    if (this.readers === 0 || this.writers === 0) this.waiters.notify(POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLERR | POLLHUP);
  }

  private fillSlot(slot: number, n: number, isPacket: boolean): void {
    this.offset[slot] = 0;
    this.length[slot] = n;
    this.packet[slot] = isPacket ? 1 : 0;
    this.head++;
  }

  private dropSlot(slot: number): void {
    this.length[slot] = 0;
    this.tail++;
    // Small numbers stay small integers.
    if (this.tail === this.head) {
      this.tail = 0;
      this.head = 0;
    }
  }
}

/** One end of a pipe, or a FIFO opened for one or both directions. */
export class PipeFile extends FileDescription {
  readonly pipe: Pipe;
  private readonly node: Inode;
  private readonly canRead: boolean;
  private readonly canWrite: boolean;
  /** -1, or the opens of the other end that finishOpen() waits to see exceeded. */
  private awaitedOpens = -1;
  /** A FIFO opened O_NONBLOCK for reading reports no POLLHUP until a writer has been there. */
  private quietUntilOpens = -1;

  constructor(pipe: Pipe, node: Inode, flags: number, path: VfsPath | undefined) {
    super(flags, path, pipe.waiters);
    this.pipe = pipe;
    this.node = node;
    this.canRead = (flags & O_ACCMODE) !== O_WRONLY;
    this.canWrite = (flags & O_ACCMODE) !== O_RDONLY;
    pipe.addEnds(this.canRead, this.canWrite);
  }

  override inode(): Inode {
    return this.node;
  }

  override read(_t: Task, io: IoBuffer): number {
    return this.pipe.read(io);
  }

  override write(_t: Task, io: IoBuffer): number {
    return this.pipe.write(io, (this.flags & O_DIRECT) !== 0);
  }

  override writesAll(): boolean {
    return true;
  }

  override canPoll(): boolean {
    return true;
  }

  override poll(_t: Task | null): number {
    const pipe = this.pipe;
    let events = 0;
    if (this.canRead) {
      if (!pipe.empty) events |= POLLIN | POLLRDNORM;
      if (pipe.writers === 0 && this.quietUntilOpens !== pipe.writerOpens) events |= POLLHUP;
    }
    if (this.canWrite) {
      if (!pipe.full) events |= POLLOUT | POLLWRNORM;
      if (pipe.readers === 0) events |= POLLERR;
    }
    return events;
  }

  override ioctl(t: Task, cmd: number, arg: number): number {
    if (cmd === FIONREAD) return t.mm.storeU32(arg, this.pipe.bytes);
    return -ENOTTY;
  }

  /** Says what the open of a FIFO has to wait for: fs/pipe.c:fifo_open(). */
  awaitPartner(): void {
    if (this.canRead && this.canWrite) return;
    if (this.canRead) {
      if (this.pipe.writers > 0) return;
      if ((this.flags & O_NONBLOCK) !== 0) this.quietUntilOpens = this.pipe.writerOpens;
      else this.awaitedOpens = this.pipe.writerOpens;
    } else if (this.pipe.readers === 0) {
      this.awaitedOpens = this.pipe.readerOpens;
    }
  }

  override finishOpen(): number {
    if (this.awaitedOpens < 0) return 0;
    if (this.awaitedOpens === (this.canRead ? this.pipe.writerOpens : this.pipe.readerOpens)) return -EAGAIN;
    this.awaitedOpens = -1;
    return 0;
  }

  override linkText(): string {
    return `pipe:[${this.node.ino}]`;
  }

  protected override release(_t: Task | null): void {
    this.pipe.removeEnds(this.canRead, this.canWrite);
    // The FIFO's data does not outlive its last user.
    if (this.pipe.readers === 0 && this.pipe.writers === 0 && this.node.fifo === this.pipe) this.node.fifo = null;
  }
}

/** The two ends of a new pipe; flags are O_NONBLOCK and O_DIRECT. */
export function newPipe(t: Task | null, flags: number): { reader: PipeFile; writer: PipeFile } {
  const pipe = new Pipe();
  const inode = newPipeInode(t);
  inode.fifo = pipe;
  return {
    reader: new PipeFile(pipe, inode, O_RDONLY | (flags & O_NONBLOCK), undefined),
    writer: new PipeFile(pipe, inode, O_WRONLY | (flags & (O_NONBLOCK | O_DIRECT)), undefined),
  };
}

/** Opens a FIFO. The description may have to wait for its partner: FileDescription.finishOpen(). -ENXIO as open(2) says. */
export function openFifo(_t: Task | null, path: VfsPath, flags: number): PipeFile | number {
  const inode = path.dentry.inode!;
  const mode = flags & O_ACCMODE;
  if (mode !== O_RDONLY && mode !== O_WRONLY && mode !== O_RDWR) return -EINVAL;
  let pipe = inode.fifo as Pipe | null;
  // A pipe that is opened by way of /proc/[pid]/fd has had its other end: fs/pipe.c:fifo_open(), is_pipe.
  const isPipe = inode.fs.magic === PIPEFS_MAGIC;
  if (!isPipe && mode === O_WRONLY && (flags & O_NONBLOCK) !== 0 && (pipe === null || pipe.readers === 0)) return -ENXIO;
  if (pipe === null) {
    pipe = new Pipe();
    inode.fifo = pipe;
  }
  const file = new PipeFile(pipe, inode, flags, path);
  if (!isPipe) file.awaitPartner();
  return file;
}
