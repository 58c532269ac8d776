import test from 'ava';
import { EEXIST, ENOENT, ENOTEMPTY } from '../../../sentry/abi/errno.ts';
import { O_RDONLY, RENAME_EXCHANGE } from '../../../sentry/abi/fcntl.ts';
import { newOverlay } from '../../../sentry/fs/overlay.ts';
import { newTmpfs, type TmpfsFilesystem } from '../../../sentry/fs/tmpfs.ts';
import { chmod } from '../../../sentry/vfs/attributes.ts';
import type { Inode } from '../../../sentry/vfs/filesystem.ts';
import { asUser, getFile, makeTree, names, opened, putFile, readAll, type Tree } from '../../support/tree.ts';

/** An overlay above a tree that `fill` has made. */
function overlayOn(fill: (lower: Tree) => void): { tree: Tree; lower: Tree } {
  const lowerFs = newTmpfs('mode=755') as TmpfsFilesystem;
  const lower = makeTree(lowerFs);
  fill(lower);
  const overlay = newOverlay([lowerFs], newTmpfs('mode=755') as TmpfsFilesystem);
  if (typeof overlay === 'number') throw new Error(`no overlay: ${overlay}`);
  return { tree: makeTree(overlay), lower };
}

function inodeOf(tree: Tree, path: string): Inode {
  const inode = tree.vfs.stat(tree.ctx, null, path, 0);
  if (typeof inode === 'number') throw new Error(`stat ${path}: ${inode}`);
  return inode;
}

test('writing to a lower file copies it up, keeps its number and leaves the lower tree alone', (t) => {
  const { tree, lower } = overlayOn((l) => putFile(l, '/f', 'lower', 0o640));
  const before = inodeOf(tree, '/f').ino;
  const reader = opened(tree.vfs.openAt(tree.ctx, null, '/f', O_RDONLY, 0));
  putFile(tree, '/f', 'UPPER+');
  t.is(getFile(tree, '/f'), 'UPPER+');
  t.is(readAll(reader), 'UPPER+', 'a descriptor from before the copy-up sees the new contents');
  t.is(getFile(lower, '/f'), 'lower');
  const inode = inodeOf(tree, '/f');
  t.is(inode.ino, before);
  t.is(inode.mode & 0o777, 0o640);
  t.is(inode.size, 6);
});

test('a removed lower name stays removed, and what is made in its place hides the lower tree', (t) => {
  const { tree, lower } = overlayOn((l) => {
    l.vfs.mkdirAt(l.ctx, null, '/d', 0o755);
    putFile(l, '/d/x', 'x');
    putFile(l, '/f', 'f');
  });
  t.is(tree.vfs.rmdirAt(tree.ctx, null, '/d'), -ENOTEMPTY);
  t.is(tree.vfs.unlinkAt(tree.ctx, null, '/d/x'), 0);
  t.is(getFile(tree, '/d/x'), -ENOENT);
  t.deepEqual(names(tree, '/d'), []);
  t.is(tree.vfs.rmdirAt(tree.ctx, null, '/d'), 0);
  t.is(tree.vfs.unlinkAt(tree.ctx, null, '/f'), 0);
  t.deepEqual(names(tree, '/'), []);
  t.is(tree.vfs.mkdirAt(tree.ctx, null, '/d', 0o755), 0);
  t.deepEqual(names(tree, '/d'), [], 'the new directory is opaque');
  t.is(tree.vfs.mkdirAt(tree.ctx, null, '/d', 0o755), -EEXIST);
  putFile(tree, '/f', 'new');
  t.is(getFile(tree, '/f'), 'new');
  t.is(getFile(lower, '/d/x'), 'x');
});

test('directories list both trees once, without whiteouts', (t) => {
  const { tree } = overlayOn((l) => {
    putFile(l, '/a', '');
    putFile(l, '/b', '');
    putFile(l, '/c', '');
  });
  putFile(tree, '/d', '');
  putFile(tree, '/b', 'changed');
  t.is(tree.vfs.unlinkAt(tree.ctx, null, '/a'), 0);
  t.deepEqual(names(tree, '/').sort(), ['b', 'c', 'd']);
  putFile(tree, '/e', '');
  t.deepEqual(names(tree, '/').sort(), ['b', 'c', 'd', 'e']);
});

test('a merged directory can be renamed with all that is in it', (t) => {
  const { tree } = overlayOn((l) => {
    l.vfs.mkdirAt(l.ctx, null, '/d', 0o755);
    l.vfs.mkdirAt(l.ctx, null, '/d/sub', 0o755);
    putFile(l, '/d/sub/x', 'deep');
    l.vfs.mkdirAt(l.ctx, null, '/other', 0o755);
  });
  putFile(tree, '/d/upper', 'u');
  t.is(tree.vfs.renameAt(tree.ctx, null, '/d', null, '/other', 0), 0);
  t.is(getFile(tree, '/other/sub/x'), 'deep');
  t.is(getFile(tree, '/other/upper'), 'u');
  t.is(getFile(tree, '/d/upper'), -ENOENT);
  t.deepEqual(names(tree, '/'), ['other']);
  t.is(tree.vfs.mkdirAt(tree.ctx, null, '/d', 0o755), 0);
  t.deepEqual(names(tree, '/d'), []);
  putFile(tree, '/other/sub/x', 'DEEP');
  t.is(tree.vfs.renameAt(tree.ctx, null, '/other', null, '/d', RENAME_EXCHANGE), 0);
  t.is(getFile(tree, '/d/sub/x'), 'DEEP');
  t.deepEqual(names(tree, '/other'), []);
});

test('hard links of a lower file stay one file through copy-up, rename and unlink', (t) => {
  const { tree } = overlayOn((l) => {
    putFile(l, '/a', 'one');
    l.vfs.linkAt(l.ctx, null, '/a', null, '/b', 0);
  });
  putFile(tree, '/a', 'TWO');
  t.is(getFile(tree, '/b'), 'TWO');
  t.is(inodeOf(tree, '/a'), inodeOf(tree, '/b'));
  t.is(inodeOf(tree, '/a').nlink, 2);
  t.is(tree.vfs.renameAt(tree.ctx, null, '/b', null, '/c', 0), 0);
  t.is(tree.vfs.unlinkAt(tree.ctx, null, '/a'), 0);
  t.is(getFile(tree, '/c'), 'TWO');
  t.is(inodeOf(tree, '/c').nlink, 1);
  t.is(tree.vfs.linkAt(tree.ctx, null, '/c', null, '/d', 0), 0);
  t.is(tree.vfs.unlinkAt(tree.ctx, null, '/c'), 0);
  t.is(getFile(tree, '/d'), 'TWO');
  t.deepEqual(names(tree, '/'), ['d']);
});

test('an unlinked lower file that is still open can be read and changed', (t) => {
  const { tree } = overlayOn((l) => putFile(l, '/f', 'text'));
  const file = opened(tree.vfs.openAt(tree.ctx, null, '/f', O_RDONLY, 0));
  t.is(tree.vfs.unlinkAt(tree.ctx, null, '/f'), 0);
  t.is(readAll(file), 'text');
  const { mount, dentry } = file.path!;
  t.is(chmod(null, tree.ctx.creds, mount, file.inode(), dentry, 0o600), 0);
  t.is(file.inode().mode & 0o777, 0o600);
  t.is(readAll(file), 'text');
});

test('changes of attributes copy up and are checked against the merged owner', (t) => {
  const { tree } = overlayOn((l) => {
    l.vfs.mkdirAt(l.ctx, null, '/d', 0o755);
    putFile(l, '/d/f', 'x', 0o600);
    l.vfs.symlinkAt(l.ctx, 'd/f', null, '/link');
  });
  const user = asUser(tree, 1000);
  t.is(tree.vfs.openAt(user, null, '/d/f', O_RDONLY, 0), -13);
  const at = tree.vfs.lookup(tree.ctx, null, '/link', 1);
  if (typeof at === 'number') return t.fail();
  t.is(chmod(null, tree.ctx.creds, at.mount, at.dentry.inode!, at.dentry, 0o644), 0);
  t.is(getFile(tree, '/link'), 'x');
  t.not(typeof tree.vfs.openAt(user, null, '/d/f', O_RDONLY, 0), 'number');
});
