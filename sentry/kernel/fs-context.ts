import { pin, unpin } from '../vfs/dentry.ts';
import type { VfsPath } from '../vfs/filesystem.ts';
import { copyNamespace, type Mount, type MountNamespace, releaseNamespace } from '../vfs/mount.ts';
import type { UserNamespace } from './user-namespace.ts';

/** Root, working directory and umask: struct fs_struct; shared by CLONE_FS. */
export class FsContext {
  refs = 1;
  private rootPlace: VfsPath;
  private cwdPlace: VfsPath;
  umask = 0o022;
  mountNamespace: MountNamespace;

  /** Takes over a reference to the namespace. */
  constructor(root: VfsPath, cwd: VfsPath, mountNamespace: MountNamespace) {
    this.rootPlace = root;
    this.cwdPlace = cwd;
    this.mountNamespace = mountNamespace;
    pin(root.dentry);
    pin(cwd.dentry);
  }

  get root(): VfsPath {
    return this.rootPlace;
  }

  set root(place: VfsPath) {
    pin(place.dentry);
    unpin(this.rootPlace.dentry);
    this.rootPlace = place;
  }

  get cwd(): VfsPath {
    return this.cwdPlace;
  }

  set cwd(place: VfsPath) {
    pin(place.dentry);
    unpin(this.cwdPlace.dentry);
    this.cwdPlace = place;
  }

  clone(): FsContext {
    const c = new FsContext(this.root, this.cwd, this.mountNamespace);
    c.umask = this.umask;
    this.mountNamespace.refs++;
    return c;
  }

  /** A task that uses it is gone. */
  decRef(): void {
    if (--this.refs > 0) return;
    unpin(this.rootPlace.dentry);
    unpin(this.cwdPlace.dentry);
    releaseNamespace(this.mountNamespace);
  }

  /** CLONE_NEWNS: a copy of the mount tree, with root and working directory at the same places in it. */
  unshareMounts(userns: UserNamespace): void {
    const copies = new Map<Mount, Mount>();
    const ns = copyNamespace(this.mountNamespace, userns, copies);
    const old = this.mountNamespace;
    this.mountNamespace = ns;
    this.root = { mount: copies.get(this.root.mount) ?? this.root.mount, dentry: this.root.dentry };
    this.cwd = { mount: copies.get(this.cwd.mount) ?? this.cwd.mount, dentry: this.cwd.dentry };
    releaseNamespace(old);
  }

  /** setns: the root directory of another mount namespace becomes root and working directory. */
  enterMounts(ns: MountNamespace): void {
    const old = this.mountNamespace;
    ns.refs++;
    this.mountNamespace = ns;
    this.root = ns.rootPath();
    this.cwd = this.root;
    releaseNamespace(old);
  }
}
