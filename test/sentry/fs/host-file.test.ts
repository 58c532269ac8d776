import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { close, fcntlGetFlags, read as hostRead, pipe2, pollFd } from 'ptrace-napi';
import { EAGAIN, EPIPE, ESPIPE } from '../../../sentry/abi/errno.ts';
import { O_NONBLOCK } from '../../../sentry/abi/fcntl.ts';
import { POLLHUP, POLLIN, POLLOUT } from '../../../sentry/abi/poll.ts';
import { S_IFIFO, S_IFMT } from '../../../sentry/abi/stat.ts';
import { Waiter } from '../../../sentry/base/wait-queue.ts';
import { type HostFile, newHostFile } from '../../../sentry/fs/gofer/host-file.ts';
import type { Kernel } from '../../../sentry/kernel/kernel.ts';
import type { Task } from '../../../sentry/kernel/task.ts';
import { BufferIo } from '../../../sentry/vfs/buffer-io.ts';

const nobody = null as unknown as Task;

class FakeKernel {
  readonly hostWatchers = new Map<number, { hostReady(events: number): void }>();
  readonly watched = new Map<number, number>();
  readonly platform = {
    watch: (fd: number, _events: number, token: number) => {
      this.watched.set(fd, token);
      return 0;
    },
    unwatch: (fd: number) => this.watched.delete(fd),
  };
}

function hostFile(kernel: FakeKernel, fd: number): HostFile {
  const file = newHostFile(kernel as unknown as Kernel, fd);
  if (typeof file === 'number') throw new Error(`errno ${-file}`);
  return file as HostFile;
}

function pipe(): [number, number] {
  const ends = new Int32Array(2);
  pipe2(ends, 0);
  return [ends[0], ends[1]];
}

class Told extends Waiter {
  events = 0;
  override notified(events: number): void {
    this.events |= events;
  }
}

test('an empty pipe of the host would block, and its watch wakes the reader', (t) => {
  const kernel = new FakeKernel();
  const [readEnd, writeEnd] = pipe();
  const file = hostFile(kernel, readEnd);
  const bytes = new Uint8Array(16);
  t.is(file.read(nobody, new BufferIo(bytes).set(0, 16)), -EAGAIN);
  const told = new Told();
  file.waiters.add(told, POLLIN);
  writeSync(writeEnd, 'hello');
  kernel.hostWatchers.get(kernel.watched.get(readEnd)!)!.hostReady(POLLIN);
  t.is(told.events & POLLIN, POLLIN);
  t.is(file.read(nobody, new BufferIo(bytes).set(0, 16)), 5);
  t.is(Buffer.from(bytes.subarray(0, 5)).toString(), 'hello');
  close(writeEnd);
  t.is(file.read(nobody, new BufferIo(bytes).set(0, 16)), 0);
  t.is(file.poll(null) & POLLHUP, POLLHUP);
  t.is(file.inode().mode & S_IFMT, S_IFIFO);
  t.is(file.seek(nobody, 0, 0), -ESPIPE);
  file.decRef(null);
  t.is(kernel.watched.size, 0);
  t.is(kernel.hostWatchers.size, 0);
});

test('a full pipe takes what it can and then would block, without O_NONBLOCK on the shared description', (t) => {
  const [readEnd, writeEnd] = pipe();
  const file = hostFile(new FakeKernel(), writeEnd);
  const data = new Uint8Array(200_000).fill(65);
  const io = new BufferIo(data).set(0, data.length);
  const first = file.write(nobody, io);
  t.true(first > 0 && first <= 65536);
  t.is(io.remaining, data.length - first);
  t.is(file.write(nobody, io), -EAGAIN);
  t.is(fcntlGetFlags(writeEnd) & O_NONBLOCK, 0);
  const sink = new Uint8Array(65536);
  t.is(hostRead(readEnd, sink, 0, 65536), first);
  t.is(pollFd(writeEnd, POLLOUT, 0), POLLOUT);
  t.true(file.write(nobody, io) > 0);
  close(readEnd);
  t.is(file.write(nobody, io), -EPIPE);
  file.decRef(null);
});

test("a regular file is written where the host's description stands", (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'runsc-host-'));
  t.teardown(() => rmSync(dir, { recursive: true }));
  const path = join(dir, 'out');
  writeFileSync(path, '');
  const fd = openSync(path, 'r+');
  writeSync(fd, 'before ');
  const file = hostFile(new FakeKernel(), fd);
  t.is(file.write(nobody, new BufferIo(Buffer.from('guest ')).set(0, 6)), 6);
  writeSync(fd, 'after');
  t.is(readFileSync(path, 'utf8'), 'before guest after');
  t.false(file.canPoll());
  const again = file.inode().open(null, { dentry: null, mount: null } as never, 1);
  if (typeof again === 'number') return t.fail();
  t.is(again.write(nobody, new BufferIo(Buffer.from('!')).set(0, 1)), 1);
  again.decRef(null);
  file.decRef(null);
  // Opened anew, as /dev/stdout is: with a position of its own.
  t.is(readFileSync(path, 'utf8'), '!efore guest after');
  t.throws(() => closeSync(fd));
});
