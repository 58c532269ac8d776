import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { processTable } from './ps.ts';

export function run({ config, flags, args }: Invocation): number {
  const container = Container.load(config, args[0]!);
  if (flags.on('ps')) process.stdout.write(processTable(container, []));
  else {
    const client = container.connect();
    const stats = client.ask<object>('asking the Sentry', { method: 'stats' });
    client.close();
    process.stdout.write(
      `${JSON.stringify({ ...container.sandboxState(), ...stats, sentry: container.state.sentry.pid, gofer: container.state.gofer.pid }, null, 2)}\n`,
    );
  }
  return 0;
}
