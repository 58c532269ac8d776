// --egress-policy FILE: what a sandbox may send to. docs/networking.md tells the format for people; each line is one of
//
//   default allow|deny
//   resolver ADDRESS [port N]
//   allow|deny any|ADDRESS|CIDR|NAME|*.NAME [port N[-M],…] [proto tcp|udp|icmp]

import { readFileSync } from 'node:fs';
import { inNetwork, isMapped, MAPPED_BITS, parseAddress } from '../sentry/base/ip-address.ts';
import type { EgressPolicy, EgressProtocol, EgressRule } from '../sentry/boot/boot-config.ts';
import { RunscError } from './errors.ts';

/** For `--egress-policy` in config.json. It adds to the flag's policy: what is sent must be allowed by both. */
export const EGRESS_ANNOTATION = 'dev.runsc.egress-policy';

const LONGEST_FILE = 1024 * 1024;
const DNS_PORT = 53;
const PROTOCOLS: readonly string[] = ['tcp', 'udp', 'icmp'];

/** Policies of the flag and of the annotation, as far as they are there. */
export function egressPolicies(flag: string | undefined, annotations: Readonly<Record<string, string>>): EgressPolicy[] {
  const policies: EgressPolicy[] = [];
  if (flag !== undefined) policies.push(readPolicy(`--egress-policy ${flag}`, flag));
  const named = annotations[EGRESS_ANNOTATION];
  if (named !== undefined) policies.push(readPolicy(`config.json: annotation ${EGRESS_ANNOTATION}: ${named}`, named));
  return policies;
}

function readPolicy(what: string, path: string): EgressPolicy {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new RunscError(what, error);
  }
  if (text.length > LONGEST_FILE) throw new RunscError(what, 'is longer than 1 MiB');
  return parsePolicy(what, path, text);
}

/** `what` is how errors name the file. */
export function parsePolicy(what: string, file: string, text: string): EgressPolicy {
  const rules: EgressRule[] = [];
  const resolvers: { address: number[]; port: number }[] = [];
  let byDefault: { allow: boolean; line: number } | undefined;
  for (const [i, raw] of text.split(/\r?\n/).entries()) {
    const line = i + 1;
    const words = raw
      .replace(/#.*/, '')
      .trim()
      .split(/\s+/)
      .filter((word) => word !== '');
    const fail = (why: string): never => {
      throw new RunscError(`${what}: line ${line}`, why);
    };
    const [verb, ...rest] = words;
    if (verb === undefined) continue;
    if (verb === 'default') {
      if (byDefault !== undefined) fail(`the default was given in line ${byDefault.line} already`);
      if (rest.length !== 1 || (rest[0] !== 'allow' && rest[0] !== 'deny')) fail("'default' is followed by allow or deny");
      byDefault = { allow: rest[0] === 'allow', line };
    } else if (verb === 'resolver') {
      resolvers.push(parseResolver(rest, fail));
    } else if (verb === 'allow' || verb === 'deny') {
      rules.push(parseRule(line, words.join(' '), verb === 'allow', rest, fail));
    } else fail(`'${verb}' is none of allow, deny, default and resolver`);
  }
  const named = rules.find((rule) => rule.name !== undefined);
  if (named !== undefined && resolvers.length === 0) {
    throw new RunscError(
      `${what}: line ${named.line}`,
      "a rule with a name needs a 'resolver' line: whose answers say what address the name has",
    );
  }
  return { file, allowByDefault: byDefault?.allow ?? false, defaultLine: byDefault?.line ?? 0, resolvers, rules };
}

type Fail = (why: string) => never;

function parseResolver(words: string[], fail: Fail): { address: number[]; port: number } {
  const address = parseAddress(words[0] ?? '');
  if (address === undefined) return fail(`'resolver' is followed by an IP address, not by '${words[0] ?? ''}'`);
  if (words.length === 1) return { address, port: DNS_PORT };
  const ports =
    words.length === 3 && words[1] === 'port' ? parsePorts(words[2]!, fail) : fail("after a resolver's address comes only 'port N'");
  const [first, last] = ports[0]!;
  if (ports.length !== 1 || first !== last) return fail('a resolver has one port');
  return { address, port: first };
}

function parseRule(line: number, text: string, allow: boolean, words: string[], fail: Fail): EgressRule {
  const [target, ...rest] = words;
  if (target === undefined) return fail("what to allow or deny is missing: 'any', an address, a network or a host name");
  let ports: [number, number][] = [];
  let protocol: EgressProtocol = 'any';
  const seen = new Set<string>();
  while (rest.length > 0) {
    const key = rest.shift()!;
    const value = rest.shift();
    if (key !== 'port' && key !== 'proto') return fail(`'${key}' is neither 'port' nor 'proto'`);
    if (value === undefined) return fail(`'${key}' has no value`);
    if (seen.has(key)) return fail(`'${key}' is given twice`);
    seen.add(key);
    if (key === 'port') ports = parsePorts(value, fail);
    else if (PROTOCOLS.includes(value)) protocol = value as EgressProtocol;
    else return fail(`'${value}' is none of the protocols tcp, udp and icmp`);
  }
  if (protocol === 'icmp' && ports.length > 0) return fail('icmp has no ports');
  return { line, text, allow, protocol, ports, ...parseTarget(target, fail) };
}

function parseTarget(target: string, fail: Fail): Pick<EgressRule, 'network' | 'bits' | 'name'> {
  if (target === 'any') return {};
  const slash = target.indexOf('/');
  if (slash >= 0 || target.includes(':') || /^[\d.]+$/.test(target)) return parseNetwork(target, slash, fail);
  const name = target.toLowerCase().replace(/\.$/, '');
  const labels = (name.startsWith('*.') ? name.slice(2) : name).split('.');
  if (name.length > 253 || !labels.every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))) {
    return fail(`'${target}' is neither an address nor a network nor a host name`);
  }
  return { name };
}

function parseNetwork(target: string, slash: number, fail: Fail): Pick<EgressRule, 'network' | 'bits'> {
  const network = parseAddress(slash < 0 ? target : target.slice(0, slash));
  if (network === undefined) return fail(`'${target}' is not an IP address or network`);
  // ::ffff:10.0.0.0/104 is spelled as IPv6, and counts the bits before.
  const before = isMapped(network) && !target.includes(':') ? MAPPED_BITS : 0;
  const width = 128 - before;
  const given = slash < 0 ? String(width) : target.slice(slash + 1);
  if (!/^\d{1,3}$/.test(given) || Number(given) > width) return fail(`'${target}': the length of the prefix is 0 to ${width}`);
  const bits = before + Number(given);
  const base = network.map((byte, i) => byte & (0xff00 >> Math.min(8, Math.max(0, bits - i * 8))) & 0xff);
  if (!inNetwork(network, base, 128)) return fail(`'${target}' has bits set after the prefix`);
  return { network, bits };
}

function parsePorts(text: string, fail: Fail): [number, number][] {
  return text.split(',').map((part) => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part);
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || first > 65535 || last > 65535) return fail(`'${part}' is not a port (0 to 65535) or a range of them`);
    if (first > last) return fail(`'${part}': the range ends before it begins`);
    return [first, last];
  });
}
