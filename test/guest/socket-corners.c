// Corners of inet sockets: shutdown without a peer, error queues, addresses of reset connections, filters, time stamps
#include "check.h"
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

static int bound(int type, struct sockaddr_in *at) {
  int fd = MUST(socket(AF_INET, type, 0));
  *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  MUST(bind(fd, (void *)at, sizeof *at));
  socklen_t size = sizeof *at;
  MUST(getsockname(fd, (void *)at, &size));
  return fd;
}

static void *waits(void *arg) {
  char c;
  return (void *)recv(*(int *)arg, &c, 1, 0);
}

static void datagrams(void) {
  SECTION("datagrams");
  struct sockaddr_in at;
  int fd = bound(SOCK_DGRAM, &at);
  pthread_t thread;
  void *result = (void *)-1;
  pthread_create(&thread, NULL, waits, &fd);
  usleep(50000);
  CALL(shutdown(fd, SHUT_RD));
  pthread_join(thread, &result);
  printf("the waiting recv: %ld\n", (long)result);
  char c;
  CALL(recv(fd, &c, 1, 0));
  CALL(recv(fd, &c, 1, MSG_DONTWAIT));
  close(fd);

  // Nobody listens any more: the error comes by the queue, and reading the queue never waits.
  int from = MUST(socket(AF_INET, SOCK_DGRAM, 0));
  int one = 1;
  struct msghdr msg = {0};
  char control[512], data[8];
  struct iovec iov = {data, sizeof data};
  msg.msg_iov = &iov;
  msg.msg_iovlen = 1;
  msg.msg_control = control;
  msg.msg_controllen = sizeof control;
  CALL(recvmsg(from, &msg, MSG_ERRQUEUE));
  CALL(setsockopt(from, IPPROTO_IP, IP_RECVERR, &one, sizeof one));
  MUST(connect(from, (void *)&at, sizeof at));
  CALL(send(from, "x", 1, 0));
  struct pollfd p = {from, 0, 0};
  poll(&p, 1, 2000);
  HOLDS((p.revents & POLLERR) != 0);
  msg.msg_controllen = sizeof control;
  CALL(recvmsg(from, &msg, MSG_ERRQUEUE));
  struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);
  struct sock_extended_err *error = cm == NULL ? NULL : (void *)CMSG_DATA(cm);
  HOLDS(error != NULL && error->ee_errno == ECONNREFUSED && error->ee_origin == SO_EE_ORIGIN_ICMP);
  HOLDS((msg.msg_flags & MSG_ERRQUEUE) != 0);
  close(from);
}

static void connections(void) {
  SECTION("a connection that is reset before it is accepted has a name all the same");
  struct sockaddr_in at, peer = {0};
  int listener = bound(SOCK_STREAM, &at);
  MUST(listen(listener, 1));
  int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
  MUST(connect(fd, (void *)&at, sizeof at));
  struct linger hard = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(fd);
  socklen_t size = sizeof peer;
  int made = accept(listener, (void *)&peer, &size);
  HOLDS(made >= 0 && size == sizeof peer && peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK) && peer.sin_port != 0);
  size = sizeof peer;
  CALL(getpeername(made, (void *)&peer, &size));
  char c;
  CALL(recv(made, &c, 1, 0));
  close(made);

  SECTION("vectors arrive in one piece");
  fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
  MUST(connect(fd, (void *)&at, sizeof at));
  made = MUST(accept(listener, NULL, NULL));
  char a[3] = "abc", b[4] = "defg", got[16] = {0};
  struct iovec out[2] = {{a, 3}, {b, 4}};
  CALL(writev(fd, out, 2));
  struct iovec in[3] = {{got, 2}, {got + 2, 0}, {got + 2, 10}};
  CALL(readv(made, in, 3));
  printf("%s\n", got);
  CALL(send(fd, "12345678", 8, MSG_MORE));
  CALL(send(fd, "9", 1, 0));
  CALL(recv(made, got, 9, MSG_WAITALL));
  CALL(recv(made, got, 1, MSG_DONTWAIT));
  CALL(send(fd, NULL, 1, 0));
  CALL(recv(made, NULL, 0, MSG_DONTWAIT));

  SECTION("edges");
  int e = MUST(epoll_create1(0));
  struct epoll_event ev = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET};
  MUST(epoll_ctl(e, EPOLL_CTL_ADD, made, &ev));
  CALL(epoll_wait(e, &ev, 1, 0));
  send(fd, "xy", 2, 0);
  CALL(epoll_wait(e, &ev, 1, 1000));
  printf("events %x\n", ev.events);
  CALL(read(made, got, 1));
  CALL(epoll_wait(e, &ev, 1, 20));
  send(fd, "z", 1, 0);
  CALL(epoll_wait(e, &ev, 1, 1000));
  shutdown(fd, SHUT_WR);
  CALL(epoll_wait(e, &ev, 1, 1000));
  printf("events %x\n", ev.events);
  CALL(epoll_wait(e, &ev, 1, 20));
  close(fd);
  shutdown(made, SHUT_WR);
  usleep(20000);
  struct pollfd p = {made, POLLIN | POLLOUT | POLLRDHUP, 0};
  CALL(poll(&p, 1, 0));
  printf("events %x\n", p.revents & (POLLIN | POLLRDHUP | POLLHUP));
  close(made);
  close(e);
  close(listener);
}

static void copies(void) {
  SECTION("sends without a copy say when they are done");
  struct sockaddr_in at;
  int listener = bound(SOCK_STREAM, &at), one = 1, two = 2;
  MUST(listen(listener, 1));
  int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
  CALL(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &two, sizeof two));
  CALL(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one));
  int value = -1;
  socklen_t size = sizeof value;
  CALL(getsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &value, &size));
  printf("%d\n", value);
  MUST(connect(fd, (void *)&at, sizeof at));
  int made = MUST(accept(listener, NULL, NULL));
  static char block[20000], got[20000];
  uint32_t low = ~0u, high = 0;
  for (int i = 0; i < 3; i++) {
    CALL(send(fd, block, sizeof block, MSG_ZEROCOPY));
    CALL(recv(made, got, sizeof got, MSG_WAITALL));
  }
  for (int tries = 0; tries < 200 && high != 2; tries++) {
    char control[256];
    struct msghdr msg = {.msg_control = control, .msg_controllen = sizeof control};
    struct pollfd p = {fd, 0, 0};
    poll(&p, 1, 10);
    if (recvmsg(fd, &msg, MSG_ERRQUEUE) < 0) continue;
    struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);
    struct sock_extended_err *error = (void *)CMSG_DATA(cm);
    if (low == ~0u) printf("level %d, type %d, length %zu, origin %d, errno %d\n", cm->cmsg_level, cm->cmsg_type, (size_t)cm->cmsg_len, error->ee_origin, error->ee_errno);
    if (error->ee_info < low) low = error->ee_info;
    if (error->ee_data > high) high = error->ee_data;
  }
  printf("sends %u to %u\n", low, high);
  char control[256];
  struct msghdr msg = {.msg_control = control, .msg_controllen = sizeof control};
  CALL(recvmsg(fd, &msg, MSG_ERRQUEUE));
  close(fd);
  close(made);
  close(listener);
}

static void options(void) {
  SECTION("options");
  struct sockaddr_in at;
  int fd = bound(SOCK_DGRAM, &at), zero = 0;
  CALL(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &zero, sizeof zero));
  CALL(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &zero, sizeof zero));
  struct sock_fprog bad = {1, (void *)1};
  CALL(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &bad, sizeof bad));
  struct timeval tv;
  CALL(ioctl(fd, SIOCGSTAMP, &tv));
  MUST(sendto(fd, "a", 1, 0, (void *)&at, sizeof at));
  char c;
  MUST(recv(fd, &c, 1, 0));
  CALL(ioctl(fd, SIOCGSTAMP, &tv));
  CALL(ioctl(fd, SIOCGSTAMP, NULL));
  close(fd);

  SECTION("netlink");
  int route = MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  struct sockaddr_nl nl = {.nl_family = AF_NETLINK};
  MUST(bind(route, (void *)&nl, sizeof nl));
  socklen_t size = sizeof nl;
  MUST(getsockname(route, (void *)&nl, &size));
  HOLDS(nl.nl_pid == (uint32_t)getpid() || (int32_t)nl.nl_pid < 0);
  int group = RTNLGRP_LINK;
  CALL(setsockopt(route, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group));
  size = 0;
  CALL(getsockopt(route, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, NULL, &size));
  HOLDS(size >= 4);
  struct {
    struct nlmsghdr h;
    struct ifinfomsg i;
  } ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST, 1, 0}, {.ifi_family = AF_UNSPEC, .ifi_index = 1}};
  CALL(send(route, &ask, sizeof ask, 0));
  static char answer[16384];
  long n = recv(route, answer, sizeof answer, 0);
  struct nlmsghdr *h = (void *)answer;
  HOLDS(n > 0 && h->nlmsg_type == RTM_NEWLINK && h->nlmsg_pid == nl.nl_pid);
  close(route);

  SECTION("types have abstract names of their own");
  struct sockaddr_un un = {.sun_family = AF_UNIX};
  int length = (int)sizeof un.sun_family + 1 + sprintf(un.sun_path + 1, "runsc-corner-%d", getpid());
  int stream = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), datagram = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  CALL(bind(stream, (void *)&un, length));
  int other = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
  CALL(connect(other, (void *)&un, length));
  CALL(bind(datagram, (void *)&un, length));
  CALL(connect(other, (void *)&un, length));
}

static void badMemory(void) {
  SECTION("a stream's bytes that end where memory does");
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int server = MUST(socket(AF_INET, SOCK_STREAM, 0)), client = MUST(socket(AF_INET, SOCK_STREAM, 0));
  MUST(bind(server, (void *)&at, sizeof at));
  MUST(listen(server, 1));
  MUST(getsockname(server, (void *)&at, &size));
  MUST(connect(client, (void *)&at, sizeof at));
  int accepted = MUST(accept(server, NULL, NULL));
  char *two = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(mprotect(two + 4096, 4096, PROT_NONE));
  CALL(send(client, two, 8192, 0));
  CALL(write(client, two + 4095, 2));
  CALL(send(client, two + 4096, 1, 0));
  CALL(send(client, two, 4096, 0));
  CALL(recv(accepted, two, 4096, MSG_WAITALL));
  CALL(recv(accepted, two, 4096, MSG_DONTWAIT));
  MUST(munmap(two, 8192));
  close(accepted);
  close(client);
  close(server);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  badMemory();
  datagrams();
  connections();
  copies();
  options();
  return 0;
}
