// How cost grows with numbers: `grow ROW...` prints "ROW NANOSECONDS" for one operation of each row, with all N at work.
//   threads-N     a byte through a pipe of its own and back, by each of N threads at once
//   processes-N   the same by N processes
//   files-N       open, fstat and close of one more file while N are open
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUND_TRIPS 400

static pthread_barrier_t start_line;

static void die(const char *what) {
  fprintf(stderr, "grow: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static void round_trips(int fds[2]) {
  char byte = 0;
  for (int i = 0; i < ROUND_TRIPS; i++)
    if (write(fds[1], &byte, 1) != 1 || read(fds[0], &byte, 1) != 1) die("pipe");
}

static void *worker(void *unused) {
  (void)unused;
  int fds[2];
  if (pipe(fds) < 0) die("pipe");
  pthread_barrier_wait(&start_line);
  round_trips(fds);
  close(fds[0]);
  close(fds[1]);
  return NULL;
}

static double threads(int n) {
  pthread_t ids[1024];
  pthread_attr_t attr;
  pthread_attr_init(&attr);
  pthread_attr_setstacksize(&attr, 65536);
  pthread_barrier_init(&start_line, NULL, n + 1);
  for (int i = 0; i < n; i++)
    if (pthread_create(&ids[i], &attr, worker, NULL) != 0) die("pthread_create");
  pthread_barrier_wait(&start_line);
  double start = now_ns();
  for (int i = 0; i < n; i++) pthread_join(ids[i], NULL);
  return (now_ns() - start) / n / ROUND_TRIPS;
}

static double processes(int n) {
  int gate[2];
  if (pipe(gate) < 0) die("pipe");
  for (int i = 0; i < n; i++) {
    pid_t pid = fork();
    if (pid < 0) die("fork");
    if (pid > 0) continue;
    int fds[2];
    char byte;
    close(gate[1]);
    if (pipe(fds) < 0) die("pipe");
    // All begin when the parent closes its end.
    if (read(gate[0], &byte, 1) != 0) die("gate");
    round_trips(fds);
    _exit(0);
  }
  usleep(50000);
  double start = now_ns();
  close(gate[1]);
  for (int i = 0; i < n; i++) {
    int status;
    if (wait(&status) < 0 || status != 0) die("wait");
  }
  close(gate[0]);
  return (now_ns() - start) / n / ROUND_TRIPS;
}

static double files(int n) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  int *fds = malloc(n * sizeof *fds);
  for (int i = 0; i < n; i++)
    if ((fds[i] = open("/etc/passwd", O_RDONLY)) < 0) die("open");
  int times = 2000;
  double start = now_ns();
  for (int i = 0; i < times; i++) {
    struct stat st;
    int fd = open("/etc/passwd", O_RDONLY);
    if (fd < 0 || fstat(fd, &st) < 0) die("open");
    close(fd);
  }
  double result = (now_ns() - start) / times;
  for (int i = 0; i < n; i++) close(fds[i]);
  free(fds);
  return result;
}

int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    char *dash = strrchr(argv[i], '-');
    int n = dash != NULL ? atoi(dash + 1) : 0;
    double ns;
    if (strncmp(argv[i], "threads-", 8) == 0 && n > 0 && n <= 1024) ns = threads(n);
    else if (strncmp(argv[i], "processes-", 10) == 0 && n > 0) ns = processes(n);
    else if (strncmp(argv[i], "files-", 6) == 0 && n > 0) ns = files(n);
    else return 2;
    printf("%s %.1f\n", argv[i], ns);
    fflush(stdout);
  }
  return 0;
}
