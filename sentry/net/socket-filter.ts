// SO_ATTACH_FILTER: a classic BPF program for the host's socket. Its struct sock_fprog points into guest memory, so the
// program is copied; what it may do the host's own checker decides, and it sees this socket's packets alone.

import { EFAULT, EINVAL } from '../abi/errno.ts';
import { getU64 } from '../base/int64.ts';
import { socketAttachFilter } from '../host/host-net.ts';
import type { Task } from '../kernel/task.ts';

/** struct sock_fprog: a count and a pointer. */
const FPROG_SIZE = 16;
const FILTER_SIZE = 8;
const BPF_MAXINSNS = 4096;

const program = new Uint8Array(BPF_MAXINSNS * FILTER_SIZE);

export function attachFilter(t: Task, hostFd: number, value: Uint8Array, length: number): number {
  // copy_bpf_fprog_from_user() takes exactly one.
  if (length !== FPROG_SIZE) return -EINVAL;
  const v = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const count = v.getUint16(0, true);
  if (count === 0 || count > BPF_MAXINSNS) return -EINVAL;
  if (t.mm.copyIn(getU64(v, 8), program, 0, count * FILTER_SIZE) < 0) return -EFAULT;
  return socketAttachFilter(hostFd, program, count);
}
