// `runsc wait`: until a process of the container has ended; prints its status as gVisor's does.

import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { print } from '../output.ts';
import { exitCodeOfStatus } from '../sandbox.ts';

export function run({ config, flags, args }: Invocation): number {
  const container = Container.load(config, args[0]!);
  const client = container.connect();
  const pid = flags.number('pid') ?? flags.number('rootpid') ?? 1;
  const status = client.ask<number>(`waiting for process ${pid}`, { method: 'wait', pid });
  client.close();
  print(`${JSON.stringify({ id: container.state.id, exitStatus: exitCodeOfStatus(status) })}\n`);
  return 0;
}
