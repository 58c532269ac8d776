// A machine that has other things to do: programs of equal priority that compute all the time.
import { spawn } from 'node:child_process';
import { buildGuest } from './guest-program.ts';

export interface Busy {
  end(): void;
}

/** Starts `count` of them; they also end when this process does. */
export function makeBusy(count: number): Busy {
  const program = buildGuest('hog');
  const hogs = Array.from({ length: count }, () => spawn(program, [], { stdio: 'ignore' }));
  return {
    end() {
      for (const hog of hogs) hog.kill('SIGKILL');
    },
  };
}
