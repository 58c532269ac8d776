import type { VfsPath } from '../vfs/filesystem.ts';
import type { MountNamespace } from '../vfs/mount.ts';

/** Root, working directory and umask: struct fs_struct; shared by CLONE_FS. */
export class FsContext {
  refs = 1;
  root: VfsPath;
  cwd: VfsPath;
  umask = 0o022;
  mountNamespace: MountNamespace;

  constructor(root: VfsPath, cwd: VfsPath, mountNamespace: MountNamespace) {
    this.root = root;
    this.cwd = cwd;
    this.mountNamespace = mountNamespace;
  }

  clone(): FsContext {
    const c = new FsContext(this.root, this.cwd, this.mountNamespace);
    c.umask = this.umask;
    return c;
  }
}
