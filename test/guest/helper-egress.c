// Tries to reach addresses in every way there is; one line for each try. For test/network/egress.test.ts.
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define ROUTING 57 /* IPV6_RTHDR */

static struct sockaddr_in v4(const char *address, int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, address, &a.sin_addr);
  return a;
}

static struct sockaddr_in6 mapped(const char *address, int port) {
  char text[64];
  snprintf(text, sizeof text, "::ffff:%s", address);
  struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
  inet_pton(AF_INET6, strchr(address, ':') ? address : text, &a.sin6_addr);
  return a;
}

static void tell(const char *how, const char *address, long result) {
  int error = errno;
  // Nobody listens: a refusal by the other side is as good as a connection.
  bool passed = result >= 0 || error == ECONNREFUSED;
  printf("%s %s: %s\n", how, address, passed ? "passed" : strerrorname_np(error));
}

// Asks the resolver at port, by UDP or TCP, and leaves the answer to whoever looks on.
static void ask(const char *how, const char *name, int port) {
  unsigned char query[512] = {0, 7, 1, 0, 0, 1}, answer[512], *at = query + 12;
  for (const char *from = name; *from;) {
    size_t n = strcspn(from, ".");
    *at++ = n;
    memcpy(at, from, n);
    at += n;
    from += n + (from[n] == '.');
  }
  *at++ = 0;
  memcpy(at, "\0\1\0\1", 4);
  at += 4;
  struct sockaddr_in to = v4("127.0.0.1", port);
  bool tcp = !strcmp(how, "ask-tcp");
  int fd = MUST(socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0));
  struct timeval patience = {5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  errno = 0;
  long n = connect(fd, (void *)&to, sizeof to);
  if (n == 0 && tcp) {
    unsigned char framed[514] = {0, at - query};
    memcpy(framed + 2, query, at - query);
    MUST(write(fd, framed, at - query + 2));
    // A few bytes at a time, as a stream may come.
    n = 0;
    while (n < 2 || n < 2 + (answer[0] << 8 | answer[1])) {
      long got = read(fd, answer + n, 5);
      if (got <= 0) break;
      n += got;
    }
  } else if (n == 0) {
    MUST(send(fd, query, at - query, 0));
    n = recv(fd, answer, sizeof answer, 0);
  }
  printf("%s %s: %s\n", how, name, n > 0 ? "answered" : strerrorname_np(errno));
  close(fd);
}

static void reach(const char *how, const char *address, int port) {
  struct sockaddr_in a = v4(address, port), allowed = v4("127.0.0.9", port);
  struct sockaddr_in6 b = mapped(address, port);
  bool six = strchr(address, ':') != NULL || !strncmp(how, "mapped-", 7);
  const char *plain = !strncmp(how, "mapped-", 7) ? how + 7 : how;
  bool stream = !strncmp(plain, "tcp", 3);
  int fd = MUST(socket(six ? AF_INET6 : AF_INET, stream ? SOCK_STREAM : SOCK_DGRAM, 0));
  void *to = six ? (void *)&b : (void *)&a;
  socklen_t size = six ? sizeof b : sizeof a;
  struct iovec iov = {"x", 1};
  struct mmsghdr many[2] = {{{to, size, &iov, 1, NULL, 0, 0}, 0}, {{to, size, &iov, 1, NULL, 0, 0}, 0}};
  long n = -1;
  errno = 0;
  if (!strcmp(plain, "tcp") || !strcmp(plain, "udp")) n = connect(fd, to, size);
  else if (!strcmp(plain, "tcp-fastopen")) n = sendto(fd, "x", 1, MSG_FASTOPEN, to, size);
  else if (!strcmp(plain, "sendto")) n = sendto(fd, "x", 1, 0, to, size);
  else if (!strcmp(plain, "sendmsg")) n = sendmsg(fd, &many[0].msg_hdr, 0);
  else if (!strcmp(plain, "sendmmsg")) n = sendmmsg(fd, many, 2, 0);
  else if (!strcmp(plain, "sendto-unspec")) {
    a.sin_family = AF_UNSPEC;
    n = sendto(fd, "x", 1, 0, (void *)&a, sizeof a);
  } else if (!strcmp(plain, "reconnect")) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    MUST(connect(fd, (void *)&allowed, sizeof allowed));
    MUST(connect(fd, &none, sizeof none));
    n = connect(fd, to, size);
  } else if (!strcmp(plain, "connected-sendto")) {
    MUST(connect(fd, (void *)&allowed, sizeof allowed));
    n = sendto(fd, "x", 1, 0, to, size);
  } else if (!strcmp(plain, "v4-on-v6")) {
    int other = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    n = sendto(other, "x", 1, 0, (void *)&a, sizeof a);
  } else if (!strcmp(plain, "device")) {
    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3);
    n = sendto(fd, "x", 1, 0, to, size);
  } else if (!strcmp(plain, "raw")) n = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  else if (!strcmp(plain, "packet")) n = socket(AF_PACKET, SOCK_RAW, 0);
  else if (!strcmp(plain, "bind")) n = bind(fd, to, size);
  tell(how, address, n);
  close(fd);
}

// HOW ADDRESS PORT …: `sleep 0 MS` waits.
int main(int argc, char **argv) {
  for (int i = 1; i + 2 < argc; i += 3) {
    int number = atoi(argv[i + 2]);
    if (!strncmp(argv[i], "ask", 3)) ask(argv[i], argv[i + 1], number);
    else if (!strcmp(argv[i], "sleep")) usleep(number * 1000);
    else reach(argv[i], argv[i + 1], number);
    fflush(stdout);
  }
  return 0;
}
