// What needs the processor that runs the guest, and is therefore asked of the host by the guest's own stub.

import { EINVAL } from '../abi/errno.ts';
import { SYS_membarrier, SYS_rseq } from '../abi/sysno-x64.ts';
import { setRseq } from '../kernel/rseq.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { call, type SyscallLine } from './syscall-line.ts';

/** MEMBARRIER_CMD_GET_REGISTRATIONS, the last one. */
const LAST_COMMAND = 1 << 9;
const MEMBARRIER_CMD_FLAG_CPU = 1;

/** rseq(2). */
export function rseq(t: Task, a: SyscallArgs): number {
  return setRseq(t, a.addr(0), a.uint(1), a.int(2), a.uint(3));
}

/** membarrier(2): of the stub's process, whose threads are the guest's and whose registrations a fork inherits and an exec loses. */
export function membarrier(t: Task, a: SyscallArgs): number {
  const command = a.int(0);
  if (command < 0 || command > LAST_COMMAND || (a.uint(1) & ~MEMBARRIER_CMD_FLAG_CPU) !== 0) return -EINVAL;
  t.context.resetCalls();
  t.context.addCall(SYS_membarrier, 0, command, a.uint(1), a.int(2), 0, 0, 0);
  return t.hostCalls(resumeBarrier);
}

function resumeBarrier(t: Task, _why: number): number {
  return t.context.callResult(0);
}

export const rseqCalls: readonly SyscallLine[] = [
  call(SYS_rseq, 'rseq', 'rseq:addr len:uint flags:flags sig:uint', rseq),
  call(SYS_membarrier, 'membarrier', 'cmd:int flags:flags cpu_id:int', membarrier),
];
