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
import type { MountIdmap } from './mount-idmap.ts';

/** The flags that belong to a mount rather than to its file system. */
export const MOUNT_FLAGS = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_NOSYMFOLLOW;

let nextMountId = 1;
/** What statx and listmount call unique ids are the others, beyond this: fs/namespace.c:MNT_UNIQUE_ID_OFFSET. */
export const firstUniqueMountId = 2 ** 31;
let nextNamespaceId = 1;

/** Numbers of peer groups: the smallest free one is given out, as mnt_group_ida does. */
const groupIds = new Set<number>();
let lowestFreeGroupId = 1;

function takeGroupId(): number {
  let id = lowestFreeGroupId;
  while (groupIds.has(id)) id++;
  lowestFreeGroupId = id + 1;
  groupIds.add(id);
  return id;
}

/** Mounts that see each other's changes; what mountinfo prints as shared:N. */
export class PeerGroup {
  readonly id: number = takeGroupId();
  readonly members: Set<Mount> = new Set();
  /** Mounts that receive from the group and send nothing back. */
  readonly slaves: Set<Mount> = new Set();

  /** The last member has left. */
  dissolve(): void {
    groupIds.delete(this.id);
    lowestFreeGroupId = Math.min(lowestFreeGroupId, this.id);
  }
}

/** All mounts by mount point, of all namespaces. */
const mountsAt = new Map<Dentry, Set<Mount>>();

/** Whether something is mounted on the dentry in this namespace: is_local_mountpoint(). */
export function isMountpointIn(ns: MountNamespace, d: Dentry): boolean {
  if (d.mountCount === 0) return false;
  for (const m of mountsAt.get(d)!) if (m.namespace === ns) return true;
  return false;
}

/** A mount point has lost its name: what other namespaces have mounted there goes. __detach_mounts(). */
export function detachMounts(d: Dentry): void {
  if (d.mountCount === 0) return;
  for (const m of [...(mountsAt.get(d) ?? [])]) if (m.parent !== null) umountTree(m, false);
}

export class Mount {
  readonly id: number = nextMountId++;
  readonly fs: Filesystem;
  readonly root: Dentry;
  /** As mountinfo prints it: mnt_devname. */
  readonly source: string;
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
  /** mount_setattr(2)'s MOUNT_ATTR_IDMAP. */
  idmap: MountIdmap | null = null;
  /** Came from a more privileged namespace together with its parent: may not be unmounted alone. MNT_LOCKED. */
  locked = false;
  /** Flags that may not be cleared: MNT_LOCK_*. */
  lockedFlags = 0;
  /** Open descriptions: what makes an unmount EBUSY. */
  opens = 0;
  /** Descriptions open for writing: a remount to read-only must wait for them. */
  writers = 0;
  /** The top of a tree that open_tree(2) or fsmount(2) has made and nobody has attached: it may be copied and moved. is_anon_ns(). */
  anonymous = false;
  /** In no namespace any more, but files are open on it: its file system ends with the last of them. */
  private lingers = false;
  /** The kernel's own, mounted nowhere: memory files, queues. MNT_INTERNAL. */
  internal = false;
  /** umount2(MNT_EXPIRE) has been here and nothing has used it since. */
  expiryMark = false;

  constructor(fs: Filesystem, root: Dentry, flags: number, source: string = fs.source) {
    this.source = source;
    this.fs = fs;
    this.root = root;
    this.flags = flags & MOUNT_FLAGS;
    fs.mounts++;
    pin(root);
  }

  /** A detached mount of the whole file system. */
  static of(fs: Filesystem, flags: number, source?: string): Mount {
    return new Mount(fs, rootDentry(fs), flags, source);
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
    let here = mountsAt.get(mountpoint);
    if (here === undefined) {
      here = new Set();
      mountsAt.set(mountpoint, here);
    }
    here.add(this);
    // Mounts of one tree are of one namespace: what is only moved within it needs no look at all that is below.
    if (this.namespace !== parent.namespace) this.join(parent.namespace);
  }

  /** Takes this mount, and with it what is below, from its parent. */
  detach(): void {
    if (this.parent === null) return;
    const mountpoint = this.mountpoint!;
    this.parent.children.delete(mountpoint);
    const here = mountsAt.get(mountpoint)!;
    here.delete(this);
    if (here.size === 0) mountsAt.delete(mountpoint);
    mountpoint.mountCount--;
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

  /** In no namespace any more: the file system loses a mount now, or when the last open file is closed. */
  end(): void {
    unpin(this.root);
    if (this.opens > 0) this.lingers = true;
    else if (--this.fs.mounts === 0) this.fs.release();
  }

  /** The last description on a mount that is in no namespace any more: what has stayed connected to it goes, and the mount itself. */
  closed(): void {
    if (this.lingers) {
      this.lingers = false;
      if (--this.fs.mounts === 0) this.fs.release();
    }
    for (const m of [...this.children.values()]) {
      if (m.namespace !== null) continue;
      m.detach();
      if (m.opens === 0) m.closed();
    }
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

  /** Becomes a slave of its former peers, if it had any: do_make_slave(). What is unbindable stays so: change_mnt_propagation(). */
  makeSlave(): void {
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
    group.dissolve();
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
    if (this.idmap !== null) text += ',idmapped';
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
  const copy = new Mount(m.fs, root, m.flags, m.source);
  copy.lockedFlags = m.lockedFlags;
  copy.idmap = m.idmap;
  if (options.sharedToSlave === true && m.peers !== null) copy.setMaster(m.peers);
  else {
    if (m.peers !== null) copy.joinPeers(m);
    if (m.master !== null) copy.setMaster(m.master);
  }
  copy.unbindable = options.copyUnbindable === true && m.unbindable;
  if (options.lock === true) lockFlags(copy);
  options.copies?.set(m, copy);
  return copy;
}

/** What restricts a mount of a more privileged namespace must stay: MNT_LOCK_*. */
function lockFlags(m: Mount): void {
  m.lockedFlags |= m.flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC);
  m.lockedFlags |= MS_NOATIME | MS_NODIRATIME | MS_RELATIME;
}

/** A tree that goes to a less privileged namespace comes and goes as one: lock_mnt_tree(). */
function lockTree(top: Mount): void {
  for (const m of top.tree()) {
    lockFlags(m);
    if (m !== top) m.locked = true;
  }
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
    m.join(null);
    // What is locked to a parent goes on hiding what it lies over, for who still has files open there: disconnect_mount().
    if (m === top || !m.locked || m.parent!.opens === 0) m.detach();
    m.makePrivate();
    m.end();
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

/** The receivers of `parent` that show `mountpoint`: where copies of what is mounted there go. propagate_one(). */
function showing(parent: Mount, mountpoint: Dentry): Receiver[] {
  // Trees that are not attached (also the very one that is being mounted) receive nothing: IS_MNT_NEW().
  return receivers(parent).filter((r) => r.mount.namespace !== null && mountpoint.isUnder(r.mount.root));
}

/**
 * Whether no namespace would hold more than `max` mounts with a tree of `size` at this place and its copies elsewhere;
 * `isNew` is false for a tree that the namespace of `parent` holds already. count_mounts().
 */
export function fitsNamespaces(parent: Mount, mountpoint: Dentry, size: number, isNew: boolean, max: number): boolean {
  const added = new Map<MountNamespace, number>();
  const ns = parent.namespace;
  if (ns !== null && isNew) added.set(ns, size);
  if (parent.peers !== null) {
    for (const { mount } of showing(parent, mountpoint)) added.set(mount.namespace!, (added.get(mount.namespace!) ?? 0) + size);
  }
  for (const [one, n] of added) if (one.mounts.size + n > max) return false;
  return true;
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
  const targets = showing(parent, mountpoint);
  const copies: Mount[] = [];
  // All copies are made before the first is attached: one that has slipped below another mount would be copied with it.
  for (const r of targets) {
    const m = r.mount;
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
    if (m.namespace!.userns !== parent.namespace?.userns) lockTree(copy);
    copies.push(copy);
  }
  const changed = new Set<MountNamespace>();
  for (const [i, { mount: m }] of targets.entries()) {
    const copy = copies[i]!;
    // What already sits there stays visible: the copy slips below it.
    const over = m.childAt(mountpoint);
    if (over !== undefined) {
      over.detach();
      copy.attach(m, mountpoint);
      // The copy may have something over its own root.
      let top = copy;
      for (let next = overmount(top); next !== undefined; next = overmount(top)) top = next;
      over.attach(top, top.root);
    } else copy.attach(m, mountpoint);
    changed.add(m.namespace!);
  }
  for (const ns of changed) ns.changed();
}

/** Puts a detached tree between `over` and what that is mounted on: mnt_set_mountpoint_beneath(). */
export function attachBeneath(top: Mount, over: Mount): void {
  const parent = over.parent!;
  const mountpoint = over.mountpoint!;
  over.detach();
  attachTree(top, parent, mountpoint);
  over.attach(top, top.root);
}

/**
 * Whether what is mounted at `mountpoint` of `parent` would come to lie over `m` too, because `m` receives from `parent` and
 * shows the mount point as its root: propagation_would_overmount().
 */
export function wouldOvermount(parent: Mount, m: Mount, mountpoint: Dentry): boolean {
  return m.root === mountpoint && receivers(parent).some((r) => r.mount === m);
}

/** Whether a copy of this mount, which would go with it, is in use: propagate_mount_busy(). Copies with mounts of their own stay, so they do not count. */
export function copiesBusy(m: Mount, isBusy: (m: Mount) => boolean): boolean {
  const { parent, mountpoint } = m;
  if (parent === null || parent.peers === null) return false;
  return showing(parent, mountpoint!).some((r) => {
    const copy = r.mount.childAt(mountpoint!);
    return copy !== undefined && copy.children.size === 0 && isBusy(copy);
  });
}

/** What lies over the root of a mount. */
function overmount(m: Mount): Mount | undefined {
  return m.childAt(m.root);
}

/**
 * The mounts that go along when all of `doomed` goes: what is mounted at the same places of the receivers, unless that
 * has children of its own, or is locked to a parent that stays. propagate_umount().
 */
function followers(doomed: Set<Mount>): Set<Mount> {
  const found = new Set<Mount>();
  const asked = new Map<PeerGroup, Set<Dentry>>();
  for (const m of doomed) {
    const group = m.parent?.peers ?? null;
    if (group === null) continue;
    const point = m.mountpoint!;
    let points = asked.get(group);
    if (points === undefined) {
      points = new Set();
      asked.set(group, points);
    }
    // All members of a group have the same receivers.
    if (points.has(point)) continue;
    points.add(point);
    for (const r of receivers(m.parent!)) {
      const child = r.mount.namespace === null ? undefined : r.mount.childAt(point);
      if (child !== undefined && !doomed.has(child)) found.add(child);
    }
  }
  const stays = (m: Mount) => !found.has(m) && !doomed.has(m);
  const keep = (m: Mount) => {
    for (let one: Mount | null = m; one !== null && found.delete(one); ) {
      // A mount over the root of its parent can be let down onto what the parent lies on.
      one = one.mountpoint === one.parent?.root ? null : one.parent;
    }
  };
  for (const m of [...found]) {
    for (const [point, child] of m.children) {
      if (!stays(child)) continue;
      if (point !== m.root) {
        keep(m);
        break;
      }
      // What lies over it stays, and must find a place: the first ancestor that it does not merely cover.
      let at = m;
      while (at.parent !== null && at.mountpoint === at.parent.root && found.has(at.parent)) at = at.parent;
      if (at.parent !== null && found.has(at.parent)) keep(at.parent);
    }
  }
  const locked = [...found].filter((m) => m.locked && stays(m.parent!));
  for (let m = locked.pop(); m !== undefined; m = locked.pop()) {
    if (!found.has(m)) continue;
    keep(m);
    for (const child of m.children.values()) if (child.locked) locked.push(child);
  }
  return found;
}

/** Unmounts a tree and what propagation takes along: umount_tree(). Open files keep working on the detached mounts. */
export function umountTree(top: Mount, propagateAlso: boolean): void {
  const namespaces = new Set<MountNamespace>();
  if (top.namespace !== null) namespaces.add(top.namespace);
  if (propagateAlso) {
    const doomed = new Set(top.tree());
    const gone = followers(doomed);
    // What lies over a mount that goes is let down: [what, new parent, its mount point].
    const lowered: [Mount, Mount, Dentry][] = [];
    for (const m of gone) {
      namespaces.add(m.namespace!);
      const over = overmount(m);
      if (over === undefined || gone.has(over) || doomed.has(over)) continue;
      let place = m;
      while (gone.has(place.parent!)) place = place.parent!;
      lowered.push([over, place.parent!, place.mountpoint!]);
    }
    for (const [over] of lowered) over.detach();
    for (const m of gone) m.detach();
    for (const m of gone) discardTree(m);
    for (const [over, place, point] of lowered) over.attach(place, point);
  }
  top.detach();
  discardTree(top);
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
