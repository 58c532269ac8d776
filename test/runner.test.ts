import test from 'ava';
import { leftovers } from './support/leftovers.ts';
import { closingLine, countTests } from './support/summary.ts';

test('tests are counted by their lines, an uncaught exception by the summary', (t) => {
  const output =
    '  ✔ a › one\n  ✘ [fail]: a › two Error\n  ✔ three (1.2s)\n  - [skip] a › four\n  ─\n\n  a › two\n\n  1 test failed\n  1 uncaught exception\n';
  t.deepEqual(countTests(output, 1), { passed: 2, failed: 2, skipped: 1 });
});

test('a run that ends badly without a failed test counts one failure', (t) => {
  t.deepEqual(countTests('  ✔ one\n  ✔ two\n', 1), { passed: 2, failed: 1, skipped: 0 });
});

test('the closing line names skipped tests only if there are any', (t) => {
  t.is(closingLine({ passed: 3, failed: 0, skipped: 0 }), '3 passed, 0 failed');
  t.is(closingLine({ passed: 3, failed: 0, skipped: 1 }), '3 passed, 0 failed, 1 skipped');
});

test('only what was not there before is a leftover', (t) => {
  const state = (files: string[], processes: [string, string][]) => ({
    processes: new Map(processes),
    mounts: new Set<string>(),
    cgroups: new Map<string, boolean>(),
    files: new Set(files),
  });
  const before = state(['/tmp/runsc-old'], [['7 100', 'node runsc/main.ts']]);
  const now = state(
    ['/tmp/runsc-old', '/tmp/runsc-new'],
    [
      ['7 100', 'node runsc/main.ts'],
      ['7 200', 'node gofer/main.ts'],
    ],
  );
  before.cgroups.set('/sys/fs/cgroup/pids/other', true);
  now.cgroups.set('/sys/fs/cgroup/pids/other', false).set('/sys/fs/cgroup/pids/others-new', true).set('/sys/fs/cgroup/pids/c1', false);
  t.deepEqual(leftovers(before, now), ['process 7: node gofer/main.ts', 'cgroup /sys/fs/cgroup/pids/c1', 'file /tmp/runsc-new']);
});
