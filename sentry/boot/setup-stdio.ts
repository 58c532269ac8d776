// The descriptors of a program that boot starts: those of the host, from 0 on, or for 0 to 2 a terminal of the guest
// that is joined to the host's.

import { makedev } from '../abi/device.ts';
import { O_RDWR } from '../abi/fcntl.ts';
import { S_IFCHR, S_IFMT, STATX } from '../abi/stat.ts';
import { ONLCR } from '../abi/termios.ts';
import { Console } from '../fs/console.ts';
import { newHostFile } from '../fs/gofer/host-file.ts';
import { isTerminal } from '../fs/gofer/host-tty.ts';
import { closeFd } from '../host/confine.ts';
import { fileAttributes, statxBuffer } from '../host/host-fd.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { importSocket } from '../net/imported-socket.ts';
import type { KernelContext } from '../vfs/context.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import { LOOKUP_FOLLOW } from '../vfs/path-walk.ts';
import type { ProcessConfig } from './boot-config.ts';
import { errnoSentence, type StartFailure } from './start-process.ts';

const NULL_DEVICE = makedev(1, 3);

export interface Stdio {
  /** By number; references are the taker's. */
  readonly files: readonly FileDescription[];
  readonly console: Console | undefined;
}

/** Makes the descriptions; hostFds, three or more, are taken over. */
export function openStdio(kernel: Kernel, process: ProcessConfig, hostFds: readonly number[], root: KernelContext): Stdio | StartFailure {
  if (!process.terminal || !isTerminal(hostFds[0]!)) {
    const files: FileDescription[] = [];
    for (const [n, fd] of hostFds.entries()) {
      const file = n < 3 ? streamDescription(kernel, fd, root) : hostDescription(kernel, fd);
      if (typeof file === 'number') return { error: `a descriptor of the host: ${errnoSentence(-file)}`, errno: -file };
      files.push(file);
    }
    return { files, console: undefined };
  }
  return openTerminal(kernel, process, hostFds, root);
}

/** Streams of the host that are no terminal stay what they are: `runsc do ls > list` with the keyboard on stdin. */
function openTerminal(kernel: Kernel, process: ProcessConfig, hostFds: readonly number[], root: KernelContext): Stdio | StartFailure {
  const pts = kernel.vfs.lookup(root, null, '/dev/pts', LOOKUP_FOLLOW);
  const mount = typeof pts === 'number' ? undefined : pts.mount;
  const opened = Console.open(kernel, mount, hostFds[0]!, process.uid, process.gid);
  if (typeof opened === 'number') return { error: `a terminal: ${errnoSentence(-opened)}`, errno: -opened };
  if (process.consoleSize !== undefined && opened.pty.window.rows === 0) opened.resize(process.consoleSize[0], process.consoleSize[1]);
  if (process.bareNewlines === true) opened.pty.termios.oflag &= ~ONLCR;
  const files = opened.stdio();
  for (let n = 1; n < hostFds.length; n++) {
    const hostFd = hostFds[n]!;
    if (n < 3 && isTerminal(hostFd)) {
      closeFd(hostFd);
      continue;
    }
    const file = n < 3 ? streamDescription(kernel, hostFd, root) : hostDescription(kernel, hostFd);
    if (typeof file === 'number') return { error: `a descriptor of the host: ${errnoSentence(-file)}`, errno: -file };
    files[n]?.decRef(null);
    files[n] = file;
  }
  return { files, console: opened };
}

/**
 * A stream that is the host's /dev/null becomes the container's, opened to read and write as runc's reOpenDevNull() does:
 * containerd's shim gives one that can only be read for the output of a task without any.
 */
function streamDescription(kernel: Kernel, hostFd: number, root: KernelContext): FileDescription | number {
  if (!isNull(hostFd)) return hostDescription(kernel, hostFd);
  const file = kernel.vfs.openAt(root, null, '/dev/null', O_RDWR, 0);
  if (typeof file === 'number') return hostDescription(kernel, hostFd);
  const inode = file.inode();
  if ((inode.mode & S_IFMT) !== S_IFCHR || inode.rdev !== NULL_DEVICE) {
    file.decRef(null);
    return hostDescription(kernel, hostFd);
  }
  closeFd(hostFd);
  return file;
}

function isNull(hostFd: number): boolean {
  if (fileAttributes(hostFd) < 0 || (statxBuffer.getUint16(STATX.mode, true) & S_IFMT) !== S_IFCHR) return false;
  return makedev(statxBuffer.getUint32(STATX.rdevMajor, true), statxBuffer.getUint32(STATX.rdevMinor, true)) === NULL_DEVICE;
}

/** Sockets stay sockets: libuv, for one, asks what its streams are, and throws away what it writes to one that does not answer. */
function hostDescription(kernel: Kernel, hostFd: number): FileDescription | number {
  const socket = importSocket(kernel, hostFd);
  return typeof socket === 'number' ? newHostFile(kernel, hostFd) : socket;
}
