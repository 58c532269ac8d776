// A Vfs over a tmpfs root, without a kernel: for tests of the VFS by its own methods.

import { newTmpfs } from '../../sentry/fs/tmpfs.ts';
import { Credentials } from '../../sentry/kernel/credentials.ts';
import { FsContext } from '../../sentry/kernel/fs-context.ts';
import { UserNamespace } from '../../sentry/kernel/user-namespace.ts';
import { BufferIo } from '../../sentry/vfs/buffer-io.ts';
import { KernelContext } from '../../sentry/vfs/context.ts';
import type { FileDescription } from '../../sentry/vfs/file-description.ts';
import type { DirSink, Filesystem } from '../../sentry/vfs/filesystem.ts';
import { Mount, MountNamespace } from '../../sentry/vfs/mount.ts';
import { Vfs } from '../../sentry/vfs/vfs.ts';

export interface Tree {
  vfs: Vfs;
  ctx: KernelContext;
  ns: MountNamespace;
  userns: UserNamespace;
}

/** A fresh tree; its root is a tmpfs (mode 755) unless given. */
export function makeTree(fs?: Filesystem): Tree {
  const userns = new UserNamespace(null, 0, 0);
  const root = fs ?? newTmpfs('mode=755');
  if (typeof root === 'number') throw new Error(`no tmpfs: ${root}`);
  const ns = new MountNamespace(userns, Mount.of(root, 0));
  const at = ns.rootPath();
  const ctx = new KernelContext(Credentials.root(userns), new FsContext(at, at, ns));
  return { vfs: new Vfs(), ctx, ns, userns };
}

/** The same tree seen by an ordinary user. */
export function asUser(tree: Tree, uid: number, gid = uid): KernelContext {
  const creds = new Credentials(tree.userns);
  creds.uid = creds.euid = creds.suid = creds.fsuid = uid;
  creds.gid = creds.egid = creds.sgid = creds.fsgid = gid;
  return new KernelContext(creds, tree.ctx.fs);
}

/** Creates a file with contents. */
export function putFile(tree: Tree, path: string, text: string, mode = 0o644): void {
  const file = opened(tree.vfs.openAt(tree.ctx, null, path, 0o102, mode));
  const n = file.pwrite(null, new BufferIo(Buffer.from(text, 'latin1')).set(0, text.length), 0);
  if (n !== text.length) throw new Error(`wrote ${n}`);
  file.decRef(null);
}

/** The contents of a file, or the errno of opening it. */
export function getFile(tree: Tree, path: string): string | number {
  const file = tree.vfs.openAt(tree.ctx, null, path, 0, 0);
  if (typeof file === 'number') return file;
  const text = readAll(file);
  file.decRef(null);
  return text;
}

export function readAll(file: FileDescription): string {
  const bytes = new Uint8Array(1 << 20);
  const n = file.pread(null, new BufferIo(bytes).set(0, bytes.length), 0);
  if (n < 0) throw new Error(`read answered ${n}`);
  return Buffer.from(bytes.buffer, 0, n).toString('latin1');
}

export function opened(file: FileDescription | number): FileDescription {
  if (typeof file === 'number') throw new Error(`open answered ${file}`);
  return file;
}

/** The names in a directory, without "." and "..". */
export function names(tree: Tree, path: string): string[] {
  const file = opened(tree.vfs.openAt(tree.ctx, null, path, 0o200000, 0));
  const list: string[] = [];
  const sink: DirSink = {
    entry(name) {
      if (name !== '.' && name !== '..') list.push(name);
      return true;
    },
    entryBytes(bytes, at, length) {
      list.push(Buffer.from(bytes).toString('latin1', at, at + length));
      return true;
    },
  };
  // biome-ignore lint/suspicious/noExplicitAny: in-memory file systems take no task for this
  const error = file.readdir(null as any, sink);
  if (error < 0) throw new Error(`readdir answered ${error}`);
  file.decRef(null);
  return list;
}
