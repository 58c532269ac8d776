// Chooses each way to avoid congestion that the host has for a socket, and one that nobody has; one line each. For test/network.
#include "check.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

int main(void) {
  FILE *list = fopen("/proc/sys/net/ipv4/tcp_available_congestion_control", "r");
  char name[64];
  int fd = MUST(socket(AF_INET, SOCK_STREAM, 0));
  while (list != NULL && fscanf(list, "%63s", name) == 1) {
    char now[16] = {0};
    socklen_t length = sizeof now;
    int r = setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, strlen(name));
    printf("%s: %s\n", name, r == 0 ? "ok" : strerrorname_np(errno));
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, now, &length));
    if (r == 0 && strcmp(now, name) != 0) printf("but it is %s\n", now);
  }
  FAILS(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nonesuch", 8));
  return 0;
}
