// What the stub copies into the context page before it asks: derived from the argument words of the
// system-call table. Per call up to four 16-bit words, the first in the low bits of a u64 (twin of
// native/stub/stub.c:prefetch()):
//
//   bits 0-2   the argument that is the pointer
//   bits 3-4   0: a count of units · 1: a NUL-terminated string · 2: bytes · 3: of fixed size
//   bits 5-7   0, 2: the argument that is the count
//   bits 8-15  0: bytes of a unit · 3: size in 8-byte words
//
// A prefetch is a cache: what is missing here is read from the guest's memory when it is asked for.

const CALLS = 512;
const WORDS = 4;
const STRING = 1;
const BYTES = 2;
const FIXED = 3;

/** Structs that calls read, by their word in the table: bytes. */
const STRUCTS: Readonly<Record<string, number>> = { sigset: 8, msghdr: 56, sigaction: 32 };
/** A timespec is a result as often as an argument: the name tells. */
const TIMES_READ = new Set(['req', 'tmo']);
const IOVEC_SIZE = 16;
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
      const word = wordOf(arg, at);
      if (word !== 0 && count < WORDS) view.setUint16(nr * 8 + count++ * 2, word, true);
    });
  }
  return bytes;
}

function wordOf(arg: string, at: number): number {
  const [name, type, counted] = arg.split(':');
  switch (type) {
    case 'path':
    case 'str':
      return at | (STRING << 3);
    case 'buf':
      return at | (BYTES << 3) | (Number(counted) << 5);
    case 'iov':
      return at | (Number(counted) << 5) | (IOVEC_SIZE << 8);
    case 'pollfd':
      return ((at + 1) << 5) | (POLLFD_SIZE << 8) | at;
    case 'timespec':
      return TIMES_READ.has(name!) ? at | (FIXED << 3) | (2 << 8) : 0;
  }
  const size = STRUCTS[type!];
  return size === undefined ? 0 : at | (FIXED << 3) | ((size / 8) << 8);
}
