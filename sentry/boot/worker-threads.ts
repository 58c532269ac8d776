// V8 compiles and collects garbage on threads of its own. On a machine with few processors these are in the way of the
// two sides that wait for each other's next word, guest and run loop: while one of them has lost its processor, each
// call costs two wake-ups. So the workers step back; what they make is wanted, but not this millisecond.

import { readdirSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';
import { debug } from '../base/log.ts';

/** setpriority(2): a tenth of the share that the run loop has. */
const WORKER_NICE = 10;
const TASKS = '/proc/self/task';

/** Call while the host's /proc can be seen. Without it nothing is lost but speed. */
export function stepWorkersBack(): void {
  try {
    for (const tid of readdirSync(TASKS)) {
      if (!readFileSync(`${TASKS}/${tid}/comm`, 'latin1').includes('V8Worker')) continue;
      // The host's /proc numbers threads as its own namespace does; the last number is ours.
      const own = /^NSpid:.*\t(\d+)$/m.exec(readFileSync(`${TASKS}/${tid}/status`, 'latin1'));
      if (own !== null) setPriority(Number(own[1]), WORKER_NICE);
    }
  } catch (error) {
    debug(`V8's worker threads keep their priority: ${(error as Error).message}`);
  }
}
