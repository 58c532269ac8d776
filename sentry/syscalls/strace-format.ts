// Arguments of a system call as strace(1) prints them. What the call reads is formatted when it
// starts, what it fills when it has ended well.

import { AT_FDCWD, O_CREAT, O_DIRECTORY, O_TMPFILE } from '../abi/fcntl.ts';
import { POLLERR, POLLHUP, POLLIN, POLLNVAL, POLLOUT, POLLPRI, POLLRDHUP } from '../abi/poll.ts';
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, STAT } from '../abi/stat.ts';
import { getI64, getU64 } from '../base/int64.ts';
import type { Task } from '../kernel/task.ts';
import { cloneFlags, named, namesOf, openFlags, signalName, socketType } from './strace-names.ts';

/** Bytes of a buffer that are shown: strace -s. */
const SHOWN = 64;
const MAX_ITEMS = 8;
const bytes = new Uint8Array(4096);
const view = new DataView(bytes.buffer);

/** Kinds that the call fills: shown after it. */
function isOutput(call: string, name: string, type: string): boolean {
  if (type.startsWith('out:')) return true;
  switch (type) {
    case 'stat':
    case 'statx':
    case 'statfs':
      return true;
    case 'timespec':
      return name === 'rem' || call === 'clock_gettime' || call === 'clock_getres';
    case 'timeval':
      return call === 'gettimeofday';
    case 'pollfd':
      return true;
    default:
      return OUTPUT_POINTERS.has(`${call}.${name}`);
  }
}

const OUTPUT_POINTERS: ReadonlySet<string> = new Set([
  'pipe.fds',
  'pipe2.fds',
  'socketpair.fds',
  'wait4.status',
  'readv.iov',
  'rt_sigprocmask.oldset',
  'epoll_wait.events',
  'epoll_pwait.events',
]);

/** The arguments that are known when the call starts; null for those it fills. open's mode counts only where a file may be made. */
export function inputs(t: Task, call: string, specs: readonly string[]): (string | null)[] {
  const flagsAt = call === 'open' ? 1 : call === 'openat' ? 2 : -1;
  const shown = flagsAt >= 0 && (t.args.int(flagsAt) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) === 0 ? specs.slice(0, flagsAt + 1) : specs;
  return shown.map((spec, n) => {
    const [name, type] = split(spec);
    return isOutput(call, name, type) ? null : input(t, call, n, name, type);
  });
}

/** The text of an argument that the call has filled, or its address when it has failed. */
export function output(t: Task, call: string, n: number, spec: string, result: number): string {
  const [name, type] = split(spec);
  const addr = t.args.addr(n);
  if (addr === 0) return 'NULL';
  if (result < 0) return hex(addr);
  return filled(t, call, name, type, addr, result) ?? hex(addr);
}

function split(spec: string): [string, string] {
  const at = spec.indexOf(':');
  return [spec.slice(0, at), spec.slice(at + 1)];
}

function hex(n: number): string {
  return n === 0 ? 'NULL' : `0x${n.toString(16)}`;
}

function input(t: Task, call: string, n: number, name: string, type: string): string {
  const a = t.args;
  const names = namesOf(call, name, type);
  if (call === 'clone' && name === 'flags') return cloneFlags(a.int(n));
  if (name === 'flags' && (call === 'open' || call === 'openat')) return openFlags(a.int(n));
  if (name === 'type' && (call === 'socket' || call === 'socketpair')) return socketType(a.int(n));
  if (names !== null) return named(names, a.int(n));
  switch (type) {
    case 'int':
    case 'fd':
    case 'pid':
      return `${a.int(n)}`;
    case 'dirfd':
      return a.int(n) === AT_FDCWD ? 'AT_FDCWD' : `${a.int(n)}`;
    case 'uint':
    case 'uid':
      return a.uint(n) === 0xffffffff ? '-1' : `${a.uint(n)}`;
    case 'size':
      return `${a.addr(n)}`;
    case 'long':
      return `${a.long(n)}`;
    case 'flags':
      return a.int(n) === 0 ? '0' : hex(a.uint(n));
    case 'mode':
      return `0${(a.uint(n) & 0o7777777).toString(8)}`;
    case 'path':
    case 'str':
      return a.addr(n) === 0 ? 'NULL' : text(t, a.addr(n), SHOWN * 4, true);
    case 'timespec':
    case 'timeval':
      return pair(t, a.addr(n), type);
    case 'sigset':
      return signalSet(t, a.addr(n));
    case 'iov':
      return hex(a.addr(n));
  }
  if (type.startsWith('buf:')) return a.addr(n) === 0 ? 'NULL' : text(t, a.addr(n), a.addr(Number(type.slice(4))), false);
  if (type.startsWith('iov:')) return vector(t, a.addr(n), a.addr(Number(type.slice(4))));
  if (call === 'rt_sigprocmask' && name === 'set') return signalSet(t, a.addr(n));
  return name === 'offset' ? `${a.addr(n)}` : hex(a.addr(n));
}

function filled(t: Task, call: string, name: string, type: string, addr: number, result: number): string | null {
  if (type.startsWith('out:')) return call.startsWith('getdents') ? hex(addr) : text(t, addr, result, false);
  switch (type) {
    case 'stat':
      return stat(t, addr);
    case 'timespec':
    case 'timeval':
      return pair(t, addr, type);
    case 'pollfd':
      return pollFds(t, addr, t.args.uint(1));
  }
  switch (`${call}.${name}`) {
    case 'pipe.fds':
    case 'pipe2.fds':
    case 'socketpair.fds':
      return load(t, addr, 8) ? `[${view.getInt32(0, true)}, ${view.getInt32(4, true)}]` : null;
    case 'wait4.status':
      return result === 0 || !load(t, addr, 4) ? null : waitStatus(view.getInt32(0, true));
    case 'rt_sigprocmask.oldset':
      return signalSet(t, addr);
    case 'epoll_wait.events':
    case 'epoll_pwait.events':
      return epollEvents(t, addr, result);
  }
  return null;
}

function load(t: Task, addr: number, n: number): boolean {
  return t.mm.readSome(addr, bytes, 0, n) === n;
}

function pair(t: Task, addr: number, type: string): string {
  if (addr === 0) return 'NULL';
  if (!load(t, addr, 16)) return hex(addr);
  return `{tv_sec=${getI64(view, 0)}, tv_${type === 'timespec' ? 'n' : 'u'}sec=${getI64(view, 8)}}`;
}

const TYPES: ReadonlyMap<number, string> = new Map([
  [S_IFREG, 'S_IFREG'],
  [S_IFDIR, 'S_IFDIR'],
  [S_IFLNK, 'S_IFLNK'],
  [S_IFCHR, 'S_IFCHR'],
  [S_IFBLK, 'S_IFBLK'],
  [S_IFIFO, 'S_IFIFO'],
  [S_IFSOCK, 'S_IFSOCK'],
]);

function stat(t: Task, addr: number): string | null {
  if (!load(t, addr, STAT.size)) return null;
  const mode = view.getUint32(STAT.mode, true);
  const kind = TYPES.get(mode & S_IFMT) ?? `0${(mode & S_IFMT).toString(8)}`;
  const shown = `st_mode=${kind}|0${(mode & 0o7777).toString(8)}`;
  if ((mode & S_IFMT) === S_IFCHR || (mode & S_IFMT) === S_IFBLK) return `{${shown}, st_rdev=${hex(getU64(view, STAT.rdev))}, ...}`;
  return `{${shown}, st_size=${getU64(view, STAT.fileSize)}, ...}`;
}

const POLL_NAMES: readonly (readonly [number, string])[] = [
  [POLLIN, 'POLLIN'],
  [POLLPRI, 'POLLPRI'],
  [POLLOUT, 'POLLOUT'],
  [POLLERR, 'POLLERR'],
  [POLLHUP, 'POLLHUP'],
  [POLLNVAL, 'POLLNVAL'],
  [POLLRDHUP, 'POLLRDHUP'],
];

function pollBits(events: number): string {
  const found = POLL_NAMES.filter(([bit]) => (events & bit) !== 0).map(([, name]) => name);
  return found.length === 0 ? '0' : found.join('|');
}

function pollFds(t: Task, addr: number, count: number): string | null {
  const shown = Math.min(count, MAX_ITEMS);
  if (!load(t, addr, shown * 8)) return null;
  const items: string[] = [];
  for (let i = 0; i < shown; i++) {
    const events = pollBits(view.getUint16(i * 8 + 4, true));
    const ready = view.getUint16(i * 8 + 6, true);
    items.push(`{fd=${view.getInt32(i * 8, true)}, events=${events}${ready === 0 ? '' : `, revents=${pollBits(ready)}`}}`);
  }
  return `[${items.join(', ')}${count > shown ? ', ...' : ''}]`;
}

function epollEvents(t: Task, addr: number, count: number): string | null {
  const shown = Math.min(count, MAX_ITEMS);
  if (!load(t, addr, shown * 12)) return null;
  const items: string[] = [];
  for (let i = 0; i < shown; i++) items.push(`{events=${pollBits(view.getUint32(i * 12, true))}, data=${hex(getU64(view, i * 12 + 4))}}`);
  return `[${items.join(', ')}${count > shown ? ', ...' : ''}]`;
}

function waitStatus(status: number): string {
  if ((status & 0x7f) === 0) return `[{WIFEXITED(s) && WEXITSTATUS(s) == ${(status >> 8) & 0xff}}]`;
  if ((status & 0xff) === 0x7f) return `[{WIFSTOPPED(s) && WSTOPSIG(s) == ${signalName((status >> 8) & 0xff)}}]`;
  return `[{WIFSIGNALED(s) && WTERMSIG(s) == ${signalName(status & 0x7f)}}]`;
}

function signalSet(t: Task, addr: number): string {
  if (addr === 0) return 'NULL';
  if (!load(t, addr, 8)) return hex(addr);
  const members: string[] = [];
  for (let signo = 1; signo <= 64; signo++) {
    if ((view.getUint32(signo > 32 ? 4 : 0, true) & (1 << ((signo - 1) & 31))) !== 0) members.push(signalName(signo).replace(/^SIG/, ''));
  }
  return members.length > 60 ? `~[]` : `[${members.join(' ')}]`;
}

function vector(t: Task, addr: number, count: number): string {
  const shown = Math.min(count, MAX_ITEMS);
  if (!load(t, addr, shown * 16)) return hex(addr);
  const parts: [number, number][] = [];
  for (let i = 0; i < shown; i++) parts.push([getU64(view, i * 16), getU64(view, i * 16 + 8)]);
  const items = parts.map(([base, length]) => `{iov_base=${text(t, base, length, false)}, iov_len=${length}}`);
  return `[${items.join(', ')}${count > shown ? ', ...' : ''}]`;
}

/** Guest bytes in quotes with C's escapes; a string ends at its NUL. */
function text(t: Task, addr: number, length: number, isString: boolean): string {
  const n = Math.min(length, isString ? SHOWN * 4 : SHOWN);
  const got = t.mm.readSome(addr, bytes, 0, n);
  if (got <= 0 && n > 0) return hex(addr);
  let shown = '';
  for (let i = 0; i < got; i++) {
    if (isString && bytes[i] === 0) return `"${shown}"`;
    shown += escaped(bytes[i]!, i + 1 < got ? bytes[i + 1]! : 0);
  }
  return `"${shown}"${length > n || isString ? '...' : ''}`;
}

function escaped(c: number, next: number): string {
  switch (c) {
    case 10:
      return '\\n';
    case 9:
      return '\\t';
    case 13:
      return '\\r';
    case 34:
      return '\\"';
    case 92:
      return '\\\\';
  }
  if (c >= 32 && c < 127) return String.fromCharCode(c);
  // A digit behind a short escape would be read as part of it.
  return `\\${next >= 48 && next <= 57 ? c.toString(8).padStart(3, '0') : c.toString(8)}`;
}
