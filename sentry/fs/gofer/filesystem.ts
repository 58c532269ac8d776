// One served tree as a file system. Who else changes the tree decides how much is cached:
//
//   exclusive  nobody: names and attributes that were learned once hold until we change them ourselves, so that a
//              stat that hits talks to nobody. What the host changes by itself in answer to our writes (mtime, ctime,
//              blocks) is marked stale and read from the donated descriptor when somebody asks. doubt.ts tells what
//              becomes of changes that come from the host all the same.
//   shared     others: names are revalidated at every step of a walk, attributes at every stat.

import { Attributes } from '../../../gofer/protocol/attributes.ts';
import { AttachReply, TREE_DEVICES, TREE_HOST_FIFO, TREE_READ_ONLY, TREE_SHARED } from '../../../gofer/protocol/messages.ts';
import { EMFILE, ENFILE } from '../../abi/errno.ts';
import { S_IFCHR, S_IFIFO, S_IFMT } from '../../abi/stat.ts';
import { Filesystem, StatFs } from '../../vfs/filesystem.ts';
import type { GoferClient } from './client.ts';
import { type Contents, dropContentsOf } from './contents.ts';
import { doubts } from './doubt.ts';
import { magicOfKind, nameOfKind } from './host-kind.ts';
import { HostWatches } from './host-watch.ts';
import { GoferInode } from './inode.ts';
import { Appetite } from './listing.ts';

/** Files of all trees that keep a donated descriptor though nobody has them open just now, the longest so first. */
const idleFiles: Set<GoferInode> = new Set();
export const IDLE_FDS = 1024;
/** Names that a layer of an overlay is known not to have, the longest known so first. */
const ABSENT_NAMES = 8192;
const TWO48 = 2 ** 48;
/** Host devices whose inode numbers are told apart by their high bits. */
const MAX_DEVICES = 16;

/** All trees of a connection share its watches: their numbers come from one inotify. */
const watchesOfClient = new WeakMap<GoferClient, HostWatches>();

function watchesOf(client: GoferClient): HostWatches {
  let watches = watchesOfClient.get(client);
  if (watches === undefined) {
    watches = new HostWatches(client);
    watchesOfClient.set(client, watches);
  }
  return watches;
}

export class GoferFilesystem extends Filesystem {
  readonly client: GoferClient;
  readonly shared: boolean;
  readonly hostWatches: HostWatches;
  /** By our inode number: hard links are one inode. */
  readonly inodes: Map<number, GoferInode> = new Map();
  readonly appetite: Appetite = new Appetite();
  /** Of small files, by our inode number. */
  readonly contents: Map<number, Contents> = new Map();
  /** The host file system cannot tell whether a read would wait: contents do not come. */
  readsByDescriptor = false;
  /** Host devices seen, in order: the index tells inode numbers of different ones apart. */
  private readonly devices: number[] = [];
  /** Numbers that do not fit, by "device:number". */
  private readonly odd: Map<string, number> = new Map();
  private readonly rootInode: GoferInode;
  /** TREE_*. */
  private readonly flags: number;
  private believed = false;
  /** As the list of mounts has them, each after a comma. */
  shownOptions = '';
  /** Of a layer below an overlay, "directory's number/name": the overlay asks for a name with each unlink and rename in its upper tree. */
  private readonly absent: Set<string> = new Set();

  private constructor(client: GoferClient, dev: number, reply: AttachReply, shownAs: string) {
    super(shownAs, dev, magicOfKind(shownAs));
    this.acls = 2;
    this.allowsIdmap = true;
    this.client = client;
    this.hostWatches = watchesOf(client);
    this.flags = reply.flags;
    this.shared = (reply.flags & TREE_SHARED) !== 0;
    this.readOnly = (reply.flags & TREE_READ_ONLY) !== 0;
    this.rootInode = this.adopt(reply.handle, reply.attributes, null, '');
  }

  /**
   * The file system of a gofer's tree, or -errno. dev: a device number of our own; shownAs: what it is called where that is
   * not what it is on the host.
   */
  static attach(client: GoferClient, tree: number, dev: number, shownAs?: string): GoferFilesystem | number {
    const reply = new AttachReply(new Attributes());
    let result = client.attach(tree, reply);
    if (result < 0) return result;
    let kind = shownAs;
    if (kind === undefined) {
      const about = new StatFs();
      result = client.statfs(reply.handle, about);
      kind = result < 0 ? nameOfKind(0) : nameOfKind(about.type);
    }
    return new GoferFilesystem(client, dev, reply, kind);
  }

  override options(): string {
    return this.shownOptions;
  }

  /** How often what is known of the tree has been doubted: doubt.ts. */
  get doubts(): number {
    return this.believed ? 0 : doubts.count;
  }

  // "Changes to the underlying filesystems while part of a mounted overlay filesystem are not allowed" - filesystems/overlayfs.rst
  override becomeLayer(): void {
    this.believed = true;
  }

  /** It lies below an overlay: nobody may change it, and its access times do not move. */
  get isLayer(): boolean {
    return this.believed;
  }

  override root(): GoferInode {
    return this.rootInode;
  }

  override statfs(out: StatFs): number {
    const handle = this.rootInode.ensureHandle();
    if (handle < 0) return handle;
    const result = this.client.statfs(handle, out);
    out.type = this.magic;
    return result;
  }

  override sync(): number {
    const handle = this.rootInode.ensureHandle();
    return handle < 0 ? handle : this.client.sync(handle, true);
  }

  override release(): void {
    for (const inode of this.inodes.values()) {
      idleFiles.delete(inode);
      inode.giveBack();
    }
    this.inodes.clear();
    this.absent.clear();
    dropContentsOf(this.contents);
    this.client.flush();
  }

  /**
   * The inode for what a walk, a creation or a listing has found. A handle that is not needed, because the inode is
   * known already, is given back. via and name: where it was found.
   */
  adopt(handle: number, a: Attributes, via: GoferInode | null, name: string): GoferInode {
    const ino = this.inoOf(a);
    const known = this.inodes.get(ino);
    // A number may come again for another file once nothing holds the first.
    if (known !== undefined && (known.mode & S_IFMT) === (a.mode & S_IFMT) && known.bornAt(a)) {
      if (known.handle === 0) known.handle = handle;
      else this.client.closeLater(handle);
      // Without a handle they come from a listing, and may be older than what the inode knows.
      if (handle !== 0) known.setAttributes(a);
      known.foundAt(via, name);
      return known;
    }
    const inode = new GoferInode(this, ino, a.mode, handle);
    inode.setAttributes(a);
    inode.foundAt(via, name);
    this.inodes.set(ino, inode);
    return inode;
  }

  /** Whether nodes of this mode are opened on the host instead of being the guest's own FIFOs and devices. */
  opensHostNode(mode: number): boolean {
    const type = mode & S_IFMT;
    return (type === S_IFIFO && (this.flags & TREE_HOST_FIFO) !== 0) || (type === S_IFCHR && (this.flags & TREE_DEVICES) !== 0);
  }

  /** Whether nobody can have made the name since it was found to be missing. */
  knowsAbsent(directory: GoferInode, name: string): boolean {
    return this.believed && this.absent.has(`${directory.ino}/${name}`);
  }

  foundAbsent(directory: GoferInode, name: string): void {
    if (!this.believed) return;
    this.absent.add(`${directory.ino}/${name}`);
    if (this.absent.size <= ABSENT_NAMES) return;
    for (const oldest of this.absent) {
      this.absent.delete(oldest);
      return;
    }
  }

  /** A handle for a name in a directory, or -errno. flags: 0 or WALK_OPEN. */
  walkOne(parent: number, name: string, flags = 0): number {
    const handle = this.client.walkOne(parent, flags, name);
    return this.lacksDescriptors(handle, parent) ? this.client.walkOne(parent, flags, name) : handle;
  }

  /** A donated descriptor, or -errno. */
  openHost(handle: number, flags: number): number {
    const fd = this.client.open(handle, flags);
    return this.lacksDescriptors(fd, handle) ? this.client.open(handle, flags) : fd;
  }

  /**
   * The whole host, or the sandbox, is short of descriptors: handles of files and what nobody has open are given back, which
   * makes it worth another try. Handles of directories stay, and `needed`: whoever asks may be about to use them.
   */
  private lacksDescriptors(result: number, needed: number): boolean {
    if (result !== -EMFILE && result !== -ENFILE) return false;
    for (const inode of idleFiles) inode.closeFds();
    idleFiles.clear();
    for (const inode of this.inodes.values()) if (!inode.isDir() && inode.handle !== needed) inode.lendHandle();
    this.client.flush();
    return true;
  }

  /**
   * Each handle is a descriptor of the gofer's. Before it has no more, the oldest half of those that can be got again
   * by name goes back, directories last. Only for the beginning of an operation, when no handle is about to be used.
   */
  keepWithinLimit(): void {
    const { client } = this;
    if (client.handles < client.handleLimit * 0.9) return;
    let count = client.handles >> 1;
    for (const inode of this.inodes.values()) if (count > 0 && !inode.isDir() && inode.lendHandle()) count--;
    for (const inode of this.inodes.values()) if (count > 0 && inode.lendHandle()) count--;
  }

  /**
   * The inode number that the guest sees: the host's, made unique where the tree spans several host file systems,
   * since all of it is one st_dev here.
   */
  inoOf(a: Attributes): number {
    return this.uniqueIno(a.devMajor * 2 ** 20 + a.devMinor, a.inoLo, a.inoHi);
  }

  private uniqueIno(dev: number, lo: number, hi: number): number {
    let index = this.devices.indexOf(dev);
    if (index < 0) index = this.devices.push(dev) - 1;
    const ino = hi * 2 ** 32 + lo;
    if (ino < TWO48 && index < MAX_DEVICES) return ino + index * TWO48;
    const key = `${dev}:${hi}:${lo}`;
    let number = this.odd.get(key);
    if (number === undefined) {
      number = MAX_DEVICES * TWO48 + this.odd.size;
      this.odd.set(key, number);
    }
    return number;
  }

  /** Of a directory entry, which tells no device: it is its directory's, as a rule. */
  entryIno(directory: GoferInode, lo: number, hi: number): number {
    const index = Math.floor(directory.ino / TWO48);
    return this.uniqueIno(this.devices[index < MAX_DEVICES ? index : 0], lo, hi);
  }

  /** The inode keeps its descriptors though nobody has it open; the oldest such gives its own back. */
  keepIdle(inode: GoferInode): void {
    idleFiles.add(inode);
    if (idleFiles.size <= IDLE_FDS) return;
    for (const oldest of idleFiles) {
      idleFiles.delete(oldest);
      oldest.closeFds();
      return;
    }
  }

  isKnown(a: Attributes): boolean {
    return this.inodes.has(this.inoOf(a));
  }

  notIdle(inode: GoferInode): void {
    idleFiles.delete(inode);
  }

  forget(inode: GoferInode): void {
    idleFiles.delete(inode);
    if (this.inodes.get(inode.ino) === inode) this.inodes.delete(inode.ino);
  }
}
