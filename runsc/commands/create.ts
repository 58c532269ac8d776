import type { Invocation } from '../cli.ts';
import { Container, type CreateOptions } from '../container.ts';

export function run({ config, flags, args }: Invocation): number {
  const { container } = Container.create(config, args[0]!, createOptions({ config, flags, args }, false));
  // The sandbox outlives us: its processes go to whoever reaps our orphans.
  void container;
  return 0;
}

/** What `create` and `run` have in common. */
export function createOptions({ flags }: Invocation, foreground: boolean): CreateOptions {
  return {
    bundle: flags.string('bundle') ?? '.',
    consoleSocket: flags.string('console-socket'),
    pidFile: flags.string('pid-file'),
    foreground,
    stdio: [0, 1, 2],
  };
}
