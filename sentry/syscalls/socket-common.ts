// What all calls on sockets share: finding the socket, and moving addresses.

import { EBADF, EFAULT, EINVAL, ENOTSOCK } from '../abi/errno.ts';
import type { Task } from '../kernel/task.ts';
import { type Message, SOCKADDR_MAX } from '../net/message.ts';
import { Socket } from '../net/socket.ts';
import { openFile } from './io-common.ts';

/** The socket behind a descriptor, or -EBADF, -ENOTSOCK. */
export function socketOf(t: Task, fd: number): Socket | number {
  const file = openFile(t, fd);
  if (file === undefined) return -EBADF;
  return file instanceof Socket ? file : -ENOTSOCK;
}

/** Copies an address in: 0, -EINVAL for an impossible length, -EFAULT. move_addr_to_kernel(). */
export function loadName(t: Task, addr: number, length: number, m: Message): number {
  if (length < 0 || length > SOCKADDR_MAX) return -EINVAL;
  if (t.mm.copyIn(addr, m.name, 0, length) < 0) return -EFAULT;
  // What follows a short address must not be the last one's.
  m.name.fill(0, length);
  m.nameLength = length;
  return 0;
}

/** Copies as much of an address out as the guest has room for, and its whole length. move_addr_to_user(). */
export function storeName(t: Task, addr: number, lengthAddr: number, bytes: Uint8Array, length: number): number {
  const room = t.mm.loadU32(lengthAddr);
  if (room < 0) return room;
  if ((room | 0) < 0) return -EINVAL;
  if (t.mm.copyOut(addr, bytes, 0, Math.min(room, length)) < 0) return -EFAULT;
  return t.mm.storeU32(lengthAddr, length);
}
