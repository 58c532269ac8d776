// Entry of the gofer process. The CLI hands it a configuration (JSON in a memfd at descriptor 3) and the descriptors
// that it names; nothing is said back: the first request waits in the channel until the trees are there.

import { readFileSync, writeSync } from 'node:fs';
import { flushCompileCache } from 'node:module';
import { close, exitNow, exitOnHangup, fcntlSetCloexec, futexWait, futexWake, mapShared, openat2, umask } from 'ptrace-napi';
import { errnoName } from '../sentry/abi/errno.ts';
import { AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH } from '../sentry/abi/fcntl.ts';
import { setLogSink, warn } from '../sentry/base/log.ts';
import type { GoferConfig, GoferTree } from './config.ts';
import { dropPrivileges, enterTrees, FD_PATH, raiseLimits, treePath } from './confine.ts';
import type { Tree } from './control-fd.ts';
import type { FdDirectory } from './open-fd.ts';
import { REGION_SIZE, ServerChannel } from './protocol/channel.ts';
import {
  TREE_DEVICES,
  TREE_HOST_FIFO,
  TREE_NODES,
  TREE_READ_ONLY,
  TREE_SHARED,
  TREE_UDS_CREATE,
  TREE_UDS_OPEN,
} from './protocol/messages.ts';
import { loadFilter } from './seccomp-filter.ts';
import { Connection, serveForever } from './server.ts';

const CONFIG_FD = 3;
/** Node's own descriptors, the trees' and those open during a request. */
const RESERVED_FDS = 128;

function must(step: string, result: number): number {
  if (result < 0) throw new Error(`${step}: ${errnoName(-result)}`);
  return result;
}

function treeFlags(tree: GoferTree): number {
  let flags = 0;
  if (tree.readOnly) flags |= TREE_READ_ONLY;
  if (tree.shared) flags |= TREE_SHARED;
  if (tree.hostFifo === true) flags |= TREE_HOST_FIFO;
  if (tree.devices === true) flags |= TREE_DEVICES;
  if (tree.nodes === true) flags |= TREE_NODES;
  if (tree.hostUds === 'open' || tree.hostUds === 'all') flags |= TREE_UDS_OPEN;
  if (tree.hostUds === 'create' || tree.hostUds === 'all') flags |= TREE_UDS_CREATE;
  return flags;
}

function openTrees(config: GoferConfig): Tree[] {
  return config.trees.map((tree, i) => {
    const path = config.newRoot === undefined ? tree.hostPath : treePath(i);
    const rootFd = tree.dirFd ?? must(`opening ${path}`, openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0, 0));
    return { rootFd, readOnly: tree.readOnly, flags: treeFlags(tree) };
  });
}

/** Serves until the Sentry is gone; then the process ends. */
export function goferMain(config: GoferConfig): never {
  if (config.logFd >= 0) setLogSink((line) => writeSync(config.logFd, `gofer: ${line}`), config.debug === true);
  const donated = config.trees.map((tree) => tree.mountFd ?? -1);
  for (const fd of [config.regionFd, config.socketFd, config.logFd, ...donated]) if (fd > 2) fcntlSetCloexec(fd, 1);
  const memory = mapShared(config.regionFd, REGION_SIZE);
  if (typeof memory === 'number') throw new Error(`mapping the channel: ${errnoName(-memory)}`);
  close(config.regionFd);

  // The process ends without notice: a checkout keeps what it compiled for the next start now.
  flushCompileCache();
  const descriptors = raiseLimits();
  umask(0);
  if (config.newRoot !== undefined) enterTrees(config.trees, config.newRoot);
  const trees = openTrees(config);
  const fdPath = config.newRoot === undefined ? '/proc/self/fd' : FD_PATH;
  const own: FdDirectory = {
    fd: must(`opening ${fdPath}`, openat2(AT_FDCWD, fdPath, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0)),
    path: fdPath,
  };
  const connection = new Connection(trees, own, config.socketFd, config.singleId, descriptors - RESERVED_FDS);
  must('watching for the end', exitOnHangup(config.socketFd));
  if (config.newRoot !== undefined) dropPrivileges();
  if (config.seccomp) loadFilter(trees.some((tree) => (tree.flags & (TREE_UDS_OPEN | TREE_UDS_CREATE)) !== 0));
  return serveForever(connection, new ServerChannel(memory, { futexWait, futexWake }));
}

/** The process: whatever goes wrong ends it, and the Sentry sees the hang-up. */
export function main(): never {
  try {
    const config = JSON.parse(readFileSync(CONFIG_FD, 'utf8')) as GoferConfig;
    close(CONFIG_FD);
    return goferMain(config);
  } catch (error) {
    warn((error as Error).message);
    process.stderr.write(`runsc gofer: ${(error as Error).message}\n`);
    return exitNow(1);
  }
}

main();
