// Watching host descriptors from boot: tokens far above those that sentry/host hands out.

import { errnoName } from '../abi/errno.ts';
import type { HostWatcher, Kernel } from '../kernel/kernel.ts';

const FIRST_TOKEN = 0x40000000;
let nextToken = FIRST_TOKEN;

/** Has `watcher` told of `events` on a descriptor; the token, to take it back. */
export function watchHost(kernel: Kernel, fd: number, events: number, watcher: HostWatcher): number {
  const token = nextToken++;
  kernel.hostWatchers.set(token, watcher);
  const result = kernel.platform.watch(fd, events, token);
  if (result < 0) throw new Error(`watching a descriptor of the host: ${errnoName(-result)}`);
  return token;
}
