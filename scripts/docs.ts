// `npm run docs`: writes docs/syscalls.md from sentry/syscalls/table.ts, so that the page says what the table does.
// With --check it writes nothing and fails if the page is out of date.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as numbers from '../sentry/abi/sysno-x64.ts';
import type { SyscallLine } from '../sentry/syscalls/syscall-line.ts';
import { table } from '../sentry/syscalls/table.ts';

const page = join(import.meta.dirname, '..', 'docs', 'syscalls.md');
const text = syscallsPage();
if (!process.argv.includes('--check')) {
  writeFileSync(page, text);
} else if (!existsSync(page) || readFileSync(page, 'utf8') !== text) {
  console.error('docs/syscalls.md is not what the table says: run npm run docs');
  process.exitCode = 1;
}

function syscallsPage(): string {
  const lines = table.filter((line) => line !== undefined);
  const count = (support: SyscallLine['support']): number => lines.filter((line) => line.support === support).length;
  const rows = lines.map((line) => `| ${line.nr} | ${line.name} | ${line.support} | ${note(line)} |`);
  const known = new Set(lines.map((line) => line.nr));
  const absent = Object.entries(numbers as Record<string, unknown>)
    .filter(([name, nr]) => name.startsWith('SYS_') && typeof nr === 'number' && !known.has(nr))
    .map(([name]) => name.slice('SYS_'.length));
  return `# System calls

Printed from \`sentry/syscalls/table.ts\` by \`npm run docs\`; do not edit.

${count('full')} calls are complete, ${count('partial')} leave something out, ${count('none')} answer with an error only. Whatever has no line here answers ENOSYS.

| number | call | support | what differs from Linux |
| ---: | --- | --- | --- |
${rows.join('\n')}
${absent.length === 0 ? '' : `\nWithout a line: ${absent.join(', ')}.\n`}`;
}

function note(line: SyscallLine): string {
  return line.note.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
