import {
  appendFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { close, getRlimit, setRlimit } from 'ptrace-napi';
import { SMALL_FILE, TREE_SHARED } from '../../../gofer/protocol/messages.ts';
import { EAGAIN, EMFILE, ENFILE, ENOENT, EOPNOTSUPP } from '../../../sentry/abi/errno.ts';
import { O_APPEND, O_RDONLY, O_RDWR, O_WRONLY, SEEK_HOLE } from '../../../sentry/abi/fcntl.ts';
import { RLIMIT_NOFILE } from '../../../sentry/abi/sched.ts';
import { contentsBytes, dropAllContents } from '../../../sentry/fs/gofer/contents.ts';
import { doubt } from '../../../sentry/fs/gofer/doubt.ts';
import { GoferFilesystem, IDLE_FDS } from '../../../sentry/fs/gofer/filesystem.ts';
import type { GoferInode } from '../../../sentry/fs/gofer/inode.ts';
import type { Credentials } from '../../../sentry/kernel/credentials.ts';
import type { Task } from '../../../sentry/kernel/task.ts';
import { BufferIo } from '../../../sentry/vfs/buffer-io.ts';
import type { FileDescription, Mappable } from '../../../sentry/vfs/file-description.ts';
import { ATTR_MODE, ATTR_SIZE, type DirSink, SetAttr, type VfsPath } from '../../../sentry/vfs/filesystem.ts';
import { type TestGofer, testGofer } from '../../support/gofer.ts';
import { makeTree } from '../../support/tree.ts';

const nobody = null as unknown as Task;
const nowhere = { dentry: { parent: null } } as unknown as VfsPath;
const creds = { fsuid: process.getuid!(), fsgid: process.getgid!() } as Credentials;

function mounted(t: { teardown(fn: () => void): void }, flags = 0): { g: TestGofer; fs: GoferFilesystem; root: GoferInode } {
  const g = testGofer(flags);
  t.teardown(() => g.close());
  const fs = GoferFilesystem.attach(g.client, 0, 7);
  if (typeof fs === 'number') throw new Error(`attach: ${fs}`);
  return { g, fs, root: fs.root() };
}

function found(result: unknown): GoferInode {
  if (typeof result === 'number') throw new Error(`errno ${-result}`);
  return result as GoferInode;
}

function opened(inode: GoferInode, flags: number): FileDescription {
  const file = inode.open(null, nowhere, flags);
  if (typeof file === 'number') throw new Error(`open: ${-file}`);
  return file;
}

function readAll(file: FileDescription): string {
  const bytes = new Uint8Array(4096);
  const n = file.pread(null, new BufferIo(bytes).set(0, 4096), 0);
  return Buffer.from(bytes.subarray(0, Math.max(0, n))).toString();
}

function write(file: FileDescription, text: string): number {
  return file.write(nobody, new BufferIo(Buffer.from(text)).set(0, text.length));
}

/** Takes names until the list has `most`. */
function namesTo(list: string[], most: number): DirSink {
  return {
    entry: (name) => list.length < most && list.push(name) > 0,
    entryBytes: (bytes, at, length) => list.length < most && list.push(Buffer.from(bytes).toString('latin1', at, at + length)) > 0,
  };
}

function names(dir: GoferInode): string[] {
  const list: string[] = [];
  const file = opened(dir, O_RDONLY);
  file.readdir(nobody, namesTo(list, Number.POSITIVE_INFINITY));
  file.decRef(null);
  return list.sort();
}

test('a cached attribute costs no request, and a write shows in size and time without one', (t) => {
  const { g, root } = mounted(t);
  writeFileSync(join(g.dir, 'f'), 'hello');
  const f = found(root.lookup('f'));
  const file = opened(f, O_RDWR);
  const calls = g.loopback.calls;
  t.is(f.getattr(null), 0);
  t.is(f.size, 5);
  t.is(readAll(file), 'hello');
  file.pos = 5;
  t.is(write(file, ' world'), 6);
  t.is(f.size, 11);
  t.is(f.getattr(null), 0);
  const host = statSync(join(g.dir, 'f'), { bigint: true });
  t.is(BigInt(f.mtimeSec) * 1_000_000_000n + BigInt(f.mtimeNsec), host.mtimeNs);
  t.is(g.loopback.calls, calls);
  file.decRef(null);
  t.is(readFileSync(join(g.dir, 'f'), 'utf8'), 'hello world');
});

test('a second open of a file asks nobody, and idle descriptors are bounded', (t) => {
  const { g, root } = mounted(t);
  const many = IDLE_FDS + 100;
  for (let i = 0; i < many; i++) writeFileSync(join(g.dir, `f${i}`), `${i}`);
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < many; i++) opened(found(root.lookup(`f${i}`)), O_RDONLY).decRef(null);
  // A handle each.
  t.true(readdirSync('/proc/self/fd').length - before <= many + IDLE_FDS);
  const f = found(root.lookup(`f${many - 1}`));
  const calls = g.loopback.calls;
  const file = opened(f, O_RDONLY);
  t.is(readAll(file), `${many - 1}`);
  file.decRef(null);
  t.is(g.loopback.calls, calls);
});

test('a listing brings attributes of directories along, so that going on into them takes one request each', (t) => {
  const { g, root } = mounted(t);
  for (let i = 0; i < 20; i++) mkdirSync(join(g.dir, `d${i}`, 'inner'), { recursive: true });
  names(root);
  const calls = g.loopback.calls;
  for (let i = 0; i < 20; i++) {
    const d = found(root.lookup(`d${i}`));
    d.getattr(null);
    t.deepEqual(names(d), ['.', '..', 'inner']);
    t.is(d.getattr(null), 0);
  }
  t.is(g.loopback.calls, calls + 20);
});

/** A transfer of a task that may be parked; the host has the first `cached` bytes of the file at hand. */
class ParkingIo extends BufferIo {
  override mayPark = true;
  cached = 0;
  override fromHostNow(hostFd: number, n: number, offset: number): number {
    const have = this.cached < 0 ? this.cached : Math.min(n, this.cached - offset);
    return have > 0 ? this.fromHost(hostFd, have, offset) : this.cached < 0 ? this.cached : -EAGAIN;
  }
}

test('a read that would wait for the disk says so, and moves nothing', (t) => {
  const { g, root } = mounted(t);
  writeFileSync(join(g.dir, 'f'), 'contents');
  const file = opened(found(root.lookup('f')), O_RDONLY);
  const bytes = new Uint8Array(100);
  const io = new ParkingIo(bytes);
  t.is(file.pread(null, io.set(0, 100), 0), -EAGAIN);
  io.cached = 4;
  t.is(file.pread(null, io.set(0, 4), 0), 4);
  t.is(file.pread(null, io.set(0, 100), 0), -EAGAIN);
  t.is(io.remaining, 100);
  t.is(file.pos, 0);
  io.cached = 8;
  t.is(file.pread(null, io.set(0, 100), 2), 6);
  // A file system that cannot tell is asked only once.
  io.cached = -EOPNOTSUPP;
  t.is(file.pread(null, io.set(0, 100), 0), 8);
  io.cached = 0;
  t.is(file.pread(null, io.set(0, 100), 0), 8);
  t.is(Buffer.from(bytes.subarray(0, 8)).toString(), 'contents');
  file.decRef(null);
});

test('a walk to a file that is to be read brings its descriptor along', (t) => {
  const { g, fs } = mounted(t);
  mkdirSync(join(g.dir, 'd'));
  writeFileSync(join(g.dir, 'd', 'f'), 'text');
  mkdirSync(join(g.dir, 'd', 'folder'));
  const { vfs, ctx } = makeTree(fs);
  const read = (path: string) => vfs.openAt(ctx, null, path, O_RDONLY, 0) as FileDescription;
  read('/d').decRef(null);
  const calls = g.loopback.calls;
  const file = read('/d/f');
  t.is(readAll(file), 'text');
  t.is(g.loopback.calls, calls + 1);
  file.decRef(null);
  read('/d/folder').decRef(null);
  t.is(g.loopback.calls, calls + 2);
  // By then the whole directory has been read.
  t.is(vfs.openAt(ctx, null, '/d/missing', O_RDONLY, 0), -ENOENT);
  t.is(g.loopback.calls, calls + 2);
});

test('a stat in a tree that others change asks once, and sees what they have done', (t) => {
  const { g, fs } = mounted(t, TREE_SHARED);
  writeFileSync(join(g.dir, 'f'), 'text');
  const { vfs, ctx } = makeTree(fs);
  const size = () => (vfs.stat(ctx, null, '/f', 0) as GoferInode).size;
  t.is(size(), 4);
  const calls = g.loopback.calls;
  t.is(size(), 4);
  t.is(g.loopback.calls, calls + 1);
  appendFileSync(join(g.dir, 'f'), ' and more');
  t.is(size(), 13);
  t.is(g.loopback.calls, calls + 2);
  // What was opened before is asked for itself.
  const file = vfs.openAt(ctx, null, '/f', O_RDONLY, 0) as FileDescription;
  appendFileSync(join(g.dir, 'f'), '!');
  t.is(file.inode().getattr(null), 0);
  t.is(file.inode().size, 14);
  file.decRef(null);
});

test('attributes of a listed directory come by the dozen, and stay when inodes go', (t) => {
  const { g, root } = mounted(t);
  for (let i = 0; i < 50; i++) writeFileSync(join(g.dir, `f${i}`), 'x'.repeat(i));
  t.is(names(root).length, 52);
  const calls = g.loopback.calls;
  for (let i = 0; i < 50; i++) {
    const f = found(root.lookup(`f${i}`));
    f.getattr(null);
    t.is(f.size, i);
  }
  t.true(g.loopback.calls - calls <= 5, `${g.loopback.calls - calls}`);
  const then = g.loopback.calls;
  const f8 = found(root.lookup('f8'));
  f8.evict();
  t.not(found(root.lookup('f8')), f8);
  t.is(found(root.lookup('f8')).size, 8);
  t.is(g.loopback.calls, then);
  const file = opened(found(root.lookup('f7')), O_RDONLY);
  t.is(readAll(file), 'xxxxxxx');
  file.decRef(null);
});

test('prefetched attributes never overwrite what an inode learned later', (t) => {
  const { g, root } = mounted(t);
  writeFileSync(join(g.dir, 'f'), 'old');
  linkSync(join(g.dir, 'f'), join(g.dir, 'g'));
  names(root);
  const f = found(root.lookup('f'));
  const file = opened(f, O_WRONLY);
  write(file, 'longer than before');
  t.is(found(root.lookup('g')), f);
  t.is(f.size, 18);
  t.is(f.nlink, 2);
  file.decRef(null);
});

test('what is made, renamed and removed keeps names, link counts and inodes in step with the host', (t) => {
  const { g, root } = mounted(t);
  const d = found(root.mkdir(creds, 'd', 0o40755));
  const f = found(root.create(creds, 'f', 0o100644));
  const file = opened(f, O_RDWR);
  write(file, 'data');
  t.is(d.link('hard', f), 0);
  t.is(f.nlink, 2);
  t.is(root.rename('f', f, d, 'moved', undefined, 0), 0);
  t.is(root.lookup('f'), -ENOENT);
  t.is(found(d.lookup('moved')), f);
  t.is(d.unlink('hard', f), 0);
  t.is(f.nlink, 1);
  t.deepEqual(names(d), ['.', '..', 'moved']);
  t.is(d.unlink('moved', f), 0);
  t.is(f.nlink, 0);
  t.is(readAll(file), 'data');
  file.decRef(null);
  f.evict();
  t.is(root.rmdir('d', d), 0);
  t.deepEqual(names(root), ['.', '..']);
  t.deepEqual(readdirSync(g.dir), []);
});

test('an inode that was evicted can be looked up again', (t) => {
  const { g, fs, root } = mounted(t);
  writeFileSync(join(g.dir, 'f'), 'one');
  const f = found(root.lookup('f'));
  opened(f, O_RDONLY).decRef(null);
  f.evict();
  f.evict();
  t.is(fs.inodes.size, 1);
  g.client.flush();
  t.is(g.connection.handles.size, 1);
  const again = found(root.lookup('f'));
  t.not(again, f);
  t.is(again.ino, f.ino);
});

test('a link is read once', (t) => {
  const { g, root } = mounted(t);
  symlinkSync('target/of/it', join(g.dir, 'l'));
  const l = found(root.lookup('l'));
  t.is(l.readlink(), 'target/of/it');
  const calls = g.loopback.calls;
  t.is(l.readlink(), 'target/of/it');
  t.is(g.loopback.calls, calls);
});

test("appends go to the end, and truncation is the host file's", (t) => {
  const { g, root } = mounted(t);
  writeFileSync(join(g.dir, 'f'), 'abc');
  const f = found(root.lookup('f'));
  const file = opened(f, O_WRONLY | O_APPEND);
  t.is(write(file, 'def'), 3);
  t.is(file.pos, 6);
  t.is(file.truncate(nobody, 2), 0);
  t.is(write(file, 'X'), 1);
  file.decRef(null);
  t.is(readFileSync(join(g.dir, 'f'), 'utf8'), 'abX');
  const attr = new SetAttr();
  attr.mask = ATTR_SIZE | ATTR_MODE;
  attr.size = 1;
  attr.mode = 0o100600;
  t.is(f.setattr(null, attr), 0);
  t.is(f.size, 1);
  t.is(statSync(join(g.dir, 'f')).mode & 0o777, 0o600);
});

test('a shared tree is asked again: changes, new names and lost ones are seen', (t) => {
  const { g, root } = mounted(t, TREE_SHARED);
  writeFileSync(join(g.dir, 'f'), 'one');
  const f = found(root.lookup('f'));
  appendFileSync(join(g.dir, 'f'), ' more');
  t.true(root.childStillValid('f', f));
  t.is(f.size, 8);
  t.true(root.childStillValid('new', undefined));
  writeFileSync(join(g.dir, 'new'), '');
  t.false(root.childStillValid('new', undefined));
  writeFileSync(join(g.dir, 'other'), 'x');
  renameSync(join(g.dir, 'other'), join(g.dir, 'f'));
  t.false(root.childStillValid('f', f));
  t.is(found(root.lookup('f')).size, 1);
  unlinkSync(join(g.dir, 'f'));
  t.false(root.childStillValid('f', f));
  t.is(root.lookup('f'), -ENOENT);
});

test('appending to a shared file goes behind what others have appended', (t) => {
  const { g, root } = mounted(t, TREE_SHARED);
  writeFileSync(join(g.dir, 'log'), 'a');
  const file = opened(found(root.lookup('log')), O_WRONLY | O_APPEND);
  appendFileSync(join(g.dir, 'log'), 'b');
  t.is(write(file, 'c'), 1);
  t.is(readFileSync(join(g.dir, 'log'), 'utf8'), 'abc');
  file.decRef(null);
});

test('directories are walked by listing with stable positions while entries go', (t) => {
  const { g, root } = mounted(t);
  mkdirSync(join(g.dir, 'd'));
  for (let i = 0; i < 10; i++) writeFileSync(join(g.dir, 'd', `f${i}`), '');
  const d = found(root.lookup('d'));
  const dir = opened(d, O_RDONLY);
  const seen: string[] = [];
  // Three entries at a time, each removed as rm -r does.
  for (;;) {
    const batch: string[] = [];
    dir.readdir(nobody, namesTo(batch, 3));
    if (batch.length === 0) break;
    for (const name of batch) if (!name.startsWith('.')) d.unlink(name, found(d.lookup(name)));
    seen.push(...batch);
  }
  t.is(seen.length, 12);
  t.deepEqual(readdirSync(join(g.dir, 'd')), []);
  dir.decRef(null);
});

test('a gofer without descriptors gets handles back, and files stay reachable', (t) => {
  const { g, root } = mounted(t);
  mkdirSync(join(g.dir, 'd'));
  for (let i = 0; i < 40; i++) writeFileSync(join(g.dir, 'd', `f${i}`), `${i}`);
  const { handles } = g.connection;
  const add = handles.add.bind(handles);
  handles.add = (fd, type, tree) => {
    if (handles.size < 20) return add(fd, type, tree);
    close(fd);
    return -EMFILE;
  };
  const d = found(root.lookup('d'));
  const files: GoferInode[] = [];
  for (let i = 0; i < 40; i++) files.push(found(d.lookup(`f${i}`)));
  for (const [i, f] of files.entries()) {
    const file = opened(f, O_RDONLY);
    t.is(readAll(file), `${i}`);
    file.decRef(null);
  }
  t.true(handles.size <= 20);
});

test('a sandbox without descriptors answers ENFILE, gives idle ones back, and keeps its gofer', (t) => {
  const { g, root } = mounted(t);
  for (let i = 0; i < 200; i++) writeFileSync(join(g.dir, `f${i}`), `${i}`);
  const limit = getRlimit(0, RLIMIT_NOFILE) as [number, number];
  t.teardown(() => setRlimit(0, RLIMIT_NOFILE, limit[0], limit[1]));
  for (let i = 0; i < 20; i++) opened(found(root.lookup(`f${i}`)), O_RDONLY).decRef(null);
  const rest = found(root.lookup('f20'));
  const held = [opened(rest, O_RDONLY)];
  // The gofer of this test has the same table: three are left for both.
  const used = new Set(readdirSync('/proc/self/fd').map(Number));
  let bound = 0;
  for (let free = 0; free < 3; bound++) if (!used.has(bound)) free++;
  setRlimit(0, RLIMIT_NOFILE, bound, limit[1]);
  let refused = 0;
  for (let i = 21; i < 200; i++) {
    const inode = root.lookup(`f${i}`);
    const file = typeof inode === 'number' ? inode : (inode as GoferInode).open(null, nowhere, O_RDONLY);
    if (typeof file !== 'number') held.push(file);
    else {
      t.true(file === -EMFILE || file === -ENFILE, `${file}`);
      refused++;
    }
  }
  t.true(held.length > 5 && refused > 0, `${held.length} ${refused}`);
  t.false(g.client.broken);
  setRlimit(0, RLIMIT_NOFILE, limit[0], limit[1]);
  t.is(readAll(held[0]), '20');
  const last = opened(found(root.lookup('f199')), O_RDONLY);
  t.is(readAll(last), '199');
  for (const file of [...held, last]) file.decRef(null);
});

test('a client keeps below the number of handles that the gofer tells', (t) => {
  const g = testGofer(0, false, 50);
  t.teardown(() => g.close());
  const fs = GoferFilesystem.attach(g.client, 0, 7);
  if (typeof fs === 'number') return t.fail();
  for (let d = 0; d < 30; d++) {
    mkdirSync(join(g.dir, `d${d}`));
    for (let i = 0; i < 5; i++) writeFileSync(join(g.dir, `d${d}`, `f${i}`), `${d} ${i}`);
  }
  for (let turn = 0; turn < 2; turn++) {
    for (let d = 0; d < 30; d++) {
      const dir = found(fs.root().lookup(`d${d}`));
      for (let i = 0; i < 5; i++) {
        const file = opened(found(dir.lookup(`f${i}`)), O_RDONLY);
        t.is(readAll(file), `${d} ${i}`);
        file.decRef(null);
        t.true(g.connection.handles.size <= 50);
      }
    }
  }
  t.false(g.client.broken);
});

test('what the host changes in an exclusive tree is seen after a doubt, and only then', (t) => {
  const { g, root } = mounted(t);
  writeFileSync(join(g.dir, 'known'), 'one');
  const known = found(root.lookup('known'));
  t.is(root.lookup('later'), -ENOENT);
  writeFileSync(join(g.dir, 'known'), 'longer');
  writeFileSync(join(g.dir, 'later'), '');
  known.getattr(null);
  t.is(known.size, 3);
  t.true(root.childStillValid('later', undefined));
  doubt();
  known.getattr(null);
  t.is(known.size, 6);
  t.false(root.childStillValid('later', undefined));
  t.true(root.childStillValid('known', known));
  doubt();
  t.true(root.childStillValid('known', known));
});

test('what is known to be missing is not asked for again: by a whole listing, and below an overlay', (t) => {
  const { g, fs, root } = mounted(t);
  mkdirSync(join(g.dir, 'd'));
  writeFileSync(join(g.dir, 'd', 'here'), '');
  let asked = 0;
  const walkOne = fs.client.walkOne.bind(fs.client);
  fs.client.walkOne = (...args) => {
    asked++;
    return walkOne(...args);
  };
  t.is(root.lookup('missing'), -ENOENT);
  t.is(asked, 1);
  const folder = found(root.lookup('d'));
  t.not(typeof folder.list(), 'number');
  asked = 0;
  t.is(folder.lookup('missing'), -ENOENT);
  t.is(asked, 0);
  // Whoever makes a name itself knows no more whether the listing is whole.
  found(folder.create(creds, 'made', 0o100644));
  found(folder.lookup('made'));
  t.is(folder.lookup('missing'), -ENOENT);
  t.is(asked, 2);

  fs.becomeLayer();
  asked = 0;
  for (let i = 0; i < 5; i++) t.is(folder.lookup('gone'), -ENOENT);
  t.is(asked, 1);
});

test('who asks for one name after the other has the whole directory read, unless others change it', (t) => {
  for (const flags of [0, TREE_SHARED]) {
    const { g, root } = mounted(t, flags);
    for (let i = 0; i < 50; i++) writeFileSync(join(g.dir, `f${i}`), 'x'.repeat(i));
    const calls = g.loopback.calls;
    for (let i = 0; i < 50; i++) {
      const f = found(root.lookup(`f${i}`));
      t.is(f.size, i);
      t.is(root.lookup(`missing-${i}`), -ENOENT);
    }
    const asked = g.loopback.calls - calls;
    t.true(flags === 0 ? asked < 10 : asked >= 100, `${asked}`);
    t.is(readAll(opened(found(root.lookup('f9')), O_RDONLY)), 'xxxxxxxxx');
  }
});

test('contents of small files come by the dozen below an overlay, and opening one again asks nobody', (t) => {
  const { g, fs, root } = mounted(t);
  for (let i = 0; i < 100; i++) writeFileSync(join(g.dir, `f${i}`), `text ${i}`);
  writeFileSync(join(g.dir, 'large'), 'x'.repeat(SMALL_FILE + 1));
  writeFileSync(join(g.dir, 'library.so'), '\x7fELF and more');
  fs.becomeLayer();
  names(root);
  const files = Array.from({ length: 100 }, (_, i) => found(root.lookup(`f${i}`)));
  let calls = g.loopback.calls;
  const readEach = () => {
    for (let i = 0; i < 100; i++) {
      const file = opened(files[i], O_RDONLY);
      t.is(readAll(file), `text ${i}`);
      file.decRef(null);
    }
  };
  readEach();
  t.true(g.loopback.calls - calls < 12, `${g.loopback.calls - calls}`);
  calls = g.loopback.calls;
  readEach();
  t.is(g.loopback.calls, calls);
  // These are read and mapped by descriptor.
  for (const name of ['large', 'library.so']) {
    const file = opened(found(root.lookup(name)), O_RDONLY);
    t.true(readAll(file).length > 4);
    t.is(file.mmap(nobody, {} as Mappable, 0, false), 0);
    file.decRef(null);
  }
  t.true(contentsBytes() > 0);
  dropAllContents();
  t.is(contentsBytes(), 0);
  readEach();
});

test('who reads kept contents sees what is written, cut and mapped meanwhile, and keeps a file that loses its name', (t) => {
  const { g, root } = mounted(t);
  const old = new Date(Date.now() - 100_000);
  for (const name of ['f', 'g', 'h', 'i']) {
    writeFileSync(join(g.dir, name), 'text');
    // Read since it was changed, and not changed just now.
    utimesSync(join(g.dir, name), new Date(Date.now() + 100_000), old);
  }
  const later = Date.now() + 2500;
  while (Date.now() < later);
  const reader = (name: string) => {
    const file = opened(found(root.lookup(name)), O_RDONLY);
    t.is(readAll(file), 'text');
    return file;
  };
  const f = reader('f');
  t.true(contentsBytes() > 0);
  const writer = opened(found(root.lookup('f')), O_RDWR);
  t.is(write(writer, 'TEX'), 3);
  t.is(readAll(f), 'TEXt');
  t.is(writer.truncate(nobody, 2), 0);
  t.is(readAll(f), 'TE');
  writer.decRef(null);
  f.decRef(null);
  t.is(readAll(opened(found(root.lookup('f')), O_RDONLY)), 'TE');

  const cut = new SetAttr();
  cut.mask = ATTR_SIZE;
  cut.size = 1;
  const ofG = reader('g');
  t.is(found(root.lookup('g')).setattr(null, cut), 0);
  t.is(readAll(ofG), 't');
  ofG.decRef(null);

  const ofH = reader('h');
  const h = found(root.lookup('h'));
  t.is(root.unlink('h', h), 0);
  t.is(readAll(ofH), 'text');
  t.is(ofH.seek(nobody, 0, SEEK_HOLE), 4);
  t.is(readAll(ofH), 'text');
  ofH.decRef(null);

  // What the host changes is seen after a doubt.
  const ofI = reader('i');
  writeFileSync(join(g.dir, 'i'), 'else');
  doubt();
  t.is(readAll(ofI), 'else');
  ofI.decRef(null);
});
