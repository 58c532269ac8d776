// Watches the folder given for a while, says "ready", and prints what it hears: mask and name, moves with a letter that joins their halves.
#include "check.h"
#include <sys/inotify.h>

int main(int argc, char **argv) {
  int fd = MUST(inotify_init());
  MUST(inotify_add_watch(fd, argv[1], IN_ALL_EVENTS & ~(IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE)));
  printf("ready\n");
  fflush(stdout);
  uint32_t cookies[26] = {0};
  char buffer[8192];
  struct pollfd p = {.fd = fd, .events = POLLIN};
  while (poll(&p, 1, 1500) > 0) {
    ssize_t n = MUST(read(fd, buffer, sizeof buffer));
    for (ssize_t at = 0; at < n;) {
      struct inotify_event *e = (void *)(buffer + at);
      int letter = 0;
      while (e->cookie && cookies[letter] && cookies[letter] != e->cookie) letter++;
      if (e->cookie) cookies[letter] = e->cookie;
      printf("%x %s%s%c\n", e->mask, e->len ? e->name : "", e->cookie ? " " : "", e->cookie ? 'a' + letter : '.');
      if (strcmp(e->name, "stop") == 0) return 0;
      at += sizeof *e + e->len;
    }
    fflush(stdout);
  }
  return 0;
}
