// The system calls, once: number, name, typed arguments, handler and how complete it is. From it
// come dispatch, strace printing, the stub's prefetch and docs/syscalls.md.
//
// Argument types: int uint long size addr fd dirfd path str flags mode pid uid sig clock
//   buf:N  (pointer to bytes, length in argument N, read by the kernel)   out:N (written)
//   iov:N  (iovec array, count in argument N)   and names of structs for pointers: stat timespec …
// Support: full | partial | none, with a note on what is missing. A call that is not in the
// table answers ENOSYS and is logged once.

import { SYSCALL_COUNT } from '../abi/sysno-x64.ts';
import { epollCalls } from './epoll.ts';
import { eventFdCalls } from './event-fd.ts';
import { fsDirCalls } from './fs-dir.ts';
import { fsFdCalls } from './fs-fd.ts';
import { fsMountCalls } from './fs-mount.ts';
import { fsOpenCalls } from './fs-open.ts';
import { fsReadWriteCalls } from './fs-read-write.ts';
import { fsSpliceCalls } from './fs-splice.ts';
import { fsStatCalls } from './fs-stat.ts';
import { fsSyncCalls } from './fs-sync.ts';
import { futexCalls } from './futex.ts';
import { identityCalls } from './identity.ts';
import { ipcCalls } from './ipc.ts';
import { landlockCalls } from './landlock.ts';
import { memoryCalls } from './mm.ts';
import { lockCalls } from './mm-lock.ts';
import { pollCalls } from './poll.ts';
import { processCalls } from './process.ts';
import { rseqCalls } from './rseq.ts';
import { schedCalls } from './sched.ts';
import { signalCalls } from './signal.ts';
import { socketCalls } from './socket.ts';
import { messageCalls } from './socket-message.ts';
import { optionCalls } from './socket-option.ts';
import type { SyscallLine } from './syscall-line.ts';
import { systemCalls } from './system.ts';
import { timeCalls } from './time.ts';

const families: readonly (readonly SyscallLine[])[] = [
  fsOpenCalls,
  fsStatCalls,
  fsDirCalls,
  fsMountCalls,
  fsReadWriteCalls,
  fsSpliceCalls,
  fsSyncCalls,
  fsFdCalls,
  landlockCalls,
  memoryCalls,
  lockCalls,
  processCalls,
  rseqCalls,
  identityCalls,
  signalCalls,
  timeCalls,
  futexCalls,
  pollCalls,
  epollCalls,
  eventFdCalls,
  socketCalls,
  messageCalls,
  optionCalls,
  ipcCalls,
  schedCalls,
  systemCalls,
];

/** Lines by system call number; undefined answers ENOSYS. */
export const table: readonly (SyscallLine | undefined)[] = build();

function build(): (SyscallLine | undefined)[] {
  const lines: (SyscallLine | undefined)[] = new Array(SYSCALL_COUNT).fill(undefined);
  for (const family of families) {
    for (const line of family) {
      if (lines[line.nr] !== undefined) throw new Error(`system call ${line.nr} is in the table twice`);
      lines[line.nr] = line;
    }
  }
  return lines;
}
