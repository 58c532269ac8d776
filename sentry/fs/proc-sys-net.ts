// Kernel parameters of the network that are the host's: sockets obey them, so that /proc/sys shows what they are in the
// sandbox's network namespace, and a value that is set there is set for real, where the namespace is the sandbox's to
// change. The files are opened before lock-down; the host asks on each write whether we are root of the namespace.

import { openSync, readSync, writeSync } from 'node:fs';
import { EACCES, EBADF, EINVAL, EPERM } from '../abi/errno.ts';
import { latin1 } from '../base/latin1.ts';
import { brokerWrite } from '../host/net-broker.ts';

const IPV4 = [
  'icmp_echo_ignore_all',
  'ip_default_ttl',
  'ip_forward',
  'ip_local_port_range',
  'ip_nonlocal_bind',
  'ip_unprivileged_port_start',
  'tcp_allowed_congestion_control',
  'tcp_available_congestion_control',
  'tcp_congestion_control',
  'tcp_ecn',
  'tcp_fin_timeout',
  'tcp_keepalive_intvl',
  'tcp_keepalive_probes',
  'tcp_keepalive_time',
  'tcp_max_syn_backlog',
  'tcp_rmem',
  'tcp_syncookies',
  'tcp_syn_retries',
  'tcp_tw_reuse',
  'tcp_wmem',
];
const DEVICES = ['all', 'default', 'lo'];
const IPV4_DEVICE = ['accept_local', 'forwarding', 'rp_filter', 'route_localnet'];
const IPV6_DEVICE = ['disable_ipv6', 'forwarding'];

const NAMES: readonly string[] = [
  'net.core.somaxconn',
  'net.ipv6.bindv6only',
  ...IPV4.map((name) => `net.ipv4.${name}`),
  ...DEVICES.flatMap((device) => IPV4_DEVICE.map((name) => `net.ipv4.conf.${device}.${name}`)),
  ...DEVICES.flatMap((device) => IPV6_DEVICE.map((name) => `net.ipv6.conf.${device}.${name}`)),
];

const VALUE_ROOM = 4096;
const bytes = new Uint8Array(VALUE_ROOM);
const files = new Map<string, number>();
let mayChange = false;

function pathOf(name: string): string {
  return `/proc/sys/${name.replaceAll('.', '/')}`;
}

function tryOpen(name: string, flags: string): number {
  try {
    return openSync(pathOf(name), flags);
  } catch {
    return -1;
  }
}

/** Before lock-down. isOurs: the network namespace is the sandbox's; isGuests: and guests may change its parameters. */
export function adoptNetSysctls(isOurs: boolean, isGuests: boolean): void {
  mayChange = isOurs;
  for (const name of NAMES) {
    let fd = isGuests ? tryOpen(name, 'r+') : -1;
    if (fd < 0) fd = tryOpen(name, 'r');
    if (fd >= 0) files.set(name, fd);
  }
}

/**
 * Groups that may ping are told in numbers of our user namespace, which has one group: the Sentry's, and it opens all sockets. So any
 * range lets it, and an empty one does not.
 */
const PING_GROUPS = 'net.ipv4.ping_group_range';

function hostValue(name: string, value: string): string {
  if (name !== PING_GROUPS) return value;
  const [first, last] = value.trim().split(/\s+/).map(Number);
  return first !== undefined && last !== undefined && first <= last ? '0 0' : '1 0';
}

/** Before lock-down: sets a parameter of the sandbox's own network, whether guests see it or not. 0 or -errno. */
export function setNetSysctl(name: string, value: string): number {
  if (!mayChange) return -EPERM;
  try {
    const fd = openSync(pathOf(name), 'w');
    writeSync(fd, hostValue(name, value));
    return 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno ?? -EINVAL;
  }
}

/** The host's value, or undefined where the parameter is the Sentry's own. */
export function netSysctl(name: string): string | undefined {
  const fd = files.get(name);
  if (fd === undefined) return undefined;
  try {
    const n = readSync(fd, bytes, 0, VALUE_ROOM, 0);
    return latin1(bytes, 0, n).replace(/\n$/, '');
  } catch {
    return undefined;
  }
}

/** Sets it on the host, for a guest that has CAP_NET_ADMIN there or not: 0, -errno, or undefined where the parameter is the Sentry's own. */
export function changeNetSysctl(name: string, value: string, isAdmin: boolean): number | undefined {
  const fd = files.get(name);
  if (fd === undefined) return undefined;
  try {
    writeSync(fd, value, 0, 'latin1');
    return 0;
  } catch (error) {
    const { errno = -EINVAL } = error as NodeJS.ErrnoException;
    // It was opened for reading alone.
    if (errno === -EBADF) return -EACCES;
    // Some ask for CAP_NET_ADMIN as well: net/ipv4/devinet.c:devinet_sysctl_forward().
    return errno === -EPERM && isAdmin ? Math.min(brokerWrite(fd, Buffer.from(value, 'latin1'), value.length), 0) : errno;
  }
}
