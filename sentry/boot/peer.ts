// One connection of the control protocol as the Sentry sees it: whole messages in and out, never waiting. The
// command line is trusted; what cannot be understood is answered with an error all the same.

import { EAGAIN, ECONNRESET, EINTR, EMSGSIZE } from '../abi/errno.ts';
import { MSG_DONTWAIT } from '../abi/socket.ts';
import { warn } from '../base/log.ts';
import { closeFd, recvFds, sendFds } from '../host/confine.ts';
import type { Event, Reply, Request } from './control-protocol.ts';

const MAX_MESSAGE = 1024 * 1024;
/** As many as one message can carry: native/src/memory.cc. */
const MAX_FDS = 64;

const buffer = new Uint8Array(MAX_MESSAGE);
const fdsOut = new Int32Array(MAX_FDS + 1);

/** What receive() found. */
export const PEER_EMPTY = 0;
export const PEER_REQUEST = 1;
export const PEER_GONE = 2;

export class Peer {
  readonly fd: number;
  /** The last message and the descriptors that came with it; whoever takes descriptors empties the list. */
  request: Request | undefined;
  fds: number[] = [];

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Takes one message: PEER_*. */
  receive(): number {
    this.closeFds();
    let n: number;
    // A peer that is gone without having read our answers resets the connection, which is told before what it has sent.
    do n = recvFds(this.fd, buffer, buffer.length, fdsOut, MSG_DONTWAIT);
    while (n === -EINTR || n === -ECONNRESET);
    if (n === -EAGAIN) return PEER_EMPTY;
    if (n <= 0) return PEER_GONE;
    for (let i = 0; i < fdsOut[0]!; i++) this.fds.push(fdsOut[1 + i]!);
    try {
      this.request = JSON.parse(new TextDecoder().decode(buffer.subarray(0, n))) as Request;
    } catch {
      warn('a message on the control socket is no JSON');
      return PEER_GONE;
    }
    return PEER_REQUEST;
  }

  /** A peer that does not read its answers loses them: the Sentry never waits for it. */
  send(message: Reply | Event): void {
    let bytes = new TextEncoder().encode(JSON.stringify(message));
    let sent = sendFds(this.fd, bytes, bytes.length, []);
    if (sent === -EMSGSIZE && 'id' in message) {
      bytes = new TextEncoder().encode(JSON.stringify({ id: message.id, error: 'the answer is too long' }));
      sent = sendFds(this.fd, bytes, bytes.length, []);
    }
  }

  /** A message that is no JSON: the first n bytes. Lost if the peer does not read. */
  sendBytes(bytes: Uint8Array, n: number): void {
    sendFds(this.fd, bytes, n, []);
  }

  closeFds(): void {
    for (const fd of this.fds) closeFd(fd);
    this.fds = [];
  }

  close(): void {
    this.closeFds();
    closeFd(this.fd);
  }
}
