// Malformed addresses, control messages, netlink messages and vectors from a seeded generator: `helper-netfuzz SEED COUNT`. Prints what
// the kernel answers to each (with a third argument a sum of it all), which the host and the sandbox have to agree on.
#include "check.h"
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

static uint64_t state;
static uint32_t sum;
static bool quiet;

static uint32_t next(void) {
  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * 2685821657736338717ULL) >> 32);
}

static uint32_t below(uint32_t n) { return next() % n; }

static void tell(const char *what, uint32_t detail, long result) {
  int error = result < 0 ? errno : 0;
  for (const char *c = what; *c; c++) sum = sum * 31 + (unsigned char)*c;
  sum = (sum * 31 + detail) * 31 + (uint32_t)(result < 0 ? -error : 0);
  if (!quiet) printf("%s %u: %s\n", what, detail, result < 0 ? strerrorname_np(error) : "ok");
}

static socklen_t address(struct sockaddr_storage *to) {
  static const int families[] = {AF_UNSPEC, AF_UNIX, AF_INET, AF_INET, AF_INET6, AF_INET6, AF_NETLINK, AF_PACKET, 255, 65535};
  uint8_t *bytes = (void *)to;
  memset(to, 0, sizeof *to);
  to->ss_family = families[below(10)];
  // Ports and addresses that nobody has: what is there would differ.
  bytes[2] = 250;
  bytes[3] = below(2);
  if (to->ss_family == AF_INET6) {
    if (below(2)) bytes[23] = 1;
    else bytes[8] = below(256);
    if (below(4) == 0) bytes[24] = below(3);
  } else {
    bytes[4] = below(3) ? 127 : below(256);
    bytes[7] = 1 + below(3);
  }
  static const socklen_t lengths[] = {0, 1, 2, 3, 7, 8, 12, 15, 16, 17, 23, 24, 27, 28, 29, 110, 128, 129, 4096, 0x7fffffff, 0x80000000, 0xffffffff};
  return below(3) ? (to->ss_family == AF_INET6 ? 28 : 16) : lengths[below(22)];
}

static void addresses(void) {
  struct sockaddr_storage to;
  int families[] = {AF_INET, AF_INET6}, family = families[below(2)];
  int type = below(2) ? SOCK_DGRAM : SOCK_STREAM;
  int fd = MUST(socket(family, type | SOCK_NONBLOCK, 0));
  uint32_t detail = family * 10 + type;
  // UDP to a port without a listener has an error later, by chance before the next call: so each socket gets one call that sends.
  switch (below(4)) {
    case 0: {
      socklen_t n = address(&to);
      tell("bind", detail, bind(fd, (void *)&to, n));
      break;
    }
    case 1: {
      socklen_t n = address(&to);
      long r = connect(fd, (void *)&to, n);
      // A connection on lo is refused at once, or a moment later.
      if (r < 0 && (errno == EINPROGRESS || errno == ECONNREFUSED)) r = 0;
      tell("connect", detail, r);
      break;
    }
    case 2: {
      socklen_t n = address(&to);
      if (type == SOCK_DGRAM) tell("sendto", detail, sendto(fd, "x", 1, MSG_NOSIGNAL, (void *)&to, n));
      else tell("sendto", detail, sendto(fd, "x", 1, MSG_NOSIGNAL, NULL, n));
      break;
    }
    default: {
      socklen_t n = below(3) ? below(40) : 0x80000000 + below(3);
      tell("getsockname", detail, getsockname(fd, below(5) ? (void *)&to : (void *)1, below(8) ? &n : NULL));
    }
  }
  close(fd);
}

static void controls(void) {
  union {
    char bytes[256];
    struct cmsghdr head;
  } control;
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  static const int levels[] = {SOL_IP, SOL_IP, SOL_SOCKET, IPPROTO_UDP, SOL_IPV6, 99};
  static const int types[] = {IP_TTL, IP_TOS, IP_PKTINFO, 99};
  memset(&control, 0, sizeof control);
  int level = levels[below(6)];
  control.head.cmsg_level = level;
  control.head.cmsg_type = level == SOL_IP ? types[below(4)] : 200 + below(20);
  control.head.cmsg_len = below(3) ? CMSG_LEN(below(24)) : below(400);
  if (below(16) == 0) control.head.cmsg_len = ~0UL - below(16);
  // Small values: a TTL or a TOS that is valid or not.
  control.bytes[16] = below(3);
  control.bytes[17] = below(2);
  struct iovec iov = {"data", 4};
  struct msghdr msg = {&to, sizeof to, &iov, 1, &control, below(3) ? sizeof control : below(64), 0};
  int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0));
  tell("sendmsg control", level * 1000 + control.head.cmsg_type, sendmsg(fd, &msg, 0));
  close(fd);
}

static void netlinks(void) {
  union {
    char bytes[256];
    struct nlmsghdr head;
  } ask;
  static char answer[65536];
  for (size_t i = 0; i < sizeof ask.bytes; i++) ask.bytes[i] = below(4) ? 0 : next();
  uint32_t size = 16 + below(64);
  ask.head.nlmsg_len = below(3) ? size : below(300);
  // Requests that only look, and numbers that no kernel has.
  ask.head.nlmsg_type = below(4) ? RTM_GETLINK + 4 * below(3) : 4000 + 4 * below(8) + 2;
  ask.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  int fd = MUST(socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE));
  long n = send(fd, &ask, size, 0);
  uint32_t detail = ask.head.nlmsg_type;
  if (n < 0) tell("netlink send", detail, n);
  else {
    n = recv(fd, answer, sizeof answer, 0);
    struct nlmsghdr *h = (void *)answer;
    if (n >= (long)sizeof *h && h->nlmsg_type == NLMSG_ERROR) {
      errno = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
      n = errno == 0 ? 0 : -1;
    }
    tell("netlink", detail, n);
  }
  close(fd);
}

static void vectors(void) {
  static struct iovec iov[1100];
  static char data[4096];
  static const size_t counts[] = {0, 1, 2, 1023, 1024, 1025, 1100};
  size_t count = counts[below(7)];
  for (size_t i = 0; i < count; i++) {
    iov[i].iov_base = below(400) ? data : (void *)(uintptr_t)below(4096);
    iov[i].iov_len = below(500) ? below(8) : (below(2) ? (size_t)-1 - below(4) : 1UL << below(64));
  }
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
  int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  struct msghdr msg = {&to, sizeof to, iov, count, NULL, 0, 0};
  long n = below(2) ? sendmsg(fd, &msg, 0) : recvmsg(fd, &msg, MSG_DONTWAIT);
  tell("vector", count, n);
  close(fd);
  close(pair[0]);
  close(pair[1]);
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  signal(SIGPIPE, SIG_IGN);
  // Odd, as the generator wants it, and another for each seed.
  state = strtoull(argv[1], NULL, 10) * 2 + 1;
  quiet = argc > 3;
  for (long i = atol(argv[2]); i > 0; i--) {
    void (*const kinds[])(void) = {addresses, addresses, controls, netlinks, vectors};
    kinds[below(5)]();
  }
  printf("sum %08x\n", sum);
  return 0;
}
