import type { Invocation } from '../cli.ts';
import { Container, type CreateOptions } from '../container.ts';
import { RunscError } from '../errors.ts';
import type { FlagValues } from '../flags.ts';

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
    pidfdSocket: flags.string('pidfd-socket'),
    foreground,
    stdio: passedFds(flags),
  };
}

/** Highest count of --preserve-fds: a message to the sandbox carries no more. */
const MAX_PASSED = 60;

/** 0 to 2, and as many behind as --preserve-fds says. */
export function passedFds(flags: FlagValues): number[] {
  const more = flags.number('preserve-fds') ?? 0;
  if (more < 0 || more > MAX_PASSED) throw new RunscError(`--preserve-fds ${more}`, `must be between 0 and ${MAX_PASSED}`);
  return Array.from({ length: 3 + more }, (_, fd) => fd);
}
