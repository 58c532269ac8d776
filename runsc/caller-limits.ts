// Resource limits that a command of `do` inherits: getrlimit(2).

import { getRlimit } from './host.ts';

const RLIMIT_NLIMITS = 16;
const RLIMIT_NOFILE = 7;

/** [resource, soft, hard] of who has called us; -1 for no limit. */
export function callerLimits(): [number, number, number][] {
  const limits: [number, number, number][] = [];
  for (let resource = 0; resource < RLIMIT_NLIMITS; resource++) {
    const own = getRlimit(0, resource);
    if (typeof own === 'number') continue;
    let [soft] = own;
    const hard = own[1];
    // Node has raised this one for itself; the shell that started us has it as it was.
    if (resource === RLIMIT_NOFILE) {
      const parents = getRlimit(process.ppid, resource);
      if (typeof parents !== 'number' && parents[0] >= 0 && (hard < 0 || parents[0] <= hard)) soft = parents[0];
    }
    limits.push([resource, soft, hard]);
  }
  return limits;
}
