// Malformed network calls of one seed, on the host and in a sandbox, both in a network namespace with only lo.
import type { ExecutionContext } from 'ava';
import { buildGuest } from './guest.ts';
import { baseEnv, run } from './processes.ts';
import { describe, launcher } from './sandbox.ts';

/** quiet: one sum of all answers in place of a line for each. */
export async function sameAnswers(t: ExecutionContext, platform: string, seed: number, count: number, quiet: boolean): Promise<void> {
  const program = [await buildGuest('helper-netfuzz'), `${seed}`, `${count}`, ...(quiet ? ['quiet'] : [])];
  const native = await run(['unshare', '--net', 'sh', '-c', 'ip link set lo up; exec "$@"', 'sh', ...program], { timeoutMs: 400_000 });
  const argv = [launcher, `--platform=${platform}`, '--network=none', 'do', '--', ...program];
  const result = await run(argv, { env: baseEnv(), timeoutMs: 890_000 });
  t.regex(native.stdout, /^sum /m);
  t.is(result.status, 0, describe('in the sandbox', argv, result));
  const wanted = native.stdout.split('\n');
  const differ = result.stdout.split('\n').flatMap((line, i) => (line === wanted[i] ? [] : [`${line} (host: ${wanted[i]})`]));
  t.deepEqual(differ.slice(0, 20), []);
}
