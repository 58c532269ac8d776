// What the calls on descriptors share: lookup, checks of guest ranges, and how a blocked transfer ends.

import { EINTR, ERESTARTSYS } from '../abi/errno.ts';
import { O_PATH } from '../abi/fcntl.ts';
import { POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDHUP, POLLRDNORM, POLLWRNORM } from '../abi/poll.ts';
import { SIGPIPE } from '../abi/signal.ts';
import type { Task } from '../kernel/task.ts';
import { raiseSignal } from '../kernel/task-signals.ts';
import { FOREVER } from '../kernel/timers.ts';
import type { FileDescription } from '../vfs/file-description.ts';

/** What a reader, and what a writer, of a file is woken by. */
export const READ_EVENTS = POLLIN | POLLRDNORM | POLLRDHUP | POLLHUP | POLLERR;
export const WRITE_EVENTS = POLLOUT | POLLWRNORM | POLLHUP | POLLERR;

/** TASK_SIZE_MAX: the end of what a process can address. */
const TASK_SIZE = 2 ** 47 - 4096;

/** fdget(): the open file, unless it was opened O_PATH. */
export function openFile(t: Task, fd: number): FileDescription | undefined {
  const file = t.fds.get(fd);
  return file === undefined || (file.flags & O_PATH) !== 0 ? undefined : file;
}

/** !access_ok(): the range leaves the part of the address space that user code has. */
export function outsideUser(addr: number, size: number): boolean {
  return addr + size > TASK_SIZE;
}

/** rw_verify_area(): a transfer must not reach beyond the largest offset. */
export function beyondOffsets(offset: number, size: number): boolean {
  return size > 0 && offset + size >= 2 ** 63;
}

/** The monotonic deadline of a wait of `timeoutNs` from now. */
export function deadlineAfter(t: Task, timeoutNs: number): number {
  return timeoutNs === FOREVER ? FOREVER : t.kernel.clock.monotonicNs() + timeoutNs;
}

/** The result of a transfer that a signal has ended: one with a timeout is not restarted, sock_intr_errno(). */
export function interruptedIo(t: Task): number {
  return t.deadlineNs === FOREVER ? -ERESTARTSYS : -EINTR;
}

/** Somebody wrote to what has no reader. */
export function raiseSigpipe(t: Task): void {
  raiseSignal(t, SIGPIPE);
}
