// Prints the guest's system calls to the log, for --strace: one line a call, as strace(1) prints
// them. A call that has to wait is printed when it parks, "<unfinished ...>", and again when it ends.

import { errnoName } from '../abi/errno.ts';
import { EXITED, MIN_ERRNO, REGISTERS_SET } from '../base/errors.ts';
import { info } from '../base/log.ts';
import type { SyscallEntry, SyscallTrace } from '../kernel/kernel.ts';
import type { Task } from '../kernel/task.ts';
import { inputs, output } from './strace-format.ts';

/** A call that has begun. */
interface Begun {
  name: string;
  specs: readonly string[];
  inputs: (string | null)[];
  unfinished: boolean;
}

export class Strace implements SyscallTrace {
  private readonly begun = new Map<Task, Begun>();

  enter(t: Task, entry: SyscallEntry | undefined): void {
    const name = entry?.name ?? `syscall_${t.sysno}`;
    const specs = entry?.args ?? [];
    // They do not come back, and with the last process the log ends.
    if (name === 'exit' || name === 'exit_group') {
      line(t, `${name}(${inputs(t, name, specs).join(', ')}) = ?`);
      return;
    }
    this.begun.set(t, { name, specs, inputs: inputs(t, name, specs), unfinished: false });
  }

  parked(t: Task): void {
    const call = this.begun.get(t);
    if (call === undefined || call.unfinished) return;
    call.unfinished = true;
    // What comes behind the first argument that the call fills is printed with it.
    const known = call.inputs.slice(0, firstOutput(call));
    line(t, `${call.name}(${known.map((text) => `${text}, `).join('')}<unfinished ...>`);
  }

  exit(t: Task, result: number): void {
    const call = this.begun.get(t);
    if (call === undefined) return;
    this.begun.delete(t);
    const texts = call.inputs.map((text, n) => text ?? output(t, call.name, n, call.specs[n]!, result));
    if (call.unfinished)
      line(t, `<... ${call.name} resumed> ${texts.slice(firstOutput(call)).join(', ')}) = ${outcome(call.name, result)}`);
    else line(t, `${call.name}(${texts.join(', ')}) = ${outcome(call.name, result)}`);
  }
}

function line(t: Task, text: string): void {
  info(`[pid ${t.tid} ${t.comm}] ${text}`);
}

function firstOutput(call: Begun): number {
  const at = call.inputs.indexOf(null);
  return at < 0 ? call.inputs.length : at;
}

/** Calls that answer an address. */
const ADDRESSES: ReadonlySet<string> = new Set(['mmap', 'mremap', 'brk', 'shmat']);

function outcome(name: string, result: number): string {
  if (result === EXITED) return '?';
  // The registers are set: execve has succeeded, rt_sigreturn goes back to where the signal struck.
  if (result === REGISTERS_SET) return name === 'execve' || name === 'execveat' ? '0' : '?';
  if (result < 0 && result >= MIN_ERRNO) return result <= -512 ? `? ${errnoName(-result)} (To be restarted)` : `-1 ${errnoName(-result)}`;
  return ADDRESSES.has(name) ? `0x${result.toString(16)}` : `${result}`;
}
