// Moving bytes between two descriptors: sendfile(2), splice(2), tee(2), vmsplice(2), copy_file_range(2).
// The bytes pass through one buffer of the Sentry; they are taken from the source only once the
// target has them, so that a target that is full loses nothing.
//
// While parked: t.file is the source, t.object the target, t.n0 the source's offset, t.n1 the bytes moved.

import { EAGAIN, EBADF, EFAULT, EINVAL, EISDIR, EOPNOTSUPP, EOVERFLOW, EPIPE, ERESTARTSYS, ESPIPE, EXDEV } from '../abi/errno.ts';
import { O_APPEND, O_NONBLOCK, SEEK_CUR, SPLICE_F_GIFT, SPLICE_F_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK } from '../abi/fcntl.ts';
import { MAX_RW_COUNT } from '../abi/limits.ts';
import { S_IFCHR, S_IFMT } from '../abi/stat.ts';
import { SYS_copy_file_range, SYS_sendfile, SYS_splice, SYS_tee, SYS_vmsplice } from '../abi/sysno-x64.ts';
import { type Pipe, PipeFile } from '../fs/pipe.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_SIGNAL } from '../kernel/task.ts';
import { FOREVER } from '../kernel/timers.ts';
import { BufferIo } from '../vfs/buffer-io.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { beyondOffsets, openFile, READ_EVENTS, raiseSigpipe, WRITE_EVENTS } from './io-common.ts';
import { call, type SyscallLine } from './syscall-line.ts';

const SPLICE_F_ALL = SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT;
/** A copy inside the Sentry holds up everybody else: more than this is left to the next call. */
const MAX_COPY = 16 * 1024 * 1024;

// One for all: handlers do not interleave, and nothing of it is needed across a park.
const CHUNK = 65536;
const buffer = new Uint8Array(CHUNK);
const io = new BufferIo(buffer);

function isSeekable(t: Task, file: FileDescription): boolean {
  return file.seek(t, 0, SEEK_CUR) !== -ESPIPE;
}

function pipeOf(file: FileDescription): Pipe | undefined {
  return file instanceof PipeFile ? file.pipe : undefined;
}

/** NaN stands for a fault; a negative offset is the caller's to refuse. */
function loadOffset(t: Task, addr: number): number {
  return t.mm.loadI64(addr);
}

// ---- sendfile

/** sendfile(2). */
export function sendfile(t: Task, a: SyscallArgs): number {
  const offsetAddr = a.addr(2);
  let offset = 0;
  if (offsetAddr !== 0) {
    offset = loadOffset(t, offsetAddr);
    if (Number.isNaN(offset)) return -EFAULT;
  }
  const input = openFile(t, a.int(1));
  if (input === undefined || !input.readable) return -EBADF;
  const seekable = isSeekable(t, input);
  if (offsetAddr !== 0 && !seekable) return -ESPIPE;
  if (offsetAddr === 0) offset = input.pos;
  if (offset < 0 || a.long(3) < 0 || beyondOffsets(offset, a.addr(3))) return -EINVAL;
  const output = openFile(t, a.int(0));
  if (output === undefined || !output.writable) return -EBADF;
  if (pipeOf(output) === undefined) {
    // The source must be able to give the same bytes again: fs/splice.c:splice_direct_to_actor().
    if ((output.flags & O_APPEND) !== 0 || !seekable) return -EINVAL;
  } else if (pipeOf(input) !== undefined) return -EINVAL;
  if (a.addr(3) === 0) return 0;
  // Directories have no splice_read: fs/splice.c:do_splice_read().
  if (input.inode().isDir()) return -EINVAL;

  t.n0 = offset;
  t.n1 = 0;
  const n = sendSome(t, input, output, seekable);
  if (n !== -EAGAIN || output.nonblocking) return finishSendfile(t, input, n);
  input.incRef();
  output.incRef();
  t.file = input;
  t.object = output;
  return t.block(output.waiters, WRITE_EVENTS, FOREVER, resumeSendfile);
}

function resumeSendfile(t: Task, why: number): number {
  const input = t.file!;
  const output = t.object as FileDescription;
  const n = why === WAKE_SIGNAL ? -ERESTARTSYS : sendSome(t, input, output, isSeekable(t, input));
  if (n === -EAGAIN) return t.block(output.waiters, WRITE_EVENTS, FOREVER, resumeSendfile);
  t.file = undefined;
  t.object = null;
  const result = finishSendfile(t, input, n);
  input.decRef(t);
  output.decRef(t);
  return result;
}

/** Moves what can be moved now: 0 when all is done or the source has ended, -EAGAIN when the target has to be waited for. */
function sendSome(t: Task, input: FileDescription, output: FileDescription, seekable: boolean): number {
  const total = Math.min(t.args.addr(3), MAX_RW_COUNT);
  const pipe = pipeOf(output);
  while (t.n1 < total) {
    if (pipe !== undefined) {
      if (pipe.readers === 0) {
        raiseSigpipe(t);
        return -EPIPE;
      }
      // Into a pipe, one filling is all that a call does: fs/splice.c:splice_file_to_pipe().
      if (pipe.full) return t.n1 > 0 ? 0 : -EAGAIN;
    }
    const want = Math.min(CHUNK, total - t.n1, pipe === undefined ? CHUNK : pipe.room);
    const got = seekable ? input.pread(t, io.set(0, want), t.n0) : input.read(t, io.set(0, want));
    if (got <= 0) return got;
    const put = output.write(t, io.set(0, got));
    if (put < 0) {
      if (put === -EPIPE) raiseSigpipe(t);
      return put;
    }
    t.n0 += put;
    t.n1 += put;
    if (put < got && !output.writesAll()) return 0;
  }
  return 0;
}

function finishSendfile(t: Task, input: FileDescription, error: number): number {
  const offsetAddr = t.args.addr(2);
  if (offsetAddr === 0) input.pos = t.n0;
  else if (t.mm.storeU64(offsetAddr, t.n0) < 0) return -EFAULT;
  return t.n1 > 0 ? t.n1 : error;
}

// ---- splice

/** splice(2). */
export function splice(t: Task, a: SyscallArgs): number {
  if (a.addr(4) === 0) return 0;
  let flags = a.int(5);
  if ((flags & ~SPLICE_F_ALL) !== 0) return -EINVAL;
  const input = openFile(t, a.int(0));
  const output = openFile(t, a.int(2));
  if (input === undefined || output === undefined) return -EBADF;
  const from = pipeOf(input);
  const to = pipeOf(output);
  if ((from !== undefined && a.addr(1) !== 0) || (to !== undefined && a.addr(3) !== 0)) return -ESPIPE;
  const offset = spliceOffset(t, a, input, output);
  if (offset < 0) return offset;
  if (!input.readable || !output.writable) return -EBADF;
  if (from === undefined && to === undefined) return -EINVAL;
  if (from !== undefined && from === to) return -EINVAL;
  if (input.inode().isDir()) return -EINVAL;
  if (to === undefined && (output.flags & O_APPEND) !== 0) return -EINVAL;
  if ((from !== undefined && (input.flags & O_NONBLOCK) !== 0) || (to !== undefined && (output.flags & O_NONBLOCK) !== 0)) {
    flags |= SPLICE_F_NONBLOCK;
  }

  t.n0 = offset;
  const n = spliceSome(t, input, output, a.addr(1) !== 0 || a.addr(3) !== 0);
  if (n !== -EAGAIN || !mayWait(input, output, flags)) return finishSplice(t, n);
  input.incRef();
  output.incRef();
  t.file = input;
  t.object = output;
  return parkSplice(t, resumeSplice);
}

function resumeSplice(t: Task, why: number): number {
  const input = t.file!;
  const output = t.object as FileDescription;
  const n = why === WAKE_SIGNAL ? -ERESTARTSYS : spliceSome(t, input, output, t.args.addr(1) !== 0 || t.args.addr(3) !== 0);
  if (n === -EAGAIN) return parkSplice(t, resumeSplice);
  t.file = undefined;
  t.object = null;
  input.decRef(t);
  output.decRef(t);
  return finishSplice(t, n);
}

/** The one explicit offset of a splice: 0 when there is none, or an errno. */
function spliceOffset(t: Task, a: SyscallArgs, input: FileDescription, output: FileDescription): number {
  const addr = a.addr(1) !== 0 ? a.addr(1) : a.addr(3);
  if (addr === 0) return 0;
  const offset = loadOffset(t, addr);
  if (Number.isNaN(offset)) return -EFAULT;
  // Positional use of a file without positions is EINVAL here, not ESPIPE: fs/splice.c:do_splice().
  if (!isSeekable(t, a.addr(1) !== 0 ? input : output)) return -EINVAL;
  return offset < 0 ? -EINVAL : offset;
}

/** SPLICE_F_NONBLOCK is about the pipe; a device that has nothing yet is waited for unless it is non-blocking itself. */
function mayWait(input: FileDescription, output: FileDescription, flags: number): boolean {
  const file = blockedOn(input, output);
  if (file.nonblocking) return false;
  return (flags & SPLICE_F_NONBLOCK) === 0 || (file === input && (input.inode().mode & S_IFMT) === S_IFCHR);
}

function blockedOn(input: FileDescription, output: FileDescription): FileDescription {
  const from = pipeOf(input);
  const to = pipeOf(output);
  if (from?.empty) return input;
  if (to?.full) return output;
  return from === undefined ? input : output;
}

function parkSplice(t: Task, resume: (t: Task, why: number) => number): number {
  const input = t.file!;
  const file = blockedOn(input, t.object as FileDescription);
  return t.block(file.waiters, file === input ? READ_EVENTS : WRITE_EVENTS, FOREVER, resume);
}

function spliceSome(t: Task, input: FileDescription, output: FileDescription, positional: boolean): number {
  const count = Math.min(t.args.addr(4), MAX_RW_COUNT);
  const from = pipeOf(input);
  const to = pipeOf(output);
  if (to !== undefined && to.readers === 0) {
    raiseSigpipe(t);
    return -EPIPE;
  }
  if (from?.empty) return from.writers === 0 ? 0 : -EAGAIN;
  if (from !== undefined && to !== undefined) return from.copyTo(to, count, true);
  return from !== undefined ? pipeToFile(t, from, output, count, positional) : fileToPipe(t, input, to!, count, positional);
}

function pipeToFile(t: Task, from: Pipe, output: FileDescription, count: number, positional: boolean): number {
  let done = 0;
  while (done < count && !from.empty) {
    const got = from.peek(buffer, Math.min(CHUNK, count - done));
    const put = positional ? output.pwrite(t, io.set(0, got), t.n0) : output.write(t, io.set(0, got));
    if (put === -EPIPE) raiseSigpipe(t);
    if (put <= 0) return done > 0 ? done : put;
    from.consume(put);
    t.n0 += put;
    done += put;
    if (put < got) break;
  }
  return done;
}

function fileToPipe(t: Task, input: FileDescription, to: Pipe, count: number, positional: boolean): number {
  let done = 0;
  while (done < count) {
    if (to.full) return done > 0 ? done : -EAGAIN;
    const want = Math.min(CHUNK, count - done, to.room);
    const got = positional ? input.pread(t, io.set(0, want), t.n0) : input.read(t, io.set(0, want));
    if (got <= 0) return done > 0 ? done : got;
    to.write(io.set(0, got), false);
    t.n0 += got;
    done += got;
    if (got < want) break;
  }
  return done;
}

function finishSplice(t: Task, n: number): number {
  const addr = t.args.addr(1) !== 0 ? t.args.addr(1) : t.args.addr(3);
  if (n > 0 && addr !== 0 && t.mm.storeU64(addr, t.n0) < 0) return -EFAULT;
  return n;
}

// ---- tee and vmsplice

/** tee(2). */
export function tee(t: Task, a: SyscallArgs): number {
  const flags = a.int(3);
  if ((flags & ~SPLICE_F_ALL) !== 0) return -EINVAL;
  if (a.addr(2) === 0) return 0;
  const input = openFile(t, a.int(0));
  const output = openFile(t, a.int(1));
  if (input === undefined || output === undefined || !input.readable || !output.writable) return -EBADF;
  const from = pipeOf(input);
  const to = pipeOf(output);
  if (from === undefined || to === undefined || from === to) return -EINVAL;

  const n = teeSome(t, from, to);
  if (n !== -EAGAIN || (flags & SPLICE_F_NONBLOCK) !== 0 || ((input.flags | output.flags) & O_NONBLOCK) !== 0) return n;
  input.incRef();
  output.incRef();
  t.file = input;
  t.object = output;
  return parkSplice(t, resumeTee);
}

function resumeTee(t: Task, why: number): number {
  const input = t.file!;
  const output = t.object as FileDescription;
  const n = why === WAKE_SIGNAL ? -ERESTARTSYS : teeSome(t, pipeOf(input)!, pipeOf(output)!);
  if (n === -EAGAIN) return parkSplice(t, resumeTee);
  t.file = undefined;
  t.object = null;
  input.decRef(t);
  output.decRef(t);
  return n;
}

function teeSome(t: Task, from: Pipe, to: Pipe): number {
  if (from.empty) return from.writers === 0 ? 0 : -EAGAIN;
  if (to.readers === 0) {
    raiseSigpipe(t);
    return -EPIPE;
  }
  return from.copyTo(to, Math.min(t.args.addr(2), MAX_RW_COUNT), false);
}

/** vmsplice(2): the pages are copied, which a guest that keeps its side of the bargain cannot tell from being lent. */
export function vmsplice(t: Task, a: SyscallArgs): number {
  const flags = a.int(3);
  if ((flags & ~SPLICE_F_ALL) !== 0) return -EINVAL;
  const file = openFile(t, a.int(0));
  if (file === undefined) return -EBADF;
  const total = t.io.setIovec(a.addr(1), a.addr(2));
  if (total < 0) return total;
  if (total === 0) return 0;
  const pipe = pipeOf(file);
  if (pipe === undefined) return -EBADF;
  const n = vmspliceSome(t, file, pipe);
  if (n !== -EAGAIN || (flags & SPLICE_F_NONBLOCK) !== 0) return n;
  file.incRef();
  t.file = file;
  return t.block(file.waiters, file.writable ? WRITE_EVENTS : READ_EVENTS, FOREVER, resumeVmsplice);
}

function resumeVmsplice(t: Task, why: number): number {
  const file = t.file!;
  const n = why === WAKE_SIGNAL ? -ERESTARTSYS : vmspliceSome(t, file, pipeOf(file)!);
  if (n === -EAGAIN) return t.block(file.waiters, file.writable ? WRITE_EVENTS : READ_EVENTS, FOREVER, resumeVmsplice);
  t.file = undefined;
  file.decRef(t);
  return n;
}

function vmspliceSome(t: Task, file: FileDescription, pipe: Pipe): number {
  if (!file.writable) return pipe.read(t.io);
  const n = pipe.write(t.io, false);
  if (n === -EPIPE) raiseSigpipe(t);
  return n;
}

// ---- copy_file_range

/** copy_file_range(2), after fs/read_write.c:generic_copy_file_checks(). */
export function copyFileRange(t: Task, a: SyscallArgs): number {
  const input = openFile(t, a.int(0));
  const output = openFile(t, a.int(2));
  if (input === undefined || output === undefined) return -EBADF;
  const fromAddr = a.addr(1);
  const toAddr = a.addr(3);
  let from = fromAddr === 0 ? input.pos : loadOffset(t, fromAddr);
  let to = toAddr === 0 ? output.pos : loadOffset(t, toAddr);
  if (Number.isNaN(from) || Number.isNaN(to)) return -EFAULT;
  if (a.int(5) !== 0) return -EINVAL;
  const source = input.inode();
  const target = output.inode();
  if (source.isDir() || target.isDir()) return -EISDIR;
  if (!source.isRegular() || !target.isRegular()) return -EINVAL;
  if (!input.readable || !output.writable || (output.flags & O_APPEND) !== 0) return -EBADF;
  if (source.fs !== target.fs) return -EXDEV;
  if (from < 0 || to < 0) return -EINVAL;
  let count = a.addr(4);
  // cp(1) asks for all that an off_t can say.
  if (from + count >= 2 ** 63 || to + count >= 2 ** 63) return -EOVERFLOW;
  const current = source.getattr(t);
  if (current < 0) return current;
  count = Math.min(count, Math.max(0, source.size - from), MAX_COPY);
  if (source === target && to + count > from && to < from + count) return -EINVAL;

  let done = count === 0 ? 0 : output.copyFrom(t, input, from, to, count);
  if (done === -EOPNOTSUPP || done === -EXDEV) done = 0;
  else if (done < 0) return done;
  else count = done;
  from += done;
  to += done;
  while (done < count) {
    const got = input.pread(t, io.set(0, Math.min(CHUNK, count - done)), from);
    const put = got <= 0 ? got : output.pwrite(t, io.set(0, got), to);
    if (put <= 0) {
      if (done === 0) return put;
      break;
    }
    done += put;
    from += put;
    to += put;
  }
  if (fromAddr === 0) input.pos = from;
  else if (t.mm.storeU64(fromAddr, from) < 0) return -EFAULT;
  if (toAddr === 0) output.pos = to;
  else if (t.mm.storeU64(toAddr, to) < 0) return -EFAULT;
  return done;
}

export const fsSpliceCalls: readonly SyscallLine[] = [
  call(SYS_sendfile, 'sendfile', 'out_fd:fd in_fd:fd offset:addr count:size', sendfile),
  call(SYS_splice, 'splice', 'fd_in:fd off_in:addr fd_out:fd off_out:addr len:size flags:flags', splice),
  call(SYS_tee, 'tee', 'fd_in:fd fd_out:fd len:size flags:flags', tee),
  call(SYS_vmsplice, 'vmsplice', 'fd:fd iov:iov:2 nr_segs:size flags:flags', vmsplice, 'full', 'pages are copied, not lent'),
  call(SYS_copy_file_range, 'copy_file_range', 'fd_in:fd off_in:addr fd_out:fd off_out:addr len:size flags:flags', copyFileRange),
];
