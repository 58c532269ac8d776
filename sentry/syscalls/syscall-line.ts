import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';

export type Support = 'full' | 'partial' | 'none';

/** One line of the table; see table.ts for the argument words. */
export interface SyscallLine {
  readonly nr: number;
  readonly name: string;
  /** "name:type" per argument, as strace prints them. */
  readonly args: readonly string[];
  readonly handler: (t: Task, a: SyscallArgs) => number;
  readonly support: Support;
  /** What is missing or different, for docs/syscalls.md. */
  readonly note: string;
}

/** A line of the table. */
export function call(
  nr: number,
  name: string,
  args: string,
  handler: (t: Task, a: SyscallArgs) => number,
  support: Support = 'full',
  note = '',
): SyscallLine {
  return { nr, name, args: args === '' ? [] : args.split(' '), handler, support, note };
}
