// Descriptors of the new mount API: a detached mount tree (open_tree(2), fsmount(2)) and a file
// system being configured (fsopen(2), fspick(2)).

import { EBUSY, EINVAL, ENODATA } from '../abi/errno.ts';
import { O_PATH, O_RDWR } from '../abi/fcntl.ts';
import type { Task } from '../kernel/task.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { Filesystem, Inode, VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { discardTree, type Mount } from '../vfs/mount.ts';
import { PathFile } from '../vfs/path-file.ts';
import type { FilesystemType } from '../vfs/vfs.ts';
import { anonInode } from './anon.ts';

/** Holds a detached tree; what has not been attached by the last close is dissolved. */
export class DetachedMountFile extends PathFile {
  constructor(top: Mount) {
    super({ mount: top, dentry: top.root }, O_PATH);
    top.opens++;
    top.anonymous = true;
  }

  protected override release(_t: Task | null): void {
    const top = this.path!.mount;
    top.opens--;
    if (top.parent === null && top.namespace === null) discardTree(top);
  }
}

/** struct fs_context behind fsopen's descriptor. */
export class FsContextFile extends FileDescription {
  readonly type: FilesystemType | null;
  /** fspick(2): the place whose file system is reconfigured. */
  readonly picked: VfsPath | null;
  source = '';
  readOnly = false;
  private readonly parameters: string[] = [];
  /** Made by FSCONFIG_CMD_CREATE, taken by fsmount(2). */
  created: Filesystem | null = null;
  private done = false;

  constructor(type: FilesystemType | null, picked: VfsPath | null) {
    super(O_RDWR, undefined);
    this.type = type;
    this.picked = picked;
    this.readOnly = picked?.mount.fs.readOnly ?? false;
  }

  override inode(): Inode {
    return anonInode;
  }

  override linkText(): string {
    return 'anon_inode:[fscontext]';
  }

  /** The log of messages, which is always empty: fs/fsopen.c:fscontext_read(). */
  override read(_t: Task, _io: IoBuffer): number {
    return -ENODATA;
  }

  /** FSCONFIG_SET_FLAG and FSCONFIG_SET_STRING; value null for a flag. */
  set(key: string, value: string | null): number {
    if (this.done || this.created !== null) return -EBUSY;
    if (value === null && (key === 'ro' || key === 'rw')) this.readOnly = key === 'ro';
    else if (key === 'source') {
      if (value === null || this.source !== '') return -EINVAL;
      this.source = value;
    } else this.parameters.push(value === null ? key : `${key}=${value}`);
    return 0;
  }

  /** The parameters as mount(2)'s data. */
  get options(): string {
    return this.parameters.join(',');
  }

  /** The created file system, once. */
  take(): Filesystem | null {
    const fs = this.created;
    this.created = null;
    if (fs !== null) this.done = true;
    return fs;
  }

  protected override release(_t: Task | null): void {
    if (this.created !== null && this.created.mounts === 0) this.created.release();
  }
}
