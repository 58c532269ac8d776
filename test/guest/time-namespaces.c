// Time namespaces: shifted clocks by call and by vDSO, in children and after exec
#include "check.h"
#include <sys/auxv.h>
#include <sys/sysinfo.h>
#include <sys/timerfd.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

static long now(int clock) {
  struct timespec ts;
  clock_gettime(clock, &ts);
  return ts.tv_sec;
}

static long now_by_call(int clock) {
  struct timespec ts;
  syscall(SYS_clock_gettime, clock, &ts);
  return ts.tv_sec;
}

static long put(const char *text) {
  int fd = open("/proc/self/timens_offsets", O_WRONLY);
  long n = write(fd, text, strlen(text));
  int error = errno;
  close(fd);
  errno = error;
  return n;
}

static void show(void) {
  char b[256] = {0};
  int fd = open("/proc/self/timens_offsets", O_RDONLY);
  MUST(read(fd, b, sizeof b - 1));
  close(fd);
  fputs(b, stdout);
}

static int differs(const char *a, const char *b) {
  char x[64] = {0}, y[64] = {0};
  readlink(a, x, sizeof x - 1);
  readlink(b, y, sizeof y - 1);
  return strcmp(x, y) != 0;
}

static long mono, boot;

static int near(long a, long b) { return a >= b && a < b + 60; }

static int child(void *arg) {
  (void)arg;
  HOLDS(near(now(CLOCK_MONOTONIC), mono + 10000));
  HOLDS(near(now_by_call(CLOCK_MONOTONIC), mono + 10000));
  HOLDS(near(now(CLOCK_MONOTONIC_COARSE), mono + 10000));
  HOLDS(near(now(CLOCK_BOOTTIME), boot + 20000));
  for (int i = 0; i < 20; i++) now_by_call(CLOCK_MONOTONIC);
  HOLDS(near(now_by_call(CLOCK_MONOTONIC), mono + 10000));
  HOLDS(labs(now(CLOCK_REALTIME) - time(NULL)) < 2);
  HOLDS(!differs("/proc/self/ns/time", "/proc/self/ns/time_for_children"));
  struct timespec until = {now(CLOCK_MONOTONIC), 0};
  until.tv_sec += 1;
  uint64_t before = now_ms();
  CALL(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL));
  HOLDS(now_ms() - before < 1500);
  int fd = MUST(timerfd_create(CLOCK_BOOTTIME, 0));
  struct itimerspec at = {{0, 0}, {now(CLOCK_BOOTTIME) + 1, 0}};
  uint64_t ticks = 0;
  CALL(timerfd_settime(fd, TFD_TIMER_ABSTIME, &at, NULL));
  before = now_ms();
  CALL(read(fd, &ticks, 8));
  HOLDS(now_ms() - before < 1500);
  CALL(put("monotonic 1 0\n"));
  fflush(stdout);
  char want[32];
  snprintf(want, sizeof want, "%ld", mono + 10000);
  execl("/proc/self/exe", "again", want, NULL);
  return 9;
}

int main(int argc, char **argv) {
  if (argc == 2) {
    HOLDS(near(now(CLOCK_MONOTONIC), atol(argv[1])));
    HOLDS(near(now_by_call(CLOCK_MONOTONIC), atol(argv[1])));
    double up = 0;
    FILE *f = fopen("/proc/uptime", "r");
    HOLDS(fscanf(f, "%lf", &up) == 1 && up >= 20000);
    struct sysinfo info;
    sysinfo(&info);
    HOLDS(info.uptime >= 20000);
    return 0;
  }
  mono = now(CLOCK_MONOTONIC);
  boot = now(CLOCK_BOOTTIME);
  SECTION("before");
  CALL(put("monotonic 1 0\n"));
  HOLDS(!differs("/proc/self/ns/time", "/proc/self/ns/time_for_children"));
  if (unshare(CLONE_NEWTIME) < 0) {
    printf("no time namespaces: %s\n", strerrorname_np(errno));
    return 0;
  }
  HOLDS(differs("/proc/self/ns/time", "/proc/self/ns/time_for_children"));
  SECTION("offsets");
  CALL(put("monotonic 1\n"));
  CALL(put("nothing 1 0\n"));
  CALL(put("monotonic 1 1000000000\n"));
  CALL(put("monotonic -10000000000 0\n"));
  CALL(put("monotonic 10000 0\nboottime 20000 0\n"));
  show();
  CALL(put("1 10000 0\n7 20000 0"));
  show();
  HOLDS(near(now(CLOCK_MONOTONIC), mono));
  SECTION("a child");
  in_child("child", child, NULL);
  SECTION("by descriptor");
  HOLDS(near(now(CLOCK_MONOTONIC), mono));
  int ns = MUST(open("/proc/self/ns/time_for_children", O_RDONLY));
  int own = MUST(open("/proc/self/ns/time", O_RDONLY));
  CALL(setns(ns, CLONE_NEWTIME));
  HOLDS(near(now(CLOCK_MONOTONIC), mono + 10000));
  CALL(setns(own, 0));
  HOLDS(near(now(CLOCK_MONOTONIC), mono));
  CALL(setns(own, CLONE_NEWUTS));
  return 0;
}
