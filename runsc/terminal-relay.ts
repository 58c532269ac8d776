// A terminal for a program whose caller has none, or has redirected a part of it: `runsc run ID </dev/null | cat` with
// process.terminal. As runc does, we make a pty, keep its master, and carry bytes between it and our own streams.

import { readSync, writeSync } from 'node:fs';
import { O_NONBLOCK, O_RDWR } from '../sentry/abi/fcntl.ts';
import { POLLIN, POLLOUT } from '../sentry/abi/poll.ts';
import { errnoText, RunscError } from './errors.ts';
import { closeFd, fcntlSetFlags, getWindowSize, isTerminal, makeRaw, openPty, pollFds, setWindowSize } from './host.ts';

const CHUNK = 65536;
/** A pty takes at least so much at once when it can be written to. */
const INPUT_CHUNK = 256;

export class TerminalRelay {
  readonly master: number;
  /** For the sandbox, as stdin, stdout and stderr. */
  readonly slave: number;
  private readonly bytes = new Uint8Array(CHUNK);
  private inputEnded = false;
  private slaveOpen = true;

  private constructor(master: number, slave: number) {
    this.master = master;
    this.slave = slave;
  }

  /** undefined where the caller's three streams are a terminal: it is joined to the guest's directly. */
  static whereNeeded(size: readonly [number, number] | undefined): TerminalRelay | undefined {
    if (isTerminal(0) && isTerminal(1) && isTerminal(2)) return undefined;
    const pty = openPty();
    if (typeof pty === 'number') throw new RunscError('opening a terminal', errnoText(pty));
    const [master, slave] = pty;
    makeRaw(slave);
    fcntlSetFlags(slave, O_RDWR | O_NONBLOCK);
    const own = isTerminal(0) ? getWindowSize(0) : undefined;
    if (size !== undefined) setWindowSize(master, size[0], size[1]);
    else if (own !== undefined && typeof own !== 'number') setWindowSize(master, own[0], own[1]);
    return new TerminalRelay(master, slave);
  }

  /** The sandbox has its own copy: only without ours does the end of its side become visible. */
  closeSlave(): void {
    if (this.slaveOpen) closeFd(this.slave);
    this.slaveOpen = false;
  }

  /** What to wait on for reading. */
  get sources(): number[] {
    return this.inputEnded ? [this.master] : [this.master, 0];
  }

  /** Moves what can be moved without waiting. */
  pump(): void {
    const triples = Int32Array.of(this.master, POLLIN | POLLOUT, 0, this.inputEnded ? -1 : 0, POLLIN, 0);
    pollFds(triples, 0);
    if ((triples[2]! & ~POLLOUT) !== 0) this.moveOutput();
    if (triples[5] !== 0 && (triples[2]! & POLLOUT) !== 0) this.moveInput();
  }

  /** After the sandbox's end: what it has written last. */
  drain(): void {
    this.closeSlave();
    while (this.moveOutput());
    closeFd(this.master);
  }

  private moveOutput(): boolean {
    let n: number;
    try {
      n = readSync(this.master, this.bytes);
    } catch {
      return false; // EIO: the other side is closed
    }
    writeAll(1, this.bytes.subarray(0, n));
    return n > 0;
  }

  private moveInput(): void {
    let n: number;
    try {
      n = readSync(0, this.bytes, 0, INPUT_CHUNK, null);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return;
      n = 0;
    }
    if (n === 0) this.inputEnded = true;
    else writeAll(this.master, this.bytes.subarray(0, n));
  }
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return; // nobody reads any more
      pollFds(Int32Array.of(fd, POLLOUT, 0), -1);
    }
  }
}
