// Host descriptors that the Sentry owns. Every donated one is in a HostFd, so that it is closed exactly once, by
// whoever gives up the last use of it.

import { assert } from '../base/assert.ts';
import { close, statx } from './host-io.ts';

/** An owned descriptor. */
export class HostFd {
  readonly fd: number;
  /** May it be written through? */
  readonly writable: boolean;
  /** Its file system can tell what a read would wait for: RWF_NOWAIT. */
  knowsNowait = true;
  private open = true;

  constructor(fd: number, writable: boolean) {
    this.fd = fd;
    this.writable = writable;
  }

  close(): void {
    assert(this.open, 'host descriptor closed twice');
    this.open = false;
    close(this.fd);
  }
}

const STATX_BASIC_STATS = 0x7ff;
const AT_EMPTY_PATH = 0x1000;
const bytes = new Uint8Array(256);

/** What fileAttributes() has filled: a struct statx. */
export const statxBuffer: DataView = new DataView(bytes.buffer);

/** statx(2) of a descriptor into statxBuffer; 0 or -errno. Owners are as our user namespace sees them: not to be believed. */
export function fileAttributes(hostFd: number): number {
  return statx(hostFd, '', AT_EMPTY_PATH, STATX_BASIC_STATS, bytes, 0);
}
