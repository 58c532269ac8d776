// Prints every system call of the guest to the log, for --strace: one line when it starts if it may
// wait, one with its result. Arguments are shown by the types of table.ts.

import { errnoName } from '../abi/errno.ts';
import { BLOCKED, EXITED, MIN_ERRNO, REGISTERS_SET } from '../base/errors.ts';
import { info } from '../base/log.ts';
import type { SyscallEntry, SyscallTrace } from '../kernel/kernel.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';

/** Bytes of a buffer or a string that are shown. */
const SHOWN = 64;
const bytes = new Uint8Array(SHOWN);

export class Strace implements SyscallTrace {
  enter(t: Task, entry: SyscallEntry | undefined): void {
    if (entry === undefined) {
      info(`[${t.tid} ${t.comm}] syscall_${t.sysno}()`);
      return;
    }
    let text = '';
    for (let i = 0; i < entry.args.length; i++) text += `${i === 0 ? '' : ', '}${argument(t, t.args, i, entry.args[i]!)}`;
    info(`[${t.tid} ${t.comm}] ${entry.name}(${text})`);
  }

  exit(t: Task, result: number): void {
    info(`[${t.tid} ${t.comm}] ${t.kernel.syscalls[t.sysno]?.name ?? `syscall_${t.sysno}`} = ${outcome(result)}`);
  }
}

function outcome(result: number): string {
  if (result === BLOCKED) return '(waits)';
  if (result === EXITED) return '?';
  if (result === REGISTERS_SET) return '(registers)';
  if (result < 0 && result >= MIN_ERRNO) return `-1 ${errnoName(-result)}`;
  return result > 0xffff ? `0x${result.toString(16)}` : `${result}`;
}

function argument(t: Task, a: SyscallArgs, n: number, spec: string): string {
  const type = spec.slice(spec.indexOf(':') + 1);
  switch (type) {
    case 'int':
    case 'fd':
    case 'pid':
    case 'sig':
    case 'clock':
      return `${a.int(n)}`;
    case 'dirfd':
      return a.int(n) === -100 ? 'AT_FDCWD' : `${a.int(n)}`;
    case 'uint':
    case 'uid':
      return a.uint(n) === 0xffffffff ? '-1' : `${a.uint(n)}`;
    case 'size':
      return `${a.addr(n)}`;
    case 'long':
      return `${a.long(n)}`;
    case 'mode':
      return `0${(a.uint(n) & 0o7777777).toString(8)}`;
    case 'path':
    case 'str':
      return a.addr(n) === 0 ? 'NULL' : text(t, a.addr(n), SHOWN, true);
  }
  if (type.startsWith('buf:')) return a.addr(n) === 0 ? 'NULL' : text(t, a.addr(n), Math.min(SHOWN, a.addr(Number(type.slice(4)))), false);
  return `0x${a.addr(n).toString(16)}`;
}

function text(t: Task, addr: number, n: number, isString: boolean): string {
  const got = t.mm.readSome(addr, bytes, 0, n);
  if (got <= 0 && n > 0) return `0x${addr.toString(16)}`;
  let shown = '';
  for (let i = 0; i < got; i++) {
    const c = bytes[i]!;
    if (isString && c === 0) return `"${shown}"`;
    shown += c === 10 ? '\\n' : c >= 32 && c < 127 ? String.fromCharCode(c) : `\\x${c.toString(16).padStart(2, '0')}`;
  }
  return `"${shown}"${got === SHOWN ? '...' : ''}`;
}
