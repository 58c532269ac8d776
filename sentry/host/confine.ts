// What the Sentry does to itself before it serves a guest, and its own sockets to the command line. Nothing of this
// is within a guest's reach.

export {
  acceptSocket,
  bringUpLoopback,
  closeFd,
  dropAllCapabilities,
  dropBounding,
  exitNow,
  fcntlSetCloexec,
  fcntlSetFlags,
  getRlimit,
  ignoreDebuggerSignal,
  loadSeccompProgram,
  mount,
  openTree,
  peerCredentials,
  pivotRoot,
  recvFds,
  sendFds,
  setNoNewPrivs,
  setPdeathsig,
  setProcessName,
  setRlimit,
  setWindowSize,
  umount2,
  write as writeHost,
} from 'ptrace-napi';
