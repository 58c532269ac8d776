import { InvariantError } from './errors.ts';

/** States an invariant of ours. A failure is a bug in the Sentry, never an answer to the guest. */
export function assert(condition: boolean, message = 'invariant broken'): asserts condition {
  if (!condition) throw new InvariantError(`assertion failed: ${message}`);
}
