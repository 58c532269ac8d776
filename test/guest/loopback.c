// TCP and UDP over the loopback interface
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <net/if.h>

static struct sockaddr_in here(int port) {
  struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  return sa;
}

static int bound(int type, struct sockaddr_in *at) {
  int fd = MUST(socket(AF_INET, type, 0));
  *at = here(0);
  MUST(bind(fd, (void *)at, sizeof *at));
  socklen_t size = sizeof *at;
  MUST(getsockname(fd, (void *)at, &size));
  return fd;
}

static void *echoes(void *arg) {
  int fd = accept(*(int *)arg, NULL, NULL);
  char buffer[65536];
  long n, total = 0;
  while ((n = read(fd, buffer, sizeof buffer)) > 0) {
    total += n;
    for (long done = 0; done < n;) {
      long wrote = write(fd, buffer + done, n - done);
      if (wrote < 0) break;
      done += wrote;
    }
  }
  close(fd);
  return (void *)total;
}

static void *sends(void *arg) {
  int fd = *(int *)arg;
  static char block[1000];
  for (int i = 0; i < 1000; i++) {
    memset(block, i, sizeof block);
    for (size_t done = 0; done < sizeof block;) {
      long wrote = write(fd, block + done, sizeof block - done);
      if (wrote < 0) break;
      done += wrote;
    }
  }
  shutdown(fd, SHUT_WR);
  return NULL;
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  char buffer[2000];
  struct sockaddr_in at, from;
  socklen_t size;

  SECTION("TCP echo of a megabyte");
  int listener = bound(SOCK_STREAM, &at);
  CALL(listen(listener, 5));
  HOLDS(at.sin_port != 0 && at.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  pthread_t echo, sender;
  pthread_create(&echo, NULL, echoes, &listener);
  int client = MUST(socket(AF_INET, SOCK_STREAM, 0));
  CALL(connect(client, (void *)&at, sizeof at));
  pthread_create(&sender, NULL, sends, &client);
  long total = 0, n, sum = 0;
  while ((n = read(client, buffer, sizeof buffer)) > 0) {
    total += n;
    for (long i = 0; i < n; i++) sum += (unsigned char)buffer[i];
  }
  void *echoed;
  pthread_join(sender, NULL);
  pthread_join(echo, &echoed);
  printf("sent back %ld of %ld, sum %ld\n", total, (long)echoed, sum);
  size = sizeof from;
  CALL(getpeername(client, (void *)&from, &size));
  close(client);

  SECTION("refused, not connected, in use");
  int closed = bound(SOCK_STREAM, &from);
  client = MUST(socket(AF_INET, SOCK_STREAM, 0));
  CALL(connect(client, (void *)&from, sizeof from));
  CALL(send(client, "x", 1, 0));
  CALL(recv(client, buffer, 1, 0));
  close(closed);
  closed = MUST(socket(AF_INET, SOCK_STREAM, 0));
  CALL(bind(closed, (void *)&at, sizeof at));
  struct sockaddr_in elsewhere = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x01020304)};
  CALL(bind(closed, (void *)&elsewhere, sizeof elsewhere));
  CALL(bind(closed, (void *)&at, 3));
  CALL(listen(client, 77));
  close(client);
  close(closed);

  SECTION("without blocking");
  client = MUST(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  MUST(fcntl(listener, F_SETFL, O_NONBLOCK));
  CALL(accept(listener, NULL, NULL));
  CALL(connect(client, (void *)&at, sizeof at));
  struct pollfd pfd = {client, POLLOUT, 0};
  CALL(poll(&pfd, 1, 2000));
  printf("revents %x\n", pfd.revents);
  int error = -1;
  size = sizeof error;
  CALL(getsockopt(client, SOL_SOCKET, SO_ERROR, &error, &size));
  printf("error %d\n", error);
  pfd = (struct pollfd){listener, POLLIN, 0};
  CALL(poll(&pfd, 1, 2000));
  int server = MUST(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
  CALL(recv(server, buffer, 10, 0));
  CALL(send(client, "abc", 3, MSG_NOSIGNAL));
  pfd = (struct pollfd){server, POLLIN | POLLOUT, 0};
  while (poll(&pfd, 1, 2000) == 1 && !(pfd.revents & POLLIN)) sleep_ms(5);
  int waiting = 0;
  CALL(ioctl(server, FIONREAD, &waiting));
  printf("%d waiting\n", waiting);
  CALL(recv(server, buffer, 10, MSG_PEEK));
  CALL(recv(server, buffer, 2, MSG_WAITALL));
  CALL(recv(server, buffer, 10, 0));
  int one = 1, value = 0;
  CALL(setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one));
  size = sizeof value;
  CALL(getsockopt(server, IPPROTO_TCP, TCP_NODELAY, &value, &size));
  printf("nodelay %d\n", value);
  CALL(setsockopt(server, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one));
  CALL(setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
  CALL(shutdown(client, SHUT_WR));
  pfd = (struct pollfd){server, POLLIN | POLLRDHUP, 0};
  while (poll(&pfd, 1, 2000) == 1 && !(pfd.revents & POLLRDHUP)) sleep_ms(5);
  printf("revents %x\n", pfd.revents);
  CALL(recv(server, buffer, 10, 0));
  struct linger hard = {1, 0};
  CALL(setsockopt(server, SOL_SOCKET, SO_LINGER, &hard, sizeof hard));
  close(server);
  pfd = (struct pollfd){client, POLLIN, 0};
  poll(&pfd, 1, 2000);
  CALL(recv(client, buffer, 10, 0));
  close(client);

  SECTION("UDP");
  struct sockaddr_in a_at, b_at;
  int a = bound(SOCK_DGRAM, &a_at), b = bound(SOCK_DGRAM, &b_at);
  CALL(sendto(a, "datagram", 8, 0, (void *)&b_at, sizeof b_at));
  CALL(sendto(a, "", 0, 0, (void *)&b_at, sizeof b_at));
  size = sizeof from;
  CALL(recvfrom(b, buffer, 4, MSG_TRUNC, (void *)&from, &size));
  HOLDS(from.sin_port == a_at.sin_port && size == sizeof from);
  CALL(recv(b, buffer, sizeof buffer, 0));
  CALL(recv(b, buffer, sizeof buffer, MSG_DONTWAIT));
  CALL(send(a, "x", 1, 0));
  CALL(connect(a, (void *)&b_at, sizeof b_at));
  CALL(send(a, "connected", 9, 0));
  CALL(recv(b, buffer, sizeof buffer, 0));
  close(b);
  CALL(send(a, "nobody", 6, 0));
  sleep_ms(20);
  CALL(recv(a, buffer, sizeof buffer, MSG_DONTWAIT));

  SECTION("IPv6");
  int six = socket(AF_INET6, SOCK_STREAM, 0);
  printf("socket %d\n", six >= 0);
  struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
  CALL(setsockopt(six, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one));
  CALL(bind(six, (void *)&any, sizeof any));

  SECTION("tables");
  struct stat st;
  CALL(fstat(six, &st));
  char link[64] = {0}, wanted[64], path[64], line[512];
  snprintf(path, sizeof path, "/proc/self/fd/%d", six);
  MUST(readlink(path, link, sizeof link - 1));
  snprintf(wanted, sizeof wanted, "socket:[%lu]", (unsigned long)st.st_ino);
  HOLDS(strcmp(link, wanted) == 0);
  CALL(listen(six, 1));
  snprintf(wanted, sizeof wanted, " %lu ", (unsigned long)st.st_ino);
  FILE *table = fopen("/proc/net/tcp6", "r");
  bool listed = false;
  while (table != NULL && fgets(line, sizeof line, table) != NULL)
    if (strstr(line, wanted) != NULL) listed = true;
  HOLDS(listed);

  SECTION("interfaces");
  struct ifreq request = {0};
  strcpy(request.ifr_name, "lo");
  CALL(ioctl(a, SIOCGIFFLAGS, &request));
  HOLDS((request.ifr_flags & IFF_UP) && (request.ifr_flags & IFF_LOOPBACK));
  CALL(ioctl(a, SIOCGIFADDR, &request));
  HOLDS(((struct sockaddr_in *)&request.ifr_addr)->sin_addr.s_addr == htonl(INADDR_LOOPBACK));
  HOLDS(if_nametoindex("lo") == 1);

  SECTION("families");
  CALL(socket(77, SOCK_STREAM, 0));
  CALL(socket(AF_INET, 77, 0));
  CALL(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
  return 0;
}
