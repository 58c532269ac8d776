import test from 'ava';
import {
  EACCES,
  EBADF,
  EEXIST,
  EINVAL,
  EISDIR,
  ELOOP,
  ENAMETOOLONG,
  ENOENT,
  ENOTDIR,
  EPERM,
  ERANGE,
  EXDEV,
} from '../../../sentry/abi/errno.ts';
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  AT_REMOVEDIR,
  AT_SYMLINK_NOFOLLOW,
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_RDWR,
  O_TMPFILE,
  O_WRONLY,
  RESOLVE_BENEATH,
  RESOLVE_IN_ROOT,
} from '../../../sentry/abi/fcntl.ts';
import { MS_BIND, MS_RDONLY, MS_REMOUNT } from '../../../sentry/abi/mount.ts';
import { STAT } from '../../../sentry/abi/stat.ts';
import * as nr from '../../../sentry/abi/sysno-x64.ts';
import { put } from '../../support/fake-guest.ts';
import { BUF, type FakeTask, fakeTask } from '../../support/fake-task.ts';

function modeOf(task: FakeTask, path: string): number | undefined {
  const error = task.sys(nr.SYS_lstat, path, BUF);
  return error === 0 ? task.view(BUF, STAT.size).getUint32(STAT.mode, true) : error;
}

function openHow(task: FakeTask, flags: number, mode: number, resolve: number): number {
  return put(task.task, BUF + 0x1000, flags, mode, resolve);
}

test('open creates with the umask, refuses what exists with O_EXCL, and reads back what was written', (t) => {
  const task = fakeTask();
  const fd = task.sys(nr.SYS_open, '/f', O_CREAT | O_RDWR, 0o666)!;
  t.is(fd, 0);
  t.is(modeOf(task, '/f'), 0o100644);
  t.is(task.sys(nr.SYS_write, fd, 'hello', 5), 5);
  t.is(task.sys(nr.SYS_pread64, fd, BUF, 100, 1), 4);
  t.is(task.text(BUF, 4), 'ello');
  t.is(task.sys(nr.SYS_open, '/f', O_CREAT | O_EXCL | O_RDWR, 0o666), -EEXIST);
  t.is(task.sys(nr.SYS_close, fd), 0);
  t.is(task.sys(nr.SYS_close, fd), -EBADF);
  t.is(task.sys(nr.SYS_open, '/', O_WRONLY, 0), -EISDIR);
  t.is(task.sys(nr.SYS_open, '/f/', O_RDONLY, 0), -ENOTDIR);
  t.is(task.sys(nr.SYS_open, '/g/', O_CREAT | O_WRONLY, 0o644), -EISDIR);
  t.is(task.sys(nr.SYS_open, '', O_RDONLY, 0), -ENOENT);
  t.is(task.sys(nr.SYS_open, 0x10, O_RDONLY, 0), -14);
  t.is(task.sys(nr.SYS_open, `/${'x'.repeat(256)}`, O_RDONLY, 0), -ENAMETOOLONG);
  t.is(task.sys(nr.SYS_open, '/f', O_DIRECTORY, 0), -ENOTDIR);
});

test('symbolic links are followed 40 deep, not at all with O_NOFOLLOW, and O_PATH opens the link itself', (t) => {
  const task = fakeTask();
  task.sys(nr.SYS_creat, '/f', 0o644);
  task.sys(nr.SYS_symlink, 'f', '/l0');
  for (let i = 1; i <= 40; i++) task.sys(nr.SYS_symlink, `l${i - 1}`, `/l${i}`);
  t.true(task.sys(nr.SYS_open, '/l39', O_RDONLY, 0)! >= 0);
  t.is(task.sys(nr.SYS_open, '/l40', O_RDONLY, 0), -ELOOP);
  t.is(task.sys(nr.SYS_open, '/l0', O_RDONLY | O_NOFOLLOW, 0), -ELOOP);
  const link = task.sys(nr.SYS_open, '/l0', O_PATH | O_NOFOLLOW, 0)!;
  t.is(task.sys(nr.SYS_readlinkat, link, '', BUF, 100), 1);
  t.is(task.sys(nr.SYS_newfstatat, link, '', BUF, AT_EMPTY_PATH), 0);
  t.is(task.view(BUF, STAT.size).getUint32(STAT.mode, true), 0o120777);
  t.is(task.sys(nr.SYS_read, link, BUF, 1), -EBADF);
  task.sys(nr.SYS_symlink, 'new', '/dangling');
  t.true(task.sys(nr.SYS_open, '/dangling', O_CREAT | O_WRONLY, 0o600)! >= 0);
  t.is(modeOf(task, '/new'), 0o100600);
});

test('openat2 keeps the walk below its start, or makes the start its root', (t) => {
  const task = fakeTask();
  task.sys(nr.SYS_mkdir, '/jail', 0o755);
  task.sys(nr.SYS_mkdir, '/jail/etc', 0o755);
  task.sys(nr.SYS_creat, '/jail/etc/passwd', 0o644);
  task.sys(nr.SYS_creat, '/secret', 0o644);
  task.sys(nr.SYS_symlink, '/etc/passwd', '/jail/abs');
  task.sys(nr.SYS_symlink, '../secret', '/jail/up');
  const jail = task.sys(nr.SYS_open, '/jail', O_PATH, 0)!;
  const beneath = openHow(task, O_RDONLY, 0, RESOLVE_BENEATH);
  t.true(task.sys(nr.SYS_openat2, jail, 'etc/../etc/passwd', beneath, 24)! >= 0);
  t.is(task.sys(nr.SYS_openat2, jail, '../secret', beneath, 24), -EXDEV);
  t.is(task.sys(nr.SYS_openat2, jail, 'abs', beneath, 24), -EXDEV);
  t.is(task.sys(nr.SYS_openat2, jail, '/jail/etc', beneath, 24), -EXDEV);
  const inRoot = openHow(task, O_RDONLY, 0, RESOLVE_IN_ROOT);
  t.true(task.sys(nr.SYS_openat2, jail, 'abs', inRoot, 24)! >= 0);
  t.is(task.sys(nr.SYS_openat2, jail, 'up', inRoot, 24), -ENOENT);
  t.is(task.sys(nr.SYS_openat2, jail, 'abs', inRoot, 23), -EINVAL);
  t.is(task.sys(nr.SYS_openat2, jail, 'abs', openHow(task, O_RDONLY, 0o644, 0), 24), -EINVAL);
});

test('an unprivileged task is held to the permission bits and to sticky directories', (t) => {
  const task = fakeTask();
  task.sys(nr.SYS_creat, '/secret', 0o600);
  task.sys(nr.SYS_mkdir, '/tmp', 0o777);
  task.sys(nr.SYS_chmod, '/tmp', 0o1777);
  task.sys(nr.SYS_creat, '/tmp/roots', 0o666);
  task.sys(nr.SYS_mkdir, '/closed', 0o700);
  task.become(1000);
  t.is(task.sys(nr.SYS_open, '/secret', O_RDONLY, 0), -EACCES);
  t.is(task.sys(nr.SYS_access, '/secret', 4), -EACCES);
  t.is(task.sys(nr.SYS_stat, '/secret', BUF), 0);
  t.is(task.sys(nr.SYS_stat, '/closed/x', BUF), -EACCES);
  t.is(task.sys(nr.SYS_mkdir, '/d', 0o755), -EACCES);
  t.is(task.sys(nr.SYS_unlink, '/tmp/roots'), -EPERM);
  t.true(task.sys(nr.SYS_creat, '/tmp/own', 0o644)! >= 0);
  t.is(task.sys(nr.SYS_chown, '/tmp/own', 0, -1), -EPERM);
  t.is(task.sys(nr.SYS_chmod, '/secret', 0o666), -EPERM);
  t.is(task.sys(nr.SYS_unlink, '/tmp/own'), 0);
});

test('unlinkat, rename and link answer Linux errors for the wrong kind of object', (t) => {
  const task = fakeTask();
  task.sys(nr.SYS_mkdir, '/d', 0o755);
  task.sys(nr.SYS_mkdir, '/d/e', 0o755);
  task.sys(nr.SYS_creat, '/f', 0o644);
  t.is(task.sys(nr.SYS_unlink, '/d'), -EISDIR);
  t.is(task.sys(nr.SYS_unlinkat, AT_FDCWD, '/f', AT_REMOVEDIR), -ENOTDIR);
  t.is(task.sys(nr.SYS_rmdir, '/d/.'), -EINVAL);
  t.is(task.sys(nr.SYS_rename, '/d', '/d/e/x'), -EINVAL);
  t.is(task.sys(nr.SYS_rename, '/f', '/d'), -EISDIR);
  t.is(task.sys(nr.SYS_rename, '/d', '/f'), -ENOTDIR);
  t.is(task.sys(nr.SYS_link, '/d', '/g'), -EPERM);
  t.is(task.sys(nr.SYS_link, '/f', '/d/e'), -EEXIST);
  t.is(task.sys(nr.SYS_rename, '/f', '/d/e/f'), 0);
  t.is(modeOf(task, '/d/e/f'), 0o100644);
  t.is(modeOf(task, '/f'), -ENOENT);
});

test('getcwd follows renames, and fails once the directory is gone', (t) => {
  const task = fakeTask();
  task.sys(nr.SYS_mkdir, '/a', 0o755);
  task.sys(nr.SYS_mkdir, '/a/b', 0o755);
  t.is(task.sys(nr.SYS_chdir, '/a/b'), 0);
  t.is(task.sys(nr.SYS_getcwd, BUF, 100), 5);
  t.is(task.text(BUF, 5), '/a/b\0');
  t.is(task.sys(nr.SYS_getcwd, BUF, 4), -ERANGE);
  t.is(task.sys(nr.SYS_rename, '/a', '/renamed'), 0);
  t.is(task.sys(nr.SYS_getcwd, BUF, 100), 11);
  t.is(task.sys(nr.SYS_rmdir, '../b'), 0);
  t.is(task.sys(nr.SYS_getcwd, BUF, 100), -ENOENT);
  t.is(task.sys(nr.SYS_creat, 'x', 0o644), -ENOENT);
  t.is(task.sys(nr.SYS_chdir, '..'), 0);
});

test('an O_TMPFILE file has no name until it is linked', (t) => {
  const task = fakeTask();
  const fd = task.sys(nr.SYS_open, '/', O_TMPFILE | O_RDWR, 0o600)!;
  t.is(task.sys(nr.SYS_write, fd, 'abc', 3), 3);
  t.is(task.sys(nr.SYS_fstat, fd, BUF), 0);
  t.is(task.view(BUF, STAT.size).getUint32(STAT.nlink, true), 0);
  t.is(task.sys(nr.SYS_linkat, fd, '', AT_FDCWD, '/named', AT_EMPTY_PATH), 0);
  t.is(modeOf(task, '/named'), 0o100600);
});

test('a read-only bind mount refuses changes, and leaves the tree it shows writable', (t) => {
  const task = fakeTask();
  task.sys(nr.SYS_mkdir, '/src', 0o755);
  task.sys(nr.SYS_mkdir, '/dst', 0o755);
  t.is(task.sys(nr.SYS_mount, '/src', '/dst', 0, MS_BIND, 0), 0);
  t.is(task.sys(nr.SYS_mount, 0, '/dst', 0, MS_BIND | MS_REMOUNT | MS_RDONLY, 0), 0);
  t.is(task.sys(nr.SYS_creat, '/dst/f', 0o644), -30);
  const fd = task.sys(nr.SYS_creat, '/src/f', 0o644)!;
  t.is(modeOf(task, '/dst/f'), 0o100644);
  t.is(task.sys(nr.SYS_rename, '/src/f', '/dst/f'), -EXDEV);
  t.is(task.sys(nr.SYS_rmdir, '/dst'), -16);
  t.is(task.sys(nr.SYS_umount2, '/dst', 0), 0);
  t.is(modeOf(task, '/dst/f'), -ENOENT);
  t.is(task.sys(nr.SYS_close, fd), 0);
});

test('getdents64 continues where it stopped although entries come and go', (t) => {
  const task = fakeTask();
  for (let i = 0; i < 20; i++) task.sys(nr.SYS_close, task.sys(nr.SYS_creat, `/file${i}`, 0o644)!);
  const fd = task.sys(nr.SYS_open, '/', O_DIRECTORY, 0)!;
  const seen: string[] = [];
  const readSome = (): boolean => {
    const n = task.sys(nr.SYS_getdents64, fd, BUF, 200)!;
    const v = task.view(BUF, Math.max(n, 1));
    for (let at = 0; at < n; at += v.getUint16(at + 16, true)) {
      let name = '';
      for (let i = at + 19; v.getUint8(i) !== 0; i++) name += String.fromCharCode(v.getUint8(i));
      seen.push(name);
    }
    return n > 0;
  };
  readSome();
  t.deepEqual(seen.slice(0, 3), ['.', '..', 'file0']);
  task.sys(nr.SYS_unlink, '/file0');
  task.sys(nr.SYS_unlink, '/file15');
  task.sys(nr.SYS_creat, '/late', 0o644);
  while (readSome());
  t.is(new Set(seen).size, seen.length);
  t.false(seen.includes('file15'));
  t.true(seen.includes('file19') && seen.includes('late'));
  t.is(task.sys(nr.SYS_getdents64, fd, BUF, 10), 0);
});

test('fstatat with AT_SYMLINK_NOFOLLOW and an empty path without AT_EMPTY_PATH', (t) => {
  const task = fakeTask();
  task.sys(nr.SYS_symlink, 'x', '/l');
  t.is(task.sys(nr.SYS_newfstatat, AT_FDCWD, '/l', BUF, 0), -ENOENT);
  t.is(task.sys(nr.SYS_newfstatat, AT_FDCWD, '/l', BUF, AT_SYMLINK_NOFOLLOW), 0);
  t.is(task.sys(nr.SYS_newfstatat, AT_FDCWD, '', BUF, 0), -ENOENT);
  t.is(task.sys(nr.SYS_newfstatat, 99, 'x', BUF, 0), -EBADF);
  t.is(task.sys(nr.SYS_newfstatat, 99, '/', BUF, 0), 0);
});
