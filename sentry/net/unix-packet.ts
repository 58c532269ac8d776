// A piece of data on its way from one unix socket to another: struct sk_buff. Its memory counts
// against the sender's SO_SNDBUF until the receiver has taken it, by Linux's own arithmetic, so
// that a sender fills up after as many messages as there.

import { List, type ListNode } from '../base/list.ts';
import type { FileDescription } from '../vfs/file-description.ts';
import type { MessageCreds } from './message.ts';
import type { UnixAddress, UnixSocket } from './unix.ts';

/** sizeof(struct sk_buff), and what each data buffer carries behind its bytes. */
const SKB_SIZE = 256;
const SHARED_INFO = 320;
const PAGE = 4096;

const SMALL = 4096;
export const LARGE = 32768;
const POOL_LIMIT = 64;
const smallPool: Uint8Array[] = [];
const largePool: Uint8Array[] = [];

/** What `n` bytes cost their sender: kmalloc's size for short ones, pages for the rest. */
function trueSize(n: number): number {
  if (n + SHARED_INFO > PAGE) return SKB_SIZE + PAGE + Math.ceil(Math.max(0, n - (PAGE - SHARED_INFO)) / PAGE) * PAGE;
  let size = 512;
  while (size < n + SHARED_INFO) size *= 2;
  return SKB_SIZE + size;
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
  /** A connection that waits to be accepted; then there are no bytes. */
  connection: UnixSocket | null = null;
  list: List<Packet> | null = null;
  listPrev: Packet | null = null;
  listNext: Packet | null = null;

  constructor(sender: UnixSocket, from: UnixAddress | null, n: number) {
    this.bytes = takeBuffer(n);
    this.end = n;
    this.sender = sender;
    this.from = from;
    this.trueSize = trueSize(n);
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
