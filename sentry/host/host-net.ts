// The Sentry's own calls on host sockets, which net/host-socket.ts makes for guests.

export {
  close,
  interfaceList,
  ioctl,
  pollFd,
  socketAccept,
  socketBind,
  socketConnect,
  socketGetOption,
  socketListen,
  socketName,
  socketOpen,
  socketReceive,
  socketSend,
  socketSetOption,
  socketShutdown,
} from 'ptrace-napi';
