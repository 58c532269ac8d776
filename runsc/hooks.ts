// Hooks of config.json: programs of the host that are run at points of a container's life, with its state on stdin.

import { describe, RunscError } from './errors.ts';
import { spawnSync } from './host-program.ts';
import { warning } from './messages.ts';
import type { HookName, SpecHook } from './spec.ts';

/** OCI's state, as hooks and `state` get it. */
export interface OciState {
  readonly ociVersion: string;
  readonly id: string;
  readonly status: string;
  readonly pid: number;
  readonly bundle: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Of a hook's stdout or stderr; one that prints more is killed. */
const MAX_OUTPUT = 64 * 1024 * 1024;

/** Runs them in order; the first that fails ends it with an error. */
export function runHooks(name: HookName, hooks: readonly SpecHook[], state: OciState): void {
  for (const [i, hook] of hooks.entries()) runHook(name, hook, i, state);
}

function runHook(name: HookName, hook: SpecHook, i: number, state: OciState): void {
  const done = spawnSync(hook.path, hook.args.slice(1), {
    argv0: hook.args[0] ?? hook.path,
    // "env ... with the same semantics as IEEE Std 1003.1-2008's environ": nothing of ours is added.
    env: Object.fromEntries(hook.env.map((v) => [v.split('=', 1)[0]!, v.slice(v.indexOf('=') + 1)])),
    cwd: state.bundle,
    input: JSON.stringify(state),
    timeout: hook.timeout === undefined ? undefined : hook.timeout * 1000,
    killSignal: 'SIGKILL',
    maxBuffer: MAX_OUTPUT,
    encoding: 'utf8',
  });
  const what = `error running ${name} hook #${i}`;
  if ((done.error as NodeJS.ErrnoException | undefined)?.code === 'ETIMEDOUT')
    throw new RunscError(what, `${hook.path} took longer than ${hook.timeout} s`);
  // A hook need not read its stdin.
  const unread = (done.error as NodeJS.ErrnoException | undefined)?.code === 'EPIPE' && (done.status !== null || done.signal !== null);
  if (done.error !== undefined && !unread) throw new RunscError(`${what}: ${hook.path}`, done.error);
  if (done.status !== 0) {
    const end = done.signal === null ? `exit status ${done.status}` : `signal: ${done.signal}`;
    throw new RunscError(what, `${end}, stdout: ${done.stdout.trim()}, stderr: ${done.stderr.trim()}`);
  }
}

/** Hooks whose failure is only told: "the runtime MUST log a warning, but ... continue". */
export function runHooksAnyway(name: HookName, hooks: readonly SpecHook[], state: OciState): void {
  for (const i of hooks.keys()) {
    try {
      runHook(name, hooks[i]!, i, state);
    } catch (error) {
      warning(describe(error));
    }
  }
}
