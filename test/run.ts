// `npm test [-- FILE...]`: builds what changed of the native parts, runs ava, then looks for what the run left on the host.
// Ends with the line 'N passed, N failed'. `--soak` runs test/soak instead.
import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { hostState, leftovers } from './support/leftovers.ts';
import { closingLine, countTests } from './support/summary.ts';

const root = join(import.meta.dirname, '..');
const soak = process.argv.includes('--soak');
const args = process.argv.slice(2).filter((arg) => arg !== '--soak');
/** How long processes may take to end after the last test, in seconds. */
const PATIENCE = 5;

/** Runs ava with its output passed on as it comes. */
async function runAva(): Promise<{ output: string; exitCode: number }> {
  const config = soak ? ['--config', 'ava.soak.config.js'] : [];
  const ava = spawn(process.execPath, [join(root, 'node_modules', 'ava', 'entrypoints', 'cli.mjs'), ...config, ...args], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, FORCE_COLOR: '0' },
  });
  let output = '';
  ava.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    process.stdout.write(text);
  });
  const exitCode = await new Promise<number>((resolve) => ava.on('close', (code) => resolve(code ?? 1)));
  return { output, exitCode };
}

const build = spawnSync(process.execPath, [join(root, 'native', 'build.js')], { stdio: 'inherit' });
if (build.status !== 0) {
  console.log(closingLine({ passed: 0, failed: 1, skipped: 0 }));
  process.exit(1);
}

const before = hostState(root);
const { output, exitCode } = await runAva();
const counts = countTests(output, exitCode);

let left = leftovers(before, hostState(root));
for (let second = 0; left.length > 0 && second < PATIENCE; second++) {
  await sleep(1000);
  left = leftovers(before, hostState(root));
}
for (const line of left) console.log(`left behind: ${line}`);
counts.failed += left.length;

console.log(closingLine(counts));
process.exitCode = counts.failed > 0 || counts.passed === 0 ? 1 : 0;
