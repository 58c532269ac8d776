// What a process's descriptor answers beyond waiting and signals: fs/pidfs.c. The descriptor itself is kernel/pidfd.ts.

import { EACCES, EBADF, EFAULT, EINVAL, ENOTTY, ESRCH } from '../abi/errno.ts';
import { PIDFS_MAGIC } from '../abi/stat.ts';
import { put64 } from '../base/int64.ts';
import { AnonFilesystem, AnonInode } from '../fs/anon.ts';
import { MntNamespace, openNamespace } from '../fs/nsfs.ts';
import { ptraceMayAccess } from '../fs/proc-access.ts';
import type { Namespace } from '../kernel/namespace.ts';
import type { Pid, PidNamespace } from '../kernel/pid-namespace.ts';
import { PidFd } from '../kernel/pidfd.ts';
import type { Task } from '../kernel/task.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import { scratch } from '../mm/guest-memory.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';

// include/uapi/linux/pidfd.h
const PIDFS_IOCTL_MAGIC = 0xff;
const PIDFD_GET_INFO_NR = 11;
const PIDFD_INFO_PID = 1;
const PIDFD_INFO_CREDS = 2;
const PIDFD_INFO_CGROUPID = 4;
const PIDFD_INFO_EXIT = 8;
const PIDFD_INFO_COREDUMP = 16;
/** struct pidfd_info as it was first, and with the word about core dumps. */
const INFO_SIZE_VER0 = 64;
const INFO_SIZE = 72;
const AT_EXIT_CODE = 60;
const AT_COREDUMP_MASK = 64;
/** PIDFD_COREDUMP_SKIP, _USER and _ROOT, by PR_SET_DUMPABLE's values. */
const COREDUMP_MASK = [2, 4, 8];
/** What pidfd_send_signal(2) and its kin take for the caller itself. */
const PIDFD_SELF_THREAD = -10000;
const PIDFD_SELF_THREAD_GROUP = -10001;

const pidfs = new AnonFilesystem('pidfs', allocateAnonDev(), PIDFS_MAGIC);
const inodes = new WeakMap<Pid, AnonInode>();

/** All descriptors of a process have one inode, by which they can be compared. */
function inodeOf(pid: Pid): AnonInode {
  let inode = inodes.get(pid);
  if (inode === undefined) {
    inode = new AnonInode(pidfs, pidfs.newIno(), 0o700);
    inodes.set(pid, inode);
  }
  return inode;
}

/** A new descriptor; `flags` are O_NONBLOCK and PIDFD_THREAD. */
export function newPidFd(pid: Pid, group: ThreadGroup, thread: Task | null, flags: number): PidFd {
  return new PidFile(pid, group, thread, flags, inodeOf(pid));
}

/** pidfd_get_task(): a descriptor, or one of the numbers that stand for the caller. -EBADF. */
export function pidfdOrSelf(t: Task, fd: number): PidFd | number {
  if (fd === PIDFD_SELF_THREAD) return newPidFd(t.pid, t.group, t, 0);
  if (fd === PIDFD_SELF_THREAD_GROUP) return newPidFd(t.group.leader.pid, t.group, null, 0);
  const file = t.fds.get(fd);
  return file instanceof PidFd ? file : -EBADF;
}

class PidFile extends PidFd {
  override ioctl(t: Task, cmd: number, arg: number): number {
    if (((cmd >>> 8) & 0xff) !== PIDFS_IOCTL_MAGIC) return super.ioctl(t, cmd, arg);
    const nr = cmd & 0xff;
    if (nr === PIDFD_GET_INFO_NR) return this.info(t, (cmd >>> 16) & 0x3fff, arg);
    if (cmd >>> 16 !== 0 || nr === 0 || nr >= PIDFD_GET_INFO_NR) return super.ioctl(t, cmd, arg);
    if (arg !== 0) return -EINVAL;
    const target = this.target();
    if (typeof target === 'number' || this.group.isDead) return -ESRCH;
    if (ptraceMayAccess(t, target, true) < 0) return -EACCES;
    return openNamespace(t, namespaceOf(target, nr));
  }

  /** PIDFD_GET_INFO: "the caller must check whether the bits that it asked for are in the answer" - pidfd(2). */
  private info(t: Task, size: number, addr: number): number {
    if (size < INFO_SIZE_VER0) return -ENOTTY;
    if (addr === 0) return -EINVAL;
    const length = Math.min(size, INFO_SIZE);
    const v = scratch.view;
    if (t.mm.copyIn(addr, scratch.u8, 0, 8) < 0) return -EFAULT;
    const wanted = v.getUint32(0, true);
    let mask = 0;
    scratch.u8.fill(0, 0, INFO_SIZE);
    const target = this.target();
    if ((wanted & PIDFD_INFO_COREDUMP) !== 0) {
      if (typeof target !== 'number') v.setUint32(AT_COREDUMP_MASK, COREDUMP_MASK[this.group.dumpable] ?? 0, true);
      mask |= PIDFD_INFO_COREDUMP;
    }
    const { cgroup } = this.group;
    if ((wanted & PIDFD_INFO_CGROUPID) !== 0 || this.group.isReaped) {
      put64(v, 8, cgroup === null ? 1 : cgroup.ino);
      mask |= PIDFD_INFO_CGROUPID;
    }
    if (typeof target === 'number') {
      if ((wanted & PIDFD_INFO_EXIT) === 0 || !this.group.isReaped) return -ESRCH;
      mask |= PIDFD_INFO_EXIT;
      v.setInt32(AT_EXIT_CODE, this.group.groupExitStatus, true);
    } else {
      const number = this.pid.numberIn(t.pidns);
      if (number === 0) return -ESRCH;
      mask |= PIDFD_INFO_PID | PIDFD_INFO_CREDS;
      const { creds } = target;
      const { userns } = t.creds;
      v.setUint32(16, number, true);
      v.setUint32(20, target.group.leader.pid.numberIn(t.pidns), true);
      v.setUint32(24, target.group.parentPidIn(t.pidns), true);
      let at = 28;
      for (const [uid, gid] of [
        [creds.uid, creds.gid],
        [creds.euid, creds.egid],
        [creds.suid, creds.sgid],
        [creds.fsuid, creds.fsgid],
      ] as const) {
        v.setUint32(at, userns.uidFromKernel(uid), true);
        v.setUint32(at + 4, userns.gidFromKernel(gid), true);
        at += 8;
      }
    }
    put64(v, 0, mask);
    return t.mm.copyOut(addr, scratch.u8, 0, length) < 0 ? -EFAULT : 0;
  }

  override fdinfoFor(ns: PidNamespace): string {
    const number = this.group.isReaped ? -1 : this.pid.numberIn(ns);
    let text = `Pid:\t${number}\nNSpid:\t${number}`;
    if (number > 0) for (let level = ns.level + 1; level <= this.pid.ns.level; level++) text += `\t${this.pid.numbers[level]}`;
    return `${text}\n`;
  }
}

/** By the number of the request, PIDFD_GET_CGROUP_NAMESPACE to PIDFD_GET_UTS_NAMESPACE. */
function namespaceOf(target: Task, nr: number): Namespace {
  const { ns } = target;
  switch (nr) {
    case 1:
      return ns.cgroup;
    case 2:
      return ns.ipc;
    case 3:
      return MntNamespace.of(target.fs.mountNamespace);
    case 4:
      return ns.net;
    case 5:
      return target.pidns;
    case 6:
      return ns.pidForChildren;
    case 7:
      return ns.time;
    case 8:
      return ns.timeForChildren;
    case 9:
      return target.creds.userns;
    default:
      return ns.uts;
  }
}
