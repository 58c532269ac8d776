// Descriptors made for the processes of a sandbox. `owned` collects what the caller has to close.

import { SOCK_SEQPACKET } from '../sentry/abi/socket.ts';
import { errnoText, RunscError } from './errors.ts';
import { memfdWith, socketPair, unixListen } from './host.ts';

/** Two connected sockets. */
export function pair(owned: number[]): Int32Array {
  const ends = new Int32Array(2);
  const result = socketPair(SOCK_SEQPACKET, ends);
  if (result < 0) throw new RunscError('making a socket pair', errnoText(result));
  owned.push(ends[0]!, ends[1]!);
  return ends;
}

/** A socket that listens at a path. */
export function listenAt(path: string, owned: number[]): number {
  const fd = unixListen(path, SOCK_SEQPACKET);
  if (fd < 0) throw new RunscError(`listening at ${path}`, errnoText(fd));
  owned.push(fd);
  return fd;
}

/** A memfd with a text in it. */
export function textFd(name: string, text: string, owned: number[]): number {
  const fd = memfdWith(name, new TextEncoder().encode(text));
  if (fd < 0) throw new RunscError(`making a memfd for ${name}`, errnoText(fd));
  owned.push(fd);
  return fd;
}
