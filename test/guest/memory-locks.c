// Memory locks: marks, limits, what a locked page refuses, and RLIMIT_DATA
#include "check.h"
#include <linux/capability.h>

static long status_kb(const char *name) {
  char line[256];
  long kb = -1;
  FILE *f = fopen("/proc/self/status", "r");
  while (fgets(line, sizeof line, f) != NULL)
    if (strncmp(line, name, strlen(name)) == 0) kb = atol(line + strlen(name) + 1);
  fclose(f);
  return kb;
}

static void drop_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2] = {{0}};
  MUST(syscall(SYS_capset, &header, data));
}

static int limited(void *arg) {
  (void)arg;
  char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct rlimit limit = {16384, 16384};
  setrlimit(RLIMIT_MEMLOCK, &limit);
  drop_capabilities();
  CALL(mlock(p, 12288));
  CALL(mlock(p, 12288));
  CALL(mlock(p + 4096, 12288));
  CALL(mlock(p + 16384, 4096));
  CALL(mlockall(MCL_CURRENT));
  errno = 0;
  HOLDS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) == MAP_FAILED && errno == EAGAIN);
  CALL(munlock(p, 4096));
  HOLDS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) != MAP_FAILED);
  limit.rlim_cur = 0;
  setrlimit(RLIMIT_MEMLOCK, &limit);
  CALL(mlock(p, 4096));
  CALL(mlockall(MCL_FUTURE));
  HOLDS(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0) == MAP_FAILED && errno == EPERM);
  return 0;
}

static int in_fork(void *arg) {
  (void)arg;
  printf("locked in a child: %ld\n", status_kb("VmLck"));
  return 0;
}

static int data_limit(void *arg) {
  (void)arg;
  struct rlimit limit = {(rlim_t)status_kb("VmData") * 1024 + 262144, RLIM_INFINITY};
  setrlimit(RLIMIT_DATA, &limit);
  errno = 0;
  HOLDS(mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == ENOMEM);
  HOLDS(mmap(NULL, 4 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  HOLDS(mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
  HOLDS(sbrk(4 << 20) == (void *)-1 && errno == ENOMEM);
  return 0;
}

int main(void) {
  // The host may not let us lock as much as we like.
  char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  SECTION("marks");
  printf("locked: %ld\n", status_kb("VmLck"));
  CALL(mlock(p + 100, 5000));
  printf("locked: %ld\n", status_kb("VmLck"));
  CALL(msync(p, 4096, MS_ASYNC | MS_INVALIDATE));
  CALL(msync(p + 8192, 4096, MS_ASYNC | MS_INVALIDATE));
  CALL(madvise(p, 4096, MADV_DONTNEED));
  CALL(madvise(p, 4096, MADV_COLD));
  CALL(madvise(p + 8192, 4096, MADV_DONTNEED));
  in_child("child", in_fork, NULL);
  CALL(munlock(p, 65536));
  printf("locked: %ld\n", status_kb("VmLck"));
  CALL(msync(p, 4096, MS_ASYNC | MS_INVALIDATE));
  CALL(syscall(SYS_mlock2, p, 4096, 1));
  CALL(syscall(SYS_mlock2, p, 4096, 2));
  CALL(munmap(p, 4096));
  CALL(mlock(p, 8192));
  CALL(munlock(p, 8192));
  CALL(munlockall());
  printf("locked: %ld\n", status_kb("VmLck"));
  CALL(mlockall(0));
  CALL(mlockall(MCL_ONFAULT));
  CALL(mlockall(MCL_FUTURE));
  char *q = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  printf("locked: %ld\n", status_kb("VmLck"));
  CALL(msync(q, 4096, MS_ASYNC | MS_INVALIDATE));
  CALL(munlockall());
  SECTION("limits");
  in_child("limited", limited, NULL);
  in_child("data", data_limit, NULL);
  return 0;
}
