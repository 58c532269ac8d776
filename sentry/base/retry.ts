// Calls that ask a guest's own program (a FUSE server) and must wait for its answer in the middle
// of a walk through the VFS, where no state of the call could be kept. The call ends with RETRY,
// which flows back through every layer like an errno and undoes what was half done; the task parks
// until its questions are answered and then makes the call again from its start. A question that
// was asked before has its answer at once: the task keeps its questions until the call is done.

import { RETRY } from './errors.ts';

/** One question of a call. */
export interface Question {
  readonly answered: boolean;
  /** A signal handler may let the call be made again: SA_RESTART. */
  readonly restarts?: boolean;
  /** Takes it back if nobody has seen it yet. */
  withdraw(): boolean;
  /** Tells who works on it that a signal waits. */
  interrupt(): void;
}

/** Whoever's call runs. */
export interface Asker {
  questions: Map<string, Question> | null;
  answered(): void;
}

/** The call that runs now: null outside calls, where nobody can wait. */
export const running: { asker: Asker | null } = { asker: null };

/** Keeps a question under `key` for the call that runs. */
export function remember(key: string, question: Question): void {
  const asker = running.asker!;
  if (asker.questions === null) asker.questions = new Map();
  asker.questions.set(key, question);
}

/** What was asked under `key` by the call that runs. */
export function remembered(key: string): Question | undefined {
  return running.asker?.questions?.get(key);
}

/** An answer that cannot be used a second time: the call, made again, asks anew. */
export function forgetAnswer(key: string): void {
  running.asker?.questions?.delete(key);
}

export { RETRY };
