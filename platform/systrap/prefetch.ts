// What the stub copies into the context page before it asks: derived from the argument words of the
// system-call table. Per call up to four 16-bit words, the first in the low bits of a u64 (twin of
// native/stub/prefetch.h:prefetch()):
//
//   bits 0-2   the argument that is the pointer
//   bits 3-4   0: a count of units · 1: a NUL-terminated string · 2: bytes · 3: of fixed size
//   bits 5-7   0, 2: the argument that is the count
//   bits 8-13  0: bytes of a unit · 3: size in 8-byte words
//   bit 14     3: a msghdr, whose vector is fetched too
//   bit 15     0, 3: and what the vector's entries point at, the msghdr's name and control data
//
// A prefetch is a cache: what is missing here is read from the guest's memory when it is asked for.

import { SYS_fcntl, SYS_pwritev, SYS_pwritev2, SYS_sendmsg, SYS_writev } from '../../sentry/abi/sysno-x64.ts';

const CALLS = 512;
const WORDS = 4;
const STRING = 1;
const BYTES = 2;
const FIXED = 3;

/** Structs that calls read, by their word in the table: bytes. */
const STRUCTS: Readonly<Record<string, number>> = { sigset: 8, sigaction: 32 };
/** A timespec is a result as often as an argument: the name tells. */
const TIMES_READ = new Set(['req', 'tmo']);
const IOVEC_SIZE = 16;
/** fcntl's third argument points at this for some commands, and the stub knows which: native/stub/prefetch.h:takes_lock(). */
const FLOCK_SIZE = 32;
const FLOCK_ARGUMENT = 2;
const MSGHDR_SIZE = 56;
const MSGHDR = 0x4000;
const FOLLOWS = 0x8000;
/** Calls that read what their vectors point at; others store there. */
const GATHERING = new Set([SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_sendmsg]);
const POLLFD_SIZE = 8;

/** What of a line of the system-call table is needed here: "name:type" or "name:type:argument" per argument. */
export interface CallArguments {
  readonly args: readonly string[];
}

/** The table as the stub reads it, by system call number. */
export function prefetchTable(calls: readonly (CallArguments | undefined)[]): Uint8Array {
  const bytes = new Uint8Array(CALLS * 8);
  const view = new DataView(bytes.buffer);
  for (let nr = 0; nr < Math.min(calls.length, CALLS); nr++) {
    let count = 0;
    calls[nr]?.args.forEach((arg, at) => {
      const word = wordOf(arg, at, GATHERING.has(nr) ? FOLLOWS : 0);
      if (word !== 0 && count < WORDS) view.setUint16(nr * 8 + count++ * 2, word, true);
    });
  }
  if (calls[SYS_fcntl] !== undefined) view.setUint16(SYS_fcntl * 8, FLOCK_ARGUMENT | (FIXED << 3) | ((FLOCK_SIZE / 8) << 8), true);
  return bytes;
}

function wordOf(arg: string, at: number, follows: number): number {
  const [name, type, counted] = arg.split(':');
  switch (type) {
    case 'path':
    case 'str':
      return at | (STRING << 3);
    case 'buf':
      return at | (BYTES << 3) | (Number(counted) << 5);
    case 'iov':
      return at | (Number(counted) << 5) | (IOVEC_SIZE << 8) | follows;
    case 'msghdr':
      return at | (FIXED << 3) | ((MSGHDR_SIZE / 8) << 8) | MSGHDR | follows;
    case 'pollfd':
      return ((at + 1) << 5) | (POLLFD_SIZE << 8) | at;
    case 'timespec':
      return TIMES_READ.has(name!) ? at | (FIXED << 3) | (2 << 8) : 0;
  }
  const size = STRUCTS[type!];
  return size === undefined ? 0 : at | (FIXED << 3) | ((size / 8) << 8);
}
