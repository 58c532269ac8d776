// `npm run conformance -- SET [OPTION...] [-- RUNSC_FLAG...]`: the compiled system call tests of a set (process, files, network, all)
// through the checkout's `runsc do`. The options are run.sh's own. Counted are the cases that pass natively; the last line says
// how many of them pass here: 'N passed, N failed'. The network set gets what its cases had natively, root of a network with only lo,
// unless flags say otherwise.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = join(import.meta.dirname, '..');
const suite = resolve(process.env.RUNSC_CONFORMANCE ?? join(root, '..', 'shared', 'conformance'));
const sets = ['process', 'files', 'network', 'all'];

function fail(sentence: string): never {
  console.error(`conformance: ${sentence}`);
  process.exit(2);
}

const [set, ...rest] = process.argv.slice(2);
if (!sets.includes(set)) fail(`say which set to run: npm run conformance -- ${sets.join('|')} [run.sh options] [-- runsc flags]`);
const runner = join(suite, 'run.sh');
if (!existsSync(runner)) fail(`${runner} is missing: set RUNSC_CONFORMANCE to the folder that holds the tests`);

const dashes = rest.indexOf('--');
const options = dashes < 0 ? rest : rest.slice(0, dashes);
const usual = set === 'network' ? ['--net-raw', '--network=none'] : [];
const flags = dashes < 0 ? usual : rest.slice(dashes + 1);
// A later -o or -l of the caller's overrides these.
const list = set === 'all' || options.includes('-t') ? [] : ['-l', join(suite, `${set}.txt`)];
const results = join(root, 'results', 'conformance', set);
const args = ['-o', results, ...list, ...options, join(root, 'bin', 'runsc'), ...flags, 'do'];

const run = spawn(runner, args, { stdio: ['ignore', 'pipe', 'inherit'] });
let output = '';
run.stdout.setEncoding('utf8').on('data', (text: string) => {
  output += text;
  process.stdout.write(text);
});
const status = await new Promise<number>((done) => run.on('close', (code) => done(code ?? 1)));

const versusNative = /^of (\d+) cases that pass natively: (\d+) pass/m.exec(output);
const plain = /^(\d+) passed, (\d+) failed/m.exec(output);
let passed = 0;
let failed = 1;
if (versusNative !== null) {
  passed = Number(versusNative[2]);
  failed = Number(versusNative[1]) - passed;
} else if (plain !== null) {
  passed = Number(plain[1]);
  failed = Number(plain[2]);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = status !== 0 || failed > 0 ? 1 : 0;
