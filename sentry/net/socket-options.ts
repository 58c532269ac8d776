// SOL_SOCKET for sockets that live in the Sentry: net/core/sock.c:sk_setsockopt(), sk_getsockopt().

import { EINVAL, ENOPROTOOPT, EOPNOTSUPP, EPERM } from '../abi/errno.ts';
import { CAP_NET_ADMIN, CAP_NET_RAW } from '../abi/sched.ts';
import {
  AF_NETLINK,
  AF_UNIX,
  SO_ACCEPTCONN,
  SO_BINDTODEVICE,
  SO_BINDTOIFINDEX,
  SO_BROADCAST,
  SO_BSDCOMPAT,
  SO_BUSY_POLL,
  SO_COOKIE,
  SO_DEBUG,
  SO_DOMAIN,
  SO_DONTROUTE,
  SO_ERROR,
  SO_INCOMING_CPU,
  SO_KEEPALIVE,
  SO_LINGER,
  SO_LOCK_FILTER,
  SO_MARK,
  SO_MAX_PACING_RATE,
  SO_NO_CHECK,
  SO_NOFCS,
  SO_OOBINLINE,
  SO_PASSCRED,
  SO_PASSPIDFD,
  SO_PASSSEC,
  SO_PRIORITY,
  SO_PROTOCOL,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SO_RCVLOWAT,
  SO_RCVTIMEO_NEW,
  SO_RCVTIMEO_OLD,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SO_RXQ_OVFL,
  SO_SELECT_ERR_QUEUE,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SO_SNDLOWAT,
  SO_SNDTIMEO_NEW,
  SO_SNDTIMEO_OLD,
  SO_TIMESTAMP_OLD,
  SO_TIMESTAMPNS_OLD,
  SO_TYPE,
  SO_ZEROCOPY,
  SOL_SOCKET,
} from '../abi/socket.ts';
import { put64 } from '../base/int64.ts';
import type { Task } from '../kernel/task.ts';
import { Socket } from './socket.ts';
import { getTimeout, setTimeout } from './socket-timeout.ts';

/** net.core.wmem_default and rmem_default. */
const BUFFER_DEFAULT = 212992;
const MIN_SNDBUF = 4608;
const MIN_RCVBUF = 2304;
const HIGHEST_FREE_PRIORITY = 6;

/** Switches that are remembered, as a bit each. */
const SWITCHES: readonly number[] = [
  SO_DEBUG,
  SO_REUSEADDR,
  SO_DONTROUTE,
  SO_BROADCAST,
  SO_KEEPALIVE,
  SO_OOBINLINE,
  SO_NO_CHECK,
  SO_REUSEPORT,
  SO_PASSCRED,
  SO_PASSPIDFD,
  SO_PASSSEC,
  SO_TIMESTAMP_OLD,
  SO_TIMESTAMPNS_OLD,
  SO_RXQ_OVFL,
  SO_NOFCS,
  SO_SELECT_ERR_QUEUE,
  SO_LOCK_FILTER,
];

export abstract class KernelSocket extends Socket {
  sndbuf = BUFFER_DEFAULT;
  rcvbuf = BUFFER_DEFAULT;
  passCred = false;
  passPidfd = false;
  /** sk_err, positive: what the next call answers. */
  pendingError = 0;
  private switches: Set<number> | null = null;
  private lowWater = 1;
  private priority = 0;
  private mark = 0;
  private lingerOn = 0;
  private lingerSeconds = 0;

  override get receiveLowWater(): number {
    return this.lowWater;
  }

  /** SO_ACCEPTCONN. */
  protected get isListening(): boolean {
    return false;
  }

  /** sk_may_scm_recv(): messages tell of their senders. */
  protected get passesCreds(): boolean {
    return this.family === AF_UNIX || this.family === AF_NETLINK;
  }

  /** sock_error(): the pending error, negative, which is told once; or 0. */
  takeError(): number {
    const error = this.pendingError;
    this.pendingError = 0;
    return -error;
  }

  /** A family's own levels. */
  protected setFamilyOption(_t: Task, _level: number, _name: number, _value: Uint8Array, _length: number): number {
    return -ENOPROTOOPT;
  }

  protected getFamilyOption(_t: Task, _level: number, _name: number, _value: Uint8Array, _length: number): number {
    return -ENOPROTOOPT;
  }

  override setOption(t: Task, level: number, name: number, value: Uint8Array, length: number): number {
    if (level !== SOL_SOCKET) return this.setFamilyOption(t, level, name, value, length);
    if (name === SO_BINDTODEVICE) return 0;
    if (length < 4) return -EINVAL;
    const v = new DataView(value.buffer, value.byteOffset, value.byteLength);
    const n = v.getInt32(0, true);
    if ((name === SO_PASSCRED || name === SO_PASSPIDFD) && !this.passesCreds) return -EOPNOTSUPP;
    if (SWITCHES.includes(name)) {
      this.setSwitch(name, n !== 0);
      return 0;
    }
    switch (name) {
      case SO_SNDBUFFORCE:
      case SO_RCVBUFFORCE:
        if (!t.creds.capable(CAP_NET_ADMIN)) return -EPERM;
        if (name === SO_SNDBUFFORCE) this.sndbuf = Math.max(Math.max(n, 0) * 2, MIN_SNDBUF);
        else this.rcvbuf = Math.max(Math.max(n, 0) * 2, MIN_RCVBUF);
        return 0;
      case SO_SNDBUF:
        // Doubled for the bookkeeping, "we double the value the user asked for" - socket(7).
        this.sndbuf = Math.max(Math.min(n >>> 0, t.kernel.sysctls.int('net.core.wmem_max')) * 2, MIN_SNDBUF);
        return 0;
      case SO_RCVBUF:
        this.rcvbuf = Math.max(Math.min(n >>> 0, t.kernel.sysctls.int('net.core.rmem_max')) * 2, MIN_RCVBUF);
        return 0;
      case SO_PRIORITY:
        if ((n < 0 || n > HIGHEST_FREE_PRIORITY) && !mayMark(t)) return -EPERM;
        this.priority = n;
        return 0;
      case SO_MARK:
        if (!mayMark(t)) return -EPERM;
        this.mark = n;
        return 0;
      case SO_LINGER:
        if (length < 8) return -EINVAL;
        this.lingerOn = n === 0 ? 0 : 1;
        this.lingerSeconds = v.getInt32(4, true);
        return 0;
      case SO_RCVLOWAT:
        this.lowWater = n < 0 ? 0x7fffffff : Math.max(n, 1);
        return 0;
      case SO_RCVTIMEO_OLD:
      case SO_RCVTIMEO_NEW:
      case SO_SNDTIMEO_OLD:
      case SO_SNDTIMEO_NEW:
        return setTimeout(this, name === SO_RCVTIMEO_OLD || name === SO_RCVTIMEO_NEW, value, length);
      case SO_BSDCOMPAT:
      case SO_BUSY_POLL:
      case SO_INCOMING_CPU:
      case SO_MAX_PACING_RATE:
      case SO_BINDTOIFINDEX:
      case SO_ZEROCOPY:
        return 0;
      default:
        return -ENOPROTOOPT;
    }
  }

  override getOption(t: Task, level: number, name: number, value: Uint8Array, length: number): number {
    if (level !== SOL_SOCKET) return this.getFamilyOption(t, level, name, value, length);
    const v = new DataView(value.buffer, value.byteOffset, value.byteLength);
    if (SWITCHES.includes(name)) return putInt(v, this.hasSwitch(name) ? 1 : 0);
    switch (name) {
      case SO_TYPE:
        return putInt(v, this.type);
      case SO_DOMAIN:
        return putInt(v, this.family);
      case SO_PROTOCOL:
        return putInt(v, this.protocol);
      case SO_ACCEPTCONN:
        return putInt(v, this.isListening ? 1 : 0);
      case SO_ERROR:
        return putInt(v, -this.takeError());
      case SO_SNDBUF:
        return putInt(v, this.sndbuf);
      case SO_RCVBUF:
        return putInt(v, this.rcvbuf);
      case SO_PRIORITY:
        return putInt(v, this.priority);
      case SO_MARK:
        return putInt(v, this.mark);
      case SO_RCVLOWAT:
        return putInt(v, this.lowWater);
      case SO_SNDLOWAT:
        return putInt(v, 1);
      case SO_LINGER:
        v.setInt32(0, this.lingerOn, true);
        v.setInt32(4, this.lingerSeconds, true);
        return 8;
      case SO_RCVTIMEO_OLD:
      case SO_RCVTIMEO_NEW:
        return getTimeout(this.readTimeoutNs, value);
      case SO_SNDTIMEO_OLD:
      case SO_SNDTIMEO_NEW:
        return getTimeout(this.writeTimeoutNs, value);
      case SO_COOKIE:
        if (length < 8) return -EINVAL;
        put64(v, 0, this.inode().ino);
        return 8;
      case SO_BINDTODEVICE:
        return 0;
      case SO_BSDCOMPAT:
      case SO_BUSY_POLL:
      case SO_BINDTOIFINDEX:
      case SO_ZEROCOPY:
        return putInt(v, 0);
      case SO_INCOMING_CPU:
      case SO_MAX_PACING_RATE:
        return putInt(v, -1);
      default:
        return this.getFamilyOption(t, level, name, value, length);
    }
  }

  /** SO_OOBINLINE: urgent bytes are received in their place. */
  protected get isUrgentInline(): boolean {
    return this.switches?.has(SO_OOBINLINE) === true;
  }

  private hasSwitch(name: number): boolean {
    if (name === SO_PASSPIDFD) return this.passPidfd;
    return name === SO_PASSCRED ? this.passCred : this.switches?.has(name) === true;
  }

  private setSwitch(name: number, on: boolean): void {
    if (name === SO_PASSCRED) this.passCred = on;
    else if (name === SO_PASSPIDFD) this.passPidfd = on;
    else if (on) (this.switches ??= new Set()).add(name);
    else this.switches?.delete(name);
  }
}

/** SO_MARK and high priorities: sockopt_ns_capable() over the network namespace. */
function mayMark(t: Task): boolean {
  return t.creds.capableIn(t.ns.net.userns, CAP_NET_RAW) || t.creds.capableIn(t.ns.net.userns, CAP_NET_ADMIN);
}

export function putInt(v: DataView, n: number): number {
  v.setInt32(0, n, true);
  return 4;
}
