// The host's /proc/net of the sandbox's own network namespace. Sockets of the guest are sockets
// there, so these tables are the guest's. The files are opened before lock-down and read from then
// on by their descriptors: a seq_file is made anew by each read from its start.

import { openSync, readSync } from 'node:fs';
import { latin1 } from '../base/latin1.ts';
import { NETWORK_TABLES } from '../host/net-broker.ts';
import { registerNetText } from './proc-net.ts';

/** A table of more than this is cut off. */
const LIMIT = 4 * 1024 * 1024;
const CHUNK = 64 * 1024;
const bytes = new Uint8Array(CHUNK);

/** Shows the host's tables to tasks of the sandbox's first network namespace. Call before lock-down; what cannot be opened stays an empty table. */
export function registerHostNetworkFiles(): void {
  for (const name of NETWORK_TABLES) {
    const fd = openTable(name);
    if (fd < 0) continue;
    const own = registerNetText(name, (ns, t) => (ns.isolated ? (own?.(ns, t) ?? '') : readHostTable(fd)));
  }
}

function openTable(name: string): number {
  try {
    return openSync(`/proc/self/net/${name}`, 'r');
  } catch {
    return -1;
  }
}

/** All of a table, from its start. */
export function readHostTable(fd: number): string {
  let text = '';
  while (text.length < LIMIT) {
    const n = readSync(fd, bytes, 0, CHUNK, text.length);
    if (n <= 0) break;
    text += latin1(bytes, 0, n);
  }
  return text;
}
