// A gofer for tests: served in the test's own thread, or by a real process.

import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { close, ftruncate, memfdCreate, openat2, unixSocketPair } from 'ptrace-napi';
import type { GoferConfig, GoferTree } from '../../gofer/config.ts';
import { Reader, Writer } from '../../gofer/protocol/buffer.ts';
import { FRAME_HEAD, REGION_SIZE, REPLY_SIZE, REQUEST_SIZE } from '../../gofer/protocol/channel.ts';
import { Connection } from '../../gofer/server.ts';
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from '../../sentry/abi/fcntl.ts';
import { SOCK_SEQPACKET } from '../../sentry/abi/socket.ts';
import { GoferClient, type Transport } from '../../sentry/fs/gofer/client.ts';

/** Answers requests by calling the server, as if it were at the other end. */
export class Loopback implements Transport {
  readonly request: Writer = new Writer(REQUEST_SIZE);
  readonly reply: Reader = new Reader(REPLY_SIZE);
  readonly connection: Connection;
  donated = 0;
  sequence = 0;
  /** Requests so far. */
  calls = 0;
  private readonly serverRequest = new Reader(REQUEST_SIZE);
  private readonly serverReply = new Writer(REPLY_SIZE);

  constructor(connection: Connection) {
    this.connection = connection;
  }

  roundTrip(): number {
    this.calls++;
    this.sequence++;
    this.serverRequest.u8.set(this.request.u8.subarray(0, this.request.at));
    this.serverRequest.reset(this.request.at);
    this.connection.serve(this.serverRequest, this.serverReply, this.sequence);
    this.reply.u8.set(this.serverReply.u8.subarray(0, this.serverReply.at));
    this.reply.reset(this.serverReply.at);
    const result = this.reply.i32();
    this.donated = this.reply.u32();
    if (this.reply.at !== FRAME_HEAD) throw new Error('head');
    return result;
  }
}

export interface TestGofer {
  /** The served tree on the host. */
  readonly dir: string;
  readonly loopback: Loopback;
  readonly connection: Connection;
  readonly client: GoferClient;
  close(): void;
}

/** A gofer in this thread that serves a fresh temporary directory; flags: TREE_*. */
export function testGofer(flags = 0, readOnly = false, handleLimit = 4096): TestGofer {
  const dir = mkdtempSync(join(tmpdir(), 'runsc-gofer-'));
  const sockets = new Int32Array(2);
  unixSocketPair(SOCK_SEQPACKET, sockets);
  const rootFd = openat2(AT_FDCWD, dir, O_PATH | O_CLOEXEC, 0, 0);
  const fd = openat2(AT_FDCWD, '/proc/self/fd', O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0);
  const connection = new Connection([{ rootFd, readOnly, flags }], { fd, path: '/proc/self/fd' }, sockets[1], false, handleLimit);
  const loopback = new Loopback(connection);
  const client = new GoferClient(loopback, sockets[0]);
  return {
    dir,
    loopback,
    connection,
    client,
    close() {
      connection.close();
      // A client that has dropped its connection has closed its end.
      if (!client.broken) close(sockets[0]);
      for (const each of [sockets[1], rootFd, fd]) close(each);
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export interface GoferProcess {
  readonly pid: number;
  readonly client: GoferClient;
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>;
  /** Drops our end of the connection. */
  hangUp(): void;
  stderr(): string;
}

/** Starts gofer/main.ts as a process. */
export function goferProcess(trees: GoferTree[], more: Partial<GoferConfig> = {}): GoferProcess {
  const region = memfdCreate('gofer-test');
  ftruncate(region, REGION_SIZE);
  const sockets = new Int32Array(2);
  unixSocketPair(SOCK_SEQPACKET, sockets);
  const config: GoferConfig = { trees, regionFd: 5, socketFd: 4, logFd: 2, singleId: false, seccomp: true, ...more };
  const path = join(mkdtempSync(join(tmpdir(), 'runsc-gofer-')), 'config');
  writeFileSync(path, JSON.stringify(config));
  const configFd = openSync(path, 'r');
  rmSync(join(path, '..'), { recursive: true });
  const main = join(import.meta.dirname, '..', '..', 'gofer', 'main.ts');
  const child = spawn(process.execPath, [main], { stdio: ['ignore', 'ignore', 'pipe', configFd, sockets[1], region] });
  let errors = '';
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  closeSync(configFd);
  close(sockets[1]);
  const client = GoferClient.connect(region, REGION_SIZE, sockets[0]);
  close(region);
  if (typeof client === 'number') throw new Error(`connect: ${client}`);
  return {
    pid: child.pid!,
    client,
    ended: new Promise((resolve) => child.on('exit', (code) => resolve(code))),
    hangUp: () => close(sockets[0]),
    stderr: () => errors,
  };
}
