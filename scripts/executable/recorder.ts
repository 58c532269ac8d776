// The entry of the executable that the build makes first, runs once, and throws away: it runs as dist/runsc does and
// writes down what V8 compiled on the way, so that no later start compiles it again.

import { openSync, writeSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import type { Script } from 'node:vm';
import { compile, type Role, roleOf, run } from './role.ts';

/** Where the build wants the caches; it defines the word. */
declare const CACHE_DIR: string;

/** poll(2). */
const POLLIN = 1;
/** Writing a cache of some megabytes takes less. */
const SENTRY_END_MS = 5000;

function record(script: Script, fd: number): void {
  // The cache names the flags it was made with: those of a start, without what the Sentry has set to collect garbage.
  setFlagsFromString('--no-expose-gc');
  const cache = script.createCachedData();
  for (let at = 0; at < cache.length; ) at += writeSync(fd, cache, at);
}

function open(role: Role): number {
  return openSync(`${CACHE_DIR}/${role}.cache`, 'w');
}

/** Compiles every function of a role that is small and never comes to an end that could be watched. */
function recordWhole(role: Role): void {
  const fd = open(role);
  setFlagsFromString('--no-lazy');
  const script = compile(role);
  // The cache names the flags that it was made with.
  setFlagsFromString('--lazy');
  record(script, fd);
}

interface Addon {
  exitNow: (code: number) => never;
  pidfdSendSignal: (pidfd: number, signal: number) => number;
  pollFds: (triples: Int32Array, milliseconds: number) => number;
}

/** Calls a function with the addon as soon as that is loaded. */
function whenLoaded(change: (addon: Addon) => void): void {
  const { dlopen } = process;
  process.dlopen = (module: { exports: Addon }, ...rest: [string, number?]) => {
    dlopen.call(process, module, ...rest);
    change(module.exports);
  };
}

/** The Sentry ends by a call of the addon, after it has shut every door but its open descriptors. */
function recordAtEnd(addon: Addon, script: Script, fd: number): void {
  const { exitNow } = addon;
  addon.exitNow = (code) => {
    record(script, fd);
    return exitNow(code);
  };
}

/** The command line ends the Sentry as soon as it knows the exit code: here it has to wait. */
function killLate(addon: Addon): void {
  const { pidfdSendSignal } = addon;
  addon.pidfdSendSignal = (pidfd, signal) => {
    addon.pollFds(Int32Array.of(pidfd, POLLIN, 0), SENTRY_END_MS);
    return pidfdSendSignal(pidfd, signal);
  };
}

const role = roleOf(process.argv);
if (role === 'gofer') {
  run(compile(role), require);
} else {
  const fd = open(role);
  const script = compile(role);
  if (role === 'sentry') whenLoaded((addon) => recordAtEnd(addon, script, fd));
  else {
    whenLoaded(killLate);
    recordWhole('gofer');
    process.on('exit', () => record(script, fd));
  }
  run(script, require);
}
