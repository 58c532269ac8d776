// Memory that may not change (mseal, PR_SET_MDWE), pages of a file in another order, calls that come back as signals, attributes by descriptor
#include "check.h"
#include <sys/xattr.h>

#define PAGE 4096
#define SYS_mseal_ 462
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif

static int quietly(int (*body)(void *)) {
  fflush(stdout);
  pid_t pid = MUST(fork());
  if (pid == 0) {
    body(NULL);
    fflush(stdout);
    _exit(0);
  }
  int status;
  MUST(waitpid(pid, &status, 0));
  return status;
}

static char *pages(int n, int prot) {
  char *at = mmap(NULL, n * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  MUST(at == MAP_FAILED ? -1 : 0);
  return at;
}

static long placed(void *at, int prot) {
  return mmap(at, PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ? -1 : 0;
}

static long moved(void *from, size_t to) {
  return mremap(from, PAGE, to, MREMAP_MAYMOVE) == MAP_FAILED ? -1 : 0;
}

static int unmaps(void *at) {
  CALL(munmap(at, PAGE));
  return 0;
}

static char *sealed_page;
static int child_unmaps(void *unused) {
  return unmaps(sealed_page);
}

static int sealing(void *unused) {
  char *p = pages(4, PROT_READ | PROT_WRITE);
  CALL(syscall(SYS_mseal_, p + 1, PAGE, 0));
  CALL(syscall(SYS_mseal_, p, PAGE, 1));
  CALL(syscall(SYS_mseal_, p, 0, 0));
  MUST(munmap(p + 2 * PAGE, PAGE));
  CALL(syscall(SYS_mseal_, p + PAGE, 2 * PAGE, 0));
  CALL(syscall(SYS_mseal_, p, PAGE, 0));
  CALL(munmap(p, 2 * PAGE));
  CALL(mprotect(p, PAGE, PROT_READ));
  CALL(mprotect(p + PAGE, PAGE, PROT_READ));
  CALL(moved(p, 2 * PAGE));
  CALL(placed(p, PROT_READ));
  CALL(madvise(p, PAGE, MADV_DONTNEED));
  sealed_page = p;
  quietly(child_unmaps);
  char *q = pages(1, PROT_READ);
  CALL(syscall(SYS_mseal_, q, PAGE, 0));
  CALL(madvise(q, PAGE, MADV_DONTNEED));
  CALL(madvise(q, PAGE, MADV_FREE));
  CALL(madvise(q, PAGE, MADV_DONTFORK));
  CALL(madvise(q, PAGE, MADV_WILLNEED));
  return 0;
}

static int no_new_code(void *unused) {
  char *p = pages(2, PROT_READ | PROT_WRITE);
  CALL(prctl(PR_SET_MDWE, 2, 0, 0, 0));
  CALL(prctl(PR_SET_MDWE, 1, 0, 0, 1));
  CALL(prctl(PR_SET_MDWE, 1, 0, 0, 0));
  CALL(prctl(PR_GET_MDWE, 0, 0, 0, 0));
  CALL(prctl(PR_SET_MDWE, 0, 0, 0, 0));
  CALL(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
  CALL(mprotect(p, PAGE, PROT_READ));
  CALL(placed(p, PROT_READ | PROT_WRITE | PROT_EXEC));
  CALL(placed(p, PROT_READ | PROT_EXEC));
  CALL(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
  CALL(mprotect(p, PAGE, PROT_READ));
  CALL(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
  fflush(stdout);
  execl("/proc/self/exe", "sealed-memory", "asks", NULL);
  return 1;
}

static int reordered(void *unused) {
  int fd = MUST(memfd_create("pages", 0));
  MUST(ftruncate(fd, 4 * PAGE));
  for (int i = 0; i < 4; i++) MUST(pwrite(fd, &"abcd"[i], 1, i * PAGE));
  char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  CALL(syscall(SYS_remap_file_pages, p, PAGE, 0, 2, 0));
  CALL(syscall(SYS_remap_file_pages, p + PAGE, 2 * PAGE, 0, 0, 0));
  printf("%c%c%c%c\n", p[0], p[PAGE], p[2 * PAGE], p[3 * PAGE]);
  CALL(syscall(SYS_remap_file_pages, p, PAGE, PROT_READ, 0, 0));
  CALL(syscall(SYS_remap_file_pages, p, 0, 0, 0, 0));
  char *own = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
  CALL(syscall(SYS_remap_file_pages, own, PAGE, 0, 1, 0));
  return 0;
}

static volatile char selector;
static volatile int seen;

static void told(int signo, siginfo_t *info, void *frame) {
  selector = 0;
  seen++;
  printf("signal %d code %d call %d\n", signo, info->si_code, info->si_syscall);
}

static void *in_thread(void *unused) {
  selector = 1;
  long tid = syscall(SYS_gettid);
  selector = 0;
  HOLDS(tid > 0 && tid != SYS_gettid);
  return NULL;
}

static int bad_selector(void *unused) {
  selector = 0;
  MUST(prctl(59, 1, 0, 0, &selector));
  selector = 7;
  syscall(SYS_gettid);
  return 0;
}

static int dispatched(void *unused) {
  CALL(prctl(59, 0, 1, 0, 0));
  CALL(prctl(59, 1, 1, -1L, &selector));
  CALL(prctl(59, 9, 0, 0, &selector));
  struct sigaction action = {.sa_sigaction = told, .sa_flags = SA_SIGINFO};
  MUST(sigaction(SIGSYS, &action, NULL));
  CALL(prctl(59, 1, 0, 0, &selector));
  selector = 1;
  long result = syscall(SYS_getppid, 1, 2, 3);
  printf("result %ld after %d\n", result, seen);
  selector = 1;
  syscall(SYS_sched_yield);
  printf("after %d\n", seen);
  pthread_t thread;
  pthread_create(&thread, NULL, in_thread, NULL);
  pthread_join(thread, NULL);
  CALL(prctl(59, 0, 0, 0, 0));
  selector = 1;
  syscall(SYS_sched_yield);
  printf("after %d\n", seen);
  printf("another byte: %x\n", quietly(bad_selector) & 0x7f);
  return 0;
}

static int attributes(void *unused) {
  char name[] = "attributes";
  int fd = MUST(open(name, O_RDWR | O_CREAT, 0600));
  char value[32] = {0};
  struct {
    uint64_t value;
    uint32_t size, flags;
  } args = {(uintptr_t)"hello", 5, 0};
  long set = syscall(463, AT_FDCWD, name, 0, "user.first", &args, sizeof args);
  if (set == -1 && errno == EOPNOTSUPP) {
    // The folder's file system has none.
    return 0;
  }
  args.flags = XATTR_CREATE;
  if (syscall(463, AT_FDCWD, name, 0, "user.first", &args, sizeof args) != -1 || errno != EEXIST) printf("made twice\n");
  args.value = (uintptr_t)value;
  args.size = sizeof value;
  args.flags = 0;
  if (syscall(464, fd, "", AT_EMPTY_PATH, "user.first", &args, sizeof args) != 5 || strcmp(value, "hello")) printf("read %s\n", value);
  args.size = 2;
  if (syscall(464, AT_FDCWD, name, 0, "user.first", &args, sizeof args) != -1 || errno != ERANGE) printf("fits\n");
  return 0;
}

static int modes(void *unused) {
  unlink("link");
  MUST(symlink("attributes", "link"));
  CALL(syscall(452, AT_FDCWD, "link", 0600, AT_SYMLINK_NOFOLLOW));
  CALL(syscall(452, AT_FDCWD, "link", 0640, 0));
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1) {
    CALL(prctl(PR_GET_MDWE, 0, 0, 0, 0));
    return 0;
  }
  SECTION("seals");
  quietly(sealing);
  SECTION("no new code");
  quietly(no_new_code);
  SECTION("pages in another order");
  quietly(reordered);
  SECTION("dispatch to the program");
  quietly(dispatched);
  SECTION("attributes");
  quietly(attributes);
  quietly(modes);
  return 0;
}
