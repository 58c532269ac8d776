// Asking a running sandbox: one connection to its control socket (or to the socket it was started with).
// Everything is synchronous: a command of runsc has nothing else to do while it waits.

import { EAGAIN, ECONNREFUSED, ECONNRESET, EINTR, ENOENT } from '../sentry/abi/errno.ts';
import { POLLIN } from '../sentry/abi/poll.ts';
import { SOCK_SEQPACKET } from '../sentry/abi/socket.ts';
import type { Event, Reply, Request } from '../sentry/boot/control-protocol.ts';
import { errnoText, RunscError } from './errors.ts';
import { closeFd, pollFds, recvFds, sendFds, unixConnect } from './host.ts';

/** No message is larger: ps of thousands of processes fits. */
const MAX_MESSAGE = 1024 * 1024;

type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;
export type Ask = WithoutId<Request>;

/** The sandbox's end is gone. */
export class SandboxGone extends RunscError {}

export class ControlClient {
  readonly fd: number;
  private lastId = 0;
  private readonly buffer = new Uint8Array(MAX_MESSAGE);
  private readonly replies: Reply[] = [];
  private readonly events: Event[] = [];

  constructor(fd: number) {
    this.fd = fd;
  }

  /** Connects to a control socket. Throws SandboxGone when nobody listens. */
  static connect(path: string): ControlClient {
    const fd = unixConnect(path, SOCK_SEQPACKET);
    if (fd === -ECONNREFUSED || fd === -ENOENT) throw new SandboxGone('the sandbox is not running');
    if (fd < 0) throw new RunscError(`connecting to ${path}`, errnoText(fd));
    return new ControlClient(fd);
  }

  close(): void {
    closeFd(this.fd);
  }

  /** Sends a request without waiting: its number. */
  send(ask: Ask, fds: readonly number[] = []): number {
    const id = ++this.lastId;
    const bytes = new TextEncoder().encode(JSON.stringify({ id, ...ask }));
    let sent: number;
    do sent = sendFds(this.fd, bytes, bytes.length, [...fds]);
    while (sent === -EINTR);
    if (sent < 0) throw new SandboxGone('the sandbox is gone', errnoText(sent));
    return id;
  }

  /** Waits for the answer to a request that send() has sent. */
  await(id: number): Reply {
    for (;;) {
      const reply = this.takeReply(id);
      if (reply !== undefined) return reply;
      this.receive(-1);
    }
  }

  /** Sends a request and waits for its answer. Throws RunscError(what) with what the sandbox said. */
  ask<T>(what: string, ask: Ask, fds: readonly number[] = []): T {
    return resultOf(what, this.await(this.send(ask, fds))) as T;
  }

  /** The answer to a request that send() has sent, if it has come. */
  takeReply(id: number): Reply | undefined {
    const at = this.replies.findIndex((r) => r.id === id);
    return at < 0 ? undefined : this.replies.splice(at, 1)[0];
  }

  takeEvent(): Event | undefined {
    return this.events.shift();
  }

  /** Waits at most timeoutMs (-1: for ever) for one message and files it. false when the time is over. */
  receive(timeoutMs: number): boolean {
    const triple = Int32Array.of(this.fd, POLLIN, 0);
    const ready = pollFds(triple, timeoutMs);
    if (ready === 0 || ready === -EINTR) return false;
    let n: number;
    // A sandbox that ends without having read all that we sent resets the connection. That is told once, and before what
    // the sandbox has said last: net/unix/af_unix.c:unix_release_sock().
    do n = recvFds(this.fd, this.buffer, this.buffer.length, new Int32Array(2));
    while (n === -ECONNRESET);
    if (n === -EAGAIN || n === -EINTR) return false;
    if (n <= 0) throw new SandboxGone('the sandbox is gone');
    const message = JSON.parse(new TextDecoder().decode(this.buffer.subarray(0, n))) as Reply | Event;
    if ('event' in message) this.events.push(message);
    else this.replies.push(message);
    return true;
  }
}

/** What a reply holds, or its error thrown. */
export function resultOf(what: string, reply: Reply): unknown {
  if (reply.error !== undefined)
    throw new RunscError(what, reply.errno === undefined ? reply.error : `${reply.error}: ${errnoText(reply.errno)}`);
  return reply.result;
}
