// Talks to the socket that is its argument: whoever listens says what it has heard.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
  struct sockaddr_un name = {.sun_family = AF_UNIX}, peer;
  socklen_t length = sizeof peer;
  if (argc < 2) return 2;
  strncpy(name.sun_path, argv[1], sizeof name.sun_path - 1);
  int s = socket(AF_UNIX, SOCK_STREAM, 0);
  if (connect(s, (struct sockaddr *)&name, sizeof name) < 0) {
    printf("connect: %s\n", strerror(errno));
    return 0;
  }
  if (getpeername(s, (struct sockaddr *)&peer, &length) == 0) printf("peer %s\n", peer.sun_path);
  struct pollfd p = {s, POLLIN, 0};
  if (poll(&p, 1, 50) != 0) printf("readable too early: %x\n", p.revents);

  // More than a socket's buffers hold: some writes wait.
  static char bytes[70000];
  long sent = 0;
  for (int i = 0; i < 10; i++) {
    ssize_t n = write(s, bytes, sizeof bytes);
    if (n < 0) {
      printf("write: %s\n", strerror(errno));
      return 1;
    }
    sent += n;
  }
  shutdown(s, SHUT_WR);
  if (poll(&p, 1, 10000) != 1) printf("no answer\n");
  char answer[100];
  ssize_t n = read(s, answer, sizeof answer);
  printf("%.*s\n", (int)(n > 0 ? n : 0), answer);
  printf(read(s, answer, sizeof answer) == 0 ? "end\n" : "more\n");
  if (connect(s, (struct sockaddr *)&name, sizeof name) < 0) printf("again: %s\n", strerror(errno));
  return 0;
}
