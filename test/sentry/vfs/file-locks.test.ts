import test from 'ava';
import { EAGAIN, EDEADLK } from '../../../sentry/abi/errno.ts';
import { F_RDLCK, F_UNLCK, F_WRLCK, LOCK_EX, LOCK_SH, LOCK_UN } from '../../../sentry/abi/fcntl.ts';
import {
  beginLockWait,
  conflictingLock,
  endLockWait,
  LOCK_TO_END,
  releasePosixLocks,
  setFlock,
  setRangeLock,
} from '../../../sentry/vfs/file-locks.ts';
import type { Inode } from '../../../sentry/vfs/filesystem.ts';
import { makeTree, putFile } from '../../support/tree.ts';

function someInode(): Inode {
  const tree = makeTree();
  putFile(tree, '/f', '');
  return tree.vfs.stat(tree.ctx, null, '/f', 0) as Inode;
}

const held = (inode: Inode): string =>
  inode.locks?.ranges.map((r) => `${r.type === F_WRLCK ? 'w' : 'r'}${r.start}-${r.end}`).join(' ') ?? '';

test('a lock set again on its very range changes type in place, is merged with its neighbours, and tells who waits', (t) => {
  const inode = someInode();
  const me = {};
  const other = {};
  t.is(setRangeLock(inode, me, 1, F_RDLCK, 20, 29), 0);
  t.is(setRangeLock(inode, other, 2, F_RDLCK, 0, 9), 0);
  t.is(setRangeLock(inode, other, 2, F_RDLCK, 20, 29), 0);
  t.is(held(inode), 'r0-9 r20-29 r20-29');
  t.is(setRangeLock(inode, me, 1, F_WRLCK, 20, 29), -EAGAIN);
  t.is(setRangeLock(inode, other, 2, F_UNLCK, 20, 29), 0);
  t.is(setRangeLock(inode, me, 1, F_WRLCK, 20, 29), 0);
  t.is(held(inode), 'r0-9 w20-29');
  t.is(setRangeLock(inode, me, 1, F_RDLCK, 30, 39), 0);
  t.is(setRangeLock(inode, me, 1, F_RDLCK, 20, 29), 0);
  t.is(held(inode), 'r0-9 r20-39');
  releasePosixLocks(inode, me);
  releasePosixLocks(inode, other);
  t.is(inode.locks, null);
});

test('locks of one owner split, merge and change type', (t) => {
  const inode = someInode();
  const me = {};
  t.is(setRangeLock(inode, me, 1, F_WRLCK, 0, 99), 0);
  t.is(setRangeLock(inode, me, 1, F_UNLCK, 10, 19), 0);
  t.is(held(inode), 'w0-9 w20-99');
  t.is(setRangeLock(inode, me, 1, F_RDLCK, 5, 24), 0);
  t.is(held(inode), 'w0-4 r5-24 w25-99');
  t.is(setRangeLock(inode, me, 1, F_WRLCK, 5, 24), 0);
  t.is(held(inode), 'w0-99');
  t.is(setRangeLock(inode, me, 1, F_WRLCK, 100, LOCK_TO_END), 0);
  t.is(held(inode), `w0-${LOCK_TO_END}`);
  releasePosixLocks(inode, me);
  t.is(inode.locks, null);
});

test('readers share, writers do not, and a conflict names its holder', (t) => {
  const inode = someInode();
  const [a, b] = [{}, {}];
  t.is(setRangeLock(inode, a, 1, F_RDLCK, 0, 9), 0);
  t.is(setRangeLock(inode, b, 2, F_RDLCK, 5, 15), 0);
  t.is(setRangeLock(inode, b, 2, F_WRLCK, 9, 9), -EAGAIN);
  t.is(setRangeLock(inode, b, 2, F_WRLCK, 10, 12), 0);
  t.is(conflictingLock(inode, a, F_RDLCK, 0, 20)?.pid, 2);
  t.is(conflictingLock(inode, a, F_RDLCK, 0, 9), undefined);
});

test('a circle of waiting owners is a deadlock, unless they are descriptions', (t) => {
  const [one, two] = [someInode(), someInode()];
  const [a, b, c] = [{}, {}, {}];
  setRangeLock(one, a, 1, F_WRLCK, 0, 0);
  setRangeLock(two, b, 2, F_WRLCK, 0, 0);
  setRangeLock(one, c, 3, F_WRLCK, 5, 5);
  t.is(beginLockWait(two, c, false, F_WRLCK, 0, 0), 0);
  t.is(beginLockWait(one, b, false, F_WRLCK, 0, 0), 0);
  t.is(beginLockWait(two, a, true, F_WRLCK, 0, 0), 0);
  t.is(beginLockWait(two, a, false, F_WRLCK, 0, 0), -EDEADLK);
  endLockWait(b);
  t.is(beginLockWait(two, a, false, F_WRLCK, 0, 0), 0);
  for (const owner of [a, b, c]) endLockWait(owner);
});

test('flock converts, and loses the old lock when the new one cannot be had', (t) => {
  const inode = someInode();
  const [a, b] = [{}, {}];
  t.is(setFlock(inode, a, 1, LOCK_SH), 0);
  t.is(setFlock(inode, b, 2, LOCK_SH), 0);
  t.is(setFlock(inode, a, 1, LOCK_EX), -EAGAIN);
  t.is(setFlock(inode, b, 2, LOCK_EX), 0, 'a has lost its shared lock');
  t.is(setFlock(inode, a, 1, LOCK_SH), -EAGAIN);
  t.is(setFlock(inode, b, 2, LOCK_UN), 0);
  t.is(setFlock(inode, a, 1, LOCK_EX), 0);
});
