// Real programs on the host's kernel and in the sandbox: what they print and how they end has to be the same.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { baseEnv, run } from '../support/processes.ts';
import { alike, root } from '../support/sandbox.ts';
import { findProgram } from '../support/system.ts';

const scripts = join(root, 'test', 'programs', 'scripts');
const script = (name: string): string => join(scripts, name);
// The system's own, never a version manager's: its files are where a sandbox expects them.
const python = '/usr/bin/python3';

alike('busybox: its applets from a script', { argv: ['busybox', 'sh', script('busybox.sh')], needs: ['busybox'], stderr: false });
alike('bash: pipes, jobs, traps, substitutions', { argv: ['bash', script('bash.sh')], needs: ['bash'], stderr: false });
alike('coreutils, find, grep, sed, awk, tar, gzip and xz', {
  argv: ['bash', script('coreutils.sh')],
  needs: ['bash', 'find', 'grep', 'sed', 'awk', 'tar', 'gzip', 'xz', 'diff'],
  stderr: false,
});
alike('perl: processes, files, sockets, signals', { argv: ['perl', script('perl.pl')], needs: ['perl'], status: 42 });
alike('python: threads, subprocess, asyncio, mmap, sqlite, signals', {
  argv: [python, script('threads.py')],
  needs: ['python3'],
  status: 11,
});
alike('python: multiprocessing', { argv: [python, script('multiprocessing_test.py')], needs: ['python3'] });
alike('git: init, commit, merge, clone, push, gc', { argv: ['bash', script('git.sh')], needs: ['bash', 'git'], stderr: false });
alike('gcc and make -j2: compile, link and run', { argv: ['bash', script('compile.sh')], needs: ['bash', 'gcc', 'make'] });
alike('node: workers, files, child processes, sockets', {
  argv: [process.execPath, script('node.mjs')],
  status: 12,
  // The text of a warning names the pid.
  stderr: false,
});
alike('node -e', { argv: [process.execPath, '-p', '[1, 2, 3].map((n) => n ** 2).join()'] });
alike('go: goroutines, processes, files, sockets, panics', {
  argv: async () => [await buildGo()],
  needs: ['go'],
  status: 2,
  stderr: false,
});
alike('exit codes and fatal signals through a shell', { argv: ['sh', script('status.sh')] });

for (const status of [0, 1, 42, 255])
  alike(`the sandbox ends with ${status} as its program does`, { argv: ['sh', '-c', `echo x; exit ${status}`], status });
alike('a program killed by a signal of its own child ends with 128 + n', {
  argv: ['sh', '-c', 'sh -c "kill -KILL \\$\\$"; echo $?; exec sh -c "exit 137"'],
  status: 137,
});
alike('standard input reaches the program', { argv: ['cat'], input: 'line 1\nline 2\n\0\xff\n' });
alike('standard input of half a megabyte', { argv: ['md5sum'], input: 'all work and no play\n'.repeat(25_000) });
alike('standard output and standard error stay apart', { argv: ['sh', '-c', 'echo out; echo err >&2'] });
alike('arguments and environment arrive unchanged', {
  argv: ['sh', '-c', 'printf "[%s]" "$@"; echo "$GREETING"', 'sh', 'a b', '', '*', "it's", 'ü', '\n'],
  env: { GREETING: 'hello there' },
});
alike('the working folder is the caller’s', { argv: ['pwd'], cwd: '/usr' });
alike('a large output is complete', { argv: ['seq', '1', '150000'] });

/** Links the Go program statically, once per cache folder: Go's own cache makes the second build quick. */
async function buildGo(): Promise<string> {
  const cache = join(root, 'node_modules', '.cache', 'runsc-guest');
  mkdirSync(cache, { recursive: true });
  const binary = join(cache, 'go-program');
  const env = baseEnv({ CGO_ENABLED: '0', GOCACHE: join(cache, 'go'), GOTOOLCHAIN: 'local', GOFLAGS: '-mod=mod' });
  const built = await run([findProgram('go')!, 'build', '-o', binary, script('go.go')], { env, timeoutMs: 300_000 });
  if (built.status !== 0) throw new Error(`go.go does not compile:\n${built.stderr}`);
  return binary;
}
