// Namespaces as files: fs/nsfs.c. /proc/[pid]/ns/* lead here; a bind mount or an open descriptor
// keeps the namespace, setns(2) enters it.

import { EINVAL, EPERM, ESRCH } from '../abi/errno.ts';
import {
  NS_GET_MNTNS_ID,
  NS_GET_NSTYPE,
  NS_GET_OWNER_UID,
  NS_GET_PARENT,
  NS_GET_PID_FROM_PIDNS,
  NS_GET_PID_IN_PIDNS,
  NS_GET_TGID_FROM_PIDNS,
  NS_GET_TGID_IN_PIDNS,
  NS_GET_USERNS,
} from '../abi/ioctl.ts';
import {
  CLONE_NEWCGROUP,
  CLONE_NEWIPC,
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWTIME,
  CLONE_NEWUSER,
  CLONE_NEWUTS,
} from '../abi/sched.ts';
import { NSFS_MAGIC, S_IFREG } from '../abi/stat.ts';
import type { Namespace } from '../kernel/namespace.ts';
import type { NetNamespace } from '../kernel/namespaces.ts';
import type { PidNamespace } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';
import { detachedDentry } from '../vfs/dentry.ts';
import { FileDescription } from '../vfs/file-description.ts';
import { Filesystem, Inode, type VfsPath } from '../vfs/filesystem.ts';
import { Mount, type MountNamespace } from '../vfs/mount.ts';
import { touchBorn } from '../vfs/times.ts';

/** fs/proc/generic.c:PROC_INIT_INO and its neighbours, for what has no number of its own. */
const MNT_INO_BASE = 0xf8000000;

/** CLONE_NEW* of each kind. */
const TYPE_OF_KIND: Record<string, number> = {
  mnt: CLONE_NEWNS,
  cgroup: CLONE_NEWCGROUP,
  uts: CLONE_NEWUTS,
  ipc: CLONE_NEWIPC,
  user: CLONE_NEWUSER,
  pid: CLONE_NEWPID,
  net: CLONE_NEWNET,
  time: CLONE_NEWTIME,
};

class NsFilesystem extends Filesystem {
  private readonly rootInode: NsInode;

  constructor() {
    super('nsfs', allocateAnonDev(), NSFS_MAGIC);
    this.rootInode = new NsInode(this, { kind: 'user', ino: 1, userns: null });
  }

  override root(): Inode {
    return this.rootInode;
  }
}

/** A namespace as a file. */
export class NsInode extends Inode {
  readonly namespace: Namespace;

  constructor(fs: Filesystem, namespace: Namespace) {
    super(fs, namespace.ino, S_IFREG | 0o444);
    this.namespace = namespace;
    touchBorn(this);
  }

  override open(_t: Task | null, _path: VfsPath, flags: number): FileDescription | number {
    return new NsDescription(flags, this);
  }
}

/** What setns(2) looks for behind a descriptor. */
export class NsDescription extends FileDescription {
  private readonly node: NsInode;

  // Without a path: its text is linkText(), not a place in a tree.
  constructor(flags: number, node: NsInode) {
    super(flags, undefined);
    this.node = node;
    if (node.namespace.kind === 'net') (node.namespace as NetNamespace).opens++;
  }

  protected override release(_t: Task | null): void {
    if (this.node.namespace.kind === 'net') (this.node.namespace as NetNamespace).opens--;
  }

  get namespace(): Namespace {
    return this.node.namespace;
  }

  /** CLONE_NEW* of the namespace. */
  get nsType(): number {
    return TYPE_OF_KIND[this.node.namespace.kind]!;
  }

  override inode(): Inode {
    return this.node;
  }

  override linkText(): string {
    return nsText(this.node.namespace);
  }

  // ioctl_nsfs(2).
  override ioctl(t: Task, cmd: number, arg: number): number {
    const ns = this.node.namespace;
    switch (cmd) {
      case NS_GET_NSTYPE:
        return this.nsType;
      case NS_GET_USERNS:
        return openRelated(t, ns.userns);
      case NS_GET_PARENT:
        if (ns.kind === 'user') return openRelated(t, (ns as UserNamespace).parent);
        if (ns.kind === 'pid') return openRelated(t, (ns as PidNamespace).visibleParent);
        return -EINVAL;
      case NS_GET_OWNER_UID:
        if (ns.kind !== 'user') return -EINVAL;
        return t.mm.storeU32(arg, t.creds.userns.uidFromKernel((ns as UserNamespace).owner));
      case NS_GET_MNTNS_ID:
        if (ns.kind !== 'mnt') return -EINVAL;
        return t.mm.storeU64(arg, (ns as MntNamespace).mounts.id);
      case NS_GET_PID_FROM_PIDNS:
      case NS_GET_TGID_FROM_PIDNS:
        return ns.kind === 'pid' ? numberOf((ns as PidNamespace).task(arg), t.pidns, cmd === NS_GET_TGID_FROM_PIDNS) : -EINVAL;
      case NS_GET_PID_IN_PIDNS:
      case NS_GET_TGID_IN_PIDNS:
        return ns.kind === 'pid' ? numberOf(t.pidns.task(arg), ns as PidNamespace, cmd === NS_GET_TGID_IN_PIDNS) : -EINVAL;
      default:
        return super.ioctl(t, cmd, arg);
    }
  }
}

/** What a thread, or its process, is called in a pid namespace: -ESRCH if it is not seen from there. */
function numberOf(task: Task | undefined, ns: PidNamespace, ofProcess: boolean): number {
  if (task === undefined) return -ESRCH;
  const number = (ofProcess ? task.group.leader : task).pid.numberIn(ns);
  return number === 0 ? -ESRCH : number;
}

/** "The parent or owner must be visible from the caller's user namespace" - ioctl_nsfs(2). */
function openRelated(t: Task, ns: Namespace | null): number {
  if (ns === null) return -EPERM;
  if (ns.kind === 'user' && !isWithin(ns as UserNamespace, t.creds.userns)) return -EPERM;
  return openNamespace(t, ns);
}

/** A new descriptor of a namespace, closed on exec. */
export function openNamespace(t: Task, ns: Namespace): number {
  const fd = t.fds.reserve(t.fdLimit);
  if (fd < 0) return fd;
  t.fds.install(fd, new NsDescription(0, nsPath(ns).dentry.inode as NsInode), true);
  return fd;
}

function isWithin(ns: UserNamespace, top: UserNamespace): boolean {
  for (let at: UserNamespace | null = ns; at !== null; at = at.parent) if (at === top) return true;
  return false;
}

/** "net:[4026531840]". */
export function nsText(ns: Namespace): string {
  return `${ns.kind}:[${ns.ino}]`;
}

let nsfs: NsFilesystem | null = null;
const paths = new WeakMap<Namespace, VfsPath>();

/** The place of a namespace in nsfs: one inode as long as anybody holds it. */
export function nsPath(ns: Namespace): VfsPath {
  let path = paths.get(ns);
  if (path === undefined) {
    if (nsfs === null) nsfs = new NsFilesystem();
    const dentry = detachedDentry(nsfs, nsText(ns), new NsInode(nsfs, ns));
    // The root of its own mount is never shown as deleted.
    dentry.hashed = true;
    path = { mount: new Mount(nsfs, dentry, 0), dentry };
    path.mount.internal = true;
    paths.set(ns, path);
  }
  return path;
}

const mountNamespaces = new WeakMap<MountNamespace, MntNamespace>();

/** A mount namespace as a file: it is not a kernel/namespace.ts Namespace itself, since it belongs to the VFS. */
export class MntNamespace implements Namespace {
  readonly kind = 'mnt';
  readonly ino: number;
  readonly mounts: MountNamespace;

  private constructor(mounts: MountNamespace) {
    this.mounts = mounts;
    this.ino = MNT_INO_BASE + mounts.id;
  }

  get userns(): UserNamespace {
    return this.mounts.userns;
  }

  static of(mounts: MountNamespace): MntNamespace {
    let ns = mountNamespaces.get(mounts);
    if (ns === undefined) {
      ns = new MntNamespace(mounts);
      mountNamespaces.set(mounts, ns);
    }
    return ns;
  }
}
