// A task on the fake platform that makes file system calls: its memory is an array, its root an
// empty tmpfs (mode 755), its descriptors and credentials are real. In tests ava's context is `t`
// and the guest's is `task`.

import { latin1, putLatin1 } from '../../sentry/base/latin1.ts';
import { openFifo } from '../../sentry/fs/pipe.ts';
import { tmpfsType } from '../../sentry/fs/tmpfs.ts';
import type { Task } from '../../sentry/kernel/task.ts';
import { fsDirCalls } from '../../sentry/syscalls/fs-dir.ts';
import { fsFdCalls } from '../../sentry/syscalls/fs-fd.ts';
import { fsMountCalls } from '../../sentry/syscalls/fs-mount.ts';
import { fsOpenCalls } from '../../sentry/syscalls/fs-open.ts';
import { fsReadWriteCalls } from '../../sentry/syscalls/fs-read-write.ts';
import { fsStatCalls } from '../../sentry/syscalls/fs-stat.ts';
import { fsSyncCalls } from '../../sentry/syscalls/fs-sync.ts';
import { processCalls } from '../../sentry/syscalls/process.ts';
import { DATA, FakeGuest } from './fake-guest.ts';

const families = [fsOpenCalls, fsStatCalls, fsDirCalls, fsMountCalls, fsReadWriteCalls, fsFdCalls, fsSyncCalls, processCalls];

/** Room for strings, from DATA on; each put() takes a fresh piece and starts over at the end. */
const ROOM = 0x8000;
/** Where tests let calls write to: 64 KiB that put() leaves alone. */
export const BUF = DATA + ROOM;

export class FakeTask {
  readonly guest: FakeGuest;
  readonly task: Task;
  private next = 0;

  constructor(guest: FakeGuest, task: Task) {
    this.guest = guest;
    this.task = task;
  }

  /** One system call; strings are put into memory and passed by address. undefined: the task waits. */
  sys(nr: number, ...args: (number | string)[]): number | undefined {
    const words = args.map((a) => (typeof a === 'string' ? this.put(a) : a));
    return this.guest.sys(this.task, nr, ...words);
  }

  /** A NUL-terminated string in guest memory: its address. */
  put(text: string): number {
    const bytes = new Uint8Array(text.length + 1);
    putLatin1(bytes, 0, text);
    if (this.next + bytes.length > ROOM) this.next = 0;
    const addr = DATA + this.next;
    this.task.mm.writeSome(addr, bytes, 0, bytes.length);
    this.next += bytes.length;
    return addr;
  }

  /** n bytes of guest memory as text. */
  text(addr: number, n: number): string {
    const bytes = new Uint8Array(n);
    this.task.mm.readSome(addr, bytes, 0, n);
    return latin1(bytes, 0, n);
  }

  /** Guest memory as a view, for struct fields. */
  view(addr: number, n: number): DataView {
    const bytes = new Uint8Array(n);
    this.task.mm.readSome(addr, bytes, 0, n);
    return new DataView(bytes.buffer);
  }

  /** Makes the task an ordinary user's. */
  become(uid: number, gid = uid): void {
    const creds = this.task.creds.clone();
    creds.uid = creds.euid = creds.suid = creds.fsuid = uid;
    creds.gid = creds.egid = creds.sgid = creds.fsgid = gid;
    creds.permitted = { lo: 0, hi: 0 };
    creds.effective = { lo: 0, hi: 0 };
    this.task.creds = creds;
  }
}

/** The init task of a fresh kernel. */
export function fakeTask(): FakeTask {
  const guest = new FakeGuest(families);
  guest.kernel.vfs.registerFilesystem(tmpfsType);
  guest.kernel.vfs.registerFifo(openFifo);
  return new FakeTask(guest, guest.init);
}
