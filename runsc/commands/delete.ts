import type { Invocation } from '../cli.ts';
import { Container, removeRemains } from '../container.ts';
import { StateDir } from '../state-file.ts';

export function run({ config, flags, args }: Invocation): number {
  const force = flags.on('force');
  for (const id of args) {
    const dir = new StateDir(config.root, id);
    // "delete --force" of nothing is no error: runc's behaviour, which callers rely on to clean up.
    if (force && !dir.exists()) continue;
    let container: Container;
    try {
      container = Container.load(config, id);
    } catch (error) {
      // A create that was killed half-way leaves a folder without a state.
      if (!force) throw error;
      removeRemains(dir);
      continue;
    }
    container.delete(force);
  }
  return 0;
}
