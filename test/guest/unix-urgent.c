// Unix sockets: the urgent byte of a stream, and descriptors of the peer's process
#include "check.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#define SO_PEERPIDFD 77
#endif
#define SCM_PIDFD_ 4

static int sv[2];
static volatile sig_atomic_t urgent;

static void on_urgent(int signo) { (void)signo, urgent++; }

static int mark(void) {
  int at = -1;
  return ioctl(sv[1], SIOCATMARK, &at) < 0 ? -errno : at;
}

static int events(int fd) {
  struct pollfd p = {fd, POLLIN | POLLPRI, 0};
  poll(&p, 1, 0);
  return p.revents;
}

static void take(int n, int flags) {
  char b[32] = {0};
  long got = recv(sv[1], b, n, flags | MSG_DONTWAIT);
  if (got < 0) printf("recv(%d, %x) = -1 %s\n", n, flags, strerrorname_np(errno));
  else printf("recv(%d, %x) = %ld '%s'\n", n, flags, got, b);
  printf("  mark %d events %x\n", mark(), events(sv[1]));
}

static void pair(int type) {
  close(sv[0]), close(sv[1]);
  MUST(socketpair(AF_UNIX, type, 0, sv));
}

int main(void) {
  sv[0] = sv[1] = -1;
  SECTION("the byte and its mark");
  pair(SOCK_STREAM);
  signal(SIGURG, on_urgent);
  CALL(fcntl(sv[1], F_SETOWN, getpid()));
  CALL(send(sv[0], "hello", 5, MSG_OOB));
  printf("signals %d\n", (int)urgent);
  take(10, 0);
  take(1, MSG_OOB | MSG_PEEK);
  take(1, MSG_OOB);
  take(1, MSG_OOB);
  take(10, 0);
  SECTION("bytes on both sides of it");
  pair(SOCK_STREAM);
  CALL(send(sv[0], "abc", 3, MSG_OOB));
  CALL(send(sv[0], "def", 3, 0));
  take(10, MSG_PEEK);
  take(10, 0);
  take(10, 0);
  take(1, MSG_OOB);
  SECTION("received first");
  pair(SOCK_STREAM);
  CALL(send(sv[0], "abc", 3, MSG_OOB));
  CALL(send(sv[0], "def", 3, 0));
  take(1, MSG_OOB);
  take(10, 0);
  take(10, 0);
  SECTION("inline");
  pair(SOCK_STREAM);
  int on = 1;
  CALL(setsockopt(sv[1], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
  CALL(send(sv[0], "abc", 3, MSG_OOB));
  CALL(send(sv[0], "def", 3, 0));
  take(1, MSG_OOB);
  take(10, 0);
  take(10, 0);
  SECTION("two of them");
  pair(SOCK_STREAM);
  CALL(send(sv[0], "ab", 2, MSG_OOB));
  CALL(send(sv[0], "cd", 2, MSG_OOB));
  take(10, 0);
  take(1, MSG_OOB);
  SECTION("what cannot be");
  CALL(send(sv[0], "", 0, MSG_OOB));
  pair(SOCK_DGRAM);
  CALL(send(sv[0], "ab", 2, MSG_OOB));
  take(1, MSG_OOB);

  SECTION("pidfds");
  pair(SOCK_STREAM);
  int fd = -1;
  socklen_t n = sizeof fd;
  CALL(getsockopt(sv[0], SOL_SOCKET, SO_PEERPIDFD, &fd, &n));
  char path[64], text[512] = {0};
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  int info = MUST(open(path, O_RDONLY));
  MUST(read(info, text, sizeof text - 1));
  char *pid = strstr(text, "Pid:\t");
  HOLDS(pid != NULL && atoi(pid + 5) == getpid());
  HOLDS((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
  CALL(setsockopt(sv[1], SOL_SOCKET, SO_PASSPIDFD, &on, sizeof on));
  CALL(send(sv[0], "x", 1, 0));
  char b[1], control[128];
  struct iovec iov = {b, 1};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  CALL(recvmsg(sv[1], &m, 0));
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  printf("level %d type %d length %ld flags %x\n", c->cmsg_level, c->cmsg_type, (long)c->cmsg_len, m.msg_flags);
  HOLDS(*(int *)CMSG_DATA(c) > 2);
  SECTION("descriptors with nothing to hold them");
  struct msghdr s = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(4)};
  c = CMSG_FIRSTHDR(&s);
  c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(4);
  memcpy(CMSG_DATA(c), &fd, 4);
  pair(SOCK_STREAM);
  CALL(sendmsg(sv[0], &s, 0));
  m = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1, .msg_controllen = 100};
  CALL(recvmsg(sv[1], &m, 0));
  printf("flags %x room %ld\n", m.msg_flags, (long)m.msg_controllen);
  CALL(sendmsg(sv[0], &s, 0));
  iov.iov_len = 0;
  m = (struct msghdr){.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  CALL(recvmsg(sv[1], &m, 0));
  printf("flags %x room %ld\n", m.msg_flags, (long)m.msg_controllen);
  take(10, 0);
  return 0;
}
