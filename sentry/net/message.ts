// One message on its way through sendmsg(2) or recvmsg(2): struct msghdr and struct scm_cookie.
// The bytes themselves are in an IoBuffer. Messages are pooled: a call takes one and gives it back.

import type { Pid } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { FileDescription } from '../vfs/file-description.ts';

/** sizeof(struct sockaddr_storage): no address is longer. */
export const SOCKADDR_MAX = 128;

/** struct ucred as the kernel has it: a process and root-namespace ids. */
export interface MessageCreds {
  readonly pid: Pid | null;
  readonly uid: number;
  readonly gid: number;
}

const NO_CONTROL = new Uint8Array(0);

export class Message {
  /** MSG_* of the call. */
  flags = 0;
  /** Destination of a send, source of what was received; nameLength 0 for none. */
  readonly name: Uint8Array = new Uint8Array(SOCKADDR_MAX);
  readonly nameView: DataView = new DataView(this.name.buffer);
  nameLength = 0;
  /** sendto(2) was given an address of no bytes, which is not the same as none. */
  isNameEmpty = false;
  /** SCM_RIGHTS: references are the message's. */
  rights: FileDescription[] = [];
  /** SCM_CREDENTIALS: given by the sender, or to be told to the receiver. */
  creds: MessageCreds | null = null;
  /** SO_PASSPIDFD: whom the receiver gets a pidfd of; undefined when it has not asked. */
  sender: Pid | null | undefined = undefined;
  /** Control messages that only a host socket understands, as bytes. */
  control: Uint8Array = NO_CONTROL;
  controlLength = 0;
  /** The receiver has room for control messages, in bytes. */
  controlRoom = 0;
  /** MSG_TRUNC, MSG_CTRUNC, … of what was received. */
  outFlags = 0;

  // The call that it serves, for its continuation: syscalls/socket.ts.
  kind = 0;
  headerAddr = 0;
  done = 0;
  index = 0;

  reset(): void {
    this.flags = 0;
    this.nameLength = 0;
    this.isNameEmpty = false;
    this.creds = null;
    this.sender = undefined;
    this.controlLength = 0;
    this.controlRoom = 0;
    this.outFlags = 0;
    this.kind = 0;
    this.headerAddr = 0;
    this.done = 0;
    this.index = 0;
  }

  /** Gives back what was received or could not be sent. */
  dropRights(t: Task | null): void {
    if (this.rights.length === 0) return;
    for (const file of this.rights) file.decRef(t);
    this.rights = [];
  }

  /** Room for `n` bytes of control. */
  needControl(n: number): void {
    if (this.control.length < n) this.control = new Uint8Array(n);
  }
}

const pool: Message[] = [];

export function takeMessage(): Message {
  const m = pool.pop() ?? new Message();
  m.reset();
  return m;
}

export function giveMessage(m: Message): void {
  pool.push(m);
}
