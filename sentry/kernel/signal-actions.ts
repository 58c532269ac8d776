// What a process does about each signal: struct sighand_struct, shared by CLONE_SIGHAND.

import { NSIG, SIG_DFL, SIG_IGN } from '../abi/signal.ts';
import { WaitQueue } from '../base/wait-queue.ts';
import { ignoredByDefault } from './signal-set.ts';

/** struct k_sigaction. */
export class SignalAction {
  /** SIG_DFL, SIG_IGN or an address. */
  handler: number = SIG_DFL;
  /** SA_*, unsigned. */
  flags = 0;
  restorer = 0;
  maskLo = 0;
  maskHi = 0;

  assign(from: SignalAction): void {
    this.handler = from.handler;
    this.flags = from.flags;
    this.restorer = from.restorer;
    this.maskLo = from.maskLo;
    this.maskHi = from.maskHi;
  }
}

export class SignalHandlers {
  refs = 1;
  private readonly actions: SignalAction[] = [];
  /** signalfd readers and pollers of the group: told of every signal that arrives. */
  readonly signalfdWaiters: WaitQueue = new WaitQueue();

  constructor() {
    for (let i = 0; i < NSIG; i++) this.actions.push(new SignalAction());
  }

  /** The action of signo, to read or to change in place. */
  get(signo: number): SignalAction {
    return this.actions[signo - 1]!;
  }

  /** Whether the signal has no effect: SIG_IGN, or a default that is to do nothing. sig_handler_ignored(). */
  ignores(signo: number): boolean {
    const handler = this.actions[signo - 1]!.handler;
    return handler === SIG_IGN || (handler === SIG_DFL && ignoredByDefault(signo));
  }

  clone(): SignalHandlers {
    const c = new SignalHandlers();
    for (let i = 0; i < NSIG; i++) c.actions[i]!.assign(this.actions[i]!);
    return c;
  }

  /** What a process has after exec: a table of its own, reset. Takes over the caller's reference. */
  forExec(): SignalHandlers {
    let own: SignalHandlers = this;
    if (this.refs > 1) {
      this.refs--;
      own = this.clone();
    }
    own.reset();
    return own;
  }

  /** exec, and CLONE_CLEAR_SIGHAND: handlers become SIG_DFL, ignored signals stay ignored. flush_signal_handlers(). */
  reset(): void {
    for (const action of this.actions) {
      if (action.handler !== SIG_IGN) action.handler = SIG_DFL;
      action.flags = 0;
      action.restorer = 0;
      action.maskLo = 0;
      action.maskHi = 0;
    }
  }
}
