// `runsc exec`: one more program in a running container. In the foreground it is waited for here; detached, a small
// process of the host stands for it, which lives as long and ends with its status.

import { readFileSync } from 'node:fs';
import type { CapabilitySets } from '../../sentry/boot/boot-config.ts';
import { startAnchor } from '../anchor.ts';
import { planProcess } from '../boot-from-spec.ts';
import type { Invocation } from '../cli.ts';
import { sendConsole, sendPidfdOf } from '../console.ts';
import { Container, sleepMs, writePidFile } from '../container.ts';
import type { ControlClient } from '../control-client.ts';
import { RunscError } from '../errors.ts';
import { Field } from '../field.ts';
import type { FlagValues } from '../flags.ts';
import { catchSignals, startError, superviseExec } from '../foreground.ts';
import { closeFd, isTerminal } from '../host.ts';
import { capabilityNumber, capabilityWords, checkProcess, type SpecProcess } from '../spec.ts';
import { TerminalRelay } from '../terminal-relay.ts';
import { passedFds } from './create.ts';

const RESUME_POLL_MS = 50;

export function run({ config, flags, args }: Invocation): number {
  const container = Container.load(config, args[0]!);
  const { status } = container;
  if (status === 'stopped') throw new RunscError('cannot exec in a stopped container', `"${args[0]}" is not running`);
  if (status === 'paused' && !flags.on('ignore-paused'))
    throw new RunscError('cannot exec in a paused container', 'use --ignore-paused to have it run once the container is resumed');
  if (status === 'paused' && container.state.memberOf !== undefined) awaitResume(container);
  const detach = flags.on('detach');
  const consoleSocket = flags.string('console-socket');
  const process = processOf(container, flags, args.slice(1));
  if (process.terminal && detach && consoleSocket === undefined)
    throw new RunscError('exec --detach with a terminal', 'needs --console-socket');

  // Before the program is there, so that no signal is lost on it.
  const signals = detach ? -1 : catchSignals();
  const foregroundTerminal = process.terminal && consoleSocket === undefined;
  const relay = foregroundTerminal ? TerminalRelay.whereNeeded(process.consoleSize) : undefined;
  const terminal = foregroundTerminal && isTerminal(0);
  const client = container.connect();
  const passed = passedFds(flags);
  if (relay !== undefined) passed.fill(relay.slave, 0, 3);
  const consoleFd = process.terminal && consoleSocket !== undefined ? sendConsole(consoleSocket, process.consoleSize) : -1;
  if (consoleFd >= 0) passed.fill(consoleFd, 0, 3);
  const pid = startIn(client, process, passed, relay !== undefined);
  const internal = flags.string('internal-pid-file');
  if (internal !== undefined) writePidFile(internal, pid);
  const pidFile = flags.string('pid-file');
  const pidfdSocket = flags.string('pidfd-socket');
  if (detach || pidFile !== undefined || pidfdSocket !== undefined) {
    const reply = client.send({ method: 'anchor', pid });
    const cgroup = container.cgroup();
    const anchor = startAnchor({
      args: process.args,
      connection: client.fd,
      reply,
      pid,
      terminal: consoleFd,
      joinCgroup: (host) => cgroup?.join(host),
    });
    if (consoleFd >= 0) closeFd(consoleFd);
    if (pidFile !== undefined) writePidFile(pidFile, anchor);
    if (pidfdSocket !== undefined) sendPidfdOf(pidfdSocket, anchor);
    if (detach) return 0;
    const own = container.connect();
    return superviseExec(own, { pid, signals, terminal, relay, anchor });
  }
  return superviseExec(client, { pid, signals, terminal, relay, anchor: 0 });
}

/** The Sentry of a pod runs while one container is paused, and could not start anything there. */
function awaitResume(container: Container): void {
  while (container.status === 'paused') {
    sleepMs(RESUME_POLL_MS);
    container.state = container.dir.load();
  }
  if (container.status === 'stopped') throw new RunscError('cannot exec in a stopped container', `"${container.state.id}" is not running`);
}

function startIn(client: ControlClient, process: SpecProcess, passed: readonly number[], bareNewlines: boolean): number {
  const id = client.send({ method: 'exec', process: { ...planProcess(process), bareNewlines } }, passed);
  const reply = client.await(id);
  // runc's codes for a program that is missing or cannot be executed are a shell's.
  if (reply.error !== undefined) throw startError(process.args[0]!, reply.error, reply.errno);
  return reply.result as number;
}

/** --process, or the container's own process with the flags' changes. */
function processOf(container: Container, flags: FlagValues, args: readonly string[]): SpecProcess {
  const file = flags.string('process');
  if (file !== undefined) {
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw new RunscError(`opening ${file}`, error);
    }
    const process = checkProcess(Field.parse(file, text));
    return { ...process, execProcessors: process.execProcessors ?? container.state.process.execProcessors };
  }
  if (args.length === 0) throw new RunscError('exec needs a command or --process');
  const base = container.state.process;
  const [uid, gid] = user(flags.string('user'), base);
  const groups = flags.list('additional-gids').map((text) => id('--additional-gids', text));
  return {
    ...base,
    args,
    env: mergeEnv(base.env, flags.list('env')),
    cwd: flags.string('cwd') ?? base.cwd,
    terminal: flags.on('tty'),
    consoleSize: undefined,
    uid,
    gid,
    groups: [...base.groups, ...groups],
    capabilities: addCapabilities(base.capabilities, flags.list('cap')),
    noNewPrivileges: flags.has('no-new-privs') ? flags.on('no-new-privs') : base.noNewPrivileges,
  };
}

function user(text: string | undefined, base: SpecProcess): [number, number] {
  if (text === undefined) return [base.uid, base.gid];
  const [uid = '', gid] = text.split(':');
  return [id('--user', uid), gid === undefined ? base.gid : id('--user', gid)];
}

function id(flag: string, text: string): number {
  if (!/^\d+$/.test(text) || Number(text) > 0xfffffffe)
    throw new RunscError(`${flag} ${text}`, "must be a number: names are the image's to resolve");
  return Number(text);
}

function mergeEnv(base: readonly string[], added: readonly string[]): string[] {
  const name = (variable: string): string => variable.split('=', 1)[0]!;
  const names = new Set(added.map(name));
  return [...base.filter((variable) => !names.has(name(variable))), ...added];
}

/** Ambient ones only where the container has inheritable ones, without which there are none: runc's exec. */
function addCapabilities(base: CapabilitySets, names: readonly string[]): CapabilitySets {
  if (names.length === 0) return base;
  const [lo, hi] = capabilityWords(names.map((n) => capabilityNumber(n) ?? missing(n)));
  const add = (set: readonly [number, number]): [number, number] => [set[0] | lo, set[1] | hi];
  const inherits = base.inheritable[0] !== 0 || base.inheritable[1] !== 0;
  return {
    bounding: add(base.bounding),
    permitted: add(base.permitted),
    effective: add(base.effective),
    inheritable: base.inheritable,
    ambient: inherits ? add(base.ambient) : base.ambient,
  };
}

function missing(name: string): never {
  throw new RunscError(`--cap ${name}`, 'is not the name of a capability');
}
