import type { Platform } from './platform.ts';
import { PtracePlatform } from './ptrace/ptrace.ts';
import type { CallArguments } from './systrap/prefetch.ts';
import { SystrapPlatform } from './systrap/systrap.ts';

export interface PlatformOptions {
  /** systrap: guest code is patched so that calls need not trap. */
  readonly patchSyscalls: boolean;
  /** systrap: the system calls by number, whose arguments the stub is to fetch. */
  readonly calls: readonly (CallArguments | undefined)[];
}

/** Starts the platform of that name. Throws an Error that says what the host refused. */
export function createPlatform(name: string, options: PlatformOptions): Platform {
  if (name === 'ptrace') return new PtracePlatform();
  if (name === 'systrap') return new SystrapPlatform(options);
  throw new Error(`there is no platform "${name}"`);
}
