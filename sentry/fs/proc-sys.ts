// /proc/sys: fs/proc/proc_sysctl.c. The names and values are kernel/sysctl.ts's; the live ones are
// read and written here, where they are kept.

import { EACCES, EINVAL, EPERM } from '../abi/errno.ts';
import { SEEK_END } from '../abi/fcntl.ts';
import { POLLERR, POLLIN, POLLPRI, POLLRDNORM } from '../abi/poll.ts';
import { CAP_LAST_CAP, CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_SYS_RESOURCE } from '../abi/sched.ts';
import { randomUuid } from '../host/entropy.ts';
import type { Credentials } from '../kernel/credentials.ts';
import type { SysctlSpec } from '../kernel/sysctl.ts';
import type { Task } from '../kernel/task.ts';
import type { UtsNamespace } from '../kernel/uts-namespace.ts';
import { dropDentries } from '../vfs/dentry.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { Filesystem, SetAttr, VfsPath } from '../vfs/filesystem.ts';
import { MAY_EXEC, MAY_READ, MAY_WRITE } from '../vfs/permissions.ts';
import { dropAllContents } from './gofer/contents.ts';
import { listings } from './gofer/listing.ts';
import { applyAttr, type KernfsFilesystem, refuseModeChange, StaticDir, TextDescription, TextFile } from './kernfs.ts';
import { changeNetSysctl, netSysctl } from './proc-sys-net.ts';

const UTS_LEN = 64;

/** The tree of all parameters: "net.ipv4.ip_forward" is net/ipv4/ip_forward. */
export function sysDir(fs: KernfsFilesystem, specs: readonly SysctlSpec[]): StaticDir {
  const root = new SysctlDir(fs, fs.newIno(), 0o555);
  for (const spec of specs) {
    const parts = spec.name.split('.');
    let dir: StaticDir = root;
    for (const part of parts.slice(0, -1)) {
      let next = dir.children.get(part) as StaticDir | undefined;
      if (next === undefined) {
        next = new SysctlDir(fs, fs.newIno(), 0o555);
        dir.add(part, next);
      }
      dir = next;
    }
    dir.add(parts[parts.length - 1]!, new SysctlFile(fs, fs.newIno(), spec));
  }
  return root;
}

class SysctlDir extends StaticDir {
  override setattr(_t: Task | null, attr: SetAttr): number {
    return refuseModeChange(attr) || applyAttr(this, attr);
  }
}

class SysctlFile extends TextFile {
  private readonly spec: SysctlSpec;

  constructor(fs: Filesystem, ino: number, spec: SysctlSpec) {
    super(fs, ino, spec.mode);
    this.spec = spec;
  }

  override text(t: Task): string {
    const { name, kind } = this.spec;
    const ofHost = t.ns.net.isolated ? undefined : netSysctl(name);
    const limited = limitedKind(name);
    if (limited !== undefined) return `${t.creds.userns.namespaceLimit(limited, t.kernel.sysctls.int(name))}\n`;
    return `${ofHost ?? (kind === 'live' ? liveValue(t, name) : t.kernel.sysctls.get(name)!)}\n`;
  }

  override store(t: Task, data: string, _offset: number): number {
    if ((this.spec.mode & 0o222) === 0) return -EPERM;
    const { name, kind } = this.spec;
    const ofHost = t.ns.net.isolated ? undefined : changeNetSysctl(name, data, t.creds.capableIn(t.ns.net.userns, CAP_NET_ADMIN));
    const limited = limitedKind(name);
    if (limited !== undefined) return setNamespaceLimit(t, this.spec, limited, data);
    const error = ofHost ?? (kind === 'live' ? setLive(t, name, data) : t.kernel.sysctls.set(name, data));
    if (error >= 0 && name === 'vm.drop_caches') dropCaches(Number.parseInt(data, 10));
    return error < 0 ? error : data.length;
  }

  override open(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
    if (t !== null && this.spec.name === 'kernel.hostname') return new UtsDescription(flags, path, this, t.uts, false);
    if (t !== null && this.spec.name === 'kernel.domainname') return new UtsDescription(flags, path, this, t.uts, true);
    return new SysctlDescription(flags, path, this);
  }

  // The limits of a user namespace are for who has the capability in it, whoever that is: kernel/ucount.c:set_permissions().
  override permission(creds: Credentials, mask: number): number {
    if (!this.spec.name.startsWith('user.')) return super.permission(creds, mask);
    const granted = creds.capableHere(CAP_SYS_RESOURCE) ? this.mode >> 6 : this.mode & MAY_READ;
    return (mask & (MAY_READ | MAY_WRITE | MAY_EXEC) & ~granted) === 0 ? 0 : -EACCES;
  }

  // proc_sys_setattr().
  override setattr(_t: Task | null, attr: SetAttr): number {
    return refuseModeChange(attr) || applyAttr(this, attr);
  }
}

/** The kind of namespace that "user.max_KIND_namespaces" limits. */
function limitedKind(name: string): string | undefined {
  return name.startsWith('user.max_') ? /^user\.max_(\w+)_namespaces$/.exec(name)?.[1] : undefined;
}

function setNamespaceLimit(t: Task, spec: SysctlSpec, kind: string, data: string): number {
  const word = data.replace(/\0.*$/s, '').trim();
  const limit = Number(word);
  if (!/^[+-]?\d+$/.test(word) || limit < spec.min || limit > spec.max) return -EINVAL;
  t.creds.userns.maxNamespaces.set(kind, limit);
  return data.length;
}

/** fs/drop_caches.c: of page cache (1) the sandbox has none of its own; 2 gives names and attributes of files back. */
function dropCaches(what: number): void {
  if ((what & 2) === 0) return;
  dropDentries();
  listings.clear();
  dropAllContents();
}

/** Unlike other generated files these can be sought from their end, which is at 0: default_llseek(). */
class SysctlDescription extends TextDescription {
  override seek(t: Task, offset: number, whence: number): number {
    if (whence !== SEEK_END) return super.seek(t, offset, whence);
    if (offset < 0) return -EINVAL;
    this.pos = offset;
    return offset;
  }
}

/** hostname and domainname tell pollers of a change: proc_sys_poll(). */
class UtsDescription extends SysctlDescription {
  private readonly uts: UtsNamespace;
  private readonly isDomain: boolean;
  private seen: number;

  constructor(flags: number, path: VfsPath, node: SysctlFile, uts: UtsNamespace, isDomain: boolean) {
    super(flags, path, node, uts.waiters);
    this.uts = uts;
    this.isDomain = isDomain;
    this.seen = this.changes();
  }

  private changes(): number {
    return this.isDomain ? this.uts.domainnameChanges : this.uts.hostnameChanges;
  }

  override poll(_t: Task | null): number {
    let events = POLLIN | POLLRDNORM;
    if (this.changes() !== this.seen) {
      this.seen = this.changes();
      events |= POLLERR | POLLPRI;
    }
    return events;
  }
}

function liveValue(t: Task, name: string): string {
  const machine = t.kernel.machine;
  switch (name) {
    case 'kernel.cap_last_cap':
      return String(CAP_LAST_CAP);
    case 'kernel.domainname':
      return t.uts.domainname;
    case 'kernel.hostname':
      return t.uts.hostname;
    case 'kernel.ns_last_pid':
      return String(t.pidns.lastNumber);
    case 'kernel.osrelease':
      return machine.release;
    case 'kernel.ostype':
      return machine.sysname;
    case 'kernel.version':
      return machine.version;
    case 'kernel.random.boot_id':
      return machine.bootId;
    case 'kernel.random.uuid':
      return randomUuid();
    case 'kernel.pty.nr':
      return String(t.kernel.ptyCount);
    default:
      return '';
  }
}

function setLive(t: Task, name: string, data: string): number {
  const value = data.replace(/[\0\n].*$/s, '').slice(0, UTS_LEN);
  if (!t.creds.capableIn(t.uts.userns, CAP_SYS_ADMIN)) return -EPERM;
  if (name === 'kernel.hostname') t.uts.hostname = value;
  else if (name === 'kernel.domainname') t.uts.domainname = value;
  else return -EPERM;
  return 0;
}
