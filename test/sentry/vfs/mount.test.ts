import test from 'ava';
import { EBUSY, EINVAL, ENOSPC } from '../../../sentry/abi/errno.ts';
import { MNT_DETACH, MS_BIND, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE } from '../../../sentry/abi/mount.ts';
import { tmpfsType } from '../../../sentry/fs/tmpfs.ts';
import type { VfsPath } from '../../../sentry/vfs/filesystem.ts';
import { attachTree, copyNamespace, Mount } from '../../../sentry/vfs/mount.ts';
import { mountPath, umountPath } from '../../../sentry/vfs/mount-ops.ts';
import { mountinfoText } from '../../../sentry/vfs/path-name.ts';
import { getFile, makeTree, putFile, type Tree } from '../../support/tree.ts';

function withTmpfs(): Tree {
  const tree = makeTree();
  tree.vfs.registerFilesystem(tmpfsType);
  return tree;
}

function at(tree: Tree, path: string): VfsPath {
  const found = tree.vfs.lookup(tree.ctx, null, path, 1);
  if (typeof found === 'number') throw new Error(`${path}: ${found}`);
  return found;
}

const mount = (tree: Tree, source: string, path: string, flags = 0, type: string | null = null): number =>
  mountPath(tree.vfs, tree.ctx, source, at(tree, path), type, flags, '');
const umount = (tree: Tree, path: string, flags = 0): number => umountPath(tree.ctx, at(tree, path), flags, (m) => m.opens > 0);

function dirs(tree: Tree, ...paths: string[]): void {
  for (const path of paths) tree.vfs.mkdirAt(tree.ctx, null, path, 0o755);
}

test('what is mounted below a shared mount appears at its peers and slaves, and goes with it', (t) => {
  const tree = withTmpfs();
  dirs(tree, '/s', '/peer', '/slave', '/private');
  t.is(mount(tree, 'x', '/s', 0, 'tmpfs'), 0);
  t.is(mount(tree, '', '/s', MS_SHARED), 0);
  dirs(tree, '/s/m');
  for (const path of ['/peer', '/slave', '/private']) t.is(mount(tree, '/s', path, MS_BIND), 0);
  t.is(mount(tree, '', '/slave', MS_SLAVE), 0);
  t.is(mount(tree, '', '/private', MS_PRIVATE), 0);
  t.is(mount(tree, 'y', '/peer/m', 0, 'tmpfs'), 0);
  putFile(tree, '/s/m/f', 'seen');
  t.is(getFile(tree, '/slave/m/f'), 'seen');
  t.is(getFile(tree, '/private/m/f'), -2);
  dirs(tree, '/slave/m/own');
  t.is(mount(tree, 'z', '/slave/m/own', 0, 'tmpfs'), 0);
  t.is(umount(tree, '/s/m'), 0);
  t.is(getFile(tree, '/peer/m/f'), -2);
  t.is(getFile(tree, '/slave/m/f'), 'seen', 'a copy with mounts of its own stays');
});

test('binding a directory on itself doubles a group and its slaves alike', (t) => {
  const tree = withTmpfs();
  dirs(tree, '/a', '/b', '/c');
  t.is(mount(tree, 'x', '/a', 0, 'tmpfs'), 0);
  t.is(mount(tree, '', '/a', MS_SHARED), 0);
  t.is(mount(tree, '/a', '/b', MS_BIND), 0);
  t.is(mount(tree, '', '/b', MS_SLAVE), 0);
  t.is(mount(tree, '', '/b', MS_SHARED), 0);
  t.is(mount(tree, '/b', '/c', MS_BIND), 0);
  t.is(mount(tree, '', '/c', MS_SLAVE), 0);
  dirs(tree, '/a/d');
  const before = tree.ns.mounts.size;
  const sizes: number[] = [];
  for (let i = 0; i < 5; i++) {
    t.is(mount(tree, '/a/d', '/a/d', MS_BIND), 0);
    sizes.push(tree.ns.mounts.size - before + 3);
  }
  t.deepEqual(sizes, [6, 12, 24, 48, 96]);
  t.is(umount(tree, '/a', MNT_DETACH), 0);
  t.is(tree.ns.mounts.size, before - 1, 'what was mounted below goes at the slaves too');
});

test('numbers of peer groups are given out again', (t) => {
  const tree = withTmpfs();
  dirs(tree, '/one', '/two');
  for (const path of ['/one', '/two']) {
    t.is(mount(tree, 'x', path, 0, 'tmpfs'), 0);
    t.is(mount(tree, '', path, MS_SHARED), 0);
  }
  const first = at(tree, '/one').mount.peers!.id;
  t.is(umount(tree, '/one'), 0);
  t.is(mount(tree, 'x', '/one', 0, 'tmpfs'), 0);
  t.is(mount(tree, '', '/one', MS_SHARED), 0);
  t.is(at(tree, '/one').mount.peers!.id, first);
});

test('a namespace is copied with its peers, and mounts of one do not show in the other unless shared', (t) => {
  const tree = withTmpfs();
  dirs(tree, '/a', '/b');
  t.is(mount(tree, 'x', '/a', 0, 'tmpfs'), 0);
  const copies = new Map<Mount, Mount>();
  const ns = copyNamespace(tree.ns, tree.userns, copies);
  t.is(ns.mounts.size, tree.ns.mounts.size);
  t.is(mount(tree, 'y', '/b', 0, 'tmpfs'), 0);
  t.is(ns.mounts.size, tree.ns.mounts.size - 1);
  const text = mountinfoText(ns, ns.rootPath());
  t.true(/ \/a rw,relatime - tmpfs x rw/.test(text), text);
});

test('mounts may be stacked deeper than our stack, and are unmounted together', (t) => {
  const tree = withTmpfs();
  dirs(tree, '/deep');
  const before = tree.ns.mounts.size;
  t.is(mount(tree, 'x', '/deep', 0, 'tmpfs'), 0);
  const bottom = at(tree, '/deep').mount;
  let top = bottom;
  for (let i = 0; i < 20_000; i++) {
    const next = Mount.of(bottom.fs, 0);
    attachTree(next, top, top.root);
    top = next;
  }
  t.is(
    umountPath(tree.ctx, { mount: bottom, dentry: bottom.root }, 0, () => false),
    -EBUSY,
  );
  t.is(
    umountPath(tree.ctx, { mount: bottom, dentry: bottom.root }, MNT_DETACH, () => false),
    0,
  );
  t.is(tree.ns.mounts.size, before);
});

test('copies by propagation count against the limit of mounts', (t) => {
  const tree = withTmpfs();
  dirs(tree, '/s');
  t.is(mount(tree, 'x', '/s', 0, 'tmpfs'), 0);
  t.is(mount(tree, '', '/s', MS_SHARED), 0);
  dirs(tree, '/s/d');
  let result = 0;
  for (let i = 0; i < 30 && result === 0; i++) result = mount(tree, '/s', '/s/d', MS_BIND | MS_REC);
  t.is(result, -ENOSPC);
  t.true(tree.ns.mounts.size <= 100_000);
});

test('the root of the namespace is not unmounted, and a file is no place for a directory', (t) => {
  const tree = withTmpfs();
  putFile(tree, '/f', '');
  t.is(mount(tree, 'x', '/f', 0, 'tmpfs'), -20);
  t.is(umount(tree, '/f'), -EINVAL);
  t.is(mount(tree, '/f', '/f', MS_BIND), 0);
  t.is(umount(tree, '/f'), 0);
});
