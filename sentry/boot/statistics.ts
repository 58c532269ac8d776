// What --debug tells at the end of a sandbox: how much time went into collecting garbage, what became of the guests' call sites.

import type { GCProfiler } from 'node:v8';
import type { Platform } from '../../platform/platform.ts';
import { debug } from '../base/log.ts';
import { processCpuNs } from '../host/confine.ts';

export class Statistics {
  /** From a module that takes 2 ms to load, which is for --debug alone. */
  private readonly profiler: GCProfiler;
  private readonly platform: Platform;
  private readonly startMs: number = performance.now();

  constructor(platform: Platform) {
    this.platform = platform;
    const { GCProfiler } = process.getBuiltinModule('node:v8');
    this.profiler = new GCProfiler();
    this.profiler.start();
  }

  /** Once, when the sandbox ends. */
  tell(): void {
    const { statistics } = this.profiler.stop();
    // In microseconds each: v8.GCProfiler.
    const spentMs = statistics.reduce((sum, one) => sum + one.cost, 0) / 1000;
    const cpuMs = processCpuNs(process.pid) / 1e6;
    debug(
      `garbage: ${statistics.length} collections, ${spentMs.toFixed(1)} ms of ${cpuMs.toFixed(1)} ms CPU time, ${(performance.now() - this.startMs).toFixed(0)} ms since the start`,
    );
    const counts = Object.entries(this.platform.statistics());
    if (counts.length > 0) debug(`call sites: ${counts.map(([name, count]) => `${name} ${count}`).join(', ')}`);
  }
}
