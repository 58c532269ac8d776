// setsockopt(2) and getsockopt(2).

import { EFAULT, EINVAL, ENODATA, ENOPROTOOPT } from '../abi/errno.ts';
import { AF_UNIX, SO_PEERPIDFD, SOL_SOCKET } from '../abi/socket.ts';
import { SYS_getsockopt, SYS_setsockopt } from '../abi/sysno-x64.ts';
import type { SyscallArgs } from '../kernel/syscall-args.ts';
import type { Task } from '../kernel/task.ts';
import { SCRATCH_SIZE, scratch } from '../mm/guest-memory.ts';
import type { Socket } from '../net/socket.ts';
import { openPidfd } from './signal.ts';
import { socketOf } from './socket-common.ts';

const INT_SIZE = 4;

import { call, type SyscallLine } from './syscall-line.ts';

/** setsockopt(2). */
export function setsockopt(t: Task, a: SyscallArgs): number {
  const length = a.int(4);
  if (length < 0 || length > SCRATCH_SIZE) return -EINVAL;
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  if (t.mm.copyIn(a.addr(3), scratch.u8, 0, length) < 0) return -EFAULT;
  return sock.setOption(t, a.int(1), a.int(2), scratch.u8, length);
}

/** getsockopt(2): a value longer than the guest's room is cut. */
export function getsockopt(t: Task, a: SyscallArgs): number {
  const sock = socketOf(t, a.int(0));
  if (typeof sock === 'number') return sock;
  const room = t.mm.loadU32(a.addr(4));
  if (room < 0) return room;
  if ((room | 0) < 0) return -EINVAL;
  const space = Math.min(room, SCRATCH_SIZE);
  if (a.int(1) === SOL_SOCKET && a.int(2) === SO_PEERPIDFD) {
    const fd = peerPidfd(t, sock, space);
    if (fd < 0) return fd;
    scratch.view.setInt32(0, fd, true);
    if (t.mm.copyOut(a.addr(3), scratch.u8, 0, INT_SIZE) < 0) return -EFAULT;
    return t.mm.storeU32(a.addr(4), INT_SIZE);
  }
  // Some options read what the guest's buffer has: SO_PEERNAME's room, TCP_ZEROCOPY_RECEIVE's request.
  const n = sock.getOption(t, a.int(1), a.int(2), scratch.u8, space);
  if (n < 0) return n;
  const length = Math.min(n, space);
  if (t.mm.copyOut(a.addr(3), scratch.u8, 0, length) < 0) return -EFAULT;
  return t.mm.storeU32(a.addr(4), sock.tellsWholeLength(a.int(1), a.int(2)) ? n : length);
}

/** A descriptor of who is at the other end: sk_getsockopt(), -ENODATA for nobody. */
function peerPidfd(t: Task, sock: Socket, room: number): number {
  if (sock.family !== AF_UNIX) return -ENOPROTOOPT;
  if (room < INT_SIZE) return -EINVAL;
  return sock.peerPid === null ? -ENODATA : openPidfd(t, sock.peerPid);
}

export const optionCalls: readonly SyscallLine[] = [
  call(SYS_setsockopt, 'setsockopt', 'fd:fd level:int optname:int optval:buf:4 optlen:int', setsockopt),
  call(SYS_getsockopt, 'getsockopt', 'fd:fd level:int optname:int optval:addr optlen:addr', getsockopt),
];
