// Builds the C programs of test/guest, each once for its contents, and finds them again in a cache.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { baseEnv, run } from './processes.ts';
import { root } from './sandbox.ts';

const sources = join(root, 'test', 'guest');
const FLAGS = ['-O1', '-g0', '-w', '-static', '-pthread', '-D_GNU_SOURCE', `-I${sources}`];

export interface GuestProgram {
  name: string;
  /** The first line's comment: what the program checks. */
  title: string;
  /** Words after `needs:` on the second line, as system.ts knows them. */
  needs: string[];
}

/** All programs of test/guest that stand for one conformance test: helpers of other tests begin with 'helper-'. */
export function guestPrograms(): GuestProgram[] {
  const names = readdirSync(sources).filter((name) => name.endsWith('.c') && !name.startsWith('helper-'));
  return names.sort().map((file) => {
    const lines = readFileSync(join(sources, file), 'utf8').split('\n');
    const needs = /^\/\/ needs: (.*)$/.exec(lines[1])?.[1].split(' ') ?? [];
    return { name: file.slice(0, -2), title: lines[0].replace(/^\/\/ /, ''), needs };
  });
}

/** The path of the built program; throws with the compiler's words if it does not compile. */
export async function buildGuest(name: string): Promise<string> {
  const source = join(sources, `${name}.c`);
  const hash = createHash('sha256').update(FLAGS.slice(0, -1).join(' '));
  hash.update(readFileSync(source));
  for (const header of readdirSync(sources).filter((file) => file.endsWith('.h'))) hash.update(readFileSync(join(sources, header)));
  const cache = cacheDir();
  const binary = join(cache, `${name}-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(binary)) return binary;
  mkdirSync(cache, { recursive: true });
  // Two test files may build at once: each builds under a name of its own, and the last rename wins with the same contents.
  const building = `${binary}.${process.pid}`;
  const gcc = await run(['gcc', ...FLAGS, '-o', building, source, '-lm'], { env: baseEnv() });
  if (gcc.status !== 0) throw new Error(`${source} does not compile:\n${gcc.stderr}`);
  renameSync(building, binary);
  return binary;
}

function cacheDir(): string {
  const modules = join(root, 'node_modules');
  if (existsSync(modules)) return join(modules, '.cache', 'runsc-guest');
  return join(process.env.XDG_CACHE_HOME ?? join(process.env.HOME ?? '/tmp', '.cache'), 'runsc-guest');
}
