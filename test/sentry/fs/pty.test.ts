import test from 'ava';
import { O_NOCTTY, O_NONBLOCK, O_RDWR } from '../../../sentry/abi/fcntl.ts';
import { FIONREAD, TCGETS, TCSETS, TIOCGPGRP, TIOCGPTN, TIOCGWINSZ, TIOCPKT, TIOCSPTLCK, TIOCSWINSZ } from '../../../sentry/abi/ioctl.ts';
import { SYS_close, SYS_ioctl, SYS_mkdir, SYS_mount, SYS_open, SYS_read, SYS_write } from '../../../sentry/abi/sysno-x64.ts';
import { devptsType, registerTerminals } from '../../../sentry/fs/devpts.ts';
import { BUF, type FakeTask, fakeTask } from '../../support/fake-task.ts';

const EIO = -5;
const EAGAIN = -11;
const ENOTTY = -25;

/** A task with /dev/pts, and one terminal open at both ends. */
class Desk {
  readonly task: FakeTask = fakeTask();
  readonly master: number;
  readonly slave: number;

  constructor(slaveFlags = O_NOCTTY | O_NONBLOCK) {
    const { kernel } = this.task.task;
    kernel.vfs.registerFilesystem(devptsType(kernel));
    registerTerminals(kernel.vfs);
    this.task.sys(SYS_mkdir, '/pts', 0o755);
    this.task.sys(SYS_mount, 'devpts', '/pts', 'devpts', 0, this.task.put('ptmxmode=666'));
    this.master = this.task.sys(SYS_open, '/pts/ptmx', O_RDWR | O_NONBLOCK)!;
    this.ioctl(this.master, TIOCSPTLCK, this.word(0));
    this.slave = this.task.sys(SYS_open, '/pts/0', O_RDWR | slaveFlags)!;
  }

  word(value: number): number {
    this.task.task.mm.storeU32(BUF, value);
    return BUF;
  }
  ioctl(fd: number, cmd: number, arg: number): number {
    return this.task.sys(SYS_ioctl, fd, cmd, arg)!;
  }
  read(fd: number): string | number {
    const n = this.task.sys(SYS_read, fd, BUF, 4096)!;
    return n < 0 ? n : this.task.text(BUF, n);
  }
  write(fd: number, text: string): number {
    return this.task.sys(SYS_write, fd, text, text.length)!;
  }
}

test('what is typed at the master is a line at the slave, and an echo at the master', (t) => {
  const d = new Desk();
  t.is(d.write(d.master, 'hi\n'), 3);
  t.is(d.read(d.master), 'hi\r\n');
  t.is(d.read(d.slave), 'hi\n');
  t.is(d.read(d.slave), EAGAIN);
});

test('a locked slave cannot be opened, and a closed one ends the master’s input', (t) => {
  const d = new Desk();
  d.ioctl(d.master, TIOCSPTLCK, d.word(1));
  t.is(d.task.sys(SYS_open, '/pts/0', O_RDWR), EIO);
  d.write(d.slave, 'bye');
  d.task.sys(SYS_close, d.slave);
  t.is(d.read(d.master), 'bye');
  t.is(d.read(d.master), EIO);
});

test('the master’s end hangs up the slave and takes its name away', (t) => {
  const d = new Desk();
  d.task.sys(SYS_close, d.master);
  t.is(d.read(d.slave), '');
  t.is(d.write(d.slave, 'x'), EIO);
  t.is(d.task.sys(SYS_open, '/pts/0', O_RDWR), -2);
  const next = d.task.sys(SYS_open, '/pts/ptmx', O_RDWR)!;
  t.is(d.ioctl(next, TIOCGPTN, BUF), 0);
  t.is(d.task.task.mm.loadU32(BUF), 0);
});

test('packet mode puts a zero before data, and tells of stopped output by a byte of its own', (t) => {
  const d = new Desk();
  d.ioctl(d.master, TIOCPKT, d.word(1));
  d.write(d.slave, 'out');
  t.is(d.read(d.master), '\0out');
  d.write(d.master, '\x13');
  t.is(d.read(d.master), '\x04');
  t.is(d.write(d.slave, 'held'), EAGAIN);
  d.write(d.master, '\x11');
  t.is(d.read(d.master), '\x08');
});

test('opening a free terminal makes it that of a session leader, with its group in front', (t) => {
  const d = new Desk(O_NONBLOCK);
  t.is(d.ioctl(d.slave, TIOCGPGRP, BUF), 0);
  t.is(d.task.task.mm.loadU32(BUF), 1);
  const other = new Desk();
  t.is(other.ioctl(other.slave, TIOCGPGRP, BUF), ENOTTY);
});

test('settings are the slave’s at both ends, and always have eight bits', (t) => {
  const d = new Desk();
  t.is(d.ioctl(d.master, TCGETS, BUF), 0);
  const before = d.task.view(BUF, 36);
  t.is(before.getUint32(8, true), 0o277);
  d.task.task.mm.storeU32(BUF + 8, 0);
  t.is(d.ioctl(d.slave, TCSETS, BUF), 0);
  t.is(d.ioctl(d.master, TCGETS, BUF), 0);
  t.is(d.task.view(BUF, 36).getUint32(8, true), 0o260);
});

test('FIONREAD counts finished lines only', (t) => {
  const d = new Desk();
  d.write(d.master, 'one\ntw');
  t.is(d.ioctl(d.slave, FIONREAD, BUF), 0);
  t.is(d.task.task.mm.loadU32(BUF), 4);
});

test('a window size is the same at both ends', (t) => {
  const d = new Desk();
  d.task.task.mm.storeU32(BUF, 24 + 80 * 65536);
  d.task.task.mm.storeU32(BUF + 4, 0);
  t.is(d.ioctl(d.slave, TIOCSWINSZ, BUF), 0);
  t.is(d.ioctl(d.master, TIOCGWINSZ, BUF), 0);
  t.is(d.task.view(BUF, 8).getUint16(2, true), 80);
});
