import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';

export function run({ config, args }: Invocation): number {
  Container.load(config, args[0]!).start();
  return 0;
}
