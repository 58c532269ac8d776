// `runsc debug`: what a running sandbox can tell of itself.

import type { TaskInfo } from '../../sentry/boot/control-protocol.ts';
import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { print } from '../output.ts';
import { processTable } from './ps.ts';

export function run({ config, flags, args }: Invocation): number {
  const container = Container.load(config, args[0]!);
  if (flags.on('ps')) print(processTable(container, []));
  else if (flags.on('stacks')) print(stacks(container));
  else {
    const stats = ask<object>(container, 'stats');
    const state = { ...container.sandboxState(), ...stats, sentry: container.state.sentry.pid, gofer: container.state.gofer.pid };
    print(`${JSON.stringify(state, null, 2)}\n`);
  }
  return 0;
}

function ask<T>(container: Container, method: 'stats' | 'stacks'): T {
  const client = container.connect();
  try {
    return client.ask<T>('asking the Sentry', { method });
  } finally {
    client.close();
  }
}

/** A line a thread, and below it what it is in. */
function stacks(container: Container): string {
  return ask<TaskInfo[]>(container, 'stacks')
    .map((task) => {
      const lines = [
        `${task.tid === task.pid ? `process ${task.pid}` : `  thread ${task.tid} of ${task.pid}`} ${task.command} (${task.state})`,
      ];
      if (task.call === undefined) lines.push('    runs');
      else {
        lines.push(`    in ${task.call}`, `    until ${task.until}`);
        if (task.resume !== undefined) lines.push(`    then ${task.resume}() of the Sentry`);
      }
      return `${lines.join('\n')}\n`;
    })
    .join('');
}
