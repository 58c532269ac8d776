// Tests that some hosts cannot run: skipped there, with the reason in their title.
import test, { type ExecutionContext } from 'ava';

type Body = (t: ExecutionContext) => void | Promise<void>;

/** Declares tests that run one after another; where there is a reason against them, it skips them and says which. */
export function unless(reason: string | undefined): (title: string, body: Body) => void {
  return reason === undefined ? test.serial : (title, body) => test.skip(`${title} (${reason})`, body);
}
