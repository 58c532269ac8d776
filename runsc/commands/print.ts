// Commands that print what the command table knows: `runsc completion SHELL` and `runsc man`.

import { type Invocation, version } from '../cli.ts';
import { completion, manualPage } from '../manual.ts';

export function printCompletion({ args }: Invocation): number {
  process.stdout.write(completion(args[0]!));
  return 0;
}

export function printManual(): number {
  process.stdout.write(manualPage(version()));
  return 0;
}
