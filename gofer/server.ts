// Serves one connection: takes a request, closes the handles that came with it, runs its handler, answers. Requests
// never overlap, so handlers share the scratch memory of their connection.

import { close } from 'ptrace-napi';
import { ProtocolError } from '../sentry/base/errors.ts';
import { AttributeReader, HandleTable, type Tree } from './control-fd.ts';
import { HANDLERS } from './handlers.ts';
import { donate, type FdDirectory } from './open-fd.ts';
import type { Reader, Writer } from './protocol/buffer.ts';
import { FRAME_HEAD, type ServerChannel } from './protocol/channel.ts';
import { CLOSE_MAX, OP_COUNT } from './protocol/messages.ts';

export class Connection {
  readonly trees: readonly Tree[];
  readonly handles: HandleTable = new HandleTable();
  readonly attributes: AttributeReader;
  readonly own: FdDirectory;
  /** Owner that a file of our making has before it is given away. */
  readonly uid: number = process.getuid!();
  readonly gid: number = process.getgid!();
  /** Scratch of READDIR. */
  readonly listWords: Uint32Array = new Uint32Array(4);
  /** Files of ids that are not mapped are shown as root's. */
  readonly singleId: boolean;
  /** Tells of changes to what the client watches; -1 until it watches something. */
  inotifyFd = -1;
  /** The descriptor that the running handler gives away, or -1. */
  donated = -1;
  private readonly socketFd: number;

  /** Told to the client, which keeps below it. */
  readonly handleLimit: number;

  constructor(trees: readonly Tree[], own: FdDirectory, socketFd: number, singleId: boolean, handleLimit = 1024) {
    this.handleLimit = handleLimit;
    this.trees = trees;
    this.own = own;
    this.socketFd = socketFd;
    this.singleId = singleId;
    this.attributes = new AttributeReader(singleId);
  }

  /** Answers one request; sequence tags a donated descriptor. Throws ProtocolError when the client breaks the protocol. */
  serve(request: Reader, reply: Writer, sequence: number): void {
    const op = request.u32();
    if (op >= OP_COUNT) throw new ProtocolError(`request ${op}`);
    const closes = request.count(CLOSE_MAX, 4);
    for (let i = 0; i < closes; i++) this.handles.remove(request.u32());

    reply.at = FRAME_HEAD;
    this.donated = -1;
    const result = HANDLERS[op](this, request, reply);
    const sent = this.donated >= 0 ? 1 : 0;
    if (sent === 1) donate(this.socketFd, sequence, this.donated);
    // A failure carries nothing, whatever its handler had begun to write.
    if (result < 0) reply.at = FRAME_HEAD;
    reply.view.setInt32(0, result, true);
    reply.view.setUint32(4, sent, true);
  }

  close(): void {
    this.handles.closeAll();
    if (this.inotifyFd >= 0) close(this.inotifyFd);
    this.inotifyFd = -1;
  }
}

/** Serves until the client breaks the protocol (throws) or is gone (the hang-up thread ends the process). */
export function serveForever(connection: Connection, channel: ServerChannel): never {
  for (;;) {
    channel.next();
    connection.serve(channel.request, channel.reply, channel.sequence);
    channel.send();
  }
}
