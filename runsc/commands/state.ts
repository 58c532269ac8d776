import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { print } from '../output.ts';

export function run({ config, args }: Invocation): number {
  const container = Container.load(config, args[0]!);
  const { rootfs, created, owner } = container.state;
  print(`${JSON.stringify({ ...container.ociState(), rootfs, created, owner: String(owner) }, null, 2)}\n`);
  return 0;
}
