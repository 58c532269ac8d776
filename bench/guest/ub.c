// What single system calls cost, one row each: `ub [ROW...]` prints "ROW NANOSECONDS" for one operation of each row.
// A row is warmed up, sized so that a batch takes about BATCH_NS, and measured in BATCHES batches, of which the median counts.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES 5
#define BATCH_NS 20e6

static char page[4096];
static int zero_fd, null_fd, file_fd;
static int to_pong[2], from_pong[2];

static void die(const char *what) {
  fprintf(stderr, "ub: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void check(long result, const char *what) {
  if (result < 0) die(what);
}

static double now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void op_getpid(void) { syscall(SYS_getpid); }
// Neither the bytes before nor behind this `syscall` are of a form that a runtime may rewrite.
static void op_getpid_trap(void) {
  long result = SYS_getpid;
  __asm__ volatile("nop\n nop\n syscall\n nop\n nop" : "+a"(result)::"rcx", "r11", "memory");
}
static void op_read_zero(void) { check(read(zero_fd, page, 1), "read"); }
static void op_write_null(void) { check(write(null_fd, page, 1), "write"); }
static void op_fstat(void) {
  struct stat st;
  check(fstat(file_fd, &st), "fstat");
}
static void op_stat(void) {
  struct stat st;
  check(stat("/etc/passwd", &st), "stat");
}
static void op_open_close(void) {
  int fd = open("/etc/passwd", O_RDONLY);
  check(fd, "open");
  close(fd);
}
static void op_pread(void) { check(pread(file_fd, page, sizeof page, 0), "pread"); }
static void op_pwrite(void) { check(pwrite(file_fd, page, sizeof page, 0), "pwrite"); }
static void op_futex_wake(void) {
  static int word;
  check(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), "futex");
}

static void *pong(void *unused) {
  (void)unused;
  char byte;
  while (read(to_pong[0], &byte, 1) == 1) check(write(from_pong[1], &byte, 1), "write");
  return NULL;
}
static void op_ping(void) {
  char byte = 0;
  check(write(to_pong[1], &byte, 1), "write");
  check(read(from_pong[0], &byte, 1), "read");
}

static void touch(size_t size) {
  char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) die("mmap");
  for (size_t i = 0; i < size; i += 4096) *(volatile char *)(at + i) = 1;
  munmap(at, size);
}
static void op_mmap(void) { touch(4096); }
static void op_touch_64m(void) { touch(64u << 20); }

static void reap(pid_t child) {
  int status;
  check(child, "fork");
  check(waitpid(child, &status, 0), "waitpid");
  if (status != 0) {
    fprintf(stderr, "ub: a child ended with status %#x\n", status);
    exit(1);
  }
}
static void op_fork(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  reap(child);
}
static void op_fork_exec(void) {
  pid_t child = fork();
  if (child == 0) {
    execl("/proc/self/exe", "ub", "--exit", (char *)NULL);
    _exit(1);
  }
  reap(child);
}

static const struct row {
  const char *name;
  void (*op)(void);
} rows[] = {
    {"getpid", op_getpid},
    {"getpid-trap", op_getpid_trap},
    {"read-zero", op_read_zero},
    {"write-null", op_write_null},
    {"fstat", op_fstat},
    {"stat", op_stat},
    {"open-close", op_open_close},
    {"pread-4k", op_pread},
    {"pwrite-4k", op_pwrite},
    {"futex-wake", op_futex_wake},
    {"pipe-ping-pong", op_ping},
    {"mmap-touch", op_mmap},
    {"touch-64m", op_touch_64m},
    {"fork-wait", op_fork},
    {"fork-exec-wait", op_fork_exec},
};

static double batch(const struct row *row, long count) {
  double start = now_ns();
  for (long i = 0; i < count; i++) row->op();
  return (now_ns() - start) / count;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double least(double a, double b) { return a < b ? a : b; }

static double measure(const struct row *row) {
  long count = 1;
  // Of two, since what one operation has to wait for by chance may take as long as a batch is to take.
  double once = least(batch(row, count), batch(row, count));
  // Growing by steps, since the first operation of a row is much slower than the rest (page faults, patched call sites).
  while (once * count < BATCH_NS / 4 && count < 1000000) {
    count *= 4;
    once = least(batch(row, count), batch(row, count));
  }
  // The runtime may still have been busy with getting faster.
  count = BATCH_NS / once < 1 ? 1 : (long)(BATCH_NS / once);
  once = batch(row, count);
  count = BATCH_NS / once < 1 ? 1 : (long)(BATCH_NS / once);
  double results[BATCHES];
  for (int i = 0; i < BATCHES; i++) results[i] = batch(row, count);
  qsort(results, BATCHES, sizeof *results, ascending);
  return results[BATCHES / 2];
}

// A file in memory on either side: natively /tmp may be a disk.
static int memory_file(void) {
  static const char *const dirs[] = {"/dev/shm", "/tmp"};
  for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
    char path[64];
    snprintf(path, sizeof path, "%s/ub-XXXXXX", dirs[i]);
    int fd = mkstemp(path);
    if (fd < 0) continue;
    unlink(path);
    check(write(fd, page, sizeof page), "write");
    return fd;
  }
  die("neither /dev/shm nor /tmp can be written");
  return -1;
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--exit") == 0) return 0;
  check(zero_fd = open("/dev/zero", O_RDONLY), "/dev/zero");
  check(null_fd = open("/dev/null", O_WRONLY), "/dev/null");
  file_fd = memory_file();
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    int wanted = argc == 1;
    for (int i = 1; i < argc; i++) wanted |= strcmp(argv[i], rows[r].name) == 0;
    if (!wanted) continue;
    pthread_t thread;
    int pinging = rows[r].op == op_ping;
    if (pinging) {
      check(pipe(to_pong) | pipe(from_pong), "pipe");
      if (pthread_create(&thread, NULL, pong, NULL) != 0) die("pthread_create");
    }
    printf("%s %.1f\n", rows[r].name, measure(&rows[r]));
    fflush(stdout);
    // The fork rows copy this process, so nothing may be left of the second thread.
    if (pinging) {
      close(to_pong[1]);
      pthread_join(thread, NULL);
    }
  }
  return 0;
}
