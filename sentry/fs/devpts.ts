// devpts: fs/devpts/inode.c, and how terminals are opened by device number. Every mount is an
// instance with numbers of its own; /dev/ptmx belongs to the instance it lies in, or to the one
// mounted at the "pts" beside it.

import { makedev } from '../abi/device.ts';
import { EBUSY, EINVAL, EIO, ENODEV, ENOENT, ENOSPC, ENXIO } from '../abi/errno.ts';
import { O_NOCTTY } from '../abi/fcntl.ts';
import { CAP_SYS_ADMIN } from '../abi/sched.ts';
import { DEVPTS_SUPER_MAGIC, S_IFCHR } from '../abi/stat.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import { allocateAnonDev } from '../vfs/anon-dev.ts';
import type { VfsContext } from '../vfs/context.ts';
import { lookupChild, rootDentry } from '../vfs/dentry.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { type Filesystem, Inode, type SetAttr, type VfsPath } from '../vfs/filesystem.ts';
import type { Mount } from '../vfs/mount.ts';
import { touchBorn } from '../vfs/times.ts';
import type { FilesystemType, Vfs } from '../vfs/vfs.ts';
import { applyAttr, KernfsFilesystem, StaticDir } from './kernfs.ts';
import { nameToInt } from './proc-fd.ts';
import { MasterDescription, PTS_MAJOR, Pty, type PtyOwner, SlaveDescription } from './tty.ts';
import { becomeControlling } from './tty-ioctl.ts';

const TTYAUX_MAJOR = 5;
const TTY_MINOR = 0;
const CONSOLE_MINOR = 1;
const PTMX_MINOR = 2;
const PTMX_INO = 2;
/** pts/N has inode N + 3. */
const FIRST_INO = 3;
/** NR_UNIX98_PTY_DEFAULT less the reserve for the host's own instance. */
const PTY_LIMIT = 4096;

/** A device node of devpts. */
class TtyNode extends Inode {
  /** null for ptmx. */
  readonly pty: Pty | null;

  constructor(fs: DevptsFilesystem, ino: number, permissions: number, rdev: number, pty: Pty | null) {
    super(fs, ino, S_IFCHR | permissions);
    this.rdev = rdev;
    this.pty = pty;
    this.blockSize = 1024;
    touchBorn(this);
  }

  override open(_t: Task | null, _path: VfsPath, _flags: number): FileDescription | number {
    return -ENXIO;
  }

  override setattr(_t: Task | null, attr: SetAttr): number {
    return applyAttr(this, attr);
  }
}

export class DevptsFilesystem extends KernfsFilesystem implements PtyOwner {
  private readonly kernel: Kernel;
  private readonly rootDir: StaticDir;
  private readonly ptmx: TtyNode;
  private readonly used: Set<number> = new Set();
  private mode = 0o600;
  private ptmxMode = 0;
  /** -1: the opener's own. */
  private uid = -1;
  private gid = -1;
  private max = PTY_LIMIT;

  constructor(kernel: Kernel) {
    super('devpts', allocateAnonDev(), DEVPTS_SUPER_MAGIC);
    this.kernel = kernel;
    this.source = 'devpts';
    this.rootDir = new StaticDir(this, 1, 0o755);
    this.ptmx = new TtyNode(this, PTMX_INO, this.ptmxMode, makedev(TTYAUX_MAJOR, PTMX_MINOR), null);
    this.rootDir.add('ptmx', this.ptmx);
  }

  override root(): Inode {
    return this.rootDir;
  }

  override options(): string {
    let text = this.uid >= 0 ? `,uid=${this.uid}` : '';
    if (this.gid >= 0) text += `,gid=${this.gid}`;
    text += `,mode=${this.mode.toString(8).padStart(3, '0')},ptmxmode=${this.ptmxMode.toString(8).padStart(3, '0')}`;
    return this.max < PTY_LIMIT ? `${text},max=${this.max}` : text;
  }

  override remount(options: string): number {
    return this.configure(options);
  }

  /** parse_mount_options(). */
  configure(options: string): number {
    for (const option of options.split(',')) {
      const [name, value = ''] = option.split('=');
      if (name === '' || name === 'newinstance') continue;
      const octal = /^[0-7]+$/.test(value) ? Number.parseInt(value, 8) & 0o777 : -1;
      const number = nameToInt(value);
      if (name === 'mode' && octal >= 0) this.mode = octal;
      else if (name === 'ptmxmode' && octal >= 0) this.ptmxMode = octal;
      else if (name === 'uid' && number >= 0) this.uid = number;
      else if (name === 'gid' && number >= 0) this.gid = number;
      else if (name === 'max' && number >= 0) this.max = Math.min(number, PTY_LIMIT);
      else return -EINVAL;
    }
    this.ptmx.mode = S_IFCHR | this.ptmxMode;
    return 0;
  }

  /** devpts_new_index() and devpts_pty_new(): a pty with its slave's node, or -ENOSPC. */
  allocate(uid: number, gid: number): Pty | number {
    let index = 0;
    while (this.used.has(index)) index++;
    if (index >= this.max || this.kernel.ptyCount >= this.kernel.sysctls.int('kernel.pty.max')) return -ENOSPC;
    this.used.add(index);
    this.kernel.ptyCount++;
    const pty = new Pty(this.kernel, index, this);
    const node = new TtyNode(this, index + FIRST_INO, this.mode, pty.dev, pty);
    node.uid = this.uid >= 0 ? this.uid : uid;
    node.gid = this.gid >= 0 ? this.gid : gid;
    this.rootDir.add(String(index), node);
    return pty;
  }

  masterClosed(pty: Pty): void {
    this.rootDir.remove(String(pty.index));
    this.used.delete(pty.index);
    this.kernel.ptyCount--;
  }
}

/** Where the slave of `pty` lies below a mount of its devpts. */
export function slavePathOf(mount: Mount, pty: Pty): VfsPath {
  const dentry = lookupChild(rootDentry(mount.fs), String(pty.index));
  if (typeof dentry === 'number') throw new Error('a new terminal has no name');
  return { mount, dentry };
}

/** The devpts mount that a ptmx node stands for: devpts_mntget(). */
function devptsMount(path: VfsPath): Mount | undefined {
  if (path.mount.fs instanceof DevptsFilesystem) return path.mount;
  const parent = path.dentry.parent;
  if (parent === null) return undefined;
  const pts = lookupChild(parent, 'pts');
  if (typeof pts === 'number' || pts.inode === null) return undefined;
  let mount = path.mount.childAt(pts);
  for (let over = mount?.childAt(mount.root); over !== undefined; over = over.childAt(over.root)) mount = over;
  return mount?.fs instanceof DevptsFilesystem ? mount : undefined;
}

/** ptmx_open(). */
function openPtmx(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
  const mount = devptsMount(path);
  if (mount === undefined) return -ENODEV;
  const creds = t?.creds;
  const pty = (mount.fs as DevptsFilesystem).allocate(creds?.fsuid ?? 0, creds?.fsgid ?? 0);
  if (typeof pty === 'number') return pty;
  return new MasterDescription(flags, path, path.dentry.inode!, pty, slavePathOf(mount, pty));
}

/** tty_open() for a slave: what forbids it, 0 if nothing. */
function slaveRefused(t: Task | null, pty: Pty): number {
  if (!pty.masterOpen || pty.locked) return -EIO;
  return pty.exclusive && t !== null && !t.creds.capable(CAP_SYS_ADMIN) ? -EBUSY : 0;
}

/** Opens the slave at its node, or at another name for it (/dev/tty, /dev/console). */
export function openSlave(t: Task | null, path: VfsPath, flags: number, pty: Pty, noCtty: boolean): FileDescription | number {
  const refused = slaveRefused(t, pty);
  if (refused < 0) return refused;
  const file = new SlaveDescription(flags, path, path.dentry.inode!, pty);
  if (t !== null && !noCtty) becomeControlling(t, pty, file.readable);
  return file;
}

function openPts(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
  const node = path.dentry.inode;
  // A node made elsewhere by mknod(2) names no terminal: pts_unix98_lookup().
  if (!(node instanceof TtyNode) || node.pty === null) return -EIO;
  return openSlave(t, path, flags, node.pty, (flags & O_NOCTTY) !== 0);
}

/** /dev/tty: the caller's controlling terminal. */
function openOwnTty(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
  const tty = t?.group.tty;
  if (!tty) return -ENXIO;
  return tty instanceof Pty ? openSlave(t, path, flags, tty, true) : -EIO;
}

/** /dev/console: the terminal that the sandbox was started with. */
function openConsole(t: Task | null, path: VfsPath, flags: number): FileDescription | number {
  const tty = t?.group.container.console;
  return tty instanceof Pty ? openSlave(t, path, flags, tty, true) : -ENODEV;
}

/** Makes terminals known by device number. */
export function registerTerminals(vfs: Vfs): void {
  vfs.registerCharDevice(TTYAUX_MAJOR, TTY_MINOR, openOwnTty);
  vfs.registerCharDevice(TTYAUX_MAJOR, CONSOLE_MINOR, openConsole);
  vfs.registerCharDevice(TTYAUX_MAJOR, PTMX_MINOR, openPtmx);
  // UNIX98 slaves have majors 136 to 143, for 2^20 numbers; 12 bits of major and 20 of minor need only the first.
  vfs.registerCharDevice(PTS_MAJOR, -1, openPts);
}

/** The type for mount(2). */
export function devptsType(kernel: Kernel): FilesystemType {
  return {
    name: 'devpts',
    nodev: true,
    userMount: true,
    mount(_ctx: VfsContext, source: string, _flags: number, options: string): Filesystem | number {
      const fs = new DevptsFilesystem(kernel);
      const error = fs.configure(options);
      if (error < 0) return error;
      if (source !== '') fs.source = source;
      return fs;
    },
  };
}

/** A terminal of the sandbox's own making, unlocked, in the devpts that is mounted there: for the console. */
export function newTerminal(mount: Mount, uid: number, gid: number): Pty | number {
  if (!(mount.fs instanceof DevptsFilesystem)) return -ENOENT;
  const pty = mount.fs.allocate(uid, gid);
  if (typeof pty !== 'number') pty.locked = false;
  return pty;
}
