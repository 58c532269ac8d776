// Programs that are not there, cannot be executed, or are no programs at all: the exit code of a shell, a sentence, and no crash.
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { run } from '../support/processes.ts';
import { describe, platforms, sandboxed } from '../support/sandbox.ts';

const dir = mkdtempSync('/tmp/runsc-test-');
test.after.always(() => rmSync(dir, { recursive: true, force: true }));

function file(name: string, contents: string | Uint8Array, mode = 0o755): string {
  const path = join(dir, name);
  writeFileSync(path, contents);
  chmodSync(path, mode);
  return path;
}

/** /bin/sh with some bytes replaced, and cut off. */
function elf(name: string, patches: Record<number, number[]>, size?: number): string {
  const bytes = new Uint8Array(readFileSync('/bin/sh')).slice(0, size);
  for (const [at, values] of Object.entries(patches)) bytes.set(values, Number(at));
  return file(name, bytes);
}

interface Case {
  what: string;
  argv: string[];
  status: number;
  says: RegExp;
}

const cases: Case[] = [
  { what: 'a program that is not there', argv: ['/nowhere/at/all'], status: 127, says: /nowhere.*(no such file|not found)/i },
  {
    what: 'a name that is not in PATH',
    argv: ['nothing-of-this-name'],
    status: 127,
    says: /nothing-of-this-name.*(no such file|not found)/i,
  },
  { what: 'an empty name', argv: [''], status: 127, says: /no such file|not found|empty/i },
  { what: 'a folder', argv: ['/tmp'], status: 126, says: /permission denied|is a directory|EACCES/i },
  { what: 'a file without the right to execute', argv: [file('plain', 'text', 0o644)], status: 126, says: /permission denied/i },
  { what: 'a path through a file', argv: ['/etc/passwd/x'], status: 126, says: /not a directory/i },
  { what: 'an empty file', argv: [file('empty', '')], status: 126, says: /exec format/i },
  { what: 'a text without an interpreter', argv: [file('text', 'echo hello\n')], status: 126, says: /exec format/i },
  { what: 'an interpreter that is not there', argv: [file('script', '#!/nowhere/sh\n')], status: 127, says: /no such file|not found/i },
  { what: 'a script that interprets itself', argv: [file('loop', `#!${dir}/loop\n`)], status: 126, says: /symbolic link|ELOOP/i },
  { what: 'an ELF magic and no more', argv: [file('magic', '\x7fELF')], status: 126, says: /exec format/i },
  { what: 'an ELF header cut off', argv: [elf('cut-header', {}, 40)], status: 126, says: /exec format/i },
  { what: 'ELF program headers cut off', argv: [elf('cut-phdrs', {}, 100)], status: 126, says: /exec format|EIO|i\/o error/i },
  { what: 'a 32-bit ELF file', argv: [elf('class32', { 4: [1] })], status: 126, says: /exec format/i },
  { what: 'an ELF file for ARM', argv: [elf('arm', { 18: [0xb7, 0] })], status: 126, says: /exec format/i },
  { what: 'a relocatable ELF file', argv: [elf('relocatable', { 16: [1, 0] })], status: 126, says: /exec format/i },
  { what: 'an ELF file with no program headers', argv: [elf('no-phdrs', { 56: [0, 0] })], status: 126, says: /exec format/i },
  { what: 'program headers of the wrong size', argv: [elf('phentsize', { 54: [1, 0] })], status: 126, says: /exec format/i },
  {
    what: 'program headers far behind the end',
    argv: [elf('phoff', { 32: [255, 255, 255, 255, 255, 255, 255, 127] })],
    status: 126,
    says: /exec format|EIO|invalid/i,
  },
];

for (const platform of platforms) {
  for (const { what, argv, status, says } of cases) {
    test.serial(`${what} ends with ${status} and a sentence (${platform})`, async (t) => {
      t.timeout(60_000);
      const result = await run(sandboxed(platform, argv), { timeoutMs: 20_000 });
      const shown = describe('in the sandbox', argv, result);
      t.is(result.status, status, shown);
      t.regex(result.stderr, says, shown);
      t.is(result.stdout, '', shown);
      // One line for the user, not a stack of our own.
      t.notRegex(result.stderr, /^\s+at /m, shown);
    });
  }

  // Segments that lie: whatever the loader makes of them, the program fails and the sandbox does not.
  for (let round = 0; round < 3; round++) {
    test.serial(`ELF files with random damage harm nobody, round ${round} (${platform})`, async (t) => {
      t.timeout(60_000);
      const original = new Uint8Array(readFileSync('/bin/true'));
      const names: string[] = [];
      let seed = 12345 + round;
      const random = (below: number): number => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        return (seed >>> 8) % below;
      };
      for (let i = 0; i < 40; i++) {
        const bytes = original.slice();
        // The file header and the program headers: 64 + 13 * 56 bytes.
        for (let k = 0; k < 3; k++) bytes[4 + random(64 + 13 * 56)] = random(256);
        names.push(file(`damaged-${i}`, bytes));
      }
      // A shell starts them all in one sandbox; a damaged one may spin, so each gets two seconds at most.
      const script = 'for p in "$@"; do timeout -s KILL 2 "$p" </dev/null >/dev/null 2>&1; done; echo survived';
      const result = await run(sandboxed(platform, ['/bin/sh', '-c', script, 'sh', ...names]));
      t.is(result.stdout, 'survived\n', describe('in the sandbox', ['sh', '-c', script], result));
      t.is(result.status, 0);
    });
  }
}
