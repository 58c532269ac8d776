// The Sentry's own calls on descriptors that it was given: donated files, inherited pipes and terminals. What may be
// called at all is the seccomp filter's to say (boot/seccomp-filter.ts); names of files occur in none of these.

export {
  close,
  dup,
  fallocate,
  fcntlGetFlags,
  fdatasync,
  fsync,
  ftruncate,
  futexWait,
  futexWake,
  ioctl,
  ioctlValue,
  lseek,
  mapShared,
  pollFd,
  preadv2,
  pwritev2,
  read,
  recvTaggedFd,
  slowCallEvents,
  slowCallResult,
  slowCallStart,
  statx,
  write,
} from 'ptrace-napi';
