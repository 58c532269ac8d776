// A mounted FUSE file system and its mount options: fs/fuse/inode.c.

import { EINVAL, ENOENT } from '../../abi/errno.ts';
import { FUSE_STATFS, KSTATFS } from '../../abi/fuse.ts';
import { FUSE_SUPER_MAGIC, S_IFDIR, S_IFMT } from '../../abi/stat.ts';
import { getU64 } from '../../base/int64.ts';
import type { Credentials } from '../../kernel/credentials.ts';
import type { UserNamespace } from '../../kernel/user-namespace.ts';
import { allocateAnonDev } from '../../vfs/anon-dev.ts';
import type { VfsContext } from '../../vfs/context.ts';
import { Filesystem, type StatFs } from '../../vfs/filesystem.ts';
import type { FilesystemType } from '../../vfs/vfs.ts';
import { FuseConnection, type Id, NO_HANDLE, type Notified } from './connection.ts';
import { FuseDevice } from './device.ts';
import { FuseInode } from './inode.ts';

interface FuseOptions {
  device: FuseDevice;
  rootMode: number;
  /** In the root user namespace. */
  user: number;
  group: number;
  defaultPermissions: boolean;
  allowOther: boolean;
  maxRead: number;
  blockSize: number;
  subtype: string;
}

export class FuseFilesystem extends Filesystem implements Notified {
  readonly connection: FuseConnection;
  readonly rootId: Id = `\x01${NO_HANDLE.slice(1)}`;
  private readonly settings: FuseOptions;
  private readonly mounter: UserNamespace;
  private readonly nodes: Map<Id, FuseInode> = new Map();
  private readonly rootInode: FuseInode;

  constructor(ctx: VfsContext, settings: FuseOptions) {
    super('fuse', allocateAnonDev(), FUSE_SUPER_MAGIC);
    this.settings = settings;
    this.subtype = settings.subtype;
    this.mounter = ctx.creds.userns;
    this.connection = new FuseConnection(ctx.task, ctx.creds.userns);
    this.connection.fs = this;
    this.rootInode = new FuseInode(this, this.rootId, NO_HANDLE, settings.rootMode);
    this.rootInode.ino = 1;
    this.nodes.set(this.rootId, this.rootInode);
  }

  override root(): FuseInode {
    return this.rootInode;
  }

  get checksModes(): boolean {
    return this.settings.defaultPermissions;
  }

  /** fuse_allow_current_process(): others could be held up, and shown anything, by a server that is not theirs. */
  admits(creds: Credentials): boolean {
    const { user, group, allowOther } = this.settings;
    if (allowOther) {
      for (let ns: UserNamespace | null = creds.userns; ns !== null; ns = ns.parent) if (ns === this.mounter) return true;
      return false;
    }
    return (
      creds.euid === user &&
      creds.suid === user &&
      creds.uid === user &&
      creds.egid === group &&
      creds.sgid === group &&
      creds.gid === group
    );
  }

  uidOf(id: number): number {
    return this.mounter.uidToKernel(id);
  }

  gidOf(id: number): number {
    return this.mounter.gidToKernel(id);
  }

  shownUid(id: number): number {
    return this.mounter.uidFromKernel(id);
  }

  shownGid(id: number): number {
    return this.mounter.gidFromKernel(id);
  }

  /** The node with this number; another one if the server has used the number anew. */
  node(nodeid: Id, generation: Id, mode: number): FuseInode {
    const known = this.nodes.get(nodeid);
    if (known?.is(generation, mode)) return known;
    const made = new FuseInode(this, nodeid, generation, mode);
    this.nodes.set(nodeid, made);
    return made;
  }

  known(nodeid: Id): FuseInode | undefined {
    return this.nodes.get(nodeid);
  }

  forget(inode: FuseInode): void {
    if (this.nodes.get(inode.nodeid) === inode) this.nodes.delete(inode.nodeid);
  }

  invalidNode(id: Id, offset: number, length: number): number {
    const node = this.nodes.get(id);
    if (node === undefined) return -ENOENT;
    node.invalidate();
    if (offset >= 0) node.contentsChanged(offset, length <= 0 ? Number.POSITIVE_INFINITY : length);
    return 0;
  }

  store(id: Id, offset: number, bytes: Uint8Array): number {
    const node = this.nodes.get(id);
    if (node === undefined) return -ENOENT;
    if (!node.isRegular()) return -EINVAL;
    node.cache?.wrote(bytes, 0, bytes.length, offset);
    if (offset + bytes.length > node.size) node.size = offset + bytes.length;
    return 0;
  }

  retrieve(id: Id, offset: number, n: number): Uint8Array | number {
    const node = this.nodes.get(id);
    if (node === undefined) return -ENOENT;
    return node.cache?.kept(offset, n) ?? new Uint8Array(0);
  }

  invalidEntry(parent: Id, name: string): number {
    const node = this.nodes.get(parent);
    if (node === undefined) return -ENOENT;
    node.invalidate();
    node.dropName(name);
    return 0;
  }

  override options(): string {
    const { user, group, defaultPermissions, allowOther, maxRead, blockSize } = this.settings;
    let text = `,user_id=${this.mounter.uidFromKernel(user)},group_id=${this.mounter.gidFromKernel(group)}`;
    if (defaultPermissions) text += ',default_permissions';
    if (allowOther) text += ',allow_other';
    if (maxRead > 0) text += `,max_read=${maxRead}`;
    if (blockSize > 0) text += `,blksize=${blockSize}`;
    return text;
  }

  override statfs(out: StatFs): number {
    out.type = this.magic;
    const r = this.connection.ask(FUSE_STATFS, this.rootId, new Uint8Array(0));
    if (typeof r === 'number') return r;
    if (r.answer.length < KSTATFS.size) return -EINVAL;
    const v = r.view;
    out.blocks = getU64(v, KSTATFS.blocks);
    out.blocksFree = getU64(v, KSTATFS.bfree);
    out.blocksAvailable = getU64(v, KSTATFS.bavail);
    out.files = getU64(v, KSTATFS.files);
    out.filesFree = getU64(v, KSTATFS.ffree);
    out.blockSize = v.getUint32(KSTATFS.bsize, true);
    out.nameLength = v.getUint32(KSTATFS.namelen, true);
    return 0;
  }

  override remount(options: string): number {
    // Nothing of a mount can be changed afterwards but its flags: fuse_reconfigure().
    return options === '' ? 0 : -EINVAL;
  }

  override release(): void {
    this.connection.end();
  }
}

/** mount(2)'s data: fd, rootmode, user_id and group_id are a must. -EINVAL. */
function parse(ctx: VfsContext, text: string): FuseOptions | number {
  const found = new Map<string, string>();
  for (const option of text.split(',')) {
    if (option === '') continue;
    const eq = option.indexOf('=');
    found.set(eq < 0 ? option : option.slice(0, eq), eq < 0 ? '' : option.slice(eq + 1));
  }
  const number = (key: string, radix = 10): number => {
    const value = found.get(key) ?? '';
    found.delete(key);
    return (radix === 8 ? /^[0-7]+$/ : /^\d+$/).test(value) ? Number.parseInt(value, radix) : -1;
  };
  const flag = (key: string): boolean => found.delete(key);
  const device = ctx.task?.fds.get(number('fd'));
  const rootMode = number('rootmode', 8);
  const { userns } = ctx.creds;
  const user = userns.uidToKernel(number('user_id'));
  const group = userns.gidToKernel(number('group_id'));
  const maxRead = Math.max(0, number('max_read'));
  const blockSize = Math.max(0, number('blksize'));
  const defaultPermissions = flag('default_permissions');
  const allowOther = flag('allow_other');
  const subtype = found.get('subtype') ?? '';
  found.delete('subtype');
  if (found.size > 0 || rootMode < 0 || user < 0 || group < 0) return -EINVAL;
  // The device must have been opened in the namespace that mounts, or its privileges would be lent: fuse_fill_super().
  if (!(device instanceof FuseDevice) || !device.isFree || device.creds?.userns !== userns) return -EINVAL;
  if ((rootMode & S_IFMT) !== S_IFDIR) return -EINVAL;
  return { device, rootMode, user, group, defaultPermissions, allowOther, maxRead, blockSize, subtype };
}

/** For mount(2); "fuse.NAME" has NAME as its subtype. */
export const fuseType: FilesystemType = {
  name: 'fuse',
  nodev: true,
  userMount: true,
  mount(ctx: VfsContext, source: string, _flags: number, options: string): Filesystem | number {
    const settings = parse(ctx, options);
    if (typeof settings === 'number') return settings;
    const fs = new FuseFilesystem(ctx, settings);
    fs.source = source;
    settings.device.connect(fs.connection);
    fs.connection.start();
    return fs;
  },
};
