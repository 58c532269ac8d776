// Names of the numbers that system calls take, for strace: which argument of which call means what.

import { O_ACCMODE } from '../abi/fcntl.ts';
import { makeNameTables, type NameSet, type NameTables } from './strace-tables.ts';

/** As the kernel counts. */
const SIGRTMIN = 32;

const cache = new Map<string, NameSet | null>();
let tables: NameTables | undefined;

function made(): NameTables {
  tables ??= makeNameTables();
  return tables;
}

/** What the number `call.argument` of the given type means, or null when it is just a number. */
export function namesOf(call: string, argument: string, type: string): NameSet | null {
  const { byType, byArgument, byPattern } = made();
  const known = byType[type];
  if (known !== undefined) return known;
  const key = `${call}.${argument}`;
  let set = cache.get(key);
  if (set === undefined) {
    set = byArgument[key] ?? byPattern.find(([pattern]) => pattern.test(key))?.[1] ?? null;
    cache.set(key, set);
  }
  return set;
}

export function signalName(signo: number): string {
  return made().signal.names.get(signo) ?? (signo >= SIGRTMIN ? `SIGRT_${signo - SIGRTMIN}` : `${signo}`);
}

/** socket(2)'s type: the kind and its two flags. */
export function socketType(type: number): string {
  const kinds = ['SOCK_0', 'SOCK_STREAM', 'SOCK_DGRAM', 'SOCK_RAW', 'SOCK_RDM', 'SOCK_SEQPACKET'];
  const flags = type & ~15;
  return (kinds[type & 15] ?? `${type & 15}`) + (flags === 0 ? '' : `|${bits(made().socketFlags, flags)}`);
}

/** open(2)'s flags: the access mode is no bit. */
export function openFlags(flags: number): string {
  const access = ['O_RDONLY', 'O_WRONLY', 'O_RDWR', 'O_ACCMODE'][flags & O_ACCMODE]!;
  const rest = flags & ~O_ACCMODE;
  return rest === 0 ? access : `${access}|${bits(made().open, rest)}`;
}

/** clone(2)'s flags: the low byte is a signal. */
export function cloneFlags(flags: number): string {
  const signo = flags & 0xff;
  const rest = flags & ~0xff;
  const text = rest === 0 ? '' : bits(made().clone, rest);
  if (signo === 0) return text === '' ? '0' : text;
  return text === '' ? signalName(signo) : `${text}|${signalName(signo)}`;
}

/** The value by name; unknown bits in hexadecimal. */
export function named(set: NameSet, value: number): string {
  if (set.kind === 'one')
    return set.names.get(value) ?? (value > 0xffff || value < -0xffff ? `0x${(value >>> 0).toString(16)}` : `${value}`);
  return bits(set, value);
}

function bits(set: NameSet, value: number): string {
  if (value === 0) return set.names.get(0) ?? '0';
  let text = '';
  let rest = value;
  // Names of several bits first, so that O_SYNC is not O_DSYNC and something.
  for (const [bit, name] of [...set.names].sort((a, b) => weight(b[0]) - weight(a[0]))) {
    if (bit === 0 || (rest & bit) !== bit) continue;
    text += text === '' ? name : `|${name}`;
    rest &= ~bit;
  }
  if (rest !== 0) text += `${text === '' ? '' : '|'}0x${(rest >>> 0).toString(16)}`;
  return text;
}

function weight(n: number): number {
  let count = 0;
  for (let m = n >>> 0; m !== 0; m &= m - 1) count++;
  return count;
}
