// A piece of data on its way from one unix socket to another: struct sk_buff. Its memory counts
// against the sender's SO_SNDBUF until the receiver has taken it, by Linux's own arithmetic, so
// that a sender fills up after as many messages as there.

import { List, type ListNode } from '../base/list.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { MessageCreds } from './message.ts';
import type { UnixAddress, UnixSocket } from './unix.ts';

/** sizeof(struct sk_buff), and what a data buffer carries behind its bytes. */
const SKB_SIZE = 256;
const SHARED_INFO = 320;
const PAGE = 4096;
/** SKB_MAX_HEAD(0): what fits into the first page of a packet. */
const MAX_HEAD = PAGE - SHARED_INFO;
/** SKB_MAX_ALLOC: how much of a datagram is in one buffer. */
const MAX_ALLOC = 4 * PAGE - SHARED_INFO;
/** The largest packet of a stream: unix_stream_sendmsg(), SKB_MAX_HEAD(0) and UNIX_SKB_FRAGS_SZ. */
export const MAX_STREAM_PACKET = MAX_HEAD + 32768;

const SMALL = 4096;
const LARGE = 36864;
const POOL_LIMIT = 64;
const smallPool: Uint8Array[] = [];
const largePool: Uint8Array[] = [];

/** What a packet of `n` bytes costs its sender: kmalloc's size for the head, whole pages for the rest. */
function trueSize(n: number, maxHead: number): number {
  const paged = Math.min(n, Math.ceil(Math.max(0, n - maxHead) / PAGE) * PAGE);
  let head = 512;
  while (head < n - paged + SHARED_INFO) head *= 2;
  return SKB_SIZE + head + Math.ceil(paged / PAGE) * PAGE;
}

function takeBuffer(n: number): Uint8Array {
  if (n <= SMALL) return smallPool.pop() ?? new Uint8Array(SMALL);
  if (n <= LARGE) return largePool.pop() ?? new Uint8Array(LARGE);
  return new Uint8Array(n);
}

function giveBuffer(bytes: Uint8Array): void {
  if (bytes.length === SMALL && smallPool.length < POOL_LIMIT) smallPool.push(bytes);
  else if (bytes.length === LARGE && largePool.length < POOL_LIMIT) largePool.push(bytes);
}

export class Packet implements ListNode<Packet> {
  readonly bytes: Uint8Array;
  /** Unread bytes are [at, end). */
  at = 0;
  end: number;
  readonly sender: UnixSocket;
  readonly from: UnixAddress | null;
  readonly trueSize: number;
  rights: FileDescription[] = [];
  creds: MessageCreds | null = null;
  /** MSG_OOB: one byte, and a mark in the stream even when that has been received. */
  isUrgent = false;
  /** A connection that waits to be accepted; then there are no bytes. */
  connection: UnixSocket | null = null;
  list: List<Packet> | null = null;
  listPrev: Packet | null = null;
  listNext: Packet | null = null;

  constructor(sender: UnixSocket, from: UnixAddress | null, n: number, isStream: boolean) {
    this.bytes = takeBuffer(n);
    this.end = n;
    this.sender = sender;
    this.from = from;
    this.trueSize = trueSize(n, isStream ? MAX_HEAD : MAX_ALLOC);
  }

  get length(): number {
    return this.end - this.at;
  }

  /** The bytes are used up; nobody may look at them again. */
  release(): void {
    giveBuffer(this.bytes);
  }
}

export type PacketQueue = List<Packet>;
export const newPacketQueue = (): PacketQueue => new List<Packet>();
