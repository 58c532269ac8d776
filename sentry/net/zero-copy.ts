// SO_ZEROCOPY for sockets whose bytes are copied all the same: each send with MSG_ZEROCOPY is done when it returns, and says
// so on the error queue as the host does when it had to copy (SO_EE_CODE_ZEROCOPY_COPIED): net/core/skbuff.c, "zerocopy".

import { AF_INET6, IP_RECVERR, IPV6_RECVERR, MSG_CTRUNC, MSG_ERRQUEUE, SOL_IP, SOL_IPV6 } from '../abi/socket.ts';
import { put64 } from '../base/int64.ts';
import type { Message } from './message.ts';

const CMSG_HEADER = 16;
// struct sock_extended_err, and the address of an offender behind it, which there is none of.
const ERROR_SIZE = 16;
const SOCKADDR_IN_SIZE = 16;
const SOCKADDR_IN6_SIZE = 28;
const SO_EE_ORIGIN_ZEROCOPY = 5;
const SO_EE_CODE_ZEROCOPY_COPIED = 1;

export class ZeroCopy {
  /** Number of the next send, modulo 2^32. */
  private next = 0;
  /** The first one that nobody has been told of. */
  private untold = 0;

  /** A send has been done. */
  sent(): void {
    this.next = (this.next + 1) >>> 0;
  }

  get hasNews(): boolean {
    return this.next !== this.untold;
  }

  /** Puts the news of all sends so far into a message that is received from the error queue. */
  tell(family: number, m: Message): void {
    const isV6 = family === AF_INET6;
    const size = CMSG_HEADER + ERROR_SIZE + (isV6 ? SOCKADDR_IN6_SIZE : SOCKADDR_IN_SIZE);
    m.needControl(size);
    m.control.fill(0, 0, size);
    const v = new DataView(m.control.buffer, m.control.byteOffset, size);
    put64(v, 0, size);
    v.setInt32(8, isV6 ? SOL_IPV6 : SOL_IP, true);
    v.setInt32(12, isV6 ? IPV6_RECVERR : IP_RECVERR, true);
    v.setUint8(CMSG_HEADER + 4, SO_EE_ORIGIN_ZEROCOPY);
    v.setUint8(CMSG_HEADER + 6, SO_EE_CODE_ZEROCOPY_COPIED);
    v.setUint32(CMSG_HEADER + 8, this.untold, true);
    v.setUint32(CMSG_HEADER + 12, (this.next - 1) >>> 0, true);
    this.untold = this.next;
    m.nameLength = 0;
    m.controlLength = Math.min(size, m.controlRoom);
    m.outFlags |= MSG_ERRQUEUE | (m.controlLength < size ? MSG_CTRUNC : 0);
  }
}
