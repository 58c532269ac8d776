// SO_RCVTIMEO and SO_SNDTIMEO, a struct timeval: sock_set_timeout(), sock_get_timeout(). The waiting
// is the Sentry's own, for host sockets too.

import { EDOM, EINVAL } from '../abi/errno.ts';
import { getI64, put64 } from '../base/int64.ts';
import { type FileDescription, Timeouts } from '../vfs/file-description.ts';

const TIMEVAL_SIZE = 16;

/** Zero is forever, a negative time no time at all. */
export function setTimeout(file: FileDescription, isRead: boolean, value: Uint8Array, length: number): number {
  if (length < TIMEVAL_SIZE) return -EINVAL;
  const v = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const sec = getI64(v, 0);
  const usec = getI64(v, 8);
  if (usec < 0 || usec >= 1e6) return -EDOM;
  let ns = sec * 1e9 + usec * 1000;
  if (sec < 0) ns = 0;
  else if (ns === 0) ns = Number.POSITIVE_INFINITY;
  file.timeouts ??= new Timeouts();
  if (isRead) file.timeouts.readNs = ns;
  else file.timeouts.writeNs = ns;
  return 0;
}

/** Puts the timeout and returns its size. */
export function getTimeout(ns: number, value: Uint8Array): number {
  const v = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const isForever = ns === Number.POSITIVE_INFINITY;
  put64(v, 0, isForever ? 0 : Math.floor(ns / 1e9));
  put64(v, 8, isForever ? 0 : Math.floor((ns % 1e9) / 1000));
  return TIMEVAL_SIZE;
}
