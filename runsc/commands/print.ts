// Commands that print what the command table knows: `runsc completion SHELL` and `runsc man`.

import { type Invocation, version } from '../cli.ts';
import { completion, manualPage } from '../manual.ts';
import { print } from '../output.ts';

export function printCompletion({ args }: Invocation): number {
  print(completion(args[0]!));
  return 0;
}

export function printManual(): number {
  print(manualPage(version()));
  return 0;
}
