// `runsc kill`: a signal by number or by name, with or without SIG.

import * as signals from '../../sentry/abi/signal.ts';
import type { Invocation } from '../cli.ts';
import { Container } from '../container.ts';
import { RunscError } from '../errors.ts';

const LAST_SIGNAL = 64;

export function run({ config, flags, args }: Invocation): number {
  const [id, word = 'SIGTERM'] = args;
  const signal = signalNumber(word);
  const container = Container.load(config, id!);
  const group = flags.number('pgid');
  const pid = group ?? flags.number('pid') ?? 1;
  container.signal(signal, flags.on('all') ? 'all' : group === undefined ? 'process' : 'group', pid);
  return 0;
}

export function signalNumber(word: string): number {
  if (/^\d+$/.test(word)) {
    if (Number(word) <= LAST_SIGNAL) return Number(word);
  } else {
    const name = word.toUpperCase().startsWith('SIG') ? word.toUpperCase() : `SIG${word.toUpperCase()}`;
    const number = (signals as unknown as Record<string, number>)[name];
    // The same module has SIG_DFL and SIGEV_NONE.
    if (/^SIG[A-Z0-9]+$/.test(name) && typeof number === 'number' && number >= 1 && number <= LAST_SIGNAL) return number;
    const realtime = /^SIGRTMIN(?:\+(\d+))?$/.exec(name);
    if (realtime !== null && Number(realtime[1] ?? 0) <= 30) return 34 + Number(realtime[1] ?? 0);
  }
  throw new RunscError(`unknown signal "${word}"`);
}
