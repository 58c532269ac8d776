// `runsc checkpoint` and `runsc restore`: runc has them, so front ends call them, and are told what is the case.

import type { Invocation } from '../cli.ts';
import { RunscError } from '../errors.ts';

export function checkpoint({ args }: Invocation): never {
  throw new RunscError(`cannot checkpoint ${args[0]}`, 'saving the state of a sandbox is not supported; the container runs on');
}

export function restore({ args }: Invocation): never {
  throw new RunscError(`cannot restore ${args[0]}`, 'saved sandboxes are not supported, so there is none to restore');
}
