// A host descriptor's place at the notifier (Platform.watch), which tells of changes, edge-triggered.

import { POLLIN, POLLOUT, POLLPRI, POLLRDHUP, POLLRDNORM, POLLWRNORM } from '../abi/poll.ts';
import { nextWatchToken } from '../host/watch-token.ts';
import type { HostWatcher, Kernel } from '../kernel/kernel.ts';

export const WATCHED = POLLIN | POLLOUT | POLLPRI | POLLRDHUP;

/** Begins to watch; the token, which is never 0. */
export function watchHost(kernel: Kernel, watcher: HostWatcher, hostFd: number): number {
  const token = nextWatchToken();
  kernel.hostWatchers.set(token, watcher);
  kernel.platform.watch(hostFd, WATCHED, token);
  return token;
}

/** token: 0 where nobody watched. */
export function unwatchHost(kernel: Kernel, hostFd: number, token: number): void {
  if (token === 0) return;
  kernel.platform.unwatch(hostFd);
  kernel.hostWatchers.delete(token);
}

/** What waiters are told: the notifier knows no POLLRDNORM and POLLWRNORM. */
export function toldEvents(events: number): number {
  let told = events;
  if ((events & POLLIN) !== 0) told |= POLLRDNORM;
  if ((events & POLLOUT) !== 0) told |= POLLWRNORM;
  return told;
}
