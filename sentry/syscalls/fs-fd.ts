// Calls on descriptors themselves: dup(2), fcntl(2), flock(2), ioctl(2), and the files that only
// descriptors name: pipe(2), memfd_create(2).

import { EACCES, EAGAIN, EBADF, EBUSY, EFAULT, EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, ERESTARTSYS, ESRCH } from '../abi/errno.ts';
import {
  F_ADD_SEALS,
  F_CREATED_QUERY,
  F_DUPFD,
  F_DUPFD_CLOEXEC,
  F_DUPFD_QUERY,
  F_GET_FILE_RW_HINT,
  F_GET_RW_HINT,
  F_GET_SEALS,
  F_GETFD,
  F_GETFL,
  F_GETLEASE,
  F_GETLK,
  F_GETOWN,
  F_GETOWN_EX,
  F_GETPIPE_SZ,
  F_GETSIG,
  F_NOTIFY,
  F_OFD_GETLK,
  F_OFD_SETLK,
  F_OFD_SETLKW,
  F_OWNER_PGRP,
  F_OWNER_PID,
  F_OWNER_TID,
  F_RDLCK,
  F_SEAL_EXEC,
  F_SEAL_SEAL,
  F_SEAL_WRITE,
  F_SET_FILE_RW_HINT,
  F_SET_RW_HINT,
  F_SETFD,
  F_SETFL,
  F_SETLEASE,
  F_SETLK,
  F_SETLKW,
  F_SETOWN,
  F_SETOWN_EX,
  F_SETPIPE_SZ,
  F_SETSIG,
  F_UNLCK,
  F_WRLCK,
  FD_CLOEXEC,
  LOCK_EX,
  LOCK_NB,
  LOCK_SH,
  LOCK_UN,
  O_APPEND,
  O_ASYNC,
  O_CLOEXEC,
  O_DIRECT,
  O_EXCL,
  O_LARGEFILE,
  O_NOATIME,
  O_NONBLOCK,
  O_PATH,
  O_RDWR,
} from '../abi/fcntl.ts';
import {
  FICLONE,
  FICLONERANGE,
  FIDEDUPERANGE,
  FIOASYNC,
  FIOCLEX,
  FIOGETOWN,
  FIONBIO,
  FIONCLEX,
  FIONREAD,
  FIOQSIZE,
  FIOSETOWN,
  FS_IOC_FIEMAP,
} from '../abi/ioctl.ts';
import { LANDLOCK_ACCESS_FS_IOCTL_DEV } from '../abi/landlock.ts';
import { NAME_MAX } from '../abi/limits.ts';
import { MAP_SHARED, MFD_ALLOW_SEALING, MFD_CLOEXEC, MFD_EXEC, MFD_HUGETLB, MFD_NOEXEC_SEAL, PROT_WRITE } from '../abi/mman.ts';
import { CAP_LEASE, CAP_SYS_RESOURCE } from '../abi/sched.ts';
import { NSIG } from '../abi/signal.ts';
import { SIOCGPGRP, SIOCSPGRP } from '../abi/socket.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } from '../abi/stat.ts';
import { SYS_dup, SYS_dup2, SYS_dup3, SYS_fcntl, SYS_flock, SYS_ioctl, SYS_memfd_create, SYS_pipe, SYS_pipe2 } from '../abi/sysno-x64.ts';
import { notifyDirectory } from '../fs/dnotify.ts';
import { newPipe, PipeFile } from '../fs/pipe.ts';
import { newTmpfs } from '../fs/tmpfs.ts';
import { ownerOf, setAsync, setOwner } from '../kernel/file-owner.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import { type Task, WAKE_SIGNAL } from '../kernel/task.ts';
import { FOREVER } from '../kernel/timers.ts';
import { scratch } from '../mm/guest-memory.ts';
import { detachedDentry } from '../vfs/dentry.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { LOCK_EVENT, lockWaiters, setFlock } from '../vfs/file-locks.ts';
import { setLease as changeLease, leaseType } from '../vfs/leases.ts';
import { Mount } from '../vfs/mount.ts';
import { credsOn } from '../vfs/mount-idmap.ts';
import { ownerOrCapable } from '../vfs/permissions.ts';
import { openFile } from './io-common.ts';
import { getLock, setLock } from './record-locks.ts';
import { call, type SyscallLine } from './syscall-line.ts';

// ---- dup

/** dup(2). */
export function dup(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  return file === undefined ? -EBADF : duplicate(t, file, 0, false);
}

/** dup2(2): the same number twice is only a test that it is open. */
export function dup2(t: Task, a: SyscallArgs): number {
  const file = t.fds.get(a.int(0));
  if (file === undefined) return -EBADF;
  return a.int(0) === a.int(1) ? a.int(1) : t.fds.replace(t, a.int(1), file, false, t.fdLimit);
}

/** dup3(2). */
export function dup3(t: Task, a: SyscallArgs): number {
  const flags = a.int(2);
  if ((flags & ~O_CLOEXEC) !== 0 || a.int(0) === a.int(1)) return -EINVAL;
  if (a.uint(1) >= t.fdLimit) return -EBADF;
  const file = t.fds.get(a.int(0));
  return file === undefined ? -EBADF : t.fds.replace(t, a.int(1), file, (flags & O_CLOEXEC) !== 0, t.fdLimit);
}

function duplicate(t: Task, file: FileDescription, from: number, cloexec: boolean): number {
  const fd = t.fds.reserve(t.fdLimit, from);
  if (fd < 0) return fd;
  file.incRef();
  t.fds.install(fd, file, cloexec);
  return fd;
}

// ---- pipe

/** pipe(2). */
export function pipe(t: Task, a: SyscallArgs): number {
  return makePipe(t, a.addr(0), 0);
}

/** pipe2(2). */
export function pipe2(t: Task, a: SyscallArgs): number {
  return makePipe(t, a.addr(0), a.int(1));
}

function makePipe(t: Task, fdsAddr: number, flags: number): number {
  // O_EXCL would be O_NOTIFICATION_PIPE, which needs CONFIG_WATCH_QUEUE.
  if ((flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT | O_EXCL)) !== 0) return -EINVAL;
  if ((flags & O_EXCL) !== 0) return -ENOSYS;
  const readFd = t.fds.reserve(t.fdLimit);
  if (readFd < 0) return readFd;
  const writeFd = t.fds.reserve(t.fdLimit);
  if (writeFd < 0) {
    t.fds.release(readFd);
    return writeFd;
  }
  scratch.view.setInt32(0, readFd, true);
  scratch.view.setInt32(4, writeFd, true);
  if (t.mm.copyOut(fdsAddr, scratch.u8, 0, 8) < 0) {
    t.fds.release(readFd);
    t.fds.release(writeFd);
    return -EFAULT;
  }
  const ends = newPipe(t, flags);
  t.fds.install(readFd, ends.reader, (flags & O_CLOEXEC) !== 0);
  t.fds.install(writeFd, ends.writer, (flags & O_CLOEXEC) !== 0);
  return 0;
}

// ---- fcntl

/** What F_SETFL changes: fs/fcntl.c:SETFL_MASK. */
const SETFL_MASK = O_APPEND | O_NONBLOCK | O_DIRECT | O_NOATIME | O_ASYNC;

/** fcntl(2). */
export function fcntl(t: Task, a: SyscallArgs): number {
  const fd = a.int(0);
  const file = t.fds.get(fd);
  if (file === undefined) return -EBADF;
  const cmd = a.int(1);
  switch (cmd) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return a.uint(2) >= t.fdLimit ? -EINVAL : duplicate(t, file, a.int(2), cmd === F_DUPFD_CLOEXEC);
    case F_GETFD:
      return t.fds.isCloexec(fd) ? FD_CLOEXEC : 0;
    case F_SETFD:
      t.fds.setCloexec(fd, (a.int(2) & FD_CLOEXEC) !== 0);
      return 0;
    case F_GETFL:
      return file.flags;
    case F_DUPFD_QUERY: {
      const other = t.fds.get(a.int(2));
      return other === undefined ? -EBADF : other === file ? 1 : 0;
    }
    default:
      // check_fcntl_cmd(): the rest is not for O_PATH.
      return (file.flags & O_PATH) !== 0 ? -EBADF : fcntlOfFile(t, a, file, cmd);
  }
}

function fcntlOfFile(t: Task, a: SyscallArgs, file: FileDescription, cmd: number): number {
  const argAddr = a.addr(2);
  switch (cmd) {
    case F_SETFL:
      return setFlags(t, a.int(0), file, a.int(2));
    case F_CREATED_QUERY:
      return 0;
    case F_GETLK:
    case F_OFD_GETLK:
      return getLock(t, file, argAddr, cmd === F_OFD_GETLK);
    case F_SETLK:
    case F_SETLKW:
      return setLock(t, file, argAddr, false, cmd === F_SETLKW);
    case F_OFD_SETLK:
    case F_OFD_SETLKW:
      return setLock(t, file, argAddr, true, cmd === F_OFD_SETLKW);
    case F_GETOWN:
      return file.owner === null ? 0 : file.owner.number(t.group.pidns);
    case F_SETOWN:
      if (a.int(2) === -0x80000000) return -EINVAL;
      return setOwner(t, file, a.int(2)) ? 0 : -ESRCH;
    case F_GETOWN_EX:
      return getOwnerEx(t, file, argAddr);
    case F_SETOWN_EX:
      return setOwnerEx(t, file, argAddr);
    case F_GETSIG:
      return file.owner === null ? 0 : file.owner.signo;
    case F_SETSIG:
      if (a.addr(2) > NSIG) return -EINVAL;
      ownerOf(file).signo = a.int(2);
      return 0;
    case F_GETLEASE:
      return leaseType(file);
    case F_SETLEASE:
      return setLease(t, file, a.int(0), a.int(2));
    case F_NOTIFY:
      return setNotify(t, file, a.int(0), a.int(2));
    case F_SETPIPE_SZ:
      return file instanceof PipeFile ? file.pipe.resize(a.uint(2), t.creds.capable(CAP_SYS_RESOURCE)) : -EBADF;
    case F_GETPIPE_SZ:
      return file instanceof PipeFile ? file.pipe.capacity : -EBADF;
    case F_GET_SEALS:
      return file.getSeals();
    case F_ADD_SEALS:
      return addSeals(t, file, a.int(2));
    case F_GET_RW_HINT:
    case F_GET_FILE_RW_HINT:
      return t.mm.storeU64(argAddr, 0);
    case F_SET_RW_HINT:
    case F_SET_FILE_RW_HINT:
      return setWriteHint(t, file, argAddr);
    default:
      return -EINVAL;
  }
}

function setFlags(t: Task, fd: number, file: FileDescription, wanted: number): number {
  const changed = (wanted ^ file.flags) & SETFL_MASK;
  const inode = file.inode();
  if ((changed & wanted & O_NOATIME) !== 0 && !ownerOrCapable(credsOn(file.path?.mount ?? null, t.creds), inode)) return -EPERM;
  // Of a pipe it makes packets; of a file it is a promise that no file system of ours has to keep.
  const type = inode.mode & S_IFMT;
  if ((wanted & O_DIRECT) !== 0 && type !== S_IFIFO && type !== S_IFREG) return -EINVAL;
  const able = (changed & O_ASYNC) !== 0 && file.canPoll() ? file.mayAsync() : 0;
  if (able < 0) return able;
  if ((changed & O_ASYNC) !== 0 && file.canPoll()) setAsync(file, fd, (wanted & O_ASYNC) !== 0);
  file.flags = (file.flags & ~SETFL_MASK) | (wanted & SETFL_MASK);
  file.flagsChanged(t);
  return 0;
}

/** F_ADD_SEALS: writing cannot be sealed while somebody has the file mapped for it, mm/memfd.c:memfd_add_seals(). */
function addSeals(t: Task, file: FileDescription, seals: number): number {
  const old = file.getSeals();
  const sealsWrites = (seals & F_SEAL_WRITE) !== 0 && old >= 0 && (old & (F_SEAL_WRITE | F_SEAL_SEAL)) === 0;
  return sealsWrites && file.writable && isMappedForWriting(t, file) ? -EBUSY : file.addSeals(seals);
}

function isMappedForWriting(t: Task, file: FileDescription): boolean {
  const inode = file.inode();
  for (const task of t.kernel.tasks.values()) {
    for (const vma of task.mm.vmas.list) {
      if ((vma.flags & MAP_SHARED) === 0 || (vma.maxProt & PROT_WRITE) === 0 || vma.backing === null) continue;
      if (vma.backing.ino === inode.ino && vma.backing.dev === inode.fs.dev) return true;
    }
  }
  return false;
}

/** F_NOTIFY: who asks becomes the owner unless there is one. */
function setNotify(t: Task, file: FileDescription, fd: number, mask: number): number {
  const n = notifyDirectory(file, fd, mask);
  if (n === 0 && mask !== 0) {
    const owner = ownerOf(file);
    if (owner.pid === null) owner.set(F_OWNER_PID, t.group.pid, t.creds);
  }
  return n;
}

function getOwnerEx(t: Task, file: FileDescription, addr: number): number {
  const owner = file.owner;
  const number = owner === null || owner.pid === null ? 0 : owner.pid.numberIn(t.group.pidns);
  scratch.view.setInt32(0, owner === null ? F_OWNER_TID : owner.type, true);
  scratch.view.setInt32(4, number, true);
  return t.mm.copyOut(addr, scratch.u8, 0, 8);
}

function setOwnerEx(t: Task, file: FileDescription, addr: number): number {
  if (t.mm.copyIn(addr, scratch.u8, 0, 8) < 0) return -EFAULT;
  const type = scratch.view.getInt32(0, true);
  const number = scratch.view.getInt32(4, true);
  if (type !== F_OWNER_TID && type !== F_OWNER_PID && type !== F_OWNER_PGRP) return -EINVAL;
  const pid = number === 0 ? null : (t.group.pidns.find(number) ?? null);
  if (number !== 0 && pid === null) return -ESRCH;
  ownerOf(file).set(type, pid, t.creds);
  return 0;
}

/** F_SETLEASE: fs/locks.c:fcntl_setlease(). Its signals go to the process that asks. */
function setLease(t: Task, file: FileDescription, fd: number, type: number): number {
  const inode = file.inode();
  if (type !== F_UNLCK && type !== F_RDLCK && type !== F_WRLCK) return -EINVAL;
  if (inode.uid !== credsOn(file.path?.mount ?? null, t.creds).fsuid && !t.creds.capable(CAP_LEASE)) return -EACCES;
  if (!inode.isRegular()) return -EINVAL;
  if (type !== F_UNLCK && t.kernel.sysctls.int('fs.leases-enable') === 0) return -EINVAL;
  const result = changeLease(t, file, fd, type);
  if (result === 0 && type !== F_UNLCK && (file.owner === null || file.owner.number(t.group.pidns) === 0)) {
    ownerOf(file).set(F_OWNER_PID, t.group.pid, t.creds);
  }
  return result;
}

/** RWH_WRITE_LIFE_*: nothing here writes to a device that could use it. */
const RWH_LAST = 5;

function setWriteHint(t: Task, file: FileDescription, addr: number): number {
  if (!ownerOrCapable(credsOn(file.path?.mount ?? null, t.creds), file.inode())) return -EPERM;
  const hint = t.mm.loadU64(addr);
  if (hint < 0) return -EFAULT;
  return hint > RWH_LAST ? -EINVAL : 0;
}

// ---- flock

/** flock(2). */
export function flock(t: Task, a: SyscallArgs): number {
  const op = a.int(1) & ~LOCK_NB;
  if (op !== LOCK_SH && op !== LOCK_EX && op !== LOCK_UN) return -EINVAL;
  const file = openFile(t, a.int(0));
  if (file === undefined || (op !== LOCK_UN && !file.readable && !file.writable)) return -EBADF;
  const inode = file.inode();
  const n = setFlock(inode, file, t.group.tgid, op);
  if (n !== -EAGAIN || (a.int(1) & LOCK_NB) !== 0) return n;
  file.incRef();
  t.file = file;
  return t.block(lockWaiters(inode), LOCK_EVENT, FOREVER, resumeFlock);
}

function resumeFlock(t: Task, why: number): number {
  const file = t.file!;
  const inode = file.inode();
  const n = why === WAKE_SIGNAL ? -ERESTARTSYS : setFlock(inode, file, t.group.tgid, t.args.int(1) & ~LOCK_NB);
  if (n === -EAGAIN) return t.block(lockWaiters(inode), LOCK_EVENT, FOREVER, resumeFlock);
  t.file = undefined;
  file.decRef(t);
  return n;
}

// ---- ioctl

const FIGETBSZ = 2;

function isDevice(file: FileDescription): boolean {
  const type = file.inode().mode & S_IFMT;
  return type === S_IFCHR || type === S_IFBLK;
}

/** Requests that no driver sees, so that Landlock lets them through: is_masked_device_ioctl(). */
function servedByVfs(cmd: number): boolean {
  switch (cmd) {
    case FIOCLEX:
    case FIONCLEX:
    case FIONBIO:
    case FIOASYNC:
    case FIOQSIZE:
    case FIGETBSZ:
    case FICLONE:
    case FICLONERANGE:
    case FIDEDUPERANGE:
    case FS_IOC_FIEMAP:
      return true;
    default:
      return false;
  }
}

/** ioctl(2): what every file knows, then the file's own. fs/ioctl.c:do_vfs_ioctl(). */
export function ioctl(t: Task, a: SyscallArgs): number {
  const fd = a.int(0);
  const file = openFile(t, fd);
  if (file === undefined) return -EBADF;
  const cmd = a.uint(1);
  const arg = a.addr(2);
  if ((file.landlockAccess & LANDLOCK_ACCESS_FS_IOCTL_DEV) === 0 && isDevice(file) && !servedByVfs(cmd)) return -EACCES;
  switch (cmd) {
    case FIOCLEX:
    case FIONCLEX:
      t.fds.setCloexec(fd, cmd === FIOCLEX);
      return 0;
    case FIONBIO: {
      const on = t.mm.loadU32(arg);
      if (on < 0) return on;
      file.flags = on !== 0 ? file.flags | O_NONBLOCK : file.flags & ~O_NONBLOCK;
      file.flagsChanged(t);
      return 0;
    }
    case FIOASYNC:
      return setAsyncFlag(t, fd, file, arg);
    case FIOQSIZE: {
      const type = file.inode().mode & S_IFMT;
      return type === S_IFDIR || type === S_IFREG || type === S_IFLNK ? t.mm.storeU64(arg, file.inode().blocks * 512) : -ENOTTY;
    }
    case FIGETBSZ:
      return t.mm.storeU32(arg, file.inode().blockSize);
    case FICLONE:
    case FICLONERANGE:
    case FIDEDUPERANGE:
    // No file system of ours tells where on a disk a file lies: ioctl_fiemap().
    case FS_IOC_FIEMAP:
      return -EOPNOTSUPP;
    case FIONREAD:
      if (!file.inode().isRegular()) return file.ioctl(t, cmd, arg);
      file.inode().getattr(t);
      return t.mm.storeU32(arg, file.inode().size - file.pos);
    case FIOSETOWN:
    case SIOCSPGRP:
    case FIOGETOWN:
    case SIOCGPGRP:
      return (file.inode().mode & S_IFMT) === S_IFSOCK ? ownerIoctl(t, file, cmd, arg) : file.ioctl(t, cmd, arg);
    default:
      return file.ioctl(t, cmd, arg);
  }
}

function setAsyncFlag(t: Task, fd: number, file: FileDescription, arg: number): number {
  const value = t.mm.loadU32(arg);
  if (value < 0) return value;
  const on = value !== 0;
  if (on === ((file.flags & O_ASYNC) !== 0)) return 0;
  const able = file.mayAsync();
  if (able < 0) return able;
  setAsync(file, fd, on);
  file.flags = on ? file.flags | O_ASYNC : file.flags & ~O_ASYNC;
  return 0;
}

function ownerIoctl(t: Task, file: FileDescription, cmd: number, arg: number): number {
  if (cmd === FIOGETOWN || cmd === SIOCGPGRP) return t.mm.storeU32(arg, file.owner === null ? 0 : file.owner.number(t.group.pidns));
  const who = t.mm.loadU32(arg);
  if (who < 0) return who;
  return setOwner(t, file, who | 0) ? 0 : -ESRCH;
}

// ---- memfd

/** MFD_NAME_MAX_LEN. */
const MEMFD_NAME_MAX = NAME_MAX - 'memfd:'.length;

let memfdMount: Mount | null = null;

/** Where memory files live: a tmpfs that is mounted nowhere, like shm_mnt. */
function sharedMemoryMount(): Mount {
  if (memfdMount === null) {
    const fs = newTmpfs();
    if (typeof fs === 'number') throw new Error('no tmpfs for memory files');
    memfdMount = Mount.of(fs, 0);
    memfdMount.internal = true;
  }
  return memfdMount;
}

/** memfd_create(2). */
export function memfdCreate(t: Task, a: SyscallArgs): number {
  const flags = a.int(1);
  if ((flags & MFD_HUGETLB) !== 0) return -ENOSYS;
  if ((flags & ~(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC)) !== 0) return -EINVAL;
  if ((flags & MFD_EXEC) !== 0 && (flags & MFD_NOEXEC_SEAL) !== 0) return -EINVAL;
  const name = t.mm.copyInString(a.addr(0), MEMFD_NAME_MAX + 1);
  if (typeof name === 'number') return name === -EFAULT ? -EFAULT : -EINVAL;
  const fd = t.fds.reserve(t.fdLimit);
  if (fd < 0) return fd;
  const file = newMemoryFile(t, `memfd:${name}`, (flags & MFD_NOEXEC_SEAL) !== 0 ? 0o666 : 0o777);
  if (typeof file === 'number') {
    t.fds.release(fd);
    return file;
  }
  if ((flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)) !== 0) file.allowSeals();
  if ((flags & MFD_NOEXEC_SEAL) !== 0) file.addSeals(F_SEAL_EXEC);
  t.fds.install(fd, file, (flags & MFD_CLOEXEC) !== 0);
  return fd;
}

function newMemoryFile(t: Task, name: string, permissions: number): FileDescription | number {
  const mount = sharedMemoryMount();
  const inode = mount.root.inode!.tmpfile(t.creds, S_IFREG | permissions);
  if (typeof inode === 'number') return inode;
  const path = { mount, dentry: detachedDentry(mount.fs, name, inode) };
  const file = inode.open(t, path, O_RDWR | O_LARGEFILE);
  // Made by alloc_file(), not opened: its creator is no writer that would keep it from being executed.
  if (typeof file !== 'number') file.countOpen(inode, false);
  return file;
}

export const fsFdCalls: readonly SyscallLine[] = [
  call(SYS_dup, 'dup', 'oldfd:fd', dup),
  call(SYS_dup2, 'dup2', 'oldfd:fd newfd:fd', dup2),
  call(SYS_dup3, 'dup3', 'oldfd:fd newfd:fd flags:flags', dup3),
  call(SYS_pipe, 'pipe', 'fds:addr', pipe),
  call(SYS_pipe2, 'pipe2', 'fds:addr flags:flags', pipe2, 'full', 'no O_NOTIFICATION_PIPE'),
  call(SYS_fcntl, 'fcntl', 'fd:fd cmd:int arg:long', fcntl),
  call(SYS_flock, 'flock', 'fd:fd op:int', flock),
  call(SYS_ioctl, 'ioctl', 'fd:fd cmd:uint arg:addr', ioctl),
  call(SYS_memfd_create, 'memfd_create', 'name:str flags:flags', memfdCreate, 'partial', 'no MFD_HUGETLB'),
];
