// /proc/[pid]/fd, fdinfo, ns and mem: fs/proc/fd.c, fs/proc/namespaces.c, mem_rw() of fs/proc/base.c.

import { EACCES, EINVAL, EIO, ENOENT, ESRCH } from '../abi/errno.ts';
import { O_CLOEXEC, SEEK_CUR, SEEK_SET } from '../abi/fcntl.ts';
import { S_IFLNK, S_IFREG } from '../abi/stat.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { Pid } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { MemoryManager } from '../mm/memory-manager.ts';
import { detachedDentry } from '../vfs/dentry.ts';
import { FileDescription } from '../vfs/file-description.ts';
import type { DirSink, Inode, VfsPath } from '../vfs/filesystem.ts';
import type { IoBuffer } from '../vfs/io-buffer.ts';
import { Mount } from '../vfs/mount.ts';
import { pathName } from '../vfs/path-name.ts';
import { genericPermission } from '../vfs/permissions.ts';
import { direntType, TextFile } from './kernfs.ts';
import { ptraceMayAccess } from './proc-access.ts';
import { FD_INO, FDINFO_INO, MagicLink, ownByTask, type ProcView, TaskDir, taskIno, taskOf } from './proc-inode.ts';
import { fdLocksText } from './proc-locks.ts';

const MAX_FD_DIGITS = 10;

/** A decimal number without leading zeros: name_to_int(). -1 for anything else. */
export function nameToInt(name: string): number {
  if (name.length === 0 || name.length > MAX_FD_DIGITS || (name.length > 1 && name[0] === '0')) return -1;
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    if (c < 0x30 || c > 0x39) return -1;
  }
  return Number(name);
}

/** The directories whose children are numbered like the descriptors of a task. */
abstract class FdNumberedDir extends TaskDir {
  protected abstract child(fd: number, file: FileDescription): Inode;
  protected abstract readonly childMode: number;
  protected abstract readonly childBase: number;

  // A process reaches its own descriptors even if it may not be dumped: proc_fd_permission().
  override permission(creds: Credentials, mask: number): number {
    const error = genericPermission(this, creds, mask);
    if (error === 0) return 0;
    const target = taskOf(this.pid);
    return target?.group.tasks.some((task) => task.creds === creds) ? 0 : error;
  }

  override getattr(t: Task | null): number {
    super.getattr(t);
    const fds = taskOf(this.pid)?.fds;
    this.size = 0;
    if (fds !== undefined) for (let fd = 0; fd < fds.size; fd++) if (fds.get(fd) !== undefined) this.size++;
    return 0;
  }

  override lookup(name: string): Inode | number {
    const fd = nameToInt(name);
    const target = taskOf(this.pid);
    if (fd < 0 || target === undefined) return -ENOENT;
    const file = target.fds.get(fd);
    return file === undefined ? -ENOENT : this.child(fd, file);
  }

  override iterate(_t: Task, pos: number, sink: DirSink): number {
    const fds = taskOf(this.pid)?.fds;
    if (fds === undefined) return -ENOENT;
    const size = fds.size;
    for (let fd = Math.max(0, pos - 2); fd < size; fd++) {
      if (fds.get(fd) === undefined) continue;
      if (!sink.entry(String(fd), taskIno(this.pid, this.childBase + fd), direntType(this.childMode), fd + 3)) return fd + 2;
    }
    return Math.max(pos, size + 2);
  }
}

export class FdDir extends FdNumberedDir {
  protected readonly childMode = S_IFLNK;
  protected readonly childBase = FD_INO;

  protected override child(fd: number, file: FileDescription): Inode {
    return new FdLink(this.view, this.pid, fd, linkMode(file));
  }

  // The link's mode tells the directions of the file, so another kind of file makes another inode: tid_fd_revalidate().
  override childStillValid(name: string, child: Inode | undefined): boolean {
    const file = taskOf(this.pid)?.fds.get(nameToInt(name));
    if (child === undefined || file === undefined) return child === undefined && file === undefined;
    ownByTask(child, this.pid);
    return (child.mode & 0o777) === linkMode(file);
  }
}

function linkMode(file: FileDescription): number {
  return (file.readable ? 0o500 : 0) | (file.writable ? 0o300 : 0);
}

// Files without a place get one when somebody goes through the link: what Linux calls a disconnected dentry.
const detachedPlaces = new WeakMap<Inode, VfsPath>();

/** The place of an open file; for pipes, sockets and the like a place outside every tree. */
export function placeOf(file: FileDescription): VfsPath {
  if (file.path !== undefined) return file.path;
  const inode = file.inode();
  let place = detachedPlaces.get(inode);
  if (place === undefined) {
    const dentry = detachedDentry(inode.fs, file.linkText(), inode);
    place = { mount: new Mount(inode.fs, dentry, 0), dentry };
    place.mount.internal = true;
    detachedPlaces.set(inode, place);
  }
  return place;
}

/** What readlink of /proc/[pid]/fd/N answers: d_path(). */
export function fileText(t: Task, file: FileDescription): string {
  return file.path === undefined ? file.linkText() : pathName(file.path, t.fs.root);
}

class FdLink extends MagicLink {
  private readonly fd: number;

  constructor(view: ProcView, pid: Pid, fd: number, mode: number) {
    super(view, pid, taskIno(pid, FD_INO + fd), mode);
    this.fd = fd;
  }

  override target(task: Task): VfsPath | number {
    const file = task.fds.get(this.fd);
    return file === undefined ? -ENOENT : placeOf(file);
  }

  override label(t: Task, task: Task): string | number {
    const file = task.fds.get(this.fd);
    return file === undefined ? -ENOENT : fileText(t, file);
  }
}

export class FdInfoDir extends FdNumberedDir {
  protected readonly childMode = S_IFREG;
  protected readonly childBase = FDINFO_INO;

  protected override child(fd: number, _file: FileDescription): Inode {
    return new FdInfo(this.view, this.pid, fd);
  }

  override childStillValid(name: string, child: Inode | undefined): boolean {
    return (child !== undefined) === (taskOf(this.pid)?.fds.get(nameToInt(name)) !== undefined);
  }
}

class FdInfo extends TextFile {
  private readonly pid: Pid;
  private readonly fd: number;

  constructor(view: ProcView, pid: Pid, fd: number) {
    super(view, taskIno(pid, FDINFO_INO + fd), 0o444);
    this.pid = pid;
    this.fd = fd;
    ownByTask(this, pid);
  }

  override mayOpen(t: Task | null, _flags: number): number {
    const target = taskOf(this.pid);
    if (target === undefined) return -ESRCH;
    return t !== null && ptraceMayAccess(t, target, true) < 0 ? -EACCES : 0;
  }

  override text(t: Task): string | number {
    const target = taskOf(this.pid);
    const file = target?.fds.get(this.fd);
    if (target === undefined || file === undefined) return -ENOENT;
    const flags = (file.flags & ~O_CLOEXEC) | (target.fds.isCloexec(this.fd) ? O_CLOEXEC : 0);
    return `pos:\t${file.pos}\nflags:\t0${flags.toString(8)}\nmnt_id:\t${file.path?.mount.id ?? 0}\nino:\t${file.inode().ino}\n${fdLocksText(t, file.inode(), [file, target.fds])}${file.fdinfo()}`;
  }
}

// ---- mem

/** /proc/[pid]/mem: the address space of another process, past its page protections. */
export class MemDescription extends FileDescription {
  private readonly node: Inode;
  private readonly mm: MemoryManager;
  private readonly chunk = new Uint8Array(64 * 1024);

  constructor(flags: number, path: VfsPath, node: Inode, target: Task) {
    super(flags, path);
    this.node = node;
    this.mm = target.mm;
  }

  override inode(): Inode {
    return this.node;
  }

  // mem_lseek().
  override seek(_t: Task, offset: number, whence: number): number {
    if (whence !== SEEK_SET && whence !== SEEK_CUR) return -EINVAL;
    this.pos = whence === SEEK_SET ? offset : this.pos + offset;
    return this.pos;
  }

  override read(t: Task, io: IoBuffer): number {
    const n = this.pread(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override write(t: Task, io: IoBuffer): number {
    const n = this.pwrite(t, io, this.pos);
    if (n > 0) this.pos += n;
    return n;
  }

  override pread(_t: Task | null, io: IoBuffer, offset: number): number {
    if (this.mm.refs === 0) return 0;
    let done = 0;
    while (io.remaining > 0) {
      const want = Math.min(io.remaining, this.chunk.length);
      const got = this.mm.readForced(offset + done, this.chunk, 0, want);
      if (got <= 0) return done > 0 ? done : -EIO;
      const put = io.put(this.chunk, 0, got);
      if (put < 0) return done > 0 ? done : put;
      done += put;
      if (put < want) break;
    }
    return done;
  }

  override pwrite(_t: Task | null, io: IoBuffer, offset: number): number {
    if (this.mm.refs === 0) return 0;
    let done = 0;
    while (io.remaining > 0) {
      const want = Math.min(io.remaining, this.chunk.length);
      const taken = io.take(this.chunk, 0, want);
      if (taken <= 0) return done > 0 ? done : taken;
      const put = this.mm.writeForced(offset + done, this.chunk, 0, taken);
      if (put <= 0) return done > 0 ? done : -EIO;
      done += put;
      if (put < taken) break;
    }
    return done;
  }
}

/** The inode of a file over a task's memory, opened by whoever may trace the task. */
export abstract class TaskMemoryFile extends TextFile {
  private readonly pid: Pid;

  constructor(view: ProcView, pid: Pid, ino: number, permissions: number) {
    super(view, ino, permissions);
    this.pid = pid;
    ownByTask(this, pid);
  }

  override text(_t: Task): string {
    return '';
  }

  override open(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    const target = taskOf(this.pid);
    if (target === undefined) return -ESRCH;
    if (t !== null && ptraceMayAccess(t, target, true) < 0) return -EACCES;
    return this.describe(flags, path, target);
  }

  protected abstract describe(flags: number, path: VfsPath, target: Task): FileDescription;
}

/** The inode of mem. */
export class MemFile extends TaskMemoryFile {
  constructor(view: ProcView, pid: Pid, ino: number) {
    super(view, pid, ino, 0o600);
  }

  protected override describe(flags: number, path: VfsPath, target: Task): FileDescription {
    return new MemDescription(flags, path, this, target);
  }
}
