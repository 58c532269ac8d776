// Copy-up: fs/overlayfs/copy_up.c. The twin is made with the lower object's attributes and
// contents; its directory keeps its times, as if nothing had happened there.
//
// A file with several lower names gets an unnamed twin instead, which the file system's index holds
// (and which counts that as a name): all its names lead to the one object, in the lower tree as before.

import { EIO, ENOSPC, ENXIO, EROFS } from '../abi/errno.ts';
import { O_DIRECTORY, O_RDONLY, O_RDWR, SEEK_DATA } from '../abi/fcntl.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Task } from '../kernel/task.ts';
import { BufferIo } from '../vfs/buffer-io.ts';
import { Dentry } from '../vfs/dentry.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import {
  ATTR_ATIME,
  ATTR_GID,
  ATTR_MODE,
  ATTR_MTIME,
  ATTR_SIZE,
  ATTR_UID,
  type Filesystem,
  type Inode,
  SetAttr,
  type VfsPath,
} from '../vfs/filesystem.ts';
import { Mount } from '../vfs/mount.ts';
import type { OverlayInode } from './overlay-inode.ts';

const BUFFER = 256 * 1024;
/** What a twin is made with, before it gets its owner: the file system asks for nothing else of its maker. */
export const maker = { fsuid: 0, fsgid: 0, inGroup: () => true } as unknown as Credentials;

/** Gives the object an upper inode if it has none, with the contents unless the caller drops them at once: 0 or -errno. */
export function copyUp(node: OverlayInode, withData: boolean): number {
  if (node.upper !== null) return 0;
  if (node.fs.readOnly) return -EROFS;
  node.beforeCopyUp();
  const lower = node.lowers[0]!;
  const isDir = (lower.mode & S_IFMT) === S_IFDIR;
  const manyNames = !isDir && lower.nlink > 1 && node.fs.ownsUpper;
  if (!isDir && (manyNames || node.nlink === 0 || node.dir === null)) return copyUnnamed(node, lower, manyNames, withData);

  const parent = node.dir!;
  const error = copyUp(parent, true);
  if (error < 0) return error;
  const upperDir = parent.upper!;
  const times = new SetAttr();
  keepTimes(upperDir, times);
  const twin = makeTwin(upperDir, node.name, lower);
  if (typeof twin === 'number') return twin;
  const failed = fill(twin, lower, withData);
  if (failed < 0) {
    if (isDir) upperDir.rmdir(node.name, twin);
    else upperDir.unlink(node.name, twin);
    twin.evict();
    upperDir.setattr(null, times);
    return failed;
  }
  upperDir.setattr(null, times);
  node.fs.copiedUp(node, twin, false);
  // Other names of the lower file keep showing that.
  if (!isDir && lower.nlink > 1) node.fs.forget(lower);
  node.upper = twin;
  node.mirror();
  return 0;
}

function copyUnnamed(node: OverlayInode, lower: Inode, manyNames: boolean, withData: boolean): number {
  if ((lower.mode & S_IFMT) !== S_IFREG) return copyUnnamedSpecial(node, lower, manyNames);
  const twin = upperRoot(node).tmpfile(maker, S_IFREG | 0o600);
  if (typeof twin === 'number') return twin;
  const failed = fill(twin, lower, withData);
  if (failed < 0) {
    twin.evict();
    return failed;
  }
  keepUnnamed(node, twin, manyNames);
  return 0;
}

/** A device, FIFO, socket or link with several names: made under a name of its own, which is taken away again. */
function copyUnnamedSpecial(node: OverlayInode, lower: Inode, manyNames: boolean): number {
  const dir = upperRoot(node);
  const times = new SetAttr();
  keepTimes(dir, times);
  const name = `#overlay-${node.ino}`;
  const twin = makeTwin(dir, name, lower);
  if (typeof twin === 'number') return twin;
  const failed = fill(twin, lower, false);
  dir.unlink(name, twin);
  dir.setattr(null, times);
  if (failed < 0) {
    twin.evict();
    return failed;
  }
  keepUnnamed(node, twin, manyNames);
  return 0;
}

function keepUnnamed(node: OverlayInode, twin: Inode, manyNames: boolean): void {
  if (manyNames && node.nlink > 0) twin.nlink++;
  node.fs.copiedUp(node, twin, manyNames && node.nlink > 0);
  node.upper = twin;
  node.mirror();
}

function upperRoot(node: OverlayInode): Inode {
  return (node.fs.root() as OverlayInode).upper!;
}

function keepTimes(inode: Inode, out: SetAttr): void {
  out.mask = ATTR_ATIME | ATTR_MTIME;
  out.atimeSec = inode.atimeSec;
  out.atimeNsec = inode.atimeNsec;
  out.mtimeSec = inode.mtimeSec;
  out.mtimeNsec = inode.mtimeNsec;
}

function makeTwin(dir: Inode, name: string, lower: Inode): Inode | number {
  const type = lower.mode & S_IFMT;
  if (type === S_IFDIR) return dir.mkdir(maker, name, S_IFDIR | 0o700);
  if (type === S_IFREG) return dir.create(maker, name, S_IFREG | 0o600);
  if (type !== S_IFLNK) return dir.mknod(maker, name, type | 0o600, lower.rdev);
  const text = lower.readlink(null);
  return typeof text === 'number' ? text : dir.symlink(maker, name, text);
}

function fill(twin: Inode, lower: Inode, withData: boolean): number {
  const isFile = (lower.mode & S_IFMT) === S_IFREG;
  const error = isFile && withData ? copyData(twin, lower) : 0;
  return error < 0 ? error : copyAttributes(twin, lower);
}

/** Gives the twin the lower object's xattrs, owner, mode and times. */
export function copyAttributes(twin: Inode, lower: Inode): number {
  const type = lower.mode & S_IFMT;
  const error = copyXattrs(twin, lower);
  if (error < 0) return error;
  const attr = new SetAttr();
  keepTimes(lower, attr);
  attr.mask |= ATTR_UID | ATTR_GID;
  if (type !== S_IFLNK) attr.mask |= ATTR_MODE;
  attr.uid = lower.uid;
  attr.gid = lower.gid;
  attr.mode = lower.mode;
  return twin.setattr(null, attr);
}

function copyXattrs(twin: Inode, lower: Inode): number {
  const names = lower.listxattr();
  if (typeof names === 'number') return 0;
  for (const name of names) {
    const value = lower.getxattr(name);
    if (typeof value === 'number') continue;
    const error = twin.setxattr(name, value.slice(), 0);
    // "-EOPNOTSUPP" for a kind that the upper tree does not know: ovl_copy_xattr() goes on too.
    if (error === -ENOSPC) return error;
  }
  return 0;
}

/** Fills a new file with another's bytes. */
export function copyData(twin: Inode, lower: Inode): number {
  const from = openLayer(lower, O_RDONLY);
  if (typeof from === 'number') return from;
  const to = openLayer(twin, O_RDWR);
  if (typeof to === 'number') {
    from.decRef(null);
    return to;
  }
  const error = copyBytes(to, from, lower.size);
  from.decRef(null);
  to.decRef(null);
  if (error < 0) return error;
  // The end may be a hole.
  if (twin.size >= lower.size) return 0;
  const attr = new SetAttr();
  attr.mask = ATTR_SIZE;
  attr.size = lower.size;
  return twin.setattr(null, attr);
}

function copyBytes(to: FileDescription, from: FileDescription, size: number): number {
  const buffer = Buffer.alloc(Math.min(BUFFER, Math.max(size, 1)));
  const io = new BufferIo(buffer);
  for (let offset = 0; offset < size; ) {
    // Where the lower file system can tell data from holes, holes need not be read; what one read takes is not worth asking.
    const data = size > buffer.length ? from.seek(NOBODY, offset, SEEK_DATA) : offset;
    if (data === -ENXIO) break;
    if (data > offset) offset = data;
    const n = from.pread(null, io.set(0, Math.min(buffer.length, size - offset)), offset);
    if (n < 0) return n;
    if (n === 0) break;
    // Holes stay holes: a sparse image must not fill the upper tree.
    if (!isZero(buffer, n)) {
      for (let done = 0; done < n; ) {
        const put = to.pwrite(null, io.set(done, n - done), offset + done);
        if (put <= 0) return put === 0 ? -EIO : put;
        done += put;
      }
    }
    offset += n;
  }
  return 0;
}

/** File systems do not ask who seeks. */
const NOBODY = null as unknown as Task;
const ZEROS = Buffer.alloc(BUFFER);

function isZero(buffer: Buffer, n: number): boolean {
  return buffer[0] === 0 && buffer.compare(ZEROS, 0, n, 0, n) === 0;
}

const layerMounts: WeakMap<Filesystem, Mount> = new WeakMap();

/** A description of a layer's own inode, outside of any tree. */
export function openLayer(inode: Inode, flags: number): FileDescription | number {
  return inode.open(null, layerPath(inode), flags | (inode.isDir() ? O_DIRECTORY : 0));
}

function layerPath(inode: Inode): VfsPath {
  let mount = layerMounts.get(inode.fs);
  const dentry = new Dentry(inode.fs, '', null, null);
  dentry.inode = inode;
  if (mount === undefined) {
    mount = new Mount(inode.fs, dentry, 0);
    // A mount for form's sake must not keep the file system.
    inode.fs.mounts--;
    layerMounts.set(inode.fs, mount);
  }
  return { mount, dentry };
}
