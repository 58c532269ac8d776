// Who may import whom, as docs/architecture.md tells it.
import type { ImportLine } from './imports.ts';

/** Inside the Sentry the arrow goes down only: a folder may import itself and what stands after it. */
const ARROW = ['boot', 'syscalls', 'kernel', 'loader', 'mm', 'vfs', 'host', 'base', 'abi'];
/** They implement interfaces of vfs, so they stand where it stands; who may import them is a rule of its own. */
const BESIDE_VFS = ['fs', 'net'];

const under = (path: string, folder: string): boolean => path.startsWith(`${folder}/`);
const isCommon = (path: string): boolean => under(path, 'sentry/abi') || under(path, 'sentry/base');
const layerOf = (path: string): string => path.split('/')[1];
const rankOf = (layer: string): number => ARROW.indexOf(BESIDE_VFS.includes(layer) ? 'vfs' : layer);

/** The rule that an import breaks, in words, or undefined if it is in order. */
export function brokenRule(i: ImportLine): string | undefined {
  if (i.target === 'ptrace-napi') return nativeRule(i.file);
  if (isCommon(i.target) && !isCommon(i.file)) return undefined;
  if (under(i.file, 'sentry')) return sentryRule(i);
  if (under(i.file, 'platform')) return platformRule(i);
  if (under(i.file, 'gofer')) return goferRule(i);
  if (under(i.file, 'runsc') || under(i.file, 'shim')) return operatorRule(i);
  return undefined;
}

function nativeRule(file: string): string | undefined {
  const allowed = under(file, 'platform') || under(file, 'sentry/host') || under(file, 'gofer') || file === 'runsc/host.ts';
  return allowed ? undefined : 'ptrace-napi is imported by platform/, sentry/host/, gofer/ and runsc/host.ts, nowhere else';
}

function sentryRule(i: ImportLine): string | undefined {
  const layer = layerOf(i.file);
  if (rankOf(layer) < 0) return `sentry/${layer} has no place in the arrow ${ARROW.join(' → ')}`;
  if (under(i.target, 'platform')) {
    if (layer === 'boot' || i.target === 'platform/platform.ts') return undefined;
    return 'the kernel knows platform/platform.ts alone, only boot chooses an implementation';
  }
  if (under(i.target, 'gofer')) {
    if (under(i.file, 'sentry/fs/gofer') && under(i.target, 'gofer/protocol')) return undefined;
    return 'fs/gofer imports gofer/protocol, and nothing else of gofer/ is imported by the Sentry';
  }
  if (under(i.target, 'runsc') || under(i.target, 'shim')) return 'the Sentry never imports runsc or shim';
  if (!under(i.target, 'sentry')) return undefined;

  const targetLayer = layerOf(i.target);
  if (rankOf(targetLayer) < 0) return `sentry/${targetLayer} has no place in the arrow ${ARROW.join(' → ')}`;
  if (isCommon(i.file)) return isCommon(i.target) ? undefined : 'sentry/abi and sentry/base import nothing above them';
  // A type is gone at run time: it may point sideways and up.
  if (i.typeOnly) return undefined;
  if (BESIDE_VFS.includes(targetLayer)) {
    if (BESIDE_VFS.includes(layer) || layer === 'boot' || layer === 'syscalls') return undefined;
    return 'vfs and kernel never import a filesystem or a network, boot registers them';
  }
  if (rankOf(targetLayer) >= rankOf(layer)) return undefined;
  return `the arrow goes down only: ${layer} may not import ${targetLayer} (${ARROW.join(' → ')}; fs and net stand beside vfs)`;
}

function platformRule(i: ImportLine): string | undefined {
  if (under(i.target, 'platform') || !isOurs(i.target)) return undefined;
  return 'platform/ knows contexts and address spaces, not tasks: it imports sentry/abi, sentry/base and ptrace-napi, not even types of more';
}

function goferRule(i: ImportLine): string | undefined {
  if (under(i.target, 'gofer') || !isOurs(i.target)) return undefined;
  return 'gofer/ imports sentry/abi, sentry/base, its protocol and ptrace-napi, not even types of more';
}

function operatorRule(i: ImportLine): string | undefined {
  if (under(i.target, 'runsc') || under(i.target, 'shim') || !isOurs(i.target)) return undefined;
  // What one side writes and the other reads is described by types beside the reader.
  if (i.typeOnly && (under(i.target, 'sentry/boot') || i.target === 'gofer/config.ts')) return undefined;
  // One executable has every role (docs/architecture.md): its entry hands over to the entry of the role it was started in.
  if (i.file === 'runsc/main.ts' && i.dynamic && (i.target === 'sentry/boot/main.ts' || i.target === 'gofer/main.ts')) return undefined;
  return 'runsc and shim talk to a running sandbox over its control socket, never by import';
}

function isOurs(target: string): boolean {
  return ['sentry', 'platform', 'gofer', 'runsc', 'shim'].some((folder) => under(target, folder));
}
