// The first stub: it never runs guest code, all other processes are forked from it.

import { closeFd, openStub, systrapMap, systrapSpace, systrapStart } from 'ptrace-napi';
import { CTX_STATE } from '../context-page.ts';
import type { ContextTable } from './context-table.ts';
import { must } from './ring.ts';
import { BATCH_REPORTS, SystrapContext } from './systrap-context.ts';
import { type SpaceOwner, SystrapSpace } from './systrap-space.ts';

/** Starts it: its context, index 0, whose first event says that it is there. Throws an Error that names what the host refused. */
export function startZygote(owner: SpaceOwner, contexts: ContextTable, ringFd: number): SystrapContext {
  const { region } = contexts;
  const out = new Int32Array(3);
  must('making the first address space', systrapSpace(out));
  const memfd = out[0]!;
  const stubSocket = out[2]!;
  const space = new SystrapSpace(owner, memfd, out[1]!);
  const zygote = new SystrapContext(region, 0, space, space.nextSlot++);
  space.contexts.push(zygote);
  contexts.at[0] = zygote;
  must('mapping the first context', systrapMap(region.buffer, 0, memfd, 0));
  zygote.prepare(null);
  region.i32[CTX_STATE >> 2] = 0;
  zygote.held = false;
  const stubFd = openStub();
  const pid = must('starting the first stub', systrapStart(stubFd, stubSocket, memfd, ringFd));
  closeFd(stubFd);
  closeFd(stubSocket);
  space.hostPid = pid;
  zygote.hostTid = pid;
  zygote.verified = true;
  space.isVerified = true;
  zygote.batch = BATCH_REPORTS;
  return zygote;
}
