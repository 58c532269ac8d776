// What getrusage(2) tells beyond the CPU time as a whole: its parts, and how much memory was resident.

import { estimateResident } from '../mm/resident-sample.ts';
import type { Task } from './task.ts';
import type { ThreadGroup, Usage } from './thread-group.ts';

/** A process that lives no longer has at most what its parent had: looking costs as much as its whole life. */
const SHORT_LIFE_NS = 5e5;

/** The largest resident set so far, with the present one. setmax_mm_hiwater_rss(). */
export function noteResident(t: Task): void {
  const { group } = t;
  group.rssKb = Math.floor(estimateResident(t.mm) / 1024);
  group.maxRssKb = Math.max(group.maxRssKb, group.rssKb);
}

/** The process is about to lose its address space: at its end, or to exec. */
export function noteUsage(t: Task): void {
  noteShare(t);
  if (t.kernel.clock.boottimeNs() - t.group.startNs >= SHORT_LIFE_NS) noteResident(t);
}

function noteShare(t: Task): void {
  const share = t.kernel.platform.userShare(t.context);
  if (share >= 0) t.group.userShare = share;
}

/** Splits u.userNs, which is all CPU time, as the host has seen it run; neither part ever goes back: kernel/sched/cputime.c:cputime_adjust(). */
export function splitUsage(group: ThreadGroup, u: Usage): void {
  if (group.tasks.length > 0) noteShare(group.tasks[0]!);
  const all = u.userNs;
  let system = all * (1 - group.userShare);
  system = Math.min(Math.max(system, group.shownSystemNs), Math.max(all - group.shownUserNs, group.shownSystemNs));
  u.systemNs = system;
  u.userNs = Math.max(all - system, group.shownUserNs);
  group.shownSystemNs = u.systemNs;
  group.shownUserNs = u.userNs;
  u.maxRssKb = group.maxRssKb;
}
