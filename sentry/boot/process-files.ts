// What `podman top` and its kin read: they join the mount namespace of the container's host process, the anchor, and
// look into its /proc. There is no process of the host for a guest's, so the Sentry tells the anchor, after each change
// and never twice within a fifth of a second, what a few files of /proc are to say. native/anchor/anchor.c is the other
// end, and has the form of the messages.

import { putLatin1 } from '../base/latin1.ts';
import { statText as machineStatText, uptimeText, versionText } from '../fs/proc-files.ts';
import { cmdlineText } from '../fs/proc-pid.ts';
import { statText, statusText } from '../fs/proc-status.ts';
import type { Kernel } from '../kernel/kernel.ts';
import type { PidNamespace } from '../kernel/pid-namespace.ts';
import type { Task } from '../kernel/task.ts';
import type { ThreadGroup } from '../kernel/thread-group.ts';
import { Timer } from '../kernel/timers.ts';
import type { Peer } from './peer.ts';

/** Time for what belongs to one change to happen, such as execve after fork. */
const SETTLE_NS = 5e6;
const INTERVAL_NS = 200e6;
/** At most this part of the time goes into telling. */
const DUTY = 20;
/** How old the processor times may get while there is no other change. */
const REFRESH_NS = 5e9;
const HEADER_SIZE = 14;
/** A longer command line is cut: that is what a page of `ps` shows. */
const CMDLINE_MAX = 4096;
const KIND = 0x50; // 'P'

const message = new Uint8Array(64 * 1024 - 1);
const view = new DataView(message.buffer);

export class ProcessFiles extends Timer {
  private readonly kernel: Kernel;
  private readonly peer: Peer;
  /** The container's first program; answers null before it is there. */
  private readonly init: () => ThreadGroup | null;
  /** By number: what was told last. */
  private told: Map<number, string> = new Map();
  private intervalNs = INTERVAL_NS;
  private settling = false;
  private lastNs = Number.NEGATIVE_INFINITY;

  constructor(kernel: Kernel, peer: Peer, init: () => ThreadGroup | null) {
    super();
    this.kernel = kernel;
    this.peer = peer;
    this.init = init;
  }

  /** A process has begun, ended or become another program. */
  changed(): void {
    this.settling = true;
    this.tellSoon();
  }

  private tellSoon(): void {
    if (this.index >= 0) return;
    const { timers, clock } = this.kernel;
    timers.start(this, Math.max(clock.monotonicNs() + SETTLE_NS, this.lastNs + this.intervalNs));
  }

  /** A process that its maker waits for has ended: at once, as the maker may look. */
  ended(number: number): void {
    if (this.told.delete(number)) this.send(number, '', '', '');
  }

  /** Called now and then: after a change states settle, and processor times grow without any. */
  refresh(): void {
    if (!this.settling && this.kernel.clock.monotonicNs() - this.lastNs < REFRESH_NS) return;
    this.settling = false;
    this.tellSoon();
  }

  /** Nobody listens any more. */
  stop(): void {
    this.kernel.timers.stop(this);
  }

  override fired(nowNs: number): void {
    const init = this.init();
    if (init === null || init.isDead) return;
    this.tell(init.leader, init.pidns);
    this.lastNs = this.kernel.clock.monotonicNs();
    this.intervalNs = Math.max(INTERVAL_NS, (this.lastNs - nowNs) * DUTY);
  }

  private tell(reader: Task, pidns: PidNamespace): void {
    this.send(0, machineStatText(reader), uptimeText(reader), versionText(reader));
    const here = { pidns };
    const now: Map<number, string> = new Map();
    for (const number of pidns.numbers()) {
      const group = pidns.group(number);
      if (group === undefined) continue;
      const stat = statText(reader, group.leader, here, true);
      now.set(number, stat);
      if (this.told.get(number) === stat) continue;
      const cmdline = cmdlineText(reader, group.leader).slice(0, CMDLINE_MAX);
      this.send(number, stat, this.withHostIds(statusText(reader, group.leader, here)), cmdline);
    }
    for (const number of this.told.keys()) if (!now.has(number)) this.send(number, '', '', '');
    this.told = now;
  }

  /** Who reads stands outside: the host's /proc shows the ids of a user namespace as those that they are there. */
  private withHostIds(status: string): string {
    const ns = this.kernel.rootUserNamespace;
    if (ns.hostUids === null || ns.isCallers) return status;
    return status.replace(/^(Uid|Gid|Groups):.*$/gm, (line) =>
      line.replace(/\d+/g, (id) => `${ns.onHost(Number(id), line.startsWith('U'))}`),
    );
  }

  private send(pid: number, ...texts: [string, string, string]): void {
    view.setUint32(0, KIND, true);
    view.setUint32(4, pid, true);
    let at = HEADER_SIZE;
    for (const [i, text] of texts.entries()) {
      view.setUint16(8 + 2 * i, text.length, true);
      at += putLatin1(message, at, text);
    }
    this.peer.sendBytes(message, at);
  }
}
