// native/launcher/front.c, in front of a Node that is no runsc: what the launcher leaves to it fails there.
import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { carryLibraries } from '../../scripts/carry.ts';
import { Bundle } from '../support/bundle.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

const launcher = join(import.meta.dirname, '..', '..', 'native', 'build', 'Release', 'launcher');
const reason = missing(['root']);
const maybe = unless(reason);
const suffix = reason === undefined ? '' : ` (${reason})`;

const dir = mkdtempSync(join(tmpdir(), 'runsc-front-'));
const front = join(dir, 'runsc');
test.before(() => {
  copyFileSync(process.execPath, front);
  carryLibraries(front, readFileSync(launcher), 'runsc version 1.2.3\n');
});
test.after.always(() => rmSync(dir, { recursive: true }));

function call(words: readonly string[], input = '') {
  return spawnSync(front, words, { input, encoding: 'latin1', timeout: 30_000, env: { PATH: process.env.PATH } });
}

test('--version is answered, and only where it stands alone and by this name', (t) => {
  t.is(call(['--version']).stdout, 'runsc version 1.2.3\n');
  t.is(call(['-v']).stdout, 'runsc version 1.2.3\n');
  // Node's own.
  t.regex(call(['--version', '--no-warnings']).stdout, /^v\d/);
  symlinkSync('runsc', join(dir, 'containerd-shim-runsc-v1'));
  t.regex(spawnSync(join(dir, 'containerd-shim-runsc-v1'), ['--version'], { encoding: 'utf8' }).stdout, /^v\d/);
});

maybe(`exec of a command without flags is done: arguments, streams, status, signals${suffix}`, async (t) => {
  t.timeout(120_000);
  const b = new Bundle('sleep 60');
  t.teardown(() => b.remove());
  b.write();
  t.is((await b.runsc(['run', '--detach', 'a'])).status, 0);
  const exec = (...words: string[]) => call(['--root', b.root, 'exec', 'a', ...words], 'typed\n');

  const said = exec('sh', '-c', 'cat; printf "%s\\n" "$0" "$@" >&2; exit 7', 'a"b\\', '', 'x\ty\n\x01', '\u00e9', 'z'.repeat(30_000));
  t.is(said.status, 7);
  t.is(said.stdout, 'typed\n');
  t.is(said.stderr, `a"b\\\n\nx\ty\n\x01\n\u00c3\u00a9\n${'z'.repeat(30_000)}\n`);
  t.is(call(['--platform=ptrace', '--root', b.root, '--platform', 'systrap', 'exec', 'a', 'sh', '-c', 'exit 5']).status, 5);
  t.is(call([`--root=${b.root}`, 'exec', 'a', 'sh', '-c', 'kill -9 $$']).status, 137);

  const program = spawn(front, [
    '--root',
    b.root,
    'exec',
    'a',
    'sh',
    '-c',
    'trap "echo heard; exit 3" TERM; echo up; while :; do sleep 0.05; done',
  ]);
  let text = '';
  program.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    if (text === '') program.kill('SIGTERM');
    text += chunk;
  });
  t.is(await new Promise((resolve) => program.on('close', resolve)), 3);
  t.is(text, 'up\nheard\n');

  // Node is asked where something is unusual.
  const toNode = (...words: string[]) => t.regex(call(words).stderr, /Cannot find module|bad option|`node --debug`/, words.join(' '));
  toNode('--root', b.root, 'exec', 'a', 'no-such-program');
  toNode('--root', b.root, 'exec', 'b', 'true');
  toNode('--root', b.root, 'exec', '../a', 'true');
  toNode('--root', b.root, 'exec', 'a');
  toNode('--root', `${b.root}/${'x'.repeat(100)}`, 'exec', 'a', 'true');
  toNode('--platform', 'none', '--root', b.root, 'exec', 'a', 'true');
  toNode('--debug', '--root', b.root, 'exec', 'a', 'true');
  t.is((await b.runsc(['pause', 'a'])).status, 0);
  t.false(existsSync(join(b.root, 'a', 'exec.json')));
  toNode('--root', b.root, 'exec', 'a', 'true');
  t.is((await b.runsc(['resume', 'a'])).status, 0);
  t.is(exec('true').status, 0);

  t.is((await b.runsc(['delete', '--force', 'a'])).status, 0);
  toNode('--root', b.root, 'exec', 'a', 'true');
});
