// Host calls that guest code makes from its stub's text: what the filter lets through, by what a child survives.
import { existsSync, rmSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import {
  SYS_arch_prctl,
  SYS_clone,
  SYS_close,
  SYS_dup2,
  SYS_futex,
  SYS_madvise,
  SYS_membarrier,
  SYS_mmap,
  SYS_mprotect,
  SYS_mremap,
  SYS_munmap,
  SYS_recvmsg,
  SYS_sched_yield,
  SYS_sigaltstack,
} from '../../sentry/abi/sysno-x64.ts';
import { buildGuest } from '../support/guest.ts';
import { baseEnv, run } from '../support/processes.ts';
import { describe, sandboxed } from '../support/sandbox.ts';
import { missing } from '../support/system.ts';
import { unless } from '../support/unless.ts';

/** Linux lets its uprobes' own call pass every filter, and refuses it outside of a trampoline of theirs: kernel/seccomp.c:__secure_computing(). */
const SYS_UPROBE = 336;
const ADMITTED = [
  SYS_close,
  SYS_mmap,
  SYS_mprotect,
  SYS_munmap,
  SYS_sched_yield,
  SYS_mremap,
  SYS_madvise,
  SYS_dup2,
  SYS_recvmsg,
  SYS_clone,
  SYS_sigaltstack,
  SYS_arch_prctl,
  SYS_futex,
  SYS_membarrier,
  SYS_UPROBE,
];

const reason = missing(['root', 'static-libc']);
const declare = unless(reason);
const why = reason === undefined ? '' : ` (${reason})`;

/** The lines that the helper prints in a sandbox. */
async function attack(t: ExecutionContext, ...args: string[]): Promise<string[]> {
  t.timeout(180_000);
  const argv = sandboxed('systrap', [await buildGuest('helper-stub-calls'), ...args]);
  const result = await run(argv, { env: baseEnv(), timeoutMs: 170_000 });
  t.is(result.status, 0, describe('in the sandbox', argv, result));
  const lines = result.stdout.trimEnd().split('\n');
  t.is(lines.pop(), 'done');
  return lines;
}

for (const mode of ['numbers', 'odd-numbers']) {
  declare(`of ${mode.replace('-', ' ')} that are called from the stub’s text only the filter’s get through${why}`, async (t) => {
    rmSync('/tmp/runsc-escaped', { force: true });
    const numbers = new Set((await attack(t, mode)).map((line) => Number(line.split(' ')[0])));
    t.deepEqual(
      [...numbers].filter((nr) => !ADMITTED.includes(nr)),
      [],
    );
    if (mode === 'numbers') t.true(numbers.has(SYS_close), 'the helper’s way into the stub works');
    t.false(existsSync('/tmp/runsc-escaped'));
  });
}

declare(`no call on memory touches what is the stub’s${why}`, async (t) => {
  t.deepEqual(await attack(t, 'memory'), []);
});

declare(`other ways into the kernel end in the Sentry or in a fault${why}`, async (t) => {
  const lines = await attack(t, 'other-ways');
  t.deepEqual(
    lines.filter((line) => !/: (ENOSYS|ends)$/.test(line) && !/^vsyscall \w+: answers$/.test(line)),
    [],
  );
  t.true(lines.length > 5);
});

declare(`a file that is mapped without the right to write cannot be written through the stub${why}`, async (t) => {
  const lines = await attack(t, 'descriptors');
  t.is(lines.length, 7);
  t.deepEqual(
    lines.filter((line) => !line.endsWith(': cannot be written')),
    [],
  );
});
