// inotify: what files, folders and links report, in order
#include "check.h"
#include <sys/inotify.h>

static int in;
static const char *names[] = {"ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN", "MOVED_FROM", "MOVED_TO", "CREATE", "DELETE", "DELETE_SELF", "MOVE_SELF"};

static void drain(const char *what) {
  char buffer[16384] __attribute__((aligned(8)));
  printf("%s:", what);
  int n = read(in, buffer, sizeof buffer);
  uint32_t cookie = 0;
  for (int at = 0; at < n;) {
    struct inotify_event *e = (void *)(buffer + at);
    printf(" %d", e->wd);
    for (int i = 0; i < 12; i++) if (e->mask & (1u << i)) printf(":%s", names[i]);
    if (e->mask & IN_ISDIR) printf(":ISDIR");
    if (e->mask & IN_IGNORED) printf(":IGNORED");
    if (e->mask & IN_UNMOUNT) printf(":UNMOUNT");
    if (e->cookie) printf(e->cookie == cookie ? ":same" : ":cookie"), cookie = e->cookie;
    if (e->len) printf("(%s)", e->name);
    at += sizeof *e + e->len;
  }
  printf("\n");
}

static void put(const char *name, const char *text) {
  int fd = MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  if (*text) MUST(write(fd, text, strlen(text)));
  close(fd);
}

int main(void) {
  enter_scratch();
  MUST(mkdir("d", 0755));
  MUST(mkdir("e", 0755));
  put("d/old", "x");
  in = MUST(inotify_init1(IN_NONBLOCK));
  CALL(inotify_add_watch(in, "d", IN_ALL_EVENTS));
  CALL(inotify_add_watch(in, "d/old", IN_ALL_EVENTS));
  CALL(inotify_add_watch(in, "d", IN_ALL_EVENTS));
  CALL(inotify_add_watch(in, "none", IN_ALL_EVENTS));
  CALL(inotify_add_watch(in, "d/old", IN_ALL_EVENTS | IN_ONLYDIR));
  CALL(inotify_add_watch(in, "d", 0));
  put("d/new", "hello");
  drain("create");
  put("d/old", "");
  drain("truncate by open");
  char b[8];
  int fd = open("d/new", O_RDONLY);
  read(fd, b, 3);
  read(fd, b, 8);
  read(fd, b, 8);
  close(fd);
  drain("read");
  fd = open("d/new", O_RDWR);
  pwrite(fd, "x", 1, 0);
  pwrite(fd, "x", 0, 0);
  ftruncate(fd, 1);
  fchmod(fd, 0600);
  close(fd);
  drain("write");
  truncate("d/old", 5);
  chmod("d/old", 0600);
  chown("d/old", -1, -1);
  utimensat(AT_FDCWD, "d/old", NULL, 0);
  drain("attributes");
  struct stat st;
  stat("d/old", &st);
  access("d/old", R_OK);
  drain("stat");
  link("d/old", "d/hard");
  drain("link");
  symlink("x", "d/soft");
  mkdir("d/sub", 0755);
  mkfifo("d/fifo", 0644);
  drain("make");
  rename("d/old", "d/older");
  drain("rename inside");
  rename("d/older", "e/out");
  drain("rename out");
  rename("e/out", "d/back");
  drain("rename in");
  put("d/victim", "");
  drain("victim");
  rename("d/back", "d/victim");
  drain("rename over");
  rename("d/victim", "d/hard");
  drain("rename over itself");
  syscall(SYS_renameat2, AT_FDCWD, "d/hard", AT_FDCWD, "d/new", 2);
  drain("exchange");
  unlink("d/soft");
  rmdir("d/sub");
  drain("remove");
  fd = open("d/new", O_RDONLY);
  drain("open");
  unlink("d/new");
  unlink("d/hard");
  unlink("d/victim");
  drain("unlink while open");
  close(fd);
  drain("close");
  int dfd = open("d", O_RDONLY | O_DIRECTORY);
  char dents[1024];
  syscall(SYS_getdents64, dfd, dents, sizeof dents);
  close(dfd);
  drain("list");
  rename("d", "moved");
  drain("move self");
  unlink("moved/fifo");
  rmdir("moved");
  drain("gone");
  put("file", "");
  int wd = CALL(inotify_add_watch(in, "file", IN_OPEN | IN_ONESHOT));
  close(open("file", O_RDONLY));
  close(open("file", O_RDONLY));
  drain("one shot");
  wd = inotify_add_watch(in, "file", IN_OPEN);
  inotify_add_watch(in, "file", IN_CLOSE | IN_MASK_ADD);
  CALL(inotify_add_watch(in, "file", IN_OPEN | IN_MASK_CREATE));
  close(open("file", O_RDONLY));
  drain("added");
  CALL(inotify_rm_watch(in, wd));
  CALL(inotify_rm_watch(in, wd));
  drain("removed");
  int fds[2];
  MUST(pipe(fds));
  CALL(inotify_add_watch(fds[0], "file", IN_OPEN));
  put("victim2", "x");
  inotify_add_watch(in, "victim2", IN_ALL_EVENTS);
  put("killer", "y");
  rename("killer", "victim2");
  drain("renamed over");
  unlink("file");
  int p = open("victim2", O_PATH);
  inotify_add_watch(in, "victim2", IN_ALL_EVENTS);
  close(open("victim2", O_PATH));
  drain("O_PATH");
  unlink("victim2");
  drain("unlinked with O_PATH");
  close(p);
  drain("closed");
  return 0;
}
