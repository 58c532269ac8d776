// What is made of the command table for people: manual page, completions, and their installation.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { commands } from '../../runsc/cli.ts';
import { globalFlags } from '../../runsc/config.ts';
import { completion, manualPage, shells } from '../../runsc/manual.ts';
import { run } from '../support/processes.ts';
import { launcher } from '../support/sandbox.ts';
import { unless } from '../support/unless.ts';

const executable = join(import.meta.dirname, '..', '..', 'dist', 'runsc');

test('the manual page names every command and every flag', (t) => {
  const page = manualPage('1.2.3').replaceAll('\\-', '-');
  t.true(page.includes('runsc 1.2.3'));
  for (const command of commands) t.true(page.includes(`.SS \\fB${command.name}\\fR`), command.name);
  for (const flag of [...globalFlags, ...commands.flatMap((c) => c.flags)]) t.true(page.includes(`\\fB--${flag.name}\\fR`), flag.name);
});

test('no line of the manual page is taken for a request by accident', (t) => {
  const requests = manualPage('1')
    .split('\n')
    .filter((line) => /^[.']/.test(line));
  for (const line of requests) t.regex(line, /^\.(TH|SH|SS|TP|B|BR)( |$)/);
});

/** What bash offers for a line whose cursor is at its end. */
function complete(...words: string[]): string[] {
  const script = `${completion('bash')}\nrunsc() { echo alpha; }\nCOMP_WORDS=("$@")\nCOMP_CWORD=$(($# - 1))\n_runsc\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
  const done = spawnSync('bash', ['-c', script, 'bash', ...words], { encoding: 'utf8' });
  return done.stdout.split('\n').filter((line) => line !== '');
}

test('bash completes commands, their flags and the ids of containers', (t) => {
  t.deepEqual(complete('runsc', 'resu'), ['resume']);
  t.deepEqual(complete('runsc', '--debug', 'exec', '--console'), ['--console-socket']);
  t.deepEqual(complete('runsc', 'kill', ''), ['alpha']);
});

test('the scripts of the other shells name every command', (t) => {
  for (const shell of shells) for (const { name } of commands) t.regex(completion(shell), new RegExp(`\\b${name}\\b`), `${shell}: ${name}`);
});

test('an unknown shell is refused by name', async (t) => {
  const result = await run([launcher, 'completion', 'tcsh'], {});
  t.is(result.status, 1);
  t.is(result.stderr, 'runsc: no completion for "tcsh": must be one of bash, zsh, fish\n');
});

test('checkpoint and restore say that they are not there', async (t) => {
  for (const verb of ['checkpoint', 'restore']) {
    const result = await run([launcher, verb, '--image-path', '/nowhere', 'c1'], {});
    t.is(result.status, 1);
    t.regex(result.stderr, new RegExp(`^runsc: cannot ${verb} c1: .* not supported`));
  }
});

test('a checkout does not install itself', async (t) => {
  const result = await run([launcher, 'install', '--prefix', '/nowhere'], {});
  t.is(result.status, 1);
  t.regex(result.stderr, /npm run build/);
});

const built = unless(existsSync(executable) ? undefined : 'needs npm run build');
built('the executable installs itself, and a second time over itself', async (t) => {
  const prefix = mkdtempSync(join(tmpdir(), 'runsc-install-'));
  t.teardown(() => rmSync(prefix, { recursive: true, force: true }));
  for (const program of [executable, join(prefix, 'bin', 'runsc')]) {
    const result = await run([program, 'install', '--prefix', prefix], { timeoutMs: 60_000 });
    t.is(result.status, 0, result.stderr);
    t.true(result.stdout.includes(`runsc = ["${join(prefix, 'bin', 'runsc')}"]`));
  }
  t.deepEqual(readdirSync(join(prefix, 'bin')), ['runsc']);
  t.is(statSync(join(prefix, 'bin', 'runsc')).mode & 0o777, 0o755);
  t.deepEqual(readdirSync(join(prefix, 'share', 'man', 'man8')), ['runsc.8']);
  const version = await run([join(prefix, 'bin', 'runsc'), '--version'], {});
  t.regex(version.stdout, /^runsc version /);
});
