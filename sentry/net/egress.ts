// Egress policies: whether a guest may send to an address. The first rule of a policy that matches decides, else its
// default; with several policies all of them must allow it. A rule with a host name matches the addresses that the
// policy's resolvers have given for that name, as long as the answer said, and never one that a rule with a network
// denies: whoever owns a name may point it anywhere.
//
// What is checked is each address that a guest hands to the host: connect(2), and send with an address. Answers are read
// where a guest receives them (net/host-socket.ts), and count only if they come from a resolver of the policy, whose
// address and port no guest can take (mayBind).

import { EACCES, EPERM } from '../abi/errno.ts';
import { AF_INET, AF_INET6, AF_UNSPEC, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_TCP } from '../abi/socket.ts';
import { ADDRESS_SIZE, formatAddress, inNetwork, isMapped, MAPPED_AT } from '../base/ip-address.ts';
import type { EgressPolicy, EgressRule } from '../boot/boot-config.ts';
import type { Task } from '../kernel/task.ts';
import { type AddressFound, DnsStream, readDnsAnswer } from './dns.ts';

// struct sockaddr_in and sockaddr_in6.
const PORT_AT = 2;
const V4_AT = 4;
const V4_LENGTH = 8;
const V6_AT = 8;
const V6_LENGTH = 24;

/** An answer is good for this long at least, so that whoever asked can use it: some say 0. */
const SHORTEST_NS = 2e9;
const LONGEST_SECONDS = 86400;
/** The names of more addresses than these are forgotten, oldest first. */
const MOST_ADDRESSES = 65536;
/** More names than these of one address are not kept. */
const MOST_NAMES = 64;

/** Lines in one stretch of time; what is beyond is counted. */
const LINES_PER_STRETCH = 200;
const STRETCH_NS = 10e9;

let policies: readonly EgressPolicy[] = [];
let log: (line: string) => void = () => {};
let now: () => number = () => 0;
let hasNames = false;

/** Address, as a string of 16 chars, to names and when they are no longer its. */
const names = new Map<string, Map<string, number>>();

const address = new Uint8Array(ADDRESS_SIZE);
let port = 0;

let linesLeft = LINES_PER_STRETCH;
let unsaid = 0;
let stretchEndNs = 0;

/** Before the first guest runs. clock is monotonic, in ns. */
export function setEgressPolicies(given: readonly EgressPolicy[], write: (line: string) => void, clock: () => number): void {
  policies = given;
  log = write;
  now = clock;
  hasNames = given.some((policy) => policy.rules.some((rule) => rule.name !== undefined));
  names.clear();
  linesLeft = LINES_PER_STRETCH;
  unsaid = 0;
  stretchEndNs = 0;
}

/** Whether anything has to be checked at all. */
export function isRestricted(): boolean {
  return policies.length > 0;
}

/** 0, or -EPERM for what a guest may not send to. name is a struct sockaddr; isSend: of a datagram, not connect(2). */
export function checkEgress(t: Task | null, family: number, protocol: number, name: Uint8Array, length: number, isSend: boolean): number {
  if (policies.length === 0 || !readName(family, name, length, isSend)) return 0;
  const kind = protocolName(protocol);
  for (const policy of policies) {
    const rule = decide(policy, kind);
    if (rule === null ? policy.allowByDefault : rule.allow) continue;
    tell(t, kind, policy, rule);
    return -EPERM;
  }
  return 0;
}

function protocolName(protocol: number): 'tcp' | 'udp' | 'icmp' {
  if (protocol === IPPROTO_TCP) return 'tcp';
  return protocol === IPPROTO_ICMP || protocol === IPPROTO_ICMPV6 ? 'icmp' : 'udp';
}

/** Puts where a sockaddr leads to into `address` and `port`; false for one that leads nowhere. */
function readName(family: number, name: Uint8Array, length: number, isSend: boolean): boolean {
  let kind = name[0]! | (name[1]! << 8);
  // Without a family a connect(2) ends the connection, but a send goes to the address: net/ipv4/udp.c:udp_sendmsg().
  if (kind === AF_UNSPEC && isSend && family === AF_INET) kind = AF_INET;
  port = (name[PORT_AT]! << 8) | name[PORT_AT + 1]!;
  address.fill(0);
  if (kind === AF_INET && length >= V4_LENGTH) {
    address[10] = address[11] = 0xff;
    address.set(name.subarray(V4_AT, V4_AT + 4), MAPPED_AT);
  } else if (kind === AF_INET6 && length >= V6_LENGTH) {
    address.set(name.subarray(V6_AT, V6_AT + ADDRESS_SIZE));
  } else return false;
  // "No address" is this host's: ip_route_output_key_hash(), tcp_v6_connect().
  if (isMapped(address)) {
    if (address[12] === 0 && address[13] === 0 && address[14] === 0 && address[15] === 0) {
      address[12] = 127;
      address[15] = 1;
    }
  } else if (address.every((byte) => byte === 0)) address[15] = 1;
  return true;
}

/** The rule that matches, or null for the default. */
function decide(policy: EgressPolicy, kind: 'tcp' | 'udp' | 'icmp'): EgressRule | null {
  if (kind !== 'icmp' && policy.resolvers.some((resolver) => resolver.port === port && inNetwork(address, resolver.address, 128))) {
    return RESOLVER_RULE;
  }
  for (const rule of policy.rules) {
    if (!matches(rule, kind)) continue;
    if (rule.name === undefined || !rule.allow) return rule;
    return policy.rules.find((other) => !other.allow && other.network !== undefined && matches(other, kind)) ?? rule;
  }
  return null;
}

const RESOLVER_RULE: EgressRule = { line: 0, text: '', allow: true, protocol: 'any', ports: [] };

function matches(rule: EgressRule, kind: 'tcp' | 'udp' | 'icmp'): boolean {
  if (rule.protocol !== 'any' && rule.protocol !== kind) return false;
  if (rule.ports.length > 0 && (kind === 'icmp' || !rule.ports.some(([first, last]) => port >= first && port <= last))) return false;
  if (rule.network !== undefined) {
    // ::/0 is all of IPv6 and nothing of IPv4.
    return isMapped(rule.network) === isMapped(address) && inNetwork(address, rule.network, rule.bits!);
  }
  return rule.name === undefined || hasName(rule.name);
}

// ---- names

function keyOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function hasName(wanted: string): boolean {
  const of = names.get(keyOf(address));
  if (of === undefined) return false;
  const time = now();
  for (const [name, until] of of) {
    if (until > time && (wanted.startsWith('*.') ? name.endsWith(wanted.slice(1)) : name === wanted)) return true;
  }
  return false;
}

const learn: AddressFound = (name, bytes, ttlSeconds) => {
  const key = keyOf(bytes);
  const of = names.get(key) ?? new Map<string, number>();
  const time = now();
  for (const [other, until] of of) if (until <= time) of.delete(other);
  if (of.size >= MOST_NAMES && !of.has(name)) return;
  // A later answer may say less than an earlier one, which was as true when it was given.
  const until = time + Math.max(Math.min(ttlSeconds, LONGEST_SECONDS) * 1e9, SHORTEST_NS);
  of.set(name, Math.max(of.get(name) ?? 0, until));
  names.delete(key);
  names.set(key, of);
  if (names.size > MOST_ADDRESSES) names.delete(names.keys().next().value!);
};

function isResolver(): boolean {
  return policies.some((policy) => policy.resolvers.some((r) => r.port === port && inNetwork(address, r.address, 128)));
}

/** A datagram that a guest receives: what a resolver says in it is learnt. name: where it came from. */
export function sawDatagram(family: number, name: Uint8Array, nameLength: number, bytes: Uint8Array, n: number): void {
  if (!hasNames || !readName(family, name, nameLength, true) || !isResolver()) return;
  readDnsAnswer(bytes, n, learn);
}

/** For a connection to a resolver: what reads its answers. null for any other. */
export function dnsStreamFor(family: number, name: Uint8Array, nameLength: number): DnsStream | null {
  return hasNames && readName(family, name, nameLength, false) && isResolver() ? new DnsStream() : null;
}

export function sawStream(stream: DnsStream, bytes: Uint8Array, n: number): void {
  stream.take(bytes, n, learn);
}

/**
 * 0, or -EACCES: nobody answers in a resolver's place. One on this host has an address that is local, and with IP_PKTINFO a socket
 * sends from any such address whatever it is bound to, so its port is taken as a whole.
 */
export function mayBind(family: number, name: Uint8Array, length: number): number {
  if (!hasNames) return 0;
  const kind = name[0]! | (name[1]! << 8);
  const wanted = (name[PORT_AT]! << 8) | name[PORT_AT + 1]!;
  const own = readName(family, name, length, kind === AF_UNSPEC);
  for (const policy of policies) {
    for (const resolver of policy.resolvers) {
      if (resolver.port !== wanted) continue;
      if (isLoopback(resolver.address) || (own && inNetwork(address, resolver.address, 128))) {
        say(`denied binding to ${formatAddress(resolver.address)} port ${wanted}, which is a resolver's: ${policy.file}`);
        return -EACCES;
      }
    }
  }
  return 0;
}

function isLoopback(bytes: ArrayLike<number>): boolean {
  if (isMapped(bytes)) return bytes[MAPPED_AT] === 127;
  for (let i = 0; i < ADDRESS_SIZE - 1; i++) if (bytes[i] !== 0) return false;
  return bytes[ADDRESS_SIZE - 1] === 1;
}

/** Raw and packet sockets write addresses that nobody checks. */
export function refuseRaw(t: Task): number {
  if (policies.length === 0) return 0;
  say(`denied a raw socket to ${whoIs(t)}: ${policies[0]!.file}`);
  return -EPERM;
}

// ---- the log

function whoIs(t: Task | null): string {
  // A process gives itself its name: it must not look like a line of the log.
  return t === null ? 'nobody' : `pid ${t.group.tgid} (${t.comm.replace(/[^\x21-\x7e]/g, '?')})`;
}

function tell(t: Task | null, kind: string, policy: EgressPolicy, rule: EgressRule | null): void {
  const known = [...(names.get(keyOf(address))?.keys() ?? [])].slice(0, 4).join(', ');
  const to = `${kind} ${formatAddress(address)}${kind === 'icmp' ? '' : ` port ${port}`}${known === '' ? '' : ` (${known})`}`;
  let by = `line ${rule?.line}: ${rule?.text}`;
  if (rule === null)
    by = policy.defaultLine === 0 ? 'no rule matches, and the default is deny' : `line ${policy.defaultLine}: default deny`;
  say(`denied ${to} to ${whoIs(t)}: ${policy.file}: ${by}`);
}

/** A guest that tries without end must not fill the host's disk. */
function say(line: string): void {
  const time = now();
  if (time >= stretchEndNs) {
    if (unsaid > 0) log(`and ${unsaid} more denials`);
    stretchEndNs = time + STRETCH_NS;
    linesLeft = LINES_PER_STRETCH;
    unsaid = 0;
  }
  if (linesLeft-- > 0) log(line);
  else unsaid++;
}
