// Times work with files from inside: each form prints lines "ROW VALUE".
//   fb run ROW TIMES COMMAND...     ms of each run of a command whose output goes to /dev/null
//   fb random-read ROW FILE         ns of a pread of 4 KiB at a random place
//   fb read ROW FILE                MB/s of reading it from its beginning to its end
//   fb hold FOLDER                  asks for the attributes of all files below it, says so, and sleeps 8 s
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READS 20000
#define BLOCK (1 << 20)

static void die(const char *what) {
  fprintf(stderr, "fb: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now_ms(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static void run(const char *row, int times, char **command) {
  for (int i = 0; i < times; i++) {
    double start = now_ms();
    pid_t child = vfork();
    if (child < 0) die("vfork");
    if (child == 0) {
      int null_fd = open("/dev/null", O_WRONLY);
      dup2(null_fd, 1);
      execvp(command[0], command);
      _exit(127);
    }
    int status;
    if (waitpid(child, &status, 0) < 0) die("wait");
    if (status != 0) {
      fprintf(stderr, "fb: %s: status %d\n", command[0], WEXITSTATUS(status));
      exit(1);
    }
    printf("%s %.3f\n", row, now_ms() - start);
  }
}

static int open_file(const char *path, off_t *size) {
  int fd = open(path, O_RDONLY);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) < 0) die(path);
  *size = st.st_size;
  return fd;
}

static void random_read(const char *row, const char *path) {
  off_t size;
  int fd = open_file(path, &size);
  static char block[4096];
  unsigned long state = 88172645463325252ul;
  double start = now_ms();
  for (int i = 0; i < READS; i++) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    if (pread(fd, block, sizeof block, state % (size / sizeof block) * sizeof block) != sizeof block) die("pread");
  }
  printf("%s %.1f\n", row, (now_ms() - start) * 1e6 / READS);
}

static void read_all(const char *row, const char *path) {
  off_t size;
  int fd = open_file(path, &size);
  char *block = malloc(BLOCK);
  memset(block, 1, BLOCK);
  double start = now_ms();
  off_t done = 0;
  for (ssize_t n; (n = read(fd, block, BLOCK)) > 0;) done += n;
  if (done != size) die("read");
  printf("%s %.1f\n", row, size / 1e3 / (now_ms() - start));
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)path, (void)st, (void)type, (void)at;
  return 0;
}

int main(int argc, char **argv) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (argc > 4 && !strcmp(argv[1], "run")) run(argv[2], atoi(argv[3]), argv + 4);
  else if (argc == 4 && !strcmp(argv[1], "random-read")) random_read(argv[2], argv[3]);
  else if (argc == 4 && !strcmp(argv[1], "read")) read_all(argv[2], argv[3]);
  else if (argc == 3 && !strcmp(argv[1], "hold")) {
    if (nftw(argv[2], visit, 100, FTW_PHYS) < 0) die(argv[2]);
    puts("held");
    sleep(8);
  } else {
    fprintf(stderr, "fb: see the head of fb.c\n");
    return 2;
  }
  return 0;
}
