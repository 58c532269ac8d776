// DNS answers as an egress policy reads them (RFC 1035): which addresses the name that was asked for has. Everything in
// a message is hostile: lengths, pointers and counts are checked, and what does not fit ends the reading.

import { ADDRESS_SIZE, MAPPED_AT } from '../base/ip-address.ts';

const HEADER = 12;
const FLAG_RESPONSE = 0x80;
const OPCODE_AND_TC = 0x7a;
const RCODE = 0x0f;
const CLASS_IN = 1;
const TYPE_A = 1;
const TYPE_CNAME = 5;
const TYPE_AAAA = 28;
/** Octets of a name: "limited to 255". */
const LONGEST_NAME = 255;
const LONGEST_LABEL = 63;
/** A chain of aliases that is longer is not followed. */
const LONGEST_CHAIN = 16;
const MOST_RECORDS = 256;

/** Told of one address of the name that was asked for. */
export type AddressFound = (name: string, address: Uint8Array, ttlSeconds: number) => void;

interface Alias {
  owner: string;
  target: string;
  ttl: number;
}

interface Found {
  owner: string;
  address: Uint8Array;
  ttl: number;
}

/** Where readName() stopped in the message itself: behind the name or the pointer that ended it. */
let nameEnd = 0;

/** The name at `at`, in small letters, without the last dot; or undefined. Pointers only go back, so that they come to an end. */
function readName(m: Uint8Array, length: number, at: number): string | undefined {
  let name = '';
  let limit = at;
  let jumped = false;
  let octets = 0;
  for (;;) {
    if (at >= length) return undefined;
    const n = m[at]!;
    if ((n & 0xc0) === 0xc0) {
      if (at + 1 >= length) return undefined;
      const to = ((n & 0x3f) << 8) | m[at + 1]!;
      if (!jumped) nameEnd = at + 2;
      jumped = true;
      if (to >= limit) return undefined;
      limit = at = to;
      continue;
    }
    if (n > LONGEST_LABEL) return undefined;
    if (n === 0) {
      if (!jumped) nameEnd = at + 1;
      return name;
    }
    octets += n + 1;
    if (octets > LONGEST_NAME || at + 1 + n > length) return undefined;
    if (name !== '') name += '.';
    for (let i = 1; i <= n; i++) {
      const c = m[at + i]!;
      // A dot inside a label would make it look like two.
      if (c === 0x2e || c <= 0x20 || c >= 0x7f) return undefined;
      name += String.fromCharCode(c >= 0x41 && c <= 0x5a ? c + 0x20 : c);
    }
    at += n + 1;
  }
}

/**
 * Reads the answer in m[0, length) and tells `found` of each address. Only the name in the question gets addresses: a name in the
 * middle of a chain of aliases is whatever the owner of the first one says it is. The time is the shortest of the chain.
 */
export function readDnsAnswer(m: Uint8Array, length: number, found: AddressFound): void {
  if (length < HEADER || (m[2]! & FLAG_RESPONSE) === 0 || (m[2]! & OPCODE_AND_TC) !== 0 || (m[3]! & RCODE) !== 0) return;
  const v = new DataView(m.buffer, m.byteOffset, length);
  if (v.getUint16(4) !== 1) return;
  const asked = readName(m, length, HEADER);
  if (asked === undefined || asked === '' || nameEnd + 4 > length || v.getUint16(nameEnd + 2) !== CLASS_IN) return;
  let at = nameEnd + 4;
  const aliases: Alias[] = [];
  const addresses: Found[] = [];
  for (let left = Math.min(v.getUint16(6), MOST_RECORDS); left > 0; left--) {
    const owner = readName(m, length, at);
    if (owner === undefined || nameEnd + 10 > length) return;
    at = nameEnd;
    const type = v.getUint16(at);
    const isInternet = v.getUint16(at + 2) === CLASS_IN;
    // "the most significant bit set … should be treated as if the entire value received was zero" - RFC 2181, 8.
    const given = v.getUint32(at + 4);
    const ttl = given >= 2 ** 31 ? 0 : given;
    const size = v.getUint16(at + 8);
    at += 10;
    if (at + size > length) return;
    if (isInternet && type === TYPE_CNAME) {
      const target = readName(m, length, at);
      if (target !== undefined) aliases.push({ owner, target, ttl });
    } else if (isInternet && ((type === TYPE_A && size === 4) || (type === TYPE_AAAA && size === ADDRESS_SIZE))) {
      addresses.push({ owner, address: addressIn(m, at, size), ttl });
    }
    at += size;
  }
  const chain = followAliases(asked, aliases);
  for (const { owner, address, ttl } of addresses) {
    const until = chain.get(owner);
    if (until !== undefined) found(asked, address, Math.min(ttl, until));
  }
}

function addressIn(m: Uint8Array, at: number, size: number): Uint8Array {
  const address = new Uint8Array(ADDRESS_SIZE);
  if (size === ADDRESS_SIZE) address.set(m.subarray(at, at + size));
  else {
    address[10] = address[11] = 0xff;
    address.set(m.subarray(at, at + size), MAPPED_AT);
  }
  return address;
}

/** The names that `asked` leads to, with the shortest time on the way. */
function followAliases(asked: string, aliases: readonly Alias[]): Map<string, number> {
  const chain = new Map([[asked, Number.POSITIVE_INFINITY]]);
  let at = asked;
  for (let steps = 0; steps < LONGEST_CHAIN; steps++) {
    const alias = aliases.find(({ owner }) => owner === at);
    if (alias === undefined || chain.has(alias.target)) break;
    chain.set(alias.target, Math.min(chain.get(at)!, alias.ttl));
    at = alias.target;
  }
  return chain;
}

/** DNS over TCP: messages of a stream, each with its length in front. */
export class DnsStream {
  private readonly bytes: Uint8Array = new Uint8Array(2 + 65535);
  private have = 0;

  /** What was received, in order. */
  take(src: Uint8Array, n: number, found: AddressFound): void {
    let at = 0;
    while (at < n) {
      const wanted = this.have < 2 ? 2 : 2 + this.size;
      const step = Math.min(n - at, wanted - this.have);
      this.bytes.set(src.subarray(at, at + step), this.have);
      this.have += step;
      at += step;
      if (this.have < 2 || this.have < 2 + this.size) continue;
      readDnsAnswer(this.bytes.subarray(2), this.size, found);
      this.have = 0;
    }
  }

  private get size(): number {
    return (this.bytes[0]! << 8) | this.bytes[1]!;
  }
}
