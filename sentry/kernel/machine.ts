// The machine that the guest sees: processors, memory and what /proc, /sys, sysinfo(2) and uname(2)
// tell of them. What comes from the host is read once, before lock-down closes /proc and /sys.

import { openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { processorList } from '../base/processor-list.ts';
import { randomUuid } from '../host/entropy.ts';
import { UTS_MACHINE, UTS_RELEASE, UTS_SYSNAME, UTS_VERSION } from './uts-namespace.ts';

const KIB = 1024;

/** One cache of a processor, as /sys/devices/system/cpu/cpuN/cache/indexM shows it. */
export interface CpuCache {
  readonly level: number;
  /** "Data", "Instruction" or "Unified". */
  readonly type: string;
  readonly sizeKib: number;
  readonly lineSize: number;
  readonly ways: number;
  readonly sets: number;
}

/** What boot knows better than the host: the container's share. */
export interface MachineLimits {
  /** Processors shown; all that the Sentry may run on unless given. */
  cpus?: number;
  /** Memory shown, in bytes; the host's total unless given. */
  memoryBytes?: number;
  /** File of the host that counts the guest's memory; that of our own cgroup unless given. */
  memoryUsagePath?: string;
}

/** The memory of a container as it is shown. */
export class MemoryShare {
  /** What there is, in bytes. */
  memoryBytes: number;
  private readonly memoryUsageFd: number;
  private readonly hostBytes: number;
  private readonly usageText: Buffer = Buffer.alloc(32);

  /** usageFd: a file of the host that counts what is used, or -1. */
  constructor(memoryBytes: number, hostBytes: number, usageFd: number) {
    this.memoryBytes = memoryBytes;
    this.hostBytes = hostBytes;
    this.memoryUsageFd = usageFd;
  }

  /** Another limit while running; undefined is none. Memory is never more than the host's. */
  limitMemory(bytes: number | undefined): void {
    this.memoryBytes = Math.min(bytes ?? this.hostBytes, this.hostBytes);
  }

  /** The share of a further container: bytes, or all when undefined. */
  shareOf(bytes: number | undefined, usageFd: number): MemoryShare {
    return new MemoryShare(Math.min(bytes ?? this.hostBytes, this.hostBytes), this.hostBytes, usageFd);
  }

  /** Memory of the container's cgroup in use, in bytes; -1 where nobody counts it. */
  usedBytes(): number {
    if (this.memoryUsageFd < 0) return -1;
    const n = readSync(this.memoryUsageFd, this.usageText, 0, this.usageText.length, 0);
    const used = Number.parseInt(this.usageText.toString('latin1', 0, n), 10);
    return Number.isNaN(used) ? -1 : Math.min(used, this.memoryBytes);
  }
}

export class Machine extends MemoryShare {
  readonly cpuCount: number;
  /** /proc/cpuinfo, one paragraph a processor. */
  readonly cpuinfo: string;
  readonly caches: readonly CpuCache[];
  /** /proc/sys/kernel/random/boot_id. */
  readonly bootId: string = randomUuid();
  readonly sysname: string = UTS_SYSNAME;
  readonly release: string = UTS_RELEASE;
  readonly version: string = UTS_VERSION;
  readonly hardware: string = UTS_MACHINE;
  /** Processor numbers are the host's own: what a thread asks to run on can be asked of the host. */
  readonly hasHostNumbers: boolean;
  /** Processors that programs may run on, as bits; undefined: all. */
  readonly allowed: Uint8Array | undefined;

  /** What the host says of known faults of its processors: name and state. */
  readonly vulnerabilities: readonly (readonly [string, string])[];

  constructor(
    cpuCount: number,
    memoryBytes: number,
    cpuinfo: string,
    caches: readonly CpuCache[],
    memoryUsageFd = -1,
    hasHostNumbers = false,
    hostBytes = memoryBytes,
    allowed: Uint8Array | undefined = undefined,
    vulnerabilities: readonly (readonly [string, string])[] = [],
  ) {
    super(memoryBytes, hostBytes, memoryUsageFd);
    this.cpuCount = cpuCount;
    this.cpuinfo = cpuinfo;
    this.caches = caches;
    this.hasHostNumbers = hasHostNumbers;
    this.allowed = allowed;
    this.vulnerabilities = vulnerabilities;
  }

  /** "0-3": the list of all processors as sysfs and status print it. */
  get cpuList(): string {
    return this.cpuCount === 1 ? '0' : `0-${this.cpuCount - 1}`;
  }
}

/** Reads the host. Call before lock-down; never fails, a value that cannot be had gets a plain default. */
export function loadMachine(limits: MachineLimits = {}): Machine {
  const allowed = limits.cpus === undefined ? allowedProcessors() : [];
  // A cpuset that leaves out the first ones: numbers are the host's, up to the last that may be used.
  const sparse = allowed.length > 0 && allowed.at(-1)! + 1 > allowed.length;
  const cpuCount = Math.max(1, limits.cpus ?? (sparse ? allowed.at(-1)! + 1 : availableParallelism()));
  const hostBytes = hostMemory();
  const memoryBytes = Math.min(limits.memoryBytes ?? hostBytes, hostBytes);
  return new Machine(
    cpuCount,
    memoryBytes,
    cpuinfoFor(readHost('/proc/cpuinfo'), cpuCount),
    hostCaches(),
    limits.memoryUsagePath === undefined ? openMemoryUsage() : openHost(limits.memoryUsagePath),
    sparse || startsAtZero(cpuCount),
    hostBytes,
    sparse ? maskOf(allowed, cpuCount) : undefined,
    hostVulnerabilities(),
  );
}

/** Whether the host processors that we may run on begin with 0 to count-1. */
function startsAtZero(count: number): boolean {
  return allowedProcessors()[count - 1] === count - 1;
}

/** Numbers of the host processors that we may run on, ascending. */
function allowedProcessors(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readHost('/proc/self/status'));
  return list === null ? [] : (processorList(list[1]!) ?? []);
}

function maskOf(processors: readonly number[], count: number): Uint8Array {
  const mask = new Uint8Array(Math.ceil(count / 8));
  for (const cpu of processors) mask[cpu >> 3]! |= 1 << (cpu & 7);
  return mask;
}

/** A machine for tests and for a kernel that was given none. */
export function plainMachine(): Machine {
  return new Machine(1, 1024 * KIB * KIB, cpuinfoFor('', 1), []);
}

/** The first `count` paragraphs of a /proc/cpuinfo, made up to that number with renumbered copies of the last. */
export function cpuinfoFor(host: string, count: number): string {
  const paragraphs = host.split('\n\n').filter((p) => p.startsWith('processor'));
  if (paragraphs.length === 0)
    paragraphs.push(
      `processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: unknown\nphysical id\t: 0\ncore id\t\t: 0\ncpu cores\t: 1\nflags\t\t: fpu`,
    );
  const out: string[] = [];
  for (let cpu = 0; cpu < count; cpu++) {
    const text = paragraphs[Math.min(cpu, paragraphs.length - 1)]!;
    out.push(
      text
        .trimEnd()
        .replace(/^processor(\s*): \d+/m, `processor$1: ${cpu}`)
        .replace(/^siblings(\s*): \d+/m, `siblings$1: ${count}`)
        .replace(/^physical id(\s*): \d+/m, 'physical id$1: 0')
        .replace(/^core id(\s*): \d+/m, `core id$1: ${cpu}`)
        .replace(/^cpu cores(\s*): \d+/m, `cpu cores$1: ${count}`)
        .replace(/^apicid(\s*): \d+/m, `apicid$1: ${cpu}`)
        .replace(/^initial apicid(\s*): \d+/m, `initial apicid$1: ${cpu}`),
    );
  }
  return `${out.join('\n\n')}\n\n`;
}

function hostMemory(): number {
  const total = /^MemTotal:\s+(\d+) kB/m.exec(readHost('/proc/meminfo'));
  return total === null ? 1024 * KIB * KIB : Number(total[1]) * KIB;
}

/** What programs may know anyway, since the processors are the host's: drivers/base/cpu.c. */
function hostVulnerabilities(): [string, string][] {
  const folder = '/sys/devices/system/cpu/vulnerabilities';
  try {
    return readdirSync(folder).map((name) => [name, readHost(`${folder}/${name}`).trim()]);
  } catch {
    return [];
  }
}

function hostCaches(): CpuCache[] {
  const caches: CpuCache[] = [];
  for (let index = 0; index < 8; index++) {
    const folder = `/sys/devices/system/cpu/cpu0/cache/index${index}`;
    const level = readHost(`${folder}/level`);
    if (level === '') break;
    caches.push({
      level: Number.parseInt(level, 10),
      type: readHost(`${folder}/type`).trim(),
      sizeKib: Number.parseInt(readHost(`${folder}/size`), 10) || 0,
      lineSize: Number.parseInt(readHost(`${folder}/coherency_line_size`), 10) || 64,
      ways: Number.parseInt(readHost(`${folder}/ways_of_associativity`), 10) || 8,
      sets: Number.parseInt(readHost(`${folder}/number_of_sets`), 10) || 64,
    });
  }
  return caches;
}

function readHost(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** Where the host counts the memory of our cgroup, open for reading; -1 in the root cgroup, which everybody shares. */
function openMemoryUsage(): number {
  for (const line of readHost('/proc/self/cgroup').split('\n')) {
    const match = /^\d+:([^:]*):(\/.+)$/.exec(line);
    if (match === null) continue;
    const [, controllers, path] = match;
    if (controllers === '') return openHost(`/sys/fs/cgroup${path}/memory.current`);
    if (controllers!.split(',').includes('memory')) return openHost(`/sys/fs/cgroup/memory${path}/memory.usage_in_bytes`);
  }
  return -1;
}

function openHost(path: string): number {
  try {
    return openSync(path, 'r');
  } catch {
    return -1;
  }
}
