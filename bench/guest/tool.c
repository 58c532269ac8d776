// What containers of the benchmarks run: `tool exit`, `tool pause`, or `tool time COUNT PROGRAM [ARG...]`, which prints the
// nanoseconds that the program takes, from its fork to its end: the median of COUNT runs.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1e9 + ts.tv_nsec;
}

static double once(char **argv) {
  double start = now_ns();
  pid_t child = fork();
  if (child == 0) {
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    execvp(argv[0], argv);
    perror(argv[0]);
    _exit(127);
  }
  int status;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
    fprintf(stderr, "tool: %s ended with status %#x\n", argv[0], status);
    exit(1);
  }
  return now_ns() - start;
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

int main(int argc, char **argv) {
  if (argc < 2 || strcmp(argv[1], "exit") == 0) return 0;
  if (strcmp(argv[1], "pause") == 0)
    for (;;) pause();
  int count = argc > 3 ? atoi(argv[2]) : 0;
  if (strcmp(argv[1], "time") != 0 || count < 1 || count > 100) return 2;
  double results[100];
  for (int i = 0; i < count; i++) results[i] = once(argv + 3);
  qsort(results, count, sizeof *results, ascending);
  printf("%.0f\n", results[count / 2]);
  return 0;
}
