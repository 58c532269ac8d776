// Random requests to a gofer: half well-formed with odd contents, half with bytes flipped, cut or made up.

import { lstatSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { close, openat2, recvTaggedFd, unixSocketPair } from 'ptrace-napi';
import { Reader, Writer } from '../../gofer/protocol/buffer.ts';
import { FRAME_HEAD, REPLY_SIZE, REQUEST_SIZE } from '../../gofer/protocol/channel.ts';
import {
  OP_ATTACH,
  OP_BIND,
  OP_CLOSE,
  OP_CONNECT,
  OP_CONTENTS,
  OP_COUNT,
  OP_CREATE,
  OP_GETXATTR,
  OP_LINK,
  OP_OPEN,
  OP_READDIR,
  OP_REMOVEXATTR,
  OP_RENAME,
  OP_SETSTAT,
  OP_SETXATTR,
  OP_STATS,
  OP_SYMLINK,
  OP_SYNC,
  OP_TMPFILE,
  OP_UNLINK,
  OP_WALK,
  OP_WALKOPEN,
  putAttach,
  putHandle,
  putLink,
  putMake,
  putOpen,
  putReaddir,
  putRename,
  putSetStat,
  putSetXattr,
  putStats,
  putUnlink,
  putWalk,
  putWalkOpen,
  putXattrName,
  TREE_UDS_CREATE,
  TREE_UDS_OPEN,
} from '../../gofer/protocol/messages.ts';
import { Connection } from '../../gofer/server.ts';
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from '../../sentry/abi/fcntl.ts';
import { SOCK_SEQPACKET } from '../../sentry/abi/socket.ts';
import { ProtocolError } from '../../sentry/base/errors.ts';

/** mulberry32: the same seed makes the same run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const NAMES = [
  'a',
  'b',
  'c',
  'd',
  'f',
  'l',
  'out',
  '..',
  '.',
  '',
  'a/b',
  '/etc/passwd',
  'x'.repeat(255),
  'x'.repeat(256),
  '\xff\xfe',
  'n\0',
];
const NUMBERS = [0, 1, 2, 3, 4, 5, 8, 64, 0o644, 0o777, 0o4755, 0o40755, 0o100644, 0o10600, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

export interface FuzzResult {
  served: number;
  /** Requests that did what they asked for, by OP_*. */
  done: number[];
  refused: number;
  /** Descriptors of the process before and after. */
  before: number;
  after: number;
}

/** No file has the name, a link that leads nowhere included. */
const isFree = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) === undefined;

/** Sends `count` requests; throws when the server fails in any way but a ProtocolError, or a descriptor of another kind than asked comes. */
export function fuzzGofer(seed: number, count: number): FuzzResult {
  const next = random(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)];
  const dir = mkdtempSync(join(tmpdir(), 'runsc-fuzz-'));
  mkdirSync(join(dir, 'a/b'), { recursive: true });
  writeFileSync(join(dir, 'f'), 'contents');
  symlinkSync('/etc', join(dir, 'out'));
  const rootFd = openat2(AT_FDCWD, dir, O_PATH | O_CLOEXEC, 0, 0);
  const own = { fd: openat2(AT_FDCWD, '/proc/self/fd', O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0), path: '/proc/self/fd' };
  const sockets = new Int32Array(2);
  unixSocketPair(SOCK_SEQPACKET, sockets);
  const trees = [
    { rootFd, readOnly: false, flags: TREE_UDS_OPEN | TREE_UDS_CREATE },
    { rootFd, readOnly: true, flags: 1 },
  ];
  const descriptors = () => readdirSync('/proc/self/fd').length;
  const result: FuzzResult = { served: 0, done: new Array<number>(OP_COUNT).fill(0), refused: 0, before: descriptors(), after: 0 };
  const w = new Writer(REQUEST_SIZE);
  const reply = new Writer(REPLY_SIZE);
  const request = new Reader(REQUEST_SIZE);
  const number = () => (next() < 0.7 ? pick(NUMBERS) : Math.floor(next() * 2 ** 32));
  const odd = (usual: readonly number[]) => (next() < 0.9 ? pick(usual) : number());
  const handle = () => (next() < 0.98 ? 1 + Math.floor(next() * 4) : number());
  const name = () => (next() < 0.97 ? NAMES[Math.floor(next() * 6)] : pick(NAMES));

  function build(): void {
    const op = next() < 0.3 ? OP_WALK : Math.floor(next() * (OP_COUNT + 1));
    w.at = 0;
    w.u32(op);
    w.u32(0);
    if (op === OP_ATTACH) putAttach(w, pick([0, 0, 1, 1, 0, 1, 0, 2]));
    else if (op === OP_WALK) putWalk(w, handle(), odd([0, 0, 1, 2]), [name(), name()].slice(0, 1 + Math.floor(next() * 2)));
    else if ((op >= OP_CREATE && op <= OP_SYMLINK) || op === OP_TMPFILE || op === OP_BIND)
      putMake(
        w,
        handle(),
        op === OP_TMPFILE ? '' : name(),
        number() & 0o177777,
        process.getuid!(),
        process.getgid!(),
        pick([0, number()]),
        0,
        pick(['', '/etc', 't']),
      );
    else body(op);
    // One in twenty is damaged.
    if (next() < 0.05) w.u8[Math.floor(next() * w.at)] = Math.floor(next() * 256);
    if (next() < 0.02) w.at = Math.max(FRAME_HEAD, Math.floor(next() * w.at));
  }

  function begin(have: number): void {
    w.at = 0;
    w.u32(have === 0 ? OP_ATTACH : OP_WALK);
    w.u32(0);
    if (have === 0) putAttach(w, 0);
    else putWalk(w, 1, 0, [have === 1 ? 'a' : 'f']);
  }

  function body(op: number): void {
    switch (op) {
      case OP_CLOSE:
        break;
      case OP_OPEN:
      case OP_SYNC:
      case OP_CONNECT:
        putOpen(w, handle(), odd([0, 1, 2]));
        break;
      case OP_WALKOPEN:
        putWalkOpen(w, handle(), name(), odd([0, 1, 2]));
        break;
      case OP_LINK:
        putLink(w, handle(), handle(), name());
        break;
      case OP_UNLINK:
        putUnlink(w, handle(), pick([0, handle()]), next() < 0.5, name());
        break;
      case OP_RENAME:
        putRename(w, handle(), name(), handle(), name(), odd([0, 1, 2]));
        break;
      case OP_READDIR:
        putReaddir(w, handle(), pick([0, 1, 2, 3]), odd([0]), odd([0]), pick(['', name()]));
        break;
      case OP_CONTENTS:
      case OP_STATS:
        putStats(w, handle(), pick([[], [name()], [name(), name(), name()], Array.from({ length: 256 }, name)]));
        break;
      case OP_GETXATTR:
      case OP_REMOVEXATTR:
        putXattrName(w, handle(), pick(['user.a', 'trusted.x', '', name()]));
        break;
      case OP_SETXATTR:
        putSetXattr(w, handle(), odd([0, 1, 2]), pick(['user.a', `user.${name()}`]), new Uint8Array(Math.floor(next() * 100)));
        break;
      case OP_SETSTAT:
        putSetStat(w, handle(), {
          mask: Math.floor(next() * 256),
          mode: number() & 0o7777,
          uid: process.getuid!(),
          gid: process.getgid!(),
          size: Math.floor(next() * 5000),
          atimeSec: number(),
          atimeNsec: odd([0]),
          mtimeSec: number(),
          mtimeNsec: Math.floor(next() * 1e9),
        });
        break;
      default:
        putHandle(w, handle());
    }
  }

  let connection = new Connection(trees, own, sockets[1], false);
  let sequence = 0;
  for (let i = 0; i < count; i++) {
    // Each connection begins with handles of a directory and a file, in a tree that may be changed.
    if (connection.handles.size < 3) begin(connection.handles.size);
    else build();
    sequence++;
    request.u8.set(w.u8.subarray(0, w.at));
    request.reset(w.at);
    // What the initial names stand for may be gone by now.
    if (i % 50 === 0) {
      if (isFree(join(dir, 'a'))) mkdirSync(join(dir, 'a'));
      if (isFree(join(dir, 'f'))) writeFileSync(join(dir, 'f'), 'contents');
    }
    try {
      connection.serve(request, reply, sequence);
      result.served++;
      if (reply.view.getInt32(0, true) >= 0) result.done[request.view.getUint32(0, true)]++;
      if (reply.view.getUint32(4, true) === 1) {
        const fd = recvTaggedFd(sockets[0], sequence);
        if (fd < 0) throw new Error(`donated: ${fd}`);
        close(fd);
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      result.refused++;
      // A broken connection is dropped with all it holds. Handles would pile up otherwise, too.
      connection.close();
      connection = new Connection(trees, own, sockets[1], false);
    }
    if (connection.handles.size > 200) connection.close();
  }
  connection.close();
  result.after = descriptors();
  for (const fd of [rootFd, own.fd, sockets[0], sockets[1]]) close(fd);
  rmSync(dir, { recursive: true, force: true });
  return result;
}
