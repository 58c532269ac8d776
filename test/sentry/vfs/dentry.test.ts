import test from 'ava';
import { ENOENT } from '../../../sentry/abi/errno.ts';
import { O_RDONLY } from '../../../sentry/abi/fcntl.ts';
import { DENTRY_LIMIT, DIRECTORY_LIMIT, dentryCount, dropDentries, setDentryLimit } from '../../../sentry/vfs/dentry.ts';
import type { VfsPath } from '../../../sentry/vfs/filesystem.ts';
import { pathName } from '../../../sentry/vfs/path-name.ts';
import { getFile, makeTree, opened, putFile } from '../../support/tree.ts';

test.afterEach.always(() => setDentryLimit(DENTRY_LIMIT, DIRECTORY_LIMIT));

test('the cache stays within its bound, and what is in use keeps its identity', (t) => {
  const tree = makeTree();
  const { vfs, ctx } = tree;
  setDentryLimit(dentryCount() + 50);
  const bound = dentryCount() + 50;
  vfs.mkdirAt(ctx, null, '/d', 0o755);
  vfs.mkdirAt(ctx, null, '/cwd', 0o755);
  putFile(tree, '/d/held', 'x');
  const held = opened(vfs.openAt(ctx, null, '/d/held', O_RDONLY, 0));
  ctx.fs.cwd = vfs.lookup(ctx, null, '/cwd', 0) as VfsPath;
  for (let i = 0; i < 2000; i++) {
    putFile(tree, `/d/f${i}`, '');
    vfs.stat(ctx, null, `/d/missing${i}`, 0);
    // The directories of this test come on top.
    t.true(dentryCount() <= bound + 3);
  }
  t.is(vfs.renameAt(ctx, null, '/d/held', null, '/moved', 0), 0);
  t.is(pathName(held.path!, ctx.fs.root), '/moved');
  t.is(vfs.renameAt(ctx, null, '/cwd', null, '/elsewhere', 0), 0);
  t.is(pathName(ctx.fs.cwd, ctx.fs.root), '/elsewhere');
  held.decRef(null);
});

test('caches that are dropped keep what is in use, and the rest is found again', (t) => {
  const tree = makeTree();
  const { vfs, ctx } = tree;
  const before = dentryCount();
  vfs.mkdirAt(ctx, null, '/a', 0o755);
  vfs.mkdirAt(ctx, null, '/a/b', 0o755);
  for (let i = 0; i < 100; i++) putFile(tree, `/a/b/f${i}`, 'x');
  vfs.mkdirAt(ctx, null, '/held', 0o755);
  putFile(tree, '/held/f', 'held');
  const held = opened(vfs.openAt(ctx, null, '/held/f', O_RDONLY, 0));
  dropDentries();
  // The newest of each kind may be in a walk's hands.
  t.true(dentryCount() - before <= 4, `${dentryCount() - before}`);
  t.is(vfs.renameAt(ctx, null, '/held', null, '/kept', 0), 0);
  t.is(pathName(held.path!, ctx.fs.root), '/kept/f');
  t.is(getFile(tree, '/a/b/f7'), 'x');
  held.decRef(null);
});

test('a name that was removed is known to be free, without asking the file system', (t) => {
  const tree = makeTree();
  const { vfs, ctx } = tree;
  vfs.mkdirAt(ctx, null, '/d', 0o755);
  putFile(tree, '/d/journal', 'x');
  t.is(vfs.unlinkAt(ctx, null, '/d/journal'), 0);
  const dir = (vfs.lookup(ctx, null, '/d', 0) as VfsPath).dentry;
  const inode = dir.inode!;
  let asked = 0;
  const lookup = inode.lookup.bind(inode);
  inode.lookup = (name) => {
    asked++;
    return lookup(name);
  };
  t.is(vfs.stat(ctx, null, '/d/journal', 0), -ENOENT);
  putFile(tree, '/d/journal', 'again');
  t.is(getFile(tree, '/d/journal'), 'again');
  t.is(asked, 0);
  t.is(vfs.unlinkAt(ctx, null, '/d/journal'), 0);
  const before = dentryCount();
  t.is(vfs.rmdirAt(ctx, null, '/d'), 0);
  // Its own name is free now, and the names in it are nobody's.
  t.is(dentryCount(), before - 1);
  t.is(vfs.stat(ctx, null, '/d/journal', 0), -ENOENT);
});

test('an unlinked file is given back when its last description closes, and not before', (t) => {
  const tree = makeTree();
  const { vfs, ctx } = tree;
  putFile(tree, '/f', 'text');
  const file = opened(vfs.openAt(ctx, null, '/f', O_RDONLY, 0));
  let evicted = 0;
  const inode = file.inode();
  const evict = inode.evict.bind(inode);
  inode.evict = () => {
    evicted++;
    evict();
  };
  t.is(vfs.unlinkAt(ctx, null, '/f'), 0);
  t.is(evicted, 0);
  t.is(pathName(file.path!, ctx.fs.root), '/f (deleted)');
  file.decRef(null);
  t.true(evicted > 0);
});
