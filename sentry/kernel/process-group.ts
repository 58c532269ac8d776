// Process groups and sessions: who is signalled together, and who shares a terminal.

import type { Pid } from './pid-namespace.ts';
import type { Task } from './task.ts';
import { sendKernelSignal } from './task-signals.ts';
import type { ThreadGroup } from './thread-group.ts';

/** What the kernel knows of a terminal: devpts and the host console implement it. */
export interface ControllingTty {
  /** Device number: tty_nr of /proc/[pid]/stat. */
  readonly dev: number;
  /** Who may read and is signalled by the keyboard. */
  foreground: ProcessGroup | null;
  session: Session | null;
  /** The session leader has exited: hang up. The kernel has sent SIGHUP and SIGCONT and cut the ties before. */
  sessionEnded(t: Task): void;
}

export class Session {
  /** Its id is the leader's number. */
  readonly pid: Pid;
  /** null once the leader has been reaped. */
  leader: ThreadGroup | null;
  readonly processGroups: Set<ProcessGroup> = new Set();

  constructor(leader: ThreadGroup) {
    this.pid = leader.pid;
    this.leader = leader;
    this.pid.session = this;
  }
}

export class ProcessGroup {
  readonly pid: Pid;
  readonly session: Session;
  /** In order of joining; zombies until they are reaped. */
  readonly members: Set<ThreadGroup> = new Set();

  constructor(pid: Pid, session: Session) {
    this.pid = pid;
    this.session = session;
    pid.processGroup = this;
    session.processGroups.add(this);
  }

  /**
   * Nobody in the group has a parent in the same session but another group, who could continue it:
   * kernel/exit.c:will_become_orphaned_pgrp(). `leaving` is disregarded, as if it had exited.
   */
  isOrphaned(leaving: ThreadGroup | null = null): boolean {
    for (const member of this.members) {
      if (member === leaving || member.isDead || member.parent === null) continue;
      const above = member.parent.processGroup;
      if (above !== this && above.session === this.session) return false;
    }
    return true;
  }

  /** Sends the kernel's own signal to every member: the keyboard, a hangup. SEND_SIG_PRIV. */
  signal(signo: number): void {
    for (const member of [...this.members]) sendKernelSignal(member, signo);
  }

  /** Whether a member is stopped by job control. */
  hasStopped(): boolean {
    for (const member of this.members) if (member.isStopped) return true;
    return false;
  }
}

/** Moves a process to a group; the old one ends with its last member. change_pid(). */
export function joinProcessGroup(group: ThreadGroup, target: ProcessGroup): void {
  if (group.processGroup === target) return;
  leaveProcessGroup(group);
  group.processGroup = target;
  target.members.add(group);
}

/** Takes a process out of its group: on the way to another, or when it is reaped. */
export function leaveProcessGroup(group: ThreadGroup): void {
  const old = group.processGroup;
  old.members.delete(group);
  if (old.members.size > 0) return;
  old.pid.processGroup = null;
  old.session.processGroups.delete(old);
  if (old.session.processGroups.size === 0) {
    old.session.pid.session = null;
    old.session.pid.releaseIfUnused();
  }
  old.pid.releaseIfUnused();
}
