// `runsc run`: create and start; in the foreground also wait and delete.

import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { catchSignals, runInForeground } from '../foreground.ts';
import { isTerminal } from '../host.ts';
import { createOptions } from './create.ts';

export function run(invocation: Invocation): number {
  const { config, flags, args } = invocation;
  const detach = flags.on('detach');
  if (detach) {
    const { container } = Container.create(config, args[0]!, createOptions(invocation, false));
    try {
      container.start();
    } catch (error) {
      container.delete(true);
      throw error;
    }
    return 0;
  }
  const signals = catchSignals();
  const { container, sandbox, spec, relay } = Container.create(config, args[0]!, createOptions(invocation, true));
  try {
    return runInForeground(sandbox, signals, {
      name: spec.process.args[0]!,
      terminal: spec.process.terminal && flags.string('console-socket') === undefined && isTerminal(0),
      relay,
      starting: (control) => container.runStartHooks(control),
      started: () => container.locked(() => container.markStarted()),
    });
  } finally {
    if (!flags.on('keep')) container.delete(true);
  }
}
