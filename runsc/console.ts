// Terminals of containers: a pty of the host whose master goes to whoever called (--console-socket), and whose slave
// the Sentry bridges to a terminal of the guest.

import { O_NONBLOCK, O_RDWR } from '../sentry/abi/fcntl.ts';
import { SOCK_STREAM } from '../sentry/abi/socket.ts';
import { errnoText, RunscError } from './errors.ts';
import { closeFd, fcntlSetFlags, makeRaw, openPty, pidfdOpen, sendFds, setWindowSize, unixConnect } from './host.ts';

/** Sends a pidfd of a process to a socket, with its number as the message. */
export function sendPidfdOf(socketPath: string, pid: number): void {
  const pidfd = pidfdOpen(pid);
  if (pidfd < 0) throw new RunscError('opening a pidfd', errnoText(pidfd));
  const socket = unixConnect(socketPath, SOCK_STREAM);
  if (socket < 0) throw new RunscError(`connecting to the pidfd socket ${socketPath}`, errnoText(socket));
  const bytes = new TextEncoder().encode(String(pid));
  const sent = sendFds(socket, bytes, bytes.length, [pidfd]);
  closeFd(socket);
  closeFd(pidfd);
  if (sent < 0) throw new RunscError(`sending the pidfd to ${socketPath}`, errnoText(sent));
}

/** Opens a pty and sends its master to the socket; answers the slave. The guest's line discipline works, not the host's. */
export function sendConsole(socketPath: string, size: readonly [number, number] | undefined): number {
  const pty = openPty();
  if (typeof pty === 'number') throw new RunscError('opening a terminal', errnoText(pty));
  const [master, slave, name] = pty;
  if (size !== undefined) setWindowSize(master, size[0], size[1]);
  makeRaw(slave);
  // Nobody else has this open file, so the Sentry may write to it as much as it takes.
  fcntlSetFlags(slave, O_RDWR | O_NONBLOCK);
  const socket = unixConnect(socketPath, SOCK_STREAM);
  if (socket < 0) throw new RunscError(`connecting to the console socket ${socketPath}`, errnoText(socket));
  // runc sends the slave's name as the message: libcontainer/utils/cmsg.go.
  const bytes = new TextEncoder().encode(name);
  const sent = sendFds(socket, bytes, bytes.length, [master]);
  closeFd(socket);
  closeFd(master);
  if (sent < 0) throw new RunscError(`sending the terminal to ${socketPath}`, errnoText(sent));
  return slave;
}
