// System V message queues: ipc/msg.c.

import { E2BIG, EACCES, EAGAIN, EIDRM, EINVAL, ENOMSG, ENOSYS, ERESTARTNOHAND } from '../abi/errno.ts';
import { IPC_NOWAIT, MSG_COPY, MSG_EXCEPT, MSG_NOERROR, MSGMNB, MSGMNI } from '../abi/ipc.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import { IpcObject, IpcTable } from './ipc.ts';
import type { IpcNamespace } from './namespaces.ts';
import { type Task, WAKE_SIGNAL } from './task.ts';
import { FOREVER } from './timers.ts';

const ARRIVED = 1;
const LEFT = 2;
const READ = 0o444;
const WRITE = 0o222;

export interface Message {
  type: number;
  data: Uint8Array;
}

export class MessageQueue extends IpcObject {
  readonly messages: Message[] = [];
  bytes = 0;
  maxBytes: number = MSGMNB;
  stimeSec = 0;
  rtimeSec = 0;
  /** In the root pid namespace. */
  lastSender = 0;
  lastReceiver = 0;
  readonly waiters: WaitQueue = new WaitQueue();
}

export function messageTable(ns: IpcNamespace): IpcTable<MessageQueue> {
  return IpcTable.of<MessageQueue>(ns, 'msg', MSGMNI);
}

interface Sending {
  queue: MessageQueue;
  message: Message;
}

/** msgsnd(2) with the message copied in. */
export function sendMessage(t: Task, id: number, message: Message, flags: number): number {
  const queue = messageTable(t.ns.ipc).find(id);
  if (typeof queue === 'number') return queue;
  if (!queue.permits(t, WRITE)) return -EACCES;
  if (put(t, queue, message)) return 0;
  if ((flags & IPC_NOWAIT) !== 0) return -EAGAIN;
  t.object = { queue, message };
  return t.block(queue.waiters, LEFT, FOREVER, resumeSend);
}

function put(t: Task, queue: MessageQueue, message: Message): boolean {
  // An empty message counts too: as many of them fit as the queue has bytes.
  if (queue.bytes + message.data.length > queue.maxBytes || queue.messages.length + 1 > queue.maxBytes) return false;
  queue.messages.push(message);
  queue.bytes += message.data.length;
  queue.lastSender = t.group.tgid;
  queue.stimeSec = t.kernel.clock.realtimeSec();
  queue.waiters.notify(ARRIVED);
  return true;
}

function resumeSend(t: Task, why: number): number {
  const { queue, message } = t.object as Sending;
  if (queue.removed) return -EIDRM;
  if (put(t, queue, message)) return 0;
  if (why === WAKE_SIGNAL) return -ERESTARTNOHAND;
  return t.block(queue.waiters, LEFT, FOREVER, resumeSend);
}

interface Receiving {
  queue: MessageQueue;
  addr: number;
  size: number;
  type: number;
  flags: number;
}

/** msgrcv(2) into guest memory: a long for the type, then the text. */
export function receiveMessage(t: Task, id: number, addr: number, size: number, type: number, flags: number): number {
  if ((flags & MSG_COPY) !== 0) {
    if ((flags & MSG_EXCEPT) !== 0 || (flags & IPC_NOWAIT) === 0) return -EINVAL;
    // CONFIG_CHECKPOINT_RESTORE is what brings it.
    return -ENOSYS;
  }
  const queue = messageTable(t.ns.ipc).find(id);
  if (typeof queue === 'number') return queue;
  if (!queue.permits(t, READ)) return -EACCES;
  const r: Receiving = { queue, addr, size, type, flags };
  const result = take(t, r);
  if (result !== -ENOMSG || (flags & IPC_NOWAIT) !== 0) return result;
  t.object = r;
  return t.block(queue.waiters, ARRIVED, FOREVER, resumeReceive);
}

function resumeReceive(t: Task, why: number): number {
  const r = t.object as Receiving;
  if (r.queue.removed) return -EIDRM;
  const result = take(t, r);
  if (result !== -ENOMSG) return result;
  if (why === WAKE_SIGNAL) return -ERESTARTNOHAND;
  return t.block(r.queue.waiters, ARRIVED, FOREVER, resumeReceive);
}

/** find_msg() and what do_msgrcv() does with it. */
function take(t: Task, r: Receiving): number {
  const at = select(r.queue.messages, r.type, (r.flags & MSG_EXCEPT) !== 0);
  if (at < 0) return -ENOMSG;
  const message = r.queue.messages[at]!;
  const n = Math.min(message.data.length, r.size);
  if (message.data.length > r.size && (r.flags & MSG_NOERROR) === 0) return -E2BIG;
  r.queue.messages.splice(at, 1);
  r.queue.bytes -= message.data.length;
  r.queue.lastReceiver = t.group.tgid;
  r.queue.rtimeSec = t.kernel.clock.realtimeSec();
  r.queue.waiters.notify(LEFT);
  const stored = t.mm.storeU64(r.addr, message.type);
  if (stored < 0) return stored;
  const copied = t.mm.copyOut(r.addr + 8, message.data, 0, n);
  return copied < 0 ? copied : n;
}

/** Which message msgrcv's type asks for: the first; the first of (or not of) a type; the lowest type up to -type. */
function select(messages: readonly Message[], type: number, except: boolean): number {
  if (type === 0) return messages.length === 0 ? -1 : 0;
  if (type > 0) return messages.findIndex((m) => (m.type === type) !== except);
  let best = -1;
  for (let i = 0; i < messages.length; i++) {
    if (messages[i]!.type <= -type && (best < 0 || messages[i]!.type < messages[best]!.type)) best = i;
  }
  return best;
}

/** IPC_RMID: who waits is told. */
export function removeQueue(t: Task, queue: MessageQueue): void {
  messageTable(t.ns.ipc).remove(queue);
  queue.waiters.notify(ARRIVED | LEFT);
}
