// Restartable sequences: kernel/rseq.c. The area that a thread registers is registered with the host
// too, for the stub's thread: the host keeps the processor's number in it, and sends a thread that it
// has preempted or signalled inside a critical section to that section's abort handler. Every stop of
// guest code on the systrap platform is a signal. A stop under ptrace is none: there the Sentry looks.

import { RIP } from '../../platform/platform.ts';
import { EBUSY, EFAULT, EINVAL, EPERM } from '../abi/errno.ts';
import { SYS_rseq } from '../abi/sysno-x64.ts';
import type { Task } from './task.ts';

const RSEQ_FLAG_UNREGISTER = 1;
/** sizeof(struct rseq) as it was first; its alignment. */
const ORIG_SIZE = 32;
const ALIGN = 32;
/** struct rseq: the critical section that the thread is in, u64. */
const RSEQ_CS = 8;
/** struct rseq_cs: where it starts, how long it is, where to go. */
const START_IP = 8;
const POST_COMMIT_OFFSET = 16;
const ABORT_IP = 24;

/** What rseq(2) has registered for a thread. */
export interface Rseq {
  readonly addr: number;
  readonly length: number;
  readonly signature: number;
}

/** rseq(2): 0 or -errno, or BLOCKED while the stub asks the host. */
export function setRseq(t: Task, addr: number, length: number, flags: number, signature: number): number {
  const { rseq } = t;
  const isSame = rseq !== null && rseq.addr === addr && rseq.length === length;
  if ((flags & RSEQ_FLAG_UNREGISTER) !== 0) {
    if (flags !== RSEQ_FLAG_UNREGISTER || !isSame) return -EINVAL;
    if (rseq.signature !== signature) return -EPERM;
    return askHost(t, RSEQ_FLAG_UNREGISTER, rseq, resumeUnregister);
  }
  if (flags !== 0) return -EINVAL;
  if (rseq !== null) return !isSame ? -EINVAL : rseq.signature !== signature ? -EPERM : -EBUSY;
  if (length < ORIG_SIZE || addr % ALIGN !== 0) return -EINVAL;
  if (addr + length > t.mm.top) return -EFAULT;
  const wanted = { addr, length, signature };
  t.object = wanted;
  return askHost(t, 0, wanted, resumeRegister);
}

function askHost(t: Task, flags: number, of: Rseq, resume: (t: Task, why: number) => number): number {
  t.context.resetCalls();
  t.context.addCall(SYS_rseq, 0, of.addr, of.length, flags, of.signature, 0, 0);
  return t.hostCalls(resume);
}

function resumeRegister(t: Task, _why: number): number {
  const wanted = t.object as Rseq;
  t.object = null;
  if (t.context.callsDone === 1) t.rseq = wanted;
  return t.context.callResult(0);
}

function resumeUnregister(t: Task, _why: number): number {
  if (t.context.callsDone === 1) t.rseq = null;
  return t.context.callResult(0);
}

/**
 * A thread with an area is about to end: the host must not write to it any more once others are
 * told that the memory is free. Answers hostCalls(); `resume` goes on.
 */
export function leaveRseq(t: Task, resume: (t: Task, why: number) => number): number {
  const rseq = t.rseq!;
  t.rseq = null;
  return askHost(t, RSEQ_FLAG_UNREGISTER, rseq, resume);
}

/** rseq_ip_fixup(), for a thread that was stopped in guest code without a signal. What cannot be read is the host's to punish. */
export function abortCriticalSection(t: Task): void {
  const section = t.mm.loadU64(t.rseq!.addr + RSEQ_CS);
  if (section <= 0) return;
  const start = t.mm.loadU64(section + START_IP);
  const length = t.mm.loadU64(section + POST_COMMIT_OFFSET);
  const abort = t.mm.loadU64(section + ABORT_IP);
  if (start < 0 || length < 0 || abort < 0 || t.mm.loadU32(abort - 4) !== t.rseq!.signature) return;
  const ip = t.context.reg(RIP);
  if (ip < start || ip >= start + length) return;
  t.context.setReg(RIP, abort);
  t.mm.storeU64(t.rseq!.addr + RSEQ_CS, 0);
}
