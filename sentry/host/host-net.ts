// The Sentry's own calls on host sockets, which net/host-socket.ts makes for guests.

export {
  close,
  ethtool,
  interfaceList,
  ioctl,
  pollFd,
  socketAccept,
  socketAttachFilter,
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
