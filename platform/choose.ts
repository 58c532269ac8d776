import type { Platform } from './platform.ts';
import { PtracePlatform } from './ptrace/ptrace.ts';

/** Starts the platform of that name. Throws an Error that says what the host refused. */
export function createPlatform(name: string): Platform {
  if (name === 'ptrace') return new PtracePlatform();
  throw new Error(`platform "${name}" is not built yet: use --platform=ptrace`);
}
