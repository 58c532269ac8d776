// /proc/[pid]/fdinfo tells of locks, /proc/locks has them all, and pagemap tells which pages are there
#include "check.h"
#include <sys/file.h>

static void show(const char *what, int fd) {
  char path[64], line[256], dev[64];
  struct stat st;
  fstat(fd, &st);
  sprintf(dev, ":%lu ", st.st_ino);
  printf("-- %s\n", what);
  sprintf(path, "/proc/self/fdinfo/%d", fd);
  int all = 0, own = 0;
  FILE *f = fopen(path, "r");
  while (fgets(line, sizeof line, f)) {
    if (strncmp(line, "lock:", 5)) continue;
    own++;
    char kind[16], advisory[16], type[16], place[64], from[32], to[32];
    int n, pid;
    sscanf(line, "lock:\t%d: %15s %15s %15s %d %63s %31s %31s", &n, kind, advisory, type, &pid, place, from, to);
    printf("%d %s %s %s %s %s %s\n", n, kind, advisory, type, pid == getpid() ? "ours" : pid == -1 ? "nobody's" : "another's", from, to);
  }
  fclose(f);
  f = fopen("/proc/locks", "r");
  while (fgets(line, sizeof line, f))
    if (strstr(line, dev)) all++;
  fclose(f);
  HOLDS(all == own);
}

int main(void) {
  enter_scratch();
  int fd = MUST(open("file", O_CREAT | O_RDWR, 0600));
  show("none", fd);
  CALL(flock(fd, LOCK_SH));
  show("flock", fd);
  CALL(flock(fd, LOCK_EX));
  show("exclusive", fd);
  CALL(flock(fd, LOCK_UN));
  struct flock l = {.l_type = F_WRLCK, .l_start = 10, .l_len = 5};
  CALL(fcntl(fd, F_SETLK, &l));
  l = (struct flock){.l_type = F_RDLCK, .l_start = 100};
  CALL(fcntl(fd, F_SETLK, &l));
  show("records", fd);
  l = (struct flock){.l_type = F_UNLCK, .l_start = 12, .l_len = 1};
  CALL(fcntl(fd, F_SETLK, &l));
  show("split", fd);
  l = (struct flock){.l_type = F_UNLCK};
  CALL(fcntl(fd, F_SETLK, &l));
  l = (struct flock){.l_type = F_WRLCK, .l_start = 1, .l_len = 2};
  CALL(fcntl(fd, F_OFD_SETLK, &l));
  show("of the description", fd);
  close(fd);

  SECTION("pagemap");
  char *p = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(p, 8 * 4096, MADV_NOHUGEPAGE);
  p[0] = p[3 * 4096] = 1;
  uint64_t entries[8];
  fd = MUST(open("/proc/self/pagemap", O_RDONLY));
  off_t at = (uintptr_t)p / 4096 * 8;
  CALL(pread(fd, entries, sizeof entries, at));
  for (int i = 0; i < 8; i++) printf("%d %d %d\n", (int)(entries[i] >> 63), (int)(entries[i] >> 61) & 1, (int)(entries[i] >> 62) & 1);
  CALL(pread(fd, entries, 7, at));
  CALL(pread(fd, entries, 8, at + 1));
  CALL(pread(fd, entries, 0, at));
  CALL(pread(fd, entries, sizeof entries, (0x7ffffffff000l / 4096 - 2) * 8));
  CALL(pread(fd, entries, 8, 0x7ffffffff000l / 4096 * 8));
  CALL(lseek(fd, 16, SEEK_SET));
  CALL(read(fd, entries, 8));
  CALL(lseek(fd, 8, SEEK_CUR));
  CALL(lseek(fd, 0, SEEK_END));
  return 0;
}
