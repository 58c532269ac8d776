// `runsc install`: puts the executable where engines look for it, with its manual page and completions, and prints
// what to tell the engines. Each file is written beside its place and renamed, so that a running runsc keeps its own.

import { chmodSync, copyFileSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { isSea } from 'node:sea';
import { type Invocation, version } from '../cli.ts';
import { RunscError } from '../errors.ts';
import { completion, manualPage } from '../manual.ts';
import { print } from '../output.ts';

export function run({ flags }: Invocation): number {
  if (!isSea()) throw new RunscError("a checkout cannot install itself: 'npm run build' makes dist/runsc, which can");
  const prefix = resolve(flags.string('prefix') ?? '/usr/local');
  const executable = join(prefix, 'bin', 'runsc');
  put(executable, (path) => {
    copyFileSync(process.execPath, path);
    chmodSync(path, 0o755);
  });
  const share = join(prefix, 'share');
  const texts: readonly (readonly [string, string])[] = [
    [join(share, 'man', 'man8', 'runsc.8'), manualPage(version())],
    [join(share, 'bash-completion', 'completions', 'runsc'), completion('bash')],
    [join(share, 'zsh', 'site-functions', '_runsc'), completion('zsh')],
    [join(share, 'fish', 'vendor_completions.d', 'runsc.fish'), completion('fish')],
  ];
  for (const [path, text] of texts) put(path, (beside) => writeFileSync(beside, text, { mode: 0o644 }));
  print(settings(executable, [executable, ...texts.map(([path]) => path)]));
  return 0;
}

function put(path: string, write: (beside: string) => void): void {
  const beside = `${path}.new-${process.pid}`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    write(beside);
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    throw new RunscError(`installing ${path}`, error);
  }
}

function settings(executable: string, written: readonly string[]): string {
  return `Installed:
${written.map((path) => `  ${path}\n`).join('')}
podman and buildah, in /etc/containers/containers.conf (or use --runtime ${executable}):

  [engine.runtimes]
  runsc = ["${executable}"]

docker, in /etc/docker/daemon.json:

  { "runtimes": { "runsc": { "path": "${executable}" } } }

containerd, in /etc/containerd/config.toml:

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runsc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runsc.options]
      BinaryName = "${executable}"
`;
}
