// One byte back and forth over TCP: `net serve PORT` answers, `net ask ADDRESS PORT ROUNDS` prints "tcp-rr NANOSECONDS" a round.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static int fail(const char *what) {
  perror(what);
  return 1;
}

int main(int argc, char **argv) {
  int one = 1;
  char byte = 0;
  struct sockaddr_in at = {.sin_family = AF_INET};
  if (argc == 3 && !strcmp(argv[1], "serve")) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_port = htons(atoi(argv[2]));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&at, sizeof at) < 0 || listen(listener, 8) < 0) return fail("listen");
    for (;;) {
      int fd = accept(listener, NULL, NULL);
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
      while (read(fd, &byte, 1) == 1)
        if (write(fd, &byte, 1) != 1) break;
      close(fd);
    }
  }
  if (argc != 5) return 2;
  at.sin_port = htons(atoi(argv[3]));
  inet_pton(AF_INET, argv[2], &at.sin_addr);
  int fd = socket(AF_INET, SOCK_STREAM, 0), rounds = atoi(argv[4]);
  if (connect(fd, (void *)&at, sizeof at) < 0) return fail("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  double start = 0;
  for (int i = -rounds / 10; i < rounds; i++) {
    if (i == 0) start = now();
    if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1) return fail("round");
  }
  printf("tcp-rr %.0f\n", (now() - start) / rounds);
  return 0;
}
