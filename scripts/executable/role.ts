// The roles of the one executable, each a bundle of its own, so that a process loads what it runs and nothing else.

import { getRawAsset } from 'node:sea';
import { Script } from 'node:vm';

export type Role = 'command-line' | 'sentry' | 'gofer';
export const roles: readonly Role[] = ['command-line', 'sentry', 'gofer'];

type Bundle = (require: NodeJS.Require, module: { exports: object }, exports: object) => void;

/** The role that a command line asks for. */
export function roleOf(argv: readonly string[]): Role {
  const word = argv[2];
  return word === 'sentry' || word === 'gofer' ? word : 'command-line';
}

/** Compiles a role, or takes what was compiled when the executable was built. V8 refuses that where it does not fit. */
export function compile(role: Role, cachedData?: Buffer): Script {
  // The build writes pure ASCII: such a string costs one copy and half the memory.
  const source = Buffer.from(getRawAsset(`${role}.js`)).toString('latin1');
  return new Script(source, { filename: `runsc:${role}`, cachedData });
}

/** Never returns where the role is a process of the sandbox. */
export function run(script: Script, require: NodeJS.Require): void {
  const module = { exports: {} };
  (script.runInThisContext() as Bundle)(require, module, module.exports);
}
