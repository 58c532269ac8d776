import { SCHED_BATCH, SCHED_DEADLINE, SCHED_FIFO, SCHED_IDLE, SCHED_OTHER, SCHED_RR } from '../abi/sched.ts';

/** MAX_NICE. */
const LOWEST = 19;

/**
 * Scheduling parameters of a task. The host schedules the stub's threads: what the guest asks for
 * is remembered, checked and shown as Linux does, and reaches the host as far as hostNice says.
 */
export class SchedState {
  policy: number = SCHED_OTHER;
  /** 1–99 for SCHED_FIFO and SCHED_RR, else 0. */
  rtPriority = 0;
  /** -20–19. */
  nice = 0;
  resetOnFork = false;
  /** set_mempolicy(2): mode with flags, and its nodes as bits. */
  memoryPolicy = 0;
  memoryNodes = 0;
  /** ioprio_set(2)'s value, class << 13 | level. */
  ioprio = 0;
  /** SCHED_DEADLINE, ns. */
  runtimeNs = 0;
  relativeDeadlineNs = 0;
  periodNs = 0;
  /** Processor n is bit n % 8 of byte n / 8. */
  affinity: Uint8Array;
  readonly cpuCount: number;

  /** allowed: as affinity; undefined: all. It is not written to. */
  constructor(cpuCount: number, allowed?: Uint8Array) {
    this.cpuCount = cpuCount;
    if (allowed !== undefined) {
      this.affinity = allowed;
      return;
    }
    this.affinity = new Uint8Array(Math.ceil(cpuCount / 8));
    for (let cpu = 0; cpu < cpuCount; cpu++) this.affinity[cpu >> 3]! |= 1 << (cpu & 7);
  }

  /** fork: kernel/sched/core.c:sched_fork(). */
  inherit(from: SchedState): void {
    this.policy = from.policy;
    this.rtPriority = from.rtPriority;
    this.nice = from.nice;
    this.ioprio = from.ioprio;
    this.memoryPolicy = from.memoryPolicy;
    this.memoryNodes = from.memoryNodes;
    this.runtimeNs = from.runtimeNs;
    this.relativeDeadlineNs = from.relativeDeadlineNs;
    this.periodNs = from.periodNs;
    this.affinity = from.affinity;
    if (!from.resetOnFork) return;
    if (isRealtime(from.policy)) {
      this.policy = SCHED_OTHER;
      this.rtPriority = 0;
      this.nice = 0;
    } else if (this.nice < 0) {
      this.nice = 0;
    }
  }

  /** Some processor is not allowed. */
  get isPinned(): boolean {
    for (let cpu = 0; cpu < this.cpuCount; cpu++) if (!this.allows(cpu)) return true;
    return false;
  }

  /** What the host is told: to prefer a thread to others is not ours to ask, and a real-time policy needs a right that the Sentry does not have. */
  get hostNice(): number {
    if (this.policy === SCHED_IDLE) return LOWEST;
    return isFair(this.policy) ? Math.max(this.nice, 0) : 0;
  }

  allows(cpu: number): boolean {
    return cpu < this.cpuCount && (this.affinity[cpu >> 3]! & (1 << (cpu & 7))) !== 0;
  }

  /** Field 18 of /proc/[pid]/stat: task_prio(). */
  get statPriority(): number {
    if (this.policy === SCHED_DEADLINE) return -101;
    return this.rtPriority > 0 ? -1 - this.rtPriority : 20 + this.nice;
  }

  /** "0-1,3": Cpus_allowed_list. */
  get cpuList(): string {
    const parts: string[] = [];
    for (let cpu = 0; cpu < this.cpuCount; cpu++) {
      if (!this.allows(cpu)) continue;
      const first = cpu;
      while (this.allows(cpu + 1)) cpu++;
      parts.push(first === cpu ? `${cpu}` : `${first}-${cpu}`);
    }
    return parts.join(',');
  }

  /** "3", or "1,ffffffff": Cpus_allowed, 32 processors a group. */
  get cpuMask(): string {
    const words = Math.ceil(this.cpuCount / 32);
    let text = '';
    for (let w = words - 1; w >= 0; w--) {
      let value = 0;
      for (let cpu = 31; cpu >= 0; cpu--) value = value * 2 + (this.allows(w * 32 + cpu) ? 1 : 0);
      const bits = w === words - 1 ? this.cpuCount - w * 32 : 32;
      text += `${text === '' ? '' : ','}${value.toString(16).padStart(Math.ceil(bits / 4), '0')}`;
    }
    return text;
  }
}

/** Policies with a static priority. */
export function isRealtime(policy: number): boolean {
  return policy === SCHED_FIFO || policy === SCHED_RR || policy === SCHED_DEADLINE;
}

/** Policies ruled by nice values. */
export function isFair(policy: number): boolean {
  return policy === SCHED_OTHER || policy === SCHED_BATCH || policy === SCHED_IDLE;
}
