import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';

export function pause({ config, args }: Invocation): number {
  Container.load(config, args[0]!).pause();
  return 0;
}

export function resume({ config, args }: Invocation): number {
  Container.load(config, args[0]!).resume();
  return 0;
}
