// The container's mount tree: the root that the gofer serves, with an overlay in memory if writes are to stay here,
// and on it the mounts of the configuration, in their order. After runc's rootfs_linux.go: missing mount points are
// made, read-only paths and masked ones come last, and the root is made read-only at the very end.

import { makedev } from '../abi/device.ts';
import { EEXIST, ENODEV, ENOENT, errnoName } from '../abi/errno.ts';
import { O_RDONLY } from '../abi/fcntl.ts';
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE } from '../abi/mount.ts';
import { S_IALLUGO, S_IFREG } from '../abi/stat.ts';
import { warn } from '../base/log.ts';
import { checkErofsOptions, ErofsFilesystem } from '../fs/erofs/filesystem.ts';
import type { GoferClient } from '../fs/gofer/client.ts';
import { GoferFilesystem } from '../fs/gofer/filesystem.ts';
import { newOverlay } from '../fs/overlay.ts';
import { newTmpfs } from '../fs/tmpfs.ts';
import { parseTmpfsOptions } from '../fs/tmpfs-options.ts';
import { Credentials } from '../kernel/credentials.ts';
import { FsContext } from '../kernel/fs-context.ts';
import type { GuestContainer } from '../kernel/guest-container.ts';
import type { UserNamespace } from '../kernel/user-namespace.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';
import { chown } from '../vfs/attributes.ts';
import { KernelContext } from '../vfs/context.ts';
import { ATTR_MODE, type Filesystem, SetAttr, type VfsPath } from '../vfs/filesystem.ts';
import { attachTree, copyTree, Mount, MountNamespace } from '../vfs/mount.ts';
import { mountFlags } from '../vfs/mount-ops.ts';
import { LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import type { Vfs } from '../vfs/vfs.ts';
import type { ContainerConfig, DeviceConfig, MountConfig, TreeConfig } from './boot-config.ts';
import { copyTreeInto } from './copy-up.ts';

/** A step of the setup that did not work, in the user's words. */
export class SetupError extends Error {
  readonly errno: number;

  constructor(step: string, result: number) {
    super(`${step}: ${errnoName(-result)}`);
    this.errno = -result;
  }
}

function must<T>(step: string, result: T | number): T {
  if (typeof result === 'number' && result < 0) throw new SetupError(step, result);
  return result as T;
}

/** Makes the container's mount namespace; the answer is root's view of it, in its root directory. Throws what stands in the way, and leaves nothing then. */
export function setupVfs(
  vfs: Vfs,
  gofer: GoferClient,
  userns: UserNamespace,
  config: ContainerConfig,
  container: GuestContainer,
): KernelContext {
  const rootFs = treeFilesystem(gofer, config.root, 'the root file system');
  const rootMount = Mount.of(rootFs, mountFlags(0));
  const ns = new MountNamespace(userns, rootMount);
  const root = ns.rootPath();
  const ctx = new KernelContext(Credentials.root(userns), new FsContext(root, root, ns), container);
  ctx.fs.umask = 0;
  try {
    fill(vfs, ctx, gofer, config, rootMount);
  } catch (error) {
    ctx.fs.decRef();
    throw error;
  }
  return ctx;
}

function fill(vfs: Vfs, ctx: KernelContext, gofer: GoferClient, config: ContainerConfig, rootMount: Mount): void {
  const last: Mount[] = [];
  for (const mount of config.mounts) {
    const made = addMount(vfs, ctx, gofer, mount);
    if (mount.readOnlyAtLast === true && made !== undefined) last.push(made);
  }
  for (const made of last) made.flags |= MS_RDONLY;
  makeStandardDevices(vfs, ctx, config);
  for (const device of config.devices) makeDevice(vfs, ctx, device);
  for (const path of config.readonlyPaths) remountReadOnly(vfs, ctx, path);
  for (const path of config.maskedPaths) mask(vfs, ctx, path);
  propagate(rootMount, config.rootPropagation);
  if (config.root.readOnly) rootMount.flags |= MS_RDONLY;
}

/** A tree that the gofer serves, below an overlay where that is wanted. */
function treeFilesystem(gofer: GoferClient, tree: TreeConfig, what: string): Filesystem {
  const served = must(`attaching ${what}`, GoferFilesystem.attach(gofer, tree.tree, allocateAnonDev(), tree.shownAs));
  if (!tree.overlay || tree.isFile) return served;
  const upper = must(`making the overlay of ${what}`, newTmpfs());
  return must(`making the overlay of ${what}`, newOverlay([served], upper));
}

/** An image in a file of the host: the gofer's tree is that file, of which the guest sees nothing but what is in it. */
function imageFilesystem(vfs: Vfs, ctx: KernelContext, gofer: GoferClient, mount: MountConfig, what: string): Filesystem {
  const served = Mount.of(treeFilesystem(gofer, mount.tree!, mount.target), MS_RDONLY);
  must(what, checkErofsOptions(mount.data));
  const file = must(what, vfs.openPath(ctx, { mount: served, dentry: served.root }, O_RDONLY));
  return must(what, ErofsFilesystem.of(file));
}

/** Types that every config.json asks for: where there is no such file system yet, an empty folder is what it shows. */
const STAND_INS = ['mqueue', 'cgroup', 'cgroup2'];

function addMount(vfs: Vfs, ctx: KernelContext, gofer: GoferClient, mount: MountConfig): Mount | undefined {
  const what = `mounting ${mount.type} at ${mount.target}`;
  refuseLink(vfs, ctx, mount);
  // A folder that is made for it says nothing of how it is to be.
  const wasThere = typeof vfs.lookup(ctx, null, mount.target, LOOKUP_FOLLOW) !== 'number';
  const at = mountPoint(vfs, ctx, mount, what);
  if (mount.type === 'bind' && mount.tree === undefined) {
    // Inside the container: /dev/console, or a folder shown twice.
    const source = must(`${what}: ${mount.source}`, vfs.lookup(ctx, null, mount.source, LOOKUP_FOLLOW));
    const copy = copyTree(source.mount, source.dentry, { single: true });
    copy.flags |= mount.flags & MS_RDONLY;
    attachTree(copy, at.mount, at.dentry);
    return undefined;
  }
  let fs: Filesystem;
  if (mount.tree !== undefined && mount.type === 'erofs') fs = imageFilesystem(vfs, ctx, gofer, mount, what);
  else if (mount.tree !== undefined) fs = treeFilesystem(gofer, mount.tree, mount.target);
  else {
    const type = vfs.types.get(mount.type);
    if (type === undefined && STAND_INS.includes(mount.type)) fs = must(what, newTmpfs('mode=755', undefined, mount.type));
    else if (type === undefined) throw new SetupError(what, -ENODEV);
    else fs = must(what, type.mount(ctx, mount.source, mount.flags, wasThere ? dataFor(mount, at) : mount.data));
  }
  fs.source = mount.source;
  const made = Mount.of(fs, mountFlags(mount.flags));
  if (fs instanceof GoferFilesystem && mount.tree?.shownAs === 'tmpfs') {
    const options = parseTmpfsOptions(mount.data);
    if (typeof options !== 'number') fs.shownOptions = options.text();
    if (wasThere) takeMode(mount, at, made);
  }
  if (mount.copyUp === true && at.dentry.isDir()) {
    must(`${what}: copying what is there`, copyTreeInto(vfs, ctx, at, { mount: made, dentry: made.root }));
  }
  attachTree(made, at.mount, at.dentry);
  propagate(made, mount.propagation ?? 0);
  return made;
}

/** A tmpfs without a mode of its own has that of the folder it covers: runc's rootfs_linux.go. */
function dataFor(mount: MountConfig, at: VfsPath): string {
  const { inode } = at.dentry;
  if (mount.type !== 'tmpfs' || inode === null || /(^|,)mode=/.test(mount.data)) return mount.data;
  const mode = `mode=${(inode.mode & S_IALLUGO).toString(8)}`;
  return mount.data === '' ? mode : `${mount.data},${mode}`;
}

/** The same for a tmpfs that the host has made. */
function takeMode(mount: MountConfig, at: VfsPath, made: Mount): void {
  const { inode } = at.dentry;
  if (inode === null || /(^|,)mode=/.test(mount.data)) return;
  const attr = new SetAttr();
  attr.mask = ATTR_MODE;
  attr.mode = inode.mode & S_IALLUGO;
  must(`mounting tmpfs at ${mount.target}`, made.root.inode!.setattr(null, attr));
}

/** mount(2)'s propagation type, on one mount or with MS_REC on all below it. */
function propagate(mount: Mount, type: number): void {
  for (const m of (type & MS_REC) !== 0 ? mount.tree() : [mount]) {
    if ((type & MS_SHARED) !== 0) m.makeShared();
    else if ((type & MS_SLAVE) !== 0) m.makeSlave();
    else if ((type & MS_UNBINDABLE) !== 0) m.makeUnbindable();
  }
}

/** A link at the place of /proc or /sys would have them, and what masks parts of them, elsewhere: CVE-2019-19921. */
function refuseLink(vfs: Vfs, ctx: KernelContext, mount: MountConfig): void {
  if (mount.type !== 'proc' && mount.type !== 'sysfs') return;
  const at = vfs.lookup(ctx, null, mount.target, 0);
  if (typeof at !== 'number' && at.dentry.inode?.isSymlink() === true)
    throw new Error(`filesystem "${mount.type}" must be mounted on ordinary directory: ${mount.target} is a symbolic link`);
}

/** Where a mount goes: made if it is missing, a file for a file and else a directory. */
function mountPoint(vfs: Vfs, ctx: KernelContext, mount: MountConfig, what: string): VfsPath {
  const found = vfs.lookup(ctx, null, mount.target, LOOKUP_FOLLOW);
  if (typeof found !== 'number') return found;
  if (found !== -ENOENT) throw new SetupError(what, found);
  const parts = mount.target.split('/').filter((part) => part !== '');
  const isFile = mount.tree?.isFile === true;
  makeDirectories(vfs, ctx, isFile ? parts.slice(0, -1) : parts, what);
  if (isFile) must(what, vfs.mknodAt(ctx, null, mount.target, S_IFREG | 0o644, 0));
  return must(what, vfs.lookup(ctx, null, mount.target, LOOKUP_FOLLOW));
}

function makeDirectories(vfs: Vfs, ctx: KernelContext, parts: readonly string[], what: string): void {
  let path = '';
  for (const part of parts) {
    path += `/${part}`;
    const result = vfs.mkdirAt(ctx, null, path, 0o755);
    if (result < 0 && result !== -EEXIST) throw new SetupError(`${what}: making ${path}`, result);
  }
}

// The links that the runtime specification promises (config-linux.md, "Dev symbolic links").
const devLinks: readonly (readonly [string, string])[] = [
  ['/dev/fd', '/proc/self/fd'],
  ['/dev/stdin', '/proc/self/fd/0'],
  ['/dev/stdout', '/proc/self/fd/1'],
  ['/dev/stderr', '/proc/self/fd/2'],
  ['/dev/ptmx', 'pts/ptmx'],
];

const standardDevices: readonly (readonly [string, number, number])[] = [
  ['null', 1, 3],
  ['zero', 1, 5],
  ['full', 1, 7],
  ['random', 1, 8],
  ['urandom', 1, 9],
  ['tty', 5, 0],
];

/** What every container finds in /dev; a devtmpfs or the image may have it already. */
function makeStandardDevices(vfs: Vfs, ctx: KernelContext, config: ContainerConfig): void {
  // Without a mount at /dev it is the image's own folder, which is left alone.
  if (!config.mounts.some((m) => m.target === '/dev')) return;
  for (const [name, major, minor] of standardDevices) {
    makeDevice(vfs, ctx, { path: `/dev/${name}`, mode: 0o020666, major, minor, uid: 0, gid: 0 });
  }
  if (config.process.terminal) makeDevice(vfs, ctx, { path: '/dev/console', mode: 0o020620, major: 5, minor: 1, uid: 0, gid: 0 });
  for (const [path, target] of devLinks) ignoreExisting(path, vfs.symlinkAt(ctx, target, null, path));
}

function makeDevice(vfs: Vfs, ctx: KernelContext, device: DeviceConfig): void {
  const slash = device.path.lastIndexOf('/');
  makeDirectories(
    vfs,
    ctx,
    device.path
      .slice(0, slash)
      .split('/')
      .filter((p) => p !== ''),
    `making ${device.path}`,
  );
  const made = vfs.mknodAt(ctx, null, device.path, device.mode, makedev(device.major, device.minor));
  ignoreExisting(device.path, made);
  if (made < 0 || (device.uid === 0 && device.gid === 0)) return;
  const at = vfs.lookup(ctx, null, device.path, 0);
  if (typeof at !== 'number') chown(null, ctx.creds, at.mount, at.dentry.inode!, at.dentry, device.uid, device.gid);
}

function ignoreExisting(path: string, result: number): void {
  if (result < 0 && result !== -EEXIST) warn(`${path} cannot be made: ${errnoName(-result)}`);
}

/** linux.readonlyPaths: bound onto itself, read-only. What does not exist needs no protection. */
function remountReadOnly(vfs: Vfs, ctx: KernelContext, path: string): void {
  const at = vfs.lookup(ctx, null, path, LOOKUP_FOLLOW);
  if (typeof at === 'number') return;
  const copy = copyTree(at.mount, at.dentry, {});
  for (const m of copy.tree()) m.flags |= MS_RDONLY;
  attachTree(copy, at.mount, at.dentry);
}

/** linux.maskedPaths: a directory lies under an empty read-only one, a file under /dev/null. */
function mask(vfs: Vfs, ctx: KernelContext, path: string): void {
  const at = vfs.lookup(ctx, null, path, LOOKUP_FOLLOW);
  if (typeof at === 'number') return;
  if (at.dentry.isDir()) {
    const empty = must(`masking ${path}`, newTmpfs('size=0'));
    attachTree(Mount.of(empty, MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC), at.mount, at.dentry);
    return;
  }
  const devNull = vfs.lookup(ctx, null, '/dev/null', 0);
  if (typeof devNull === 'number') return;
  attachTree(copyTree(devNull.mount, devNull.dentry, { single: true }), at.mount, at.dentry);
}
