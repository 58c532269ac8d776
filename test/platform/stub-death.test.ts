// A stub that the host kills, whatever its thread is just doing, is a guest process killed by SIGKILL to its parent, and no more.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildGuest } from '../support/guest.ts';
import { baseEnv, descendants, run } from '../support/processes.ts';
import { describe, platforms, sandboxed } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const KINDS = [1, 2, 3, 4, 5, 6];
/** Where helper-mortal.c marks what a process is. */
const MARK = 0x200000000000;
const KIND_STEP = 0x100000000;

/** The kind of the guest process that a host process runs, or 0. */
function kindOf(pid: number): number {
  let maps: string;
  try {
    maps = readFileSync(`/proc/${pid}/maps`, 'latin1');
  } catch {
    return 0;
  }
  return KINDS.find((kind) => maps.includes(`${(MARK + kind * KIND_STEP).toString(16)}-`)) ?? 0;
}

const reason = missing(['root', 'static-libc']);
for (const platform of platforms) {
  const declare = unless(reason);
  declare(`a killed stub is one killed process (${platform})${reason === undefined ? '' : `: ${reason}`}`, async (t) => {
    t.timeout(90_000);
    const argv = sandboxed(platform, [await buildGuest('helper-mortal')]);
    const ended = run(argv, { env: baseEnv() });
    const left = new Set(KINDS);
    for (let waits = 0; left.size > 0 && waits < 600; waits++) {
      for (const pid of descendants(process.pid)) {
        // A process that kind 4 has made shows the same mark: its death is seen by kind 4 alone.
        const kind = kindOf(pid);
        if (kind === 0 || !left.has(kind)) continue;
        await sleep(20);
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          continue;
        }
        if (kind !== 4) left.delete(kind);
      }
      if (left.size === 1 && left.has(4) && !descendants(process.pid).some((pid) => kindOf(pid) === 4)) break;
      await sleep(50);
    }
    const result = await ended;
    const shown = describe('in the sandbox', argv, result);
    t.is(result.status, 0, shown);
    const lines = result.stdout.trim().split('\n').sort();
    t.deepEqual(lines, ['a new program: exited 7', ...KINDS.map((kind) => `kind ${kind} has ended: killed by KILL`)], shown);
  });
}
