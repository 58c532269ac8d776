import test from 'ava';
import { O_RDONLY, O_RDWR } from '../../../sentry/abi/fcntl.ts';
import {
  SYS_close,
  SYS_getdents64,
  SYS_lseek,
  SYS_mkdir,
  SYS_mount,
  SYS_open,
  SYS_read,
  SYS_readlink,
  SYS_write,
} from '../../../sentry/abi/sysno-x64.ts';
import { procType } from '../../../sentry/fs/proc.ts';
import { cpuinfoFor } from '../../../sentry/kernel/machine.ts';
import { SchedState } from '../../../sentry/kernel/sched-state.ts';
import { SYSCTLS, Sysctls } from '../../../sentry/kernel/sysctl.ts';
import { BUF, type FakeTask, fakeTask } from '../../support/fake-task.ts';

const SIZE = 0x8000;
const EINVAL = -22;
const ENOENT = -2;

function withProc(): FakeTask {
  const task = fakeTask();
  task.task.kernel.vfs.registerFilesystem(procType(task.task.kernel, { cmdline: 'quiet', sysctls: SYSCTLS }));
  task.sys(SYS_mkdir, '/proc', 0o755);
  task.sys(SYS_mount, 'proc', '/proc', 'proc', 0, 0);
  return task;
}

function slurp(task: FakeTask, path: string): string | number {
  const fd = task.sys(SYS_open, path, O_RDONLY)!;
  if (fd < 0) return fd;
  const n = task.sys(SYS_read, fd, BUF, SIZE)!;
  task.sys(SYS_close, fd);
  return n < 0 ? n : task.text(BUF, n);
}

test('stat has 52 fields, a name in parentheses, and the numbers of the process', (t) => {
  const task = withProc();
  task.task.comm = 'a) b';
  const text = slurp(task, '/proc/self/stat') as string;
  t.true(text.startsWith('1 (a) b) '));
  const fields = text
    .slice(text.lastIndexOf(')') + 2)
    .trimEnd()
    .split(' ');
  t.is(fields.length, 50);
  // state ppid pgrp session tty_nr tpgid … priority nice num_threads itrealvalue
  t.deepEqual(fields.slice(0, 6), ['R', '0', '1', '1', '0', '-1']);
  t.deepEqual(fields.slice(15, 19), ['20', '0', '1', '0']);
});

test('status escapes what would break a line, and pads sizes to eight digits', (t) => {
  const task = withProc();
  task.task.comm = 'a\nb\\';
  const text = slurp(task, '/proc/self/status') as string;
  t.true(text.startsWith('Name:\ta\\nb\\\\\nUmask:\t0022\n'));
  t.regex(text, /^VmSize:\t {0,8}\d+ kB$/m);
  t.regex(text, /^CapEff:\t000001ffffffffff$/m);
});

test('a file is read on from where the last read ended, and made anew from the start', (t) => {
  const task = withProc();
  const fd = task.sys(SYS_open, '/proc/self/comm', O_RDONLY)!;
  t.is(task.sys(SYS_read, fd, BUF, 2), 2);
  task.task.comm = 'other';
  t.is(task.sys(SYS_read, fd, BUF, SIZE), 3);
  t.is(task.text(BUF, 3), 'it\n');
  t.is(task.sys(SYS_lseek, fd, 0, 0), 0);
  t.is(task.sys(SYS_read, fd, BUF, SIZE), 6);
  t.is(task.sys(SYS_lseek, fd, 0, 2), EINVAL);
});

test('self is the reader, and a number that is nobody is not there', (t) => {
  const task = withProc();
  t.is(task.sys(SYS_readlink, '/proc/self', BUF, 64), 1);
  t.is(task.text(BUF, 1), '1');
  t.is(slurp(task, '/proc/999/stat'), ENOENT);
  t.is(slurp(task, '/proc/01/stat'), ENOENT);
  t.is(task.sys(SYS_mkdir, '/proc/new', 0o755), ENOENT);
});

test('fd lists open descriptors with where they lead', (t) => {
  const task = withProc();
  const fd = task.sys(SYS_open, '/proc/uptime', O_RDONLY)!;
  t.is(task.sys(SYS_readlink, `/proc/self/fd/${fd}`, BUF, 64), 12);
  t.is(task.text(BUF, 12), '/proc/uptime');
  const dir = task.sys(SYS_open, '/proc/self/fd', O_RDONLY)!;
  const n = task.sys(SYS_getdents64, dir, BUF, SIZE)!;
  const names = task.text(BUF, n);
  t.true(names.includes(`${fd}\0`) && names.includes(`${dir}\0`));
  t.regex(slurp(task, `/proc/self/fdinfo/${fd}`) as string, /^pos:\t0\nflags:\t0\d+\nmnt_id:\t\d+\nino:\t\d+\n$/);
});

test('a sysctl takes what is within its bounds, and keeps its value otherwise', (t) => {
  const task = withProc();
  const fd = task.sys(SYS_open, '/proc/sys/vm/swappiness', O_RDWR)!;
  t.is(task.sys(SYS_write, fd, '10\n', 3), 3);
  t.is(slurp(task, '/proc/sys/vm/swappiness'), '10\n');
  t.is(task.sys(SYS_write, fd, '201', 3), EINVAL);
  t.is(task.sys(SYS_write, fd, 'ten', 3), EINVAL);
  t.is(slurp(task, '/proc/sys/vm/swappiness'), '10\n');
});

test('a vector sysctl changes as many values as are written', (t) => {
  const sysctls = new Sysctls();
  t.is(sysctls.set('kernel.sem', '250 32000'), 0);
  t.is(sysctls.get('kernel.sem'), '250\t32000\t500\t32000');
  t.is(sysctls.set('kernel.sem', '1 2 3 4 5'), EINVAL);
});

test('cpuinfo is cut or continued to the number of processors', (t) => {
  const host = 'processor\t: 0\nsiblings\t: 4\n\nprocessor\t: 1\nsiblings\t: 4\n\n';
  t.is(cpuinfoFor(host, 1), 'processor\t: 0\nsiblings\t: 1\n\n');
  t.is(cpuinfoFor(host, 3).match(/^processor/gm)?.length, 3);
  t.true(cpuinfoFor(host, 3).includes('processor\t: 2\nsiblings\t: 3\n'));
});

test('affinity is shown as a list and as a mask', (t) => {
  const sched = new SchedState(40);
  t.is(sched.cpuList, '0-39');
  t.is(sched.cpuMask, 'ff,ffffffff');
  sched.affinity = new Uint8Array([0b1011, 0, 0, 0, 1]);
  t.is(sched.cpuList, '0-1,3,32');
  t.is(sched.cpuMask, '01,0000000b');
});
