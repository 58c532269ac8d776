// Mounts and mount namespaces: fs/namespace.c, fs/pnode.c.
//
// A Mount puts a dentry tree of a file system at a dentry of its parent mount. At most one mount
// sits on a (parent, mount point) pair; a second one at the same path sits on the root of the first.
// Propagation works on peer groups: a change below a shared mount happens below all its peers, and
// below the slaves of the group (and theirs), wherever they show the same dentry. A mount may have
// a group, a master group, or both.

import { MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_RDONLY, MS_RELATIME } from '../abi/mount.ts';
import { POLLERR, POLLPRI } from '../abi/poll.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import { type Dentry, pin, rootDentry, unpin } from './dentry.ts';
import type { Filesystem, VfsPath } from './filesystem.ts';

/** The flags that belong to a mount rather than to its file system. */
export const MOUNT_FLAGS = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_NOSYMFOLLOW;

let nextMountId = 1;
/** What statx and listmount call unique ids are the others, beyond this: fs/namespace.c:MNT_UNIQUE_ID_OFFSET. */
export const firstUniqueMountId = 2 ** 31;
let nextNamespaceId = 1;
let nextGroupId = 1;

/** Mounts that see each other's changes; what mountinfo prints as shared:N. */
export class PeerGroup {
  readonly id: number = nextGroupId++;
  readonly members: Set<Mount> = new Set();
  /** Mounts that receive from the group and send nothing back. */
  readonly slaves: Set<Mount> = new Set();
}

export class Mount {
  readonly id: number = nextMountId++;
  readonly fs: Filesystem;
  readonly root: Dentry;
  /** null: not attached (the root of a namespace, or a detached tree). */
  parent: Mount | null = null;
  mountpoint: Dentry | null = null;
  /** null while detached. */
  namespace: MountNamespace | null = null;
  /** By mount point; a mount at the root of this one lies over it. */
  readonly children: Map<Dentry, Mount> = new Map();
  /** MS_* of MOUNT_FLAGS. */
  flags: number;
  peers: PeerGroup | null = null;
  master: PeerGroup | null = null;
  unbindable = false;
  /** Came from a more privileged namespace together with its parent: may not be unmounted alone. MNT_LOCKED. */
  locked = false;
  /** Flags that may not be cleared: MNT_LOCK_*. */
  lockedFlags = 0;
  /** Open descriptions: what makes an unmount EBUSY. */
  opens = 0;
  /** Descriptions open for writing: a remount to read-only must wait for them. */
  writers = 0;
  /** umount2(MNT_EXPIRE) has been here and nothing has used it since. */
  expiryMark = false;

  constructor(fs: Filesystem, root: Dentry, flags: number) {
    this.fs = fs;
    this.root = root;
    this.flags = flags & MOUNT_FLAGS;
    fs.mounts++;
    pin(root);
  }

  /** A detached mount of the whole file system. */
  static of(fs: Filesystem, flags: number): Mount {
    return new Mount(fs, rootDentry(fs), flags);
  }

  get readOnly(): boolean {
    return (this.flags & MS_RDONLY) !== 0;
  }

  /** What is mounted at a dentry of this mount. */
  childAt(dentry: Dentry): Mount | undefined {
    return dentry.mountCount === 0 ? undefined : this.children.get(dentry);
  }

  /** Puts this detached mount on a place that has none. */
  attach(parent: Mount, mountpoint: Dentry): void {
    this.parent = parent;
    this.mountpoint = mountpoint;
    parent.children.set(mountpoint, this);
    mountpoint.mountCount++;
    this.join(parent.namespace);
  }

  /** Takes this mount, and with it what is below, from its parent. */
  detach(): void {
    if (this.parent === null) return;
    this.parent.children.delete(this.mountpoint!);
    this.mountpoint!.mountCount--;
    this.parent = null;
    this.mountpoint = null;
  }

  /** Counts the whole tree as part of a namespace, or of none. */
  join(namespace: MountNamespace | null): void {
    for (const m of this.tree()) {
      if (m.namespace === namespace) continue;
      m.namespace?.mounts.delete(m);
      namespace?.mounts.add(m);
      m.namespace = namespace;
    }
  }

  /** This mount and all below it, parents first. Mounts can be nested deeper than our stack is. */
  tree(): Mount[] {
    const out: Mount[] = [this];
    for (let i = 0; i < out.length; i++) for (const child of out[i]!.children.values()) out.push(child);
    return out;
  }

  isUnder(ancestor: Mount): boolean {
    for (let m: Mount | null = this; m !== null; m = m.parent) if (m === ancestor) return true;
    return false;
  }

  // ---- propagation types

  makeShared(): void {
    this.unbindable = false;
    if (this.peers !== null) return;
    this.peers = new PeerGroup();
    this.peers.members.add(this);
  }

  /** Leaves its groups: neither sends nor receives. */
  makePrivate(): void {
    this.leaveGroup(false);
    this.setMaster(null);
    this.unbindable = false;
  }

  /** Becomes a slave of its former peers, if it had any: do_make_slave(). */
  makeSlave(): void {
    this.unbindable = false;
    this.leaveGroup(true);
  }

  makeUnbindable(): void {
    this.makePrivate();
    this.unbindable = true;
  }

  setMaster(master: PeerGroup | null): void {
    this.master?.slaves.delete(this);
    this.master = master;
    master?.slaves.add(this);
  }

  /** Becomes a peer of `other`, which is shared. */
  joinPeers(other: Mount): void {
    this.peers = other.peers;
    this.peers!.members.add(this);
  }

  private leaveGroup(becomeSlave: boolean): void {
    const group = this.peers;
    if (group === null) return;
    group.members.delete(this);
    this.peers = null;
    if (group.members.size > 0) {
      if (becomeSlave) this.setMaster(group);
      return;
    }
    // The last member takes the group's slaves along: they follow its own master now.
    for (const slave of [...group.slaves]) slave.setMaster(this.master);
  }

  /** The flag words of mountinfo's sixth field. */
  optionText(): string {
    let text = this.readOnly ? 'ro' : 'rw';
    if ((this.flags & MS_NOSUID) !== 0) text += ',nosuid';
    if ((this.flags & MS_NODEV) !== 0) text += ',nodev';
    if ((this.flags & MS_NOEXEC) !== 0) text += ',noexec';
    if ((this.flags & MS_NOATIME) !== 0) text += ',noatime';
    if ((this.flags & MS_NODIRATIME) !== 0) text += ',nodiratime';
    if ((this.flags & MS_RELATIME) !== 0) text += ',relatime';
    if ((this.flags & MS_NOSYMFOLLOW) !== 0) text += ',nosymfollow';
    return text;
  }
}

/** struct mnt_namespace. */
export class MountNamespace {
  readonly id: number = nextNamespaceId++;
  readonly userns: UserNamespace;
  /** The mount that has no parent; pivot_root(2) changes it. */
  root: Mount;
  /** All mounts, oldest first: the order of mountinfo. */
  readonly mounts: Set<Mount> = new Set();
  /** /proc/[pid]/mounts polls as POLLERR | POLLPRI after a change. */
  readonly waiters: WaitQueue = new WaitQueue();
  /** Grows with every change. */
  generation = 1;
  refs = 1;

  constructor(userns: UserNamespace, root: Mount) {
    this.userns = userns;
    this.root = root;
    root.join(this);
  }

  changed(): void {
    this.generation++;
    this.waiters.notify(POLLERR | POLLPRI);
  }

  /** The topmost root: what lies over the namespace's root directory. */
  rootPath(): VfsPath {
    let mount = this.root;
    for (let over = mount.childAt(mount.root); over !== undefined; over = mount.childAt(mount.root)) mount = over;
    return { mount, dentry: mount.root };
  }
}

/** How copyTree treats what it meets. */
export interface CopyOptions {
  /** Only the mount itself, not what is mounted below. */
  single?: boolean;
  /** For a new namespace: unbindable mounts are copied too. */
  copyUnbindable?: boolean;
  /** Copies of shared mounts become slaves: another user namespace. */
  sharedToSlave?: boolean;
  /** Copies are locked: they go to a less privileged namespace. */
  lock?: boolean;
  /** Filled with original → copy. */
  copies?: Map<Mount, Mount>;
}

/** A detached copy of a mount with its root at `root`: clone_mnt(). Copies of shared mounts are peers. */
export function copyMount(m: Mount, root: Dentry, options: CopyOptions): Mount {
  const copy = new Mount(m.fs, root, m.flags);
  copy.lockedFlags = m.lockedFlags;
  if (options.sharedToSlave === true && m.peers !== null) copy.setMaster(m.peers);
  else {
    if (m.peers !== null) copy.joinPeers(m);
    if (m.master !== null) copy.setMaster(m.master);
  }
  copy.unbindable = options.copyUnbindable === true && m.unbindable;
  if (options.lock === true) {
    copy.lockedFlags |= m.flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
    copy.lockedFlags |= MS_NOATIME | MS_NODIRATIME | MS_RELATIME;
  }
  options.copies?.set(m, copy);
  return copy;
}

/** A detached copy of what is mounted at `root` of `m` and, unless single, below it: copy_tree(). */
export function copyTree(m: Mount, root: Dentry, options: CopyOptions): Mount {
  const top = copyMount(m, root, options);
  if (options.single === true) return top;
  const from = [m];
  const to = [top];
  for (let i = 0; i < from.length; i++) {
    const shown = i === 0 ? root : from[i]!.root;
    for (const [point, child] of from[i]!.children) {
      if (!point.isUnder(shown)) continue;
      if (child.unbindable && options.copyUnbindable !== true) continue;
      const copy = copyMount(child, child.root, options);
      if (options.lock === true || child.locked) copy.locked = true;
      copy.attach(to[i]!, point);
      from.push(child);
      to.push(copy);
    }
  }
  return top;
}

/** Gives back a detached mount tree: groups are left, file systems without a mount end. */
export function discardTree(top: Mount): void {
  for (const m of top.tree().reverse()) {
    m.detach();
    m.join(null);
    m.makePrivate();
    unpin(m.root);
    if (--m.fs.mounts === 0) m.fs.release();
  }
}

/** Everyone who receives what happens below `m`, `m` excluded, masters before slaves: propagation_next(). */
function receivers(m: Mount): Receiver[] {
  const out: Receiver[] = [];
  if (m.peers === null) return out;
  const groups: PeerGroup[] = [m.peers];
  const masters: (PeerGroup | null)[] = [null];
  const seen = new Set<PeerGroup>(groups);
  for (let i = 0; i < groups.length; i++) {
    const group = groups[i]!;
    const from = masters[i]!;
    for (const peer of group.members) if (peer !== m) out.push({ mount: peer, from, slave: from !== null });
    for (const slave of group.slaves) {
      if (slave.peers === null) out.push({ mount: slave, from: group, slave: true });
      else if (!seen.has(slave.peers)) {
        seen.add(slave.peers);
        groups.push(slave.peers);
        masters.push(group);
      }
    }
  }
  return out;
}

/** How many copies a mount below `m` would make, itself included: count_mounts(). */
export function copiesBelow(m: Mount): number {
  return 1 + receivers(m).length;
}

interface Receiver {
  mount: Mount;
  /** The receiver whose copy this one's copy is a slave of; null for peers of the origin and their direct slaves. */
  from: PeerGroup | null;
  slave: boolean;
}

/**
 * Puts a detached tree on top of what `mountpoint` of `parent` shows, and copies of it below all
 * receivers: attach_recursive_mnt(). The caller has followed mounts, so the place is free.
 */
export function attachTree(top: Mount, parent: Mount, mountpoint: Dentry): void {
  if (parent.peers !== null) {
    for (const m of top.tree()) m.makeShared();
    propagate(top, parent, mountpoint);
  }
  top.attach(parent, mountpoint);
  parent.namespace?.changed();
}

function propagate(top: Mount, parent: Mount, mountpoint: Dentry): void {
  // By group of receivers: the copy that the group's further members are peers of.
  const copyOfGroup = new Map<PeerGroup, Mount>();
  copyOfGroup.set(parent.peers!, top);
  for (const r of receivers(parent)) {
    const m = r.mount;
    if (m.namespace === null || !mountpoint.isUnder(m.root)) continue;
    let source = top;
    let copy: Mount;
    if (!r.slave) copy = copyTree(top, top.root, { copyUnbindable: true });
    else {
      const peersCopy = m.peers === null ? undefined : copyOfGroup.get(m.peers);
      if (peersCopy !== undefined) copy = copyTree(peersCopy, peersCopy.root, { copyUnbindable: true });
      else {
        source = copyOfGroup.get(r.from!) ?? top;
        copy = copyTree(source, source.root, { copyUnbindable: true, sharedToSlave: true });
        if (m.peers !== null) {
          for (const c of copy.tree()) c.makeShared();
          copyOfGroup.set(m.peers, copy);
        }
      }
    }
    const lock = m.namespace.userns !== parent.namespace?.userns;
    if (lock) for (const c of copy.tree()) if (c !== copy) c.locked = true;
    // What already sits there stays visible: the copy slips below it.
    const over = m.childAt(mountpoint);
    if (over !== undefined) {
      over.detach();
      copy.attach(m, mountpoint);
      over.attach(copy, copy.root);
    } else copy.attach(m, mountpoint);
    m.namespace.changed();
  }
}

/** Mounts that would go with an unmount of `m` by propagation, `m` excluded: propagate_umount(). */
export function propagatedUmounts(m: Mount): Mount[] {
  const out: Mount[] = [];
  const parent = m.parent;
  if (parent === null) return out;
  for (const r of receivers(parent)) {
    const child = r.mount.childAt(m.mountpoint!);
    if (child !== undefined && child.root === m.root && child.fs === m.fs && !child.locked) out.push(child);
  }
  return out;
}

/** Unmounts a tree and what propagation takes along: umount_tree(). Open files keep working on the detached mounts. */
export function umountTree(top: Mount, propagateAlso: boolean): void {
  const namespaces = new Set<MountNamespace>();
  if (top.namespace !== null) namespaces.add(top.namespace);
  const gone: Mount[] = [top];
  if (propagateAlso) {
    // Deepest first, so that a copy has lost its children when its own turn comes.
    for (const m of top.tree().reverse()) {
      for (const copy of propagatedUmounts(m)) {
        if (copy.isUnder(top) || copy.namespace === null) continue;
        namespaces.add(copy.namespace);
        const over = copy.childAt(copy.root);
        if (copy.children.size > (over === undefined ? 0 : 1)) continue;
        const place = copy.parent!;
        const point = copy.mountpoint!;
        copy.detach();
        if (over !== undefined) {
          over.detach();
          over.attach(place, point);
        }
        copy.join(null);
        gone.push(copy);
      }
    }
  }
  top.detach();
  for (const m of gone) discardTree(m);
  for (const ns of namespaces) ns.changed();
}

/** A copy of a namespace for CLONE_NEWNS: copy_mnt_ns(). `copies` tells where each mount went, for root and cwd. */
export function copyNamespace(ns: MountNamespace, userns: UserNamespace, copies: Map<Mount, Mount>): MountNamespace {
  const foreign = ns.userns !== userns;
  const root = copyTree(ns.root, ns.root.root, { copyUnbindable: true, sharedToSlave: foreign, lock: foreign, copies });
  return new MountNamespace(userns, root);
}

/** Drops a reference; the last one ends all mounts of the namespace. */
export function releaseNamespace(ns: MountNamespace): void {
  if (--ns.refs > 0) return;
  umountTree(ns.root, false);
}
