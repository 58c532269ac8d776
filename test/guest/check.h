// What the programs of this folder share. Each line of output is one check, and must not depend on the machine: the same program
// runs on the host and in the sandbox, and the outputs are compared.
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// CALL(expr): runs a call and prints it with its result, or with the name of its errno.
#define CALL(expr)                                                                                                                   \
  ({                                                                                                                                 \
    errno = 0;                                                                                                                       \
    long check_result = (long)(expr);                                                                                                \
    int check_errno = errno;                                                                                                         \
    if (check_result == -1) printf("%s = -1 %s\n", #expr, strerrorname_np(check_errno));                                             \
    else printf("%s = %ld\n", #expr, check_result);                                                                                  \
    errno = check_errno;                                                                                                             \
    check_result;                                                                                                                    \
  })

// FAILS(expr): like CALL for calls whose good result differs from run to run (a descriptor, a pid): prints ok or the errno.
#define FAILS(expr)                                                                                                                  \
  ({                                                                                                                                 \
    errno = 0;                                                                                                                       \
    long check_result = (long)(expr);                                                                                                \
    int check_errno = errno;                                                                                                         \
    if (check_result == -1) printf("%s = -1 %s\n", #expr, strerrorname_np(check_errno));                                             \
    else printf("%s: ok\n", #expr);                                                                                                  \
    errno = check_errno;                                                                                                             \
    check_result;                                                                                                                    \
  })

// HOLDS(cond): a fact that has to hold on Linux. A NO on the host fails the test as wrong.
#define HOLDS(cond) printf("%s: %s\n", #cond, (cond) ? "yes" : "NO")

// SECTION(name): starts a group of checks; what was printed before is out, whatever happens next.
#define SECTION(name) (printf("== %s\n", name), fflush(stdout))

// MUST(expr): something that the checks stand on. Ends the program if it fails.
#define MUST(expr)                                                                                                                   \
  ({                                                                                                                                 \
    long must_result = (long)(expr);                                                                                                 \
    if (must_result == -1) {                                                                                                         \
      printf("line %d: %s failed: %s\n", __LINE__, #expr, strerrorname_np(errno));                                                   \
      fflush(stdout);                                                                                                                \
      _exit(99);                                                                                                                     \
    }                                                                                                                                \
    must_result;                                                                                                                     \
  })

static inline uint64_t now_ms(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static inline void sleep_ms(int ms) {
  struct timespec ts = {ms / 1000, (long)(ms % 1000) * 1000000};
  while (nanosleep(&ts, &ts) < 0 && errno == EINTR) {
  }
}

// Forks; the child runs body() with its output flushed and exits with its result. Answers the pid.
static inline pid_t spawn_child(int (*body)(void *), void *arg) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    int status = body(arg);
    fflush(stdout);
    _exit(status);
  }
  if (pid < 0) {
    printf("fork failed: %s\n", strerrorname_np(errno));
    _exit(99);
  }
  return pid;
}

// Prints how a child ended, in words.
static inline void print_status(const char *what, int status) {
  if (WIFEXITED(status)) printf("%s: exited %d\n", what, WEXITSTATUS(status));
  else if (WIFSIGNALED(status)) printf("%s: killed by %s\n", what, sigabbrev_np(WTERMSIG(status)));
  else if (WIFSTOPPED(status)) printf("%s: stopped by %s (event %d)\n", what, sigabbrev_np(WSTOPSIG(status) & 0x7f), status >> 16);
  else if (WIFCONTINUED(status)) printf("%s: continued\n", what);
  else printf("%s: status %x\n", what, status);
}

// Runs body() in a child and prints how it ended.
static inline void in_child(const char *what, int (*body)(void *), void *arg) {
  pid_t pid = spawn_child(body, arg);
  int status = 0;
  MUST(waitpid(pid, &status, 0));
  print_status(what, status);
}

// An empty working folder: $TMPDIR, or a new one.
static inline void enter_scratch(void) {
  const char *dir = getenv("TMPDIR");
  if (dir == NULL) dir = "/tmp";
  mkdir(dir, 0777);
  static char name[PATH_MAX];
  snprintf(name, sizeof name, "%s/guest-XXXXXX", dir);
  if (mkdtemp(name) == NULL || chdir(name) < 0) {
    printf("no scratch folder: %s\n", strerrorname_np(errno));
    _exit(99);
  }
}

// Catches core files of the tests of fatal signals.
static inline void no_core(void) {
  struct rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
}
