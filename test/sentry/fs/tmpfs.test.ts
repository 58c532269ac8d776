import { readdirSync } from 'node:fs';
import test from 'ava';
import { pwrite } from 'ptrace-napi';
import { EINVAL, ENOSPC } from '../../../sentry/abi/errno.ts';
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, O_CREAT, O_RDONLY, O_RDWR } from '../../../sentry/abi/fcntl.ts';
import { PROT_READ, PROT_WRITE } from '../../../sentry/abi/mman.ts';
import { newTmpfs, type TmpfsFilesystem } from '../../../sentry/fs/tmpfs.ts';
import type { TmpfsFile } from '../../../sentry/fs/tmpfs-file.ts';
import { BufferIo } from '../../../sentry/vfs/buffer-io.ts';
import { StatFs } from '../../../sentry/vfs/filesystem.ts';
import { getFile, makeTree, opened, putFile } from '../../support/tree.ts';

function sized(options: string): TmpfsFilesystem {
  const fs = newTmpfs(options);
  if (typeof fs === 'number') throw new Error(`options refused: ${fs}`);
  return fs;
}

function freePages(fs: TmpfsFilesystem): number {
  const out = new StatFs();
  fs.statfs(out);
  return out.blocksFree;
}

test('writes beyond the size limit are cut at a page, then fail with ENOSPC', (t) => {
  const fs = sized('size=64k');
  const tree = makeTree(fs);
  const file = opened(tree.vfs.openAt(tree.ctx, null, '/f', O_CREAT | O_RDWR, 0o644));
  const io = new BufferIo(new Uint8Array(100_000).fill(7));
  t.is(file.pwrite(null, io.set(0, 100_000), 1000), 64536);
  t.is(file.pwrite(null, io.set(0, 10), 65536), -ENOSPC);
  t.is(file.pwrite(null, io.set(0, 10), 0), 10, 'allocated pages can be written again');
  t.is(freePages(fs), 0);
  t.is(tree.vfs.unlinkAt(tree.ctx, null, '/f'), 0);
  t.is(freePages(fs), 0, 'an open file keeps its pages');
  file.decRef(null);
  t.is(freePages(fs), 16);
});

test('random writes, holes and truncations read back like a plain array', (t) => {
  const fs = sized('');
  const tree = makeTree(fs);
  const file = opened(tree.vfs.openAt(tree.ctx, null, '/f', O_CREAT | O_RDWR, 0o644));
  const node = file.inode() as TmpfsFile;
  const model = new Uint8Array(400_000);
  let size = 0;
  let seed = 12345;
  const random = (n: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff;
    return seed % n;
  };
  const source = new Uint8Array(70_000);
  for (let i = 0; i < source.length; i++) source[i] = 1 + (i % 251);
  const io = new BufferIo(source);
  const back = new Uint8Array(model.length);
  for (let round = 0; round < 600; round++) {
    const offset = random(300_000);
    const length = 1 + random(round % 3 === 0 ? 70_000 : 5000);
    const kind = random(10);
    if (kind < 6) {
      t.is(file.pwrite(null, io.set(0, length), offset), length);
      model.set(source.subarray(0, length), offset);
      size = Math.max(size, offset + length);
    } else if (kind < 8) {
      t.is(node.allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length), 0);
      model.fill(0, offset, offset + length);
    } else if (kind === 8) {
      t.is(node.resize(offset), 0);
      model.fill(0, offset);
      size = offset;
    } else {
      t.is(node.allocate(0, offset, length), 0);
      size = Math.max(size, offset + length);
    }
    t.is(node.size, size);
    const n = file.pread(null, new BufferIo(back).set(0, back.length), 0);
    t.is(n, size);
    if (Buffer.compare(back.subarray(0, size), model.subarray(0, size)) !== 0) return t.fail(`round ${round}`);
  }
  t.is(node.resize(0), 0);
  node.getattr(null);
  t.is(node.blocks, 0);
});

test('a file that has been mapped keeps contents, holes and size in its memfd', (t) => {
  const tree = makeTree(sized(''));
  const file = opened(tree.vfs.openAt(tree.ctx, null, '/f', O_CREAT | O_RDWR, 0o644));
  const node = file.inode() as TmpfsFile;
  const text = Buffer.from('0123456789abcdef');
  const io = new BufferIo(text);
  for (const offset of [0, 70_000, 300_000]) t.is(file.pwrite(null, io.set(0, 16), offset), 16);
  t.true(node.mapped(true) >= 0);
  const back = new Uint8Array(16);
  const read = (offset: number): string => {
    file.pread(null, new BufferIo(back).set(0, 16), offset);
    return Buffer.from(back).toString('latin1');
  };
  for (const offset of [0, 70_000, 300_000]) t.is(read(offset), text.toString());
  t.is(node.size, 300_016);
  t.is(node.seekHole(0, false), 4096);
  t.is(node.seekHole(4096, true), 69_632);
  t.is(file.pwrite(null, io.set(0, 16), 400_000), 16);
  t.is(node.size, 400_016);
  t.is(node.allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 8192), 0);
  t.is(read(0), '\0'.repeat(16));
  t.is(node.resize(70_008), 0);
  t.is(node.resize(80_000), 0);
  t.is(read(70_000), `01234567${'\0'.repeat(8)}`);
  file.decRef(null);
  tree.vfs.unlinkAt(tree.ctx, null, '/f');
});

test('a byte far out costs a page, and a range that no memory could hold is refused', (t) => {
  const tree = makeTree(sized(''));
  const file = opened(tree.vfs.openAt(tree.ctx, null, '/f', O_CREAT | O_RDWR, 0o644));
  const node = file.inode() as TmpfsFile;
  const io = new BufferIo(Buffer.from('far'));
  const far = 2 ** 52;
  t.is(file.pwrite(null, io.set(0, 3), far), 3);
  t.is(file.pwrite(null, io.set(0, 3), 5_000_000_000), 3);
  node.getattr(null);
  t.is(node.blocks, 16);
  t.is(node.size, far + 3);
  t.is(node.seekHole(0, true), 4_999_999_488);
  t.is(node.seekHole(5_000_003_584, true), far);
  t.is(node.allocate(0, 0, 2 ** 50), -ENOSPC);
  t.is(node.allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 ** 51), 0);
  node.getattr(null);
  t.is(node.blocks, 8);
  t.is(node.resize(10), 0);
  node.getattr(null);
  t.is(node.blocks, 0);
});

test('nr_inodes bounds names, and a remount cannot take away what is in use', (t) => {
  const fs = sized('nr_inodes=4');
  const tree = makeTree(fs);
  putFile(tree, '/a', '');
  putFile(tree, '/b', '');
  t.is(tree.vfs.linkAt(tree.ctx, null, '/a', null, '/c', 0), 0);
  t.is(tree.vfs.mkdirAt(tree.ctx, null, '/d', 0o755), -ENOSPC);
  t.is(fs.remount('nr_inodes=3'), -EINVAL);
  t.is(tree.vfs.unlinkAt(tree.ctx, null, '/a'), 0);
  t.is(tree.vfs.mkdirAt(tree.ctx, null, '/d', 0o755), 0);
});

test('options are those of Linux, and printed as mountinfo shows them', (t) => {
  t.is(sized('size=1m,mode=700,uid=5,nr_inodes=1k').options(), ',size=1024k,nr_inodes=1024,mode=700,uid=5,inode64');
  t.is(sized('').options(), ',inode64');
  for (const bad of ['bogus', 'size=x', 'mode=9', 'nr_inodes=']) t.is(newTmpfs(bad), -EINVAL);
});

test('contents leave their memfd when a file is no longer mapped and many others have been since', (t) => {
  const tree = makeTree();
  const { vfs, ctx } = tree;
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const before = descriptors();
  const out = { hostFd: -1, offset: 0 };
  const mapAndClose = (path: string, change?: (hostFd: number) => void) => {
    const file = opened(vfs.openAt(ctx, null, path, O_RDWR, 0));
    // biome-ignore lint/suspicious/noExplicitAny: tmpfs does not ask who maps
    t.is(file.mmap(null as any, out, PROT_READ | PROT_WRITE, true), 0);
    change?.(out.hostFd);
    file.decRef(null);
  };
  putFile(tree, '/sparse', 'first');
  const resized = opened(vfs.openAt(ctx, null, '/sparse', O_RDWR, 0));
  // biome-ignore lint/suspicious/noExplicitAny: nor who resizes
  t.is(resized.truncate(null as any, 200_000), 0);
  resized.decRef(null);
  mapAndClose('/sparse', (hostFd) => t.is(pwrite(hostFd, Buffer.from('mapped'), 0, 6, 150_000), 6));
  const held = opened(vfs.openAt(ctx, null, '/sparse', O_RDONLY, 0));
  for (let i = 0; i < 600; i++) {
    putFile(tree, `/f${i}`, `contents ${i}`);
    mapAndClose(`/f${i}`);
  }
  t.true(descriptors() - before <= 256 + 1, `${descriptors() - before}`);
  held.decRef(null);
  for (let i = 600; i < 900; i++) {
    putFile(tree, `/f${i}`, `contents ${i}`);
    mapAndClose(`/f${i}`);
  }
  t.true(descriptors() - before <= 256, `${descriptors() - before}`);
  for (let i = 0; i < 900; i++) t.is(getFile(tree, `/f${i}`), `contents ${i}`);
  const text = getFile(tree, '/sparse') as string;
  t.is(text.length, 200_000);
  t.is(text.replaceAll('\0', ''), 'firstmapped');
  t.is(text.indexOf('mapped'), 150_000);
});
