// The command line's own host calls: the one place of runsc/ beside sandbox.ts that knows the native addon.

import { getTermios } from 'ptrace-napi';

export {
  acceptSocket,
  anchorPath,
  closeFd,
  fcntlSetFlags,
  finishProcess,
  flock,
  forkNetBroker,
  ftruncate,
  getRlimit,
  getTermios,
  getWindowSize,
  killProcess,
  makeRaw,
  memfdCreate,
  memfdWith,
  mountSetattr,
  openPty,
  openTree,
  pidfdOpen,
  pidfdSendSignal,
  pollFds,
  recvFds,
  releaseProcess,
  sendFds,
  setAffinity,
  setChildSubreaper,
  setns,
  setTermios,
  setWindowSize,
  signalPipe,
  socketPair,
  startProcess,
  tmpfs,
  unixConnect,
  unixListen,
  waitPid,
} from 'ptrace-napi';

/** isatty(3). Node's own would load its sockets. */
export function isTerminal(fd: number): boolean {
  return typeof getTermios(fd) !== 'number';
}
