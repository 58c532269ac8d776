// Staying with a sandbox until its program ends: run, do. Signals of ours go to the program, and a terminal is put
// into raw mode meanwhile, since the guest has a terminal of its own that does the echo and the signals.

import { readSync } from 'node:fs';
import { ENOENT } from '../sentry/abi/errno.ts';
import { POLLIN } from '../sentry/abi/poll.ts';
import { SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH } from '../sentry/abi/signal.ts';
import type { Event } from '../sentry/boot/control-protocol.ts';
import { type Ask, type ControlClient, SandboxGone } from './control-client.ts';
import { EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND, errnoText, RunscError } from './errors.ts';
import { getTermios, getWindowSize, isTerminal, makeRaw, pollFds, setTermios, signalPipe, waitPid } from './host.ts';
import { phase } from './messages.ts';
import { exitCodeOfStatus, type Sandbox } from './sandbox.ts';
import type { TerminalRelay } from './terminal-relay.ts';

const FORWARDED = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM, SIGCONT];

/** Signals of this process, caught from now on: readable bytes. */
export function catchSignals(): number {
  const fd = signalPipe([...FORWARDED, SIGWINCH]);
  if (fd < 0) throw new RunscError('catching signals', errnoText(fd));
  return fd;
}

/** The terminal on a descriptor as it was, to be put back. */
export class RawTerminal {
  private readonly fd: number;
  private readonly saved: Uint8Array;

  private constructor(fd: number, saved: Uint8Array) {
    this.fd = fd;
    this.saved = saved;
  }

  static enter(fd: number): RawTerminal | undefined {
    if (!isTerminal(fd)) return undefined;
    const saved = getTermios(fd);
    if (typeof saved === 'number') return undefined;
    makeRaw(fd);
    return new RawTerminal(fd, saved);
  }

  restore(): void {
    setTermios(this.fd, this.saved);
  }
}

export interface ForegroundOptions {
  /** The program, for messages. */
  readonly name: string;
  /** Stdin is a terminal that the guest's one is bridged to. */
  readonly terminal: boolean;
  /** Carries the bytes of a terminal that is not the caller's. */
  readonly relay?: TerminalRelay | undefined;
  /** Called before the program runs. What it throws ends the sandbox. */
  readonly starting?: (control: ControlClient) => void;
  /** Called when the program runs. */
  readonly started?: () => void;
}

/** Starts the sandbox's program, waits for its end and answers the exit code. Ends the sandbox in any case. */
export function runInForeground(sandbox: Sandbox, signals: number, options: ForegroundOptions): number {
  let raw: RawTerminal | undefined;
  try {
    options.starting?.(sandbox.control);
    const started = sandbox.control.send({ method: 'start' });
    options.relay?.closeSlave();
    if (options.terminal) raw = RawTerminal.enter(0);
    if (raw !== undefined) resize(sandbox);
    const { relay } = options;
    for (;;) {
      const reply = sandbox.control.takeReply(started);
      if (reply?.error !== undefined) {
        // A terminal in raw mode would garble the message.
        raw?.restore();
        raw = undefined;
        throw startError(options.name, reply.error, reply.errno);
      }
      if (reply !== undefined) {
        phase('program started');
        options.started?.();
      }
      const event = sandbox.control.takeEvent();
      if (event !== undefined) {
        const code = exitCodeFrom(event);
        if (code !== undefined) return code;
        continue;
      }
      const dead = sandbox.waitForMessage(relay === undefined ? [signals] : [signals, ...relay.sources]);
      relay?.pump();
      if (dead !== undefined) {
        raw?.restore();
        raw = undefined;
        throw new RunscError(`running "${options.name}"`, `${dead}, and the sandbox with it`);
      }
      forwardSignals(sandbox, signals);
    }
  } finally {
    phase('program ended');
    sandbox.end();
    options.relay?.drain();
    raw?.restore();
  }
}

export interface ExecSupervision {
  /** Of the program, in the container. */
  readonly pid: number;
  /** Readable bytes, from catchSignals(). */
  readonly signals: number;
  /** Stdin is a terminal that the program's is joined to. */
  readonly terminal: boolean;
  readonly relay: TerminalRelay | undefined;
  /** A process that stands for it, reaped too; 0 for none. */
  readonly anchor: number;
}

/** Waits for a program that exec has started; answers the exit code. */
export function superviseExec(client: ControlClient, options: ExecSupervision): number {
  const { pid, signals, relay, anchor } = options;
  const raw = options.terminal ? RawTerminal.enter(0) : undefined;
  relay?.closeSlave();
  try {
    if (raw !== undefined) resizeExec(client, pid);
    const wait = client.send({ method: 'wait', pid });
    for (;;) {
      const reply = client.takeReply(wait);
      if (reply !== undefined) {
        if (anchor > 0) waitPid(anchor, 0);
        if (reply.error !== undefined) throw new RunscError(`waiting for process ${pid}`, reply.error);
        return exitCodeOfStatus(reply.result as number);
      }
      const fds = relay === undefined ? [client.fd, signals] : [client.fd, signals, ...relay.sources];
      const triples = Int32Array.from(fds.flatMap((fd) => [fd, POLLIN, 0]));
      pollFds(triples, -1);
      if (triples[2] !== 0) while (client.receive(0));
      relay?.pump();
      for (const signal of takeSignals(signals)) {
        if (signal === SIGWINCH) resizeExec(client, pid);
        else client.send({ method: 'signal', pid, signal, to: 'process' });
      }
    }
  } finally {
    relay?.drain();
    raw?.restore();
    client.close();
  }
}

function resizeExec(client: ControlClient, pid: number): void {
  const size = getWindowSize(0);
  if (typeof size !== 'number') client.send({ method: 'resize', pid, rows: size[0], columns: size[1] });
}

function exitCodeFrom(event: Event): number | undefined {
  if (event.event === 'exit') return exitCodeOfStatus(event.status);
  if (event.event === 'failed') throw new RunscError('the sandbox failed', event.error);
  return undefined;
}

/** An error of the start of a program, with a shell's exit code for it. */
export function startError(name: string, error: string, errno: number | undefined): RunscError {
  // As shells do: whatever is there and cannot be executed, for whatever reason, is 126.
  const code = errno === undefined ? 1 : errno === ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE;
  return new RunscError(`starting "${name}"`, error, code);
}

const signalBytes = new Uint8Array(64);

function takeSignals(signals: number): Uint8Array {
  try {
    return signalBytes.subarray(0, readSync(signals, signalBytes));
  } catch {
    return signalBytes.subarray(0, 0); // EAGAIN: none has come
  }
}

function forwardSignals(sandbox: Sandbox, signals: number): void {
  for (const signal of takeSignals(signals)) {
    if (signal === SIGWINCH) resize(sandbox);
    else tell(sandbox.control, { method: 'signal', pid: 1, signal, to: 'process' });
  }
}

/** A program that has just ended need not hear it: its end has been sent already. */
function tell(control: ControlClient, ask: Ask): void {
  try {
    control.send(ask);
  } catch (error) {
    if (!(error instanceof SandboxGone)) throw error;
  }
}

function resize(sandbox: Sandbox): void {
  const size = getWindowSize(0);
  if (typeof size !== 'number') tell(sandbox.control, { method: 'resize', pid: 1, rows: size[0], columns: size[1] });
}
