import {
  chmodSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import test from 'ava';
import { close, pread } from 'ptrace-napi';
import { Attributes } from '../../gofer/protocol/attributes.ts';
import {
  AttachReply,
  OP_CREATE,
  OP_MKDIR,
  OP_MKNOD,
  OP_SYMLINK,
  OP_WALK,
  putWalk,
  READDIR_ATTRIBUTES,
  READDIR_DIRECTORIES,
  SET_MODE,
  TREE_NODES,
  TREE_READ_ONLY,
  WALK_LOOK,
} from '../../gofer/protocol/messages.ts';
import { EACCES, EISDIR, ENOENT, ENOTDIR, EPERM, EROFS } from '../../sentry/abi/errno.ts';
import { O_RDONLY, O_RDWR } from '../../sentry/abi/fcntl.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../../sentry/abi/stat.ts';
import { ProtocolError } from '../../sentry/base/errors.ts';
import type { EntryTaker } from '../../sentry/fs/gofer/client.ts';
import { type TestGofer, testGofer } from '../support/gofer.ts';

function root(g: TestGofer): number {
  const reply = new AttachReply(new Attributes());
  const result = g.client.attach(0, reply);
  if (result < 0) throw new Error(`attach: ${result}`);
  return reply.handle;
}

function withGofer(t: { teardown(fn: () => void): void }, flags = 0, readOnly = false): [TestGofer, number] {
  const g = testGofer(flags, readOnly);
  t.teardown(() => g.close());
  return [g, root(g)];
}

test('a walk reaches many names in one request and tells where it ended', (t) => {
  const [g, r] = withGofer(t);
  mkdirSync(join(g.dir, 'a/b'), { recursive: true });
  writeFileSync(join(g.dir, 'a/b/f'), 'hello');
  const before = g.loopback.calls;
  const types: number[] = [];
  t.is(
    g.client.walk(r, 0, ['a', 'b', 'f'], () => types.push(g.client.attributes.mode & S_IFMT)),
    0,
  );
  t.is(g.loopback.calls, before + 1);
  t.deepEqual(types, [S_IFDIR, S_IFDIR, S_IFREG]);
  t.is(g.client.attributes.size, 5);
  let reached = 0;
  t.is(
    g.client.walk(r, 0, ['a', 'x', 'f'], () => reached++),
    -ENOENT,
  );
  t.is(reached, 1);
});

test('a walk stops at a symbolic link and does not follow it', (t) => {
  const [g, r] = withGofer(t);
  symlinkSync('/etc', join(g.dir, 'out'));
  let last = 0;
  t.is(
    g.client.walk(r, 0, ['out', 'passwd'], (_i, h) => (last = h)),
    0,
  );
  t.is(g.client.attributes.mode & S_IFMT, S_IFLNK);
  t.is(g.client.readlink(last), '/etc');
  t.is(g.client.walkOne(last, 0, 'passwd'), -ENOTDIR);
  t.is(g.client.open(last, O_RDONLY), -13);
});

test('a directory swapped for a link between two steps leads nowhere', (t) => {
  const [g, r] = withGofer(t);
  mkdirSync(join(g.dir, 'd'));
  writeFileSync(join(g.dir, 'd/passwd'), 'ours');
  const d = g.client.walkOne(r, 0, 'd');
  renameSync(join(g.dir, 'd'), join(g.dir, 'moved'));
  symlinkSync('/etc', join(g.dir, 'd'));
  // The handle follows the directory; the name is a link now.
  const ours = g.client.walkOne(d, 0, 'passwd');
  t.true(ours > 0);
  t.is(g.client.attributes.size, 4);
  t.is(g.client.make(OP_CREATE, d, 'new', S_IFREG | 0o600, process.getuid!(), process.getgid!(), 0, 0, '') > 0, true);
  close(g.client.madeFd);
  t.true(readdirSync(join(g.dir, 'moved')).includes('new'));
  let types = 0;
  g.client.walk(r, 0, ['d', 'passwd'], () => types++);
  t.is(types, 1);
});

test('ten thousand walks through a directory that is swapped for a link all the time lead nowhere else', async (t) => {
  const [g, r] = withGofer(t);
  const outside = mkdtempSync(join(tmpdir(), 'runsc-outside-'));
  t.teardown(() => rmSync(outside, { recursive: true }));
  writeFileSync(join(outside, 'file'), 'what nobody must see');
  mkdirSync(join(g.dir, 'd'));
  writeFileSync(join(g.dir, 'd/file'), 'ours');
  symlinkSync(outside, join(g.dir, 'link'));
  const swaps = new Int32Array(new SharedArrayBuffer(8));
  const swapper = `
    const { workerData } = require('node:worker_threads');
    import('ptrace-napi').then(({ renameat2 }) => {
      const { dir, swaps } = workerData;
      while (Atomics.load(swaps, 1) === 0) {
        renameat2(-100, dir + '/d', -100, dir + '/link', 2);
        Atomics.add(swaps, 0, 1);
      }
    });`;
  const worker = new Worker(swapper, { eval: true, workerData: { dir: g.dir, swaps } });
  const ended = new Promise((resolve) => worker.on('exit', resolve));
  for (let i = 0; i < 500 && Atomics.load(swaps, 0) === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  const sizes = new Set<number>();
  const { client } = g;
  let reached = 0;
  for (let round = 0; round < 10_000; round++) {
    client.walk(r, 0, ['d', 'file'], (index, handle) => {
      if (index === 1) {
        reached++;
        sizes.add(client.attributes.size);
      }
      client.closeLater(handle);
    });
    const d = client.walkOne(r, 0, 'd');
    if (d <= 0) continue;
    const file = client.walkOpen(d, 'file', O_RDONLY);
    if (file > 0) {
      sizes.add(client.attributes.size);
      close(client.madeFd);
      client.closeLater(file);
    }
    const made = client.make(OP_CREATE, d, `new${round % 10}`, S_IFREG | 0o600, process.getuid!(), process.getgid!(), 0, 0, '');
    if (made > 0) {
      close(client.madeFd);
      client.closeLater(made);
    }
    client.closeLater(d);
  }
  Atomics.store(swaps, 1, 1);
  await ended;
  t.deepEqual([...sizes], ['ours'.length]);
  t.deepEqual(readdirSync(outside), ['file']);
  t.log(`${Atomics.load(swaps, 0)} swaps, ${reached} walks reached the file`);
  t.true(reached > 0 && reached < 10_000, `${reached} walks reached the file`);
});

for (const name of ['..', '.', '', 'a/b', '/etc', 'a\0b', 'x'.repeat(256)]) {
  test(`the name ${JSON.stringify(name).slice(0, 12)} breaks the protocol`, (t) => {
    const [g, r] = withGofer(t);
    const w = g.loopback.request;
    w.at = 0;
    w.u32(OP_WALK);
    w.u32(0);
    putWalk(w, r, 0, [name]);
    t.throws(() => g.loopback.roundTrip(), { instanceOf: ProtocolError });
  });
}

test('a handle that is not open breaks the protocol, and so does one that was closed', (t) => {
  const [g, r] = withGofer(t);
  t.is(g.client.stat(r), 0);
  g.client.closeLater(r);
  g.client.flush();
  t.is(g.client.stat(r), -5);
  t.true(g.client.broken);
});

test('an open donates a descriptor for regular files only', (t) => {
  const [g, r] = withGofer(t);
  mkdirSync(join(g.dir, 'd'));
  writeFileSync(join(g.dir, 'f'), 'contents');
  const f = g.client.walkOne(r, 0, 'f');
  const fd = g.client.open(f, O_RDONLY);
  t.true(fd >= 0);
  const bytes = new Uint8Array(8);
  t.is(pread(fd, bytes, 0, 8, 0), 8);
  t.is(Buffer.from(bytes).toString(), 'contents');
  close(fd);
  t.is(g.client.open(g.client.walkOne(r, 0, 'd'), O_RDONLY), -EISDIR);
});

test('what is made belongs to whom the request names, with the set-id bits it asks for', (t) => {
  const [g, r] = withGofer(t);
  const uid = process.getuid!() === 0 ? 1234 : process.getuid!();
  const gid = process.getuid!() === 0 ? 4321 : process.getgid!();
  t.true(g.client.make(OP_CREATE, r, 'f', S_IFREG | 0o6751, uid, gid, 0, 0, '') > 0);
  close(g.client.madeFd);
  t.true(g.client.make(OP_MKDIR, r, 'd', S_IFDIR | 0o750, uid, gid, 0, 0, '') > 0);
  t.true(g.client.make(OP_SYMLINK, r, 'l', S_IFLNK | 0o777, uid, gid, 0, 0, 'some/where') > 0);
  t.true(g.client.make(OP_MKNOD, r, 'p', S_IFIFO | 0o600, uid, gid, 0, 0, '') > 0);
  const f = statSync(join(g.dir, 'f'));
  t.deepEqual([f.uid, f.gid, f.mode & 0o7777], [uid, gid, 0o6751]);
  t.is(statSync(join(g.dir, 'd')).uid, uid);
  t.is(readlinkSync(join(g.dir, 'l')), 'some/where');
  t.is(statSync(join(g.dir, 'p')).uid, uid);
});

test('device nodes are refused, whiteouts are not', (t) => {
  const [g, r] = withGofer(t);
  t.is(g.client.make(OP_MKNOD, r, 'sda', S_IFBLK | 0o600, 0, 0, 8, 0, ''), -EPERM);
  t.is(g.client.make(OP_MKNOD, r, 'null', 0o20600, 0, 0, 1, 3, ''), -EPERM);
  t.deepEqual(readdirSync(g.dir), []);
});

test("device nodes are made where the tree says so, for the host's root alone unless everybody has the device", (t) => {
  if (process.getuid!() !== 0) return t.pass();
  const [g, r] = withGofer(t, TREE_NODES);
  if (g.client.make(OP_MKNOD, r, 'null', S_IFCHR | 0o644, 5, 6, 1, 3, '') === -EPERM) return t.pass();
  const guestNull = statSync(join(g.dir, 'null'));
  t.deepEqual([guestNull.uid, guestNull.gid, guestNull.mode & 0o777], [5, 6, 0o644]);
  t.is(g.client.make(OP_MKNOD, r, 'other', S_IFBLK | 0o666, 5, 0, 8, 0, ''), -EPERM);
  const sda = g.client.make(OP_MKNOD, r, 'sda', S_IFBLK | 0o666, 0, 6, 8, 0, '');
  t.true(sda > 0);
  t.is(statSync(join(g.dir, 'sda')).mode & 0o777, 0o600);
  t.is(
    g.client.setStat(sda, { mask: SET_MODE, mode: 0o666, uid: 0, gid: 0, size: 0, atimeSec: 0, atimeNsec: 0, mtimeSec: 0, mtimeNsec: 0 }),
    0,
  );
  t.is(statSync(join(g.dir, 'sda')).mode & 0o777, 0o600);
  t.is(g.client.open(sda, O_RDONLY), -EACCES);
});

test('a read-only tree refuses every change', (t) => {
  const [g, r] = withGofer(t, TREE_READ_ONLY, true);
  writeFileSync(join(g.dir, 'f'), 'x');
  const f = g.client.walkOne(r, 0, 'f');
  t.is(g.client.make(OP_MKDIR, r, 'd', 0o40755, 0, 0, 0, 0, ''), -EROFS);
  t.is(g.client.unlink(r, 'f', f, false), -EROFS);
  t.is(g.client.rename(r, 'f', r, 'g', 0), -EROFS);
  t.is(g.client.link(f, r, 'g'), -EROFS);
  t.is(g.client.open(f, O_RDWR), -EROFS);
  t.is(g.client.setXattr(f, 'user.a', new Uint8Array(1), 0), -EROFS);
  t.is(readFileSync(join(g.dir, 'f'), 'utf8'), 'x');
});

test('a link is made to what a handle names, even after its name is another file', (t) => {
  const [g, r] = withGofer(t);
  writeFileSync(join(g.dir, 'f'), 'first');
  const f = g.client.walkOne(r, 0, 'f');
  renameSync(join(g.dir, 'f'), join(g.dir, 'away'));
  writeFileSync(join(g.dir, 'f'), 'second');
  t.is(g.client.link(f, r, 'hard'), 0);
  t.is(readFileSync(join(g.dir, 'hard'), 'utf8'), 'first');
  symlinkSync('nowhere', join(g.dir, 'sym'));
  t.is(g.client.link(g.client.walkOne(r, 0, 'sym'), r, 'sym2'), 0);
  t.is(readlinkSync(join(g.dir, 'sym2')), 'nowhere');
});

test('a directory of thousands is listed whole, over several requests', (t) => {
  const [g, r] = withGofer(t);
  for (let i = 0; i < 3000; i++) writeFileSync(join(g.dir, `file-${i}`), '');
  mkdirSync(join(g.dir, 'folder'));
  const seen = new Map<string, number>();
  const to: EntryTaker = {
    take(entry, u8, attributes) {
      seen.set(Buffer.from(u8).toString('latin1', entry.nameAt, entry.nameAt + entry.nameLength), attributes?.mode ?? 0);
    },
  };
  t.is(g.client.list(r, '', READDIR_ATTRIBUTES, 100, to), 0);
  t.is(seen.size, 3001);
  const described = [...seen.values()].filter((mode) => mode !== 0);
  t.true(described.length >= 100 && described.length < 1500);
  t.true(described.every((mode) => (mode & S_IFMT) === S_IFREG || (mode & S_IFMT) === S_IFDIR));
  seen.clear();
  t.is(g.client.list(r, '', READDIR_DIRECTORIES, 5000, to), 0);
  t.is(seen.size, 3001);
  t.deepEqual(
    [...seen].filter(([, mode]) => mode !== 0).map(([name]) => name),
    ['folder'],
  );
});

test('a directory is listed by name, and answers its handle', (t) => {
  const [g, r] = withGofer(t);
  mkdirSync(join(g.dir, 'd'));
  writeFileSync(join(g.dir, 'd', 'inside'), '');
  writeFileSync(join(g.dir, 'f'), '');
  const seen: string[] = [];
  const to: EntryTaker = {
    take(entry, u8) {
      seen.push(Buffer.from(u8).toString('latin1', entry.nameAt, entry.nameAt + entry.nameLength));
    },
  };
  const d = g.client.list(r, 'd', 0, 0, to);
  t.true(d > 0);
  t.is(g.client.attributes.mode & S_IFMT, S_IFDIR);
  t.deepEqual(seen, ['inside']);
  t.true(g.client.walkOne(d, 0, 'inside') > 0);
  t.is(g.client.list(r, 'f', 0, 0, to), -ENOTDIR);
  t.is(g.client.list(r, 'missing', 0, 0, to), -ENOENT);
});

test('several names are asked for at once, and those that are not there are left out', (t) => {
  const [g, r] = withGofer(t);
  writeFileSync(join(g.dir, 'a'), 'xx');
  mkdirSync(join(g.dir, 'c'));
  const seen: [number, number][] = [];
  t.is(
    g.client.stats(r, ['a', 'b', 'c'], (i, a) => seen.push([i, a.mode & S_IFMT])),
    0,
  );
  t.deepEqual(seen, [
    [0, S_IFREG],
    [2, S_IFDIR],
  ]);
});

test('extended attributes travel by handle', (t) => {
  const [g, r] = withGofer(t);
  writeFileSync(join(g.dir, 'f'), 'x');
  const f = g.client.walkOne(r, 0, 'f');
  const set = g.client.setXattr(f, 'user.colour', Buffer.from('blue'), 0);
  if (set === -95) return t.pass('no user attributes in the temporary directory');
  t.is(set, 0);
  t.is(Buffer.from(g.client.getXattr(f, 'user.colour') as Uint8Array).toString(), 'blue');
  t.deepEqual(g.client.listXattr(f), ['user.colour']);
  t.is(g.client.removeXattr(f, 'user.colour'), 0);
  t.is(g.client.getXattr(f, 'user.colour'), -61);
});

test('only looking makes no handle, and hundreds of requests leave no descriptor behind', (t) => {
  const [g, r] = withGofer(t);
  writeFileSync(join(g.dir, 'f'), 'x');
  mkdirSync(join(g.dir, 'd'));
  chmodSync(join(g.dir, 'f'), 0o644);
  linkSync(join(g.dir, 'f'), join(g.dir, 'g'));
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  for (let i = 0; i < 300; i++) {
    t.is(g.client.walkOne(r, WALK_LOOK, 'f'), 0);
    const f = g.client.walkOne(r, 0, 'f');
    close(g.client.open(f, O_RDONLY));
    g.client.list(r, '', READDIR_ATTRIBUTES, 10, { take() {} });
    g.client.closeLater(g.client.list(r, 'd', 0, 0, { take() {} }));
    g.client.list(r, 'f', 0, 0, { take() {} });
    const made = g.client.make(OP_CREATE, r, 'new', 0o100600, process.getuid!(), process.getgid!(), 0, 0, '');
    close(g.client.madeFd);
    t.is(g.client.unlink(r, 'new', made, false), 0);
    g.client.make(OP_CREATE, r, 'f', 0o100600, 0, 0, 0, 0, '');
    g.client.make(OP_MKDIR, r, 'd', 0o40700, 0, 0, 0, 0, '');
    g.client.walk(r, 0, ['d', 'missing'], (_n, h) => g.client.closeLater(h));
    g.client.closeLater(f);
    g.client.closeLater(made);
    g.client.flush();
  }
  t.is(g.connection.handles.size, 1);
  t.is(descriptors(), before);
});
