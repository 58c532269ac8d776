// Guest memory and memfds: the Sentry's host calls for both.
export {
  closeFd,
  ftruncate,
  memfdCreate,
  pread,
  pwrite,
  readToGuest,
  reopenReadOnly,
  residentPages,
  residentSample,
  sealWrites,
  setOwnDescriptors,
  trimHeap,
  writeFromGuest,
} from 'ptrace-napi';
