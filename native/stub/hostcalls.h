/* Calls that the Sentry has the stub make for it, and the descriptors that come for them. */
#pragma once

#include "base.h"

struct msghdr {
  void *name;
  u64 namelen;
  void *iov;
  u64 iovlen;
  void *control;
  u64 controllen;
  u64 flags;
};
#define MSG_CMSG_CLOEXEC 0x40000000

/* The next descriptors that the Sentry has sent: 0 or -errno. */
static long receive(int *fds, u64 count) {
  u8 byte;
  struct {
    void *base;
    u64 length;
  } iov = {&byte, 1};
  u64 control[4] = {0, 0, 0, 0};
  struct msghdr m = {0, 0, &iov, 1, control, 16 + count * 4, 0};
  long got = SYS3(__NR_recvmsg, STUB_SOCKET, &m, MSG_CMSG_CLOEXEC);
  if (got < 0) return got;
  if (control[0] < 16 + count * 4) return -9;
  int *from = (int *)&control[2];
  for (u64 i = 0; i < count; i++) fds[i] = from[i];
  return 0;
}

static int is_error(long value) { return value < 0 && value > -4096; }

/* Executes the page's host calls; true when all that had to succeed did. */
static int run_batch(u8 *c, long *last) {
  u32 count = U32(c, CTX_NCALLS);
  if (count > MAX_HOST_CALLS) count = MAX_HOST_CALLS;
  *last = 0;
  for (u32 i = 0; i < count; i++) {
    u8 *call = c + CTX_CALLS + i * HOSTCALL_SIZE;
    u32 flags = U32(call, 4);
    long fd = (long)U64(call, 40);
    long value = 0;
    if (flags & HOSTCALL_RECEIVED_FD) {
      int received = -1;
      value = receive(&received, 1);
      fd = received;
    }
    if (U32(call, 0) == HOSTCALL_EXCHANGE) value = exchange((u32 *)U64(call, 8), U32(call, 16), U32(call, 24));
    else if (value == 0) value = sys6(U32(call, 0), (long)U64(call, 8), (long)U64(call, 16), (long)U64(call, 24), (long)U64(call, 32), fd, (long)U64(call, 48));
    if ((flags & HOSTCALL_RECEIVED_FD) && fd >= 0) SYS3(__NR_close, fd, 0, 0);
    U64(call, 56) = (u64)value;
    *last = value;
    if (is_error(value) && !(flags & HOSTCALL_MAY_FAIL)) {
      U32(c, CTX_CALLS_DONE) = i;
      return 0;
    }
  }
  U32(c, CTX_CALLS_DONE) = count;
  return 1;
}
