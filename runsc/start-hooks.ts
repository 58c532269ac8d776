// startContainer hooks: the specification has them run in the container's namespaces, so they are programs of the guest,
// started by exec before the container's own program is.

import { readSync } from 'node:fs';
import { constants } from 'node:os';
import { SIGKILL } from '../sentry/abi/signal.ts';
import { planProcess } from './boot-from-spec.ts';
import type { ControlClient } from './control-client.ts';
import { errnoText, RunscError } from './errors.ts';
import type { OciState } from './hooks.ts';
import { closeFd, memfdCreate, memfdWith } from './host.ts';
import type { SpecHook, SpecProcess } from './spec.ts';

/** What of a hook's output goes into an error. */
const MAX_TOLD = 4096;

/** Runs one to its end. `what` is the error's first words. Throws when it fails or takes too long. */
export function runGuestHook(client: ControlClient, what: string, hook: SpecHook, process: SpecProcess, state: OciState): void {
  const fds = [
    memory(what, memfdWith('state', new TextEncoder().encode(JSON.stringify(state)))),
    memory(what, memfdCreate('stdout')),
    memory(what, memfdCreate('stderr')),
  ];
  try {
    const plan = planProcess({
      ...process,
      terminal: false,
      args: hook.args.length > 0 ? hook.args : [hook.path],
      // Without any of its own it has the program's: runc's behaviour.
      env: hook.env.length > 0 ? hook.env : process.env,
    });
    const started = client.await(client.send({ method: 'exec', process: { ...plan, path: hook.path } }, fds));
    if (started.error !== undefined) throw new RunscError(what, started.error);
    const pid = started.result as number;
    const wait = client.send({ method: 'wait', pid });
    const deadline = hook.timeout === undefined ? Number.POSITIVE_INFINITY : Date.now() + hook.timeout * 1000;
    for (;;) {
      const reply = client.takeReply(wait);
      if (reply !== undefined) {
        const status = reply.result as number;
        if (status !== 0) throw new RunscError(what, `${ending(status)}, stdout: ${told(fds[1]!)}, stderr: ${told(fds[2]!)}`);
        return;
      }
      const left = deadline - Date.now();
      if (left <= 0) {
        client.ask(what, { method: 'signal', pid, signal: SIGKILL, to: 'process' });
        throw new RunscError(what, `${hook.path} took longer than ${hook.timeout} s`);
      }
      client.receive(left === Number.POSITIVE_INFINITY ? -1 : left);
    }
  } finally {
    for (const fd of fds) closeFd(fd);
  }
}

function memory(what: string, fd: number): number {
  if (fd < 0) throw new RunscError(what, errnoText(fd));
  return fd;
}

function told(fd: number): string {
  const bytes = Buffer.alloc(MAX_TOLD);
  return bytes.toString('utf8', 0, readSync(fd, bytes, 0, MAX_TOLD, 0)).trim();
}

const SIGNAL_WORDS: Readonly<Record<string, string>> = {
  SIGSYS: 'bad system call',
  SIGKILL: 'killed',
  SIGTERM: 'terminated',
  SIGSEGV: 'segmentation fault',
  SIGABRT: 'aborted',
  SIGPIPE: 'broken pipe',
};

/** As Go tells of it: "exit status 1", "signal: killed". */
function ending(status: number): string {
  const signal = status & 0x7f;
  if (signal === 0) return `exit status ${(status >> 8) & 0xff}`;
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0] ?? `signal ${signal}`;
  return `signal: ${SIGNAL_WORDS[name] ?? name}${(status & 0x80) === 0 ? '' : ' (core dumped)'}`;
}
