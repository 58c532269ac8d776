import { join } from 'node:path';
import test from 'ava';
import { type ImportLine, importsOf, readImports, sourceFiles } from './support/imports.ts';
import { brokenRule } from './support/layers.ts';

const root = join(import.meta.dirname, '..');

test('no source imports what stands above it', (t) => {
  const broken: string[] = [];
  for (const line of readImports(root, ['sentry', 'platform', 'gofer', 'runsc', 'shim'])) {
    const rule = brokenRule(line);
    if (rule !== undefined) broken.push(`${line.file}:${line.line} imports ${line.target}: ${rule}`);
  }
  t.is(broken.join('\n'), '');
});

test('every folder of the Sentry is known to the import rules', (t) => {
  const unknown = sourceFiles(root, ['sentry']).filter((file) =>
    brokenRule(imports(file, 'sentry/vfs/x.ts', 'type'))?.includes('no place'),
  );
  t.deepEqual(unknown, []);
});

function imports(file: string, target: string, how: 'value' | 'type' | 'dynamic' = 'value'): ImportLine {
  return { file, line: 1, target, typeOnly: how === 'type', dynamic: how === 'dynamic' };
}

const allowed = [
  imports('sentry/syscalls/fs-open.ts', 'sentry/vfs/vfs.ts'),
  imports('sentry/syscalls/pipe.ts', 'sentry/fs/pipe.ts'),
  imports('sentry/fs/proc.ts', 'sentry/kernel/task.ts', 'type'),
  imports('sentry/fs/gofer/client.ts', 'gofer/protocol/messages.ts'),
  imports('sentry/mm/memory-manager.ts', 'platform/platform.ts'),
  imports('sentry/host/notifier.ts', 'ptrace-napi'),
  imports('platform/systrap/systrap.ts', 'sentry/abi/signal.ts'),
  imports('runsc/host.ts', 'ptrace-napi'),
  imports('runsc/sandbox.ts', 'sentry/boot/boot-config.ts', 'type'),
  imports('runsc/main.ts', 'sentry/boot/main.ts', 'dynamic'),
  imports('shim/main.ts', 'runsc/control-client.ts'),
];
for (const line of allowed) {
  test(`${line.file} may import ${line.target}`, (t) => t.is(brokenRule(line), undefined));
}

const refused = [
  imports('sentry/vfs/vfs.ts', 'sentry/kernel/task.ts'),
  imports('sentry/kernel/task.ts', 'sentry/fs/tmpfs.ts'),
  imports('sentry/fs/proc.ts', 'sentry/kernel/task.ts'),
  imports('sentry/base/log.ts', 'sentry/vfs/vfs.ts', 'type'),
  imports('sentry/kernel/kernel.ts', 'platform/systrap/systrap.ts', 'type'),
  imports('sentry/fs/gofer/client.ts', 'gofer/handlers.ts'),
  imports('sentry/vfs/vfs.ts', 'gofer/protocol/messages.ts'),
  imports('sentry/kernel/task.ts', 'ptrace-napi'),
  imports('platform/ptrace/ptrace.ts', 'sentry/kernel/task.ts', 'type'),
  imports('gofer/server.ts', 'sentry/vfs/vfs.ts', 'type'),
  imports('runsc/container.ts', 'sentry/kernel/kernel.ts'),
  imports('runsc/cli.ts', 'sentry/boot/main.ts', 'dynamic'),
];
for (const line of refused) {
  test(`${line.file} may not import ${line.target}${line.typeOnly ? ' even as a type' : ''}`, (t) =>
    t.is(typeof brokenRule(line), 'string'));
}

test('imports are found over several lines, as types, for their effect and at run time', (t) => {
  const text = `import type { A } from './a.ts';
import {
  b,
} from '../b.ts';
import 'node:fs';
export { c } from './c.ts';
const d = await import('./d.ts');
type E = import('./e.ts').E;
`;
  t.deepEqual(
    importsOf('x/y/z.ts', text).map((i) => `${i.line} ${i.target}${i.typeOnly ? ' type' : ''}${i.dynamic ? ' dynamic' : ''}`),
    ['1 x/y/a.ts type', '2 x/b.ts', '5 node:fs', '6 x/y/c.ts', '7 x/y/d.ts dynamic', '8 x/y/e.ts type dynamic'],
  );
});
